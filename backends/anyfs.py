"""Any fsspec filesystem as a store: correct everywhere, only slower."""

import contextlib
import hashlib
import io
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fsspec import AbstractFileSystem

from photosync.backends.anyfs_facts import facts_of
from photosync.backends.anyfs_session import Session
from photosync.engine.capabilities import Blob, Buffer, Changes, Stored, Usage
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    NameRefused,
    PhotosyncError,
    Transient,
    Unsupported,
    classify,
)
from photosync.engine.names import check_relative, printable


class AnyStore:
    """A folder of anyone's fsspec filesystem.

    Files are written under a name of their own in `photosync.backends.anyfs_session.STAGING`, measured, and
    renamed when nothing has the final name. What the filesystem says about content is not believed: the
    engine reads back.

    Args:
        fs: the filesystem. If its instances are not safe for threads, more like it are made.
        root: folder, with or without protocol; made at the first write if it is missing.
    """

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self._facts = facts_of(fs)
        self._original = fs
        self._root: str = fs._strip_protocol(root)
        self.capabilities = self._facts.capabilities
        self._local = threading.local()
        self._making = threading.Lock()
        self._shared = Session(fs, self._facts, self._root, self._making)
        self._local.session = self._shared
        self._extra: weakref.WeakSet[AbstractFileSystem] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self.requests: Mapping[str, int] = MappingProxyType(self._requests)

    def _fresh(self) -> Session:
        fs = self._original
        made = type(fs)(*fs.storage_args, **{**fs.storage_options, "skip_instance_cache": True})
        with self._lock:
            self._extra.add(made)
        return Session(made, self._facts, self._root, self._making)

    @contextlib.contextmanager
    def _session(self, operation: str, doing: str) -> Iterator[Session]:
        """The calling thread's session; one that has lost its connection is replaced at the next call."""
        with self._lock:
            self._requests[operation] += 1
        if not self._facts.per_thread:
            try:
                with self._shared.guard(doing):
                    yield self._shared
            except Transient:
                # What keeps it from connecting again, the next call will say.
                with contextlib.suppress(Exception), self._lock:
                    self._facts.revive(self._original)
                raise
            return
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            with self._shared.guard(doing):
                session = self._local.session = self._fresh()
        try:
            with session.guard(doing):
                yield session
        except Transient:
            self._local.session = None
            raise

    # reading

    def list_folder(self, path: str) -> list[Entry]:
        with self._session("list", f"listing {printable(path) or '/'}") as session:
            return session.list_folder(path)

    def list_tree(self) -> Iterator[Entry]:
        raise Unsupported("this filesystem is listed folder by folder")

    def changes(self, cursor: str | None) -> Changes:
        raise Unsupported("this filesystem has no change feed")

    def stat(self, path: str) -> Entry:
        with self._session("stat", f"looking at {printable(path)}") as session:
            return session.stat(path)

    def open(self, path: str, offset: int = 0) -> "AnyReader":
        with self._session("open", f"opening {printable(path)}") as session:
            entry = session.stat(path)
            if entry.kind is not Kind.FILE:
                raise NameRefused(f"{printable(path)} is no regular file; it is never opened")
            offset = min(offset, entry.size)
            if self._facts.shared_handles or self._facts.whole(entry.size):
                return AnyReader(session, path, io.BytesIO(session.read(path)[offset:]))
            own = self._fresh() if self._facts.opening is not None else session
            return AnyReader(own, path, own.open(path, offset), owner=own is not session)

    # writing

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        return [self._put(blob) for blob in blobs]

    def _put(self, blob: Blob) -> Stored | Exception:
        try:
            check_relative(blob.path)
            with self._session("put", f"storing {printable(blob.path)}") as session:
                if session.find(blob.path) is not None:
                    raise AlreadyExists(f"{printable(blob.path)} exists already; it was left as it is")
                temporary = session.new_temporary()
                try:
                    session.write(temporary, blob.data)
                    return session.settle(temporary, blob.path, len(blob.data), blob.mtime_ns)
                except BaseException:
                    session.discard(temporary)
                    raise
        except FileNotFoundError as error:
            # Somebody removed a folder that was made earlier; the next try makes it again.
            lost = Transient(f"storing {printable(blob.path)}: its folder vanished")
            lost.__cause__ = error
            return lost
        except (OSError, PhotosyncError) as error:
            return classify(error, f"storing {printable(blob.path)}")

    def start_upload(self, path: str, size: int, mtime_ns: int | None) -> "AnyUpload":
        check_relative(path)
        with self._session("start_upload", f"storing {printable(path)}") as session:
            # Its open file is written to by one thread after the other, so the connection is its own.
            own = self._fresh() if self._facts.per_thread else session
            return AnyUpload(own, path, size, mtime_ns, self.capabilities.part_size, own is not session)

    def resume_upload(self, token: str) -> "AnyUpload":
        raise FileNotFoundError("this filesystem cannot go on with an upload that was interrupted")

    # what is there already

    def move(self, path: str, to: str) -> Stored:
        check_relative(to)
        with self._session("move", f"renaming {printable(path)}") as session:
            if session.stat(path).kind is not Kind.FILE:
                raise NameRefused(f"{printable(path)} is no regular file")
            return session.rename(path, to)

    def copy(self, path: str, to: str) -> Stored:
        if self._facts.copy is None:
            raise Unsupported("this filesystem cannot copy by itself")
        check_relative(to)
        with self._session("copy", f"copying {printable(path)}") as session:
            entry = session.stat(path)
            if entry.kind is not Kind.FILE:
                raise NameRefused(f"{printable(path)} is no regular file")
            if session.find(to) is not None:
                raise AlreadyExists(f"{printable(to)} exists already; it was left as it is")
            temporary = session.new_temporary()
            try:
                self._facts.copy(session.fs, session.full(path), session.full(temporary))
                return session.settle(temporary, to, entry.size, entry.mtime_ns)
            except BaseException:
                session.discard(temporary)
                raise

    def make_folder(self, path: str) -> None:
        """See `photosync.engine.capabilities.MakesFolders`."""
        with self._session("make_folder", f"making {printable(path) or 'the folder'}") as session:
            session.make_folder(path)

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        utime = self._facts.utime
        if utime is None:
            raise Unsupported("this filesystem keeps no modification times")
        with self._session("set_mtime", f"setting the time of {printable(path)}") as session:
            session.stat(path)
            utime(session.fs, session.full(path), mtime_ns)
            return session.stored(session.stat(path))

    def delete(self, path: str) -> None:
        with self._session("delete", f"removing {printable(path)}") as session:
            session.remove(path)

    def about(self) -> Usage:
        if self._facts.usage is None:
            return Usage(None, None, None)
        with self._session("about", "asking for the space there") as session:
            return self._facts.usage(session.fs, session.full(""))

    # photosync's own files

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        """The version is the SHA-256 of the content."""
        with self._session("read_small", f"reading {printable(path)}") as session:
            return _read_small(session, path, limit)

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        """Looks just before it renames: these filesystems can do no better."""
        check_relative(path)
        with self._session("replace_small", f"storing {printable(path)}") as session:
            temporary = session.new_temporary()
            try:
                session.write(temporary, data)
                if replaces is None:
                    session.settle(temporary, path, len(data), None)
                else:
                    self._replace(session, temporary, path, len(data), replaces)
            except BaseException:
                session.discard(temporary)
                raise
        return _version(data)

    def _replace(self, session: Session, temporary: str, path: str, size: int, replaces: str) -> None:
        if session.stat(temporary).size != size:
            raise Corrupt(f"{printable(path)} was not stored whole")
        current = session.find(path)
        if current is None or _read_small(session, path, current.size)[1] != replaces:
            raise AlreadyExists(
                f"{printable(path)} was written by somebody else meanwhile; it was left as it is"
            )
        session.replace(temporary, path)

    def close(self) -> None:
        """Closes the connections that were made for threads; the filesystem given stays as it is."""
        with self._lock:
            made = list(self._extra)
            self._extra.clear()
        for fs in made:
            with contextlib.suppress(Exception):
                self._facts.close(fs)


class AnyReader:
    """An open file of anyone's filesystem."""

    def __init__(self, session: Session, path: str, file: Any, *, owner: bool = False) -> None:
        self._session = session
        self._path = path
        self._file = file
        self._owner = owner

    def read(self, size: int, /) -> bytes:
        with self._session.guard(f"reading {printable(self._path)}"):
            return bytes(self._file.read(size))

    def stat(self) -> Entry | None:
        """What has the name now. None where asking means listing the whole folder."""
        if not self._session.asks_cheaply:
            return None
        with self._session.guard(f"looking at {printable(self._path)}"):
            return self._session.stat(self._path)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._file.close()
        if self._owner:
            self._session.close()


class AnyUpload:
    """A large file, written in order to a temporary name."""

    token = ""
    digest = None

    def __init__(
        self, session: Session, path: str, size: int, mtime_ns: int | None, part_size: int, owner: bool
    ) -> None:
        self.part_size = part_size
        self._session = session
        self._owner = owner
        self._broken = False
        self._path = path
        self._size = size
        self._mtime_ns = mtime_ns
        self._sent: dict[int, int] = {}
        self._temporary = session.new_temporary()
        self._file = session.open_new(self._temporary)

    def parts_held(self) -> Mapping[int, int]:
        return dict(self._sent)

    def send_part(self, index: int, data: Buffer, sha256: str) -> None:
        """Appends one part.

        Raises:
            Transient: the connection was lost, and the upload with it.
            FileNotFoundError: it is not the next part; an earlier one failed. Start anew.
        """
        if self._broken or index != len(self._sent):
            raise FileNotFoundError(f"part {len(self._sent)} of {printable(self._path)} was never stored")
        self._broken = True
        with self._session.guard(f"storing {printable(self._path)}"):
            self._file.write(bytes(data))
        self._broken = False
        self._sent[index] = len(data)

    def commit(self, digests: Mapping[str, str]) -> Stored:
        with self._session.guard(f"storing {printable(self._path)}"):
            self._file.close()
            stored = self._session.settle(self._temporary, self._path, self._size, self._mtime_ns)
        self._end()
        return stored

    def abort(self) -> None:
        with contextlib.suppress(Exception):
            self._session.facts.discard(self._file)
        self._session.discard(self._temporary)
        self._end()

    def _end(self) -> None:
        if self._owner:
            self._session.close()


def _read_small(session: Session, path: str, limit: int) -> tuple[bytes, str]:
    if session.stat(path).size > limit:
        raise Corrupt(f"{printable(path)} is longer than {limit} bytes; it is no file of photosync's")
    data = session.read(path)
    return data, _version(data)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
