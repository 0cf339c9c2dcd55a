"""Where things are copied to: folders, two S3 servers of which one throws bodies away, emulated clouds."""

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.discard import KEY, SECRET, Discard
from benchmarks.trees import Tree, is_own, tree_of

FOLDER = "photos"
REQUEST_SECONDS = 0.05
"""How long each request to an emulated cloud takes at least."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A place for one program.

    Attributes:
        photosync, rclone, plain: how photosync, rclone and all others write it.
        found: tells what is there now; hashes are empty where bytes are not kept.
        counts: tells requests so far and what was sent with them, where the place knows.
        environment: for the programs.
        rclone_config: text of an rclone.conf, from which photosync takes its sign-in as well.
        empty: removes what is there.
    """

    photosync: str
    rclone: str
    plain: str
    found: Callable[[], Tree]
    counts: Callable[[], Mapping[str, int]] = field(default=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    rclone_config: str = ""
    empty: Callable[[], None] = lambda: None


def at_folder(target: Path) -> Ready:
    """A folder of this machine that does not exist yet."""
    return Ready(
        str(target), str(target), str(target), lambda: tree_of(target),
        empty=lambda: shutil.rmtree(target, ignore_errors=True),
    )  # fmt: skip


def at_discard(endpoint: Discard, bucket: str) -> Ready:
    """A bucket of the endpoint that throws bodies away."""
    return Ready(
        f"s3://{bucket}/{FOLDER}", f":s3:{bucket}/{FOLDER}", f"s3://{bucket}/{FOLDER}",
        lambda: endpoint.tree(bucket, FOLDER),
        endpoint.counts,
        s3_environment(endpoint.endpoint, KEY, SECRET),
        empty=lambda: endpoint.forget(f"{bucket}/"),
    )  # fmt: skip


def s3_environment(endpoint: str, key: str, secret: str) -> dict[str, str]:
    """Where S3 is, for all programs."""
    return {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "S3_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENDPOINT": endpoint,
        "RCLONE_S3_ACCESS_KEY_ID": key,
        "RCLONE_S3_SECRET_ACCESS_KEY": secret,
        "RCLONE_S3_REGION": "us-east-1",
    }


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[Callable[[str], Ready]]:
    """SeaweedFS as the tests start it; buckets are made as they are asked for."""
    from tests.servers.seaweed import seaweed

    with (
        tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch,
        seaweed(Path(scratch)) as server,
    ):
        client = server.client()
        environment = s3_environment(server.endpoint, server.key, server.secret)

        def ready(bucket: str) -> Ready:
            client.create_bucket(Bucket=bucket)
            return Ready(
                f"s3://{bucket}/{FOLDER}", f":s3:{bucket}/{FOLDER}", f"s3://{bucket}/{FOLDER}",
                lambda: _listed(client, bucket),
                environment=environment,
            )  # fmt: skip

        yield ready


def _listed(client: Any, bucket: str) -> Tree:
    tree: dict[str, tuple[int, str]] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{FOLDER}/"):
        for found in page.get("Contents", ()):
            path = found["Key"].removeprefix(f"{FOLDER}/")
            tag = found["ETag"].strip('"')
            if not is_own(path):
                tree[path] = (found["Size"], "" if "-" in tag else tag)
    return tree


@contextlib.contextmanager
def dropbox(seconds: float = REQUEST_SECONDS) -> Iterator[tuple[Ready, Any]]:
    """An emulated Dropbox, and its emulator."""
    from tests.servers.dropbox_emulator import DropboxEmulator
    from tests.servers.faults import Fault

    with DropboxEmulator() as emulator:
        emulator.faults.append(Fault(latency=seconds, count=None))

        def found() -> Tree:
            return _below(
                (path, stored.size, hashlib.md5(stored.read()).hexdigest())
                for path, stored in emulator.files().items()
            )

        yield _cloud(emulator, found), emulator


@contextlib.contextmanager
def drive(seconds: float = REQUEST_SECONDS) -> Iterator[tuple[Ready, Any]]:
    """An emulated Google Drive, and its emulator."""
    from tests.servers.drive_emulator import DriveEmulator
    from tests.servers.faults import Fault

    with DriveEmulator() as emulator:
        emulator.faults.append(Fault(latency=seconds, count=None))

        def found() -> Tree:
            return _below(
                (path if len(files) == 1 else f"{path} (several)", files[0].size, files[0].md5)
                for path, files in emulator.files().items()
            )

        yield _cloud(emulator, found), emulator


def _cloud(emulator: Any, found: Callable[[], Tree]) -> Ready:
    def counts() -> Mapping[str, int]:
        return dict(emulator.requests)

    config = emulator.rclone_config("cloud")
    place = f"cloud:{FOLDER}"
    return Ready(place, place, place, found, counts, emulator.env(), config)


def _below(files: Iterator[tuple[str, int, str]]) -> Tree:
    tree: dict[str, tuple[int, str]] = {}
    for path, size, digest in files:
        name = path.strip("/").removeprefix(f"{FOLDER}/")
        if not is_own(name):
            tree[name] = (size, digest)
    return tree


@contextlib.contextmanager
def xfs(folder: Path, size: int) -> Iterator[Path]:
    """An empty XFS, which can share blocks between files, in a file of ``size`` bytes; needs root."""
    image, mount = folder / "xfs.img", folder / "xfs"
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    mount.mkdir()
    try:
        subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
        try:
            yield mount
        finally:
            subprocess.run(["umount", "-l", str(mount)], check=True)
    finally:
        mount.rmdir()
        image.unlink()
