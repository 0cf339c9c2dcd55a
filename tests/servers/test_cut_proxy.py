import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.servers.cut_proxy import CutProxy


@pytest.fixture
def line() -> Iterator[CutProxy]:
    """A line to a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def echo(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with listener, CutProxy(*listener.getsockname()) as proxy:
        yield proxy


def connect(line: CutProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=5)


def talk(line: CutProxy, times: int) -> None:
    """Sends 1,000 bytes so many times and waits for each answer, and for the end."""
    with connect(line) as client:
        for _ in range(times):
            client.sendall(b"x" * 1000)
            client.recv(1000, socket.MSG_WAITALL)
        client.recv(1)


def test_forwards_and_counts(line: CutProxy) -> None:
    with connect(line) as client:
        client.sendall(b"x" * 1000)
        assert client.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b"", "an orderly end is passed on"
    assert (line.up, line.down) == (1000, 1000)


def test_a_cut_resets_old_and_new_connections_until_it_is_mended(line: CutProxy) -> None:
    with connect(line) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        line.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionError):
        talk(line, 1)
    line.mend()
    with connect(line) as client:
        client.sendall(b"y")
        assert client.recv(1) == b"y"


def test_cuts_by_itself_after_so_many_bytes(line: CutProxy) -> None:
    line.cut_after(5_000)
    with pytest.raises(ConnectionError):
        talk(line, 100)
    assert line.cuts == 1
    assert 5_000 <= line.up <= 6_000
