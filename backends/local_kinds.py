"""What kinds of disks can do."""

import os
from collections.abc import Mapping
from dataclasses import replace

from photosync.backends import posix
from photosync.engine.capabilities import Batch, Capabilities
from photosync.engine.names import ANY, POSIX, WINDOWS

_SECOND = 1_000_000_000

_DISK = Capabilities(
    names=POSIX,
    mtime_precision_ns=1,
    set_mtime=True,
    exclusive=True,
    server_copy=True,
    server_move=True,
    resumable=True,
    parallel_parts=True,
    batch=Batch(64),
)
_WINDOWS_DISK = replace(_DISK, names=WINDOWS, mtime_precision_ns=100)
_FAT = replace(_WINDOWS_DISK, mtime_precision_ns=2 * _SECOND, largest=(4 << 30) - 1)
# Nobody can tell what a FUSE program makes of names and times, or whether it honours a rename flag.
_UNKNOWN = replace(_DISK, names=ANY, mtime_precision_ns=2 * _SECOND, exclusive=False)

_BY_TYPE: Mapping[str, Capabilities] = {
    **dict.fromkeys(
        ("bcachefs", "btrfs", "ceph", "ext4", "f2fs", "jfs", "nfs", "nfs4", "overlay", "ramfs", "tmpfs"),
        _DISK,
    ),
    **dict.fromkeys(("virtiofs", "xfs", "zfs"), _DISK),
    **dict.fromkeys(("ext2", "ext3"), replace(_DISK, mtime_precision_ns=_SECOND)),
    **dict.fromkeys(("vfat", "msdos"), _FAT),
    # A program that gives FAT to everybody, and has no rename flags.
    "fuse.fusefat": replace(_FAT, exclusive=False),
    "exfat": replace(_WINDOWS_DISK, mtime_precision_ns=10_000_000),
    **dict.fromkeys(("cifs", "smb3", "ntfs", "ntfs3"), _WINDOWS_DISK),
    # ntfs-3g or exfat-fuse.
    "fuseblk": replace(_WINDOWS_DISK, mtime_precision_ns=2 * _SECOND, exclusive=False),
    # A phone's folder named directly: as slow, and as unable to do two things at once, as by ``phone:``.
    **dict.fromkeys(
        (
            "fuse.jmtpfs",
            "fuse.simple-mtpfs",
            "fuse.go-mtpfs",
            "fuse.ifuse",
            "fuse.gvfsd-fuse",
            "fuse.kio-fuse",
        ),
        replace(_UNKNOWN, read_concurrency=1, slow_read=True),
    ),
}
"""What file systems can do, by their names in ``/proc/self/mountinfo``.

Times: ext2 and ext3 may keep whole seconds, FAT two of them, exFAT 10 ms, NTFS 100 ns.
"""

_QUICK = {
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs",
}  # fmt: skip
"""Disks of this machine, where a call is over so soon that more threads than processors only take the
interpreter's lock from each other. A network's answer is waited for: there more are better."""


def known() -> Mapping[str, Capabilities]:
    """What is declared of each kind of file system; of any other under ""."""
    return {**_BY_TYPE, "": _UNKNOWN}


def kind_of(root: str) -> tuple[Capabilities, bool]:
    """What may be declared of a folder, by the file system it is on or will be made on, and whether that has
    change times worth the name: a FUSE program often makes them up, anew at every look."""
    kind = posix.filesystem_type(root)
    can = _BY_TYPE.get(kind, _UNKNOWN)
    if kind in _QUICK:
        can = replace(
            can,
            read_concurrency=min(can.read_concurrency, _processors()),
            write_concurrency=min(can.write_concurrency, _processors()),
        )
    return can, not kind.startswith("fuse.")


def counts_room(root: str) -> bool:
    """Whether the free room of a folder's file system is what it says: a FUSE program may make it up, and
    elsewhere than on Linux (macOS counts blocks in 32 bits) large disks look nearly full."""
    kind = posix.filesystem_type(root)
    return bool(kind) and not kind.startswith("fuse.")


def _processors() -> int:
    return max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
