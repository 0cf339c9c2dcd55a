"""Large files on a local disk: parts written in any order, found again after a restart."""

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from photosync.backends import posix
from photosync.backends.local_tree import Tree
from photosync.engine.capabilities import Buffer, Stored
from photosync.engine.errors import Corrupt, NameRefused, classify
from photosync.engine.names import OURS, check_relative

PARTIAL = f"{OURS}/partial"
"""Folder of the notes on uploads under way, one file each, named by the upload's token."""

_TOKEN = re.compile(r"[0-9a-f]{32}")
_BLOCK = 1 << 20

Publish = Callable[[int, str, int, str], None]
"""(folder, name, to_folder, to_name): renames and replaces nothing."""


def temporary(token: str) -> str:
    """Name of a file that is not complete yet, in the folder of its final name."""
    return f"{OURS}-{token}.part"


def token_of(name: str) -> str | None:
    """The token in a name that `temporary` made; None for any other name."""
    found = _TEMPORARY.fullmatch(name)
    return found[1] if found else None


_TEMPORARY = re.compile(re.escape(OURS) + r"-([0-9a-f]+)\.part")


_NOT_OURS = (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError, NameRefused)
"""What reading notes raises that this code did not write."""


@dataclass(frozen=True, slots=True)
class _Head:
    """First line of the notes: what is being uploaded."""

    path: str
    size: int
    mtime_ns: int | None
    part_size: int

    @classmethod
    def parse(cls, line: bytes) -> "_Head":
        """Raises one of `_NOT_OURS` for anything that `start` does not write."""
        found = json.loads(line)
        mtime_ns = None if found["mtime_ns"] is None else int(found["mtime_ns"])
        head = cls(check_relative(found["path"]), int(found["size"]), mtime_ns, int(found["part_size"]))
        if head.size < 0 or head.part_size <= 0:
            raise ValueError("sizes are not negative")
        return head


@dataclass(frozen=True, slots=True)
class _Part:
    size: int
    sha256: str


class LocalUpload:
    """One large file on its way: a partial file beside its final name, and notes on the parts it holds.

    The notes are JSON lines under `PARTIAL`: first what is being uploaded, then
    ``{"part", "bytes", "sha256"}`` for each part written. Nothing is synced before `commit`, so after a power
    cut the notes may promise what the disk never got: `parts_held` believes only what it has read back.
    Use `start` or `resume`.
    """

    digest = None

    def __init__(self, tree: Tree, publish: Publish, token: str, head: _Head, fd: int) -> None:
        self.token = token
        self.part_size = head.part_size
        self._tree = tree
        self._publish = publish
        self._head = head
        self._parts: dict[int, _Part] = {}
        self._noting = threading.Lock()
        self._descriptor = fd
        # An upload that is left for a later run is simply dropped: its descriptor goes with it.
        self._closing = weakref.finalize(self, os.close, fd)

    @classmethod
    def start(
        cls, tree: Tree, publish: Publish, path: str, size: int, mtime_ns: int | None, part_size: int
    ) -> "LocalUpload":
        """Begins an upload; arguments as for `photosync.engine.capabilities.Store.start_upload`."""
        token = secrets.token_hex(16)
        head = _Head(check_relative(path), size, mtime_ns, part_size)
        with (
            tree.folder(PARTIAL, make=True) as notes,
            tree.folder(_parent(path), make=True) as folder,
            open(os.open(token, posix.NEW_FILE, 0o666, dir_fd=notes), "wb", buffering=0) as file,
        ):
            fd = os.open(temporary(token), posix.NEW_FILE, 0o666, dir_fd=folder)
            # Last, for notes that name no file are a leftover to whoever sweeps at this moment.
            try:
                file.write(f"{json.dumps(asdict(head))}\n".encode())
            except BaseException:
                os.close(fd)
                os.unlink(temporary(token), dir_fd=folder)
                os.unlink(token, dir_fd=notes)
                raise
        return cls(tree, publish, token, head, fd)

    @classmethod
    def resume(cls, tree: Tree, publish: Publish, token: str) -> "LocalUpload":
        """Finds an upload of another process.

        Raises:
            FileNotFoundError: its notes or its partial file are gone, or cannot be understood.
        """
        if not _TOKEN.fullmatch(token):
            raise FileNotFoundError(f"{token!r} is no upload of a local disk")
        lines = _notes(tree, token)
        try:
            head = _Head.parse(lines[0])
        except _NOT_OURS as error:
            raise FileNotFoundError(f"the notes on upload {token} are damaged") from error
        with tree.folder(_parent(head.path)) as folder:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(temporary(token), flags, dir_fd=folder)
            if os.fstat(fd).st_nlink > 1:
                # Killed between the two steps of a rename by hard link: this is what is published.
                os.close(fd)
                os.unlink(temporary(token), dir_fd=folder)
                raise FileNotFoundError(f"upload {token} is published already")
        upload = cls(tree, publish, token, head, fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError(f"upload {token} has no partial file")
        upload._recall(lines[1:])
        return upload

    @property
    def _fd(self) -> int:
        if not self._closing.alive:
            raise FileNotFoundError(f"the upload of {self._head.path} is over")
        return self._descriptor

    def _recall(self, lines: list[bytes]) -> None:
        for line in lines:
            # The last line may be torn.
            with contextlib.suppress(*_NOT_OURS):
                note = json.loads(line)
                self._parts[int(note["part"])] = _Part(int(note["bytes"]), str(note["sha256"]))

    def parts_held(self) -> Mapping[int, int]:
        """Parts whose bytes, read back now, have the digest they were sent with: index → bytes."""
        with self._noting:
            self._parts = {index: part for index, part in self._parts.items() if self._holds(index, part)}
            return {index: part.size for index, part in self._parts.items()}

    def _holds(self, index: int, part: _Part) -> bool:
        if part.size != self._expected(index):
            return False
        digest = hashlib.sha256()
        at, left = index * self.part_size, part.size
        while left:
            data = os.pread(self._fd, min(left, _BLOCK), at)
            if not data:
                return False
            digest.update(data)
            at, left = at + len(data), left - len(data)
        return digest.hexdigest() == part.sha256

    def _expected(self, index: int) -> int:
        return max(0, min(self.part_size, self._head.size - index * self.part_size)) if index >= 0 else 0

    def send_part(self, index: int, data: Buffer, sha256: str) -> None:
        """Writes one part; parts may come in any order and from several threads.

        Raises:
            Corrupt: no part of this file has that index and length.
            FileNotFoundError: somebody removed the notes; start anew.
        """
        if len(data) != self._expected(index) or not data:
            raise Corrupt(
                f"part {index} of {self._head.path} has {len(data)} bytes, expected {self._expected(index)}"
            )
        try:
            posix.write_all(self._fd, data, index * self.part_size)
        except OSError as error:
            raise classify(error, f"writing {self._head.path}") from error
        note = json.dumps({"part": index, "bytes": len(data), "sha256": sha256})
        with self._noting, self._tree.folder(PARTIAL) as notes:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self.token, flags, dir_fd=notes)
            try:
                os.write(fd, f"{note}\n".encode())
            finally:
                os.close(fd)
            self._parts[index] = _Part(len(data), sha256)
        posix.drop_cache(self._fd)

    def commit(self, digests: Mapping[str, str]) -> Stored:
        """Makes the file durable, then gives it its final name.

        Raises:
            Corrupt: parts are missing.
            AlreadyExists: the final name is taken; the partial file stays until `abort`.
            FileNotFoundError: the partial file is gone.
        """
        with self._noting:
            missing = self._head.size - sum(part.size for part in self._parts.values())
        if missing or os.fstat(self._fd).st_size != self._head.size:
            raise Corrupt(
                f"{self._head.path}: {missing} of {self._head.size} bytes were not stored; upload it anew"
            )
        folder_path, name = _parent(self._head.path), self._head.path.rpartition("/")[2]
        with self._tree.folder(folder_path, make=True) as folder:
            try:
                if self._head.mtime_ns is not None:
                    posix.keep_mtime(self._fd, self._head.mtime_ns)
                os.fsync(self._fd)
            except OSError as error:
                # After a failed fsync the kernel may have dropped the pages: only the source is right now.
                self.abort()
                raise classify(error, f"writing {self._head.path}") from error
            posix.drop_cache(self._fd)
            self._publish(folder, temporary(self.token), folder, name)
            os.fsync(folder)
        found = self._tree.entry(self._head.path, os.fstat(self._fd))
        self._forget()
        return Stored(self._head.path, found.size, found.version, mtime_ns=found.mtime_ns)

    def abort(self) -> None:
        """Removes the partial file and the notes."""
        with contextlib.suppress(FileNotFoundError), self._tree.folder(_parent(self._head.path)) as folder:
            os.unlink(temporary(self.token), dir_fd=folder)
        self._forget()

    def _forget(self) -> None:
        self._closing()
        with contextlib.suppress(FileNotFoundError), self._tree.folder(PARTIAL) as notes:
            os.unlink(self.token, dir_fd=notes)


def partial_of(tree: Tree, token: str) -> str | None:
    """Where the partial file of an upload is; None if its notes are none, or not written yet.

    Raises:
        FileNotFoundError: there are no notes.
    """
    if not _TOKEN.fullmatch(token):
        return None
    try:
        path = _Head.parse(_notes(tree, token)[0]).path
    except (ValueError, KeyError, TypeError, IndexError, NameRefused):
        return None
    return "/".join(filter(None, (_parent(path), temporary(token))))


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _notes(tree: Tree, token: str) -> list[bytes]:
    with tree.folder(PARTIAL) as notes:
        fd = os.open(token, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=notes)
        with open(fd, "rb") as file:
            return file.read().splitlines()
