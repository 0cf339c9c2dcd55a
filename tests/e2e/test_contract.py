"""What scripts rely on: JSON lines and their keys, exit codes, a clean stdout, and every command's result."""

import contextlib
import json
import os
import pty
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli import Photosync, cpu_seconds, finish, noise, rclone_check, sha256sum_check, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Bucket, DropboxFolder, LocalFolder, Where
from tests.servers.tls_proxy import TlsProxy

EVERYWHERE = pytest.mark.parametrize("place", ["local", "bucket", "dropbox", "drive"], indirect=True)
COUNTS = {"verified", "written", "unchanged", "conflict", "refused", "failed", "pending"}
FILE = {
    "event", "path", "destination", "status", "evidence", "bytes", "error", "stored", "reason", "asset",
    "taken", "taken_from", "suspicious",
}  # fmt: skip
REPORT = COUNTS | {
    "event", "status", "bytes", "source_bytes_read", "requests", "retries", "seconds", "root", "snapshot",
    "trashed", "removed", "kept", "suspicious", "interrupted", "warnings", "error",
}  # fmt: skip
WHEN = 1_700_000_000.0
HELP_CPU_SECONDS = 0.3


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    files = {f"DCIM/IMG_{n}.JPG": noise(3000 + n, n) for n in range(3)} | {
        "DCIM/Clips/VID_1.MP4": noise(9000)
    }
    return write(tmp_path / "phone", files | {"Pictures/shot.png": noise(500)}, mtime=WHEN)


# JSON and exit codes


@EVERYWHERE
def test_lines_and_report(machine: Photosync, phone: Path, place: Where) -> None:
    done = machine.copy(phone, place.text).expect(0)
    *files, report = done.events
    evidence = {
        "local": "reread",
        "s3": "server-hash:sha256",
        "dropbox": "server-hash:dropbox",
        "drive": "server-hash:sha256",
    }[place.name]
    for row in files:
        assert set(row) == FILE
        assert (row["event"], row["destination"], row["status"]) == ("file", place.text, "verified")
        assert (row["evidence"], row["error"]) == (evidence, None)
        assert row["bytes"] == len(tree(phone)[row["path"]])
    assert len(files) == 5
    assert set(report) == REPORT
    assert report["status"] == "ok"
    assert {name: report[name] for name in COUNTS} == {**dict.fromkeys(COUNTS, 0), "verified": 5}
    assert re.fullmatch("[0-9a-f]{64}", report["root"])
    assert (report["snapshot"], report["error"], report["interrupted"]) == (1, None, False)
    assert report["retries"] == {place.text: {}}
    assert list(report["requests"]) == [place.text]
    assert all(isinstance(count, int) for count in report["requests"][place.text].values())
    assert 0 < report["seconds"] <= done.seconds
    assert done.err == ""

    again = machine.copy(phone, place.text).expect(0)
    assert len(again.events) == 1, "what is unchanged has no line"
    assert (again.report["status"], again.report["unchanged"]) == ("nothing", 5)
    machine.copy(phone, place.text, "--error-on-no-transfer").expect(9)


def test_the_same_report_when_a_run_cannot_begin(machine: Photosync, phone: Path, tmp_path: Path) -> None:
    for code, source in ((3, tmp_path / "nobody"), (7, "phone@nobody-has-this-one:")):
        report = machine.copy(source, tmp_path / "copy").expect(code).report
        assert set(report) == REPORT
        assert report["status"] == "failed"
        assert report["error"]


def test_exit_codes_that_tell_what_to_do_next(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    machine.copy(phone, local.text).expect(0)
    machine.copy(phone, local.text, "--error-on-no-transfer").expect(9)
    write(phone, {"DCIM/IMG_0.JPG": b"edited"})
    report = machine.copy(phone, local.text).expect(1).report
    assert (report["status"], report["conflict"]) == ("partial", 1)
    os.mkfifo(phone / "pipe")
    report = machine.copy(phone, local.text).expect(6).report
    assert (report["status"], report["refused"]) == ("partial", 1)


@pytest.mark.row(79)
def test_names_that_are_no_text_are_still_json(
    machine: Photosync, tmp_path: Path, local: LocalFolder
) -> None:
    odd = os.fsdecode(b"caf\xe9 \n\x1b[31m.jpg")
    phone = write(tmp_path / "phone", {odd: b"x", "\u2028.jpg": b"y"})
    done = machine.copy(phone, local.text).expect(0)
    assert {row["path"] for row in done.events[:-1]} == {odd, "\u2028.jpg"}
    for text in (done.out, machine.run("ls", local.text).expect(0).out):
        assert "\x1b" not in text
    assert {row["Path"] for row in json.loads(machine.run("lsjson", local.text).expect(0).out)} == {
        odd, "\u2028.jpg",
    }  # fmt: skip


@EVERYWHERE
def test_a_dry_run_only_tells(machine: Photosync, phone: Path, place: Where) -> None:
    before = tree(phone)
    done = machine.copy(phone, place.text, "--dry-run").expect(0)
    *rows, totals = done.events
    assert {row["path"] for row in rows} == set(before)
    for row in rows:
        assert (row["event"], row["action"], row["destination"]) == ("plan", "copy", place.text)
        assert row["reason"]
        assert row["bytes"] == len(before[row["path"]])
    assert totals["event"] == "plan-totals"
    assert (totals["actions"], totals["bytes"]) == (5, sum(map(len, before.values())))
    assert (totals["unchanged"], totals["complete"]) == (0, True)
    assert place.files() == {}
    assert place.own() == []
    assert tree(phone) == before
    if isinstance(place, LocalFolder):
        assert not place.folder.exists()

    told = machine.run("copy", phone, place.text, "-n").expect(0)
    assert "Nothing was changed" in told.out
    machine.copy(phone, place.text).expect(0)
    (phone / "DCIM/IMG_0.JPG").rename(phone / "DCIM/IMG_9.JPG")
    held = place.files()
    (row, totals) = machine.copy(phone, place.text, "--dry-run").expect(0).events
    assert (row["action"], row["from"], row["to"]) == ("move", "DCIM/IMG_0.JPG", "DCIM/IMG_9.JPG")
    assert totals["unchanged"] == 4
    assert place.files() == held


# stdout and stderr


def seen_on_terminal(machine: Photosync, *arguments: str | Path, **env: str) -> tuple[str, str]:
    """Runs a command with a terminal for its stderr; gives stdout and what the terminal got."""
    master, slave = pty.openpty()
    shown = bytearray()
    process = machine.start(
        *arguments, env={"TERM": "xterm-256color", "COLUMNS": "100", **env}, terminal=slave
    )
    os.close(slave)

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(master, 65536):
                shown.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    done = finish(process)
    reader.join()
    os.close(master)
    replace(done, err=shown.decode()).expect(0)
    return done.out, shown.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-9]|9[0-7]|4[0-7])[0-9;]*m")


def test_bars_are_for_terminals_only(machine: Photosync, phone: Path, tmp_path: Path) -> None:
    # Three parts, of which the later two wait for the line: long enough for a bar to be drawn.
    write(phone, {"DCIM/VID_2.MP4": noise(17 << 20)})
    slow = ("--bwlimit", "12M")
    out, shown = seen_on_terminal(machine, "copy", phone, tmp_path / "a", *slow)
    assert "\x1b[" in shown
    assert COLOUR.search(shown)
    assert "of 6 files" in shown
    assert "\x1b" not in out
    out, shown = seen_on_terminal(machine, "copy", phone, tmp_path / "b", *slow, NO_COLOR="1")
    assert "of 6 files" in shown
    assert not COLOUR.search(shown)
    out, shown = seen_on_terminal(machine, "copy", phone, tmp_path / "c", "--json")
    assert json.loads(out.splitlines()[-1])["event"] == "report"
    assert shown == ""
    piped = machine.run("copy", phone, tmp_path / "d").expect(0)
    assert "\x1b" not in piped.out + piped.err


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_what_was_only_written_is_proven_later(machine: Photosync, phone: Path, place: Where) -> None:
    done = machine.run("copy", phone, place.text, "--verify", "none").expect(0)
    assert "not proven: photosync verify" in done.out
    assert "Every file is proven" not in done.out
    again = machine.copy(phone, place.text, "--verify", "none").expect(0).report
    assert again["status"] == "nothing"
    proven = machine.copy(phone, place.text).expect(0).report
    assert (proven["verified"], proven["source_bytes_read"], proven["bytes"]) == (5, 0, 0)
    assert machine.copy(phone, place.text).expect(0).report["status"] == "nothing"


def test_quiet_and_verbose(machine: Photosync, phone: Path, tmp_path: Path) -> None:
    done = machine.run("copy", phone, tmp_path / "a", "--quiet").expect(0)
    assert (done.out, done.err) == ("", "")
    done = machine.run("copy", phone, tmp_path / "b", "-v").expect(0)
    assert "DCIM/Clips/VID_1.MP4" in done.err
    assert "DCIM" not in done.out


def test_a_reader_that_goes_away(machine: Photosync, phone: Path) -> None:
    """``photosync ls … | head -1``."""
    write(phone, {f"DCIM/{number:05}.JPG": b"" for number in range(3000)})
    process = machine.start("ls", phone)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read().decode()
    assert process.wait(30) != 0
    process.stderr.close()
    assert "Traceback" not in told
    assert "report it" not in told


def test_help_is_quick(machine: Photosync) -> None:
    assert min(cpu_seconds(machine.start("--help")) for _ in range(3)) < HELP_CPU_SECONDS
    for command in ("copy", "manifest"):
        done = machine.run(command, "--help").expect(0)
        assert done.out.startswith("Usage: photosync")
    assert machine.run("--version").expect(0).out == machine.run("version").expect(0).out


# filters and sync


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--include", "*.JPG"], {"DCIM/IMG_0.JPG", "DCIM/IMG_1.JPG", "DCIM/IMG_2.JPG"}),
        (
            ["--include", "*.jpg", "--ignore-case", "--max-size", "3001B"],
            {"DCIM/IMG_0.JPG", "DCIM/IMG_1.JPG"},
        ),
        (["--exclude", "/DCIM/**"], {"Pictures/shot.png"}),
        (["--filter-from", "rules"], {"DCIM/Clips/VID_1.MP4", "Pictures/shot.png"}),
        (["--min-size", "4k"], {"DCIM/Clips/VID_1.MP4"}),
        (["--max-age", "1d"], {"Pictures/shot.png"}),
    ],
)
def test_filters(
    machine: Photosync, phone: Path, local: LocalFolder, options: list[str], names: set[str]
) -> None:
    (machine.home / "rules").write_text("# rules\n+ /DCIM/Clips/**\n- *.JPG\n")
    os.utime(phone / "Pictures/shot.png", (time.time(), time.time()))
    done = machine.copy(phone, local.text, *options).expect(0)
    assert set(local.files()) == set(done.files("verified")) == names


def test_sync_trashes_within_limits(machine: Photosync, tmp_path: Path, local: LocalFolder) -> None:
    phone = write(tmp_path / "phone", {f"{n}.JPG": noise(100 + n, n) for n in range(40)}, mtime=WHEN)
    machine.run("sync", phone, local.text, "--json").expect(0)
    old = tree(phone)
    for number in range(12):
        (phone / f"{number}.JPG").unlink()
    write(phone, {"39.JPG": b"edited"})
    done = machine.run("sync", phone, local.text, "--json").expect(7)
    assert "--max-delete 12" in done.report["error"]
    assert local.files() == old
    done = machine.run("sync", phone, local.text, "--json", "--max-delete", "12").expect(0)
    trashed = [row for row in done.events if row["event"] == "trash"]
    assert {row["path"] for row in trashed} == {f"{n}.JPG" for n in range(12)}
    assert done.report["trashed"] == 12
    assert local.files() == tree(phone)
    (trash,) = (local.folder / ".photosync/trash").iterdir()
    assert tree(trash) == {name: old[name] for name in [*(f"{n}.JPG" for n in range(12)), "39.JPG"]}
    for row in trashed:
        assert (local.folder / row["stored"]).read_bytes() == old[row["path"]]
    machine.run("verify", local.text).expect(0)


# looking around


@EVERYWHERE
def test_looking(machine: Photosync, phone: Path, place: Where) -> None:
    machine.copy(phone, place.text).expect(0)
    files = tree(phone)
    size = sum(map(len, files.values()))

    rows = json.loads(machine.run("lsjson", place.text).expect(0).out)
    assert {row["Path"]: row["Size"] for row in rows} == {path: len(data) for path, data in files.items()}
    assert {"Path", "Name", "Size", "MimeType", "ModTime", "IsDir"} <= set(rows[0])
    if place.name == "local":
        lines = machine.run("ls", place.text).expect(0).out.splitlines()
        assert {tuple(line.split(maxsplit=1)) for line in lines} == {
            (str(len(data)), path) for path, data in files.items()
        }
        told = json.loads(machine.run("size", place.text, "--json").expect(0).out)
        assert told == {"count": 5, "bytes": size}
        assert f"({size} Byte)" in machine.run("size", place.text).expect(0).out
    about = json.loads(machine.run("about", place.text, "--json").expect(0).out)
    assert set(about) <= {"total", "used", "free"}
    assert (set(about) == {"total", "used", "free"}) == (place.name != "s3")

    done = machine.run("check", phone, place.text, "--json").expect(0)
    assert set(done.files("verified")) == set(files)
    place.put("DCIM/IMG_1.JPG", noise(3001, "rot"))
    place.put("extra.JPG", b"extra")
    place.delete("DCIM/IMG_2.JPG")
    done = machine.run("check", phone, place.text, "--json").expect(1)
    results = {path: row["result"] for path, row in done.files().items() if row["result"] != "match"}
    assert results == {"DCIM/IMG_1.JPG": "differ", "DCIM/IMG_2.JPG": "missing", "extra.JPG": "extra"}
    done = machine.run("verify", place.text, "--json").expect(1)
    results = {path: row["result"] for path, row in done.files().items() if row["result"] != "match"}
    assert results["DCIM/IMG_1.JPG"] == "differ"
    assert results["DCIM/IMG_2.JPG"] == "missing"
    machine.run("ls", f"{place.text}/nothing-here").expect(3)


@EVERYWHERE
def test_history(machine: Photosync, phone: Path, place: Where, tmp_path: Path) -> None:
    roots = [machine.copy(phone, place.text).expect(0).report["root"]]
    write(phone, {"DCIM/new.JPG": b"new"}, mtime=WHEN)
    (phone / "DCIM/IMG_0.JPG").rename(phone / "DCIM/IMG_9.JPG")
    roots.append(machine.copy(phone, place.text).expect(0).report["root"])

    rows = machine.run("log", place.text, "--json").expect(0).events
    assert [(row["number"], row["root"], row["files"]) for row in rows] == [
        (2, roots[1], 6),
        (1, roots[0], 5),
    ]
    changes = {
        row["path"]: row["change"] for row in machine.run("diff", place.text, "--json").expect(0).events
    }
    assert changes == {
        "DCIM/new.JPG": "added", "DCIM/IMG_9.JPG": "added", "DCIM/IMG_0.JPG": "removed",
    }  # fmt: skip
    if place.name != "local":
        return
    assert len(machine.run("diff", place.text, "0", "1").expect(0).out.splitlines()) == 5
    (shown,) = machine.run("manifest", "show", place.text, "--snapshot", "1", "--json").expect(0).events
    assert (shown["root"], shown["files"]) == (roots[0], 5)
    assert roots[1] in machine.run("manifest", "show", place.text).expect(0).out

    sums = tmp_path / "SHA256SUMS"
    machine.run("manifest", "export", place.text, "-o", sums).expect(0)
    assert sha256sum_check(phone, sums).returncode == 0
    (phone / "DCIM/new.JPG").write_bytes(b"NEW")
    assert sha256sum_check(phone, sums).returncode == 1
    lines = machine.run("manifest", "export", place.text, "--format", "jsonl").expect(0).out.splitlines()
    assert len({json.loads(line)["path"] for line in lines}) == 6


@pytest.mark.row(62)
def test_a_damaged_manifest_is_rebuilt(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    machine.copy(phone, local.text).expect(0)
    head = local.folder / ".photosync/HEAD"
    head.write_text(head.read_text()[:-20])
    machine.run("verify", local.text).expect(1)
    write(phone, {"DCIM/new.JPG": b"new"})
    done = machine.copy(phone, local.text).expect(1)
    assert done.report["verified"] == 1
    assert "photosync manifest rebuild" in done.report["error"], "what to do"
    machine.run("manifest", "rebuild", local.text).expect(0)
    machine.run("verify", local.text, "--deep").expect(0)
    assert len(machine.run("manifest", "export", local.text).expect(0).out.splitlines()) == 6
    assert machine.copy(phone, local.text).expect(0).report["status"] == "nothing"


def test_devices(machine: Photosync, plug: Plug, phone: Path) -> None:
    name, _ = plug(phone)
    rows = {row["name"]: row for row in machine.run("devices", "--json").expect(0).events}
    row = rows[name.removeprefix("phone@").rstrip(":")]
    assert (row["event"], row["route"], row["hint"]) == ("device", "jmtpfs", None)
    assert row["storages"] == [{"name": "", "folders": ["DCIM", "Pictures"]}]
    assert name in machine.run("devices").expect(0).out
    assert "DCIM/Clips/VID_1.MP4" in machine.run("ls", name).expect(0).out
    assert machine.run("ls", f"{name}DCIM/Clips").expect(0).out.split() == ["9000", "VID_1.MP4"]


def test_which_phone(machine: Photosync, plug: Plug, phone: Path, local: LocalFolder) -> None:
    first, _ = plug(phone)
    if len(machine.run("devices", "--json").expect(0).events) == 1:  # no other test's phone is plugged in
        machine.copy("phone:", local.text).expect(0)
        assert local.files() == tree(phone)
    second, _ = plug(phone)
    done = machine.copy("phone:", local.text).expect(7)
    assert first in done.report["error"]
    assert second in done.report["error"]
    machine.copy(second, local.text).expect(0)
    assert local.files() == tree(phone)


# configuration and signing in


def test_configuration_is_shown_without_secrets(machine: Photosync) -> None:
    machine.config.write_text('[remotes.nas]\ntype = "sftp"\nhost = "nas.lan"\n')
    assert 'host = "nas.lan"' in machine.run("config", "show").expect(0).out
    assert machine.run("config", "path").expect(0).out.strip() == str(machine.config)
    other = machine.home / "other.toml"
    assert machine.run("--config", other, "config", "path").expect(0).out.strip() == str(other)
    shown = machine.run("--config", other, "config", "show").expect(0)
    assert (shown.out.strip(), "Nothing is configured yet" in shown.err) == ("", True)


def test_connect_and_disconnect(machine: Photosync, phone: Path, dropbox: DropboxFolder) -> None:
    machine.env |= dropbox.account.env()
    token = machine.home / "token.json"
    token.write_text(json.dumps(dropbox.account.token()))
    machine.run("connect", "box", "--type", "dropbox", "--token-file", token).expect(0)
    machine.run("connect", "box", "--check").expect(0)
    machine.copy(phone, "box:Photos").expect(0)
    assert dropbox.files() == tree(phone)
    assert json.loads(token.read_text())["access_token"] not in machine.config.read_text()

    held = machine.config.read_text()
    done = machine.run("connect", "bad", "--type", "dropbox", "--token-file", "-", text="sl.nobody").expect(7)
    assert "sl.nobody" not in done.out + done.err
    assert machine.config.read_text() == held, "a failed sign-in changes nothing"

    machine.run("disconnect", "box").expect(0)
    machine.run("connect", "box", "--check").expect(2)
    assert "box" not in machine.config.read_text()
    assert dropbox.files() == tree(phone)


def test_connect_to_s3(machine: Photosync, phone: Path, bucket: Bucket) -> None:
    keys = {"access_key_id": bucket.server.key, "secret_access_key": bucket.server.secret}
    machine.run(
        "connect", "weed", "--type", "s3", "--endpoint", bucket.server.endpoint, "--region", "us-east-1",
        "--root", f"{bucket.bucket}/{bucket.prefix}", "--token-file", "-", text=json.dumps(keys),
    ).expect(0)  # fmt: skip
    machine.copy(phone, "weed:").expect(0)
    assert bucket.files() == tree(phone)
    assert bucket.server.secret not in machine.config.read_text()


# corporate proxies


class Forward:
    """What a TLS proxy does with a host name: hands its connections on to a server over plain HTTP."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.removeprefix("http://").split(":")
        self._server = (host, int(port))
        self.connections = 0

    def __call__(self, client: ssl.SSLSocket, _host: str) -> None:
        self.connections += 1
        with socket.create_connection(self._server) as server:
            while True:
                ready = [client] if client.pending() else select.select([client, server], [], [], 60)[0]
                for one, other in ((client, server), (server, client)):
                    if one in ready:
                        data = one.recv(65536)
                        if not data:
                            return
                        other.sendall(data)


@pytest.fixture
def forward(bucket: Bucket) -> Iterator[tuple[TlsProxy, Forward]]:
    """The bucket behind https://s3.photos.test, reached through a proxy with an authority of its own."""
    application = Forward(bucket.server.endpoint)
    with TlsProxy({"s3.photos.test": application}) as proxy:
        bucket.endpoint = "https://s3.photos.test"
        yield proxy, application


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_s3_behind_a_proxy(
    machine: Photosync, phone: Path, bucket: Bucket, forward: tuple[TlsProxy, Forward], variable: str
) -> None:
    proxy, application = forward
    bucket.admit(machine)
    trust = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", variable: str(proxy.ca_file)}
    machine.copy(phone, bucket.text, env=trust).expect(0)
    assert application.connections > 0
    assert bucket.files() == tree(phone)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_dropbox_behind_a_proxy(
    machine: Photosync, phone: Path, dropbox: DropboxFolder, variable: str
) -> None:
    machine.import_rclone(dropbox.account.rclone_config("dropbox"))
    proxy = dropbox.account.env()["HTTPS_PROXY"]
    trust = {"HTTPS_PROXY": proxy, variable: str(dropbox.account.ca_file)}
    machine.copy(phone, dropbox.text, env=trust).expect(0)
    assert dropbox.files() == tree(phone)


@pytest.mark.row(53)
def test_an_authority_that_nobody_trusts(
    machine: Photosync, phone: Path, dropbox: DropboxFolder, bucket: Bucket, forward: tuple[TlsProxy, Any]
) -> None:
    machine.import_rclone(dropbox.account.rclone_config("dropbox"))
    bucket.admit(machine)
    proxies = (dropbox.account.env()["HTTPS_PROXY"], f"http://127.0.0.1:{forward[0].port}")
    for place, proxy in zip((dropbox, bucket), proxies, strict=True):
        done = machine.copy(phone, place.text, env={"HTTPS_PROXY": proxy})
        assert done.code in (5, 7), done
        assert "certificate" in done.report["error"].casefold()
        assert place.files() == {}


def test_rclone_takes_the_checksums_for_its_own(
    machine: Photosync, phone: Path, local: LocalFolder, tmp_path: Path
) -> None:
    machine.copy(phone, local.text).expect(0)
    sums = tmp_path / "SHA256SUMS"
    machine.run("manifest", "export", local.text, "-o", sums).expect(0)
    rclone_check(phone, local.text)
    done = machine.run("check", phone, local.text, "--download").expect(0)
    assert "5 match" in done.out
