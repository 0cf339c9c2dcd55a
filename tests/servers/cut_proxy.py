"""A TCP proxy whose cable can be pulled, and which counts what went through it.

with CutProxy("127.0.0.1", 8333) as line:
    ...                       # a client of 127.0.0.1:line.port
    line.cut_after(10 << 20)  # resets every connection once so many more bytes went up
    line.mend()
    assert line.up < ...
"""

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_BLOCK = 64 << 10
_RESET = struct.pack("ii", 1, 0)


class CutProxy:
    """Forwards connections to a server on ``port`` (chosen freely) of 127.0.0.1.

    Attributes:
        port: where it listens.
        up, down: bytes from clients to the server and back, since the start.
        cuts: how often the line was cut.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._is_cut = False
        self._cut_at: int | None = None
        self.up = self.down = self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="cut-proxy", daemon=True).start()

    def cut(self) -> None:
        """Resets every connection; new ones are reset as well until `mend`."""
        with self._lock:
            self._is_cut, self._cut_at = True, None
            self.cuts += 1
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            hang_up(*pair)

    def cut_after(self, size: int) -> None:
        """Cuts once ``size`` more bytes went up; ``mend`` calls it off."""
        with self._lock:
            self._cut_at = self.up + size

    def mend(self) -> None:
        with self._lock:
            self._is_cut, self._cut_at = False, None

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server, timeout=10)
        except OSError:
            hang_up(client)
            client.close()
            return
        pair = (client, server)
        for end in pair:
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if self._is_cut:
                hang_up(*pair)
            else:
                self._pairs.add(pair)
        back = threading.Thread(target=self._pump, args=(pair, server, client, False), daemon=True)
        back.start()
        self._pump(pair, client, server, True)
        back.join()
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            end.close()

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        upward: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BLOCK):
                if self._counted(len(data), upward):
                    self.cut()
                    return
                sink.sendall(data)
        with self._lock:
            alive = pair in self._pairs
        if alive:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _counted(self, size: int, upward: bool) -> bool:
        """Counts, and says whether that was too much."""
        with self._lock:
            if not upward:
                self.down += size
                return False
            self.up += size
            return self._cut_at is not None and self.up >= self._cut_at


def hang_up(*ends: socket.socket) -> None:
    """Wakes whoever reads from them; closing them will then send RST, because of the linger time of zero."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.shutdown(socket.SHUT_RD)
