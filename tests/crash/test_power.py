"""The power is cut at some moment of a whole copy: phone's copy, journal, manifest and all on one disk."""

import contextlib
import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from photosync.engine.names import is_ours
from tests.backends.mounts import mounted
from tests.e2e.cli import Photosync, noise, program, tree, write

# linux/fs/ext4/ext4.h and fs/xfs/libxfs/xfs_fs.h agree: _IOR('X', 125, __u32); 2 leaves the log unflushed.
_SHUTDOWN = 0x8004587D
_NOLOGFLUSH = 2
SIZES = {"ext4": 128 << 20, "xfs": 320 << 20}
FILES = {f"DCIM/{number % 3}/IMG_{number:03}.JPG": noise(30_000 + number, number) for number in range(60)}
FILES |= {f"DCIM/VID_{number}.MP4": noise((9 << 20) + number, number) for number in range(2)}


class Computer:
    """A machine with one disk, the power of which can be cut while it copies a phone."""

    def __init__(self, kind: str, folder: Path) -> None:
        if os.getuid() != 0 or shutil.which(f"mkfs.{kind}") is None:
            pytest.skip(f"needs root and mkfs.{kind}")
        self.kind, self.at, self.image = kind, folder / "disk", folder / "image"
        self.phone = write(folder / "phone", FILES, mtime=1_600_000_000)
        self.machine = Photosync(self.at / "machine")

    def new_disk(self) -> None:
        self.image.unlink(missing_ok=True)
        with self.image.open("wb") as file:
            file.truncate(SIZES[self.kind])
        force = "-F" if self.kind == "ext4" else "-f"
        subprocess.run([f"mkfs.{self.kind}", "-q", force, self.image], check=True)

    def mounted(self) -> contextlib.AbstractContextManager[Path]:
        return mounted(self.kind, self.at, "loop", self.image)

    def cut(self, seconds: float) -> set[str]:
        """Copies, cuts the power so long after the first photo is there, and gives what was told verified."""
        with self.mounted():
            self.machine = Photosync(self.at / "machine")
            told = self.image.with_name("told")
            with told.open("wb") as out:
                process = subprocess.Popen(
                    self.words(), env=self.machine.env, stdout=out, stderr=subprocess.DEVNULL
                )
            deadline = time.monotonic() + 60
            while process.poll() is None and not self.there() and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(seconds)
            disk = os.open(self.at, os.O_RDONLY)
            fcntl.ioctl(disk, _SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
            os.close(disk)
            process.kill()
            process.wait()
        lines = told.read_bytes().splitlines(keepends=True)
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return {row["path"] for row in rows if row["event"] == "file" and row["status"] == "verified"}

    def words(self) -> list[str]:
        return [
            program("photosync"),
            "copy",
            str(self.phone),
            str(self.at / "copy"),
            "--json",
            "--bwlimit",
            "20M",
        ]

    def there(self) -> dict[str, bytes]:
        """What final names hold."""
        copy = self.at / "copy"
        with contextlib.suppress(OSError):
            return {path: data for path, data in tree(copy).items() if not is_ours(path)}
        return {}

    def check(self, verified: set[str]) -> None:
        """After the power is back: nothing is half there or missing that was told, and a run ends it."""
        with self.mounted():
            there = self.there()
            for path, data in there.items():
                assert data == FILES[path], f"{path} holds {len(data)} bytes that are not the file's"
            assert verified <= set(there), "told verified, and gone"
            self.machine.copy(self.phone, self.at / "copy").expect(0)
            assert self.there() == FILES
            again = self.machine.copy(self.phone, self.at / "copy").expect(0)
            assert again.report["status"] == "nothing"
            self.machine.run("verify", self.at / "copy").expect(0)


def cut_again_and_again(kind: str, folder: Path, times: int) -> None:
    dice = random.Random(f"power of {kind}")
    computer = Computer(kind, folder)
    cut_short = 0
    for _ in range(times):
        computer.new_disk()
        verified = computer.cut(dice.uniform(0.0, 0.6))
        cut_short += len(verified) < len(FILES)
        computer.check(verified)
    assert cut_short, "every copy was over before the power went"


@pytest.mark.root
@pytest.mark.row(25)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_during_a_copy(tmp_path: Path, kind: str) -> None:
    cut_again_and_again(kind, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.root
@pytest.mark.row(25)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_during_many_copies(tmp_path: Path, kind: str) -> None:
    cut_again_and_again(kind, tmp_path, 40)
