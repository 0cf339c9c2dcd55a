"""``restore`` to a phone: new files only, each read back, by the routes that can write."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from photosync.backends import phone_creation
from tests.e2e.cli import Photosync, noise, photo, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import LocalFolder
from tests.servers import adbd
from tests.servers.adbd import AdbdPhone
from tests.servers.fuse_phone import FuseLibrary

OLD = 1_600_000_000
FILES = {
    "DCIM/Camera/IMG_1.JPG": photo(3000, 1),
    "DCIM/Camera/it's \u00e9.JPG": photo(4000, 2),
    "Pictures/VID_2.MP4": noise((5 << 20) + 3, 3),
    "DCIM/Camera/empty.JPG": b"",
}
RESTORED = {f"DCIM/Restored/{path.removeprefix('DCIM/')}": data for path, data in FILES.items()}


@pytest.fixture
def library(machine: Photosync, tmp_path: Path, local: LocalFolder) -> LocalFolder:
    machine.copy(write(tmp_path / "source", FILES, OLD), local.text).expect(0)
    return local


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """What is on the phone already."""
    return write(tmp_path / "content", {"DCIM/Camera/IMG_1.JPG": photo(99, "mine")}, OLD)


@pytest.fixture
def mounted(plug: Plug, content: Path) -> tuple[str, FuseLibrary]:
    return plug(content, read_only=False)


def restore(machine: Photosync, library: LocalFolder, *words: str, code: int = 0) -> dict[str, object]:
    return machine.run("restore", library.text, "--json", *words).expect(code).report


def test_into_a_folder_of_its_own(
    machine: Photosync, library: LocalFolder, content: Path, mounted: tuple[str, FuseLibrary]
) -> None:
    phone, rig = mounted
    before = tree(content)
    report = restore(machine, library, phone, "--yes")
    assert (report["status"], report["verified"]) == ("ok", len(FILES))
    assert tree(content) == before | RESTORED
    assert {int((content / path).stat().st_mtime) for path in RESTORED} == {OLD}
    assert rig.counters()["replaced"] == 0
    written = rig.counters()["written"]
    report = restore(machine, library, "--to", phone, "--yes")
    assert (report["status"], report["unchanged"]) == ("nothing", len(FILES))
    assert rig.counters()["written"] == written
    report = restore(machine, library, "Pictures", "--to", phone, "--yes")
    assert report["unchanged"] == 1
    assert "where the files go" in machine.run("restore", library.text).expect(2).err


def test_nothing_that_is_there_is_replaced(
    machine: Photosync, library: LocalFolder, content: Path, mounted: tuple[str, FuseLibrary]
) -> None:
    phone, rig = mounted
    mine = {"DCIM/Restored/Camera/IMG_1.JPG": photo(3000, "mine, too"), "DCIM/Restored/Pictures": b"a file"}
    before = tree(write(content, mine, OLD))
    done = machine.run("restore", library.text, phone, "--yes", "--json").expect(6)
    after = tree(content)
    assert after.items() >= before.items()
    assert photo(3000, 1) in after.values(), "it is kept beside"
    assert set(done.files("failed")) == {"Pictures/VID_2.MP4"}
    assert set(done.files("conflict")) == {"DCIM/Camera/IMG_1.JPG"}
    assert rig.counters()["replaced"] == 0
    assert not [path for path in after if path.endswith(".part")]


def test_asked_first_and_a_part_of_it(
    machine: Photosync, library: LocalFolder, content: Path, mounted: tuple[str, FuseLibrary]
) -> None:
    phone, rig = mounted
    before = tree(content)
    done = machine.run("restore", library.text, phone).expect(0)
    assert "--yes" in done.err
    done = machine.run("restore", library.text, phone, "-n", "--json").expect(0)
    assert {row["to"] for row in done.events if row["event"] == "plan"} == set(RESTORED)
    assert tree(content) == before
    assert rig.counters()["written"] == 0
    restore(machine, library, f"{phone}DCIM/Camera", "Pictures", "--yes")
    assert tree(content) == before | {"DCIM/Camera/Pictures/VID_2.MP4": FILES["Pictures/VID_2.MP4"]}


def test_what_the_phone_garbles_gets_no_name(
    machine: Photosync, library: LocalFolder, content: Path, plug: Plug
) -> None:
    phone, _ = plug(content, read_only=False, spoils_writing=True)
    before = tree(content)
    done = machine.run("restore", library.text, phone, "--yes", "--json")
    assert done.code in (1, 6)
    assert len(done.files("failed")) == 3
    assert "not what was sent" in next(iter(done.files("failed").values()))["error"]
    assert tree(content) == before | {"DCIM/Restored/Camera/empty.JPG": b""}


def test_a_mount_that_keeps_no_times(
    machine: Photosync, library: LocalFolder, content: Path, plug: Plug
) -> None:
    phone, _ = plug(content, read_only=False, keeps_times=False)
    restore(machine, library, phone, "--yes")
    assert tree(content).items() >= RESTORED.items()


@pytest.mark.parametrize("how", ["read-only", "iphone"])
def test_routes_that_cannot(
    machine: Photosync, library: LocalFolder, content: Path, plug: Plug, how: str
) -> None:
    before = tree(content)
    phone, _ = (
        plug(content, read_only=True)
        if how == "read-only"
        else plug(content, subtype="ifuse", read_only=False)
    )
    done = machine.run("restore", library.text, phone, "--yes").expect(7 if how == "read-only" else 2)
    assert "Restore to a folder" in done.err
    assert tree(content) == before


def test_killed_in_the_middle(machine: Photosync, library: LocalFolder, content: Path, plug: Plug) -> None:
    phone, rig = plug(content, read_only=False, latency=0.02)
    before = tree(content)
    with machine.start("restore", library.text, phone, "--yes") as process:
        while rig.counters()["written"] < 2 << 20:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    held = {path: data for path, data in tree(content).items() if not path.endswith(".part")}
    assert held.items() <= (before | RESTORED).items(), "no half photo has its final name"
    rig.set(latency=0)
    restore(machine, library, phone, "--yes")
    assert tree(content) == before | RESTORED


def test_only_what_is_missing_needs_room(
    machine: Photosync, library: LocalFolder, content: Path, mounted: tuple[str, FuseLibrary]
) -> None:
    """A restore that was interrupted goes on, though there would be no room for all of it once more."""
    phone, rig = mounted
    rig.set(free=1 << 20)
    before = tree(content)
    done = machine.run("restore", library.text, phone, "--yes").expect(7)
    assert "restore less at a time" in done.err
    assert tree(content) == before
    video = "DCIM/Restored/Pictures/VID_2.MP4"
    half = phone_creation.temporary(video, blake3(RESTORED[video]).hexdigest())
    write(content, {half: RESTORED[video][: 5 << 20]})
    copied = machine.run("copy", phone, content.parent / "copied", "--json").expect(0)
    assert set(copied.files()) == {"DCIM/Camera/IMG_1.JPG"}, "half a video is none of the phone's photos"
    restore(machine, library, phone, "--yes")
    assert tree(content) == before | RESTORED
    report = restore(machine, library, phone, "--yes")
    assert (report["status"], report["unchanged"]) == ("nothing", len(FILES))


def test_the_door_touches_nothing_of_anybody_else(tmp_path: Path) -> None:
    """Not even if it were told to: it knows its own names."""
    root = tmp_path / "phone"
    write(root, {"DCIM/IMG_1.JPG": b"a photo", "DCIM/.photosync-restoring-1.part": b"ours"})
    doors = phone_creation.operations()
    for refused in (
        lambda: doors["begin"](str(root), "DCIM/IMG_1.JPG"),
        lambda: doors["drop"](str(root), "DCIM/IMG_1.JPG"),
        lambda: doors["publish"](str(root), "DCIM/IMG_1.JPG", "DCIM/IMG_2.JPG"),
        lambda: doors["publish"](str(root), "DCIM/.photosync-restoring-1.part", "DCIM/IMG_1.JPG"),
        lambda: doors["drop"](str(root), "DCIM/../../.photosync-restoring-1.part"),
    ):
        with pytest.raises(OSError):
            refused()
    assert tree(root)["DCIM/IMG_1.JPG"] == b"a photo"


@pytest.fixture
def android(machine: Photosync, tmp_path: Path) -> Iterator[tuple[Path, AdbdPhone]]:
    if why := adbd.why_not():
        pytest.skip(why)
    folder = write(tmp_path / "android", {"DCIM/Camera/IMG_1.JPG": photo(99, "mine")}, OLD)
    with contextlib.ExitStack() as stack:
        phone = stack.enter_context(adbd.adbd(folder, tmp_path / "adbd", user=0))
        machine.env |= phone.env()
        yield folder, phone


@pytest.mark.root
def test_by_adb(machine: Photosync, library: LocalFolder, android: tuple[Path, AdbdPhone]) -> None:
    folder, _ = android
    phone = "phone@google-pixel-8:"
    mine = {"DCIM/Restored/Camera/IMG_1.JPG": photo(3000, "mine, too")}
    before = tree(write(folder, mine, OLD))
    done = machine.run("restore", library.text, phone, "--yes", "--json").expect(1)
    assert set(done.files("conflict")) == {"DCIM/Camera/IMG_1.JPG"}
    after = tree(folder)
    assert after.items() >= before.items()
    new = {path: data for path, data in after.items() if path not in before}
    assert {path: data for path, data in new.items() if "~" not in path} == {
        path: data for path, data in RESTORED.items() if path not in mine
    }
    assert [data for path, data in new.items() if "~" in path] == [photo(3000, 1)]
    assert {int((folder / path).stat().st_mtime) for path in new} == {OLD}
    report = restore(machine, library, phone, "--yes")
    assert (report["status"], report["unchanged"]) == ("nothing", len(FILES))
    assert tree(folder) == after
