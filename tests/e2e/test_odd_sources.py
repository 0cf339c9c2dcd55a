"""Sources that are larger than memory or disk, and files that only look as if they were there."""

import sys
from pathlib import Path

import pytest

from benchmarks.discard import discard, missing
from benchmarks.places import at_discard
from tests.backends.mounts import mounted
from tests.e2e.cli import Photosync, finish, noise, write
from tests.e2e.conftest import Plug
from tests.e2e.places import LocalFolder

MIB = 1 << 20
SPARSE = 384 * MIB


@pytest.mark.row(12)
def test_what_can_be_seen_and_not_opened(
    machine: Photosync, plug: Plug, local: LocalFolder, tmp_path: Path
) -> None:
    """As with photos that an iPhone keeps in its cloud only."""
    names = [f"DCIM/IMG_{number}.HEIC" for number in range(4)]
    source = write(tmp_path / "content", {name: noise(5_000, name) for name in names})
    phone, rig = plug(source, bad_open=frozenset(names[:2]))
    done = machine.copy(phone, local.text)
    assert done.code in (5, 6), done
    assert set(done.files("failed")) == set(names[:2])
    assert all(row["error"] for row in done.files("failed").values())
    assert (done.report["verified"], done.report["failed"]) == (2, 2)
    assert set(local.files()) == set(names[2:])
    rig.set(bad_open=frozenset())
    machine.copy(phone, local.text).expect(0)
    assert set(local.files()) == set(names)


# From a small process: what a process held before its exec counts, too, and that is what its parent holds.
_WATCH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def most_memory(machine: Photosync, *words: str | Path) -> tuple[int, int]:
    """Runs a command; gives its exit code and the most memory it held, in bytes."""
    done = finish(machine.start(*words, under=[sys.executable, "-c", _WATCH]))
    return done.code, int(done.out) * 1024


@pytest.mark.row(15)
def test_a_film_of_nothing_is_streamed(machine: Photosync, tmp_path: Path) -> None:
    """To an S3 endpoint that throws bodies away: what is held does not come near what is sent."""
    if reason := missing():
        pytest.skip(reason)
    source = write(tmp_path / "source", {"a.JPG": b"photo"})
    with discard(tmp_path) as endpoint:
        ready = at_discard(endpoint, "holes")
        machine.env |= ready.environment
        words = ("copy", source, ready.photosync, "--quiet", "--memory", "32M", "--transfers", "2")
        code, few = most_memory(machine, *words)
        assert code == 0
        with (source / "hole.MP4").open("wb") as file:
            file.truncate(SPARSE)
        code, many = most_memory(machine, *words)
        assert code == 0
        assert ready.found()["hole.MP4"][0] == SPARSE
        assert many < few + 64 * MIB < SPARSE / 2


@pytest.mark.root
@pytest.mark.row(15, 20)
def test_a_hundred_gigabytes_of_nothing(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"a.JPG": b"photo"})
    with (source / "hole.MP4").open("wb") as file:
        file.truncate(100 << 30)
    with mounted("tmpfs", local.folder, "size=48m"):
        code, memory = most_memory(machine, "copy", source, local.folder, "--quiet")
        assert code == 6
        assert memory < 400 * MIB
        assert local.files() == {"a.JPG": b"photo"}
        planned = machine.run("copy", source, local.folder, "--dry-run").expect(0)
        assert "refuse   hole.MP4  (needs 100.0 GiB, and " in planned.out


@pytest.mark.root
@pytest.mark.row(15, 20)
def test_too_many_files_are_told_beforehand(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    source = write(tmp_path / "source", {f"{number}.JPG": noise(900_000, number) for number in range(3)})
    with mounted("tmpfs", local.folder, "size=2m"):
        planned = machine.run("copy", source, local.folder, "--dry-run").expect(0)
        assert "warning: 3 files need 2.6 MiB, and 2.0 MiB are free" in planned.out
        planned = machine.run("copy", source, local.folder, "--dry-run", "--json").expect(0)
        assert "3 files need 2.6 MiB" in planned.events[-1]["warnings"][0]
        done = machine.copy(source, local.text).expect(7)
        assert "3 files need 2.6 MiB" in done.report["warnings"][0]
        assert set(local.files()) < {"0.JPG", "1.JPG", "2.JPG"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.row(16)
def test_two_hundred_thousand_files_in_one_folder(
    machine: Photosync, local: LocalFolder, tmp_path: Path
) -> None:
    """A plan takes about a kilobyte for each file, and no more."""
    folder = write(tmp_path / "source", {"DCIM/0.JPG": b"photo"}) / "DCIM"
    words = ("copy", tmp_path / "source", local.folder, "--dry-run", "--quiet")
    code, few = most_memory(machine, *words)
    assert code == 0
    for number in range(1, 200_000):
        (folder / f"{number}.JPG").write_bytes(b"photo")
    code, many = most_memory(machine, *words)
    assert code == 0
    assert many - few < 400 * MIB, f"{few} bytes for one, {many} for 200,000"
