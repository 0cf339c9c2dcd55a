"""Snapshots at a destination: whole or refused, never rolled back, never lost to another writer."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from photosync.engine.compare import merge
from photosync.engine.errors import Fatal, Permanent, Transient
from photosync.engine.manifest import (
    EMPTY_ROOT,
    Damaged,
    Inconsistent,
    ManifestEntry,
    ManifestError,
    MemoryNodes,
    NewerFormat,
    RolledBack,
    build,
    check,
    edit,
    entries,
)
from photosync.engine.nodes import decode, name_of
from photosync.engine.packs import pack, unpack
from photosync.engine.snapshots import MAX_PACKS, Changed, HeadMoved, Snapshot, Snapshots

TIME = "2026-01-31T12:00:00Z"


def entry(path: str, content: int = 0) -> ManifestEntry:
    digest = sha256(f"{path!r} {content}".encode()).hexdigest()
    return ManifestEntry(path, 1 + content, content, digest, digest, (digest[:32],))


class MemorySnapshotFiles:
    """A destination in memory that counts, and that can fail before or after an effect."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda call: None
        self.after: Callable[[str], None] = lambda call: None

    def read(self, name: str) -> tuple[bytes, str]:
        self.before(f"read {name}")
        self.calls.append(f"read {name}")
        if name not in self.files:
            raise FileNotFoundError(name)
        self.after(f"read {name}")
        return self.files[name], name_of(self.files[name])

    def write(self, name: str, data: bytes, replaces: str | None) -> str:
        self.before(f"write {name}")
        self.calls.append(f"write {name}")
        if replaces is None and name in self.files:
            raise FileExistsError(name)
        if replaces is not None and (name not in self.files or name_of(self.files[name]) != replaces):
            raise Changed(name)
        self.files[name] = data
        self.after(f"write {name}")
        return name_of(data)

    def remove(self, name: str) -> None:
        self.before(f"remove {name}")
        self.calls.append(f"remove {name}")
        if name not in self.files:
            raise FileNotFoundError(name)
        del self.files[name]
        self.after(f"remove {name}")

    @property
    def packs(self) -> list[str]:
        return sorted(name for name in self.files if name.startswith("packs/"))

    @property
    def head(self) -> dict[str, object]:
        parsed = json.loads(self.files["HEAD"])
        assert isinstance(parsed, dict)
        return parsed


class Device:
    """A machine with a cache of its own, writing to a destination."""

    def __init__(self, files: MemorySnapshotFiles, name: str = "phone") -> None:
        self.cache = MemoryNodes()
        self.name = name
        self.snapshots = Snapshots(files, self.cache)
        self.known: tuple[int, str] | None = None

    def head(self) -> Snapshot | None:
        head = self.snapshots.head()
        if head:
            self.snapshots.load(head)
        return head

    def put(self, *upserts: ManifestEntry, removals: tuple[str, ...] = (), time: str = TIME) -> Snapshot:
        head = self.head()
        root = edit(head.root if head else build([], self.cache), upserts, removals, self.cache)
        return self.write(root, time)

    def write(self, root: str, time: str = TIME) -> Snapshot:
        snapshot = self.snapshots.write(root, device=self.name, time=time, known=self.known)
        self.known = (snapshot.number, snapshot.root)
        return snapshot

    def paths(self, snapshot: Snapshot) -> list[str]:
        return [e.path for e in entries(snapshot.root, self.cache)]


@pytest.fixture
def files() -> MemorySnapshotFiles:
    return MemorySnapshotFiles()


@pytest.fixture
def device(files: MemorySnapshotFiles) -> Device:
    return Device(files)


# round trips and what they cost


def test_another_machine_reads_every_snapshot(files: MemorySnapshotFiles, device: Device) -> None:
    written = [device.put(entry(f"{n}.jpg")) for n in range(5)]
    other = Device(files)
    assert other.head() == written[-1]
    assert other.snapshots.history() == written
    assert [snapshot.number for snapshot in written] == [1, 2, 3, 4, 5]
    assert [snapshot.parent for snapshot in written] == [None, *[s.root for s in written[:-1]]]
    for number, snapshot in enumerate(written, 1):
        assert other.snapshots.at(number) == snapshot
        assert other.paths(snapshot) == [f"{n}.jpg" for n in range(number)]
        assert check(snapshot.root, other.cache).files == snapshot.files == number
    for number in (0, 6, -1):
        with pytest.raises(Permanent, match="it has 5"):
            other.snapshots.at(number)


def test_an_untouched_destination(files: MemorySnapshotFiles, device: Device) -> None:
    assert device.head() is None
    assert device.snapshots.history() == []
    empty = device.put()
    assert (empty.files, empty.bytes) == (0, 0)
    assert Device(files).snapshots.history() == [empty]


def test_a_changed_run_writes_two_objects_and_an_unchanged_one_none(
    files: MemorySnapshotFiles, device: Device
) -> None:
    first = device.put(*(entry(f"{n:05d}") for n in range(3000)))
    files.calls.clear()
    assert device.put(entry("00000")) == first
    assert files.calls == ["read HEAD"]
    files.calls.clear()
    second = device.put(entry("new"))
    assert files.calls == ["read HEAD", f"write packs/000002-{second.root[:16]}.jsonl.zst", "write HEAD"]
    assert len(files.files[files.packs[1]]) < len(files.files[files.packs[0]]) / 4


def test_loading_reads_only_packs_that_are_new_to_the_cache(
    files: MemorySnapshotFiles, device: Device
) -> None:
    other = Device(files)
    device.put(entry("a"))
    other.head()
    device.put(entry("b"))
    device.put(entry("c"))
    files.calls.clear()
    other.head()
    assert files.calls == ["read HEAD", f"read {files.packs[2]}", f"read {files.packs[1]}"]
    files.calls.clear()
    head = other.head()
    assert head is not None
    assert files.calls == ["read HEAD"]
    other.snapshots.load(head, afresh=True)
    assert len(files.calls) == 4


# folding


def test_many_snapshots_stay_restorable_in_few_packs(files: MemorySnapshotFiles, device: Device) -> None:
    written = [device.put(*(entry(f"{n:03d}") for n in range(400)))]
    for n in range(120):
        written.append(device.put(entry(f"{n * 37 % 400:03d}", n + 1), removals=(f"{n * 91 % 400:03d}",)))
        assert len(files.packs) <= 2 * MAX_PACKS
        assert len(files.head["packs"]) <= MAX_PACKS  # type: ignore[arg-type]
        if n % 20 == 0:
            assert Device(files).snapshots.history() == written
    other = Device(files)
    assert other.snapshots.history() == written
    for snapshot in written:
        assert check(snapshot.root, other.cache).files == snapshot.files
    listed = {each["name"] for each in files.head["packs"]} | set(files.head["superseded"])  # type: ignore[attr-defined,call-overload]
    assert set(files.packs) == listed


def test_the_pack_of_a_large_first_snapshot_is_not_written_again(
    files: MemorySnapshotFiles, device: Device
) -> None:
    device.put(*(entry(f"{n:05d}") for n in range(20_000)))
    (first,) = files.packs
    for n in range(MAX_PACKS + 8):
        device.put(
            entry(f"{n * 450:05d}", 1)
        )  # far apart: what one snapshot adds is still used by the newest
    assert first in {each["name"] for each in files.head["packs"]}  # type: ignore[attr-defined]
    assert len(files.packs) < MAX_PACKS
    other = Device(files)
    for number in (1, 20, MAX_PACKS, MAX_PACKS + 5, MAX_PACKS + 9):
        assert check(other.snapshots.at(number).root, other.cache).files == 20_000


def test_superseded_packs_outlive_the_head_that_folded_them(
    files: MemorySnapshotFiles, device: Device
) -> None:
    for n in range(MAX_PACKS):
        device.put(entry(f"{n}"))
    old = set(files.packs)
    reader = Device(files)
    head = reader.snapshots.head()
    assert head is not None
    device.put(entry("fold"))
    assert old < set(files.packs)
    reader.snapshots.load(head)
    assert reader.paths(head) == sorted(str(n) for n in range(MAX_PACKS))

    def refuse(call: str) -> None:
        if call.startswith("remove") and "000003" in call:
            raise Transient("the server is busy")

    files.before = refuse
    device.put(entry("next"))
    assert files.head["superseded"] == [name for name in sorted(old) if "000003" in name]
    files.before = lambda call: None
    device.put(entry("after"))
    assert files.head["superseded"] == []
    assert set(files.packs) == {each["name"] for each in files.head["packs"]}  # type: ignore[attr-defined]


def test_a_reader_whose_packs_were_folded_away_is_told_to_start_again(
    files: MemorySnapshotFiles, device: Device
) -> None:
    for n in range(MAX_PACKS):
        device.put(entry(f"{n}"))
    reader = Device(files)
    head = reader.snapshots.head()
    assert head is not None
    device.put(entry("fold"))
    device.put(entry("remove"))
    with pytest.raises(HeadMoved):
        reader.snapshots.load(head)
    assert reader.head() == device.head()


# several writers


def test_two_machines_keep_what_both_added(files: MemorySnapshotFiles) -> None:
    one, two = Device(files, "one"), Device(files, "two")
    base = one.put(entry("base"))
    assert two.head() == base
    ours = edit(base.root, [entry("from two")], [], two.cache)
    one.put(entry("from one"))
    with pytest.raises(HeadMoved):
        two.write(ours)
    head = two.head()
    assert head is not None
    snapshot = two.write(merge(base.root, ours, head.root, two.cache))
    assert (snapshot.number, snapshot.parent) == (3, head.root)
    assert two.paths(snapshot) == ["base", "from one", "from two"]
    assert one.head() == snapshot


def test_two_machines_that_both_start_an_empty_destination(files: MemorySnapshotFiles) -> None:
    one, two = Device(files, "one"), Device(files, "two")
    assert two.head() is None
    ours = build([entry("from two")], two.cache)
    one.put(entry("from one"))
    with pytest.raises(HeadMoved):
        two.write(ours)
    head = two.head()
    assert head is not None
    assert two.paths(two.write(merge(None, ours, head.root, two.cache))) == ["from one", "from two"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["write packs", "write HEAD"])
def test_an_attempt_cut_short_is_repeated_with_one_result(
    files: MemorySnapshotFiles, device: Device, what: str, when: str
) -> None:
    first = device.put(entry("a"))
    root = edit(first.root, [entry("b")], [], device.cache)

    def cut(call: str) -> None:
        if call.startswith(what):
            raise Transient("the connection was reset")

    setattr(files, when, cut)
    with pytest.raises(Transient):
        device.write(root)
    setattr(files, when, lambda call: None)
    reader = Device(files)
    assert reader.head() is not None
    assert len(reader.snapshots.history()) == (2 if (what, when) == ("write HEAD", "after") else 1)
    second = device.write(root)
    assert Device(files).snapshots.history() == [first, second]
    assert len(files.packs) == 2


def test_a_leftover_pack_of_the_same_name_is_left_alone(files: MemorySnapshotFiles, device: Device) -> None:
    root = build([entry("a")], device.cache)
    leftover = f"packs/000001-{root[:16]}.jsonl.zst"
    files.files[leftover] = b"from another run"
    snapshot = device.write(root)
    assert files.files[leftover] == b"from another run"
    assert files.packs == sorted([leftover, f"packs/000001-{root[:16]}-2.jsonl.zst"])
    assert Device(files).head() == snapshot


def test_a_fatal_error_while_removing_is_not_swallowed(files: MemorySnapshotFiles, device: Device) -> None:
    for n in range(MAX_PACKS + 1):
        device.put(entry(f"{n}"))

    def signed_out(call: str) -> None:
        if call.startswith("remove"):
            raise Fatal("signed out")

    files.before = signed_out
    with pytest.raises(Fatal):
        device.put(entry("next"))


class Crash(Exception):
    """The machine stopped."""


steps = st.tuples(
    st.integers(0, 1),  # which device
    st.booleans(),  # reads HEAD first
    st.integers(0, 30),  # which path
    st.integers(0, 9),  # the effect at which it crashes; most have fewer
    st.booleans(),  # before or after that effect
)


@given(st.lists(steps, max_size=60), st.integers(0, 50))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@pytest.mark.row(58)
def test_whatever_crashes_and_races_nothing_written_is_lost(
    plan: list[tuple[int, bool, int, int, bool]], warm: int
) -> None:
    files = MemorySnapshotFiles()
    devices = [Device(files, "one"), Device(files, "two")]
    bases: list[Snapshot | None] = [None, None]
    for n in range(warm):
        devices[0].put(entry("warm", n))
    bases[0] = devices[0].head()
    bases[1] = devices[1].head()
    promised: set[str] = set()
    for who, fresh, path, at, early in plan:
        device, left = devices[who], [at]

        def crash(call: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Crash

        files.before, files.after = (crash, lambda _: None) if early else (lambda _: None, crash)
        try:
            if fresh:
                bases[who] = device.head()
            base = bases[who]
            ours = edit(base.root if base else build([], device.cache), [entry(f"{path}")], [], device.cache)
            for _ in range(3):
                try:
                    bases[who] = device.write(ours)
                    promised.add(f"{path}")
                    break
                except HeadMoved:
                    head = device.head()
                    assert head is not None
                    ours = merge(base.root if base else None, ours, head.root, device.cache)
                    base = head
        except Crash:
            # what was in memory is gone, what was in the cache is not
            device.snapshots = Snapshots(files, device.cache)
            files.before = files.after = lambda _: None
            bases[who] = device.head()
        files.before = files.after = lambda _: None
        reader = Device(files)
        history = reader.snapshots.history()
        if history:
            assert promised <= set(reader.paths(history[-1]))
            check(history[0].root, reader.cache)


# fail closed


@pytest.fixture
def stored(files: MemorySnapshotFiles, device: Device) -> MemorySnapshotFiles:
    device.put(entry("a"), entry("b"))
    device.put(entry("\udcff"))
    return files


def spoiled(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[:at]
        yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        yield data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]
        yield data[:at] + data[at + 1 :]
        if data[at : at + 1] != data[at + 1 : at + 2] and at + 1 < len(data):
            yield data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :]
    yield data + b"\n"
    yield data + data


@pytest.mark.row(62)
def test_every_altered_byte_of_head_is_noticed(stored: MemorySnapshotFiles) -> None:
    for wrong in spoiled(stored.files["HEAD"]):
        stored.files["HEAD"] = wrong
        with pytest.raises(ManifestError):
            Device(stored).snapshots.head()


@pytest.mark.row(62)
def test_every_altered_byte_of_a_pack_is_noticed(stored: MemorySnapshotFiles) -> None:
    for name in stored.packs:
        whole = stored.files[name]
        for wrong in spoiled(whole):
            stored.files[name] = wrong
            with pytest.raises(Damaged, match=name):
                Device(stored).head()
        del stored.files[name]
        with pytest.raises(Damaged, match="missing"):
            Device(stored).head()
        stored.files[name] = whole
    Device(stored).head()


@pytest.mark.row(62)
def test_reordered_and_exchanged_frames_are_noticed(stored: MemorySnapshotFiles) -> None:
    first, second = stored.packs
    frames = list(unpack(stored.files[first], first))
    stored.files[first], stored.files[second] = stored.files[second], stored.files[first]
    with pytest.raises(Damaged):
        Device(stored).head()
    stored.files[second] = stored.files[first]
    stored.files[first] = pack(frames[::-1])
    with pytest.raises(Damaged):
        Device(stored).head()


def test_damage_behind_a_filled_cache_is_found_when_read_afresh(
    stored: MemorySnapshotFiles, device: Device
) -> None:
    head = device.head()
    assert head is not None
    device.snapshots.load(head, afresh=True)
    name = stored.packs[0]
    stored.files[name] = stored.files[name][:-1]
    device.snapshots.load(head)
    with pytest.raises(Damaged):
        device.snapshots.load(head, afresh=True)


def rewritten(files: MemorySnapshotFiles, change: Callable[[dict[str, object]], None]) -> None:
    """Alter HEAD as one would who knows how it protects itself."""
    head = files.head
    del head["blake3"]
    change(head)
    compact = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    head["blake3"] = name_of(compact.encode())
    files.files["HEAD"] = (json.dumps(head, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def test_the_forger_of_these_tests_can_write_a_true_head(stored: MemorySnapshotFiles) -> None:
    whole = stored.files["HEAD"]
    rewritten(stored, lambda head: None)
    assert json.loads(stored.files["HEAD"]) == json.loads(whole)


@pytest.mark.parametrize(
    "name",
    [
        "../HEAD",
        "packs/../../DCIM/a.jpg",
        "/etc/passwd",
        "packs/000001-0123456789abcdef.jsonl.zst/../../../a.jpg",
        "packs/000001-0123456789abcdef.jsonl.zst\n",
        "packs/٠٠٠٠٠١-0123456789abcdef.jsonl.zst",
        "packs/",
        "HEAD",
    ],
)
@pytest.mark.parametrize("key", ["packs", "superseded"])
@pytest.mark.row(64)
def test_head_cannot_make_anything_else_be_read_or_removed(
    stored: MemorySnapshotFiles, device: Device, key: str, name: str
) -> None:
    def change(head: dict[str, object]) -> None:
        there = head[key]
        assert isinstance(there, list)
        there.insert(0, name if key == "superseded" else {"blake3": "0" * 64, "name": name, "size": 1})

    rewritten(stored, change)
    stored.calls.clear()
    with pytest.raises(Inconsistent):
        device.put(entry("more"))
    assert stored.calls == ["read HEAD"]


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head["packs"].clear(),
        lambda head: head["packs"].reverse(),
        lambda head: head["packs"].pop(),
        lambda head: head["packs"].append(head["packs"][-1]),
        lambda head: head["superseded"].append(head["packs"][0]["name"]),
        lambda head: head["packs"][0].update(size=-1),
        lambda head: head["packs"][0].update(blake3="x"),
        lambda head: head["snapshot"].update(number=0),
        lambda head: head["snapshot"].update(number=3),
        lambda head: head["snapshot"].update(parent=None),
        lambda head: head["snapshot"].update(previous=None),
        lambda head: head["snapshot"].update(root="0" * 64),
        lambda head: head["snapshot"].update(time="yesterday"),
        lambda head: head["snapshot"].update(files=-1),
        lambda head: head.update(format=0),
    ],
)
def test_a_head_that_contradicts_itself_is_refused(
    stored: MemorySnapshotFiles, change: Callable[[dict[str, object]], None]
) -> None:
    rewritten(stored, change)
    with pytest.raises(Inconsistent):
        Device(stored).snapshots.head()


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head["packs"].pop(0),
        lambda head: head["snapshot"].update(files=99),
        lambda head: head["snapshot"].update(device="someone else"),
        lambda head: head["snapshot"].update(previous="0" * 64),
        lambda head: head["snapshot"].update(parent="0" * 64),
    ],
)
def test_a_head_that_contradicts_its_packs_is_refused(
    stored: MemorySnapshotFiles, change: Callable[[dict[str, object]], None]
) -> None:
    rewritten(stored, change)
    with pytest.raises(ManifestError):
        Device(stored).head()


@pytest.mark.parametrize("key", ["files", "bytes"])
def test_a_record_that_lies_about_its_own_totals_is_refused(stored: MemorySnapshotFiles, key: str) -> None:
    newest = stored.packs[1]
    records, *nodes = unpack(stored.files[newest], newest)
    lie = json.loads(records) | {key: 99}
    line = json.dumps(lie, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    data = pack([line, *nodes])
    stored.files[newest] = data

    def change(head: dict[str, object]) -> None:
        head["packs"][1].update(size=len(data), blake3=name_of(data))  # type: ignore[index]
        head["snapshot"] = lie

    rewritten(stored, change)
    with pytest.raises(Inconsistent, match="does not have the files"):
        Device(stored).head()


def test_history_that_was_forged_with_fitting_hashes_but_wrong_links(stored: MemorySnapshotFiles) -> None:
    """Two records in one pack of which the second does not follow the first."""
    head = json.loads(stored.files["HEAD"])
    second = stored.packs[1]
    frames = list(unpack(stored.files[second], second))
    record = json.loads(frames[0])
    other = {**record, "device": "never was"}
    lines = [
        json.dumps(each, sort_keys=True, separators=(",", ":")).encode() + b"\n" for each in (other, record)
    ]
    data = pack([b"".join(lines), *frames[1:]])
    stored.files[second] = data

    def change(head: dict[str, object]) -> None:
        head["packs"][1].update(size=len(data), blake3=name_of(data))  # type: ignore[index]

    rewritten(stored, change)
    assert head["snapshot"]["number"] == 2
    with pytest.raises(Inconsistent, match="does not follow"):
        Device(stored).head()


@pytest.mark.row(63)
def test_an_older_head_is_refused(files: MemorySnapshotFiles, device: Device) -> None:
    device.put(entry("a"))
    older = files.files["HEAD"]
    device.put(entry("b"))
    newer = files.files["HEAD"]
    files.files["HEAD"] = older
    before = dict(files.files)
    with pytest.raises(RolledBack, match="snapshot 2 and now is at 1"):
        device.put(entry("c"))
    del files.files["HEAD"]
    with pytest.raises(RolledBack, match="now has none"):
        device.put(entry("c"))
    assert files.files == {name: data for name, data in before.items() if name != "HEAD"}
    files.files["HEAD"] = newer
    assert device.put(entry("c")).number == 3


@pytest.mark.row(63)
def test_another_history_of_the_same_or_greater_length_is_refused(
    files: MemorySnapshotFiles, device: Device
) -> None:
    device.put(entry("a"))
    forked = MemorySnapshotFiles()
    forked.files = dict(files.files)
    device.put(entry("b"))
    stranger = Device(forked)
    for path in ("x", "y"):
        stranger.put(entry(path))
        files.files = dict(forked.files)
        device.snapshots.head()
        with pytest.raises(RolledBack, match="not the one"):
            device.snapshots.refuse_rollback(device.known)
        with pytest.raises(RolledBack):
            device.put(entry("c"))


@pytest.mark.row(65)
def test_a_newer_format_is_neither_read_nor_written_over(stored: MemorySnapshotFiles, device: Device) -> None:
    whole = dict(stored.files)
    stored.files["HEAD"] = b'{"format": 2, "entirely": ["different"]}'
    before = dict(stored.files)
    with pytest.raises(NewerFormat, match="Update photosync"):
        device.put(entry("c"))
    assert stored.files == before

    # a node or a record of a newer format below a HEAD of this one
    for at in (0, 1):
        stored.files = dict(whole)
        name = stored.packs[1]
        frames = list(unpack(stored.files[name], name))
        frames[at] = frames[at].replace(b'"format":1', b'"format":2')
        data = pack(frames)
        stored.files[name] = data

        def change(head: dict[str, object], data: bytes = data, at: int = at) -> None:
            head["packs"][1].update(size=len(data), blake3=name_of(data))  # type: ignore[index]
            if at == 0:
                head["snapshot"]["format"] = 2  # type: ignore[index]

        rewritten(stored, change)
        with pytest.raises(NewerFormat if at else ManifestError):
            Device(stored).head()


@pytest.mark.parametrize(
    "frame",
    [
        zstandard.ZstdCompressor().compress(b"\0" * (200 << 20)),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"\0" * (200 << 20)),
        # a header that promises 16 bytes, then blocks that each unfold into 128 KiB of zeros
        b"\x28\xb5\x2f\xfd\x20\x10" + b"\x02\x00\x10\x00" * 4096 + b"\x03\x00\x10\x00",
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
    ],
    ids=["large", "size not declared", "size declared too small", "skippable"],
)
@pytest.mark.row(51)
def test_a_decompression_bomb_is_refused(frame: bytes) -> None:
    with pytest.raises(Damaged, match=r"cannot be decompressed"):
        list(unpack(pack([b"good"]) + frame, "pack"))


def test_frames_come_back_as_they_were_packed() -> None:
    random = b"".join(sha256(bytes([n])).digest() for n in range(256))
    frames = [b"", b"a", b"\0" * 3_000_000, random * 40, random[:131_072], b"", b"ab" * 200_000]
    assert list(unpack(pack(frames), "pack")) == frames
    assert list(unpack(b"", "pack")) == []


def test_a_cache_that_lost_a_node_is_repaired(files: MemorySnapshotFiles, device: Device) -> None:
    head = device.put(*(entry(f"{n}") for n in range(2000)))
    leaf = decode(device.cache.get(head.root)).children[0]
    del device.cache._nodes[leaf.name]
    with pytest.raises(Damaged):
        check(head.root, device.cache)
    device.snapshots.head()
    device.snapshots.load(head, afresh=True)
    check(head.root, device.cache)


@pytest.mark.parametrize("time", ["", "now", "2026-01-31 12:00:00", "2026-01-31T12:00:00+01:00"])
def test_a_time_must_be_utc(device: Device, time: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        device.put(entry("a"), time=time)


# readable without photosync


@pytest.mark.skipif(
    not (shutil.which("zstdcat") and shutil.which("jq")), reason="zstdcat and jq are not both installed"
)
def test_zstdcat_and_jq_read_a_pack(files: MemorySnapshotFiles, device: Device) -> None:
    device.put(*(entry(f"DCIM/{n:04d}.jpg") for n in range(1000)), entry("\udcff"), entry('q"\\\n'))
    plain = subprocess.run(
        ["zstdcat"], input=files.files[files.packs[0]], capture_output=True, check=True
    ).stdout
    query = 'select(.path // .path_hex) | .path // "hex " + .path_hex'
    paths = subprocess.run(["jq", "-c", query], input=plain, capture_output=True, check=True).stdout
    named = {json.loads(line) for line in paths.splitlines()}
    assert named == {*(f"DCIM/{n:04d}.jpg" for n in range(1000)), "hex ff", 'q"\\\n'}
    device_name = subprocess.run(
        ["jq", "-r", ".snapshot.device"], input=files.files["HEAD"], capture_output=True, check=True
    )
    assert device_name.stdout == b"phone\n"
    unsigned = subprocess.run(
        ["jq", "-cjS", "del(.blake3)"], input=files.files["HEAD"], capture_output=True, check=True
    ).stdout
    assert name_of(unsigned) == files.head["blake3"]


# the documented format


DOCUMENT = Path(__file__).parents[2] / "docs" / "manifest-format.md"


def test_the_worked_example_of_the_documentation_is_true() -> None:
    text = DOCUMENT.read_text()
    blocks = dict(re.findall(r"`([0-9a-f]{64})`\n\n```jsonl\n(.*?)```", text, re.S))
    assert len(blocks) == 4
    for name, block in blocks.items():
        assert name_of(block.encode()) == name
    (pack_name,) = re.findall(r"`(packs/0.*?)`", text)
    (packed,) = (base64.b64decode(block) for block in re.findall(r"```base64\n(.*?)```", text, re.S))
    (head,) = re.findall(r"```json\n(.*?)```", text, re.S)

    files = MemorySnapshotFiles()
    files.files = {"HEAD": head.encode(), pack_name: packed}
    reader = Device(files)
    snapshot = reader.head()
    assert snapshot is not None
    assert {name: reader.cache.get(name).decode() for name in blocks} == blocks
    frames = list(unpack(packed, "pack"))
    assert sorted(frame.decode() for frame in frames) == sorted(blocks.values())

    seconds = 1_000_000_000
    contents = [
        ("DCIM/IMG_0264.JPG", b"one", 1_767_225_600 * seconds),
        ("DCIM/IMG_0265.JPG", b"two", 1_767_225_601 * seconds + seconds // 2),
        ("DCIM/\udcff", b"", -seconds),
    ]
    expected = [
        ManifestEntry(
            path,
            len(content),
            mtime_ns,
            blake3(content).hexdigest(),
            sha256(content).hexdigest(),
            (xxh3_128_hexdigest(content),) if content else (),
        )
        for path, content, mtime_ns in contents
    ]
    assert list(entries(snapshot.root, reader.cache)) == expected
    assert build(expected, MemoryNodes()) == snapshot.root
    assert f"`{EMPTY_ROOT}`" in text

    writer = Device(MemorySnapshotFiles(), "my laptop")
    assert writer.put(*expected, time="2026-01-02T03:04:05Z") == snapshot


def test_the_documentation_names_every_key() -> None:
    text = DOCUMENT.read_text()
    for written in re.findall(r"```jsonl?\n(.*?)```", text, re.S):
        for key in re.findall(r'"([a-z0-9_]+)":', written):
            assert f"`{key}`" in text
