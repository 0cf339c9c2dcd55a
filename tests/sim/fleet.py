"""A phone, several destinations and a stage: the world in which mirrors are tried."""

import random
from dataclasses import dataclass, field
from pathlib import Path

from photosync.engine import mirror
from photosync.engine.errors import DeviceGone
from photosync.engine.events import Event, Finished, MayUnplug, Moved
from photosync.engine.item import Pair, Settings
from photosync.engine.journal import Journal
from photosync.engine.mirror import AbsentSource, Destination, MirrorReport, Staging
from photosync.engine.plan import Policy
from photosync.engine.retry import RetryPolicy
from photosync.engine.sync import Job
from tests.sim.model import MEMORY, Model
from tests.sim.scheduler import Crashed, Scheduler
from tests.sim.store import Faults, SimStore

CALM = Faults()


@dataclass
class Fleet:
    """One phone and a destination of each personality, over several runs.

    Attributes:
        seed: decides everything.
        folder: where the journals and the stage live.
        serves: the first destination is a disk whose copies may stand in for staged ones.
    """

    seed: int
    folder: Path
    personalities: tuple[str, ...] = ("disk", "objects", "feed")
    serves: bool = False
    runs: int = 0
    source_bytes: int = 0
    may_unplug: bool = False
    traces: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"fleet {self.seed}")
        self.models = [
            Model(self.seed, self.folder, personality, name=f"there-{number}")
            for number, personality in enumerate(self.personalities)
        ]
        self.phone = self.models[0].phone
        for model in self.models:
            model.phone, model.ever = self.phone, self.models[0].ever

    def execute(
        self,
        source_faults: Faults = CALM,
        faults: tuple[Faults, ...] = (),
        *,
        limit: int = 10**9,
        crash_at: int | None = None,
        plugged: bool = True,
        unplug_early: bool = False,
        seconds: tuple[float, ...] = (),
    ) -> MirrorReport | None:
        """One run; None if it was killed.

        Args:
            faults: of each destination.
            limit: of the stage, bytes.
            plugged: the phone is there.
            seconds: that each call to each destination takes.
        """
        self.runs += 1
        self.may_unplug = False
        scheduler = Scheduler(self.dice.randrange(2**32))
        scheduler.crash_at = crash_at
        self.phone.watch = lambda path: self.models[0].ever.add(self.phone.things[path].data)
        source = SimStore(self.phone, scheduler, source_faults)
        stores = [
            SimStore(model.there, scheduler, faults[number] if faults else CALM)
            for number, model in enumerate(self.models)
        ]
        for store, slow in zip(stores, seconds, strict=False):
            store.seconds = slow
        outcomes: dict[str, list[Finished]] = {model.name: [] for model in self.models}
        listed = set(self.phone.things)
        reports: list[MirrorReport] = []
        read: list[int] = []

        def listen(event: Event) -> None:
            if isinstance(event, Finished):
                outcomes[event.destination].append(event)
                next(model for model in self.models if model.name == event.destination).claimed(event)
            elif isinstance(event, MayUnplug):
                self.may_unplug = True
            elif isinstance(event, Moved) and not event.destination:
                read.append(event.read)

        def body() -> None:
            journals = [
                Journal(self.folder / f"{name}.sqlite", scheduler)
                for name in ("stage", *(model.name for model in self.models))
            ]
            try:
                gone = None if plugged else DeviceGone("no phone is plugged in")
                staging = Staging(self.folder / "stage", limit, journals[0], unplug_early, gone)
                origin = source if gone is None else AbsentSource(gone, source.capabilities)
                reports.append(
                    mirror.run(
                        [
                            Destination(
                                Job(
                                    Pair(origin, store, "phone", model.name, model.name),
                                    Policy(stamp=f"run{self.runs}"),
                                    Settings(
                                        memory=MEMORY,
                                        stamp=f"run{self.runs}",
                                        retries=RetryPolicy(attempts=4),
                                    ),
                                    allow_shrunken=True,
                                ),
                                journal,
                                serves=self.serves and number == 0,
                            )
                            for number, (store, model, journal) in enumerate(
                                zip(stores, self.models, journals[1:], strict=True)
                            )
                        ],
                        staging,
                        scheduler,
                        listen,
                    )
                )
                for journal in journals:
                    journal.close()
            finally:
                for journal in journals:
                    journal._db.close()

        try:
            scheduler.run(body)
        except Crashed:
            self.traces.append(scheduler.trace)
            return None
        self.traces.append(scheduler.trace)
        report = reports[0]
        self.source_bytes = sum(read)
        assert report.source_bytes == self.source_bytes
        for model, part in zip(self.models, report.reports, strict=True):
            if plugged:
                model.accounted(part, outcomes[model.name], listed, still=not source_faults.change)
        return report

    def rot(self) -> None:
        """A bit flips on the disk of the stage."""
        staged = sorted((self.folder / "stage/files").glob("*"))
        staged = [path for path in staged if path.stat().st_size]
        if staged:
            path = self.dice.choice(staged)
            data = path.read_bytes()
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
