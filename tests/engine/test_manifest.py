"""The manifest's tree: one root for one set of files, reads that cost what they ask for, nothing believed."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photosync.engine.compare import Difference, diff, fresh_nodes, merge
from photosync.engine.export import json_lines, sha256sums
from photosync.engine.hashing import CHUNK
from photosync.engine.manifest import (
    EMPTY_ROOT,
    Damaged,
    Inconsistent,
    ManifestEntry,
    ManifestError,
    MemoryNodes,
    MissingNode,
    NewerFormat,
    Totals,
    UnsafePath,
    build,
    check,
    check_proof,
    edit,
    entries,
    find,
    path_key,
    prove,
    totals,
)
from photosync.engine.nodes import Child, Node, decode, encode, encode_entry, height, name_of

Tree = dict[str, int]
"""Path → which of the possible contents lies there."""


def entry(path: str, content: int = 0, mtime_ns: int = 1_700_000_000_123_456_789) -> ManifestEntry:
    size = content * CHUNK // 2
    digest = blake3(str(content).encode())
    chunks = tuple(digest.hexdigest(16) for _ in range(-(-size // CHUNK)))
    return ManifestEntry(path, size, mtime_ns, digest.hexdigest(), digest.hexdigest(), chunks)


def listed(tree: Tree) -> list[ManifestEntry]:
    return sorted((entry(path, content) for path, content in tree.items()), key=lambda e: path_key(e.path))


HIGH = [
    345,
    773,
    1001,
    1195,
    1214,
    1863,
    2037,
    2205,
    2363,
    2737,
    2785,
    3143,
    3239,
    4207,
    4489,
    4636,
    4886,
    4949,
    5206,
    5279,
    5373,
    5800,
    6097,
    6182,
]
HIGHER = [53547, 92042, 106631, 173388]
"""Numbers whose path has a height of 1, and of 2: a handful of them makes a tree of three levels."""

POOL = [
    *(f"DCIM/{number:07d}.jpg" for number in (*range(24), *HIGH, *HIGHER)),
    *("é.jpg", "e\u0301.jpg", "\udcff\udc80/x", "a\nb", 'quo"te\\', "😀/1", "z" * 300, "a", "a/b", "a.b"),
]

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine an example may take long; what is tested here is not time."""


trees = st.builds(
    lambda chosen: {POOL[at]: content for at, content in chosen.items()},
    st.dictionaries(st.integers(0, len(POOL) - 1), st.integers(0, 3), max_size=40),
)


class CountingNodes(MemoryNodes):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def get(self, name: str, /) -> bytes:
        self.loaded.append(name)
        return super().get(name)

    @property
    def names(self) -> set[str]:
        return set(self._nodes)


def reachable(root: str, nodes: MemoryNodes) -> set[str]:
    fresh = MemoryNodes()
    build(list(entries(root, nodes)), fresh)
    return set(fresh._nodes)


def altered(tree: Tree, changes: Tree, removed: Iterable[str]) -> Tree:
    return {
        path: content for path, content in (tree | changes).items() if path not in removed or path in changes
    }


# one set, one root


@given(trees, st.lists(st.tuples(trees, trees), max_size=6))
@unhurried
def test_edits_in_any_order_give_the_root_of_a_build(tree: Tree, steps: list[tuple[Tree, Tree]]) -> None:
    nodes = MemoryNodes()
    root = build(listed(tree), nodes)
    for changes, removed in steps:
        root = edit(root, [entry(*item) for item in changes.items()], removed, nodes)
        tree = altered(tree, changes, removed)
        assert root == build(listed(tree), MemoryNodes())
        assert [(e.path, e) for e in entries(root, nodes)] == [(e.path, e) for e in listed(tree)]
        assert (
            check(root, nodes) == totals(root, nodes) == Totals(len(tree), sum(e.size for e in listed(tree)))
        )


def root_by_the_book(items: list[dict[str, object]], keys: list[bytes], level: int = 0) -> str:
    """docs/manifest-format.md once more, word by word, with nothing but a JSON writer and BLAKE3."""

    def heading(key: bytes) -> int:
        digest = blake3(key).digest()
        return next((at for at, byte in enumerate(digest) if byte), len(digest))

    def text(name: str, key: bytes) -> dict[str, object]:
        try:
            return {name: key.decode()}
        except UnicodeDecodeError:
            return {f"{name}_hex": key.hex()}

    starts = [at for at, key in enumerate(keys) if at == 0 or heading(key) > level] or [0]
    children: list[dict[str, object]] = []
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        header = {"count": end - start, "format": 1, "level": level}
        lines = [
            json.dumps(each, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
            for each in [header, *items[start:end]]
        ]
        name = blake3("".join(lines).encode()).hexdigest()
        if len(starts) == 1:
            return name
        below = items[start:end]
        last = {key: value for key, value in below[-1].items() if key.startswith("last")} if level else {}
        children.append(
            {
                "bytes": sum(each["bytes" if level else "size"] for each in below),  # type: ignore[misc]
                "count": sum(each["count"] for each in below) if level else len(below),  # type: ignore[misc]
                "name": name,
                **text("first", keys[start]),
                **(last or text("last", keys[end - 1])),
            }
        )
    return root_by_the_book(children, [keys[start] for start in starts], level + 1)


@given(trees)
@unhurried
def test_the_root_is_what_the_documentation_says(tree: Tree) -> None:
    items = []
    for each in listed(tree):
        plain = msgspec.to_builtins(each)
        if any(0xDC80 <= ord(character) <= 0xDCFF for character in each.path):
            plain["path_hex"] = plain.pop("path").encode("utf-8", "surrogateescape").hex()
        items.append(plain)
    keys = [path_key(each.path) for each in listed(tree)]
    assert build(listed(tree), MemoryNodes()) == root_by_the_book(items, keys)


@given(trees, st.randoms(use_true_random=False))
@unhurried
def test_one_by_one_in_any_order(tree: Tree, random: object) -> None:
    order = list(tree)
    random.shuffle(order)  # type: ignore[attr-defined]
    nodes = MemoryNodes()
    root = build([], nodes)
    for path in order:
        root = edit(root, [entry(path, tree[path])], [], nodes)
    assert root == build(listed(tree), MemoryNodes())
    for path in order:
        root = edit(root, [], [path], nodes)
    assert root == EMPTY_ROOT


def test_a_large_set_grows_and_shrinks_back() -> None:
    nodes = MemoryNodes()
    base = [entry(f"DCIM/{n:06d}.jpg") for n in range(0, 6000, 2)]
    root = build(base, nodes)
    grown = edit(root, [entry(f"DCIM/{n:06d}.jpg") for n in range(1, 6000, 2)], [], nodes)
    assert grown == build([entry(f"DCIM/{n:06d}.jpg") for n in range(6000)], MemoryNodes())
    assert edit(grown, [], [f"DCIM/{n:06d}.jpg" for n in range(1, 6000, 2)], nodes) == root
    assert edit(grown, [], [f"DCIM/{n:06d}.jpg" for n in range(6000)], nodes) == EMPTY_ROOT


def test_nodes_hold_about_256_entries() -> None:
    nodes = CountingNodes()
    build((entry(f"DCIM/{n:06d}.jpg") for n in range(50_000)), nodes)
    assert 130 < len(nodes.names) < 290


def test_the_empty_tree() -> None:
    nodes = MemoryNodes()
    assert build([], nodes) == EMPTY_ROOT
    assert list(entries(EMPTY_ROOT, nodes)) == []
    assert find(EMPTY_ROOT, "a", nodes) is None
    assert check(EMPTY_ROOT, nodes) == Totals(0, 0)
    assert nodes.get(EMPTY_ROOT) == b'{"count":0,"format":1,"level":0}\n'


def test_build_refuses_what_is_not_sorted() -> None:
    for wrong in (["b", "a"], ["a", "a"]):
        with pytest.raises(ValueError, match="sorted"):
            build([entry(path) for path in wrong], MemoryNodes())


# reading


@given(
    trees,
    st.sampled_from(["", "D", "DCIM/", "DCIM/00000", "DCIM/0001", "a", "é", "zzz", "\udcff", "nothing"]),
)
@unhurried
def test_entries_with_a_prefix(tree: Tree, prefix: str) -> None:
    nodes = MemoryNodes()
    root = build(listed(tree), nodes)
    assert list(entries(root, nodes, prefix)) == [e for e in listed(tree) if e.path.startswith(prefix)]


@given(trees)
@unhurried
def test_find_and_proof_of_presence_and_absence(tree: Tree) -> None:
    nodes = MemoryNodes()
    root = build(listed(tree), nodes)
    for path in POOL:
        expected = entry(path, tree[path]) if path in tree else None
        assert find(root, path, nodes) == expected
        assert check_proof(root, path, prove(root, path, nodes)) == expected


def test_a_gap_between_two_nodes_proves_absence_without_either() -> None:
    nodes = MemoryNodes()
    first, second = (f"DCIM/{number:07d}.jpg" for number in HIGH[:2])
    root = build([entry(first), entry(second)], nodes)
    for path in (first + "x", "A", second + "x"):
        assert prove(root, path, nodes) == [nodes.get(root)]
        assert check_proof(root, path, [nodes.get(root)]) is None
    assert len(prove(root, first, nodes)) == 2


@given(trees, st.data())
@settings(unhurried, max_examples=200)
def test_no_proof_proves_anything_else(tree: Tree, data: st.DataObject) -> None:
    nodes = MemoryNodes()
    root = build(listed(tree), nodes)
    path, other = data.draw(st.sampled_from(POOL)), data.draw(st.sampled_from(POOL))
    truth = entry(path, tree[path]) if path in tree else None
    proof = prove(root, path, nodes)
    kind = data.draw(st.sampled_from(["flip", "cut", "longer", "reorder", "other path", "other root"]))
    at = data.draw(st.integers(0, len(proof) - 1))
    if kind == "flip":
        spoiled = bytearray(proof[at])
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] ^= data.draw(st.integers(1, 255))
        forged = [*proof[:at], bytes(spoiled), *proof[at + 1 :]]
    elif kind == "cut":
        forged = proof[:at]
    elif kind == "longer":
        forged = [*proof, proof[at]]
    elif kind == "reorder":
        forged = proof[::-1]
    elif kind == "other root":
        changed = edit(root, [entry(path, 9)], [], nodes)
        forged = prove(changed, path, nodes)
    else:
        forged = prove(root, other, nodes)
    if forged == proof:
        assert check_proof(root, path, forged) == truth
        return
    try:
        shown = check_proof(root, path, forged)
    except ManifestError:
        return
    # a shorter or longer path of the same tree may prove the same thing, never another
    assert kind == "other path"
    assert shown == truth


# comparing


@given(trees, trees)
@unhurried
def test_diff_is_the_difference_of_the_sets(old: Tree, new: Tree) -> None:
    nodes = MemoryNodes()
    a, b = build(listed(old), nodes), build(listed(new), nodes)
    expected = [
        Difference(
            path,
            entry(path, old[path]) if path in old else None,
            entry(path, new[path]) if path in new else None,
        )
        for path in sorted(old | new, key=path_key)
        if old.get(path) != new.get(path)
    ]
    assert list(diff(a, b, nodes)) == expected


@given(trees, trees)
@unhurried
def test_fresh_nodes_are_exactly_those_that_are_new(old: Tree, new: Tree) -> None:
    nodes = MemoryNodes()
    a, b = build(listed(old), nodes), build(listed(new), nodes)
    fresh = [name for name, _ in fresh_nodes(a, b, nodes)]
    assert set(fresh) == reachable(b, nodes) - reachable(a, nodes)
    assert len(fresh) == len(set(fresh))
    assert {name for name, _ in fresh_nodes(None, b, nodes)} == reachable(b, nodes)


@pytest.fixture(scope="module")
def large() -> tuple[str, CountingNodes, int]:
    nodes, size = CountingNodes(), 60_000
    one = entry("", 0)
    named = (msgspec.structs.replace(one, path=f"DCIM/{n:06d}.jpg") for n in range(size))
    return build(named, nodes), nodes, size


@pytest.mark.parametrize("changes", [1, 8, 64])
def test_reading_and_editing_cost_the_difference_not_the_size(
    large: tuple[str, CountingNodes, int], changes: int
) -> None:
    root, nodes, size = large
    levels = decode(nodes.get(root)).level + 1
    at = [n * (size // changes) for n in range(changes)]
    before = nodes.names

    nodes.loaded.clear()
    upserts = [entry(f"DCIM/{n:06d}.jpg", 1) for n in at[::2]]
    removals = [f"DCIM/{n:06d}.jpg" for n in at[1::2]]
    changed = edit(root, upserts, removals, nodes)
    assert len(set(nodes.loaded)) == len(nodes.loaded) <= changes * levels + 1
    assert len(nodes.names - before) <= changes * levels

    nodes.loaded.clear()
    assert len(list(diff(root, changed, nodes))) == changes
    assert len(nodes.loaded) <= 2 * changes * levels

    nodes.loaded.clear()
    fresh = list(fresh_nodes(root, changed, nodes))
    assert len(fresh) <= changes * levels
    assert len(nodes.loaded) <= 4 * changes * levels

    nodes.loaded.clear()
    find(root, "DCIM/000777.jpg", nodes)
    assert len(nodes.loaded) <= levels

    nodes.loaded.clear()
    assert len(list(entries(root, nodes, "DCIM/0300"))) == 100
    assert len(nodes.loaded) <= levels + 3

    nodes.loaded.clear()
    assert list(diff(root, root, nodes)) == []
    assert nodes.loaded == []


# merging


@given(trees, trees, trees)
@unhurried
def test_merge_takes_both_sides_and_drops_no_content(base: Tree, ours: Tree, theirs: Tree) -> None:
    nodes = MemoryNodes()
    b, o, t = (build(listed(tree), nodes) for tree in (base, ours, theirs))
    merged = merge(b, o, t, nodes)
    assert merged == merge(b, t, o, nodes)
    check(merged, nodes)
    result = {e.path: e.content for e in entries(merged, nodes)}
    for tree, other in ((ours, theirs), (theirs, ours)):
        for path, content in tree.items():
            if base.get(path) == content and path not in other:
                continue  # the other side removed what this one left alone
            if base.get(path) == content and other[path] != content:
                continue  # the other side replaced what this one left alone
            beside = [at for at, c in result.items() if c == entry("x", content).content]
            assert any(at == path or at.startswith(path.rpartition(".")[0] or path) for at in beside)
    for path in result.keys() & base.keys():
        if path not in ours and theirs.get(path) == base[path]:
            pytest.fail(f"{path!r} was removed by one side and left alone by the other")
    assert merge(b, merged, o, nodes) == merge(b, o, merged, nodes)


@given(trees, trees)
@unhurried
def test_merge_with_a_side_that_did_nothing(base: Tree, ours: Tree) -> None:
    nodes = MemoryNodes()
    b, o = build(listed(base), nodes), build(listed(ours), nodes)
    assert merge(b, o, b, nodes) == merge(b, b, o, nodes) == merge(b, o, o, nodes) == o
    everything = merge(None, b, o, nodes)
    assert {e.path for e in entries(everything, nodes)} >= base.keys() | ours.keys()


def test_a_conflict_keeps_both_contents_under_two_paths() -> None:
    nodes = MemoryNodes()
    base = build([], nodes)
    mine = entry("DCIM/IMG_0001.HEIC", 1)
    yours = msgspec.structs.replace(entry("DCIM/IMG_0001.HEIC", 2), stored="DCIM/IMG_0001 (2).HEIC")
    merged = merge(base, build([mine], nodes), build([yours], nodes), nodes)
    beside = f"DCIM/IMG_0001 ({yours.content[:12]}).HEIC"
    assert list(entries(merged, nodes)) == [msgspec.structs.replace(yours, path=beside), mine]
    # a path that is taken by other content is not overwritten either
    taken = build([entry(beside, 3), yours], nodes)
    merged = merge(base, build([mine], nodes), taken, nodes)
    assert {e.content for e in entries(merged, nodes)} == {entry("", n).content for n in (1, 2, 3)}
    assert len(list(entries(merged, nodes))) == 3


# fail closed


def test_any_other_bytes_under_a_name_are_refused() -> None:
    nodes = MemoryNodes()
    root = build([entry("a", 1), entry("b", 2)], nodes)
    whole = nodes.get(root)
    for at in range(len(whole)):
        for spoiled in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
            nodes.put(root, spoiled)
            with pytest.raises(Damaged):
                find(root, "a", nodes)
    with pytest.raises(MissingNode):
        find("0" * 64, "a", nodes)


def forged(*lines: str) -> tuple[str, MemoryNodes]:
    """A store with one node, whatever it says, under the name that its bytes have."""
    data = "".join(line + "\n" for line in lines).encode()
    nodes = MemoryNodes()
    nodes.put(name_of(data), data)
    return name_of(data), nodes


def line(**changes: object) -> str:
    fields = msgspec.to_builtins(entry("a", 1)) | changes
    chosen = {key: value for key, value in fields.items() if value is not None}
    return json.dumps(chosen, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_the_chosen_paths_have_the_heights_they_were_chosen_for() -> None:
    assert {height(f"DCIM/{number:07d}.jpg".encode()) for number in HIGH} == {1}
    assert {height(f"DCIM/{number:07d}.jpg".encode()) for number in HIGHER} == {2}


def test_the_forger_of_these_tests_can_write_a_true_node() -> None:
    root, nodes = forged('{"count":1,"format":1,"level":0}', line())
    assert list(entries(root, nodes)) == [entry("a", 1)]


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "..", ".", "a/.", "./a", "/etc/passwd", "//x", "a//b", "a/", "", "a\0b", "\0"],
)
@pytest.mark.row(64)
def test_traversal_is_refused_when_read_and_when_written(path: str) -> None:
    for key in ("path", "stored"):
        root, nodes = forged('{"count":1,"format":1,"level":0}', line(**{key: path}))
        with pytest.raises(UnsafePath):
            list(entries(root, nodes))
        wrong = msgspec.structs.replace(entry("a", 1), **{key: path})
        with pytest.raises(UnsafePath):
            build([wrong], MemoryNodes())
        nodes = MemoryNodes()
        with pytest.raises(UnsafePath):
            edit(build([], nodes), [wrong], [], nodes)


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ('{"count":2,"format":1,"level":0}', [line()]),
        ('{"count":1,"format":1,"level":0}', [line(), line(path="b")]),
        ('{"count":2,"format":1,"level":0}', [line(path="b"), line(path="a")]),
        ('{"count":2,"format":1,"level":0}', [line(), line()]),
        ('{"count":1,"format":1,"level":1}', [line()]),
        ('{"count":1,"format":1,"level":-1}', [line()]),
        ('{"count":1,"format":0,"level":0}', [line()]),
        ('{"count":1,"format":1,"level":0,"more":1}', [line()]),
        ('{"format":1,"count":1,"level":0}', [line()]),
        ('{"count":1,"format":1,"level":0} ', [line()]),
        ('{"count":1,"format":1,"level":0}', [line(more=1)]),
        ('{"count":1,"format":1,"level":0}', [line().replace(",", ", ", 1)]),
        ('{"count":1,"format":1,"level":0}', [line(), ""]),
        ('{"count":1,"format":1,"level":0}', [line(path="\\u0061").replace("\\\\", "\\")]),
        ('{"count":1,"format":1,"level":0}', [line(path=None)]),
        ('{"count":1,"format":1,"level":0}', [line(path_hex="ff")]),
        ('{"count":1,"format":1,"level":0}', [line(path=None, path_hex="61")]),
        ('{"count":1,"format":1,"level":0}', [line(path=None, path_hex="FF")]),
        ('{"count":1,"format":1,"level":0}', [line(path=None, path_hex="f")]),
        ('{"count":1,"format":1,"level":0}', [line(size=-1)]),
        ('{"count":1,"format":1,"level":0}', [line(size=1.0)]),
        ('{"count":1,"format":1,"level":0}', [line(size=2**63)]),
        ('{"count":1,"format":1,"level":0}', [line(mtime_ns=2**63)]),
        ('{"count":1,"format":1,"level":0}', [line(content="0" * 63)]),
        ('{"count":1,"format":1,"level":0}', [line(content="A" * 64)]),
        ('{"count":1,"format":1,"level":0}', [line(sha256="é" * 64)]),
        ('{"count":1,"format":1,"level":0}', [line(chunks=[])]),
        ('{"count":1,"format":1,"level":0}', [line(chunks=["0" * 31])]),
        ("", []),
        ("[]", []),
        ("{", []),
        ("[" * 100_000, []),
    ],
)
def test_a_node_that_is_not_canonical_is_refused(header: str, lines: list[str]) -> None:
    root, nodes = forged(header, *lines)
    with pytest.raises(ManifestError):
        list(entries(root, nodes))


def test_a_node_that_is_not_cut_where_the_keys_say_is_refused() -> None:
    paths = sorted(path for path in POOL if height(path_key(path)) >= 1)
    root, nodes = forged('{"count":2,"format":1,"level":0}', line(path=paths[0]), line(path=paths[1]))
    with pytest.raises(Inconsistent, match="not cut"):
        check(root, nodes)


def test_parents_that_contradict_their_children_are_refused() -> None:
    nodes = MemoryNodes()
    high = [path for path in POOL if height(path_key(path)) == 1]
    root = build([entry(path, 1) for path in sorted([*high[:3], "DCIM"])], nodes)
    top = decode(nodes.get(root))
    first = top.children[0]
    assert top.level == 1

    def lies(*children: Child) -> str:
        data = encode(Node(1, [child.first for child in children], children=children))
        nodes.put(name_of(data), data)
        return name_of(data)

    def but(child: Child, **changes: object) -> Child:
        fields = {name: getattr(child, name) for name in Child.__slots__}
        return Child(**(fields | changes))  # type: ignore[arg-type]

    assert check(lies(*top.children), nodes) == totals(root, nodes)
    contradicting_itself = [
        but(first, entries=2),
        but(first, entries=0),
        but(first, last=first.first + b"x"),
        but(first, first=b"DCIN", last=b"DCIM"),
        but(first, last=top.children[1].first, entries=2),
        but(first, name="../" * 21 + "x"),
        but(first, size=-1),
    ]
    for wrong in contradicting_itself:
        with pytest.raises(Inconsistent):
            decode(nodes.get(lies(wrong, *top.children[1:])))
    contradicting_the_child = [
        but(first, size=first.size + 1),
        but(first, last=first.first + b"x", entries=2),
        but(first, first=b"A", entries=2),
        but(first, name=top.children[1].name),
    ]
    for wrong in contradicting_the_child:
        with pytest.raises(Inconsistent):
            check(lies(wrong, *top.children[1:]), nodes)
    with pytest.raises(Inconsistent, match="too high"):
        check(lies(first), nodes)
    with pytest.raises(MissingNode):
        check(lies(but(first, name="0" * 64), *top.children[1:]), nodes)
    with pytest.raises(Inconsistent):
        decode(nodes.get(lies()))


@pytest.mark.row(65)
def test_a_newer_format_is_told_apart() -> None:
    for header in ('{"count":1,"format":2,"level":0}', '{"anything":[{}],"format":2}'):
        root, nodes = forged(header, "{}")
        with pytest.raises(NewerFormat, match="format 2"):
            find(root, "a", nodes)


@given(trees.filter(bool), st.data())
@settings(unhurried, max_examples=300)
def test_decoding_anything_gives_a_manifest_error_or_a_canonical_node(
    tree: Tree, data: st.DataObject
) -> None:
    nodes = CountingNodes()
    build(listed(tree), nodes)
    good = bytearray(nodes.get(data.draw(st.sampled_from(sorted(nodes.names)))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        node = decode(bytes(good))
    except ManifestError:
        return
    assert encode(node) == bytes(good)


# bytes


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).filter(lambda t: t.strip("."))
)
@unhurried
def test_lines_are_what_any_json_writer_would_write(path: str) -> None:
    written = encode_entry(entry(path, 3))
    plain = msgspec.to_builtins(entry(path, 3))
    assert written == json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@given(
    st.binary(min_size=1, max_size=30).filter(lambda b: b"/" not in b and b"\0" not in b and b.strip(b"."))
)
@unhurried
def test_names_of_any_bytes_survive(name: bytes) -> None:
    path = name.decode("utf-8", "surrogateescape")
    nodes = MemoryNodes()
    given_ = msgspec.structs.replace(entry(path, 1), stored=f"{path}x")
    root = build([given_], nodes)
    assert list(entries(root, nodes)) == [given_]
    assert path_key(path) == name
    json.loads(nodes.get(root).splitlines()[1])  # valid JSON in valid UTF-8, whatever the name


@pytest.mark.parametrize("path", ["\ud800", "\udcc3\udca9"])
def test_strings_that_are_no_spelling_of_bytes_are_refused(path: str) -> None:
    with pytest.raises(UnsafePath):
        build([entry(path)], MemoryNodes())


# export


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="GNU sha256sum is not installed")
def test_sha256sum_itself_accepts_the_list(tmp_path: Path) -> None:
    names = [
        "a.jpg",
        "b c",
        "back\\slash",
        "line\nfeed",
        "carriage\rreturn",
        "\udcff.jpg",
        "-n",
        " lead",
        "é",
    ]
    sums = []
    for name in names:
        (tmp_path / name).write_bytes(b"")
        sums.append(
            msgspec.structs.replace(
                entry(name), sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            )
        )
    text = "".join(sha256sums(sums, lambda e: e.stored or e.path))
    (tmp_path / "SHA256SUMS").write_bytes(text.encode("utf-8", "surrogateescape"))
    run = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(b": OK") == len(names)
    (tmp_path / "line\nfeed").write_bytes(b"x")
    assert subprocess.run(run, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_json_lines_are_the_lines_of_the_nodes() -> None:
    nodes = MemoryNodes()
    given_ = [entry("a", 1), entry("\udcff", 2)]
    root = build(given_, nodes)
    assert nodes.get(root).decode().partition("\n")[2] == "".join(json_lines(given_))
