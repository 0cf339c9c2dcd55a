"""What happens between two runs: edits, renames, losses, other machines. Old bytes are never lost."""

import os
import time
from pathlib import Path

import pytest

from photosync import api
from photosync.engine.workers import Threads
from tests.e2e.cli import Photosync, finish, noise, photo, write
from tests.e2e.conftest import Plug
from tests.e2e.places import LocalFolder, Where, age, arrived

EVERYWHERE = pytest.mark.parametrize("place", ["local", "wire", "dropbox", "drive"], indirect=True)
WHEN = 1_700_000_000.0
BIG = 9 << 20
OVERHEAD = 64 << 10
"""Bytes that requests other than uploads of photos may cost: headers, manifest, probes."""


def photos(folder: Path) -> dict[str, bytes]:
    """Twelve photos and a film of 9 MiB; all sizes differ."""
    files = {f"DCIM/100/IMG_{number:04}.JPG": noise(2000 + number, number) for number in range(12)}
    files["DCIM/100/VID_0001.MP4"] = noise(BIG, "film")
    write(folder, files, mtime=WHEN)
    return files


def contents(place: Where) -> list[bytes]:
    return sorted(place.files().values())


@EVERYWHERE
@pytest.mark.row(29)
def test_every_change_at_once(machine: Photosync, place: Where, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    old = photos(phone)
    machine.copy(phone, place.text).expect(0)

    def at(number: int) -> str:
        return f"DCIM/100/IMG_{number:04}.JPG"

    same_size, edited, theirs = noise(2002, "other"), noise(5000, "edited"), noise(2006, "theirs")
    write(phone, {at(1): edited, at(12): noise(4000, "new")})
    write(phone, {at(2): same_size}, mtime=WHEN + 60)
    (phone / at(3)).rename(phone / "DCIM/100/Renamed.JPG")
    (phone / "DCIM/200").mkdir()
    (phone / at(4)).rename(phone / "DCIM/200/IMG_0004.JPG")
    os.utime(phone / at(5), (WHEN, WHEN + 3600))
    place.put(at(6), theirs)
    place.delete(at(7))
    (phone / at(8)).unlink()

    second = machine.copy(phone, place.text).expect(1)
    told = {path: (row["status"], row["stored"]) for path, row in second.files().items()}
    assert {path: status for path, (status, _) in told.items()} == {
        at(1): "conflict",
        at(2): "conflict",
        at(6): "conflict",
        at(5): "verified",
        at(7): "verified",
        at(12): "verified",
        "DCIM/100/Renamed.JPG": "verified",
        "DCIM/200/IMG_0004.JPG": "verified",
    }
    there = place.files()
    assert (there[at(1)], there[told[at(1)][1]]) == (old[at(1)], edited)
    assert (there[at(2)], there[told[at(2)][1]]) == (old[at(2)], same_size)
    assert (there[at(6)], there[told[at(6)][1]]) == (theirs, old[at(6)])
    assert there["DCIM/100/Renamed.JPG"] == old[at(3)]
    assert there["DCIM/200/IMG_0004.JPG"] == old[at(4)]
    assert at(3) not in there
    assert at(4) not in there
    assert there[at(7)] == old[at(7)]
    assert there[at(8)] == old[at(8)], "copy deletes nothing"
    assert there[at(12)] == noise(4000, "new")
    assert len(there) == len(old) + 3 + 1
    assert second.report["bytes"] == 5000 + 2002 + 2006 + 2007 + 4000
    assert second.report["source_bytes_read"] < BIG, "what did not change is not read"

    third = machine.copy(phone, place.text)
    assert third.report["bytes"] == 0
    assert not third.files("verified")
    assert place.files() == there


@pytest.mark.parametrize("place", ["local", "dropbox"], indirect=True)
def test_what_others_do_at_the_destination(machine: Photosync, place: Where, tmp_path: Path) -> None:
    """Renamed, edited, deleted and added there between two runs: told and mended by the next."""
    phone = tmp_path / "phone"
    files = {f"IMG_{number}.JPG": noise(3000 + number, number) for number in range(6)}
    write(phone, files, mtime=WHEN)
    machine.run("sync", phone, place.text).expect(0)
    place.put("renamed.jpg", files["IMG_0.JPG"])
    place.delete("IMG_0.JPG")
    place.put("IMG_1.JPG", noise(3001, "edited there"))
    place.delete("IMG_2.JPG")
    place.put("added.jpg", noise(77, "theirs"))

    done = machine.copy(phone, place.text).expect(1)
    assert set(done.files("verified")) == {"IMG_0.JPG", "IMG_2.JPG"}
    assert set(done.files("conflict")) == {"IMG_1.JPG"}
    there = place.files()
    assert there.items() >= {name: data for name, data in files.items() if name != "IMG_1.JPG"}.items()
    assert {noise(3001, "edited there"), files["IMG_1.JPG"], noise(77, "theirs")} <= set(there.values())
    assert there["renamed.jpg"] == files["IMG_0.JPG"]
    rows = machine.run("diff", place.text, "--json").expect(0)
    assert rows.out == "" or all(row["path"].startswith("IMG_1") for row in rows.events)

    done = machine.run("sync", phone, place.text, "--json").expect(0)
    trashed = {row["path"] for row in done.events if row["event"] == "trash"}
    assert trashed == {"added.jpg", "renamed.jpg", "IMG_1.JPG"}
    assert sorted(place.files().values()) == sorted(files.values())
    trash = [path for path in place.own() if "/trash/" in path and path.endswith((".jpg", ".JPG"))]
    assert len(trash) == 3, "what others made there is in the trash"


@EVERYWHERE
@pytest.mark.row(7)
def test_checksum_finds_what_size_and_time_hide(machine: Photosync, place: Where, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    old = photos(phone)
    machine.copy(phone, place.text).expect(0)
    name, swapped = "DCIM/100/IMG_0003.JPG", noise(2003, "swapped")
    write(phone, {name: swapped}, mtime=WHEN)
    row = machine.copy(phone, place.text, "--checksum").expect(1).files()[name]
    assert row["status"] == "conflict"
    assert place.files()[name] == old[name]
    assert place.files()[row["stored"]] == swapped


@EVERYWHERE
def test_a_rename_is_not_sent_again(machine: Photosync, place: Where, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    old = photos(phone)
    machine.copy(phone, place.text).expect(0)
    (phone / "DCIM/100").rename(phone / "DCIM/Holidays")
    before = arrived(place)
    second = machine.copy(phone, place.text).expect(0)
    assert second.report["bytes"] == 0
    assert arrived(place) - before < OVERHEAD
    assert set(second.files("verified")) == {name.replace("100", "Holidays") for name in old}
    assert place.files() == {name.replace("100", "Holidays"): data for name, data in old.items()}
    exported = machine.run("manifest", "export", place.text, "--format", "jsonl").expect(0).out
    assert exported.count("Holidays") == len(old)
    assert "/100/" not in exported


@EVERYWHERE
@pytest.mark.row(30, 61)
def test_lost_state_is_found_again_by_hash(machine: Photosync, place: Where, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    old = photos(phone)
    first = machine.copy(phone, place.text).expect(0).report
    machine.lose_state()
    before = arrived(place)
    second = machine.copy(phone, place.text).expect(0)
    assert second.report["bytes"] == 0
    assert arrived(place) - before < OVERHEAD
    assert set(second.files("verified")) == set(old)
    assert second.report["root"] == first["root"]
    assert place.files() == old
    third = machine.copy(phone, place.text).expect(0).report
    assert (third["status"], third["source_bytes_read"]) == ("nothing", 0)


@EVERYWHERE
def test_two_sources_share_a_destination(machine: Photosync, place: Where, tmp_path: Path) -> None:
    hers = write(tmp_path / "hers", {"DCIM/IMG_1.JPG": b"hers", "DCIM/A.JPG": b"only hers"}, mtime=WHEN)
    his = write(tmp_path / "his", {"DCIM/IMG_1.JPG": b"this is his", "DCIM/B.JPG": b"only his!"}, mtime=WHEN)
    machine.copy(hers, place.text).expect(0)
    row = machine.copy(his, place.text).expect(1).files("conflict")["DCIM/IMG_1.JPG"]
    expected = {
        "DCIM/IMG_1.JPG": b"hers",
        row["stored"]: b"this is his",
        "DCIM/A.JPG": b"only hers",
        "DCIM/B.JPG": b"only his!",
    }
    assert place.files() == expected
    for source in (hers, his):
        assert machine.copy(source, place.text).report["bytes"] == 0
    assert place.files() == expected
    exported = machine.run("manifest", "export", place.text).expect(0).out.splitlines()
    assert {line.partition("  ")[2] for line in exported} == set(expected)


@EVERYWHERE
@pytest.mark.row(58)
def test_two_machines_share_a_destination(machine: Photosync, place: Where, tmp_path: Path) -> None:
    other = Photosync(tmp_path / "other machine")
    place.admit(other)
    first = write(tmp_path / "first", {f"A/{n}.JPG": noise(100 + n, n) for n in range(20)}, mtime=WHEN)
    second = write(tmp_path / "second", {f"B/{n}.JPG": noise(200 + n, n) for n in range(20)}, mtime=WHEN)
    running = [machine.start("copy", first, place.text, "--json")]
    running.append(other.start("copy", second, place.text, "--json"))
    for process in running:
        report = finish(process).expect(0).report
        assert report["verified"] == 20
    expected = {f"A/{n}.JPG": noise(100 + n, n) for n in range(20)}
    expected |= {f"B/{n}.JPG": noise(200 + n, n) for n in range(20)}
    assert place.files() == expected
    for one in (machine, other):
        exported = one.run("manifest", "export", place.text).expect(0).out.splitlines()
        assert {line.partition("  ")[2] for line in exported} == set(expected)
    other.run("verify", place.text).expect(0)
    assert [row["number"] for row in machine.run("log", place.text, "--json").expect(0).events] == [2, 1]
    assert machine.copy(first, place.text).expect(0).report["status"] == "nothing"
    assert other.copy(second, place.text).expect(0).report["status"] == "nothing"

    before = arrived(place)
    late = machine.copy(second, place.text).expect(0).report
    assert late["verified"] == 20, "one machine does not take the other's word for it"
    assert late["bytes"] == 0
    assert arrived(place) - before < OVERHEAD


@pytest.mark.row(66)
def test_a_file_touched_in_the_future_is_no_reason_for_anything(
    machine: Photosync, local: LocalFolder, tmp_path: Path
) -> None:
    phone = tmp_path / "phone"
    old = photos(phone)
    machine.copy(phone, local.text).expect(0)
    for file in phone.rglob("*.JPG"):
        age(file, 20 * 365 * 86400)
    assert machine.copy(phone, local.text).expect(0).report["bytes"] == 0
    assert local.files() == old
    assert max(file.stat().st_mtime for file in local.folder.rglob("*.JPG")) > time.time(), "as at the source"


@pytest.mark.root
@pytest.mark.row(33)
def test_a_mount_that_keeps_every_second_second_and_then_shifts_by_an_hour(
    machine: Photosync, plug: Plug, local: LocalFolder, tmp_path: Path
) -> None:
    """As FAT does, which keeps local time: when summer time ends, every photo seems to have changed."""
    files = photos(tmp_path / "card")
    card, rig = plug(tmp_path / "card", mtime_step=2 * 10**9)
    assert machine.copy(card, local.text).expect(0).report["verified"] == len(files)
    assert machine.copy(card, local.text).expect(0).report["status"] == "nothing"
    for shift in (3600 * 10**9, 0, -3600 * 10**9):
        rig.set(mtime_shift=shift)
        moved = machine.copy(card, local.text).expect(0).report
        assert moved["bytes"] == 0, "looked at again, not sent again"
        assert machine.copy(card, local.text).expect(0).report["status"] == "nothing", "and only once"
        assert local.files() == files, "nothing is kept twice"


@pytest.mark.row(66)
def test_a_clock_that_jumps_by_ten_years(
    local: LocalFolder, tmp_path: Path, machine: Photosync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's own clock is years ahead, then years behind: everything is copied, nothing goes."""
    for name, value in machine.env.items():
        monkeypatch.setenv(name, value)
    phone = tmp_path / "phone"
    files = photos(phone)
    for number, years in enumerate((0, 10, -10, 50, 0)):
        real = time.time_ns()
        monkeypatch.setattr(Threads, "wall_ns", lambda _self, at=real + years * 365 * 86400 * 10**9: at)
        write(phone, {f"DCIM/NEW_{number}.JPG": photo(3000, f"new {number}")})
        files[f"DCIM/NEW_{number}.JPG"] = photo(3000, f"new {number}")
        for run in (api.copy, api.sync):
            report = run(str(phone), local.text)
            assert report.clean
        assert local.files() == files
        machine.run("verify", local.text).expect(0)
    history = machine.run("log", local.text, "--json").expect(0).events
    assert [row["number"] for row in history] == [5, 4, 3, 2, 1]
