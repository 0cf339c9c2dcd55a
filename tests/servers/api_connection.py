"""The HTTP side that the emulators of web APIs share: bodies, downloads by range, and injected faults."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from .dropbox_content import Content
from .faults import Faults
from .tls_proxy import ResetConnection

_READ = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class HttpReply(Exception):
    """A reply that is not an endpoint's result; raised, as nearly all of them are refusals. `body` is text,
    or the object to send as JSON."""

    def __init__(self, status: int, body: str | dict[str, Any], headers: dict[str, str] | None = None):
        super().__init__(status, body)
        self.status, self.body, self.headers = status, body, headers or {}


class Service(Protocol):
    """What a connection needs of its emulator."""

    faults: Faults

    def counted(self, route: str) -> AbstractContextManager[None]:
        """Accounts for a request while it lasts."""

    def moved(self, route: str, received: int = 0, sent: int = 0) -> None:
        """Accounts for bytes of bodies."""


class ApiConnection(BaseHTTPRequestHandler):
    """Serves the requests of one decrypted connection, one after another.

    A service says which route a request is (`_route_of`), answers it (`_answer`), and sends what is no JSON
    (`_send`).
    """

    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def __init__(self, connection: Any, host: str, service: Service):
        self._host = host
        self._service: Any = service
        super().__init__(connection, ("client", 0), None)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not logged."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _route_of(self, path: str) -> str:
        raise NotImplementedError

    def _answer(self) -> Any:
        raise NotImplementedError

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self._query = dict(parse_qsl(url.query))
        self._route = self._route_of(url.path)
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

    # Taking the request

    def _body_limit(self) -> int | None:
        """Bytes of a body worth keeping; None: all."""
        return None

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
        limit = self._body_limit()
        self._arrived = bytearray()
        half, body = self._length() / 2, self._arrived
        for piece in pieces:
            if limit is None or len(body) <= limit:  # the rest of what is too large may go
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

    def _own_headers(self) -> dict[str, str]:
        """Headers that the service puts on every reply."""
        return {}

    def _send(self, reply: Any) -> None:
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
        for name, value in (headers | self._own_headers()).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
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
            raise self._unsatisfiable(size)
        return start, end, True

    def _unsatisfiable(self, size: int) -> HttpReply:
        return HttpReply(416, "The range can't be satisfied.", {"Content-Range": f"bytes */{size}"})

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

    # Faults on the way

    def _reset_if(self, moment: str) -> None:
        if any(fault.reset == moment for fault in self._faults):
            raise ResetConnection

    def _throttle(self, moved: int) -> None:
        for fault in self._faults:
            if fault.bandwidth is not None:
                self.wfile.flush()
                time.sleep(moved / fault.bandwidth)
