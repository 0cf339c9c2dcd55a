"""The engine as a whole, under seeds: chance decides threads, faults, kills and power cuts; promises hold.

pytest tests/sim --seeds 2000        a longer run; python -m tests.sim --seeds 2000 says more
"""

import json
from pathlib import Path

import pytest

from photosync.engine.plan import Mode
from tests.sim.household import Household, scratch
from tests.sim.life import Life, Step, draw

KEPT = json.loads((Path(__file__).parent / "seeds.json").read_text())
"""Seeds that once found something in the engine, and what it was."""


def live(seed: int) -> str:
    """One life; returns the hash of everything that happened in it."""
    with scratch() as folder:
        household = Household(draw(seed), Path(folder))
        household.live()
        return household.trace


@pytest.mark.row(2, 3, 7, 8, 17, 24, 25, 26, 29, 33, 37, 46, 55, 58, 59, 60, 78)
def test_promises_hold_under_faults_and_crashes(sim_seed: int) -> None:
    live(sim_seed)


@pytest.mark.parametrize("seed", list(map(int, KEPT)))
def test_what_was_found_once_stays_away(seed: int) -> None:
    live(seed)


COMPOSED, DECOMPOSED = "DCIM/caf\u00e9.jpg", "DCIM/cafe\u0301.jpg"


@pytest.mark.parametrize("sizes", [(50, 50), (50, 60)])
@pytest.mark.parametrize("mode", [Mode.COPY, Mode.SYNC])
@pytest.mark.parametrize("place", ["hfs", "dropbox"])
@pytest.mark.parametrize("late", ["", COMPOSED, DECOMPOSED])
def test_twins_in_two_normal_forms_are_stored_once(
    late: str, place: str, mode: Mode, sizes: tuple[int, int]
) -> None:
    """Where the place spells names its own way, after the state was lost: both copied before, or one only."""
    photos = {COMPOSED: b"c" * sizes[0], DECOMPOSED: b"d" * sizes[1]}
    with scratch() as folder:
        household = Household(Life(1, (place,), "phone", mode, None, 1), Path(folder))
        world = household.phone.world
        world.things.clear()
        for path in sorted(photos, key=late.__eq__):
            if path == late:
                household.play(Step("run", 1))
            world.set(path, photos[path], 10**18)
            world.remember()
        if not late:
            household.play(Step("run", 1))
        household.play(Step("lose", 2))
        household.rest()
        (model,) = household.models
        model.check_complete()
        model.check_no_duplicates()
        household.check_restore(model)


@pytest.mark.parametrize("seed", range(12))
def test_same_seed_same_trace(seed: int) -> None:
    assert live(seed) == live(seed)
