"""Bringing the manifest up to date: after crashes, beside other machines, against rollback."""

from itertools import pairwise
from pathlib import Path

import pytest

from photosync.engine import manifest, record
from photosync.engine.errors import Transient
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.names import WINDOWS
from photosync.engine.plan import Mode
from photosync.engine.report import Exit
from photosync.engine.retry import RetryPolicy
from photosync.engine.snapshots import Snapshots
from photosync.engine.target import Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Workers
from tests.engine.rig import Rig
from tests.sim.scheduler import Crashed, Scheduler
from tests.sim.store import Faults, SimStore


def told(rig: Rig) -> dict[str, int]:
    """Paths and sizes in the newest manifest, read afresh from the destination."""
    found: dict[str, int] = {}

    def body() -> None:
        scheduler = Scheduler(0)

        def inside() -> None:
            with Workers(scheduler) as workers:
                store = SimStore(rig.there, scheduler, Faults())
                target = Target(store, workers, Gate(workers), RetryPolicy(), Verify.AUTO)
                cache = Journal(None, scheduler)
                snapshots = Snapshots(record.TargetFiles(target), cache)
                head = snapshots.head()
                assert head is not None
                snapshots.load(head)
                found.update({e.path: e.size for e in manifest.entries(head.root, cache)})

        scheduler.run(inside)

    body()
    return found


def test_equal_libraries_have_equal_roots_whatever_the_destination(tmp_path: Path) -> None:
    roots = set()
    for number, personality in enumerate(["disk", "objects", "feed"]):
        rig = Rig(tmp_path / personality, personality, can={"names": WINDOWS} if number == 1 else {})
        rig.folder.mkdir()
        for name in ("a:b.jpg", "d/é.jpg", "CON", "plain"):
            rig.photo(name, name.encode() * 20)
        report = rig.run(seed=number)
        assert report.status == "ok"
        assert set(told(rig)) == {"a:b.jpg", "d/é.jpg", "CON", "plain"}
        roots.add(report.root)
    assert len(roots) == 1


@pytest.mark.parametrize("crash_at", range(20, 160, 10))
def test_what_a_crash_left_out_is_caught_up(tmp_path: Path, crash_at: int) -> None:
    rig = Rig(tmp_path)
    for number in range(5):
        rig.photo(f"{number}", bytes([number]) * 30)
    try:
        rig.run(crash_at=crash_at)
    except Crashed:
        pass
    rig.run()
    assert told(rig) == {f"{number}": 30 for number in range(5)}
    assert rig.run().status == "nothing"


def test_a_run_with_nothing_to_do_writes_no_snapshot(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"1")
    first = rig.run()
    second = rig.run()
    assert (first.snapshot, second.snapshot) == (1, 1)
    assert "replace_small" not in second.requests


def two_machines(folder: Path) -> tuple[Rig, Rig]:
    one, two = Rig(folder / "one"), Rig(folder / "two")
    for rig in (one, two):
        rig.folder.mkdir()
    two.there = one.there
    return one, two


@pytest.mark.row(58)
def test_two_machines_share_one_manifest(tmp_path: Path) -> None:
    one, two = two_machines(tmp_path)
    one.photo("a", b"1")
    two.photo("b", b"22")
    assert one.run().snapshot == 1
    assert two.run().snapshot == 2
    one.photo("c", b"333")
    assert one.run().snapshot == 3
    assert told(one) == {"a": 1, "b": 2, "c": 3}


def test_a_snapshot_written_in_between_is_merged(tmp_path: Path) -> None:
    one, two = two_machines(tmp_path)
    two.photo("b", b"22")
    interrupted: list[int] = []

    def setup(store: SimStore) -> None:
        real = store.replace_small

        def replace_small(path: str, data: bytes, replaces: str | None) -> str | None:
            if path.endswith("HEAD") and not interrupted:
                interrupted.append(1)
                assert two.run().snapshot == 1
            return real(path, data, replaces)

        store.replace_small = replace_small  # type: ignore[method-assign]

    one.setup = setup
    one.photo("a", b"1")
    report = one.run()
    assert report.clean
    assert report.snapshot == 2
    assert told(one) == {"a": 1, "b": 2}


def test_whoever_comes_second_waits_longer_each_time(tmp_path: Path) -> None:
    """Many machines that end at the same moment would only lose to each other again."""
    one, two = two_machines(tmp_path)
    tried: list[float] = []

    def setup(store: SimStore) -> None:
        real = store.replace_small

        def replace_small(path: str, data: bytes, replaces: str | None) -> str | None:
            if path.endswith("HEAD"):
                tried.append(store.scheduler.now)
                if len(tried) < record.TRIES:
                    two.photo(f"b{len(tried)}", b"22")
                    assert two.run().clean
            return real(path, data, replaces)

        store.replace_small = replace_small  # type: ignore[method-assign]

    one.setup = setup
    one.photo("a", b"1")
    assert one.run().clean
    assert set(told(one)) == {"a", "b1", "b2", "b3", "b4"}
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    # The rig begins with 0.1 s.
    assert all(0.05 * 2**number <= pause < 0.1 * 2**number for number, pause in enumerate(pauses)), pauses


def test_two_machines_copy_the_same_phone(tmp_path: Path) -> None:
    """Each proves for itself what the other has stored; nothing is stored twice."""
    one, two = two_machines(tmp_path)
    two.phone = one.phone
    one.photo("a", b"1")
    assert one.run().clean
    report = two.run()
    assert report.clean
    assert two.statuses() == {"a": "verified"}
    assert report.tally.bytes == 0
    assert told(one) == {"a": 1}
    assert list(one.files()) == ["a"]


@pytest.mark.row(58)
def test_a_claim_of_another_machine_is_not_believed(tmp_path: Path) -> None:
    """The manifest says that a photo is there; the bytes that are there are other ones."""
    one, two = two_machines(tmp_path)
    two.phone = one.phone
    one.photo("a", b"12")
    assert one.run().clean
    one.there.set("a", b"21", 1)
    report = two.run()
    assert two.statuses() == {"a": "conflict"}
    assert set(one.files().values()) == {b"12", b"21"}
    assert report.exit_code == Exit.OTHER


def test_taking_a_name_away_leaves_what_another_machine_put_there(tmp_path: Path) -> None:
    one, two = two_machines(tmp_path)
    one.photo("a", b"1" * 20)
    assert one.run().clean
    one.phone.drop("a")
    one.photo("renamed", b"1" * 20)
    two.photo("a", b"2" * 30)
    interrupted: list[int] = []

    def setup(store: SimStore) -> None:
        real = store.replace_small

        def replace_small(path: str, data: bytes, replaces: str | None) -> str | None:
            if path.endswith("HEAD") and not interrupted:
                interrupted.append(1)
                assert two.run().clean
            return real(path, data, replaces)

        store.replace_small = replace_small  # type: ignore[method-assign]

    one.setup = setup
    assert one.run().clean
    assert one.statuses() == {"renamed": "verified"}
    assert told(one) == {"a": 30, "renamed": 20}


@pytest.mark.row(63)
def test_rollback_is_refused_and_reported(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"1")
    rig.run()
    old = rig.there.things[".photosync/HEAD"]
    rig.photo("b", b"2")
    rig.run()
    rig.there.set(".photosync/HEAD", old.data, None)
    rig.photo("c", b"3")
    report = rig.run()
    assert rig.statuses() == {"c": "verified"}
    assert "had snapshot 2 and now is at 1" in str(report.manifest_error)
    assert (report.exit_code, report.status) == (Exit.OTHER, "partial")
    assert rig.there.things[".photosync/HEAD"].data == old.data


@pytest.mark.row(62)
def test_a_forged_manifest_is_left_as_it_is(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"1")
    rig.run()
    rig.there.set(".photosync/HEAD", b'{"format": 1}', None)
    rig.photo("b", b"2")
    report = rig.run()
    assert report.manifest_error is not None
    assert rig.there.things[".photosync/HEAD"].data == b'{"format": 1}'


def test_a_snapshot_that_cannot_be_written_today_is_written_tomorrow(tmp_path: Path) -> None:
    def busy(*_args: object) -> str | None:
        raise Transient("503")

    rig = Rig(tmp_path, setup=lambda store: setattr(store, "replace_small", busy))
    rig.photo("a", b"1")
    report = rig.run()
    assert rig.statuses() == {"a": "verified"}
    assert report.fatal is None
    assert report.exit_code == Exit.RETRY
    rig.setup = lambda _store: None
    assert rig.run().snapshot == 1
    assert told(rig) == {"a": 1}


@pytest.mark.parametrize("name", ["plain", "n" * 300])
def test_what_was_trashed_or_renamed_leaves_the_manifest(tmp_path: Path, name: str) -> None:
    """Also where the destination had to shorten the name, which only the manifest can undo."""
    rig = Rig(tmp_path)
    for number in (1, 2, 3):
        rig.photo(f"{name}{number}", bytes([number]) * number)
    rig.run(Mode.SYNC)
    assert set(told(rig)) == {f"{name}{number}" for number in (1, 2, 3)}
    rig.phone.drop(f"{name}1")
    rig.phone.drop(f"{name}2")
    rig.photo("renamed", b"\2\2")
    rig.run(Mode.SYNC)
    assert told(rig) == {f"{name}3": 3, "renamed": 2}


@pytest.mark.parametrize("length", [250, 300])
def test_versions_of_a_photo_with_a_long_name_are_all_listed(tmp_path: Path, length: int) -> None:
    """Their names at the destination are shortened, and stand for one path at the source."""
    rig = Rig(tmp_path)
    name = "x" * length + ".jpg"
    for number in (1, 2, 3):
        rig.photo(name, b"x" * number, number)
        rig.run()
        assert sorted(told(rig).values()) == list(range(1, number + 1))
    assert name in told(rig)
    with rig.journal() as journal:
        journal.forget_head("there")
    before = told(rig)
    rig.photo("new", b"four", 4)
    rig.run()
    assert told(rig) == before | {"new": 4}
