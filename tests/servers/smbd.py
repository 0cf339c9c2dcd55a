"""A real Samba server, for as long as a ``with`` block lasts."""

import contextlib
import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.listening import free_port, stop, wait_for

PASSWORD = "correct horse"


@dataclass(frozen=True, slots=True)
class Smbd:
    """A running server with the shares ``photos`` and ``readonly``, which are one folder.

    Attributes:
        port: on 127.0.0.1.
        user: who may sign in, with `PASSWORD`: who runs the tests.
        share: the folder behind the shares.
        log: folder of what the server says.
    """

    port: int
    user: str
    share: Path
    log: Path

    def options(self) -> dict[str, Any]:
        """For ``fsspec.filesystem("smb", **options)``."""
        return {"host": "127.0.0.1", "port": self.port, "username": self.user, "password": PASSWORD}


def why_not() -> str | None:
    """What is missing, or None."""
    if _binary("smbd") is None or _binary("smbpasswd") is None:
        return "smbd is missing: install samba"
    return None if os.getuid() == 0 else "smbd is started by root alone"


def _binary(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def smbd(folder: Path) -> Iterator[Smbd]:
    """Starts a server and kills it at the end.

    Args:
        folder: an existing folder for the share and for all that the server keeps; absolute.
    """
    program, password = _binary("smbd"), _binary("smbpasswd")
    if program is None or password is None:
        raise RuntimeError("smbd is missing: install samba")
    server = Smbd(free_port(), getpass.getuser(), folder / "share", folder / "log")
    for name in ("share", "log", "private", "lock", "state", "cache", "pid", "ncalrpc"):
        (folder / name).mkdir(exist_ok=True)
    config = folder / "smb.conf"
    config.write_text(
        "[global]\n"
        f"smb ports = {server.port}\nbind interfaces only = yes\ninterfaces = 127.0.0.1/8\n"
        "disable netbios = yes\nserver role = standalone server\nsecurity = user\n"
        f"passdb backend = tdbsam:{folder}/private/passdb.tdb\nprivate dir = {folder}/private\n"
        f"lock directory = {folder}/lock\nstate directory = {folder}/state\n"
        f"cache directory = {folder}/cache\npid directory = {folder}/pid\n"
        f"ncalrpc dir = {folder}/ncalrpc\nlog file = {folder}/log/smbd.log\n"
        "load printers = no\nprinting = bsd\nprintcap name = /dev/null\ndisable spoolss = yes\n"
        f"[photos]\npath = {server.share}\nread only = no\n"
        f"[readonly]\npath = {server.share}\nread only = yes\n"
    )
    subprocess.run(
        [password, "-c", config, "-s", "-a", server.user],
        input=f"{PASSWORD}\n{PASSWORD}\n".encode(),
        check=True,
        capture_output=True,
    )
    output = folder / "log" / "output"
    with open(output, "wb") as said:
        process = subprocess.Popen(
            [program, "--foreground", "--no-process-group", f"--configfile={config}"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        wait_for(server.port, process, lambda: output.read_text(errors="replace"))
        yield server
    finally:
        stop(process)
