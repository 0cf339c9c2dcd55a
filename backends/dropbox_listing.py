"""Recursive listings and the change feed.

A name's identity at Dropbox is ``path_lower``. ``path_display`` is right in its last component only; the
case of the parents is whatever somebody once wrote. So the display names of folders are collected from
their own entries, and paths are put together from those.

A delta tells of files without telling of their parents again. So that a file has the same path in a delta
as in the listing before it, our cursor carries the folders' names along with Dropbox's own cursor (packed:
about 10 bytes a folder). Dropbox does not report that only the case of a folder's name changed; then paths
keep the old spelling until the next full listing, which is stable, and refers to the same file.

Rules for applying entries in order: descriptions of list_folder and list_folder/continue in the HTTP
documentation.
"""

import base64
import json
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_errors import CursorReset, RouteRefused
from photosync.backends.dropbox_metadata import entry_of
from photosync.engine.capabilities import Changes
from photosync.engine.entry import Entry, join
from photosync.engine.errors import Transient

PAGE = 2000
NO_CURSOR = ""
"""The cursor of a root that does not exist yet: the next call lists from the start."""


class Pages:
    """Pages of one listing, a request each. A page that failed is asked for again by the next call.

    Args:
        full: folder from `full_path`.
        recursive: everything below instead of direct children.
        cursor: Dropbox's own, to go on from; "" to start.
    """

    def __init__(self, account: Account, full: str, recursive: bool, cursor: str = "") -> None:
        self._account = account
        self._full = full
        self._recursive = recursive
        self.cursor = cursor
        self.done = False
        self._seen = {cursor}

    def next(self) -> list[Any]:
        """The metadata of the next page.

        Raises:
            FileNotFoundError, NotADirectoryError: there is no such folder.
            CursorReset: start from the beginning.
            Transient: the listing goes round in circles, or names things in no documented form.
        """
        with self._account.calling("listing", self._full or "/") as sdk:
            if self.cursor:
                page = sdk.files_list_folder_continue(self.cursor)
            else:
                page = sdk.files_list_folder(self._full, recursive=self._recursive, limit=PAGE)
        entries: list[Any] = page.entries
        if page.has_more and page.cursor in self._seen:
            raise Transient(f"Dropbox, listing {self._full!r}: the pages repeat themselves.")
        if any(entry.path_lower is None for entry in entries):
            raise Transient(f"Dropbox, listing {self._full!r}: something was told without its path.")
        self.cursor = page.cursor
        self._seen.add(page.cursor)
        self.done = not page.has_more
        return entries


class Folders:
    """Display names of the folders below a root, by relative ``path_lower``."""

    def __init__(self, root: str, names: dict[str, str] | None = None) -> None:
        self._above = root.count("/") + 1 if root else 0
        self.names: dict[str, str] = names or {}
        self._paths: dict[str, str] = {"": ""}

    def key(self, path_lower: str) -> str:
        """``path_lower`` below the root; "" for the root itself. Counts components, because the service
        folds case by rules of its own."""
        parts = path_lower.split("/", self._above + 1)
        return parts[self._above + 1] if len(parts) == self._above + 2 else ""

    def learn(self, key: str, name: str) -> None:
        """Takes a folder's own entry; the root (``key`` "") has no name here."""
        if not key:
            return
        if self.names.get(key, name) != name:
            self._paths = {"": ""}
        self.names[key] = name

    def forget(self, key: str) -> None:
        """Forgets a folder and all below it; "" forgets everything."""
        below = f"{key}/" if key else ""
        for folder in [each for each in self.names if each == key or each.startswith(below)]:
            del self.names[folder]
        self._paths = {"": ""}

    def path(self, key: str, metadata: Any) -> tuple[str, bool]:
        """The path to show, and whether every parent's name is known; else theirs are as the entry has it."""
        parent = key.rpartition("/")[0]
        known = self._paths.get(parent)
        if known is not None:
            return join(known, metadata.name), True
        shown = self.key(metadata.path_display or metadata.path_lower).split("/")
        folder, at, complete = "", "", True
        for part, display in zip(parent.split("/"), shown, strict=False):
            at = join(at, part)
            name = self.names.get(at)
            complete = complete and name is not None
            folder = join(folder, name or display)
        if complete:
            self._paths[parent] = folder
        return join(folder, metadata.name), complete


class TreeListing(Iterator[Entry]):
    """Every file below a root, page by page. After a `Transient`, the next `next` goes on where it was."""

    def __init__(self, account: Account, root: str, full: str) -> None:
        self._pages = Pages(account, full, recursive=True)
        self._folders = Folders(root)
        self._ready: deque[Entry] = deque()
        self._waiting: list[tuple[str, Any]] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Entry:
        while not self._ready:
            if self._pages.done:
                if not self._waiting:
                    raise StopIteration
                waiting, self._waiting = self._waiting, []
                self._ready.extend(entry_of(each, self._folders.path(key, each)[0]) for key, each in waiting)
            else:
                self._turn()
        return self._ready.popleft()

    def _turn(self) -> None:
        try:
            page = self._pages.next()
        except FileNotFoundError:
            if self._pages.cursor:
                raise
            self._pages.done = True
            return
        for metadata in page:
            key = self._folders.key(metadata.path_lower)
            if _is_folder(metadata):
                self._folders.learn(key, metadata.name)
            elif not _is_deleted(metadata):
                path, complete = self._folders.path(key, metadata)
                # The listing need not name a folder before what is in it.
                if complete:
                    self._ready.append(entry_of(metadata, path))
                else:
                    self._waiting.append((key, metadata))


class Feed:
    """What changed since a cursor. `run` may be called again after a `Transient`; it goes on where it was."""

    def __init__(self, account: Account, root: str, full: str, cursor: str | None) -> None:
        self._account = account
        self._root = root
        self._full = full
        self.cursor = cursor
        theirs, names = _unpack(cursor, root)
        self._restarted = False
        self._start(theirs, names)

    def _start(self, theirs: str, names: dict[str, str]) -> None:
        self._pages = Pages(self._account, self._full, recursive=True, cursor=theirs)
        self._folders = Folders(self._root, names)
        self._whole = not theirs
        self._files: dict[str, Entry | Any] = {}
        self._removed: dict[str, tuple[str, bool]] = {}

    def run(self) -> Changes:
        """Takes all pages.

        Returns:
            The changes: apply ``removed`` first, then ``upserts``.
        """
        while not self._pages.done:
            last = self._restarted or not self._pages.cursor
            try:
                page = self._pages.next()
            except (FileNotFoundError, CursorReset, RouteRefused) as error:
                if not last:
                    self._restarted = True
                    self._start("", {})
                elif isinstance(error, FileNotFoundError):
                    return Changes((), (), NO_CURSOR, full=True)
                else:
                    raise
            else:
                for metadata in page:
                    self._apply(self._folders.key(metadata.path_lower), metadata)
        upserts = [self._entry(key, found) for key, found in self._files.items()]
        if self._whole:
            return Changes(upserts, (), self._cursor(), full=True)
        return Changes(upserts, [path for path, _ in self._removed.values()], self._cursor(), full=False)

    def _cursor(self) -> str:
        return _pack(self._pages.cursor, self._root, self._folders.names)

    def _apply(self, key: str, metadata: Any) -> None:
        if _is_deleted(metadata):
            self._remove(key, metadata)
        elif _is_folder(metadata):
            if key and key not in self._folders.names:
                # It may have taken the place of a file.
                self._remove(key, metadata)
            self._folders.learn(key, metadata.name)
        else:
            if key in self._folders.names:
                self._remove(key, metadata)
            path, complete = self._folders.path(key, metadata)
            if self._removed.get(key) == (path, False):
                del self._removed[key]
            self._files[key] = entry_of(metadata, path) if complete else metadata

    def _remove(self, key: str, metadata: Any) -> None:
        if not key:
            # The root itself went away: whatever comes after this is all there is.
            self._start_over()
            return
        was_folder = key in self._folders.names
        name = self._folders.names.get(key, metadata.name)
        path = join(self._folders.path(key, metadata)[0].rpartition("/")[0], name)
        self._files.pop(key, None)
        if was_folder:
            for below in [each for each in self._files if each.startswith(f"{key}/")]:
                del self._files[below]
            self._folders.forget(key)
        self._removed[key] = (path, was_folder)

    def _start_over(self) -> None:
        self._whole = True
        self._files.clear()
        self._folders.forget("")

    def _entry(self, key: str, found: Any) -> Entry:
        return found if isinstance(found, Entry) else entry_of(found, self._folders.path(key, found)[0])


def _is_deleted(metadata: Any) -> bool:
    from dropbox.files import DeletedMetadata

    return isinstance(metadata, DeletedMetadata)


def _is_folder(metadata: Any) -> bool:
    from dropbox.files import FolderMetadata

    return isinstance(metadata, FolderMetadata)


def _pack(theirs: str, root: str, names: dict[str, str]) -> str:
    text = json.dumps([theirs, root, names], ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()


def _unpack(cursor: str | None, root: str) -> tuple[str, dict[str, str]]:
    """Dropbox's own cursor and the folders' names; ("", {}) for none, or one that is not for this root."""
    if not cursor:
        return "", {}
    try:
        theirs, of, names = json.loads(zlib.decompress(base64.b64decode(cursor, validate=True)))
    except (ValueError, TypeError, RecursionError, zlib.error):
        return "", {}
    usable = of == root and isinstance(theirs, str) and isinstance(names, dict)
    return (theirs, names) if usable else ("", {})
