"""Workloads of the engine alone: a million files listed, planned, put into a manifest; and starting."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.bench import Bench, Round
from benchmarks.measure import Cost
from benchmarks.million import make_files
from benchmarks.peers import found
from benchmarks.rounds import Go
from benchmarks.to_s3 import Opened

LISTED, BEGUN = "whole process", "start"
ROOT = Path(__file__).parent.parent


@contextlib.contextmanager
def scan(here: Bench) -> Iterator[Round]:
    """A million empty files in a thousand folders; who lists them must find as many."""
    count = here.size(1_000_000, 20_000)
    folder = here.folder / "million"
    make_files(folder, count)
    ways: dict[str, tuple[list[str], Callable[[str], int]]] = {
        "photosync": (_engine("scan", str(folder)), lambda output: int(output.splitlines()[0])),
        "photosync size": (["photosync", "size", "--json", str(folder)], _counted),
        "rclone size": (["rclone", "size", "--json", str(folder)], _counted),
        "rsync --list-only": (
            ["rsync", "--list-only", "-r", f"{folder}/"],
            lambda output: output.count(".JPG\n"),
        ),
        "find -printf": (
            ["find", str(folder), "-type", "f", "-printf", "%P %s %T@\n"],
            lambda output: output.count("\n"),
        ),
    }

    def turns(number: int) -> Iterator[Go]:
        here_now = {name for name in ways if number == 0 or name in ("photosync", "find -printf")}
        names = [name for name, (command, _) in ways.items() if name in here_now and found(command[0])]
        by = number % len(names)
        for name in names[by:] + names[:by]:
            command, files = ways[name]
            yield Go(
                name, LISTED, "names, sizes and times; no contents",
                [[found(command[0]) or command[0], *command[1:]]],
                ROOT,
                _alone(here),
                _lists(files, count),
            )  # fmt: skip

    try:
        yield turns
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _counted(output: str) -> int:
    count: int = json.loads(output)["count"]
    return count


def _lists(files: Callable[[str], int], count: int) -> Callable[[Cost], str | None]:
    def problem(cost: Cost) -> str | None:
        if cost.error:
            return cost.error
        listed = files(cost.output)
        return None if listed == count else f"it lists {listed} of {count} files"

    return problem


def stages(what: str) -> Opened:
    """A process of `benchmarks.million`, whose stages are rows of their own."""

    @contextlib.contextmanager
    def opened(here: Bench) -> Iterator[Round]:
        count = here.size(1_000_000, 20_000)

        def turns(_number: int) -> Iterator[Go]:
            command = _engine(what, str(count))
            yield Go("photosync", LISTED, "", [command], ROOT, _alone(here), stages=_stages_of)

        yield turns

    return opened


def _stages_of(cost: Cost) -> Mapping[str, Cost]:
    told = json.loads(cost.output.splitlines()[-1])
    return {name: Cost(wall, cpu, peak, None, "", None) for name, (wall, cpu, peak) in told.items()}


def _engine(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.million", *arguments]


def _alone(here: Bench) -> dict[str, str]:
    state = here.folder / "engine-state"
    return {
        "RCLONE_CONFIG": "",
        "PHOTOSYNC_CONFIG": str(state / "config.toml"),
        "PHOTOSYNC_STATE_DIR": str(state),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


@contextlib.contextmanager
def start(here: Bench) -> Iterator[Round]:
    """Programs that only tell their version."""
    ways = {
        "photosync": ["photosync", "--version"],
        "rclone": ["rclone", "version"],
        "s5cmd": ["s5cmd", "version"],
        "aws": ["aws", "--version"],
    }

    def turns(number: int) -> Iterator[Go]:
        names = [name for name in ways if found(name)]
        by = number % len(names)
        for name in names[by:] + names[:by]:
            command = [found(name) or name, *ways[name][1:]]
            yield Go(name, BEGUN, "", [command], here.folder, _alone(here))

    yield turns
