"""Two manifests side by side: what differs, which nodes are new, and how two histories become one.

Both walks skip every subtree that has the same name in both trees, so they cost what differs, not what is
there: keys alone decide where nodes end, so two nodes of overlapping range and different name mean that a
path within that range differs. Of two leaves, `diff` decodes only lines that are not in both.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeGuard

import msgspec

from photosync.engine.manifest import build, edit, find
from photosync.engine.nodes import (
    Child,
    Item,
    ManifestEntry,
    Node,
    NodeStore,
    accept_child,
    decode,
    encode_entry,
    fetch,
    fetch_child,
    fetch_root,
    header_line,
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One path at which two manifests differ; ``None`` is absence."""

    path: str
    old: ManifestEntry | None
    new: ManifestEntry | None


class _Side:
    """One tree while two are walked side by side: what is still to come, the next item last."""

    def __init__(self, root: str, nodes: NodeStore) -> None:
        self._nodes = nodes
        self._rest: list[tuple[bytes, Item]] = []
        self._push(fetch_root(nodes, root))

    def _push(self, node: Node) -> None:
        self._rest.extend(zip(reversed(node.keys), reversed(node.items), strict=True))

    @property
    def next(self) -> tuple[bytes, Item] | None:
        return self._rest[-1] if self._rest else None

    def skip(self) -> None:
        self._rest.pop()

    def open(self, child: Child) -> None:
        """Put the items of the next one, a child, in its place."""
        self.replace(fetch_child(self._nodes, child))

    def replace(self, node: Node) -> None:
        """Put the items of a node in the place of the next one."""
        self._rest.pop()
        self._push(node)


def diff(old: str, new: str, nodes: NodeStore) -> Iterator[Difference]:
    """The paths at which two trees differ, sorted by `path_key`; loads nodes only where hashes differ.

    Raises:
        ManifestError: a node is missing or wrong; what came before it was proven.
    """
    if old == new:
        return
    left, right = _Side(old, nodes), _Side(new, nodes)
    while left.next or right.next:
        a, b = left.next, right.next
        if b is None or (a is not None and _last(a) < b[0]):
            assert a is not None
            if isinstance(a[1], Child):
                left.open(a[1])
            else:
                left.skip()
                yield Difference(a[1].path, a[1], None)
        elif a is None or _last(b) < a[0]:
            if isinstance(b[1], Child):
                right.open(b[1])
            else:
                right.skip()
                yield Difference(b[1].path, None, b[1])
        elif a[1] == b[1]:
            left.skip()
            right.skip()
        elif isinstance(a[1], ManifestEntry) and isinstance(b[1], ManifestEntry):
            left.skip()
            right.skip()
            yield Difference(a[1].path, a[1], b[1])
        elif _is_leaf(a[1]) and _is_leaf(b[1]):
            ours, theirs = _unlike(a[1], b[1], nodes)
            left.replace(ours)
            right.replace(theirs)
        else:
            a_level, b_level = _level(a[1]), _level(b[1])
            if isinstance(a[1], Child) and a_level >= b_level:
                left.open(a[1])
            if isinstance(b[1], Child) and b_level >= a_level:
                right.open(b[1])


def _last(item: tuple[bytes, Item]) -> bytes:
    return item[1].last if isinstance(item[1], Child) else item[0]


def _level(item: Item) -> int:
    return item.level if isinstance(item, Child) else -1


def _is_leaf(item: Item) -> TypeGuard[Child]:
    return isinstance(item, Child) and not item.level


def _unlike(old: Child, new: Child, nodes: NodeStore) -> tuple[Node, Node]:
    """Two leaves without the entries that are in both.

    A lone change in a leaf of hundreds of entries is the rule, and decoding and checking an entry costs ten
    times what comparing its line does. So a line that is in both is taken as it is; all others are checked as
    `decode` checks them, between their neighbours, and the leaves' counts, bounds and sizes against what the
    parents say.

    Raises:
        ManifestError: a node is missing or wrong.
    """
    left, right = fetch(nodes, old.name), fetch(nodes, new.name)
    ours, theirs = _rows(left, old), _rows(right, new)
    if ours and theirs:
        common = set(ours).intersection(theirs)
        a, b = _without(common, ours, old), _without(common, theirs, new)
        if a and b and old.size - _size(a) == new.size - _size(b):
            return a, b
    # One of them is wrong, and this tells how.
    return accept_child(left, old), accept_child(right, new)


def _rows(data: bytes, leaf: Child) -> list[bytes]:
    """The lines of a leaf's entries; none if it has not so many as its parent says, or one of them twice."""
    head, *rows = data.splitlines(keepends=True) or [b""]
    sound = head == header_line(0, leaf.entries) and len(rows) == leaf.entries == len(set(rows))
    return rows if sound else []


def _without(common: Container[bytes], rows: Sequence[bytes], leaf: Child) -> Node | None:
    """What a leaf has beside some of its lines; None if it does not begin and end as its parent says."""
    apart = [at for at, row in enumerate(rows) if row not in common]
    near = {0, len(rows) - 1}.union(apart, (at - 1 for at in apart), (at + 1 for at in apart))
    shown = sorted(near.intersection(range(len(rows))))
    # Some lines of a leaf are a leaf.
    node = decode(header_line(0, len(shown)) + b"".join([rows[at] for at in shown]))
    if (node.keys[0], node.keys[-1]) != (leaf.first, leaf.last):
        return None
    of = dict(zip(shown, zip(node.keys, node.entries, strict=True), strict=True))
    return Node(0, [of[at][0] for at in apart], entries=[of[at][1] for at in apart])


def _size(leaf: Node) -> int:
    return sum([entry.size for entry in leaf.entries])


def fresh_nodes(old: str | None, new: str, nodes: NodeStore) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the nodes under ``new`` that are not under ``old``: the top first, leaves last.

    Raises:
        ManifestError: a node is missing or wrong.
    """
    new_top = fetch_root(nodes, new).described(new)
    old_top = None if old is None else fetch_root(nodes, old).described(old)
    ours: list[Child] = []
    theirs: list[Child] = []
    for level in range(max(new_top.level, old_top.level if old_top else 0), -1, -1):
        if new_top.level == level:
            ours = [new_top]
        if old_top and old_top.level == level:
            theirs = [old_top]
        # a node has one place in a tree, so one that is in both is below nodes that differ in both
        in_ours, in_theirs = {child.name for child in ours}, {child.name for child in theirs}
        gone = [child for child in theirs if child.name not in in_ours]
        fresh = [child for child in ours if child.name not in in_theirs]
        ours = []
        for child in fresh:
            data = fetch(nodes, child.name)
            yield child.name, data
            if level:
                ours.extend(accept_child(data, child).children)
        theirs = [below for child in gone if level for below in fetch_child(nodes, child).children]


def merge(base: str | None, ours: str, theirs: str, nodes: NodeStore) -> str:
    """The root that has what either side added or changed since ``base``; the sides may be swapped.

    Path by path: what one side left alone goes as the other side wants it, removal included. What one side
    changed and the other removed stays, as changed. Where both hold the same content, the entry stays that
    lies under its derived name, then the one with the later time, then the one whose canonical line is
    greater. Where both hold different content, the entry chosen by the same order keeps the path, and the
    other is kept beside it under a path made of its own and its content id (``a (1f2e3d4c5b6a).jpg``): no
    content that either side vouches for is dropped.

    Args:
        base: root that both sides started from; None if they share no history.

    Raises:
        ManifestError: a node is missing or wrong.
    """
    start = build((), nodes) if base is None else base
    changed_by_them = {change.path: change.new for change in diff(start, theirs, nodes)}
    upserts: list[ManifestEntry] = []
    removals: list[str] = []
    beside: list[ManifestEntry] = []
    for change in diff(start, ours, nodes):
        other = changed_by_them.get(change.path)
        if change.path not in changed_by_them and change.new is None:
            removals.append(change.path)
        elif change.new is not None and other is None:
            upserts.append(change.new)
        elif change.new is not None and other is not None and change.new != other:
            less, more = sorted((change.new, other), key=_precedence)
            upserts.append(more)
            if less.content != more.content:
                beside.append(less)
    merged = edit(theirs, upserts, removals, nodes)
    for entry in beside:
        merged = _keep_beside(merged, entry, nodes)
    return merged


def _precedence(entry: ManifestEntry) -> tuple[bool, int, bytes]:
    return entry.stored is None, entry.mtime_ns, encode_entry(entry)


def _keep_beside(root: str, entry: ManifestEntry, nodes: NodeStore) -> str:
    for path in _conflict_paths(entry):
        there = find(root, path, nodes)
        if there is None:
            return edit(root, [msgspec.structs.replace(entry, path=path)], [], nodes)
        if there.content == entry.content:
            break
    return root


def _conflict_paths(entry: ManifestEntry) -> Iterator[str]:
    folder, slash, name = entry.path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    for mark in (entry.content[:12], entry.content):
        yield f"{folder}{slash}{stem} ({mark}){dot}{extension}"
    for number in count(2):
        yield f"{folder}{slash}{stem} ({entry.content} {number}){dot}{extension}"
