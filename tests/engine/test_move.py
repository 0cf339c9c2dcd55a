"""``move`` removes at the source what is proven at the destination, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from photosync.engine import move, removal, sync
from photosync.engine.capabilities import Reader
from photosync.engine.entry import Entry
from photosync.engine.errors import Permanent, SafetyGuard
from photosync.engine.item import Pair, Settings
from photosync.engine.journal import Journal
from photosync.engine.plan import Mode, Policy
from photosync.engine.removal import Fate
from photosync.engine.report import Exit, Report
from photosync.engine.sync import Job
from photosync.engine.verify import Verify
from tests.engine import media_files as make
from tests.sim.scheduler import Scheduler
from tests.sim.store import Faults, SimStore, World

PHOTOS = {"a": b"one", "b": b"two", "c": b"three"}


class Killed(BaseException):
    """The process ends here."""


class Moving:
    """A disk, a destination and a journal over several runs."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there = World("disk"), World("disk")
        self.journal_path = folder / "journal.sqlite"
        self.runs = 0
        for path, data in PHOTOS.items():
            self.here.set(path, data, 1)

    def run(
        self,
        setup: Callable[[SimStore], None] = lambda _store: None,
        how: Verify = Verify.AUTO,
        mode: Mode | None = None,
    ) -> Report:
        self.runs += 1
        scheduler = Scheduler(0)
        source, destination = (SimStore(world, scheduler, Faults()) for world in (self.here, self.there))
        setup(source)
        reports: list[Report] = []

        def body() -> None:
            stamp = f"run{self.runs}"
            pair = Pair(source, destination, "here", "there", "there")
            job = Job(pair, Policy(mode or Mode.COPY, stamp=stamp), Settings(how=how, stamp=stamp))
            with Journal(self.journal_path, scheduler) as journal:
                run = move.run if mode is None else sync.run
                reports.append(run(job, journal, scheduler, lambda _event: None))

        scheduler.run(body)
        return reports[0]

    def left(self) -> dict[str, bytes]:
        return self.here.visible()

    def arrived(self) -> dict[str, bytes]:
        return self.there.visible()


@pytest.fixture
def moving(tmp_path: Path) -> Moving:
    return Moving(tmp_path)


def test_all_that_is_proven_goes(moving: Moving) -> None:
    report = moving.run()
    assert report.exit_code is Exit.OK
    assert {each.fate for each in report.removals} == {Fate.REMOVED}
    assert moving.left() == {}
    assert moving.arrived() == PHOTOS
    assert moving.run().status == "nothing"


def test_what_changes_before_it_is_removed_stays(moving: Moving) -> None:
    def edit_late(store: SimStore) -> None:
        real = store.stat

        def stat(path: str) -> Entry:
            if path == "b":
                moving.here.set("b", b"edited", 2)
            return real(path)

        store.stat = stat  # type: ignore[method-assign]

    report = moving.run(edit_late)
    assert report.exit_code is Exit.OTHER
    assert [(each.path, each.fate) for each in report.left] == [("b", Fate.KEPT)]
    assert moving.left() == {"b": b"edited"}
    assert moving.arrived() == PHOTOS
    report = moving.run()
    assert moving.left() == {}
    assert {b"two", b"edited"} <= set(moving.arrived().values())


def test_a_process_that_is_killed_while_it_removes(moving: Moving) -> None:
    def die(store: SimStore) -> None:
        real = store.delete

        def delete(path: str) -> None:
            real(path)
            raise Killed

        store.delete = delete  # type: ignore[method-assign]

    with pytest.raises(BaseException):  # noqa: B017 - alone, or in a group with its like
        moving.run(die)
    left = moving.left()
    assert 0 < len(left) < len(PHOTOS)
    assert moving.arrived() == PHOTOS
    report = moving.run()
    assert {each.path for each in report.removals} == set(left)
    assert moving.left() == {}
    assert moving.arrived() == PHOTOS


def test_what_cannot_be_removed_is_told(moving: Moving) -> None:
    def refuse(store: SimStore) -> None:
        def delete(path: str) -> None:
            raise Permanent(f"{path} may not be removed")

        store.delete = delete  # type: ignore[method-assign]

    report = moving.run(refuse)
    assert report.exit_code is Exit.NO_RETRY
    assert report.status == "partial"
    assert moving.left() == moving.arrived() == PHOTOS


def test_what_is_not_proven_stays(moving: Moving) -> None:
    report = moving.run(how=Verify.NONE)
    assert not report.removals
    assert moving.left() == PHOTOS


def test_one_place_by_two_ways(moving: Moving) -> None:
    """What is proven at the destination would be the very file that is removed."""
    moving.there = moving.here
    report = moving.run()
    assert isinstance(report.fatal, SafetyGuard)
    assert report.exit_code is Exit.FATAL
    assert moving.left() == PHOTOS


def test_a_file_of_a_name_that_was_moved_before_is_another(moving: Moving) -> None:
    """Nor is a new file with moved bytes taken for the moved one, renamed."""
    moving.run()
    moving.here.set("a", b"other", 2)
    moving.here.set("d", b"two", 2)
    moving.run()
    arrived = moving.arrived()
    assert {path: arrived[path] for path in PHOTOS} == PHOTOS
    assert arrived["d"] == b"two"
    assert b"other" in arrived.values()
    assert moving.left() == {}


def test_a_sync_does_not_miss_what_was_moved(moving: Moving) -> None:
    moving.run()
    for path, data in {"a": b"one", "b": b"other", "d": b"four"}.items():
        moving.here.set(path, data, 2)
    for _ in range(2):
        assert moving.run(mode=Mode.SYNC).fatal is None
        arrived = moving.arrived()
        assert arrived.items() >= (PHOTOS | {"d": b"four"}).items()
        assert sorted(arrived.values()) == [b"four", b"one", b"other", b"three", b"two"]


def test_a_sync_without_the_state_does_not_either(moving: Moving) -> None:
    moving.run()
    moving.journal_path = moving.journal_path.with_name("another machine's")
    moving.here.set("d", b"four", 2)
    moving.there.set("extra", b"nobody's", 2)
    assert moving.run(mode=Mode.SYNC).fatal is None
    assert moving.arrived() == PHOTOS | {"d": b"four"}


def test_nothing_is_removed_if_the_destination_cannot_be_told(moving: Moving) -> None:
    moving.there.set(".photosync/FREED", b"{}", 2)
    assert moving.run().exit_code is not Exit.OK
    assert moving.left() == PHOTOS


def test_a_place_that_was_emptied_may_not_be_mounted(moving: Moving) -> None:
    """What would be copied to the folder below the mount point is no reason to remove it here."""
    moving.run()
    moving.there.things.clear()
    moving.here.set("d", b"four", 2)
    report = moving.run()
    assert isinstance(report.fatal, SafetyGuard)
    assert moving.left() == {"d": b"four"}
    assert moving.arrived() == {}


def test_what_looks_damaged_stays(moving: Moving) -> None:
    moving.here.set("cut.jpg", make.jpeg()[:-2], 1)
    report = moving.run()
    assert moving.left().keys() == {"cut.jpg"}
    assert [(each.path, each.fate) for each in report.left] == [("cut.jpg", Fate.KEPT)]
    assert "looks damaged" in str(report.left[0].error)
    assert report.exit_code is Exit.OTHER
    moving.run()
    assert moving.left().keys() == {"cut.jpg"}


LIVE = {"IMG_1.HEIC": make.heic(make.exif(pair="1")), "IMG_1.MOV": make.movie("1"), "IMG_1.AAE": b"<plist/>"}


@pytest.mark.parametrize("which", LIVE)
def test_the_files_of_a_photo_stay_together(moving: Moving, which: str) -> None:
    """A half whose other half could not be copied is not half a Live Photo the less."""
    for path, data in LIVE.items():
        moving.here.set(path, data, 1)

    def unreadable(store: SimStore) -> None:
        real = store.open

        def open_(path: str, offset: int = 0) -> Reader:
            if path == which:
                raise Permanent(f"{path} cannot be read")
            return real(path, offset)

        store.open = open_  # type: ignore[method-assign]

    report = moving.run(unreadable)
    assert moving.left() == LIVE
    assert {each.path for each in report.left} == LIVE.keys() - {which}
    moving.run()
    assert moving.left() == {}
    assert moving.arrived() == PHOTOS | LIVE


@pytest.mark.parametrize("which", LIVE)
def test_a_file_that_changes_late_keeps_the_whole_photo(moving: Moving, which: str) -> None:
    for path, data in LIVE.items():
        moving.here.set(path, data, 1)

    def edit_late(store: SimStore) -> None:
        real = store.stat

        def stat(path: str) -> Entry:
            if path == which:
                moving.here.set(which, LIVE[which], 2)
            return real(path)

        store.stat = stat  # type: ignore[method-assign]

    report = moving.run(edit_late)
    assert moving.left().keys() == LIVE.keys()
    assert {each.path for each in report.left} == LIVE.keys()
    moving.run()
    assert moving.left() == {}


def test_the_fates_are_words_for_scripts() -> None:
    assert [str(fate) for fate in removal.Fate] == ["removed", "trashed", "renamed", "kept", "failed"]
