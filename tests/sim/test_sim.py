"""The engine as a whole, under seeds: chance decides threads, faults, kills and power cuts; promises hold.

pytest tests/sim --seeds 2000        a longer run; python -m tests.sim --seeds 2000 says more
"""

import json
from pathlib import Path

import pytest

from tests.sim.household import Household, scratch
from tests.sim.life import draw

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


@pytest.mark.parametrize("seed", range(12))
def test_same_seed_same_trace(seed: int) -> None:
    assert live(seed) == live(seed)
