"""What is below a root: which id has which path. Packed into a cursor, it outlives a run."""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from photosync.backends.drive_metadata import Item, entry_of, named, shown
from photosync.engine.entry import Entry, join
from photosync.engine.names import is_ours


@dataclass(frozen=True, slots=True)
class Node:
    """A file or folder below the root.

    Attributes:
        parent: id of its folder.
        name: the component that stands for it.
        folder: it is one.
        shared: what it would be called if it did not share its name with another; "" if it does not.
    """

    parent: str
    name: str
    folder: bool
    shared: str = ""


class Tree:
    """Ids and paths below a root.

    Args:
        root: id of the root; "" if it does not exist.
        way: the folders from the base to the root, each with its parent and name; the root last. Without a
            root: those of them that exist.

    Attributes:
        nodes: by id.
        token: where the change feed goes on.
    """

    def __init__(self, root: str, way: list[tuple[str, str, str]]) -> None:
        self.root = root
        self._way = way
        self.nodes: dict[str, Node] = {}
        self.token = ""
        self._names: dict[tuple[str, str], str] = {}
        self._paths: dict[str, str] = {root: ""}

    @classmethod
    def grown(cls, base: str, root: str, items: Iterable[Item]) -> tuple[Self, list[Entry]]:
        """The tree below a root, and the entries of its files.

        Args:
            base: id of the folder that ``root`` starts from.
            root: path of the root.
            items: everything that there is, in any order.
        """
        below: dict[str, list[Item]] = {}
        for item in items:
            below.setdefault(item.parent, []).append(item)
        way: list[tuple[str, str, str]] = []
        at = base
        for name in root.split("/") if root else ():
            found = named(below.get(at, ())).get(name)
            if found is None or not found.is_folder:
                return cls("", way), []
            way.append((found.id, found.parent, found.name))
            at = found.id
        tree = cls(at, way)
        entries: list[Entry] = []
        pending = [at]
        while pending:
            folder = pending.pop()
            # A folder is taken out when it is entered: nothing is entered twice.
            inside = below.pop(folder, [])
            above = tree._paths[folder]
            counts: dict[str, int] = {}
            for item in inside:
                counts[shown(item.name)] = counts.get(shown(item.name), 0) + 1
            for name, item in named(inside).items():
                shares = shown(item.name) if counts[shown(item.name)] > 1 else ""
                tree.nodes[item.id] = Node(folder, name, item.is_folder, shares)
                tree._names[folder, name] = item.id
                if item.is_folder:
                    tree._paths[item.id] = join(above, name)
                    pending.append(item.id)
                else:
                    entries.append(entry_of(item, join(above, name)))
        return tree, entries

    def path(self, id: str) -> str | None:
        """The path of something, or None if it is not below the root."""
        known = self._paths.get(id)
        if known is not None:
            return known
        node = self.nodes.get(id)
        above = None if node is None else self.path(node.parent)
        if node is None or above is None:
            return None
        path = join(above, node.name)
        if node.folder:
            self._paths[id] = path
        return path

    def folder_paths(self) -> Iterator[tuple[str, str]]:
        """Path from the base, and id, of the root, the folders on the way to it, and those below."""
        if not self.root:
            return
        at = ""
        for id, _, name in self._way:
            at = join(at, shown(name))
            yield at, id
        for id, node in self.nodes.items():
            if node.folder and (path := self.path(id)) is not None:
                yield join(at, path), id

    def missing(self, root: str) -> str:
        """The first folder, by path from the base, that does not exist on the way to ``root``."""
        return "/".join(root.split("/")[: len(self._way) + 1])

    def is_folder(self, id: str) -> bool:
        """Whether it is the root or a folder below."""
        node = self.nodes.get(id)
        return id == self.root or (node is not None and node.folder)

    def bears(self, id: str) -> bool:
        """Whether the root is, or is in, this folder."""
        return any(id == each for each, _, _ in self._way)

    def bears_as(self, id: str, parent: str, name: str) -> bool:
        """Whether such a folder is still what and where it was."""
        return (id, parent, name) in self._way

    def taken(self, parent: str, name: str) -> bool:
        """Whether something in a folder has a name, or shares it."""
        return (parent, name) in self._names

    def shares_name(self, id: str) -> bool:
        """Whether another file or folder beside it has its name."""
        node = self.nodes.get(id)
        return node is not None and bool(node.shared)

    def doubles(self) -> dict[str, str]:
        """Paths of what shares its name with something beside it, and the path that all of those would have;
        sorted. photosync's own files see to themselves."""
        found = ((self.path(id) or "", node.shared) for id, node in self.nodes.items() if node.shared)
        return {
            path: join(path.rpartition("/")[0], name) for path, name in sorted(found) if not is_ours(path)
        }

    def add(self, id: str, parent: str, name: str, folder: bool) -> None:
        self.nodes[id] = Node(parent, name, folder)
        self._names[parent, name] = id

    def remove(self, id: str) -> None:
        """Forgets something, and all that is in it."""
        gone = {id}
        if self.is_folder(id):
            inside: dict[str, list[str]] = {}
            for each, node in self.nodes.items():
                inside.setdefault(node.parent, []).append(each)
            pending = [id]
            while pending:
                below = inside.pop(pending.pop(), [])
                gone.update(below)
                pending += below
        for each in gone:
            node = self.nodes.pop(each)
            self._names.pop((node.parent, node.name), None)
            self._paths.pop(each, None)

    def packed(self, place: str) -> str:
        """As a cursor.

        Args:
            place: what the tree is of.
        """
        inside: dict[str, list[list[object]]] = {}
        for id, node in self.nodes.items():
            row: list[object] = [id, node.name]
            if node.folder or node.shared:
                row += [int(node.folder), node.shared]
            inside.setdefault(node.parent, []).append(row)
        kept = [place, self.token, self.root, self._way, inside]
        text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
        return base64.b64encode(zlib.compress(text.encode("utf-8", "surrogatepass"), 3)).decode()

    @classmethod
    def unpacked(cls, cursor: str | None, place: str) -> Self | None:
        """From a cursor; None for none, or one that is not of this place."""
        if not cursor:
            return None
        try:
            text = zlib.decompress(base64.b64decode(cursor, validate=True)).decode("utf-8", "surrogatepass")
            of, token, root, way, inside = json.loads(text)
            if of != place or not isinstance(token, str):
                return None
            tree = cls(str(root), [(id, parent, name) for id, parent, name in way])
            tree.token = token
            for parent, rows in inside.items():
                for id, name, *more in rows:
                    folder, shared = more or (0, "")
                    tree.nodes[id] = Node(parent, name, bool(folder), shared)
                    tree._names[parent, name] = id
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError, zlib.error):
            return None
        return tree
