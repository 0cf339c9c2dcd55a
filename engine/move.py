"""``move``: copies, proves, and only then removes at the source what this run proved."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

from photosync.engine import removal, spared, sync, verify
from photosync.engine.assets import pair
from photosync.engine.capabilities import Store
from photosync.engine.entry import Entry
from photosync.engine.errors import PhotosyncError
from photosync.engine.events import Event, Finished, Listener, Outcome, Status
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.media import NOTHING
from photosync.engine.names import printable
from photosync.engine.removal import Fate, Removal
from photosync.engine.report import Report
from photosync.engine.sync import Job
from photosync.engine.target import Target
from photosync.engine.workers import Seam, Workers

_PROVEN = (Status.VERIFIED, Status.CONFLICT)


def as_move(job: Job) -> Job:
    """The job with what ``move`` needs: every file is proven in this very run, and a source that was emptied
    by the last one is no error. Within a service its own hashes of both files are proof, unless reading was
    asked for (``checksum``)."""
    return replace(job, policy=replace(job.policy, anew=True), may_be_bare=True, allow_shrunken=True)


def run(job: Job, journal: Journal, seam: Seam, listener: Listener) -> Report:
    """Moves files; those of one photo together or not at all, and none that looks damaged.

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
    outcomes: dict[str, Outcome] = {}

    def heard(event: Event) -> None:
        if isinstance(event, Finished):
            outcomes[event.outcome.path] = event.outcome
        listener(event)

    report = sync.run(as_move(job), journal, seam, heard)
    if report.fatal or report.interrupted or report.manifest_error:
        return report
    if not any(map(_proven, outcomes.values())):
        return report
    photos, kept = _choose(job, journal, outcomes)
    try:
        report = replace(report, removals=[*kept, *_remove(job, journal, seam, photos)])
    except* PhotosyncError as group:
        report = replace(report, fatal=sync.worst(group))
    return report


def _proven(outcome: Outcome) -> bool:
    return outcome.status in _PROVEN and outcome.evidence != verify.NONE


def _choose(
    job: Job, journal: Journal, outcomes: Mapping[str, Outcome]
) -> tuple[list[list[str]], list[Removal]]:
    """Paths of the photos that may go, and what was proven and has to stay."""
    facts = {path: journal.earlier_facts(job.pair.source_id, path) or NOTHING for path in outcomes}
    entries = [Entry(path, outcome.bytes) for path, outcome in sorted(outcomes.items())]
    photos: list[list[str]] = []
    kept: list[Removal] = []
    for photo in pair(entries, facts):
        members = [outcomes[entry.path] for entry in photo.members]
        reason = next(filter(None, map(_why_kept, members)), None)
        if reason is None:
            photos.append([each.path for each in members])
            continue
        for each in filter(_proven, members):
            why = _why_kept(each) or f"it belongs to one photo with another: {reason}"
            kept.append(Removal(each.path, Fate.KEPT, each.bytes, error=why))
    return photos, kept


def _why_kept(outcome: Outcome) -> str | None:
    if not _proven(outcome):
        return f"{printable(outcome.path)} was not proven"
    if outcome.suspicious:
        return f"{printable(outcome.path)} looks damaged ({outcome.suspicious}): look at its copy first"
    return None


def _remove(job: Job, journal: Journal, seam: Seam, photos: Sequence[Sequence[str]]) -> list[Removal]:
    between, settings = job.pair, job.settings
    source = between.source
    assert isinstance(source, Store), "what is staged for several places is never moved"
    with _target(job, seam) as target:
        removal.refuse_same_place(source, target)
    known = {each.path: each for each in journal.deliveries(between.source_id, between.destination_id)}
    going = [[known[path] for path in photo] for photo in photos]
    before = journal.last_count(between.source_id, between.destination_id)
    # The intent: from here on these copies have no source any more, whatever happens to this process. A file
    # that is still there at the next run is taken for new, found to be at the destination, and proven again.
    for delivery in chain.from_iterable(going):
        journal.retire(between.source_id, between.destination_id, delivery.path, settings.stamp)
    journal.flush()
    with _target(job, seam) as target:
        spared.tell(between.destination_id, journal, target)
    with Workers(seam) as workers:
        removals = removal.from_source(source, going, workers, Gate(workers), settings.retries)
    if before is not None:
        left = before - sum(each.fate is Fate.REMOVED for each in removals)
        ended = {"status": "moved", "destination": between.name}
        journal.add_run(between.source_id, between.destination_id, seam.wall_ns(), max(left, 0), ended)
    journal.flush()
    return removals


@contextmanager
def _target(job: Job, seam: Seam) -> Iterator[Target]:
    settings = job.settings
    with Workers(seam) as workers:
        yield Target(job.pair.destination, workers, Gate(workers), settings.retries, settings.how)
