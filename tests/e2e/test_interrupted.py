"""Whatever ends a run, no final name ever holds half a file, and the next run goes on from there."""

import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.cli import Done, Photosync, finish, noise, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Bucket, DropboxFolder, LocalFolder, Where, arrived, wait_until
from tests.servers.cut_proxy import CutProxy
from tests.servers.faults import Fault

MIB = 1 << 20
PART = 8 * MIB
KILLS = 10
EVERYWHERE = pytest.mark.parametrize("place", ["local", "wire", "dropbox", "drive"], indirect=True)


@pytest.fixture
def line(wire: Bucket) -> CutProxy:
    assert wire.line is not None
    return wire.line


def photos(folder: Path, small: int = 30, big: tuple[int, ...] = (20 * MIB, 17 * MIB)) -> dict[str, bytes]:
    files = {f"DCIM/IMG_{number:04}.JPG": noise(40_000 + number, number) for number in range(small)}
    files |= {f"DCIM/VID_{number:04}.MP4": noise(size, size) for number, size in enumerate(big)}
    write(folder, files)
    return files


def assert_whole(place: Where, files: dict[str, bytes]) -> None:
    """Every final name holds the whole file or nothing, and there are no names beside those."""
    for path, data in place.files().items():
        assert files.get(path) == data, f"{path} holds {len(data)} bytes that are not the file's"


def begun(place: Where) -> bool:
    """Whether something is there that was not there at the start."""
    return bool(place.own() or place.files())


def wait_for(process: "subprocess.Popen[bytes]", place: Where) -> None:
    wait_until(lambda: begun(place) or process.poll() is not None)


@EVERYWHERE
@pytest.mark.row(24)
def test_killed_again_and_again(machine: Photosync, place: Where, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    files = photos(phone)
    rng = random.Random(f"kills at {place.name}")
    for number in range(KILLS):
        # Slow enough for kills to hit everything from the first photo to the manifest.
        process = machine.start("copy", phone, place.text, "--json", "--bwlimit", "12M")
        wait_for(process, place)
        with process:
            time.sleep(rng.uniform(0.0, 0.5) if number else 0.1)
            process.kill()
        assert_whole(place, files)
    last = machine.copy(phone, place.text).expect(0)
    assert place.files() == files
    report = last.report
    assert report["verified"] + report["unchanged"] == len(files)
    again = machine.copy(phone, place.text).expect(0).report
    assert (again["status"], again["unchanged"]) == ("nothing", len(files))
    machine.run("verify", place.text, "--deep").expect(0)
    if isinstance(place, LocalFolder):
        assert not list(place.folder.rglob("*.part")), "what a kill left behind is cleared away"


def killed_while_sending(machine: Photosync, phone: Path, place: Where, size: int) -> None:
    """Starts a copy with one request at a time and kills it when the server has got ``size`` more bytes."""
    goal = arrived(place) + size
    process = machine.start("copy", phone, place.text, "--json", "--transfers", "1", "--bwlimit", "40M")
    with process:
        wait_until(lambda: arrived(place) >= goal or process.poll() is not None)
        assert process.poll() is None, finish(process)
        process.kill()


@pytest.mark.parametrize("place", ["wire", "dropbox", "drive"], indirect=True)
def test_a_kill_costs_at_most_one_part_of_a_large_file(
    machine: Photosync, place: Where, tmp_path: Path
) -> None:
    phone = tmp_path / "phone"
    files = photos(phone, small=0, big=(44 * MIB,))
    kills = 3
    for _ in range(kills):
        killed_while_sending(machine, phone, place, 11 * MIB)
        assert place.files() == {}
    report = machine.copy(phone, place.text, "--transfers", "1").expect(0).report
    assert report["source_bytes_read"] == 44 * MIB
    assert place.files() == files
    # A part that was under way is sent again. More than that: requests, and what probing a service costs.
    assert arrived(place) <= 44 * MIB + kills * PART + 6 * MIB
    assert report["bytes"] < 44 * MIB - PART, "the last run did not begin anew"


@pytest.mark.slow
def test_a_kill_costs_at_most_the_parts_under_way_of_a_very_large_file(
    machine: Photosync, dropbox: DropboxFolder, tmp_path: Path
) -> None:
    """Its session at Dropbox is a concurrent one, which does not tell what it holds."""
    dropbox.admit(machine)
    phone = tmp_path / "phone"
    files = photos(phone, small=0, big=(160 * MIB,))
    process = machine.start("copy", phone, dropbox.text, "--json", "--bwlimit", "40M")
    with process:
        wait_until(lambda: arrived(dropbox) >= 90 * MIB or process.poll() is not None, 120)
        assert process.poll() is None, finish(process)
        process.kill()
    assert dropbox.files() == {}
    machine.copy(phone, dropbox.text).expect(0)
    assert dropbox.files() == files
    assert arrived(dropbox) <= 160 * MIB + 6 * PART + MIB


@EVERYWHERE
def test_ctrl_c(machine: Photosync, place: Where, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    files = photos(phone)
    process = machine.start("copy", phone, place.text, "--json", "--bwlimit", "8M")
    wait_for(process, place)
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    done = finish(process).expect(1)
    assert time.monotonic() - began < 10
    report = done.report
    assert report["interrupted"] is True
    assert report["status"] in ("partial", "failed")
    assert report["pending"] > 0
    assert accounted(done) == len(files)
    assert "Traceback" not in done.err
    assert_whole(place, files)
    machine.copy(phone, place.text).expect(0)
    assert place.files() == files


def accounted(done: Done) -> int:
    names = ("verified", "written", "unchanged", "conflict", "refused", "failed", "pending")
    return sum(int(done.report[name]) for name in names)


def test_ctrl_c_says_so_to_people(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    photos(tmp_path / "phone")
    process = machine.start("copy", tmp_path / "phone", local.text, "--bwlimit", "4M")
    wait_for(process, local)
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    done = finish(process).expect(1)
    assert "Interrupted" in done.out + done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("how", ["eio", "enotconn", "empty"])
@pytest.mark.row(1)
@pytest.mark.route("unplugged", "a mount")
def test_phone_unplugged_in_the_middle_of_a_file(
    machine: Photosync, plug: Plug, local: LocalFolder, tmp_path: Path, how: str
) -> None:
    source = tmp_path / "phone content"
    files = photos(source, small=20, big=(12 * MIB, 12 * MIB))
    phone, rig = plug(source, unplug_after=7 * MIB, unplug_as=how)
    first = machine.copy(phone, local.text).expect(7)
    assert first.report["pending"] > 0
    assert accounted(first) == len(files)
    assert set(first.files()) == set(files), "every file is told about"
    assert any(word in first.report["error"] for word in ("again", "Unlock")), "what to do"
    assert_whole(local, files)
    done_before = set(first.files("verified"))

    before = local.files()
    gone = machine.copy(phone, local.text).expect(7)
    assert gone.report["verified"] == 0
    assert local.files() == before, "a phone that is gone changes nothing"

    rig.plug_in()
    second = machine.copy(phone, local.text).expect(0)
    assert set(second.files("verified")) == set(files) - done_before
    assert local.files() == files
    assert machine.copy(phone, local.text).expect(0).report["status"] == "nothing"


@pytest.mark.row(2, 3)
def test_sync_from_an_unplugged_phone_deletes_nothing(
    machine: Photosync, plug: Plug, local: LocalFolder, tmp_path: Path
) -> None:
    source = tmp_path / "phone content"
    files = photos(source, small=30, big=())
    phone, rig = plug(source)
    machine.run("sync", phone, local.text).expect(0)
    rig.unplug("empty")
    machine.run("sync", phone, local.text).expect(7)
    rig.plug_in()
    rig.set(bad_folders=frozenset({"DCIM"}))
    assert machine.run("sync", phone, local.text).code in (5, 7)
    assert local.files() == files
    assert not list(local.folder.glob(".photosync/trash/**/*"))


def test_a_line_that_comes_back_is_waited_for(
    machine: Photosync, wire: Bucket, line: CutProxy, tmp_path: Path
) -> None:
    wire.admit(machine)
    phone = tmp_path / "phone"
    files = photos(phone)
    line.cut_after(15 * MIB)
    process = machine.start("copy", phone, wire.text, "--json")
    wait_until(lambda: line.cuts > 0)
    assert_whole(wire, files)
    time.sleep(0.5)
    line.mend()
    report = finish(process).expect(0).report
    assert report["verified"] == len(files)
    assert wire.files() == files


def test_a_line_that_stays_cut(machine: Photosync, wire: Bucket, line: CutProxy, tmp_path: Path) -> None:
    wire.admit(machine)
    phone = tmp_path / "phone"
    files = photos(phone, small=6, big=(20 * MIB,))
    line.cut_after(13 * MIB)
    first = machine.copy(phone, wire.text, timeout=150).expect(5)
    assert accounted(first) == len(files)
    assert first.report["status"] in ("partial", "failed")
    assert_whole(wire, files)
    line.mend()
    before = line.up
    machine.copy(phone, wire.text).expect(0)
    assert wire.files() == files
    assert line.up - before < 21 * MIB


@pytest.mark.parametrize(
    "fault",
    [
        Fault("files/upload_session/*", nth=2, count=4, reset="body"),
        Fault("files/upload_session/*", nth=2, count=4, reset="reply"),
        Fault("files/upload_session/finish*", count=2, reset="reply"),
        Fault("files/upload_session/*", nth=2, count=3, status=429, retry_after=1),
        Fault("*", nth=3, count=5, status=503),
    ],
    ids=["reset in a body", "reply lost", "commit's reply lost", "429", "503"],
)
@pytest.mark.row(34, 35, 36, 37)
def test_dropbox_in_bad_weather(
    machine: Photosync, dropbox: DropboxFolder, tmp_path: Path, fault: Fault
) -> None:
    dropbox.admit(machine)
    phone = tmp_path / "phone"
    files = photos(phone, small=25, big=(20 * MIB,))
    fault.hits = fault.seen = 0
    dropbox.account.faults.append(fault)
    report = machine.copy(phone, dropbox.text).expect(0).report
    assert fault.hits > 0
    assert report["verified"] == len(files)
    assert dropbox.files() == files, "each photo once, under its own name"
    assert Counter(dropbox.files().values()) == Counter(files.values())


def test_dropbox_that_commits_by_jobs(machine: Photosync, dropbox: DropboxFolder, tmp_path: Path) -> None:
    """The legacy way of an account that refuses the other; one answer about the job is lost."""
    dropbox.admit(machine)
    files = photos(tmp_path / "phone", small=25, big=())
    dropbox.account.faults += [
        Fault("files/upload_session/finish_batch_v2", status=400, count=None),
        Fault("files/upload_session/finish_batch/check", reset="reply"),
    ]
    report = machine.copy(tmp_path / "phone", dropbox.text).expect(0).report
    assert report["verified"] == len(files)
    assert dropbox.files() == files
    assert report["requests"][dropbox.text]["files/upload_session/finish_batch/check"] >= 2
    assert machine.copy(tmp_path / "phone", dropbox.text).expect(0).report["status"] == "nothing"
