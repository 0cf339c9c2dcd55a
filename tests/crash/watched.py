"""Calls of the real command made to fail, or to be the last one, counted over all of its threads.

`watched.c` is loaded before the C library. strace counts each thread's calls by themselves, so that a call
whose ordinal another thread passed before can never be hit; here every one can.
"""

import errno
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.cli import Done, Photosync

_SOURCE = Path(__file__).with_suffix(".c")


@dataclass(frozen=True, order=True)
class Point:
    """A call, and its ordinal, from 1, among those of its name."""

    call: str
    ordinal: int


@cache
def _library() -> Path:
    compiler = next((found for name in ("clang", "cc", "gcc") if (found := shutil.which(name))), None)
    if compiler is None:
        pytest.skip("a C compiler is missing: install clang")
    made = Path(tempfile.mkdtemp(prefix="photosync-watched-")) / "watched.so"
    subprocess.run([compiler, "-O1", "-w", "-shared", "-fPIC", "-o", made, _SOURCE, "-ldl"], check=True)
    return made


def _run(
    machine: Photosync, folders: Sequence[Path], more: dict[str, str], arguments: Sequence[str | Path]
) -> Done:
    below = ":".join([str(folder) for folder in folders])
    return machine.run(*arguments, env={"LD_PRELOAD": str(_library()), "WATCH_BELOW": below, **more})


def record(
    machine: Photosync, log: Path, folders: Sequence[Path], *arguments: str | Path
) -> tuple[Done, list[Point]]:
    """Runs a command; its changing calls below the folders, in the order in which they happened."""
    log.unlink(missing_ok=True)
    done = _run(machine, folders, {"WATCH_LOG": str(log)}, arguments)
    seen: Counter[str] = Counter()
    found = []
    for line in log.read_text(errors="replace").splitlines():
        call = line.split(" ", 1)[0]
        seen[call] += 1
        found.append(Point(call, seen[call]))
    return done, found


def inject(
    machine: Photosync, point: Point, effect: str, folders: Sequence[Path], *arguments: str | Path
) -> Done:
    """Runs a command with something happening at one of its calls below the folders.

    Args:
        effect: "SIGKILL", or the name of an error.
    """
    how = "0" if effect == "SIGKILL" else str(getattr(errno, effect))
    return _run(
        machine,
        folders,
        {"WATCH_CALL": point.call, "WATCH_AT": str(point.ordinal), "WATCH_ERRNO": how},
        arguments,
    )
