"""One process: how long it took, what it cost, how big it grew, how much it read."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST = 900.0
"""Seconds after which a run is given up."""
_ALONE = Path(__file__).with_name("alone.py")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process cost, or several in a row.

    Attributes:
        wall: seconds from start to exit.
        cpu: seconds of user and system time, its own children included.
        peak: largest resident set, bytes.
        read: bytes that it asked the kernel for by read and its kin (Linux: ``rchar``), program files and, of
            some programs, answers of servers included; None where the kernel does not count them.
        output: what it wrote to stdout.
        error: why it failed, or None.
    """

    wall: float
    cpu: float
    peak: int
    read: int | None
    output: str
    error: str | None

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.wall + other.wall,
            self.cpu + other.cpu,
            max(self.peak, other.peak),
            None if self.read is None or other.read is None else self.read + other.read,
            self.output + other.output,
            self.error or other.error,
        )


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Cost:
    """Runs a command to its end, in ``folder``."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.NamedTemporaryFile("r", encoding="utf-8") as result,
    ):
        subprocess.run(
            [sys.executable, "-I", "-S", str(_ALONE), result.name, str(LONGEST), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder,
            env={**os.environ, **environment},
            check=True,
        )
        told = json.load(result)
        out.seek(0)
        err.seek(0)
        said = err.read().decode(errors="replace").strip()[-300:]
        failed = f"exit code {told['code']}: {said}" if told["code"] else None
        return Cost(
            told["wall"],
            told["cpu"],
            told["peak"],
            told["read"],
            out.read().decode(errors="replace"),
            f"took longer than {LONGEST:.0f} s" if told["late"] else failed,
        )


def settle() -> float:
    """Makes everything written so far durable; returns the seconds that took."""
    began = time.perf_counter()
    os.sync()
    return time.perf_counter() - began
