"""The named workloads: what is run, who is measured, what photosync is held to, and how long it takes."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import of_engine, peers, places, to_clouds, to_folders, to_s3
from benchmarks.discard import missing as no_compiler
from benchmarks.of_engine import BEGUN, LISTED
from benchmarks.peers import ALONE
from benchmarks.rounds import Goal
from benchmarks.to_s3 import ADDED, AGAIN, FIRST, Opened
from benchmarks.trees import Files

RCLONE = ("rclone", "rclone tuned")
PHOTOS, PHOTOS_QUICK = Files(5_000, 100_000), Files(200, 100_000)
MID, MID_QUICK = Files(200, 4_000_000), Files(10, 4_000_000)
BIG, BIG_QUICK = Files(2, 1_000_000_000), Files(2, 40_000_000)


@dataclass(frozen=True, slots=True)
class Workload:
    """A name on the command line.

    Attributes:
        name, title: short and long.
        what: what is run and where, and what is compared afterwards.
        programs: who is measured; those that are not installed are named as missing.
        seconds: what five rounds take on a quiet machine of two cores, preparation included.
        goals: for photosync.
        opened: prepares it, gives its rounds, and tidies up.
        missing: why it cannot be run on this machine, or None.
    """

    name: str
    title: str
    what: str
    programs: tuple[str, ...]
    seconds: int
    goals: tuple[Goal, ...]
    opened: Opened
    missing: Callable[[], str | None] = lambda: None


_S3_PROGRAMS = ("rclone", "s5cmd", "aws")
_FOLDER_PROGRAMS = ("rclone", "rsync", "cp")
_DISCARDED = "S3 endpoint that discards bodies; names and sizes compared"

WORKLOADS = (
    Workload(
        "photos", f"{PHOTOS.title} to S3", _DISCARDED, _S3_PROGRAMS, 55,
        (
            Goal("SHA-256 checked by the server, beside rclone", FIRST, 2.2, RCLONE, alone=ALONE),
            Goal("the same, beside s5cmd", FIRST, 2.0, ("s5cmd",), alone=ALONE),
            Goal(
                "MD5 sent (photosync sends SHA-256 instead, never MD5)", FIRST, 1.7, RCLONE, alone=ALONE
            ),
        ),
        to_s3.copies(to_s3.COPIES, PHOTOS, PHOTOS_QUICK), no_compiler,
    ),
    Workload(
        "mid", f"{MID.title} to S3", _DISCARDED, _S3_PROGRAMS, 40,
        (Goal("SHA-256 checked by the server, beside rclone", FIRST, 1.6, RCLONE, alone=ALONE),),
        to_s3.copies(to_s3.COPIES, MID, MID_QUICK), no_compiler,
    ),
    Workload(
        "big", f"{BIG.title} to S3 in parts", _DISCARDED, _S3_PROGRAMS, 90,
        (
            Goal(
                "in parts, checksums checked by the server, beside s5cmd", FIRST, 1.6, ("s5cmd",), alone=ALONE
            ),
        ),
        to_s3.copies(to_s3.BIG_COPIES, BIG, BIG_QUICK),
        no_compiler,
    ),
    Workload(
        "seaweedfs", f"{PHOTOS.title} to SeaweedFS", "a real S3 server; names, sizes and MD5 compared",
        ("rclone", "s5cmd"), 110, (), to_s3.seaweedfs, to_s3.no_seaweedfs,
    ),
    Workload(
        "latency", f"{PHOTOS.title} to S3 at 30 ms a request",
        f"{_DISCARDED}; rclone with its 4 transfers would take 75 s and is left out", ("rclone", "s5cmd"), 50,
        (Goal("beside s5cmd with 256 workers", FIRST, 1.3, ("s5cmd",), alone=ALONE),),
        to_s3.copies(to_s3.FAR_COPIES, PHOTOS, Files(100, 100_000), 30),
        no_compiler,
    ),
    Workload(
        "noop", f"{PHOTOS.title} to S3, then nothing to do", _DISCARDED, _S3_PROGRAMS, 30, (),
        to_s3.noop, no_compiler,
    ),
    Workload(
        "noop100k", "100,000 objects on S3, nothing to do",
        "everybody lists everything; rclone with its defaults asks for each object's time as well",
        _S3_PROGRAMS, 180,
        (
            Goal("full listing, beside rclone size-only", AGAIN, 2.5, ("rclone tuned",)),
            Goal("beside rclone with its defaults", AGAIN, 10, ("rclone",)),
        ),
        to_s3.noop100k, no_compiler,
    ),
    Workload(
        "added", "one photo more, 100,000 objects on S3", _DISCARDED, ("rclone",), 60,
        (Goal("beside rclone with its defaults", ADDED, 10, ("rclone",)),),
        to_s3.added, no_compiler,
    ),
    Workload(
        "local", f"{PHOTOS.title} on a disk", "a folder beside the source; contents compared",
        _FOLDER_PROGRAMS, 150,
        (
            Goal("read back, beside rclone with its defaults", FIRST, 1.2, ("rclone",), alone=ALONE),
            Goal(
                "hashed in stream, beside cp", FIRST, 0.9, ("cp",),
                own="photosync --verify none", alone=peers.ALONE_UNREAD,
            ),
        ),
        to_folders.local,
    ),
    Workload(
        "noop100k-local", "100,000 files on a disk, nothing to do", "names and sizes compared",
        _FOLDER_PROGRAMS, 140,
        (
            Goal("beside rsync", AGAIN, 0.8, ("rsync",)),
            Goal("beside rclone", AGAIN, 2, RCLONE),
        ),
        to_folders.noop,
    ),
    Workload(
        "reflink", f"{PHOTOS.title} and {MID.title} within an XFS that shares blocks",
        "a loop device; contents compared", ("rclone", "cp"), 140,
        (
            Goal(f"{PHOTOS.title}, beside rclone", PHOTOS.title, 2.5, RCLONE, alone=ALONE),
            Goal(f"{MID.title}, beside rclone", MID.title, 2.5, RCLONE, alone=ALONE),
        ),
        to_folders.reflink, to_folders.no_xfs,
    ),
    Workload(
        "mirror", "40 × 4 MB from a source of 30 MB/s to three folders",
        "a FUSE mount that counts what is read; contents of all three compared", ("rclone", "rsync"), 100,
        (Goal("beside three runs of rclone", FIRST, 2.8, ("rclone, three runs",)),),
        to_folders.mirror, to_folders.no_fuse,
    ),
    Workload(
        "dropbox", f"{PHOTOS.title} to Dropbox at 50 ms a request",
        "emulator; contents compared; rclone with its 4 transfers takes minutes and is left out",
        ("rclone",), 140,
        (Goal("beside rclone's batch mode", FIRST, 5, ("rclone tuned",)),),
        to_clouds.copies(
            places.dropbox, (peers.PHOTOSYNC_DROPBOX, peers.TUNED_DROPBOX), PHOTOS, 50,
        ),
    ),
    Workload(
        "drive", "1,000 × 1 MB to Google Drive at 50 ms a request",
        "emulator; MD5 compared; rclone with its defaults asks 10 times a second and is left out",
        ("rclone",), 150,
        (Goal("no cap on writes, beside rclone", FIRST, 1.2, ("rclone tuned",)),),
        to_clouds.copies(
            places.drive, (peers.PHOTOSYNC_DRIVE, peers.TUNED_DRIVE), Files(1_000, 1_000_000), 10,
        ),
    ),
    Workload(
        "added-dropbox", "one photo more, 100,000 files at Dropbox", "emulator; contents compared",
        ("rclone",), 150,
        (Goal("beside rclone with its defaults", ADDED, 10, ("rclone",)),),
        to_clouds.added,
    ),
    Workload(
        "scan", "1,000,000 files listed", "1,000 folders on a disk; number of files compared",
        ("find", "rclone", "rsync"), 90,
        (Goal("beside find", LISTED, 1.3, ("find -printf",), "times"),),
        of_engine.scan,
    ),
    Workload(
        "plan", "1,000,000 files planned",
        "engine alone; all but 1,000 known and there; what is known comes one by one, as a journal gives it",
        (), 55,
        (Goal("seconds", "plan", 2, kind="seconds"), Goal("memory of the process", "plan", 300, kind="MB")),
        of_engine.stages("plan"),
    ),
    Workload(
        "manifest", "a manifest of 1,000,000 files", "built, 1,000 entries changed, both compared", (), 50,
        (
            Goal("built", "build", 2, kind="seconds"),
            Goal("1,000 differences found", "diff", 0.5, kind="seconds"),
        ),
        of_engine.stages("manifest"),
    ),
    Workload(
        "start", "photosync --version", "peers tell theirs", _S3_PROGRAMS, 6,
        (Goal("seconds", BEGUN, 0.15, kind="seconds"),),
        of_engine.start,
    ),
)  # fmt: skip
