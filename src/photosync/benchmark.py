"""How fast a place of the user's own is, and which settings suit it.

Everything happens in a folder of its own, ``.photosync-benchmark-…``, that is gone at the end.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from photosync.engine import hashing
from photosync.engine.capabilities import Blob, Capabilities, Orders, Probes, Store
from photosync.engine.entry import Kind
from photosync.engine.errors import AlreadyExists, Corrupt, PhotosyncError
from photosync.engine.limits import Gate, parse_rate
from photosync.engine.names import OURS
from photosync.engine.retry import RetryPolicy
from photosync.engine.sizes import human_size
from photosync.engine.target import Target
from photosync.engine.verify import Verify, reread
from photosync.engine.workers import Workers, each
from photosync.places import Kind as PlaceKind
from photosync.places import Place, PlaceError, parse
from photosync.session import Session

T = TypeVar("T")

FOLDER = f"{OURS}-benchmark-"
CONFIRM = 256 << 20
"""Bytes to send beyond which a person is asked first."""
SMALLEST, LARGEST = 1 << 10, 64 << 20
_PATIENCE = 8.0
"""Seconds of one measurement after which no more calls are begun."""
_LEVEL = 32 << 20
"""Bytes that one measurement of request sizes or parts sends at most, if one request is not more."""
_SIZES = (256 << 10, 1 << 20, 4 << 20, 16 << 20)
_ASKED = 9
_TOGETHER = 4
"""Files of one call at most, at a service that takes several."""
_AS_GOOD, _WORSE = 0.9, 0.8
"""Of the best rate: what is as good, and what is so much worse that a setting is worth its while."""


@dataclass(frozen=True, slots=True)
class Speed:
    """One measurement.

    Attributes:
        what: "upload", "download" or "parts".
        at_once: calls under way at once.
        size: bytes of a file, or of a part.
        bytes: moved.
        seconds: it took.
    """

    what: str
    at_once: int
    size: int
    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found out.

    Attributes:
        place: as the user wrote it.
        latency: seconds of each question that moved no file.
        speeds: in the order measured.
        retries: calls that had to be made again, by kind of trouble.
        most: calls at once that photosync makes there by itself.
        transfers: what to set; None: nothing.
        tidy: the folder is gone again.
    """

    place: str
    latency: Sequence[float]
    speeds: Sequence[Speed]
    retries: dict[str, int]
    most: int
    transfers: int | None
    tidy: bool

    @property
    def snippet(self) -> str:
        """For the configuration; empty if nothing need be set."""
        return f"[defaults]\ntransfers = {self.transfers}\n" if self.transfers else ""

    def advice(self) -> str:
        """The same in words."""
        levels = levels_of(self.speeds)
        if self.transfers is None:
            return (
                f"Nothing need be set: the {self.most} calls at once that photosync makes by itself are as "
                f"good as any here ({human_size(levels[self.most].rate)}/s up)."
            )
        return (
            f"Fewer calls at once are better here: {human_size(levels[self.transfers].rate)}/s up with "
            f"{self.transfers}, {human_size(levels[self.most].rate)}/s with the {self.most} that photosync "
            f"makes by itself. Use --transfers {self.transfers}, or keep it in the configuration:"
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """What will be done.

    Attributes:
        levels: how many calls at once, in turn.
        together: files of one call.
        size: bytes of a file.
        sizes: bytes of a request, in turn.
        part: bytes of a part of a large file; parts of it.
    """

    levels: Sequence[int]
    together: int
    size: int
    sizes: Sequence[int]
    part: int
    parts: int

    @property
    def sent(self) -> int:
        """Bytes that are sent at most."""
        most = max(self.levels)
        levels = sum(_calls(level) * self.together * self.size for level in [*self.levels, most, most])
        return levels + sum(_count(size, most) * size for size in self.sizes) + self.part * self.parts


def steps(can: Capabilities, size: int) -> Steps:
    """What will be done at a place.

    Args:
        can: what it can do.
        size: bytes of a file, as `parse_size` gives them.
    """
    size = min(size, can.small_limit, can.batch.bytes)
    levels = [level for level in (1, 2, 4, 8, 16, 32, 64) if level < can.write_concurrency]
    sizes = [one for one in _SIZES if one <= min(can.small_limit, can.batch.bytes) and one != size]
    together = max(1, min(can.batch.count, _TOGETHER, can.batch.bytes // size))
    parts = max(2, min(can.write_concurrency, _LEVEL // can.part_size))
    return Steps([*levels, can.write_concurrency], together, size, sizes, can.part_size, parts)


def _calls(level: int) -> int:
    return max(6, level)


def _count(size: int, level: int) -> int:
    return max(1, min(2 * level, _LEVEL // size))


def parse_size(text: str) -> int:
    """Bytes of a file, from "500K" or "4M".

    Raises:
        PlaceError: it is no size, or none that can be used.
    """
    try:
        size = int(parse_rate(text) or 0)
    except ValueError:
        size = 0
    if not SMALLEST <= size <= LARGEST:
        raise PlaceError(
            f"--size {text}: write a size from {human_size(SMALLEST)} to {human_size(LARGEST)}, such as 4M"
        )
    return size


Confirm = Callable[[str], bool]
Told = Callable[[Speed | Sequence[float]], None]


def benchmark(
    session: Session, text: str, size: int, confirm: Confirm, tell: Told, warn: Callable[[str], None]
) -> Findings | None:
    """Measures a place.

    Args:
        text: the place.
        size: bytes of each file.
        confirm: asked with what will be sent, if that is much; False ends it before anything is sent.
        tell: hears of each measurement: of latencies first.
        warn: hears what could not be removed.

    Returns:
        What was found, or None if ``confirm`` said no.

    Raises:
        PlaceError: the place is not there, is a phone, or can only be read.
        Corrupt: what came back is not what was sent.
        PhotosyncError: something else failed. What was written is removed all the same.
    """
    name = FOLDER + secrets.token_hex(4)
    if parse(text, session.config).kind is PlaceKind.PHONE:
        raise PlaceError(f"{text} can only be read: photosync writes nothing to phones")
    with session.open(_inside(text, name)) as place:
        can = place.store.capabilities
        if place.is_local and not os.path.isdir(os.path.dirname(place.root)):
            raise PlaceError(f"there is no folder {text}: make it first, with photosync mkdir")
        if not place.root.endswith(name):
            raise PlaceError(f"{text} is no place that can have folders")
        if not can.writable:
            raise PlaceError(f"{text} can only be read, and a benchmark writes")
        plan = steps(can, size)
        question = f"Up to {human_size(plan.sent)} will be sent to {text} and read back. Go on?"
        if plan.sent > CONFIRM and not confirm(question):
            return None
        run = _Run(session, place, plan, tell)
        try:
            run.run()
        finally:
            tidy = _remove(session, place)
            if not tidy:
                warn(f"{_inside(text, name)} could not be removed: remove it by hand")
    return Findings(text, run.latency, run.speeds, run.retries, max(plan.levels), run.transfers, tidy)


def _inside(text: str, name: str) -> str:
    return text + name if text.endswith((":", "/", os.sep)) else f"{text}/{name}"


def _remove(session: Session, place: Place) -> bool:
    """Whether nothing is left: files one by one, for good, and then the folders."""
    try:
        with session.target(place) as target:
            for path in _files(target.store, ""):
                with suppress(FileNotFoundError):
                    target.call(lambda path=path: target.store.delete(path), f"removing {path}")  # type: ignore[misc]
        with suppress(FileNotFoundError):
            if place.is_local:
                shutil.rmtree(place.root)
            elif place.fs is not None:
                place.fs.rm(place.root, recursive=True)
    except Exception:  # noqa: BLE001 - filesystems raise what they like; the person is told what stays
        return False
    return True


def _files(store: Store, folder: str) -> Iterator[str]:
    try:
        children = store.list_folder(folder)
    except FileNotFoundError:
        return
    for entry in children:
        if entry.kind is Kind.FOLDER:
            yield from _files(store, entry.path)
        else:
            yield entry.path


def levels_of(speeds: Sequence[Speed]) -> dict[int, Speed]:
    """The fastest upload by number of calls at once, of files of the size that was asked for."""
    uploads = [speed for speed in speeds if speed.what == "upload"]
    found: dict[int, Speed] = {}
    for speed in uploads:
        known = found.get(speed.at_once)
        if speed.size == uploads[0].size and (known is None or known.rate < speed.rate):
            found[speed.at_once] = speed
    return found


def chosen_of(levels: dict[int, Speed]) -> int:
    """The most that was tried, unless it is clearly worse than fewer; then as few as are as good as any."""
    best, most = max(speed.rate for speed in levels.values()), max(levels)
    if levels[most].rate >= _WORSE * best:
        return most
    return min(level for level, speed in levels.items() if speed.rate >= _AS_GOOD * best)


class _Run:
    def __init__(self, session: Session, place: Place, plan: Steps, tell: Told) -> None:
        self.place, self.plan, self.tell = place, plan, tell
        self.seam = session.seam
        self.store = place.store
        self.can = place.store.capabilities
        self.latency: Sequence[float] = ()
        self.speeds: list[Speed] = []
        self.retries: dict[str, int] = {}
        self.transfers: int | None = None
        self._body = os.urandom(max(plan.size, plan.part, *plan.sizes))
        self._hashes: dict[str, str] = {}

    def run(self) -> None:
        with self._target() as (target, _):
            if isinstance(self.store, Probes):
                target.call(self.store.probe, f"asking {self.place.text} what it checks")
                self.can = self.store.capabilities
            self._ask(target)  # The first one pays for the connection.
            self.latency = [self._ask(target) for _ in range(_ASKED)]
        self.tell(self.latency)
        most = max(self.plan.levels)
        for level in self.plan.levels:
            if level < most and self._flat():
                continue
            names = self._names(f"level-{level}", _calls(level) * self.plan.together)
            self._told(self._upload(level, self.plan.size, names, self.plan.together))
        uploads = list(self.speeds)
        chosen = chosen_of(levels_of(uploads))
        if chosen != most:
            # Once more: chance should not make settings.
            for level in (chosen, most):
                names = self._names(f"again-{level}", _calls(level) * self.plan.together)
                self._told(self._upload(level, self.plan.size, names, self.plan.together))
            chosen = chosen_of(levels_of(self.speeds))
        self.transfers = None if chosen == most else chosen
        there = [path for path in self._hashes if path.startswith("level-")]
        for upload in uploads:
            self._told(self._download(upload.at_once, there[-_calls(upload.at_once) :]))
        for size in self.plan.sizes:
            names = self._names(f"size-{size}", _count(size, chosen))
            self._told(self._upload(chosen, size, names, 1))
        self._told(self._parts(chosen))

    def _told(self, speed: Speed) -> None:
        self.speeds.append(speed)
        self.tell(speed)

    def _flat(self) -> bool:
        """Whether two levels in a row brought less than a twentieth more."""
        rates = [speed.rate for speed in self.speeds]
        return len(rates) > 3 and max(rates[-2:]) < 1.05 * max(rates[:-2])

    def _names(self, kind: str, count: int) -> list[str]:
        return [f"{kind}-{number:04d}.bin" for number in range(count)]

    @contextmanager
    def _target(self) -> Iterator[tuple[Target, Workers]]:
        with Workers(self.seam) as workers:
            gate = Gate(workers)
            yield Target(self.store, workers, gate, RetryPolicy(), Verify.AUTO), workers
            for trouble, count in gate.retries.items():
                self.retries[str(trouble)] = self.retries.get(str(trouble), 0) + count

    def _ask(self, target: Target) -> float:
        began = self.seam.monotonic()
        with suppress(FileNotFoundError):
            target.call(lambda: self.store.stat("nothing.bin"), "asking for a file that is not there")
        return self.seam.monotonic() - began

    def _blob(self, path: str, size: int) -> Blob:
        # No two files alike: services know those that they have already.
        data = path.encode().ljust(32, b"\0")[:32] + secrets.token_bytes(16) + self._body[48:size]
        found = hashing.fingerprint(data, [name for name in self.can.hashes if hashing.known(name)])
        self._hashes[path] = found.digests["sha256"]
        return Blob(path, data, None, found.digests)

    def _upload(self, level: int, size: int, names: Sequence[str], together: int) -> Speed:
        calls = [names[at : at + together] for at in range(0, len(names), together)]
        with self._target() as (target, workers):
            until = self.seam.monotonic() + _PATIENCE

            def send(some: Sequence[str]) -> int:
                if self.seam.monotonic() > until:
                    return 0
                blobs = [self._blob(path, size) for path in some]
                for result in target.call(lambda: self.store.put(blobs), "sending a file"):
                    # A name is taken when an answer was lost and the call was made again.
                    if isinstance(result, Exception) and not isinstance(result, AlreadyExists):
                        raise result
                return sum(len(blob.data) for blob in blobs)

            return self._timed("upload", level, size, workers, calls, send)

    def _download(self, level: int, names: Sequence[str]) -> Speed:
        with self._target() as (target, workers):
            until = self.seam.monotonic() + _PATIENCE

            def fetch(path: str) -> int:
                if self.seam.monotonic() > until:
                    return 0
                found = target.call(
                    lambda: reread(self.store.open(path), (), workers.check), "reading a file"
                )
                if found.digests["sha256"] != self._hashes[path]:
                    raise Corrupt(f"{path} came back from {self.place.text} with other bytes than were sent")
                return found.size

            return self._timed("download", level, self.plan.size, workers, names, fetch)

    def _parts(self, level: int) -> Speed:
        size = self.plan.part * self.plan.parts
        with self._target() as (target, workers):
            upload = target.call(
                lambda: self.store.start_upload("parts.bin", size, None), "beginning a large file"
            )
            try:
                hasher = hashing.Hasher([upload.digest] if upload.digest else [])
                parts = range(-(-size // upload.part_size))

                def part(index: int) -> bytes:
                    length = min(upload.part_size, size - index * upload.part_size)
                    return index.to_bytes(8, "big") + (self._body * (length // len(self._body) + 1))[8:length]

                for index in parts:
                    hasher.update(part(index))

                def send(index: int) -> int:
                    data = part(index)
                    told = hashlib.sha256(data).hexdigest()
                    target.call(lambda: upload.send_part(index, data, told), "sending a part")
                    return len(data)

                ordered = upload.in_order if isinstance(upload, Orders) else not self.can.parallel_parts
                at_once = 1 if ordered else level
                began = self.seam.monotonic()
                each(workers, at_once, parts, send, "benchmark")
                target.call(lambda: upload.commit(hasher.finish().digests), "completing a large file")
            except BaseException:
                with suppress(PhotosyncError, OSError):
                    upload.abort()
                raise
            return Speed("parts", at_once, upload.part_size, size, self.seam.monotonic() - began)

    def _timed(
        self, what: str, level: int, size: int, workers: Workers, items: Sequence[T], run: Callable[[T], int]
    ) -> Speed:
        began = self.seam.monotonic()
        moved = sum(each(workers, level, items, run, "benchmark"))
        return Speed(what, level, size, moved, self.seam.monotonic() - began)


def latency(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    return median(seconds), min(seconds), max(seconds)
