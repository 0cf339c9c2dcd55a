"""A store in memory, every call of which is an effect that can fail, lose its reply, or be the last."""

import errno
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from photosync.backends import drive_store, dropbox_store, s3_store
from photosync.engine.capabilities import Batch, Blob, Buffer, Capabilities, Changes, Stored, Usage
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import AlreadyExists, Corrupt, DeviceGone, Transient
from photosync.engine.hashing import fingerprint
from photosync.engine.names import POSIX, match_key
from tests.sim.scheduler import Scheduler

SMALL = 64
PART = 64


@dataclass
class Faults:
    """Chances, each between 0 and 1, that a call goes wrong in one way."""

    before: float = 0.0
    """Refused before anything happened."""
    after: float = 0.0
    """Done, but the reply is lost."""
    damage: float = 0.0
    """Stored with a flipped bit."""
    read_error: float = 0.0
    short_read: float = 0.0
    listing: float = 0.0
    unplug: float = 0.0
    change: float = 0.0
    """The file is edited while it is read."""
    stale: float = 0.0
    """A listing, or a change feed, shows what was there before the last change."""
    lie: float = 0.0
    """A listing tells a wrong size."""


@dataclass(frozen=True)
class Thing:
    data: bytes
    mtime_ns: int | None
    version: str


_SIZES: Mapping[str, Any] = {
    "part_size": PART, "small_limit": SMALL, "write_concurrency": 3, "read_concurrency": 3,
}  # fmt: skip

PERSONALITIES: Mapping[str, Capabilities] = {
    "disk": Capabilities(
        names=POSIX, exclusive=True, server_move=True, set_mtime=True, mtime_precision_ns=1, resumable=True,
        parallel_parts=True, part_size=PART, small_limit=SMALL, batch=Batch(4, 256), write_concurrency=3,
        read_concurrency=3,
    ),
    "objects": Capabilities(
        hashes=("sha256",), names=POSIX, exclusive=True, server_move=True, server_copy=True, resumable=True,
        parallel_parts=True, part_size=PART, small_limit=SMALL, flat_listing=True, write_concurrency=4,
    ),
    "feed": Capabilities(
        hashes=("dropbox",), hashes_listed=True, names=replace(POSIX, fold_case=True, fold_unicode=True),
        exclusive=True, server_move=True, resumable=True, part_size=PART, small_limit=SMALL,
        batch=Batch(8, 512), flat_listing=True, change_feed=True, write_concurrency=3,
        mtime_precision_ns=10**9,
    ),
    "s3": replace(s3_store.AT_BEST, **_SIZES),
    "dropbox": replace(dropbox_store.CAPABILITIES, **_SIZES, batch=Batch(8, 512)),
    "drive": replace(drive_store.CAPABILITIES, **_SIZES),
    "phone": Capabilities(names=POSIX, read_concurrency=1, slow_read=True, writable=False),
    "mtp": Capabilities(
        names=POSIX, mtime_precision_ns=10**9, read_concurrency=1, write_concurrency=1, slow_read=True,
        writable=False,
    ),
}  # fmt: skip

PHONES = ("phone", "mtp")
CANARY = "SECRET-ADDRESS"
"""In the tokens of uploads, which nobody but the journal may hold."""


@dataclass
class World:
    """What outlives a crash: the things in a store, and uploads begun there."""

    personality: str
    things: dict[str, Thing] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    serial: int = 0
    watch: Callable[[str], None] = lambda _path: None
    attached: bool = True
    shown: dict[str, set[bytes]] = field(default_factory=dict)
    before: dict[str, Thing] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    """Changed, and not told yet by the change feed when it was last asked."""

    def remember(self) -> None:
        """What is there now is what stale listings show from now on."""
        self.before = dict(self.things)

    def safe(self) -> set[bytes]:
        """Bytes that no power cut takes away: all that a service has acknowledged."""
        return {thing.data for thing in self.things.values()}

    def set(self, path: str, data: bytes, mtime_ns: int | None) -> Thing:
        self.serial += 1
        thing = Thing(data, mtime_ns, f"v{self.serial}")
        self.things[path] = thing
        self.shown.setdefault(path, set()).add(data)
        self.log.append(path)
        self.watch(path)
        return thing

    def read(self, path: str) -> bytes:
        """What has a name, however that is spelt."""
        return self.things[self.find(path)].data

    def called(self, path: str) -> list[bytes]:
        """What every file of a name holds: one of them, except at Google Drive."""
        return [self.read(path)]

    def lagging(self, count: int) -> int:
        """How much of the log somebody sees who sees so much at most."""
        return count

    def find(self, path: str) -> str:
        rules = PERSONALITIES[self.personality].names
        wanted = match_key(path, rules)
        for name in self.things:
            if match_key(name, rules) == wanted:
                return name
        raise FileNotFoundError(errno.ENOENT, "nothing there", path)

    def drop(self, path: str) -> None:
        del self.things[path]
        self.log.append(path)

    def visible(self) -> dict[str, bytes]:
        return {p: t.data for p, t in self.things.items() if not p.startswith(".photosync")}


class SimStore:
    """Implements `photosync.engine.capabilities.Store` over a `World`."""

    def __init__(self, world: World, scheduler: Scheduler, faults: Faults) -> None:
        self.world, self.scheduler, self.faults = world, scheduler, faults
        self.capabilities = PERSONALITIES[world.personality]
        self.requests: Counter[str] = Counter()
        self.told: dict[str, set[str]] = {}
        """Files that the last listing of each folder showed."""
        self.seconds = 0.0
        """How long each call takes, on the virtual clock."""

    # faults

    def _chance(self, chance: float) -> bool:
        return chance > 0 and self.scheduler.dice.random() < chance

    def _before(self, name: str) -> None:
        self.requests[name] += 1
        if self.seconds:
            self.scheduler.park(self.seconds)
        self.scheduler.effect(f"{self.world.personality}.{name}")
        if not self.world.attached:
            raise DeviceGone("the device was unplugged; plug it in and run again")
        if self._chance(self.faults.before):
            raise Transient(f"{name}: connection refused", 1.0 if self._chance(0.3) else None)

    def _after(self, name: str) -> None:
        self.scheduler.effect(f"{self.world.personality}.{name} done")
        if self._chance(self.faults.after):
            raise Transient(f"{name}: the reply was lost")

    def _find(self, path: str) -> str:
        return self.world.find(path)

    def _free(self, path: str) -> None:
        try:
            self._find(path)
        except FileNotFoundError:
            return
        raise AlreadyExists(f"{path} is taken")

    # looking

    def _entry(self, path: str, thing: Thing) -> Entry:
        can = self.capabilities
        digests = fingerprint(thing.data, can.hashes).digests if can.hashes else {}
        mtime = thing.mtime_ns
        if mtime is not None and can.mtime_precision_ns is not None:
            mtime -= mtime % can.mtime_precision_ns
        version = None if self.world.personality in PHONES else thing.version
        return Entry(path, len(thing.data), mtime, {n: digests[n] for n in can.hashes}, version)

    def list_folder(self, path: str) -> list[Entry]:
        self._before("list")
        if path and self._chance(self.faults.listing):
            raise OSError(errno.EIO, "Input/output error", path)
        prefix = f"{path}/" if path else ""
        found: dict[str, Entry] = {}
        stale = self._chance(self.faults.stale) and self.world.before
        for name, thing in (self.world.before if stale else self.world.things).items():
            if not name.startswith(prefix):
                continue
            head, slash, _ = name[len(prefix) :].partition("/")
            full = prefix + head
            found[full] = Entry(full, kind=Kind.FOLDER) if slash else self._entry(full, thing)
        if path and not found:
            raise FileNotFoundError(errno.ENOENT, "no such folder", path)
        self.told[path] = {name for name, entry in found.items() if entry.is_file}
        return [
            replace(entry, size=entry.size + 7) if entry.is_file and self._chance(self.faults.lie) else entry
            for entry in found.values()
        ]

    def list_tree(self) -> Iterator[Entry]:
        self._before("list")
        yield from [self._listed(path, thing) for path, thing in self.world.things.items()]

    def _listed(self, path: str, thing: Thing) -> Entry:
        entry = self._entry(path, thing)
        if self.world.personality == "s3":
            return replace(entry, digests={}, mtime_ns=None)
        return entry

    def changes(self, cursor: str | None) -> Changes:
        self._before("changes")
        log = self.world.log
        if self._chance(self.faults.stale):
            seen = max(int(cursor or 0), len(log) - self.scheduler.dice.randint(1, 3))
            log = log[: self.world.lagging(seen)]
        self.world.hidden = frozenset(self.world.log[len(log) :])
        if cursor is None:
            here = [self._entry(path, thing) for path, thing in self.world.things.items()]
            return Changes(here, [], str(len(log)), full=True)
        touched = dict.fromkeys(log[int(cursor) :])
        now = self.world.things
        upserts = [self._entry(path, now[path]) for path in touched if path in now]
        return Changes(upserts, [path for path in touched if path not in now], str(len(log)), full=False)

    def stat(self, path: str) -> Entry:
        self._before("stat")
        name = self._find(path)
        return self._entry(name, self.world.things[name])

    def open(self, path: str, offset: int = 0) -> "SimReader":
        self._before("open")
        return SimReader(self, self._find(path), offset)

    # writing

    def _store(self, path: str, data: bytes, mtime_ns: int | None) -> Stored:
        self._free(path)
        if self._chance(self.faults.damage) and data and not path.startswith(".photosync"):
            data = bytes([data[0] ^ 1]) + data[1:]
        entry = self._entry(path, self._create(path, data, mtime_ns))
        return Stored(path, entry.size, entry.version, entry.digests, entry.mtime_ns)

    def _create(self, path: str, data: bytes, mtime_ns: int | None) -> Thing:
        return self.world.set(path, data, mtime_ns)

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        self._before("put")
        results: list[Stored | Exception] = []
        for blob in blobs:
            try:
                results.append(self._store(blob.path, bytes(blob.data), blob.mtime_ns))
            except AlreadyExists as error:
                results.append(error)
            self.scheduler.effect("put one")
        self._after("put")
        return results

    def start_upload(self, path: str, size: int, mtime_ns: int | None) -> "SimUpload":
        self._before("start")
        self.world.serial += 1
        number = f"u{self.world.serial}"
        self.world.uploads[number] = (path, {})
        return SimUpload(self, json.dumps([number, path, size, mtime_ns, CANARY]))

    def resume_upload(self, token: str) -> "SimUpload":
        self._before("resume")
        if json.loads(token)[0] not in self.world.uploads:
            raise FileNotFoundError(errno.ENOENT, "upload forgotten")
        return SimUpload(self, token)

    def move(self, path: str, to: str) -> Stored:
        self._before("move")
        name = self._find(path)
        self._free(to)
        thing = self.world.things[name]
        self.world.drop(name)
        entry = self._entry(to, self.world.set(to, thing.data, thing.mtime_ns))
        self._after("move")
        return Stored(to, entry.size, entry.version, entry.digests, entry.mtime_ns)

    def copy(self, path: str, to: str) -> Stored:
        self._before("copy")
        thing = self.world.things[self._find(path)]
        stored = self._store(to, thing.data, thing.mtime_ns)
        self._after("copy")
        return stored

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        self._before("set_mtime")
        thing = self.world.things[self._find(path)]
        entry = self._entry(path, self.world.set(path, thing.data, mtime_ns))
        return Stored(path, entry.size, entry.version, entry.digests, entry.mtime_ns)

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        self._before("read_small")
        thing = self.world.things[self._find(path)]
        if len(thing.data) > limit:
            raise Corrupt(f"{path} is longer than {limit} bytes")
        return thing.data, thing.version

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        self._before("replace_small")
        there = self.world.things.get(path)
        if (there.version if there else None) != replaces:
            raise AlreadyExists(f"{path} was changed by somebody else")
        version = self.world.set(path, data, None).version
        self._after("replace_small")
        return version

    def delete(self, path: str) -> None:
        self._before("delete")
        self.world.drop(self._find(path))

    def about(self) -> Usage:
        return Usage(None, None, None)

    def close(self) -> None:
        pass


class SimReader:
    def __init__(self, store: SimStore, path: str, offset: int) -> None:
        self.store, self.path, self.at = store, path, offset

    def thing(self) -> Thing:
        return self.store.world.things[self.path]

    def read(self, size: int, /) -> bytes:
        store, faults = self.store, self.store.faults
        store.scheduler.effect("read")
        if store._chance(faults.unplug):
            store.world.attached = False
        if not store.world.attached:
            raise DeviceGone("the device was unplugged; plug it in and run again")
        if store._chance(faults.read_error):
            raise OSError(errno.EIO, "Input/output error", self.path)
        if store._chance(faults.short_read):
            return b""
        thing = self.thing()
        if store._chance(faults.change) and self.at:
            store.world.set(self.path, thing.data[::-1] + b"!", (thing.mtime_ns or 0) + 10**9)
            thing = self.thing()
        data = thing.data[self.at : self.at + min(size, 40)]
        self.at += len(data)
        return data

    def stat(self) -> Entry | None:
        return self.store._entry(self.path, self.thing())

    def close(self) -> None:
        pass


class SimUpload:
    part_size = PART

    def __init__(self, store: SimStore, token: str) -> None:
        self.store, self.token = store, token
        self.number, self.path, self.size, self.mtime_ns, _ = json.loads(token)
        self.digest = "sha256-parts/64" if store.world.personality in ("objects", "s3") else None

    def _parts(self) -> dict[int, bytes]:
        if self.number not in self.store.world.uploads:
            raise FileNotFoundError(errno.ENOENT, "upload forgotten")
        return self.store.world.uploads[self.number][1]

    def parts_held(self) -> Mapping[int, int]:
        self.store._before("parts")
        return {index: len(data) for index, data in self._parts().items()}

    def send_part(self, index: int, data: Buffer, sha256: str) -> None:
        self.store._before("part")
        assert hashlib.sha256(data).hexdigest() == sha256
        parts = self._parts()
        assert self.store.capabilities.parallel_parts or index in (len(parts), len(parts) - 1)
        parts[index] = bytes(data)
        self.store._after("part")

    def commit(self, digests: Mapping[str, str]) -> Stored:
        self.store._before("commit")
        parts = self._parts()
        data = b"".join(parts[index] for index in sorted(parts))
        stored = self.store._store(self.path, data, self.mtime_ns)
        del self.store.world.uploads[self.number]
        if self.digest:
            name = self.digest
            stored = replace(
                stored,
                digests={name: fingerprint(self.store.world.things[self.path].data, [name]).digests[name]},
            )
        self.store._after("commit")
        return stored

    def abort(self) -> None:
        self.store._before("abort")
        self.store.world.uploads.pop(self.number, None)
