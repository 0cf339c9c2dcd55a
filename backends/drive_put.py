"""Small files, one request each, and what else changes the tree."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from photosync.backends.drive_body import whole
from photosync.backends.drive_client import Account
from photosync.backends.drive_errors import IdTaken
from photosync.backends.drive_folders import Folder, Folders
from photosync.backends.drive_metadata import FIELDS, Item, checked, item_of, split, stored_of, times
from photosync.backends.unchanged import same_bytes
from photosync.engine.capabilities import Blob, Buffer, Stored
from photosync.engine.entry import join
from photosync.engine.errors import AlreadyExists, Corrupt, NameRefused, Permanent, Transient


class Putter:
    """`Store.put` of the Drive store.

    A file keeps its id for as long as it is not known to have arrived, over every repetition: a second create
    with the id is refused, and what is there is looked at instead. So no repetition makes a second file.

    Args:
        root: the store's, a path from where the account begins.
    """

    def __init__(self, account: Account, folders: Folders, root: str) -> None:
        self._account = account
        self._folders = folders
        self._root = root

    def put(self, blob: Blob) -> Stored | Exception:
        """Stores one object.

        Raises:
            Fatal, Transient: what became of it is unknown.
        """
        try:
            path = join(self._root, checked(blob.path))

            def send(body: dict[str, Any]) -> Item:
                body |= times(blob.mtime_ns, created=True)
                return create(self._account, body, blob.data, path)

            return stored_of(make(self._folders, path, _content(blob), send), blob.path)
        except (NameRefused, Corrupt, Permanent) as error:
            return error
        except FileNotFoundError:
            raise self._folders.gone(split(path)[0]) from None


def make(folders: Folders, path: str, content: str, send: Callable[[dict[str, Any]], Item]) -> Item:
    """Makes a file, once, over every repetition with the same content.

    Args:
        path: from where the account begins.
        content: names what it is to hold.
        send: makes the request, from the body with id, name and folder.

    Raises:
        AlreadyExists: the name is taken.
        FileNotFoundError: the folder, or what ``send`` needs, is gone.
        Fatal, Transient: what became of it is unknown.
    """
    above, name = split(path)
    folder = folders.ensure(above)
    folders.load(folder, above)
    id = folders.claim(folder, name, content, path)
    try:
        item: Item | None
        try:
            item = send({"id": id, "name": name, "parents": [folder.id]})
        except IdTaken:
            item = folders.item(id, path)
        if item is None:
            folders.release(folder, name, id)
            raise Transient(f"Google Drive, writing {path!r}: it arrived, and is gone again.")
        if item.trashed:
            # Somebody put the folder into the trash, where new files go with it.
            raise FileNotFoundError(2, "in the trash at Google Drive", above)
    except (Permanent, FileNotFoundError):
        folders.release(folder, name, id)
        raise
    except BaseException:
        folders.unsure(folder, name)
        raise
    folders.placed(folder, item)
    folders.settle(folder, name, item.id)
    return item


def create(account: Account, body: dict[str, Any], data: Buffer, path: str) -> Item:
    """Makes a file with its bytes, in one request.

    Args:
        body: file resource: id, name, parents …
        data: its bytes, at most 5 MB.
        path: for messages.

    Raises:
        IdTaken: there is a file with that id.
    """
    return item_of(account.run(lambda api: whole(api, body, data), "writing", path))


def _content(blob: Blob) -> str:
    """The SHA-256 of what is to be sent; Corrupt if it is not what was read."""
    digest = blob.digests.get("sha256")
    if digest is None:
        return hashlib.sha256(blob.data).hexdigest()
    if not same_bytes(blob.data, blob.digests):
        raise Corrupt(
            f"{blob.path!r} changed in memory after it was read. Run again; test this machine's memory."
        )
    return digest


class Mover:
    """`Store.move` and `Store.copy` of the Drive store, for files and, as fsspec asks, for folders."""

    def __init__(self, account: Account, folders: Folders) -> None:
        self._account = account
        self._folders = folders

    def move(self, path: str, to: str) -> Item:
        """Renames.

        Args:
            path, to: from where the account begins.

        Raises:
            FileNotFoundError: nothing is at ``path``.
            AlreadyExists: ``to`` is taken.
        """
        item = self._folders.find(path)
        folder, name = self._target(to)
        above = {"addParents": folder.id, "removeParents": item.parent} if folder.id != item.parent else {}
        moved = self._rename(item, name, path, above)
        self._folders.release(self._folders.parent(path), split(path)[1], item.id)
        self._folders.forget(path)
        self._folders.settle(folder, name, moved.id)
        return moved

    def make_own(self, path: str) -> Item:
        """Gives something for good the name under which it is shown; see `drive_metadata.alias`."""
        return self._rename(self._folders.find(path), split(path)[1], path, {})

    def _rename(self, item: Item, name: str, path: str, above: Mapping[str, str]) -> Item:
        return item_of(
            self._account.run(
                lambda api: api.files.update(
                    fileId=item.id,
                    # A new name alone would count as a modification.
                    body={"name": name, **times(item.mtime_ns)},
                    fields=FIELDS,
                    supportsAllDrives=True,
                    **above,
                ),
                "moving",
                path,
            )
        )

    def copy(self, path: str, to: str) -> Item:
        """Copies a file; see `move`."""
        item = self._folders.find(path)
        return self.copy_of(item.id, item.mtime_ns, path, to)

    def copy_of(self, id: str, mtime_ns: int | None, path: str, to: str) -> Item:
        """Copies a file whose id is known, from wherever it is.

        Args:
            id: of the original.
            mtime_ns: the copy's modification time.
            path: of the original, for messages.
            to: from where the account begins.

        Raises:
            FileNotFoundError: the original is gone.
            AlreadyExists: ``to`` is taken.
        """

        def send(body: dict[str, Any]) -> Item:
            body |= times(mtime_ns, created=True)
            return item_of(
                self._account.run(
                    lambda api: api.files.copy(fileId=id, body=body, fields=FIELDS, supportsAllDrives=True),
                    "copying",
                    path,
                )
            )

        try:
            return make(self._folders, to, f"copy of {id}", send)
        except FileNotFoundError:
            if self._folders.item(id, path) is not None:
                raise self._folders.gone(split(to)[0]) from None
            raise

    def _target(self, to: str) -> tuple[Folder, str]:
        folder = self._folders.ensure(split(to)[0])
        try:
            self._folders.find(to)
        except FileNotFoundError:
            return folder, split(to)[1]
        raise AlreadyExists(f"Google Drive has {to!r} already; it was left as it is.")
