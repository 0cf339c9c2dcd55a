"""Who is measured: photosync, and the programs people would use otherwise.

Commands run in a folder of their own in which ``source`` is the tree to copy.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Cost
from benchmarks.places import LOCAL, Ready

RCLONE_S3 = ("--transfers", "32", "--checkers", "32", "--s3-no-check-bucket")
"""Best of 8, 16, 32 and 64 transfers on two cores."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One program with one set of options.

    Attributes:
        name: in the table.
        program: executable; without it the peer is missing.
        kinds: of places that it can copy to in this way.
        copy: arguments of the first run, given the place.
        again: arguments of a run that finds nothing to do; None: as ``copy``.
        local, s3: which checksums it computes and how it checks, at either kind of place.
        own: is photosync: has a state folder and a report.
    """

    name: str
    program: str
    kinds: tuple[str, ...]
    copy: Callable[[Ready], Sequence[str]]
    again: Callable[[Ready], Sequence[str]] | None = None
    local: str = ""
    s3: str = ""
    own: bool = False

    @property
    def found(self) -> str | None:
        """Path of the program, or None."""
        beside = Path(sys.executable).parent / self.program
        return str(beside) if beside.exists() else shutil.which(self.program)

    def command(self, place: Ready, again: bool) -> list[str]:
        assert self.found is not None
        make = self.again if again and self.again is not None else self.copy
        return [self.found, *make(place)]

    def environment(self, place: Ready, state: Path) -> dict[str, str]:
        return {**place.environment, "RCLONE_CONFIG": "", "PHOTOSYNC_STATE_DIR": str(state)}

    def problem(self, cost: Cost, files: int) -> str | None:
        """What its own report says against the run, or None."""
        if not self.own or cost.error:
            return cost.error
        report = json.loads(cost.output.splitlines()[-1])
        done = report["verified"] + report["written"] + report["unchanged"]
        return None if done == files else f"photosync reports {done} of {files} files: {report['error']}"

    def requests(self, cost: Cost) -> dict[str, int] | None:
        """What it says it asked of the destination, or None."""
        if not self.own or cost.error:
            return None
        counted: dict[str, int] = next(iter(json.loads(cost.output.splitlines()[-1])["requests"].values()))
        return counted


def _photosync(*options: str) -> Callable[[Ready], Sequence[str]]:
    return lambda place: ("copy", "source", place.photosync, "--json", *options)


def _rclone(*options: str) -> Callable[[Ready], Sequence[str]]:
    return lambda place: ("copy", "source", place.rclone, *options)


BOTH = (LOCAL, "s3")
PEERS = (
    Peer(
        "photosync", "photosync", BOTH, _photosync(), own=True,
        local="blake3 + sha256 + xxh3; fsync; all read back from the disk",
        s3="blake3 + sha256 + xxh3; server checks sha256",
    ),
    Peer(
        "photosync --verify none", "photosync", (LOCAL,), _photosync("--verify", "none"), own=True,
        local="blake3 + sha256 + xxh3; fsync; not read back",
    ),
    Peer(
        "rclone", "rclone", BOTH, _rclone(),
        local="md5 in stream; read back through the page cache; no fsync",
        s3="md5; server checks it; HEAD after each",
    ),
    Peer(
        "rclone tuned", "rclone", (LOCAL,), _rclone("--transfers", "4", "--ignore-checksum"),
        _rclone("--size-only"),
        local="none; no fsync",
    ),
    Peer(
        "rclone tuned", "rclone", ("s3",), _rclone(*RCLONE_S3, "--ignore-checksum", "--s3-no-head"),
        _rclone(*RCLONE_S3, "--fast-list", "--size-only"),
        s3="md5; server checks it",
    ),
    Peer(
        "rsync", "rsync", (LOCAL,), lambda place: ("-a", "source/", f"{place.rsync}/"),
        local="none across files; no fsync",
    ),
    Peer(
        "cp", "cp", (LOCAL,), lambda place: ("-r", "source", place.rsync),
        lambda place: ("-ru", "source/.", place.rsync),
        local="none; no fsync",
    ),
)  # fmt: skip
