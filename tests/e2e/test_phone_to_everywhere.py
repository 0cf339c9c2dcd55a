"""The main job: a phone that is plugged in, copied to every kind of place, proven, and found unchanged."""

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.sample import build_library, build_sample
from tests.e2e.cli import Done, Photosync, noise, rclone_check, sha256sum_check, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Bucket, DriveFolder, DropboxFolder, LocalFolder, Where, save
from tests.servers.sshd import Sshd

MIB = 1 << 20


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """300 files from 0 bytes up and one of 64 MiB, below DCIM; the edges of part sizes among them."""
    folder = tmp_path_factory.mktemp("library")
    build_library(folder, files=300, big=(64 * MIB,))
    edges = {
        f"DCIM/Edges/{size}.bin": noise(size, size) for size in (0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1)
    }
    write(folder, edges, mtime=1_700_000_000)
    yield folder
    shutil.rmtree(folder)


def copied(machine: Photosync, phone: str, place: Where, library: Path, scratch: Path) -> Done:
    """Copies, and has photosync's word for it checked by others; gives the second run."""
    files = [file for file in library.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    first = machine.copy(phone, place.text).expect(0)
    report = first.report
    assert report["status"] == "ok"
    assert {name: report[name] for name in ("verified", "written", "unchanged", "conflict", "failed")} == {
        "verified": len(files), "written": 0, "unchanged": 0, "conflict": 0, "failed": 0,
    }  # fmt: skip
    assert report["bytes"] == size
    assert report["source_bytes_read"] == size, "every byte of the phone is read once"
    assert set(first.files()) == {str(file.relative_to(library)) for file in files}
    assert all(row["evidence"] != "none" for row in first.files().values())

    there = place.files()
    assert len(there) == len(files)
    sums = scratch / "SHA256SUMS"
    machine.run("manifest", "export", place.text, "--output", sums).expect(0)
    assert len(sums.read_bytes().splitlines()) == len(files)
    verdict = sha256sum_check(save(there, scratch / "downloaded"), sums)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr

    second = machine.copy(phone, place.text).expect(0)
    report = second.report
    assert report["status"] == "nothing"
    assert report["unchanged"] == len(files)
    assert report["bytes"] == report["source_bytes_read"] == 0
    assert not second.files()
    assert report["root"] == first.report["root"]
    assert report["snapshot"] == first.report["snapshot"] == 1
    return second


def test_a_folder(machine: Photosync, plug: Plug, library: Path, local: LocalFolder, tmp_path: Path) -> None:
    phone, rig = plug(library)
    copied(machine, phone, local, library, tmp_path)
    rclone_check(library, local.text)
    assert rig.counters()["jumps"] == 0, "a phone is read from front to back"
    assert rig.counters()["together"] <= 1, "a phone is read one file at a time"
    for file in library.rglob("*.HEIC"):
        twin = local.folder / file.relative_to(library)
        assert abs(twin.stat().st_mtime - file.stat().st_mtime) < 1, "times are kept"


@pytest.mark.route("library", "a mount")
@pytest.mark.route("beyond", "a mount")
@pytest.mark.timeout(900)
def test_500_files_and_a_video_beyond_4_gib(machine: Photosync, plug: Plug, tmp_path: Path) -> None:
    source = tmp_path / "phone content"
    build_library(source, files=499)
    video = write(source, {"DCIM/Camera/VID_LONG.mp4": noise(MIB)}) / "DCIM/Camera/VID_LONG.mp4"
    os.truncate(video, (4 << 30) + 7)
    phone, _ = plug(source)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        report = machine.copy(phone, f"{folder}/copy", timeout=800).expect(0).report
        assert report["verified"] >= 500
        subprocess.run(["diff", "-r", "-x", ".photosync", source, f"{folder}/copy"], check=True)


def test_s3(machine: Photosync, plug: Plug, library: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.admit(machine)
    second = copied(machine, plug(library)[0], bucket, library, tmp_path)
    rclone_check(library, bucket.rclone(), bucket.env())
    assert second.requests["ListObjectsV2"] == 1
    assert sum(second.requests.values()) <= 3, second.requests
    assert "HeadObject" not in second.requests


def test_dropbox(
    machine: Photosync, plug: Plug, library: Path, dropbox: DropboxFolder, tmp_path: Path
) -> None:
    dropbox.admit(machine)
    emulator = dropbox.account
    phone, _ = plug(library)
    before = emulator.requests.copy()
    second = copied(machine, phone, dropbox, library, tmp_path)
    assert sum(second.requests.values()) <= 3, second.requests
    before = emulator.requests.copy()
    assert machine.copy(phone, dropbox.text).expect(0).report["status"] == "nothing"
    asked = emulator.requests - before
    assert sum(asked.values()) <= 3, f"the server's own count: {asked}"
    env = {**emulator.env(), "RCLONE_CONFIG": str(machine.home / "rclone.conf")}
    rclone_check(library, dropbox.text, env)


class OverSsh(LocalFolder):
    """A folder that photosync reaches by SFTP, and the test by its path."""

    text = "nas:copy"

    @classmethod
    def of(cls, machine: Photosync, server: Sshd, folder: Path) -> "OverSsh":
        machine.config.write_text(
            f'[remotes.nas]\ntype = "sftp"\nhost = "127.0.0.1"\nport = {server.port}\n'
            f'user = "{server.user}"\nkey_file = "{server.key}"\n'
            f'known_hosts = "{server.known_hosts}"\nroot = "{folder}"\n'
        )
        return cls(folder / "copy")


def test_sftp(machine: Photosync, plug: Plug, library: Path, ssh_server: Sshd, tmp_path: Path) -> None:
    place = OverSsh.of(machine, ssh_server, tmp_path)
    copied(machine, plug(library)[0], place, library, tmp_path)
    rclone_check(library, str(place.folder))


@pytest.mark.parametrize("place", ["local", "bucket", "dropbox", "drive"], indirect=True)
@pytest.mark.row(77, 78)
def test_names_that_no_place_likes(machine: Photosync, plug: Plug, place: Where, tmp_path: Path) -> None:
    source = tmp_path / "odd"
    build_sample(source, photos=3)
    # Android's own thumbnails are no photos: a phone's store leaves them out, and says so.
    shutil.rmtree(source / "DCIM/.thumbnails")
    photos = [file.read_bytes() for file in source.rglob("*") if file.is_file()]
    phone, _ = plug(source)
    first = machine.copy(phone, place.text).expect(0)
    assert first.report["verified"] == len(photos)
    assert sorted(place.files().values()) == sorted(photos)
    sums = tmp_path / "SHA256SUMS"
    machine.run("manifest", "export", place.text, "--output", sums).expect(0)
    verdict = sha256sum_check(save(place.files(), tmp_path / "downloaded"), sums)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    assert machine.copy(phone, place.text).expect(0).report["unchanged"] == len(photos)


GIB = 1 << 30
KILLS = 10


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """2,000 files from 0 bytes up and one of 1 GiB."""
    folder = tmp_path_factory.mktemp("large")
    build_library(folder, files=2000, big=(GIB,))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def nas(machine: Photosync, ssh_server: Sshd, tmp_path: Path) -> LocalFolder:
    return OverSsh.of(machine, ssh_server, tmp_path)


def assert_rclone_agrees(machine: Photosync, library: Path, place: Where) -> None:
    match place:
        case Bucket():
            rclone_check(library, place.rclone(), place.env())
        case DropboxFolder() | DriveFolder():
            env = {**place.account.env(), "RCLONE_CONFIG": str(machine.home / "rclone.conf")}
            rclone_check(library, place.text, env)
        case LocalFolder():
            rclone_check(library, str(place.folder))


LARGE = pytest.mark.parametrize("place", ["local", "bucket", "dropbox", "drive", "nas"], indirect=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@LARGE
def test_a_large_library(machine: Photosync, plug: Plug, place: Where, large: Path, tmp_path: Path) -> None:
    second = copied(machine, plug(large)[0], place, large, tmp_path)
    assert_rclone_agrees(machine, large, place)
    if isinstance(place, Bucket):
        assert second.requests["ListObjectsV2"] == -(-len(place.keys()) // 1000)
        assert "HeadObject" not in second.requests
    if isinstance(place, DropboxFolder):
        assert sum(second.requests.values()) <= 3, second.requests


@pytest.mark.slow
@pytest.mark.timeout(1800)
@LARGE
def test_a_large_library_killed_ten_times(machine: Photosync, plug: Plug, place: Where, large: Path) -> None:
    whole = tree(large)
    phone, _ = plug(large)
    rng = random.Random(f"kills of {place.name}")
    for _ in range(KILLS):
        with machine.start("copy", phone, place.text, "--json") as process:
            time.sleep(rng.uniform(0.3, 6.0))
            process.kill()
        for path, data in place.files().items():
            assert whole[path] == data, path
    report = machine.copy(phone, place.text, timeout=900).expect(0).report
    assert report["verified"] + report["unchanged"] == len(whole)
    assert place.files() == whole, "each photo once, under its own name"
    assert_rclone_agrees(machine, large, place)
    assert machine.copy(phone, place.text).expect(0).report["status"] == "nothing"
