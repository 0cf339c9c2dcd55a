"""What the journal remembers of files as they were read: fingerprints, and what photos say of themselves."""

import msgspec

from photosync.engine.entry import Entry
from photosync.engine.hashing import Fingerprint
from photosync.engine.journal_file import JournalFile, Write
from photosync.engine.journal_rows import fingerprint_of, key, path_of
from photosync.engine.media import Facts

SCHEMA = """
CREATE TABLE IF NOT EXISTS contents (
    place INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER, version TEXT,
    digests TEXT NOT NULL, chunks BLOB NOT NULL,
    PRIMARY KEY (place, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS media (
    place INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER, version TEXT,
    facts TEXT NOT NULL, suspicion TEXT,
    PRIMARY KEY (place, path)
) WITHOUT ROWID;
"""


class Sources(JournalFile):
    """A part of `photosync.engine.journal.Journal`."""

    def content(self, place: str, entry: Entry) -> Fingerprint | None:
        """The fingerprint of a file as it was last read, if it still looks the same."""
        rows = self._rows(
            "SELECT digests, chunks FROM contents WHERE place = ? AND path = ? AND size = ? "
            "AND version IS ? AND (mtime_ns IS ? OR version IS NOT NULL AND (mtime_ns IS NULL OR ? IS NULL))",
            self._place(place),
            key(entry.path),
            entry.size,
            entry.version,
            entry.mtime_ns,
            entry.mtime_ns,
        )
        if not rows:
            return None
        return fingerprint_of(entry.size, *rows[0])

    def set_content(self, place: str, entry: Entry, found: Fingerprint) -> None:
        self._write_together(self._content(place, entry, found))

    def _content(self, place: str, entry: Entry, found: Fingerprint) -> Write:
        return (
            "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self._place(place),
                key(entry.path),
                entry.size,
                entry.mtime_ns,
                entry.version,
                msgspec.json.encode(found.digests).decode(),
                bytes.fromhex("".join(found.chunks)),
            ),
        )

    def facts(self, place: str, entry: Entry) -> Facts | None:
        """What a file said of itself when it was last looked into, if it still looks the same."""
        rows = self._rows(
            "SELECT facts FROM media WHERE place = ? AND path = ? AND size = ? AND mtime_ns IS ? "
            "AND version IS ?",
            self._place(place),
            key(entry.path),
            entry.size,
            entry.mtime_ns,
            entry.version,
        )
        return Facts.loads(rows[0][0]) if rows else None

    def earlier_facts(self, place: str, path: str) -> Facts | None:
        """What the file of that name said of itself when it was last looked into, whatever it is now."""
        rows = self._rows(
            "SELECT facts FROM media WHERE place = ? AND path = ?", self._place(place), key(path)
        )
        return Facts.loads(rows[0][0]) if rows else None

    def earlier_suspicion(self, place: str, path: str) -> str | None:
        """What was wrong with the file of that name when it was last looked into, whatever it is now."""
        rows = self._rows(
            "SELECT suspicion FROM media WHERE place = ? AND path = ?", self._place(place), key(path)
        )
        return str(rows[0][0]) if rows and rows[0][0] is not None else None

    def suspicions(self, place: str) -> dict[str, str]:
        """Files of a source that may have been damaged before they were copied, path → why: such a file
        must not be removed from it."""
        rows = self._rows(
            "SELECT path, suspicion FROM media WHERE place = ? AND suspicion IS NOT NULL", self._place(place)
        )
        return {path_of(path): str(why) for path, why in rows}

    def set_facts(self, place: str, entry: Entry, facts: Facts, suspicion: str | None = None) -> None:
        """Remembers what a file says of itself, and what is wrong with it, if anything is."""
        self._write_together(self._facts(place, entry, facts, suspicion))

    def _facts(self, place: str, entry: Entry, facts: Facts, suspicion: str | None) -> Write:
        return (
            "INSERT OR REPLACE INTO media VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self._place(place),
                key(entry.path),
                entry.size,
                entry.mtime_ns,
                entry.version,
                facts.dumps(),
                suspicion,
            ),
        )
