"""What ``ls`` and its sisters show."""

import datetime
import mimetypes
from typing import Any

from photosync.engine import retry, scan
from photosync.engine.entry import Entry
from photosync.engine.limits import Gate
from photosync.engine.retry import RetryPolicy
from photosync.engine.workers import Workers
from photosync.session import Session


def list_files(session: Session, text: str) -> list[Entry]:
    """Every file below a place but photosync's own, sorted by path.

    Raises:
        FileNotFoundError: the place is not there.
        PhotosyncError: a part of it could not be listed.
    """
    with session.open(text) as place, Workers(session.seam) as workers:
        store, gate, retries = place.store, Gate(workers), RetryPolicy()

        def once() -> scan.Listing:
            if store.capabilities.flat_listing:
                listing = scan.flat(store, check=workers.check)
                if not listing.entries and not listing.own:
                    store.list_folder("")
                return listing
            return scan.walk(store, check=workers.check)

        listing = retry.call(once, f"listing {text}", workers, gate, retries)
        for error in listing.errors:
            raise error.error
        return list(listing.entries)


def as_rclone(entry: Entry) -> dict[str, Any]:
    """An entry with the keys that ``rclone lsjson`` gives it."""
    name = entry.path.rpartition("/")[2]
    row: dict[str, Any] = {
        "Path": entry.path,
        "Name": name,
        "Size": entry.size,
        "MimeType": mimetypes.guess_type(name)[0] or "application/octet-stream",
        "ModTime": None if entry.mtime_ns is None else moment(entry.mtime_ns),
        "IsDir": False,
    }
    if entry.digests:
        row["Hashes"] = dict(entry.digests)
    return row


def moment(mtime_ns: int) -> str:
    """RFC 3339 with nanoseconds, in UTC."""
    seconds, nanoseconds = divmod(mtime_ns, 10**9)
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)
    return f"{start:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
