"""One phone, one destination and one journal in a deterministic world, for tests of single behaviours."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from photosync.engine.entry import Entry
from photosync.engine.events import Event, Finished, Notice, Outcome, Status
from photosync.engine.item import Pair, Settings
from photosync.engine.journal import Journal
from photosync.engine.limits import Timetable
from photosync.engine.plan import Mode, Policy
from photosync.engine.report import Report
from photosync.engine.retry import RetryPolicy
from photosync.engine.sync import Job, run
from photosync.engine.verify import Verify
from photosync.engine.workers import Seam
from tests.sim.drive import DriveWorld
from tests.sim.places import open_store
from tests.sim.scheduler import Scheduler
from tests.sim.store import Faults, SimStore, World


def entry(path: str, size: int = 10, mtime_ns: int | None = 1, version: str | None = None) -> Entry:
    return Entry(path, size, mtime_ns, version=version)


def simulate(body: Callable[[Scheduler], None], seed: int = 0) -> Scheduler:
    """Runs a function in a world of virtual time; raises what it raises, and `Stuck` for a deadlock."""
    scheduler = Scheduler(seed)
    scheduler.run(lambda: body(scheduler))
    return scheduler


@dataclass
class Rig:
    """A phone and a destination over several runs.

    Attributes:
        folder: where the journal lives.
        personality: of the destination, see `tests.sim.store.PERSONALITIES`.
        can: capabilities of the destination that differ from those.
        source_setup, setup: get the stores of each run before it begins.
        listener: told everything.
    """

    folder: Path
    personality: str = "disk"
    can: dict[str, Any] = field(default_factory=dict)
    source_can: dict[str, Any] = field(default_factory=dict)
    setup: Callable[[SimStore], None] = lambda _store: None
    source_setup: Callable[[SimStore], None] = lambda _store: None
    listener: Callable[[Event], None] = lambda _event: None
    destination_id: str = "there"
    runs: int = 0

    def __post_init__(self) -> None:
        self.phone = World("phone")
        self.there = DriveWorld("drive") if self.personality == "drive" else World(self.personality)
        self.outcomes: dict[str, Outcome] = {}
        self.notices: list[str] = []
        self.scheduler = Scheduler(0)

    def photo(self, path: str, data: bytes, mtime_ns: int = 1) -> None:
        self.phone.set(path, data, mtime_ns)

    def free(self, path: str) -> None:
        """What ``free-up`` does to a photo that it has proven."""
        with self.journal() as journal:
            journal.set_kept("phone", self.destination_id, path)
        self.phone.drop(path)

    def run(
        self,
        mode: Mode = Mode.COPY,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        source_faults: Faults | None = None,
        memory: int = 40_000,
        attempts: int = 3,
        how: Verify = Verify.AUTO,
        bandwidth: str | None = None,
        crash_at: int | None = None,
        policy: Policy | None = None,
        **job: Any,
    ) -> Report:
        """One run; `outcomes` has how each file of it ended."""
        self.runs += 1
        self.outcomes = {}
        self.notices = []
        scheduler = self.scheduler = Scheduler(seed)
        scheduler.crash_at = crash_at
        source = SimStore(self.phone, scheduler, source_faults or Faults())
        there = open_store(self.there, "there", scheduler, faults or Faults())
        assert isinstance(there, SimStore)
        there.capabilities = replace(there.capabilities, **self.can)
        source.capabilities = replace(source.capabilities, **self.source_can)
        self.source_setup(source)
        self.setup(there)
        reports: list[Report] = []

        def listen(event: Event) -> None:
            if isinstance(event, Finished):
                outcome = event.outcome
                ended = (outcome.path, outcome.status is Status.TRASHED)
                assert ended not in seen, f"{outcome.path} ended twice"
                seen.add(ended)
                self.outcomes[outcome.path] = outcome
            elif isinstance(event, Notice):
                self.notices.append(event.text)
            self.listener(event)

        seen: set[tuple[str, bool]] = set()

        def body() -> None:
            journal = self.journal(scheduler)
            try:
                asked = policy or Policy(mode=mode, stamp=f"run{self.runs}")
                settings = Settings(
                    how=how,
                    memory=memory,
                    stamp=f"run{self.runs}",
                    retries=RetryPolicy(attempts=attempts, first_wait=0.1),
                )
                timetable = Timetable.parse(bandwidth) if bandwidth else None
                pair = Pair(source, there, "phone", self.destination_id, "there")
                reports.append(
                    run(Job(pair, asked, settings, bandwidth=timetable, **job), journal, scheduler, listen)
                )
                journal.close()
            finally:
                journal._db.close()

        scheduler.run(body)
        return reports[0]

    def journal(self, seam: Seam | None = None) -> Journal:
        return Journal(self.folder / "journal.sqlite", seam)

    def statuses(self) -> dict[str, str]:
        return {path: str(outcome.status) for path, outcome in self.outcomes.items()}

    def files(self) -> dict[str, bytes]:
        """What stands at the destination under final names."""
        return self.there.visible()

    def trash(self) -> dict[str, bytes]:
        return {p: t.data for p, t in self.there.things.items() if p.startswith(".photosync/trash/")}

    def quarantine(self) -> dict[str, bytes]:
        return {p: t.data for p, t in self.there.things.items() if p.startswith(".photosync/quarantine/")}
