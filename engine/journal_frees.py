"""What the journal remembers of files that were to be removed from a source."""

from photosync.engine.entry import Entry
from photosync.engine.journal_file import JournalFile
from photosync.engine.journal_rows import key, path_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS frees (
    source INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER,
    content TEXT NOT NULL, intended_ns INTEGER NOT NULL, freed_ns INTEGER,
    PRIMARY KEY (source, path, content)
) WITHOUT ROWID;
"""


class Frees(JournalFile):
    """A part of `photosync.engine.journal.Journal`."""

    def intend(self, source: str, entry: Entry, content: str) -> None:
        """Writes down that a source file is about to be deleted; call `settle` before it is."""
        self._write(
            "INSERT OR REPLACE INTO frees VALUES (?, ?, ?, ?, ?, ?, NULL)",
            (
                self._place(source),
                key(entry.path),
                entry.size,
                entry.mtime_ns,
                content,
                self._seam.wall_ns(),
            ),
        )

    def intended(self, source: str) -> list[str]:
        """Source paths that were about to be deleted when the process that wrote it down ended."""
        rows = self._rows("SELECT path FROM frees WHERE source = ? AND freed_ns IS NULL", self._place(source))
        return [path_of(path) for (path,) in rows]

    def set_freed(self, source: str, path: str) -> None:
        self._write(
            "UPDATE frees SET freed_ns = ? WHERE source = ? AND path = ? AND freed_ns IS NULL",
            (self._seam.wall_ns(), self._place(source), key(path)),
        )

    def forget_intent(self, source: str, path: str) -> None:
        self._write(
            "DELETE FROM frees WHERE source = ? AND path = ? AND freed_ns IS NULL",
            (self._place(source), key(path)),
        )
