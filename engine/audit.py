"""Looking without touching: two places against each other, or a destination against its manifest."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from photosync.engine import verify
from photosync.engine.entry import Entry
from photosync.engine.errors import Fatal, PhotosyncError, Transient, classify
from photosync.engine.hashing import CHUNK, Fingerprint, worthwhile
from photosync.engine.journal import Journal
from photosync.engine.names import NameRules, decode
from photosync.engine.nodes import ManifestEntry
from photosync.engine.scan import Listing
from photosync.engine.source import Source, SourceGone
from photosync.engine.target import Target
from photosync.engine.workers import Workers, each


class Result(StrEnum):
    """What was found of one file."""

    MATCH = "match"
    DIFFER = "differ"
    """It has other bytes."""
    MISSING = "missing"
    """The destination lacks it."""
    EXTRA = "extra"
    """Only the destination has it."""
    UNREADABLE = "unreadable"
    """It could not be looked at, so nothing is known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One file of an audit.

    Attributes:
        path: logical path.
        stored: path at the destination, or None.
        result: see `Result`.
        evidence: how equality was proven, else "none".
        bytes: size.
        detail: what is wrong, for people.
        chunks: indexes of the 4 MiB chunks that differ, where they are known.
        transient: another try may get further.
        content: content id that the file should have, or "" where no manifest says.
    """

    path: str
    stored: str | None
    result: Result
    evidence: str = verify.NONE
    bytes: int = 0
    detail: str = ""
    chunks: tuple[int, ...] = ()
    transient: bool = False
    content: str = ""


_Item: TypeAlias = tuple[str, Entry | None, Fingerprint | Entry]
"""Logical path, what stands at the destination, what it ought to be."""


def by_logical_path(listing: Listing, stored: Mapping[str, str]) -> tuple[dict[str, Entry], list[Entry]]:
    """A destination's files by the path that they have at the source, and those left over.

    Args:
        listing: of the destination.
        stored: stored path → logical path, where that is known; others are decoded.
    """
    found = {stored[entry.path]: entry for entry in listing.entries if entry.path in stored}
    others = [entry for entry in listing.entries if entry.path not in stored]
    return found, [entry for entry in others if found.setdefault(decode(entry.path), entry) is not entry]


class Located:
    """Finds the objects that a manifest's entries stand for.

    By what their names decode to, since only a listing tells which of two names that a destination takes for
    one had to be escaped. Where a place composes characters, or decomposes them as HFS+ does, an object is
    found however its name is spelled there, unless another entry has that name for its own.

    Args:
        listing: of the destination.
        entries: all of the manifest.
        rules: what names it can hold.
    """

    def __init__(self, listing: Listing, entries: Iterable[ManifestEntry], rules: NameRules) -> None:
        self._plain = {entry.path: entry for entry in listing.entries}
        self._logical: dict[str, list[Entry]] = {}
        for entry in listing.entries:
            self._logical.setdefault(decode(entry.path), []).append(entry)
        self._composed: dict[str, Entry] = {}
        self._normal: dict[str, list[Entry]] = {}
        if rules.fold_unicode:
            for entry in listing.entries:
                # One of two twins has its accents escaped.
                if not (path := decode(entry.path)).isascii():
                    self._normal.setdefault(_normal(path), []).append(entry)
            for each in entries:
                if not each.path.isascii() and each.stored is None and each.path not in self._logical:
                    self._compose(each.path)

    def _compose(self, path: str) -> None:
        for entry in self._normal.get(_normal(path), ()):
            free = self._logical[decode(entry.path)]
            if "%" not in entry.path and entry in free:
                self._composed[path] = entry
                free.remove(entry)
                return

    def alike(self, entry: ManifestEntry) -> Sequence[Entry]:
        """What may have the entry's name where the place respells names; only its bytes tell."""
        return self._normal.get(_normal(entry.path), ())

    def find(self, entry: ManifestEntry) -> Entry | None:
        """What has the entry's name."""
        if entry.stored:
            return self._plain.get(entry.stored)
        exact = self._logical.get(entry.path)
        return exact[0] if exact else self._composed.get(entry.path)


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def check(
    source: Source,
    target: Target,
    journal: Journal,
    identities: tuple[str, str],
    listings: tuple[Listing, Listing],
    workers: Workers,
    *,
    one_way: bool,
    reread: bool,
) -> Iterator[Finding]:
    """Compares two places by content.

    Args:
        source, target: the places.
        journal: knows names and hashes of earlier runs.
        identities: what the journal calls source and destination.
        listings: of both.
        workers: scope for the threads.
        one_way: files that only the destination has do not count.
        reread: read every source file although its hash is known.
    """
    delivered = list(journal.deliveries(*identities))
    there, over = by_logical_path(listings[1], {each.stored: each.path for each in delivered})
    # With a layout, files of equal content may share one copy.
    here = {entry.path: entry for entry in listings[1].entries}
    for delivery in delivered:
        if delivery.stored in here:
            there.setdefault(delivery.path, here[delivery.stored])
    wanted = target.store.capabilities.hashes

    def one(item: _Item) -> Finding:
        path, existing, entry = item
        assert isinstance(entry, Entry)
        if existing is None:
            return Finding(path, None, Result.MISSING, bytes=entry.size, detail="missing at the destination")
        if existing.size != entry.size:
            detail = f"{entry.size} bytes at the source, {existing.size} at the destination"
            return Finding(path, existing.path, Result.DIFFER, bytes=entry.size, detail=detail)
        try:
            found = None if reread else journal.content(identities[0], entry)
            if found is None:
                found, _, _ = source.hash(entry, worthwhile(wanted, existing.digests))
            evidence = _evidence(target, existing, found)
        except Fatal:
            raise
        except SourceGone as error:
            raise error.__cause__ or error from None
        except Exception as error:
            return _unreadable(path, existing.path, entry.size, classify(error, f"reading {path}"))
        if evidence is None:
            return Finding(path, existing.path, Result.DIFFER, bytes=entry.size, detail="other bytes")
        return Finding(path, existing.path, Result.MATCH, evidence, entry.size)

    items: list[_Item] = [(entry.path, there.pop(entry.path, None), entry) for entry in listings[0].entries]
    threads = min(source.store.capabilities.read_concurrency, target.store.capabilities.read_concurrency)
    yield from each(workers, threads, items, one, "audit")
    if not one_way:
        for entry in [*there.values(), *over]:
            detail = "only at the destination"
            yield Finding(decode(entry.path), entry.path, Result.EXTRA, bytes=entry.size, detail=detail)


def audit(
    target: Target,
    destination: str,
    journal: Journal,
    manifest: Iterable[ManifestEntry],
    listing: Listing,
    workers: Workers,
    *,
    deep: bool,
    due: Callable[[ManifestEntry], bool] = lambda _entry: True,
) -> Iterator[Finding]:
    """Compares a destination with its manifest.

    Args:
        target: the place; built with `Verify.REREAD` for ``deep``.
        destination: what the journal calls it.
        journal: knows hashes beside those in the manifest.
        manifest: the entries.
        listing: of the place.
        workers: scope for the threads.
        deep: read everything back; else a hash that the service itself reports is enough.
        due: which files to look at; of the others only those that are missing are told.
    """
    entries = list(manifest)
    located = Located(listing, entries, target.store.capabilities.names)
    over = {entry.path: entry for entry in listing.entries}

    def one(item: _Item) -> Finding:
        path, existing, found = item
        assert isinstance(found, Fingerprint)
        if existing is None:
            return Finding(path, None, Result.MISSING, bytes=found.size, detail="missing at the destination")
        try:
            evidence = None if deep else _listed(target, existing, found)
            if evidence is not None:
                return _proven(path, existing, evidence, found)
            back = target.call(
                lambda: verify.reread(target.store.open(existing.path), check=workers.check),
                f"reading {existing.path}",
            )
        except Fatal:
            raise
        except FileNotFoundError:
            return Finding(path, None, Result.MISSING, bytes=found.size, detail="gone since it was listed")
        except Exception as error:
            return _unreadable(path, existing.path, found.size, classify(error, f"reading {existing.path}"))
        if back.content == found.content:
            return _proven(path, existing, verify.REREAD, found)
        return _damage(path, existing.path, found, back)

    items: list[_Item] = []
    for entry in entries:
        stored = located.find(entry)
        if stored is not None:
            over.pop(stored.path, None)
            if not due(entry):
                continue
        items.append((entry.path, stored, _fingerprint(entry, journal, destination, stored)))
    yield from each(workers, target.store.capabilities.read_concurrency, items, one, "audit")
    for entry_ in over.values():
        detail = "not in the manifest"
        yield Finding(decode(entry_.path), entry_.path, Result.EXTRA, bytes=entry_.size, detail=detail)


def _proven(path: str, existing: Entry, evidence: str, found: Fingerprint) -> Finding:
    return Finding(path, existing.path, Result.MATCH, evidence, found.size, content=found.content)


def _fingerprint(
    entry: ManifestEntry, journal: Journal, destination: str, stored: Entry | None
) -> Fingerprint:
    digests = {"blake3": entry.content, "sha256": entry.sha256}
    if stored is not None and entry.size > CHUNK:
        digests = {**journal.digests(destination, stored.path, entry.content), **digests}
    return Fingerprint(entry.size, digests, entry.chunks)


def _listed(target: Target, existing: Entry, found: Fingerprint) -> str | None:
    """Evidence from hashes that the service reports; None if it reports none, or one that differs."""
    can = target.store.capabilities
    if can.hashes and not can.hashes_listed:
        existing = target.look(existing.path) or existing
    if existing.size != found.size:
        return None
    try:
        name = verify.agreed(existing.digests, found)
    except PhotosyncError:
        return None
    return f"server-hash:{name}" if name else None


def _evidence(target: Target, existing: Entry, found: Fingerprint) -> str | None:
    can = target.store.capabilities
    if can.hashes and not can.hashes_listed:
        existing = target.look(existing.path) or existing
    return target.same(existing, found)


def _damage(path: str, stored: str, found: Fingerprint, back: Fingerprint) -> Finding:
    """Tells which chunks differ, and whether the end is missing."""
    pairs = zip(found.chunks, back.chunks, strict=False)
    chunks = [index for index, (ours, theirs) in enumerate(pairs) if ours != theirs]
    chunks += range(len(back.chunks), len(found.chunks))
    if back.size < found.size:
        detail = f"cut short: {back.size} of {found.size} bytes"
    elif back.size > found.size:
        detail = f"too long: {back.size} bytes instead of {found.size}"
    else:
        detail = f"damaged in chunk {', '.join(map(str, chunks[:8]))} of {len(found.chunks)} (4 MiB each)"
    return Finding(path, stored, Result.DIFFER, bytes=found.size, detail=detail, chunks=tuple(chunks))


def _unreadable(path: str, stored: str, size: int, error: PhotosyncError) -> Finding:
    return Finding(
        path,
        stored,
        Result.UNREADABLE,
        bytes=size,
        detail=str(error),
        transient=isinstance(error, Transient),
    )
