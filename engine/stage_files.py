"""Staged copies on a local disk: plain files in a folder, whole under their name or ending in ``.part``."""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from blake3 import blake3

from photosync.engine.entry import Entry

PART = ".part"


class StageFiles:
    """The folder.

    Args:
        folder: made if missing, for this user alone; nobody else may be using it.

    Raises:
        OSError: from every method, what the disk says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "files"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._serial = 0

    def whole(self, entry: Entry) -> Path:
        """Where the copy of a file in exactly this state lies once it is whole."""
        state = f"{entry.size}/{entry.mtime_ns}/{entry.version}/{entry.path}"
        return self.folder / blake3(state.encode("utf-8", "surrogateescape")).hexdigest(16)

    def begin(self) -> Path:
        """A new file to write to, empty."""
        self._serial += 1
        path = self.folder / f"{self._serial}{PART}"
        path.write_bytes(b"")
        return path

    def append(self, path: Path, data: memoryview) -> None:
        """Adds bytes; who reads the file sees them at once."""
        with path.open("ab") as file:
            file.write(data)

    def complete(self, path: Path | None, entry: Entry) -> Path:
        """Gives a whole copy its name."""
        whole = self.whole(entry)
        if path is not None:
            path.replace(whole)
        return whole

    def holds(self, path: Path, size: int) -> bool:
        """Whether a copy of so many bytes is there."""
        try:
            return path.stat().st_size == size
        except OSError:
            return False

    def remove(self, path: Path) -> None:
        """Removes a copy. Its space is free at once: who has it open finds it empty."""
        with contextlib.suppress(OSError):
            os.truncate(path, 0)
            path.unlink()

    def sweep(self, keep: Collection[Path]) -> None:
        """Removes what earlier runs left behind, all but ``keep``."""
        for path in self._files():
            if path not in keep:
                self.remove(path)

    def make_durable(self) -> None:
        """Everything here, and the journal beside it, outlives a power cut from now on."""
        folder = self.folder.parent
        for path in [*self._files(), *(each for each in folder.iterdir() if each.is_file())]:
            with contextlib.suppress(FileNotFoundError):
                _fsync(path)
        for path in (self.folder, folder):
            _fsync(path)

    def discard(self) -> None:
        """Removes all copies."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> Iterator[Path]:
        with os.scandir(self.folder) as found:
            yield from [Path(each.path) for each in found]


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
