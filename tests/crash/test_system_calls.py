"""A small copy killed, or refused by the kernel, at one system call after the other."""

import shutil
import signal
from pathlib import Path

import pytest

from photosync.engine.names import is_ours
from tests.crash.watched import Point, inject, record
from tests.e2e.cli import Photosync, noise, tree, write

# One file that goes in parts, small ones in two folders, an empty one.
FILES = {
    "DCIM/100/IMG_1.JPG": noise(40_000, 1),
    "DCIM/100/IMG_2.JPG": noise(3_000, 2),
    "DCIM/101/VID_3.MP4": noise((9 << 20) + 5, 3),
    "empty.JPG": b"",
}
ERRORS = {
    "openat": ("EROFS", "EACCES", "EDQUOT"),
    "mkdirat": ("EROFS", "ENOSPC"),
    "write": ("ENOSPC", "EIO"),
    "pwrite64": ("ENOSPC", "EDQUOT", "EIO"),
    "fsync": ("EIO",),
    "fdatasync": ("EIO",),
    "renameat2": ("EIO", "ENOSPC"),
    "linkat": ("EIO",),
    "unlinkat": ("EIO", "EROFS"),
    "utimensat": ("EPERM",),
    "ftruncate": ("EIO", "ENOSPC"),
    "close": ("EIO", "EDQUOT"),
}


class Case:
    """A phone, and places that are made anew for every try."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.phone = write(folder / "phone", FILES, mtime=1_600_000_000)
        self.copy = folder / "copy"
        self.anew()

    def anew(self) -> None:
        for place in (self.copy, self.folder / "machine"):
            shutil.rmtree(place, ignore_errors=True)
        self.machine = Photosync(self.folder / "machine")

    @property
    def words(self) -> tuple[str | Path, ...]:
        return ("copy", self.phone, self.copy, "--json", "--transfers", "1")

    def points(self, journal: bool = True) -> list[Point]:
        """Where a copy can be hit: at the copy, and in what photosync remembers of it."""
        folders = [self.copy, self.machine.state] if journal else [self.copy]
        done, found = record(self.machine, self.folder / "trace", folders, *self.words)
        done.expect(0)
        assert self.there() == FILES
        assert {point.call for point in found} >= {"openat", "pwrite64", "fsync", "renameat2", "mkdirat"}
        return found

    def there(self) -> dict[str, bytes]:
        """What final names hold."""
        found = tree(self.copy) if self.copy.exists() else {}
        return {path: data for path, data in found.items() if not is_ours(path)}

    def check(self, point: Point, effect: str, journal: bool = True) -> bool:
        """Hits a copy at one point; then nothing is half there, and the next run ends it.

        Returns:
            Whether the run was killed or did not do everything.
        """
        self.anew()
        where = f"{effect} at {point}"
        folders = [self.copy, self.machine.state] if journal else [self.copy]
        done = inject(self.machine, point, effect, folders, *self.words)
        there = self.there()
        for path, data in there.items():
            assert FILES.get(path) == data, f"{where}: {path} holds {len(data)} bytes that are not the file's"
        assert "Traceback" not in done.err, f"{where}: {done.err}"
        if effect == "SIGKILL":
            assert done.code in (0, -signal.SIGKILL), f"{where}: {done}"
        else:
            assert done.code in (0, 1, 4, 5, 6, 7), f"{where}: {done}"
            assert set(done.files("verified")) <= set(there), f"{where}: told what is not there"
            if done.code == 0:
                assert there == FILES, f"{where}: exit code 0 without every file"
        self.machine.copy(self.phone, self.copy).expect(0)
        assert self.there() == FILES, where
        assert self.machine.copy(self.phone, self.copy).expect(0).report["status"] == "nothing", where
        self.check_leftovers(where)
        return done.code != 0

    def check_leftovers(self, where: str) -> None:
        """Nothing is left but, at most, a large file's upload that no journal had heard of when it was hit.

        It might be another machine's, so nobody clears it away; nor a note that is empty yet, which another
        machine might just be about to write.
        """
        parts = {path.stem.partition("-")[2] for path in self.copy.rglob(".photosync-*.part")}
        partial = self.copy / ".photosync" / "partial"
        notes = {path.name: path.stat().st_size for path in partial.iterdir()} if partial.exists() else {}
        written = {name for name, size in notes.items() if size}
        assert written <= parts <= set(notes), f"{where}: half of an upload is left behind"
        assert len(notes) <= 1, where


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def some(found: list[Point]) -> list[Point]:
    """The first of each call, and every writing of contents."""
    firsts = {point.call: point for point in reversed(found)}
    return [*firsts.values(), *(point for point in found if point.call == "pwrite64" and point.ordinal > 1)]


def errors(found: list[Point]) -> list[tuple[Point, str]]:
    return [(point, name) for point in found for name in ERRORS.get(point.call, ())]


@pytest.mark.row(24)
def test_killed_at_a_few_system_calls(case: Case) -> None:
    for point in some(case.points(journal=False)):
        assert case.check(point, "SIGKILL", journal=False), f"{point} was never reached"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.row(24)
def test_killed_at_every_system_call(case: Case) -> None:
    found = case.points()
    killed = [case.check(point, "SIGKILL") for point in found]
    # Runs differ by a few calls: how often a thread commits to the journal is a matter of timing.
    assert sum(killed) > 0.9 * len(found)
    print(f"killed at {sum(killed)} of {len(found)} calls")


@pytest.mark.row(20, 21, 23)
def test_refused_at_a_few_system_calls(case: Case) -> None:
    found = case.points(journal=False)
    for call, name in [
        ("fsync", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("mkdirat", "EROFS"),
        ("pwrite64", "EDQUOT"),
        ("close", "EIO"),
    ]:
        there = [point for point in found if point.call == call]
        case.check(there[len(there) // 2], f"{name}", journal=False)


@pytest.mark.row(23)
@pytest.mark.parametrize("call", ["renameat2", "close"])
def test_what_could_not_be_closed_or_renamed_is_not_told_stored(case: Case, call: str) -> None:
    """At each of its renames and closings of files with contents: told not stored, or truly there."""
    point = next(point for point in reversed(case.points(journal=False)) if point.call == call)
    for ordinal in sorted({1, point.ordinal // 2 or 1, point.ordinal}):
        case.check(Point(call, ordinal), "EIO", journal=False)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.row(20, 21, 23)
def test_refused_at_every_system_call(case: Case) -> None:
    found = errors(case.points())
    failed = [case.check(point, name) for point, name in found]
    print(f"{len(found)} refusals, of which {sum(failed)} left something undone")
