"""What this machine remembers: one SQLite file, of which nothing is irreplaceable.

Losing it costs re-verification, never a photo: every table caches something that can be found out again
by reading the source or the destination. It is written by one process at a time (the run lock sees to
that), through one connection, in groups: a commit happens every `GROUP` writes or `INTERVAL` seconds, and
whenever something depends on it (`flush`).

Paths are stored as UTF-8 bytes with surrogate escapes, so that SQLite's order is the engine's order and
undecodable names survive.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from photosync.engine.entry import Entry, same_state
from photosync.engine.errors import Fatal
from photosync.engine.hashing import Fingerprint
from photosync.engine.media import Facts
from photosync.engine.workers import Seam, Threads

VERSION = 1
GROUP = 500
INTERVAL = 0.5

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS contents (
    place INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER, version TEXT,
    digests TEXT NOT NULL, chunks BLOB NOT NULL,
    PRIMARY KEY (place, path)
) WITHOUT ROWID;
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
CREATE TABLE IF NOT EXISTS kept (
    source INTEGER NOT NULL, destination INTEGER NOT NULL, path BLOB NOT NULL,
    PRIMARY KEY (source, destination, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spared (
    source INTEGER NOT NULL, destination INTEGER NOT NULL, path BLOB NOT NULL, stored BLOB NOT NULL,
    told INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (source, destination, path, stored)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frees (
    source INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER,
    content TEXT NOT NULL, intended_ns INTEGER NOT NULL, freed_ns INTEGER,
    PRIMARY KEY (source, path, content)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS withdrawn (
    destination INTEGER NOT NULL, stored BLOB NOT NULL, PRIMARY KEY (destination, stored)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
    source INTEGER NOT NULL, destination INTEGER NOT NULL, path BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER, version TEXT,
    stored BLOB NOT NULL, token TEXT NOT NULL, parts TEXT NOT NULL,
    PRIMARY KEY (source, destination, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS listed (
    place INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER,
    version TEXT, digests TEXT NOT NULL,
    PRIMARY KEY (place, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursors (place INTEGER PRIMARY KEY, cursor TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS heads (
    place INTEGER PRIMARY KEY, number INTEGER NOT NULL, root TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS nodes (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS media (
    place INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER, version TEXT,
    facts TEXT NOT NULL, suspicion TEXT,
    PRIMARY KEY (place, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, source INTEGER NOT NULL, destination INTEGER NOT NULL,
    started_ns INTEGER NOT NULL, files INTEGER NOT NULL, report TEXT
);
"""


class JournalError(Fatal):
    """The state file cannot be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file that was proven to be at a destination.

    Attributes:
        path, size, mtime_ns, version: the source file as it was read.
        content: content id of the bytes.
        stored: path at the destination.
        stored_version: the destination's token for it, or None.
        evidence: how it was proven.
    """

    path: str
    size: int
    mtime_ns: int | None
    version: str | None
    content: str
    stored: str
    stored_version: str | None
    evidence: str

    def of(self, entry: Entry) -> bool:
        """Whether the source file still looks as it did when it was read."""
        return same_state(entry, self)


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A large file whose upload was begun.

    Attributes:
        stored: final path at the destination.
        token: what `Store.resume_upload` needs.
        parts: SHA-256 of each part that was sent, index → hex.
    """

    stored: str
    token: str
    parts: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that has ended; see `Journal.add_run`."""

    source: str
    destination: str
    started_ns: int
    files: int | None
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """The destination that a journal is about.

    Attributes:
        text: how people name it.
        identity: what the journal calls it.
    """

    text: str
    identity: str


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


def key(path: str) -> bytes:
    """The bytes by which paths are sorted everywhere in the engine."""
    return path.encode("utf-8", "surrogateescape")


def _path(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _delivery(row: Sequence[Any]) -> Delivery:
    path, size, mtime_ns, version, content, stored, stored_version, evidence = row
    name = _path(path)
    return Delivery(
        name,
        size,
        mtime_ns,
        version,
        content,
        name if stored == path else _path(stored),
        stored_version,
        evidence,
    )


def _fingerprint(size: Any, digests: Any, packed: Any) -> Fingerprint:
    chunks = tuple(packed[at : at + 16].hex() for at in range(0, len(packed), 16))
    return Fingerprint(size, json.loads(digests), chunks)


class Journal:
    """The state file.

    Args:
        path: the SQLite file, made if missing; None: in memory, for runs without state.
        seam: clock for group commits, and the lock that makes the journal usable from many threads.

    Raises:
        JournalError: the file is no journal, damaged, or of a newer photosync.
    """

    def __init__(self, path: Path | None, seam: Seam | None = None) -> None:
        self._seam = seam or Threads()
        self._lock = self._seam.monitor()
        self._writes = 0
        self._since = 0.0
        self._path = path or ":memory:"
        with self._guard():
            if path is not None:
                # Tokens of uploads are for nobody else; SQLite's other files get the mode of this one. What
                # is wrong with the path, it says itself.
                with suppress(OSError):
                    path.touch(mode=0o600)
            self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        try:
            with self._guard():
                self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise JournalError(
                f"{self._path} was written by a newer photosync (state format {found}, known is {VERSION}). "
                "Install a newer photosync, or name another folder in PHOTOSYNC_STATE_DIR."
            )
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master")}
        if tables and (found == 0 or "deliveries" not in tables):
            raise JournalError(
                f"{self._path} is no state of photosync's and belongs to another program. Move it away, or "
                "name another folder in PHOTOSYNC_STATE_DIR."
            )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        # Tables that came later are added to the state of an earlier photosync.
        version = f"PRAGMA user_version={VERSION};" if found == 0 else ""
        self._db.executescript(f"BEGIN;{version}{_SCHEMA}COMMIT;")
        if "kept" in tables and "spared" not in tables:
            self._db.execute(
                "INSERT INTO spared SELECT source, destination, path, stored, 0 FROM kept "
                "JOIN deliveries USING (source, destination, path)"
            )
        if not self._db.execute("SELECT 1 FROM pragma_table_info('spared') WHERE name = 'told'").fetchone():
            self._db.execute("ALTER TABLE spared ADD COLUMN told INTEGER NOT NULL DEFAULT 0")
        # Most runs have neither, and asking for them with every file would double what a file costs here.
        self._has_uploads = bool(self._db.execute("SELECT EXISTS (SELECT * FROM uploads)").fetchone()[0])
        self._has_withdrawn = bool(self._db.execute("SELECT EXISTS (SELECT * FROM withdrawn)").fetchone()[0])
        self._places = {
            str(identity): int(number)
            for number, identity in self._db.execute("SELECT id, identity FROM places")
        }

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """One thread at a time; the database's errors leave as `JournalError`."""
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                    what = "is no state of photosync's"
                else:
                    what = "cannot be used at the moment"
                raise JournalError(
                    f"{self._path} {what} ({error}). Look at the disk's free space, the folder's permissions "
                    "and whether another photosync runs, or name another folder in PHOTOSYNC_STATE_DIR."
                ) from error
            except sqlite3.ProgrammingError:
                raise
            except sqlite3.DatabaseError as error:
                raise JournalError(
                    f"{self._path} is damaged ({error}). Nothing at your destinations is affected: move the "
                    "file away and run again; photosync then proves every copy anew."
                ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.flush()
        with self._guard():
            self._db.close()

    def _write(self, statement: str, *rows: tuple[object, ...]) -> None:
        with self._guard():
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
                self._since = self._seam.monotonic()
            self._db.executemany(statement, rows)
            self._writes += len(rows) or 1
            if self._writes >= GROUP or self._seam.monotonic() - self._since >= INTERVAL:
                self._commit()

    def _commit(self) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._writes = 0

    def flush(self) -> None:
        """Makes everything written so far outlive this process."""
        with self._guard():
            self._commit()

    def _rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._guard():
            return self._db.execute(query, arguments).fetchall()

    def _stream(self, query: str, *arguments: object) -> Iterator[tuple[Any, ...]]:
        with self._guard():
            self._commit()
            cursor = self._db.execute(query, arguments)
        while True:
            with self._guard():
                rows = cursor.fetchmany(GROUP)
            if not rows:
                return
            yield from rows

    def _place(self, identity: str) -> int:
        # Nearly every call finds its place known; numbers never change, so that needs no lock.
        if (known := self._places.get(identity)) is not None:
            return known
        with self._lock:
            if identity not in self._places:
                number = len(self._places) + 1
                self._write("INSERT INTO places VALUES (?, ?)", (number, identity))
                self._places[identity] = number
            return self._places[identity]

    # facts

    def fact(self, name: str) -> str | None:
        """A remembered fact about a place, such as what its endpoint was found to check."""
        rows = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # hash cache

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
        return _fingerprint(entry.size, *rows[0])

    def set_content(self, place: str, entry: Entry, found: Fingerprint) -> None:
        self._write(
            "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self._place(place),
                key(entry.path),
                entry.size,
                entry.mtime_ns,
                entry.version,
                json.dumps(found.digests, separators=(",", ":")),
                bytes.fromhex("".join(found.chunks)),
            ),
        )

    # what photos say of themselves

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
        return {_path(path): str(why) for path, why in rows}

    def set_facts(self, place: str, entry: Entry, facts: Facts, suspicion: str | None = None) -> None:
        """Remembers what a file says of itself, and what is wrong with it, if anything is."""
        self._write(
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

    # deliveries

    def deliveries(self, source: str, destination: str) -> Iterator[Delivery]:
        """Everything delivered from one source to one destination, sorted by `key` of the path.

        Rows are fetched as they are consumed; nothing may be written to the journal meanwhile.
        """
        rows = self._stream(
            "SELECT path, size, mtime_ns, version, content, stored, stored_version, evidence "
            "FROM deliveries WHERE source = ? AND destination = ? ORDER BY path",
            self._place(source),
            self._place(destination),
        )
        yield from map(_delivery, rows)

    def delivery(self, source: str, destination: str, path: str) -> Delivery | None:
        """What was delivered of one source file."""
        rows = self._rows(
            "SELECT path, size, mtime_ns, version, content, stored, stored_version, evidence "
            "FROM deliveries WHERE source = ? AND destination = ? AND path = ?",
            self._place(source),
            self._place(destination),
            key(path),
        )
        return _delivery(rows[0]) if rows else None

    def set_delivery(self, source: str, destination: str, delivery: Delivery) -> None:
        """Remembers a copy that was proven; it is not in the destination's manifest yet."""
        place = self._place(destination)
        if self._has_withdrawn:
            self._write(
                "DELETE FROM withdrawn WHERE destination = ? AND stored = ?", (place, key(delivery.stored))
            )
        self._write(
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
        return frozenset(_path(stored) for (stored,) in rows)

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
        return {_path(stored): (size, version, content) for stored, size, version, content in rows}

    def stored_names(self, destination: str) -> list[str]:
        """Destination paths that differ from what the source calls the file."""
        rows = self._rows(
            "SELECT stored FROM deliveries WHERE destination = ? AND stored != path", self._place(destination)
        )
        return [_path(stored) for (stored,) in rows]

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
                found[_path(stored), content] = str(evidence), int(verified_ns)
        return found

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

    def unrecorded(self, destination: str) -> tuple[list[tuple[Delivery, Fingerprint]], list[str]]:
        """What the destination's manifest does not say yet: copies with their fingerprints, and paths
        that hold nothing any more."""
        place = self._place(destination)
        copies = []
        for row in self._rows(
            "SELECT d.path, d.size, d.mtime_ns, d.version, d.content, d.stored, d.stored_version, "
            "d.evidence, c.digests, c.chunks FROM deliveries d "
            "JOIN contents c ON c.place = d.source AND c.path = d.path "
            "WHERE d.destination = ? AND d.recorded = 0",
            place,
        ):
            delivery, found = _delivery(row[:8]), _fingerprint(row[1], row[8], row[9])
            if found.content == delivery.content:
                copies.append((delivery, found))
        gone = self._rows("SELECT stored FROM withdrawn WHERE destination = ?", place)
        return copies, [_path(stored) for (stored,) in gone]

    def set_recorded(self, destination: str, number: int, root: str) -> None:
        """The manifest now says everything that `unrecorded` told; its newest snapshot is this one."""
        place = self._place(destination)
        self._write("UPDATE deliveries SET recorded = 1 WHERE destination = ? AND recorded = 0", (place,))
        self._write("DELETE FROM withdrawn WHERE destination = ?", (place,))
        self.set_head(destination, number, root)
        self.flush()

    # freeing space at a source

    def kept(self, source: str, destination: str) -> frozenset[str]:
        """Source paths whose copies stay though the source does not have them any more: it was freed."""
        rows = self._rows(
            "SELECT path FROM kept WHERE source = ? AND destination = ?",
            self._place(source),
            self._place(destination),
        )
        return frozenset(_path(path) for (path,) in rows)

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
        return frozenset(_path(stored) for (stored,) in rows)

    def untold(self, destination: str) -> list[str]:
        """Of `spared`, from every source, what the destination itself does not say yet."""
        rows = self._rows(
            "SELECT DISTINCT stored FROM spared WHERE destination = ? AND told = 0", self._place(destination)
        )
        return [_path(stored) for (stored,) in rows]

    def set_told(self, destination: str, paths: Iterable[str]) -> None:
        place = self._place(destination)
        self._write(
            "UPDATE spared SET told = 1 WHERE destination = ? AND stored = ?",
            *((place, key(path)) for path in paths),
        )

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
        return [_path(path) for (path,) in rows]

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

    def settle(self) -> None:
        """Makes everything written so far outlive a power cut.

        In WAL mode with ``synchronous=NORMAL`` a commit survives a crash of this process; a checkpoint is
        what waits for the disk (SQLite, "Write-Ahead Logging", Performance Considerations).
        """
        self.flush()
        with self._guard():
            self._db.execute("PRAGMA wal_checkpoint(FULL)").fetchall()

    # uploads begun

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
        return PendingUpload(_path(stored), str(token), sent)

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
            (_path(path), str(token))
            for path, token in self._rows(
                "SELECT path, token FROM uploads WHERE destination = ?", self._place(destination)
            )
        ]

    # what a change feed told

    def cursor(self, place: str) -> str | None:
        rows = self._rows("SELECT cursor FROM cursors WHERE place = ?", self._place(place))
        return str(rows[0][0]) if rows else None

    def listed(self, place: str) -> Iterator[Entry]:
        """The listing that the cursor stands for."""
        rows = self._stream(
            "SELECT path, size, mtime_ns, version, digests FROM listed WHERE place = ? ORDER BY path",
            self._place(place),
        )
        for path, size, mtime_ns, version, digests in rows:
            yield Entry(_path(path), size, mtime_ns, json.loads(digests), version)

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

    # manifests

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

    # runs

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
