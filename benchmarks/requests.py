"""``python -m benchmarks requests``: how many requests a copy costs, photosync and rclone side by side.

Both go through the same emulator or server, which does the counting, with 1,000 files of 100 KB: a first run,
and a run that finds nothing to do. A service is one function that opens an account and says how it is named.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import peers
from benchmarks.trees import Files

WORKLOAD = Files(1_000, 100_000)


@dataclass(frozen=True, slots=True)
class Account:
    """An empty place to copy to.

    Attributes:
        photosync, rclone: how each of them writes it.
        counts: requests so far, by operation, as the service saw them.
        environment: for both.
        rclone_config: text of an rclone.conf, from which photosync takes its sign-in as well.
    """

    photosync: str
    rclone: str
    counts: Callable[[], Mapping[str, int]]
    environment: Mapping[str, str] = field(default_factory=dict)
    rclone_config: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that can be counted at.

    Attributes:
        opened: gives an empty account for as long as it lasts.
        first, again: requests that photosync may need for ``WORKLOAD``, and for a run without changes.
    """

    opened: Callable[[Path], contextlib.AbstractContextManager[Account]]
    first: int
    again: int


@contextlib.contextmanager
def dropbox(_folder: Path) -> Iterator[Account]:
    from tests.servers.dropbox_emulator import DropboxEmulator

    with DropboxEmulator() as emulator:
        config = emulator.rclone_config("cloud")
        yield Account("cloud:Photos", "cloud:Photos", lambda: emulator.requests, emulator.env(), config)


@contextlib.contextmanager
def drive(_folder: Path) -> Iterator[Account]:
    from tests.servers.drive_emulator import DriveEmulator

    with DriveEmulator() as emulator:
        config = emulator.rclone_config("cloud")
        yield Account("cloud:Photos", "cloud:Photos", lambda: emulator.requests, emulator.env(), config)


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[Account]:
    from tests.servers.s3_proxy import S3Proxy
    from tests.servers.seaweed import seaweed

    with seaweed(folder) as server, S3Proxy(server.endpoint) as line:
        server.client().create_bucket(Bucket="photos")
        environment = {
            "AWS_ACCESS_KEY_ID": server.key,
            "AWS_SECRET_ACCESS_KEY": server.secret,
            "AWS_ENDPOINT_URL": line.endpoint,
            "AWS_REGION": "us-east-1",
        }
        options = f"provider=SeaweedFS,env_auth=true,endpoint='{line.endpoint}'"
        yield Account("s3://photos/phone", f":s3,{options}:photos/phone", lambda: line.requests, environment)


SERVICES = {
    "dropbox": Service(dropbox, 20, 3),
    "drive": Service(drive, 1020, 3),
    "s3": Service(s3, 1010, 2),
}
"""S3 lists 1,000 objects a request, and photosync's own are some more than the photos."""


@dataclass(slots=True)
class _Counted:
    service: str
    program: str
    first: Counter[str]
    again: Counter[str]


def main(arguments: Sequence[str]) -> int:
    """Prints the table; 1 if photosync needs more than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks requests", description=__doc__)
    parser.add_argument("--service", choices=list(SERVICES), action="append", help="default: all of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every single count")
    given = parser.parse_args(arguments)
    rows: list[_Counted] = []
    with tempfile.TemporaryDirectory(prefix="photosync-requests-", ignore_cleanup_errors=True) as scratch:
        source = Path(scratch, "source")
        WORKLOAD.make(source)
        for service in given.service or SERVICES:
            for program in ("photosync", "rclone"):
                folder = Path(scratch, f"{service}-{program}")
                folder.mkdir()
                rows.append(_count(service, program, source, folder))
    print(_table(rows))
    if given.json:
        plain = [
            {"service": row.service, "program": row.program, "first": row.first, "again": row.again}
            for row in rows
        ]
        given.json.write_text(json.dumps(plain, indent=1))
    over = [row for row in rows if row.program == "photosync" and _over(row)]
    for row in over:
        print(f"too many requests: {row.service}", file=sys.stderr)
    return 1 if over else 0


def _over(row: _Counted) -> bool:
    service = SERVICES[row.service]
    return row.first.total() > service.first or row.again.total() > service.again


def _count(service: str, program: str, source: Path, folder: Path) -> _Counted:
    data = folder / "server"
    data.mkdir()
    with SERVICES[service].opened(data) as account:
        config = folder / "rclone.conf"
        config.write_text(account.rclone_config)
        environment = {
            **os.environ,
            **account.environment,
            "RCLONE_CONFIG": str(config),
            "PHOTOSYNC_CONFIG": str(folder / "config.toml"),
            "PHOTOSYNC_STATE_DIR": str(folder / "state"),
            "PHOTOSYNC_SECRETS_FILE": str(folder / "secrets.json"),
        }
        found = peers.found(program)
        if found is None:
            raise SystemExit(f"{program} is not installed")
        if program == "photosync" and account.rclone_config:
            _quietly([found, "config", "import-rclone", str(config)], environment)
        place = account.photosync if program == "photosync" else account.rclone
        command = [found, "copy", str(source), place, *(["--json"] if program == "photosync" else [])]
        counted: list[Counter[str]] = []
        for _ in range(2):
            before = Counter(account.counts())
            _quietly(command, environment)
            counted.append(Counter(account.counts()) - before)
    return _Counted(service, program, counted[0], counted[1])


def _quietly(command: Sequence[str], environment: Mapping[str, str]) -> None:
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _table(rows: list[_Counted]) -> str:
    lines = [
        f"Requests for {WORKLOAD.title}",
        "| service | program | first run | no change | operations of the first run |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        operations = ", ".join(f"{count:,} {name}" for name, count in row.first.most_common())
        totals = f"{row.first.total():,} | {row.again.total():,}"
        lines.append(f"| {row.service} | {row.program} | {totals} | {operations} |")
    return "\n".join(lines)
