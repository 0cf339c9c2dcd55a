"""Photos as people know them, by the real command: laid out, chosen, kept whole, and looked at on the way."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from photosync.sample import build_sample
from tests.e2e.cli import Photosync, noise, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Where

LAYOUT = "{taken:%Y/%Y-%m-%d}/{camera}/{name}"


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    build_sample(tmp_path / "phone", photos=6)
    # Twins that differ in their Unicode form alone, and a name that looks like ours, are other tests' matter.
    for name in (unicodedata.normalize("NFD", "Café.jpg"), ".photosync-notes.jpg"):
        (tmp_path / "phone/DCIM/Odd" / name).unlink()
    return tmp_path / "phone"


@pytest.mark.parametrize("place", ["local", "bucket", "dropbox"], indirect=True)
def test_a_library_by_date_is_laid_out_once_and_found_again(
    machine: Photosync, phone: Path, place: Where
) -> None:
    first = machine.copy(phone, place.text, "--layout", LAYOUT).expect(0)
    there = place.files()
    assert sorted(there.values()) == sorted(tree(phone).values())
    live = {path for path in there if path.rpartition("/")[2].startswith("IMG_0006.")}
    assert live == {f"2024/2024-05-02/iPhone 15 Pro/IMG_0006.{kind}" for kind in ("HEIC", "MOV")}
    film = first.files()["DCIM/100APPLE/IMG_0006.MOV"]
    assert film["asset"] == "DCIM/100APPLE/IMG_0006.HEIC"
    assert film["taken_from"] == "quicktime"
    assert machine.copy(phone, place.text, "--layout", LAYOUT).expect(0).report["status"] == "nothing"
    for path in phone.rglob("*.JPG"):
        os.utime(path, (1, 1))
    machine.lose_state()
    again = machine.copy(phone, place.text, "--layout", LAYOUT).expect(0).report
    assert again["verified"] == len(there)
    assert place.files() == there
    assert machine.copy(phone, place.text).expect(0).report["status"] == "nothing"


@pytest.mark.row(86)
def test_what_was_damaged_before_is_copied_and_told(machine: Photosync, phone: Path, tmp_path: Path) -> None:
    whole = (phone / "DCIM/100APPLE/IMG_0001.MOV").read_bytes()
    picture = (phone / "DCIM/100APPLE/IMG_0002.JPG").read_bytes()
    damaged = {"cut.MOV": whole[: len(whole) // 2], "cut.JPG": picture[:-700], "really-a.HEIC": picture}
    write(
        phone / "DCIM/Damaged", damaged | {"big.jpg": picture[:-2] + noise(9 << 20, 1).replace(b"\xff", b"x")}
    )
    done = machine.copy(phone, tmp_path / "copy").expect(0)
    rows = {path.rpartition("/")[2]: row["suspicious"] for path, row in done.files().items()}
    told = {name: why for name, why in rows.items() if why}
    assert told.keys() == {"IMG_0009.JPG", "cut.MOV", "cut.JPG", "really-a.HEIC", "big.jpg"}
    assert told["really-a.HEIC"] == "it holds a JPEG, though its name ends in .HEIC"
    assert done.report["suspicious"] == 5
    assert sorted(tree(tmp_path / "copy").values()) == sorted(tree(phone).values())
    in_words = machine.run("copy", phone, tmp_path / "other").expect(0)
    assert "5  copied, but they look damaged" in in_words.out
    assert in_words.err.count("suspicious  ") == 5


def test_choosing(machine: Photosync, phone: Path, tmp_path: Path) -> None:
    apple = "DCIM/100APPLE"

    def listed(*options: str) -> set[str]:
        words = machine.run("copy", phone, tmp_path / "none", "--list", *options).expect(0).out
        by_ls = machine.run("ls", phone, *options).expect(0).out
        assert sorted(by_ls.splitlines()) == sorted(words.splitlines())
        return {line.partition(" ")[2] for line in map(str.strip, words.splitlines())}

    assert listed("--type", "video") >= {f"{apple}/IMG_0003.MOV"}
    assert f"{apple}/IMG_0001.MOV" not in listed("--type", "video")
    assert {f"{apple}/IMG_0001.HEIC", f"{apple}/IMG_0001.MOV"} <= listed("--type", "photo")
    assert listed("--type", "raw") == {f"{apple}/IMG_0008.DNG", f"{apple}/IMG_0008.JPG"}
    assert listed("--camera", "pixel", "--album", "camera") == {
        path for path in listed("--album", "Camera") if "PXL" in path or "IMG_0000" in path or "BURST" in path
    }
    early = listed("--taken-before", "2024-05-02", "--album", "100APPLE")
    assert {f"{apple}/IMG_0001.HEIC", f"{apple}/IMG_0001.MOV", f"{apple}/IMG_0002.JPG"} <= early
    machine.copy(phone, tmp_path / "copy", "--taken-before", "2024-05-02", "--album", "100APPLE").expect(0)
    assert tree(tmp_path / "copy").keys() == early
    rows = json.loads(
        machine.run("lsjson", phone, "-M", "--type", "photo", "--camera", "iphone").expect(0).out
    )
    live = next(row["Metadata"] for row in rows if row["Path"] == f"{apple}/IMG_0001.MOV")
    assert (live["asset"], live["taken-from"]) == (f"{apple}/IMG_0001.HEIC", "quicktime")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--layout", "{foo}/{name}"), "there is no field {foo}. There are {taken}"),
        (("--layout", "../{name}"), "path below the destination"),
        (("--type", "foto"), "there are photo, raw"),
        (("--taken-after", "soon"), "--taken-after: 'soon'"),
    ],
)
def test_mistakes_are_told(
    machine: Photosync, phone: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    done = machine.run("copy", phone, tmp_path / "copy", *options).expect(2)
    assert words in done.err
    assert not (tmp_path / "copy").exists()


def test_a_layout_may_be_the_usual_one(machine: Photosync, phone: Path, tmp_path: Path) -> None:
    machine.config.write_text('[defaults]\nlayout = "{album}/{name}"\n')
    machine.copy(phone, tmp_path / "copy", "--type", "raw").expect(0)
    assert tree(tmp_path / "copy").keys() == {"100APPLE/IMG_0008.DNG", "100APPLE/IMG_0008.JPG"}


def test_a_dry_run_tells_where_photos_go(machine: Photosync, phone: Path, tmp_path: Path) -> None:
    out = machine.run("copy", phone, tmp_path / "copy", "--layout", LAYOUT, "-n").expect(0).out
    assert "DCIM/100APPLE/IMG_0001.HEIC -> 2024/2024-05-01/iPhone 15 Pro/IMG_0001.HEIC" in out
    rows = machine.copy(phone, tmp_path / "copy", "--layout", LAYOUT, "-n").expect(0).events
    sources = {row["path"]: row["taken_from"] for row in rows if row["event"] == "plan"}
    assert sources["DCIM/100APPLE/IMG_0001.HEIC"] == "exif"
    assert sources["DCIM/100APPLE/IMG_0001.MOV"] == "quicktime"
    assert sources["DCIM/100APPLE/IMG_0009.JPG"] == "mtime"
    assert not (tmp_path / "copy").exists()


def test_a_phone_by_mount_is_laid_out(machine: Photosync, phone: Path, tmp_path: Path, plug: Plug) -> None:
    name, _ = plug(phone)
    layout = "{device}/{taken:%Y-%m}/{album}/{name}"
    report = machine.copy(name, tmp_path / "copy", "--layout", layout, "--type", "photo,raw").expect(0).report
    there = tree(tmp_path / "copy")
    device = name.removeprefix("phone@").rstrip(":")
    assert {"HEIC", "MOV"} <= {
        path.rpartition(".")[2] for path in there if path.startswith(f"{device}/2024-05/100APPLE/IMG_0001.")
    }
    assert not any("Screenshot" in path for path in there)
    assert report["verified"] == len(there)
    again = machine.copy(name, tmp_path / "copy", "--layout", layout, "--type", "photo,raw").expect(0).report
    assert (again["status"], again["source_bytes_read"]) == ("nothing", 0)
