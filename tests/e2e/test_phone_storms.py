"""A phone's mount under seeded schedules of faults: what is reported is true, and nothing is ever lost.

pytest tests/e2e/test_phone_storms.py --schedules 500        more of them
pytest tests/e2e/test_phone_storms.py --schedules 17+1       that one again
"""

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from photosync.backends.device_facts import gather_facts
from photosync.backends.device_list import find_devices, select
from photosync.backends.local import LocalBackend
from photosync.backends.phone import phone_store
from photosync.engine import sync
from photosync.engine.errors import DeviceGone
from photosync.engine.events import Event, Finished, Outcome, Status
from photosync.engine.journal import Journal
from photosync.engine.report import Report
from photosync.engine.workers import Threads
from photosync.jobs import Options, make_job
from photosync.places import Place
from tests.e2e.cli import noise, tree
from tests.e2e.places import LocalFolder
from tests.servers.fuse_phone import Faults, FuseLibrary, fuse_phone, why_not

STORAGE = "Internal shared storage"
HOUR = 3600 * 10**9
TAKEN = 1_700_000_000
TOLD = {Status.FAILED, Status.REFUSED, Status.PENDING}
PATIENCE = 2.0
EVERY = {
    *(
        "latency",
        "bytes_per_second",
        "serialised",
        "stale",
        "hidden",
        "size_told",
        "size_modulo",
        "transcoded",
    ),
    *("mtime_shift", "mtime_step", "bad_open", "bad_from", "ends_at", "bad_folders"),
    *(f"changes: {how}" for how in ("grow", "shrink", "rewrite", "vanish")),
    *(f"unplugged: {how}" for how in ("eio", "enotconn", "enodev", "empty", "hang")),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "schedule" in metafunc.fixturenames:
        first, _, count = str(metafunc.config.getoption("--schedules")).rpartition("+")
        start = int(first or 0)
        metafunc.parametrize("schedule", range(start, start + int(count)))


@pytest.fixture(scope="module")
def met() -> Iterator[dict[int, set[str]]]:
    """Which faults the runs of each schedule met; the usual twenty together meet every one."""
    by_schedule: dict[int, set[str]] = {}
    yield by_schedule
    if set(range(20)) <= by_schedule.keys():
        assert set().union(*by_schedule.values()) >= EVERY


def library(folder: Path, dice: random.Random) -> None:
    """A dozen files, from nothing to a few parts of an upload."""
    sizes = [0, 1, 4096, 150_000, 150_000, 400_000, 1 << 20, 3_000_000, 9_000_000]
    sizes += [dice.randrange(1, 600_000) for _ in range(4)]
    for number, size in enumerate(sizes):
        where = dice.choice(["DCIM/Camera", "DCIM/Camera", "DCIM/Screenshots", "Pictures"])
        path = folder / STORAGE / where / f"IMG_{number:04}{dice.choice(['.jpg', '.HEIC', '.mp4'])}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(size, dice.random()))
        os.utime(path, (TAKEN + number, TAKEN + number))
    for name in ("DCIM/Camera", "Pictures"):
        (folder / STORAGE / name).mkdir(parents=True, exist_ok=True)


def storm(dice: random.Random, sizes: dict[str, int], schedule: int) -> dict[str, Any]:
    """A few faults at once, of all that phones are known for: two by turns, so that none is left out, and
    some by chance."""
    names = sorted(sizes)
    large = [name for name in names if sizes[name] > 100_000]

    def some(most: int = 3, among: list[str] = names) -> list[str]:
        return dice.sample(among, min(len(among), dice.randint(1, most)))

    kinds: list[dict[str, Any]] = [
        {"latency": 0.002, "serialised": True},
        {"bytes_per_second": 30e6},
        {"stale": True},
        {"hidden": frozenset(some())},
        {
            "size_told": {
                name: max(0, sizes[name] + dice.choice([-1, 1, 4096, -sizes[name]])) for name in some()
            }
        },
        {"size_modulo": 1 << 20},
        {"transcoded": {name: sizes[name] * dice.choice([1, 3]) // 2 + 2 for name in some()}},
        {"mtime_shift": dice.choice([HOUR, -HOUR])},
        {"mtime_step": 2 * 10**9},
        {"bad_open": frozenset(some())},
        {"bad_from": {name: sizes[name] // 2 for name in some(among=large)}},
        {"ends_at": {name: sizes[name] // 2 for name in some(among=large)}},
        {"bad_folders": frozenset([f"{STORAGE}/{dice.choice(['DCIM/Camera', 'Pictures', 'DCIM'])}"])},
        *(
            {"changes": {name: (sizes[name] // 2, how) for name in some(2, large)}}
            for how in ("grow", "shrink", "rewrite", "vanish")
        ),
        *(
            {"unplug_after": dice.randrange(sum(sizes.values()) // 2), "unplug_as": how}
            for how in ("eio", "enotconn", "enodev", "empty", "hang")
        ),
    ]
    chosen: dict[str, Any] = {}
    for faults in dice.sample(kinds, dice.randint(0, 2)):
        chosen |= faults
    for turn in (schedule, schedule + len(kinds) // 2):
        chosen |= kinds[turn % len(kinds)]
    return chosen


def another_photo(world: "World", number: int) -> str:
    """Taken after somebody had looked at the phone; gives its path."""
    for folder, _, _ in os.walk(world.phone.mount):
        assert folder
    path = f"{STORAGE}/DCIM/Camera/NEW_{number:04}.jpg"
    (world.source / path).write_bytes(noise(200_000 + number, f"new {number}"))
    return path


@dataclass
class World:
    """A phone, a folder that it is copied to, and all that its files ever held.

    Attributes:
        truth: path → every content that the file had at some time.
        outcomes: of the last run.
        refused: why the last run did not begin.
    """

    source: Path
    phone: FuseLibrary
    copy: Path
    journal: Journal
    truth: dict[str, set[bytes]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    refused: str = ""

    def remember(self) -> None:
        for path, data in tree(self.source).items():
            self.truth.setdefault(path, set()).add(data)

    def run(self) -> Report | None:
        """One run as ``photosync copy`` makes it; None if the phone was not there at its beginning."""
        self.outcomes = []
        backend = LocalBackend()
        facts = gather_facts()
        mounts = tuple(mount for mount in facts.mounts if mount.target == str(self.phone.mount))
        assert mounts
        with contextlib.ExitStack() as stack:
            try:
                devices = find_devices(replace(facts, mounts=mounts, usb=(), usbmuxd="", patience=PATIENCE))
                source = phone_store(select(devices, None), patience=PATIENCE)
            except DeviceGone as error:
                self.refused = str(error)
                return None
            stack.callback(source.close)
            target = backend.store(str(self.copy))
            stack.callback(target.close)
            job = make_job(
                Place("phone", source, None, "phone:", f"phone:{self.phone.mount}"),
                Place("copy", target, backend, str(self.copy), str(self.copy)),
                Options(allow_shrunken=True),
            )
            report = sync.run(job, self.journal, Threads(), self._hear)
        self.remember()
        return report

    def _hear(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.outcomes.append(event.outcome)


@pytest.fixture
def world(tmp_path: Path, schedule: int) -> Iterator[World]:
    if reason := why_not():
        pytest.skip(f"no FUSE mount possible: {reason}")
    source, mount = tmp_path / "on the phone", tmp_path / f"pixel-{schedule}"
    mount.mkdir()
    library(source, random.Random(f"library {schedule}"))
    with (
        fuse_phone(source, mount) as phone,
        Journal(tmp_path / "journal.sqlite", Threads()) as journal,
    ):
        world = World(source, phone, tmp_path / "copy", journal)
        world.remember()
        yield world


def held(world: World) -> dict[str, bytes]:
    return LocalFolder(world.copy).files()


def check_told(world: World, report: Report, faults: dict[str, Any], before: set[str], new: str) -> None:
    """Each file has an end that is true, or the run says why it has none."""
    there = held(world)
    ended: dict[str, Outcome] = {}
    for outcome in world.outcomes:
        assert outcome.path not in ended, "a file ends once"
        ended[outcome.path] = outcome
        if outcome.status in (Status.VERIFIED, Status.CONFLICT):
            assert outcome.evidence != "none"
            assert outcome.stored is not None
            assert there[outcome.stored] in world.truth[outcome.path], f"{outcome} is not what the phone held"
        elif outcome.status in TOLD:
            assert outcome.error, f"{outcome} has no reason"
        else:
            raise AssertionError(f"{outcome}: a copy that reads back is proven or not made")
    unseen = {*faults.get("hidden", ()), *([new] if "stale" in faults else [])} | {
        path for path in before for folder in faults.get("bad_folders", ()) if path.startswith(f"{folder}/")
    }
    if not report.fatal:
        missing = {
            path for path in before - set(ended) - unseen if not world.truth[path] & set(there.values())
        }
        assert not missing, "neither ended nor at the destination"
    if faults.get("bad_folders") and not report.fatal:
        assert report.listing_errors, "a folder that was not seen is told"
    if report.fatal:
        assert str(report.fatal)


@pytest.mark.root
@pytest.mark.row(1, 9)
def test_nothing_is_lost_and_nothing_is_claimed(
    world: World, schedule: int, met: dict[int, set[str]]
) -> None:
    dice = random.Random(f"storm {schedule}")
    for number in range(dice.randint(1, 3)):
        new = another_photo(world, number)
        on_phone = tree(world.source)
        world.remember()
        faults = storm(dice, {path: len(data) for path, data in on_phone.items()}, schedule + 7 * number)
        before = held(world)
        world.phone.set(**faults)
        report = world.run()
        # Before the cable is in: whoever hangs now must meet a phone that behaves again.
        world.phone.set(**{name: getattr(Faults(), name) for name in faults})
        world.phone.plug_in()
        met.setdefault(schedule, set()).update(world.phone.bitten())
        after = held(world)
        assert before.items() <= after.items(), "what was copied stays as it is"
        vanishing = {name for name, (_, how) in faults.get("changes", {}).items() if how == "vanish"}
        assert set(on_phone) - vanishing <= set(tree(world.source)), "nothing is deleted on the phone"
        if report is not None:
            check_told(world, report, faults, set(on_phone), new)
        else:
            assert any(word in world.refused for word in ("again", "Unlock")), "what to do"

    for attempt in range(4):
        report = world.run()
        assert report is not None, world.refused
        assert report.fatal is None, report.fatal
        if report.status == "nothing":
            break
        assert attempt < 3, "it does not come to rest"
    there = held(world)
    for path, data in tree(world.source).items():
        assert data in there.values(), f"{path} is missing"
    contents = [data for data in there.values() if len(data) > 1]
    assert len(contents) == len(set(contents)), "no photo is there twice"
    assert set(there.values()) <= set().union(*world.truth.values()), "everything there was on the phone once"
