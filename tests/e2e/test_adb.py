"""An Android phone with USB debugging, copied end to end through a real adb server and a real adbd."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from photosync.sample import build_library
from tests.e2e.cli import Photosync, finish, noise, photo, rclone_check, tree, write
from tests.e2e.places import Bucket, LocalFolder, wait_until
from tests.servers import adbd as server
from tests.servers import fuse_phone
from tests.servers.adbd import AdbdPhone
from tests.servers.fuse_phone import FuseLibrary

FIVE_GIB = (5 << 30) + 7
MIB = 1 << 20
STORAGE = "Internal shared storage"
PHONE = "phone@google-pixel-8:"
DCIM = f"phone@google-pixel-8:{STORAGE}/DCIM"
Plugged = Callable[..., AdbdPhone]

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 files of the formats that phones make."""
    folder = tmp_path_factory.mktemp("android")
    folder.chmod(0o755)  # adb's shell is not the one who made it
    build_library(folder, files=500)
    return folder


@pytest.fixture
def plugged(machine: Photosync, tmp_path: Path) -> Iterator[Plugged]:
    """Plugs a phone in: ``plugged(folder, **options)``."""
    if why := server.why_not():
        pytest.skip(why)
    with contextlib.ExitStack() as stack:

        def plug(folder: Path, **options: Any) -> AdbdPhone:
            phone = stack.enter_context(server.adbd(folder, tmp_path / "adbd", **options))
            machine.env |= phone.env()
            return phone

        yield plug


@pytest.fixture
def slow_storage(tmp_path: Path) -> Iterator[Callable[[Path], FuseLibrary]]:
    """A phone's storage at 30 MB a second."""
    if why := fuse_phone.why_not():
        pytest.skip(why)
    with contextlib.ExitStack() as stack:

        def mounted(folder: Path) -> FuseLibrary:
            mount = tmp_path / "storage"
            mount.mkdir()
            return stack.enter_context(
                fuse_phone.fuse_phone(folder, mount, subtype="storage", bytes_per_second=30 * MIB)
            )

        yield mounted


def below(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{STORAGE}/{path}": data for path, data in files.items()}


@pytest.mark.route("library", "adb")
def test_a_library(machine: Photosync, plugged: Plugged, library: Path, local: LocalFolder) -> None:
    phone = plugged(library)
    (row,) = [row for row in machine.run("devices", "--json").expect(0).events if row["route"] == "adb"]
    assert (row["model"], row["identity"], row["hint"]) == (
        "Google Pixel 8",
        f"serial:{phone.hardware}",
        None,
    )
    before = tree(library)
    first = machine.copy(PHONE, local.text).expect(0)
    assert first.report["verified"] == len(before) >= 500
    assert first.report["source_bytes_read"] == sum(map(len, before.values()))
    assert local.files() == below(before)
    rclone_check(library, f"{local.text}/{STORAGE}")
    for file in library.rglob("*.HEIC"):
        twin = local.folder / STORAGE / file.relative_to(library)
        assert int(twin.stat().st_mtime) == int(file.stat().st_mtime), "times are kept"
    again = machine.copy(PHONE, local.text).expect(0).report
    assert (again["status"], again["source_bytes_read"]) == ("nothing", 0)
    assert tree(library) == before


@pytest.mark.route("unplugged", "adb")
def test_unplugged_in_the_middle_of_a_video(
    machine: Photosync,
    plugged: Plugged,
    slow_storage: Callable[[Path], FuseLibrary],
    local: LocalFolder,
    tmp_path: Path,
) -> None:
    files = {f"DCIM/Camera/PXL_{number:04}.jpg": noise(100_000, number) for number in range(20)}
    files["DCIM/Camera/VID_9000.mp4"] = noise(30 * MIB)
    storage = slow_storage(write(tmp_path / "media", files, mtime=1_700_000_000))
    phone = plugged(storage.mount, user=0)
    process = machine.start("copy", PHONE, local.text, "--json")
    wait_until(lambda: storage.counters()["bytes"] > 12 * MIB or process.poll() is not None, 120)
    phone.unplug()
    first = finish(process).expect(7)
    assert first.report["pending"] + first.report["failed"] >= 1
    assert any(word in first.report["error"] for word in ("unplug it", "Unlock"))
    held = local.files()
    assert all(below(files)[path] == data for path, data in held.items()), "no half photo has its final name"
    assert len(held) == first.report["verified"]

    assert machine.copy(PHONE, local.text).code == 7
    assert local.files() == held, "a phone that is gone is no reason to do anything"

    phone.plug_in()
    second = machine.copy(PHONE, local.text).expect(0).report
    assert second["verified"] == len(files) - len(held)
    assert local.files() == below(files)
    assert machine.copy(PHONE, local.text).expect(0).report["status"] == "nothing"


def test_a_folder_that_is_closed_is_told_and_nothing_is_taken_for_deleted(
    machine: Photosync, plugged: Plugged, local: LocalFolder, tmp_path: Path
) -> None:
    files = {f"DCIM/{folder}/{number}.jpg": noise(1000, number) for folder in "AB" for number in range(5)}
    folder = write(tmp_path / "media", files)
    plugged(folder)
    machine.run("sync", PHONE, local.text).expect(0)
    (folder / "DCIM/B").chmod(0)
    done = machine.run("sync", PHONE, local.text, "--json")
    assert done.code in (5, 6, 7), done
    assert "DCIM/B" in done.out + done.err
    assert local.files() == below(files)


def test_a_locked_phone_and_one_that_is_gone(
    machine: Photosync, plugged: Plugged, local: LocalFolder, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    phone = plugged(tmp_path / "empty")
    done = machine.run("copy", PHONE, local.text).expect(7)
    assert "Unlock the phone" in done.err
    phone.unplug()
    machine.run("copy", PHONE, local.text).expect(7)
    assert not local.folder.exists()


def test_another_phone_is_refused(
    machine: Photosync, plugged: Plugged, local: LocalFolder, tmp_path: Path
) -> None:
    phone = plugged(write(tmp_path / "media", {"DCIM/1.jpg": b"mine"}))
    machine.copy(PHONE, local.text).expect(0)
    phone.tell("HERS")
    refused = machine.copy(PHONE, local.text).expect(7)
    assert "--new-device" in refused.report["error"]


def test_the_end_of_a_video_beyond_4_gib(machine: Photosync, plugged: Plugged, tmp_path: Path) -> None:
    folder = write(tmp_path / "media", {"DCIM/VID.mp4": noise(MIB)})
    os.truncate(folder / "DCIM/VID.mp4", FIVE_GIB)
    plugged(folder)
    (row,) = machine.run("ls", DCIM).expect(0).out.splitlines()
    assert row.split() == [str(FIVE_GIB), "VID.mp4"]


@pytest.mark.timeout(1200)
@pytest.mark.route("beyond", "adb")
def test_a_library_with_a_video_beyond_4_gib(
    machine: Photosync, plugged: Plugged, library: Path, tmp_path: Path
) -> None:
    video = library / "DCIM/VID_LONG.MP4"
    video.write_bytes(noise(MIB))
    os.truncate(video, FIVE_GIB)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    try:
        plugged(library)
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            report = machine.copy(PHONE, f"{folder}/copy", timeout=1000).expect(0).report
            assert report["verified"] > 500
            subprocess.run(["diff", "-r", library / "DCIM", f"{folder}/copy/{STORAGE}/DCIM"], check=True)
    finally:
        video.unlink()


def test_freed_by_adb(
    machine: Photosync, plugged: Plugged, local: LocalFolder, bucket: Bucket, tmp_path: Path
) -> None:
    files = {f"DCIM/Camera/PXL_{number}.jpg": photo(5000 + number, number) for number in range(4)}
    storage = write(tmp_path / "media", files, mtime=1_700_000_000)
    plugged(storage, user=0)
    bucket.admit(machine)
    for place in (local, bucket):
        machine.copy(DCIM, place.text).expect(0)
    bucket.delete("Camera/PXL_2.jpg")
    done = machine.run("free-up", DCIM, "--yes", "--json").expect(1)
    assert done.report["deleted"] == 3
    assert tree(storage) == {"DCIM/Camera/PXL_2.jpg": files["DCIM/Camera/PXL_2.jpg"]}
    assert len(local.files()) == 4
