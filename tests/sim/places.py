"""Destinations of every personality: services as `SimStore`, disks as the real code over a simulated disk."""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from photosync.backends.local_store import LocalStore
from photosync.engine.capabilities import Batch, Store
from photosync.engine.names import is_ours
from tests.sim.disk import KINDS, File, Folder, SimDisk
from tests.sim.drive import DriveStore, DriveWorld
from tests.sim.kernel import MOUNT, DiskFaults, Kernel, mounted
from tests.sim.scheduler import Scheduler
from tests.sim.store import PART, SMALL, Faults, SimStore, Thing, World

ROOT = "backup/photos"


def stays(path: str) -> bool:
    """Whether what has this name is to be kept."""
    return not is_ours(path) or "/trash/" in path


class DiskWorld:
    """A folder on a simulated disk, as a `tests.sim.store.World`.

    Args:
        personality: a name in `tests.sim.disk.KINDS`.
        name: of its mount.
        watch: told every path below the folder that something gets.
    """

    def __init__(self, personality: str, name: str, watch: Callable[[str], None]) -> None:
        self.personality, self.name = personality, name
        self.attached = True
        self.log: list[str] = []
        self.hidden: frozenset[str] = frozenset()

        def named(path: str) -> None:
            if path.startswith(f"{ROOT}/"):
                watch(path[len(ROOT) + 1 :])

        self.disk = SimDisk(KINDS[personality], named)

    @property
    def files(self) -> dict[str, File]:
        return {
            path[len(ROOT) + 1 :]: file
            for path, file in self.disk.files().items()
            if path.startswith(f"{ROOT}/")
        }

    @property
    def things(self) -> dict[str, Thing]:
        return {
            path: Thing(bytes(file.shown), file.mtime_ns, str(file.ctime_ns))
            for path, file in self.files.items()
        }

    def visible(self) -> dict[str, bytes]:
        return {path: thing.data for path, thing in self.things.items() if not is_ours(path)}

    def safe(self) -> set[bytes]:
        """Bytes that no power cut takes away."""
        return set(self.disk.safe().values())

    def safe_in_place(self) -> set[bytes]:
        """Those of them that have a final name, or lie in the trash; what has only a temporary one yet is
        safe, but nobody's to keep."""
        return {
            data
            for path, data in self.disk.safe().items()
            if path.startswith(f"{ROOT}/") and stays(path[len(ROOT) + 1 :])
        }

    def set(self, path: str, data: bytes, mtime_ns: int | None) -> None:
        """What another program does, and syncs."""
        folder = self.disk.root
        *parents, name = f"{ROOT}/{path}".split("/")
        for parent in parents:
            if self.disk.key(parent) not in folder.shown:
                self.disk.add(folder, parent, Folder(self.disk.tick(), ctime_ns=self.disk.stamp()))
            self.disk.sync(folder)
            inner = self.disk.find(folder, parent)
            assert isinstance(inner, Folder)
            folder = inner
        file = File(folder.path, self.disk.tick(), links=1)
        file.write(0, data)
        file.mtime_ns, file.ctime_ns = mtime_ns or 0, self.disk.stamp()
        file.sync()
        self.disk.add(folder, name, file, replaces=True)
        self.disk.sync(folder)

    def drop(self, path: str) -> None:
        folder = self.disk.walk(f"{ROOT}/{path}".rpartition("/")[0])
        assert isinstance(folder, Folder)
        self.disk.remove(folder, path.rpartition("/")[2])
        self.disk.sync(folder)

    def called(self, path: str) -> list[bytes]:
        return [self.read(path)]

    def read(self, path: str) -> bytes:
        """What has a name, however that is spelt."""
        node = self.disk.walk(f"{ROOT}/{path}")
        assert isinstance(node, File)
        return bytes(node.shown)

    def cut(self, dice: random.Random) -> None:
        self.disk.cut(dice)


Place = World | DiskWorld


def make(personality: str, name: str, watch: Callable[[str], None]) -> Place:
    """A destination."""
    if personality in KINDS:
        return DiskWorld(personality, name, watch)
    if personality == "drive":
        return DriveWorld(personality, watch=watch)
    return World(personality, watch=watch)


def disk_faults(faults: Faults) -> DiskFaults:
    """What the chances for a service mean for a disk, which is asked far more often for one photo."""
    return DiskFaults(faults.before / 20, faults.before / 40, faults.damage, faults.after / 10)


@contextlib.contextmanager
def power_on(
    places: Mapping[str, Place], scheduler: Scheduler | None, faults: Mapping[str, Faults]
) -> Iterator[None]:
    """A process runs, to which the disks among the places are mounted."""
    disks = {name: place.disk for name, place in places.items() if isinstance(place, DiskWorld)}
    if not disks:
        yield
        return
    for disk in disks.values():
        disk.close_all()
    wrong = {name: disk_faults(each) for name, each in faults.items() if name in disks}
    with mounted(Kernel(disks, scheduler, wrong), scheduler):
        yield


def open_store(place: Place, name: str, scheduler: Scheduler, faults: Faults) -> Store:
    """The place as the engine sees it; inside `power_on`."""
    if isinstance(place, DriveWorld):
        return DriveStore(place, scheduler, faults)
    if isinstance(place, World):
        return SimStore(place, scheduler, faults)
    store = LocalStore(f"{MOUNT}/{name}/{ROOT}")
    store.capabilities = replace(
        store.capabilities, part_size=PART, small_limit=SMALL, batch=Batch(4, 256), write_concurrency=3
    )
    return store
