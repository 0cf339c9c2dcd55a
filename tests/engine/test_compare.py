"""Two manifests side by side: of leaves, lines that differ are read, and lies are found all the same."""

from collections.abc import Iterable

import msgspec
import pytest
from blake3 import blake3

from photosync.engine import compare, nodes
from photosync.engine.compare import diff
from photosync.engine.manifest import ManifestEntry, ManifestError, MemoryNodes, NewerFormat, build
from photosync.engine.nodes import Child, Node

HIGH = "DCIM/0000345.jpg"
"""A path before which a leaf ends."""


def entry(path: str, content: int = 0) -> ManifestEntry:
    digest = blake3(str(content).encode()).hexdigest()
    return ManifestEntry(path, 100 + content, 5, digest, digest, (digest[:32],))


def library(changed: Iterable[int] = (), count: int = 1000) -> list[ManifestEntry]:
    return [entry(f"DCIM/{number:07d}.jpg", int(number in changed)) for number in range(count)]


def test_a_line_that_is_in_both_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryNodes()
    old, new = build(library(), store), build(library({7, 8, 500, 999}), store)
    decoded, decode = 0, nodes.decode

    def counting(data: bytes) -> Node:
        nonlocal decoded
        decoded += data.count(b"\n")
        return decode(data)

    monkeypatch.setattr(compare, "decode", counting)
    monkeypatch.setattr(nodes, "decode", counting)
    found = list(diff(old, new, store))
    assert [(each.path, each.old, each.new) for each in found] == [
        (f"DCIM/{number:07d}.jpg", entry(f"DCIM/{number:07d}.jpg"), entry(f"DCIM/{number:07d}.jpg", 1))
        for number in (7, 8, 500, 999)
    ]
    assert 0 < decoded < 50


class Forger:
    """A tree of two leaves, of which the first is what a test makes of it."""

    def __init__(self) -> None:
        self.store = MemoryNodes()
        self.old = build(library(), self.store)
        self.top = nodes.decode(self.store.get(self.old))
        self.first = self.top.children[0]
        self.lines = self.store.get(self.first.name).splitlines(keepends=True)

    def put(self, data: bytes) -> str:
        self.store.put(nodes.name_of(data), data)
        return nodes.name_of(data)

    def root(self, lines: list[bytes], **claims: object) -> str:
        """A root above a leaf of those lines; it claims what is true of the old leaf but for ``claims``."""
        fields = {name: getattr(self.first, name) for name in Child.__slots__}
        child = Child(**(fields | {"name": self.put(b"".join(lines))} | claims))  # type: ignore[arg-type]
        children = [child, *self.top.children[1:]]
        return self.put(nodes.encode(Node(1, self.top.keys, children=children)))


def line(made: ManifestEntry) -> bytes:
    return nodes.encode_entry(made) + b"\n"


def test_the_forger_can_write_a_true_leaf() -> None:
    forger = Forger()
    changed = msgspec.structs.replace(library()[5], mtime_ns=6)
    root = forger.root([*forger.lines[:6], line(changed), *forger.lines[7:]])
    assert [each.new for each in diff(forger.old, root, forger.store)] == [changed]
    assert [each.old for each in diff(root, forger.old, forger.store)] == [changed]


def lies() -> dict[str, tuple[list[bytes], dict[str, object]]]:
    true = Forger()
    lines, first = true.lines, true.first
    assert len(lines) > 20
    head = nodes.header_line(0, len(lines) - 1)
    spaced = lines[6].replace(b",", b", ", 1)
    high = line(entry(HIGH))
    assert nodes.height(nodes.path_key(HIGH)) == 1
    assert len(lines) - 1 == 345
    return {
        "nothing": ([], {}),
        "nothing but a header": ([head], {}),
        "another count": ([nodes.header_line(0, len(lines)), *lines[1:]], {}),
        "an entry too few": (lines[:-1], {}),
        "an entry too few, and it is said": (
            [nodes.header_line(0, len(lines) - 2), *lines[1:5], *lines[6:]],
            {},
        ),
        "an entry too few, and the sizes fit": ([*lines[:5], *lines[6:]], {"size": first.size - 100}),
        "an entry twice": ([*lines[:6], lines[5], *lines[7:]], {}),
        "an entry twice, and the sizes fit": ([*lines[:6], lines[5], *lines[7:]], {"size": first.size - 100}),
        "not in canonical form": ([*lines[:6], spaced, *lines[7:]], {}),
        "cut off": ([*lines[:-1], lines[-1][:-1]], {}),
        "out of order": ([*lines[:6], line(entry("DCIM/0000009x.jpg")), *lines[7:]], {}),
        "not cut where it must be": ([*lines[:-1], high], {"last": nodes.path_key(HIGH)}),
        "another first": ([head, line(entry("DCIM/0")), *lines[2:]], {}),
        "another last": ([*lines[:-1], line(entry("DCIM/0000344x.jpg"))], {}),
        "another size": (
            [*lines[:6], line(msgspec.structs.replace(library()[5], size=99)), *lines[7:]],
            {},
        ),
        "the same leaf, another size": (lines, {"size": first.size + 1}),
        "outside": ([*lines[:6], lines[6].replace(b"DCIM/", b"../DC"), *lines[7:]], {}),
    }


@pytest.mark.parametrize("lie", lies())
def test_a_leaf_that_lies_is_refused(lie: str) -> None:
    forger = Forger()
    lines, claims = lies()[lie]
    root = forger.root(lines, **claims)
    for pair in ((forger.old, root), (root, forger.old)):
        with pytest.raises(ManifestError):
            list(diff(*pair, forger.store))


def test_a_leaf_of_a_newer_format_is_told_apart() -> None:
    forger = Forger()
    newer = forger.lines[0].replace(b'"format":1', b'"format":2')
    for lines in ([newer], [newer, b'{"anything":1}\n'], [newer, *forger.lines[1:]]):
        with pytest.raises(NewerFormat):
            list(diff(forger.old, forger.root(lines), forger.store))
