import contextlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable

import pytest
import requests

from .tls_proxy import ResetConnection, TlsProxy

HOST = "service.example"


def echo(connection: ssl.SSLSocket, host: str) -> None:
    while data := connection.recv(65536):
        connection.sendall(host.encode() + b":" + data)


def one_reply(connection: ssl.SSLSocket, host: str) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def reset(connection: ssl.SSLSocket, host: str) -> None:
    connection.recv(1)
    raise ResetConnection


def tunnel(proxy: TlsProxy, target: str = f"{HOST}:443") -> tuple[socket.socket, bytes]:
    """A connection through the proxy, and the status line it answered CONNECT with."""
    plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    plain.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    reply = b""
    while b"\r\n\r\n" not in reply:
        reply += plain.recv(1024)
    return plain, reply.split(b"\r\n")[0]


def secure(proxy: TlsProxy, plain: socket.socket, alpn: tuple[str, ...] = ()) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(proxy.ca_file))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(plain, server_hostname=HOST)


def test_serves_a_chosen_host_with_a_certificate_for_its_name() -> None:
    with TlsProxy({HOST: echo}) as proxy:
        plain, status = tunnel(proxy)
        with secure(proxy, plain, alpn=("h2", "http/1.1")) as tls:
            assert status.startswith(b"HTTP/1.1 200")
            assert tls.selected_alpn_protocol() == "http/1.1"
            tls.sendall(b"hello")
            assert tls.recv(100) == b"service.example:hello"
        assert proxy.connections == 1


@pytest.mark.parametrize("target", ["elsewhere.example:443", f"{HOST}:80", "127.0.0.1:22"])
def test_refuses_everything_else(target: str) -> None:
    with TlsProxy({HOST: echo}) as proxy:
        plain, status = tunnel(proxy, target)
        with plain:
            assert status.startswith(b"HTTP/1.1 403")
            assert plain.recv(1) == b""
        assert proxy.refused == [target]


def test_is_no_plain_http_proxy() -> None:
    with TlsProxy({HOST: echo}) as proxy:
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        client.request("GET", "http://service.example/")
        assert client.getresponse().status == 405
        client.close()


def test_only_clients_that_are_given_the_ca_trust_it() -> None:
    with TlsProxy({HOST: echo}) as proxy, TlsProxy({HOST: echo}) as other:
        plain, _ = tunnel(proxy)
        with plain, pytest.raises(ssl.SSLCertVerificationError):
            secure(other, plain)


def test_env_suffices_for_requests_and_curl(monkeypatch: pytest.MonkeyPatch) -> None:
    with TlsProxy({HOST: one_reply}) as proxy:
        for name, value in proxy.env().items():
            monkeypatch.setenv(name, value)
        assert requests.get(f"https://{HOST}/", timeout=5).text == "ok"
        with pytest.raises(requests.exceptions.ProxyError):
            requests.get("https://elsewhere.example/", timeout=5)
        if shutil.which("curl"):
            command = ["curl", "-sS", "--max-time", "5", f"https://{HOST}/"]
            done = subprocess.run(command, env=os.environ | proxy.env(), capture_output=True, check=True)
            assert done.stdout == b"ok"


def drain(connection: socket.socket) -> None:
    while socket.socket.recv(connection, 4096):
        pass


def test_a_reset_is_a_reset() -> None:
    with TlsProxy({HOST: reset}) as proxy:
        plain, _ = tunnel(proxy)
        with secure(proxy, plain) as tls:
            tls.sendall(b"x")
            # Below TLS, whose reader takes a reset for an end in some versions of Python.
            with pytest.raises(ConnectionResetError):
                drain(tls)


@pytest.mark.parametrize("stall", ["before CONNECT", "before TLS", "idle"])
def test_closing_ends_connections_that_wait(stall: str) -> None:
    with TlsProxy({HOST: echo}) as proxy:
        if stall == "before CONNECT":
            client: socket.socket = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
        else:
            client, _ = tunnel(proxy)
            if stall == "idle":
                client = secure(proxy, client)
    with client:
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("tls-proxy")]
        # A reset, if the proxy closed before it had accepted the connection.
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_a_failing_application_fails_the_test_that_uses_it() -> None:
    def broken(connection: ssl.SSLSocket, host: str) -> None:
        raise LookupError("a bug in the test server")

    def use(proxy: TlsProxy) -> None:
        plain, _ = tunnel(proxy)
        with secure(proxy, plain) as tls:
            assert tls.recv(1) == b""

    with pytest.raises(ExceptionGroup) as caught:
        _within(broken, use)
    assert isinstance(caught.value.exceptions[0], LookupError)


def _within(application: Callable[[ssl.SSLSocket, str], None], use: Callable[[TlsProxy], None]) -> None:
    with TlsProxy({HOST: application}) as proxy:
        use(proxy)
