"""What is known about filesystems that are not photosync's own. Anything not listed here is unknown."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fsspec import AbstractFileSystem

from photosync.engine.capabilities import Capabilities
from photosync.engine.errors import NotSignedIn, PhotosyncError, Transient, Unsupported, classify, describe

_SECOND = 1_000_000_000
_EMPTY = Capabilities()
_SERIAL = replace(_EMPTY, read_concurrency=1, write_concurrency=1)


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about one implementation, found by running it or in its source.

    Attributes:
        capabilities: what `AnyStore` may declare.
        per_thread: an instance must not be used by two threads: each gets one of its own.
        copies_whole: ``cp_file`` makes the whole object appear at once, so copying and removing is a rename.
        shared_handles: opening a file twice gives the same position, so files are read as a whole.
        info_lists: ``info`` lists the whole folder.
        rename: (fs, path, new path): better than ``fs.mv``, because it replaces nothing.
        utime: (fs, path, seconds since the epoch): sets a modification time.
        prepare: (fs): called once for each instance.
        writing: (file): called for each file that is opened to be written.
        alive: whether the connection still stands; asked after an error.
        close: ends the connection of an instance that was made for a thread.
        confirm_empty: (fs, path): raises if an empty listing was an error in truth.
    """

    capabilities: Capabilities = _EMPTY
    per_thread: bool = False
    copies_whole: bool = False
    shared_handles: bool = False
    info_lists: bool = False
    rename: Callable[[Any, str, str], object] | None = None
    utime: Callable[[Any, str, int], object] | None = None
    prepare: Callable[[Any], object] = lambda _fs: None
    writing: Callable[[Any], object] | None = None
    alive: Callable[[Any], bool] = lambda _fs: True
    close: Callable[[Any], object] = lambda _fs: None
    confirm_empty: Callable[[Any, str], object] = lambda _fs, _path: None


def _sftp_utime(fs: Any, path: str, seconds: int) -> None:
    if not 0 <= seconds < 1 << 32:
        raise Unsupported(f"{path}: SFTP cannot keep times before 1970 or after 2106")
    fs.ftp.utime(path, (seconds, seconds))


def _sftp_prepare(fs: Any) -> None:
    # paramiko sends a block in several pieces, of which Nagle's algorithm holds the last back: 40 ms a block.
    transport = fs.client.get_transport()
    if transport is not None and hasattr(transport.sock, "setsockopt"):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _sftp_alive(fs: Any) -> bool:
    transport = fs.client.get_transport()
    return transport is not None and bool(transport.is_active())


def _ftp_confirm_empty(fs: Any, path: str) -> None:
    # Its ls answers [] for a folder that exists but could not be listed.
    found: list[str] = []
    fs.ftp.retrlines(f"LIST {path}", found.append)
    if any(line.split()[-1:] not in ([], ["."], [".."]) and not line.startswith("total ") for line in found):
        raise Transient(f"{path} is listed as empty, though it is not")


_TABLE: Mapping[str, Facts] = {
    # paramiko: "connection dropped" with several threads on one instance. Its rename is SFTP's own, which
    # must fail if the new name exists (draft-ietf-secsh-filexfer-02, 6.5); the filesystem's mv replaces.
    "fsspec.implementations.sftp": Facts(
        replace(_EMPTY, mtime_precision_ns=_SECOND, set_mtime=True, server_move=True),
        per_thread=True,
        rename=lambda fs, path, to: fs.ftp.rename(path, to),
        utime=_sftp_utime,
        prepare=_sftp_prepare,
        # One round trip for 100 blocks of 32 KiB; closing waits for the answers.
        writing=lambda file: file.set_pipelined(True),
        alive=_sftp_alive,
        close=lambda fs: fs.client.close(),
    ),
    # One control connection: hangs with several threads on one instance.
    "fsspec.implementations.ftp": Facts(
        replace(_EMPTY, server_move=True),
        per_thread=True,
        info_lists=True,
        close=lambda fs: fs.ftp.close(),
        confirm_empty=_ftp_confirm_empty,
    ),
    "fsspec.implementations.memory": Facts(
        replace(_EMPTY, server_move=True), copies_whole=True, shared_handles=True
    ),
    # Object stores: an object appears whole or not at all, also as the target of a copy.
    **dict.fromkeys(("s3fs.core", "gcsfs.core", "adlfs.spec", "ossfs.core"), Facts(copies_whole=True)),
    # Six threads on one instance gave correct results.
    **dict.fromkeys(
        ("fsspec.implementations.smb", "sshfs.spec", "webdav4.fsspec"),
        Facts(replace(_EMPTY, server_move=True)),
    ),
}
"""By the module that implements the filesystem: several packages may answer to one protocol."""


def facts_of(fs: AbstractFileSystem) -> Facts:
    """What is known about a filesystem. Unless it is asynchronous inside, and so has one thread of its own
    for all callers, an unknown one is called by one thread at a time."""
    for kind in type(fs).__mro__:
        if kind.__module__ in _TABLE:
            return _TABLE[kind.__module__]
    return Facts(_EMPTY if getattr(fs, "async_impl", False) else _SERIAL)


def renames(fs: AbstractFileSystem) -> bool:
    """Whether ``fs.mv`` is a rename of its own; fsspec's default copies, for all to see, and removes."""
    inner = getattr(fs, "fs", None)
    if isinstance(inner, AbstractFileSystem):
        return renames(inner)
    return type(fs).mv is not AbstractFileSystem.mv


_SIGN_IN = {"AuthenticationException", "BadHostKeyException", "NoCredentialsError", "RefreshError"}
_AGAIN = {"ClientConnectionError", "EOFError", "ServerTimeoutError", "SSHException", "error_temp"}


def understood(error: Exception, doing: str) -> PhotosyncError:
    """As `photosync.engine.errors.classify`, for what paramiko, ftplib and aiohttp raise as well.

    They are known by name, so that nothing needs importing to ask.
    """
    names = {each.__name__ for each in type(error).__mro__}
    found: PhotosyncError
    if isinstance(error, OSError):
        return classify(error, doing)
    if names & _SIGN_IN:
        found = NotSignedIn(f"{doing}: {describe(error)}. Check the sign-in to this place, then run again.")
    elif names & _AGAIN:
        found = Transient(f"{doing}: {describe(error)}")
    elif isinstance(error, NotImplementedError):
        found = Unsupported(f"{doing}: this filesystem cannot do that")
    else:
        return classify(error, doing)
    found.__cause__ = error
    return found
