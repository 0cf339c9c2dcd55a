"""Real system calls made to fail, or to be the last one: strace in front of the real command."""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cli import Done, Photosync, finish

CHANGING = (
    "openat", "mkdir", "mkdirat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2",
    "link", "linkat", "unlink", "unlinkat", "utimensat", "ftruncate", "close",
)  # fmt: skip
_LINE = re.compile(r"(\d+)\s+(\w+)\((.*)")


@dataclass(frozen=True, order=True)
class Point:
    """A system call's ordinal, from 1, among those of its name in one thread: how strace counts."""

    call: str
    ordinal: int


def _strace(trace: Path, *expressions: str) -> list[str]:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is missing: install strace")
    words = [found, "-f", "-q", "--seccomp-bpf", "-o", str(trace)]
    for expression in expressions:
        words += ["-e", expression]
    return words


def points(trace: Path, folders: Sequence[Path]) -> list[Point]:
    """Calls of a recorded run that have to do with folders, in the order in which they happened.

    Opening counts only where it makes a file; the rest of a run's many calls is Python starting. A call
    cannot be met if another thread makes its own one of that ordinal first: strace counts each by itself.
    """
    seen: Counter[tuple[str, str]] = Counter()
    passed: set[Point] = set()
    found: dict[Point, None] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if (match := _LINE.match(line)) is None:
            continue
        thread, call, rest = match.groups()
        seen[thread, call] += 1
        point = Point(call, seen[thread, call])
        ours = any(str(folder) in rest for folder in folders)
        if ours and point not in passed and (call != "openat" or "O_CREAT" in rest):
            found[point] = None
        passed.add(point)
    return list(found)


def record(machine: Photosync, trace: Path, *arguments: str | Path) -> Done:
    """Runs a command and writes down its changing system calls, descriptors as paths."""
    under = [*_strace(trace, f"trace={','.join(CHANGING)}"), "-y"]
    return finish(machine.start(*arguments, under=under))


def inject(machine: Photosync, point: Point, effect: str, *arguments: str | Path) -> Done:
    """Runs a command with something happening at one system call.

    Args:
        effect: as strace's ``inject`` takes it: ``signal=SIGKILL``, ``error=EIO``.
    """
    what = f"inject={point.call}:{effect}:when={point.ordinal}"
    return finish(machine.start(*arguments, under=_strace(Path("/dev/null"), f"trace={point.call}", what)))
