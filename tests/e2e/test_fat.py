"""A real FAT, by a program in user space: times to two seconds, few names, and no file of 4 GiB."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, photo, write

WHEN = 1_700_000_000


@pytest.fixture
def fat(tmp_path: Path) -> Iterator[Path]:
    """An empty FAT32 of 64 MiB."""
    if os.getuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("mounting needs root and FUSE")
    if not shutil.which("fusefat") or not shutil.which("mkfs.vfat"):
        pytest.skip("Debian's fusefat and dosfstools are not installed")
    image, at = tmp_path / "fat.img", tmp_path / "fat"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    at.mkdir()
    subprocess.run(["mkfs.vfat", "-F", "32", image], check=True, capture_output=True)
    subprocess.run(["fusefat", "-o", "rw+", image, at], check=True, capture_output=True, timeout=60)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.root
@pytest.mark.row(33)
def test_times_to_two_seconds(machine: Photosync, fat: Path, tmp_path: Path) -> None:
    """Odd and even seconds and what is between them: copied once, and the same for ever after."""
    source = tmp_path / "source"
    files = {f"DCIM/IMG_{number}.JPG": photo(3000 + number, number) for number in range(4)}
    for number, (path, data) in enumerate(files.items()):
        write(source, {path: data}, mtime=WHEN + number + (0.75 if number % 2 else 0))
    copy = fat / "copy"
    machine.copy(source, copy).expect(0)
    assert {path: (copy / path).read_bytes() for path in files} == files
    for mode in ("copy", "sync"):
        again = machine.run(mode, source, copy, "--json").expect(0)
        assert (again.report["unchanged"], again.report["verified"]) == (4, 0)
    machine.run("verify", "--deep", copy).expect(0)
    # fusefat forgets a time when the file is renamed, so it is set anew on what is found there, once.
    for times_set in (4, 0):
        machine.lose_state()
        found = machine.copy(source, copy).expect(0).report
        assert (found["verified"], found["bytes"]) == (4, 0)
        [requests] = found["requests"].values()
        assert requests.get("set_mtime", 0) == times_set, "two seconds are as near as it gets"
        seconds = [(copy / path).stat().st_mtime_ns / 1e9 - WHEN for path in files]
        assert seconds == [0, 0, 2, 2]
    os.utime(source / "DCIM/IMG_0.JPG", (WHEN + 7, WHEN + 7))
    assert machine.copy(source, copy).expect(0).report["unchanged"] == 3
    assert machine.copy(source, copy).expect(0).report["unchanged"] == 4


@pytest.mark.root
@pytest.mark.row(33)
def test_what_a_fat_does_not_take(machine: Photosync, fat: Path, tmp_path: Path) -> None:
    """Names are stored as others; a file of 4 GiB is refused before anything of it is written."""
    source, copy = tmp_path / "source", fat / "copy"
    odd = {"a:b.JPG": photo(3000, 1), "what?.JPG": photo(3001, 2), "end..JPG": photo(3002, 3)}
    write(source, odd)
    with (source / "film.MP4").open("wb") as file:
        file.truncate(4 << 30)
    done = machine.copy(source, copy).expect(6)
    assert "takes files of at most 4,294,967,295." in done.files("refused")["film.MP4"]["error"]
    assert set(done.files("verified")) == set(odd)
    stored = {path: copy / row["stored"] for path, row in done.files("verified").items()}
    assert {path: place.read_bytes() for path, place in stored.items()} == odd
    assert machine.copy(source, copy).expect(6).report["unchanged"] == 3
