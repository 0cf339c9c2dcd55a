"""A large library, bursts, a large file, and one process used a hundred times.

python -m pytest -m slow tests/load -s      FILES=200000 GIGABYTES=20 RUNS=100
"""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.discard import discard
from benchmarks.places import at_discard
from photosync import api
from tests.e2e.cli import Photosync, photo, write
from tests.load.process import MIB, Cost, Held, cost, memory_limit

FILES = int(os.environ.get("FILES", "200000"))
GIGABYTES = float(os.environ.get("GIGABYTES", "20"))
RUNS = int(os.environ.get("RUNS", "100"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(24 * 3600)]


@pytest.fixture
def machine(tmp_path: Path) -> Photosync:
    return Photosync(tmp_path / "machine")


def library(folder: Path, files: int) -> Path:
    """So many photos of a few bytes, a thousand in a folder."""
    for number in range(files):
        if number % 1000 == 0:
            (folder / f"DCIM/{number // 1000:03}").mkdir(parents=True)
        (folder / f"DCIM/{number // 1000:03}/IMG_{number:06}.JPG").write_bytes(photo(40, number))
    return folder


@pytest.fixture
def s3(machine: Photosync, tmp_path: Path) -> Iterator[str]:
    """An endpoint that counts and forgets what it is sent."""
    with discard(tmp_path) as endpoint:
        ready = at_discard(endpoint, "load")
        machine.env |= ready.environment
        yield ready.photosync


@pytest.mark.row(16)
def test_a_large_library(machine: Photosync, s3: str, tmp_path: Path) -> None:
    """Memory is bounded by the number of names, some two kilobytes each; a run without changes is short."""
    source = library(tmp_path / "source", FILES)
    few = cost(machine, "copy", library(tmp_path / "few", 10), tmp_path / "few-copy", "--quiet")
    for name, place in (("local", str(tmp_path / "copy")), ("S3", s3)):
        first = cost(machine, "copy", source, place, "--quiet")
        again = cost(machine, "copy", source, place, "--quiet")
        print(f"\n{FILES:,} files to {name}: {first}\n  without changes: {again}")
        for run in (first, again):
            assert run.memory - few.memory < FILES * 2500 + 64 * MIB
        assert again.cpu < 0.5 * first.cpu + few.cpu
    machine.run("verify", tmp_path / "copy", timeout=3600).expect(0)


def test_bursts_of_a_thousand(machine: Photosync, tmp_path: Path) -> None:
    """Ten times a thousand new photos: each burst costs what the first did, whatever was there before."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    costs = []
    for burst in range(10):
        for number in range(1000):
            path = source / f"DCIM/{burst:03}/IMG_{number:04}.JPG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(3000, f"{burst} {number}"))
        costs.append(cost(machine, "copy", source, copy, "--quiet"))
    print(f"\nbursts of 1,000: the first {costs[0]}; the last {costs[-1]}")
    assert costs[-1].cpu < 3 * costs[0].cpu
    assert costs[-1].memory < costs[0].memory + 48 * MIB


@pytest.mark.row(15)
def test_a_large_file_in_little_memory(machine: Photosync, s3: str, tmp_path: Path) -> None:
    """What is in flight is bounded, whatever the size: `--memory`, and what clients and copies of it add."""

    def sent(name: str, size: float, under: Sequence[str] = ()) -> Cost:
        source = write(tmp_path / name, {"IMG_1.JPG": photo(5000, 1)})
        with (source / "VID_1.MP4").open("wb") as file:
            file.truncate(int(size * (1 << 30)))
        held = cost(machine, "copy", source, f"{s3}/{name}", "--quiet", "--memory", "32M", under=under)
        print(f"\n{name} to S3: {held}")
        return held

    most = sent("one photo", 0.0).memory + 64 * MIB
    assert sent("1 GB", 1.0).memory < most
    with memory_limit(most) as limited:
        assert sent(f"{GIGABYTES:g} GB", GIGABYTES, limited).memory < most


def test_a_hundred_runs_in_one_process(
    machine: Photosync, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor and no thread stays, and memory does not grow with the runs."""
    for name, value in machine.env.items():
        monkeypatch.setenv(name, value)
    source = write(tmp_path / "source", {f"IMG_{number}.JPG": photo(3000, number) for number in range(20)})
    held = []
    for run in range(RUNS):
        (source / f"NEW_{run}.JPG").write_bytes(photo(3000, f"new {run}"))
        for place in (str(tmp_path / "copy"), s3):
            assert api.copy(str(source), place).clean
        held.append(Held.now())
    settled, last = held[min(9, RUNS // 2)], held[-1]
    print(f"\n{RUNS} runs to a disk and to S3: {settled} after ten, {last} at the end")
    assert last.descriptors <= settled.descriptors + 2
    assert last.threads <= settled.threads
    assert last.memory < settled.memory + 32 * MIB
    assert [each.name for each in threading.enumerate() if "photosync" in each.name] == []
