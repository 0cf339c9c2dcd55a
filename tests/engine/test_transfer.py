"""Carrying out plans in a deterministic world: batches, failures, conflicts, resuming, memory, accounting."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from blake3 import blake3

from photosync.engine import batches, standing, transfer
from photosync.engine.beside import DIGITS, MORE_DIGITS, beside
from photosync.engine.capabilities import Batch, Blob, Changes, Stored, Upload
from photosync.engine.entry import Entry
from photosync.engine.errors import (
    AlreadyExists,
    DestinationFull,
    DeviceGone,
    NameRefused,
    Permanent,
    SourceChanged,
    Transient,
    Trouble,
)
from photosync.engine.events import Status
from photosync.engine.item import OVERHEAD
from photosync.engine.names import POSIX, is_ours
from photosync.engine.plan import Mode
from photosync.engine.report import Exit
from photosync.engine.verify import Verify
from photosync.engine.workers import ByteBudget
from tests.engine.rig import Rig
from tests.sim.drive import DriveWorld
from tests.sim.store import PART, SMALL, Faults, SimReader, SimStore, SimUpload

BIG = bytes(range(256)) * 2  # eight parts of 64 bytes


# batches


@pytest.mark.parametrize("personality", ["disk", "objects", "feed"])
@pytest.mark.parametrize("memory", [1, 100, 5000, 13_000, 10**6])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_budget_is_too_small(tmp_path: Path, personality: str, memory: int, seed: int) -> None:
    rig = Rig(tmp_path, personality)
    for number in range(12):
        rig.photo(f"a/{number}", f"{number}".encode() * (number * 5))
    rig.photo("big", BIG)
    assert rig.run(memory=memory, seed=seed).status == "ok"
    assert len(rig.files()) == 13
    assert rig.run(memory=memory).status == "nothing"


def batches_of(rig: Rig) -> list[list[int]]:
    sizes: list[list[int]] = []

    def setup(store: SimStore) -> None:
        real = store.put

        def put(blobs: Sequence[Blob]) -> list[Stored | Exception]:
            sizes.append([len(blob.data) for blob in blobs])
            return real(blobs)

        store.put = put  # type: ignore[method-assign]

    rig.setup = setup
    return sizes


def test_a_batch_keeps_to_the_stores_count_and_bytes(tmp_path: Path) -> None:
    rig = Rig(tmp_path, can={"batch": Batch(5, 100)})
    sizes = batches_of(rig)
    for number in range(23):
        rig.photo(f"{number:02}", bytes([number]) * 30)
    rig.run(memory=10**6)
    assert sum(map(len, sizes)) == 23
    assert max(map(sum, sizes)) <= 100
    assert max(map(len, sizes)) == 3
    assert len(sizes) == 8, "a batch that is full leaves nothing over for one of its own"


@pytest.mark.parametrize("seed", range(12))
def test_what_is_left_at_the_end_travels_together(tmp_path: Path, seed: int) -> None:
    rig = Rig(tmp_path, can={"batch": Batch(10, 10_000)}, source_can={"read_concurrency": 4})
    sizes = batches_of(rig)
    for number in range(25):
        rig.photo(f"{number:02}", bytes([number]) * (1 + number % 7))
    rig.run(memory=10**6, seed=seed)
    assert sorted(len(batch) for batch in sizes) == [5, 10, 10]


def test_batches_shrink_on_a_slow_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches.Pace, "LEAST", 20)
    rig = Rig(tmp_path, can={"batch": Batch(1000, 1000), "write_concurrency": 1})
    sizes = batches_of(rig)
    counted = rig.setup

    def setup(store: SimStore) -> None:
        counted(store)
        real = store.put

        def slowly(blobs: Sequence[Blob]) -> list[Stored | Exception]:
            store.scheduler.park(sum(len(blob.data) for blob in blobs) / 10)
            return real(blobs)

        store.put = slowly  # type: ignore[method-assign]

    rig.setup = setup
    for number in range(90):
        rig.photo(f"{number:02}", bytes([number]) * 50)
    rig.run(memory=100_000)
    assert sum(sizes[0]) == 1000
    assert sum(sizes[-2]) == 150, "fifteen seconds at ten bytes a second"


def test_the_parts_of_a_single_large_file_travel_side_by_side(tmp_path: Path) -> None:
    flying: list[int] = []
    most: list[int] = []

    def setup(store: SimStore) -> None:
        begin = store.start_upload

        def start(path: str, size: int, mtime_ns: int | None) -> Upload:
            upload = begin(path, size, mtime_ns)
            send = upload.send_part

            def send_part(index: int, data: bytes, sha256: str) -> None:
                flying.append(index)
                most.append(len(flying))
                send(index, data, sha256)
                flying.remove(index)

            upload.send_part = send_part  # type: ignore[assignment, method-assign]
            return upload

        store.start_upload = start  # type: ignore[assignment, method-assign]

    rig = Rig(tmp_path, setup=setup)
    rig.photo("big", BIG)
    assert rig.run(memory=10**6).status == "ok"
    assert max(most) > 1


@pytest.mark.parametrize("seed", range(8))
def test_an_upload_that_wants_its_parts_in_order_gets_them_so(tmp_path: Path, seed: int) -> None:
    sent: list[int] = []
    ended: list[int] = []

    def setup(store: SimStore) -> None:
        begin = store.start_upload

        def start(path: str, size: int, mtime_ns: int | None) -> Upload:
            upload = begin(path, size, mtime_ns)
            send = upload.send_part

            def send_part(index: int, data: bytes, sha256: str) -> None:
                assert sent == ended, "one at a time"
                sent.append(index)
                send(index, data, sha256)
                ended.append(index)

            upload.send_part = send_part  # type: ignore[assignment, method-assign]
            upload.in_order = True  # type: ignore[attr-defined]
            return upload

        store.start_upload = start  # type: ignore[assignment, method-assign]

    rig = Rig(tmp_path, setup=setup)
    rig.photo("big", BIG)
    assert rig.run(memory=10**6, seed=seed).status == "ok"
    assert sent == list(range(8))


def test_what_was_tried_again_is_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"1")
    assert not rig.run().retries
    for number in range(40):
        rig.photo(f"{number}", b"2" * number)
    report = rig.run(faults=Faults(before=0.2), attempts=8)
    assert report.status == "ok"
    assert sum(report.retries.values()) > 3
    assert report.retries.keys() <= {kind.value for kind in Trouble}


def test_small_files_travel_together(tmp_path: Path) -> None:
    rig = Rig(tmp_path, can={"batch": Batch(10, 10_000)})
    sizes = batches_of(rig)
    for number in range(30):
        rig.photo(f"{number:02}", bytes([number]))
    rig.run(memory=10**6)
    assert [len(batch) for batch in sizes] == [10, 10, 10]


def test_batches_are_whole_though_memory_is_short(tmp_path: Path) -> None:
    """What is on its way gives memory back; only when nothing is, what has been gathered must go."""
    rig = Rig(tmp_path, can={"batch": Batch(10, 10_000)})
    sizes = batches_of(rig)
    for number in range(40):
        rig.photo(f"{number:02}", bytes([number]) * 50)
    room = 15 * (50 + OVERHEAD)
    assert rig.run(memory=room).status == "ok"
    assert [len(batch) for batch in sizes] == [10, 10, 10, 10]


def test_a_batch_that_memory_cannot_hold_goes_as_it_is(tmp_path: Path) -> None:
    rig = Rig(tmp_path, can={"batch": Batch(10, 10_000)})
    sizes = batches_of(rig)
    for number in range(20):
        rig.photo(f"{number:02}", bytes([number]) * 50)
    assert rig.run(memory=4 * (50 + OVERHEAD)).status == "ok"
    assert sum(map(len, sizes)) == 20
    assert max(map(len, sizes)) <= 4


def budgets_of(monkeypatch: pytest.MonkeyPatch) -> list[ByteBudget]:
    """Every budget made from now on."""
    budgets: list[ByteBudget] = []
    made = ByteBudget.__init__

    def keep(self: ByteBudget, *args: object) -> None:
        made(self, *args)  # type: ignore[arg-type]
        budgets.append(self)

    monkeypatch.setattr(ByteBudget, "__init__", keep)
    return budgets


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    for name in ("acquire_while", "exceed"):
        real = getattr(ByteBudget, name)

        def counted(self: ByteBudget, size: int, *more: object, real: object = real) -> object:
            nonlocal most
            answer = real(self, size, *more)  # type: ignore[operator]
            most = max(most, self._used)
            return answer

        monkeypatch.setattr(ByteBudget, name, counted)
    budgets = budgets_of(monkeypatch)
    rig = Rig(tmp_path)
    for number in range(40):
        rig.photo(f"{number:02}", bytes([number]) * 60)
    rig.photo("big", BIG * 4)
    for seed in range(5):
        rig.there.things.clear()
        faults = Faults(before=0.1, after=0.1)
        rig.run(seed=seed, memory=10_000, faults=faults, attempts=9, allow_empty=True)
    assert 8_000 < most <= 10_000
    assert [budget._used for budget in budgets] == [0] * 5


@pytest.mark.parametrize("error", [Permanent("no"), SourceChanged("moved"), OSError(5, "EIO")])
def test_failures_give_their_memory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    budgets = budgets_of(monkeypatch)

    def fail(*_args: object) -> object:
        raise error

    rig = Rig(tmp_path, setup=lambda store: setattr(store, "put", fail))
    rig.photo("a", b"small")
    rig.run()
    monkeypatch.setattr(SimUpload, "send_part", fail)
    rig.photo("big", BIG)
    rig.run()
    monkeypatch.setattr(standing, "beside", fail)
    rig.there.set("a", b"other size", 1)
    rig.run()
    assert [budget._used for budget in budgets] == [0, 0, 0]


# failures of one file


def test_one_file_that_is_refused_does_not_stop_the_others(tmp_path: Path) -> None:
    def setup(store: SimStore) -> None:
        real = store.put

        def put(blobs: Sequence[Blob]) -> list[Stored | Exception]:
            good = iter(real([blob for blob in blobs if blob.path != "bad"]))
            return [Permanent("bad: malformed") if blob.path == "bad" else next(good) for blob in blobs]

        store.put = put  # type: ignore[method-assign]

    rig = Rig(tmp_path, setup=setup)
    for name in ("a", "bad", "c"):
        rig.photo(name, name.encode())
    report = rig.run()
    assert rig.statuses() == {"a": "verified", "bad": "failed", "c": "verified"}
    assert rig.outcomes["bad"].error == "bad: malformed"
    assert report.exit_code == Exit.NO_RETRY


def test_one_file_that_has_to_wait_is_sent_again_alone(tmp_path: Path) -> None:
    sent: list[list[str]] = []

    def setup(store: SimStore) -> None:
        real = store.put

        def put(blobs: Sequence[Blob]) -> list[Stored | Exception]:
            sent.append(sorted(blob.path for blob in blobs))
            busy = len(sent) < 3
            good = iter(real([blob for blob in blobs if blob.path != "slow" or not busy]))
            return [
                Transient("too many", retry_after=7.0) if busy and blob.path == "slow" else next(good)
                for blob in blobs
            ]

        store.put = put  # type: ignore[method-assign]

    rig = Rig(tmp_path, setup=setup, can={"batch": Batch(10, 10_000)})
    for name in ("a", "slow", "c"):
        rig.photo(name, name.encode())
    assert rig.run(attempts=5, memory=10**6).status == "ok"
    assert sent == [["a", "c", "slow"], ["slow"], ["slow"]]
    assert rig.scheduler.now >= 1014.0


def test_a_store_that_stays_away_is_worth_another_run(tmp_path: Path) -> None:
    def put(_blobs: object) -> list[Stored | Exception]:
        raise Transient("503 Service Unavailable")

    rig = Rig(tmp_path, setup=lambda store: setattr(store, "put", put))
    rig.photo("a", b"1")
    report = rig.run()
    assert rig.outcomes["a"].status is Status.FAILED
    assert report.exit_code == Exit.RETRY


def test_a_kept_file_is_tried_again_like_any_other(tmp_path: Path) -> None:
    """The same patience for a file that turned out to need another name while it was in memory."""
    busy = [Transient("too many"), Transient("too many")]

    def setup(store: SimStore) -> None:
        real = store.put

        def put(blobs: Sequence[Blob]) -> list[Stored | Exception]:
            return [busy.pop() for _ in blobs] if busy and "~" in blobs[0].path else real(blobs)

        store.put = put  # type: ignore[method-assign]

    rig = Rig(tmp_path, setup=setup)
    rig.there.set("a", b"theirs", 1)
    rig.photo("a", b"mine!!")
    rig.run(attempts=5)
    assert rig.statuses() == {"a": "conflict"}
    assert busy == []


def test_a_file_that_vanished_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    def setup(store: SimStore) -> None:
        real = store.open

        def open_(path: str, offset: int = 0) -> SimReader:
            if path == "b":
                raise FileNotFoundError(2, "none", path)
            return real(path, offset)

        store.open = open_  # type: ignore[method-assign]

    rig = Rig(tmp_path, source_setup=setup)
    for name in ("a", "b", "c"):
        rig.photo(name, name.encode())
    rig.run()
    assert rig.statuses() == {"a": "verified", "b": "failed", "c": "verified"}
    assert "vanished" in str(rig.outcomes["b"].error)


@pytest.mark.parametrize("sizes", [(10, 500), (500, 10), (500, 0)])
def test_a_file_that_changed_its_size_since_it_was_listed_is_copied_as_it_is(
    tmp_path: Path, sizes: tuple[int, int]
) -> None:
    """Also across the border between small and large files."""
    rig = Rig(tmp_path)

    def setup(store: SimStore) -> None:
        real = store.open

        def open_(path: str, offset: int = 0) -> SimReader:
            if len(rig.phone.things["a"].data) == sizes[0]:
                rig.photo("a", b"n" * sizes[1], 2)
            return real(path, offset)

        store.open = open_  # type: ignore[method-assign]

    rig.source_setup = setup
    rig.photo("a", b"o" * sizes[0])
    report = rig.run()
    assert report.status == "ok"
    assert ("start" in report.requests) is (sizes[1] > SMALL)
    assert rig.files() == {"a": b"n" * sizes[1]}
    assert rig.run().status == "nothing"


@pytest.mark.row(14)
def test_zero_bytes_are_a_file(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "objects")
    rig.photo("empty", b"")
    assert rig.run().status == "ok"
    assert rig.files() == {"empty": b""}
    assert rig.outcomes["empty"].evidence == "server-hash:sha256"


# conflicts


@pytest.mark.parametrize("mine", [b"mine!!", b"mine, longer", BIG])
@pytest.mark.row(29)
def test_a_planned_conflict_keeps_both(tmp_path: Path, mine: bytes) -> None:
    rig = Rig(tmp_path)
    rig.there.set("d/a.jpg", b"theirs", 1)
    rig.photo("d/a.jpg", mine)
    report = rig.run()
    assert rig.statuses() == {"d/a.jpg": "conflict"}
    stored = str(rig.outcomes["d/a.jpg"].stored)
    assert rig.files() == {"d/a.jpg": b"theirs", stored: mine}
    assert stored.startswith("d/a~")
    assert stored.endswith(".jpg")
    assert report.exit_code == Exit.OTHER
    assert rig.run().status == "nothing"


@pytest.mark.parametrize("mine", [b"mine!!", BIG])
@pytest.mark.parametrize("personality", ["disk", "objects", "feed"])
@pytest.mark.row(29)
def test_an_unplanned_conflict_keeps_both(tmp_path: Path, mine: bytes, personality: str) -> None:
    rig = Rig(tmp_path, personality)

    def intrude(event: object) -> None:
        if getattr(event, "name", "") == "transfer":
            rig.there.set("a.jpg", b"theirs", 1)

    rig.listener = intrude
    rig.photo("a.jpg", mine)
    rig.run()
    assert rig.statuses() == {"a.jpg": "conflict"}
    assert sorted(rig.files().values()) == sorted([b"theirs", mine])


@pytest.mark.parametrize("mine", [b"mine!!", BIG])
def test_what_somebody_else_stored_meanwhile_is_adopted(tmp_path: Path, mine: bytes) -> None:
    rig = Rig(tmp_path)

    def intrude(event: object) -> None:
        if getattr(event, "name", "") == "transfer":
            rig.there.set("a.jpg", mine, 1)

    rig.listener = intrude
    rig.photo("a.jpg", mine)
    assert rig.run().status == "ok"
    assert rig.files() == {"a.jpg": mine}


@pytest.mark.parametrize(("personality", "name"), [("dropbox", "dropbox"), ("drive", "sha256")])
def test_a_library_that_is_there_already_costs_no_request_a_file(
    tmp_path: Path, personality: str, name: str
) -> None:
    """Its hashes were listed: what another program stored is proven by them, unless it is to be read back."""
    rig = Rig(tmp_path, personality=personality)
    looked: list[str] = []

    def setup(store: SimStore) -> None:
        real = store.stat

        def stat(path: str) -> Entry:
            looked.append(path)
            return real(path)

        store.stat = stat  # type: ignore[method-assign]

    rig.setup = setup
    for number in range(1, 30):
        rig.photo(f"{number:02}", b"x" * number)
        rig.there.set(f"{number:02}", b"x" * number, 1)
    rig.there.set("07", b"y" * 7, 1)
    rig.run()
    assert Counter(rig.statuses().values()) == {"verified": 28, "conflict": 1}
    assert [path for path in looked if not is_ours(path)] == ["07"]
    assert {outcome.evidence for outcome in rig.outcomes.values()} == {f"server-hash:{name}"}


def test_a_reading_that_shares_no_hash_with_the_listing_is_made_again(tmp_path: Path) -> None:
    """It had no MD5; an object of which nothing else is told would have to be read back. Where no hash is
    listed at all, it does."""
    rig = Rig(tmp_path, personality="drive")
    rig.photo("a", b"bytes")
    assert rig.run().source_bytes == 5
    for can, read in (({"hashes": ("md5",)}, 5), ({}, 0), ({"hashes": (), "hashes_listed": False}, 0)):
        rig.destination_id, rig.there, rig.can = f"other{can}", DriveWorld("drive"), can
        rig.there.set("a", b"bytes", 1)
        assert rig.run().source_bytes == read
        assert rig.statuses() == {"a": "verified"}


def test_what_is_listed_is_no_evidence_where_all_is_to_be_read_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path, personality="dropbox")
    rig.photo("a", b"same")
    rig.there.set("a", b"same", 1)
    rig.run(how=Verify.REREAD)
    assert rig.outcomes["a"].evidence == "reread"


@pytest.mark.row(30)
def test_what_is_there_already_is_adopted_without_sending(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.there.set("a", b"same", 99)
    rig.photo("a", b"same", 5)
    report = rig.run()
    assert rig.statuses() == {"a": "verified"}
    assert report.tally.bytes == 0
    assert rig.there.things["a"].mtime_ns == 5


@pytest.mark.parametrize("size", [SMALL - 10, len(BIG)])
@pytest.mark.parametrize("longer", [0, 1])
def test_an_edit_that_is_undone_is_found_under_its_first_name(tmp_path: Path, size: int, longer: int) -> None:
    rig = Rig(tmp_path)
    first, edited = b"1" * size, b"e" * (size + longer)
    for number, data in enumerate((first, edited, first, edited)):
        rig.photo("a.jpg", data, mtime_ns=number)
        rig.run()
        assert sorted(rig.files().values()) == sorted({first, data, *([edited] if number else [])})
        assert rig.run().status == "nothing"


@pytest.mark.parametrize("size", [SMALL - 10, len(BIG)])
def test_a_name_that_shows_this_content_may_have_other_bytes(tmp_path: Path, size: int) -> None:
    """Somebody edited what is kept beside: the photo is kept beside that, too."""
    rig = Rig(tmp_path)
    rig.photo("a.jpg", b"1" * size)
    rig.run()
    rig.photo("a.jpg", b"2" * size, 2)
    rig.run()
    edited = next(path for path in rig.files() if "~" in path)
    rig.there.set(edited, b"somebody's", 3)
    rig.run()
    assert sorted(rig.files().values()) == sorted([b"1" * size, b"2" * size, b"somebody's"])
    assert rig.run().status == "nothing"
    (tmp_path / "journal.sqlite").unlink()
    rig.run()
    assert len(rig.files()) == 3
    wide = rig.outcomes["a.jpg"].stored
    assert wide is not None
    assert rig.files()[wide] == b"2" * size
    # Twice is enough: no name would be safe from somebody who does that every time.
    rig.there.set(wide, b"somebody's again", 4)
    rig.run()
    assert "rename that file" in str(rig.outcomes["a.jpg"].error)


def test_a_time_that_cannot_be_set_does_not_matter(tmp_path: Path) -> None:
    def deny(*_args: object) -> Stored:
        raise PermissionError(1, "Operation not permitted")

    rig = Rig(tmp_path, setup=lambda store: setattr(store, "set_mtime", deny))
    rig.there.set("a", b"same", 99)
    rig.photo("a", b"same", 5)
    assert rig.run().status == "ok"


def test_what_vanished_before_it_was_compared_is_copied(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.there.set("a", b"same", 99)
    rig.photo("a", b"same", 5)

    def vanish(event: object) -> None:
        if getattr(event, "name", "") == "transfer":
            rig.there.things.pop("a", None)

    rig.listener = vanish
    assert rig.run().status == "ok"
    assert rig.files() == {"a": b"same"}


def test_a_folder_in_the_way_is_kept_apart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.there.set("a/inner", b"theirs", 1)
    rig.photo("a", b"file")
    assert rig.run().status == "ok"
    assert rig.files() == {"a/inner": b"theirs", "%61": b"file"}


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("a/IMG.jpg", "a/IMG~3f9a2b7c.jpg"), ("IMG", "IMG~3f9a2b7c"), (".hidden", ".hidden~3f9a2b7c"),
        ("x~0123abcd.jpg", "x~3f9a2b7c.jpg"), ("a.tar.gz", "a.tar~3f9a2b7c.gz"),
    ],
)  # fmt: skip
def test_names_beside(path: str, made: str) -> None:
    assert beside(path, "3f9a2b7c" + "0" * 56, POSIX) == made


def test_names_beside_fit(tmp_path: Path) -> None:
    made = beside("d/" + "é" * 125 + ".jpg", "3f9a2b7c" + "0" * 56, POSIX)
    assert len(made.rpartition("/")[2].encode()) <= 255


# proof


@pytest.mark.parametrize("personality", ["disk", "objects", "feed"])
@pytest.mark.parametrize("data", [b"small", BIG])
@pytest.mark.row(54)
def test_damage_is_set_aside_and_the_file_sent_again(tmp_path: Path, personality: str, data: bytes) -> None:
    rig = Rig(tmp_path, personality)
    damaged: list[str] = []

    def setup(store: SimStore) -> None:
        real = store._store

        def once(path: str, body: bytes, mtime_ns: int | None) -> Stored:
            if path != "a" or damaged:
                return real(path, body, mtime_ns)
            damaged.append(path)
            return real(path, b"X" + body[1:], mtime_ns)

        store._store = once  # type: ignore[method-assign]

    rig.setup = setup
    rig.photo("a", data)
    assert rig.run().status == "ok"
    assert rig.files() == {"a": data}
    assert list(rig.quarantine().values()) == [b"X" + data[1:]]


@pytest.mark.row(54)
def test_damage_every_time_is_a_failure_and_nothing_bad_keeps_the_name(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"small")
    rig.run(faults=Faults(damage=1.0))
    assert rig.statuses() == {"a": "failed"}
    assert rig.files() == {}
    assert len(rig.quarantine()) == transfer.ITEM_ATTEMPTS


def test_without_proof_a_copy_is_only_written(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"small")
    report = rig.run(how=Verify.NONE)
    assert rig.statuses() == {"a": "written"}
    assert rig.outcomes["a"].evidence == "none"
    assert report.exit_code == Exit.OK


# lost replies


@pytest.mark.parametrize("personality", ["disk", "objects", "feed"])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.row(37, 38)
def test_lost_replies_make_no_duplicates(tmp_path: Path, personality: str, seed: int) -> None:
    rig = Rig(tmp_path, personality)
    rig.photo("a", b"small")
    rig.photo("b", BIG)
    rig.run(seed=seed, faults=Faults(after=0.4), attempts=6)
    for calm in range(3):
        if rig.run(seed=seed + calm).status == "nothing":
            break
    assert rig.files() == {"a": b"small", "b": BIG}


# sync


def test_sync_trashes_before_it_publishes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"old")
    rig.photo("big", BIG)
    rig.run(Mode.SYNC)
    rig.photo("a", b"newer", 2)
    rig.photo("big", BIG + b"!", 2)
    rig.there.log.clear()
    assert rig.run(Mode.SYNC).status == "ok"
    assert rig.files() == {"a": b"newer", "big": BIG + b"!"}
    assert rig.trash() == {".photosync/trash/run2/a": b"old", ".photosync/trash/run2/big": BIG}
    for name in ("a", "big"):
        log = rig.there.log
        last = len(log) - 1 - log[::-1].index(name)
        assert log.index(f".photosync/trash/run2/{name}") < last


def test_sync_of_equal_size_compares_and_replaces(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"old")
    rig.run(Mode.SYNC)
    rig.photo("a", b"new", 2)
    rig.run(Mode.SYNC)
    assert rig.files() == {"a": b"new"}
    assert list(rig.trash().values()) == [b"old"]


def _lying(store: SimStore) -> None:
    """Listings of an MTP phone tell wrong sizes now and then; an open file tells the right one."""
    real = store.list_folder
    store.list_folder = lambda path: [  # type: ignore[method-assign]
        replace(each, size=each.size + 7) if each.is_file else each for each in real(path)
    ]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("size", [SMALL - 10, SMALL, len(BIG)])
def test_a_size_that_was_listed_wrong_makes_no_second_copy(tmp_path: Path, mode: Mode, size: int) -> None:
    """Nor does the first one leave its place."""
    rig = Rig(tmp_path)
    photo = {f"a.{kind}": kind.encode().ljust(size, b"x") for kind in ("JPG", "AAE")}
    for path, data in photo.items():
        rig.photo(path, data)
    rig.run(mode)
    rig.source_setup = _lying
    report = rig.run(mode)
    assert report.status == "ok"
    assert rig.files() == photo
    assert rig.trash() == {}
    assert set(rig.statuses().values()) == {"verified"}


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("size", [SMALL - 10, len(BIG)])
def test_a_size_that_was_listed_wrong_hides_no_edit(tmp_path: Path, mode: Mode, size: int) -> None:
    rig = Rig(tmp_path)
    rig.photo("a.jpg", b"o" * size)
    rig.run(mode)
    rig.photo("a.jpg", b"n" * size, 2)
    rig.source_setup = _lying
    rig.run(mode)
    assert b"n" * size in rig.files().values()
    assert (b"o" * size in rig.files().values()) is (mode is Mode.COPY)
    assert (b"o" * size in rig.trash().values()) is (mode is Mode.SYNC)


@pytest.mark.parametrize("size", [SMALL - 20, len(BIG)])
def test_a_listing_that_still_shows_the_first_size_makes_no_third_copy(tmp_path: Path, size: int) -> None:
    """The edited photo is kept beside the first one, whose size is listed again."""
    rig = Rig(tmp_path)
    rig.photo("a.jpg", b"1" * (size + 7))
    rig.run()
    rig.photo("a.jpg", b"2" * size, 2)
    rig.run()
    rig.source_setup = _lying
    rig.run()
    assert sorted(rig.files().values()) == [b"1" * (size + 7), b"2" * size]
    rig.source_setup = lambda _store: None
    assert rig.run().status == "nothing"


def _unreadable(name: str, why: Exception) -> Callable[[SimStore], None]:
    def setup(store: SimStore) -> None:
        real = store.open

        def open_(path: str, offset: int = 0) -> SimReader:
            if path == name:
                raise why
            return real(path, offset)

        store.open = open_  # type: ignore[method-assign]

    return setup


@pytest.mark.parametrize("how", ["failed", "refused"])
def test_sync_keeps_the_old_copy_of_a_renamed_photo_until_the_new_one_is_there(
    tmp_path: Path, how: str
) -> None:
    """The journal is gone, so that nothing tells which of the new photos is the old one."""
    rig = Rig(tmp_path)
    rig.photo("old.jpg", b"content")
    rig.photo("gone.jpg", b"deleted photo")
    rig.photo("other.jpg", b"other photo")
    rig.run(Mode.SYNC)
    (tmp_path / "journal.sqlite").unlink()
    rig.phone.drop("old.jpg")
    rig.phone.drop("gone.jpg")
    rig.photo("new.jpg", b"content")

    refusal = NameRefused("no such name") if how == "refused" else OSError(5, "Input/output error")
    rig.source_setup = _unreadable("new.jpg", refusal)
    rig.run(Mode.SYNC)
    assert rig.statuses()["new.jpg"] == how
    assert rig.files()["old.jpg"] == b"content"
    # A name that is refused for ever does not keep others from being tidied up.
    assert ("gone.jpg" in rig.files()) is (how == "failed")
    assert any("stay at there" in text for text in rig.notices) is (how == "failed")
    rig.source_setup = lambda _store: None
    assert rig.run(Mode.SYNC).status == "ok"
    assert rig.files() == {"new.jpg": b"content", "other.jpg": b"other photo"}
    assert sorted(rig.trash().values()) == [b"content", b"deleted photo"]


@pytest.mark.parametrize("how", ["failed", "refused", "verified"])
@pytest.mark.parametrize("size", [SMALL - 20, len(BIG)])
@pytest.mark.parametrize("personality", ["disk", "dropbox"])
def test_sync_keeps_what_it_replaces_until_the_renamed_photo_has_a_copy(
    tmp_path: Path, how: str, size: int, personality: str
) -> None:
    """An editor renamed the photo and gave its old name to the edited one."""
    old, edited = b"o" * size, b"edited" * size
    rig = Rig(tmp_path, personality)
    rig.photo("a.jpg", old)
    rig.photo("b.jpg", b"unconcerned")
    rig.run(Mode.SYNC)
    rig.photo("a.jpg", edited, 2)
    rig.photo("a-original.jpg", old)
    refusal = NameRefused("no such name") if how == "refused" else OSError(5, "Input/output error")
    if how != "verified":
        rig.source_setup = _unreadable("a-original.jpg", refusal)
    rig.run(Mode.SYNC)
    assert rig.statuses()["a-original.jpg"] == how
    assert rig.files()["a.jpg"] == edited
    if how != "verified":
        assert rig.files()["a~run2.jpg"] == old
        assert rig.trash() == {}
        rig.source_setup = lambda _store: None
        assert rig.run(Mode.SYNC).status == "ok"
    assert rig.files() == {"a.jpg": edited, "a-original.jpg": old, "b.jpg": b"unconcerned"}
    assert list(rig.trash().values()) == [old]
    assert rig.run(Mode.SYNC).status == "nothing"


def test_what_is_replaced_and_cannot_wait_under_another_name_goes_to_the_trash_at_once(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.photo("a.jpg", b"old")
    rig.run(Mode.SYNC)
    rig.photo("a.jpg", b"edited", 2)
    rig.photo("a-original.jpg", b"old")
    rig.there.set("a~run2.jpg", b"somebody else's", 5)
    assert rig.run(Mode.SYNC).status == "ok"
    assert rig.files() == {"a.jpg": b"edited", "a-original.jpg": b"old"}
    assert rig.trash()[".photosync/trash/run2/a.jpg"] == b"old"


def _lagging(store: SimStore) -> None:
    """The change feed does not tell the last change yet."""
    real = store.changes

    def changes(cursor: str | None) -> Changes:
        log, store.world.log = store.world.log, store.world.log[:-1]
        try:
            return real(cursor)
        finally:
            store.world.log = log

    store.changes = changes  # type: ignore[method-assign]


def test_sync_keeps_a_copy_that_somebody_renamed_while_the_listing_lags(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "dropbox")
    rig.photo("a.jpg", b"content")
    rig.photo("b.jpg", b"other content")
    rig.run(Mode.SYNC)
    rig.run(Mode.SYNC)
    rig.there.set("a-renamed.jpg", b"content", 1)
    rig.there.drop("a.jpg")
    rig.setup = _lagging
    rig.run(Mode.SYNC)
    assert set(rig.files()) == {"a-renamed.jpg", "b.jpg"}
    assert [text for text in rig.notices if "a-renamed.jpg stays at there" in text]
    rig.setup = lambda _store: None
    rig.run(Mode.SYNC)
    assert rig.files() == {"a.jpg": b"content", "b.jpg": b"other content"}
    assert list(rig.trash().values()) == [b"content"]


def test_what_was_to_be_trashed_and_is_gone_stops_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for name in ("a", "b", "c"):
        rig.photo(name, b"1" + name.encode())
    rig.run(Mode.SYNC)
    rig.photo("a", b"changed", 2)
    rig.phone.drop("b")

    def vanish(event: object) -> None:
        if getattr(event, "name", "") == "transfer":
            rig.there.things.pop("a", None)
            rig.there.things.pop("b", None)

    rig.listener = vanish
    assert rig.run(Mode.SYNC).status == "ok"
    assert rig.files() == {"a": b"changed", "c": b"1c"}


def test_an_object_that_cannot_be_set_aside_fails_alone(tmp_path: Path) -> None:
    def setup(store: SimStore) -> None:
        real = store.move

        def move(path: str, to: str) -> Stored:
            if path == "a":
                raise PermissionError(13, "Permission denied")
            return real(path, to)

        store.move = move  # type: ignore[method-assign]

    rig = Rig(tmp_path)
    for name in ("a", "b"):
        rig.photo(name, b"old" + name.encode())
    rig.run(Mode.SYNC)
    rig.setup = setup
    for name in ("a", "b"):
        rig.photo(name, b"newer" + name.encode(), 2)
    report = rig.run(Mode.SYNC)
    assert rig.statuses() == {"a": "failed", "b": "verified"}
    assert rig.files() == {"a": b"olda", "b": b"newerb"}
    assert report.fatal is None


def test_a_rename_moves_without_sending(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("old", b"content")
    rig.photo("bigold", BIG)
    rig.run()
    for old, new in (("old", "new"), ("bigold", "bignew")):
        thing = rig.phone.things[old]
        rig.phone.drop(old)
        rig.photo(new, thing.data)
    report = rig.run()
    assert rig.files() == {"new": b"content", "bignew": BIG}
    assert report.tally.bytes == 0
    assert rig.run().status == "nothing"


def test_a_renamed_copy_that_is_damaged_is_copied(tmp_path: Path) -> None:
    """And told as that."""
    rig = Rig(tmp_path)
    rig.photo("old", b"content")
    rig.run()
    rig.phone.drop("old")
    rig.photo("new", b"content")

    def setup(there: SimStore) -> None:
        real = there.move

        def move(path: str, to: str) -> Stored:
            if path == "old" and path in rig.there.things:
                rig.there.set("old", b"CONTENT", 1)
            return real(path, to)

        there.move = move  # type: ignore[method-assign]

    rig.setup = setup
    report = rig.run()
    assert rig.files()["new"] == b"content"
    assert (report.tally.adopted, report.count(Status.VERIFIED)) == (0, 1)


def test_a_rename_that_is_none_is_copied_and_the_old_file_stays(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("old", b"content")
    rig.run()
    rig.phone.drop("old")
    rig.photo("new", b"CONTENT")
    rig.run()
    assert rig.files() == {"old": b"content", "new": b"CONTENT"}


def test_a_rename_onto_a_strangers_file_leaves_that_alone(tmp_path: Path) -> None:
    """The old object is gone and somebody else's stands under the new name: it is no answer that was lost."""
    rig = Rig(tmp_path)
    rig.photo("old", b"content")
    rig.run()
    rig.phone.drop("old")
    rig.photo("new", b"content")

    def intrude(event: object) -> None:
        if getattr(event, "name", "") == "transfer":
            del rig.there.things["old"]
            rig.there.set("new", b"strange", 1)

    rig.listener = intrude
    rig.run()
    assert rig.files()["new"] == b"strange"
    assert rig.statuses() == {"new": "conflict"}
    assert rig.quarantine() == {}


# large files


def parts_sent(rig: Rig, fail_at: int | None = None) -> list[int]:
    sent: list[int] = []

    def setup(store: SimStore) -> None:
        real = store.start_upload, store.resume_upload

        def watch(upload: SimUpload) -> SimUpload:
            send = upload.send_part

            def send_part(index: int, data: bytes, sha256: str) -> None:
                if len(sent) == fail_at:
                    raise Permanent("cut")
                send(index, data, sha256)
                sent.append(index)

            upload.send_part = send_part  # type: ignore[method-assign, assignment]
            return upload

        store.start_upload = lambda *args: watch(real[0](*args))  # type: ignore[method-assign]
        store.resume_upload = lambda token: watch(real[1](token))  # type: ignore[method-assign]

    rig.setup = setup
    # One part at a time, so that it is known which one fails.
    rig.can = {"write_concurrency": 1}
    return sent


@pytest.mark.parametrize("personality", ["objects", "feed", "disk"])
def test_a_large_file_gives_its_memory_back(
    tmp_path: Path, personality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off at the destination, unplugged within a part, refused at its end, and all there but for that."""
    budgets = budgets_of(monkeypatch)
    rig = Rig(tmp_path, personality)
    parts_sent(rig, fail_at=3)
    rig.photo("big", BIG)
    rig.run()
    read = SimReader.read

    def refuse(*_args: object) -> object:
        raise Permanent("not now")

    def unplugged(self: SimReader, size: int) -> bytes:
        if self.at > len(BIG) // 2:
            raise DeviceGone("unplugged")
        return read(self, size)

    parts_sent(rig)
    with monkeypatch.context() as patch:
        patch.setattr(SimReader, "read", unplugged)
        rig.run()
    assert rig.statuses() == {"big": "pending"}
    with monkeypatch.context() as patch:
        patch.setattr(SimUpload, "commit", refuse)
        rig.run()
    assert rig.statuses() == {"big": "failed"}
    sent = parts_sent(rig)
    assert rig.run().status == "ok"
    assert not sent
    assert [budget._used for budget in budgets] == [0, 0, 0, 0]


@pytest.mark.parametrize("personality", ["objects", "feed", "disk"])
def test_resuming_sends_only_what_is_missing(tmp_path: Path, personality: str) -> None:
    rig = Rig(tmp_path, personality)
    first = parts_sent(rig, fail_at=3)
    rig.photo("big", BIG)
    rig.run()
    assert rig.statuses() == {"big": "failed"}
    second = parts_sent(rig)
    assert rig.run().status == "ok"
    assert rig.files() == {"big": BIG}
    assert sorted(first + second) == list(range(8))
    assert len(first) == 3


def test_parts_in_order_where_the_store_wants_order(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "feed")
    sent = parts_sent(rig)
    rig.photo("big", BIG)
    rig.run()
    assert sent == list(range(8))


@pytest.mark.parametrize("personality", ["objects", "feed"])
def test_a_changed_source_is_not_stitched(tmp_path: Path, personality: str) -> None:
    rig = Rig(tmp_path, personality)
    parts_sent(rig, fail_at=3)
    rig.photo("big", BIG)
    rig.run()
    other = BIG[::-1]
    rig.photo("big", other, 2)
    sent = parts_sent(rig)
    assert rig.run().status == "ok"
    assert rig.files() == {"big": other}
    assert sorted(sent) == list(range(8))


@pytest.mark.parametrize("personality", ["objects", "feed"])
@pytest.mark.row(13)
def test_other_bytes_of_the_same_size_and_time_are_not_stitched(tmp_path: Path, personality: str) -> None:
    rig = Rig(tmp_path, personality)
    parts_sent(rig, fail_at=3)
    rig.photo("big", BIG)
    rig.run()
    other = BIG[::-1]
    rig.photo("big", other)
    parts_sent(rig)
    assert rig.run().status == "ok"
    assert rig.files() == {"big": other}
    assert rig.quarantine() == {}


def test_a_part_that_may_be_half_there_must_be_what_was_noted(tmp_path: Path) -> None:
    """Where parts go in order, a service may hold the beginning of one whose sending was cut off."""
    rig = Rig(tmp_path, "feed")
    parts_sent(rig, fail_at=3)
    rig.photo("big", BIG)
    rig.run()
    other = bytearray(BIG)
    other[3 * PART + 1] ^= 1
    rig.photo("big", bytes(other))
    sent = parts_sent(rig)
    assert rig.run().status == "ok"
    assert rig.files() == {"big": bytes(other)}
    assert sent == list(range(8))


@pytest.mark.parametrize("personality", ["objects", "feed"])
def test_parts_that_nobody_noted_are_not_believed(tmp_path: Path, personality: str) -> None:
    """As after a power cut that took the journal's last words: the store may hold parts of another file."""
    rig = Rig(tmp_path, personality)
    parts_sent(rig, fail_at=3)
    rig.photo("big", BIG)
    rig.run()
    for _, parts in rig.there.uploads.values():
        for index in parts:
            parts[index] = b"?" * PART
    with rig.journal() as journal:
        journal._write("UPDATE uploads SET parts = ?", (json.dumps({}),))
    sent = parts_sent(rig)
    assert rig.run().status == "ok"
    assert rig.files() == {"big": BIG}
    assert sorted(sent) == list(range(8))
    assert rig.quarantine() == {}


@pytest.mark.row(40)
def test_an_upload_that_the_store_forgot_begins_anew(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "objects")
    parts_sent(rig, fail_at=3)
    rig.photo("big", BIG)
    rig.run()
    rig.there.uploads.clear()
    rig.setup = lambda _store: None
    assert rig.run().status == "ok"
    assert rig.files() == {"big": BIG}


def test_a_source_that_changes_under_the_reader_is_read_anew(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"s" * 50)
    rig.photo("big", BIG)
    rig.run(source_faults=Faults(change=0.05), seed=3)
    rig.run()
    assert rig.files() == {path: thing.data for path, thing in rig.phone.things.items()}


# ends


def test_everything_is_accounted_for_when_the_phone_is_unplugged(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number in range(10):
        rig.photo(f"{number}", bytes([number]) * 30)

    def setup(store: SimStore) -> None:
        real = store.open

        def open_(path: str, offset: int = 0) -> SimReader:
            if path >= "4":
                raise OSError(19, "No such device", path)
            return real(path, offset)

        store.open = open_  # type: ignore[method-assign]

    rig.source_setup = setup
    report = rig.run()
    assert len(rig.outcomes) == 10
    assert {path for path, status in rig.statuses().items() if status == "verified"} == {"0", "1", "2", "3"}
    assert {status for path, status in rig.statuses().items() if path >= "4"} == {"pending"}
    assert isinstance(report.fatal, DeviceGone)
    assert report.exit_code == Exit.FATAL
    assert rig.run().fatal is not None
    rig.source_setup = lambda _store: None
    assert rig.run().status == "ok"


@pytest.mark.parametrize("when", ["stat", "read"])
def test_a_device_that_goes_at_any_point_ends_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def gone(*_args: object) -> object:
        raise OSError(19, "No such device")

    monkeypatch.setattr(SimReader, when, gone)
    rig = Rig(tmp_path)
    rig.photo("a", b"1")
    rig.photo("b", b"2")
    report = rig.run()
    assert isinstance(report.fatal, DeviceGone)
    assert rig.statuses() == {"a": "pending", "b": "pending"}


def test_nothing_is_trashed_after_the_source_is_gone(tmp_path: Path) -> None:
    rig = Rig(tmp_path, source_can={"read_concurrency": 1})
    for name in ("a", "b"):
        rig.photo(name, name.encode())
    rig.run(Mode.SYNC)
    rig.phone.drop("b")
    rig.photo("c", b"new one")
    rig.source_setup = lambda store: setattr(store, "open", gone)

    def gone(*_args: object) -> object:
        raise DeviceGone("unplugged")

    rig.run(Mode.SYNC)
    assert rig.statuses() == {"b": "pending", "c": "pending"}
    assert set(rig.files()) == {"a", "b"}


@pytest.mark.parametrize("where", ["put", "start_upload", "stat"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.row(20)
def test_everything_is_accounted_for_when_the_destination_is_full(
    tmp_path: Path, where: str, seed: int
) -> None:
    """Wherever the store says so, to a sender or to a reader, the run ends at once and says why."""

    def full(*_args: object) -> object:
        raise DestinationFull("the quota is used up")

    rig = Rig(tmp_path)
    for number in range(6):
        rig.photo(f"s{number}", bytes([number]) * 9)
        rig.photo(f"l{number}", bytes([number]) * 300)
    rig.there.set("s0", b"otherotherother"[:9], 1)
    rig.setup = lambda store: setattr(store, where, full)
    report = rig.run(seed=seed)
    assert isinstance(report.fatal, DestinationFull)
    assert report.exit_code == Exit.FATAL
    assert len(rig.outcomes) == 12
    assert Status.FAILED not in {outcome.status for outcome in rig.outcomes.values()}
    rig.setup = lambda _store: None
    assert rig.run().fatal is None


def test_everything_is_accounted_for_after_ctrl_c(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number in range(8):
        rig.photo(f"{number}", bytes([number]) * 30)

    def put(_blobs: object) -> list[Stored | Exception]:
        raise KeyboardInterrupt

    rig.setup = lambda store: setattr(store, "put", put)
    report = rig.run()
    assert report.interrupted
    assert report.exit_code == Exit.OTHER
    assert set(rig.statuses().values()) == {"pending"}
    assert len(rig.outcomes) == 8
    rig.setup = lambda _store: None
    assert rig.run().status == "ok"


@pytest.mark.parametrize("kind", ["Moved", "Finished", "Phase"])
@pytest.mark.parametrize("seed", range(4))
def test_a_listener_that_fails_ends_the_run_and_blames_no_file(tmp_path: Path, kind: str, seed: int) -> None:
    rig = Rig(tmp_path)
    for number in range(6):
        rig.photo(f"{number}", bytes([number]) * 30)

    def listen(event: object) -> None:
        if type(event).__name__ == kind:
            raise BrokenPipeError(32, "Broken pipe")

    rig.listener = listen
    with pytest.raises(BrokenPipeError):
        rig.run(seed=seed)
    assert not any(outcome.error for outcome in rig.outcomes.values())
    rig.listener = lambda _event: None
    assert rig.run().clean
    assert len(rig.files()) == 6


@pytest.mark.parametrize("mtime_ns", [1 << 70, -(1 << 70)])
def test_a_time_beyond_what_the_journal_holds_is_no_obstacle(tmp_path: Path, mtime_ns: int) -> None:
    rig = Rig(tmp_path)
    rig.photo("broken date", b"1", mtime_ns)
    rig.photo("another", b"2")
    assert rig.run().clean
    assert rig.run().clean
    assert {outcome.status for outcome in rig.outcomes.values()} <= {Status.UNCHANGED}


def test_bandwidth_is_kept(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number in range(4):
        rig.photo(f"{number}", bytes([number]) * 64)
    rig.photo("big", BIG)
    rig.run(bandwidth="32B")
    assert rig.scheduler.now - 1000.0 == pytest.approx((4 * 64 + 512) / 32, rel=0.35)


def test_bandwidth_is_kept_from_the_first_moment_on(tmp_path: Path) -> None:
    sent: list[tuple[float, int]] = []

    def watch(store: SimStore) -> None:
        put = store.put

        def noted(blobs: Sequence[Blob]) -> list[Stored | Exception]:
            photos = sum(len(blob.data) for blob in blobs if not is_ours(blob.path))
            sent.append((rig.scheduler.now - 1000.0, photos))
            return put(blobs)

        store.put = noted  # type: ignore[method-assign]

    rig = Rig(tmp_path, setup=watch, can={"batch": Batch(count=1000, bytes=4096)})
    for number in range(40):
        rig.photo(f"{number}", bytes([number]) * 8)
    assert rig.run(bandwidth="32B").clean
    for moment, _ in sent:
        by_then = sum(size for at, size in sent if at <= moment)
        assert by_then <= 32 * (moment + 2.0) + 8
    assert sum(size for _, size in sent) == 40 * 8
    assert len(sent) < 40


def test_a_name_that_was_taken_a_moment_ago_is_worth_another_run(tmp_path: Path) -> None:
    def put(blobs: Sequence[Blob]) -> list[Stored | Exception]:
        return [AlreadyExists(f"{blob.path} is taken") for blob in blobs]

    rig = Rig(tmp_path, setup=lambda store: setattr(store, "put", put))
    rig.photo("a", b"1")
    report = rig.run()
    assert "gone now" in str(rig.outcomes["a"].error)
    assert report.exit_code == Exit.RETRY


@pytest.mark.parametrize("silent", [True, False])
def test_a_place_that_answers_nothing_any_more_ends_the_run(tmp_path: Path, silent: bool) -> None:
    def gone(*_args: object) -> NoReturn:
        raise Transient("the network is cut")

    def setup(store: SimStore) -> None:
        store.put = gone  # type: ignore[method-assign]
        if silent:
            store.stat = gone  # type: ignore[method-assign]

    rig = Rig(tmp_path, "objects", setup=setup)
    for number in range(40):
        rig.photo(f"{number}.jpg", b"x")
    report = rig.run()
    assert report.exit_code == Exit.RETRY
    if silent:
        assert "does not answer any more" in str(report.fatal)
        assert report.count(Status.PENDING) > 30
    else:
        assert report.fatal is None
        assert report.count(Status.FAILED) == 40


@pytest.mark.parametrize("size", [20, 2000], ids=["small", "large"])
@pytest.mark.parametrize("personality", ["disk", "objects"])
def test_a_name_that_shows_a_content_which_is_not_there(tmp_path: Path, personality: str, size: int) -> None:
    """A copy kept beside another was damaged or edited since. It stays, and the file gets a further name."""
    rig = Rig(tmp_path, personality)
    mine = b"m" * size
    content = blake3(mine).hexdigest()
    first, second = (beside("a.jpg", content, POSIX, digits) for digits in (DIGITS, MORE_DIGITS))
    others = {"a.jpg": b"t" * size, first: b"e" * size}
    for path, data in others.items():
        rig.there.set(path, data, 1)
    rig.photo("a.jpg", mine)
    rig.run()
    assert rig.statuses() == {"a.jpg": "conflict"}
    assert rig.files() == {**others, second: mine}
    assert rig.run().status == "nothing"
    rig.there.set(second, b"too" * size, 1)
    rig.run()
    assert rig.statuses() == {"a.jpg": "failed"}
    assert "rename that file" in str(rig.outcomes["a.jpg"].error)
    assert rig.files() == {**others, second: b"too" * size}
