"""Power cuts for journals, which lie on a real disk: of SQLite's log, any end may be missing.

SQLite syncs its log only before it copies it into the database (``synchronous=NORMAL``).
"""

from pathlib import Path

Image = dict[str, bytes]


def image_of(path: Path) -> Image:
    """A journal's files as they are while it is open."""
    log = path.with_name(path.name + "-wal")
    return {"": path.read_bytes(), "-wal": log.read_bytes() if log.exists() else b""}


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
