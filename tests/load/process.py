"""What a process holds: descriptors, threads, memory."""

import contextlib
import gc
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, finish

MIB = 1 << 20

# From a small process: what a process held before its exec counts, too, and that is what its parent holds.
_WATCH = """
import resource, subprocess, sys, time
began = time.monotonic()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, time.monotonic() - began, used.ru_utime + used.ru_stime)
sys.exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """Of a command: most memory held (bytes), seconds on the clock, seconds of CPU."""

    memory: int
    seconds: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.memory / MIB:.0f} MiB, {self.seconds:.1f} s, {self.cpu:.1f} s of CPU"


def cost(machine: Photosync, *words: str | Path, under: Sequence[str] = ()) -> Cost:
    """Runs a command that has to succeed, by way of another command if one is given."""
    done = finish(machine.start(*words, under=[*under, sys.executable, "-c", _WATCH]), timeout=24 * 3600)
    assert done.code == 0, done
    memory, seconds, cpu = done.out.split()
    return Cost(int(memory) * 1024, float(seconds), float(cpu))


@contextlib.contextmanager
def memory_limit(most: int) -> Iterator[list[str]]:
    """A control group below this process's own, of so many bytes, page cache included: the words that run a
    command within it. The kernel kills what needs more. Skips the test where no such group can be made.
    """
    rows = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    first = next((name.lstrip("/") for _, kinds, name in rows if "memory" in kinds.split(",")), None)
    if first is not None:
        parent, limit = Path("/sys/fs/cgroup/memory", first), "memory.limit_in_bytes"
    else:
        parent, limit = Path("/sys/fs/cgroup", rows[-1][2].lstrip("/")), "memory.max"
    try:
        group = Path(tempfile.mkdtemp(prefix="photosync-load-", dir=parent))
    except OSError as error:
        pytest.skip(f"needs root and control groups that limit memory: {error}")
    try:
        try:
            (group / limit).write_text(str(most))
        except OSError as error:
            pytest.skip(f"needs a control group that limits memory: {error}")
        yield ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs")]
    finally:
        group.rmdir()


@dataclass(frozen=True)
class Held:
    """Of this process: open descriptors, threads, memory (bytes)."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def now(cls) -> "Held":
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE")
        return cls(len(os.listdir("/proc/self/fd")) - 1, threading.active_count(), memory)
