"""A destination seen through one of its snapshots: files that are proven by the manifest while they are read.

What a snapshot says of a file need not lie under its name any more: it may have been renamed, or moved to
the trash by a later ``sync``. So a file is looked for wherever bytes of its size may be its own, and believed
only when all of it was read and has the content id that the manifest names.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from blake3 import blake3

from photosync.engine import manifest
from photosync.engine.audit import Located
from photosync.engine.beside import waited
from photosync.engine.capabilities import Capabilities, Reader, Store
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import Fatal, Permanent, PhotosyncError, SourceChanged, Unsupported, classify
from photosync.engine.names import ANY, NameRules, decode, printable
from photosync.engine.nodes import ManifestEntry, NodeStore
from photosync.engine.readonly import ReadOnlyStore
from photosync.engine.scan import Listing
from photosync.engine.trash import name_before
from photosync.engine.workers import Seam


@dataclass(slots=True, eq=False)
class Replica:
    """One place that holds files of a library.

    Attributes:
        name: what people call it.
        store: the place.
        places: content id → paths at which it may lie, the likeliest first.
        bytes, seconds: read so far, and how long that took.
        gone: why it cannot be read any more, or None.
    """

    name: str
    store: Store
    places: Mapping[str, Sequence[str]]
    bytes: int = 0
    seconds: float = 0.0
    gone: Fatal | None = None

    @property
    def rate(self) -> float:
        """Bytes a second; a place that was not tried yet comes before all others."""
        return self.bytes / self.seconds if self.seconds else float("inf")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What lies at a destination, by where and by size.

    Attributes:
        listing: of the place.
        trash: files in its trash, as listed.
        root: of its newest manifest.
        rules: what names it can hold.
    """

    listing: Listing
    trash: Sequence[Entry]
    root: str
    rules: NameRules


def find_places(
    wanted: Iterable[ManifestEntry], holdings: Holdings, nodes: NodeStore
) -> dict[str, list[str]]:
    """Where each wanted content may lie, the likeliest path first.

    That is: under names that the newest manifest gives it, under its own name, in any spelling where the
    place respells names, in the trash under its own name, in the trash under any. What was replaced and waits
    to be moved to the trash is looked for as if it were there; and so is, last of all, what no entry of the
    newest manifest stands for: somebody may have renamed it, or, where names are shared, stored an older file
    of its name.

    Args:
        wanted: entries of any snapshot of the place.
        holdings: what is there now.
        nodes: hold the newest manifest.
    """
    held = list(manifest.entries(holdings.root, nodes))
    located = Located(holdings.listing, held, holdings.rules)
    by_name: dict[str, list[Entry]] = {}
    by_size: dict[int, list[Entry]] = {}
    gone = [(name_before(each.path), each) for each in holdings.trash]
    gone += [(name, each) for each in holdings.listing.entries if (name := waited(each.path)) is not None]
    for name, each in sorted(gone, key=lambda pair: pair[1].path, reverse=True):
        by_name.setdefault(decode(name), []).append(each)
        by_size.setdefault(each.size, []).append(each)
    entries = list(wanted)
    contents = {entry.content for entry in entries}
    here: dict[str, list[Entry | None]] = {}
    for entry in held:
        if entry.content in contents:
            here.setdefault(entry.content, []).append(located.find(entry))
    for each in _strange(holdings.listing, held, located):
        by_size.setdefault(each.size, []).append(each)
    found: dict[str, dict[str, None]] = {}
    for entry in entries:
        candidates = [*here.get(entry.content, ()), located.find(entry), *located.alike(entry)]
        candidates += [*by_name.get(entry.path, ()), *by_size.get(entry.size, ())]
        places = found.setdefault(entry.content, {})
        places.update((each.path, None) for each in candidates if each and each.size == entry.size)
    return {content: list(places) for content, places in found.items()}


def _strange(listing: Listing, held: Iterable[ManifestEntry], located: Located) -> Iterable[Entry]:
    """Files that no entry of the newest manifest stands for."""
    found = {each.path: each for each in listing.entries}
    for entry in held:
        there = located.find(entry)
        if there is not None and there.size == entry.size:
            found.pop(there.path, None)
    return found.values()


class ManifestSource(ReadOnlyStore):
    """Files of a snapshot under their original names, wherever they lie, proven while they are read.

    Args:
        entries: of the snapshot, those that are wanted.
        replicas: places to read from; each file comes from the one that has been fastest so far.
        seam: clock by which that is told.
    """

    def __init__(self, entries: Iterable[ManifestEntry], replicas: Sequence[Replica], seam: Seam) -> None:
        self.requests: Mapping[str, int] = {}
        self.capabilities = Capabilities(
            names=ANY,
            mtime_precision_ns=1,
            read_concurrency=max(each.store.capabilities.read_concurrency for each in replicas),
            slow_read=any(each.store.capabilities.slow_read for each in replicas),
            writable=False,
        )
        self._replicas = replicas
        self._seam = seam
        self._guard = seam.monitor()
        self._entries = {entry.path: entry for entry in entries}
        self._folders: dict[str, dict[str, Entry]] = {"": {}}
        self._wrong: set[tuple[str, str, str]] = set()
        for entry in self._entries.values():
            self._enter(entry)

    def _enter(self, entry: ManifestEntry) -> None:
        parent = entry.path.rpartition("/")[0]
        self._folder(parent)[entry.path] = listed(entry)

    def _folder(self, path: str) -> dict[str, Entry]:
        known = self._folders.get(path)
        if known is None:
            known = self._folders[path] = {}
            self._folder(path.rpartition("/")[0])[path] = Entry(path, kind=Kind.FOLDER)
        return known

    def list_folder(self, path: str) -> list[Entry]:
        try:
            return list(self._folders[path].values())
        except KeyError:
            raise FileNotFoundError(2, "not in the snapshot", path) from None

    def stat(self, path: str) -> Entry:
        try:
            return listed(self._entries[path])
        except KeyError:
            raise FileNotFoundError(2, "not in the snapshot", path) from None

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        raise Unsupported("a snapshot is read file by file")

    def open(self, path: str, offset: int = 0) -> "ProvenReader":
        """Opens a file from its beginning.

        Raises:
            Permanent: no place has it with the bytes that the manifest names.
            Transient: a place that may have it did not answer.
            Fatal: no place answers any more.
        """
        if offset:
            raise Unsupported("what is proven by its whole is read from its beginning")
        entry = self._entries.get(path)
        if entry is None:
            raise FileNotFoundError(2, "not in the snapshot", path)
        failure: PhotosyncError | None = None
        for replica, place in self._candidates(entry):
            try:
                return ProvenReader(self, entry, replica, place, replica.store.open(place))
            except FileNotFoundError:
                self.reject(entry, replica, place)
            except Exception as error:
                failure = self.failed(replica, place, error)
        self._require_one()
        if failure is not None:
            raise failure
        names = " or ".join(replica.name for replica in self._replicas)
        raise Permanent(
            f"{printable(path)} is not to be had any more: nothing at {names} has the bytes that the "
            f"manifest names (content id {entry.content[:16]}). Is there another copy? Name it with --from."
        )

    def _candidates(self, entry: ManifestEntry) -> Iterator[tuple[Replica, str]]:
        with self._guard:
            order = sorted(self._replicas, key=lambda replica: -replica.rate)
        for replica in order:
            for place in replica.places.get(entry.content, ()):
                if replica.gone is None and (entry.content, replica.name, place) not in self._wrong:
                    yield replica, place

    def _require_one(self) -> None:
        """Raises Fatal if no place can be read any more."""
        gone = [replica.gone for replica in self._replicas if replica.gone is not None]
        if len(gone) == len(self._replicas):
            raise gone[0]

    def failed(self, replica: Replica, place: str, error: Exception) -> PhotosyncError:
        """What to raise when a place could not be read: as long as others are left, try again there.

        Raises:
            Fatal: it was the last one.
        """
        found = classify(error, f"reading {printable(place)} at {replica.name}")
        if isinstance(found, Fatal):
            replica.gone = found
            self._require_one()
        return SourceChanged(str(found)) if len(self._replicas) > 1 else found

    def reject(self, entry: ManifestEntry, replica: Replica, place: str) -> None:
        """Notes that a path does not have an entry's bytes."""
        self._wrong.add((entry.content, replica.name, place))

    def took(self, replica: Replica, size: int, seconds: float) -> None:
        """Counts what was read."""
        with self._guard:
            replica.bytes += size
            replica.seconds += seconds

    def monotonic(self) -> float:
        return self._seam.monotonic()


class ProvenReader:
    """An open file whose end is given only if all of it is what the manifest says."""

    def __init__(
        self, source: ManifestSource, entry: ManifestEntry, replica: Replica, place: str, inner: Reader
    ) -> None:
        self._source = source
        self._entry = entry
        self._replica = replica
        self._place = place
        self._inner = inner
        self._digest = blake3()

    def read(self, size: int, /) -> bytes:
        """Raises SourceChanged at the end of other bytes than the manifest names."""
        began = self._source.monotonic()
        try:
            data = self._inner.read(size)
        except Exception as error:
            raise self._source.failed(self._replica, self._place, error) from error
        self._source.took(self._replica, len(data), self._source.monotonic() - began)
        self._digest.update(data)
        if not data and self._digest.hexdigest() != self._entry.content:
            self._source.reject(self._entry, self._replica, self._place)
            raise SourceChanged(
                f"{printable(self._place)} at {self._replica.name} does not have the bytes that the manifest "
                f"names for {printable(self._entry.path)}"
            )
        return data

    def stat(self) -> Entry:
        return listed(self._entry)

    def close(self) -> None:
        self._inner.close()


def listed(entry: ManifestEntry) -> Entry:
    """What a listing shows of an entry; its version is its content id."""
    # A manifest has no other way of saying that a service kept no time.
    return Entry(entry.path, entry.size, entry.mtime_ns or None, version=entry.content)
