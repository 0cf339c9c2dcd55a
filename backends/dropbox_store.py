"""A Dropbox folder as the engine's store."""

from collections.abc import Iterator, Mapping, Sequence

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_concurrent import FROM, ConcurrentUpload
from photosync.backends.dropbox_download import Download, download
from photosync.backends.dropbox_listing import Feed, Pages, TreeListing
from photosync.backends.dropbox_metadata import content_hash, entry_of, folder_path, full_path, stored_of
from photosync.backends.dropbox_put import Putter
from photosync.backends.dropbox_upload import PART, SessionUpload
from photosync.backends.tokens import Identity
from photosync.engine.capabilities import Batch, Blob, Capabilities, Changes, Store, Stored, Usage
from photosync.engine.entry import Entry, join
from photosync.engine.errors import AlreadyExists, Corrupt, Transient, Trouble, Unsupported
from photosync.engine.names import DROPBOX

CONCURRENCY = 6
"""Calls worth having in flight: more meet the service's rate limit rather than a faster line."""

CAPABILITIES = Capabilities(
    hashes=("dropbox",),
    hashes_listed=True,
    names=DROPBOX,
    mtime_precision_ns=1_000_000_000,
    exclusive=True,
    server_copy=True,
    server_move=True,
    resumable=True,
    parallel_parts=True,
    part_size=PART,
    small_limit=PART,
    batch=Batch(count=1000, bytes=48 << 20),
    flat_listing=True,
    change_feed=True,
    read_concurrency=CONCURRENCY,
    write_concurrency=CONCURRENCY,
)


class DropboxStore:
    """`photosync.engine.capabilities.Store` of one folder of an account.

    Args:
        root: path of the folder, without outer slashes; "" is the account's (or namespace's) root.

    Raises:
        NameRefused: the root is no path.
    """

    capabilities = CAPABILITIES

    def __init__(self, account: Account, root: str) -> None:
        self._account = account
        self._root = root
        self._full_root = folder_path("", root)
        self._putter = Putter(account, root)
        self._feed: Feed | None = None
        # Of every store of the same filesystem, which share connections and the sign-in.
        self.requests: Mapping[str, int] = account.requests

    @property
    def server_date(self) -> str | None:
        return self._account.server_date

    def list_folder(self, path: str) -> list[Entry]:
        """See `Store.list_folder`.

        Raises:
            FileNotFoundError: there is no such folder.
            NotADirectoryError: it is a file.
        """
        pages = Pages(self._account, folder_path(self._root, path), recursive=False)
        found: list[Entry] = []
        while not pages.done:
            found += [entry_of(each, join(path, each.name)) for each in pages.next()]
        return found

    def list_tree(self) -> Iterator[Entry]:
        """See `Store.list_tree`. After a `Transient` the iterator may be asked again, and goes on."""
        return TreeListing(self._account, self._root, self._full_root)

    def changes(self, cursor: str | None) -> Changes:
        """See `Store.changes`. Apply ``removed`` before ``upserts``. Asked again with the same cursor after a
        `Transient`, it goes on where it was."""
        feed = self._feed
        if feed is None or feed.cursor != cursor:
            feed = self._feed = Feed(self._account, self._root, self._full_root, cursor)
        changes = feed.run()
        self._feed = None
        return changes

    def stat(self, path: str) -> Entry:
        """See `Store.stat`. The last component is spelled as it is there."""
        with self._account.calling("looking for", path) as sdk:
            metadata = sdk.files_get_metadata(self._full(path))
        return entry_of(metadata, join(path.rpartition("/")[0], metadata.name))

    def open(self, path: str, offset: int = 0) -> Download:
        """See `Store.open`."""
        return download(self._account, self._full(path), path, offset)

    def open_part(self, path: str, offset: int, size: int) -> Download:
        """See `photosync.engine.capabilities.Parts`."""
        return download(self._account, self._full(path), path, offset, size=size)

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        """See `Store.put`."""
        return self._putter.put(blobs)

    def start_upload(self, path: str, size: int, mtime_ns: int | None) -> SessionUpload:
        """See `Store.start_upload`."""
        kind = ConcurrentUpload if size >= FROM else SessionUpload
        return kind(self._account, self._root, path, size, mtime_ns)

    def resume_upload(self, token: str) -> SessionUpload:
        """See `Store.resume_upload`."""
        kind = ConcurrentUpload if '"concurrent"' in token else SessionUpload
        return kind.resume(self._account, self._root, token)

    def move(self, path: str, to: str) -> Stored:
        """See `Store.move`."""
        with self._account.writing("moving", path) as sdk:
            moved = sdk.files_move_v2(self._full(path), self._full(to), autorename=False)
        return stored_of(moved.metadata, to, self._full(to))

    def copy(self, path: str, to: str) -> Stored:
        """See `Store.copy`."""
        return self._copy(self, path, to)

    def reaches(self, source: Store) -> bool:
        """See `photosync.engine.capabilities.ServerCopies`."""
        return isinstance(source, DropboxStore) and self._account.is_same(source._account)

    def copy_from(self, source: Store, original: Entry, to: str) -> Stored:
        """See `photosync.engine.capabilities.ServerCopies`."""
        assert isinstance(source, DropboxStore)
        return self._copy(source, original.path, to)

    def is_one(self, source: Store, original: Entry, there: Entry) -> bool:
        """See `photosync.engine.capabilities.ServerCopies`. A revision is of one file alone."""
        return isinstance(source, DropboxStore) and original.version == there.version is not None

    def _copy(self, source: "DropboxStore", path: str, to: str) -> Stored:
        with self._account.writing("copying", path) as sdk:
            copied = sdk.files_copy_v2(source._full(path), self._full(to), autorename=False)
        return stored_of(copied.metadata, to, self._full(to))

    def make_folder(self, path: str) -> None:
        """See `photosync.engine.capabilities.MakesFolders`."""
        full = self._full(path) if path else self._full_root
        if not full:
            return
        try:
            with self._account.writing("making", path) as sdk:
                sdk.files_create_folder_v2(full, autorename=False)
        except AlreadyExists as taken:
            try:
                self.list_folder(path)
            except (FileNotFoundError, NotADirectoryError):
                raise taken from None

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        """Raises `Unsupported`: Dropbox takes a time only together with the content."""
        raise Unsupported(f"Dropbox cannot change the time of {path!r} without its content.")

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        """See `Store.read_small`."""
        reader = self.open(path)
        try:
            entry = reader.stat()
            if entry.size > limit:
                raise Corrupt(
                    f"{path!r} at Dropbox has {entry.size} bytes, more than the {limit} it may have."
                )
            pieces = []
            while piece := reader.read(limit):
                pieces.append(piece)
            data = b"".join(pieces)
            if entry.digests and content_hash(data) != entry.digests["dropbox"]:
                raise Transient(f"{path!r} came back damaged from Dropbox.", trouble=Trouble.DAMAGED)
            return data, entry.version
        finally:
            reader.close()

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        """See `Store.replace_small`."""
        from dropbox.files import WriteMode

        mode = WriteMode.add if replaces is None else WriteMode.update(replaces)
        full = self._full(path)
        with self._account.writing("replacing", path) as sdk:
            metadata = sdk.files_upload(
                data, full, mode=mode, autorename=False, mute=True, strict_conflict=True
            )
        return stored_of(metadata, path, full).version

    def delete(self, path: str) -> None:
        """See `Store.delete`. Dropbox keeps deleted files for a while, where the account's owner finds them.

        Raises:
            FileNotFoundError: nothing has that name.
            IsADirectoryError: it is a folder.
        """
        version = self.stat(path).version
        if version is None:
            raise IsADirectoryError(f"{path!r} at Dropbox is a folder")
        # Deleting by path alone would take a whole folder with it, had one come there in between.
        with self._account.writing("deleting", path) as sdk:
            sdk.files_delete_v2(self._full(path), parent_rev=version)

    def about(self) -> Usage:
        """See `Store.about`; of a member of a team, the narrower of the team's and their own limit."""
        with self._account.calling("asking how much space there is") as sdk:
            usage = sdk.users_get_space_usage()
        allocation = usage.allocation
        if allocation.is_individual():
            return _usage(allocation.get_individual().allocated, usage.used)
        if not allocation.is_team():
            return Usage(None, usage.used, None)
        team = allocation.get_team()
        whole = _usage(team.allocated, team.used)
        if not team.user_within_team_space_allocated:
            return whole
        own = _usage(team.user_within_team_space_allocated, team.user_within_team_space_used_cached)
        return min(whole, own, key=lambda each: each.free or 0)

    def who(self) -> Identity:
        """See `photosync.backends.tokens.Signed.who`."""
        from photosync.backends.dropbox_auth import identify

        return identify(self._account)

    def close(self) -> None:
        """Closes idle connections."""
        self._account.close()

    def _full(self, path: str) -> str:
        return full_path(self._root, path)


def _usage(total: int, used: int) -> Usage:
    return Usage(total, used, max(0, total - used))
