"""Several destinations from one reading, under seeds: each keeps every promise, whatever the others do."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sim.fleet import Fleet
from tests.sim.store import Faults
from tests.sim.test_sim import CALM, storm

LIMITS = (10**9, 1000, 300, 40)


def live(seed: int, folder: Path) -> Fleet:
    """Runs under faults, kills and rot, with and without the phone, then calm ones until it is at rest."""
    dice = random.Random(f"mirror {seed}")
    fleet = Fleet(seed, folder, serves=seed % 2 == 1)
    damaged = False
    for number in range(dice.randint(1, 3)):
        source, _ = storm(dice)
        faults = tuple(storm(dice)[1] for _ in fleet.models)
        damaged = damaged or any(each.damage for each in faults)
        report = fleet.execute(
            source,
            faults,
            limit=dice.choice(LIMITS),
            crash_at=dice.randrange(5, 1200) if dice.random() < 0.4 else None,
            plugged=number == 0 or dice.random() < 0.7,
            unplug_early=dice.random() < 0.5,
            seconds=tuple(dice.choice((0.0, 0.0, 5.0)) for _ in fleet.models),
        )
        assert report is None or report.clean is (report.exit_code == 0)
        fleet.phone.attached = True
        for model in fleet.models:
            model.check_whole(damaged)
            model.check_kept()
        if dice.random() < 0.4:
            fleet.rot()
        if dice.random() < 0.4:
            fleet.models[0].agitate()
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


@pytest.mark.parametrize("seed", range(12))
def test_the_source_is_read_once(tmp_path: Path, seed: int) -> None:
    """Also for what is new next time, wherever it is missing."""
    fleet = Fleet(seed, tmp_path)
    report = fleet.execute()
    assert report is not None
    assert report.clean
    assert (report.source_bytes, report.read_again) == (size(fleet), 0)
    missing = set()
    for number, model in enumerate(fleet.models):
        for path in sorted(model.there.visible())[number::4]:
            model.there.drop(path)
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
