"""What the journal remembers of a destination's manifest, and what that does not say yet."""

from collections.abc import Iterator

from photosync.engine.hashing import Fingerprint
from photosync.engine.journal_file import JournalFile
from photosync.engine.journal_rows import Delivery, delivery_of, fingerprint_of, key, path_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS withdrawn (
    destination INTEGER NOT NULL, stored BLOB NOT NULL, PRIMARY KEY (destination, stored)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (
    place INTEGER PRIMARY KEY, number INTEGER NOT NULL, root TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS nodes (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
"""


class Manifests(JournalFile):
    """A part of `photosync.engine.journal.Journal`."""

    def _opened(self, tables: frozenset[str]) -> None:
        super()._opened(tables)
        # Most runs have none, and asking for them with every file would double what a file costs here.
        self._has_withdrawn = bool(self._rows("SELECT EXISTS (SELECT * FROM withdrawn)")[0][0])

    def forget_head(self, destination: str) -> None:
        """Forgets the destination's manifest, so that the next snapshot tells all that is proven there."""
        place = self._place(destination)
        self._write("DELETE FROM heads WHERE place = ?", (place,))
        self._write("UPDATE deliveries SET recorded = 0 WHERE destination = ?", (place,))
        self._write("UPDATE spared SET told = 0 WHERE destination = ?", (place,))
        self.flush()

    def set_withdrawn(self, destination: str, stored: str) -> None:
        """Remembers that a destination path holds nothing any more; its manifest does not say so yet."""
        self._has_withdrawn = True
        self._write("INSERT OR REPLACE INTO withdrawn VALUES (?, ?)", (self._place(destination), key(stored)))

    def unrecorded(self, destination: str) -> Iterator[tuple[Delivery, Fingerprint]]:
        """Copies that the destination's manifest does not tell of yet, with their fingerprints; a group of
        them at a time is held."""
        for row in self._stream(
            "SELECT d.path, d.size, d.mtime_ns, d.version, d.content, d.stored, d.stored_version, "
            "d.evidence, c.digests, c.chunks FROM deliveries d "
            "JOIN contents c ON c.place = d.source AND c.path = d.path "
            "WHERE d.destination = ? AND d.recorded = 0",
            self._place(destination),
        ):
            delivery, found = delivery_of(row[:8]), fingerprint_of(row[1], row[8], row[9])
            if found.content == delivery.content:
                yield delivery, found

    def withdrawn(self, destination: str) -> list[str]:
        """Paths that hold nothing any more; the destination's manifest does not say so yet."""
        rows = self._rows("SELECT stored FROM withdrawn WHERE destination = ?", self._place(destination))
        return [path_of(stored) for (stored,) in rows]

    def set_recorded(self, destination: str, number: int, root: str) -> None:
        """The manifest now says all that `unrecorded` and `withdrawn` told; its newest snapshot is this."""
        place = self._place(destination)
        self._write("UPDATE deliveries SET recorded = 1 WHERE destination = ? AND recorded = 0", (place,))
        self._write("DELETE FROM withdrawn WHERE destination = ?", (place,))
        self.set_head(destination, number, root)
        self.flush()

    def head(self, place: str) -> tuple[int, str] | None:
        """Number and root of the newest snapshot seen at a destination."""
        rows = self._rows("SELECT number, root FROM heads WHERE place = ?", self._place(place))
        return (int(rows[0][0]), str(rows[0][1])) if rows else None

    def set_head(self, place: str, number: int, root: str) -> None:
        self._write("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (self._place(place), number, root))

    def get(self, name: str) -> bytes:
        """A manifest node (`photosync.engine.manifest.NodeStore`).

        Raises:
            KeyError: it is not in the cache.
        """
        rows = self._rows("SELECT data FROM nodes WHERE name = ?", name)
        if not rows:
            raise KeyError(name)
        return bytes(rows[0][0])

    def put(self, name: str, data: bytes) -> None:
        self._write("INSERT OR REPLACE INTO nodes VALUES (?, ?)", (name, data))
