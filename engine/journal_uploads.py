"""What the journal remembers of large uploads that were begun."""

import json

from photosync.engine.entry import Entry
from photosync.engine.journal_file import JournalFile
from photosync.engine.journal_rows import PendingUpload, key, path_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    source INTEGER NOT NULL, destination INTEGER NOT NULL, path BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER, version TEXT,
    stored BLOB NOT NULL, token TEXT NOT NULL, parts TEXT NOT NULL,
    PRIMARY KEY (source, destination, path)
) WITHOUT ROWID;
"""


class Uploads(JournalFile):
    """A part of `photosync.engine.journal.Journal`."""

    def _opened(self, tables: frozenset[str]) -> None:
        super()._opened(tables)
        # Most runs have none, and asking for them with every file would double what a file costs here.
        self._has_uploads = bool(self._rows("SELECT EXISTS (SELECT * FROM uploads)")[0][0])

    def upload(self, source: str, destination: str, entry: Entry) -> PendingUpload | None:
        """The upload that was begun for exactly this state of the source file."""
        rows = self._rows(
            "SELECT stored, token, parts FROM uploads WHERE source = ? AND destination = ? AND path = ? "
            "AND size = ? AND mtime_ns IS ? AND version IS ?",
            self._place(source),
            self._place(destination),
            key(entry.path),
            entry.size,
            entry.mtime_ns,
            entry.version,
        )
        if not rows:
            return None
        stored, token, parts = rows[0]
        sent = {int(index): str(digest) for index, digest in json.loads(str(parts)).items()}
        return PendingUpload(path_of(stored), str(token), sent)

    def set_upload(self, source: str, destination: str, entry: Entry, upload: PendingUpload) -> None:
        """Remembers an upload at once: what is not remembered would be sent again."""
        self._has_uploads = True
        self._write(
            "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._place(source),
                self._place(destination),
                key(entry.path),
                entry.size,
                entry.mtime_ns,
                entry.version,
                key(upload.stored),
                upload.token,
                json.dumps(dict(upload.parts), separators=(",", ":")),
            ),
        )
        self.flush()

    def forget_upload(self, source: str, destination: str, path: str) -> None:
        if self._has_uploads:
            self._write(
                "DELETE FROM uploads WHERE source = ? AND destination = ? AND path = ?",
                (self._place(source), self._place(destination), key(path)),
            )

    def uploads(self, destination: str) -> list[tuple[str, str]]:
        """(path, token) of every upload that was begun and not finished."""
        return [
            (path_of(path), str(token))
            for path, token in self._rows(
                "SELECT path, token FROM uploads WHERE destination = ?", self._place(destination)
            )
        ]
