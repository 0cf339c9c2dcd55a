"""A Google Drive folder as the engine's store."""

from collections.abc import Iterator, Mapping, Sequence

from photosync.backends.drive_client import Account, given
from photosync.backends.drive_download import Download, download
from photosync.backends.drive_folders import Folders
from photosync.backends.drive_listing import Feed, TreeListing
from photosync.backends.drive_metadata import (
    FIELDS,
    MILLISECOND,
    Item,
    checked,
    entry_of,
    id_in,
    item_of,
    named,
    split,
    stored_of,
    times,
)
from photosync.backends.drive_own import OwnFiles, remove
from photosync.backends.drive_pages import children
from photosync.backends.drive_put import Mover, Putter
from photosync.backends.drive_tree import Tree
from photosync.backends.drive_upload import PART, SessionUpload
from photosync.backends.tokens import Identity
from photosync.engine.capabilities import Blob, Capabilities, Changes, Store, Stored, Usage
from photosync.engine.entry import Entry, join
from photosync.engine.errors import NameRefused
from photosync.engine.names import DRIVE, printable

CONCURRENCY = 6
"""Reads worth having in flight."""

WRITES = 16
"""Writes worth having in flight at most; where that meets the limit on a user's writes, fewer are left."""

SMALL = 5_000_000
"""Bytes up to which Google recommends to send a file in one request."""

CAPABILITIES = Capabilities(
    hashes=("sha256", "md5"),
    hashes_listed=True,
    names=DRIVE,
    mtime_precision_ns=MILLISECOND,
    set_mtime=True,
    server_copy=True,
    server_move=True,
    resumable=True,
    part_size=PART,
    small_limit=SMALL,
    flat_listing=True,
    change_feed=True,
    read_concurrency=CONCURRENCY,
    write_concurrency=WRITES,
)


class DriveStore:
    """`photosync.engine.capabilities.Store` of one folder of a drive.

    Args:
        folders: shared by all stores of the account.
        root: path of the folder, without outer slashes; "" is where the account begins.

    Raises:
        NameRefused: the root is no path.
    """

    capabilities = CAPABILITIES

    def __init__(self, account: Account, folders: Folders, root: str) -> None:
        self._account = account
        self._folders = folders
        self._root = checked(root) if root else ""
        self._putter = Putter(account, folders, self._root)
        self._mover = Mover(account, folders)
        self._own = OwnFiles(account, folders)
        self._feed: Feed | None = None
        self._doubles: dict[str, str] = {}
        # Of every store of the same filesystem, which share connections and the sign-in.
        self.requests: Mapping[str, int] = account.requests

    def list_folder(self, path: str) -> list[Entry]:
        """See `Store.list_folder`.

        Raises:
            FileNotFoundError: there is no such folder.
            NotADirectoryError: it is a file.
        """
        full = join(self._root, checked(path)) if path else self._root
        if not path:
            self._expect_root()
        folder = self._folders.folder(full)
        found = named(children(self._account, folder.id, full))
        if not found and full and self._folders.item(folder.id, full) is None:
            self._folders.forget(full)
            raise FileNotFoundError(2, "Google Drive has nothing of that name", path)
        return [entry_of(item, join(path, name)) for name, item in found.items()]

    def _expect_root(self) -> None:
        try:
            self._folders.folder(self._root)
        except NotADirectoryError:
            raise FileNotFoundError(2, "Google Drive has no folder of that name", self._root) from None

    def list_tree(self) -> Iterator[Entry]:
        """See `Store.list_tree`. After a `Transient` the iterator may be asked again, and goes on."""
        return TreeListing(self._account, self._folders, self._root)

    def changes(self, cursor: str | None) -> Changes:
        """See `Store.changes`. Apply ``removed`` before ``upserts``. Asked again with the same cursor after a
        `Transient`, it goes on where it was."""
        feed = self._feed
        if feed is None or feed.cursor != cursor:
            feed = self._feed = Feed(self._account, self._folders, self._root, cursor)
        changes = feed.run()
        self._feed = None
        tree: Tree | None = feed.tree
        self._doubles = tree.doubles() if tree is not None else {}
        return changes

    def remarks(self) -> Sequence[str]:
        """See `photosync.engine.capabilities.Remarks`: files of one name, each of which is kept and shown
        under a name of its own."""
        if not self._doubles:
            return ()
        some = ", ".join(printable(path) for path in list(self._doubles)[:4])
        more = f" and {len(self._doubles) - 4} more" if len(self._doubles) > 4 else ""
        remark = (
            f"Google Drive has several files or folders of one name ({some}{more}). All were left as they "
            "are; `photosync dedupe` tells which are equal, and gives names of their own to the others."
        )
        return (remark,)

    def shared_names(self) -> Mapping[str, str]:
        """See `photosync.engine.capabilities.SharesNames`."""
        return self._doubles

    def make_own(self, path: str) -> Stored:
        """See `photosync.engine.capabilities.SharesNames`."""
        return stored_of(self._mover.make_own(self._full(path)), path)

    def stat(self, path: str) -> Entry:
        """See `Store.stat`."""
        return entry_of(self._item(path), path)

    def open(self, path: str, offset: int = 0) -> Download:
        """See `Store.open`."""
        return download(self._account, self._item(path), path, offset)

    def open_part(self, path: str, offset: int, size: int) -> Download:
        """See `photosync.engine.capabilities.Parts`."""
        return download(self._account, self._item(path), path, offset, size)

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        """See `Store.put`."""
        return [self._putter.put(blob) for blob in blobs]

    def start_upload(self, path: str, size: int, mtime_ns: int | None) -> SessionUpload:
        """See `Store.start_upload`."""
        return SessionUpload(self._account, self._folders, self._root, path, size, mtime_ns)

    def resume_upload(self, token: str) -> SessionUpload:
        """See `Store.resume_upload`."""
        return SessionUpload.resume(self._account, self._folders, self._root, token)

    def move(self, path: str, to: str) -> Stored:
        """See `Store.move`."""
        return stored_of(self._mover.move(self._full(path), self._full(to)), to)

    def copy(self, path: str, to: str) -> Stored:
        """See `Store.copy`."""
        return stored_of(self._mover.copy(self._full(path), self._full(to)), to)

    def reaches(self, source: Store) -> bool:
        """See `photosync.engine.capabilities.ServerCopies`."""
        return isinstance(source, DriveStore) and self._account.is_same(source._account)

    def copy_from(self, source: Store, original: Entry, to: str) -> Stored:
        """See `photosync.engine.capabilities.ServerCopies`."""
        assert isinstance(source, DriveStore)
        path = source._full(original.path)
        id = id_in(original.version) or source._folders.find(path).id
        return stored_of(self._mover.copy_of(id, original.mtime_ns, path, self._full(to)), to)

    def is_one(self, source: Store, original: Entry, there: Entry) -> bool:
        """See `photosync.engine.capabilities.ServerCopies`."""
        return isinstance(source, DriveStore) and id_in(original.version) == id_in(there.version) != ""

    def make_folder(self, path: str) -> None:
        """See `photosync.engine.capabilities.MakesFolders`."""
        self._folders.ensure(self._full(path) if path else self._root)

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        """See `Store.set_mtime`.

        Raises:
            NameRefused: Drive cannot hold this time.
        """
        item, kept = self._item(path), times(mtime_ns)
        if not kept:
            raise NameRefused(f"Google Drive cannot hold the time that {path!r} is to have.")
        changed = self._account.run(
            lambda api: api.files.update(fileId=item.id, body=kept, fields=FIELDS, supportsAllDrives=True),
            "setting the time of",
            path,
        )
        return stored_of(item_of(changed), path)

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        """See `Store.read_small`."""
        return self._own.read(path, self._full(path), limit)

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        """See `Store.replace_small`."""
        return self._own.replace(self._full(path), data, replaces)

    def delete(self, path: str) -> None:
        """See `Store.delete`.

        Raises:
            FileNotFoundError: nothing has that name.
            IsADirectoryError: it is a folder.
        """
        full = self._full(path)
        item = self._item(path)
        if item.is_folder:
            raise IsADirectoryError(21, "a folder at Google Drive", path)
        remove(self._account, item, path)
        self._folders.release(self._folders.parent(full), split(full)[1], item.id)

    def about(self) -> Usage:
        """See `Store.about`. Of a shared drive, Google does not say how much it may hold."""
        if self._account.shared_drive:
            return Usage(None, None, None)
        reply = self._account.run(
            lambda api: api.about.get(fields="storageQuota"), "asking how much space there is"
        )
        # An account without a limit has no such key.
        told = given({"storageQuota": {}, **reply}, "storageQuota", dict).get
        used, total = (
            int(size) if (size := str(told(name))).isdecimal() else None for name in ("usage", "limit")
        )
        free = None if total is None or used is None else max(0, total - used)
        return Usage(total, used, free)

    def who(self) -> Identity:
        """See `photosync.backends.tokens.Signed.who`."""
        from photosync.backends.drive_auth import identify

        return identify(self._account)

    def close(self) -> None:
        """Closes idle connections."""
        self._account.close()

    def _item(self, path: str) -> Item:
        return self._folders.find(self._full(path))

    def _full(self, path: str) -> str:
        return join(self._root, checked(path))
