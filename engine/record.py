"""Brings a destination's manifest up to date with what the journal knows to be proven there."""

import datetime
import unicodedata
from collections.abc import Container, Iterable, Mapping

from msgspec.structs import replace

from photosync.engine import manifest
from photosync.engine.beside import beside
from photosync.engine.errors import AlreadyExists
from photosync.engine.hashing import Fingerprint
from photosync.engine.journal import Delivery, Journal
from photosync.engine.names import OURS, NameRules, decode, encode, is_shortened
from photosync.engine.nodes import ManifestEntry, ManifestError, name_of
from photosync.engine.signing import Trust
from photosync.engine.snapshots import Changed, HeadMoved, Snapshots
from photosync.engine.target import Target
from photosync.engine.workers import Seam

TRIES = 5
ANY_LENGTH = NameRules(max_component=1 << 20)
PACK_LIMIT = 1 << 30
"""Bytes of the largest pack that is believed to be one."""


class TargetFiles:
    """`photosync.engine.snapshots.SnapshotFiles` at a destination, under ``.photosync/``, with retries."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def read(self, name: str) -> tuple[bytes, str]:
        path = f"{OURS}/{name}"
        data, version = self._target.call(
            lambda: self._target.store.read_small(path, PACK_LIMIT), f"reading {path}"
        )
        return data, version or name_of(data)

    def write(self, name: str, data: bytes, replaces: str | None) -> str:
        path = f"{OURS}/{name}"
        try:
            version = self._target.call(
                lambda: self._target.store.replace_small(path, data, replaces), f"writing {path}"
            )
        except (AlreadyExists, FileNotFoundError) as error:
            if replaces is None:
                raise FileExistsError(str(error)) from error
            raise Changed(str(error)) from error
        return version or name_of(data)

    def remove(self, name: str) -> None:
        path = f"{OURS}/{name}"
        self._target.call(lambda: self._target.store.delete(path), f"removing {path}")


def manifest_entry(delivery: Delivery, found: Fingerprint) -> ManifestEntry:
    """What a manifest says of one proven copy.

    Its path is the logical one that the stored name decodes to, so that equal libraries have equal roots
    whatever their destinations can spell; only a name that cannot be decoded is kept as it is stored.
    """
    short = is_shortened(delivery.stored)
    return ManifestEntry(
        path=delivery.path if short else decode(delivery.stored),
        size=found.size,
        mtime_ns=delivery.mtime_ns or 0,
        content=found.content,
        sha256=found.digests["sha256"],
        chunks=found.chunks,
        stored=delivery.stored if short else None,
    )


def name_there(entry: ManifestEntry, rules: NameRules, stored: Mapping[str, str]) -> str:
    """Where an entry lies at a destination.

    Args:
        entry: from its manifest.
        rules: what names it can hold.
        stored: logical path → stored path, where the journal knows that it is another one.
    """
    name = entry.stored or stored.get(entry.path) or encode(entry.path, rules)
    # Such places either keep names in this form, whatever they are given, or find them by any.
    return unicodedata.normalize("NFC", name) if rules.fold_unicode else name


def set_manifest_aside(target: Target, seam: Seam, name: str = "HEAD") -> str | None:
    """Renames a file of the manifest, so that a new one can be begun; None if there is none.

    Returns:
        Its path at the destination.
    """
    stamp = _now(seam).replace(":", "").replace("-", "")
    aside = f"{OURS}/{name}-{stamp}"
    return aside if target.rename(f"{OURS}/{name}", aside) is not None else None


def record(destination: str, journal: Journal, target: Target, seam: Seam, device: str) -> bool:
    """Writes a snapshot if the manifest does not say yet what the journal knows.

    Args:
        destination: what the journal calls the place.
        journal: holds what is proven, and caches the manifest's nodes.
        target: the place.
        seam: its clock dates the snapshot.
        device: names this machine in it.

    Returns:
        Whether one was written.

    Raises:
        ManifestError: the manifest there is damaged, forged, rolled back, or of a newer format; it was left
            as it is.
    """
    proven = [manifest_entry(*copy) for copy in journal.unrecorded(destination)]
    gone = journal.withdrawn(destination)
    if not proven and not gone:
        return False
    snapshots = Snapshots(TargetFiles(target), journal, Trust(journal, destination))
    known = journal.head(destination)
    shortened = {path for path in gone if is_shortened(path)}
    removals = [decode(path) for path in gone]
    for attempt in range(1, TRIES + 1):
        head = snapshots.head()
        try:
            if head is not None:
                snapshots.load(head)
            base = head.root if head is not None else manifest.build([], journal)
            upserts = _apart(proven, {*gone, *map(decode, gone)}, base, journal)
            # Only the manifest knows what a shortened name stands for.
            hidden = (
                [entry.path for entry in manifest.entries(base, journal) if entry.stored in shortened]
                if shortened
                else []
            )
            removals = [
                path
                for path in (*removals, *hidden)
                if path not in upserts and not _is_newer(path, base, known, journal)
            ]
            root = manifest.edit(base, upserts.values(), removals, journal)
            written = snapshots.write(root, device=device, time=_now(seam), known=known)
        except HeadMoved:
            if attempt == TRIES:
                raise
            target.give_way(attempt)
            continue
        journal.set_recorded(destination, written.number, written.root)
        return written != head
    raise AssertionError("unreachable")


def _apart(
    proven: Iterable[ManifestEntry], leaving: Container[str], base: str, journal: Journal
) -> dict[str, ManifestEntry]:
    """Entries by path. Of several whose shortened names stand for one path, such as a photo and its edited
    version beside it, each but one has its content id shown in its path, and keeps that path."""
    shortened: dict[str, ManifestEntry] = {}
    made: dict[str, ManifestEntry] = {}
    for entry in proven:
        if entry.stored is None:
            made[entry.path] = entry
        else:
            shortened[entry.stored] = entry
    before = {e.stored: e.path for e in manifest.entries(base, journal)} if shortened else {}
    for stored, entry in shortened.items():
        path = before.get(stored)
        if path is None:
            held = manifest.find(base, entry.path, journal)
            path = entry.path
            if path in made or (held is not None and (held.stored or path) not in leaving):
                path = beside(path, entry.content, ANY_LENGTH)
        made[path] = replace(entry, path=path)
    return made


def _is_newer(path: str, base: str, known: tuple[int, str] | None, journal: Journal) -> bool:
    """Whether another machine has recorded other content under a path since this one last looked: what this
    one took away was not that."""
    if known is None or known[1] == base:
        return False
    there = manifest.find(base, path, journal)
    try:
        before = manifest.find(known[1], path, journal)
    except ManifestError:
        return False
    return there is not None and before is not None and there.content != before.content


def _now(seam: Seam) -> str:
    moment = datetime.datetime.fromtimestamp(seam.wall_ns() / 1e9, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
