"""``photosync benchmark`` against places of every kind: what it finds out, and that nothing of it stays."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli import Photosync, finish
from tests.e2e.places import Bucket, DropboxFolder, LocalFolder, Where
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.faults import Fault
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweed import Seaweed
from tests.servers.sshd import Sshd

MINE = b"not of the benchmark"
SMALL = ("--size", "64K", "--json")


def holds_only_mine(place: Where) -> bool:
    return place.files() == {"mine.txt": MINE} and place.own() == []


@pytest.mark.parametrize("place", ["local", "bucket", "dropbox", "drive"], indirect=True)
def test_a_place_is_measured_and_left_as_it_was(machine: Photosync, place: Where) -> None:
    place.put("mine.txt", MINE) if place.name != "local" else _local_file(place)
    done = machine.run("benchmark", place.text, *SMALL).expect(0)
    speeds = [event for event in done.events if event["event"] == "speed"]
    assert {speed["what"] for speed in speeds} == {"upload", "download", "parts"}
    assert all(speed["bytes_per_second"] > 0 for speed in speeds)
    levels = [speed["at_once"] for speed in speeds if speed["what"] == "download"]
    most = done.report["default_transfers"]
    # On this machine's disks no more than there are processors.
    doubled = [level for level in (1, 2, 4) if level <= most]
    assert len(doubled) > 1
    assert levels[: len(doubled)] == doubled
    assert levels[-1] == most
    assert len({speed["size"] for speed in speeds if speed["what"] == "upload"}) > 2
    latency = next(event for event in done.events if event["event"] == "latency")
    assert len(latency["seconds"]) > 5
    assert min(latency["seconds"]) >= 0
    assert done.report["status"] == "ok"
    assert holds_only_mine(place)
    assert folders(place) == []


def _local_file(place: Where) -> None:
    Path(place.text).mkdir()
    place.put("mine.txt", MINE)


def folders(place: Where) -> list[str]:
    """Folders that the benchmark may have left, as the service itself tells."""
    if isinstance(place, LocalFolder):
        return [path.name for path in place.folder.iterdir() if path.is_dir()]
    account: Any = getattr(place, "account", None)
    if isinstance(account, DropboxEmulator):
        return [path for path in account.api.account._nodes if "benchmark" in path]
    if account is not None:
        items = account.api.drive.items.values()
        return [item.name for item in items if "benchmark" in item.name and not item.trashed]
    return []


def test_people_are_told_in_words(machine: Photosync, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = machine.run("benchmark", folder, "--size", "64K").expect(0)
    assert "one request takes" in done.out
    assert "2 at once,  64.0 KiB each:" in done.out
    assert "Upload of a large file in parts" in done.out
    assert ("Nothing need be set" in done.out) != ("--transfers" in done.out)
    assert ("[defaults]\ntransfers = " in done.out) == ("--transfers" in done.out)


def test_a_server_by_sftp(machine: Photosync, ssh_server: Sshd, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    machine.config.write_text(
        f'[remotes.nas]\ntype = "sftp"\nhost = "127.0.0.1"\nport = {ssh_server.port}\n'
        f'user = "{ssh_server.user}"\nkey_file = "{ssh_server.key}"\n'
        f'known_hosts = "{ssh_server.known_hosts}"\n'
    )
    done = machine.run("benchmark", f"nas:{folder}", *SMALL).expect(0)
    assert done.report["status"] == "ok"
    assert list(folder.iterdir()) == []


def test_ctrl_c_leaves_nothing(machine: Photosync, dropbox: DropboxFolder) -> None:
    dropbox.admit(machine)
    dropbox.put("mine.txt", MINE)
    dropbox.account.faults.append(Fault("files/upload*", latency=0.3, count=None))
    process = machine.start("benchmark", dropbox.text, "--size", "64K")
    wait_until(lambda: len(dropbox.account.files()) > 4)
    process.send_signal(signal.SIGINT)
    done = finish(process, None, 60, time.monotonic())
    assert done.code == 1
    assert "interrupted; what was written there is removed again" in done.err
    assert holds_only_mine(dropbox)
    assert folders(dropbox) == []


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_place_that_fills_up_is_left_as_it_was(machine: Photosync) -> None:
    with DropboxEmulator(quota=1 << 20) as account:
        full = DropboxFolder(account)
        full.admit(machine)
        full.put("mine.txt", MINE)
        done = machine.run("benchmark", full.text, *SMALL).expect(7)
        assert json.loads(done.out.splitlines()[-1])["status"] == "failed"
        assert holds_only_mine(full)
        assert folders(full) == []


def test_other_bytes_than_were_sent_are_an_error(
    machine: Photosync, s3_server: Seaweed, bucket: Bucket
) -> None:
    bucket.put("mine.txt", MINE)
    with S3Proxy(s3_server.endpoint, [Fault("GetObject", corrupt=5, count=None)]) as line:
        bucket.endpoint = line.endpoint
        bucket.admit(machine)
        done = machine.run("benchmark", bucket.text, "--size", "64K").expect(1)
    assert "other bytes than were sent" in done.err
    assert holds_only_mine(bucket)


def test_what_cannot_be_removed_is_named(machine: Photosync, dropbox: DropboxFolder) -> None:
    dropbox.admit(machine)
    dropbox.account.faults.append(Fault("files/delete*", status=403, count=None))
    done = machine.run("benchmark", dropbox.text, "--size", "64K")
    assert done.code == 1
    assert f"{dropbox.text}/.photosync-benchmark-" in done.err
    assert "remove it by hand" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["phone:"], 2, "can only be read"),
        (["nowhere"], 2, "make it first"),
        (["nobody:there"], 2, "no remote called 'nobody'"),
        ([".", "--size", "0"], 2, "write a size from 1.0 KiB"),
        ([".", "--size", "big"], 2, "write a size from 1.0 KiB"),
        ([".", "--size", "64M"], 1, "Nothing was sent"),
    ],
)
def test_bad_input(machine: Photosync, arguments: list[str], code: int, says: str) -> None:
    before = sorted(machine.home.iterdir())
    done = machine.run("benchmark", *arguments).expect(code)
    assert says in done.err
    assert sorted(machine.home.iterdir()) == before


def test_without_a_place_it_tells_of_both_kinds(machine: Photosync) -> None:
    done = machine.run("benchmark").expect(0)
    assert "photosync benchmark PLACE" in done.out
    assert "make bench" in done.out
