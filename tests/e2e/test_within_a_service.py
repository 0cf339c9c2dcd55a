"""Copies between two places of one service, and between two services."""

from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, noise, photo, rclone_check, write
from tests.e2e.places import Bucket, DriveFolder, DropboxFolder
from tests.servers.faults import Fault

PHOTOS = {
    "DCIM/a.jpg": noise(100_000, "a"),
    "DCIM/b.jpg": noise(50_000, "b"),
    "DCIM/sub/c.mp4": noise(20 << 20, "c"),
    "empty": b"",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source", PHOTOS, mtime=1_700_000_000)


def test_dropbox_to_dropbox(machine: Photosync, source: Path, dropbox: DropboxFolder) -> None:
    dropbox.admit(machine)
    for path, data in PHOTOS.items():
        dropbox.account.put(f"/A/{path}", data)
    before = dropbox.account.received.copy()
    done = machine.copy("dropbox:A", "dropbox:Photos").expect(0)
    assert dropbox.files() == PHOTOS
    assert done.report["verified"] == len(PHOTOS)
    assert done.report["source_bytes_read"] == 0
    assert sum((dropbox.account.received - before).values()) < 100_000, "no photo was sent"
    assert {row["evidence"] for row in done.files().values()} == {"server-hash:dropbox"}
    assert done.requests["files/copy_v2"] == len(PHOTOS)
    again = machine.copy("dropbox:A", "dropbox:Photos").expect(0)
    assert again.report["status"] == "nothing"
    assert again.report["unchanged"] == len(PHOTOS)
    machine.run("verify", "dropbox:Photos", "--json")
    # Reading them once is what the manifest needs.
    read = machine.copy("dropbox:A", "dropbox:Photos", "--checksum").expect(0)
    assert read.report["verified"] == len(PHOTOS)
    assert machine.run("verify", "dropbox:Photos", "--json").expect(0).report["verified"] == len(PHOTOS)


def test_drive_to_drive(machine: Photosync, drive: DriveFolder) -> None:
    drive.admit(machine)
    for path, data in PHOTOS.items():
        drive.account.put(f"A/{path}", data)
    before = drive.account.received.copy()
    done = machine.copy("drive:A", "drive:Photos").expect(0)
    assert drive.files() == PHOTOS
    assert done.report["verified"] == len(PHOTOS)
    assert done.report["source_bytes_read"] == 0
    assert sum((drive.account.received - before).values()) < 100_000, "no photo was sent"
    assert {row["evidence"] for row in done.files().values()} == {"server-hash:sha256"}
    assert done.requests["files.copy"] == len(PHOTOS)
    again = machine.copy("drive:A", "drive:Photos").expect(0)
    assert again.report["status"] == "nothing"
    assert again.report["unchanged"] == len(PHOTOS)
    read = machine.copy("drive:A", "drive:Photos", "--checksum").expect(0)
    assert read.report["verified"] == len(PHOTOS)
    assert machine.run("verify", "drive:Photos", "--json").expect(0).report["verified"] == len(PHOTOS)


def test_drive_to_drive_in_bad_weather(machine: Photosync, drive: DriveFolder) -> None:
    """However many answers are lost, each photo is there once."""
    photos = {f"DCIM/{n % 3}/IMG_{n:04}.JPG": noise(2000 + n, n) for n in range(60)}
    drive.admit(machine)
    for path, data in photos.items():
        drive.account.put(f"A/{path}", data)
    drive.account.faults[:] = [
        Fault("files.copy", count=None, probability=0.15, reset="reply"),
        Fault("files.copy", count=None, probability=0.05, status=403, reason="userRateLimitExceeded"),
        Fault("*", count=None, probability=0.03, status=503),
    ]
    done = machine.copy("drive:A", "drive:Photos").expect(0)
    drive.account.faults.clear()
    assert done.report["verified"] == len(photos)
    assert done.report["retries"]["drive:Photos"]
    # `files` fails if two have one name.
    assert drive.files() == photos
    env = {**drive.account.env(), "RCLONE_CONFIG": str(machine.home / "rclone.conf")}
    rclone_check("drive:A", drive.text, env)


MOVED = {"DCIM/a.jpg": photo(100_000, "a"), "DCIM/b.jpg": photo(5 << 20, "b"), "empty": b""}


@pytest.mark.parametrize("cloud", ["dropbox", "drive"])
def test_move_within(machine: Photosync, dropbox: DropboxFolder, drive: DriveFolder, cloud: str) -> None:
    """Nothing is read: the service says that copy and original are equal, and then the original goes."""
    place = dropbox if cloud == "dropbox" else drive
    place.admit(machine)
    top = "/A" if cloud == "dropbox" else "A"
    for path, data in MOVED.items():
        place.account.put(f"{top}/{path}", data)
    # One of them was copied, and read, before.
    machine.copy(f"{cloud}:A", place.text, "--checksum", "--include", "a.jpg").expect(0)
    done = machine.run("move", f"{cloud}:A", place.text, "--json").expect(0)
    assert done.report["removed"] == done.report["verified"] == len(MOVED)
    assert done.report["source_bytes_read"] == 0
    assert place.files() == MOVED
    assert {row["evidence"] for row in done.files().values()} <= {"server-hash:dropbox", "server-hash:sha256"}
    assert not [path for path in place.account.files() if path.startswith(f"{top}/")]
    assert machine.run("verify", place.text, "--json").expect(0).report["verified"] == 1
    assert machine.run("move", f"{cloud}:A", place.text, "--json").expect(0).report["status"] == "nothing"


@pytest.mark.parametrize("cloud", ["dropbox", "drive"])
def test_move_within_and_read(
    machine: Photosync, dropbox: DropboxFolder, drive: DriveFolder, cloud: str
) -> None:
    """Asked to, every file is read: once it is gone, nothing else could enter it into the manifest."""
    place = dropbox if cloud == "dropbox" else drive
    place.admit(machine)
    for path, data in MOVED.items():
        place.account.put(f"/A/{path}" if cloud == "dropbox" else f"A/{path}", data)
    done = machine.run("move", f"{cloud}:A", place.text, "--checksum", "--json").expect(0)
    assert done.report["removed"] == len(MOVED)
    assert done.report["source_bytes_read"] == sum(map(len, MOVED.values()))
    assert place.files() == MOVED
    verified = machine.run("verify", place.text, "--json").expect(0)
    assert verified.report["verified"] == len(MOVED)


@pytest.mark.parametrize("cloud", ["dropbox", "drive"])
def test_move_onto_itself_by_another_remote(
    machine: Photosync, dropbox: DropboxFolder, drive: DriveFolder, cloud: str
) -> None:
    """Two remotes of one sign-in: the folder is its own destination, and must not be emptied."""
    place = dropbox if cloud == "dropbox" else drive
    place.admit(machine)
    (machine.home / "twice.conf").write_text(
        (machine.home / "rclone.conf").read_text().replace(f"[{cloud}]", "[again]")
    )
    machine.run("config", "import-rclone", machine.home / "twice.conf").expect(0)
    for path, data in MOVED.items():
        place.put(path, data)
    done = machine.run("move", place.text, "again:Photos", "--json").expect(7)
    assert "one file" in done.report["error"]
    assert place.files() == MOVED
    # Out of a folder into the one around it is a move like any other.
    machine.run("move", "again:Photos/DCIM", place.text, "--json").expect(0)
    assert sorted(place.files().values()) == sorted(MOVED.values())


def test_s3_move_within(machine: Photosync, wire: Bucket, tmp_path: Path) -> None:
    wire.admit(machine)
    assert wire.line is not None
    machine.copy(write(tmp_path / "photos", MOVED), f"{wire.text}/first").expect(0)
    sent = wire.line.up
    done = machine.run("move", f"{wire.text}/first", f"{wire.text}/second", "--json").expect(0)
    assert done.report["removed"] == len(MOVED)
    assert done.report["source_bytes_read"] == 0
    assert wire.line.up - sent < 50_000, "no photo was sent"
    assert {row["evidence"] for row in done.files().values()} == {"server-hash:sha256"}
    files = {path: data for path, data in wire.files().items() if "/.photosync/" not in path}
    assert {path.removeprefix("second/"): data for path, data in files.items()} == MOVED


def test_a_name_that_is_taken_within(machine: Photosync, dropbox: DropboxFolder) -> None:
    dropbox.admit(machine)
    dropbox.account.put("/A/a.jpg", b"one")
    dropbox.account.put("/Photos/a.jpg", b"two")
    dropbox.account.put("/A/same.jpg", b"same")
    dropbox.account.put("/Photos/same.jpg", b"same")
    done = machine.copy("dropbox:A", "dropbox:Photos").expect(1)
    assert (done.report["conflict"], done.report["verified"]) == (1, 1)
    files = dropbox.files()
    assert files["a.jpg"] == b"two"
    assert sorted(files.values()) == [b"one", b"same", b"two"]


def test_s3_to_s3(machine: Photosync, source: Path, wire: Bucket) -> None:
    wire.admit(machine)
    assert wire.line is not None
    machine.copy(source, f"{wire.text}/first").expect(0)
    sent = wire.line.up
    done = machine.copy(f"{wire.text}/first", f"{wire.text}/second", "--exclude", "*.mp4").expect(0)
    assert done.report["verified"] == len(PHOTOS) - 1
    assert done.report["source_bytes_read"] == 0
    assert wire.line.up - sent < 50_000, "no photo was sent"
    assert {row["evidence"] for row in done.files().values()} == {"server-hash:sha256"}
    # What the service cannot prove is read, as between any two places.
    done = machine.copy(f"{wire.text}/first", f"{wire.text}/second").expect(0)
    assert done.report["verified"] == 1
    files = wire.files()
    assert {path: files[f"second/{path}"] for path in PHOTOS} == PHOTOS
    assert machine.copy(f"{wire.text}/first", f"{wire.text}/second").expect(0).report["status"] == "nothing"


@pytest.mark.parametrize("way", ["up", "down"])
def test_from_one_service_to_another(
    machine: Photosync, source: Path, bucket: Bucket, dropbox: DropboxFolder, way: str
) -> None:
    bucket.admit(machine)
    dropbox.admit(machine)
    one, other = (bucket, dropbox) if way == "up" else (dropbox, bucket)
    machine.copy(source, one.text).expect(0)
    size = sum(map(len, PHOTOS.values()))
    done = machine.copy(one.text, other.text).expect(0)
    assert done.report["source_bytes_read"] == size, "every byte is read once"
    assert other.files() == PHOTOS
    again = machine.copy(one.text, other.text).expect(0)
    assert again.report["status"] == "nothing"
    assert again.report["root"] == done.report["root"]
