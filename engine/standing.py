"""What stands at the destination already: adopted if it is equal, kept beside, renamed or put into the trash.

Nothing here replaces different bytes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from photosync.engine import verify
from photosync.engine.actions import NOT_AT_SOURCE, Compare, Copy, Move, Trash, equal_there
from photosync.engine.beside import MORE_DIGITS, beside, waiting
from photosync.engine.capabilities import ServerCopies, Store, Stored
from photosync.engine.entry import Entry
from photosync.engine.errors import Permanent, SafetyGuard, Transient
from photosync.engine.events import Notice, Status
from photosync.engine.hashing import Fingerprint
from photosync.engine.item import Item, Package
from photosync.engine.names import NameRules, match_key, printable
from photosync.engine.target import as_stored
from photosync.engine.trash import TRASH

if TYPE_CHECKING:
    from photosync.engine.transfer import Transfer

_ROT = (
    "{path} has other bytes at the source than when it was copied, though its size and times are the same: "
    "it may be rotting there. The good copy stays as it is; what the source says now is kept beside it."
)


def taken(transfer: "Transfer", item: Item, found: Fingerprint, package: Package | None) -> None:
    """The final name is taken: adopts what is there if it is equal, else keeps both."""
    if not any(staying(transfer, item, Entry(item.to))):
        keep_both(transfer, item, found, package)
        return
    existing = transfer.target.look(item.to)
    if existing is None:
        raise Transient(f"{item.to} was there a moment ago and is gone now; run again")
    evidence = transfer.target.same(existing, found)
    if evidence is None:
        keep_both(transfer, item, found, package)
    else:
        adopt(transfer, item, found, existing, evidence)


def leaving(items: Iterable[Item], rules: NameRules) -> dict[str, int]:
    """What files of a run replace or rename at the destination: number of the item by `match_key`."""
    found: dict[str, int] = {}
    for item in items:
        action = item.action
        if isinstance(action, Copy) and action.displaces is not None:
            found[match_key(action.displaces, rules)] = item.number
        elif isinstance(action, Compare) and action.replace:
            found[match_key(action.existing.path, rules)] = item.number
        elif isinstance(action, Move):
            found[match_key(action.origin.stored, rules)] = item.number
    return found


def staying(transfer: "Transfer", item: Item, *candidates: Entry) -> Iterator[Entry]:
    """What a file may adopt: not what another one of the run takes away, be it equal, for then the copy that
    was told would be gone in the end."""
    for each in candidates:
        place = match_key(each.path, transfer.can.names)
        if transfer.leaving.get(place, item.number) == item.number:
            yield each


def adopt(transfer: "Transfer", item: Item, found: Fingerprint, existing: Entry, evidence: str) -> None:
    """Takes an equal object for the copy.

    Raises:
        SafetyGuard: it is the file itself.
    """
    refuse_itself(transfer, item, existing)
    item.adopted = True
    transfer.delivered(item, found, dated(transfer, item, existing), evidence)


def refuse_itself(transfer: "Transfer", item: Item, existing: Entry) -> None:
    """One file may be reached by two ways, and then what is equal "there" is no copy.

    Raises:
        SafetyGuard: so it is.
    """
    origin, store = transfer.pair.source, transfer.pair.destination
    if not isinstance(origin, Store) or not isinstance(store, ServerCopies):
        return
    if store.is_one(origin, item.source, existing):
        raise SafetyGuard(
            f"{item.source.path} at the source and {existing.path} at the destination are one file, reached "
            "by two ways: that is no copy. Nothing was removed. Choose a destination outside of the source."
        )


def dated(transfer: "Transfer", item: Item, existing: Entry) -> Stored:
    """Gives an equal object the source's time, where that can be."""
    if transfer.journal.is_shared(transfer.pair.destination_id, existing.path, item.source.path):
        # Two files of equal content that took turns in dating one copy would do so at every run.
        return as_stored(existing)
    return transfer.target.keep_time(existing, item.source.mtime_ns)


def name_beside(transfer: "Transfer", item: Item, found: Fingerprint) -> None:
    """Gives a file the name that shows its content."""
    item.beside, item.content = True, found.content
    item.to = beside(item.action.to, item.marker or found.content, transfer.can.names)


def keep_both(transfer: "Transfer", item: Item, found: Fingerprint, package: Package | None) -> None:
    """Sends a file under another name than that which other bytes have."""
    occupied = item.to
    name_beside(transfer, item, found)
    if item.to == occupied and item.marker is not None:
        item.marker = None
        name_beside(transfer, item, found)
    more = beside(item.action.to, item.marker or found.content, transfer.can.names, MORE_DIGITS)
    if item.to == occupied:
        existing, evidence = _first_equal(transfer, staying(transfer, item, Entry(occupied)), found)
        if existing is not None and evidence is not None:
            adopt(transfer, item, found, existing, evidence)
            return
        # Somebody edited the file that is kept beside, or it was damaged and its sender killed.
        item.to = more
    elif occupied == more:
        if not any(staying(transfer, item, Entry(occupied))):
            raise Transient(f"what is called {occupied} is about to be replaced or renamed; run again")
        raise Permanent(
            f"{occupied} is taken by other bytes although its name shows this content; rename that file"
        )
    again(transfer, item, replace(item.as_copy(), beside=True), package)


def again(transfer: "Transfer", item: Item, copy: Copy, package: Package | None) -> None:
    """Sends a file after all: from memory if it is there, else by reading it again."""
    to, content = item.to, item.content
    item.becomes(copy)
    if copy.beside:
        item.to, item.content = to, content
    if package is None:
        transfer.repeat(item)
    else:
        transfer.small.store([package])


def displace(transfer: "Transfer", item: Item) -> None:
    """``sync``: the object in the way goes to the trash before the new one is published; or, if it may be
    another file's copy, gets another name, and goes to the trash when all else has ended."""
    if item.displaces is None:
        return
    stamp, trash = transfer.settings.stamp, f"{TRASH}/{transfer.settings.stamp}/{item.displaces}"
    if item.waits:
        kept = transfer.target.rename(item.displaces, waiting(item.displaces, stamp, transfer.can.names))
        if kept is not None:
            transfer.trash_last(Trash(Entry(kept.path, kept.size), trash, NOT_AT_SOURCE))
            item.displaces = None
            return
    transfer.target.set_aside(item.displaces, trash)
    item.displaces = None


def compare_remembered(transfer: "Transfer", item: Item, action: Compare, known: Fingerprint) -> None:
    """Compares by what an earlier reading said; where that does not agree, the file is read first: its bytes
    may have changed behind its size and time."""
    candidates = staying(transfer, item, action.existing, *action.also)
    existing, evidence = _first_equal(transfer, candidates, known)
    if existing is not None and evidence is not None:
        adopt(transfer, item, known, existing, evidence)
    else:
        item.action = replace(action, reread=True)
        transfer.repeat(item)


def compare(
    transfer: "Transfer", item: Item, action: Compare, found: Fingerprint, package: Package | None
) -> None:
    """Compares a file with the objects that may be its copy, and does what follows from it."""
    try:
        candidates = staying(transfer, item, action.existing, *action.also)
        existing, evidence = _first_equal(transfer, candidates, found)
        if existing is None and not action.elsewhere:
            again(transfer, item, replace(item.as_copy(), reason="gone from the destination"), package)
        elif existing is not None and evidence is not None:
            adopt(transfer, item, found, existing, evidence)
        elif action.beside:
            keep_both(transfer, item, found, package)
        elif action.elsewhere or existing is None:
            again(transfer, item, replace(item.as_copy(), reason="new"), package)
        elif rotten(transfer, item, found):
            transfer.emit(Notice("error", _ROT.format(path=printable(item.source.path))))
            keep_both(transfer, item, found, package)
        elif action.replace:
            again(transfer, item, replace(item.as_copy(), displaces=existing.path), package)
        else:
            keep_both(transfer, item, found, package)
    finally:
        if package is not None:
            transfer.budget.release(package.cost)


def _first_equal(
    transfer: "Transfer", candidates: Iterable[Entry], found: Fingerprint
) -> tuple[Entry | None, str | None]:
    """Of objects that may have these bytes, the first that has them, with the evidence; else what the last
    name that was looked at has, and None. A hash that was listed is enough: a library that is there already
    would cost a request for each file."""
    existing, evidence = None, None
    for candidate in candidates:
        if (evidence := transfer.target.same_as_listed(candidate, found)) is not None:
            return candidate, evidence
        existing = transfer.target.look(candidate.path)
        evidence = None if existing is None else transfer.target.same(existing, found)
        if evidence is not None:
            break
    return existing, evidence


def rotten(transfer: "Transfer", item: Item, found: Fingerprint) -> bool:
    """Whether a source file that looks as it did when it was copied has other bytes now."""
    known = transfer.journal.content(transfer.pair.source_id, item.source)
    return known is not None and known.content != found.content


def move(transfer: "Transfer", item: Item, action: Move, found: Fingerprint, package: Package | None) -> None:
    """Renames the copy of a file that was renamed; sends it where that cannot be done."""
    try:
        stored = None
        if found.content == action.origin.content and transfer.can.server_move:
            stored = transfer.target.rename(action.origin.stored, action.to)
        if stored is None:
            existing, evidence = _first_equal(transfer, staying(transfer, item, *action.also), found)
            if existing is not None and evidence is not None:
                adopt(transfer, item, found, existing, evidence)
            else:
                again(transfer, item, replace(item.as_copy(), reason="new"), package)
            return
        item.adopted = True
        transfer.journal.set_withdrawn(transfer.pair.destination_id, action.origin.stored)
        transfer.prove(item, found, stored)
    finally:
        if package is not None:
            transfer.budget.release(package.cost)


def trash(transfer: "Transfer", item: Item, action: Trash) -> None:
    """Puts what the source does not have any more into the trash, unless it turned out to be a copy."""
    if transfer.needs(action.entry):
        transfer.close(item, None)
        return
    if action.alike and not any(_is_still_there(transfer, each) for each in action.alike):
        text = (
            f"{action.entry.path} stays at {transfer.pair.name}: it has the bytes of {action.alike[0].path}, "
            "which was listed and is not there. Perhaps somebody has renamed it. Run again later."
        )
        transfer.emit(Notice("warning", text))
        transfer.close(item, None)
        return
    transfer.target.set_aside(action.entry.path, action.to)
    transfer.journal.set_withdrawn(transfer.pair.destination_id, action.entry.path)
    transfer.close(item, transfer.outcome(item, Status.TRASHED, verify.NONE, action.to))


def _is_still_there(transfer: "Transfer", listed: Entry) -> bool:
    there = transfer.target.look(listed.path)
    return there is not None and equal_there(there, listed)
