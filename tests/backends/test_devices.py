"""Finding phones: mount tables and USB lists are made up, the folders behind them are real."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from photosync.backends import device_facts
from photosync.backends.device_facts import Facts, Mount, Usb, gather_facts, mount_at
from photosync.backends.device_list import find_devices, select, why
from photosync.backends.devices import Device, Storage, is_plugged_in, leads_to_phone, trouble
from photosync.backends.mount_worker import MountWorker, NoAnswer, ask_all
from photosync.engine.errors import DeviceGone, Fatal, Transient

PIXEL = Usb("2A281FDH200ABC", "Pixel 7", False, (1, 4))
IPHONE = Usb("00008110001234567890ABCD", "iPhone", True, (1, 5))
STORAGE = "Internal shared storage"


def make(root: Path, *folders: str) -> str:
    root.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return str(root)


def gvfs(tmp_path: Path) -> tuple[Path, Mount]:
    folder = tmp_path / "run/user/1000/gvfs"
    folder.mkdir(parents=True)
    return folder, Mount("gvfsd-fuse", str(folder), "fuse.gvfsd-fuse")


def only(facts: Facts) -> Device:
    (device,) = [device for device in find_devices(facts) if device.route != "usb"]
    return device


def test_an_android_phone_in_gvfs(tmp_path: Path) -> None:
    folder, mount = gvfs(tmp_path)
    path = make(folder / "mtp:host=Google_Pixel_7_2A281FDH200ABC", f"{STORAGE}/DCIM/Camera", "SD card/DCIM")
    device = only(Facts((mount,)))
    assert (device.route, device.path, device.hint) == ("gvfs-mtp", path, None)
    assert device.identity == "serial:2A281FDH200ABC"
    assert (device.model, device.name) == ("Google Pixel 7", "google-pixel-7")
    assert device.storages == (Storage(STORAGE, ("DCIM",)), Storage("SD card", ("DCIM",)))


@pytest.mark.parametrize(
    ("fstype", "below", "phone"),
    [
        ("fuse.gvfsd-fuse", "mtp:host=Google_Pixel_7/Internal storage/DCIM", True),
        ("fuse.gvfsd-fuse", "afc:host=00008110,port=3", True),
        ("fuse.gvfsd-fuse", "gphoto2:host=Canon", True),
        ("fuse.gvfsd-fuse", "smb-share:server=nas,share=photos", False),
        ("fuse.gvfsd-fuse", "", False),
        ("fuse.kio-fuse", "mtp/Pixel", True),
        ("fuse.kio-fuse", "smb/nas", False),
        ("fuse.jmtpfs", "", True),
        ("fuse.ifuse", "DCIM", True),
        ("fuse.DeviceFs(Pixel 7)", "DCIM", True),
        ("fuse.sshfs", "DCIM", False),
        ("vfat", "DCIM", False),
    ],
)
def test_which_folders_lie_on_a_phone(fstype: str, below: str, phone: bool) -> None:
    mounts = (Mount("/dev/sda1", "/", "ext4"), Mount("x", "/run/m", fstype))
    assert leads_to_phone(f"/run/m/{below}".rstrip("/"), mounts) is phone
    assert not leads_to_phone("/run/mtp/DCIM", mounts)


def test_photo_folders_come_in_order_and_other_folders_are_no_storages(tmp_path: Path) -> None:
    folder, mount = gvfs(tmp_path)
    names = ("Movies", "Pictures", "Music", "DCIM", "Android")
    make(folder / "mtp:host=X_1", *(f"Phone/{name}" for name in names), "Docs/letters", ".hidden/DCIM")
    assert only(Facts((mount,))).storages == (Storage("Phone", ("DCIM", "Pictures", "Movies")),)


def test_an_old_gvfs_host_is_found_by_its_bus_address(tmp_path: Path) -> None:
    folder, mount = gvfs(tmp_path)
    make(folder / "mtp:host=%5Busb%3A001%2C004%5D", f"{STORAGE}/DCIM")
    assert only(Facts((mount,), (PIXEL, IPHONE))).identity == "serial:2A281FDH200ABC"
    assert only(Facts((mount,))).identity == "mount:[usb:001,004]"


def test_one_iphone_by_two_routes_is_one_device_by_the_better_one(tmp_path: Path) -> None:
    folder, mount = gvfs(tmp_path)
    make(folder / "gphoto2:host=Apple_Inc._iPhone_00008110001234567890ABCD", "store_00010001/DCIM")
    best = make(folder / "afc:host=00008110-001234567890ABCD", "DCIM/100APPLE")
    make(folder / "afc:host=00008110-001234567890ABCD,port=3", "DCIM")  # documents of apps
    device = only(Facts((mount,)))
    assert (device.route, device.path) == ("gvfs-afc", best)
    assert device.storages == (Storage("", ("DCIM",)),)


def test_a_ready_route_is_preferred_to_a_better_one_that_is_locked(tmp_path: Path) -> None:
    folder, mount = gvfs(tmp_path)
    make(folder / "mtp:host=Google_Pixel_7_2A281FDH200ABC")
    path = make(tmp_path / "phone", f"{STORAGE}/DCIM")
    device = only(Facts((mount, Mount("jmtpfs", path, "fuse.jmtpfs")), (PIXEL,)))
    assert (device.route, device.hint, device.model) == ("jmtpfs", None, "Pixel 7")


def test_one_phone_by_two_routes_is_one_device(tmp_path: Path) -> None:
    folder, mount = gvfs(tmp_path)
    make(folder / "mtp:host=Google_Pixel_7_2A281FDH200ABC", f"{STORAGE}/DCIM")
    make(folder / "gphoto2:host=Google_Pixel_7_2A281FDH200ABC", "DCIM")
    device = only(Facts((mount,)))
    assert (device.route, [other.route for other in device.others]) == ("gvfs-mtp", ["gvfs-gphoto2"])
    assert why(device) == "mounted by the desktop; before gvfs-gphoto2"


@pytest.mark.parametrize(
    ("usb", "word"),
    [
        (PIXEL, "nothing here reads it"),
        (replace(PIXEL, mtp=False), "only charges"),
        (IPHONE, "usbmuxd"),
    ],
)
def test_a_phone_that_nothing_reads_is_listed_with_the_remedy(usb: Usb, word: str) -> None:
    (device,) = find_devices(Facts((), (usb,)))
    assert (device.route, device.path) == ("usb", "")
    assert word in (device.hint or "")
    with pytest.raises(DeviceGone, match=word):
        select([device], None)


def test_what_the_usb_says_of_a_phone(tmp_path: Path) -> None:
    def plug(name: str, serial: str, vendor: str, *interfaces: tuple[str, str, str]) -> None:
        for key, value in {"serial": serial, "idVendor": vendor, "busnum": "1", "devnum": "4"}.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / key).write_text(value + "\n")
        for number, values in enumerate(interfaces):
            folder = tmp_path / f"{name}:1.{number}"
            folder.mkdir()
            keys = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
            for key, value in zip(keys, values, strict=True):
                (folder / key).write_text(value + "\n")

    plug("1-1", "PIXEL", "18d1", ("06", "01", "01"), ("ff", "42", "01"))
    plug("1-2", "CHARGES", "04e8")
    plug("1-3", "KEYBOARD", "046d", ("03", "01", "01"))
    plug("1-4", "IPHONE", "05ac", ("06", "01", "01"))
    assert {
        usb.serial: (usb.apple, usb.mtp, usb.debugging) for usb in device_facts._usb_devices(str(tmp_path))
    } == {
        "PIXEL": (False, True, True),
        "CHARGES": (False, False, False),
        "IPHONE": (True, True, False),
    }


def test_kio_fuse(tmp_path: Path) -> None:
    root = tmp_path / "run/user/1000/kio-fuse-aBcDeF"
    path = make(root / "mtp/Pixel 7", f"{STORAGE}/DCIM")
    make(root / "smb/nas", "DCIM")
    device = only(Facts((Mount("kio-fuse", str(root), "fuse.kio-fuse"),), (PIXEL, IPHONE)))
    assert (device.route, device.path, device.identity) == ("kio-mtp", path, "serial:2A281FDH200ABC")


@pytest.mark.parametrize(
    ("fstype", "route"),
    [
        ("fuse.jmtpfs", "jmtpfs"),
        ("fuse.simple-mtpfs", "simple-mtpfs"),
        ("fuse.aft-mtp-mount", "aft-mtp-mount"),
        ("fuse.mtpfs", "mtpfs"),
        ("fuse.deviceFS(GT N7100)", "go-mtpfs"),
        ("fuse.DeviceFs(Pixel 7)", "go-mtpfs"),
        ("fuse.ifuse", "ifuse"),
        ("fuse.gphotofs", "gphotofs"),
    ],
)
def test_mounts_of_their_own(tmp_path: Path, fstype: str, route: str) -> None:
    path = make(tmp_path / "my phone", "Card/DCIM")
    device = only(Facts((Mount("x", path, fstype),)))
    assert (device.route, device.path) == (route, path)
    assert device.identity.startswith("mount:")
    assert (device.model in fstype) == (route == "go-mtpfs")


def test_an_ifuse_mount_takes_its_udid_from_its_source(tmp_path: Path) -> None:
    path = make(tmp_path / "iphone", "DCIM")
    device = only(Facts((Mount("00008110-001234567890ABCD", path, "fuse.ifuse"),), (PIXEL,)))
    assert device.identity == "serial:00008110001234567890ABCD"


def test_with_two_phones_on_the_usb_a_silent_mount_is_not_guessed(tmp_path: Path) -> None:
    path = make(tmp_path / "phone", "Card/DCIM")
    other = Usb("R58M123", "Galaxy", False)
    assert only(Facts((Mount("j", path, "fuse.jmtpfs"),), (PIXEL, other))).identity == "mount:fuse.jmtpfs:j"
    assert only(Facts((Mount("j", path, "fuse.jmtpfs"),), (PIXEL, IPHONE))).identity.startswith("serial:2A28")


def test_memory_cards_need_dcim_at_their_root_and_no_backup_on_them(tmp_path: Path) -> None:
    media = tmp_path / "media"
    card = make(media / "me/EOS_DIGITAL", "DCIM/100CANON", "MISC")
    deep = make(media / "me/Backup", "old phone/DCIM")
    ours = make(media / "me/Disk", "DCIM", ".photosync")
    plain = make(media / "me/Stick", "Pictures")
    home = make(tmp_path / "home", "DCIM")
    share = make(media / "me/nas", "DCIM")
    mounts = [Mount(f"/dev/sd{n}1", path, "vfat") for n, path in enumerate((card, deep, ours, plain, home))]
    facts = Facts((*mounts, Mount("nas:/x", share, "nfs4")), (), {"/dev/sd01": "1234-ABCD"}, (str(media),))
    device = only(facts)
    assert (device.route, device.path, device.identity) == ("volume", card, "uuid:1234-ABCD")
    assert device.name == "eos_digital"
    assert is_plugged_in(device, facts) is True
    swapped = Facts(facts.mounts, (), {"/dev/sd01": "9999-0000"}, facts.media)
    assert is_plugged_in(device, swapped) is False


def test_an_empty_phone_says_how_to_unlock_it(tmp_path: Path) -> None:
    folder, mount = gvfs(tmp_path)
    make(folder / "mtp:host=Google_Pixel_7_2A281FDH200ABC")
    device = only(Facts((mount,)))
    assert device.hint is not None
    assert "Unlock the phone" in device.hint
    with pytest.raises(DeviceGone, match=r"Google Pixel 7: It shows no files. Unlock the phone"):
        select([device], None)


def test_a_storage_without_anything_in_it_is_locked_too(tmp_path: Path) -> None:
    path = make(tmp_path / "phone", STORAGE)
    assert only(Facts((Mount("j", path, "fuse.jmtpfs"),))).hint is not None


def test_a_mount_that_is_gone_is_no_device(tmp_path: Path) -> None:
    assert find_devices(Facts((Mount("j", str(tmp_path / "nowhere"), "fuse.jmtpfs"),))) == []


def test_what_trouble_advises() -> None:
    assert "is dead (Transport endpoint is not connected)" in trouble(OSError(107, "x"), "/p")
    assert "fusermount3 -uz" in trouble(NoAnswer("no answer within 20 seconds"), "/p")
    assert "without sudo" in trouble(PermissionError(13, "x"), "/p")


def test_two_phones_of_one_model_have_names_of_their_own(tmp_path: Path) -> None:
    folder, mount = gvfs(tmp_path)
    for serial in ("AAAA1111", "BBBB2222"):
        make(folder / f"mtp:host=Google_Pixel_7_{serial}", f"{STORAGE}/DCIM")
    devices = find_devices(Facts((mount,)))
    assert [device.name for device in devices] == ["google-pixel-7-1111", "google-pixel-7-2222"]
    assert select(devices, "Google-Pixel-7-2222") is devices[1]
    assert select(devices, "bbbb2222") is devices[1]
    with pytest.raises(Fatal, match=r"phone@google-pixel-7-1111: .*phone@google-pixel-7-2222: ") as several:
        select(devices, None)
    assert not isinstance(several.value, DeviceGone)
    with pytest.raises(DeviceGone, match=r"no device called 'nokia'.*phone@google-pixel-7-1111:"):
        select(devices, "nokia")


def test_phone_means_the_phone_even_beside_a_card() -> None:
    card = Device("card", "volume", "/media/card", "uuid:1", "Card")
    phone = Device("pixel", "jmtpfs", "/phone", "serial:1", "Pixel")
    locked = Device("pixel", "jmtpfs", "/phone", "serial:1", "Pixel", hint="locked.")
    assert select([card, phone], None) is phone
    assert select([card], None) is card
    with pytest.raises(DeviceGone, match="locked"):
        select([card, locked], None)
    assert select([card, locked], "card") is card


@pytest.mark.parametrize(("platform", "word"), [("linux", "jmtpfs"), ("darwin", "ADB"), ("win32", "ADB")])
def test_without_a_device_the_remedy_fits_the_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, word: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(DeviceGone, match=rf"(?s)unlock it.*{word}"):
        select([], None)


def test_the_mount_table_is_read_and_unescaped() -> None:
    assert any(mount.target == "/" for mount in gather_facts().mounts)
    mounts = [
        Mount("a", "/", "ext4"),
        Mount("b", "/mnt", "x"),
        Mount("c", "/mnt", "y"),
        Mount("d", "/mn", "z"),
    ]
    assert mount_at("/mnt/a", mounts) == mounts[2]
    assert mount_at("/mntx", mounts) == mounts[0]


# ---- the helper processes ----------------------------------------------------------------------------------


@pytest.fixture
def operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    source = (
        "import os, time\ndef table():\n    return {'sleep': time.sleep, 'pid': os.getpid, 'stat': os.stat}\n"
    )
    (tmp_path / "slow_things.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return "slow_things:table"


def test_a_helper_answers_and_raises_what_was_raised(operations: str) -> None:
    worker = MountWorker(operations)
    assert worker.call(10, "pid") == worker.call(10, "pid") != os.getpid()
    with pytest.raises(FileNotFoundError):
        worker.call(10, "stat", "/nonexistent/x")
    worker.close()
    with pytest.raises(Transient):
        worker.call(10, "pid")


def test_silence_is_bounded_and_does_not_hold_up_others(operations: str) -> None:
    began = time.monotonic()
    answers = ask_all(operations, {"a": ("sleep", 60), "b": ("pid",), "c": ("sleep", 60)}, 1.5)
    assert time.monotonic() - began < 10
    assert isinstance(answers["a"], NoAnswer)
    assert isinstance(answers["c"], NoAnswer)
    assert isinstance(answers["b"], int)


def test_an_interrupted_question_does_not_answer_the_next_one(operations: str) -> None:
    worker = MountWorker(operations)
    worker.ask("pid")  # and the wait for its answer was interrupted
    with pytest.raises(Transient):
        worker.call(10, "sleep", 0)


def test_a_helper_ends_with_its_parent(operations: str) -> None:
    code = (
        "import os, sys\nfrom photosync.backends.mount_worker import MountWorker\n"
        f"worker = MountWorker({operations!r})\nprint(worker.call(10, 'pid'), flush=True)\nos._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    pid = int(done.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    pytest.fail("the helper outlived its parent")
