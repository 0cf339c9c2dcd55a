"""One reading of the phone, several destinations: each at its own pace, with a verdict of its own."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.sample import build_library
from tests.e2e.cli import Done, Photosync, finish, noise, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Bucket, DropboxFolder, LocalFolder, Where, wait_until
from tests.servers.faults import Fault

MIB = 1 << 20


def photos(folder: Path, small: int = 25, big: tuple[int, ...] = (9 * MIB, 12 * MIB)) -> dict[str, bytes]:
    files = {f"DCIM/IMG_{number:04}.JPG": noise(60_000 + number, number) for number in range(small)}
    files |= {f"DCIM/VID_{number:04}.MP4": noise(size, size) for number, size in enumerate(big)}
    write(folder, files, mtime=1_700_000_000)
    return files


def size(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))


def mirror(machine: Photosync, phone: str | Path, places: list[Where], *options: str | Path) -> Done:
    return machine.run("mirror", phone, *(place.text for place in places), "--json", *options)


@pytest.fixture
def three(machine: Photosync, local: LocalFolder, bucket: Bucket, dropbox: DropboxFolder) -> list[Where]:
    """A disk, an S3 bucket and a Dropbox account, to which the machine is admitted."""
    places: list[Where] = [local, bucket, dropbox]
    for place in places:
        place.admit(machine)
    return places


def test_the_phone_is_read_once(machine: Photosync, plug: Plug, three: list[Where], tmp_path: Path) -> None:
    files = photos(tmp_path / "phone")
    phone, rig = plug(tmp_path / "phone")
    done = mirror(machine, phone, three).expect(0)
    report = done.report
    assert report["status"] == "ok"
    assert report["source_bytes_read"] == rig.counters()["bytes"] == size(files)
    assert rig.counters()["together"] <= 1, "a phone is read one file at a time"
    assert report["verified"] == 3 * len(files)
    assert set(report["destinations"]) == {place.text for place in three}
    for place in three:
        assert place.files() == files
        part = report["destinations"][place.text]
        assert (part["status"], part["verified"], part["exit_code"]) == ("ok", len(files), 0)
        rows = [row for row in done.events if row["event"] == "file" and row["destination"] == place.text]
        assert {row["path"] for row in rows} == set(files)
        assert all(row["evidence"] != "none" for row in rows)
    assert len({part["root"] for part in report["destinations"].values()}) == 1
    assert not list((machine.home / "cache").rglob("files/*")), "nothing stays staged"

    again = mirror(machine, phone, three).expect(0).report
    assert (again["status"], again["source_bytes_read"], again["bytes"]) == ("nothing", 0, 0)

    missing = set()
    for number, place in enumerate(three):
        for path in sorted(files)[number::6]:
            place.delete(path)
            if place is three[0]:
                missing.add(path)  # what the disk has is taken from there
    write(tmp_path / "phone", {"DCIM/new.jpg": noise(70_000, "new")})
    report = mirror(machine, phone, three).expect(0).report
    assert report["source_bytes_read"] == 70_000 + sum(len(files[path]) for path in missing)
    assert all(place.files() == tree(tmp_path / "phone") for place in three)


def test_what_the_disk_has_is_not_read_from_the_phone(
    machine: Photosync, plug: Plug, three: list[Where], tmp_path: Path
) -> None:
    """A further destination later on, with a film that does not fit into the stage."""
    files = photos(tmp_path / "phone", big=(24 * MIB,))
    phone, rig = plug(tmp_path / "phone")
    disk = three[0]
    machine.copy(phone, disk.text).expect(0)
    before = rig.counters()["bytes"]
    new = {"DCIM/new.jpg": noise(70_000, "new")}
    write(tmp_path / "phone", new, 1_700_000_000)
    report = mirror(machine, phone, three, "--stage-size", "16M").expect(0).report
    assert report["source_bytes_read"] == rig.counters()["bytes"] - before == 70_000
    assert all(place.files() == files | new for place in three)
    # Whoever doubts the disk has the phone read.
    three[1].delete("DCIM/IMG_0001.JPG")
    report = mirror(machine, phone, three[:2], "--checksum").expect(0).report
    assert report["source_bytes_read"] == size(files | new)


@pytest.mark.row(44)
def test_a_destination_that_cannot_be_used_concerns_no_other(
    machine: Photosync, plug: Plug, three: list[Where], dropbox: DropboxFolder, tmp_path: Path
) -> None:
    files = photos(tmp_path / "phone", big=())
    phone, rig = plug(tmp_path / "phone")
    account = dropbox.account.api.account
    room, account.quota = account.quota, 1000
    nowhere = tmp_path / "file"
    nowhere.write_bytes(b"")
    places = [*three, LocalFolder(nowhere / "sub")]
    done = mirror(machine, phone, places)
    report = done.report
    assert done.code not in (0, 2)
    assert report["status"] == "partial"
    states = {name: part["status"] for name, part in report["destinations"].items()}
    assert [states[place.text] for place in places] == ["ok", "ok", "failed", "failed"], done.err
    assert three[0].files() == three[1].files() == files
    assert report["staged_files"] == len(files)
    assert report["staged_bytes"] == 0, "the copy on the local disk serves as the stage"

    # What is staged is delivered without the phone.
    account.quota = room
    rig.unplug("enodev")
    done = mirror(machine, phone, places)
    report = done.report
    assert report["source_bytes_read"] == 0
    assert report["destinations"][dropbox.text]["status"] == "ok", done.err
    assert dropbox.files() == files


def test_unplugged_early(machine: Photosync, plug: Plug, three: list[Where], tmp_path: Path) -> None:
    """The phone goes when photosync says so; the slow destination is served from the stage."""
    files = photos(tmp_path / "phone")
    phone, rig = plug(tmp_path / "phone")
    slow = three[2]
    assert isinstance(slow, DropboxFolder)
    slow.account.faults.append(Fault("files/upload*", count=None, bandwidth=4_000_000))
    process = machine.start("mirror", phone, *(place.text for place in three), "--json", "--unplug-early")
    with process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.decode())
            if '"event":"unplug"' in lines[-1]:
                rig.unplug("enodev")
                break
        else:
            pytest.fail("it never said that the phone may be unplugged" + "".join(lines[-3:]))
        assert slow.files() != files, "it was said before all was delivered"
        done = finish(process)
    report = done.report
    assert done.code == 0, done
    assert report["status"] == "ok"
    assert all(place.files() == files for place in three)


def test_ended_from_outside(machine: Photosync, plug: Plug, three: list[Where], tmp_path: Path) -> None:
    """As at shutdown: it ends as by Ctrl-C, says so, and what stays staged is told by the doctor."""
    files, two = photos(tmp_path / "phone", small=9, big=(9 * MIB,)), three[:2]
    phone, rig = plug(tmp_path / "phone", bytes_per_second=8 * MIB)
    words = ("mirror", phone, *(place.text for place in two), "--json", "--bwlimit", "2M")
    process = machine.start(*words)
    wait_until(lambda: rig.counters()["bytes"] > 6 * MIB or process.poll() is not None, 120)
    process.send_signal(signal.SIGTERM)
    report = finish(process).expect(1).report
    assert all(part["interrupted"] for part in report["destinations"].values())
    folders = [row for row in machine.run("doctor", "--json").events if "staged" in str(row.get("text"))]
    assert len(folders) == bool(list((machine.home / "cache").rglob("files/*")))
    rig.set(bytes_per_second=0)
    mirror(machine, phone, two).expect(0)
    assert all(place.files() == files for place in two)
    assert "staged" not in machine.run("doctor", "--json").out


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
@pytest.mark.row(24)
def test_killed_after_unplugging(
    machine: Photosync, plug: Plug, local: LocalFolder, dropbox: DropboxFolder, tmp_path: Path, how: int
) -> None:
    files = photos(tmp_path / "phone")
    phone, rig = plug(tmp_path / "phone")
    dropbox.admit(machine)
    fault = Fault("files/upload*", count=None, bandwidth=1_000_000)
    dropbox.account.faults.append(fault)
    places: list[Where] = [dropbox, local]
    process = machine.start("mirror", phone, *(place.text for place in places), "--json", "--unplug-early")
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if b'"event":"unplug"' in line:
                break
        rig.unplug("enodev")
        process.send_signal(how)
        process.communicate()
    assert dropbox.files() != files
    dropbox.account.faults.clear()
    done = mirror(machine, phone, places).expect(0)
    assert done.report["source_bytes_read"] == 0
    assert any(row["event"] == "notice" and "not there" in row["text"] for row in done.events)
    assert dropbox.files() == local.files() == files


def test_a_stage_smaller_than_the_phone(
    machine: Photosync, plug: Plug, local: LocalFolder, dropbox: DropboxFolder, tmp_path: Path
) -> None:
    """A slow destination loses its place on the stage, not its photos; a file too big for it streams."""
    files = photos(tmp_path / "phone", small=10, big=(20 * MIB, 9 * MIB, 8 * MIB, 10 * MIB))
    phone, rig = plug(tmp_path / "phone")
    dropbox.admit(machine)
    dropbox.account.faults.append(Fault("files/upload*", count=None, bandwidth=20_000_000))
    stage = tmp_path / "stage"
    peak = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.02):
            with contextlib.suppress(OSError):
                peak = max(peak, sum(file.stat().st_size for file in stage.rglob("files/*")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        done = mirror(machine, phone, [local, dropbox], "--stage", stage, "--stage-size", "16M").expect(0)
    finally:
        over.set()
        watcher.join()
    assert local.files() == dropbox.files() == files
    assert 0 < peak <= 16 * MIB
    report = done.report
    assert report["source_bytes_read"] == rig.counters()["bytes"]
    assert report["source_bytes_read"] - report["source_bytes_read_again"] == size(files)


def test_a_folder_is_read_by_each_destination_itself(
    machine: Photosync, three: list[Where], tmp_path: Path
) -> None:
    files = photos(tmp_path / "folder", big=())
    report = mirror(machine, tmp_path / "folder", three).expect(0).report
    assert report["source_bytes_read"] == 3 * size(files)
    assert all(place.files() == files for place in three)


def test_bad_input(machine: Photosync, tmp_path: Path) -> None:
    write(tmp_path / "photos", {"a.jpg": b"1"})
    one, other = tmp_path / "one", tmp_path / "one/inside"
    source = tmp_path / "photos"
    assert "named twice" in mirror(machine, source, [LocalFolder(one)] * 2).expect(2).report["error"]
    nested = mirror(machine, source, [LocalFolder(one), LocalFolder(other)])
    assert "in one another" in nested.expect(2).report["error"]
    small = machine.run("mirror", source, one, "--stage-size", "1M", "--json").expect(2)
    assert "--stage-size" in small.report["error"]
    assert machine.run("mirror", source, one, "nowhere:", "--json").expect(2)
    assert not one.exists(), "nothing was begun"
    assert machine.run("mirror", tmp_path / "missing", one, "--json").expect(3)
    shown = machine.run("mirror", source, one, tmp_path / "two", "--dry-run", "--json").expect(0)
    assert [row["destination"] for row in shown.events if row["event"] == "plan"] == [
        str(one), str(tmp_path / "two"),
    ]  # fmt: skip
    people = machine.run("mirror", source, one, tmp_path / "two").expect(0)
    assert people.out.count("copied and verified") == 2
    assert "Read" in people.out


@pytest.fixture
def seconds() -> Iterator[dict[str, float]]:
    """Figures of a run, shown with ``-s``."""
    figures: dict[str, float] = {}
    yield figures
    print({name: round(value, 2) for name, value in figures.items()})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pace(
    machine: Photosync, plug: Plug, three: list[Where], seconds: dict[str, float], tmp_path: Path
) -> None:
    """A phone of 30 MB/s: the fast destinations need as long as reading it, whatever the slow one does."""
    library = tmp_path / "library"
    build_library(library, files=600, big=(200 * MIB, 150 * MIB))
    files = tree(library)
    phone, rig = plug(library, bytes_per_second=30_000_000)
    began = time.monotonic()
    for path in sorted(files):
        with (rig.mount / path).open("rb", buffering=0) as file:
            while file.read(MIB):
                pass
    seconds["reading alone"] = alone = time.monotonic() - began
    slow = three[2]
    assert isinstance(slow, DropboxFolder)
    slow.account.faults.append(Fault("*", count=None, latency=0.2))
    slow.account.faults.append(Fault("files/upload*", count=None, bandwidth=30_000_000))
    before = rig.counters()["bytes"]
    report = mirror(machine, phone, three).expect(0).report
    parts = [report["destinations"][place.text] for place in three]
    seconds |= {place.name: part["seconds"] for place, part in zip(three, parts, strict=True)}
    assert report["source_bytes_read"] == rig.counters()["bytes"] - before == size(files)
    assert max(part["seconds"] for part in parts[:2]) < 1.15 * alone
    assert all(place.files() == files for place in three)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_for_good(machine: Photosync, plug: Plug, three: list[Where], tmp_path: Path) -> None:
    """A destination's server dies in mid-run; the others end verified."""
    library = tmp_path / "library"
    build_library(library, files=300, big=(100 * MIB,))
    files = tree(library)
    phone, _ = plug(library, bytes_per_second=30_000_000)
    slow = three[2]
    assert isinstance(slow, DropboxFolder)
    process = machine.start("mirror", phone, *(place.text for place in three), "--json")
    with process:
        wait_until(lambda: len(slow.files()) > 10 or process.poll() is not None, 120)
        slow.account.faults.append(Fault("*", count=None, status=503))
        done = finish(process)
    report = done.report
    assert done.code != 0
    assert report["status"] == "partial"
    assert [report["destinations"][place.text]["status"] for place in three] == ["ok", "ok", "partial"]
    assert three[0].files() == three[1].files() == files


def test_laid_out_and_chosen(
    machine: Photosync, plug: Plug, local: LocalFolder, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.admit(machine)
    build_library(tmp_path / "phone", files=30)
    phone, _ = plug(tmp_path / "phone", subtype="ifuse")
    options = ("--layout", "{taken:%Y/%m}/{name}", "--type", "photo")
    machine.copy(phone, tmp_path / "alone", *options).expect(0)
    laid_out = LocalFolder(tmp_path / "alone").files()
    assert laid_out
    assert all(path.split("/")[0].isdigit() for path in laid_out)
    mirror(machine, phone, [local, bucket], *options).expect(0)
    assert local.files() == bucket.files() == laid_out
    again = mirror(machine, phone, [local, bucket], *options).expect(0).report
    assert (again["status"], again["source_bytes_read"]) == ("nothing", 0)
