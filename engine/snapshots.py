"""Snapshots of a manifest, kept beside the files that they describe.

Under ``.photosync/`` at a destination: packs of nodes, never changed once written, and ``HEAD``, which names
the newest snapshot and every pack needed. A snapshot is one new pack, then ``HEAD`` replaced on condition
that nobody else replaced it since it was read. Whatever is cut short in between leaves the older ``HEAD``
and a pack that nothing refers to. The format is in docs/manifest-format.md.

A hash finds accidents and changes behind the back of one who remembers a root. It is no signature: who can
write ``HEAD`` and the packs can write a history that fits together. What such a one cannot do is take back
a snapshot that this machine has seen (`Snapshots.refuse_rollback`), or sign (`photosync.engine.signing`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import Protocol

import msgspec

from photosync.engine.compare import fresh_nodes
from photosync.engine.errors import Permanent, Transient
from photosync.engine.manifest import RolledBack, Totals, totals
from photosync.engine.nodes import (
    FORMAT,
    UNDECODABLE,
    Damaged,
    Inconsistent,
    NodeStore,
    decode,
    fetch,
    name_of,
    refuse_newer,
)
from photosync.engine.packs import pack, unpack
from photosync.engine.signing import Mark, Signature, Trust

HEAD = "HEAD"
MAX_PACKS = 32
"""Packs that a HEAD lists before the next snapshot folds some of them into its own."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PACK_NAME = re.compile(r"packs/([0-9]{6,18})-([0-9a-f]{16})(?:-[2-9]|-[1-9][0-9])?\.jsonl\.zst")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")
_ENCODER = msgspec.json.Encoder(order="sorted")


class Changed(Exception):
    """A conditional write found another version than the one it was to replace."""


class HeadMoved(Transient):
    """Somebody else wrote a snapshot since HEAD was read: load it, `merge` with it, write again."""


class SnapshotFiles(Protocol):
    """Access to ``.photosync/`` at one destination; names are relative to it, with ``/`` between parts.

    Other failures are raised as members of the tree in `photosync.engine.errors`.
    """

    def read(self, name: str) -> tuple[bytes, str]:
        """Content, and a token for the version that was read.

        A store that has no versions gives a digest of the content as token.

        Raises:
            FileNotFoundError: there is no such file.
        """

    def write(self, name: str, data: bytes, replaces: str | None) -> str:
        """Create a file whole, or replace the version that has the token ``replaces``; the new token.

        Raises:
            FileExistsError: ``replaces`` is None and the file is there.
            Changed: the file does not have that version, or is gone.
        """

    def remove(self, name: str) -> None:
        """Remove a file.

        Raises:
            FileNotFoundError: there is no such file.
        """


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of a library at a destination.

    Attributes:
        format: version of the format.
        number: 1 for the first, one more for each that follows.
        root: of its manifest.
        parent: root of the snapshot before it, None for the first.
        previous: BLAKE3-256 of the record of the snapshot before it, hex; None for the first.
        device: what wrote it.
        files: number of entries.
        bytes: of all files.
        time: when it was written as its device saw it, RFC 3339 in UTC. For people: nothing depends on it.
    """

    format: int
    number: int
    root: str
    parent: str | None
    previous: str | None
    device: str
    files: int
    bytes: int
    time: str


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as HEAD lists it: name below ``.photosync/``, size in bytes, BLAKE3-256 of the file."""

    name: str
    size: int
    blake3: str


@dataclass(frozen=True, slots=True)
class _Head:
    format: int
    packs: tuple[Pack, ...]
    snapshot: Snapshot
    superseded: tuple[str, ...]
    ed25519: Signature | msgspec.UnsetType = msgspec.UNSET
    freed: Mark | msgspec.UnsetType = msgspec.UNSET

    def body(self) -> bytes:
        """What is signed."""
        return _ENCODER.encode(replace(self, ed25519=msgspec.UNSET))

    def encoded(self) -> bytes:
        body = _ENCODER.encode(self)
        hashed = b'{"blake3":"' + name_of(body).encode() + b'",' + body[1:]
        return msgspec.json.format(hashed, indent=2) + b"\n"


@dataclass(frozen=True, slots=True)
class _Read:
    """HEAD as it was last read or written."""

    head: _Head
    data: bytes
    token: str


def record_of(snapshot: Snapshot) -> bytes:
    """The record of a snapshot: one canonical JSON line with its end."""
    return _ENCODER.encode(snapshot) + b"\n"


class Snapshots:
    """The snapshots at one destination.

    Args:
        files: access to its ``.photosync/``.
        cache: holds nodes and snapshot records by their hash. A record is put after everything that it
            stands on, so one that is there needs nothing from the destination.
        trust: whose HEAD is believed; None: anybody's.
    """

    def __init__(self, files: SnapshotFiles, cache: NodeStore, trust: Trust | None = None) -> None:
        self._files = files
        self._cache = cache
        self._trust = trust
        self._looked = False
        self._read: _Read | None = None

    def head(self) -> Snapshot | None:
        """The newest snapshot, None at a destination that has none; one read.

        Raises:
            NewerFormat: written by a newer photosync.
            Damaged: HEAD is not what was written as HEAD.
            Inconsistent: it is, but cannot be true.
            Untrusted, RolledBack: it is not signed as it must be, or is an older one.
        """
        try:
            data, token = self._files.read(HEAD)
        except FileNotFoundError:
            if self._trust is not None:
                self._trust.missing()
            self._read = None
        else:
            head = _parse_head(data)
            if self._trust is not None:
                signature = head.ed25519 if isinstance(head.ed25519, Signature) else None
                freed = head.freed if isinstance(head.freed, Mark) else None
                self._trust.accept(head.body(), signature, head.snapshot.number, head.snapshot.root, freed)
            self._read = _Read(head, data, token)
        self._looked = True
        return self._read.head.snapshot if self._read else None

    def load(self, head: Snapshot, afresh: bool = False) -> None:
        """Make the cache hold every node of a snapshot and of those before it.

        Args:
            head: what `head` returned last.
            afresh: read and check every pack, those too whose content the cache holds: proves that the
                destination still has them, and repairs a cache that lost something.

        Raises:
            HeadMoved: a pack is gone because another HEAD does not need it any more.
            ManifestError: a pack is missing or wrong.
        """
        if self._read is None or self._read.head.snapshot != head:
            raise ValueError("load() takes what head() returned last")
        needed: str | None = name_of(record_of(head))
        packs = list(self._read.head.packs)
        found: list[bytes] = []
        while needed is not None and (afresh or not self._cached(needed)):
            if not packs:
                raise Damaged(f"no pack at the destination holds the snapshot record {needed}")
            records = self._load_pack(packs.pop(), needed)
            found.extend(reversed(records))
            needed = _parse_record(records[0]).previous
        if needed is None and packs:
            raise Inconsistent(f"pack .photosync/{packs[-1].name} is older than the first snapshot")
        if found and totals(head.root, self._cache) != Totals(head.files, head.bytes):
            raise Inconsistent(f"snapshot {head.number} does not have the files that it says it has")
        for record in reversed(found):
            self._cache.put(name_of(record), record)

    def history(self) -> list[Snapshot]:
        """Every snapshot, oldest first.

        Raises:
            ManifestError: HEAD, a pack or the chain of records is wrong.
        """
        head = self._current()
        if head is None:
            return []
        self.load(head)
        return list(self._chain(head))[::-1]

    def at(self, number: int) -> Snapshot:
        """The snapshot of that number.

        Raises:
            Permanent: there is none.
            ManifestError: HEAD, a pack or the chain of records is wrong.
        """
        history = self.history()
        if not 1 <= number <= len(history):
            raise Permanent(f"there is no snapshot {number} at the destination; it has {len(history)}")
        return history[number - 1]

    def refuse_rollback(self, known: tuple[int, str] | None) -> None:
        """Compare what the destination shows with what it was last seen to have.

        Args:
            known: number and root of the newest snapshot seen there, None if it was never seen.

        Raises:
            RolledBack: that snapshot is not part of the destination's history.
        """
        head = self._current()
        if known is None:
            return
        number, root = known
        if head is None or head.number < number:
            now = f"is at {head.number}" if head else "has none"
            raise RolledBack(f"the destination had snapshot {number} and now {now}")
        if head.number > number:
            self.load(head)
        (seen,) = (snapshot for snapshot in self._chain(head, to=number) if snapshot.number == number)
        if seen.root != root:
            raise RolledBack(f"snapshot {number} at the destination is not the one that was seen there")

    def write(self, root: str, *, device: str, time: str, known: tuple[int, str] | None) -> Snapshot:
        """Store a manifest as the newest snapshot: one pack, then HEAD. Nothing if it is the newest already.

        Replaces the HEAD that `head` read last, and only that one. After an error of any kind it may be
        called again with the same arguments.

        Args:
            root: of a tree whose nodes the cache holds, grown from the tree of `head`.
            device: name of what writes it.
            time: now, RFC 3339 in UTC ("2026-01-31T12:00:00Z").
            known: see `refuse_rollback`.

        Raises:
            HeadMoved: somebody else wrote a snapshot since.
            RolledBack, NewerFormat: nothing was written, and nothing should be.
            ManifestError: a node is missing or wrong, here or there.
        """
        if not _TIME.fullmatch(time):
            raise ValueError(f"not a time in UTC as RFC 3339 has it: {time!r}")
        self.refuse_rollback(known)
        old = self._read.head if self._read else None
        if old and old.snapshot.root == root:
            return old.snapshot
        if old:
            self.load(old.snapshot)
        snapshot = _next(old.snapshot if old else None, root, totals(root, self._cache), device, time)
        packs = old.packs if old else ()
        kept = packs if len(packs) < MAX_PACKS else packs[: _fold_from(packs)]
        written = self._write_pack(snapshot, self._pack(snapshot, kept))
        superseded = (*self._remove(old.superseded if old else ()), *(p.name for p in packs[len(kept) :]))
        self._write_head(_Head(FORMAT, (*kept, written), snapshot, superseded))
        record = record_of(snapshot)
        self._cache.put(name_of(record), record)
        return snapshot

    def sign(self) -> bool:
        """Replaces a HEAD that is not signed yet, or that does not tell of the newest FREED, by one that is
        and does; nothing else about it changes.

        Returns:
            Whether there was one.

        Raises:
            HeadMoved: somebody else wrote a snapshot since.
        """
        self._current()
        if self._read is None or self._trust is None:
            return False
        freed = self._trust.freed or msgspec.UNSET
        if self._read.head.ed25519 is not msgspec.UNSET and self._read.head.freed == freed:
            return False
        self._write_head(self._read.head)
        return True

    # reading

    def _current(self) -> Snapshot | None:
        if not self._looked:
            return self.head()
        return self._read.head.snapshot if self._read else None

    def _cached(self, name: str) -> bool:
        try:
            self._cache.get(name)
        except KeyError:
            return False
        return True

    def _load_pack(self, listed: Pack, last: str) -> list[bytes]:
        """Put a pack's nodes into the cache; its records, oldest first, of which ``last`` is the last."""
        what = f"pack .photosync/{listed.name}"
        try:
            data, _ = self._files.read(listed.name)
        except FileNotFoundError:
            before = self._read
            self.head()
            if before is None or self._read is None or self._read.data != before.data:
                raise HeadMoved(f"{what} is gone: somebody else wrote a snapshot meanwhile") from None
            raise Damaged(f"{what} is missing") from None
        if len(data) != listed.size or name_of(data) != listed.blake3:
            raise Damaged(f"{what} does not have the bytes that HEAD says it has")
        frames = unpack(data, what)
        records = next(frames, b"").splitlines(keepends=True)
        if not records or name_of(records[-1]) != last:
            raise Inconsistent(f"{what} does not hold the snapshot that it should")
        for older, newer in pairwise([_parse_record(record) for record in records]):
            _require_successor(older, newer)
        for frame in frames:
            decode(frame)
            self._cache.put(name_of(frame), frame)
        return records

    def _chain(self, newest: Snapshot, to: int = 1) -> Iterator[Snapshot]:
        """Snapshots from the newest back to number ``to``, each proven by the one after it."""
        snapshot = newest
        yield snapshot
        while snapshot.number > to and snapshot.previous is not None:
            before = _parse_record(fetch(self._cache, snapshot.previous))
            _require_successor(before, snapshot)
            snapshot = before
            yield snapshot

    # writing

    def _pack(self, snapshot: Snapshot, kept: tuple[Pack, ...]) -> bytes:
        """A pack of what the snapshots after the kept packs need, down to ``snapshot``."""
        after = _number(kept[-1].name) if kept else 0
        previous = None
        records = [snapshot]
        if self._read:
            earlier = list(self._chain(self._read.head.snapshot, to=max(after, 1)))
            records += takewhile(lambda each: each.number > after, earlier)
            previous = earlier[-1].root if after else None
        records.reverse()
        return pack(self._frames(previous, records))

    def _frames(self, previous: str | None, records: list[Snapshot]) -> Iterator[bytes]:
        yield b"".join([record_of(record) for record in records])
        packed: set[str] = set()
        for record in records:
            for name, data in fresh_nodes(previous, record.root, self._cache):
                if name not in packed:
                    packed.add(name)
                    yield data
            previous = record.root

    def _write_pack(self, snapshot: Snapshot, data: bytes) -> Pack:
        for attempt in range(1, 100):
            suffix = "" if attempt == 1 else f"-{attempt}"
            name = f"packs/{snapshot.number:06d}-{snapshot.root[:16]}{suffix}.jsonl.zst"
            try:
                self._files.write(name, data, None)
            except FileExistsError:
                # from a run that was cut short, or from another device that may yet refer to it
                if self._files.read(name)[0] != data:
                    continue
            return Pack(name, len(data), name_of(data))
        raise Permanent(f".photosync/{name} and 98 more like it exist; remove those that HEAD does not list")

    def _write_head(self, head: _Head) -> None:
        head = replace(head, ed25519=msgspec.UNSET, freed=msgspec.UNSET)
        if self._trust is not None and self._trust.keys:
            head = replace(head, freed=self._trust.freed or msgspec.UNSET)
            head = replace(head, ed25519=self._trust.sign(head.body()) or msgspec.UNSET)
        data = head.encoded()
        try:
            token = self._files.write(HEAD, data, self._read.token if self._read else None)
        except (Changed, FileExistsError) as error:
            # an earlier attempt may have arrived though its answer was lost
            try:
                there, token = self._files.read(HEAD)
            except FileNotFoundError:
                there, token = b"", ""
            if there != data:
                raise HeadMoved(
                    "somebody else wrote a snapshot meanwhile; this one was not stored"
                ) from error
        self._read = _Read(head, data, token)
        if self._trust is not None and head.ed25519 is not msgspec.UNSET:
            self._trust.wrote(head.snapshot.number, head.snapshot.root)

    def _remove(self, names: Iterable[str]) -> list[str]:
        """Remove packs that the present HEAD has done without; those left for the next snapshot to remove.

        They outlive the HEAD that superseded them, so that whoever read an older one can go on reading.
        """
        left = []
        for name in names:
            try:
                self._files.remove(name)
            except FileNotFoundError:
                continue
            except (OSError, Transient, Permanent):
                left.append(name)
        return left


def _next(before: Snapshot | None, root: str, total: Totals, device: str, time: str) -> Snapshot:
    return Snapshot(
        format=FORMAT,
        number=before.number + 1 if before else 1,
        root=root,
        parent=before.root if before else None,
        previous=name_of(record_of(before)) if before else None,
        device=device,
        files=total.files,
        bytes=total.bytes,
        time=time,
    )


def _fold_from(packs: tuple[Pack, ...]) -> int:
    """The first pack that is no larger than all after it: so a byte is folded seldom, however long the
    history, and the pack of a large first snapshot stays where it is."""
    after = sum(listed.size for listed in packs)
    for at, listed in enumerate(packs):
        after -= listed.size
        if listed.size <= after:
            return at
    return 0


def _number(pack_name: str) -> int:
    found = _PACK_NAME.fullmatch(pack_name)
    if not found:
        raise Inconsistent(f"HEAD lists {pack_name!r}, which is no name of a pack")
    return int(found[1])


def _parse_record(line: bytes) -> Snapshot:
    refuse_newer(line, "a snapshot record")
    try:
        snapshot = msgspec.json.decode(line, type=Snapshot)
    except UNDECODABLE as error:
        raise Damaged(f"a snapshot record cannot be decoded: {error}") from error
    if record_of(snapshot) != line:
        raise Inconsistent("a snapshot record is not written in canonical form")
    _require_sound(snapshot)
    return snapshot


def _require_sound(snapshot: Snapshot) -> None:
    first = snapshot.number == 1
    if (
        snapshot.format != FORMAT
        or snapshot.number < 1
        or first != (snapshot.parent is None)
        or first != (snapshot.previous is None)
        or min(snapshot.files, snapshot.bytes) < 0
        or not _TIME.fullmatch(snapshot.time)
        or not all(
            _DIGEST.fullmatch(digest)
            for digest in (snapshot.root, snapshot.parent, snapshot.previous)
            if digest
        )
    ):
        raise Inconsistent(f"the record of snapshot {snapshot.number} cannot be true")


def _require_successor(before: Snapshot, after: Snapshot) -> None:
    fits = (
        after.number == before.number + 1
        and after.parent == before.root
        and after.previous == name_of(record_of(before))
    )
    if not fits:
        raise Inconsistent(f"snapshot {after.number} does not follow snapshot {before.number}")


def _parse_head(data: bytes) -> _Head:
    what = ".photosync/HEAD"
    refuse_newer(data, what)
    try:
        head = msgspec.json.decode(data, type=_Head)
        canonical = head.encoded()
    except UNDECODABLE as error:
        raise Damaged(f"{what} cannot be decoded: {error}") from error
    if canonical != data:
        raise Damaged(f"{what} does not have the bytes that were written as HEAD")
    _require_sound(head.snapshot)
    numbers = [_number(listed.name) for listed in head.packs]
    newest = f"packs/{head.snapshot.number:06d}-{head.snapshot.root[:16]}"
    if (
        head.format != FORMAT
        or not numbers
        or any(before >= after for before, after in pairwise(numbers))
        or not head.packs[-1].name.startswith(newest)
        or any(listed.size < 0 or not _DIGEST.fullmatch(listed.blake3) for listed in head.packs)
        or any(_number(name) >= numbers[-1] for name in head.superseded)
        or {listed.name for listed in head.packs} & set(head.superseded)
        or (isinstance(head.freed, Mark) and (head.ed25519 is msgspec.UNSET or not head.freed.sound))
    ):
        raise Inconsistent(f"{what} contradicts itself")
    return head
