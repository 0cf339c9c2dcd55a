"""What a transfer works on: its two ends, how, and one action under way."""

from dataclasses import dataclass, field, replace

from photosync.engine.actions import Compare, Copy, Move, Trash
from photosync.engine.capabilities import Readable, Store
from photosync.engine.entry import Entry
from photosync.engine.hashing import Fingerprint
from photosync.engine.media import Facts
from photosync.engine.retry import RetryPolicy
from photosync.engine.verify import Verify

OVERHEAD = 4096
"""Bytes that a file in flight costs beside its content."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One source and one destination.

    Attributes:
        source, destination: the stores.
        source_id, destination_id: what the journal calls them.
        name: what people call the destination.
    """

    source: Readable
    destination: Store
    source_id: str
    destination_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How to transfer.

    Attributes:
        how: see `photosync.engine.verify.Verify`.
        memory: bytes of all chunks in flight together.
        transfers: most files read, and most calls to the destination, at once; None: as the stores like it.
        stamp: names this run's folder in the trash.
        retries: how stubborn.
        reads_all: every file passes through this machine, even where the service could copy it by itself.
    """

    how: Verify = Verify.AUTO
    memory: int = 128 << 20
    transfers: int | None = None
    stamp: str = "now"
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    reads_all: bool = False


@dataclass(slots=True)
class Item:
    """An action under way.

    Attributes:
        action: what the plan says; replaced when the file turns out to be another case.
        number: its place in the plan.
        to: final path, as far as it is known.
        source: the file, as it was listed or, since it was opened, as it was then.
        beside: it is kept beside another file of its name.
        content: content id that ``to`` shows, for ``beside``.
        displaces: object to be moved to the trash before this one is published.
        waits: that object goes to the trash when all else has ended.
        attempt: reads so far.
        sent: bytes sent.
        within: copying it within the service, where that is possible, was not tried yet.
        followers: other files of its photo, whose names are decided with its own.
        marker: content id of the file that its photo is known by, to be shown instead of its own.
        facts: what it says of itself, once it was read.
        suspicion: why it may have been damaged before, or None.
        adopted: what was at the destination already is its copy.
    """

    action: Copy | Compare | Move | Trash
    number: int
    to: str
    source: Entry = field(init=False)
    beside: bool = False
    content: str | None = None
    displaces: str | None = None
    waits: bool = field(init=False)
    attempt: int = 1
    sent: int = 0
    within: bool = True
    followers: "tuple[Item, ...]" = ()
    marker: str | None = None
    facts: Facts | None = None
    suspicion: str | None = None
    adopted: bool = False

    def __post_init__(self) -> None:
        self.source = self.action.entry if isinstance(self.action, Trash) else self.action.source
        self.waits = isinstance(self.action, Copy | Compare) and self.action.waits

    def saw(self, source: Entry) -> None:
        """Notes what the file looked like when it was opened.

        If its size is not the one that was listed (phones tell wrong ones), what is in its way may be its
        copy after all, and is compared first.
        """
        if self.source is source or isinstance(self.action, Trash):
            return
        listed, self.source = self.source.size, source
        self.action = action = replace(self.action, source=source)
        if isinstance(action, Copy) and source.size != listed and (action.beside or action.displaces):
            there = Entry(action.displaces or action.to)
            self.action = Compare(
                source,
                action.to,
                there,
                action.reason,
                replace=not action.beside,
                elsewhere=action.beside,
                beside=action.beside,
                asset=action.asset,
            )
            self.to, self.beside, self.content, self.displaces = action.to, False, None, None

    @property
    def asset(self) -> str | None:
        return None if isinstance(self.action, Trash) else self.action.asset

    def as_copy(self) -> Copy:
        """What sends the file after all."""
        assert not isinstance(self.action, Trash)
        return Copy(self.source, self.action.to, self.action.reason, asset=self.action.asset)

    def becomes(self, action: Copy) -> None:
        self.action, self.to, self.source = action, action.to, action.source
        self.beside, self.displaces, self.adopted = action.beside, action.displaces, False


@dataclass(slots=True)
class Package:
    """A small file in memory, on its way."""

    item: Item
    data: bytes
    found: Fingerprint

    @property
    def cost(self) -> int:
        return len(self.data) + OVERHEAD
