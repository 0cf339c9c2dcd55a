"""What happens during a run, for progress bars, JSON logs and anyone else who listens."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from photosync.engine.taken import Taken


class Status(StrEnum):
    """How one file ended."""

    VERIFIED = "verified"
    """At the destination, its bytes proven (see ``evidence``)."""
    WRITTEN = "written"
    """At the destination, not proven."""
    UNCHANGED = "unchanged"
    """Was there already, proven earlier."""
    CONFLICT = "conflict"
    """Another file has its name; both are kept, this one under another name."""
    REFUSED = "refused"
    """Cannot be stored there however often it is tried."""
    FAILED = "failed"
    """Tried and failed."""
    PENDING = "pending"
    """Not tried, or cut short; the next run goes on."""
    TRASHED = "trashed"
    """``sync``: not at the source any more, moved to the trash at the destination."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one file at one destination.

    Attributes:
        path: on the source, relative.
        status: see `Status`.
        evidence: "server-hash:<name>", "reread" or "none".
        bytes: size of the file.
        sent: bytes sent to the destination for it.
        stored: its path at the destination, where that is known.
        reason: why the planner wanted it.
        error: what went wrong and what to do, or None.
        transient: a failure that another run may well overcome.
        asset: source path of the file that its photo is known by, if that consists of several.
        taken: when it was taken, and by whose word; None if it was not read.
        suspicious: why it may have been damaged before it was copied, or None.
        adopted: its bytes were at the destination already, and nothing was sent.
    """

    path: str
    status: Status
    evidence: str = "none"
    bytes: int = 0
    sent: int = 0
    stored: str | None = None
    reason: str = ""
    error: str | None = None
    transient: bool = False
    asset: str | None = None
    taken: Taken | None = None
    suspicious: str | None = None
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """A stage of the run begins: "scan", "look", "plan", "transfer", "snapshot"."""

    name: str
    destination: str


@dataclass(frozen=True, slots=True)
class Planned:
    """Totals are known, before anything is transferred.

    Attributes:
        files: actions to carry out.
        bytes: bytes to read for them.
        unchanged: files with nothing to do.
    """

    destination: str
    files: int
    bytes: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes of one file went by: ``read`` at the source, ``sent`` to the destination.

    Where several destinations share a source, those read there are told with an empty ``destination``.
    """

    destination: str
    path: str
    read: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """One file came to its end."""

    destination: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class MayUnplug:
    """Everything that the destinations need of the source is staged durably.

    Attributes:
        files, bytes: what is staged and not delivered yet.
    """

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know, though it concerns no single file.

    Attributes:
        level: "info", "warning" or "error".
    """

    level: str
    text: str


Event: TypeAlias = Phase | Planned | Moved | Finished | MayUnplug | Notice
Listener: TypeAlias = Callable[[Event], None]
