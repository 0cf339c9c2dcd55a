"""Bugs planted in the engine, each of which the simulation must find: the proof that it can see."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from tests.sim import __main__ as command
from tests.sim.bugs import BUGS, Plant, no_file_sync, seeds_needed
from tests.sim.life import draw

QUICK = 40
"""Bugs that need more seeds than this are left to the long suite."""


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(plant, id=plant.__name__, marks=[pytest.mark.slow] if most > QUICK else [])
        for plant, most in BUGS.items()
    ],
)
def test_planted_bug_is_found(plant: Plant) -> None:
    assert seeds_needed(plant, BUGS[plant]) is not None, f"not noticed in {BUGS[plant]} seeds"


class Recorder:
    """Takes what a bug would plant, and plants nothing."""

    def __init__(self) -> None:
        self.planted: list[tuple[Any, Any]] = []

    def setattr(self, owner: Any, name: str, value: Any) -> None:
        self.planted.append((getattr(owner, name), value))


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_what_is_planted_can_be_called_as_what_it_stands_for(plant: Plant) -> None:
    """Else every life fails at once, with an error that nobody planted, and proves nothing."""
    recorder = Recorder()
    plant(cast(pytest.MonkeyPatch, recorder))
    assert recorder.planted
    for real, planted in recorder.planted:
        if inspect.isfunction(real) and callable(planted):
            asked = inspect.signature(real).parameters.values()
            must = [each for each in asked if each.default is each.empty]
            given = [None for each in must if each.kind is each.POSITIONAL_OR_KEYWORD]
            named = {each.name: None for each in must if each.kind is each.KEYWORD_ONLY}
            inspect.signature(planted).bind(*given, **named)


def test_a_failure_is_made_small_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "seeds.json"
    monkeypatch.setattr(command.keep, "__defaults__", (kept,))
    assert command.main(["--seeds", "1", "--first", "2"]) == 0
    assert "1 seeds from 2: 0 failed" in capsys.readouterr().out
    assert not kept.exists()
    no_file_sync(monkeypatch)
    assert command.main(["--seeds", "1", "--first", "2", "--keep"]) == 1
    said = capsys.readouterr().out
    assert "FAILED AssertionError" in said
    assert said.count("\n  ") < len(draw(2).steps) + 1
    assert list(json.loads(kept.read_text())) == ["2"]


def test_the_command_says_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--first", "3", "--seeds", "4"]) == 0
    lived = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--first", "3", "--seeds", "4", "--jobs", "2"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert lived.stdout.rpartition("trace ")[2] == capsys.readouterr().out.rpartition("trace ")[2] != ""


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(SystemExit):
        command.main(["--seeds", "0"])


def test_the_page_tells_every_bug() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", page, re.MULTILINE))
    assert told == {plant.__name__: str(most) for plant, most in BUGS.items()}
    assert len(BUGS) >= 25
