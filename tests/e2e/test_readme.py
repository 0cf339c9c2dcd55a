"""What the README shows of ``devices`` and ``doctor`` is what they print."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.backends import afc_library
from tests.e2e.cli import Photosync, write
from tests.servers import adbd, fuse_phone
from tests.servers.fake_iphone import fake_iphone

README = (Path(__file__).parents[2] / "README.md").read_text()
PHONES = ["Pixel 7", "Google Pixel 8", "iPhone"]
MASKS = [
    (r"at /.*/Pixel 7", "at PLACE"),
    (r"TEST\w+", "TEST"),
    (r"[\d.]+ GiB", "N GiB"),
    (r"\d+ files in DCIM", "N files in DCIM"),
    (r"(My|Iris') iPhone", "Some iPhone"),
    (r"(my|iris)-iphone", "some-iphone"),
]


def masked(text: str) -> list[str]:
    """Lines without what differs from machine to machine."""
    for pattern, plain in MASKS:
        text = re.sub(pattern, plain, text)
    return text.splitlines()


def shown(start: str) -> str:
    """The block of the README that begins with a word."""
    (block,) = re.findall(rf"^```\n({re.escape(start)}.*?)^```", README, re.MULTILINE | re.DOTALL)
    return str(block)


@contextlib.contextmanager
def plugged(model: str, machine: Photosync, folder: Path, **conduct: object) -> Iterator[None]:
    """A phone of the README, plugged in alone."""
    if model == "Pixel 7":
        if why := fuse_phone.why_not():
            pytest.skip(why)
        mount = machine.home / "Pixel 7"
        mount.mkdir()
        write(folder, {"Internal shared storage/DCIM/Camera/1.jpg": b"1"})
        with fuse_phone.fuse_phone(folder, mount):
            yield
    elif model == "Google Pixel 8":
        if why := adbd.why_not():
            pytest.skip(why)
        write(folder, {"DCIM/Camera/1.jpg": b"1"})
        with adbd.adbd(folder, machine.home / "phone") as phone:
            machine.env |= phone.env()
            yield
    else:
        if not afc_library.installed():
            pytest.skip("libimobiledevice is missing (install libimobiledevice6)")
        write(folder, {"DCIM/100APPLE/IMG_0001.HEIC": b"1"})
        with fake_iphone(folder, **conduct) as iphone:
            machine.env |= iphone.env
            yield


@pytest.mark.root
@pytest.mark.parametrize("model", PHONES)
def test_devices(machine: Photosync, tmp_path: Path, model: str) -> None:
    (block,) = re.findall(rf"^phone@\S+  (?:My )?{model}\b.*\n(?:  .*\n)+", shown("phone@"), re.MULTILINE)
    with plugged(model, machine, tmp_path / "media"):
        printed = masked(machine.run("devices").expect(0).out)
    expected = masked(block)
    at = printed.index(expected[0])
    assert printed[at : at + len(expected)] == expected


@pytest.mark.root
@pytest.mark.parametrize("model", PHONES)
def test_doctor(machine: Photosync, tmp_path: Path, model: str) -> None:
    with plugged(model, machine, tmp_path / "media", **({"trust": "asked"} if model == "iPhone" else {})):
        printed = masked(machine.run("doctor").out)
    lines = masked(shown("ok       phone@"))
    (first,) = [number for number, line in enumerate(lines) if f": {model} is " in line]
    told = lines[first : first + (2 if model == "iPhone" else 1)]
    at = printed.index(told[0])
    assert printed[at : at + len(told)] == told
