"""Google Drive as a destination: few requests, nothing twice, and all of it through bad weather."""

import random
import time
from pathlib import Path

import pytest

from photosync.sample import build_library, build_sample
from tests.e2e.cli import Photosync, noise, rclone_check, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import DriveFolder
from tests.servers.faults import Fault

MIB = 1 << 20


def weather(share: float) -> list[Fault]:
    """Faults of every kind that together hit this share of all requests."""
    kinds = [
        Fault("*", status=403, reason="userRateLimitExceeded"),
        Fault("*", status=429, retry_after=0),
        Fault("*", status=500),
        Fault("*", status=503),
        Fault("*", reset="before"),
        Fault("*", reset="reply"),
        Fault("*", reset="body"),
        Fault("upload/*", corrupt=1500),
        Fault("upload/chunk", truncate=300_000),
        Fault("files.*", expire_token=True),
    ]
    for kind in kinds:
        kind.count, kind.probability = None, share / len(kinds)
    return kinds


def rclone_env(machine: Photosync, place: DriveFolder) -> dict[str, str]:
    config = machine.home / "rclone.conf"
    # A sign-in of its own: bad weather may have ended the one that photosync took over.
    config.write_text(place.account.rclone_config("drive", place.scope))
    return {**place.account.env(), "RCLONE_CONFIG": str(config)}


def phone_like(folder: Path, files: int) -> int:
    """A phone's library with every odd name that the sample has; gives the number of files."""
    build_library(folder, files=files, big=(20 * MIB,))
    build_sample(folder / "Odd", photos=3)
    return sum(file.is_file() for file in folder.rglob("*"))


def copied_through(machine: Photosync, place: DriveFolder, source: Path, count: int, timeout: float) -> None:
    """Copies while 3 % of all requests go wrong, and has others look at what came of it."""
    place.admit(machine)
    place.account.faults[:] = weather(0.03)
    done = machine.copy(source, place.text, timeout=timeout).expect(0)
    place.account.faults.clear()
    report = done.report
    assert report["verified"] == count
    hits = sum(report["requests"][place.text].values())
    assert hits == sum(n for route, n in place.account.requests.items()), (
        "each request is told, in vain or not"
    )
    assert hits > 1.02 * count, "the faults are visible in the counts"
    assert {"network", "throttled", "server"} <= report["retries"][place.text].keys()
    # `files` fails if two have one name.
    assert sorted(place.files().values()) == sorted(tree(source).values())
    names = {path: data for path, data in place.files().items() if "%" not in path}
    assert names == {path: data for path, data in tree(source).items() if path in names}
    before = place.account.requests.copy()
    again = machine.copy(source, place.text).expect(0).report
    assert (again["status"], again["unchanged"]) == ("nothing", count)
    assert sum((place.account.requests - before).values()) <= 3


def test_a_library_in_bad_weather(machine: Photosync, drive: DriveFolder, tmp_path: Path) -> None:
    count = phone_like(tmp_path / "phone", 150)
    copied_through(machine, drive, tmp_path / "phone", count, 240)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_large_library_in_bad_weather(machine: Photosync, drive: DriveFolder, tmp_path: Path) -> None:
    source = tmp_path / "phone"
    count = phone_like(source, 2000)
    copied_through(machine, drive, source, count, 900)
    odd = ("--exclude", "/Odd/**")
    rclone_check(source, drive.text, rclone_env(machine, drive), odd)


def test_a_phone_and_a_second_run(machine: Photosync, plug: Plug, drive: DriveFolder, tmp_path: Path) -> None:
    source = tmp_path / "library"
    build_library(source, files=60, big=(20 * MIB,))
    drive.admit(machine)
    phone, _ = plug(source)
    machine.copy(phone, drive.text).expect(0)
    rclone_check(source, drive.text, rclone_env(machine, drive))
    before = drive.account.requests.copy()
    second = machine.copy(phone, drive.text).expect(0)
    assert second.report["status"] == "nothing"
    assert sum(second.requests.values()) <= 3, second.requests
    asked = drive.account.requests - before
    assert sum(asked.values()) <= 3, f"the server's own count: {asked}"


def test_a_thousand_small_files_cost_a_thousand_requests(
    machine: Photosync, drive: DriveFolder, tmp_path: Path
) -> None:
    phone = tmp_path / "phone"
    # Each further folder costs one more.
    write(phone, {f"DCIM/10{n % 3}/IMG_{n:04}.JPG": noise(2000 + n, n) for n in range(1000)})
    drive.admit(machine)
    report = machine.copy(phone, drive.text).expect(0).report
    assert report["verified"] == 1000
    assert sum(drive.account.requests.values()) <= 1020, drive.account.requests
    # A few more: names that are there are read, one request a folder.
    write(phone, {f"DCIM/10{n % 3}/NEW_{n:04}.JPG": noise(500 + n, n) for n in range(40)})
    before = drive.account.requests.copy()
    machine.copy(phone, drive.text).expect(0)
    assert sum((drive.account.requests - before).values()) <= 40 + 20, drive.account.requests - before


@pytest.mark.parametrize(
    "fault",
    [
        Fault("upload/chunk", nth=2, count=3, reset="body"),
        Fault("upload/chunk", nth=2, count=2, truncate=MIB),
        Fault("upload/files.create", count=12, reset="reply"),
        Fault("upload/files.create", nth=2, count=2, corrupt=1500),
        Fault("*", nth=3, count=3, status=503),
        Fault("files.create", count=3, reset="reply"),
        Fault("*", nth=6, count=3, expire_token=True),
    ],
    ids=lambda fault: f"{fault.route} {fault.reset or fault.status or 'damaged'}",
)
def test_one_kind_of_weather(machine: Photosync, drive: DriveFolder, tmp_path: Path, fault: Fault) -> None:
    drive.admit(machine)
    files = {f"DCIM/IMG_{n:04}.JPG": noise(40_000 + n, n) for n in range(15)}
    files["DCIM/VID_0001.MP4"] = noise(20 * MIB, "film")
    write(tmp_path / "phone", files)
    fault.hits = fault.seen = 0
    drive.account.faults.append(fault)
    report = machine.copy(tmp_path / "phone", drive.text).expect(0).report
    assert fault.hits > 0
    assert report["verified"] == len(files)
    assert drive.files() == files, "each photo once, under its own name"


def test_killed_while_replies_are_lost(machine: Photosync, drive: DriveFolder, tmp_path: Path) -> None:
    drive.admit(machine)
    files = {f"DCIM/{n % 3}/IMG_{n:04}.JPG": noise(30_000 + n, n) for n in range(60)}
    files["DCIM/VID_0001.MP4"] = noise(20 * MIB, "film")
    phone = write(tmp_path / "phone", files)
    drive.account.faults[:] = [Fault("*", count=None, probability=0.1, reset="reply")]
    rng = random.Random("kills")
    for _ in range(8):
        process = machine.start("copy", phone, drive.text, "--json", "--bwlimit", "12M")
        with process:
            time.sleep(rng.uniform(0.4, 2.0))
            process.kill()
        for path, data in drive.files().items():
            assert files[path] == data
    drive.account.faults.clear()
    machine.copy(phone, drive.text).expect(0)
    assert drive.files() == files
    assert machine.copy(phone, drive.text).expect(0).report["unchanged"] == len(files)


def test_a_limit_on_writes_is_kept_to(machine: Photosync, drive: DriveFolder, tmp_path: Path) -> None:
    drive.admit(machine)
    files = {f"DCIM/IMG_{n:04}.JPG": noise(3_000 + n, n) for n in range(60)}
    drive.account.api.write_rate, drive.account.api.write_burst = 20.0, 5.0
    report = machine.copy(write(tmp_path / "phone", files), drive.text).expect(0).report
    assert report["verified"] == len(files)
    assert drive.files() == files
    refused = report["requests"][drive.text]["files.create"] - len(files)
    assert refused < len(files) / 2, "requests are spaced out rather than refused over and over"


def test_duplicates_that_are_there_stay_and_are_told(
    machine: Photosync, drive: DriveFolder, tmp_path: Path
) -> None:
    drive.admit(machine)
    files = {"DCIM/a.jpg": noise(3000, "a"), "DCIM/b.jpg": noise(3000, "b")}
    phone = write(tmp_path / "phone", files)
    for data in (files["DCIM/a.jpg"], noise(3000, "other")):
        drive.account.put("Photos/DCIM/a.jpg", data)
    for _ in range(2):
        done = machine.copy(phone, drive.text)
        assert done.code in (0, 1), done
        assert "several files" in done.err + "".join(done.report["warnings"])
    found = {path: [file.read() for file in files] for path, files in drive.account.files().items()}
    assert sorted(found["Photos/DCIM/a.jpg"]) == sorted([files["DCIM/a.jpg"], noise(3000, "other")])
    assert found["Photos/DCIM/b.jpg"] == [files["DCIM/b.jpg"]]
    photos = [data for path, each in found.items() if ".photosync" not in path for data in each]
    assert photos.count(files["DCIM/a.jpg"]) == 1
    assert photos.count(files["DCIM/b.jpg"]) == 1


def test_from_drive(machine: Photosync, drive: DriveFolder, tmp_path: Path) -> None:
    """Duplicates, slashes in names, shortcuts and Google's own documents, as a source."""
    drive.admit(machine)
    first = drive.account.put("Photos/a.jpg", b"one")
    drive.account.put("Photos/a.jpg", b"two")
    drive.account.put("Photos/b.jpg", b"three")
    drive.account.put_document("Photos/notes")
    drive.account.put_shortcut("Photos/again", first)
    drive.account.api.drive.items[first].name = "1/2: a.jpg"
    gone = drive.account.put("Photos/gone.jpg", b"in the bin")
    drive.account.trash(gone)
    done = machine.copy(drive.text, tmp_path / "copy").expect(0)
    assert done.report["verified"] == 3
    assert sorted(tree(tmp_path / "copy").values()) == [b"one", b"three", b"two"]
    assert "Google document" in done.out
    assert "shortcut" in done.out


def test_a_drive_that_is_full(machine: Photosync, drive: DriveFolder, tmp_path: Path) -> None:
    drive.admit(machine)
    phone = write(tmp_path / "phone", {f"DCIM/{n}.jpg": noise(20_000 + n, n) for n in range(10)})
    drive.account.faults.append(
        Fault("upload/*", count=None, nth=4, status=403, reason="storageQuotaExceeded")
    )
    done = machine.copy(phone, drive.text).expect(7)
    assert "no space" in done.report["error"]
    drive.account.faults.clear()
    machine.copy(phone, drive.text).expect(0)
    assert len(drive.files()) == 10


def test_a_sign_in_that_was_revoked(machine: Photosync, drive: DriveFolder, tmp_path: Path) -> None:
    drive.admit(machine)
    phone = write(tmp_path / "phone", {"DCIM/a.jpg": noise(20_000)})
    machine.copy(phone, drive.text).expect(0)
    drive.account.auth.revoke()
    write(phone, {"DCIM/new.jpg": b"new"})
    done = machine.copy(phone, drive.text).expect(7)
    assert "photosync connect" in done.report["error"]
    assert "DCIM/new.jpg" not in drive.files()
