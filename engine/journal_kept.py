"""What the journal remembers of copies that stay though photosync itself removed their source."""

from collections.abc import Iterable

from photosync.engine.journal_file import JournalFile
from photosync.engine.journal_rows import key, path_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    source INTEGER NOT NULL, destination INTEGER NOT NULL, path BLOB NOT NULL,
    PRIMARY KEY (source, destination, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spared (
    source INTEGER NOT NULL, destination INTEGER NOT NULL, path BLOB NOT NULL, stored BLOB NOT NULL,
    told INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (source, destination, path, stored)
) WITHOUT ROWID;
"""


class Kept(JournalFile):
    """A part of `photosync.engine.journal.Journal`."""

    def _opened(self, tables: frozenset[str]) -> None:
        super()._opened(tables)
        if "kept" in tables and "spared" not in tables:
            self._db.execute(
                "INSERT INTO spared SELECT source, destination, path, stored, 0 FROM kept "
                "JOIN deliveries USING (source, destination, path)"
            )
        elif not self._rows("SELECT 1 FROM pragma_table_info('spared') WHERE name = 'told'"):
            self._db.execute("ALTER TABLE spared ADD COLUMN told INTEGER NOT NULL DEFAULT 0")

    def kept(self, source: str, destination: str) -> frozenset[str]:
        """Source paths whose copies stay though the source does not have them any more: it was freed."""
        rows = self._rows(
            "SELECT path FROM kept WHERE source = ? AND destination = ?",
            self._place(source),
            self._place(destination),
        )
        return frozenset(path_of(path) for (path,) in rows)

    def set_kept(self, source: str, destination: str, path: str) -> None:
        row = self._place(source), self._place(destination), key(path)
        self._write("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", row)
        self._spare(*row)

    def spared(self, source: str, destination: str) -> frozenset[str]:
        """Destination paths of copies that stay because photosync itself removed their source: whatever
        else gets that source's name, or has the same copy."""
        rows = self._rows(
            "SELECT stored FROM spared WHERE source = ? AND destination = ?",
            self._place(source),
            self._place(destination),
        )
        return frozenset(path_of(stored) for (stored,) in rows)

    def untold(self, destination: str) -> list[str]:
        """Of `spared`, from every source, what the destination itself does not say yet."""
        rows = self._rows(
            "SELECT DISTINCT stored FROM spared WHERE destination = ? AND told = 0", self._place(destination)
        )
        return [path_of(stored) for (stored,) in rows]

    def set_told(self, destination: str, paths: Iterable[str]) -> None:
        place = self._place(destination)
        self._write(
            "UPDATE spared SET told = 1 WHERE destination = ? AND stored = ?",
            *((place, key(path)) for path in paths),
        )

    def tell_again(self, destination: str) -> None:
        """Makes all of `spared` untold."""
        self._write("UPDATE spared SET told = 0 WHERE destination = ?", (self._place(destination),))

    def _spare(self, source: int, destination: int, path: bytes) -> None:
        self._write(
            "INSERT OR IGNORE INTO spared SELECT source, destination, path, stored, 0 FROM deliveries "
            "WHERE source = ? AND destination = ? AND path = ?",
            (source, destination, path),
        )

    def forget_kept(self, source: str, destination: str, path: str) -> None:
        row = self._place(source), self._place(destination), key(path)
        self._write(
            "DELETE FROM spared WHERE source = ? AND destination = ? AND path = ? AND stored IN "
            "(SELECT stored FROM deliveries WHERE source = ? AND destination = ? AND path = ?)",
            (*row, *row),
        )
        self._write(
            "DELETE FROM kept WHERE source = ? AND destination = ? AND path = ?",
            (self._place(source), self._place(destination), key(path)),
        )
