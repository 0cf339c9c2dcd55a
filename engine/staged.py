"""What the stage knows of each file: who needs it, and the copy that there is of it."""

from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from photosync.engine.capabilities import Readable
from photosync.engine.entry import Entry
from photosync.engine.errors import PhotosyncError

if TYPE_CHECKING:
    from photosync.engine.stage_view import StageView


class Unwanted(Exception):
    """Nobody waits for the file that is being staged."""


class State(Enum):
    """How far a copy is."""

    READING = auto()
    STAGED = auto()
    FAILED = auto()


class Pass(Enum):
    """When the stager will read a file; NONE: not, as things are; NOW: it is about to open it."""

    NONE = auto()
    NOW = auto()
    FIRST = auto()
    SECOND = auto()


@dataclass(slots=True, eq=False)
class Copy:
    """The bytes of one reading of a file.

    Attributes:
        seen: the file as it was when it was opened.
        state: how far it is.
        segment: bytes of each piece but the last; 0: there is one piece.
        pieces: where the bytes lie; None: dropped.
        held: bytes of the budget that each piece takes.
        written: bytes staged so far.
        content: content id of the whole, once it is known.
        elsewhere: a destination's own proven copy that stands in for the staged one.
        error: why it failed.
        told: who knows that it failed.
        at: how far those have read who have it open.
        followers: of a streamed file, for whom its pieces are kept.
        revoked: it was dropped; who has it open reads no further.
    """

    seen: Entry
    state: State = State.READING
    segment: int = 0
    pieces: list[Path | None] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    written: int = 0
    content: str | None = None
    elsewhere: tuple[Readable, str] | None = None
    error: PhotosyncError | None = None
    told: "set[StageView]" = field(default_factory=set)
    at: "dict[StageView, int]" = field(default_factory=dict)
    followers: "set[StageView]" = field(default_factory=set)
    revoked: bool = False

    def serves(self, view: "StageView") -> bool:
        """Whether a destination can read all of it from here."""
        if self.state is State.FAILED:
            return False
        if self.segment:
            return view in self.followers
        return self.elsewhere is not None or None not in self.pieces


@dataclass(slots=True, eq=False)
class File:
    """One file of the source.

    Attributes:
        entry: as listed.
        order: its place in the reading order.
        turn: when the stager will read it.
        copy: what was read last, None if that was dropped.
        claims: who still needs it; False for one that gave up in this run.
        taken: who has read all of it.
        readings: how often it was read at the source.
    """

    entry: Entry
    order: int
    readings: int = 0
    turn: Pass = Pass.NONE
    copy: Copy | None = None
    claims: "dict[StageView, bool]" = field(default_factory=dict)
    taken: "set[StageView]" = field(default_factory=set)

    @property
    def live(self) -> "set[StageView]":
        return {view for view, alive in self.claims.items() if alive}

    @property
    def unread(self) -> "set[StageView]":
        """Who still has to read it."""
        return self.live - self.taken
