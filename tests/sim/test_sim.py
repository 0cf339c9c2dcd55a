"""The engine as a whole, under seeds: threads, faults and crashes chosen by chance, promises checked always.

pytest tests/sim --seeds 2000        a longer run
"""

import random
from pathlib import Path

import pytest

from photosync.engine.layout import Layout
from photosync.engine.plan import Mode
from tests.sim.model import Model
from tests.sim.store import Faults

CALM = (Faults(), Faults())
PERSONALITIES = ("disk", "objects", "feed")


def storm(dice: random.Random) -> tuple[Faults, Faults]:
    """Faults of one run: most runs have a few kinds, some have none."""

    def some(chance: float) -> float:
        return chance if dice.random() < 0.4 else 0.0

    source = Faults(
        before=some(0.05), read_error=some(0.05), short_read=some(0.05), listing=some(0.2),
        unplug=some(0.03), change=some(0.05),
    )  # fmt: skip
    return source, Faults(before=some(0.1), after=some(0.1), damage=some(0.1))


def live(seed: int, folder: Path) -> Model:
    """A few runs under faults and crashes, then calm runs until the world is at rest."""
    dice = random.Random(f"test {seed}")
    mode = Mode.SYNC if seed % 5 == 4 else Mode.COPY
    layout = Layout.parse("{taken:%Y}/{name}") if seed % 4 == 1 else None
    model = Model(seed, folder, PERSONALITIES[seed % 3], mode, layout)
    damaged = False
    for _ in range(dice.randint(1, 4)):
        faults = storm(dice)
        damaged = damaged or faults[1].damage > 0
        model.execute(faults, crash_at=dice.randrange(5, 400) if dice.random() < 0.5 else None)
        model.phone.attached = True
        model.check_whole(damaged)
        model.check_kept()
        if dice.random() < 0.5:
            model.agitate()
        if layout is not None and dice.random() < 0.2:
            model.lose_state()
    for calm in range(5):
        report = model.execute(CALM)
        assert report is not None
        assert report.fatal is None, report.fatal
        if report.status == "nothing":
            break
        assert calm < 4, "the world does not come to rest"
    model.check_complete()
    model.check_no_duplicates()
    model.check_kept()
    assert report.source_bytes == 0, "a run with nothing to do read the source"
    return model


@pytest.mark.row(2, 3, 7, 24, 29, 37)
def test_promises_hold_under_faults_and_crashes(tmp_path: Path, sim_seed: int) -> None:
    live(sim_seed, tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_same_seed_same_trace(tmp_path: Path, seed: int) -> None:
    traces = []
    for attempt in ("a", "b"):
        folder = tmp_path / attempt
        folder.mkdir()
        traces.append(live(seed, folder).traces)
    assert traces[0] == traces[1]
