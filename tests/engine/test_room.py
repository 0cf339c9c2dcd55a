"""What does not fit is told before anything is written."""

from pathlib import Path

import pytest

from photosync.engine.actions import Copy, Plan, Refuse
from photosync.engine.events import Status
from photosync.engine.report import Exit
from photosync.engine.room import fit
from tests.engine.rig import Rig, entry
from tests.sim.scheduler import Scheduler
from tests.sim.store import Faults, SimStore, World


def small_disk(rig: Rig, free: int | None) -> None:
    """Has the destination of coming runs tell so many free bytes."""

    def setup(store: SimStore) -> None:
        store.room = lambda: free  # type: ignore[attr-defined]

    rig.setup = setup


@pytest.mark.row(15, 20)
def test_a_file_larger_than_the_room_is_not_begun(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    small_disk(rig, 50_000)
    rig.photo("small.jpg", b"a" * 1000)
    rig.photo("film.mp4", b"f" * 50_001)
    report = rig.run()
    assert report.exit_code is Exit.NO_RETRY
    assert rig.outcomes["small.jpg"].status is Status.VERIFIED
    film = rig.outcomes["film.mp4"]
    assert film.status is Status.REFUSED
    assert (
        film.error
        == "needs 48.8 KiB, and 48.8 KiB are free at the destination. Free some space, then run again."
    )
    assert "start_upload" not in report.requests
    assert not report.warnings
    small_disk(rig, 50_001)
    assert rig.run().clean


@pytest.mark.row(15, 20)
def test_files_that_are_too_many_together_are_told_and_copied(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    small_disk(rig, 1999)
    rig.photo("one.jpg", b"1" * 1000)
    rig.photo("two.jpg", b"2" * 1000)
    report = rig.run()
    assert report.clean
    [text] = report.warnings
    assert rig.notices == [text]
    assert "2 files need 2.0 KiB, and 2.0 KiB are free" in text
    assert not rig.run().warnings


@pytest.mark.parametrize("free", [2000, None])
@pytest.mark.row(15)
def test_nothing_is_told_of_enough_room_or_unknown_room(tmp_path: Path, free: int | None) -> None:
    rig = Rig(tmp_path)
    small_disk(rig, free)
    rig.photo("one.jpg", b"1" * 1000)
    rig.photo("two.jpg", b"2" * 1000)
    report = rig.run()
    assert report.clean
    assert not report.warnings


@pytest.mark.row(15)
def test_a_file_that_is_half_there_needs_less() -> None:
    store = SimStore(World("disk"), Scheduler(0), Faults())
    store.room = lambda: 30_000  # type: ignore[attr-defined]
    film = Copy(entry("film.mp4", 50_000), "film.mp4", "new")
    planned = Plan([film], 0)
    assert fit(planned, store, lambda _entry: True) == (planned, None)
    [refused] = fit(planned, store, lambda _entry: False)[0].actions
    assert isinstance(refused, Refuse)


@pytest.mark.row(33)
def test_a_file_larger_than_the_file_system_takes(tmp_path: Path) -> None:
    rig = Rig(tmp_path, can={"largest": 49_999})
    rig.photo("film.mp4", b"f" * 50_000)
    rig.photo("short.mp4", b"f" * 49_999)
    report = rig.run()
    assert report.exit_code is Exit.NO_RETRY
    assert rig.outcomes["film.mp4"].status is Status.REFUSED
    assert "takes files of at most 49,999." in (rig.outcomes["film.mp4"].error or "")
    assert rig.outcomes["short.mp4"].status is Status.VERIFIED
