"""photosync's own small files, replaced only if nobody else did in between.

Drive's API has no condition on a write (version 3 has no ETags), and an update would put one writer's bytes
over another's. So a file is never updated: its next version is a new file of the same name that says, in a
property which every app may read, which version it replaces; then the old one is removed. Of several that
replace one version, the one that Drive dates first is the next, for every reader alike; whoever made another
one takes it away again. Two writers who do not see each other's files at that moment may both believe that
they were first; every reader sees one and the same of them all the same, and the other's next write finds
out.
"""

import hashlib
import threading
from collections.abc import Sequence

from photosync.backends.drive_client import Account
from photosync.backends.drive_download import download
from photosync.backends.drive_errors import IdTaken
from photosync.backends.drive_folders import Folders
from photosync.backends.drive_metadata import Item, checked, split
from photosync.backends.drive_pages import of_name
from photosync.backends.drive_put import create
from photosync.engine.errors import AlreadyExists, Corrupt, Transient

REPLACES = "photosync_replaces"


class OwnFiles:
    """`Store.read_small` and `Store.replace_small` of the Drive store."""

    def __init__(self, account: Account, folders: Folders) -> None:
        self._account = account
        self._folders = folders
        self._lock = threading.Lock()
        self._begun: dict[tuple[str, str, str | None], str] = {}

    def read(self, path: str, full: str, limit: int) -> tuple[bytes, str | None]:
        """A whole file, and its version.

        Args:
            path: for messages.
            full: from where the account begins.
        """
        item = current(self._there(full))
        if item is None:
            raise FileNotFoundError(2, "Google Drive has nothing of that name", path)
        if item.size > limit:
            raise Corrupt(
                f"{path!r} at Google Drive has {item.size} bytes, more than the {limit} it may have."
            )
        try:
            reader = download(self._account, item, path, 0)
        except FileNotFoundError:
            raise Transient(f"Google Drive: {path!r} was replaced while it was looked for.") from None
        try:
            pieces = []
            while piece := reader.read(limit):
                pieces.append(piece)
        finally:
            reader.close()
        return b"".join(pieces), item.version

    def replace(self, full: str, data: bytes, replaces: str | None) -> str | None:
        """The new version; see `Store.replace_small`. May be called again after a failure."""
        key = (full, hashlib.sha256(data).hexdigest(), replaces)
        with self._lock:
            id = self._begun.get(key) or self._account.ids.take()
            self._begun[key] = id
        there = self._there(full)
        mine = next((item for item in there if item.id == id), None)
        if mine is None:
            now = current(there)
            if (now.version if now else None) != replaces:
                raise AlreadyExists(f"Google Drive has another version of {full!r}; it was left as it is.")
            mine = self._create(full, id, data, replaces)
            folder = self._folders.parent(full)
            self._folders.placed(folder, mine)
            self._folders.settle(folder, split(full)[1], id)
            there = [*there, *self._there(full)]
        rivals = [item for item in there if item.properties.get(REPLACES) == (replaces or "")]
        first = min((*rivals, mine), key=Item.order)
        with self._lock:
            del self._begun[key]
        if first.id != id:
            self._folders.release(self._folders.parent(full), split(full)[1], id)
            self._remove(mine, full)
            raise AlreadyExists(f"Google Drive got another version of {full!r} first; it was left as it is.")
        others = {item.id: item for item in there if item.id != id and item not in rivals}
        self._retire(list(others.values()), replaces, full)
        return mine.version

    def _there(self, full: str) -> list[Item]:
        """What has the name, the file last made here included: a search may miss it for a while."""
        checked(full)
        try:
            folder = self._folders.parent(full)
        except FileNotFoundError:
            return []
        name = split(full)[1]
        if self._folders.is_new(folder, name):
            return []
        found = [item for item in of_name(self._account, folder.id, name, full) if not item.is_folder]
        held = folder.names.get(name)
        if held is not None and all(item.id != held.id for item in found):
            known = self._folders.item(held.id, full)
            if known is not None and known.parent == folder.id and known.name == name:
                found.append(known)
        return found

    def _create(self, full: str, id: str, data: bytes, replaces: str | None) -> Item:
        folder_path, name = split(full)
        folder = self._folders.ensure(folder_path)
        body = {
            "id": id,
            "name": name,
            "parents": [folder.id],
            "properties": {REPLACES: replaces or ""},
        }
        try:
            return create(self._account, body, data, full)
        except IdTaken:
            item = self._folders.item(id, full)
            if item is None:
                with self._lock:
                    self._begun.clear()
                raise Transient(f"Google Drive, writing {full!r}: it arrived, and is gone again.") from None
            return item
        except FileNotFoundError:
            self._folders.forget(folder_path)
            raise Transient(f"Google Drive: the folder {folder_path!r} is not there any more.") from None

    def _retire(self, others: Sequence[Item], replaces: str | None, full: str) -> None:
        """Removes what was replaced, now or earlier. What cannot be removed is seen to be replaced, and is
        removed by whoever writes next."""
        for item in others:
            if item.version == replaces or REPLACES in item.properties:
                try:
                    self._remove(item, full)
                except (Transient, OSError):
                    return

    def _remove(self, item: Item, full: str) -> None:
        remove(self._account, item, full)


def remove(account: Account, item: Item, path: str) -> None:
    """Deletes a file for good; in a shared drive where this account may only put it into the trash, that."""
    try:
        account.run(lambda api: api.files.delete(fileId=item.id, supportsAllDrives=True), "deleting", path)
    except FileNotFoundError:
        return
    except PermissionError:
        account.run(
            lambda api: api.files.update(
                fileId=item.id, body={"trashed": True}, fields="id", supportsAllDrives=True
            ),
            "deleting",
            path,
        )


def current(items: Sequence[Item]) -> Item | None:
    """Which of several files of one name is its present version; None if there is none."""
    versions = {item.version for item in items}
    begin = [item for item in items if item.properties.get(REPLACES) not in versions]
    found = min(begin, key=Item.order, default=None)
    seen: set[str] = set()
    while found is not None and found.id not in seen:
        seen.add(found.id)
        heirs = [item for item in items if item.properties.get(REPLACES) == found.version]
        if not heirs:
            return found
        found = min(heirs, key=Item.order)
    return found
