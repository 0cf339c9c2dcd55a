"""The doctor, before real servers and set-ups that are wrong in known ways."""

import datetime
import email.utils
import json
import os
import shutil
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from photosync import doctor, paths
from photosync.backends import afc_library, local_tree
from photosync.config import Config, Dropbox, Local, Remote, Webdav, save
from photosync.doctor import Finding, Level, examine
from photosync.secrets import Secrets
from photosync.session import Session
from tests.app.serving import PASSWORD, USER, free_port, serving
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.faults import Fault

CANARY = "cAnArY-d0c7"


def findings(area: str = "") -> list[Finding]:
    found = list(examine(Session()))
    assert CANARY not in repr(found)
    return [finding for finding in found if area in ("", finding.area)]


def only(area: str, subject: str) -> Finding:
    (found,) = [finding for finding in findings(area) if finding.subject == subject]
    return found


def configure(**remotes: Remote) -> None:
    save(Config(remotes=remotes))


def signed_in(emulator: DropboxEmulator, **more: object) -> None:
    token = emulator.token()
    Secrets().set("box", {"access_token": token["access_token"], **more})
    configure(box=Dropbox())


def test_a_new_machine_has_no_problem(home: Path) -> None:
    found = findings()
    assert {finding.level for finding in found} <= {Level.OK, Level.WARNING}
    assert {finding.area for finding in found} >= {
        "versions",
        "configuration",
        "secrets",
        "folders",
        "devices",
    }
    assert not list(home.rglob("*")), "looking makes nothing"


def test_versions_are_compared_with_what_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = [
        "fsspec>=9999.1",
        "nothing-of-that-name",
        'paramiko>=3.4; extra == "sftp"',
        'no-such>=1; extra == "adb"',
    ]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _name: requires)
    found = {finding.subject: finding for finding in findings("versions")}
    assert found["fsspec"].level is Level.PROBLEM
    assert "too old" in found["fsspec"].text
    assert "missing" in found["nothing-of-that-name"].text
    assert "installed: sftp" in found["optional"].text
    assert "pip install 'photosync-engine[adb]'" in found["optional"].text


def test_how_disks_are_listed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_tree, "_listing", None)
    assert "python3-dev" in only("versions", "disks").text
    monkeypatch.setattr(local_tree, "_listing", lambda *_: None)
    assert only("versions", "disks").text.endswith("by compiled code")


@pytest.mark.parametrize("library", [None, "libimobiledevice-1.0.so.6"])
def test_the_second_reader_of_iphones_is_missed_only_without_the_first(
    monkeypatch: pytest.MonkeyPatch, library: str | None
) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda _name: ['no-such>=1; extra == "ios"'])
    monkeypatch.setattr(afc_library, "_file_name", lambda: library)
    (found,) = [finding for finding in findings("versions") if finding.subject == "optional"]
    assert ("[ios]" in found.text) is (library is None)


def test_a_configuration_that_makes_no_sense(home: Path) -> None:
    configure(disk=Local(root=str(home)))
    paths.config_file().write_text('[remotes.x]\ntype = "floppy"\n')
    found = only("configuration", "file")
    assert found.level is Level.PROBLEM
    assert "config.toml" in found.text


@pytest.mark.parametrize(("mode", "level"), [(0o600, Level.OK), (0o644, Level.PROBLEM)])
def test_credentials_that_others_can_read(mode: int, level: Level) -> None:
    Secrets().set("x", {"password": CANARY})
    file = paths.fallback_secrets_file()
    file.chmod(mode)
    found = only("secrets", str(file))
    assert found.level is level
    assert (f"chmod 600 {file}" in found.remedy) == (level is Level.PROBLEM)


@pytest.mark.parametrize(("free", "level"), [(10 << 20, "problem"), (500 << 20, "warning"), (5 << 30, "ok")])
def test_space(monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1 << 40, 0, free))
    for subject in ("state", "cache"):
        found = only("folders", subject)
        assert found.level == level
        assert bool(found.remedy) == (level != "ok")


def test_a_disk_that_is_not_mounted(home: Path) -> None:
    configure(disk=Local(root=str(home / "nowhere")), here=Local(root=str(home)))
    assert only("folders", "disk:").level is Level.WARNING
    assert "mount it" in only("folders", "disk:").remedy
    assert only("folders", "here:").level is Level.OK


def test_a_remote_that_works_is_asked_once(emulator: DropboxEmulator) -> None:
    signed_in(emulator)
    assert only("remotes", "box:").level is Level.OK
    assert only("clock", "box:").level is Level.OK
    assert sum(emulator.requests.values()) == 2


def test_what_is_not_configured_is_not_contacted(emulator: DropboxEmulator) -> None:
    Secrets().set("box", {"access_token": emulator.token()["access_token"]})
    findings()
    assert not emulator.requests


def test_a_sign_in_that_was_revoked(emulator: DropboxEmulator) -> None:
    signed_in(emulator)
    emulator.auth.expire()
    found = only("remotes", "box:")
    assert found.level is Level.PROBLEM
    assert "photosync connect" in found.text


@pytest.mark.parametrize(
    ("left", "level", "asked"), [(-60, Level.PROBLEM, False), (3600, Level.WARNING, True)]
)
def test_the_age_of_a_token(emulator: DropboxEmulator, left: float, level: Level, asked: bool) -> None:
    signed_in(emulator, expires_at=time.time() + left)
    first, *others = [finding for finding in findings("remotes") if finding.subject == "box:"]
    assert (first.level, first.remedy) == (level, "photosync connect box")
    assert bool(others) == bool(emulator.requests) == asked


@pytest.mark.parametrize(("off", "level"), [(0, "ok"), (-120, "warning"), (3600, "problem")])
def test_a_clock_that_is_wrong(
    emulator: DropboxEmulator, monkeypatch: pytest.MonkeyPatch, off: int, level: str
) -> None:
    signed_in(emulator)
    # The emulator lives in this process, and keeps the right time.
    monkeypatch.setattr(doctor, "time", SimpleNamespace(time=lambda: time.time() + off))
    assert only("clock", "box:").level == level


def test_dates_that_make_no_sense() -> None:
    assert doctor._compared("x", "yesterday", time.time()).level is Level.OK
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    late = doctor._compared("x", email.utils.format_datetime(now, usegmt=True), now.timestamp() - 1000)
    assert (late.level, late.text) == (Level.PROBLEM, "this machine's clock is 1000 s behind the server's")


def test_servers_that_answer_and_servers_that_do_not(home: Path) -> None:
    folder = home / "served"
    folder.mkdir()
    with serving("webdav", folder) as port:
        url = f"http://127.0.0.1:{port}"
        configure(
            good=Webdav(url=url, user=USER),
            bad=Webdav(url=url, user="mallory"),
            gone=Webdav(url=f"http://127.0.0.1:{free_port()}", user=USER),
        )
        secrets = Secrets()
        secrets.set("good", {"password": PASSWORD})
        secrets.set("bad", {"password": CANARY})
        secrets.set("gone", {"password": CANARY})
        levels = {finding.subject: finding.level for finding in findings("remotes")}
    assert levels == {"good:": Level.OK, "bad:": Level.PROBLEM, "gone:": Level.PROBLEM}


def test_what_a_server_says_is_shown_without_secrets(emulator: DropboxEmulator) -> None:
    Secrets().set("box", {"access_token": CANARY})
    configure(box=Dropbox())
    assert only("remotes", "box:").level is Level.PROBLEM
    emulator.faults.append(Fault(status=500, count=None))
    signed_in(emulator)
    assert only("remotes", "box:").level is Level.PROBLEM


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_files_of_another_user() -> None:
    Secrets().set("x", {"password": CANARY})
    file = paths.fallback_secrets_file()
    os.chown(file, 12345, -1)
    found = only("secrets", str(file))
    assert found.level is Level.PROBLEM
    assert "chown" in found.remedy


def test_the_command(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    from photosync.cli import app

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            app(list(arguments))
        return int(ended.value.code or 0), capsys.readouterr().out

    code, out = run("doctor", "--json")
    *rows, report = map(json.loads, out.splitlines())
    assert code == 0
    assert {row["event"] for row in rows} == {"finding"}
    assert report["event"] == "report"
    assert report["problem"] == 0
    Secrets().set("x", {"password": CANARY})
    paths.fallback_secrets_file().chmod(0o644)
    code, out = run("doctor")
    assert code == 1
    assert "-> chmod 600" in out
    assert "Problems: 1." in out
    code, quiet = run("-q", "doctor")
    assert code == 1
    assert len(quiet) < len(out)
