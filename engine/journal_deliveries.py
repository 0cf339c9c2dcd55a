"""What the journal remembers of copies that were proven."""

import json
from collections.abc import Iterator

from photosync.engine.journal_file import Write
from photosync.engine.journal_kept import Kept
from photosync.engine.journal_manifests import Manifests
from photosync.engine.journal_rows import Delivered, Delivery, delivery_of, key, path_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    source INTEGER NOT NULL, destination INTEGER NOT NULL, path BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER, version TEXT, content TEXT NOT NULL,
    stored BLOB NOT NULL, stored_version TEXT, evidence TEXT NOT NULL, verified_ns INTEGER NOT NULL,
    recorded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (source, destination, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unrecorded ON deliveries (destination) WHERE recorded = 0;
CREATE INDEX IF NOT EXISTS by_stored ON deliveries (destination, stored);
CREATE TABLE IF NOT EXISTS proofs (
    destination INTEGER NOT NULL, stored BLOB NOT NULL, content TEXT NOT NULL,
    evidence TEXT NOT NULL, verified_ns INTEGER NOT NULL,
    PRIMARY KEY (destination, stored)
) WITHOUT ROWID;
"""


class Deliveries(Kept, Manifests):
    """A part of `photosync.engine.journal.Journal`."""

    def deliveries(self, source: str, destination: str) -> Delivered:
        """Everything delivered from one source to one destination, sorted by `key` of the path.

        Rows are fetched as they are consumed; nothing may be written to the journal meanwhile.
        """
        return Delivered(
            lambda: self._groups(
                "SELECT path, size, mtime_ns, version, content, stored, stored_version, evidence "
                "FROM deliveries WHERE source = ? AND destination = ? ORDER BY path",
                self._place(source),
                self._place(destination),
            )
        )

    def delivery(self, source: str, destination: str, path: str) -> Delivery | None:
        """What was delivered of one source file."""
        rows = self._rows(
            "SELECT path, size, mtime_ns, version, content, stored, stored_version, evidence "
            "FROM deliveries WHERE source = ? AND destination = ? AND path = ?",
            self._place(source),
            self._place(destination),
            key(path),
        )
        return delivery_of(rows[0]) if rows else None

    def set_delivery(self, source: str, destination: str, delivery: Delivery) -> None:
        """Remembers a copy that was proven; it is not in the destination's manifest yet."""
        self._write_together(*self._delivery(source, destination, delivery))

    def _delivery(self, source: str, destination: str, delivery: Delivery) -> Iterator[Write]:
        place = self._place(destination)
        if self._has_withdrawn:
            yield (
                "DELETE FROM withdrawn WHERE destination = ? AND stored = ?",
                (place, key(delivery.stored)),
            )
        yield (
            "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (
                self._place(source),
                place,
                key(delivery.path),
                delivery.size,
                delivery.mtime_ns,
                delivery.version,
                delivery.content,
                key(delivery.stored),
                delivery.stored_version,
                delivery.evidence,
                self._seam.wall_ns(),
            ),
        )

    def forget_delivery(self, source: str, destination: str, path: str) -> None:
        self._write(
            "DELETE FROM deliveries WHERE source = ? AND destination = ? AND path = ?",
            (self._place(source), self._place(destination), key(path)),
        )

    def retire(self, source: str, destination: str, path: str, stamp: str) -> None:
        """Remembers that a copy's source file is removed: the copy has no source any more.

        It is no copy of whatever gets that path next, nor can it be taken for renamed or missing; the
        destination's manifest goes on vouching for it.

        Args:
            stamp: of the run; no path is retired twice in one.
        """
        here, there = self._place(source), self._place(destination)
        nowhere = self._place(f"{source} moved {stamp}")
        name = key(path)
        self._spare(here, there, name)
        self._write(
            "INSERT OR REPLACE INTO contents SELECT ?, path, size, mtime_ns, version, digests, chunks "
            "FROM contents WHERE place = ? AND path = ?",
            (nowhere, here, name),
        )
        self._write(
            "UPDATE OR REPLACE deliveries SET source = ? WHERE source = ? AND destination = ? AND path = ?",
            (nowhere, here, there, name),
        )

    def is_shared(self, destination: str, stored: str, path: str) -> bool:
        """Whether a destination path is the copy of a source file other than ``path``, too."""
        return bool(
            self._rows(
                "SELECT 1 FROM deliveries WHERE destination = ? AND stored = ? AND path != ? LIMIT 1",
                self._place(destination),
                key(stored),
                key(path),
            )
        )

    def shared(self, source: str, destination: str) -> frozenset[str]:
        """Destination paths that are the copy of several files of one source."""
        rows = self._rows(
            "SELECT stored FROM deliveries WHERE source = ? AND destination = ? "
            "GROUP BY stored HAVING COUNT(*) > 1",
            self._place(source),
            self._place(destination),
        )
        return frozenset(path_of(stored) for (stored,) in rows)

    def digests(self, destination: str, stored: str, content: str) -> dict[str, str]:
        """Every digest known of what was delivered to a destination path; empty if that was other bytes."""
        for (digests,) in self._rows(
            "SELECT c.digests FROM deliveries d JOIN contents c ON c.place = d.source AND c.path = d.path "
            "WHERE d.destination = ? AND d.stored = ? AND d.content = ?",
            self._place(destination),
            key(stored),
            content,
        ):
            known: dict[str, str] = json.loads(digests)
            if known["blake3"] == content:
                return known
        return {}

    def known_contents(self, destination: str) -> dict[str, tuple[int, str | None, str]]:
        """Size, version and content id of everything that was proven at a destination, by its path there."""
        rows = self._stream(
            "SELECT stored, size, stored_version, content FROM deliveries WHERE destination = ?",
            self._place(destination),
        )
        return {path_of(stored): (size, version, content) for stored, size, version, content in rows}

    def stored_names(self, destination: str) -> list[str]:
        """Destination paths that differ from what the source calls the file."""
        rows = self._rows(
            "SELECT stored FROM deliveries WHERE destination = ? AND stored != path", self._place(destination)
        )
        return [path_of(stored) for (stored,) in rows]

    def distrust(self, destination: str, stored: str) -> None:
        """Forgets that a destination path was ever proven: the next run looks at it again."""
        for table in ("deliveries", "proofs"):
            self._write(
                f"DELETE FROM {table} WHERE destination = ? AND stored = ?",  # noqa: S608 - see above
                (self._place(destination), key(stored)),
            )

    def set_proof(self, destination: str, stored: str, content: str, evidence: str) -> None:
        """Remembers that a destination path was proven again, now."""
        self._write(
            "INSERT OR REPLACE INTO proofs VALUES (?, ?, ?, ?, ?)",
            (self._place(destination), key(stored), content, evidence, self._seam.wall_ns()),
        )

    def proofs(self, destination: str) -> dict[tuple[str, str], tuple[str, int]]:
        """(destination path, content id) → the newest evidence and its time in ns since the epoch."""
        found: dict[tuple[str, str], tuple[str, int]] = {}
        place = self._place(destination)
        for stored, content, evidence, verified_ns in self._rows(
            "SELECT stored, content, evidence, verified_ns FROM deliveries WHERE destination = ? UNION ALL "
            "SELECT stored, content, evidence, verified_ns FROM proofs WHERE destination = ? "
            "ORDER BY verified_ns",
            place,
            place,
        ):
            if evidence != "none":
                found[path_of(stored), content] = str(evidence), int(verified_ns)
        return found
