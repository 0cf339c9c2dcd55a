"""File contents as the Dropbox emulator keeps them, and Dropbox's content hash."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 4 * 1024 * 1024
"""Bytes in a block of the content hash, and the alignment of concurrent upload sessions."""

SPILL = 8 * 1024 * 1024
"""Contents of more bytes than this live in a file."""

_READ = 256 * 1024


def content_hash(data: bytes | memoryview) -> str:
    """The content hash of `data`, as in https://www.dropbox.com/developers/reference/content-hash."""
    view = memoryview(data)
    blocks = (view[start : start + BLOCK] for start in range(0, len(view), BLOCK))
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()


class Content:
    """Bytes that grow by writes at any offset, in memory at first and in an unnamed file later.

    Reads may run in parallel; writes need the caller's lock.
    """

    def __init__(self, data: bytes | memoryview = b"") -> None:
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self.size = 0
        self.write(0, data)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes `data` at `offset` bytes; a gap before it reads as zeros."""
        end = offset + len(data)
        if self._file is None and end > SPILL:
            self._file = tempfile.TemporaryFile(prefix="dropbox-emulator-", buffering=0)  # noqa: SIM115
            _write_all(self._file.fileno(), self._memory, 0)
            self._memory = bytearray()
        if self._file is not None:
            _write_all(self._file.fileno(), data, offset)
        else:
            self._memory.extend(bytes(max(0, offset - len(self._memory))))
            self._memory[offset:end] = data
        self.size = max(self.size, end)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` up to `end`, which defaults to all."""
        end = self.size if end is None else end
        if self._file is None:
            return bytes(self._memory[start:end])
        pieces = []
        while start < end and (piece := os.pread(self._file.fileno(), end - start, start)):
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The same bytes, in pieces that suit a socket."""
        for at in range(start, end, _READ):
            yield self.read(at, min(end, at + _READ))

    def hash(self) -> str:
        """The content hash of everything written so far."""
        if self.size <= BLOCK:
            return content_hash(self.read())
        digests = (
            hashlib.sha256(self.read(at, min(self.size, at + BLOCK))).digest()
            for at in range(0, self.size, BLOCK)
        )
        return hashlib.sha256(b"".join(digests)).hexdigest()


def _write_all(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
