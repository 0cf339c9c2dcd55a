"""Several destinations from one reading, under seeds: each keeps every promise, whatever the others do."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from photosync.engine.events import Status
from photosync.engine.stage import Stage
from photosync.engine.stage_files import StageFiles
from photosync.engine.stage_view import StageReader, StageView
from photosync.engine.staged import File, State
from tests.sim.fleet import Fleet
from tests.sim.life import CALM, storm
from tests.sim.phone import KINDS_OF_CHANGE
from tests.sim.scheduler import Crashed
from tests.sim.store import Faults

LIMITS = (10**9, 1000, 300, 40)


def live(seed: int, folder: Path) -> Fleet:
    """Runs under faults, kills and rot, with and without the phone, then calm ones until it is at rest."""
    dice = random.Random(f"mirror {seed}")
    kinds = ("ext4" if seed % 3 == 0 else "disk", "objects", "feed")
    fleet = Fleet(seed, folder, kinds, serves=seed % 2 == 1)
    for number in range(dice.randint(1, 3)):
        source, _ = storm(dice)
        faults = tuple(storm(dice)[1] for _ in fleet.models)
        for model, each in zip(fleet.models, faults, strict=True):
            model.damaged = model.damaged or each.damage > 0
        report = fleet.execute(
            source,
            faults,
            limit=dice.choice(LIMITS),
            crash_at=dice.randrange(5, 1200) if dice.random() < 0.4 else None,
            power=dice.random() < 0.5,
            plugged=number == 0 or dice.random() < 0.7,
            unplug_early=dice.random() < 0.5,
            seconds=tuple(dice.choice((0.0, 0.0, 5.0)) for _ in fleet.models),
        )
        assert report is None or report.clean is (report.exit_code == 0)
        fleet.phone.attached = True
        for model in fleet.models:
            model.check_whole()
            model.check_kept()
        if dice.random() < 0.4:
            fleet.rot()
        if dice.random() < 0.4:
            fleet.owner.change(dice.choice(KINDS_OF_CHANGE), dice)
    for calm in range(6):
        report = fleet.execute(limit=dice.choice(LIMITS))
        assert report is not None
        assert all(part.fatal is None for part in report.reports), [part.fatal for part in report.reports]
        if report.status == "nothing":
            break
        assert calm < 5, "the world does not come to rest"
    assert report is not None
    assert report.source_bytes == 0, "a run with nothing to do read the source"
    for model in fleet.models:
        model.check_complete()
        model.check_no_duplicates()
        model.check_kept()
    return fleet


def test_promises_hold_at_every_destination(tmp_path: Path, sim_seed: int) -> None:
    live(sim_seed, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_same_seed_same_trace(tmp_path: Path, seed: int) -> None:
    traces = []
    for attempt in ("a", "b"):
        folder = tmp_path / attempt
        folder.mkdir()
        traces.append(live(seed, folder).traces)
    assert traces[0] == traces[1]


def size(fleet: Fleet) -> int:
    return sum(len(thing.data) for thing in fleet.phone.things.values())


@pytest.mark.parametrize("serves", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_source_is_read_once(tmp_path: Path, seed: int, serves: bool) -> None:
    """Also for what is new next time, wherever it is missing; not for what a disk has."""
    fleet = Fleet(seed, tmp_path, serves=serves)
    report = fleet.execute()
    assert report is not None
    assert report.clean
    assert (report.source_bytes, report.read_again) == (size(fleet), 0)
    missing = set()
    for number, model in enumerate(fleet.models):
        for path in sorted(model.there.visible())[number::4]:
            model.there.drop(path)
            if number == 0 or not serves:
                missing.add(path)
    report = fleet.execute()
    assert report is not None
    assert report.clean
    assert report.source_bytes == sum(len(fleet.phone.things[path].data) for path in missing)
    assert not list((tmp_path / "stage").glob("files/*")), "nothing stays staged when all is delivered"


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("seed", range(6))
def test_a_slow_destination_holds_back_none(tmp_path: Path, seed: int, limit: int) -> None:
    fleet = Fleet(seed, tmp_path)
    alone = Fleet(seed, tmp_path / "alone", ("disk", "objects"))
    alone.folder.mkdir()
    before = alone.execute(limit=limit)
    report = fleet.execute(limit=limit, seconds=(0.0, 0.0, 1000.0))
    assert report is not None
    assert before is not None
    assert report.clean
    fast = [part.seconds for part in report.reports[:2]]
    assert max(fast) < report.reports[2].seconds / 3
    assert max(fast) <= before.seconds + 10, "the fast ones took as long as without the slow one"


@pytest.mark.parametrize("seed", range(6))
def test_a_destination_that_fails_concerns_no_other(tmp_path: Path, seed: int) -> None:
    fleet = Fleet(seed, tmp_path)
    report = fleet.execute(faults=(CALM[1], Faults(before=1.0), CALM[1]), limit=300)
    assert report is not None
    assert [part.clean for part in report.reports] == [True, False, True]
    assert report.status == "partial"
    assert report.exit_code != 0
    report = fleet.execute()
    assert report is not None
    assert report.clean


@pytest.mark.parametrize("seed", range(8))
def test_unplugged_early_and_killed(tmp_path: Path, seed: int) -> None:
    """Once the phone may be unplugged, it is not needed any more: not in this run, nor in the next."""
    fleet = Fleet(seed, tmp_path)
    down = replace(CALM[1], before=1.0)
    report = fleet.execute(faults=(CALM[1], down, CALM[1]), unplug_early=True, seconds=(0.0, 0.0, 50.0))
    assert report is not None
    fleet.phone.attached = False
    report = fleet.execute(plugged=False)
    assert report is not None
    assert report.clean, [part.fatal for part in report.reports]
    assert report.source_bytes == 0


@pytest.mark.parametrize("seed", range(4))
def test_rot_on_the_disk_that_serves_is_not_spread(tmp_path: Path, seed: int) -> None:
    """It looks as it did; that it is another one shows while it is read, and then the source is read."""
    fleet = Fleet(seed, tmp_path, ("disk", "objects"), serves=True)
    fleet.execute()
    disk, other = fleet.models
    path = max(disk.there.visible(), key=lambda name: len(disk.there.things[name].data))
    other.there.drop(path)
    whole = disk.there.things[path]
    disk.there.things[path] = replace(whole, data=bytes([whole.data[0] ^ 1]) + whole.data[1:])
    disk.check_complete = lambda _still=True: None  # type: ignore[method-assign,misc]
    report = fleet.execute()
    assert report is not None
    assert report.reports[1].clean
    assert other.there.things[path].data == whole.data
    assert report.source_bytes == len(whole.data)


@pytest.mark.row(25)
@pytest.mark.parametrize("seed", range(12))
def test_unplugged_early_and_the_power_fails(tmp_path: Path, seed: int) -> None:
    """The phone may be unplugged, and then everything stops: what is staged is enough all the same."""
    unplugged_then_dark(tmp_path, seed)


def unplugged_then_dark(folder: Path, seed: int) -> None:
    (folder / "rehearsal").mkdir()
    rehearsal = Fleet(seed, folder / "rehearsal", ("objects", "feed"))
    rehearsal.execute(unplug_early=True, seconds=(50.0, 50.0))
    fleet = Fleet(seed, folder, ("objects", "feed"))
    later = random.Random(seed).randint(1, min(60, rehearsal.effects_left))
    report = fleet.execute(unplug_early=True, seconds=(50.0, 50.0), power=True, dark_after=later)
    assert report is None
    assert fleet.may_unplug
    fleet.phone.attached = False
    fleet.execute(plugged=False)
    for model in fleet.models:
        # A destination that has a file may have lost the note of it, and then asks for the phone to be sure.
        model.check_complete()
    fleet.phone.attached = True
    report = fleet.execute()
    assert report is not None
    assert report.clean


@pytest.mark.parametrize("seed", range(8))
def test_rot_on_the_stage_is_not_spread(tmp_path: Path, seed: int) -> None:
    fleet = Fleet(seed, tmp_path, ("disk", "objects"))
    fleet.execute(faults=(Faults(before=1.0), CALM[1]))
    fleet.rot()
    report = fleet.execute(plugged=False)
    assert report is not None
    for model in fleet.models:
        model.check_whole()
    assert report.clean is not any(part.count(Status.PENDING) for part in report.reports)
    report = fleet.execute()
    assert report is not None
    assert report.clean


def freed_early(patch: pytest.MonkeyPatch) -> None:
    """A staged copy goes as soon as one destination has it."""
    real = Stage._release

    def release(self: Stage, file: File, view: StageView) -> None:
        real(self, file, view)
        if file.copy is not None and file.copy.state is State.STAGED:
            self._drop(file)

    patch.setattr(Stage, "_release", release)


def laggard_lost(patch: pytest.MonkeyPatch) -> None:
    """Who loses a copy to a faster destination is forgotten."""

    def drop(self: Stage, file: File) -> None:
        if file.copy is not None:
            file.copy.revoked = True
            self._drop_pieces(file.copy)
        file.copy = None
        file.claims.clear()

    def request(self: Stage, file: File, view: StageView) -> None:
        file.claims[view] = True

    patch.setattr(Stage, "_drop", drop)
    patch.setattr(Stage, "request", request)


def laggard_waited_for(patch: pytest.MonkeyPatch) -> None:
    """A full stage waits for the slowest."""
    patch.setattr(Stage, "_make_room", lambda *_args: False)
    patch.setattr(Stage, "_shake_off", lambda *_args: False)


def rot_believed(patch: pytest.MonkeyPatch) -> None:
    """What lies on the stage is not compared with what was read at the source."""
    real = StageReader.read

    def read(self: StageReader, size: int, /) -> bytes:
        if self._copy is not None and self._copy.content is not None:
            self._copy.content = self._hasher.hexdigest()
        return real(self, size)

    patch.setattr(StageReader, "read", read)


def stage_not_synced(patch: pytest.MonkeyPatch) -> None:
    """The phone may be unplugged before what is staged would survive a power cut."""
    patch.setattr(StageFiles, "make_durable", lambda _self: None)


@pytest.mark.parametrize(
    "plant", [stage_not_synced, freed_early, laggard_lost, laggard_waited_for, rot_believed]
)
def test_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    trials = (
        lambda seed, folder: live(seed, folder),
        lambda seed, folder: test_the_source_is_read_once(folder, seed, serves=False),
        lambda seed, folder: test_a_slow_destination_holds_back_none(folder, seed, 300),
        lambda seed, folder: test_rot_on_the_stage_is_not_spread(folder, seed),
        lambda seed, folder: unplugged_then_dark(folder, seed),
    )
    for seed in range(40):
        for number, trial in enumerate(trials):
            folder = tmp_path / f"{seed}-{number}"
            folder.mkdir()
            try:
                trial(seed, folder)
            except (AssertionError, Crashed, KeyError, ExceptionGroup):
                return
    pytest.fail(f"{plant.__name__} was not noticed")
