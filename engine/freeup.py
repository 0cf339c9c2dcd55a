"""Freeing space on a phone: only what is proven, this very minute, to be in several other places.

For a photo as a whole, all of its files or none:

1. Each file was delivered, as it looks now, to at least ``min_copies`` places that cannot be lost together.
2. Its bytes are read on the phone again and have the content id that was delivered.
3. Each of those places is asked again whether it holds exactly these bytes.
4. What is about to be deleted is written down, durably, before anything is: here, and at each place that has
   a copy, so that nobody takes these copies for superfluous even if this machine's memory is lost.
5. Right before a file is deleted it is looked at once more.

Whatever fails keeps the whole photo on the phone. A run that was killed is recognised by what it wrote down:
what is still there is proven anew, what is gone was deleted by it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from photosync.engine import spared, verify
from photosync.engine.entry import Entry
from photosync.engine.errors import Fatal, Permanent, PhotosyncError, SourceChanged, classify
from photosync.engine.hashing import Fingerprint
from photosync.engine.journal import Delivery, Journal
from photosync.engine.source import Source, SourceGone
from photosync.engine.target import Target

MIN_COPIES = 2


class Remover(Protocol):
    """The only thing in photosync that deletes at a source."""

    def remove(self, entry: Entry) -> None:
        """Deletes one file if it still looks as it is said to look.

        Args:
            entry: as it was listed.

        Raises:
            SourceChanged: it looks different; nothing was deleted.
            FileNotFoundError: it is gone.
            PhotosyncError: it could not be deleted.
        """
        ...


@dataclass(frozen=True, slots=True)
class Copies:
    """One place that files were delivered to.

    Attributes:
        name: what people call it.
        domain: equal for places that would be lost together, such as two folders of one disk.
        target: the place.
        journal: its journal.
        identity: what the journal calls it.
        delivered: what was delivered there from this source, by path.
    """

    name: str
    domain: str
    target: Target
    journal: Journal
    identity: str
    delivered: Mapping[str, Delivery]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A photo that may be freed if everything still proves true.

    Attributes:
        members: its files.
        copies: places that have all of them.
    """

    members: tuple[Entry, ...]
    copies: tuple[Copies, ...]

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.members)


@dataclass(frozen=True, slots=True)
class Kept:
    """A photo that stays on the phone, and why."""

    members: tuple[Entry, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Freed:
    """The end of one photo.

    Attributes:
        members: its files.
        deleted: those that are gone from the phone.
        evidence: by place, how each copy was proven.
        reason: why it stays, or what stopped half-way; "" if it was freed.
    """

    members: tuple[Entry, ...]
    deleted: tuple[Entry, ...]
    evidence: Mapping[str, str]
    reason: str = ""


def choose(
    photos: Iterable[tuple[Entry, ...]],
    copies: Sequence[Copies],
    min_copies: int,
    *,
    older_than_ns: int | None = None,
    suspicious: Callable[[Entry], str] = lambda _entry: "",
) -> tuple[list[Candidate], list[Kept]]:
    """Sorts photos into those that the receipts allow to free, and those that stay.

    Args:
        photos: the files of each photo, as the phone shows them now.
        copies: places with receipts.
        min_copies: how many that cannot be lost together each file must be in; at least 1.
        older_than_ns: photos with a younger file stay; None: age does not matter. It only ever narrows.
        suspicious: why a file is never to be freed, or "".

    Raises:
        ValueError: ``min_copies`` is less than 1.
    """
    if min_copies < 1:
        raise ValueError("nothing is freed without a copy")
    candidates: list[Candidate] = []
    kept: list[Kept] = []
    for members in photos:
        having = tuple(each for each in copies if all(_receipt(entry, each) for entry in members))
        domains = {each.domain for each in having}
        if reason := next(filter(None, map(suspicious, members)), ""):
            kept.append(Kept(members, reason))
        elif any(entry.size == 0 for entry in members):
            kept.append(Kept(members, "a file of it is empty: there is nothing that could prove a copy"))
        elif older_than_ns is not None and any(_younger(entry, older_than_ns) for entry in members):
            kept.append(Kept(members, "too young"))
        elif len(domains) < min_copies:
            found = f"{len(domains)} of {min_copies} copies"
            kept.append(Kept(members, f"{found}: {', '.join(each.name for each in having) or 'none'}"))
        else:
            candidates.append(Candidate(members, having))
    return candidates, kept


def _younger(entry: Entry, than_ns: int) -> bool:
    return entry.mtime_ns is None or entry.mtime_ns >= than_ns


def _receipt(entry: Entry, copies: Copies) -> bool:
    delivery = copies.delivered.get(entry.path)
    return delivery is not None and delivery.of(entry) and delivery.evidence != verify.NONE


def recover(ledger: Journal, source_id: str, there: Mapping[str, Entry]) -> list[str]:
    """Settles what an earlier run that did not live to do so had written down.

    Args:
        ledger, source_id: as for `FreeUp`.
        there: a complete listing of the phone, by path.

    Returns:
        Paths that it had deleted without getting to say so.
    """
    gone: list[str] = []
    for path in ledger.intended(source_id):
        if path in there:
            ledger.forget_intent(source_id, path)
        else:
            ledger.set_freed(source_id, path)
            gone.append(path)
    ledger.flush()
    return gone


class FreeUp:
    """Frees photos, one after the other.

    Args:
        source: the phone, to be read.
        remover: deletes there.
        ledger: journal in which intents are written down; of the phone, not of a destination.
        witnesses: journal and identity of every place that anything was ever delivered to, whether or not it
            can be reached: from now on its copies are not there because the phone has them.
        source_id: what journals call the phone.
        min_copies: as for `choose`.
    """

    def __init__(
        self,
        source: Source,
        remover: Remover,
        ledger: Journal,
        witnesses: Sequence[tuple[Journal, str]],
        source_id: str,
        min_copies: int,
    ) -> None:
        self._source = source
        self._remover = remover
        self._ledger = ledger
        self._witnesses = witnesses
        self._source_id = source_id
        self._min_copies = min_copies
        self._untold: dict[str, str] = {}

    def run(self, candidates: Iterable[Candidate]) -> Iterator[Freed]:
        """Frees each candidate that still proves true.

        Raises:
            Fatal: the phone is gone, or the state cannot be written.
        """
        candidates = list(candidates)
        places = {copies.identity: copies for each in candidates for copies in each.copies}
        new = {identity: self._tell(copies, candidates) for identity, copies in places.items()}
        stayed: list[Entry] = []
        for candidate in candidates:
            freed = self._one(candidate)
            stayed += [entry for entry in candidate.members if entry not in freed.deleted]
            yield freed
        for identity, copies in places.items():
            self._correct(copies, new[identity], stayed)

    def _tell(self, copies: Copies, candidates: Sequence[Candidate]) -> frozenset[str]:
        """Says at a place which of its copies are about to be the only ones. One that cannot be told does not
        count. Gives what it was not told before."""
        paths = [
            copies.delivered[entry.path].stored
            for candidate in candidates
            if copies in candidate.copies
            for entry in candidate.members
        ]
        try:
            return spared.edit(copies.identity, copies.journal, copies.target, paths)
        except (PhotosyncError, OSError) as error:
            self._untold[copies.identity] = f"it cannot be told there that this copy has to stay: {error}"
            return frozenset()

    def _correct(self, copies: Copies, new: frozenset[str], stayed: Iterable[Entry]) -> None:
        """Takes back what was said of photos that were not freed after all. Where that fails, or this process
        is killed before, ``sync`` leaves a copy too many."""
        gone = copies.journal.spared(self._source_id, copies.identity)
        paths = {each.stored for entry in stayed if (each := copies.delivered.get(entry.path)) is not None}
        with suppress(PhotosyncError, OSError):
            spared.tell(copies.identity, copies.journal, copies.target, but=(new & paths) - gone)

    def _one(self, candidate: Candidate) -> Freed:
        evidence: dict[str, str] = {}
        deleted: list[Entry] = []
        unsure: Entry | None = None
        try:
            found = {entry.path: self._read(entry) for entry in candidate.members}
            evidence = self._prove(candidate, found)
            self._intend(candidate, found)
            for entry in candidate.members:
                unsure = entry
                self._remover.remove(entry)
                unsure = None
                deleted.append(entry)
                self._ledger.set_freed(self._source_id, entry.path)
        except SourceGone as error:
            raise error.__cause__ or error from None
        except Fatal:
            raise
        except Exception as error:
            reason = str(classify(error, f"freeing {candidate.members[0].path}"))
            # Only a plain no says that a file is still there. Where an answer was lost, it may be gone, and
            # then its copies are the only ones: the next run finds out.
            if unsure is not None and not isinstance(error, SourceChanged | Permanent):
                reason = f"{reason}. Whether {unsure.path} is gone shows the next run"
            else:
                unsure = None
            settled = [entry for entry in candidate.members if entry not in deleted and entry != unsure]
            self._take_back(settled)
            return Freed(candidate.members, tuple(deleted), evidence, reason)
        return Freed(candidate.members, tuple(deleted), evidence)

    def _read(self, entry: Entry) -> Fingerprint:
        found, seen, _ = self._source.hash(entry, ())
        if (seen.size, seen.mtime_ns, seen.version) != (entry.size, entry.mtime_ns, entry.version):
            raise _Doubt(f"{entry.path} changed since it was listed")
        return found

    def _prove(self, candidate: Candidate, found: Mapping[str, Fingerprint]) -> dict[str, str]:
        """Asks each place again. Raises SafetyGuard if too few are left."""
        proven: dict[str, str] = {}
        domains: set[str] = set()
        doubts: list[str] = []
        for copies in candidate.copies:
            try:
                how = {self._prove_one(entry, copies, found[entry.path]) for entry in candidate.members}
            except (PhotosyncError, OSError) as error:
                # A place that cannot be asked, even one that is gone for good, only does not count.
                doubts.append(f"{copies.name}: {error}")
            else:
                proven[copies.name] = ", ".join(sorted(how))
                domains.add(copies.domain)
        if len(domains) < self._min_copies:
            raise _Doubt(
                f"only {len(domains)} of {self._min_copies} copies could be proven now. " + "; ".join(doubts)
            )
        return proven

    def _prove_one(self, entry: Entry, copies: Copies, found: Fingerprint) -> str:
        if (reason := self._untold.get(copies.identity)) is not None:
            raise _Doubt(reason)
        delivery = copies.delivered[entry.path]
        if delivery.content != found.content:
            raise _Doubt(f"{entry.path} has other bytes on the phone than were delivered")
        existing = copies.target.look(delivery.stored)
        if existing is None:
            raise _Doubt(f"{delivery.stored} is gone")
        evidence = copies.target.same(existing, found)
        if evidence is None:
            raise _Doubt(f"{delivery.stored} has other bytes")
        return evidence

    def _intend(self, candidate: Candidate, found: Mapping[str, Fingerprint]) -> None:
        """Writes down what is about to go. Only then may anything go.

        The copies are marked first: from a phone that lacks the photo, ``sync`` must never conclude that they
        are to go as well, not even if this process dies between two lines.
        """
        for journal, identity in self._witnesses:
            for entry in candidate.members:
                journal.set_kept(self._source_id, identity, entry.path)
            journal.settle()
        for entry in candidate.members:
            self._ledger.intend(self._source_id, entry, found[entry.path].content)
        self._ledger.settle()

    def _take_back(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._ledger.forget_intent(self._source_id, entry.path)
            for journal, identity in self._witnesses:
                journal.forget_kept(self._source_id, identity, entry.path)
        self._ledger.flush()


class _Doubt(PhotosyncError):
    """Not enough is proven: the photo stays."""
