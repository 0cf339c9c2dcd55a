"""One process: how long it took, what it cost, how big it grew."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST = 900.0
"""Seconds after which a run is given up."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process cost.

    Attributes:
        wall: seconds from start to exit.
        cpu: seconds of user and system time, its own children included.
        peak: largest resident set, bytes.
        output: what it wrote to stdout.
        error: why it failed, or None.
    """

    wall: float
    cpu: float
    peak: int
    output: str
    error: str | None


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Cost:
    """Runs a command to its end, in ``folder``."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder,
            env={**os.environ, **environment},
        )
        try:
            wall, status, usage = _wait(process.pid, began)
        except BaseException:
            process.kill()
            os.wait4(process.pid, 0)
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        told = err.read().decode(errors="replace").strip()[-300:]
        return Cost(
            wall,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            out.read().decode(errors="replace"),
            f"exit code {process.returncode}: {told}" if process.returncode else None,
        )


def _wait(process: int, began: float) -> tuple[float, int, "os.struct_rusage"]:
    # Waiting without a limit would be exact; 2 ms of error are not worth a run that never ends.
    while True:
        found, status, usage = os.wait4(process, os.WNOHANG)
        wall = time.perf_counter() - began
        if found:
            return wall, status, usage
        if wall > LONGEST:
            raise TimeoutError(f"a run took longer than {LONGEST:.0f} s")
        time.sleep(0.002)


def settle() -> float:
    """Makes everything written so far durable; returns the seconds that took."""
    began = time.perf_counter()
    os.sync()
    return time.perf_counter() - began
