"""Power cuts for a stage and its journal, which lie on a real disk: what was not synced may be lost."""

import contextlib
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from photosync.engine import stage_files

_WAL_SALT = slice(16, 24)


class StagePower:
    """Notes what is synced in a folder, so that `cut` knows what must be there afterwards.

    Args:
        folder: of the stage; ``files`` and ``journal.sqlite`` are in it.
    """

    def __init__(self, folder: Path) -> None:
        self._files, self._log = folder / "files", folder / "journal.sqlite-wal"
        self._bytes: dict[int, bytes] = {}
        self._names: dict[str, int] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        with patch.object(stage_files, "_fsync", self._fsync):
            yield

    def _fsync(self, path: Path) -> None:
        if path == self._files:
            self._names = {each.name: each.inode() for each in os.scandir(path)}
        elif path.is_file():
            self._bytes[path.stat().st_ino] = path.read_bytes()

    def cut(self, dice: random.Random) -> None:
        """The power fails; nothing has the files open."""
        there = {path.name: path for path in self._files.glob("*")}
        for name, inode in self._names.items():
            if name not in there and dice.random() < 0.5:
                # Its removal was not synced.
                (self._files / name).write_bytes(self._bytes.get(inode, b""))
        for name, path in there.items():
            inode, data = path.stat().st_ino, path.read_bytes()
            if name not in self._names and dice.random() < 0.5:
                path.unlink()
            elif self._bytes.get(inode) != data:
                some = data[: dice.randint(0, len(data))]
                path.write_bytes(dice.choice([data, some, bytes(len(data))]))

    def log_kept(self, dice: random.Random, log: bytes) -> bytes:
        """What is left of the journal's log.

        What was synced is, unless SQLite has begun it anew since, which it does only after it has copied all
        of it into the database, and synced that (sqlite.org/wal.html).
        """
        synced = next((each for each in self._bytes.values() if _is_log(each)), b"")
        least = len(synced) if synced[_WAL_SALT] == log[_WAL_SALT] else 0
        return log[: dice.randint(min(least, len(log)), len(log))]


def _is_log(data: bytes) -> bool:
    return len(data) >= 32 and struct.unpack(">I", data[:4])[0] in (0x377F0682, 0x377F0683)
