"""A little of `make fuzz`, the same each time; and every input that broke something once."""

import random
import resource
import time
from pathlib import Path

import pytest

from tests.fuzz.answers import targets
from tests.fuzz.parsers import TARGETS
from tests.fuzz.target import FOUND, Target, damaged

PARSERS = {target.name: target for target in TARGETS}
SERVICES = ("dropbox", "drive", "s3")
TIMES = {"manifest": 60, "rclone": 150, "config": 100, "media": 200, "dropbox": 250, "drive": 120, "s3": 250}
_ROOM = 256 << 10


@pytest.fixture(scope="module")
def services() -> dict[str, Target]:
    return {target.name: target for target in targets()}


def few(target: Target) -> None:
    """Seeds, what was found before, and some hundred damaged seeds: no error but documented ones."""
    dice = random.Random(f"the short run of {target.name}")
    for path in target.found():
        target.run(path.read_bytes())
    for seed in target.seeds:
        target.run(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(TIMES.get(target.name, 400)):
        data = damaged(dice.choice(target.seeds), target, dice)
        began = time.process_time()
        target.run(data)
        assert time.process_time() - began < 5, data
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _ROOM, "KiB more than before"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.row(62, 64, 65, 72, 74, 79, 86)
@pytest.mark.parametrize("name", PARSERS)
def test_hostile_bytes_are_refused_or_understood(name: str) -> None:
    few(PARSERS[name])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.row(45, 51)
@pytest.mark.parametrize("name", SERVICES)
def test_hostile_answers_are_refused_or_understood(name: str, services: dict[str, Target]) -> None:
    few(services[name])


def test_everything_found_belongs_to_a_target() -> None:
    assert {path.name for path in FOUND.iterdir() if path.is_dir()} <= {*PARSERS, *SERVICES}
    assert all(Path(path).stat().st_size < 1 << 20 for path in FOUND.rglob("*"))
