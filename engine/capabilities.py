"""What a store can do, and the protocol through which the engine asks it to.

A *store* is one place bound to its root: a folder on a disk, a bucket prefix, a Dropbox folder. All paths
are relative to that root, POSIX, without a leading slash. Every photosync backend is an fsspec filesystem
with a method ``store(root: str) -> Store``; a filesystem of anyone else's is wrapped by
`photosync.backends.anyfs.AnyStore`, which declares nothing beyond what it can prove.

Rules that every store keeps, whatever it declares:

* A final name holds nothing, the old complete object or the new complete object, at any instant.
* Nothing is ever replaced: `put`, `Upload.commit`, `move` and `copy` raise
  `photosync.engine.errors.AlreadyExists` when the final name is taken. Where the service cannot enforce
  that (``exclusive=False``) the store looks immediately before it commits.
* Errors are raised, never turned into an empty or short answer.
* Methods may be called from ``write_concurrency`` (or ``read_concurrency``) threads at once. They block;
  they start no thread and never sleep or retry: waiting is the engine's business
  (`photosync.engine.errors.Transient` carries the server's Retry-After).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from photosync.engine.entry import NO_DIGESTS, Entry, Files, Listed
from photosync.engine.names import ANY, NameRules

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Batch:
    """How many small objects one `Store.put` call may carry.

    Attributes:
        count: objects.
        bytes: their bodies together.
    """

    count: int = 1
    bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store declares. The default record promises nothing: correct everywhere, only slower.

    Attributes:
        hashes: content hashes that the store computes or checks itself and reports in `Stored.digests`
            or `Entry.digests`, in order of preference; names as in `photosync.engine.hashing`.
        hashes_listed: the listing carries them, so that verifying costs no further request.
        names: what names the store can hold.
        mtime_precision_ns: granularity of kept modification times; None: it keeps none.
        set_mtime: an existing object's time can be changed without sending its content again.
        exclusive: the service itself refuses to replace an existing object at commit.
        server_copy: `Store.copy` works without moving bytes through this machine.
        server_move: `Store.move` works without moving bytes through this machine.
        resumable: `Store.resume_upload` finds an upload again in another process.
        parallel_parts: parts of one upload may be sent at once and in any order.
        part_size: bytes a part of an upload has (all but the last), a multiple of 4 MiB.
        small_limit: objects up to this many bytes go whole through `Store.put`.
        largest: bytes of the largest file that can be stored; None: no limit that anybody meets.
        batch: what one `put` call may carry.
        flat_listing: `Store.list_tree` lists everything below the root in few requests.
        change_feed: `Store.changes` tells what changed since a cursor.
        read_concurrency: files worth reading at once; 1 for a phone.
        write_concurrency: calls worth having in flight at once.
        partial_reads: opening a file far from its beginning, and closing it far from its end, saves the rest
            of it; False where only whole files are handed out.
        slow_read: reading is so slow that nothing should be read twice (phones, WAN).
        writable: False for phones and other places that are only ever read.
    """

    hashes: tuple[str, ...] = ()
    hashes_listed: bool = False
    names: NameRules = ANY
    mtime_precision_ns: int | None = None
    set_mtime: bool = False
    exclusive: bool = False
    server_copy: bool = False
    server_move: bool = False
    resumable: bool = False
    parallel_parts: bool = False
    part_size: int = 8 << 20
    small_limit: int = 8 << 20
    largest: int | None = None
    batch: Batch = field(default=Batch())
    flat_listing: bool = False
    change_feed: bool = False
    read_concurrency: int = 4
    write_concurrency: int = 4
    partial_reads: bool = True
    slow_read: bool = False
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Blob:
    """A whole small object on its way to a store.

    Attributes:
        path: final name.
        data: its bytes.
        mtime_ns: modification time to keep, or None.
        digests: of ``data``, name → hex; holds at least "sha256" and the store's declared hashes,
            but for weak ones beside a better one (`photosync.engine.hashing.worthwhile`).
    """

    path: str
    data: Buffer
    mtime_ns: int | None
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store says it holds after a commit.

    Attributes:
        path: the name it has there.
        size: bytes.
        version: token as in `Entry.version`.
        digests: hashes that the *service* computed over, or checked against, the bytes it holds.
            A value merely echoed from the request does not belong here.
        mtime_ns: as kept, or None.
    """

    path: str
    size: int
    version: str | None = None
    digests: Mapping[str, str] = field(default_factory=lambda: NO_DIGESTS)
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """One answer of a change feed.

    Attributes:
        upserts: entries that appeared or changed (files only).
        removed: paths that vanished, to be applied before ``upserts``; a vanished folder stands for
            everything below it.
        cursor: where to go on next time.
        full: True if ``upserts`` is the whole listing (no cursor was given, or the service reset it).
    """

    upserts: Sequence[Entry]
    removed: Sequence[str]
    cursor: str
    full: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """Space at a place, in bytes; None where the service does not say."""

    total: int | None
    used: int | None
    free: int | None


class Reader(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; empty only at the end of the file."""
        ...

    def stat(self) -> Entry | None:
        """The open file as it is now, to notice a change during the read; None if the store can't tell."""
        ...

    def close(self) -> None: ...


class Upload(Protocol):
    """One large object on its way to a store, part by part.

    `send_part` and `commit` raise ``FileNotFoundError`` when the store has forgotten the upload: start anew.

    Attributes:
        token: all that `Store.resume_upload` needs in another process. It may grow with the parts. It holds
            no credentials, but may hold an address at which anybody could go on with this one upload: it is
            kept in the journal, which only its owner may read, and never shown.
        part_size: bytes of each part but the last.
        digest: name of the content hash that `commit` will report (say "sha256-parts/8388608"), so that
            it can be computed while the parts are read; None: the object must be read back.
    """

    @property
    def token(self) -> str: ...
    @property
    def part_size(self) -> int: ...
    @property
    def digest(self) -> str | None: ...

    def parts_held(self) -> Mapping[int, int]:
        """Parts that the store holds whole: index (from 0) → bytes. Asks the service."""
        ...

    def send_part(self, index: int, data: Buffer, sha256: str) -> None:
        """Sends one part.

        Args:
            index: from 0; in order unless the store declares ``parallel_parts`` (see `Orders`).
            data: its bytes.
            sha256: of ``data``, hex.
        """
        ...

    def commit(self, digests: Mapping[str, str]) -> Stored:
        """Publishes the object under its final name, whole.

        Args:
            digests: of the whole content, as computed from the source.

        Raises:
            AlreadyExists: the final name is taken; the upload stays uncommitted and is aborted.
            Transient: the outcome may be unknown; the caller looks before it tries again.
        """
        ...

    def abort(self) -> None:
        """Forgets the upload and frees what it holds at the store."""
        ...


@runtime_checkable
class Repeats(Protocol):
    """A store that does some things at once in another way when its first way failed.

    Attributes:
        repeated: how often, by kind of trouble (`photosync.engine.errors.Trouble`).
    """

    repeated: Mapping[str, int]


@runtime_checkable
class Orders(Protocol):
    """An upload that says itself whether its parts must go in order; others go by their store's
    ``parallel_parts``."""

    @property
    def in_order(self) -> bool: ...


@runtime_checkable
class Probes(Protocol):
    """A store that has to find out what its service really honours.

    Attributes:
        probed: what was found, JSON-able, to be kept for other runs; None: not asked yet. May be set.
    """

    probed: dict[str, bool] | None

    def probe(self) -> None:
        """Asks, unless ``probed`` is known. `Store.capabilities` may be other ones afterwards."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A store whose server tells the time.

    Attributes:
        server_date: ``Date`` header of the newest answer; None: nothing was asked yet.
    """

    @property
    def server_date(self) -> str | None: ...


@runtime_checkable
class Remarks(Protocol):
    """A store that may have noticed something about its place that a person should know."""

    def remarks(self) -> Sequence[str]:
        """Sentences about what the last listing or change feed showed; makes no request."""
        ...


@runtime_checkable
class SharesNames(Protocol):
    """A store where several objects may have one name: all but one are shown under another.

    That is the name with a mark that stays with the object, eight hexadecimal digits or more:
    ``IMG_1~id-3f9a2b7c.jpg``. Which one is shown under the name itself may change.
    """

    def shared_names(self) -> Mapping[str, str]:
        """What the last listing or change feed showed to share its name: path → the path that all of those
        would have. Makes no request."""
        ...

    def make_own(self, path: str) -> Stored:
        """Gives an object for good the name under which it is shown.

        Raises:
            FileNotFoundError: it is gone.
        """
        ...


@runtime_checkable
class Sweeps(Protocol):
    """A store where a killed process leaves files behind that nobody will go on with."""

    def sweep(self, paths: Sequence[str]) -> int:
        """Removes leftovers among photosync's own files.

        Args:
            paths: photosync's own files, as listed; what is not certainly a leftover is left alone.

        Returns:
            How many were removed.
        """
        ...


@runtime_checkable
class Settles(Protocol):
    """A store where what others wrote shows before it is durable."""

    def settle(self) -> None:
        """Makes durable what is there, whoever wrote it: a process that was killed may have left it unsynced.

        An absent root has nothing to be made durable.
        """
        ...


@runtime_checkable
class TellsRoom(Protocol):
    """A store that knows, without asking anybody, how much room there is."""

    def room(self) -> int | None:
        """Bytes that may still be written; None where the file system does not say."""
        ...


@runtime_checkable
class ListsFolderFiles(Protocol):
    """A store that can list a folder without an `Entry` for each file."""

    def list_folder_files(self, path: str) -> Listed:
        """As `Store.list_folder`; the folder's files may come sorted by path, which saves time."""
        ...


@runtime_checkable
class ListsTreeFiles(Protocol):
    """A store that can list everything below its root without an `Entry` for each file."""

    def list_tree_files(self) -> Iterator[Files]:
        """As `Store.list_tree`, page by page."""
        ...


class Readable(Protocol):
    """The part of a `Store` that a source needs."""

    capabilities: Capabilities

    def list_folder(self, path: str) -> list[Entry]: ...
    def open(self, path: str, offset: int = 0) -> Reader: ...


@runtime_checkable
class Parts(Protocol):
    """A store whose service sends a part of a file and no more."""

    def open_part(self, path: str, offset: int, size: int) -> Reader:
        """Opens a file for reading ``size`` bytes from ``offset`` on; both lie in the file. Reading more than
        that is not allowed."""
        ...


@runtime_checkable
class ServerCopies(Protocol):
    """A store whose service can copy from other places of the same account by itself."""

    def reaches(self, source: "Store") -> bool:
        """Whether `copy_from` works for another store."""
        ...

    def copy_from(self, source: "Store", original: Entry, to: str) -> Stored:
        """Copies without the bytes passing through this machine, as `Store.copy` does.

        Args:
            source: one that `reaches` said yes to.
            original: what is copied, as the source just showed it.
            to: final name here.

        Raises:
            AlreadyExists: the final name is taken.
            FileNotFoundError: the original is gone.
            Unsupported: the service does not copy this one by itself; it may be read all the same.
        """
        ...

    def is_one(self, source: "Store", original: Entry, there: Entry) -> bool:
        """Whether a file of ``source`` and one of this store are a single one, reached by two ways.

        Args:
            source: any; of one that is signed in otherwise a service may know it, too.
            original, there: as the stores just showed them.
        """
        ...


@runtime_checkable
class MakesFolders(Protocol):
    """A store with folders that exist on their own, empty ones too."""

    def make_folder(self, path: str) -> None:
        """Makes a folder and those around it; "" is the root. One that is there already is no error.

        Raises:
            AlreadyExists: a file has that name.
        """
        ...


@runtime_checkable
class Store(Protocol):
    """A place bound to its root. See the module's text for the rules."""

    capabilities: Capabilities
    requests: Mapping[str, int]
    """Requests made so far, by the service's own name for the operation."""

    def list_folder(self, path: str) -> list[Entry]:
        """Direct children of a folder; "" is the root.

        Raises:
            FileNotFoundError: there is no such folder (also for a root that does not exist).
        """
        ...

    def list_tree(self) -> Iterator[Entry]:
        """Every file below the root, any order; with ``flat_listing``. An absent root lists nothing."""
        ...

    def changes(self, cursor: str | None) -> Changes:
        """Files below the root that changed since ``cursor``; with ``change_feed``."""
        ...

    def stat(self, path: str) -> Entry:
        """One entry, digests included where the service has them.

        Raises:
            FileNotFoundError: nothing has that name.
        """
        ...

    def open(self, path: str, offset: int = 0) -> Reader:
        """Opens a file for reading from ``offset`` bytes on."""
        ...

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        """Stores whole small objects, at most one `Batch` of them.

        Returns:
            One result for each blob, in order: an exception concerns that blob alone.

        Raises:
            Fatal, Transient: the call as a whole failed; what it stored is unknown.
        """
        ...

    def start_upload(self, path: str, size: int, mtime_ns: int | None) -> Upload: ...

    def resume_upload(self, token: str) -> Upload:
        """Finds an upload again.

        Raises:
            FileNotFoundError: the store has forgotten it; start anew.
        """
        ...

    def move(self, path: str, to: str) -> Stored:
        """Renames within the store."""
        ...

    def copy(self, path: str, to: str) -> Stored:
        """Copies within the store; with ``server_copy``."""
        ...

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        """Changes the kept modification time; with ``set_mtime``."""
        ...

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        """A whole file of at most ``limit`` bytes, and its version.

        Raises:
            FileNotFoundError: nothing has that name.
            Corrupt: it is longer.
        """
        ...

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        """Writes one of photosync's own files whole, only if nobody else has in between.

        Args:
            path: final name.
            data: its bytes.
            replaces: version that it must have now; None: it must not exist.

        Returns:
            The new version.

        Raises:
            AlreadyExists: it has another version.
        """
        ...

    def delete(self, path: str) -> None:
        """Removes one file for good: photosync's own, or what the user asked to be removed."""
        ...

    def about(self) -> Usage: ...

    def close(self) -> None: ...
