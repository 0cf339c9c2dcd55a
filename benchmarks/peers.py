"""Who is measured: photosync, and the programs people would use otherwise.

Commands run in a folder of their own in which ``source`` is the tree to copy.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measure import Cost
from benchmarks.places import Ready

INSTALLED = Path(sys.prefix, "installed", "bin", "photosync")
"""photosync as people install it, see `make bench`: what is here for its development, they do not import."""


def found(program: str) -> str | None:
    """Path of a program, of this environment first; None if it is not installed."""
    if program == "photosync" and INSTALLED.exists():
        return str(INSTALLED)
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else shutil.which(program)


@dataclass(frozen=True, slots=True)
class Peer:
    """One program with one set of options for one kind of place.

    Attributes:
        name: in the table.
        program: executable; without it the peer is missing.
        copy: arguments of the first run, given the place.
        again: arguments of a run that finds nothing to do; None: as ``copy``.
        checks: which checksums it computes and how it proves what arrived.
        most: rounds that it takes part in; fewer than the others where it is very slow.
    """

    name: str
    program: str
    copy: Callable[[Ready], Sequence[str]]
    again: Callable[[Ready], Sequence[str]] | None = None
    checks: str = ""
    most: int = 1000

    @property
    def own(self) -> bool:
        return self.program == "photosync"

    def command(self, place: Ready, again: bool = False) -> list[str]:
        """Whole command line.

        Raises:
            FileNotFoundError: it is not installed.
        """
        program = found(self.program)
        if program is None:
            raise FileNotFoundError(f"{self.program} is not installed")
        make = self.again if again and self.again is not None else self.copy
        return [program, *make(place)]


def environment(place: Ready, state: Path) -> dict[str, str]:
    """Variables for every program at a place, so that nothing of this user's own settings takes part."""
    return {
        "RCLONE_CONFIG": "",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PHOTOSYNC_CONFIG": str(state / "config.toml"),
        "PHOTOSYNC_STATE_DIR": str(state),
        "PHOTOSYNC_CACHE_DIR": str(state / "cache"),
        "PHOTOSYNC_SECRETS_FILE": str(state / "secrets.json"),
        **place.environment,
    }


def told(cost: Cost) -> dict[str, object]:
    """photosync's own report."""
    report: dict[str, object] = json.loads(cost.output.splitlines()[-1])
    return report


def complaint(cost: Cost, files: int) -> str | None:
    """What photosync itself says against its run, or None.

    Args:
        files: that it must account for.
    """
    if cost.error:
        return cost.error
    report = told(cost)
    done = sum(int(str(report[kind])) for kind in ("verified", "written", "unchanged"))
    return None if done == files else f"photosync reports {done} of {files} files: {report['error']}"


def requests(cost: Cost) -> Mapping[str, int]:
    """What photosync says that it asked of the destinations, by operation."""
    total: dict[str, int] = {}
    if cost.error is None:
        places = told(cost)["requests"]
        assert isinstance(places, dict)
        for counts in places.values():
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
    return total


def _photosync(*options: str) -> Callable[[Ready], Sequence[str]]:
    return lambda place: ("copy", "source", place.photosync, "--json", *options)


def _rclone(*options: str) -> Callable[[Ready], Sequence[str]]:
    return lambda place: ("copy", "source", place.rclone, *options)


_S3 = ("--transfers", "32", "--checkers", "32", "--s3-no-check-bucket")
"""Best of 8, 16, 32 and 64 transfers on two cores."""
_S3_BARE = (*_S3, "--ignore-checksum", "--s3-no-head")
_S3_LIST = _rclone(*_S3, "--fast-list", "--size-only")


def _tuned_s3(*options: str) -> Peer:
    return Peer(
        "rclone tuned", "rclone", _rclone(*_S3_BARE, *options), _S3_LIST,
        checks="MD5, server checks it; body unsigned",
    )  # fmt: skip


PHOTOSYNC_S3 = Peer(
    "photosync", "photosync", _photosync(),
    checks="BLAKE3, XXH3, SHA-256; server checks SHA-256 (in parts: CRC-64/NVME or SHA-256)",
)  # fmt: skip
RCLONE_S3 = Peer(
    "rclone", "rclone", _rclone("--s3-no-check-bucket"),
    checks="MD5, server checks it; body unsigned; HEAD after each",
)  # fmt: skip
RCLONE_S3_SOME = replace(RCLONE_S3, most=3)
TUNED_S3 = _tuned_s3()
TUNED_S3_BIG = _tuned_s3("--s3-disable-checksum", "--s3-chunk-size", "64M", "--s3-upload-concurrency", "4")
TUNED_S3_FAR = Peer(
    "rclone tuned", "rclone", _rclone(*_S3_BARE, "--transfers", "64"), _S3_LIST,
    checks="MD5, server checks it; body unsigned",
)  # fmt: skip
S5CMD = Peer(
    "s5cmd", "s5cmd", lambda place: ("cp", "source/", f"{place.plain}/"),
    lambda place: ("sync", "--size-only", "source/", f"{place.plain}/"),
    checks="MD5 and SHA-256 of the signed body, server checks both; 256 workers",
)  # fmt: skip
S5CMD_SOME = replace(S5CMD, most=3)
AWS = Peer(
    "aws", "aws", lambda place: ("s3", "cp", "--recursive", "--only-show-errors", "source", place.plain),
    lambda place: ("s3", "sync", "--size-only", "--only-show-errors", "source", place.plain),
    checks="CRC, server checks it", most=1,
)  # fmt: skip

_DIGESTS = "BLAKE3, XXH3, SHA-256"


def _alone(name: str, way: str, checks: str, *threads: str) -> Peer:
    program = str(Path(__file__).with_name("bare.py"))
    return Peer(
        name, "python", lambda place: ("-I", program, way, "source", place.plain, *threads), checks=checks
    )


ALONE = "the work alone"
ALONE_UNREAD = "the work alone, not read back"
ALONE_S3 = _alone(ALONE, "s3", f"{_DIGESTS}; server checks SHA-256 of the signed body; nothing else is done")
ALONE_S3_FAR = _alone(ALONE, "s3", ALONE_S3.checks, "64")
ALONE_LOCAL = _alone(
    ALONE, "disk", f"{_DIGESTS} in stream; fsync; every file read back from the disk; nothing else is done"
)
ALONE_LOCAL_UNREAD = _alone(
    ALONE_UNREAD, "unread", f"{_DIGESTS} in stream; fsync; not read back; nothing else is done"
)
ALONE_CLONE = _alone(ALONE, "clone", f"blocks shared; {_DIGESTS} of the clone; fsync; nothing else is done")

PHOTOSYNC_LOCAL = Peer(
    "photosync", "photosync", _photosync(),
    checks="BLAKE3, XXH3, SHA-256 in stream; fsync; every file read back from the disk",
)  # fmt: skip
PHOTOSYNC_UNCHECKED = Peer(
    "photosync --verify none", "photosync", _photosync("--verify", "none"),
    checks="BLAKE3, XXH3, SHA-256 in stream; fsync; not read back",
)  # fmt: skip
RCLONE_LOCAL = Peer(
    "rclone", "rclone", _rclone(), checks="MD5 in stream, MD5 read back through the page cache; no fsync"
)
TUNED_LOCAL = Peer(
    "rclone tuned", "rclone", _rclone("--transfers", "4", "--ignore-checksum"), _rclone("--size-only"),
    checks="none; no fsync",
)  # fmt: skip
RSYNC = Peer(
    "rsync", "rsync", lambda place: ("-a", "source/", f"{place.plain}/"),
    checks="whole-file checksum in stream; no fsync",
)  # fmt: skip
CP = Peer(
    "cp", "cp", lambda place: ("-r", "source", place.plain),
    lambda place: ("-ru", "source/.", place.plain), checks="none; no fsync",
)  # fmt: skip
CP_EXACT = Peer("cp", "cp", lambda place: ("-a", "source", place.plain))
CP_REFLINK = Peer(
    "cp --reflink", "cp", lambda place: ("-r", "--reflink=always", "source", place.plain),
    checks="none; no fsync",
)  # fmt: skip

PHOTOSYNC_MIRROR = Peer(
    "photosync", "photosync", lambda place: ("mirror", "source", place.photosync, "--json"),
    checks="BLAKE3, XXH3, SHA-256 in stream; fsync; all three read back from the disk",
)  # fmt: skip
RCLONE_THRICE = Peer(
    "rclone, three runs", "rclone", _rclone("--ignore-checksum"), checks="none; no fsync", most=3
)  # fmt: skip
RSYNC_THRICE = Peer(
    "rsync, three runs", "rsync", lambda place: ("-a", "source/", f"{place.plain}/"),
    checks="whole-file checksum in stream; no fsync", most=1,
)  # fmt: skip

PHOTOSYNC_DROPBOX = Peer(
    "photosync", "photosync", _photosync(),
    checks="BLAKE3, XXH3, SHA-256, content_hash; content_hash of the service compared",
)  # fmt: skip
RCLONE_DROPBOX = Peer(
    "rclone", "rclone", _rclone(), checks="content_hash of the service compared; 4 transfers", most=3
)
TUNED_DROPBOX = Peer(
    "rclone tuned", "rclone",
    _rclone("--transfers", "64", "--dropbox-batch-mode", "sync", "--dropbox-batch-size", "64"),
    checks="content_hash of the service compared; batches of 64", most=3,
)  # fmt: skip
PHOTOSYNC_DRIVE = Peer(
    "photosync", "photosync", _photosync(),
    checks="BLAKE3, XXH3, SHA-256; SHA-256 of the service compared",
)  # fmt: skip
TUNED_DRIVE = Peer(
    "rclone tuned", "rclone", _rclone("--transfers", "32", "--drive-pacer-min-sleep", "1ms"),
    checks="MD5 of the service compared; 32 transfers", most=3,
)  # fmt: skip
