"""An iPhone through AFC and through ifuse: the clients are real, the phone is tests/servers/fake_iphone."""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.backends import afc_library, afc_program
from photosync.backends.device_facts import Facts, Usb, gather_facts
from photosync.backends.device_list import find_devices, select, why
from photosync.backends.devices import Device, Storage
from photosync.backends.phone import PhoneStore, phone_store
from photosync.backends.phone_removal import remover_for
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import DeviceGone, Permanent, ReadOnly
from tests.servers import pymobiledevice3
from tests.servers.fake_iphone import UDID, FakeIphone, fake_iphone, why_not

PHOTO = random.Random(1).randbytes(300_000)
VIDEO = random.Random(2).randbytes(9_000_001)
IMAGE, FILM = "DCIM/100APPLE/IMG_0001.HEIC", "DCIM/101APPLE/IMG_0002.MOV"
TAKEN = 1_700_000_001
IDENTITY = "serial:" + UDID.replace("-", "")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "media"
    for name, data in {IMAGE: PHOTO, FILM: VIDEO, "Books/one.epub": b"book"}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(0, TAKEN * 10**9 + 123_456_789))
    return root


BOTH = pytest.mark.parametrize("route", ["afc", "pymobiledevice3"], indirect=True)


@pytest.fixture
def route(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one way there is to an iPhone: through libimobiledevice, or without it."""
    chosen: str = getattr(request, "param", "afc")
    if chosen == "afc" and not afc_library.installed():
        pytest.skip("libimobiledevice is missing (install libimobiledevice6)")
    if chosen == "pymobiledevice3":
        monkeypatch.setattr(afc_library, "_file_name", lambda: None)
        monkeypatch.setattr(afc_program, "program", lambda: "pymobiledevice3")
        monkeypatch.setenv("PATH", f"{pymobiledevice3.folder()}:{os.environ['PATH']}")
        monkeypatch.setenv("PHOTOSYNC_CACHE_DIR", str(tmp_path / "cache"))
    return chosen


@pytest.fixture
def phone(photos: Path, route: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIphone]:
    with fake_iphone(photos) as plugged:
        for name, value in plugged.env.items():
            monkeypatch.setenv(name, value)
        yield plugged


def facts(phone: FakeIphone, *usb: Usb) -> Facts:
    return Facts((), usb, usbmuxd=phone.env["USBMUXD_SOCKET_ADDRESS"])


def only(phone: FakeIphone) -> Device:
    (device,) = find_devices(facts(phone))
    return device


@pytest.fixture
def store(phone: FakeIphone) -> Iterator[PhoneStore]:
    opened = phone_store(only(phone), facts=lambda: facts(phone))
    yield opened
    opened.close()


def content(store: PhoneStore, path: str, offset: int = 0) -> bytes:
    with contextlib.closing(store.open(path, offset)) as reader:
        return b"".join(iter(lambda: reader.read(1 << 20), b""))


@BOTH
def test_it_is_found_with_its_name_and_identity(phone: FakeIphone, route: str) -> None:
    device = only(phone)
    assert (device.route, device.path, device.identity) == (route, f"afc://{UDID}", IDENTITY)
    assert (device.model, device.name, device.hint) == ("Iris' iPhone", "iris-iphone", None)
    assert device.storages == (Storage("", ("DCIM",)),)
    assert "needs no mount" in why(device)


@BOTH
@pytest.mark.parametrize(
    ("conduct", "word"),
    [
        ({"locked": True}, "locked"),
        ({"trust": "asked"}, "asking whether to trust"),
        ({"trust": "no"}, "told not to trust"),
    ],
)
def test_what_hinders_it_is_said_with_the_remedy(
    phone: FakeIphone, conduct: dict[str, object], word: str
) -> None:
    phone.set(**conduct)
    device = only(phone)
    assert device.hint is not None
    assert word in device.hint
    with pytest.raises(DeviceGone, match=word):
        select([device], None)


def test_an_iphone_without_photos_to_show_is_locked(phone: FakeIphone) -> None:
    phone.set(hidden=frozenset(["DCIM"]))
    hint = only(phone).hint
    assert hint is not None
    assert "Unlock" in hint


def test_a_phone_that_starts_to_trust_is_paired_and_read(phone: FakeIphone) -> None:
    phone.pairing.record = None
    phone.set(trust="asked")
    assert only(phone).hint is not None
    phone.set(trust="yes")
    assert only(phone).hint is None


def test_nothing_is_asked_where_there_is_no_daemon(phone: FakeIphone) -> None:
    apple = Usb(UDID.replace("-", ""), "iPhone", True, (1, 5))
    assert find_devices(Facts()) == []
    (device,) = find_devices(Facts((), (apple,)))
    assert device.route == "usb"
    assert "usbmuxd" in (device.hint or "")
    phone.unplug()
    (device,) = find_devices(facts(phone, apple))
    assert "does not answer" in (device.hint or "")


def test_without_the_library_it_says_what_to_install(
    phone: FakeIphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(afc_library, "_file_name", lambda: None)
    monkeypatch.setattr(afc_program, "program", lambda: None)
    (device,) = find_devices(facts(phone, Usb(UDID.replace("-", ""), "iPhone", True, (1, 5))))
    assert "apt install libimobiledevice6" in (device.hint or "")
    assert "pip install 'photosync-engine[ios]'" in (device.hint or "")
    assert phone.counters["connections"] == 0


@BOTH
def test_listing_and_reading(store: PhoneStore, phone: FakeIphone) -> None:
    shown = {entry.path: entry for entry in store.list_folder("")}
    assert shown["DCIM"].kind is Kind.FOLDER
    assert shown["Books"].kind is Kind.SKIPPED
    assert [entry.path for entry in store.list_folder("DCIM/100APPLE")] == [IMAGE]
    assert store.stat(IMAGE) == Entry(IMAGE, len(PHOTO), TAKEN * 10**9)
    assert content(store, IMAGE) == PHOTO
    assert content(store, FILM) == VIDEO
    assert content(store, FILM, 5_000_001) == VIDEO[5_000_001:]
    assert store.about().free
    assert phone.counters["connections"] == 2, "one to find it, one to read it"
    assert not phone.changed


def test_nothing_is_opened_by_listing(store: PhoneStore, phone: FakeIphone) -> None:
    before = phone.counters.copy()
    store.list_folder("DCIM/100APPLE")
    assert phone.counters - before == {"list": 1, "stat": 1}


@BOTH
def test_it_is_never_written_to(store: PhoneStore, phone: FakeIphone) -> None:
    assert remover_for(store) is None, "a photo deleted by AFC stays in the phone's library as a ghost"
    with pytest.raises(ReadOnly):
        store.delete(IMAGE)
    with pytest.raises(ReadOnly):
        store.move(IMAGE, FILM)
    assert not phone.changed


@BOTH
def test_a_photo_that_is_in_icloud_only_is_refused(store: PhoneStore, phone: FakeIphone) -> None:
    phone.set(placeholders=frozenset([IMAGE]))
    assert store.stat(IMAGE).size == len(PHOTO)
    with pytest.raises(Permanent, match="kept in the cloud only"):
        store.open(IMAGE)
    assert content(store, FILM) == VIDEO


@BOTH
def test_a_bad_block_is_that_files_trouble(store: PhoneStore, phone: FakeIphone) -> None:
    phone.set(bad_from={FILM: 4_000_000})
    with pytest.raises(Permanent):
        content(store, FILM)
    assert content(store, IMAGE) == PHOTO


@BOTH
def test_a_folder_that_cannot_be_listed_is_an_error(store: PhoneStore, phone: FakeIphone) -> None:
    phone.set(bad_folders=frozenset(["DCIM/100APPLE"]))
    with pytest.raises(Permanent):
        store.list_folder("DCIM/100APPLE")


@BOTH
def test_unplugged_in_the_middle_of_a_file(store: PhoneStore, phone: FakeIphone) -> None:
    phone.set(unplug_after=4_000_000)
    with pytest.raises(DeviceGone):
        content(store, FILM)
    with pytest.raises(DeviceGone):
        store.list_folder("DCIM")
    phone.plug_in()
    with contextlib.closing(phone_store(only(phone), facts=lambda: facts(phone))) as again:
        assert content(again, FILM) == VIDEO


@BOTH
def test_a_phone_that_stops_answering_is_given_up(phone: FakeIphone) -> None:
    with contextlib.closing(phone_store(only(phone), facts=lambda: facts(phone), patience=4.0)) as store:
        phone.set(latency=30)
        began = time.monotonic()
        with pytest.raises(DeviceGone, match="no answer"):
            store.stat(IMAGE)
        assert time.monotonic() - began < 25


@pytest.mark.root
def test_ifuse_and_afc_are_one_phone(phone: FakeIphone, tmp_path: Path) -> None:
    if reason := why_not("ifuse", "fusermount3"):
        pytest.skip(reason)
    mount = tmp_path / "iphone"
    mount.mkdir()
    subprocess.run(["ifuse", str(mount)], check=True, env={**os.environ, **phone.env}, timeout=60)
    try:
        machine = gather_facts()
        ours = tuple(each for each in machine.mounts if each.target in ("/", str(mount)))
        (device,) = find_devices(Facts(ours, usbmuxd=machine.usbmuxd))
        assert (device.route, device.identity, device.model) == ("ifuse", IDENTITY, "Iris' iPhone")
        assert [other.route for other in device.others] == ["afc"]
        shown = {}
        for route in (device, *device.others):
            with contextlib.closing(phone_store(route)) as store:
                shown[route.route] = [store.stat(IMAGE), content(store, IMAGE), store.list_folder("DCIM")]
        assert shown["ifuse"] == shown["afc"], "paths, sizes and times are the same by either route"
        phone.set(placeholders=frozenset([IMAGE]))
        with (
            contextlib.closing(phone_store(device)) as store,
            pytest.raises(Permanent, match="kept in the cloud only"),
        ):
            store.open(IMAGE)
    finally:
        subprocess.run(["fusermount3", "-uz", str(mount)], check=False)
