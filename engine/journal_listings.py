"""What the journal remembers of change feeds."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from photosync.engine.entry import Entry, Files
from photosync.engine.journal_file import JournalFile
from photosync.engine.journal_rows import key, path_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS listed (
    place INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER,
    version TEXT, digests TEXT NOT NULL,
    PRIMARY KEY (place, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursors (place INTEGER PRIMARY KEY, cursor TEXT NOT NULL);
"""

_NOTHING = "{}"
"""No digests."""


class Listings(JournalFile):
    """A part of `photosync.engine.journal.Journal`."""

    def cursor(self, place: str) -> str | None:
        rows = self._rows("SELECT cursor FROM cursors WHERE place = ?", self._place(place))
        return str(rows[0][0]) if rows else None

    def listed(self, place: str) -> Iterator[Entry]:
        """The listing that the cursor stands for, sorted by `key` of the path."""
        for files in self.listed_files(place):
            yield from files.entries()
            yield from files.others

    def listed_files(self, place: str) -> Iterator[Files]:
        """The same, many files at a time."""
        groups = self._groups(
            "SELECT path, size, mtime_ns, version, digests FROM listed WHERE place = ? ORDER BY path",
            self._place(place),
        )
        yield from map(_files, groups)

    def set_listed(
        self, place: str, upserts: Iterable[Entry], removed: Iterable[str], cursor: str, full: bool
    ) -> None:
        """Applies one answer of a change feed, cursor and entries together or not at all."""
        number = self._place(place)
        with self._guard():
            self._commit()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if full:
                    self._db.execute("DELETE FROM listed WHERE place = ?", (number,))
                for path in removed:
                    below = key(path) + b"/"
                    self._db.execute(
                        "DELETE FROM listed WHERE place = ? AND (path = ? OR (path >= ? AND path < ?))",
                        (number, key(path), below, below[:-1] + b"0"),
                    )
                self._db.executemany(
                    "INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        (
                            number,
                            key(entry.path),
                            entry.size,
                            entry.mtime_ns,
                            entry.version,
                            json.dumps(dict(entry.digests), separators=(",", ":")),
                        )
                        for entry in upserts
                    ),
                )
                self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (number, cursor))
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _files(rows: Sequence[tuple[Any, ...]]) -> Files:
    paths, sizes, times, versions, digests = zip(*rows, strict=True)
    if None in times or None in versions or _NOTHING in digests:
        return Files((), (), None, (), [
            Entry(path_of(path), size, mtime_ns, json.loads(digests), version)
            for path, size, mtime_ns, version, digests in rows
        ])  # fmt: skip
    return Files(list(map(path_of, paths)), sizes, times, versions, digests=digests)
