"""What ``photosync devices`` shows of devices found; the folders behind them are real."""

import json
from pathlib import Path

import pytest

from photosync import device_report
from photosync.backends.devices import Device, Storage
from photosync.cli import app
from photosync.device_report import device_rows, people


@pytest.fixture
def card(tmp_path: Path) -> Device:
    for number in range(7):
        folder = tmp_path / "card/DCIM" / f"10{number % 2}CANON"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"IMG_{number}.JPG").write_bytes(b"photo")
    (tmp_path / "card/DCIM/.Trash").mkdir()
    (tmp_path / "card/DCIM/.Trash/old.jpg").write_bytes(b"x")
    return Device(
        "eos", "volume", str(tmp_path / "card"), "uuid:1234-ABCD", "EOS", None, (Storage("", ("DCIM",)),)
    )


def shown(monkeypatch: pytest.MonkeyPatch, *devices: Device) -> list[str]:
    monkeypatch.setattr(device_report, "find_devices", lambda: list(devices))
    return [line for row in device_rows() for line in people(row)]


def test_a_card(card: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    first, route, holds, count, space = shown(monkeypatch, card)
    assert first == "phone@eos:  EOS, volume 1234-ABCD"
    assert route == f"  by volume at {card.path} (a memory card)"
    assert (holds, count) == ("  holds DCIM", "  7 files in DCIM")
    assert " free of " in space


def test_one_phone_with_several_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Internal/DCIM").mkdir(parents=True)
    off = Device("", "adb", "", "serial:A1", "Pixel 7", "USB debugging is off. Switch it on.")
    ready = Device("", "gvfs-gphoto2", "/x", "serial:A1", "Pixel 7")
    storages = (Storage("Internal", ("DCIM", "Pictures")),)
    phone = Device("pixel-7", "gvfs-mtp", str(tmp_path), "serial:A1", "Pixel 7", None, storages, (ready, off))
    lines = shown(monkeypatch, phone)
    assert lines[0] == "phone@pixel-7:  Pixel 7, serial A1"
    assert lines[1] == f"  by gvfs-mtp at {tmp_path} (mounted by the desktop; before gvfs-gphoto2)"
    assert lines[2] == "  holds Internal: DCIM, Pictures"
    assert not any("files in DCIM" in line for line in lines), "MTP is not asked to count"
    assert lines[-2:] == ["  also gvfs-gphoto2: ready", "  also adb: USB debugging is off. Switch it on."]


def test_one_that_is_not_ready_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = Device("iphone", "afc", "afc://U", "serial:U", "iPhone", "It is locked. Unlock it.")
    monkeypatch.setattr(device_report, "ask_all", lambda *_: pytest.fail("asked"))
    assert shown(monkeypatch, locked) == [
        "phone@iphone:  iPhone, serial U",
        "  not ready (afc): It is locked. Unlock it.",
    ]


def test_one_that_goes_while_it_is_asked(
    card: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Device("gone", "ifuse", str(tmp_path / "nowhere"), "serial:G", "iPhone")
    adb = Device("pixel", "adb", "A1", "serial:A1", "Pixel 7")
    assert "  7 files in DCIM" in shown(monkeypatch, gone, adb, card)


def test_the_command(
    card: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device_report, "find_devices", lambda: [card])
    with pytest.raises(SystemExit):
        app(["devices", "--json"])
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["event"], row["name"], row["photos"]) == ("device", "eos", 7)
    assert row["routes"] == [{"route": "volume", "path": card.path, "hint": None}]
    monkeypatch.setattr(device_report, "find_devices", list)
    with pytest.raises(SystemExit):
        app(["devices"])
    assert "Plug the phone in" in capsys.readouterr().out
