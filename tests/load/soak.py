"""A phone that is used and backed up, day and night, by one process.

python -m tests.load.soak [--hours 24] [--renew 500]

Photos are taken, edited and deleted; each round copies them, and now and then proves, heals and restores. A
line a minute tells what the process holds; a photo that is lost or damaged, a descriptor or thread that
stays, or memory that grows ends it with an error. Copies keep all that they ever got, so what a run
holds grows with them until they are begun anew, every ``--renew`` rounds.
"""

import argparse
import ctypes
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from photosync import api
from tests.e2e.cli import Photosync, photo
from tests.load.process import MIB, Held

_MOST = 300
_SETTLED = 20
"""Rounds after which every path was taken but healing."""
_IN_FLIGHT = 128 * MIB
"""What a run may hold of files under way, by default."""
_BLOCKS = 1.02
"""How many times the blocks of Python's allocator may be in use that were when it had settled: what leaks in
Python shows here at once, while the C library keeps some of what was freed, in steps of up to 64 MiB."""


class Soak:
    """A phone, two copies of it, and what is on it: size and seed of each photo.

    Args:
        folder: where all of it is.
        renew: rounds after which the copies are begun anew.
    """

    def __init__(self, folder: Path, renew: int) -> None:
        self.renew = renew
        self.machine = Photosync(folder / "machine")
        os.environ.update(self.machine.env)
        self.phone = folder / "phone"
        self.copies = [folder / "copy", folder / "second"]
        self.dice = random.Random("soak")
        self.shown: dict[str, tuple[int, int]] = {}
        self.rounds = self.taken = 0
        self.folder = folder

    def day(self) -> None:
        """What people do between two backups."""
        (self.phone / "DCIM").mkdir(parents=True, exist_ok=True)
        there = sorted(self.shown)
        for _ in range(self.dice.randrange(1, 15)):
            self.taken += 1
            name = f"DCIM/IMG_{self.taken:07}.JPG"
            self.shown[name] = self.dice.choice((2000, 30_000, 400_000)), self.taken
            (self.phone / name).write_bytes(photo(*self.shown[name]))
        for name in self.dice.sample(
            there, min(len(there), self.dice.randrange(3) + max(0, len(there) - _MOST))
        ):
            (self.phone / name).unlink()
            del self.shown[name]

    def round(self) -> None:
        """A day, its backup, and a look at what is there."""
        self.rounds += 1
        self.day()
        for copy in self.copies:
            report = api.copy(str(self.phone), str(copy))
            assert report.clean, report
        for name in self.dice.sample(sorted(self.shown), min(5, len(self.shown))):
            expected = photo(*self.shown[name])
            assert all((copy / name).read_bytes() == expected for copy in self.copies), name
        if self.rounds % 50 == 0:
            wounded = self.copies[0] / self.dice.choice(sorted(self.shown))
            wounded.write_bytes(bytes(wounded.stat().st_size))
            assert self.machine.run("verify", "--deep", self.copies[0]).code == 1
            self.machine.run("heal", "--deep", self.copies[0], "--from", self.copies[1]).expect(0)
            self.machine.run("verify", "--deep", self.copies[0]).expect(0)
        self._start_over()

    def line(self, held: Held) -> str:
        """What the process holds, and what for."""
        kept = sum(len(files) for _, _, files in os.walk(self.copies[0] / "DCIM"))
        return (
            f"{self.rounds} rounds, {self.taken} photos taken, {kept} in each copy, "
            f"{held.memory / MIB:.1f} MiB, {held.descriptors} descriptors, {held.threads} threads"
        )

    def _start_over(self) -> None:
        """Copies only ever grow: new ones, so that the disk does not fill in a day."""
        if self.rounds % self.renew == 0:
            for copy in self.copies:
                shutil.rmtree(copy)
            shutil.rmtree(self.machine.state)


def main() -> int:
    """As the first lines of this file say."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.soak")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--renew", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="photosync-soak-") as folder:
        soak = Soak(Path(folder), given.renew)
        until = time.monotonic() + given.hours * 3600
        settled, blocks, told = None, 0, 0.0
        while time.monotonic() < until:
            soak.round()
            if soak.rounds < _SETTLED:
                continue
            held = Held.now()
            settled, blocks = settled or held, blocks or sys.getallocatedblocks()
            check(settled, held)
            assert sys.getallocatedblocks() < _BLOCKS * blocks, (blocks, sys.getallocatedblocks())
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(soak.line(held), end=", ", flush=True)
                print(f"{trimmed().memory / MIB:.1f} MiB without what was freed,", end=" ")
                print(f"{sys.getallocatedblocks()} blocks", flush=True)
        print(soak.line(trimmed()), "nothing lost", flush=True)
    return 0


def trimmed() -> Held:
    """What is held once the allocator has given back what was freed, where it can be told to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return Held.now()


def check(settled: Held, held: Held) -> None:
    """Fails if more is held than when it had settled.

    Raises:
        AssertionError: descriptors, threads or memory grew.
    """
    assert held.descriptors <= settled.descriptors + 4, (settled, held)
    assert held.threads <= settled.threads, (settled, held)
    assert held.memory < settled.memory + _IN_FLIGHT + 32 * MIB, (settled, held)


if __name__ == "__main__":
    sys.exit(main())
