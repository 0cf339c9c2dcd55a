"""Power cuts for journals, which lie on a real disk: of SQLite's log, any end may be missing.

SQLite syncs its log only before it copies it into the database (``synchronous=NORMAL``).
"""

import struct
from pathlib import Path

Image = dict[str, bytes]


def image_of(path: Path) -> Image:
    """A journal's files as they are while it is open."""
    log = path.with_name(path.name + "-wal")
    index = path.with_name(path.name + "-shm")
    return {
        "": path.read_bytes(),
        "-wal": log.read_bytes() if log.exists() else b"",
        "-shm": index.read_bytes() if index.exists() else b"",
    }


def synced(image: Image) -> int:
    """Bytes of the log that no power cut takes away: what is in the database already was synced before.

    Without them, older pages in what is left would replace newer ones. Formats of the log and of its index:
    https://www.sqlite.org/walformat.html (nBackfill, in the byte order of this machine).
    """
    log, index = image["-wal"], image["-shm"]
    if len(log) < 32 or len(index) < 100:
        return 0
    (page_size,) = struct.unpack(">I", log[8:12])
    (copied,) = struct.unpack("=I", index[96:100])
    return min(len(log), 32 + copied * (24 + page_size)) if copied else 0


def put_back(path: Path, image: Image, log: bytes) -> None:
    """The journal as the disk kept it.

    Args:
        log: what is left of it.
    """
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(image[""])
    if log:
        path.with_name(path.name + "-wal").write_bytes(log)
