"""System calls over simulated disks: what the code of local disks runs on when it is simulated.

`mounted` puts a `Kernel` where `photosync.backends.local_*` and `photosync.backends.posix` find Python's
``os``, ``fcntl``, ``open``, ``io``, ``secrets`` and ``threading``; not a line of theirs is replaced, but the
part in C, which would ask the real system, is taken for not compiled. Every call that others could notice is
an effect at which another thread may go on, or the process may die.
"""

import contextlib
import ctypes
import errno
import io
import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from photosync.backends import local_store, local_tree, local_upload, posix
from photosync.engine.names import OURS
from tests.sim.disk import KINDS, File, Folder, SimDisk
from tests.sim.scheduler import Scheduler

MOUNT = "/simulated"
_NUMBERS = itertools.count(1_000_000)
# No descriptor is ever used again, so that a thread of a killed process can do no harm to another's.


@dataclass
class _Open:
    disk: SimDisk
    device: int
    node: File | Folder
    at: int = 0
    appends: bool = False


def _error(code: int, name: object = None) -> OSError:
    return OSError(code, os.strerror(code), name)


@dataclass
class DiskFaults:
    """Chances that a system call goes wrong: refused, no room, a flipped bit, a sync that fails."""

    refused: float = 0.0
    full: float = 0.0
    damage: float = 0.0
    sync: float = 0.0


class Kernel:
    """Python's ``os``, as far as local disks use it; the rest is the real one's.

    Args:
        disks: by name; each is mounted at `MOUNT`/name.
        scheduler: None while the oracle looks.
        faults: by disk.
    """

    def __init__(
        self, disks: dict[str, SimDisk], scheduler: Scheduler | None, faults: dict[str, DiskFaults]
    ) -> None:
        self._disks = disks
        self._elsewhere = SimDisk(KINDS["ext4"], lambda _path: None)
        self._scheduler = scheduler
        self._faults = {id(disks[name]): each for name, each in faults.items()}
        self._open: dict[int, _Open] = {}
        self._dice = random.Random(scheduler.dice.random() if scheduler else 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    # what can go wrong

    def _effect(self, label: str) -> None:
        if self._scheduler is not None:
            self._scheduler.effect(label)

    def _chance(self, chance: float) -> bool:
        return chance > 0 and self._dice.random() < chance

    def _may_fail(self, disk: SimDisk, label: str, *, writes: bool = False) -> None:
        self._effect(f"{disk.traits.kind}.{label}")
        faults = self._faults.get(id(disk))
        if faults is None:
            return
        if self._chance(faults.refused):
            raise _error(errno.EIO)
        if writes and self._chance(faults.full):
            raise _error(errno.ENOSPC)

    # descriptors

    def _of(self, fd: int) -> _Open:
        found = self._open.get(fd)
        if found is None:
            raise _error(errno.EBADF)
        return found

    def _folder(self, fd: int) -> tuple[_Open, Folder]:
        found = self._of(fd)
        if not isinstance(found.node, Folder):
            raise _error(errno.ENOTDIR)
        return found, found.node

    def _file(self, fd: int) -> tuple[_Open, File]:
        found = self._of(fd)
        if not isinstance(found.node, File):
            raise _error(errno.EISDIR)
        return found, found.node

    def _place(self, path: str) -> tuple[SimDisk, int, str]:
        if not path.startswith(f"{MOUNT}/"):
            raise _error(errno.ENOENT, path)
        name, _, below = path[len(MOUNT) + 1 :].partition("/")
        if name not in self._disks:
            raise _error(errno.ENOENT, path)
        return self._disks[name], sorted(self._disks).index(name) + 1, below

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is None:
            if path in ("/", MOUNT):
                return self._new(_Open(self._elsewhere, 0, self._elsewhere.root))
            disk, device, below = self._place(path)
            return self._new(_Open(disk, device, disk.walk(below)))
        held, folder = self._folder(dir_fd)
        disk = held.disk
        if flags & os.O_CREAT:
            self._may_fail(disk, "create", writes=True)
            found = folder.shown.get(disk.key(path))
            if found is not None and flags & os.O_EXCL:
                raise _error(errno.EEXIST, path)
            if found is None:
                file = File(folder.path, disk.tick(), links=1)
                file.mtime_ns = file.ctime_ns = disk.stamp()
                disk.add(folder, path, file)
        node = disk.find(folder, path)
        if flags & os.O_DIRECTORY and not isinstance(node, Folder):
            raise _error(errno.ENOTDIR, path)
        if not flags & os.O_CREAT and not flags & os.O_DIRECTORY:
            self._may_fail(disk, "open")
        return self._new(_Open(disk, held.device, node, appends=bool(flags & os.O_APPEND)))

    def _new(self, held: _Open) -> int:
        fd = next(_NUMBERS)
        self._open[fd] = held
        return fd

    def close(self, fd: int) -> None:
        # Never an effect: finalizers call it, too.
        held = self._open.pop(fd, None)
        if held is not None and isinstance(held.node, File) and held.node.lock == fd:
            held.node.lock = None

    # looking

    def fstat(self, fd: int) -> os.stat_result:
        held = self._of(fd)
        return held.disk.stat(held.node, held.device)

    def stat(self, path: str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        if dir_fd is None:
            disk, device, below = self._place(path)
            return disk.stat(disk.walk(below), device)
        held, folder = self._folder(dir_fd)
        self._may_fail(held.disk, "stat")
        return held.disk.stat(held.disk.find(folder, path), held.device)

    @contextlib.contextmanager
    def scandir(self, fd: int) -> Iterator[Iterator[Any]]:
        held, folder = self._folder(fd)
        self._may_fail(held.disk, "scandir")
        children = list(folder.shown.values())

        def stat_of(node: File | Folder) -> Callable[..., os.stat_result]:
            return lambda follow_symlinks=True: held.disk.stat(node, held.device)

        yield iter([SimpleNamespace(name=name, stat=stat_of(node)) for name, node in children])

    def listdir(self, fd: int) -> list[str]:
        held, folder = self._folder(fd)
        self._may_fail(held.disk, "scandir")
        return [name for name, _ in folder.shown.values()]

    def statvfs(self, path: str) -> Any:
        return SimpleNamespace(f_frsize=1, f_blocks=1 << 40, f_bfree=1 << 39, f_bavail=1 << 39)

    @property
    def path(self) -> Any:
        return _Paths(self)

    # bytes

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        held, file = self._file(fd)
        self._may_fail(held.disk, "read")
        return bytes(file.shown[offset : offset + size])

    def lseek(self, fd: int, offset: int, whence: int) -> int:
        held = self._of(fd)
        held.at = offset
        return offset

    def read(self, fd: int, size: int) -> bytes:
        held = self._of(fd)
        data = self.pread(fd, size, held.at)
        held.at += len(data)
        return data

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        held, file = self._file(fd)
        self._may_fail(held.disk, "write", writes=True)
        whole = bytes(data)
        # The kernel may take less than it is given.
        some = whole[: self._dice.randint(1, len(whole))] if whole and self._dice.random() < 0.1 else whole
        faults = self._faults.get(id(held.disk))
        damaged = faults is not None and OURS not in file.born and self._chance(faults.damage)
        file.write(offset, bytes([some[0] ^ 1]) + some[1:] if damaged and some else some)
        file.mtime_ns = file.ctime_ns = held.disk.stamp()
        return len(some)

    def write(self, fd: int, data: Any) -> int:
        held, file = self._file(fd)
        offset = len(file.shown) if held.appends else held.at
        done = self.pwrite(fd, data, offset)
        held.at = offset + done
        return done

    def copy_file_range(self, source: int, target: int, count: int, at: int, to: int) -> int:
        return self.pwrite(target, self.pread(source, count, at), to)

    def utime(self, fd: int, *, ns: tuple[int, int]) -> None:
        held, file = self._file(fd)
        self._may_fail(held.disk, "utime")
        file.mtime_ns = ns[1] - held.disk.shift_ns
        file.ctime_ns = held.disk.stamp()

    def posix_fadvise(self, *_args: int) -> None:
        pass

    def fsync(self, fd: int) -> None:
        held = self._of(fd)
        self._may_fail(held.disk, "fsync")
        faults = self._faults.get(id(held.disk))
        if faults is not None and isinstance(held.node, File) and self._chance(faults.sync):
            # The pages count as clean from now on, whatever became of them.
            held.node.lose(lambda: self._dice.random() < 0.5, self._dice)
            raise _error(errno.EIO)
        held.disk.sync(held.node)

    def syncfs(self, fd: int) -> int:
        """As the C library's."""
        held = self._of(fd)
        try:
            self._may_fail(held.disk, "syncfs")
        except OSError as error:
            ctypes.set_errno(error.errno or errno.EIO)
            return -1
        held.disk.sync_all()
        return 0

    # names

    def mkdir(self, name: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if dir_fd is None:
            disk, _, below = self._place(name)
            parent, _, name = below.rpartition("/")
            folder = disk.walk(parent)
            assert isinstance(folder, Folder)
        else:
            held, folder = self._folder(dir_fd)
            disk = held.disk
        self._may_fail(disk, "mkdir", writes=True)
        disk.add(folder, name, Folder(disk.tick(), ctime_ns=disk.stamp()))

    def unlink(self, name: str, *, dir_fd: int) -> None:
        held, folder = self._folder(dir_fd)
        self._may_fail(held.disk, "unlink")
        held.disk.remove(folder, name)

    def link(
        self, name: str, to: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool = True
    ) -> None:
        held, folder = self._folder(src_dir_fd)
        _, to_folder = self._folder(dst_dir_fd)
        self._may_fail(held.disk, "link", writes=True)
        if not held.disk.traits.links:
            raise _error(errno.EPERM)
        node = held.disk.find(folder, name)
        held.disk.add(to_folder, to, node)
        if isinstance(node, File):
            node.links += 1

    def rename(self, name: str, to: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._rename(src_dir_fd, name, dst_dir_fd, to, replaces=True)

    replace = rename

    def _rename(self, fd: int, name: str, to_fd: int, to: str, replaces: bool) -> None:
        held, folder = self._folder(fd)
        _, to_folder = self._folder(to_fd)
        self._may_fail(held.disk, "rename", writes=True)
        held.disk.rename(folder, name, to_folder, to, replaces)

    def renameat2(self, fd: int, name: bytes, to_fd: int, to: bytes, flags: int) -> int:
        """As the C library's."""
        try:
            if not self._of(fd).disk.traits.flags:
                raise _error(errno.EINVAL)
            self._rename(fd, os.fsdecode(name), to_fd, os.fsdecode(to), replaces=False)
        except OSError as error:
            ctypes.set_errno(error.errno or errno.EIO)
            return -1
        return 0

    # around it

    def flock(self, fd: int, how: int) -> None:
        """As ``fcntl.flock``."""
        import fcntl

        held, file = self._file(fd)
        while file.lock not in (None, fd):
            if how & fcntl.LOCK_NB:
                raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
            self._effect(f"{held.disk.traits.kind}.flock")
        file.lock = fd

    def filesystem_type(self, path: str) -> str:
        return self._place(path)[0].traits.kind


class _Paths:
    """``os.path``."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(os.path, name)

    def exists(self, path: str) -> bool:
        try:
            self._kernel.stat(path)
        except OSError:
            return False
        return True

    isdir = exists


class SimFile(io.RawIOBase):
    """``io.FileIO`` of a descriptor."""

    def __init__(self, kernel: Kernel, fd: int) -> None:
        self._kernel, self._fd = kernel, fd

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def readinto(self, buffer: Any) -> int:
        data = self._kernel.read(self._fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        return self._kernel.write(self._fd, data)

    def close(self) -> None:
        if not self.closed:
            self._kernel.close(self._fd)
        super().close()


@contextlib.contextmanager
def mounted(kernel: Kernel, scheduler: Scheduler | None) -> Iterator[None]:
    """From now on, local disks are the kernel's."""
    import fcntl

    def opened(fd: int, mode: str = "r", buffering: int = -1) -> Any:
        raw = SimFile(kernel, fd)
        return raw if buffering == 0 else io.BufferedReader(raw)

    dice = random.Random(scheduler.dice.random() if scheduler else 0)
    secrets = SimpleNamespace(token_hex=lambda size: f"{dice.getrandbits(8 * size):0{2 * size}x}")
    locks = SimpleNamespace(Lock=scheduler.monitor if scheduler else threading.Lock)
    fake_io = SimpleNamespace(FileIO=lambda fd: SimFile(kernel, fd))
    fake_fcntl = SimpleNamespace(flock=kernel.flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
    stands_in: dict[str, Any] = {"os": kernel, "open": opened}
    with (
        patch.multiple(local_tree, os=kernel, _listing=None),
        patch.multiple(local_upload, secrets=secrets, threading=locks, create=True, **stands_in),
        patch.multiple(
            local_store,
            secrets=secrets,
            threading=locks,
            io=fake_io,
            fcntl=fake_fcntl,
            create=True,
            **stands_in,
        ),
        patch.multiple(
            posix,
            os=kernel,
            _renameat2=lambda: kernel.renameat2,
            _syncfs=lambda: kernel.syncfs,
            filesystem_type=kernel.filesystem_type,
        ),
    ):
        yield
