"""Lists and reads the files of a mounted device; runs inside the helper process of `PhoneStore`.

Every path is walked from the mount's root one name at a time without following links, so that nothing on a
device leads out of it. The root stays open: another phone mounted at the same path later is never entered,
and the kernel can't give the numbers of this mount to that one.
"""

import contextlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count

from photosync.backends.devices import Seen, look

# O_PATH walks a folder without opening it on the device, which may cost an exchange with it.
_STEP = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that took the place of a file after it was listed must not block the helper.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def operations() -> dict[str, Callable[..., object]]:
    """The operations by name; paths are relative to ``root``, always the same absolute folder."""
    files = _Files()
    return {
        "look": _look,
        "list": _list,
        "stat": _stat,
        "usage": _usage,
        "open": files.open,
        "read": files.read,
        "told": files.told,
        "close": files.close,
    }


@cache
def _held(root: str) -> int:
    return os.open(root, _STEP & ~os.O_NOFOLLOW)


def _look(root: str) -> Seen:
    _held(root)
    return look(root)


@contextlib.contextmanager
def folder_of(root: str, path: str, flags: int = _STEP) -> Iterator[int]:
    here = os.dup(_held(root))
    try:
        for name in path.split("/") if path else ():
            below = os.open(name, _STEP, dir_fd=here)
            os.close(here)
            here = below
        if flags == _STEP:
            yield here
            return
        opened = os.open(".", flags, dir_fd=here)
        try:
            yield opened
        finally:
            os.close(opened)
    finally:
        os.close(here)


def _list(root: str, path: str) -> tuple[list[tuple[str, os.stat_result]], int]:
    """Children of a folder, and how many names vanished before they could be asked about."""
    found, vanished = [], 0
    with folder_of(root, path, _LIST) as folder, os.scandir(folder) as entries:
        for entry in entries:
            try:
                found.append((entry.name, entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                vanished += 1
    return found, vanished


def _stat(root: str, path: str) -> os.stat_result:
    parent, _, name = path.rpartition("/")
    with folder_of(root, parent, _STEP) as folder:
        if not name:
            return os.stat(folder)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _usage(root: str) -> tuple[int, int]:
    told = os.statvfs(_held(root))
    return told.f_blocks * told.f_frsize, told.f_bavail * told.f_frsize


class _Files:
    """The files being read, by a number that the other process knows them by."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._numbers = count()
        self._buffer = mmap.mmap(-1, mmap.PAGESIZE)

    def open(self, root: str, path: str, offset: int) -> tuple[int, os.stat_result]:
        parent, _, name = path.rpartition("/")
        with folder_of(root, parent, _STEP) as folder:
            descriptor = os.open(name, _READ, dir_fd=folder)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(f"{path} is not a regular file")
            if offset:
                os.lseek(descriptor, offset, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        number = next(self._numbers)
        self._open[number] = descriptor
        return number, found

    def read(self, number: int, size: int) -> bytes:
        # Aligned to a page: from anywhere else each large read costs FUSE one small request more.
        if len(self._buffer) < size:
            self._buffer = mmap.mmap(-1, size)
        with memoryview(self._buffer)[:size] as room:
            return bytes(room[: os.readv(self._open[number], [room])])

    def told(self, number: int) -> os.stat_result:
        return os.fstat(self._open[number])

    def close(self, number: int) -> None:
        os.close(self._open.pop(number))
