"""The HTTP side of the Dropbox emulator: hosts, authorization, arguments, replies and injected faults."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from dropbox import common, files, users
from stone.backends.python_rsrc import stone_serializers
from stone.backends.python_rsrc.stone_validators import ValidationError

from .dropbox_auth import Auth
from .dropbox_content import Content
from .dropbox_errors import EndpointError, HttpReply, rate_limited, summary, tag
from .dropbox_reading import ROOT_NAMESPACE, Download
from .dropbox_routes import ENDPOINTS, Api, Call
from .faults import Faults
from .tls_proxy import ResetConnection

HOSTS = {
    "api": "api.dropboxapi.com",
    "content": "content.dropboxapi.com",
    "notify": "notify.dropboxapi.com",
    "www": "www.dropbox.com",
    "link": "dl.dropboxusercontent.com",
}
_READ = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def _specifications() -> dict[str, Any]:
    """The official SDK's description of each endpoint here: argument type, host, style and authorization."""
    described = {}
    for namespace, module in (("files", files), ("users", users)):
        for route in module.ROUTES.values():
            version = f"_v{route.version}" if route.version > 1 else ""
            described[f"{namespace}/{route.name}{version}"] = route
    return {name: described[name] for name in ENDPOINTS}


SPECIFICATIONS = _specifications()


class Service(Protocol):
    """What a connection needs of the emulator."""

    api: Api
    auth: Auth
    faults: Faults

    def counted(self, route: str) -> AbstractContextManager[None]:
        """Accounts for a request while it lasts."""

    def moved(self, route: str, received: int = 0, sent: int = 0) -> None:
        """Accounts for bytes of bodies."""


class Connection(BaseHTTPRequestHandler):
    """Serves the requests of one decrypted connection, one after another."""

    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def __init__(self, connection: Any, host: str, service: Service):
        self._host = host
        self._service = service
        super().__init__(connection, ("client", 0), None)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not logged."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self._query = dict(parse_qsl(url.query))
        self._route = url.path.strip("/").removeprefix("2/")
        self._unread = True
        self._faults = self._service.faults.hitting(self._route)
        with self._service.counted(self._route):
            self._reply()

    def _reply(self) -> None:
        # Even a sleep of no time costs a tenth of a millisecond.
        if latency := sum(fault.latency for fault in self._faults):
            time.sleep(latency)
        try:
            self._reset_if("before")
            reply = self._answer()
            self._reset_if("reply")
            self._send(reply)
        except HttpReply as refusal:
            self._send_error(refusal)
        except EndpointError as failure:
            body = {"error_summary": summary(failure.error), "error": failure.error}
            self._send_error(HttpReply(409, body))

    # Taking the request

    def _answer(self) -> Any:
        if self.command == "GET" and self._host == HOSTS["www"] and self._route == "oauth2/authorize":
            raise self._service.auth.authorize(self._query)
        if self.command == "GET" and self._host == HOSTS["link"]:
            return self._temporary_link()
        if self.command != "POST":
            raise HttpReply(405, "Use POST.")
        if self._host == HOSTS["api"] and self._route == "oauth2/token":
            self._apply_faults()
            form = dict(parse_qsl(self._body().decode()))
            return self._service.auth.exchange(form, self.headers["Authorization"])
        if self._host == HOSTS["api"] and self._route == "auth/token/revoke":
            self._body()
            return self._service.auth.revoke(self._service.auth.check(self.headers["Authorization"]))
        return self._call()

    def _call(self) -> Any:
        specification = SPECIFICATIONS.get(self._route)
        if specification is None or self._host != HOSTS[specification.attrs["host"]]:
            raise HttpReply(400, f'Unknown API function: "{self._route}" at {self._host}')
        if "user" in specification.attrs["auth"].replace(" ", "").split(","):
            self._authorize()
        self._apply_faults()
        if specification.attrs["style"] == "rpc":
            arg = self._decode(specification, "request body", self._body())
            call = Call(stale=max((fault.stale for fault in self._faults), default=0))
        else:
            # Documented is JSON in ASCII, but rclone sends UTF-8 and the service takes it.
            header = (self.headers["Dropbox-API-Arg"] or "").encode("latin-1")
            text = header or self._query.get("arg", "").encode()
            arg = self._decode(specification, 'HTTP header "Dropbox-API-Arg"', text)
            self._check_content_type(specification.attrs["style"])
            call = Call(self._body())
        return ENDPOINTS[self._route](self._service.api, arg, call)

    def _authorize(self) -> None:
        header = self.headers["Authorization"]
        if any(fault.expire_token for fault in self._faults):
            self._service.auth.expire(self._service.auth.check(header))
        self._service.auth.check(header)
        root = self.headers["Dropbox-API-Path-Root"]
        if root is not None:
            _check_path_root(root)

    def _apply_faults(self) -> None:
        for fault in self._faults:
            if fault.status == 429:
                raise rate_limited(fault.reason, fault.retry_after)
            if fault.status is not None:
                retry = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                raise HttpReply(fault.status, "An error occurred on the server.", retry)
            if fault.error is not None:
                raise EndpointError(fault.error)

    def _decode(self, specification: Any, where: str, text: bytes) -> Any:
        try:
            value = json.loads(text) if text else None
            return stone_serializers.json_compat_obj_decode(specification.arg_type, value, strict=True)
        except (ValueError, ValidationError) as error:
            raise HttpReply(400, f'Error in call to API function "{self._route}": {where}: {error}') from None

    def _check_content_type(self, style: str) -> None:
        kind = self.headers.get_content_type() if self.headers["Content-Type"] else None
        if style == "upload" and kind != "application/octet-stream":
            raise HttpReply(
                400,
                f'Error in call to API function "{self._route}": Bad HTTP "Content-Type" header: "{kind}". '
                'Expecting "application/octet-stream".',
            )

    def _length(self) -> int:
        return int(self.headers["Content-Length"] or 0)

    def _body(self) -> bytes:
        self._unread = False
        # urllib3 leaves Nagle's algorithm on when it talks to a proxy, and sends headers and body apart: the
        # body then waits for the headers' acknowledgement, which would be delayed by 40 ms.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if (self.headers["Transfer-Encoding"] or "").lower() == "chunked":
            pieces = self._chunked()
        else:
            pieces = self._pieces(self._length())
        breaking = any(fault.reset == "body" for fault in self._faults)
        half, body = self._length() / 2, bytearray()
        for piece in pieces:
            if len(body) <= self._service.api.max_request:  # the rest of what is too large may go
                body += piece
            self._service.moved(self._route, received=len(piece))
            self._throttle(len(piece))
            if breaking and len(body) >= half:
                raise ResetConnection
        for fault in self._faults:
            if fault.corrupt is not None and fault.corrupt < len(body):
                body[fault.corrupt] ^= 1
        return bytes(body)

    def _pieces(self, length: int) -> Iterator[bytes]:
        while length:
            piece = self.rfile.read1(min(length, _READ))
            if not piece:
                raise ConnectionResetError("the client ended the connection in a body")
            length -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        """A body in the chunked coding of RFC 9112, section 7.1."""
        while length := int(self.rfile.readline(128).split(b";")[0], 16):
            yield from self._pieces(length)
            self.rfile.readline(128)
        while self.rfile.readline(8192).strip():
            pass

    # Sending the reply

    def _send(self, reply: Any) -> None:
        if isinstance(reply, Download):
            self._send_content(
                reply.content,
                {
                    "Dropbox-API-Result": json.dumps(reply.metadata),
                    "ETag": f'W/"{reply.rev}"',
                },
            )
        else:
            self._send_bytes(200, json.dumps(reply).encode(), "application/json", {})

    def _send_error(self, error: HttpReply) -> None:
        if self._unread:
            # A reply in the middle of a body reads as a broken connection to most clients.
            self._body()
        if isinstance(error.body, str):
            kind = error.headers.get("Content-Type", "text/plain; charset=utf-8")
            self._send_bytes(error.status, error.body.encode(), kind, error.headers)
        else:
            self._send_bytes(error.status, json.dumps(error.body).encode(), "application/json", error.headers)

    def _send_bytes(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self._send_head(status, len(body), {"Content-Type": kind} | headers)
        self._write(body)

    def _send_head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Dropbox-Request-Id", f"{time.monotonic_ns():032x}")
        self.end_headers()

    def _send_content(self, content: Content, headers: dict[str, str]) -> None:
        start, end, partial = self._range(content.size)
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"} | headers
        if partial:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
        self._send_head(206 if partial else 200, end - start, headers)
        sent = 0
        for piece in content.pieces(start, end):
            sent += self._write(self._spoil(piece, start, sent, end - start))

    def _range(self, size: int) -> tuple[int, int, bool]:
        match = _RANGE.fullmatch(self.headers["Range"] or "")
        if match is None or match[0] == "bytes=-":
            return 0, size, False
        if not match[1]:
            start, end = max(0, size - int(match[2])), size
        else:
            start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if start >= end:
            raise HttpReply(416, "The range can't be satisfied.", {"Content-Range": f"bytes */{size}"})
        return start, end, True

    def _spoil(self, piece: bytes, start: int, sent: int, total: int) -> bytes:
        """A piece of a download, with the faults that damage it; ends the connection where they do."""
        for fault in self._faults:
            at = -1 if fault.corrupt is None else fault.corrupt - start - sent
            if 0 <= at < len(piece):
                piece = piece[:at] + bytes((piece[at] ^ 1,)) + piece[at + 1 :]
            if fault.reset == "body" and (sent + len(piece)) * 2 >= total:
                self._write(piece[: len(piece) // 2])
                raise ResetConnection
            if fault.truncate is not None and sent + len(piece) > fault.truncate:
                self._write(piece[: fault.truncate - sent])
                raise ConnectionAbortedError("truncated as told")
        return piece

    def _write(self, data: bytes) -> int:
        self.wfile.write(data)
        self._service.moved(self._route, sent=len(data))
        self._throttle(len(data))
        return len(data)

    def _temporary_link(self) -> Download:
        node_id = self._service.api.links.get(self._route.rpartition("/")[2])
        node = self._service.api.account.find(node_id) if node_id else None
        if node is None or node.revision is None:
            raise HttpReply(410, "The link has expired.")
        return Download({}, node.revision.content, node.revision.rev)

    # Faults on the way

    def _reset_if(self, moment: str) -> None:
        if any(fault.reset == moment for fault in self._faults):
            raise ResetConnection

    def _throttle(self, moved: int) -> None:
        for fault in self._faults:
            if fault.bandwidth is not None:
                self.wfile.flush()
                time.sleep(moved / fault.bandwidth)


def _check_path_root(header: str) -> None:
    try:
        root = stone_serializers.json_decode(common.PathRoot_validator, header, strict=True)
    except (ValueError, ValidationError) as error:
        raise HttpReply(400, f'Error in HTTP header "Dropbox-API-Path-Root": {error}') from None
    if root.is_root() and root.get_root() != ROOT_NAMESPACE:
        info = {".tag": "user", "root_namespace_id": ROOT_NAMESPACE, "home_namespace_id": ROOT_NAMESPACE}
        refusal = tag("invalid_root", info)
    elif root.is_namespace_id() and root.get_namespace_id() != ROOT_NAMESPACE:
        refusal = tag("no_permission")
    else:
        return
    raise HttpReply(422, {"error_summary": summary(refusal), "error": refusal})
