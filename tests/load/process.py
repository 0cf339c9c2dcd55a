"""What a process holds: descriptors, threads, memory."""

import gc
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

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


def cost(machine: Photosync, *words: str | Path) -> Cost:
    """Runs a command that has to succeed."""
    done = finish(machine.start(*words, under=[sys.executable, "-c", _WATCH]), timeout=24 * 3600)
    assert done.code == 0, done
    memory, seconds, cpu = done.out.split()
    return Cost(int(memory) * 1024, float(seconds), float(cpu))


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
