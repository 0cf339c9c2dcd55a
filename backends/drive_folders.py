"""From paths to ids, and the making of folders.

Two folders of one name are two folders at Drive, so each is made by one thread, with an id that was chosen
before, and only after looking for it. What this process made or wrote is remembered, because searches may
miss for a while what was just written, while a file is found by its id at once.

Drive cannot refuse a second file of a name. So a folder's names are read once, before the first file is put
there, and from then on every name is claimed here before it is used.
"""

import threading
from dataclasses import dataclass, field

from photosync.backends.drive_client import Account, given
from photosync.backends.drive_errors import IdTaken
from photosync.backends.drive_metadata import (
    FIELDS,
    FOLDER,
    Item,
    alias,
    checked,
    item_of,
    named,
    plain,
    shown,
    split,
)
from photosync.backends.drive_pages import children, of_name
from photosync.backends.drive_tree import Tree
from photosync.engine.entry import join
from photosync.engine.errors import AlreadyExists, Transient
from photosync.engine.names import OURS

_ROOT = "root"
"""What the root of My Drive may be called instead of its id."""


@dataclass(slots=True)
class Held:
    """A name that is taken.

    Attributes:
        id: of what has it, or will have it.
        content: SHA-256 of a file that is on its way; "" for what is there.
        busy: a thread is sending it.
    """

    id: str
    content: str = ""
    busy: bool = False


@dataclass(slots=True)
class Folder:
    """A folder that this process works in.

    Attributes:
        id: at Drive.
        names: what is known to be in it, by the component of a path.
        known: ``names`` has everything that was there when it was first looked at.
    """

    id: str
    names: dict[str, Held] = field(default_factory=dict)
    known: bool = False
    loading: threading.Lock = field(default_factory=threading.Lock)


class Folders:
    """The folders of a drive, by path from where the account begins."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._state = threading.Lock()
        self._making = threading.Lock()
        self._by_path: dict[str, Folder] = {}
        self._begun: dict[str, str] = {}
        self._base = ""
        self.made: set[str] = set()
        """Ids of folders that this process made."""
        self.absent: set[str] = set()
        """Paths that a listing just now showed not to be there; each is believed once."""

    def base(self) -> str:
        """The id of the folder that paths start from; "root" as long as nobody can tell it."""
        if self._base in ("", _ROOT):
            account = self._account
            self._base = account.root_folder_id or account.shared_drive or self._my_root()
        return self._base

    def _my_root(self) -> str:
        try:
            found = self._account.run(
                lambda api: api.files.get(fileId=_ROOT, fields="id"), "looking for", "/"
            )
            return given(found, "id", str)
        except FileNotFoundError:
            # A sign-in that may only see photosync's own files may not see the root itself.
            inside = children(self._account, _ROOT, "/")
            return inside[0].parent if inside and inside[0].parent else _ROOT

    def placed(self, folder: Folder, item: Item) -> None:
        """Learns from what was put into a folder what that folder's id is, if only its byname was known."""
        if folder.id == _ROOT and item.parent:
            folder.id = self._base = item.parent

    def item(self, id: str, path: str) -> Item | None:
        """What has an id, unless it is gone or in the trash."""
        try:
            file = self._account.run(
                lambda api: api.files.get(fileId=id, fields=FIELDS, supportsAllDrives=True),
                "looking for",
                path,
            )
        except FileNotFoundError:
            return None
        item = item_of(file)
        return None if item.trashed else item

    def find(self, path: str) -> Item:
        """A file or folder.

        Args:
            path: from the base; not the base itself.

        Raises:
            FileNotFoundError: nothing has that name.
        """
        item = self._child(self.parent(checked(path)), split(path)[1], path)
        if item is None:
            raise FileNotFoundError(2, "Google Drive has nothing of that name", path)
        return item

    def folder(self, path: str) -> Folder:
        """A folder that is there.

        Raises:
            FileNotFoundError: it is not, or a file stands in the way.
            NotADirectoryError: it is a file.
        """
        found = self._cached(path)
        if found is not None:
            return found
        if not path:
            return self.learn("", self.base())
        if self.is_new(self.parent(path), split(path)[1]):
            raise FileNotFoundError(2, "Google Drive has nothing of that name", path)
        item = self.find(path)
        if not item.is_folder:
            raise NotADirectoryError(20, "not a folder at Google Drive", path)
        return self.learn(path, item.id)

    def is_new(self, folder: Folder, name: str) -> bool:
        """Whether a name has not been used yet in a folder that this process made."""
        return folder.id in self.made and name not in folder.names

    def parent(self, path: str) -> Folder:
        """The folder that something is in; a file in the way is the same as nothing."""
        try:
            return self.folder(split(path)[0])
        except NotADirectoryError:
            raise FileNotFoundError(2, "Google Drive has nothing of that name", path) from None

    def ensure(self, path: str) -> Folder:
        """A folder, made with all above it where it is missing.

        Raises:
            AlreadyExists: a file has the name of one of them.
        """
        found = self._cached(path)
        if found is not None:
            return found
        with self._making:
            return self._ensure(path)

    def _ensure(self, path: str) -> Folder:
        found = self._cached(path)
        if found is not None:
            return found
        if not path:
            return self.learn("", self.base())
        above, name = split(checked(path))
        parent = self._ensure(above)
        known = parent.id in self.made or path in self.absent
        self.absent.discard(path)
        item = None if known else self._child(parent, name, path)
        if item is None and (held := parent.names.get(name)) is not None:
            item = self.item(held.id, path)
        if item is not None:
            if not item.is_folder:
                raise AlreadyExists(
                    f"Google Drive, making the folder {path!r}: a file has its name; it was left as it is."
                )
            return self.learn(path, item.id)
        return self._make(parent, name, path)

    def _make(self, parent: Folder, name: str, path: str) -> Folder:
        id = self._begun.setdefault(path, "") or self._account.ids.take()
        self._begun[path] = id
        body = {"id": id, "name": name, "parents": [parent.id], "mimeType": FOLDER}
        made: Item | None
        try:
            made = item_of(
                self._account.run(
                    lambda api: api.files.create(body=body, fields=FIELDS, supportsAllDrives=True),
                    "making the folder",
                    path,
                )
            )
        except IdTaken:
            made = self.item(id, path)
        except FileNotFoundError:
            raise self.gone(split(path)[0]) from None
        del self._begun[path]
        if made is None or made.trashed:
            raise self.gone(split(path)[0])
        if parent.id not in self.made or name == OURS:
            first = self._first_of(parent, made, path)
            if first.id != id:
                return self.learn(path, first.id)
        self.placed(parent, made)
        with self._state:
            self.made.add(id)
            parent.names[name] = Held(id)
        folder = self.learn(path, id)
        folder.known = True
        return folder

    def _first_of(self, parent: Folder, made: Item, path: str) -> Item:
        """Of several machines that made a folder at the same moment, all use the first one.

        Drive takes any number of folders of one name. One's own is removed again, unless somebody has put
        something into it already: then it is read together with the other, as every folder of that name is.
        """
        rivals = [item for item in of_name(self._account, parent.id, made.name, path) if item.is_folder]
        first = min((*rivals, made), key=Item.order)
        if first.id != made.id and not children(self._account, made.id, path):
            self._account.run(
                lambda api: api.files.delete(fileId=made.id, supportsAllDrives=True),
                "removing the folder",
                path,
            )
        return first

    def tree_made(self, root: str, token: str) -> Tree | None:
        """The tree, empty, below a root that this process made; None if it did not."""
        way: list[tuple[str, str, str]] = []
        at, above = "", self.base()
        for name in root.split("/"):
            at = join(at, name)
            folder = self._cached(at)
            if folder is None:
                return None
            way.append((folder.id, above, name))
            above = folder.id
        if above not in self.made:
            return None
        tree = Tree(above, way)
        tree.token = token
        return tree

    def learn(self, path: str, id: str) -> Folder:
        """Remembers where a folder is."""
        with self._state:
            found = self._by_path.get(path)
            if found is None or found.id != id:
                found = self._by_path[path] = Folder(id)
            return found

    def forget(self, path: str) -> None:
        """Forgets a folder and all below it: it is not where it was."""
        with self._state:
            for each in [each for each in self._by_path if each == path or each.startswith(join(path, ""))]:
                self.made.discard(self._by_path.pop(each).id)

    def gone(self, path: str) -> Transient:
        """Forgets what is not there any more on the way to a folder; the error to raise."""
        at = ""
        for name in path.split("/") if path else ():
            at = join(at, name)
            folder = self._cached(at)
            if folder is not None and self.item(folder.id, at) is None:
                self.forget(at)
                break
        return Transient(f"Google Drive: the folder {path or '/'!r} is not there any more.")

    def load(self, folder: Folder, path: str) -> None:
        """Reads a folder's names, unless that was done.

        Raises:
            FileNotFoundError: the folder is gone.
        """
        with folder.loading:
            if folder.known:
                return
            found = named(children(self._account, folder.id, path))
            with self._state:
                for name, item in found.items():
                    folder.names.setdefault(name, Held(item.id))
            folder.known = True

    def claim(self, folder: Folder, name: str, content: str, path: str) -> str:
        """Takes a name for a file that is to be sent now; the id that it is to have.

        Asked again for the same content after a failure whose outcome is unknown, it is the same id.

        Raises:
            AlreadyExists: something else has the name, or is about to.
        """
        while True:
            fresh = self._account.ids.take() if name not in folder.names else ""
            with self._state:
                held = folder.names.get(name)
                if held is None:
                    if not fresh:
                        continue
                    folder.names[name] = Held(fresh, content, busy=True)
                    return fresh
                if held.content == content and not held.busy:
                    held.busy = True
                    return held.id
                busy = held.busy
            if busy or self._still(held, folder, name, path):
                raise AlreadyExists(f"Google Drive has {path!r} already; it was left as it is.")

    def _still(self, held: Held, folder: Folder, name: str, path: str) -> bool:
        """Whether a name is still taken; forgets it if not."""
        item = self.item(held.id, path)
        if item is not None and item.parent == folder.id and (shown(item.name) == name or not plain(name)):
            return True
        self.release(folder, name, held.id)
        return False

    def settle(self, folder: Folder, name: str, id: str) -> None:
        """Notes that a name is taken for good."""
        with self._state:
            folder.names[name] = Held(id)

    def unsure(self, folder: Folder, name: str) -> None:
        """Notes that nobody is sending any more, and that it may have arrived."""
        with self._state:
            held = folder.names.get(name)
            if held is not None:
                held.busy = False

    def release(self, folder: Folder, name: str, id: str) -> None:
        """Gives a name back."""
        with self._state:
            held = folder.names.get(name)
            if held is not None and held.id == id:
                del folder.names[name]

    def _cached(self, path: str) -> Folder | None:
        with self._state:
            return self._by_path.get(path)

    def _child(self, folder: Folder, name: str, path: str) -> Item | None:
        held = folder.names.get(name)
        if held is not None and not held.content:
            item = self.item(held.id, path)
            if item is not None and item.parent == folder.id and shown(item.name) == name:
                return item
            self.release(folder, name, held.id)
        found = of_name(self._account, folder.id, name, path)
        if found:
            return found[0]
        if plain(name):
            return None
        inside = children(self._account, folder.id, path)
        # An alias stands for its file also when nothing shares the name any more.
        return named(inside).get(name) or next((item for item in inside if alias(item) == name), None)
