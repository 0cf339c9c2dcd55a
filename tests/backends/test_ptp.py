"""Reading a camera by PTP: libgphoto2's virtual camera over folders and faulty FUSE mounts."""

import contextlib
import os
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from photosync.backends import ptp_devices
from photosync.backends.device_facts import Facts, Usb
from photosync.backends.devices import Device, Storage
from photosync.backends.phone import PhoneStore, phone_store
from photosync.backends.phone_removal import remover_for
from photosync.backends.ptp_devices import find_ptp
from photosync.backends.ptp_files import BUSY
from photosync.engine.entry import Kind
from photosync.engine.errors import DeviceGone, Permanent, ReadOnly, Transient
from tests.servers import virtual_camera
from tests.servers.fuse_phone import fuse_phone
from tests.servers.fuse_phone import why_not as why_no_fuse
from tests.servers.virtual_camera import STORAGE

PHOTO = random.Random(1).randbytes(300_001)
VIDEO = random.Random(2).randbytes(3_000_007)
TAKEN = 1_700_000_001
CAMERA = Usb("3012345", "NIKON D750", False, (1, 1))
Opened = Callable[..., PhoneStore]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if why := virtual_camera.why_not():
        pytest.skip(why)
    root = tmp_path / "camera"
    for name, data in {
        "DCIM/100NIKON/DSC_0001.JPG": PHOTO,
        "DCIM/100NIKON/DSC_0002.jpg.MOV": VIDEO,
        "DCIM/101NIKON/DSC_0001.JPG": PHOTO[::-1],
        "MISC/AUTPRINT.jpg": b"x",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        os.utime(root / name, (TAKEN, TAKEN))
    return root


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    with contextlib.ExitStack() as stack:

        def open_it(root: Path, subpath: str = "") -> PhoneStore:
            store = phone_store(device_at(monkeypatch, root), subpath)
            stack.callback(store.close)
            return store

        yield open_it


def device_at(monkeypatch: pytest.MonkeyPatch, root: Path) -> Device:
    for name, value in virtual_camera.env(root).items():
        monkeypatch.setenv(name, value)
    (device,) = find_ptp(Facts())
    return device


def content(store: PhoneStore, path: str, offset: int = 0) -> bytes:
    with contextlib.closing(store.open(path, offset)) as reader:
        pieces = bytearray()
        while piece := reader.read(1 << 20):
            pieces += piece
    return bytes(pieces)


def test_who_it_is_and_what_it_holds(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    device = device_at(monkeypatch, folder)
    assert (device.route, device.path, device.model) == ("ptp", "usb:001,001", "Nikon DSC D750")
    assert (device.identity, device.hint) == (f"serial:{virtual_camera.SERIAL}", None)
    assert device.storages == (Storage(STORAGE, ("DCIM",)),)


def test_the_listing_and_the_bytes_are_what_lies_there(folder: Path, opened: Opened) -> None:
    store = opened(folder)
    (dcim,) = [entry for entry in store.list_folder(STORAGE) if entry.kind is Kind.FOLDER]
    assert dcim.path == f"{STORAGE}/DCIM"
    found = {e.path: e for e in store.list_folder(f"{STORAGE}/DCIM/100NIKON")}
    sizes = {path.rpartition("/")[2]: entry.size for path, entry in found.items()}
    assert sizes == {"DSC_0001.JPG": len(PHOTO), "DSC_0002.jpg.MOV": len(VIDEO)}
    assert {entry.mtime_ns for entry in found.values()} == {TAKEN * 10**9}
    for path in found:
        true = (folder / path.removeprefix(f"{STORAGE}/")).read_bytes()
        assert content(store, path) == true, path
        assert content(store, path, 1000) == true[1000:], path
        assert store.stat(path) == found[path]
    assert content(opened(folder, "DCIM/101NIKON"), "DSC_0001.JPG") == PHOTO[::-1]
    with pytest.raises(FileNotFoundError):
        store.open(f"{STORAGE}/DCIM/100NIKON/NONE.JPG")
    with pytest.raises(FileNotFoundError):
        store.list_folder(f"{STORAGE}/DCIM/NONE")
    assert store.capabilities.read_concurrency == 1
    with pytest.raises(ReadOnly):
        store.delete(f"{STORAGE}/DCIM/100NIKON/DSC_0001.JPG")
    assert remover_for(store) is None


def test_a_kind_of_file_that_is_not_given_out(folder: Path, opened: Opened) -> None:
    (folder / "DCIM/100NIKON/DSC_0003.MOV").write_bytes(VIDEO)
    with pytest.raises(Permanent, match=r"does not give out by PTP\. Copy it by another route"):
        opened(folder).open(f"{STORAGE}/DCIM/100NIKON/DSC_0003.MOV")


def test_a_video_that_was_never_finished_is_read_as_it_is(folder: Path, opened: Opened) -> None:
    data = struct.pack(">I4s8x", 16, b"ftyp") + struct.pack(">I4s", 1 << 20, b"mdat") + bytes(1000)
    (folder / "DCIM/100NIKON/DSC_0010.jpg.MP4").write_bytes(data)
    assert content(opened(folder), f"{STORAGE}/DCIM/100NIKON/DSC_0010.jpg.MP4") == data


@pytest.mark.root
def test_a_camera_that_is_gone(folder: Path, opened: Opened, tmp_path: Path) -> None:
    if why := why_no_fuse():
        pytest.skip(why)
    (tmp_path / "mount").mkdir()
    with fuse_phone(folder, tmp_path / "mount") as library:
        store = opened(tmp_path / "mount")
        assert content(store, f"{STORAGE}/DCIM/100NIKON/DSC_0001.JPG") == PHOTO
        library.set(bad_from={"DCIM/100NIKON/DSC_0002.jpg.MOV": 1_000_000})
        with pytest.raises(Permanent):
            content(store, f"{STORAGE}/DCIM/100NIKON/DSC_0002.jpg.MOV")
        library.unplug("enodev")
        # libgphoto2 may also crash then, and its process alone.
        with pytest.raises((DeviceGone, Transient)):
            store.open(f"{STORAGE}/DCIM/100NIKON/DSC_0002.jpg.MOV")
        with pytest.raises(DeviceGone):
            store.check_present()
        library.plug_in()
        library.set(bad_from={})
        again = opened(tmp_path / "mount")
        assert content(again, f"{STORAGE}/DCIM/100NIKON/DSC_0002.jpg.MOV") == VIDEO


def test_a_device_that_another_route_reads_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    for name, value in virtual_camera.env(folder).items():
        monkeypatch.setenv(name, value)
    facts = Facts(usb=(CAMERA,))
    (device,) = find_ptp(facts)
    assert (device.identity, device.model) == ("serial:3012345", "NIKON D750"), "as every route knows it"
    assert find_ptp(facts, {"serial:3012345"}) == []


def test_busy_and_the_package_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {("detect",): [("Nikon", "usb:001,001")], ("describe", "usb:001,001"): DeviceGone(BUSY)}

    def asked(_: str, questions: dict[str, tuple[str, ...]], __: float) -> dict[str, object]:
        return {key: answers[question] for key, question in questions.items()}

    monkeypatch.setattr(ptp_devices, "ask_all", asked)
    (device,) = find_ptp(Facts(usb=(CAMERA,)))
    assert device.hint is not None
    assert device.hint.startswith("Busy: another program holds it")
    monkeypatch.setattr(ptp_devices, "find_spec", lambda name: None)
    (device,) = find_ptp(Facts(usb=(CAMERA, replace(CAMERA, serial="9"))), {"serial:9"})
    assert device.hint == "Reading it by PTP needs a package. Run: pip install 'photosync-engine[ptp]'"
