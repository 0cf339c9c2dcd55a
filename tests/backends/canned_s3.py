"""An S3 service that says what a test tells it to, for answers that no server at hand gives."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from photosync.backends.s3 import S3Backend


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, **headers: str) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    return Answer(status, text.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


@contextlib.contextmanager
def canned(answer: Callable[[Request], Answer], **options: Any) -> Iterator[S3Backend]:
    """A backend, with ``options``, whose every request ``answer`` answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, True).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            said = answer(Request(self.command, unquote(parts.path), query, headers, body))
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in said.headers:
                self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield S3Backend(
                key="k", secret="s", endpoint_url=f"http://127.0.0.1:{server.server_port}",
                region_name="us-east-1", skip_instance_cache=True, **options,
            )  # fmt: skip
        finally:
            server.shutdown()
            thread.join()


class Careless:
    """A service that keeps objects but heeds no checksum and no condition, as some do.

    Attributes:
        objects: key (with its bucket) → content.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def __call__(self, request: Request) -> Answer:
        held = self.objects.get(request.path)
        tag = {"ETag": f'"{hash(held)}"', "Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT"}
        if request.method == "PUT":
            self.objects[request.path] = request.body
            return Answer(headers={"ETag": f'"{hash(request.body)}"'})
        if request.method == "DELETE":
            self.objects.pop(request.path, None)
            return Answer(204)
        if held is None:
            return refusal(404, "NoSuchKey")
        if request.method == "HEAD":
            return Answer(headers={**tag, "Content-Length": str(len(held))})
        return Answer(200, held, tag)
