"""A store that is only ever read: phones, and what stands for files kept elsewhere."""

from collections.abc import Iterator, Sequence

from photosync.engine.capabilities import Blob, Changes, Stored, Upload, Usage
from photosync.engine.entry import Entry
from photosync.engine.errors import ReadOnly, Unsupported


class ReadOnlyStore:
    """The half of `photosync.engine.capabilities.Store` that a place to read from does not have."""

    def _read_only(self) -> ReadOnly:
        """What is said to whoever tries to write."""
        return ReadOnly("this place is only read from; choose another destination.")

    def list_tree(self) -> Iterator[Entry]:
        raise Unsupported("this place is listed folder by folder")

    def changes(self, cursor: str | None) -> Changes:
        raise Unsupported("this place keeps no record of changes")

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        raise self._read_only()

    def start_upload(self, path: str, size: int, mtime_ns: int | None) -> Upload:
        raise self._read_only()

    def resume_upload(self, token: str) -> Upload:
        raise self._read_only()

    def move(self, path: str, to: str) -> Stored:
        raise self._read_only()

    def copy(self, path: str, to: str) -> Stored:
        raise self._read_only()

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        raise self._read_only()

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        raise self._read_only()

    def delete(self, path: str) -> None:
        raise self._read_only()

    def about(self) -> Usage:
        return Usage(None, None, None)

    def close(self) -> None:
        """Nothing is held."""
