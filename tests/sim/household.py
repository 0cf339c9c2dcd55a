"""A phone, its destinations, the machines that copy it, and everybody who meddles: one life, step by step."""

import functools
import hashlib
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from photosync.engine import manifest, retry, scan
from photosync.engine.assets import pair
from photosync.engine.entry import Entry
from photosync.engine.errors import PhotosyncError, SourceChanged
from photosync.engine.events import Event, Finished, Phase
from photosync.engine.freeup import Copies, FreeUp, choose, recover
from photosync.engine.item import Pair, Settings
from photosync.engine.journal import Journal, key
from photosync.engine.layout import Layout
from photosync.engine.limits import Gate
from photosync.engine.plan import Mode, Policy
from photosync.engine.record import TargetFiles
from photosync.engine.replica import Holdings, ManifestSource, Replica, find_places
from photosync.engine.report import Report
from photosync.engine.retry import RetryPolicy
from photosync.engine.snapshots import Snapshots
from photosync.engine.source import Source
from photosync.engine.sync import Job, list_place, run
from photosync.engine.target import Target
from photosync.engine.trash import list_trash
from photosync.engine.verify import Verify
from photosync.engine.workers import Workers
from tests.sim.drive import DriveWorld
from tests.sim.journal_power import Image, image_of, put_back, synced
from tests.sim.life import CALM, Life, Step
from tests.sim.model import MEMORY, Model
from tests.sim.phone import Phone
from tests.sim.places import DiskWorld, open_store, power_on, stays
from tests.sim.scheduler import Crashed, Scheduler
from tests.sim.store import SimStore, Thing, World

RETRIES = RetryPolicy(attempts=4)
ROUNDS = 6
"""Calm runs after which everything has come to rest."""
RENAMED = ".renamed"
"""How names end that others gave at a destination: nobody's copy of anything, ``sync`` may trash it."""


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for journals: in memory, where there is such a place, for SQLite syncs a lot."""
    memory = "/dev/shm"
    return tempfile.TemporaryDirectory("", "photosync-sim-", memory if os.access(memory, os.W_OK) else None)


class Household:
    """See the module's text.

    Args:
        life: what happens.
        folder: where the machines' journals lie.
    """

    def __init__(self, life: Life, folder: Path) -> None:
        self.life, self.folder = life, folder
        self.phone = Phone(life.seed, life.phone)
        self.models = [Model(self.phone, kind, f"place-{n}") for n, kind in enumerate(life.places)]
        for model in self.models:
            model.shared = life.machines > 1
        self.layout = Layout.parse(life.layout) if life.layout else None
        self.runs = 0
        self._trace = hashlib.sha256()
        self._journals: list[tuple[Path, Journal]] = []

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    def live(self) -> None:
        """Plays every step, lets everything come to rest, and looks at what is left."""
        for step in self.life.steps:
            self.play(step)
            self.check()
        self.rest()
        for model in self.models:
            model.check_complete()
            if not self._may_repeat(model):
                model.check_no_duplicates()
        self.check()
        self.play(Step("cut", self.life.seed))
        for model in self.models:
            model.check_complete()
            self.check_restore(model)

    def _may_repeat(self, model: Model) -> bool:
        """Whether space may be wasted: two machines do not believe each other; and where a layout puts a
        photo elsewhere after the state was lost, it is sought by its size, which may be a lie."""
        steps = self.life.steps
        lost = self.life.layout is not None and any(step.what == "lose" for step in steps)
        return self.life.machines > 1 or (lost and any(step.faults[0].lie for step in steps))

    def play(self, step: Step) -> None:
        dice = random.Random(step.seed)
        model = self.models[step.place % len(self.models)]
        if step.what == "run":
            self.run(step, model)
        elif step.what == "together":
            self.together(step, model)
        elif step.what == "free":
            self.free(step, dice)
        elif step.what == "phone":
            self.phone.change(step.how, dice)
        elif step.what == "remote":
            self.meddle(step.how, model, dice)
        elif step.what == "cut":
            self.cut(dice, {})
        elif step.what == "lose":
            self.lose(step.machine)
            self.phone.restored(dice)
        elif step.what == "zone":
            for each in self.models:
                if isinstance(each.there, DiskWorld) and each.personality in ("vfat", "exfat-fuse"):
                    each.there.disk.shift_ns = dice.choice([-1, 0, 1]) * 3_600_000_000_000

    def check(self) -> None:
        for model in self.models:
            model.check_whole()
            model.check_kept()

    def rest(self) -> None:
        for _ in range(ROUNDS):
            reports = [
                self.run(Step("run", self.life.seed + self.runs, machine=machine), model)
                for machine in range(self.life.machines)
                for model in self.models
            ]
            assert all(report is not None for report in reports)
            for report in reports:
                assert report is not None
                assert report.fatal is None, report.fatal
            self.check()
            if all(report is not None and report.status == "nothing" for report in reports):
                assert all(report is not None and report.source_bytes == 0 for report in reports), (
                    "a run with nothing to do read the source"
                )
                return
        raise AssertionError(f"the world does not come to rest: {[r and r.record() for r in reports]}")

    # the program

    def _path(self, machine: int, name: str) -> Path:
        folder = self.folder / f"machine-{machine}"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.sqlite"

    def _journal(self, machine: int, name: str, scheduler: Scheduler) -> Journal:
        path = self._path(machine, name)
        journal = Journal(path, scheduler)
        self._journals.append((path, journal))
        return journal

    def _process(self, step: Step, body: Callable[[Scheduler], None]) -> bool:
        """Runs a program; False if it was killed, or the power failed."""
        self.runs += 1
        scheduler = Scheduler(step.seed)
        scheduler.crash_at, scheduler.crash_unsynced = step.crash_at, step.unsynced
        places = {model.name: model.there for model in self.models}
        for model in self.models:
            model.damaged = model.damaged or step.faults[1].damage > 0
        self._journals = []
        alive = True
        try:
            with power_on(places, scheduler, dict.fromkeys(places, step.faults[1])):
                scheduler.run(lambda: body(scheduler))
        except Crashed:
            alive = False
        finally:
            # What was not committed is gone when a process dies; what was not synced, when the power fails.
            images = {path: image_of(path) for path, _ in self._journals}
            for _, journal in self._journals:
                journal._db.close()
            self._trace.update(scheduler.trace.encode())
            self.phone.world.attached = True
        if not alive and step.power:
            self.cut(random.Random(step.seed + 1), images)
        return alive

    def _job(self, model: Model, source: SimStore, scheduler: Scheduler, step: Step) -> Job:
        stamp = f"run{self.runs}-{step.machine}"
        return Job(
            Pair(
                source,
                open_store(model.there, model.name, scheduler, step.faults[1]),
                "phone",
                model.name,
                model.name,
            ),
            Policy(mode=self.life.mode, stamp=stamp, max_delete=10**6, layout=self.layout),
            Settings(memory=MEMORY, stamp=stamp, retries=RETRIES),
            allow_shrunken=True,
            device=f"machine-{step.machine}",
        )

    def run(self, step: Step, model: Model) -> Report | None:
        """Copies; None if it was killed."""
        reports: list[Report] = []
        before = model.there.visible()

        def body(scheduler: Scheduler) -> None:
            reports.append(self._copy(step, model, scheduler, step.machine))

        alive = self._process(step, body)
        if not step.faults[0].stale and (alive or not step.power):
            model.check_still_shown(before)
        return reports[0] if alive else None

    def _copy(
        self,
        step: Step,
        model: Model,
        scheduler: Scheduler,
        machine: int,
        meeting: "_Meeting | None" = None,
    ) -> Report:
        source = SimStore(self.phone.world, scheduler, step.faults[0])
        if len(self.phone.world.things) % 3 == 0:
            # Its card in a reader: several files are read at once, and may be sent by whoever read them.
            source.capabilities = replace(source.capabilities, read_concurrency=3, slow_read=False)
        outcomes: list[Finished] = []

        def listen(event: Event) -> None:
            model.heard(event)
            if isinstance(event, Finished):
                outcomes.append(event)
            elif meeting is not None and isinstance(event, Phase) and event.name == "snapshot":
                meeting.wait(machine)

        journal = self._journal(machine, model.name, scheduler)
        report = run(self._job(model, source, scheduler, step), journal, scheduler, listen)
        journal.flush()
        faults = step.faults[0]
        if faults.stale == 0 and step.faults[1].stale == 0:
            model.accounted(report, outcomes, set().union(*source.told.values()), still=not faults.change)
        return report

    def together(self, step: Step, model: Model) -> None:
        """Two machines copy to one place at the same time."""

        def body(scheduler: Scheduler) -> None:
            meeting = _Meeting(scheduler)

            def copy(machine: int) -> None:
                try:
                    self._copy(step, model, scheduler, machine, meeting if step.how == "meet" else None)
                finally:
                    meeting.leave(machine)

            with Workers(scheduler) as workers:
                for machine in range(2):
                    workers.start(functools.partial(copy, machine), f"machine-{machine}")

        self._process(step, body)

    def free(self, step: Step, dice: random.Random) -> None:
        """Frees some photos on the phone; at least one file stays."""
        copies = dice.randint(1, len(self.models))

        def body(scheduler: Scheduler) -> None:
            ledger = self._journal(step.machine, "ledger", scheduler)
            store = SimStore(self.phone.world, scheduler, step.faults[0])
            with Workers(scheduler) as workers:
                gate = Gate(workers)
                reader = Source(store, workers, gate, RETRIES, lambda _path, _size: None)
                listing = scan.walk(
                    store,
                    check=workers.check,
                    is_source=True,
                    retry=lambda run, doing: retry.call(run, doing, workers, gate, RETRIES),
                )
                if not listing.complete:
                    return
                having: list[Copies] = []
                for model in self.models:
                    journal = self._journal(step.machine, model.name, scheduler)
                    there = open_store(model.there, model.name, scheduler, step.faults[1])
                    target = Target(there, workers, Gate(workers), RETRIES, Verify.AUTO)
                    delivered = {each.path: each for each in journal.deliveries("phone", model.name)}
                    having.append(Copies(model.name, model.name, target, journal, model.name, delivered))
                witnesses = [(each.journal, each.identity) for each in having]
                photos = [photo.members for photo in pair(listing.entries, {})]
                candidates, _ = choose(photos, having, copies)
                freeing = FreeUp(
                    reader, _Remover(self, store, step, copies, having), ledger, witnesses, "phone", copies
                )
                recover(ledger, "phone", {entry.path: entry for entry in listing.entries})
                chosen = [each for each in candidates if dice.random() < 0.6]
                # What a listing shows may be gone.
                left = len(self.phone.world.things) - sum(len(each.members) for each in chosen)
                for freed in freeing.run(chosen if left else chosen[1:]):
                    assert freed.reason or len(freed.deleted) == len(freed.members)
                for journal, identity in witnesses:
                    journal.set_count("phone", identity, len(self.phone.world.things))
                for journal, _ in [(ledger, ""), *witnesses]:
                    journal.flush()

        with suppress(PhotosyncError):
            self._process(step, body)

    # the power, and what people do

    def cut(self, dice: random.Random, images: dict[Path, Image]) -> None:
        """The power fails everywhere.

        Args:
            images: of the journals that were being written.
        """
        for path, image in images.items():
            log, least = image["-wal"], synced(image)
            put_back(path, image, log[: dice.choice([least, len(log), dice.randint(least, len(log))])])
        for model in self.models:
            journals = [self._path(machine, model.name) for machine in range(self.life.machines)]
            model.lose_power(dice, [path for path in journals if path.exists()])

    def lose(self, machine: int) -> None:
        shutil.rmtree(self.folder / f"machine-{machine}", ignore_errors=True)

    def meddle(self, how: str, model: Model, dice: random.Random) -> None:
        """Somebody else works at a destination."""
        there = model.there
        model.meddled = True
        paths = sorted(there.visible())
        data = f"somebody else's {how} {dice.random()}".encode()
        if how == "add" and paths and isinstance(there, DriveWorld) and dice.random() < 0.7:
            self._double(there, model, dice.choice(paths), data, dice)
            return
        if how == "add" or not paths:
            # Where names may not end in a dot, nobody else can make such a file either.
            missing = sorted(name for name in {*self.phone.world.things} - {*paths} if not name.endswith("."))
            missing = missing[:2] if paths else []
            path = dice.choice([*missing, f"notes-{dice.random()}.txt"])
            with suppress(FileNotFoundError, KeyError):
                there.read(path)
                return
            model.foreign.add(data)
            there.set(path, data, 10**18)
            return
        path = dice.choice(paths)
        thing = there.things[path]
        if how == "rename":
            model.extra[thing.data] += 1
            # Under a name that photosync never gave, it is nobody's copy of anything: ``sync`` may trash it.
            model.freed.discard(thing.data)
            name = path + RENAMED
            while name in there.things:
                name += RENAMED
            there.set(name, thing.data, thing.mtime_ns)
        if how == "edit":
            model.foreign.add(data)
        self._forget(model, path, thing)
        if how == "edit":
            there.set(path, data, 10**18)
        else:
            there.drop(path)

    def _double(self, there: DriveWorld, model: Model, path: str, data: bytes, dice: random.Random) -> None:
        """A second file of a name, with bytes of its own, or the same; perhaps dated as the first."""
        label = there.filed[there.ids[path]].label
        first = there.things[label].data
        data = dice.choice([data, data.ljust(len(first), b"!")[: len(first)], first])
        if data == first:
            model.extra[data] += 1
        else:
            model.foreign.add(data)
        there.add(label, data, dice.choice([0, 10**18]))
        if there.things[label].data != first:
            # An older one is shown in its place from now on, and the photo is kept beside that, too.
            model.extra[first] += 1

    def _forget(self, model: Model, path: str, thing: Thing) -> None:
        others = [each.data for name, each in model.there.things.items() if name != path and stays(name)]
        if thing.data not in others:
            model.kept.discard(thing.data)
            model.promised.discard(thing.data)
        if thing.data not in [d for name, d in model.there.visible().items() if name != path]:
            model.freed.discard(thing.data)

    # what is left

    def check_restore(self, model: Model) -> None:
        """A machine that knows nothing restores everything from the manifest, into an empty folder."""
        restored = World("disk")

        def body(scheduler: Scheduler) -> None:
            store = open_store(model.there, model.name, scheduler, CALM[1])
            rules = store.capabilities.names
            with Journal(None, scheduler) as journal, Workers(scheduler) as workers:
                gate = Gate(workers)
                target = Target(store, workers, gate, RETRIES, Verify.AUTO)
                snapshots = Snapshots(TargetFiles(target), journal)
                head = snapshots.head()
                assert head is not None, "there is no manifest"
                snapshots.load(head)
                entries = list(manifest.entries(head.root, journal))
                listing = list_place(store, model.name, journal, workers, gate, RETRIES)
                holdings = Holdings(listing, list_trash(store), head.root, rules)
                replica = Replica(model.name, store, find_places(entries, holdings, journal))
                source = ManifestSource(entries, [replica], scheduler)
                report = run(
                    Job(
                        Pair(source, SimStore(restored, scheduler, CALM[1]), "restore", "empty", "empty"),
                        Policy(plain_names=True),
                        Settings(memory=MEMORY, retries=RETRIES),
                        allow_empty=True,
                        snapshot=False,
                    ),
                    journal,
                    scheduler,
                    lambda _event: None,
                )
                assert report.clean or model.meddled, report.record()

        self._process(Step("restore", self.life.seed), body)
        found = restored.visible()
        for path, thing in self.phone.honest().items():
            assert thing.data in found.values(), f"{path} cannot be restored from {model.name}"
            plain = self.life.mode is Mode.SYNC and self.layout is None and not model.damaged
            if plain and not any(step.what == "free" for step in self.life.steps):
                assert found.get(path) == thing.data, f"{path} is restored under another name"


class _Meeting:
    """Where two machines wait for each other before they write the manifest."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._monitor = scheduler.monitor()
        self._here: set[int] = set()

    def wait(self, machine: int) -> None:
        with self._monitor:
            self.leave(machine)
            while len(self._here) < 2:
                self._monitor.wait()

    def leave(self, machine: int) -> None:
        """The other one need not wait any longer."""
        with self._monitor:
            self._here.add(machine)
            self._monitor.notify_all()


class _Remover:
    """Deletes on the phone, if the oracle agrees."""

    def __init__(
        self, house: Household, store: SimStore, step: Step, copies: int, receipts: Sequence[Copies]
    ) -> None:
        self._house, self._store, self._step, self._copies = house, store, step, copies
        self._delivered = {each.name: each.delivered for each in receipts}

    def remove(self, entry: Entry) -> None:
        house, world = self._house, self._house.phone.world
        self._store._before("remove")
        thing = world.things.get(entry.path)
        if thing is None:
            raise FileNotFoundError(entry.path)
        now = self._store._entry(entry.path, thing)
        if (now.size, now.mtime_ns) != (entry.size, entry.mtime_ns):
            raise SourceChanged(f"{entry.path} changed")
        having = [model for model in house.models if thing.data in model.there.safe()]
        if len(having) < self._copies:
            house.models[0]._broken.append(
                f"{entry.path} is deleted on the phone with {len(having)} of {self._copies} copies"
            )
        stem = entry.path.rpartition(".")[0]
        for path, half in world.things.items():
            if (
                path.rpartition(".")[0] == stem
                and sum(half.data in model.there.safe() for model in house.models) < self._copies
            ):
                house.models[0]._broken.append(f"{entry.path} is deleted without {path}")
        self._check_intent(entry)
        for model in having:
            proven = entry.path in self._delivered[model.name]
            named = [data for path, data in model.there.visible().items() if not path.endswith(RENAMED)]
            if proven and thing.data in named:
                model.freed.add(thing.data)
        world.drop(entry.path)
        self._store._after("remove")

    def _check_intent(self, entry: Entry) -> None:
        """Promise 5: the intent outlives a power cut before anything is deleted."""
        house = self._house
        for name, table in (("ledger", "frees"), *((model.name, "kept") for model in house.models)):
            path = house._path(self._step.machine, name)
            copy = path.with_name("durable.sqlite")
            for suffix in ("-wal", "-shm"):
                copy.with_name(copy.name + suffix).unlink(missing_ok=True)
            copy.write_bytes(path.read_bytes())
            db = sqlite3.connect(copy)
            try:
                rows = db.execute(f"SELECT 1 FROM {table} WHERE path = ?", (key(entry.path),)).fetchall()
            except sqlite3.Error:
                rows = []
            finally:
                db.close()
            if not rows:
                house.models[0]._broken.append(f"{entry.path} is deleted and {name} may not know")
