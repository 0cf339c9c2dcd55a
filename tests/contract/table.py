"""The table of what every backend declares, and of the tests that prove it: docs/capabilities.md.

python -m photosync.testing.table > docs/capabilities.md
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields

from photosync.engine.capabilities import Batch, Capabilities
from photosync.engine.names import ANY, DRIVE, DROPBOX, POSIX, S3, WINDOWS, NameRules

PROOFS: Mapping[str, tuple[str, ...]] = {
    "hashes": ("test_digests_are_of_the_content", "test_other_bytes_than_their_digests_are_refused"),
    "hashes_listed": ("test_digests_are_of_the_content",),
    "names": ("test_odd_names", "test_confined_to_its_root"),
    "mtime_precision_ns": ("test_put_keeps_the_time", "test_upload_in_order"),
    "set_mtime": ("test_set_mtime",),
    "exclusive": ("test_one_of_several_writers_wins", "test_put_replaces_nothing"),
    "server_copy": ("test_copy", "test_copy_from_another_place"),
    "server_move": ("test_move", "test_move_replaces_nothing"),
    "resumable": ("test_upload_resumes_in_another_process", "test_upload_says_which_parts_it_holds"),
    "parallel_parts": ("test_upload_in_any_order",),
    "part_size": ("test_declares_what_makes_sense", "test_upload_in_order"),
    "small_limit": ("test_declares_what_makes_sense", "test_upload_in_order"),
    "largest": ("test_declares_what_makes_sense",),
    "batch": ("test_put_batch", "test_put_batch_with_one_name_twice"),
    "flat_listing": ("test_listings_agree", "test_an_absent_root"),
    "change_feed": ("test_changes",),
    "read_concurrency": ("test_calls_from_several_threads",),
    "write_concurrency": ("test_calls_from_several_threads", "test_one_of_several_writers_wins"),
    "partial_reads": ("test_read_from_an_offset",),
    "slow_read": ("test_declares_what_makes_sense",),
    "writable": ("test_declares_what_makes_sense",),
}
"""Field of `Capabilities` → tests of `photosync.testing.StoreContract` that prove it, or what lacks it."""

_WORDS: Mapping[str, str] = {
    "hashes": "content hashes of its own",
    "hashes_listed": "told by listings",
    "names": "names",
    "mtime_precision_ns": "times kept to",
    "set_mtime": "times can be changed",
    "exclusive": "never replaces, enforced by the place itself",
    "server_copy": "copies by itself",
    "server_move": "renames by itself",
    "resumable": "uploads go on in another process",
    "parallel_parts": "parts in parallel",
    "part_size": "size of a part",
    "small_limit": "whole in one call up to",
    "largest": "largest file",
    "batch": "objects in one call",
    "flat_listing": "one listing for the whole tree",
    "change_feed": "change feed",
    "read_concurrency": "reads at once",
    "write_concurrency": "writes at once",
    "partial_reads": "a part can be read for less than the whole",
    "slow_read": "read only once",
    "writable": "can be written",
}
_AGAINST: Mapping[str, str] = {
    "Linux disk": "a disk",
    "S3": "SeaweedFS",
    "Dropbox": "an emulator",
    "Google Drive": "an emulator",
    "SFTP": "OpenSSH",
    "SFTP (sshfs)": "OpenSSH",
    "FTP": "pyftpdlib",
    "SMB": "Samba",
    "WebDAV": "WsgiDAV, rclone",
    "memory": "itself",
}
"""What the contract suite runs against. Of the other kinds no server or disk can be had in a test."""
_RULES: tuple[tuple[str, NameRules], ...] = (
    ("POSIX", POSIX),
    ("Windows", WINDOWS),
    ("S3", S3),
    ("Dropbox", DROPBOX),
    ("Drive", DRIVE),
    ("careful", ANY),
)
_HEAD = """# What each kind of place can do

This page is made by `make docs/capabilities.md` from what the code declares. A place that is not listed here,
or of which nothing is known, gets the last column: correct, only slower. What a place declares is proven by
the contract suite, which every backend passes against a real server, a real disk, or an emulator that
enforces the service's documented rules; the suite is public, as `photosync.testing.StoreContract`.

"""
_FEET = """
- **S3**: hashes and "never replaces" only where the service was found to honour them: photosync asks it once.
- **Any other fsspec**: called by one thread at a time, unless it is asynchronous inside.
- SFTP and FTP connections are not safe for threads: each thread has one of its own. FTP keeps no times,
  because servers differ in whether they take them.
- WebDAV and SMB refuse by themselves to rename over a file, but not to write one: photosync writes under a
  name of its own in `.photosync/partial` and then renames.
- Names: *POSIX* takes all but `/` and NUL; *careful* escapes control characters and outer spaces and keeps
  names apart that differ in case or Unicode form only; WebDAV also escapes `#`, `;` and `?`.
"""


def records() -> dict[str, Capabilities]:
    """What is declared, by the name of the kind of place."""
    from photosync.backends import anyfs_facts, drive_store, dropbox_store, local_kinds, s3_store

    disks, others = local_kinds.known(), anyfs_facts.known()
    return {
        "Linux disk": disks["ext4"],
        "NTFS, exFAT": disks["ntfs3"],
        "FAT32": disks["vfat"],
        "FUSE mount": disks[""],
        "S3": s3_store.AT_BEST,
        "Dropbox": dropbox_store.CAPABILITIES,
        "Google Drive": drive_store.CAPABILITIES,
        "SFTP": others["fsspec.implementations.sftp"],
        "SFTP (sshfs)": others["sshfs.spec"],
        "FTP": others["fsspec.implementations.ftp"],
        "SMB": others["fsspec.implementations.smb"],
        "WebDAV": others["webdav4.fsspec"],
        "memory": others["fsspec.implementations.memory"],
        "zip, tar": others["fsspec.implementations.zip"],
        "GCS, Azure, OSS": others["gcsfs.core"],
        "any other fsspec": others[""],
    }


def page() -> str:
    """The page, in Markdown."""
    found = records()
    rows = [["", *found, "proven by"], ["---"] * (len(found) + 2)]
    for field in fields(Capabilities):
        cells = [_cell(field.name, getattr(can, field.name)) for can in found.values()]
        proofs = ", ".join(f"`{name}`" for name in PROOFS[field.name])
        rows.append([_WORDS[field.name], *cells, proofs])
    rows.append(["the suite runs against", *(_AGAINST.get(name, "–") for name in found), ""])
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _FEET


def _cell(name: str, value: object) -> str:
    if name == "names":
        assert isinstance(value, NameRules)
        return next((word for word, rules in _RULES if rules.fold_case == value.fold_case
                     and rules.fold_unicode == value.fold_unicode and rules.reserved == value.reserved
                     and rules.unit == value.unit and rules.flat == value.flat), "others")  # fmt: skip
    if isinstance(value, bool):
        return "yes" if value else "–"
    if value is None or value == ():
        return "–"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Batch):
        return str(value.count)
    assert isinstance(value, int)
    written: Mapping[str, Callable[[int], str]] = {
        "mtime_precision_ns": _duration,
        "part_size": _mib,
        "small_limit": _mib,
        "largest": _mib,
    }
    return written.get(name, str)(value)


def _duration(nanoseconds: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if nanoseconds >= size:
            return f"{nanoseconds // size} {unit}"
    return f"{nanoseconds} ns"


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"


if __name__ == "__main__":
    sys.stdout.write(page())
