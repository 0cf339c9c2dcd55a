"""A folder on a disk as a store: staged, durable, never replacing, confined to its root."""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from photosync.backends import posix
from photosync.backends.local_kinds import counts_room, kind_of
from photosync.backends.local_tree import Tree
from photosync.backends.local_upload import PARTIAL, LocalUpload, partial_of, temporary, token_of
from photosync.engine.capabilities import Blob, Changes, Stored, Usage
from photosync.engine.entry import Entry, Kind, Listed
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    NameRefused,
    PhotosyncError,
    SourceChanged,
    Unsupported,
    classify,
)
from photosync.engine.names import OURS, check_relative, printable

LOCK = "lock"
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_PACKS = f"{OURS}/packs"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LocalReader:
    """An open regular file.

    Args:
        tree: where it is.
        path: below the tree's root.
        fd: its descriptor, which is closed with the reader.
        found: what it looked like when it was opened.
        offset: where it is read from.
    """

    def __init__(self, tree: Tree, path: str, fd: int, found: os.stat_result, offset: int) -> None:
        self._tree = tree
        self._path = path
        self._fd = fd
        self._opened: os.stat_result | None = found
        self._left = max(found.st_size - offset, 0)
        self._ended = False

    def read(self, size: int, /) -> bytes:
        self._opened = None
        if self._ended:
            return b""
        if self._left:
            # What is asked for is allocated, and a small file is asked for a megabyte.
            size = min(size, self._left + 1)
        data = os.read(self._fd, size)
        self._left = max(self._left - len(data), 0)
        # Some file systems read less than they could; at the end that the file was said to have, none does.
        self._ended = len(data) < size and not self._left
        return data

    def stat(self) -> Entry | None:
        # Before anything was read, what opening it found is as good.
        found, self._opened = self._opened, None
        return self._tree.entry(self._path, found or os.fstat(self._fd))

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


@dataclass(slots=True)
class _Staged:
    """A small object that is written, but has no final name yet."""

    index: int
    path: str
    folder: int
    temporary: str
    fd: int
    published: bool = False


class LocalStore:
    """A folder on a disk.

    What `put` and `commit` store is on the medium when they return: contents are synced before they get their
    final names, folders after. Then the pages leave the cache, so that reading back to verify asks the disk
    and not the memory the bytes were just copied to.

    Args:
        root: absolute path; made at the first write if it is missing.
    """

    def __init__(self, root: str) -> None:
        self.capabilities, change_times = kind_of(root)
        self._tree = Tree(root, change_times)
        self._requests: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.requests: Mapping[str, int] = MappingProxyType(self._requests)

    def _stored(self, path: str, found: os.stat_result) -> Stored:
        entry = self._tree.entry(path, found)
        return Stored(path, entry.size, entry.version, mtime_ns=entry.mtime_ns)

    def _count(self, operation: str) -> None:
        with self._counting:
            self._requests[operation] += 1

    # reading

    def list_folder(self, path: str) -> list[Entry]:
        """Direct children; links, pipes and devices are `Kind.OTHER`."""
        files = self.list_folder_files(path)
        return [*files.entries(), *files.others]

    def list_folder_files(self, path: str) -> Listed:
        """As `list_folder`; see `photosync.engine.capabilities.ListsFolderFiles`."""
        self._count("list")
        return self._tree.files(path)

    def list_tree(self) -> Iterator[Entry]:
        raise Unsupported("a disk is listed folder by folder")

    def changes(self, cursor: str | None) -> Changes:
        raise Unsupported("a disk has no change feed")

    def stat(self, path: str) -> Entry:
        self._count("stat")
        with self._parent(path) as (folder, name):
            return self._tree.entry(path, os.stat(name, dir_fd=folder, follow_symlinks=False))

    def open(self, path: str, offset: int = 0) -> LocalReader:
        """Opens a regular file.

        Raises:
            FileNotFoundError: nothing has that name.
            NameRefused: it is a link, pipe or device, or a link leads to it.
        """
        self._count("open")
        fd, found = self._open(path)
        if offset:
            os.lseek(fd, offset, os.SEEK_SET)
        return LocalReader(self._tree, path, fd, found, offset)

    def _open(self, path: str) -> tuple[int, os.stat_result]:
        parent, _, name = check_relative(path).rpartition("/")
        folder = self._tree.open_folder(parent)
        try:
            # Looked at first: merely opening some devices does something.
            _regular(path, os.stat(name, dir_fd=folder, follow_symlinks=False))
            fd = os.open(name, _READ, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            return fd, _regular(path, os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise

    @contextlib.contextmanager
    def _parent(self, path: str, make: bool = False) -> Iterator[tuple[int, str]]:
        parent, _, name = check_relative(path).rpartition("/")
        with self._tree.folder(parent, make) as folder:
            yield folder, name

    # small objects

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        """Writes all, then syncs each, then publishes all, then syncs each folder once.

        The kernel starts writing at once what `posix.drop_cache` is told of, so the later syncs find most of
        their work done, or done by each other's journal commit. ``syncfs`` would be a single call,
        level to somewhat faster where measured, but it waits for everybody's writes and hides whose failed.
        """
        self._count("put")
        results: dict[int, Stored | Exception] = {}
        folders: dict[str, int] = {}
        staged: list[_Staged] = []
        with contextlib.ExitStack() as stack:
            for index, blob in enumerate(blobs):
                with _noting(results, index, blob.path):
                    staged.append(self._stage(index, blob, folders, stack))
            for one in staged:
                with _noting(results, one.index, one.path):
                    os.fsync(one.fd)
                    posix.drop_cache(one.fd)
            for one in staged:
                if one.index not in results:
                    with _noting(results, one.index, one.path):
                        name = one.path.rpartition("/")[2]
                        self._publish(one.folder, one.temporary, one.folder, name)
                        one.published = True
            for folder in folders.values():
                inside = [one for one in staged if one.published and one.folder == folder]
                _sync_folder(folder, inside, results)
            for one in staged:
                if one.index not in results:
                    with _noting(results, one.index, one.path):
                        results[one.index] = self._stored(one.path, os.fstat(one.fd))
        return [results[index] for index in range(len(blobs))]

    def _stage(self, index: int, blob: Blob, folders: dict[str, int], stack: contextlib.ExitStack) -> _Staged:
        parent = check_relative(blob.path).rpartition("/")[0]
        folder = folders.get(parent)
        if folder is None:
            folder = self._tree.open_folder(parent, make=True)
            stack.callback(os.close, folder)
            folders[parent] = folder
        name, fd = _new_temporary(folder)
        staged = _Staged(index, blob.path, folder, name, fd)
        try:
            posix.write_all(fd, blob.data, 0)
            if blob.mtime_ns is not None:
                posix.keep_mtime(fd, blob.mtime_ns)
            posix.drop_cache(fd)
        except BaseException:
            # At once, so that a smaller file may still fit on the disk.
            _discard(staged)
            raise
        stack.callback(_discard, staged)
        return staged

    def _publish(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        """Gives a complete file its final name.

        Raises:
            FileExistsError: something has it already.
        """
        if posix.rename_exclusive(folder, name, to_folder, to_name):
            return
        # exfat-fuse, for one, has neither hard links nor rename flags: what is left is looking first, safe
        # against every other photosync on this machine, and declared as ``exclusive=False``.
        with self._locked():
            try:
                os.stat(to_name, dir_fd=to_folder, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)
            else:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), to_name)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps every photosync on this machine out for the moment it takes to look and rename."""
        with self._tree.folder(OURS, make=True) as folder:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(LOCK, flags, 0o666, dir_fd=folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    # large objects

    def start_upload(self, path: str, size: int, mtime_ns: int | None) -> LocalUpload:
        self._count("start_upload")
        part_size = self.capabilities.part_size
        return LocalUpload.start(self._tree, self._publish, path, size, mtime_ns, part_size)

    def resume_upload(self, token: str) -> LocalUpload:
        self._count("resume_upload")
        return LocalUpload.resume(self._tree, self._publish, token)

    # what is there already

    def move(self, path: str, to: str) -> Stored:
        """Renames; a link, pipe or device is refused."""
        self._count("move")
        with self._parent(path) as (folder, name), self._parent(to, make=True) as (to_folder, to_name):
            _regular(path, os.stat(name, dir_fd=folder, follow_symlinks=False))
            try:
                self._publish(folder, name, to_folder, to_name)
            except FileExistsError as error:
                raise _taken(to) from error
            os.fsync(to_folder)
            os.fsync(folder)
            return self._stored(to, os.stat(to_name, dir_fd=to_folder, follow_symlinks=False))

    def make_folder(self, path: str) -> None:
        """See `photosync.engine.capabilities.MakesFolders`."""
        self._count("make_folder")
        os.close(self._tree.open_folder(path, make=True))

    def copy(self, path: str, to: str) -> Stored:
        """Copies without reading into this process, sharing blocks where the file system can.

        Raises:
            SourceChanged: the file was written to meanwhile.
        """
        self._count("copy")
        source, before = self._open(path)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, source)
            folder, name = stack.enter_context(self._parent(to, make=True))
            new, fd = _new_temporary(folder)
            staged = _Staged(0, to, folder, new, fd)
            stack.callback(_discard, staged)
            posix.copy_all(source, fd)
            after = os.fstat(source)
            if (before.st_ctime_ns, before.st_size) != (after.st_ctime_ns, os.fstat(fd).st_size):
                raise SourceChanged(f"{path} was written to while it was copied")
            posix.keep_mtime(fd, before.st_mtime_ns)
            os.fsync(fd)
            posix.drop_cache(fd)
            try:
                self._publish(folder, new, folder, name)
            except FileExistsError as error:
                raise _taken(to) from error
            staged.published = True
            os.fsync(folder)
            return self._stored(to, os.fstat(fd))

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        self._count("set_mtime")
        fd, _ = self._open(path)
        try:
            if not posix.keep_mtime(fd, mtime_ns):
                raise Unsupported(f"{path}: the disk does not keep this modification time")
            os.fsync(fd)
            return self._stored(path, os.fstat(fd))
        finally:
            os.close(fd)

    def delete(self, path: str) -> None:
        self._count("delete")
        with self._parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def about(self) -> Usage:
        self._count("about")
        found = self._statvfs()
        block = found.f_frsize
        return Usage(found.f_blocks * block, (found.f_blocks - found.f_bfree) * block, found.f_bavail * block)

    def room(self) -> int | None:
        """See `photosync.engine.capabilities.TellsRoom`."""
        if not counts_room(self._tree.root):
            return None
        try:
            found = self._statvfs()
        except OSError:
            return None
        return found.f_bavail * found.f_frsize if found.f_blocks else None

    def _statvfs(self) -> os.statvfs_result:
        place = self._tree.root
        while not os.path.exists(place):
            place = os.path.dirname(place)
        return os.statvfs(place)

    # photosync's own files

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        """The version is the SHA-256 of the content.

        A disk's clock ticks every few milliseconds only, so two writes may well share a change time; of
        `replace_small`, which must not lose one of them, more is asked than of `Entry.version`.
        """
        self._count("read_small")
        fd, _ = self._open(path)
        with open(fd, "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Corrupt(f"{path} is longer than {limit} bytes; it is no file of photosync's")
        return data, _version(data)

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        """Compares and renames under a lock that every photosync on this machine takes."""
        self._count("replace_small")
        with self._parent(path, make=True) as (folder, name), contextlib.ExitStack() as stack:
            new, fd = _new_temporary(folder)
            staged = _Staged(0, path, folder, new, fd)
            stack.callback(_discard, staged)
            posix.write_all(fd, data, 0)
            os.fsync(fd)
            if replaces is None:
                try:
                    self._publish(folder, new, folder, name)
                except FileExistsError as error:
                    raise _taken(path) from error
            else:
                with self._locked():
                    if self._current(path) != replaces:
                        raise AlreadyExists(
                            f"{path} was written by somebody else meanwhile; it was left as it is"
                        )
                    os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
            staged.published = True
            os.fsync(folder)
        return _version(data)

    def _current(self, path: str) -> str | None:
        try:
            fd, _ = self._open(path)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def settle(self) -> None:
        """See `photosync.engine.capabilities.Settles`."""
        self._count("settle")
        with contextlib.suppress(FileNotFoundError), self._tree.folder("") as root:
            posix.sync_filesystem(root)

    def sweep(self, paths: Sequence[str]) -> int:
        """Removes temporary files whose process died: a living one holds a lock on each of its own.

        Large uploads are left alone: they have notes, and some machine's journal may go on with them.
        """
        removed = self._sweep_notes()
        for path in (*paths, *self._packs()):
            folder_path, _, name = path.rpartition("/")
            token = token_of(name)
            if token is None or self._exists(f"{PARTIAL}/{token}"):
                continue
            with contextlib.suppress(FileNotFoundError), self._tree.folder(folder_path) as folder:
                fd = os.open(name, _READ, dir_fd=folder)
                try:
                    if _lock(fd, without=False):
                        os.unlink(name, dir_fd=folder)
                        removed += 1
                finally:
                    os.close(fd)
        return removed

    def _sweep_notes(self) -> int:
        """Notes whose large file is published already: only the last step of its commit was missing."""
        removed = 0
        with contextlib.suppress(FileNotFoundError), self._tree.folder(PARTIAL) as notes:
            for token in os.listdir(notes):
                with contextlib.suppress(FileNotFoundError):
                    partial = partial_of(self._tree, token)
                    if partial is not None and not self._exists(partial):
                        os.unlink(token, dir_fd=notes)
                        removed += 1
        return removed

    def _packs(self) -> list[str]:
        """What lies beside the manifest's packs, which no listing of the place goes down to."""
        with contextlib.suppress(FileNotFoundError), self._tree.folder(_PACKS) as folder:
            return [f"{_PACKS}/{name}" for name in os.listdir(folder)]
        return []

    def _exists(self, path: str) -> bool:
        try:
            self.stat(path)
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        """Nothing is held open between calls."""


@contextlib.contextmanager
def _noting(results: dict[int, Stored | Exception], index: int, path: str) -> Iterator[None]:
    """An error concerns this object alone."""
    try:
        yield
    except FileExistsError as error:
        results[index] = _taken(path)
        results[index].__cause__ = error  # type: ignore[union-attr]
    except (OSError, PhotosyncError) as error:
        results[index] = classify(error, f"storing {path}")


def _sync_folder(folder: int, inside: list[_Staged], results: dict[int, Stored | Exception]) -> None:
    if not inside:
        return
    try:
        os.fsync(folder)
    except OSError as error:
        for one in inside:
            results[one.index] = classify(error, f"storing {one.path}")


def _new_temporary(folder: int) -> tuple[str, int]:
    """A temporary file, locked for as long as it is open, so that nobody sweeps it away."""
    while True:
        name = temporary(secrets.token_hex(8))
        fd = os.open(name, posix.NEW_FILE, 0o666, dir_fd=folder)
        # Between these two calls a sweep may have taken it for a leftover.
        if _lock(fd, without=True) and os.fstat(fd).st_nlink:
            return name, fd
        os.close(fd)


def _lock(fd: int, without: bool) -> bool:
    """Locks a file for as long as it is open; False if somebody else has.

    Args:
        without: the answer of file systems that have no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return without
        raise
    return True


def _discard(staged: _Staged) -> None:
    os.close(staged.fd)
    if not staged.published:
        with contextlib.suppress(OSError):
            os.unlink(staged.temporary, dir_fd=staged.folder)


def _regular(path: str, found: os.stat_result) -> os.stat_result:
    if stat.S_ISREG(found.st_mode):
        return found
    entry = posix.entry_of(path, found)
    what = "a folder" if entry.kind is Kind.FOLDER else f"not a regular file ({entry.note})"
    raise NameRefused(f"{printable(path)} is {what}; it is never opened")


def _taken(path: str) -> AlreadyExists:
    return AlreadyExists(f"{path} exists already; it was left as it is")


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
