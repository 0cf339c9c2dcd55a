"""What the journal hands out, and how it is written in SQLite."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from photosync.engine.entry import Entry, same_state
from photosync.engine.hashing import Fingerprint


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A file that was proven to be at a destination.

    A struct rather than a dataclass: a million of them are made to find that there is nothing to do.

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


def key(path: str) -> bytes:
    """The bytes by which paths are sorted everywhere in the engine."""
    return path.encode("utf-8", "surrogateescape")


def path_of(data: bytes) -> str:
    """The path that `key` made those bytes of."""
    return data.decode("utf-8", "surrogateescape")


def delivery_of(row: Sequence[Any]) -> Delivery:
    """A row of the deliveries: path, size, mtime_ns, version, content, stored, stored_version, evidence."""
    path, size, mtime_ns, version, content, stored, stored_version, evidence = row
    name = path_of(path)
    return Delivery(
        name,
        size,
        mtime_ns,
        version,
        content,
        name if stored == path else path_of(stored),
        stored_version,
        evidence,
    )


class Delivered(Iterable[Delivery]):
    """Deliveries, sorted by `key` of the path; fetched when they are iterated over, anew each time.

    Args:
        fetch: their rows as `delivery_of` takes them, some at a time.
    """

    def __init__(self, fetch: Callable[[], Iterator[list[tuple[Any, ...]]]]) -> None:
        self.groups = fetch

    def __iter__(self) -> Iterator[Delivery]:
        return map(delivery_of, chain.from_iterable(self.groups()))


def fingerprint_of(size: Any, digests: Any, packed: Any) -> Fingerprint:
    """What was read: bytes, digests as JSON, chunk digests of 16 bytes each."""
    chunks = tuple(packed[at : at + 16].hex() for at in range(0, len(packed), 16))
    return Fingerprint(size, msgspec.json.decode(digests), chunks)
