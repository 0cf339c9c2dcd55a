"""The manifest: a Merkle search tree over a library's entries, one root for one set of files.

Reading costs what is asked for, not what is there: `find` and `prove` load one path of nodes, `edit` only
what it rewrites; two trees are compared in `photosync.engine.compare`. Every node is checked against its name
and against what its parent says of it before anything in it is believed. Nodes and their rules are in
`photosync.engine.nodes`, the format in docs/manifest-format.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

from photosync.engine.nodes import (
    Child,
    Damaged,
    Inconsistent,
    Item,
    ManifestEntry,
    ManifestError,
    MemoryNodes,
    MissingNode,
    NewerFormat,
    Node,
    NodeStore,
    UnsafePath,
    accept_child,
    accept_root,
    encode,
    fetch,
    fetch_child,
    fetch_root,
    height,
    name_of,
    path_key,
)

__all__ = [
    "EMPTY_ROOT",
    "Damaged",
    "Inconsistent",
    "ManifestEntry",
    "ManifestError",
    "MemoryNodes",
    "MissingNode",
    "NewerFormat",
    "NodeStore",
    "RolledBack",
    "Totals",
    "UnsafePath",
    "build",
    "check",
    "check_proof",
    "edit",
    "entries",
    "find",
    "path_key",
    "prove",
    "totals",
]

_EMPTY = encode(Node(0, ()))
EMPTY_ROOT = name_of(_EMPTY)
"""Root of the manifest without entries."""


class RolledBack(ManifestError):
    """The destination shows an older state than it was seen in, or none."""

    remedy = (
        "Nothing was written. If the destination was emptied or restored on purpose, remove its state here "
        "and run again; otherwise find out who put an old state back"
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """What is under a root: number of files, and their bytes."""

    files: int
    bytes: int


# building


def _seal(level: int, keys: Sequence[bytes], items: Sequence[Item], nodes: NodeStore) -> Child:
    node = Node.of(level, keys, items)
    data = encode(node)
    name = name_of(data)
    nodes.put(name, data)
    return node.described(name)


def build(entries: Iterable[ManifestEntry], nodes: NodeStore) -> str:
    """The root of a new tree over ``entries``; every node of it is put into ``nodes``.

    Args:
        entries: in the order of `path_key`, each path once; read lazily, one node's worth is held.

    Raises:
        ValueError: they are not in order.
        Inconsistent: an entry is not what an entry must be (`UnsafePath` if it is its path).
    """
    leaves: list[Child] = []
    keys: list[bytes] = []
    leaf: list[ManifestEntry] = []
    for entry in entries:
        key = path_key(entry.path)
        if keys and key <= keys[-1]:
            raise ValueError(f"entries must come sorted, each once: {key!r} after {keys[-1]!r}")
        if keys and height(key):
            leaves.append(_seal(0, keys, leaf, nodes))
            keys, leaf = [], []
        keys.append(key)
        leaf.append(entry)
    if keys:
        leaves.append(_seal(0, keys, leaf, nodes))
    return _top(0, leaves, nodes)


def _top(level: int, children: Sequence[Child], nodes: NodeStore) -> str:
    """The root over all nodes of a level: grown until there is one, shrunk until it is needed."""
    if not children:
        nodes.put(EMPTY_ROOT, _EMPTY)
        return EMPTY_ROOT
    if len(children) == 1:
        return _lowest(children[0], nodes)
    while len(children) > 1:
        level += 1
        children = list(_cut_and_seal(level, [(child.first, child) for child in children], nodes))
    return children[0].name


def _lowest(child: Child, nodes: NodeStore) -> str:
    """The first node on the way down that is not an only child's parent."""
    while child.level:
        node = fetch_child(nodes, child)
        if len(node.children) > 1:
            break
        (child,) = node.children
    return child.name


def _cut_and_seal(level: int, items: Sequence[tuple[bytes, Item]], nodes: NodeStore) -> Iterator[Child]:
    starts = [at for at, (key, _) in enumerate(items) if at == 0 or height(key) > level]
    for start, end in pairwise([*starts, len(items)]):
        piece = items[start:end]
        yield _seal(level, [key for key, _ in piece], [item for _, item in piece], nodes)


# editing


class _Editing:
    """The old tree while it is edited: decoded nodes are kept, each is loaded once."""

    def __init__(self, root: str, nodes: NodeStore) -> None:
        self._nodes = nodes
        top = fetch_root(nodes, root)
        self.top = top.described(root)
        self._loaded = {root: top}

    def load(self, child: Child) -> Node:
        if child.name not in self._loaded:
            self._loaded[child.name] = fetch_child(self._nodes, child)
        return self._loaded[child.name]

    def touched(self, level: int, keys: Sequence[bytes]) -> Iterator[tuple[Child, Sequence[bytes]]]:
        """The nodes of a level in whose range the sorted keys fall, in order, each with its keys."""
        yield from self._touched(self.top, level, keys)

    def _touched(
        self, child: Child, level: int, keys: Sequence[bytes]
    ) -> Iterator[tuple[Child, Sequence[bytes]]]:
        if child.level == level:
            yield child, keys
            return
        node = self.load(child)
        ends = [bisect_left(keys, first) for first in node.keys[1:]]
        for below, start, end in zip(node.children, [0, *ends], [*ends, len(keys)], strict=True):
            if start < end:
                yield from self._touched(below, level, keys[start:end])

    def items(self, child: Child) -> list[tuple[bytes, Item]]:
        node = self.load(child)
        return list(zip(node.keys, node.items, strict=True))

    def left_of(self, child: Child) -> Child:
        """The neighbour on the left, at the same level; there must be one."""
        found = self.top
        while found.level > child.level:
            node = self.load(found)
            found = node.children[bisect_left(node.keys, child.first) - 1]
        return found


def edit(root: str, upserts: Iterable[ManifestEntry], removals: Iterable[str], nodes: NodeStore) -> str:
    """The root after replacing or adding ``upserts`` and dropping the paths ``removals``, in any order.

    Loads and rewrites only the nodes that hold those paths, their parents, and left neighbours of nodes
    that lose the key they began with. A path that is in both is upserted; removing what is not there
    changes nothing.

    Raises:
        ManifestError: a node is missing or wrong, or an upsert is not what an entry must be.
    """
    changes: dict[bytes, Item | None] = {path_key(path): None for path in removals}
    changes.update({path_key(entry.path): entry for entry in upserts})
    tree = _Editing(root, nodes)
    for level in range(tree.top.level + 1):
        changes = _edit_level(tree, level, changes, nodes)
        if not changes:
            return root
    tops = {tree.top.first: tree.top} | changes
    ordered = [tops[key] for key in sorted(tops)]
    return _top(tree.top.level, [child for child in ordered if isinstance(child, Child)], nodes)


@dataclass(slots=True)
class _Run:
    """New items for a stretch of a level: the old nodes from ``left`` to ``right``."""

    left: Child
    right: Child
    items: list[tuple[bytes, Item]]


def _edit_level(
    tree: _Editing, level: int, changes: Mapping[bytes, Item | None], nodes: NodeStore
) -> dict[bytes, Item | None]:
    """Change items of a level's nodes; returns the changes that this makes to the items one level up."""
    replaced: dict[bytes, Child] = {}
    runs: list[_Run] = []
    for child, keys in list(tree.touched(level, sorted(changes))):
        replaced[child.first] = child
        items = dict(tree.items(child))
        for key in keys:
            item = changes[key]
            if item is None:
                items.pop(key, None)
            else:
                items[key] = item
        run = _Run(child, child, sorted(items.items(), key=itemgetter(0)))
        # a node that lost the key it began with goes on where the one before it ends
        while run.items and run.left.first != tree.top.first and height(run.items[0][0]) <= level:
            left = tree.left_of(run.left)
            if runs and runs[-1].right == left:
                before = runs.pop()
            else:
                replaced[left.first] = left
                before = _Run(left, left, tree.items(left))
            run = _Run(before.left, run.right, before.items + run.items)
        runs.append(run)

    above: dict[bytes, Item | None] = dict.fromkeys(replaced)
    for run in runs:
        for sealed in _cut_and_seal(level, run.items, nodes):
            if replaced.get(sealed.first) == sealed:
                del above[sealed.first]
            else:
                above[sealed.first] = sealed
    return above


# reading


def totals(root: str, nodes: NodeStore) -> Totals:
    """Files and bytes under a root, from its top node alone."""
    top = fetch_root(nodes, root).described(root)
    return Totals(top.entries, top.size)


def entries(root: str, nodes: NodeStore, prefix: str = "") -> Iterator[ManifestEntry]:
    """The entries whose path begins with ``prefix``, sorted by `path_key`; loads a node at a time.

    Raises:
        ManifestError: a node is missing or wrong; what came before it was proven.
    """
    start = path_key(prefix)
    below: list[Child] = []
    node = fetch_root(nodes, root)
    while True:
        for key, entry in zip(node.keys, node.entries, strict=False):
            if key.startswith(start):
                yield entry
        below.extend(
            child
            for child in reversed(node.children)
            if child.last >= start and child.first[: len(start)] <= start
        )
        if not below:
            return
        node = fetch_child(nodes, below.pop())


def find(root: str, path: str, nodes: NodeStore) -> ManifestEntry | None:
    """The entry at a path, or None; loads one path of nodes.

    Raises:
        ManifestError: a node is missing or wrong.
    """
    key = path_key(path)
    node = fetch_root(nodes, root)
    while node.level:
        child = _child_over(node, key)
        if child is None:
            return None
        node = fetch_child(nodes, child)
    return _entry_at(node, key)


def _child_over(node: Node, key: bytes) -> Child | None:
    """The child in whose range a key falls; None proves that no entry has that key."""
    at = bisect_right(node.keys, key) - 1
    return node.children[at] if at >= 0 and key <= node.children[at].last else None


def _entry_at(leaf: Node, key: bytes) -> ManifestEntry | None:
    at = bisect_left(leaf.keys, key)
    return leaf.entries[at] if at < len(leaf.keys) and leaf.keys[at] == key else None


def check(root: str, nodes: NodeStore) -> Totals:
    """Read and check every node of a tree.

    Raises:
        ManifestError: a node is missing or wrong.
    """
    top = fetch_root(nodes, root)
    below = list(top.children)
    while below:
        below.extend(fetch_child(nodes, below.pop()).children)
    described = top.described(root)
    return Totals(described.entries, described.size)


# proving


def prove(root: str, path: str, nodes: NodeStore) -> list[bytes]:
    """The nodes, top first, that prove what the tree holds at a path, or that it holds nothing there.

    Raises:
        ManifestError: a node is missing or wrong.
    """
    key = path_key(path)
    proof = [fetch(nodes, root)]
    node = accept_root(proof[0], root)
    while node.level and (child := _child_over(node, key)) is not None:
        proof.append(fetch(nodes, child.name))
        node = accept_child(proof[-1], child)
    return proof


def check_proof(root: str, path: str, proof: Sequence[bytes]) -> ManifestEntry | None:
    """The entry that a proof shows to be at a path under a root; None if it shows that there is none.

    Needs nothing but the root, so a proof may come from anyone.

    Raises:
        ManifestError: the proof does not prove it: another root or path, cut short, too long, or altered.
    """
    rest = MemoryNodes()
    for data in proof:
        rest.put(name_of(data), data)
    if list(proof) != prove(root, path, rest):
        raise Inconsistent(f"the proof for {path!r} holds nodes that prove nothing about it")
    return find(root, path, rest)
