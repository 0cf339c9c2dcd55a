"""Reading a part of a file, however often the line breaks."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from photosync.engine.capabilities import Reader, Store
from photosync.engine.entry import Entry
from photosync.engine.errors import SourceChanged, Transient, classify

T = TypeVar("T")

BLOCK = 1 << 20
TRIES = 5
"""Breaks in a row without a single byte between them, after which there is no point in going on."""


def span(size: int, offset: int = 0, count: int | None = None) -> tuple[int, int]:
    """First byte and number of bytes of a part of a file.

    Args:
        size: of the file.
        offset: first byte wanted; negative: that many before the end.
        count: bytes wanted; None: all that follow.
    """
    first = max(0, size + offset) if offset < 0 else min(offset, size)
    rest = size - first
    return first, rest if count is None else min(count, rest)


def read(
    store: Store, entry: Entry, first: int, count: int, call: Callable[[Callable[[], Reader], str], Reader]
) -> Iterator[bytes]:
    """A part of a file, in blocks.

    Args:
        store: the place.
        entry: the file.
        first, count: from `span`.
        call: runs a call with retries.

    Raises:
        SourceChanged: the file ended early, or is another one since the line broke.
        PhotosyncError: it could not be read.
    """
    at, end, in_vain = first, first + count, 0
    while at < end:
        reader = call(lambda: store.open(entry.path, at), f"opening {entry.path}")  # noqa: B023
        try:
            now = reader.stat()
            if now is not None and (now.size, now.version) != (entry.size, entry.version):
                raise SourceChanged(f"{entry.path} changed while it was read")
            while at < end:
                data = reader.read(min(BLOCK, end - at))
                if not data:
                    raise SourceChanged(f"{entry.path} ended at byte {at}, before byte {end}")
                at, in_vain = at + len(data), 0
                yield data
        except SourceChanged:
            raise
        except Exception as error:
            found = classify(error, f"reading {entry.path}")
            in_vain += 1
            if not isinstance(found, Transient) or in_vain >= TRIES:
                raise found from error
        finally:
            reader.close()
