"""What a plan consists of, and what it says of itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from photosync.engine.entry import Entry
from photosync.engine.journal import Delivery
from photosync.engine.media import NOTHING, Facts
from photosync.engine.taken import taken


@dataclass(frozen=True, slots=True)
class Copy:
    """Send a file.

    Attributes:
        source: the file.
        to: final path at the destination.
        reason: why.
        beside: ``to`` is taken by other bytes: keep both, this one under a name with its content id.
        displaces: path of the object that goes to the trash first.
        waits: that object may be the copy of another file of the run: it goes to the trash last.
        asset: path of the file that its photo is known by, if that consists of several.
    """

    source: Entry
    to: str
    reason: str
    beside: bool = False
    displaces: str | None = None
    waits: bool = False
    asset: str | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """Find out whether the destination's object has the source's bytes; adopt it, or keep both.

    Attributes:
        replace: if they differ, the destination's object goes to the trash (``sync``).
        reread: read the source even if its size and time are as they were.
        elsewhere: ``existing`` does not have the name ``to``.
        beside: ``to`` is taken by other bytes; else, with ``elsewhere``, it is free.
        also: others that may have the bytes.
        waits, asset: as in `Copy`.
    """

    source: Entry
    to: str
    existing: Entry
    reason: str
    replace: bool = False
    reread: bool = False
    elsewhere: bool = False
    beside: bool = False
    also: tuple[Entry, ...] = ()
    waits: bool = False
    asset: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A file was renamed at the source: rename it at the destination once its bytes are proven equal.

    Attributes:
        origin: the delivery under the old name.
        also: objects that may be its copy, if the one under the old name is not.
        asset: as in `Copy`.
    """

    source: Entry
    to: str
    origin: Delivery
    reason: str
    also: tuple[Entry, ...] = ()
    asset: str | None = None


@dataclass(frozen=True, slots=True)
class Trash:
    """Move an object at the destination to the trash.

    Attributes:
        alike: objects with the same bytes that stay. If none of them is there any more, this one is, under
            another name, what the source still has.
    """

    entry: Entry
    to: str
    reason: str
    alike: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """A source entry that cannot be stored."""

    source: Entry
    reason: str


Action: TypeAlias = Copy | Compare | Move | Trash | Refuse
NOT_AT_SOURCE = "not at the source any more"
"""Why something goes to the trash."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in the order in which they are carried out, and what needs none.

    Attributes:
        facts: what was known of the files, by source path.
    """

    actions: list[Action]
    unchanged: int
    facts: Mapping[str, Facts] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes to read at the source, if every comparison needs them."""
        return sum(action.source.size for action in self.actions if isinstance(action, Copy | Compare | Move))

    def describe(self) -> Iterator[dict[str, object]]:
        """One JSON-able object an action."""
        for action in self.actions:
            if isinstance(action, Trash):
                yield {
                    "action": "trash",
                    "path": action.entry.path,
                    "to": action.to,
                    "bytes": action.entry.size,
                    "reason": action.reason,
                }
                continue
            row: dict[str, object] = {
                "action": type(action).__name__.lower(),
                "path": action.source.path,
                "bytes": action.source.size,
                "reason": action.reason,
            }
            if not isinstance(action, Refuse):
                source = action.source
                when = taken(source.path, source.mtime_ns, self.facts.get(source.path, NOTHING))
                row |= {"to": action.to, "taken": when.text, "taken_from": when.source, "asset": action.asset}
            if isinstance(action, Move):
                row["from"] = action.origin.stored
            yield row


def equal_there(one: Entry, other: Entry) -> bool:
    """Whether two objects have the same bytes, by what the destination says of both."""
    return one.size == other.size and not one.digests.items().isdisjoint(other.digests.items())


def same_there(existing: Entry, delivery: Delivery) -> bool:
    """Whether the destination's object is still the one that was proven."""
    return existing.size == delivery.size and existing.version == delivery.stored_version
