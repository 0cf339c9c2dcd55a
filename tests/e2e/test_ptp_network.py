"""A camera copied end to end by PTP/IP, through the real libgphoto2 and the driver that it has for USB."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.sample import build_library
from tests.e2e.cli import Photosync, noise, write
from tests.e2e.places import LocalFolder
from tests.servers import virtual_camera
from tests.servers.ptp_operations import ANDROID, GALAXY, NIKON, Device
from tests.servers.ptpip_camera import PtpIpCamera

MIB = 1 << 20
BEYOND = (1 << 32) + 4_711
STORAGE = "store_00010001"


@pytest.fixture(autouse=True)
def package() -> None:
    if why := virtual_camera.why_not():
        pytest.skip(why)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 files of the formats that phones and cameras make."""
    made = tmp_path_factory.mktemp("made")
    build_library(made, files=500)
    return made


@pytest.fixture
def memory() -> Iterator[Path]:
    """Room for gigabytes that need not reach a disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


def plugged(machine: Photosync, camera: PtpIpCamera) -> str:
    """Lets a machine find the camera; gives the place."""
    machine.env["PHOTOSYNC_NETWORK_CAMERA"] = camera.address
    return f"phone@{camera.device.model.name.lower().replace(' ', '-')}:"


def below(files: dict[str, bytes], storage: str = STORAGE) -> dict[str, bytes]:
    return {f"{storage}/{path}": data for path, data in files.items()}


@pytest.mark.row(11)
@pytest.mark.timeout(1200)
@pytest.mark.route("beyond", "ptp")
def test_a_library_with_a_video_beyond_4_gib(machine: Photosync, library: Path, memory: Path) -> None:
    video = library / "DCIM/DSC_9000.MOV"
    video.write_bytes(noise(MIB))
    os.truncate(video, BEYOND)
    files = {path.relative_to(library): path.stat().st_size for path in library.rglob("*") if path.is_file()}
    try:
        with PtpIpCamera(Device(NIKON, {"card": library})) as camera:
            place = plugged(machine, camera)
            report = machine.copy(place, memory / "copy", timeout=1000).expect(0).report
            assert report["verified"] == len(files) > 500
            assert report["source_bytes_read"] == sum(files.values())
            subprocess.run(["diff", "-r", library / "DCIM", memory / "copy" / STORAGE / "DCIM"], check=True)
            again = machine.copy(place, memory / "copy").expect(0).report
            assert (again["status"], again["source_bytes_read"]) == ("nothing", 0)
            assert camera.violations == []
    finally:
        video.unlink()


@pytest.mark.row(1)
def test_unplugged_in_the_middle_of_a_video(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    files = {f"DCIM/100NIKON/DSC_{number:04}.JPG": noise(100_000, number) for number in range(20)}
    files["DCIM/100NIKON/DSC_9000.MOV"] = noise(40 * MIB)
    folder = write(tmp_path / "media", files, mtime=1_700_000_000)
    with PtpIpCamera(Device(NIKON, {"card": folder})) as camera:
        place = plugged(machine, camera)
        # The video comes last.
        camera.unplug_after(20 * 100_000 + 20 * MIB)
        first = machine.copy(place, local.text).expect(7)
        assert first.report["pending"] + first.report["failed"] == 1
        held = local.files()
        assert held == {path: data for path, data in below(files).items() if path.endswith(".JPG")}
        assert machine.copy(place, local.text).code == 7
        assert local.files() == held, "a camera that is gone is no reason to do anything"
        camera.plug_in()
        second = machine.copy(place, local.text).expect(0).report
        assert (second["verified"], second["source_bytes_read"]) == (1, 40 * MIB)
        assert camera.violations == []
    assert local.files() == below(files)


def test_busy_for_a_moment(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    files = {f"DCIM/100NIKON/DSC_{number:04}.JPG": noise(100_000, number) for number in range(5)}
    folder = write(tmp_path / "media", files)
    with PtpIpCamera(Device(NIKON, {"card": folder}, busy=2)) as camera:
        report = machine.copy(plugged(machine, camera), local.text).expect(0).report
    assert report["verified"] == 5
    assert local.files() == below(files)


@pytest.mark.row(11)
def test_sizes_that_are_not_told_right(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    """0xFFFFFFFF for "4 GiB or more", and modulo 2**32 with as much sent: refused, and the others arrive."""
    files = {"DCIM/Camera/IMG_1.jpg": noise(100_000), "DCIM/Camera/IMG_2.jpg": noise(1)}
    folder = write(tmp_path / "media", files)
    with (folder / "DCIM/Camera/VID_1.mp4").open("wb") as file:
        file.write(b"\0\0\0\1mdat" + ((1 << 32) + 2 * MIB).to_bytes(8, "big"))
        file.truncate((1 << 32) + 2 * MIB)
    for model in (ANDROID, GALAXY):
        with PtpIpCamera(Device(model, {"Internal": folder})) as camera:
            done = machine.copy(plugged(machine, camera), local.text, "--new-device").expect(6)
            (failed,) = done.files("failed").values()
            assert "4 GiB" in failed["error"], model.name
            assert local.files() == below(files)
            machine.lose_state()


def test_two_storages_empty_files_and_odd_names(
    machine: Photosync, local: LocalFolder, tmp_path: Path
) -> None:
    internal = {
        "DCIM/Camera/été 照片.jpg": noise(5000),
        "DCIM/Camera/empty.jpg": b"",
        "Pictures/1.png": noise(9),
    }
    card = {"DCIM/Camera/été 照片.jpg": noise(5000, 1), "DCIM/" + "x" * 250 + ".jpg": noise(100)}
    folders = {"Internal": write(tmp_path / "a", internal), "SD card": write(tmp_path / "b", card)}
    with PtpIpCamera(Device(ANDROID, folders)) as camera:
        # A job of cron has no locale.
        done = machine.copy(plugged(machine, camera), local.text, env={"LANG": "", "LC_ALL": "C"}).expect(0)
    assert done.report["verified"] == 5
    assert local.files() == below(internal) | below(card, "store_00020001")


def test_two_files_that_libgphoto2_cannot_tell_apart(
    machine: Photosync, local: LocalFolder, tmp_path: Path
) -> None:
    good = {"DCIM/Camera/IMG_1.jpg": noise(100_000)}
    bad = {"DCIM/WhatsApp/😀.jpg": noise(5000, 1), "DCIM/WhatsApp/😁.jpg": noise(5000, 2)}
    folder = write(tmp_path / "media", good | bad)
    with PtpIpCamera(Device(ANDROID, {"Internal": folder})) as camera:
        done = machine.copy(plugged(machine, camera), local.text)
    assert done.code not in (0, 2)
    assert "gives the same name" in done.out + done.err
    assert local.files() == below(good)


def test_the_machine_s_zone_changes(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    """Dates come without a zone, and are then an hour later: nothing is copied twice."""
    files = {f"DCIM/Camera/IMG_{number}.jpg": noise(5000, number) for number in range(3)}
    folder = write(tmp_path / "media", files, mtime=1_700_000_000)
    with PtpIpCamera(Device(ANDROID, {"Internal": folder})) as camera:
        place = plugged(machine, camera)
        machine.copy(place, local.text, env={"TZ": "CET-1"}).expect(0)
        second = machine.copy(place, local.text, env={"TZ": "UTC0"}).expect(0).report
    assert (second["verified"], second["written"]) == (3, 0)
    assert local.files() == below(files)
