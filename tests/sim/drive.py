"""Google Drive, where a name is a label: several files may have one, and a listing tells all of them.

As `photosync.backends.drive_store` shows it: the one that was created first goes by the name, the others by
aliases that stay the same; names are claimed in the memory of a process, which has read each folder once.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from photosync.engine.capabilities import Stored
from photosync.engine.entry import Entry
from photosync.engine.errors import AlreadyExists
from tests.sim.store import SimReader, SimStore, Thing, World


@dataclass(frozen=True)
class Filed:
    """A file by its id: what it is called, when it was created, and what is in it."""

    label: str
    created: int
    thing: Thing


def alias(label: str, number: int) -> str:
    """As `photosync.backends.drive_metadata.alias`."""
    stem, dot, extension = label.rpartition(".")
    mark = hashlib.sha256(str(number).encode()).hexdigest()[:8]
    return f"{stem}~id-{mark}{dot}{extension}" if stem else f"{label}~id-{mark}"


@dataclass
class DriveWorld(World):
    """Attributes:
    filed: files by id.
    ids: of what is shown, by its path.
    settled: lengths of the log between two changes: what lags shows a change as a whole.
    """

    filed: dict[int, Filed] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    settled: list[int] = field(default_factory=lambda: [0])

    def set(self, path: str, data: bytes, mtime_ns: int | None) -> Thing:
        number = self.ids.get(path)
        if number is None:
            return self.add(path, data, mtime_ns)
        return self.put(number, replace(self.filed[number], thing=_thing(number, data, mtime_ns)))

    def add(self, label: str, data: bytes, mtime_ns: int | None) -> Thing:
        """A further file, whoever has its name."""
        self.serial += 1
        created = self.serial if mtime_ns is None else mtime_ns
        return self.put(self.serial, Filed(label, created, _thing(self.serial, data, mtime_ns)))

    def put(self, number: int, filed: Filed) -> Thing:
        self.filed[number] = filed
        self._show()
        return filed.thing

    def drop(self, path: str) -> None:
        del self.filed[self.ids[path]]
        self._show()

    def find(self, path: str) -> str:
        """Where a file is shown: an alias stands for it also when nothing shares its name any more."""
        if path in self.ids:
            return path
        if "~id-" in path:
            for shown, number in self.ids.items():
                if alias(self.filed[number].label, number) == path:
                    return shown
        raise FileNotFoundError(2, "nothing there", path)

    def called(self, path: str) -> list[bytes]:
        alike = [each.thing.data for each in self.filed.values() if each.label == path]
        return alike or [self.read(path)]

    def lagging(self, count: int) -> int:
        return max(each for each in self.settled if each <= count)

    def _show(self) -> None:
        ids: dict[str, int] = {}
        for number in sorted(self.filed, key=lambda each: (self.filed[each].created, each)):
            label = self.filed[number].label
            ids[alias(label, number) if label in ids else label] = number
        before, shown = self.things, {path: self.filed[number].thing for path, number in ids.items()}
        self.things, self.ids = shown, ids
        changed = [path for path in before | shown if before.get(path) != shown.get(path)]
        self.log += changed
        self.settled.append(len(self.log))
        for path in changed:
            if path in shown:
                self.shown.setdefault(path, set()).add(shown[path].data)
                self.watch(path)


def _thing(number: int, data: bytes, mtime_ns: int | None) -> Thing:
    return Thing(data, mtime_ns, f"{number}.{hashlib.sha256(data).hexdigest()[:8]}")


class DriveStore(SimStore):
    """A process's view of it."""

    world: DriveWorld

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._held: dict[str, int] = {}
        self._loaded: set[str] = set()

    def _find(self, path: str) -> str:
        number = self._held.get(path)
        if number is not None and (filed := self.world.filed.get(number)) and filed.label == path:
            return next(shown for shown, each in self.world.ids.items() if each == number)
        return self.world.find(path)

    def _free(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if folder not in self._loaded:
            self._loaded.add(folder)
            for shown, number in self.world.ids.items():
                if shown.rpartition("/")[0] == folder:
                    self._held.setdefault(shown, number)
        number = self._held.get(path)
        filed = None if number is None else self.world.filed.get(number)
        if number is not None and filed is not None and path in (filed.label, alias(filed.label, number)):
            raise AlreadyExists(f"{path} is taken")
        self._held.pop(path, None)

    def _create(self, path: str, data: bytes, mtime_ns: int | None) -> Thing:
        thing = self.world.add(path, data, mtime_ns)
        self._held[path] = self.world.serial
        return thing

    def shared_names(self) -> Mapping[str, str]:
        labels = {shown: self.world.filed[number].label for shown, number in self.world.ids.items()}
        often = Counter(labels.values())
        return {shown: label for shown, label in labels.items() if often[label] > 1}

    def make_own(self, path: str) -> Stored:
        number = self.world.ids[self._find(path)]
        entry = self._entry(path, self.world.put(number, replace(self.world.filed[number], label=path)))
        return Stored(path, entry.size, entry.version, entry.digests, entry.mtime_ns)

    def stat(self, path: str) -> Entry:
        return replace(super().stat(path), path=path)

    def open(self, path: str, offset: int = 0) -> SimReader:
        self._before("open")
        return _Reader(self, self._find(path), offset)

    def move(self, path: str, to: str) -> Stored:
        self._before("move")
        number = self.world.ids[self._find(path)]
        self._free(to)
        self.world.put(number, replace(self.world.filed[number], label=to))
        if self._held.get(path) == number:
            del self._held[path]
        self._held[to] = number
        entry = self._entry(to, self.world.filed[number].thing)
        self._after("move")
        return Stored(to, entry.size, entry.version, entry.digests, entry.mtime_ns)

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        self._before("set_mtime")
        number = self.world.ids[self._find(path)]
        filed = self.world.filed[number]
        thing = self.world.put(number, replace(filed, thing=replace(filed.thing, mtime_ns=mtime_ns)))
        entry = self._entry(path, thing)
        return Stored(path, entry.size, entry.version, entry.digests, entry.mtime_ns)


class _Reader(SimReader):
    """Reads by the id."""

    store: DriveStore

    def __init__(self, store: DriveStore, path: str, offset: int) -> None:
        super().__init__(store, path, offset)
        self._number = store.world.ids[path]

    def thing(self) -> Thing:
        try:
            return self.store.world.filed[self._number].thing
        except KeyError:
            raise FileNotFoundError(2, "gone", self.path) from None
