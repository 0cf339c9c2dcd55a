"""Reading a camera by PTP/IP: what it says, and what a bad line and an odd device do, through libgphoto2."""

import contextlib
import os
import random
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta, timezone, tzinfo
from pathlib import Path

import pytest

from photosync.backends import ptp_devices
from photosync.backends.device_facts import Facts, Usb
from photosync.backends.devices import UNLOCK, Device, Storage
from photosync.backends.phone import PhoneStore, phone_store
from photosync.backends.ptp_devices import find_ptp
from photosync.engine.entry import Kind
from photosync.engine.errors import DeviceGone, Permanent, Transient
from tests.servers import ptp_operations, virtual_camera
from tests.servers.ptp_operations import ANDROID, GALAXY, NIKON, Code
from tests.servers.ptpip_camera import PtpIpCamera

FIRST, SECOND = "store_00010001", "store_00020001"
TAKEN = 1_700_000_001
CET = timezone(timedelta(hours=1))
PHOTO = random.Random(1).randbytes(300_001)
VIDEO = random.Random(2).randbytes(3_000_007)
Plugged = Callable[..., PtpIpCamera]
Opened = Callable[[PtpIpCamera], PhoneStore]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(
        tmp_path / "card",
        {
            "DCIM/100NIKON/DSC_0001.JPG": PHOTO,
            "DCIM/100NIKON/DSC_0002.MOV": VIDEO,
            "DCIM/101NIKON/DSC_0001.JPG": PHOTO[::-1],
        },
    )


def filled(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        os.utime(root / name, (TAKEN, TAKEN))
    return root


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Plugged]:
    """Starts a device; in the end no initiator may have broken a rule."""
    if why := virtual_camera.why_not():
        pytest.skip(why)
    # libgphoto2 keeps the name that it introduces itself by there.
    monkeypatch.setenv("HOME", str(tmp_path))
    cameras = []
    with contextlib.ExitStack() as stack:

        def start(*folders: Path, model: ptp_operations.Model = NIKON, **how: object) -> PtpIpCamera:
            storages = {f"card {number}": folder for number, folder in enumerate(folders)}
            device = ptp_operations.Device(model, storages, **how)  # type: ignore[arg-type]
            cameras.append(stack.enter_context(PtpIpCamera(device)))
            return cameras[-1]

        yield start
    assert [violation for camera in cameras for violation in camera.violations] == []


@pytest.fixture
def opened() -> Iterator[Opened]:
    with contextlib.ExitStack() as stack:

        def open_it(camera: PtpIpCamera) -> PhoneStore:
            store = phone_store(found(camera))
            stack.callback(store.close)
            return store

        yield open_it


def found(camera: PtpIpCamera) -> Device:
    (device,) = find_ptp(Facts(network_camera=camera.address))
    return device


def content(store: PhoneStore, path: str) -> bytes:
    with contextlib.closing(store.open(path)) as reader:
        pieces = bytearray()
        while piece := reader.read(1 << 20):
            pieces += piece
    return bytes(pieces)


def test_who_it_is_and_what_it_holds(plugged: Plugged, folder: Path, tmp_path: Path) -> None:
    other = filled(tmp_path / "other", {"DCIM/1.JPG": b"x", "MISC/notes.txt": b"x"})
    camera = plugged(folder, other)
    device = found(camera)
    assert (device.route, device.path) == ("ptp", f"ptpip:{camera.address}")
    assert (device.model, device.identity, device.hint) == ("NIKON Z 8", "serial:7004711", None)
    assert device.storages == (Storage(FIRST, ("DCIM",)), Storage(SECOND, ("DCIM",)))


@pytest.mark.parametrize("model", [NIKON, ANDROID], ids=["nikon", "android"])
def test_the_listing_and_the_bytes_are_what_lies_there(
    plugged: Plugged, opened: Opened, folder: Path, tmp_path: Path, model: ptp_operations.Model
) -> None:
    other = filled(tmp_path / "other", {"DCIM/1.JPG": b"of the second card", "DCIM/empty.JPG": b""})
    store = opened(plugged(folder, other, model=model))
    for storage, root in ((FIRST, folder), (SECOND, other)):
        seen = {}
        for top in ("DCIM", "DCIM/100NIKON", "DCIM/101NIKON")[: 3 if storage == FIRST else 1]:
            seen |= {e.path: e for e in store.list_folder(f"{storage}/{top}") if e.kind is not Kind.FOLDER}
        truth = {f"{storage}/{p.relative_to(root)}": p.read_bytes() for p in root.rglob("*") if p.is_file()}
        assert {path: entry.size for path, entry in seen.items()} == {p: len(d) for p, d in truth.items()}
        assert {path: content(store, path) for path in seen} == truth
        assert {path: store.stat(path) for path in seen} == seen
    assert store.about().total == ptp_operations.CAPACITY * 2


def test_names_that_a_device_can_tell(plugged: Plugged, opened: Opened, tmp_path: Path) -> None:
    """Strings of PTP are at most 254 UTF-16 units long (ISO 15740, 5.3.4)."""
    names = ["été.JPG", "e\u0301.JPG", "照片.JPG", "Фото 1.JPG", "x" * 250 + ".JPG", "a\\b:c.JPG"]
    files = {f"DCIM/{name}": name.encode() for name in names}
    store = opened(plugged(filled(tmp_path / "card", files), model=ANDROID))
    assert {e.path: content(store, e.path) for e in store.list_folder(f"{FIRST}/DCIM")} == {
        f"{FIRST}/{path}": data for path, data in files.items()
    }


def test_names_without_a_locale(
    plugged: Plugged, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    store = opened(plugged(filled(tmp_path / "card", {"DCIM/été.JPG": PHOTO}), model=ANDROID))
    (entry,) = store.list_folder(f"{FIRST}/DCIM")
    assert (entry.path, content(store, entry.path)) == (f"{FIRST}/DCIM/été.JPG", PHOTO)


def test_emoji_become_question_marks_and_never_hide_a_file(
    plugged: Plugged, opened: Opened, tmp_path: Path
) -> None:
    """libgphoto2 knows UCS-2 only: what needs two units (UTF-16) turns a whole name into ASCII."""
    root = filled(tmp_path / "card", {"DCIM/A/é😀.JPG": PHOTO, "DCIM/B/1.JPG": b"1", "DCIM/B/é😀.JPG": b"2"})
    store = opened(plugged(root, model=ANDROID))
    (entry,) = store.list_folder(f"{FIRST}/DCIM/A")
    assert (entry.path, content(store, entry.path)) == (f"{FIRST}/DCIM/A/???.JPG", PHOTO)
    assert len(store.list_folder(f"{FIRST}/DCIM/B")) == 2
    filled(root, {"DCIM/B/é😁.JPG": b"3"})
    store.check_present()
    for _ in range(2):
        with pytest.raises(Permanent, match="libgphoto2 gives the same name"):
            store.stat(f"{FIRST}/DCIM/B/1.JPG")
        with pytest.raises(Permanent, match=r"DCIM/B holds two files .* Rename one of them"):
            store.list_folder(f"{FIRST}/DCIM/B")
    assert len(store.list_folder(f"{FIRST}/DCIM/A")) == 1, "other folders are read"


def test_folders_that_cannot_be_told_apart(plugged: Plugged, opened: Opened, tmp_path: Path) -> None:
    files = {"DCIM/😀/1.JPG": b"1", "DCIM/😁/1.JPG": b"2", "DCIM/A/1.JPG": b"3"}
    store = opened(plugged(filled(tmp_path / "card", files), model=ANDROID))
    assert [e.path for e in store.list_folder(f"{FIRST}/DCIM")] == [f"{FIRST}/DCIM/??", f"{FIRST}/DCIM/A"]
    with pytest.raises(Permanent, match="/DCIM holds two files or folders"):
        store.list_folder(f"{FIRST}/DCIM/??")
    with pytest.raises(Permanent, match="/DCIM holds two files or folders"):
        store.open(f"{FIRST}/DCIM/??/1.JPG")
    assert content(store, f"{FIRST}/DCIM/A/1.JPG") == b"3"


@pytest.mark.row(11)
def test_sizes_beyond_32_bits(plugged: Plugged, opened: Opened, folder: Path) -> None:
    """Told right, told as unknown, and told modulo 2**32, with as much sent."""
    rest = 2_000_000
    whole = (1 << 32) + rest
    start = struct.pack(">I4s8x", 16, b"ftyp")
    video = folder / "DCIM/100NIKON/DSC_0009.MP4"
    with video.open("wb") as file:
        file.write(start + struct.pack(">I4sQ", 1, b"mdat", whole - len(start)))
        file.truncate(whole)
    path = f"{FIRST}/DCIM/100NIKON/DSC_0009.MP4"
    assert opened(plugged(folder, model=NIKON)).stat(path).size == whole
    for model, told in ((ANDROID, 0xFFFFFFFF), (GALAXY, rest)):
        camera = plugged(folder, model=model)
        store = opened(camera)
        assert store.stat(path).size == told, model.name
        with pytest.raises(Permanent, match=r"has 4 GiB or more.*nothing was stored"):
            store.open(path)
        assert camera.sent <= rest


@pytest.mark.parametrize("zone", [CET, UTC], ids=["cet", "utc"])
@pytest.mark.parametrize("says_zone", [False, True], ids=["bare", "zoned"])
def test_dates_are_those_of_this_machine_s_zone(
    plugged: Plugged,
    opened: Opened,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    zone: tzinfo,
    says_zone: bool,
) -> None:
    """libgphoto2 leaves out a "Z" or "+0100" (ptp_unpack_PTPTIME): a clock of another zone is off by that."""
    monkeypatch.setenv("TZ", "CET-1")
    entry = opened(plugged(folder, zone=zone, says_zone=says_zone)).stat(
        f"{FIRST}/DCIM/100NIKON/DSC_0001.JPG"
    )
    off = 0 if zone is CET else 3600
    assert entry.mtime_ns == (TAKEN - off) * 10**9


def test_a_date_that_is_not_told(plugged: Plugged, opened: Opened, folder: Path) -> None:
    store = opened(plugged(folder, says_date=False))
    assert store.stat(f"{FIRST}/DCIM/100NIKON/DSC_0001.JPG").mtime_ns is None


def test_a_locked_one_and_one_that_another_program_holds(plugged: Plugged, folder: Path) -> None:
    camera = plugged(folder, model=ANDROID, locked=True)
    assert found(camera).hint == UNLOCK
    camera.device.locked = False
    assert found(camera).hint is None
    with contextlib.closing(phone_store(found(camera))) as store:
        store.list_folder(f"{FIRST}/DCIM")
        hint = found(camera).hint
    assert hint is not None
    assert "end other programs that talk to it" in hint
    assert found(camera).hint is None


@pytest.mark.row(1)
def test_unplugged_while_it_is_read(plugged: Plugged, opened: Opened, folder: Path) -> None:
    camera = plugged(folder)
    store = opened(camera)
    camera.unplug_after(2_000_000)
    with pytest.raises(DeviceGone):
        content(store, f"{FIRST}/DCIM/100NIKON/DSC_0002.MOV")
    with pytest.raises(DeviceGone):
        store.check_present()
    camera.plug_in()
    assert content(store, f"{FIRST}/DCIM/100NIKON/DSC_0002.MOV") == VIDEO


@pytest.mark.row(10)
def test_it_says_nothing_more(plugged: Plugged, opened: Opened, folder: Path) -> None:
    camera = plugged(folder)
    store = opened(camera)
    camera.hang_after(2_000_000)
    with pytest.raises(DeviceGone, match=r"It can't be read .*Switch it and its network on"):
        content(store, f"{FIRST}/DCIM/100NIKON/DSC_0002.MOV")


def test_busy_for_a_moment(plugged: Plugged, opened: Opened, folder: Path) -> None:
    camera = plugged(folder)
    store = opened(camera)
    camera.device.busy = 1
    with pytest.raises(Transient, match="busy with something else"):
        store.open(f"{FIRST}/DCIM/100NIKON/DSC_0002.MOV")
    assert content(store, f"{FIRST}/DCIM/100NIKON/DSC_0002.MOV") == VIDEO


@pytest.mark.row(45)
def test_unplugged_while_a_folder_is_listed(plugged: Plugged, opened: Opened, tmp_path: Path) -> None:
    """libgphoto2 tells the part that it knows, as if that were all."""
    camera = plugged(filled(tmp_path / "card", {f"DCIM/{number}.JPG": b"x" for number in range(20)}))
    for answered in (7, 13, 19):
        with contextlib.closing(opened(camera)) as store:
            told = camera.asked.get(Code.GET_OBJECT_INFO, 0)
            camera.unplug_after_requests(answered)
            with pytest.raises(DeviceGone):
                store.list_folder(f"{FIRST}/DCIM")
            assert 0 < camera.asked[Code.GET_OBJECT_INFO] - told < 20
        camera.plug_in()


def test_another_device_on_the_usb_says_nothing_about_it(
    plugged: Plugged, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = plugged(folder)
    usb = Usb("3012345", "Pixel", False, (9, 99))
    facts = Facts(usb=(usb,), network_camera=camera.address)
    (device,) = find_ptp(facts, {"serial:3012345"})
    with contextlib.closing(phone_store(device, facts=lambda: facts)) as store:
        assert store.stat(f"{FIRST}/DCIM").kind is Kind.FOLDER
    monkeypatch.setattr(ptp_devices, "find_spec", lambda name: None)
    (device,) = find_ptp(Facts(network_camera=camera.address))
    assert device.hint == "Reading it by PTP needs a package. Run: pip install 'photosync-engine[ptp]'"
