"""``free-up`` killed (SIGKILL) before each of its steps, in a process as people run it."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.engine import spared
from tests.e2e.cli import Done, Photosync, finish, photo, tree, write
from tests.e2e.conftest import Plug
from tests.engine import media_files

PROGRAM = Path(__file__).parents[1] / "crash" / "free_up_steps.py"
FILES = {
    "DCIM/IMG_1.HEIC": media_files.heic(media_files.exif(pair="11111111-AAAA")),
    "DCIM/IMG_1.MOV": media_files.movie("11111111-AAAA"),
    "DCIM/IMG_2.JPG": photo(5000),
}


class Case:
    """A phone that was copied to two disks, as often as it is needed."""

    def __init__(self, machine: Photosync, folder: Path, disk: Path, plug: Plug) -> None:
        self.machine, self.folder = machine, folder
        self.content = write(folder / "content", FILES, 1_600_000_000)
        self.disks = (folder / "disk", disk)
        self.phone, _ = plug(self.content, read_only=False)
        machine.run("mirror", self.phone, *self.disks).expect(0)
        for place, name in self._kept():
            shutil.copytree(place, name)

    def _kept(self) -> list[tuple[Path, Path]]:
        places = (*self.disks, self.machine.state)
        return [(place, self.folder / f"kept-{number}") for number, place in enumerate(places)]

    def anew(self) -> None:
        for place, name in self._kept():
            shutil.rmtree(place)
            shutil.copytree(name, place)
        write(self.content, FILES, 1_600_000_000)

    def kill_before(self, step: int) -> tuple[Done, list[str]]:
        """Gives how it ended and the steps that were begun."""
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        words = ("free-up", self.phone, "--yes", "--json")
        done = finish(self.machine.start(*words, under=[sys.executable, PROGRAM, str(step), log]))
        return done, log.read_text().split()

    def told(self, disk: Path) -> frozenset[str]:
        file = disk / ".photosync" / "FREED"
        return spared.decode(file.read_bytes()) if file.exists() else frozenset()

    def check(self, step: int) -> None:
        self.anew()
        done, names = self.kill_before(step)
        where = f"killed before step {step}, {names[-1]}"
        assert (done.code, len(names)) == (-signal.SIGKILL, step), f"{where}: {done}"
        left = tree(self.content)
        gone = set(FILES) - set(left)
        assert left.items() <= FILES.items(), where
        assert gone == set() or "remove" in names[:-1], f"{where}: {gone} went too early"
        for disk in self.disks:
            assert tree(disk) == FILES, f"{where}: every photo is on both disks"
            assert self.told(disk) >= gone, f"{where}: nobody would know that these are the only copies"
        again = self.machine.run("free-up", self.phone, "--yes", "--json").expect(0)
        assert tree(self.content) == {}, where
        assert again.report["deleted"] == len(left), where
        assert again.report["bytes_freed"] == sum(map(len, left.values())), where
        told = "".join(row["text"] for row in again.events if row["event"] == "notice")
        # What was deleted and not yet written down as deleted is told now.
        unsaid = [path for path in FILES if path in told]
        assert gone >= set(unsaid), f"{where}: {told}"
        assert len(unsaid) >= len(gone) - names[:-1].count("set_freed"), f"{where}: {told}"
        for disk in self.disks:
            assert tree(disk) == FILES, where
            assert self.told(disk) == set(FILES), where


@pytest.fixture
def case(machine: Photosync, tmp_path: Path, plug: Plug) -> Iterator[Case]:
    # A second disk, or as good as one: copies that would be lost together count as one.
    with tempfile.TemporaryDirectory(prefix="photosync-", dir="/dev/shm") as folder:
        if Path(folder).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is no second file system here")
        yield Case(machine, tmp_path, Path(folder) / "disk", plug)


def steps(case: Case) -> list[str]:
    """The names of the steps of a run that is left alone."""
    done, names = case.kill_before(0)
    done.expect(0)
    assert set(names) >= {"edit", "_read", "_prove_one", "intend", "settle", "remove", "set_freed"}
    return names


@pytest.mark.row(59, 60)
def test_killed_before_some_steps(case: Case) -> None:
    names = steps(case)
    for name in ("_prove_one", "intend", "remove", "set_freed", "set_told"):
        case.check(names.index(name) + 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.row(59, 60)
def test_killed_before_every_step(case: Case) -> None:
    for step in range(1, len(steps(case)) + 1):
        case.check(step)
