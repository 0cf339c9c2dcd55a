"""What ``ls`` and its sisters show."""

import datetime
import mimetypes
from typing import Any

from photosync.engine import retry, scan
from photosync.engine.assets import kind_of, pair
from photosync.engine.choosing import Choice
from photosync.engine.entry import Entry
from photosync.engine.filters import Filter
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.looking import Looker
from photosync.engine.media import NOTHING, Facts
from photosync.engine.retry import RetryPolicy
from photosync.engine.source import Source
from photosync.engine.taken import taken
from photosync.engine.workers import Workers
from photosync.session import Session


def list_files(
    session: Session,
    text: str,
    wanted: Filter | None = None,
    choice: Choice | None = None,
    *,
    looking: bool = False,
) -> tuple[list[Entry], dict[str, Facts]]:
    """Every file below a place but photosync's own, sorted by path, and what the files say of themselves.

    Args:
        wanted, choice: which files and photos; None: all.
        looking: look into all of them; else only as far as the choice needs it.

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
            enters = wanted.enters if wanted is not None else scan.every_folder
            return scan.walk(store, check=workers.check, enters=enters)

        listing = retry.call(once, f"listing {text}", workers, gate, retries)
        for error in listing.errors:
            raise error.error
        entries = [e for e in listing.entries if wanted is None or wanted.wants(e.path, e.size, e.mtime_ns)]
        source = Source(store, workers, gate, retries, lambda _path, _size: None)
        with Journal(None, session.seam) as journal:
            looker = Looker(source, text, journal, lambda: None)
            chosen, facts = looker.choose(scan.Listing(entries), choice)
            return list(chosen.entries), looker.facts(chosen.entries) if looking else facts


def metadata(entries: list[Entry], facts: dict[str, Facts]) -> dict[str, dict[str, str]]:
    """What is known of photos, by path, for the key that ``rclone lsjson --metadata`` has."""
    rows = {}
    for photo in pair(entries, facts):
        for entry in photo.members:
            known = facts.get(entry.path, NOTHING)
            when = taken(entry.path, entry.mtime_ns, known)
            row = {
                "type": kind_of(entry.path, known).value,
                "taken": when.text or "",
                "taken-from": when.source,
                "make": known.make,
                "camera": known.model,
                "content-identifier": known.pair,
                "asset": photo.primary.path if len(photo.members) > 1 else "",
                "motion-photo": "true" if known.motion else "",
                "place": "true" if known.place else "",
            }
            rows[entry.path] = {name: value for name, value in row.items() if value}
    return rows


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
