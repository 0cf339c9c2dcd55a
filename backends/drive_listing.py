"""Listing a whole library, and the change feed.

Drive has no recursive listing of a folder, but lists everything that a sign-in may see, a thousand files a
request. Paths are put together from each file's parent; what is not below the root is left out.

A change says which file (by its id) is another now, not where it was before. So our cursor carries what is
below the root, packed: about 45 bytes a file. Changes of single files are applied to it. What else happens
is rare, and has the listing made anew: a folder that comes, moves or is renamed by somebody else, because its
content is not told along with it; and two files coming to have one name, or ceasing to, because then another
file's path changes as well.

Source: "Retrieve changes" of the Drive API's guides; changes.list in its reference.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from photosync.backends.drive_client import Account, given, misunderstood
from photosync.backends.drive_errors import Refused
from photosync.backends.drive_folders import Folders
from photosync.backends.drive_metadata import FIELDS, Item, entry_of, item_of, shown
from photosync.backends.drive_pages import PAGE, Pages, items_of, search
from photosync.backends.drive_tree import Tree
from photosync.engine.capabilities import Changes
from photosync.engine.entry import Entry
from photosync.engine.errors import Transient


class Whole:
    """Everything that there is. `run` may be called again after a `Transient`; it goes on where it was."""

    def __init__(self, account: Account, folders: Folders, root: str) -> None:
        self._folders = folders
        self._root = root
        self._pages = search(account, "trashed = false", "listing", root or "/")
        self._items: list[Item] = []

    def run(self) -> tuple[Tree, list[Entry]]:
        """What is below the root, and its entries (files and what is skipped)."""
        base = self._folders.base()
        while not self._pages.done:
            self._items += items_of(self._pages.next())
        return Tree.grown(base, self._root, self._items)


class TreeListing(Iterator[Entry]):
    """Every file below a root. After a `Transient`, the next `next` goes on where it was."""

    def __init__(self, account: Account, folders: Folders, root: str) -> None:
        self._whole = Whole(account, folders, root)
        self._ready: deque[Entry] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Entry:
        if self._ready is None:
            self._ready = deque(self._whole.run()[1])
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()


class _Anew(Exception):
    """The changes do not tell enough."""


class Feed:
    """What changed since a cursor. `run` may be called again after a `Transient`; it goes on where it was.

    Attributes:
        cursor: that it was made for.
        tree: what is below the root, once `run` has returned.
    """

    def __init__(self, account: Account, folders: Folders, root: str, cursor: str | None) -> None:
        self._account = account
        self._folders = folders
        self._root = root
        self.cursor = cursor
        self._place = f"{account.shared_drive}/{account.root_folder_id}/{root}"
        self.tree = Tree.unpacked(cursor, self._place)
        self._token = self.tree.token if self.tree is not None else ""
        self._pages = self._changes(self._token) if self._token else None
        self._changed: dict[str, dict[str, Any]] = {}
        self._whole: Whole | None = None

    def run(self) -> Changes:
        """Takes all pages.

        Returns:
            The changes: apply ``removed`` first, then ``upserts``.
        """
        if self.tree is not None and not self.tree.root:
            # What is below a root that this process made came after the cursor.
            self.tree = self._folders.tree_made(self._root, self.tree.token)
        if self._whole is None and self.tree is not None:
            try:
                return self._delta(self.tree)
            except (_Anew, Refused, FileNotFoundError):
                # A cursor that is refused is of another account, or damaged.
                self._whole = None
                self.tree, self._token = None, ""
        return self._full()

    def _full(self) -> Changes:
        if self._whole is None:
            reply = self._account.run(
                lambda api: api.changes.getStartPageToken(
                    supportsAllDrives=True,
                    **({"driveId": self._account.shared_drive} if self._account.shared_drive else {}),
                ),
                "listing",
                self._root or "/",
            )
            self._token = given(reply, "startPageToken", str)
            self._whole = Whole(self._account, self._folders, self._root)
        tree, entries = self._whole.run()
        return self._told(tree, entries, (), full=True)

    def _told(self, tree: Tree, upserts: list[Entry], removed: Any, full: bool) -> Changes:
        self.tree = tree
        tree.token = self._token
        for path, id in tree.folder_paths():
            self._folders.learn(path, id)
        if not tree.root:
            self._folders.absent.add(tree.missing(self._root))
        return Changes(upserts, list(removed), tree.packed(self._place), full)

    def _changes(self, token: str) -> Pages:
        return Pages(
            self._account,
            lambda api, page: api.changes.list(
                pageToken=page,
                pageSize=PAGE,
                spaces="drive",
                includeRemoved=True,
                fields=f"nextPageToken,newStartPageToken,changes(changeType,removed,fileId,file({FIELDS}))",
                **self._account.everywhere(),
            ),
            "asking what changed in",
            self._root or "/",
            token,
        )

    def _delta(self, tree: Tree) -> Changes:
        assert self._pages is not None
        while not self._pages.done:
            reply = self._pages.next()
            for change in given({"changes": [], **reply}, "changes", list):
                if not isinstance(change, dict):
                    raise misunderstood("changes")
                if change.get("changeType", "file") == "file" and "fileId" in change:
                    id = given(change, "fileId", str)
                    self._changed.pop(id, None)
                    self._changed[id] = change
            if self._pages.done:
                if "newStartPageToken" not in reply:
                    raise Transient("Google Drive, asking what changed: the answer was cut short.")
                self._token = given(reply, "newStartPageToken", str)
        gone: list[str] = []
        there: list[Item] = []
        for id, change in self._changed.items():
            item = None if change.get("removed") or "file" not in change else item_of(change["file"])
            if item is None or item.trashed:
                gone.append(id)
            else:
                there.append(item)
        return self._told(tree, *self._applied(tree, gone, there), full=False)

    def _applied(self, tree: Tree, gone: list[str], there: list[Item]) -> tuple[list[Entry], list[str]]:
        removed: list[str] = []
        upserts: list[Entry] = []
        for id in gone:
            removed += self._removed(tree, id)
        folders = [item for item in there if item.is_folder]
        while folders:
            left = [item for item in folders if not self._folder(tree, item)]
            if len(left) == len(folders):
                break
            folders = left
        for item in there:
            if not item.is_folder:
                removed += self._file(tree, item, upserts)
        return upserts, removed

    def _removed(self, tree: Tree, id: str) -> list[str]:
        if tree.bears(id) or tree.shares_name(id):
            raise _Anew
        path = tree.path(id)
        if path is None:
            return []
        tree.remove(id)
        return [path]

    def _folder(self, tree: Tree, item: Item) -> bool:
        """Takes a folder's change; False if its own folder is not known (yet)."""
        if tree.bears(item.id):
            if not tree.bears_as(item.id, item.parent, item.name):
                raise _Anew
            return True
        known = tree.nodes.get(item.id)
        if known is not None:
            if (known.parent, known.name) != (item.parent, shown(item.name)):
                raise _Anew
            return True
        if not tree.is_folder(item.parent):
            return False
        if item.id not in self._folders.made or tree.taken(item.parent, shown(item.name)):
            raise _Anew
        tree.add(item.id, item.parent, shown(item.name), folder=True)
        return True

    def _file(self, tree: Tree, item: Item, upserts: list[Entry]) -> list[str]:
        name = shown(item.name)
        known = tree.nodes.get(item.id)
        before = tree.path(item.id)
        # What was shown under an alias may bear it as its name now.
        if (
            known is not None
            and (known.parent, known.name) == (item.parent, name)
            and known.shared in ("", name)
        ):
            upserts.append(entry_of(item, before or name))
            return []
        if known is not None:
            if tree.shares_name(item.id):
                raise _Anew
            tree.remove(item.id)
        if tree.is_folder(item.parent):
            if tree.taken(item.parent, name):
                raise _Anew
            tree.add(item.id, item.parent, name, folder=False)
            upserts.append(entry_of(item, tree.path(item.id) or name))
        return [before] if before is not None else []
