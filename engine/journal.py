"""What this machine remembers: one SQLite file, of which nothing is irreplaceable.

Losing it costs re-verification, never a photo: every table caches something that can be found out again
by reading the source or the destination. It is written by one process at a time (the run lock sees to
that), through one connection, in groups: a commit happens every `GROUP` writes or `INTERVAL` seconds, and
whenever something depends on it (`flush`).

Paths are stored as UTF-8 bytes with surrogate escapes, so that SQLite's order is the engine's order and
undecodable names survive.
"""

import sqlite3
from pathlib import Path

from photosync.engine import (
    journal_deliveries,
    journal_frees,
    journal_kept,
    journal_listings,
    journal_manifests,
    journal_runs,
    journal_sources,
    journal_uploads,
)
from photosync.engine.entry import Entry
from photosync.engine.hashing import Fingerprint
from photosync.engine.journal_deliveries import Deliveries
from photosync.engine.journal_file import GROUP, INTERVAL, JournalError
from photosync.engine.journal_frees import Frees
from photosync.engine.journal_listings import Listings
from photosync.engine.journal_rows import Delivered, Delivery, Known, PastRun, PendingUpload, delivery_of, key
from photosync.engine.journal_runs import Runs
from photosync.engine.journal_sources import Sources
from photosync.engine.journal_uploads import Uploads
from photosync.engine.media import Facts

__all__ = [
    "GROUP",
    "INTERVAL",
    "Delivered",
    "Delivery",
    "Journal",
    "JournalError",
    "Known",
    "PastRun",
    "PendingUpload",
    "delivery_of",
    "key",
    "peek",
]


def peek(path: Path, source: str) -> Known | None:
    """The destination that a journal is about, if anything was ever delivered there from a source.

    Takes no lock and changes nothing. A file that cannot be understood says nothing.

    Args:
        path: the SQLite file.
        source: what journals call the source.
    """
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return None
    try:
        rows = db.execute(
            "SELECT (SELECT value FROM facts WHERE name = 'place'), t.identity FROM deliveries d "
            "JOIN places s ON s.id = d.source JOIN places t ON t.id = d.destination "
            "WHERE s.identity = ? LIMIT 1",
            (source,),
        ).fetchall()
    except sqlite3.Error:
        return None
    finally:
        db.close()
    return Known(str(rows[0][0] or rows[0][1]), str(rows[0][1])) if rows else None


class Journal(Sources, Deliveries, Frees, Uploads, Listings, Runs):
    """The state file; what it remembers is told by its parts.

    Args:
        path: the SQLite file, made if missing; None: in memory, for runs without state.
        seam: clock for group commits, and the lock that makes the journal usable from many threads.

    Raises:
        JournalError: the file is no journal, damaged, or of a newer photosync.
    """

    SCHEMA = "".join(
        (
            "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
            "CREATE TABLE IF NOT EXISTS places (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);",
            journal_deliveries.SCHEMA,
            journal_frees.SCHEMA,
            journal_kept.SCHEMA,
            journal_listings.SCHEMA,
            journal_manifests.SCHEMA,
            journal_runs.SCHEMA,
            journal_sources.SCHEMA,
            journal_uploads.SCHEMA,
        )
    )

    def set_copied(
        self,
        source: str,
        destination: str,
        entry: Entry,
        found: Fingerprint,
        told: tuple[Facts, str | None] | None,
        delivery: Delivery,
    ) -> None:
        """Remembers a copy that was proven and all that was learnt by reading the file, at once.

        Args:
            entry: the source file, as it was read.
            found: its bytes.
            told: what it says of itself, and what is wrong with it; None: that was not looked at.
            delivery: where its copy is.
        """
        facts = () if told is None else (self._facts(source, entry, *told),)
        self._write_together(
            self._content(source, entry, found), *facts, *self._delivery(source, destination, delivery)
        )

    def fact(self, name: str) -> str | None:
        """A remembered fact about a place, such as what its endpoint was found to check."""
        rows = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
