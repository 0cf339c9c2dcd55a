"""Files that belong to one user alone: read with their owner and mode checked, replaced whole.

A reader sees the old file or the new one, whatever kills the writer: the new bytes go to a temporary file
beside it, reach the disk (fsync), and take the name by rename; the folder is fsynced last. Writers take a
lock file beside it, so read-change-write loses nobody's change.
"""

import contextlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

_log = logging.getLogger("photosync")

PATIENCE = 30.0
"""Seconds to wait for another photosync to finish writing the same file."""


class Untrusted(Exception):
    """The file could have been written, or can be read, by somebody else; its text says what to do."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the one writer's place for ``path``, among threads and processes; creates its folder.

    Raises:
        TimeoutError: another process has held it for `PATIENCE` seconds.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE, mode=0o600)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise TimeoutError(
            f"{path}: another photosync has been writing it for {PATIENCE:.0f} s. "
            "Wait for it to end, then try again."
        ) from None
    try:
        yield
    finally:
        lock.release()


def read(path: Path, limit: int, *, follow: bool, private: bool) -> bytes | None:
    """The whole file, or None if there is none.

    A mode that lets others write (or, for a ``private`` file, read) is repaired to 0600 with a warning.

    Args:
        path: the file.
        limit: bytes it may have at most.
        follow: a symbolic link may stand at ``path``.
        private: nobody else may even read it.

    Raises:
        Untrusted: it is a link, belongs to another user, or its mode cannot be repaired.
        OSError: it cannot be read, is no regular file, or is longer than ``limit``.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError:
        if not follow and path.is_symlink():
            raise Untrusted(f"{path} is a symbolic link. Replace it by the file that it points to.") from None
        raise
    with open(descriptor, "rb") as file:
        _check(path, descriptor, private)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"{path} is longer than {limit} bytes; that is not a file of photosync's")
    return data


def _check(path: Path, descriptor: int, private: bool) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is not a regular file")
    mine = found.st_uid == os.geteuid()
    # What root provides and nobody else can change is as good as one's own, unless it must be private.
    if not mine and (private or found.st_uid != 0):
        raise Untrusted(
            f"{path} belongs to another user (uid {found.st_uid}). Remove it, or take it over with chown."
        )
    excess = found.st_mode & (0o077 if private else 0o022)
    if not excess:
        return
    try:
        os.fchmod(descriptor, 0o600)
    except OSError:
        raise Untrusted(f"{path} can be changed or read by other users. Run: chmod 600 {path}") from None
    what = "changed" if excess & 0o022 else "read"
    _log.warning("%s could be %s by other users of this machine; its mode is 0600 now", path, what)


def replace(path: Path, data: bytes) -> None:
    """Writes the whole file anew with mode 0600; call it inside `locked`.

    Raises:
        OSError: it could not be written; the old file stands.
    """
    # Whoever holds the lock is the only writer, so any temporary file is a killed writer's.
    for stale in path.parent.glob(f".{path.name}.*.new"):
        stale.unlink(missing_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
