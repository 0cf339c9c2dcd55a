"""Two WebDAV servers that share no code: WsgiDAV on cheroot, and rclone's."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.listening import free_port, stop, wait_for

USER = "photographer"
PASSWORD = "correct horse"


@dataclass(frozen=True, slots=True)
class Dav:
    """A running server.

    Attributes:
        url: its root.
        folder: what it serves.
    """

    url: str
    folder: Path

    def options(self) -> dict[str, Any]:
        """For ``fsspec.filesystem("webdav", **options)``."""
        return {"base_url": self.url, "auth": (USER, PASSWORD)}


@contextlib.contextmanager
def wsgidav(folder: Path, *, read_only: bool = False) -> Iterator[Dav]:
    """WsgiDAV, in this process.

    Args:
        folder: to be served.
        read_only: it refuses every write.
    """
    import threading

    from cheroot.wsgi import Server
    from wsgidav.fs_dav_provider import FilesystemProvider
    from wsgidav.wsgidav_app import WsgiDAVApp

    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": FilesystemProvider(str(folder), readonly=read_only)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_digest": False, "default_to_digest": False},
            "logging": {"enable": False},
            "verbose": 0,
            "property_manager": None,
            "lock_storage": None,
        }
    )
    server = Server(("127.0.0.1", 0), app, numthreads=10)
    server.prepare()
    thread = threading.Thread(target=server.serve, name="wsgidav", daemon=True)
    thread.start()
    try:
        yield Dav(f"http://127.0.0.1:{server.bind_addr[1]}", folder)
    finally:
        server.stop()
        thread.join(10)


@contextlib.contextmanager
def rclone_webdav(folder: Path) -> Iterator[Dav]:
    """``rclone serve webdav``."""
    port = free_port()
    program = Path(sys.executable).parent / "rclone"
    process = subprocess.Popen(
        [program, "serve", "webdav", folder, "--addr", f"127.0.0.1:{port}", "--user", USER,
         "--pass", PASSWORD, "--config", ""],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(port, process, lambda: "rclone ended")
        yield Dav(f"http://127.0.0.1:{port}", folder)
    finally:
        stop(process)
