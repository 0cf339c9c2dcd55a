"""Files of one photo under names that go together, where some of their names are taken by others."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from photosync.engine.actions import Action, Compare, Copy
from photosync.engine.hashing import Fingerprint

if TYPE_CHECKING:
    from photosync.engine.item import Item
    from photosync.engine.transfer import Transfer


def lead(items: "list[Item]") -> "Iterator[Item]":
    """Items in their order; of a photo some of whose names may be taken, only the first, which the others
    follow."""
    photos: dict[str, list[Item]] = {}
    for item in items:
        if item.asset is not None and isinstance(item.action, Copy | Compare):
            photos.setdefault(item.asset, []).append(item)
    behind: set[int] = set()
    for members in photos.values():
        if len(members) > 1 and any(_may_be_taken(item.action) for item in members):
            members[0].followers = tuple(members[1:])
            behind.update(item.number for item in members[1:])
    return (item for item in items if item.number not in behind)


def _may_be_taken(action: Action) -> bool:
    if isinstance(action, Compare):
        return action.beside or not (action.replace or action.elsewhere)
    return isinstance(action, Copy) and action.beside


def decide(transfer: "Transfer", leader: "Item") -> None:
    """Looks whether other bytes have the name of any file of a photo. If so, all of its files that are not
    there already are to go beside them, each under its name with the leader's content id.

    A Live Photo whose picture and film have different identifiers is two photos.

    Raises:
        Exception: a file could not be read, or the destination not be asked.
    """
    if _may_be_taken(leader.action):
        # Reading it may tell that its size is another than was listed, and that it is there after all.
        _fingerprint(transfer, leader)
    members = [leader, *leader.followers]
    there = [item for item in members if _is_there(transfer, item)]
    apart = [item for item in members if item not in there and _may_be_taken(item.action)]
    if not apart:
        return
    shown = _fingerprint(transfer, leader).content
    identifier = _identifier(transfer, leader)
    for item in members:
        other = _identifier(transfer, item)
        strange = identifier and other and identifier != other
        if item in there or (strange and item not in apart):
            continue
        item.marker = None if strange else shown
        item.becomes(replace(item.as_copy(), beside=True))


def _is_there(transfer: "Transfer", item: "Item") -> bool:
    action = item.action
    if not isinstance(action, Compare):
        return False
    found = _fingerprint(transfer, item)
    for candidate in (action.existing, *action.also):
        existing = transfer.target.look(candidate.path)
        if existing is not None and transfer.target.same(existing, found) is not None:
            return True
    return False


def _fingerprint(transfer: "Transfer", item: "Item") -> Fingerprint:
    place = transfer.pair.source_id
    known = transfer.journal.content(place, item.source)
    if known is None:
        known = transfer.hash(item)
        transfer.journal.set_content(place, item.source, known)
    return known


def _identifier(transfer: "Transfer", item: "Item") -> str:
    """What both halves of a Live Photo bear, as far as it is known."""
    facts = item.facts or transfer.journal.facts(transfer.pair.source_id, item.source)
    return "" if facts is None else facts.pair
