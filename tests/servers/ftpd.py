"""A real FTP server (pyftpdlib), for as long as a ``with`` block lasts."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "photographer"
PASSWORD = "correct horse"


@dataclass(frozen=True, slots=True)
class Ftpd:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        folder: what it serves.
    """

    port: int
    folder: Path

    def options(self) -> dict[str, Any]:
        """For ``fsspec.filesystem("ftp", **options)``."""
        return {"host": "127.0.0.1", "port": self.port, "username": USER, "password": PASSWORD}


@contextlib.contextmanager
def ftpd(folder: Path, *, read_only: bool = False) -> Iterator[Ftpd]:
    """Serves a folder, each connection on a thread of its own.

    Args:
        folder: to be served.
        read_only: it refuses every write.
    """
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder), perm="elr" if read_only else "elradfmwMT")
    handler = type("Handler", (FTPHandler,), {"authorizer": authorizer, "auth_failed_timeout": 0})
    server = FTPServer(("127.0.0.1", 0), handler, ioloop=IOLoop())
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            server.ioloop.loop(timeout=0.05, blocking=False)

    thread = threading.Thread(target=serve, name="ftpd", daemon=True)
    thread.start()
    try:
        yield Ftpd(server.address[1], folder)
    finally:
        ended.set()
        thread.join(10)
        server.close_all()
