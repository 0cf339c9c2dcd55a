"""The transport under Google's client: replies that are cut, endless, or lead elsewhere; proxies and CAs."""

import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from photosync.backends import drive_http
from photosync.backends.drive_errors import translated
from photosync.backends.drive_http import Http
from photosync.backends.session import PIECE, Session
from photosync.engine.errors import Fatal, Permanent, Transient
from tests.backends.drive_rig import rigged


class Signed:
    """A sign-in that never changes."""

    def token(self) -> str:
        return "token"

    def renewed(self, used: str) -> str:
        return used


@contextmanager
def answering(reply: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that says one thing, whatever it is asked; its address, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x", asked
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Http:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Http(Signed(), lambda _name: None)  # type: ignore[arg-type]


def asks(http: Http, url: str) -> Callable[[], object]:
    def ask() -> object:
        with translated("asking"):
            return http.request(url)

    return ask


def test_a_reply_cut_short_is_none(http: Http) -> None:
    with (
        answering(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"files": []}') as (url, _),
        pytest.raises(Transient, match="connection failed"),
    ):
        asks(http, url)()


@pytest.mark.row(51)
def test_a_reply_without_end_is_not_kept(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive_http, "LARGEST", 1 << 20)
    packed = zlib.compress(bytes(64 << 20), wbits=31)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with answering(head + packed) as (url, _), pytest.raises(Permanent, match="larger than any"):
        asks(http, url)()


@pytest.mark.row(52)
def test_a_redirect_is_not_followed(http: Http) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (elsewhere, asked):
        reply = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n".encode()
        with answering(reply) as (url, first), pytest.raises(Permanent, match="never followed"):
            asks(http, url)()
    assert b"Bearer token" in first[0]
    assert asked == []


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [
        ("GET", None, {"accept": "application/json", "Accept-Encoding": "identity"}),
        ("GET", None, {"Range": "bytes=1-"}),
        ("POST", None, {}),
        ("POST", b"{}", {"content-type": "application/json", "content-length": "2"}),
        ("PUT", b"", {"Content-Range": "bytes */5", "Content-Length": "0"}),
        ("PUT", bytes(PIECE), {}),
        ("PATCH", b"x" * (PIECE + 1), {"user-agent": "another"}),
        ("DELETE", b"", {}),
    ],
)
def test_a_request_is_the_one_that_requests_would_make(
    http: Http, method: str, body: bytes | None, headers: dict[str, str]
) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, asked), Session(1) as session:
        url += "/\u00e9 %2F?q='a b'&fields=id%2Cname"
        session.exchange(method, url, body, headers).close()
        session.request(method, url, data=body, headers=headers, allow_redirects=False).close()
    ours, theirs = (_taken_apart(each) for each in asked)
    assert ours == theirs


def _taken_apart(request: bytes) -> tuple[bytes, set[bytes]]:
    """The first line and the headers, whose names' case and order mean nothing."""
    first, *rest = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    headers = (line.partition(b":") for line in rest)
    return first, {name.lower() + value for name, _, value in headers}


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_proxy_with_an_authority_of_its_own(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with rigged(monkeypatch) as rig:
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(Fatal, match="SSL_CERT_FILE"):
            rig.sign_in().ls("")
        monkeypatch.setenv(variable, str(rig.emulator.ca_file))
        assert rig.sign_in().ls("") == []
        assert rig.emulator.requests["files.list"] == 1


def test_no_proxy_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    with rigged(monkeypatch) as rig:
        monkeypatch.setenv("NO_PROXY", "www.googleapis.com")
        monkeypatch.setattr(socket, "create_connection", _refused)
        monkeypatch.setattr("urllib3.util.connection.create_connection", _refused)
        with pytest.raises(Transient):
            rig.sign_in().ls("")
    assert not rig.emulator.requests


def _refused(*_args: object, **_options: object) -> socket.socket:
    raise ConnectionRefusedError(111, "refused by the test")
