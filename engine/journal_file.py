"""The journal's SQLite file: opened, guarded against misuse, written in groups."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

from photosync.engine.errors import Fatal
from photosync.engine.workers import Monitor, Seam, Threads

Write: TypeAlias = tuple[str, tuple[object, ...]]
"""A statement and the row for it."""
VERSION = 1
GROUP = 500
INTERVAL = 0.5


class JournalError(Fatal):
    """The state file cannot be used; the text says what to do."""


class _Guard:
    """See `JournalFile._guard`. No generator: it is entered several times for every file."""

    __slots__ = ("_lock", "_path")

    def __init__(self, lock: Monitor, path: Path | str) -> None:
        self._lock, self._path = lock, path

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._lock.__exit__(kind, error, trace)
        if not isinstance(error, sqlite3.DatabaseError) or isinstance(error, sqlite3.ProgrammingError):
            return
        if not isinstance(error, sqlite3.OperationalError):
            raise JournalError(
                f"{self._path} is damaged ({error}). Nothing at your destinations is affected: move the "
                "file away and run again; photosync then proves every copy anew."
            ) from error
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            what = "is no state of photosync's"
        else:
            what = "cannot be used at the moment"
        raise JournalError(
            f"{self._path} {what} ({error}). Look at the disk's free space, the folder's permissions "
            "and whether another photosync runs, or name another folder in PHOTOSYNC_STATE_DIR."
        ) from error


class JournalFile:
    """The SQLite file of a journal, usable from many threads.

    Attributes:
        SCHEMA: statements that make the tables which are missing.

    Args:
        path: the SQLite file, made if missing; None: in memory, for runs without state.
        seam: clock for group commits, and the lock that makes the journal usable from many threads.

    Raises:
        JournalError: the file is no journal, damaged, or of a newer photosync.
    """

    SCHEMA: ClassVar[str]

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
        self._db.executescript(f"BEGIN;{version}{self.SCHEMA}COMMIT;")
        self._places = {
            str(identity): int(number)
            for number, identity in self._db.execute("SELECT id, identity FROM places")
        }
        self._opened(frozenset(tables))

    def _opened(self, tables: frozenset[str]) -> None:
        """What parts of the journal do once their tables are there.

        Args:
            tables: those that were there before; empty for a new file.
        """

    def _guard(self) -> "_Guard":
        """One thread at a time; the database's errors leave as `JournalError`."""
        return _Guard(self._lock, self._path)

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
        self._write_together(*((statement, row) for row in rows))

    def _write_together(self, *writes: Write) -> None:
        """Statements with a row for each, in one commit."""
        with self._guard():
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
                self._since = self._seam.monotonic()
            for statement, row in writes:
                self._db.execute(statement, row)
            self._writes += len(writes) or 1
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
        for rows in self._groups(query, *arguments):
            yield from rows

    def _groups(self, query: str, *arguments: object) -> Iterator[list[tuple[Any, ...]]]:
        with self._guard():
            self._commit()
            cursor = self._db.execute(query, arguments)
        while True:
            with self._guard():
                rows = cursor.fetchmany(GROUP)
            if not rows:
                return
            yield rows

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

    def settle(self) -> None:
        """Makes everything written so far outlive a power cut.

        In WAL mode with ``synchronous=NORMAL`` a commit survives a crash of this process; a checkpoint is
        what waits for the disk (SQLite, "Write-Ahead Logging", Performance Considerations).
        """
        self.flush()
        with self._guard():
            self._db.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
