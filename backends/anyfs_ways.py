"""Better ways to do things with some of other people's filesystems than fsspec's common ones."""

import contextlib
import io
import socket
from typing import Any
from urllib.parse import quote

from fsspec.asyn import sync

from photosync.engine.capabilities import Usage
from photosync.engine.errors import Transient, Unsupported

_WHOLE = 8 << 20
"""Bytes of the largest file that is fetched in one piece over a connection which others need as well."""
_CREDITS = 2048
"""For SMB; each stands for 64 KiB, and eight threads may well be writing 8 MiB each."""


# SFTP


def sftp_utime(fs: Any, path: str, mtime_ns: int) -> None:
    seconds = _sftp_seconds(path, mtime_ns)
    fs.ftp.utime(path, (seconds, seconds))


def _sftp_seconds(path: str, mtime_ns: int) -> int:
    seconds = mtime_ns // 1_000_000_000
    if not 0 <= seconds < 1 << 32:
        raise Unsupported(f"{path}: SFTP cannot keep times before 1970 or after 2106")
    return seconds


def sftp_prepare(fs: Any) -> None:
    # paramiko sends a block in several pieces, of which Nagle's algorithm holds the last back: 40 ms a block.
    transport = fs.client.get_transport()
    if transport is not None and hasattr(transport.sock, "setsockopt"):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def sftp_alive(fs: Any) -> bool:
    transport = fs.client.get_transport()
    return transport is not None and bool(transport.is_active())


# sshfs


def sshfs_rename(fs: Any, path: str, to: str) -> None:
    """SFTP's own rename, which replaces nothing; its ``mv`` does."""

    async def rename() -> None:
        async with fs._pool.get() as channel:
            await channel.rename(path, to)

    sync(fs.loop, rename)


def sshfs_utime(fs: Any, path: str, mtime_ns: int) -> None:
    seconds = _sftp_seconds(path, mtime_ns)

    async def utime() -> None:
        async with fs._pool.get() as channel:
            await channel.utime(path, times=(seconds, seconds))

    sync(fs.loop, utime)


# FTP


class _FtpFile(io.RawIOBase):
    """One RETR. Its end is believed only if the server says that it sent everything (RFC 959, 5.4)."""

    def __init__(self, fs: Any, path: str, offset: int) -> None:
        self._ftp = fs.ftp
        self._ftp.voidcmd("TYPE I")
        self._data: socket.socket | None = self._ftp.transfercmd(f"RETR {path}", offset or None)

    def read(self, size: int = -1, /) -> bytes:
        if self._data is None:
            return b""
        data = self._data.recv(size)
        if not data:
            self._finish()
        return data

    def _finish(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None
            self._ftp.voidresp()

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(Exception):
                self._finish()
        super().close()


def ftp_open(fs: Any, path: str, offset: int) -> Any:
    """fsspec's own breaks each block off with ABOR, and says of any error that the file is missing."""
    return _FtpFile(fs, path, offset)


def ftp_small(size: int) -> bool:
    return size <= _WHOLE


def ftp_confirm_empty(fs: Any, path: str) -> None:
    # Its ls answers [] for a folder that exists but could not be listed.
    found: list[str] = []
    fs.ftp.retrlines(f"LIST {path}", found.append)
    if any(line.split()[-1:] not in ([], ["."], [".."]) and not line.startswith("total ") for line in found):
        raise Transient(f"{path} is listed as empty, though it is not")


# SMB


def smb_prepare(fs: Any) -> None:
    """Asks for leave to have much under way at once, which a server gives in credits (MS-SMB2, 3.2.4.1.2).

    smbprotocol asks for just what each request needs, and fails where others have used that up.
    """
    connection, session = _smb_connection(fs)
    if connection is not None and session is not None:
        connection.echo(sid=session.session_id, credit_request=_CREDITS)


def smb_revive(fs: Any) -> None:
    fs._connect()
    smb_prepare(fs)


def smb_alive(fs: Any) -> bool:
    """smbclient connects anew by itself, but does not know the password any more."""
    return _smb_connection(fs)[1] is not None


def _smb_connection(fs: Any) -> tuple[Any, Any]:
    """smbclient's connection to the server, if it stands, and the user's session in it."""
    from smbclient import _pool

    connection = _pool._SMB_CONNECTIONS.get(f"{fs.host.lower()}:{_port(fs)}")
    if connection is None or not connection.transport.connected:
        return None, None
    sessions = connection.session_table.values()
    return connection, next((each for each in sessions if fs.username in (None, each.username)), None)


def smb_utime(fs: Any, path: str, mtime_ns: int) -> None:
    import smbclient

    # Windows counts from 1601 in steps of 100 ns.
    if not -11_644_473_600 * 10**9 <= mtime_ns < 1 << 63:
        raise Unsupported(f"{path}: SMB cannot keep this time")
    smbclient.utime(_unc(fs, path), ns=(mtime_ns, mtime_ns), port=_port(fs))


def smb_usage(fs: Any, path: str) -> Usage:
    import smbclient

    found = smbclient.stat_volume(_unc(fs, path), port=_port(fs))
    return Usage(
        found.total_size, found.total_size - found.actual_available_size, found.caller_available_size
    )


def _unc(fs: Any, path: str) -> str:
    return f"\\\\{fs.host}{path}".replace("/", "\\")


def _port(fs: Any) -> int:
    return 445 if fs.port is None else int(fs.port)


# WebDAV


def webdav_prepare(fs: Any) -> None:
    """webdav4 quotes names only in part ("100%.jpg", "what?.jpg"); and waiting is the engine's business."""
    client = fs.client
    join_url = type(client).join_url

    def quoted(path: str, add_trailing_slash: bool = False) -> Any:
        return join_url(client, quote(path), add_trailing_slash)

    client.join_url = quoted
    client.with_retry = lambda call: call()


def webdav_rename(fs: Any, path: str, to: str) -> None:
    """MOVE with ``Overwrite: F`` (RFC 4918, 9.9.4). webdav4's own ``mv`` copies and removes."""
    _webdav_transfer(fs.client.move, path, to)


def webdav_copy(fs: Any, path: str, to: str) -> None:
    """COPY with ``Overwrite: F`` (RFC 4918, 9.8.4)."""
    _webdav_transfer(fs.client.copy, path, to)


def _webdav_transfer(run: Any, path: str, to: str) -> None:
    from webdav4.client import ResourceAlreadyExists, ResourceNotFound

    try:
        run(path, to, overwrite=False)
    except ResourceAlreadyExists as error:
        raise FileExistsError(f"{to} exists already") from error
    except ResourceNotFound as error:
        raise FileNotFoundError(f"{path} is missing") from error


# memory


def memory_copy(fs: Any, path: str, to: str) -> None:
    # Not fs.copy, which takes "[1].jpg" for a pattern.
    fs.cp_file(path, to)
