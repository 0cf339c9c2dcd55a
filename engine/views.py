"""Parts of a file, for those who look at its structure: bounded, whoever made the file.

Photos come from anywhere, so nothing that looks into one may read much, take long or fail loudly. All that
look do so through a `View`, which gives what it has and nothing where it has none.
"""

from collections.abc import Callable
from typing import Protocol

from photosync.engine.capabilities import Buffer

HEAD = 256 << 10
TAIL = 64 << 10
INDEX = 4 << 20
"""Bytes of the longest index of a film that is looked at."""
_BOXES = 4096
_INDEXES = (b"moov", b"meta")
_FILMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_HEADER = 16
END_OF_IMAGE = b"\xff\xd9"


class Malformed(Exception):
    """The file is not what it says it is, or what is asked for lies outside of the view."""


class View(Protocol):
    """Some of a file's bytes.

    Attributes:
        size: of the whole file, bytes.
    """

    @property
    def size(self) -> int: ...

    def at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset`` on; fewer, or none, where the view has no more."""
        ...


class Passed(View, Protocol):
    """A view of a file all of whose bytes went by.

    Attributes:
        blank: every byte was zero.
        last_end: offset of the last JPEG end marker, or -1.
    """

    @property
    def blank(self) -> bool: ...
    @property
    def last_end(self) -> int: ...


def need(view: View, offset: int, size: int) -> bytes:
    """Exactly ``size`` bytes.

    Raises:
        Malformed: they are not there.
    """
    if offset < 0 or size < 0:
        raise Malformed
    data = view.at(offset, size)
    if len(data) != size:
        raise Malformed
    return data


class Memory:
    """A file that is in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def at(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]

    @property
    def blank(self) -> bool:
        return self._data[:1] == b"\0" and self._data.count(0) == self.size

    @property
    def last_end(self) -> int:
        return self._data.rfind(END_OF_IMAGE)


class _Want:
    """A range of a stream that is to be kept."""

    __slots__ = ("data", "header", "offset", "size")

    def __init__(self, offset: int, size: int, data: bytes, header: bool) -> None:
        self.offset, self.size, self.data, self.header = offset, size, bytearray(data[:size]), header

    def take(self, start: int, block: memoryview) -> bool:
        """Takes what a block has of it; whether it is complete."""
        begin = self.offset + len(self.data) - start
        if 0 <= begin < len(block):
            self.data += block[begin : begin + self.size - len(self.data)]
        return len(self.data) == self.size


class Glimpse:
    """What is kept of a file while it streams by: its head and tail, and the index of a film.

    At most about `HEAD` + `TAIL` + `INDEX` bytes.

    Args:
        size: bytes that the file is said to have.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.blank = True
        self.last_end = -1
        self._at = 0
        self._head = bytearray()
        self._tail = bytearray()
        self._last = b""
        self._kept: dict[int, bytes] = {}
        self._room = INDEX
        self._wanted: list[_Want] = []

    def feed(self, data: Buffer) -> None:
        """Takes the next bytes."""
        block = memoryview(data)
        start = self._at
        if not start:
            self._begin(bytes(block[:12]))
        if self.blank:
            self.blank = bytes(block).count(0) == len(block)
        if len(self._head) < HEAD:
            self._head += block[: HEAD - len(self._head)]
        if (tail := max(0, self.size - TAIL)) < start + len(block):
            self._tail += block[max(0, tail - start) :]
            del self._tail[:-TAIL]
        if self._head[:2] == b"\xff\xd8":
            self._ends(start, bytes(block))
        if self._wanted:
            self._keep(start, block)
        self._at += len(block)

    def _begin(self, first: bytes) -> None:
        if first[4:8] in _FILMS:
            self._wanted.append(_Want(0, _HEADER, b"", header=True))

    def _ends(self, start: int, block: bytes) -> None:
        found = block.rfind(END_OF_IMAGE)
        if found >= 0:
            self.last_end = start + found
        elif self._last + block[:1] == END_OF_IMAGE:
            self.last_end = start - 1
        self._last = block[-1:]

    def _keep(self, start: int, block: memoryview) -> None:
        todo, waiting = self._wanted, []
        while todo:
            want = todo.pop()
            if not want.take(start, block):
                waiting.append(want)
                continue
            self._kept[want.offset] = bytes(want.data)
            if want.header and len(self._kept) < _BOXES:
                todo += self._after(want.offset, bytes(want.data))
        self._wanted = waiting

    def _after(self, offset: int, header: bytes) -> list[_Want]:
        """What to keep once the header of a box is known: the next one, and the box if it is an index."""
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size == 0:
            size = self.size - offset
        if size < 8:
            return []
        wants = []
        if header[4:8] in _INDEXES and _HEADER < size <= self._room:
            self._room -= size
            wants.append(_Want(offset, size, header, header=False))
        if offset + size + _HEADER <= self.size:
            wants.append(_Want(offset + size, _HEADER, header[size:], header=True))
        return wants

    def at(self, offset: int, size: int) -> bytes:
        if offset + size <= len(self._head) or self._at <= HEAD:
            return bytes(self._head[offset : offset + size])
        begin = self._at - len(self._tail)
        if offset >= begin:
            return bytes(self._tail[offset - begin : offset - begin + size])
        for start, data in self._kept.items():
            if start <= offset and offset + size <= start + len(data):
                return data[offset - start : offset - start + size]
        return b""


class Window:
    """A file at a place, of which little is read.

    Args:
        size: of the file, bytes.
        read: gives up to so many bytes from an offset on.
        most: bytes to read altogether.
    """

    STEP = 64 << 10

    def __init__(self, size: int, read: Callable[[int, int], bytes], most: int = INDEX + HEAD) -> None:
        self.size = size
        self._read = read
        self._left = most
        self._kept: list[tuple[int, bytes]] = []

    def at(self, offset: int, size: int) -> bytes:
        for start, data in self._kept:
            if start <= offset and min(offset + size, self.size) <= start + len(data):
                return data[offset - start : offset - start + size]
        size = min(size, self.size - offset)
        if size <= 0 or size > self._left:
            return b""
        data = self._read(offset, min(max(size, self.STEP), self._left, self.size - offset))
        self._left -= max(len(data), 1)
        self._kept.append((offset, data))
        return data[:size]
