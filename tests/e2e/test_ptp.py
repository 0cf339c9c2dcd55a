"""A camera copied end to end by PTP, through the real libgphoto2 and its virtual camera."""

from pathlib import Path

import pytest

from photosync.sample import build_library
from tests.e2e.cli import Photosync, noise, rclone_check, tree, write
from tests.e2e.places import LocalFolder
from tests.servers import fuse_phone, virtual_camera
from tests.servers.virtual_camera import PLACE, STORAGE

MIB = 1 << 20


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 files of the formats that phones and cameras make."""
    if why := virtual_camera.why_not():
        pytest.skip(why)
    made = tmp_path_factory.mktemp("made")
    build_library(made, files=500)
    return virtual_camera.with_names_it_knows(made, tmp_path_factory.mktemp("camera"))


def below(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{STORAGE}/{path}": data for path, data in files.items()}


@pytest.mark.route("library", "ptp")
def test_a_library(machine: Photosync, library: Path, local: LocalFolder) -> None:
    machine.env |= virtual_camera.env(library)
    (row,) = [row for row in machine.run("devices", "--json").expect(0).events if row["route"] == "ptp"]
    assert (row["model"], row["hint"]) == ("Nikon DSC D750", None)
    files = tree(library)
    first = machine.copy(PLACE, local.text).expect(0).report
    assert first["verified"] == len(files) >= 499
    assert first["source_bytes_read"] == sum(map(len, files.values()))
    assert local.files() == below(files)
    rclone_check(library, f"{local.text}/{STORAGE}")
    again = machine.copy(PLACE, local.text).expect(0).report
    assert (again["status"], again["source_bytes_read"]) == ("nothing", 0)


@pytest.mark.root
@pytest.mark.route("unplugged", "ptp")
def test_unplugged_in_the_middle_of_a_video(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    if why := fuse_phone.why_not() or virtual_camera.why_not():
        pytest.skip(why)
    files = {f"DCIM/100NIKON/DSC_{number:04}.JPG": noise(100_000, number) for number in range(20)}
    files["DCIM/100NIKON/DSC_9000.jpg.MOV"] = noise(40 * MIB)
    folder = write(tmp_path / "media", files, mtime=1_700_000_000)
    (tmp_path / "card").mkdir()
    with fuse_phone.fuse_phone(folder, tmp_path / "card", bytes_per_second=200 * MIB) as card:
        machine.env |= virtual_camera.env(tmp_path / "card")
        rehearsal = Photosync(tmp_path / "rehearsal", virtual_camera.env(tmp_path / "card"))
        rehearsal.copy(PLACE, tmp_path / "rehearsed").expect(0)
        # The video comes last: the cable is out when half of it was read.
        card.set(unplug_after=2 * card.counters()["bytes"] - 20 * MIB, unplug_as="enodev")
        first = machine.copy(PLACE, local.text).expect(7)
        assert first.report["pending"] + first.report["failed"] >= 1
        held = local.files()
        assert all(below(files)[path] == data for path, data in held.items()), "nothing is half"
        assert len(held) == first.report["verified"]
        assert machine.copy(PLACE, local.text).code == 7
        assert local.files() == held, "a camera that is gone is no reason to do anything"
        card.plug_in()
        second = machine.copy(PLACE, local.text).expect(0).report
    assert second["verified"] == len(files) - len(held)
    assert local.files() == below(files)
