"""One emulated Google Drive: its items, shared drives, ids and the log of its changes."""

import hashlib
import itertools
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .drive_errors import limited
from .dropbox_content import Content

APPS = "application/vnd.google-apps."
FOLDER = APPS + "folder"
SHORTCUT = APPS + "shortcut"
ME = "me@example.com"


@dataclass(frozen=True, slots=True)
class Revision:
    """What a file holds: its bytes and their checksums in hexadecimal."""

    id: str
    content: Content
    md5: str
    sha1: str
    sha256: str


def revision_of(content: Content) -> Revision:
    """The revision that a content makes. It takes milliseconds a megabyte: not to be called under a lock."""
    digests = [hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha1", "sha256")]
    for piece in content.pieces(0, content.size):
        for digest in digests:
            digest.update(piece)
    return Revision(secrets.token_urlsafe(18), content, *(digest.hexdigest() for digest in digests))


@dataclass(slots=True, eq=False)
class Item:
    """A file (`revision` is set), folder, shortcut (`target`) or Google document. Times are milliseconds
    since the epoch; `app` is the client id of the app that made it; `born` and `changed` are lengths of the
    change log after its creation and its latest change."""

    id: str
    name: str
    mime: str
    above: "Item | None"
    created: int
    modified: int
    app: str
    drive: str | None = None
    revision: Revision | None = None
    target: str | None = None
    description: str = ""
    original_name: str = ""
    starred: bool = False
    copyable: bool = True
    explicitly_trashed: bool = False
    trashed_time: int = 0
    shared_with_me: bool = False
    owner: str = ME
    properties: dict[str, str] = field(default_factory=dict)
    app_properties: dict[str, dict[str, str]] = field(default_factory=dict)
    permissions: dict[str, dict[str, Any]] = field(default_factory=dict)
    opened_by: set[str] = field(default_factory=set)
    below: dict[str, "Item"] = field(default_factory=dict)
    version: int = 1
    born: int = 0
    changed: int = 0

    @property
    def parent(self) -> str | None:
        return self.above.id if self.above else None

    @property
    def trashed(self) -> bool:
        return self.explicitly_trashed or (self.above is not None and self.above.trashed)

    @property
    def is_folder(self) -> bool:
        return self.mime == FOLDER

    @property
    def size(self) -> int:
        return self.revision.content.size if self.revision else 0

    def tree(self) -> Iterator["Item"]:
        """The item and everything below it."""
        yield self
        for child in list(self.below.values()):
            yield from child.tree()


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the log; `app` says whose the item was, for apps that see only their own."""

    id: str
    drive: str | None
    app: str
    removed: bool
    time: int


class Drive:
    """The items of one account. Methods are to be called under `lock`."""

    def __init__(self, quota: int, now: Callable[[], float], seed: int = 0):
        self.quota = quota
        self.lock = threading.RLock()
        self._now = now
        self._serials = itertools.count(seed * 1_000_000 + 1)
        self.items: dict[str, Item] = {}
        self.log: list[Change] = []
        self.generated: set[str] = set()
        self.gone: set[str] = set()
        """Ids of what was deleted; they are never free again."""
        self.drives: dict[str, Item] = {}
        self.used = 0
        self.root = self._root(self.new_id("0A"), "My Drive", None)

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._now() * 1000)

    def new_id(self, prefix: str = "1") -> str:
        """An id that nothing has had, of 33 characters as the service's own."""
        return prefix + hashlib.sha256(f"{next(self._serials)}".encode()).hexdigest()[: 33 - len(prefix)]

    def generate(self, count: int) -> list[str]:
        """Ids for files and folders that are still to be made."""
        ids = [self.new_id() for _ in range(count)]
        self.generated |= set(ids)
        return ids

    def add_drive(self, name: str) -> Item:
        """A new shared drive: its top folder, whose id is the drive's."""
        drive_id = self.new_id("0A")
        self.drives[drive_id] = top = self._root(drive_id, name, drive_id)
        return top

    def add(self, item: Item) -> Item:
        """Takes a new item in. Raises 403 if it does not fit."""
        self._check_room(item, item.size)
        self.items[item.id] = item
        if item.above is not None:
            item.above.below[item.id] = item
            item.drive = item.above.drive
        self.record(item)
        item.born = len(self.log)
        return item

    def replace(self, item: Item, revision: Revision) -> None:
        """Gives a file other bytes. Raises 403 if they do not fit."""
        self._check_room(item, revision.content.size - item.size)
        item.revision = revision

    def move(self, item: Item, above: Item) -> None:
        """Hangs an item under another folder."""
        if item.above is not None:
            del item.above.below[item.id]
        above.below[item.id], item.above = item, above
        for each in item.tree():
            each.drive = above.drive

    def delete(self, item: Item) -> None:
        """Removes an item and what is below it for good. The log tells of the item alone."""
        for each in list(item.tree()):
            del self.items[each.id]
            self.gone.add(each.id)
            if each.drive is None:
                self.used -= each.size
        if item.above is not None:
            del item.above.below[item.id]
        self._log(item, removed=True)

    def record(self, item: Item) -> None:
        """Notes that an item was changed."""
        item.version += 1
        self._log(item, removed=False)
        item.changed = len(self.log)

    def path(self, item: Item) -> str:
        """Names from the top of its drive, joined by slashes (those in names are left as they are)."""
        names = []
        node: Item | None = item
        while node is not None and node.above is not None:
            names.append(node.name)
            node = node.above
        return "/".join(reversed(names))

    def _root(self, item_id: str, name: str, drive: str | None) -> Item:
        now = self.now()
        root = Item(item_id, name, FOLDER, None, now, now, app="", drive=drive)
        self.items[item_id] = root
        return root

    def _check_room(self, item: Item, growth: int) -> None:
        drive = item.above.drive if item.above else item.drive
        if drive is None:
            if growth > 0 and self.used + growth > self.quota:
                raise limited(403, "storageQuotaExceeded")
            self.used += growth

    def _log(self, item: Item, removed: bool) -> None:
        self.log.append(Change(item.id, item.drive, item.app, removed, self.now()))
