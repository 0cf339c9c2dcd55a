"""One source, several destinations: each has a run of its own, and a slow source is read once for all.

A destination that fails, fills up or is slow ends, or goes on, by itself (`photosync.engine.sync.run`); what
they share is the source, through `photosync.engine.stage`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from photosync.engine import sync
from photosync.engine.capabilities import Capabilities, Readable, Reader
from photosync.engine.entry import Entry
from photosync.engine.errors import PhotosyncError, classify, describe
from photosync.engine.events import Event, Finished, Listener, MayUnplug, Moved, Notice, Status
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.report import Exit, Report, Tally
from photosync.engine.source import Source
from photosync.engine.stage import Stage
from photosync.engine.stage_files import StageFiles
from photosync.engine.stage_listing import StageListing
from photosync.engine.stage_view import StageView
from photosync.engine.stager import Stager
from photosync.engine.sync import Job
from photosync.engine.workers import Cancelled, Seam, Workers

SETTLED = (Status.VERIFIED, Status.WRITTEN, Status.CONFLICT, Status.REFUSED)
"""Outcomes after which a destination has no further use for the staged copy."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One of the destinations.

    Attributes:
        job: what to do; all have the same source.
        journal: its own.
        serves: it is on a local disk, and its proven copies may stand in for staged ones.
    """

    job: Job
    journal: Journal
    serves: bool = False


@dataclass(frozen=True, slots=True)
class Staging:
    """How to stage a slow source.

    Attributes:
        folder: the stage's own; nobody else may be using it.
        limit: bytes that staged copies may take.
        journal: the stage's own.
        unplug_early: tell when the source is not needed any more, and make what is staged durable first.
        absent: why the source is not there; the run goes on from what is staged.
    """

    folder: Path
    limit: int
    journal: Journal
    unplug_early: bool = False
    absent: PhotosyncError | None = None


@dataclass(frozen=True, slots=True)
class AbsentSource:
    """Stands in for a source that is not there."""

    error: PhotosyncError
    capabilities: Capabilities

    def list_folder(self, path: str) -> list[Entry]:
        raise self.error

    def open(self, path: str, offset: int = 0) -> Reader:
        raise self.error


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """The end of a run against several destinations.

    Attributes:
        reports: one for each, in the order in which they were given.
        source_bytes: bytes read at the source.
        read_again: of those, bytes read more than once.
        seconds: how long it took.
        kept_files, kept_bytes: what stays staged for the next run.
    """

    reports: Sequence[Report]
    source_bytes: int = 0
    read_again: int = 0
    seconds: float = 0.0
    kept_files: int = 0
    kept_bytes: int = 0

    @property
    def clean(self) -> bool:
        """Every file of the source is proven at every destination."""
        return all(report.clean for report in self.reports)

    @property
    def transferred(self) -> int:
        return sum(report.transferred for report in self.reports)

    @property
    def status(self) -> str:
        """ "ok", "partial", "failed" or "nothing"."""
        found = {report.status for report in self.reports}
        if found <= {"ok", "nothing"}:
            return "ok" if "ok" in found else "nothing"
        return "failed" if found == {"failed"} else "partial"

    @property
    def exit_code(self) -> Exit:
        """The gravest of the destinations' codes."""
        found = {report.exit_code for report in self.reports}
        gravest = (Exit.FATAL, Exit.NO_RETRY, Exit.OTHER, Exit.RETRY)
        return next((code for code in gravest if code in found), Exit.OK)


def run(
    destinations: Sequence[Destination], staging: Staging | None, seam: Seam, listener: Listener
) -> MirrorReport:
    """Brings every destination up to date.

    Args:
        destinations: at least one.
        staging: None: each reads the source by itself.
        seam: threads and time.
        listener: told what happens, from one thread at a time.

    Returns:
        The report; what stopped a destination early is in its own part. It is complete after Ctrl-C, too.

    Raises:
        FileNotFoundError: the source is not there.
    """
    return _Mirror(destinations, staging, seam, listener).run()


class _Mirror:
    def __init__(
        self, destinations: Sequence[Destination], staging: Staging | None, seam: Seam, listener: Listener
    ) -> None:
        self.destinations, self.staging, self.seam = destinations, staging, seam
        self.reports: dict[int, Report] = {}
        self.source_bytes = 0
        self._stager: Stager | None = None
        self._listener = listener
        self._listener_error: Exception | None = None
        self._telling = seam.monitor()
        self._notices: set[str] = set()
        self._missing: list[FileNotFoundError] = []

    def run(self) -> MirrorReport:
        began = self.seam.monotonic()
        stage: Stage | None = None
        views: list[StageView | None] = [None] * len(self.destinations)
        try:
            with Workers(self.seam) as scope:
                if self.staging is not None:
                    stage, views = self._open_stage(self.staging, scope)
                for number, view in enumerate(views):
                    self._start(number, view, stage, scope)
                if stage is not None:
                    self._start_stage(stage, scope)
        except* (KeyboardInterrupt, Cancelled):
            # The destinations have said so in their reports.
            pass
        if self._listener_error is not None:
            raise self._listener_error
        if len(self._missing) == len(self.destinations):
            raise self._missing[0]
        kept = stage.close() if stage is not None else (0, 0)
        return MirrorReport(
            [self.reports.get(number) or self._cut_short(number) for number in range(len(views))],
            self.source_bytes if stage is not None else sum(r.source_bytes for r in self.reports.values()),
            stage.read_again if stage is not None else 0,
            self.seam.monotonic() - began,
            *kept,
        )

    def _cut_short(self, number: int) -> Report:
        return Report(self.destinations[number].job.pair.name, Tally(), interrupted=True)

    # the stage

    def _open_stage(self, staging: Staging, scope: Workers) -> tuple[Stage, list[StageView | None]]:
        pair, settings = self.destinations[0].job.pair, self.destinations[0].job.settings
        store: Readable | None = pair.source if staging.absent is None else None
        stage = Stage(
            StageListing(store, pair.source_id, staging.journal, scope),
            pair.source_id,
            StageFiles(staging.folder),
            staging.limit,
            staging.journal,
            scope,
            staging.absent,
        )
        if store is not None:
            source = Source(store, scope, Gate(scope), settings.retries, self._read)
            self._stager = Stager(stage, source, scope)
        # Who asks for contents to be compared wants the source read; what an absent one showed may be old.
        fresh = staging.absent is None
        return stage, [
            StageView(
                stage,
                pair.source,
                each.job.pair.destination_id,
                each.job.pair.destination if each.serves else None,
                each.journal if fresh and each.serves and not each.job.policy.checksum else None,
            )
            for each in self.destinations
        ]

    def _start_stage(self, stage: Stage, scope: Workers) -> None:
        staging, stager = self.staging, self._stager
        if staging is None or stager is None:
            return

        def all_staged(files: int, size: int) -> None:
            if not staging.unplug_early:
                return
            staging.journal.flush()
            try:
                stage.files.make_durable()
            except OSError as error:
                text = (
                    f"what is staged could not be made durable ({describe(error)}): do not unplug the phone"
                )
                self._emit(Notice("warning", f"{text} before the end"))
            else:
                self._emit(MayUnplug(files, size))

        scope.start(lambda: stager.run(all_staged), "stage")

    def _read(self, path: str, size: int) -> None:
        self.source_bytes += size
        self._emit(Moved("", path, read=size))

    # the destinations

    def _start(self, number: int, view: StageView | None, stage: Stage | None, scope: Workers) -> None:
        destination = self.destinations[number]
        job = destination.job
        if view is not None:
            job = replace(job, pair=replace(job.pair, source=view))

        def told(event: Event) -> None:
            self._emit(event)
            if stage is not None and view is not None and isinstance(event, Finished):
                _settle(stage, view, event)

        def deliver() -> None:
            try:
                self.reports[number] = sync.run(job, destination.journal, self.seam, told, scope)
            except FileNotFoundError as error:
                self._missing.append(error)
                self.reports[number] = self._failed(job, error)
            except Exception as error:
                if self._listener_error is not None:
                    scope.cancel()
                self.reports[number] = self._failed(job, error)
            finally:
                if stage is not None and view is not None:
                    stage.leave(view)

        scope.start(deliver, f"mirror-{number}")

    def _failed(self, job: Job, error: Exception) -> Report:
        return Report(job.pair.name, Tally(), fatal=classify(error, f"copying to {job.pair.name}"))

    def _emit(self, event: Event) -> None:
        with self._telling:
            if isinstance(event, Notice):
                # What there is to say of the source, every destination says.
                if event.text in self._notices:
                    return
                self._notices.add(event.text)
            if self._listener_error is None:
                try:
                    self._listener(event)
                except Exception as error:
                    self._listener_error = error
                    raise


def _settle(stage: Stage, view: StageView, event: Finished) -> None:
    outcome = event.outcome
    if outcome.status in (Status.VERIFIED, Status.CONFLICT) and outcome.stored is not None:
        stage.stored(view, outcome.path, outcome.stored)
    stage.settled(view, outcome.path, outcome.status in SETTLED)
