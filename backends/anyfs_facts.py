"""What is known about filesystems that are not photosync's own. Anything not listed here is unknown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fsspec import AbstractFileSystem

from photosync.backends import anyfs_ways as ways
from photosync.engine.capabilities import Capabilities, Usage
from photosync.engine.names import ANY, WINDOWS

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
        copy: (fs, path, new path): copies within the server, and replaces nothing.
        utime: (fs, path, nanoseconds since the epoch): sets a modification time.
        usage: (fs, path): the space there.
        opening: (fs, path, offset): better than ``fs.open`` for reading.
        whole: (bytes): of a file so small that it is fetched as a whole when it is opened; any other has a
            connection of its own, because ``opening`` keeps it busy.
        prepare: (fs): called once for each instance.
        writing: (file): called for each file that is opened to be written.
        discard: (file): ends the writing of a file that shall not be.
        alive: whether the connection still stands; asked after an error.
        revive: (fs): called when a shared instance may have lost its connection.
        close: ends the connection of an instance that was made for a thread.
        confirm_empty: (fs, path): raises if an empty listing was an error in truth.
    """

    capabilities: Capabilities = _EMPTY
    per_thread: bool = False
    copies_whole: bool = False
    shared_handles: bool = False
    info_lists: bool = False
    rename: Callable[[Any, str, str], object] | None = None
    copy: Callable[[Any, str, str], object] | None = None
    utime: Callable[[Any, str, int], object] | None = None
    usage: Callable[[Any, str], Usage] | None = None
    opening: Callable[[Any, str, int], Any] | None = None
    whole: Callable[[int], bool] = lambda _size: False
    prepare: Callable[[Any], object] = lambda _fs: None
    writing: Callable[[Any], object] | None = None
    discard: Callable[[Any], object] = lambda file: file.close()
    alive: Callable[[Any], bool] = lambda _fs: True
    revive: Callable[[Any], object] = lambda _fs: None
    close: Callable[[Any], object] = lambda _fs: None
    confirm_empty: Callable[[Any, str], object] = lambda _fs, _path: None


_TABLE: Mapping[str, Facts] = {
    # paramiko: "connection dropped" with several threads on one instance. Its rename is SFTP's own, which
    # must fail if the new name exists (draft-ietf-secsh-filexfer-02, 6.5); the filesystem's mv replaces.
    "fsspec.implementations.sftp": Facts(
        replace(_EMPTY, mtime_precision_ns=_SECOND, set_mtime=True, server_move=True),
        per_thread=True,
        rename=lambda fs, path, to: fs.ftp.rename(path, to),
        utime=ways.sftp_utime,
        prepare=ways.sftp_prepare,
        # One round trip for 100 blocks of 32 KiB; closing waits for the answers.
        writing=lambda file: file.set_pipelined(True),
        alive=ways.sftp_alive,
        close=lambda fs: fs.client.close(),
    ),
    # One control connection: hangs with several threads on one instance.
    "fsspec.implementations.ftp": Facts(
        replace(_EMPTY, server_move=True),
        per_thread=True,
        info_lists=True,
        opening=ways.ftp_open,
        whole=ways.ftp_small,
        alive=lambda fs: fs.ftp.sock is not None,
        close=lambda fs: fs.ftp.close(),
        confirm_empty=ways.ftp_confirm_empty,
    ),
    "fsspec.implementations.memory": Facts(
        replace(_EMPTY, server_move=True, server_copy=True),
        copies_whole=True,
        shared_handles=True,
        copy=ways.memory_copy,
    ),
    # Six threads on one instance gave correct results. Its rename never replaces. Names as on Windows, which
    # Samba mangles where its disk allows more. A time is kept to 100 ns and told as a float.
    "fsspec.implementations.smb": Facts(
        replace(
            _EMPTY,
            names=WINDOWS,
            mtime_precision_ns=1_000,
            set_mtime=True,
            server_move=True,
            server_copy=True,
        ),
        copy=lambda fs, path, to: fs.copy(path, to),
        utime=ways.smb_utime,
        usage=ways.smb_usage,
        alive=ways.smb_alive,
        prepare=ways.smb_prepare,
        revive=ways.smb_revive,
    ),
    # Six threads on one instance gave correct results.
    "webdav4.fsspec": Facts(
        # WsgiDAV cuts the new name of a MOVE off where an address could have a query or a fragment.
        replace(
            _EMPTY,
            names=replace(ANY, forbidden=ANY.forbidden | set("#;?")),
            server_move=True,
            server_copy=True,
        ),
        rename=ways.webdav_rename,
        copy=ways.webdav_copy,
        prepare=ways.webdav_prepare,
        # Closing is what sends the file.
        discard=lambda file: file.discard(),
    ),
    "sshfs.spec": Facts(
        replace(_EMPTY, mtime_precision_ns=_SECOND, set_mtime=True, server_move=True),
        rename=ways.sshfs_rename,
        utime=ways.sshfs_utime,
    ),
    # Object stores: an object appears whole or not at all, also as the target of a copy.
    **dict.fromkeys(("s3fs.core", "gcsfs.core", "adlfs.spec", "ossfs.core"), Facts(copies_whole=True)),
    # Archives, a Google Takeout for one.
    **dict.fromkeys(
        ("fsspec.implementations.zip", "fsspec.implementations.tar", "fsspec.implementations.libarchive"),
        Facts(replace(_SERIAL, writable=False)),
    ),
}
"""By the module that implements the filesystem: several packages may answer to one protocol."""


def known() -> Mapping[str, Capabilities]:
    """What is declared of each implementation; of any other under ""."""
    return {**{name: facts.capabilities for name, facts in _TABLE.items()}, "": _SERIAL}


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
    kind = type(fs)
    return kind.mv is not AbstractFileSystem.mv or hasattr(kind, "_mv")
