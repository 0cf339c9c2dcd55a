"""Damaged files put together again: good chunks from where they are, the others from a copy that has them.

Every chunk is proven by the digest that the manifest has of it before it is used, and the whole by its
content id before it is published: rot is never spread. The damaged file is kept in the trash.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import xxhash
from blake3 import blake3

from photosync.engine.actions import Copy, Plan
from photosync.engine.audit import Finding, Result
from photosync.engine.capabilities import Capabilities, Parts, Reader
from photosync.engine.entry import Entry
from photosync.engine.errors import Fatal, Permanent, PhotosyncError, Unsupported, classify
from photosync.engine.hashing import CHUNK
from photosync.engine.names import ANY, printable
from photosync.engine.nodes import ManifestEntry
from photosync.engine.readonly import ReadOnlyStore
from photosync.engine.replica import Replica, listed
from photosync.engine.workers import Seam


@dataclass(frozen=True, slots=True)
class Wound:
    """A file that has to be healed.

    Attributes:
        entry: what it should be.
        to: its path at the destination.
        stored: the damaged object there, or None if it is missing.
        bad: indexes of the chunks that are known to be damaged.
    """

    entry: ManifestEntry
    to: str
    stored: str | None
    bad: frozenset[int]


def plan_of(wounds: Iterable[Wound]) -> Plan:
    """What to do about wounds: the damaged object goes to the trash when its successor is complete."""
    return Plan(
        [
            Copy(
                listed(wound.entry),
                wound.to,
                "damaged" if wound.stored else "missing",
                displaces=wound.stored,
            )
            for wound in wounds
        ],
        0,
    )


def wound_of(entry: ManifestEntry, finding: Finding, name_there: str) -> Wound:
    """What an audit's finding, missing or differing, asks for.

    Args:
        entry: of the manifest.
        finding: about it.
        name_there: where it should lie.
    """
    if finding.result is Result.DIFFER and finding.stored is not None:
        return Wound(entry, finding.stored, finding.stored, frozenset(finding.chunks))
    return Wound(entry, name_there, None, frozenset())


class Healing(ReadOnlyStore):
    """The healed files, as a source to copy from.

    Args:
        wounds: what to heal.
        own: the destination itself: good chunks of a damaged file are taken from it, and whole files that it
            has under another name or in its trash.
        others: copies elsewhere.
        seam: locks.

    Attributes:
        fetched: bytes read from ``others``.
    """

    def __init__(self, wounds: Iterable[Wound], own: Replica, others: Sequence[Replica], seam: Seam) -> None:
        self.requests: Mapping[str, int] = {}
        self.capabilities = Capabilities(names=ANY, mtime_precision_ns=1, read_concurrency=2, writable=False)
        self.fetched = 0
        self._own = own
        self._others = others
        self._guard = seam.monitor()
        self._wounds = {wound.entry.path: wound for wound in wounds}

    def list_folder(self, path: str) -> list[Entry]:
        raise Unsupported("what is to be healed is known")

    def stat(self, path: str) -> Entry:
        wound = self._wounds.get(path)
        if wound is None:
            raise FileNotFoundError(2, "not to be healed", path)
        return listed(wound.entry)

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        raise Unsupported("what is to be healed is read file by file")

    def open(self, path: str, offset: int = 0) -> "HealedReader":
        """Opens a file from its beginning. Reading raises Permanent if a chunk is nowhere to be had."""
        if offset:
            raise Unsupported("what is healed is read from its beginning")
        if path not in self._wounds:
            raise FileNotFoundError(2, "not to be healed", path)
        return HealedReader(self, self._wounds[path])

    def sources(self, wound: Wound, index: int) -> Iterator["_Origin"]:
        """Where a chunk may be read, the nearest first."""
        if wound.stored is not None and index not in wound.bad:
            yield _Origin(self._own, wound.stored, near=True)
        for replica in (self._own, *self._others):
            for place in replica.places.get(wound.entry.content, ()):
                if replica.gone is None and not (replica is self._own and place == wound.stored):
                    yield _Origin(replica, place, near=replica is self._own)

    def count(self, origin: "_Origin", size: int) -> None:
        """Counts what was read."""
        if not origin.near:
            with self._guard:
                self.fetched += size

    @property
    def names(self) -> str:
        """Where it was looked, for people."""
        return " or ".join(replica.name for replica in (self._own, *self._others))


@dataclass(frozen=True, slots=True)
class _Origin:
    replica: Replica
    place: str
    near: bool


class HealedReader:
    """A file as it should be, chunk by chunk."""

    def __init__(self, healing: Healing, wound: Wound) -> None:
        self._healing = healing
        self._wound = wound
        self._digest = blake3()
        self._index = 0
        self._ready = memoryview(b"")
        self._open: dict[_Origin, tuple[Reader, int]] = {}

    def read(self, size: int, /) -> bytes:
        entry = self._wound.entry
        if not self._ready:
            if self._index == len(entry.chunks):
                if self._digest.hexdigest() != entry.content:
                    raise Permanent(
                        f"{printable(entry.path)}: every chunk has its digest, yet the whole has another "
                        "content id than the manifest names. Nothing was stored."
                    )
                return b""
            self._ready = memoryview(self._chunk(self._index))
            self._digest.update(self._ready)
            self._index += 1
        piece, self._ready = bytes(self._ready[:size]), self._ready[size:]
        return piece

    def _chunk(self, index: int) -> bytes:
        entry = self._wound.entry
        size = min(CHUNK, entry.size - index * CHUNK)
        failure: PhotosyncError | None = None
        for origin in self._healing.sources(self._wound, index):
            try:
                data = self._fetch(origin, index * CHUNK, size)
            except FileNotFoundError:
                continue
            except Exception as error:
                failure = classify(error, f"reading {printable(origin.place)} at {origin.replica.name}")
                if isinstance(failure, Fatal):
                    origin.replica.gone = failure
                continue
            if len(data) == size and xxhash.xxh3_128_hexdigest(data) == entry.chunks[index]:
                return data
        if failure is not None and not isinstance(failure, Fatal):
            raise failure
        raise Permanent(
            f"{printable(entry.path)}: chunk {index} of {len(entry.chunks)} is nowhere to be had: no copy at "
            f"{self._healing.names} has it whole. Name another copy with --from, or copy the file again."
        )

    def _fetch(self, origin: _Origin, offset: int, size: int) -> bytes:
        reader, at = self._open.pop(origin, (None, 0))
        if reader is not None and at != offset:
            reader.close()
            reader = None
        if reader is None:
            reader = self._opened(origin, offset)
        pieces: list[bytes] = []
        left = size
        try:
            while left and (piece := reader.read(left)):
                pieces.append(piece)
                left -= len(piece)
        except BaseException:
            reader.close()
            raise
        finally:
            self._healing.count(origin, size - left)
        at = offset + size - left
        if at == self._end(origin, offset // CHUNK):
            reader.close()
        else:
            self._open[origin] = reader, at
        return b"".join(pieces)

    def _opened(self, origin: _Origin, offset: int) -> Reader:
        """A reader for this chunk and those that follow and are to be had from nowhere nearer."""
        store = origin.replica.store
        if isinstance(store, Parts):
            return store.open_part(origin.place, offset, self._end(origin, offset // CHUNK) - offset)
        return store.open(origin.place, offset)

    def _end(self, origin: _Origin, index: int) -> int:
        """Where the chunks end that are to be had from one place in one go, this one among them."""
        wound = self._wound
        last = len(wound.entry.chunks)
        if wound.stored is not None:
            own = origin.near and origin.place == wound.stored
            rest = range(index + 1, last)
            last = next((each for each in rest if (each in wound.bad) is own), last)
        return min(last * CHUNK, wound.entry.size)

    def stat(self) -> Entry:
        return self._healing.stat(self._wound.entry.path)

    def close(self) -> None:
        for reader, _ in self._open.values():
            reader.close()
        self._open.clear()
