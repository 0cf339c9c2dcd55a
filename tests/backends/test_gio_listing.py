"""Listing by gio: a real gvfs with a real gvfsd-afc, before the iPhone of tests/servers/fake_iphone."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.backends import gio_listing, phone_files
from photosync.backends.device_facts import Facts, Mount
from photosync.backends.device_list import find_devices
from photosync.backends.gio_listing import listed_by_gio, parsed
from photosync.backends.phone import phone_store
from tests.servers.fake_iphone import UDID, FakeIphone, fake_iphone
from tests.servers.gvfs import Gvfs, gvfs, why_not

NAMES = ["IMG_0001.HEIC", "ä ö%41.JPG", "two\nlines\tand a tab.MOV", ".hidden.AAE", "#1?.PNG"]
FOLDER = "DCIM/100APPLE"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "media" / FOLDER
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(bytes(1000 + number))
        os.utime(folder / name, (0, 1_700_000_000 + number))
    return tmp_path / "media"


@pytest.fixture
def phone(photos: Path) -> Iterator[FakeIphone]:
    if reason := why_not():
        pytest.skip(reason)
    with fake_iphone(photos) as plugged:
        yield plugged


@pytest.fixture
def session(phone: FakeIphone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gvfs]:
    with gvfs(phone.env) as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running


def shown(listing: list[tuple[str, os.stat_result]]) -> dict[str, tuple[bool, int, int]]:
    return {name: (stat.S_ISREG(told.st_mode), told.st_size, told.st_mtime_ns) for name, told in listing}


@pytest.mark.root
def test_a_folder_is_listed_as_the_mount_shows_it(
    session: Gvfs, phone: FakeIphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(session.mount(f"afc://{UDID}/"))
    by_gio = listed_by_gio(root, FOLDER)
    assert by_gio is not None
    monkeypatch.setattr(phone_files, "listed_by_gio", lambda *_: None)
    by_stat, vanished = phone_files._list(root, FOLDER)
    assert vanished == 0
    assert shown(by_gio) == shown(by_stat)
    assert set(shown(by_gio)) == set(NAMES)
    assert all(stat.S_ISDIR(told.st_mode) for _, told in listed_by_gio(root, "") or ())
    assert listed_by_gio(root, "DCIM/none") is None


@pytest.mark.root
def test_the_phone_is_asked_half_as_often_and_nothing_is_opened(session: Gvfs, phone: FakeIphone) -> None:
    root = session.mount(f"afc://{UDID}/")
    facts = Facts((Mount("gvfsd-fuse", str(session.folder), "fuse.gvfsd-fuse"),))
    (device,) = find_devices(facts)
    assert (device.route, device.path) == ("gvfs-afc", str(root))
    for number in range(200):
        Path(phone.folder, FOLDER, f"IMG_{number + 100}.HEIC").write_bytes(b"photo")
    with contextlib.closing(phone_store(device, facts=lambda: facts)) as store:
        before = phone.counters.copy()
        assert len(store.list_folder(FOLDER)) == 200 + len(NAMES)
        asked = phone.counters - before
    assert asked["stat"] < 1.5 * (200 + len(NAMES)), asked
    assert asked["open"] == 0


def test_elsewhere_gio_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gio_listing.subprocess, "run", lambda *_args, **_how: pytest.fail("asked"))
    assert listed_by_gio(str(tmp_path), "") is None


def fake_gio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> str:
    """A root that looks like gvfs's, and a program in gio's place."""
    program = tmp_path / "bin" / "gio"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    root = tmp_path / "mtp:host=Google_Pixel_7_1"
    (root / FOLDER).mkdir(parents=True)
    (root / FOLDER / "a.jpg").write_bytes(b"photo")
    os.utime(root / FOLDER / "a.jpg", (0, 1_700_000_000))
    return str(root)


@pytest.mark.parametrize(
    "script",
    [
        "exit 2",
        "echo 'mtp://h/DCIM/a.jpg\t5\t(regular)\ttime::modified=1700000000'; exit 2",
        "echo 'something else'",
        "echo 'mtp://h/DCIM/a.jpg\t4\t(regular)\ttime::modified=1700000000'",
        "echo 'mtp://h/DCIM/a.jpg\t5\t(regular)\ttime::modified=1700003600'",
        "echo 'mtp://h/DCIM/b.jpg\t5\t(regular)\ttime::modified=1700000000'",
        "echo 'mtp://h/DCIM/..%2Fa.jpg\t5\t(regular)'",
    ],
)
def test_what_gio_says_strangely_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    listing, _ = phone_files._list(fake_gio(tmp_path, monkeypatch, script), FOLDER)
    assert shown(listing) == {"a.jpg": (True, 5, 1_700_000_000 * 10**9)}


def test_what_gio_says_well_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "mtp://h/DCIM/a.jpg\\t5\\t(regular)\\ttime::modified=1700000000\\nmtp://h/DCIM/100APPLE/b\\t0\\t(directory)\\n"
    listing, _ = phone_files._list(fake_gio(tmp_path, monkeypatch, f"printf '{lines}'"), FOLDER)
    assert set(shown(listing)) == {"a.jpg", "b"}


def test_30000_files_are_read_in_one_answer() -> None:
    line = b"mtp://h/DCIM/Camera/IMG_%05d.jpg\t3145728\t(regular)\ttime::modified=1700000000\n"
    listing = parsed(b"".join(line % number for number in range(30_000)))
    assert listing is not None
    assert len({name for name, _ in listing}) == 30_000
    assert parsed(b"") == []
