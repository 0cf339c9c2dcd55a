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
from tests.sim.journal_power import Image, image_of, put_back, synced
from tests.sim.model import MEMORY, Model
from tests.sim.phone import Phone
from tests.sim.places import open_store, power_on
from tests.sim.scheduler import Crashed, Scheduler
from tests.sim.stage_power import StagePower
from tests.sim.store import Faults, SimStore

CALM = Faults()


@dataclass
class Fleet:
    """One phone and a destination of each personality, over several runs.

    Attributes:
        seed: decides everything.
        folder: where the journals and the stage live.
        serves: the first destination is a disk whose copies may stand in for staged ones.
        may_unplug: the last run said that the phone may be unplugged.
        effects_left: that came after this was said.
    """

    seed: int
    folder: Path
    personalities: tuple[str, ...] = ("disk", "objects", "feed")
    serves: bool = False
    runs: int = 0
    source_bytes: int = 0
    may_unplug: bool = False
    effects_left: int = 0
    traces: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"fleet {self.seed}")
        self.stage_power = StagePower(self.folder / "stage")
        self.owner = Phone(self.seed)
        self.phone = self.owner.world
        self.models = [
            Model(self.owner, personality, f"there-{number}")
            for number, personality in enumerate(self.personalities)
        ]

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
        power: bool = False,
        dark_after: int | None = None,
    ) -> MirrorReport | None:
        """One run; None if it was killed.

        Args:
            faults: of each destination.
            limit: of the stage, bytes.
            plugged: the phone is there.
            seconds: that each call to each destination takes.
            power: what kills it is that the power fails.
            dark_after: effects from when the phone may be unplugged until it is killed.
        """
        self.runs += 1
        self.may_unplug = False
        scheduler = Scheduler(self.dice.randrange(2**32))
        scheduler.crash_at = crash_at
        source = SimStore(self.phone, scheduler, source_faults)
        wrong = {model.name: faults[n] if faults else CALM for n, model in enumerate(self.models)}
        places = {model.name: model.there for model in self.models}
        outcomes: dict[str, list[Finished]] = {model.name: [] for model in self.models}
        listed = set(self.phone.things)
        reports: list[MirrorReport] = []
        read: list[int] = []

        def listen(event: Event) -> None:
            if isinstance(event, Finished):
                outcomes[event.destination].append(event)
                next(model for model in self.models if model.name == event.destination).heard(event)
            elif isinstance(event, MayUnplug):
                self.may_unplug = True
                self.effects_left = -scheduler.effects
                if dark_after is not None:
                    scheduler.crash_at = scheduler.effects + dark_after
            elif isinstance(event, Moved) and not event.destination:
                read.append(event.read)

        (self.folder / "stage").mkdir(exist_ok=True)
        paths = [self.folder / "stage/journal.sqlite"]
        paths += [self.folder / f"{model.name}.sqlite" for model in self.models]
        opened: list[Journal] = []

        def body() -> None:
            stores = [open_store(each, name, scheduler, wrong[name]) for name, each in places.items()]
            for store, slow in zip(stores, seconds, strict=False):
                if isinstance(store, SimStore):
                    store.seconds = slow
            opened.extend(Journal(path, scheduler) for path in paths)
            gone = None if plugged else DeviceGone("no phone is plugged in")
            staging = Staging(self.folder / "stage", limit, opened[0], unplug_early, gone)
            origin = source if gone is None else AbsentSource(gone, source.capabilities)
            policy = Policy(stamp=f"run{self.runs}")
            settings = Settings(memory=MEMORY, stamp=policy.stamp, retries=RetryPolicy(attempts=4))
            destinations = [
                Destination(
                    Job(
                        Pair(origin, store, "phone", model.name, model.name),
                        policy,
                        settings,
                        allow_shrunken=True,
                    ),
                    journal,
                    serves=self.serves and number == 0,
                )
                for number, (store, model, journal) in enumerate(
                    zip(stores, self.models, opened[1:], strict=True)
                )
            ]
            reports.append(mirror.run(destinations, staging, scheduler, listen))
            for journal in opened:
                journal.flush()

        alive = True
        try:
            with power_on(places, scheduler, wrong), self.stage_power.watching():
                scheduler.run(body)
        except Crashed:
            alive = False
        finally:
            images = {path: image_of(path) for path, _ in zip(paths, opened, strict=False)}
            for journal in opened:
                journal._db.close()
        self.effects_left += scheduler.effects
        self.traces.append(scheduler.trace)
        if not alive:
            if power:
                self.cut(images)
            return None
        report = reports[0]
        self.source_bytes = sum(read)
        assert report.source_bytes == self.source_bytes
        for model, part in zip(self.models, report.reports, strict=True):
            if plugged:
                model.accounted(part, outcomes[model.name], listed, still=not source_faults.change)
        return report

    def cut(self, images: dict[Path, Image]) -> None:
        """The power fails everywhere.

        Args:
            images: of the journals that were being written, the stage's first.
        """
        for number, (path, image) in enumerate(images.items()):
            log = image["-wal"]
            if number:
                log = log[: self.dice.randint(synced(image), len(log))]
            put_back(path, image, log if number else self.stage_power.log_kept(self.dice, log))
        self.stage_power.cut(self.dice)
        for model in self.models:
            model.lose_power(self.dice, [path for path in images if path.stem == model.name])

    def rot(self) -> None:
        """A bit flips on the disk of the stage."""
        staged = sorted((self.folder / "stage/files").glob("*"))
        staged = [path for path in staged if path.stat().st_size]
        if staged:
            path = self.dice.choice(staged)
            data = path.read_bytes()
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
