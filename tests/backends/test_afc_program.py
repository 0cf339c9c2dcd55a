"""AFC spoken by pymobiledevice3, run as a program; the rest is in test_afc, for both clients."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.backends import afc_program
from photosync.engine.errors import Permanent
from tests.servers import pymobiledevice3
from tests.servers.fake_iphone import UDID, FakeIphone, fake_iphone

FOLDER = "DCIM/100APPLE"
ODD = [
    "a b",
    "ü'\"x",
    "-rf",
    "😀.jpg",
    "$HOME;x|y&z<>!`id`",
    "back\\slash",
    " lead  ing ",
    "x -> y",
    "L" * 240,
]
LARGE = os.urandom(9_000_001)


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIphone]:
    media = tmp_path / "media"
    folder = media / FOLDER
    folder.mkdir(parents=True)
    for number, name in enumerate(ODD):
        (folder / name).write_bytes(name.encode() * 1000)
        os.utime(folder / name, ns=(0, 1_700_000_000_123_456_789 + number * 10**9))
    (folder / "empty").write_bytes(b"")
    (folder / "large").write_bytes(LARGE)
    (folder / "link").symlink_to("large")
    program = f"{pymobiledevice3.folder()}/pymobiledevice3"
    monkeypatch.setattr(afc_program, "program", lambda: program)
    monkeypatch.setenv("PHOTOSYNC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    with fake_iphone(media) as plugged:
        monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", plugged.env["USBMUXD_SOCKET_ADDRESS"])
        yield plugged


def content(phone: afc_program.Phone, path: str, offset: int = 0) -> bytes:
    handle = phone.open(path, offset)
    try:
        return b"".join(iter(lambda: phone.read(handle, 1 << 20), b""))
    finally:
        phone.close_file(handle)


def test_names_of_every_kind(phone: FakeIphone, tmp_path: Path) -> None:
    here = tmp_path / "media" / FOLDER
    opened = afc_program.Phone(UDID)
    listed, vanished = opened.children(FOLDER)
    assert (sorted(name for name, _ in listed), vanished) == (sorted(os.listdir(here)), 0)
    for name, told in listed:
        real = os.lstat(here / name)
        assert (told.st_mode >> 12, int(told.st_mtime)) == (real.st_mode >> 12, int(real.st_mtime)), name
        assert opened.stat(f"{FOLDER}/{name}") == told
        if name != "link":
            assert told.st_size == real.st_size
            assert content(opened, f"{FOLDER}/{name}") == (here / name).read_bytes()
    with pytest.raises(Permanent, match="control character"):
        opened.stat("DCIM/a\nrm b")
    assert not phone.changed
    assert len(opened._idle) == 1, "one process did it all"


def test_asked_while_it_reads(phone: FakeIphone) -> None:
    opened = afc_program.Phone(UDID)
    handle = opened.open(f"{FOLDER}/large", 0)
    assert opened.read(handle, 1000) == LARGE[:1000]
    assert opened.stat(f"{FOLDER}/empty").st_size == 0
    assert content(opened, f"{FOLDER}/large", 5_000_001) == LARGE[5_000_001:]
    opened.close_file(handle)
    assert content(opened, f"{FOLDER}/large") == LARGE, "a file given up leaves nothing in the next one"
    with pytest.raises(FileNotFoundError):
        opened.open(f"{FOLDER}/none", 0)
    with pytest.raises(FileNotFoundError):
        opened.children("DCIM/none")


def test_it_keeps_nothing_of_what_was_asked(phone: FakeIphone, tmp_path: Path) -> None:
    afc_program.Phone(UDID).stat("DCIM")
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept == []
