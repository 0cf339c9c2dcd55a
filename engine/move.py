"""``move``: copies, proves, and only then removes at the source what this run proved."""

from dataclasses import replace

from photosync.engine import removal, sync, verify
from photosync.engine.capabilities import Store
from photosync.engine.errors import PhotosyncError
from photosync.engine.events import Event, Finished, Listener, Status
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.removal import Fate, Removal
from photosync.engine.report import Report
from photosync.engine.sync import Job
from photosync.engine.target import Target
from photosync.engine.workers import Seam, Workers

_PROVEN = (Status.VERIFIED, Status.CONFLICT)


def as_move(job: Job) -> Job:
    """The job with what ``move`` needs: every file is read and proven in this very run, and a source that was
    emptied by the last one is no error."""
    return replace(job, policy=replace(job.policy, checksum=True), allow_empty=True, allow_shrunken=True)


def run(job: Job, journal: Journal, seam: Seam, listener: Listener) -> Report:
    """Moves files.

    Nothing is removed if the run ended early or the destination's manifest could not be written.

    Args:
        job: as for `photosync.engine.sync.run`.
        journal: of the destination. What is to be removed is written there before it is.
        seam: threads and time.
        listener: told what happens, from one thread at a time.

    Returns:
        The report of the copy, with what became of each file that it proved.

    Raises:
        FileNotFoundError: the source is not there.
    """
    proven: set[str] = set()

    def heard(event: Event) -> None:
        if isinstance(event, Finished):
            outcome = event.outcome
            if outcome.status in _PROVEN and outcome.evidence != verify.NONE:
                proven.add(outcome.path)
        listener(event)

    report = sync.run(as_move(job), journal, seam, heard)
    if report.fatal or report.interrupted or report.manifest_error or not proven:
        return report
    try:
        report = replace(report, removals=_remove(job, journal, seam, proven))
    except* PhotosyncError as group:
        report = replace(report, fatal=sync.worst(group))
    return report


def _remove(job: Job, journal: Journal, seam: Seam, proven: set[str]) -> list[Removal]:
    pair, settings = job.pair, job.settings
    source = pair.source
    assert isinstance(source, Store), "what is staged for several places is never moved"
    with Workers(seam) as workers:
        target = Target(pair.destination, workers, Gate(workers), settings.retries, settings.how)
        removal.refuse_same_place(source, target)
    deliveries = [
        delivery
        for delivery in journal.deliveries(pair.source_id, pair.destination_id)
        if delivery.path in proven
    ]
    before = journal.last_count(pair.source_id, pair.destination_id)
    # The intent: from here on these copies have no source any more, whatever happens to this process. A file
    # that is still there at the next run is taken for new, found to be at the destination, and proven again.
    for delivery in deliveries:
        journal.retire(pair.source_id, pair.destination_id, delivery.path, settings.stamp)
    journal.flush()
    with Workers(seam) as workers:
        removals = removal.from_source(source, deliveries, workers, Gate(workers), settings.retries)
    if before is not None:
        left = before - sum(each.fate is Fate.REMOVED for each in removals)
        ended = {"status": "moved", "destination": pair.name}
        journal.add_run(pair.source_id, pair.destination_id, seam.wall_ns(), max(left, 0), ended)
    journal.flush()
    return removals
