"""``free-up``: what may go from a phone, shown, confirmed, and deleted."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from photosync.backends import adb_remove, phone_removal
from photosync.backends.adb_store import AdbStore
from photosync.backends.phone import PhoneStore
from photosync.config import Local
from photosync.engine import retry, scan
from photosync.engine.assets import pair
from photosync.engine.entry import Entry
from photosync.engine.errors import PhotosyncError, SafetyGuard
from photosync.engine.filters import Filter
from photosync.engine.freeup import Candidate, Copies, Freed, FreeUp, Kept, Remover, choose, recover
from photosync.engine.journal import Journal, Known
from photosync.engine.limits import Gate
from photosync.engine.media import Facts
from photosync.engine.names import printable
from photosync.engine.report import Exit
from photosync.engine.retry import RetryPolicy
from photosync.engine.sizes import human_size
from photosync.engine.source import Source
from photosync.engine.target import Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Workers
from photosync.output import json_line
from photosync.places import Place, PlaceError
from photosync.session import Session

SHOWN = 20
"""Photos that are named before the question; --verbose and --json name all."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for.

    Attributes:
        min_copies: places that cannot be lost together, in which every file must be.
        older_than_ns: only photos older than that, nanoseconds since the epoch; None: of any age.
        wanted: filter; None: everything.
        dry_run: only show.
        confirm: asked with a question; says whether to go on.
        as_json: JSON lines.
        verbosity: as everywhere.
    """

    min_copies: int
    older_than_ns: int | None
    wanted: Filter | None
    dry_run: bool
    confirm: Callable[[str], bool]
    as_json: bool
    verbosity: int


def free_up(session: Session, source: str, wish: Wish) -> Exit:
    """Frees what is proven to be elsewhere.

    Raises:
        PlaceError: the source is no phone.
        SafetyGuard: the phone cannot be listed completely.
        PhotosyncError: the phone or the state cannot be used.
    """
    with ExitStack() as stack:
        origin = stack.enter_context(session.open(source))
        if not isinstance(origin.store, PhoneStore | AdbStore):
            raise PlaceError(f"{source} is no phone: free-up only ever deletes from phones and cards")
        ledger = stack.enter_context(session.locked_journal(origin.identity, source))
        workers = stack.enter_context(Workers(session.seam))
        retries = RetryPolicy()
        reader = Source(origin.store, workers, Gate(workers), retries, lambda _path, _size: None)
        listing = _list(reader, workers)
        copies, witnesses, unreachable = _copies(session, origin, stack, workers)
        suspicions: dict[str, str] = {}
        for journal, _ in witnesses:
            suspicions |= journal.suspicions(origin.identity)
        candidates, kept = choose(
            _photos(listing.entries, wish.wanted, origin, witnesses),
            copies,
            wish.min_copies,
            older_than_ns=wish.older_than_ns,
            suspicious=lambda entry: suspicions.get(entry.path, ""),
        )
        show = _Json(source) if wish.as_json else _People(wish.verbosity)
        for text in unreachable:
            show.note(text)
        if not wish.dry_run:
            _settle(ledger, origin, listing.entries, witnesses, show)
        device = origin.store.device
        remover = _remover(origin.store, stack)
        show.plan(candidates, kept)
        if not witnesses:
            show.note(f"Nothing was ever copied from {source} by this machine: run photosync copy first.")
        if remover is None:
            show.note(
                f"Nothing is deleted on {device.model} by this route ({device.route}): on an iPhone that "
                "would leave ghosts in its photo library. Delete the photos named here on the device itself "
                "(an iPhone: in the Photos app)."
            )
        if remover is None or wish.dry_run or not candidates:
            show.end([], len(kept), dry=True)
            return Exit.OK
        size = human_size(sum(each.bytes for each in candidates))
        if not wish.confirm(f"Delete {len(candidates)} photos ({size}) from {source}?"):
            show.end([], len(kept), dry=True)
            return Exit.OK
        free = FreeUp(reader, remover, ledger, witnesses, origin.identity, wish.min_copies)
        return _carry_out(free, candidates, kept, show, witnesses, origin, len(listing.entries))


def _remover(store: PhoneStore | AdbStore, stack: ExitStack) -> Remover | None:
    """What can delete there, or None."""
    if isinstance(store, AdbStore):
        return adb_remove.remover_for(store)
    remover = phone_removal.remover_for(store)
    if remover is not None:
        stack.callback(remover.close)
    return remover


def _settle(
    ledger: Journal,
    origin: Place,
    entries: Sequence[Entry],
    witnesses: Sequence[tuple[Journal, str]],
    show: "_Json | _People",
) -> None:
    """Says what a run that was cut short had deleted."""
    gone = recover(ledger, origin.identity, {entry.path: entry for entry in entries})
    if not gone:
        return
    for journal, identity in witnesses:
        journal.set_count(origin.identity, identity, len(entries))
    show.note(
        f"{len(gone)} files were deleted by an earlier run that did not get to say so: "
        f"{', '.join(map(printable, gone[:SHOWN]))}{' and more' if len(gone) > SHOWN else ''}."
    )


def _carry_out(
    free: FreeUp,
    candidates: Sequence[Candidate],
    kept: Sequence[Kept],
    show: "_Json | _People",
    witnesses: Sequence[tuple[Journal, str]],
    origin: Place,
    files: int,
) -> Exit:
    done: list[Freed] = []
    try:
        for freed in free.run(candidates):
            done.append(freed)
            show.freed(freed)
    finally:
        left = files - sum(len(freed.deleted) for freed in done)
        for journal, identity in witnesses:
            # What was freed on purpose has not shrunk the source suspiciously.
            journal.set_count(origin.identity, identity, left)
        show.end(done, len(kept), dry=False)
    return Exit.OK if all(not freed.reason for freed in done) else Exit.OTHER


def _photos(
    entries: Sequence[Entry], wanted: Filter | None, origin: Place, witnesses: Sequence[tuple[Journal, str]]
) -> list[tuple[Entry, ...]]:
    """The files of each photo that the filter wants all of."""
    facts: dict[str, Facts] = {}
    for journal, _ in witnesses:
        for entry in entries:
            if entry.path not in facts and (told := journal.facts(origin.identity, entry)) is not None:
                facts[entry.path] = told
    return [
        photo.members
        for photo in pair(entries, facts)
        if wanted is None or all(wanted.wants(e.path, e.size, e.mtime_ns) for e in photo.members)
    ]


def _list(reader: Source, workers: Workers) -> scan.Listing:
    """The phone as it is now, all of it or nothing."""
    gate = Gate(workers)
    listing = scan.walk(
        reader.store,
        check=workers.check,
        is_source=True,
        retry=lambda run, doing: retry.call(run, doing, workers, gate, RetryPolicy()),
    )
    for error in listing.errors:
        raise SafetyGuard(
            f"{error.path or '/'} could not be listed ({error.error}). Nothing is deleted from a phone that "
            "does not show everything; unlock it and run again."
        )
    return listing


def _copies(
    session: Session, origin: Place, stack: ExitStack, workers: Workers
) -> tuple[list[Copies], list[tuple[Journal, str]], list[str]]:
    """Places with receipts, every journal that has some, and what could not be reached."""
    copies: list[Copies] = []
    witnesses: list[tuple[Journal, str]] = []
    unreachable: list[str] = []
    for known in session.destinations_of(origin.identity):
        journal = stack.enter_context(session.locked_journal(known.identity, known.text))
        witnesses.append((journal, known.identity))
        try:
            place = stack.enter_context(session.open(known.text))
        except (PhotosyncError, PlaceError, OSError) as error:
            unreachable.append(f"{known.text} cannot be reached and does not count: {error}")
            continue
        if place.identity != known.identity:
            unreachable.append(f"{known.text} is another place now and does not count")
            continue
        copies.append(_receipts(place, known, journal, origin, workers))
    return copies, witnesses, unreachable


def _receipts(place: Place, known: Known, journal: Journal, origin: Place, workers: Workers) -> Copies:
    target = Target(place.store, workers, Gate(workers), RetryPolicy(), Verify.AUTO)
    delivered = {each.path: each for each in journal.deliveries(origin.identity, known.identity)}
    return Copies(place.text, domain_of(place), target, journal, known.identity, delivered)


def domain_of(place: Place) -> str:
    """Equal for places that would be lost together: folders of one disk, of one bucket, of one account."""
    if isinstance(place.remote, Local):
        folder = place.identity
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        return f"disk {os.stat(folder).st_dev}"
    kind, _, rest = (
        place.identity.partition("://") if "://" in place.identity else place.identity.partition(":")
    )
    return f"{kind} {'/'.join(rest.lstrip('/').split('/')[:2]) if kind == 's3' else rest.partition('/')[0]}"


class _People:
    def __init__(self, verbosity: int) -> None:
        self._verbosity = verbosity

    def note(self, text: str) -> None:
        print(text)  # noqa: T201

    def plan(self, candidates: Sequence[Candidate], kept: Sequence[Kept]) -> None:
        if self._verbosity < 0:
            return
        shown = len(candidates) if self._verbosity > 0 else SHOWN
        for candidate in candidates[:shown]:
            names = " + ".join(printable(entry.path) for entry in candidate.members)
            places = ", ".join(copies.name for copies in candidate.copies)
            print(f"free   {names}  ({human_size(candidate.bytes)}; at {places})")  # noqa: T201
        if len(candidates) > shown:
            print(f"       and {len(candidates) - shown} more; -v names all")  # noqa: T201
        reasons: dict[str, int] = {}
        for each in kept:
            reasons[each.reason] = reasons.get(each.reason, 0) + 1
            if self._verbosity > 0:
                print(f"stay   {printable(each.members[0].path)}  ({each.reason})")  # noqa: T201
        for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]):
            print(f"{count} stay: {reason}")  # noqa: T201
        size = human_size(sum(each.bytes for each in candidates))
        print(f"{len(candidates)} photos, {size}, may be freed.")  # noqa: T201

    def freed(self, freed: Freed) -> None:
        if freed.reason:
            print(f"stays  {printable(freed.members[0].path)}: {freed.reason}")  # noqa: T201
        elif self._verbosity > 0:
            print(f"freed  {printable(freed.members[0].path)}")  # noqa: T201

    def end(self, done: Sequence[Freed], kept: int, *, dry: bool) -> None:
        if dry:
            print("Nothing was deleted.")  # noqa: T201
            return
        files = [entry for freed in done for entry in freed.deleted]
        size = human_size(sum(entry.size for entry in files))
        print(f"{len(files)} files deleted, {size} freed.")  # noqa: T201


class _Json:
    def __init__(self, source: str) -> None:
        self._source = source

    def note(self, text: str) -> None:
        json_line({"event": "notice", "level": "warning", "text": text})

    def plan(self, candidates: Sequence[Candidate], kept: Sequence[Kept]) -> None:
        for candidate in candidates:
            json_line(
                {
                    "event": "plan",
                    "action": "free",
                    "paths": [entry.path for entry in candidate.members],
                    "bytes": candidate.bytes,
                    "copies": [copies.name for copies in candidate.copies],
                }
            )
        for each in kept:
            paths = [entry.path for entry in each.members]
            json_line({"event": "plan", "action": "keep", "paths": paths, "reason": each.reason})

    def freed(self, freed: Freed) -> None:
        json_line(
            {
                "event": "freed",
                "paths": [entry.path for entry in freed.members],
                "deleted": [entry.path for entry in freed.deleted],
                "evidence": dict(freed.evidence),
                "error": freed.reason or None,
            }
        )

    def end(self, done: Sequence[Freed], kept: int, *, dry: bool) -> None:
        files = [entry for freed in done for entry in freed.deleted]
        failed = sum(bool(freed.reason) for freed in done)
        json_line(
            {
                "event": "report",
                "status": "nothing" if dry or not files else "partial" if failed else "ok",
                "source": self._source,
                "deleted": len(files),
                "bytes_freed": sum(entry.size for entry in files),
                "kept": kept + failed,
            }
        )
