"""Reading an Android phone by ADB: a real adbd, with folders and faulty FUSE mounts as its storage."""

import contextlib
import os
import random
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from photosync.backends import adb_devices
from photosync.backends.adb import AdbBackend
from photosync.backends.adb_client import AdbPhone, Answer, failure
from photosync.backends.adb_devices import DEBUGGING_OFF, HINTS, find_adb
from photosync.backends.adb_listing import parse
from photosync.backends.adb_remove import AdbRemover
from photosync.backends.adb_store import PRIMARY, AdbStore, adb_store
from photosync.backends.device_facts import Facts, Usb
from photosync.backends.devices import UNLOCK, Device, Storage
from photosync.engine.capabilities import Store
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import (
    DestinationFull,
    DeviceGone,
    Permanent,
    ReadOnly,
    SourceChanged,
    Transient,
    classify,
)
from tests.servers import adbd as server
from tests.servers.adb_states import adb_server
from tests.servers.adbd import AdbdPhone
from tests.servers.fuse_phone import FuseLibrary, fuse_phone
from tests.servers.fuse_phone import why_not as why_no_fuse

pytestmark = pytest.mark.root

VIDEO = random.Random(1).randbytes(6_000_007)
PHOTO = random.Random(2).randbytes(300_000)
TAKEN = 1_700_000_001
HUGE = (5 << 30) + 7
TAIL = b"the very end"
ODD = (
    "line\nbreak.jpg", "it's \"quoted\".jpg", "-rf", "$(reboot) `x` $HOME \\n.jpg", "  spaces  ",
    "\u05e9\u05dc.jpg", "Cafe\u0301.jpg", os.fsdecode(b"latin1-\xe9.jpg"), "41ed 4096 1 x\n41ed 4096 2 y",
    "tab\there", "*?[a]", ".hidden.jpg",
)  # fmt: skip
CARD = "1A2B-3C4D"


@pytest.fixture(scope="module", autouse=True)
def needs_adbd() -> None:
    if why := server.why_not():
        pytest.skip(why)


def fill(root: Path) -> Path:
    camera = root / "DCIM/Camera"
    for folder in (
        camera,
        root / "Pictures",
        root / "Music",
        root / "Android/data/app",
        root / "DCIM/.thumbnails",
    ):
        folder.mkdir(parents=True)
    (camera / "IMG_0001.jpg").write_bytes(PHOTO)
    (camera / "VID_0002.mp4").write_bytes(VIDEO)
    (camera / "empty.jpg").touch()
    (root / "Music/song.mp3").write_bytes(b"la")
    (root / "DCIM/.thumbnails/1.jpg").write_bytes(b"x")
    (camera / "link.jpg").symlink_to("/etc/passwd")
    for number, name in enumerate(ODD):
        (root / "Pictures" / name).write_bytes(b"%d" % number)
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (TAKEN, TAKEN))
    return root


@contextlib.contextmanager
def running(folder: Path, home: Path, **options: object) -> Iterator[AdbdPhone]:
    with pytest.MonkeyPatch.context() as patch, server.adbd(folder, home, **options) as phone:  # type: ignore[arg-type]
        for name, value in phone.env().items():
            patch.setenv(name, value)
        yield phone


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbdPhone]:
    """One that is only read, in India, with a memory card."""
    base = tmp_path_factory.mktemp("phone")
    card = base / "card"
    (card / "DCIM/100CANON").mkdir(parents=True)
    (card / "DCIM/100CANON/IMG_1.JPG").write_bytes(PHOTO)
    with running(fill(base / "sdcard"), base / "home", cards={CARD: card}, timezone="IST-5:30") as found:
        yield found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[AdbdPhone]:
    """One that may be unplugged."""
    with running(fill(tmp_path / "sdcard"), tmp_path / "home") as found:
        yield found


@pytest.fixture
def library(tmp_path: Path) -> Iterator[FuseLibrary]:
    """What is behind `faulty`."""
    if why := why_no_fuse():
        pytest.skip(why)
    (tmp_path / "mount").mkdir()
    with fuse_phone(fill(tmp_path / "sdcard"), tmp_path / "mount") as found:
        yield found


@pytest.fixture
def faulty(library: FuseLibrary, tmp_path: Path) -> Iterator[AdbdPhone]:
    with running(library.mount, tmp_path / "home", user=0) as found:
        yield found


def device_of(phone: AdbdPhone) -> Device:
    (device,) = [found for found in find_adb(Facts()) if found.path == phone.serial]
    return device


def opened(phone: AdbdPhone, subpath: str = "") -> AdbStore:
    return adb_store(device_of(phone), subpath)


def walked(store: AdbStore, folder: str = "") -> dict[str, Entry]:
    found = {}
    for entry in store.list_folder(folder):
        found[entry.path] = entry
        if entry.kind is Kind.FOLDER:
            found |= walked(store, entry.path)
    return found


def content(store: Store, path: str, offset: int = 0) -> bytes:
    with contextlib.closing(store.open(path, offset)) as reader:
        pieces = bytearray()
        while piece := reader.read(1 << 20):
            pieces += piece
    return bytes(pieces)


# ---- listing -----------------------------------------------------------------------------------------------


def test_a_device_tells_who_it_is_and_what_it_holds(phone: AdbdPhone) -> None:
    device = device_of(phone)
    assert (device.route, device.hint, device.model) == ("adb", None, "Google Pixel 8")
    assert device.identity == f"serial:{phone.hardware}"
    assert device.storages == (Storage(PRIMARY, ("DCIM", "Pictures")), Storage(CARD, ("DCIM",)))


def test_the_listing_is_what_lies_there(phone: AdbdPhone) -> None:
    found = walked(opened(phone))
    files = {path: entry for path, entry in found.items() if entry.is_file}
    assert {path.removeprefix(f"{PRIMARY}/Pictures/") for path in files if "/Pictures/" in path} == set(ODD)
    for path, entry in files.items():
        base = phone.folder if path.startswith(PRIMARY) else phone.cards[CARD]
        true = (base / path.partition("/")[2]).lstat()
        assert (entry.size, entry.mtime_ns) == (true.st_size, int(true.st_mtime) * 10**9), path
    assert found[f"{PRIMARY}/DCIM/Camera/link.jpg"].kind is Kind.OTHER
    assert found[f"{PRIMARY}/DCIM/.thumbnails"].kind is Kind.SKIPPED
    assert found[f"{PRIMARY}/Music"].note.startswith("no photo folder")
    assert not any("thumbnails/" in path or "Android/data" in path for path in found)


def test_a_whole_tree_costs_one_exchange(phone: AdbdPhone) -> None:
    store = opened(phone, "DCIM")
    before = store.requests["shell"]
    walked(store)
    assert store.requests["shell"] - before == 3, "who it is, and each storage once"


def test_sizes_beyond_4_gib_and_times_before_1970(own: AdbdPhone) -> None:
    huge = own.folder / "DCIM/huge.mp4"
    with huge.open("wb") as file:
        file.truncate(HUGE - len(TAIL))
        file.seek(0, os.SEEK_END)
        file.write(TAIL)
    os.utime(huge, (-1000, -1000))
    store = opened(own, "DCIM")
    (entry,) = [entry for entry in store.list_folder("") if entry.path == "huge.mp4"]
    assert (entry.size, entry.mtime_ns) == (HUGE, -1000 * 10**9)
    assert store.stat("huge.mp4") == entry
    with contextlib.closing(store.open("huge.mp4", HUGE - 100)) as reader:
        assert reader.stat() == entry
        assert reader.read(1 << 20) == bytes(100 - len(TAIL)) + TAIL
        assert reader.read(1) == b""


def test_paths_of_a_place(phone: AdbdPhone) -> None:
    assert {e.path for e in opened(phone, "DCIM/Camera").list_folder("")} >= {"IMG_0001.jpg", "VID_0002.mp4"}
    assert {e.path for e in opened(phone, f"{CARD}/DCIM").list_folder("")} == {"100CANON"}
    assert {e.path for e in opened(phone, "/").list_folder("")} == {PRIMARY, CARD}
    assert "song.mp3" in {e.path for e in opened(phone, f"/{PRIMARY}/Music").list_folder("")}
    assert {e.path for e in opened(phone, "DCIM/.thumbnails").list_folder("")} == {"1.jpg"}
    with pytest.raises(FileNotFoundError):
        opened(phone, "DCIM/Nothing")
    store = opened(phone)
    for path in (f"{PRIMARY}/DCIM/none.jpg", f"{PRIMARY}/DCIM/Camera/IMG_0001.jpg/x", "elsewhere"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            store.stat(path)
    with pytest.raises(FileNotFoundError):
        store.open(f"{PRIMARY}/DCIM/none.jpg")
    with pytest.raises(FileNotFoundError):
        store.list_folder(f"{PRIMARY}/DCIM/Camera/none")
    usage = store.about()
    assert usage.total is not None
    assert usage.free is not None
    assert usage.total > usage.free > 0


def test_a_folder_that_cannot_be_read_is_an_error_and_the_others_are_not(own: AdbdPhone) -> None:
    camera = own.folder / "DCIM/Camera"
    store = opened(own)
    camera.chmod(0)
    assert f"{PRIMARY}/DCIM/Camera" in {entry.path for entry in store.list_folder(f"{PRIMARY}/DCIM")}
    with pytest.raises(PermissionError):
        store.list_folder(f"{PRIMARY}/DCIM/Camera")
    assert len(store.list_folder(f"{PRIMARY}/Pictures")) == len(ODD)
    camera.parent.chmod(0)
    with pytest.raises(PermissionError):
        store.list_folder(f"{PRIMARY}/DCIM")
    camera.parent.chmod(0o755)
    camera.chmod(0o444)  # names can be read, what they stand for cannot
    store.list_folder(f"{PRIMARY}/DCIM")
    with pytest.raises(PermissionError):
        store.list_folder(f"{PRIMARY}/DCIM/Camera")
    camera.chmod(0o755)
    assert len(store.list_folder(f"{PRIMARY}/DCIM/Camera")) == 4


def test_a_storage_that_cannot_be_read_is_not_half_a_phone(library: FuseLibrary, faulty: AdbdPhone) -> None:
    library.unplug("eio")
    device = device_of(faulty)
    assert device.hint is not None
    library.unplug("empty")
    assert device_of(faulty).hint == UNLOCK
    library.plug_in()
    assert device_of(faulty).hint is None


NAMES = b"/sdcard\0/sdcard/a\0/sdcard/b\0"
LINES = b"41ed 4096 1 /sdcard\n81a4 10 2 /sdcard/a\n81a4 11 18446744073709551615 /sdcard/b\n"


def test_what_a_whole_answer_is() -> None:
    tree = parse(Answer(NAMES + b"\0" + LINES, b"", 0), "/sdcard", True)
    assert {name: (told.size, told.mtime) for name, told in tree.folders["/sdcard"].items()} == {
        "a": (10, 2),
        "b": (11, -1),
    }


@pytest.mark.parametrize(
    "answer",
    [
        Answer(NAMES + b"\0" + LINES[:-1], b"", 0),
        Answer(NAMES + b"\0" + LINES[: LINES.index(b"81a4 11")], b"", 0),
        Answer(NAMES[: NAMES.index(b"/sdcard/b")] + b"\0" + LINES, b"", 0),
        Answer(NAMES + b"\0" + LINES.replace(b"/a\n", b"/c\n"), b"", 0),
        Answer(NAMES + b"\0", b"", 0),
        Answer(NAMES, b"", 0),
        Answer(b"", b"", 0),
        Answer(NAMES + b"\0" + LINES, b"", 1),
        Answer(NAMES + b"\0" + LINES, b"sh: xargs: not found\n", 0),
        Answer(NAMES + b"\0" + LINES, b"find: /elsewhere/x: Permission denied\n", 1),
        Answer(NAMES + b"\0" + LINES, b"Killed\n", 0),
    ],
)
def test_an_answer_that_is_not_whole_is_no_listing(answer: Answer) -> None:
    with pytest.raises(Transient):
        parse(answer, "/sdcard", True)


def test_a_file_that_cannot_be_looked_at_spoils_its_folder() -> None:
    said = b"find: /sdcard/x.jpg: Permission denied\n" * 2
    tree = parse(Answer(NAMES + b"\0" + LINES, said, 1), "/sdcard", True)
    assert isinstance(tree.failed["/sdcard"], PermissionError)
    said = b"find: '/sdcard/x.jpg': No such file or directory\n"
    tree = parse(Answer(NAMES + b"\0" + LINES, said, 1), "/sdcard", True)
    assert (tree.failed, tree.vanished) == ({}, True)


# ---- reading -----------------------------------------------------------------------------------------------


def test_files_are_read_whole_and_from_anywhere(phone: AdbdPhone) -> None:
    store = opened(phone, "DCIM/Camera")
    assert content(store, "IMG_0001.jpg") == PHOTO
    assert content(store, "empty.jpg") == b""
    for offset in (1, 65_536, 65_537, len(VIDEO) - 1, len(VIDEO), len(VIDEO) + 1):
        assert content(store, "VID_0002.mp4", offset) == VIDEO[offset:], offset
    assert store.read_small("IMG_0001.jpg", len(PHOTO)) == (PHOTO, None)
    odd = opened(phone, "Pictures")
    for number, name in enumerate(ODD):
        assert content(odd, name) == b"%d" % number, name
        assert content(odd, name, 1) == (b"%d" % number)[1:], name


def test_what_an_open_file_says_of_itself(phone: AdbdPhone) -> None:
    store = opened(phone, "DCIM/Camera")
    told = store.stat("VID_0002.mp4")
    with contextlib.closing(store.open("VID_0002.mp4")) as reader:
        assert reader.stat() == told
        assert reader.read(100) == VIDEO[:100]
        assert reader.stat() == told, "in the middle too"
        while reader.read(1 << 20):
            pass
        assert reader.stat() == told
    for path in ("link.jpg", ""):
        with pytest.raises(OSError, match="not a regular file"):
            store.open(path)


def test_several_are_read_at_once(phone: AdbdPhone) -> None:
    store = opened(phone, "DCIM/Camera")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: content(store, "VID_0002.mp4", n * 1000 % 3), range(16)))
    assert found == [VIDEO[n * 1000 % 3 :] for n in range(16)]


def test_a_file_that_cannot_be_read_to_its_end_is_an_error(library: FuseLibrary, faulty: AdbdPhone) -> None:
    store = opened(faulty, "DCIM/Camera")
    library.set(bad_from={"DCIM/Camera/VID_0002.mp4": 1_000_000})
    for offset in (0, 5):
        with pytest.raises(OSError):
            content(store, "VID_0002.mp4", offset)
    library.set(bad_from={}, bad_open=frozenset({"DCIM/Camera/IMG_0001.jpg"}))
    with pytest.raises(OSError):
        content(store, "IMG_0001.jpg")


# ---- unplugging --------------------------------------------------------------------------------------------


def test_unplugged_while_a_file_is_read(own: AdbdPhone) -> None:
    store = opened(own, "DCIM/Camera")
    with contextlib.closing(store.open("VID_0002.mp4")) as reader:
        reader.read(1000)
        own.unplug()
        with pytest.raises((DeviceGone, Transient)):
            reader.read(len(VIDEO))
    for ask in (
        lambda: store.stat("IMG_0001.jpg"),
        lambda: store.open("IMG_0001.jpg"),
        lambda: store.list_folder(""),
    ):
        with pytest.raises(DeviceGone, match="Unlock the phone, unplug it and plug it in again"):
            ask()
    assert [device for device in find_adb(Facts()) if device.hint is None] == []
    own.plug_in()
    assert content(opened(own, "DCIM/Camera"), "IMG_0001.jpg") == PHOTO


def test_another_phone_at_the_same_address(own: AdbdPhone) -> None:
    device = device_of(own)
    own.tell("SOMEBODYELSES")
    with pytest.raises(DeviceGone, match="Another phone answers"):
        adb_store(device)
    own.tell(own.hardware)
    store = adb_store(device)
    own.unplug()
    own.tell("SOMEBODYELSES")
    own.plug_in()
    with pytest.raises(DeviceGone, match="Another phone answers"):
        store.list_folder("")


# ---- nothing is written ------------------------------------------------------------------------------------


def test_nothing_writes_to_a_phone(phone: AdbdPhone) -> None:
    store = opened(phone)
    path = f"{PRIMARY}/DCIM/Camera/IMG_0001.jpg"
    for write in (
        lambda: store.put([]),
        lambda: store.start_upload(path, 1, None),
        lambda: store.move(path, f"{path}.x"),
        lambda: store.copy(path, f"{path}.x"),
        lambda: store.set_mtime(path, 0),
        lambda: store.replace_small(path, b"", None),
        lambda: store.delete(path),
    ):
        with pytest.raises(ReadOnly):
            write()
    fs = AdbBackend(phone.serial, skip_instance_cache=True)
    real = "/sdcard/DCIM/Camera/IMG_0001.jpg"
    for change in (
        lambda: fs.open(real, "wb"),
        lambda: fs.open(real, "ab"),
        lambda: fs.pipe_file(real, b""),
        lambda: fs.rm(real),
        lambda: fs.rm_file(real),
        lambda: fs.mv(real, f"{real}.x"),
        lambda: fs.cp_file(real, f"{real}.x"),
        lambda: fs.touch(real),
        lambda: fs.mkdir("/sdcard/new"),
        lambda: fs.makedirs("/sdcard/new/er"),
        lambda: fs.rmdir("/sdcard/Pictures"),
        lambda: fs.put_file(__file__, real),
    ):
        with pytest.raises(ReadOnly):
            change()
    assert content(store, path) == PHOTO


def test_as_an_fsspec_filesystem(phone: AdbdPhone) -> None:
    import fsspec

    fs = fsspec.filesystem("psadb", serial=phone.serial)
    assert isinstance(fs, AdbBackend)
    assert "/sdcard/DCIM/Camera" in fs.ls("/sdcard/DCIM", detail=False)
    assert fs.info("/sdcard")["type"] == "directory"
    assert fs.cat_file("psadb:///sdcard/DCIM/Camera/VID_0002.mp4", 1000, -5) == VIDEO[1000:-5]
    with fs.open("/sdcard/DCIM/Camera/VID_0002.mp4") as file:
        assert file.read() == VIDEO
    assert len(fs.find("/sdcard/Pictures")) == len(ODD)
    assert not fs.exists("/sdcard/none")
    with pytest.raises(FileNotFoundError):
        fs.ls("/sdcard/none")
    assert content(fs.store("/sdcard/DCIM"), "Camera/IMG_0001.jpg") == PHOTO


# ---- deleting, which no store leads to ---------------------------------------------------------------------


def test_one_file_is_deleted_only_while_it_is_what_was_proven(own: AdbdPhone) -> None:
    for path in own.folder.rglob("*"):
        os.chown(path, server.SHELL, server.SHELL, follow_symlinks=False)
    device = device_of(own)
    remover = AdbRemover(device, AdbPhone(device.path))
    found = walked(adb_store(device))
    victims = [f"{PRIMARY}/DCIM/Camera/IMG_0001.jpg", *(f"{PRIMARY}/Pictures/{name}" for name in ODD)]
    for path in victims:
        entry, real = found[path], own.folder / path.partition("/")[2]
        for wrong in (replace(entry, size=entry.size + 1), replace(entry, mtime_ns=entry.mtime_ns + 10**9)):
            with pytest.raises(SourceChanged):
                remover.remove(wrong)
        with pytest.raises(Permanent):
            remover.remove(replace(entry, mtime_ns=None))
        assert real.exists()
        remover.remove(entry)
        assert not real.exists()
        with pytest.raises(FileNotFoundError):
            remover.remove(entry)
    left = {path for path in own.folder.rglob("*") if path.is_file() and not path.is_symlink()}
    assert {path.name for path in left} == {"VID_0002.mp4", "empty.jpg", "song.mp3", "1.jpg"}


def test_links_folders_and_other_places_are_never_deleted(own: AdbdPhone) -> None:
    device = device_of(own)
    remover = AdbRemover(device, AdbPhone(device.path))
    link = own.folder / "DCIM/Camera/link.jpg"
    told = link.lstat()
    with pytest.raises(SourceChanged):
        remover.remove(Entry(f"{PRIMARY}/DCIM/Camera/link.jpg", told.st_size, int(told.st_mtime) * 10**9))
    with pytest.raises(SourceChanged):
        remover.remove(Entry(f"{PRIMARY}/Pictures", 0, 0))
    for path in ("DCIM/Camera/IMG_0001.jpg", PRIMARY, "etc/passwd", f"{CARD}/DCIM/x"):
        with pytest.raises(FileNotFoundError):
            remover.remove(Entry(path, len(PHOTO), TAKEN * 10**9))
    assert link.is_symlink()
    assert stat.S_ISDIR((own.folder / "Pictures").stat().st_mode)


# ---- what hinders ------------------------------------------------------------------------------------------

PIXEL = Usb("2A281FDH200ABC", "Pixel 7", False, (1, 4), android=True, debugging=True)


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("unauthorized", HINTS["unauthorized"]),
        ("authorizing", HINTS["authorizing"]),
        ("connecting", HINTS["connecting"]),
        ("offline", HINTS["offline"]),
        ("no permissions (are your udev rules wrong?); see [http://…]", HINTS["no permissions"]),
        ("recovery", "Start it normally"),
        ("sideload", "Start it normally"),
    ],
)  # fmt: skip
def test_a_phone_that_is_not_ready_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, state: str, hint: str
) -> None:
    line = f"2A281FDH200ABC         {state} usb:1-4 product:panther model:Pixel_7 transport_id:3\n"
    with adb_server(line) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        (device,) = find_adb(Facts(usb=(PIXEL,)))
    assert device.hint is not None
    assert hint in device.hint
    assert (device.identity, device.model) == ("serial:2A281FDH200ABC", "Pixel 7")


def test_a_phone_on_a_network_that_is_not_ready_has_no_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with adb_server("192.168.1.5:5555 offline transport_id:9\n") as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        (device,) = find_adb(Facts())
    assert device.identity == "mount:adb:192.168.1.5:5555"


def test_usb_debugging_off_and_the_package_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with adb_server("") as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        silent = replace(PIXEL, debugging=False)
        (device,) = find_adb(Facts(usb=(silent, Usb("1", "iPhone", True), Usb("2", "EOS R5", False))))
        assert device.hint == DEBUGGING_OFF
        monkeypatch.setattr(adb_devices, "find_spec", lambda name: None)
        hints = [device.hint for device in find_adb(Facts(usb=(PIXEL, silent)))]
    assert hints == [
        "Reading it by ADB needs a package. Run: pip install 'photosync-engine[adb]'",
        DEBUGGING_OFF,
    ]


def test_no_server_is_started_where_no_phone_could_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import adbutils

    def never(*_: object) -> None:
        raise AssertionError("a server would be started")

    monkeypatch.setattr(adbutils.AdbClient, "make_connection", never)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    monkeypatch.setattr("sys.platform", "linux")
    assert find_adb(Facts(usb=(Usb("2", "EOS R5", False),))) == []


def test_a_full_phone_ends_a_restore() -> None:
    """As adbd says it (AOSP, file_sync_service.cpp): no file after this one would fit."""
    said = failure(b"couldn't write file: No space left on device", "DCIM/a.jpg")
    assert isinstance(classify(said, "restoring DCIM/a.jpg"), DestinationFull)
    assert isinstance(classify(failure(b"Read-only file system", "a"), "restoring a"), ReadOnly)
