"""What the journal remembers of runs."""

import json
from collections.abc import Iterator, Mapping

from photosync.engine.journal_file import JournalFile
from photosync.engine.journal_rows import PastRun

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, source INTEGER NOT NULL, destination INTEGER NOT NULL,
    started_ns INTEGER NOT NULL, files INTEGER NOT NULL, report TEXT
);
"""


class Runs(JournalFile):
    """A part of `photosync.engine.journal.Journal`."""

    def last_count(self, source: str, destination: str) -> int | None:
        """Files that the source had at the last run that saw all of it."""
        rows = self._rows(
            "SELECT files FROM runs WHERE source = ? AND destination = ? AND files >= 0 "
            "ORDER BY id DESC LIMIT 1",
            self._place(source),
            self._place(destination),
        )
        return int(rows[0][0]) if rows else None

    def set_count(self, source: str, destination: str, files: int) -> None:
        """Notes that a source is meant to have that many files from now on."""
        if self.last_count(source, destination) is not None:
            self.add_run(
                source,
                destination,
                self._seam.wall_ns(),
                files,
                {"status": "freed", "destination": destination},
            )

    def add_run(
        self,
        source: str,
        destination: str,
        started_ns: int,
        files: int | None,
        report: Mapping[str, object],
    ) -> None:
        """Remembers a run.

        Args:
            started_ns: when it began.
            files: that the source had; None: the run did not see all of it.
            report: how it ended, JSON-able.
        """
        self._write(
            "INSERT INTO runs (source, destination, started_ns, files, report) VALUES (?, ?, ?, ?, ?)",
            (
                self._place(source),
                self._place(destination),
                started_ns,
                -1 if files is None else files,
                json.dumps(report, separators=(",", ":")),
            ),
        )

    def runs(self) -> Iterator[PastRun]:
        """Every run, oldest first."""
        rows = self._stream(
            "SELECT s.identity, d.identity, started_ns, files, report FROM runs r "
            "JOIN places s ON s.id = r.source JOIN places d ON d.id = r.destination "
            "WHERE json_valid(report) ORDER BY r.id"
        )
        for source, destination, started_ns, files, report in rows:
            yield PastRun(source, destination, started_ns, files if files >= 0 else None, json.loads(report))
