"""A small world: a phone, a destination, a journal; an agitator; and an oracle that checks the promises."""

import random
from dataclasses import dataclass, field
from pathlib import Path

from photosync.engine.events import Event, Finished, Status
from photosync.engine.item import Pair, Settings
from photosync.engine.journal import Journal
from photosync.engine.layout import Layout
from photosync.engine.names import is_ours
from photosync.engine.plan import Mode, Policy
from photosync.engine.report import Report
from photosync.engine.retry import RetryPolicy
from photosync.engine.sync import Job, run
from tests.sim.scheduler import Crashed, Scheduler
from tests.sim.store import Faults, SimStore, World

MEMORY = 40_000


@dataclass
class Model:
    """One library and one destination over several runs of the program.

    Attributes:
        seed: decides everything.
        folder: where the journal lives.
        personality: of the destination.
        layout: where new files go.
        name: what reports call the destination.
    """

    seed: int
    folder: Path
    personality: str
    mode: Mode = Mode.COPY
    layout: Layout | None = None
    runs: int = 0
    traces: list[str] = field(default_factory=list)
    name: str = "there"

    def __post_init__(self) -> None:
        self.dice = random.Random(f"world {self.seed}")
        self.phone = World("phone")
        self.there = World(self.personality, watch=self._stored)
        self.ever: set[bytes] = set()
        self.kept: set[bytes] = set()
        for number in range(self.dice.randint(1, 14)):
            self.take_photo(number)

    # the agitator

    def take_photo(self, number: int) -> None:
        folder = self.dice.choice(["DCIM/Camera", "DCIM/100APPLE", "Pictures"])
        size = self.dice.choice([0, 1, 30, 63, 64, 65, 200, 500])
        taken = self.dice.randrange(10**18)
        for extension in self.dice.choice([("jpg",), ("HEIC", "MOV"), ("JPG", "DNG", "AAE")]):
            data = f"{self.seed}.{number}.{extension[0]}".encode()[:size].ljust(size, b"x") if size else b""
            self.show(f"{folder}/IMG_{number:04d}.{extension}", data, taken)

    def show(self, path: str, data: bytes, mtime_ns: int) -> None:
        self.phone.set(path, data, mtime_ns)
        self.ever.add(data)

    def agitate(self) -> None:
        """What people do to a phone between two runs."""
        paths = sorted(self.phone.things)
        for _ in range(self.dice.randint(0, 3)):
            what = self.dice.choice(["new", "edit", "same size", "rename", "delete", "touch"])
            path = self.dice.choice(paths)
            thing = self.phone.things.get(path)
            if what == "new":
                self.take_photo(self.dice.randrange(100, 10_000))
            elif thing is None:
                continue
            elif what == "edit":
                self.show(path, thing.data + b"edited", (thing.mtime_ns or 0) + 10**9)
            elif what == "same size" and thing.data:
                self.show(path, b"E" + thing.data[1:], (thing.mtime_ns or 0) + 10**9)
            elif what == "touch":
                self.phone.set(path, thing.data, (thing.mtime_ns or 0) + 10**10)
            elif what == "rename":
                stem = path.rpartition(".")[0]
                for each in [each for each in paths if each.rpartition(".")[0] == stem]:
                    if (half := self.phone.things.get(each)) is not None:
                        self.phone.drop(each)
                        self.show(each.replace("IMG", "Renamed"), half.data, half.mtime_ns or 0)
            elif what == "delete" and len(self.phone.things) > 1:
                self.phone.drop(path)

    def lose_state(self) -> None:
        """The disk with the journal is replaced, and the phone, too: its files came back with new times."""
        for file in self.folder.glob("journal.sqlite*"):
            file.unlink()
        for path, thing in list(self.phone.things.items()):
            self.phone.set(path, thing.data, (thing.mtime_ns or 0) + self.dice.choice([0, 4 * 10**16]))

    # the program

    def execute(self, faults: tuple[Faults, Faults], crash_at: int | None = None) -> Report | None:
        """One run of the program; None if it was killed."""
        self.runs += 1
        scheduler = Scheduler(self.dice.randrange(2**32))
        scheduler.crash_at = crash_at
        self.phone.watch = lambda path: self.ever.add(self.phone.things[path].data)
        source = SimStore(self.phone, scheduler, faults[0])
        destination = SimStore(self.there, scheduler, faults[1])
        outcomes: list[Finished] = []
        reports: list[Report] = []
        listed = set(self.phone.things)

        def listen(event: Event) -> None:
            if isinstance(event, Finished):
                outcomes.append(event)
                self.claimed(event)

        def body() -> None:
            journal = Journal(self.folder / "journal.sqlite", scheduler)
            try:
                settings = Settings(memory=MEMORY, stamp=f"run{self.runs}", retries=RetryPolicy(attempts=4))
                job = Job(
                    Pair(source, destination, "phone", "there", "there"),
                    Policy(mode=self.mode, stamp=f"run{self.runs}", max_delete=10**6, layout=self.layout),
                    settings,
                    allow_shrunken=True,
                )
                reports.append(run(job, journal, scheduler, listen))
                journal.close()
            finally:
                journal._db.close()  # what was not committed is gone, as after a kill

        try:
            scheduler.run(body)
        except Crashed:
            self.traces.append(scheduler.trace)
            return None
        self.traces.append(scheduler.trace)
        report = reports[0]
        self.accounted(report, outcomes, listed)
        return report

    # the oracle

    def _stored(self, path: str) -> None:
        """Promises 1 and 2, at every change of the destination."""
        thing = self.there.things[path]
        if is_ours(path):
            if "/trash/" in path:
                self.kept.add(thing.data)
            return
        self.kept.add(thing.data)

    def check_whole(self, damaged: bool) -> None:
        """Promise 1: whatever stands under a final name was once a whole file of the source."""
        if not damaged:
            for path, data in self.there.visible().items():
                assert data in self.ever, f"{path} holds bytes that no photo ever had: {data[:40]!r}"

    def check_kept(self) -> None:
        """Promises 2, 7 and 8: bytes that stood at the destination still stand there, under some name."""
        now = {thing.data for thing in self.there.things.values()}
        lost = self.kept - now
        assert not lost, f"the destination lost {sorted(lost)[:3]!r}"

    def claimed(self, event: Finished) -> None:
        """Promise 3: verified means that the destination has the bytes that the source has or had."""
        outcome = event.outcome
        if outcome.status in (Status.VERIFIED, Status.CONFLICT):
            assert outcome.stored is not None
            data = self.there.things[outcome.stored].data
            assert data in self.ever, f"{outcome.path} claimed as {outcome.status} holds {data[:40]!r}"
            shown = self.phone.shown.get(outcome.path, set())
            assert data in shown, f"{outcome.path} is not what is stored as {outcome.stored}"
            assert outcome.evidence != "none"

    def accounted(
        self, report: Report, outcomes: list[Finished], listed: set[str], still: bool = True
    ) -> None:
        """Promise 11: every entry has one outcome; success is claimed only if all are there.

        Args:
            still: nobody edited the source's files meanwhile.
        """
        names = [event.outcome.path for event in outcomes if event.outcome.status is not Status.TRASHED]
        assert len(names) == len(set(names)), f"more than one outcome: {names}"
        planned = len(names) + report.count(Status.UNCHANGED)
        if report.fatal is None and not report.listing_errors:
            assert planned == len(listed), f"{len(listed)} files, {planned} outcomes"
        if report.clean:
            self.check_complete(still)

    def check_complete(self, still: bool = True) -> None:
        """Every file of the source is at the destination; unless it is ``still``, as it was at some time."""
        there = set(self.there.visible().values())
        for path, thing in self.phone.things.items():
            wanted = {thing.data} if still else self.phone.shown[path]
            assert wanted & there, f"{path} is missing at the destination"

    def check_no_duplicates(self) -> None:
        """Promise 12: nothing is stored more often than the source ever had it.

        Bytes that a store damaged, and a kill kept from being looked at, count as somebody else's file.
        """
        there = list(self.there.visible().values())
        for data in set(there) & self.ever:
            had = sum(data in contents for contents in self.phone.shown.values())
            assert there.count(data) <= had, (
                f"{there.count(data)} copies of {data[:40]!r}, the source had {had}"
            )
