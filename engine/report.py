"""What a run did, counted, and the exit code that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from photosync.engine.errors import Fatal, PhotosyncError, Transient, Unreachable
from photosync.engine.events import Outcome, Status
from photosync.engine.removal import Fate, Removal
from photosync.engine.scan import ListingError


class Exit(IntEnum):
    """Exit codes, as rclone documents them ("List of exit codes")."""

    OK = 0
    OTHER = 1
    USAGE = 2
    DIRECTORY_NOT_FOUND = 3
    FILE_NOT_FOUND = 4
    RETRY = 5
    NO_RETRY = 6
    FATAL = 7
    LIMIT = 8
    NOTHING_TRANSFERRED = 9


@dataclass(slots=True)
class Tally:
    """Outcomes as they come in.

    Attributes:
        counts: files by how they ended.
        bytes: sent.
        transient: failures that another run may overcome.
        suspicious: files that may have been damaged before they were copied.
        adopted: of those that were verified, whose bytes were there already.
    """

    counts: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    bytes: int = 0
    transient: int = 0
    suspicious: int = 0
    adopted: int = 0

    @property
    def ended(self) -> int:
        """Files that were not unchanged, however they ended."""
        return sum(self.counts.values()) - self.counts[Status.UNCHANGED]

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        self.bytes += outcome.sent
        if outcome.adopted:
            self.adopted += 1
        if outcome.transient:
            self.transient += 1
        if outcome.suspicious:
            self.suspicious += 1


@dataclass(frozen=True, slots=True)
class Report:
    """The end of a run against one destination.

    Attributes:
        destination: its name.
        tally: files by how they ended.
        source_bytes: bytes read at the source.
        requests: requests to the destination, by operation.
        retries: what had to be tried again there, by kind of trouble (`photosync.engine.errors.Trouble`).
        seconds: how long it took.
        root: root of the newest manifest there, hex, or None.
        snapshot: its number, or None.
        listing_errors: what could not be listed at the source.
        fatal: why the run ended early, or None.
        interrupted: it was stopped from outside.
        warnings: what a person should know though no file failed.
        manifest_error: why the manifest at the destination could not be brought up to date, or None; the
            copies themselves are as their outcomes say.
        removals: ``move``: what became of the proven files at the source.
    """

    destination: str
    tally: Tally
    source_bytes: int = 0
    requests: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    root: str | None = None
    snapshot: int | None = None
    listing_errors: Sequence[ListingError] = ()
    fatal: PhotosyncError | None = None
    interrupted: bool = False
    warnings: Sequence[str] = ()
    manifest_error: PhotosyncError | None = None
    removals: Sequence[Removal] = ()

    def count(self, *statuses: Status) -> int:
        return sum(self.tally.counts[status] for status in statuses)

    @property
    def transferred(self) -> int:
        """Files that this run brought to the destination or proved there."""
        return self.count(Status.VERIFIED, Status.WRITTEN, Status.CONFLICT)

    @property
    def left(self) -> list[Removal]:
        """Files that were to be removed and are still there."""
        return [each for each in self.removals if each.fate in (Fate.KEPT, Fate.FAILED)]

    @property
    def clean(self) -> bool:
        """Every file of the source is proven at the destination under its own name."""
        bad = self.count(Status.CONFLICT, Status.REFUSED, Status.FAILED, Status.PENDING) + len(self.left)
        return not (bad or self.listing_errors or self.fatal or self.interrupted or self.manifest_error)

    @property
    def status(self) -> str:
        """ "ok", "partial", "failed" or "nothing"."""
        if self.clean:
            return "ok" if self.transferred or self.count(Status.TRASHED) else "nothing"
        if self.count(Status.VERIFIED, Status.WRITTEN, Status.UNCHANGED, Status.CONFLICT):
            return "partial"
        return "failed"

    def record(self) -> dict[str, object]:
        """What is kept of it in the history of runs."""
        error = self.fatal or self.manifest_error
        return {
            "destination": self.destination,
            "status": self.status,
            **{status.value: count for status, count in self.tally.counts.items()},
            "bytes": self.tally.bytes,
            "seconds": round(self.seconds, 3),
            "snapshot": self.snapshot,
            "interrupted": self.interrupted,
            "error": str(error) if error else None,
        }

    @property
    def exit_code(self) -> Exit:
        if isinstance(self.fatal, Fatal) and not isinstance(self.fatal, Unreachable):
            return Exit.FATAL
        if self.interrupted:
            return Exit.OTHER
        passing = isinstance(self.fatal, Transient | Unreachable) or isinstance(
            self.manifest_error, Transient
        )
        again = self.tally.transient or any(each.transient for each in self.left)
        if passing or again or self.listing_errors:
            return Exit.RETRY
        failed = any(each.fate is Fate.FAILED for each in self.left)
        if self.fatal is not None or failed or self.count(Status.FAILED, Status.REFUSED):
            return Exit.NO_RETRY
        return Exit.OTHER if self.count(Status.CONFLICT) or self.manifest_error or self.left else Exit.OK
