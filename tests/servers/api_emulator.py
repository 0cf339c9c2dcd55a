"""What the emulators of web services have in common: a proxy, a clock, faults and accounting."""

import contextlib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .faults import Faults
from .tls_proxy import TlsProxy


class ApiEmulator:
    """Serves `hosts` behind a proxy on `port` (0: any free one), each connection by `connection`.

    Knobs: `faults` (a list of `Fault`); `advance()` moves its clock. Accounting: `requests` by route,
    `received` and `sent` bytes of bodies by route, `peak` requests at once, `connections`.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        connection: Callable[[ssl.SSLSocket, str, Any], object],
        *,
        seed: int = 0,
        port: int = 0,
        ca_file: Path | None = None,
    ):
        self._offset = 0.0
        self._connection = connection
        self.faults = Faults(seed=seed)
        self.requests: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.peak = 0
        self._active = 0
        self._counting = threading.Lock()
        self.proxy = TlsProxy(dict.fromkeys(hosts, self._serve), port, ca_file)

    def now(self) -> float:
        """The emulator's clock, in seconds since the epoch."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Moves the clock on, past the expiry of tokens or sessions."""
        self._offset += seconds

    def env(self) -> dict[str, str]:
        """Environment variables that lead a client here and make it trust the emulator's certificates."""
        return self.proxy.env()

    @property
    def ca_file(self) -> Path:
        """The CA's certificate, for clients that take it as an option."""
        return self.proxy.ca_file

    @property
    def connections(self) -> int:
        """TLS connections accepted so far."""
        return self.proxy.connections

    @contextlib.contextmanager
    def counted(self, route: str) -> Iterator[None]:
        """Accounts for a request while it lasts."""
        with self._counting:
            self.requests[route] += 1
            self._active += 1
            self.peak = max(self.peak, self._active)
        try:
            yield
        finally:
            with self._counting:
                self._active -= 1

    def moved(self, route: str, received: int = 0, sent: int = 0) -> None:
        """Accounts for bytes of bodies."""
        with self._counting:
            self.received[route] += received
            self.sent[route] += sent

    def close(self) -> None:
        """Ends all connections. Raises what went wrong inside the emulator."""
        self.proxy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, connection: ssl.SSLSocket, host: str) -> None:
        self._connection(connection, host, self)
