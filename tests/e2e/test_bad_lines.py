"""A library copied to clouds whose every thirtieth request goes wrong; and to one that is no quick reader."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, noise, rclone_check, write
from tests.e2e.places import Bucket, DropboxFolder
from tests.servers.faults import Fault
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweed import Seaweed

LOAD = 0.03
PROBES = 15
ODD = (
    "DCIM/Ärger im Grünen/IMG 0001.jpg",
    "DCIM/日本 🎌/写真 (1).heic",
    "DCIM/100% #1 & more?/a+b=c;d'e.jpg",
    "DCIM/.hidden/~backup~.jpg",
    "DCIM/e\u0301te\u0301/de\u0301compose\u0301.jpg",
    "DCIM/" + "long" * 50 + ".jpg",
    "DCIM/[brackets] {braces}/$HOME `x` !.jpg",
)
KINDS = (
    Fault(status=500),
    Fault(status=503, retry_after=1),
    Fault(status=503),
    Fault(status=429, retry_after=1),
    Fault(status=429),
    Fault(reset="before"),
    Fault(reset="body"),
    Fault(reset="reply"),
    Fault(truncate=10),
    Fault(corrupt=100),
)


def library(folder: Path, files: int) -> Path:
    chance = random.Random(files)
    names = [f"DCIM/{100 + number // 300}CANON/IMG_{number:05d}.JPG" for number in range(files)]
    content = {name: noise(chance.randrange(200, 20_000), name) for name in [*names, *ODD]}
    content["DCIM/video.mov"] = noise(21_000_000)
    if files >= 2000:
        content["DCIM/long.mov"] = noise(170_000_000)
    return write(folder, content, mtime=1_700_000_000)


def faults(*bodies: str, downloads: str) -> Iterator[Fault]:
    """The mixture. Only downloads can be cut short, and only bodies of files damaged: what else is damaged
    within TLS does not arrive at all."""
    for kind in KINDS:
        routes: tuple[str, ...] = ("*",)
        if kind.truncate is not None or kind.corrupt is not None:
            routes = (downloads, *bodies) if kind.corrupt is not None else (downloads,)
        for route in routes:
            # The first ones ask what the service refuses, for which damage is no news.
            first = PROBES + 1 if route in bodies else 1
            yield replace(kind, route=route, nth=first, count=None, probability=LOAD / len(KINDS))


SIZES = pytest.mark.parametrize("files", [250, pytest.param(2000, marks=pytest.mark.slow)])


@SIZES
def test_s3(machine: Photosync, bucket: Bucket, s3_server: Seaweed, tmp_path: Path, files: int) -> None:
    source = library(tmp_path / "library", files)
    count = sum(path.is_file() for path in source.rglob("*"))
    with S3Proxy(s3_server.endpoint, faults("PutObject", downloads="GetObject"), seed=files) as line:
        bucket.endpoint = line.endpoint
        bucket.admit(machine)
        first = machine.copy(source, bucket.text, "--verify", "reread").expect(0)
        assert first.report["verified"] == count
        struck = line.faults.struck
        # The one deletion tidies up after the question what the service heeds, and is not repeated.
        expected = struck.total() - struck["DeleteObject"]
        assert expected > count * LOAD / 2, "the line is bad"
        # A question that is struck, too, may be about an upload whose answer was: both are one attempt.
        told = sum(first.report["retries"][bucket.text].values())
        assert expected - struck["HeadObject"] <= told <= expected, struck
        line.faults.clear()
        second = machine.copy(source, bucket.text).expect(0)
    assert second.report["unchanged"] == count
    assert not any(second.report["retries"].values())
    assert second.requests["ListObjectsV2"] == -(-len(bucket.keys()) // 1000)
    assert "HeadObject" not in second.requests
    assert sum(second.requests.values()) <= second.requests["ListObjectsV2"] + 1
    assert len(bucket.files()) == count, "nothing is there twice"
    rclone_check(source, bucket.rclone(), bucket.env())


@SIZES
def test_dropbox(machine: Photosync, dropbox: DropboxFolder, tmp_path: Path, files: int) -> None:
    source = library(tmp_path / "library", files)
    count = sum(path.is_file() for path in source.rglob("*"))
    dropbox.admit(machine)
    line = dropbox.account.faults
    line.extend(faults(downloads="files/download"))
    # Uploads take so few requests that a thirtieth of them would be none.
    line += [
        Fault("files/upload_session/append_batch", nth=2, reset="reply"),
        Fault("files/upload_session/finish_batch_v2", reset="reply"),
        Fault("files/upload_session/append_v2", nth=2, corrupt=1_000_000),
        Fault("files/upload_session/finish", reset="reply"),
    ]
    first = machine.copy(source, dropbox.text, "--verify", "reread").expect(0)
    assert first.report["verified"] == count
    assert line.struck.total() > count * LOAD / 2, "the line is bad"
    assert sum(first.report["retries"][dropbox.text].values()) == line.struck.total(), line.struck
    line.clear()
    before = dropbox.account.requests.copy()
    second = machine.copy(source, dropbox.text).expect(0)
    assert second.report["unchanged"] == count
    assert sum((dropbox.account.requests - before).values()) <= 3
    assert len(dropbox.files()) == count, "nothing is there twice"
    env = {**dropbox.account.env(), "RCLONE_CONFIG": str(machine.home / "rclone.conf")}
    rclone_check(source, dropbox.text, env)


@pytest.mark.row(56)
def test_photos_in_an_archive_class_are_proven_without_reading_and_never_called_read(
    machine: Photosync, bucket: Bucket, s3_server: Seaweed, tmp_path: Path
) -> None:
    files = {"a.jpg": noise(5000), "b.mov": noise(9 << 20)}
    source = write(tmp_path / "library", files)
    machine.env |= bucket.env()
    with S3Proxy(s3_server.endpoint) as line:
        machine.config.write_text(
            f'[remotes.cold]\ntype = "s3"\nendpoint = "{line.endpoint}"\nregion = "us-east-1"\n'
            f'root = "{bucket.bucket}/{bucket.prefix}"\nstorage_class = "DEEP_ARCHIVE"\n'
        )
        line.archives = True
        first = machine.copy(source, "cold:").expect(0)
        assert {row["evidence"].partition(":")[0] for row in first.files("verified").values()} == {
            "server-hash"
        }
        assert machine.copy(source, "cold:").expect(0).report["unchanged"] == 2
        machine.run("verify", "cold:").expect(0)
        verified = machine.run("verify", "cold:", "--deep", "--json")
        assert verified.code != 0
        assert {row["result"] for row in verified.files().values()} == {"unreadable"}
        assert "archive tier" in verified.out
        back = machine.copy("cold:", tmp_path / "back")
        assert {row["status"] for row in back.files().values()} == {"failed"}
        assert not any((tmp_path / "back").rglob("*.jpg"))
