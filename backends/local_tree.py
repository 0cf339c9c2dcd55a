"""Folders below a root, reached so that no symbolic link below it is ever followed."""

import contextlib
import errno
import os
import stat
from array import array
from collections.abc import Iterator
from operator import attrgetter, itemgetter

from photosync.backends import posix
from photosync.engine.entry import Entry, Files, Listed, PackedFiles, join
from photosync.engine.errors import AlreadyExists, DeviceGone, NameRefused
from photosync.engine.names import check_relative, printable

try:
    from photosync.backends import _folder
except ImportError:
    # It could not be compiled where photosync was installed. Python code finds the same, and takes longer.
    _listing = None
else:
    _listing = _folder.listing

_FIRST = itemgetter(0)
_SIZE, _MODIFIED, _CHANGED = map(attrgetter, ("st_size", "st_mtime_ns", "st_ctime_ns"))
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def compiled() -> bool:
    """Whether folders are listed by the part in C."""
    return _listing is not None


class Tree:
    """Opens folders component by component from the root's descriptor (``openat``, ``O_NOFOLLOW``).

    Each call walks from the root's path again. Descriptors kept for longer would keep a disk from being
    ejected, and would go on pointing at folders that somebody has renamed meanwhile; a walk costs
    microseconds.

    Args:
        root: absolute path; links in it are the user's own choice and followed.
        change_times: whether its file system keeps change times.
    """

    def __init__(self, root: str, change_times: bool = True) -> None:
        self.root = root
        self._change_times = change_times
        self._device: int | None = None
        self._durable: set[str] = set()

    def entry(self, path: str, found: os.stat_result) -> Entry:
        """What a ``stat`` below the root says."""
        return posix.entry_of(path, found, self._change_times)

    def files(self, path: str) -> Listed:
        """What is in a folder, its files sorted by name; raises as `folder`."""
        inside = join(path, "")
        with self.folder(path) as folder:
            found = _listing(folder, os.fsencode(inside), self._change_times) if _listing else None
            # What that finds out of the ordinary is listed anew, by what knows every case.
            return _packed(inside, found) if found else self._one_by_one(inside, folder)

    def _one_by_one(self, inside: str, folder: int) -> Files:
        names, found, others = [], [], []
        with os.scandir(folder) as children:
            in_bytes = [(os.fsencode(child.name), child) for child in children]
            for _, child in sorted(in_bytes, key=_FIRST):
                try:
                    seen = child.stat(follow_symlinks=False)
                except FileNotFoundError:
                    # Removed during the listing, so it is simply not there; all other errors are raised.
                    continue
                if stat.S_ISREG(seen.st_mode):
                    names.append(inside + child.name)
                    found.append(seen)
                else:
                    others.append(self.entry(inside + child.name, seen))
        times = list(map(_MODIFIED, found))
        changed = map(_CHANGED, found) if self._change_times else times
        return Files(names, list(map(_SIZE, found)), times, list(map(str, changed)), others)

    @contextlib.contextmanager
    def folder(self, path: str, make: bool = False) -> Iterator[int]:
        """An open descriptor of a folder; "" is the root.

        Args:
            path: below the root.
            make: create what is missing, durably.

        Raises:
            FileNotFoundError: there is no such folder.
            NameRefused: the path leaves the root, or a symbolic link is in it.
            AlreadyExists: a file stands where a folder must be made.
            DeviceGone: the root was there before, and is gone or on another device now.
        """
        fd = self.open_folder(path, make)
        try:
            yield fd
        finally:
            os.close(fd)

    def open_folder(self, path: str, make: bool = False) -> int:
        """As `folder`; the caller closes the descriptor."""
        if path:
            check_relative(path)
        fd = self._open_root(path, make)
        if not path:
            return fd
        try:
            at = ""
            for name in path.split("/"):
                at = join(at, name)
                inner = self._enter(fd, name, path, make)
                if make and at not in self._durable:
                    # Whoever made it: no file is durable before its folder is, and a process that was killed,
                    # or whose sync failed, leaves a folder that only looks as if it were there to stay.
                    os.fsync(fd)
                    self._durable.add(at)
                os.close(fd)
                fd = inner
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _open_root(self, path: str, make: bool) -> int:
        # Asked before the attempt: another thread may make the root right after it.
        known = self._device
        try:
            fd = os.open(self.root, _FOLDER)
        except FileNotFoundError as error:
            if known is not None and (make or path):
                raise DeviceGone(
                    f"{printable(self.root)} has vanished. Plug the device in or mount it, then run again."
                ) from error
            if not make:
                raise
            _make(self.root)
            fd = os.open(self.root, _FOLDER)
        device = os.fstat(fd).st_dev
        if self._device not in (None, device):
            os.close(fd)
            raise DeviceGone(
                f"{printable(self.root)} is on another device than before. "
                "Plug the device in or mount it, then run again."
            )
        self._device = device
        if make and "" not in self._durable:
            try:
                _settle_above(self.root, device)
            except BaseException:
                os.close(fd)
                raise
            self._durable.add("")
        return fd

    def _enter(self, fd: int, name: str, path: str, make: bool) -> int:
        try:
            return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except FileNotFoundError as error:
            if not make:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            if stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                raise NameRefused(
                    f"{printable(path)}: {printable(name)!r} is a symbolic link, and links below "
                    f"{printable(self.root)} are not followed. Replace it by a folder, then run again."
                ) from error
            if make:
                raise AlreadyExists(
                    f"{printable(path)}: a file called {printable(name)!r} stands where a folder is needed"
                ) from error
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=fd)
        # Also by whoever loses the race to make it.
        os.fsync(fd)
        return self._enter(fd, name, path, make=False)


def _packed(inside: str, found: "_folder.Listing") -> Listed:
    paths, path_bytes, sizes, times, versions, version_bytes, odd = found
    others = [posix.entry_of_no_file(inside + os.fsdecode(name), mode) for name, mode in odd]
    packed = PackedFiles(
        paths, array("q", path_bytes), array("q", sizes), array("q", times),
        versions, array("q", version_bytes), others,
    )  # fmt: skip
    if paths.isascii():
        return packed
    decoded = [os.fsdecode(path) for path in paths[:-1].split(b"\0")]
    return Files(decoded, packed.sizes, packed.times, versions[1:].decode().split("="), others)


def _make(root: str) -> None:
    if not os.path.isdir(root):
        _make(os.path.dirname(root))
        with contextlib.suppress(FileExistsError):
            os.mkdir(root)


def _settle_above(root: str, device: int) -> None:
    """Makes the root's own name durable, and those of the folders around it, up to its disk's own root."""
    folder = os.path.realpath(root)
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        try:
            fd = os.open(folder, _FOLDER)
        except PermissionError:
            # What this user may not even list, this user's photosync did not make.
            return
        try:
            if os.fstat(fd).st_dev != device:
                return
            os.fsync(fd)
        finally:
            os.close(fd)
