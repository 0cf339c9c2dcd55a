"""Reading a phone: real FUSE mounts that misbehave as phones do."""

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from photosync.backends.device_facts import Facts, Usb, gather_facts
from photosync.backends.device_list import find_devices, select
from photosync.backends.devices import Device, Storage
from photosync.backends.phone import PhoneReader, PhoneStore, phone_store
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import DeviceGone, NameRefused, Permanent, ReadOnly, Unsupported, classify
from tests.servers.fuse_phone import FuseLibrary, fuse_phone, why_not

REASON = why_not()
pytestmark = pytest.mark.root
needs_fuse = pytest.mark.skipif(REASON is not None, reason=f"no FUSE mount possible: {REASON}")

VIDEO = random.Random(1).randbytes(6_000_000)
PHOTO = random.Random(2).randbytes(300_000)
STORAGE = "Internal shared storage"
IMAGE, FILM = f"{STORAGE}/DCIM/Camera/IMG_0001.jpg", f"{STORAGE}/DCIM/Camera/VID_0002.mp4"
TAKEN_NS = 1_700_000_001_000_000_000


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "on the phone"
    camera = root / STORAGE / "DCIM/Camera"
    camera.mkdir(parents=True)
    for folder in ("Pictures", "Music", "Android/data/app", "Android/media/chat"):
        (root / STORAGE / folder).mkdir(parents=True)
    (camera / "IMG_0001.jpg").write_bytes(PHOTO)
    (camera / "VID_0002.mp4").write_bytes(VIDEO)
    (root / STORAGE / "Music/song.mp3").write_bytes(b"la")
    for path in camera.iterdir():
        os.utime(path, ns=(TAKEN_NS, TAKEN_NS))
    return root


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    path = tmp_path / "mount"
    path.mkdir()
    return path


@pytest.fixture
def phone(photos: Path, mount: Path) -> Iterator[FuseLibrary]:
    if REASON is not None:
        pytest.skip(f"no FUSE mount possible: {REASON}")
    with fuse_phone(photos, mount, serialised=True) as library:
        yield library


@pytest.fixture
def opened() -> Iterator[Callable[..., PhoneStore]]:
    with contextlib.ExitStack() as stack:

        def open_it(library: FuseLibrary, subpath: str = "", **options: Any) -> PhoneStore:
            store = phone_store(device_at(library.mount), subpath, **options)
            stack.callback(store.close)
            return store

        yield open_it


def device_at(mount: Path) -> Device:
    return select([device for device in find_devices() if device.path == str(mount)], None)


def plain_device(root: Path, *storages: Storage) -> Device:
    """A device over an ordinary folder, where no fault is needed."""
    return Device("phone", "jmtpfs", str(root), "mount:x", "Test phone", None, storages)


def listing(store: PhoneStore, path: str) -> dict[str, Entry]:
    return {entry.path: entry for entry in store.list_folder(path)}


def drain(reader: PhoneReader) -> None:
    while reader.read(1 << 20):
        pass


def content(store: PhoneStore, path: str, size: int = 1 << 22) -> bytes:
    with contextlib.closing(store.open(path)) as reader:
        return b"".join(iter(lambda: reader.read(size), b""))


Opened = Callable[..., PhoneStore]


# ---- what is shown ----------------------------------------------------------------------------------------


def test_the_photo_folders_of_the_only_storage(phone: FuseLibrary, opened: Opened) -> None:
    store = opened(phone)
    assert list(listing(store, "")) == [STORAGE]
    shown = listing(store, STORAGE)
    assert {path for path, entry in shown.items() if entry.kind is Kind.FOLDER} == {
        f"{STORAGE}/DCIM",
        f"{STORAGE}/Pictures",
    }
    left_out = {path for path, entry in shown.items() if entry.kind is Kind.SKIPPED}
    assert left_out == {f"{STORAGE}/Android", f"{STORAGE}/Music"}
    camera = f"{STORAGE}/DCIM/Camera"
    assert listing(store, f"{STORAGE}/DCIM") == {camera: Entry(camera, kind=Kind.FOLDER)}
    assert listing(store, f"{STORAGE}/DCIM/Camera")[IMAGE] == Entry(IMAGE, len(PHOTO), TAKEN_NS)
    assert store.stat(FILM) == Entry(FILM, len(VIDEO), TAKEN_NS)
    assert store.stat("") == Entry("", kind=Kind.FOLDER)
    assert listing(store, f"{STORAGE}/Pictures") == {}
    for path in ("Music", f"{STORAGE}/Music", f"{STORAGE}/Music/song.mp3", "DCIM", f"{STORAGE}/DCIM/none"):
        with pytest.raises(FileNotFoundError):
            store.stat(path)
    with pytest.raises(FileNotFoundError):
        store.list_folder(f"{STORAGE}/Music")


def test_several_storages(tmp_path: Path, photos: Path) -> None:
    (photos / "SD card/DCIM/Camera").mkdir(parents=True)
    (photos / "SD card/DCIM/Camera/old.jpg").write_bytes(b"old")
    device = plain_device(photos, Storage(STORAGE, ("DCIM", "Pictures")), Storage("SD card", ("DCIM",)))
    with contextlib.closing(phone_store(device)) as store:
        assert list(listing(store, "")) == [STORAGE, "SD card"]
        assert list(listing(store, STORAGE))[:2] == [f"{STORAGE}/DCIM", f"{STORAGE}/Pictures"]
        assert content(store, "SD card/DCIM/Camera/old.jpg") == b"old"
    with contextlib.closing(phone_store(device, "DCIM/Camera")) as store:
        assert list(listing(store, "")) == [STORAGE, "SD card"]
        assert list(listing(store, "SD card")) == ["SD card/old.jpg"]
    with contextlib.closing(phone_store(device, "Pictures/")) as store:
        assert list(listing(store, "")) == []
    with contextlib.closing(phone_store(device, "SD card/DCIM")) as store:
        assert list(listing(store, "")) == ["Camera"]


def test_a_subpath_narrows_and_a_slash_shows_everything(photos: Path) -> None:
    device = plain_device(photos, Storage(STORAGE, ("DCIM", "Pictures")))
    with contextlib.closing(phone_store(device, "DCIM/Camera")) as store:
        assert sorted(listing(store, "")) == ["IMG_0001.jpg", "VID_0002.mp4"]
        assert content(store, "IMG_0001.jpg") == PHOTO
    with contextlib.closing(phone_store(device, "/")) as store:
        assert list(listing(store, "")) == [STORAGE]
        assert f"{STORAGE}/Music" in listing(store, STORAGE)
        android = listing(store, f"{STORAGE}/Android")
        assert android[f"{STORAGE}/Android/data"].note == "private to apps"
        assert android[f"{STORAGE}/Android/media"].kind is Kind.FOLDER
    with pytest.raises(FileNotFoundError):
        phone_store(device, "DCIM/Nope")
    with pytest.raises(NameRefused):
        phone_store(device, "DCIM/../..")


def test_a_device_without_photo_folders_must_be_told_where(photos: Path) -> None:
    (photos / STORAGE / "DCIM").rename(photos / STORAGE / "Elsewhere")
    with pytest.raises(DeviceGone, match="no DCIM, Pictures or Movies"):
        phone_store(plain_device(photos))
    with contextlib.closing(phone_store(plain_device(photos), f"{STORAGE}/Elsewhere/Camera")) as store:
        assert "IMG_0001.jpg" in listing(store, "")


@pytest.mark.row(18, 19)
def test_links_pipes_and_housekeeping_are_reported_and_never_followed(photos: Path) -> None:
    camera = photos / STORAGE / "DCIM/Camera"
    (camera / "link.jpg").symlink_to("/etc/passwd")
    (photos / STORAGE / "DCIM/away").symlink_to("/etc")
    os.mkfifo(camera / "pipe.jpg")
    (camera / ".trashed-1700000000-IMG.jpg").write_bytes(b"x")
    (camera / ".pending-1700000000-IMG.jpg").write_bytes(b"x")
    (camera / ".thumbnails").mkdir()
    with contextlib.closing(phone_store(plain_device(photos, Storage(STORAGE, ("DCIM",))))) as store:
        notes = {
            e.path.rpartition("/")[2]: e.note for e in store.list_folder(f"{STORAGE}/DCIM/Camera") if e.note
        }
        assert notes == {
            "link.jpg": "symbolic link; links are not followed",
            "pipe.jpg": "named pipe",
            ".trashed-1700000000-IMG.jpg": "in the phone's trash",
            ".pending-1700000000-IMG.jpg": "not finished by the app that writes it",
            ".thumbnails": "previews that the phone makes itself",
        }
        assert store.stat(f"{STORAGE}/DCIM/Camera/.thumbnails").kind is Kind.SKIPPED
        assert listing(store, f"{STORAGE}/DCIM")[f"{STORAGE}/DCIM/away"].kind is Kind.OTHER
        for path in ("Camera/link.jpg", "Camera/pipe.jpg", "away/passwd"):
            with pytest.raises(OSError):
                store.open(f"{STORAGE}/DCIM/{path}")
        for leave in (store.open, store.stat, store.list_folder):
            with pytest.raises(NameRefused):
                leave(f"{STORAGE}/DCIM/../Music/song.mp3")
        with pytest.raises(OSError):
            store.list_folder(f"{STORAGE}/DCIM/away")


@pytest.mark.row(77)
def test_odd_names_survive(photos: Path) -> None:
    names = [b"\xff\xfe.jpg", "né.jpg".encode(), b"a\nb.jpg", b"IMG:1.jpg"]
    for name in names:
        with open(os.path.join(os.fsencode(photos / STORAGE / "DCIM"), name), "wb") as file:
            file.write(name)
    with contextlib.closing(phone_store(plain_device(photos, Storage(STORAGE, ("DCIM",))))) as store:
        for name in names:
            path = f"{STORAGE}/DCIM/{os.fsdecode(name)}"
            assert path in listing(store, f"{STORAGE}/DCIM")
            assert content(store, path) == name


def test_nothing_is_ever_written(photos: Path) -> None:
    with contextlib.closing(phone_store(plain_device(photos, Storage(STORAGE, ("DCIM",))))) as store:
        assert not store.capabilities.writable
        assert store.capabilities.slow_read
        assert store.capabilities.read_concurrency == 1
        writes: list[Callable[[], object]] = [
            lambda: store.put([]),
            lambda: store.start_upload("x", 1, None),
            lambda: store.resume_upload("x"),
            lambda: store.move(IMAGE, "x"),
            lambda: store.copy(IMAGE, "x"),
            lambda: store.set_mtime(IMAGE, 0),
            lambda: store.replace_small("x", b"", None),
            lambda: store.delete(IMAGE),
        ]
        for write in writes:
            with pytest.raises(ReadOnly):
                write()
        with pytest.raises(Unsupported):
            store.list_tree()
        assert store.read_small(IMAGE, len(PHOTO)) == (PHOTO, None)
        assert (store.about().total or 0) > 0


# ---- how it is read ---------------------------------------------------------------------------------------


def test_files_are_read_once_from_front_to_back_in_large_reads(phone: FuseLibrary, opened: Opened) -> None:
    store = opened(phone)
    assert content(store, FILM, size=70_000) == VIDEO
    counters = phone.counters()
    assert counters["bytes"] == len(VIDEO)
    assert counters["jumps"] == 0
    assert counters["together"] == 1
    assert counters["reads"] <= len(VIDEO) // (1 << 20) + 3


def test_reading_may_begin_later(phone: FuseLibrary, opened: Opened) -> None:
    with contextlib.closing(opened(phone).open(FILM, 5_000_000)) as reader:
        assert reader.read(1 << 22) == VIDEO[5_000_000:]
        assert reader.read(1 << 22) == b""


def test_what_a_phone_tells_about_a_file_is_asked_again(phone: FuseLibrary, opened: Opened) -> None:
    store = opened(phone)
    phone.set(changes={FILM: (3_000_000, "grow")}, mtime_shift=3_600_000_000_000)
    with contextlib.closing(store.open(FILM)) as reader:
        before = reader.stat()
        assert before == Entry(FILM, len(VIDEO), TAKEN_NS + 3_600_000_000_000)
        drain(reader)
        after = reader.stat()
    assert after is not None
    assert after.size == len(VIDEO) + 1000
    assert after.mtime_ns != before.mtime_ns


@pytest.mark.parametrize(
    "lie",
    [
        {"size_told": {FILM: len(VIDEO) + 1}},
        {"size_modulo": 5_000_000},
        {"ends_at": {FILM: 4_000_000}},
        {"ends_at": {FILM: 0}},
    ],
    ids=["one more", "modulo", "ends early", "nothing"],
)
@pytest.mark.row(11)
def test_a_size_that_lies_shows_in_the_bytes_given(
    phone: FuseLibrary, opened: Opened, lie: dict[str, Any]
) -> None:
    store = opened(phone)
    phone.set(**lie)
    told = store.stat(FILM).size
    got = content(store, FILM)
    assert len(got) != told
    assert VIDEO.startswith(got)


# ---- trouble with one file or folder ----------------------------------------------------------------------


@pytest.mark.row(9, 12)
def test_one_bad_file_fails_alone(phone: FuseLibrary, opened: Opened) -> None:
    store = opened(phone)
    phone.set(bad_from={FILM: 2_000_000})
    with pytest.raises(Permanent, match=rf"{FILM}.*device still answers"):
        content(store, FILM)
    phone.set(bad_open=frozenset({FILM}))
    with pytest.raises(Permanent, match=FILM):
        store.open(FILM)
    assert content(store, IMAGE) == PHOTO


@pytest.mark.row(3)
def test_one_bad_folder_fails_alone(phone: FuseLibrary, opened: Opened) -> None:
    store = opened(phone)
    phone.set(bad_folders=frozenset({f"{STORAGE}/DCIM/Camera"}))
    with pytest.raises(Permanent, match=f"listing {STORAGE}/DCIM/Camera"):
        store.list_folder(f"{STORAGE}/DCIM/Camera")
    assert list(listing(store, f"{STORAGE}/DCIM")) == [f"{STORAGE}/DCIM/Camera"]


def test_a_name_that_vanishes_during_the_listing_is_left_out(
    phone: FuseLibrary, opened: Opened, photos: Path
) -> None:
    store = opened(phone)
    store.list_folder(f"{STORAGE}/DCIM/Camera")
    phone.set(stale=True)
    (photos / IMAGE).unlink()
    assert list(listing(store, f"{STORAGE}/DCIM/Camera")) == [FILM]
    with pytest.raises(FileNotFoundError):
        store.open(IMAGE)


# ---- the cable comes out ----------------------------------------------------------------------------------

WAYS = ["eio", "enotconn", "enodev", "empty"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.row(1)
def test_unplugged_while_reading(phone: FuseLibrary, opened: Opened, how: str) -> None:
    store = opened(phone)
    reader = store.open(FILM)
    phone.set(unplug_after=2_000_000, unplug_as=how)
    with pytest.raises(DeviceGone):
        drain(reader)
    with pytest.raises(DeviceGone):
        reader.stat()
    reader.close()
    with pytest.raises(DeviceGone):
        store.open(IMAGE)
    phone.plug_in()
    assert content(store, FILM) == VIDEO


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.row(2)
def test_an_unplugged_phone_is_never_an_empty_one(phone: FuseLibrary, opened: Opened, how: str) -> None:
    store, whole = opened(phone), opened(phone, "/")
    device = store.device
    phone.unplug(how)
    with pytest.raises(DeviceGone):
        whole.list_folder("")
    for path in ("", *(f"{STORAGE}/{name}" for name in ("DCIM", "DCIM/Camera", "Pictures"))):
        with pytest.raises(DeviceGone):
            store.list_folder(path)
    with pytest.raises(DeviceGone):
        store.stat(IMAGE)
    with pytest.raises(DeviceGone):
        store.check_present()
    with pytest.raises(DeviceGone):
        phone_store(device)
    with pytest.raises(DeviceGone):
        device_at(phone.mount)


def test_a_file_that_ends_early_because_the_cable_came_out(phone: FuseLibrary, opened: Opened) -> None:
    store = opened(phone)
    with contextlib.closing(store.open(FILM)) as reader:
        reader.read(1 << 20)
        # What is open stays open, and ends; all else is gone.
        phone.set(ends_at={FILM: 1 << 20}, hidden=frozenset({STORAGE}))
        with pytest.raises(DeviceGone, match="is empty"):
            reader.read(1 << 20)


def test_a_storage_that_disappears_is_noticed(phone: FuseLibrary, opened: Opened, photos: Path) -> None:
    (photos / "SD card/DCIM").mkdir(parents=True)
    store = opened(phone)
    phone.set(hidden=frozenset({"SD card"}))
    with pytest.raises(DeviceGone, match="SD card no longer shows DCIM"):
        store.list_folder("SD card/DCIM")


@pytest.mark.row(4)
def test_another_mount_at_the_same_path_is_another_phone(photos: Path, mount: Path, opened: Opened) -> None:
    if REASON is not None:
        pytest.skip(f"no FUSE mount possible: {REASON}")
    with fuse_phone(photos, mount) as library:
        store = opened(library)
        device = store.device
        assert content(store, IMAGE) == PHOTO
    with pytest.raises(DeviceGone, match="unmounted"):
        store.list_folder(f"{STORAGE}/DCIM")
    with fuse_phone(photos, mount), pytest.raises(DeviceGone, match="something else is mounted"):
        store.list_folder(f"{STORAGE}/DCIM")
    with pytest.raises(DeviceGone, match="is empty"):
        phone_store(device)


def test_the_usb_tells_of_an_unplugging_before_the_mount_does(phone: FuseLibrary) -> None:
    pixel = Usb("2A281FDH200ABC", "Pixel 7", False)
    plugged: list[Usb] = [pixel, Usb("OTHER1", "Camera", True)]

    def facts() -> Facts:
        # Phones of other tests' may be mounted at the same time; here this one is alone.
        found = gather_facts()
        mounts = tuple(mount for mount in found.mounts if mount.target in ("/", str(phone.mount)))
        return replace(found, mounts=mounts, usb=tuple(plugged))

    (device,) = [device for device in find_devices(facts()) if device.route != "usb"]
    assert device.identity == "serial:2A281FDH200ABC"
    with contextlib.closing(phone_store(device, facts=facts)) as store:
        assert content(store, IMAGE) == PHOTO
        plugged.remove(pixel)
        with pytest.raises(DeviceGone, match="Pixel 7 was unplugged"):
            store.list_folder(f"{STORAGE}/DCIM/Camera")


# ---- a mount that hangs -----------------------------------------------------------------------------------


@pytest.mark.row(10)
def test_a_mount_that_hangs_costs_no_more_than_the_patience(phone: FuseLibrary, opened: Opened) -> None:
    store = opened(phone, patience=2.0)
    reader = store.open(IMAGE)
    phone.unplug("hang")
    began = time.monotonic()
    with pytest.raises(DeviceGone, match=rf"reading {IMAGE}.*is stuck"):
        reader.read(1 << 20)
    first = time.monotonic() - began
    with pytest.raises(DeviceGone, match="is stuck"):
        store.list_folder(f"{STORAGE}/DCIM")
    reader.close()
    store.close()
    assert first < 10
    assert time.monotonic() - began < first + 2, "each further question waited again"
    found = find_devices(replace(gather_facts(), patience=1.0))
    hints = [device.hint or "" for device in found if device.path == str(phone.mount)]
    assert len(hints) == 1 and "is stuck (no answer within 1 seconds)" in hints[0]


@needs_fuse
@pytest.mark.row(10)
def test_a_process_ends_though_its_phone_hangs(phone: FuseLibrary) -> None:
    code = (
        "import sys\nfrom photosync.backends.device_list import find_devices\n"
        "from photosync.backends.phone import phone_store\n"
        f"device = next(d for d in find_devices() if d.path == {str(phone.mount)!r})\n"
        "store = phone_store(device, patience=1)\n"
        f"reader = store.open({IMAGE!r})\nprint('open', flush=True)\nsys.stdin.readline()\n"
        "try:\n    reader.read(1 << 20)\nexcept Exception as error:\n    print(type(error).__name__)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        phone.unplug("hang")
        rest, _ = process.communicate("\n", timeout=20)
        assert rest == "DeviceGone\n"
        assert process.returncode == 0
    phone.plug_in()


@pytest.mark.row(10)
def test_closing_the_store_frees_a_reader_that_waits(phone: FuseLibrary, opened: Opened) -> None:
    import threading

    store = opened(phone)
    reader = store.open(IMAGE)
    phone.unplug("hang")
    ended: list[BaseException] = []

    def read() -> None:
        try:
            reader.read(1 << 20)
        except Exception as error:
            ended.append(classify(error, "reading"))

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.2)
    store.close()
    phone.plug_in()
    thread.join(10)
    assert not thread.is_alive()
    assert ended


# ---- the rig itself ---------------------------------------------------------------------------------------


def test_the_rig_shows_up_as_a_phone_and_leaves_nothing_behind(photos: Path, mount: Path) -> None:
    if REASON is not None:
        pytest.skip(f"no FUSE mount possible: {REASON}")
    with fuse_phone(photos, mount, subtype="simple-mtpfs") as library:
        assert f" {mount} fuse.simple-mtpfs ro" in Path("/proc/self/mounts").read_text()
        assert device_at(mount).route == "simple-mtpfs"
        library.unplug("hang")
    assert not os.path.ismount(mount)
    assert not Path(f"/proc/{library.pid}").exists()


def test_the_rig_caps_throughput(photos: Path, mount: Path) -> None:
    if REASON is not None:
        pytest.skip(f"no FUSE mount possible: {REASON}")
    with fuse_phone(photos, mount, bytes_per_second=10_000_000):
        began = time.monotonic()
        assert (mount / FILM).read_bytes() == VIDEO
        assert 0.5 < time.monotonic() - began < 3


@pytest.mark.parametrize(("route", "partial"), [("gvfs-mtp", True), ("jmtpfs", False), ("gphotofs", False)])
def test_routes_that_fetch_whole_files_say_so(tmp_path: Path, route: str, partial: bool) -> None:
    (tmp_path / "DCIM").mkdir()
    storages = (Storage("", ("DCIM",)),)
    store = phone_store(Device("phone", route, str(tmp_path), "mount:x", "Test phone", None, storages))
    assert store.capabilities.partial_reads is partial
    store.close()
