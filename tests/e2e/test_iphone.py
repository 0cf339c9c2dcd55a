"""An iPhone that is plugged in, by AFC and by ifuse, copied end to end with the real clients."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from photosync.backends import afc_library
from photosync.sample import build_library
from tests.e2e.cli import Photosync, noise, rclone_check, tree, write
from tests.e2e.places import LocalFolder
from tests.servers import gvfs, pymobiledevice3
from tests.servers.fake_iphone import UDID, FakeIphone, fake_iphone, why_not

BEYOND = (4 << 30) + 7
ROUTES = ["afc", "ifuse", "gvfs-afc", "pymobiledevice3"]
HIDDEN = """\
import ctypes.util
ctypes.util.find_library = lambda name: None
"""
Plugged = Callable[..., FakeIphone]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 files of the formats that phones make."""
    folder = tmp_path_factory.mktemp("iphone")
    build_library(folder, files=500)
    return folder


@pytest.fixture
def plugged(machine: Photosync) -> Iterator[Plugged]:
    """Plugs iPhones in: ``plugged(folder, **conduct)``; photosync sees the last one."""
    if not afc_library.installed():
        pytest.skip("libimobiledevice is missing (install libimobiledevice6)")
    with contextlib.ExitStack() as stack:

        def plug(folder: Path, **conduct: Any) -> FakeIphone:
            phone = stack.enter_context(fake_iphone(folder, **conduct))
            machine.env |= phone.env
            return phone

        yield plug


@contextlib.contextmanager
def by(route: str, machine: Photosync, phone: FakeIphone, mount: Path) -> Iterator[None]:
    """Has the phone mounted as the route wants it; for one without libimobiledevice, that is out of sight."""
    if route == "ifuse":
        with by_ifuse(phone, mount):
            yield
    elif route == "gvfs-afc":
        if reason := gvfs.why_not():
            pytest.skip(reason)
        with gvfs.gvfs(phone.env) as session:
            session.mount(f"afc://{phone.udid}/")
            usual = dict(machine.env)
            machine.env |= session.env
            yield
            machine.env = usual
    elif route == "pymobiledevice3":
        usual = dict(machine.env)
        site = write(mount, {"sitecustomize.py": HIDDEN.encode()})
        machine.env |= {"PYTHONPATH": str(site), "PATH": f"{pymobiledevice3.folder()}:{usual['PATH']}"}
        yield
        machine.env = usual
    else:
        yield


@contextlib.contextmanager
def by_ifuse(phone: FakeIphone, mount: Path) -> Iterator[None]:
    if reason := why_not("ifuse", "fusermount3"):
        pytest.skip(reason)
    mount.mkdir(exist_ok=True)
    subprocess.run(["ifuse", str(mount)], check=True, env={**os.environ, **phone.env}, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["fusermount3", "-uzq", str(mount)], check=False)


def route_of(machine: Photosync) -> tuple[str, list[str]]:
    """The route taken to the iPhone, and the others."""
    rows = machine.run("devices", "--json").expect(0).events
    (row,) = [row for row in rows if row["identity"] == "serial:" + UDID.replace("-", "")]
    return row["route"], [other["route"] for other in row["routes"][1:]]


@pytest.mark.root
@pytest.mark.route("library")
@pytest.mark.parametrize("route", ROUTES)
def test_a_library(
    machine: Photosync, plugged: Plugged, library: Path, local: LocalFolder, tmp_path: Path, route: str
) -> None:
    phone = plugged(library)
    with by(route, machine, phone, tmp_path / "mount"):
        assert route_of(machine)[0] == route
        report = machine.copy("phone@iris-iphone:", local.text).expect(0).report
        files = tree(library)
        assert report["verified"] == len(files) >= 500
        assert report["source_bytes_read"] == sum(map(len, files.values()))
        assert local.files() == files
        again = machine.copy("phone@iris-iphone:", local.text).expect(0).report
        assert (again["status"], again["source_bytes_read"]) == ("nothing", 0)
    if route == "afc":
        assert phone.counters["bytes"] == report["source_bytes_read"], "every byte is read once"
        rclone_check(library, local.text)
    assert not phone.changed


@pytest.mark.root
def test_ifuse_and_then_afc(
    machine: Photosync, plugged: Plugged, library: Path, local: LocalFolder, tmp_path: Path
) -> None:
    phone = plugged(library)
    with by_ifuse(phone, tmp_path / "mount"):
        assert route_of(machine) == ("ifuse", ["afc"])
        report = machine.copy("phone@iris-iphone:", local.text).expect(0).report
        assert report["verified"] == len(tree(library))
        assert local.files() == tree(library)
    again = machine.copy("phone@iris-iphone:", local.text).expect(0).report
    assert (again["status"], again["source_bytes_read"]) == ("nothing", 0), "the same phone by another route"
    assert not phone.changed


@pytest.mark.root
@pytest.mark.timeout(900)
@pytest.mark.route("beyond")
@pytest.mark.parametrize("route", ROUTES)
def test_a_video_beyond_4_gib(
    machine: Photosync, plugged: Plugged, local: LocalFolder, tmp_path: Path, route: str
) -> None:
    folder = write(tmp_path / "media", {"DCIM/100APPLE/IMG_0001.MOV": noise(1 << 20)})
    os.truncate(folder / "DCIM/100APPLE/IMG_0001.MOV", BEYOND)
    phone = plugged(folder, tls=route != "pymobiledevice3")  # of its time, half would go into that
    with by(route, machine, phone, tmp_path / "mount"):
        assert route_of(machine)[0] == route
        report = machine.copy("phone@iris-iphone:", local.text, timeout=800).expect(0).report
    assert report["verified"] == 1
    assert report["bytes"] == BEYOND
    pair = [str(root / "DCIM/100APPLE/IMG_0001.MOV") for root in (folder, local.folder)]
    subprocess.run(["cmp", *pair], check=True)


@pytest.mark.root
@pytest.mark.route("unplugged")
@pytest.mark.parametrize("route", ROUTES)
def test_unplugged_in_the_middle_of_a_video(
    machine: Photosync, plugged: Plugged, local: LocalFolder, tmp_path: Path, route: str
) -> None:
    files = {f"DCIM/100APPLE/IMG_{number:04}.HEIC": noise(200_000, number) for number in range(20)}
    files["DCIM/100APPLE/IMG_9000.MOV"] = noise(40 << 20)
    folder = write(tmp_path / "media", files, mtime=1_700_000_000)
    phone = plugged(folder)
    phone.set(unplug_after=24 << 20)
    with by(route, machine, phone, tmp_path / "mount"):
        first = machine.copy("phone@iris-iphone:", local.text).expect(7)
    assert first.report["pending"] + first.report["failed"] >= 1
    held = local.files()
    assert all(files[path] == data for path, data in held.items()), "no half photo has its final name"
    assert len(held) == first.report["verified"]

    assert machine.copy("phone@iris-iphone:", local.text).code == 7
    assert local.files() == held, "a phone that is gone is no reason to do anything"

    phone.plug_in()
    with by(route, machine, phone, tmp_path / "mount"):
        second = machine.copy("phone@iris-iphone:", local.text).expect(0).report
    assert second["verified"] == len(files) - len(held)
    assert local.files() == files
    left = sum(len(data) for path, data in files.items() if path not in held)
    assert second["source_bytes_read"] == left, "what is proven is not read again"


def test_what_is_in_icloud_only_is_counted(
    machine: Photosync, plugged: Plugged, local: LocalFolder, tmp_path: Path
) -> None:
    files = {f"DCIM/100APPLE/IMG_{number:04}.HEIC": noise(50_000, number) for number in range(9)}
    folder = write(tmp_path / "media", files)
    away = frozenset(sorted(files)[:4])
    phone = plugged(folder, placeholders=away)
    done = machine.copy("phone@iris-iphone:", local.text)
    assert done.code == 6, done.err
    assert (done.report["verified"], done.report["failed"]) == (5, 4)
    assert set(done.files("failed")) == away
    assert all("kept in the cloud only" in row["error"] for row in done.files("failed").values())
    phone.set(placeholders=frozenset())
    assert machine.copy("phone@iris-iphone:", local.text).expect(0).report["verified"] == 4
    assert local.files() == files


@pytest.mark.parametrize(
    ("conduct", "word"), [({"locked": True}, "Unlock it"), ({"trust": "asked"}, "Tap Trust")]
)
def test_a_phone_that_does_not_answer_yet(
    machine: Photosync,
    plugged: Plugged,
    library: Path,
    local: LocalFolder,
    conduct: dict[str, Any],
    word: str,
) -> None:
    plugged(library, **conduct)
    done = machine.run("copy", "phone@iphone:", local.folder).expect(7)
    assert word in done.err
    assert not local.folder.exists()


def test_another_phone_is_refused_until_confirmed(
    machine: Photosync, plugged: Plugged, local: LocalFolder, tmp_path: Path
) -> None:
    mine = write(tmp_path / "mine", {"DCIM/100APPLE/IMG_0001.HEIC": b"mine"})
    hers = write(tmp_path / "hers", {"DCIM/100APPLE/IMG_0001.HEIC": b"hers"})
    plugged(mine)
    machine.copy("phone@iris-iphone:", local.text).expect(0)
    plugged(hers, udid="00008110-00FF00FF00FF00FF")
    refused = machine.copy("phone@iris-iphone:", local.text).expect(7)
    assert "--new-device" in refused.report["error"]
    assert local.files() == {"DCIM/100APPLE/IMG_0001.HEIC": b"mine"}
    assert machine.run("copy", "phone@iris-iphone:", local.text, "--dry-run").code == 7
    allowed = machine.copy("phone@iris-iphone:", local.text, "--new-device")
    assert allowed.code == 1, "two photos of one name: both are kept, and that is told"
    assert sorted(local.files().values()) == [b"hers", b"mine"]
    assert machine.copy("phone@iris-iphone:", local.text).code == 0


@pytest.mark.root
@pytest.mark.parametrize("route", ["afc", "ifuse", "gvfs-afc"])
def test_freeing_space_lists_and_never_deletes(
    machine: Photosync, plugged: Plugged, tmp_path: Path, route: str
) -> None:
    files = {f"DCIM/100APPLE/IMG_{number:04}.HEIC": noise(5_000, number) for number in range(5)}
    folder = write(tmp_path / "media", files)
    phone = plugged(folder)
    with by(route, machine, phone, tmp_path / "mount"):
        for name in ("one", "two"):
            machine.copy("phone@iris-iphone:", tmp_path / name).expect(0)
        done = machine.run("free-up", "phone@iris-iphone:", "--yes", "--min-copies", "1").expect(0)
    assert "ghosts" in done.out + done.err
    assert tree(folder) == files
    assert not phone.changed
