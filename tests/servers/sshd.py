"""A real OpenSSH server with SFTP, for as long as a ``with`` block lasts."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        user: the one who may sign in: who runs the tests.
        key: private key to sign in with.
        known_hosts: the server's own key, in the format of ssh.
        log: what the server says.
    """

    port: int
    user: str
    key: Path
    known_hosts: Path
    log: Path

    def options(self) -> dict[str, Any]:
        """For ``fsspec.filesystem("sftp", **options)``."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "username": self.user,
            "key_filename": str(self.key),
            "look_for_keys": False,
            "allow_agent": False,
        }


def binary() -> str | None:
    """sshd's absolute path, which it insists on; None if it is not installed."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Starts a server with throw-away keys and kills it at the end.

    Args:
        folder: an existing folder for keys, configuration and log; absolute.
    """
    program = binary()
    if program is None:
        raise RuntimeError("sshd is missing: install openssh-server")
    if os.getuid() == 0:
        # Its privilege separation wants an empty folder of root's.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    # The port is free only until somebody else takes it: a second try gets another.
    for last in (False, True):
        server, process = _start(program, folder)
        try:
            _wait(server, process)
        except RuntimeError:
            _stop(process)
            if last:
                raise
            continue
        try:
            yield server
        finally:
            _stop(process)
        return


def _start(program: str, folder: Path) -> tuple[Sshd, subprocess.Popen[bytes]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\n"
        "PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "MaxStartups 100\nMaxSessions 100\nSubsystem sftp internal-sftp\n"
    )
    kind, key = (folder / "host.pub").read_text().split()[:2]
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    log = folder / "sshd.log"
    process = subprocess.Popen([program, "-D", "-f", config, "-E", log])
    return Sshd(port, getpass.getuser(), folder / "user", known, log), process


def _wait(server: Sshd, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
        ):
            if connection.recv(4) == b"SSH-":
                return
        time.sleep(0.02)
    said = server.log.read_text() if server.log.exists() else "nothing"
    raise RuntimeError(f"sshd did not start: {said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
