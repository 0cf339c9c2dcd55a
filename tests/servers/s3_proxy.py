"""A bad line to an S3 server: a proxy that counts operations and injects faults into chosen ones.

    with S3Proxy("http://127.0.0.1:8333") as line:
        line.faults.append(Fault("PutObject", status=503, retry_after=1, probability=0.1, count=None))
        ...                          # a client of line.endpoint
        assert line.faults.struck["PutObject"] == ...

Faults are those of `tests.servers.faults`, whose routes are here the API's names of operations. Requests and
replies are held whole in memory, one after another on each connection.
"""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from .cut_proxy import hang_up
from .faults import Fault, Faults

_CODES = {429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}
_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}


def operation(method: str, target: str, copying: bool = False) -> str:
    """The API's name for a request, by method and request target (path-style addressing)."""
    parts = urlsplit(target)
    asked = parse_qs(parts.query, keep_blank_values=True)
    key = parts.path.strip("/").partition("/")[2]
    if "uploads" in asked:
        return "CreateMultipartUpload" if method == "POST" else "ListMultipartUploads"
    if "uploadId" in asked:
        names = {
            "PUT": "UploadPartCopy" if copying else "UploadPart",
            "POST": "CompleteMultipartUpload",
            "DELETE": "AbortMultipartUpload",
            "GET": "ListParts",
        }
        return names[method]
    if not key:
        lists = "list-type" in asked or "prefix" in asked or "delimiter" in asked
        return "ListObjectsV2" if method == "GET" and lists else f"{method.capitalize()}Bucket"
    return "CopyObject" if copying else f"{method.capitalize()}Object"


class S3Proxy:
    """Forwards to the server at ``upstream`` (URL over plain HTTP) from a free port of 127.0.0.1.

    Attributes:
        endpoint: URL to give to clients.
        faults: what to inject; may be appended to at any time.
        requests: by operation.
        archives: objects of a class that must be restored first are refused to readers, as by Amazon.
    """

    def __init__(self, upstream: str, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self.upstream = upstream.removeprefix("http://")
        self.faults = Faults(faults, seed=seed)
        self.requests: Counter[str] = Counter()
        self.archives = False
        self.lock = threading.Lock()
        proxy = self

        class Handler(_Connection):
            line = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def shutdown_request(self, request: Any) -> None:
        """Closes without an orderly end first, so that a reset is one."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    line: S3Proxy

    def setup(self) -> None:
        super().setup()
        self._server = http.client.HTTPConnection(self.line.upstream, timeout=120)

    def finish(self) -> None:
        self._server.close()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not logged."""

    def _serve(self) -> None:
        line = self.line
        name = operation(self.command, self.path, "x-amz-copy-source" in self.headers)
        faults = line.faults.hitting(name)
        with line.lock:
            line.requests[name] += 1
        time.sleep(sum(fault.latency for fault in faults))
        length = int(self.headers["Content-Length"] or 0)
        resets = {fault.reset for fault in faults}
        if "before" in resets:
            return self._reset()
        body = self.rfile.read(length // 2 if length and "body" in resets else length)
        if length and "body" in resets:
            return self._reset()
        for fault in faults:
            if fault.status is not None:
                return self._refuse(fault)
            if fault.corrupt is not None and body:
                body = _flipped(body, fault.corrupt)
        answer, content = self._forward(body)
        if "reply" in resets:
            return self._reset()
        archived = answer.headers["x-amz-storage-class"] in {"GLACIER", "DEEP_ARCHIVE"}
        if name == "GetObject" and line.archives and archived:
            return self._say(403, "InvalidObjectState")
        return self._answer(answer, content, faults, bool(length))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

    def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        self._server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self._server.putheader(name, value)
        self._server.endheaders(body or None)
        answer = self._server.getresponse()
        return answer, answer.read()

    def _answer(
        self, answer: http.client.HTTPResponse, content: bytes, faults: list[Fault], sent: bool
    ) -> None:
        length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(content))
        reads = self.command == "GET" and answer.status < 300 and not sent
        cut = next((fault.truncate for fault in faults if fault.truncate is not None and reads), None)
        half = any(fault.reset == "body" for fault in faults) and not sent
        for fault in faults:
            if fault.corrupt is not None and reads and content:
                content = _flipped(content, fault.corrupt)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2 if half else cut])
        self.wfile.flush()
        if half:
            return self._reset()
        # A client that got less than it was promised must not wait for the rest.
        self.close_connection = self.close_connection or (cut is not None and cut < len(content))
        return None

    def _refuse(self, fault: Fault) -> None:
        assert fault.status is not None
        self._say(fault.status, _CODES.get(fault.status, "ServiceUnavailable"), fault.retry_after)

    def _say(self, status: int, code: str, retry_after: int | None = None) -> None:
        body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        hang_up(self.connection)


def _flipped(data: bytes, offset: int) -> bytes:
    at = offset % len(data)
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
