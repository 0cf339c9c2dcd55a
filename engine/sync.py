"""One run: list both sides, plan, transfer, write the manifest, report."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from photosync.engine import record, retry, room, scan, spared
from photosync.engine.actions import Compare, Move, Plan
from photosync.engine.capabilities import Probes, Remarks, Repeats, Settles, Store, Sweeps
from photosync.engine.choosing import Choice
from photosync.engine.entry import Entry, Kind, Listed
from photosync.engine.errors import Fatal, PhotosyncError, SafetyGuard, classify
from photosync.engine.events import Event, Finished, Listener, Moved, Notice, Phase, Planned, Status
from photosync.engine.filters import Filter
from photosync.engine.item import Pair, Settings
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate, Timetable
from photosync.engine.looking import Looker
from photosync.engine.names import is_ours, is_ours_among_plain
from photosync.engine.nodes import ManifestError, NewerFormat
from photosync.engine.plan import Mode, Policy, make_plan
from photosync.engine.report import Report, Tally
from photosync.engine.retry import RetryPolicy
from photosync.engine.scan import Listing
from photosync.engine.signing import FreedUntrusted
from photosync.engine.source import Shared, Source
from photosync.engine.target import Target
from photosync.engine.transfer import Transfer
from photosync.engine.workers import Cancelled, Errand, Seam, Workers, collector

T = TypeVar("T")

SHRUNKEN_FROM = 20
"""A source with fewer files than this at the last run may shrink as it likes."""
FEW = 500
"""Of so many copies of its own a run leaves it to the next one to hear from a change feed."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run needs to know.

    Attributes:
        pair: where from and where to.
        policy: what becomes of what.
        settings: how to transfer.
        filter: which source files count; None: all.
        allow_empty: an empty source, or a destination that was emptied, is no error.
        allow_shrunken: a source with less than half the files of the last run is no error.
        requests_per_second: to the destination; None: as many as there are.
        bandwidth: to the destination; None: all of it.
        device: names this machine in snapshots.
        snapshot: write what is proven into a manifest at the destination.
        choice: which photos count; None: all.
        may_be_bare: an empty source is no error; an emptied destination still is one.
    """

    pair: Pair
    policy: Policy = field(default_factory=Policy)
    settings: Settings = field(default_factory=Settings)
    filter: Filter | None = None
    allow_empty: bool = False
    allow_shrunken: bool = False
    requests_per_second: float | None = None
    bandwidth: Timetable | None = None
    device: str = ""
    snapshot: bool = True
    choice: Choice | None = None
    may_be_bare: bool = False


class _Unheard(BaseException):
    """The listener failed. Not an `Exception`: no file is to blame."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is there, and what is to be done.

    Attributes:
        too_little: warning that the destination has too little room for it, or None.
    """

    source: Listing
    destination: Listing
    plan: Plan
    too_little: str | None = None


def run(job: Job, journal: Journal, seam: Seam, listener: Listener, within: Workers | None = None) -> Report:
    """Brings one destination up to date.

    Args:
        job: what to do.
        journal: state of earlier runs; nobody else may be writing it.
        seam: threads and time.
        listener: told what happens, from one thread at a time.
        within: a scope whose cancellation interrupts the run.

    Returns:
        The report; what stopped the run early is in it. It is complete after Ctrl-C, too.

    Raises:
        FileNotFoundError: the source is not there.
    """
    return _Run(job, journal, seam, listener).run(within)


def carry_out(job: Job, plan: Plan, journal: Journal, seam: Seam, listener: Listener) -> Report:
    """As `run`, with a plan that was made elsewhere: nothing is listed."""
    return _Run(job, journal, seam, listener).run(plan=plan)


def prepare(job: Job, journal: Journal, seam: Seam, listener: Listener) -> Prepared:
    """Only looks: the plan that `run` would carry out.

    Raises:
        FileNotFoundError: the source is not there.
        PhotosyncError: a side cannot be listed, or a safety guard says no.
    """
    this = _Run(job, journal, seam, listener)
    with Workers(seam) as workers:
        return this.prepare(workers)


class _Run:
    def __init__(self, job: Job, journal: Journal, seam: Seam, listener: Listener) -> None:
        self.job, self.journal, self.seam = job, journal, seam
        self.pair = job.pair
        self.tally = Tally()
        self.warnings: list[str] = []
        self.looked_bytes = 0
        self.manifest_error: PhotosyncError | None = None
        self._listener = listener
        self._listener_error: Exception | None = None
        self._telling = seam.monitor()
        self._gates: tuple[Gate, Gate] | None = None

    def emit(self, event: Event) -> None:
        with self._telling:
            if isinstance(event, Finished):
                self.tally.add(event.outcome)
            if self._listener_error is None:
                try:
                    self._listener(event)
                except Exception as error:
                    self._listener_error = error
                    raise _Unheard from error

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.emit(Notice("warning", text))

    def run(self, within: Workers | None = None, plan: Plan | None = None) -> Report:
        began, started_ns = self.seam.monotonic(), self.seam.wall_ns()
        before = dict(self.pair.destination.requests)
        repeated = self._repeated()
        prepared: Prepared | None = None
        transfer: Transfer | None = None
        fatal: PhotosyncError | None = None
        interrupted = False
        try:
            with Workers(self.seam, within) as workers:
                prepared = self.prepare(workers) if plan is None else self._given(plan)
                gates = self._gates_of(workers)
                self._probe(prepared.plan, workers, gates[1])
                self._settle(prepared.plan, workers, gates[1])
                settings = replace(self.job.settings, reads_all=self.job.policy.checksum)
                transfer = Transfer(self.pair, self.journal, workers, gates, settings, self.emit)
                self.emit(Phase("transfer", self.pair.name))
                transfer.run(prepared.plan)
                if self.job.snapshot:
                    with collector.paused():
                        self._record(transfer)
                self._sweep(prepared.destination)
        except* KeyboardInterrupt:
            interrupted = True
        except* PhotosyncError as group:
            fatal = worst(group)
        except* (Cancelled, _Unheard):
            interrupted = True
        self.journal.flush()
        if self._listener_error is not None:
            raise self._listener_error
        if transfer is not None and fatal is None:
            fatal = transfer.source_gone
        head = self.journal.head(self.pair.destination_id)
        report = Report(
            destination=self.pair.name,
            tally=self.tally,
            source_bytes=self.looked_bytes + (transfer.source_bytes if transfer else 0),
            requests=_since(before, dict(self.pair.destination.requests)),
            retries=self._retries(repeated),
            seconds=self.seam.monotonic() - began,
            root=head[1] if head else None,
            snapshot=head[0] if head else None,
            listing_errors=prepared.source.errors if prepared else (),
            fatal=fatal,
            interrupted=interrupted,
            warnings=self.warnings,
            manifest_error=self.manifest_error,
        )
        whole = prepared is not None and prepared.source.complete and self.job.filter is None
        files = _seen(prepared.source) if prepared is not None and whole else None
        self.journal.add_run(
            self.pair.source_id, self.pair.destination_id, started_ns, files, report.record()
        )
        self.journal.flush()
        return report

    def _repeated(self) -> dict[str, int]:
        store = self.pair.destination
        return dict(store.repeated) if isinstance(store, Repeats) else {}

    def _retries(self, repeated: dict[str, int]) -> dict[str, int]:
        """What was tried again, by this engine and, since ``repeated``, by the store itself."""
        counted = Counter(_since(repeated, self._repeated()))
        if self._gates:
            counted.update({kind.value: count for kind, count in self._gates[1].retries.items()})
        return dict(counted)

    def _gates_of(self, workers: Workers) -> tuple[Gate, Gate]:
        if self._gates is None:
            own = Gate(workers, self.job.requests_per_second, self.job.bandwidth)
            self._gates = Gate(workers), own
        return self._gates

    def prepare(self, workers: Workers) -> Prepared:
        gates = self._gates_of(workers)
        self.emit(Phase("scan", self.pair.name))
        # In the scope that the gates are of: cancelled, it wakes whoever waits at one of them.
        listed = Errand(workers, lambda: self._list_destination(workers, gates[1]), "list")
        with collector.paused():
            source = self._scan_source(workers, gates[0], listed.begin)
        self._guard(source)
        looker = self._looker(workers, gates[0])
        source, facts = looker.choose(source, self.job.choice)
        if not source.entries and self.job.choice is not None:
            self._guard(source)
        destination = listed.result()
        self._tell_remarks()
        self._guard_destination(destination)
        known = self.journal.deliveries(self.pair.source_id, self.pair.destination_id)
        contents = looker.prepare(source, known, self.job.policy.layout, facts)
        self.emit(Phase("plan", self.pair.name))
        known = self.journal.deliveries(self.pair.source_id, self.pair.destination_id)
        can = self.pair.destination.capabilities
        policy = self._policy(self._freed(workers, gates[1]))
        with collector.paused():
            plan = make_plan(source, destination, known, policy, can, facts, contents)
        plan, too_little = room.fit(plan, self.pair.destination, self._begun)
        self._planned(plan)
        if too_little is not None:
            self.warn(too_little)
        return Prepared(source, destination, plan, too_little)

    def _begun(self, entry: Entry) -> bool:
        return self.journal.upload(self.pair.source_id, self.pair.destination_id, entry) is not None

    def _given(self, plan: Plan) -> Prepared:
        self._planned(plan)
        return Prepared(Listing(()), Listing(()), plan)

    def _planned(self, plan: Plan) -> None:
        self.tally.counts[Status.UNCHANGED] = plan.unchanged
        self.emit(Planned(self.pair.name, len(plan.actions), plan.bytes, plan.unchanged))

    def _probe(self, plan: Plan, workers: Workers, gate: Gate) -> None:
        store = self.pair.destination
        if plan.actions and isinstance(store, Probes):
            retry.call(store.probe, f"trying out {self.pair.name}", workers, gate, self.job.settings.retries)

    def _freed(self, workers: Workers, gate: Gate) -> frozenset[str]:
        """What the destination itself says is to stay; asked only by runs that take something away."""
        if self.job.policy.mode is not Mode.SYNC or not self.job.snapshot:
            return frozenset()
        settings = self.job.settings
        target = Target(self.pair.destination, workers, gate, settings.retries, settings.how)
        return spared.guarded(self.pair.destination_id, self.journal, target)

    def _settle(self, plan: Plan, workers: Workers, gate: Gate) -> None:
        """What is adopted, or only recorded now, may come from a process that was killed before it synced."""
        store = self.pair.destination
        if not isinstance(store, Settles):
            return
        adopts = any(isinstance(action, Compare | Move) for action in plan.actions)
        if adopts or self._untold():
            retry.call(store.settle, f"syncing {self.pair.name}", workers, gate, self.job.settings.retries)

    def _untold(self) -> bool:
        """Whether the manifest does not say everything that the journal knows."""
        place = self.pair.destination_id
        return any(True for _ in self.journal.unrecorded(place)) or bool(self.journal.withdrawn(place))

    def _policy(self, stays: frozenset[str]) -> Policy:
        between = self.pair.source_id, self.pair.destination_id
        kept, stays = self.journal.kept(*between), stays | self.journal.spared(*between)
        syncing = self.job.policy.mode is Mode.SYNC
        shared = self.journal.shared(*between) if syncing else frozenset()
        policy = replace(self.job.policy, kept=kept, spared=stays, shared=shared)
        wanted, choice = self.job.filter, self.job.choice
        if wanted is None and choice is None:
            return policy

        def in_scope(path: str, size: int, mtime_ns: int | None) -> bool:
            if wanted is not None and not wanted.wants(path, size, mtime_ns):
                return False
            if choice is None:
                return True
            return choice.wants_file(path, mtime_ns, self.journal.earlier_facts(self.pair.source_id, path))

        return replace(policy, in_scope=in_scope)

    def _looker(self, workers: Workers, gate: Gate) -> Looker:
        def began() -> None:
            self.emit(Phase("look", self.pair.name))

        return Looker(self._source(workers, gate), self.pair.source_id, self.journal, began)

    def _source(self, workers: Workers, gate: Gate) -> Source:
        def progress(path: str, size: int) -> None:
            self.looked_bytes += size
            self.emit(Moved(self.pair.name, path, read=size))

        store = self.pair.source
        # Only what is going to be delivered is staged; heads are looked at where the files are.
        origin = store.origin if isinstance(store, Shared) else store
        return Source(origin, workers, gate, self.job.settings.retries, progress)

    def _list_destination(self, workers: Workers, gate: Gate) -> Listing:
        with collector.paused():
            listing = list_place(
                self.pair.destination,
                self.pair.destination_id,
                self.journal,
                workers,
                gate,
                self.job.settings.retries,
                is_ours_among_plain if self.job.policy.plain_names else is_ours,
            )
        for error in listing.errors:
            raise error.error
        return listing

    def _scan_source(self, workers: Workers, gate: Gate, begun: Callable[[], None]) -> Listing:
        """Everything at the source.

        Args:
            begun: called when it is there, and often again.
        """
        store, wanted = self.pair.source, self.job.filter

        def wants(entry: Entry) -> bool:
            return wanted is not None and wanted.wants(entry.path, entry.size, entry.mtime_ns)

        def retried(run: Callable[[], Listed], doing: str) -> Listed:
            files = retry.call(run, doing, workers, gate, self.job.settings.retries)
            begun()
            return files

        listing = scan.walk(
            store,
            check=workers.check,
            is_source=True,
            wants=wants if wanted is not None else scan.everything,
            enters=wanted.enters if wanted is not None else scan.every_folder,
            retry=retried,
        )
        for error in listing.errors:
            self.warn(f"{error.path or '/'} could not be listed at the source: {error.error}")
        self._tell_skipped(entry for entry in listing.others if entry.kind is Kind.SKIPPED)
        return listing

    def _tell_skipped(self, skipped: Iterable[Entry]) -> None:
        by_note: dict[str, list[str]] = {}
        for entry in skipped:
            by_note.setdefault(entry.note, []).append(entry.path)
        for note, names in sorted(by_note.items()):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            self.emit(Notice("info", f"left out: {', '.join(names[:3])}{more} ({note})"))

    def _tell_remarks(self) -> None:
        for place, store in (("the source", self.pair.source), (self.pair.name, self.pair.destination)):
            if isinstance(store, Remarks):
                for remark in store.remarks():
                    self.warn(f"{place}: {remark}")

    def _guard(self, source: Listing) -> None:
        """Absence is not evidence: a source that lost most of its files is not believed."""
        everything = self.job.filter is None and not source.declined
        wiping = everything or self.job.policy.mode is Mode.SYNC
        believed = self.job.allow_empty or self.job.may_be_bare
        if not source.entries and not believed and source.complete and wiping:
            what = "is empty" if everything else "has no file that passes the filters"
            raise SafetyGuard(
                f"the source {what}. If it is a phone, unlock it and allow file transfer; if that is right, "
                "say --allow-empty. Nothing was changed."
            )
        last = self.journal.last_count(self.pair.source_id, self.pair.destination_id)
        if (
            last is not None
            and last >= SHRUNKEN_FROM
            and _seen(source) * 2 < last
            and self.job.filter is None
            and not self.job.allow_shrunken
        ):
            raise SafetyGuard(
                f"the source has {len(source.entries)} files where the last run saw {last}. If you removed "
                "them, run again with --allow-shrunken; if not, check the device. Nothing was changed."
            )

    def _guard_destination(self, destination: Listing) -> None:
        """A disk that is not mounted looks like an empty folder, and copying there fills another disk."""
        head = self.journal.head(self.pair.destination_id)
        if head is None or destination.entries or destination.own:
            return
        if self.job.allow_empty:
            self.journal.forget_head(self.pair.destination_id)
        elif not self.pair.destination.capabilities.flat_listing:
            raise SafetyGuard(
                f"{self.pair.name} held snapshot {head[0]} at the last run and is empty now. If it is a "
                "disk, mount it; if you emptied it, say --allow-empty. Nothing was changed."
            )

    def _sweep(self, destination: Listing) -> None:
        store = self.pair.destination
        if not destination.own or not isinstance(store, Sweeps):
            return
        try:
            store.sweep([entry.path for entry in destination.own])
        except (PhotosyncError, OSError) as error:
            failure = classify(error, f"removing leftovers at {self.pair.name}")
            if isinstance(failure, Fatal):
                raise failure from error
            self.emit(Notice("info", f"{failure}; the next run tries again"))

    def _record(self, transfer: Transfer) -> None:
        """Writes what is proven into the destination's manifest, an interrupted run's work included."""
        pair = self.pair
        self.journal.flush()
        if transfer.unread:
            self.emit(
                Notice(
                    "info",
                    f"{transfer.unread} files were proven by the service's own hash of both. Their bytes "
                    "were not read, so the manifest does not list them; with --checksum they are read.",
                )
            )
        self.emit(Phase("snapshot", pair.name))
        try:
            written = record.record(
                pair.destination_id, self.journal, transfer.target, self.seam, self.job.device
            )
            spared.tell(pair.destination_id, self.journal, transfer.target)
        except Fatal:
            raise
        except (PhotosyncError, OSError) as error:
            self.manifest_error = classify(error, "writing the manifest")
            remedy = (
                f". To begin a new one: photosync manifest rebuild {pair.name}"
                if isinstance(error, ManifestError) and not isinstance(error, NewerFormat | FreedUntrusted)
                else ""
            )
            self.emit(
                Notice("error", f"the manifest at {pair.name} was not brought up to date: {error}{remedy}")
            )
            return
        if written and pair.destination.capabilities.change_feed and self.tally.ended > FEW:
            transfer.target.call(
                lambda: scan.drain(pair.destination, self.journal, pair.destination_id),
                f"asking {pair.name} what changed",
            )


def list_place(
    store: Store,
    identity: str,
    journal: Journal,
    workers: Workers,
    gate: Gate,
    retries: RetryPolicy,
    own: Callable[[str], bool] = is_ours,
) -> Listing:
    """Everything at a destination, the cheapest way that the store offers. An absent root is empty."""

    def retried(run: Callable[[], T], doing: str) -> T:
        return retry.call(run, doing, workers, gate, retries)

    if store.capabilities.change_feed:
        return retried(lambda: scan.fed(store, journal, identity, own), "listing the destination")
    if store.capabilities.flat_listing:
        return retried(lambda: scan.flat(store, check=workers.check, own=own), "listing the destination")
    try:
        return scan.walk(store, check=workers.check, own=own, retry=retried)
    except FileNotFoundError:
        return Listing((), exists=False)


def _seen(source: Listing) -> int:
    """Files that the source has, wanted or not."""
    return len(source.entries) + len(source.declined)


def worst(group: BaseExceptionGroup[PhotosyncError]) -> PhotosyncError:
    """Of several errors, the one that ended the run."""
    errors = list(_leaves(group))
    return next((error for error in errors if isinstance(error, Fatal)), errors[0])


def _leaves(error: BaseException) -> Iterator[PhotosyncError]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif isinstance(error, PhotosyncError):
        yield error


def _since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
