"""``restore`` to a phone: new files only, each read back before it gets its name, by a door of its own.

Nothing else in photosync writes to a phone, but for the deletions of ``free-up``.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from photosync.backends import adb_creation, phone_creation
from photosync.backends.adb_store import AdbStore
from photosync.backends.phone import PhoneStore
from photosync.backends.phone_creation import temporary
from photosync.engine.beside import beside
from photosync.engine.entry import join
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    DestinationFull,
    Fatal,
    Permanent,
    PhotosyncError,
    Transient,
    classify,
)
from photosync.engine.events import Finished, Listener, Moved, Outcome, Planned, Status
from photosync.engine.hashing import new
from photosync.engine.names import ANY, printable
from photosync.engine.nodes import ManifestEntry
from photosync.engine.replica import ManifestSource
from photosync.engine.report import Report, Tally
from photosync.engine.sizes import human_size
from photosync.engine.workers import Seam
from photosync.output import json_line
from photosync.places import Place, PlaceError

FOLDER = "DCIM/Restored"
"""Where files go on a phone that is named without a folder."""
_BLOCK = 1 << 20
_TRIES = 3


class Creator(Protocol):
    """What makes files on a phone; see `photosync.backends.phone_creation.MountCreator`."""

    def begin(self, path: str) -> None: ...
    def write(self, path: str, data: bytes) -> None: ...
    def end(self, path: str, mtime_ns: int | None) -> None: ...
    def publish(self, path: str, to: str) -> None: ...
    def drop(self, path: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Going:
    """A file that is to be restored, and its path as the phone's store calls it."""

    entry: ManifestEntry
    to: str


def is_phone(place: Place) -> bool:
    return isinstance(place.store, PhoneStore | AdbStore)


class PhoneRestore:
    """Restores to one phone, file by file.

    Args:
        place: the phone; with a path, an existing folder that files go to; without one, `FOLDER`.
        source: gives each file's bytes, proven.
        seam: clock.
        listener: told what happens.

    Raises:
        PlaceError: its route cannot make files, or ``place`` is in several storages.
    """

    def __init__(self, place: Place, source: ManifestSource, seam: Seam, listener: Listener) -> None:
        assert isinstance(place.store, PhoneStore | AdbStore)
        self._store = place.store
        self._place = place
        self._source = source
        self._seam = seam
        self._listener = listener
        self._base = _base(place, self._store)
        self._creator = _creator(self._store)
        self._tally = Tally()
        self._read = 0

    def plan(self, entries: Sequence[ManifestEntry]) -> list[Going]:
        """Where each file goes: as at the source, but for the names of storages and of DCIM itself."""
        storages = {storage.name for storage in self._store.device.storages}
        going = []
        for entry in entries:
            first, _, rest = entry.path.partition("/")
            path = rest if rest and first in storages else entry.path
            going.append(Going(entry, join(self._base, path.removeprefix("DCIM/"))))
        return going

    def run(self, going: Sequence[Going]) -> Report:
        """Restores each file that is not there yet. The report is complete after Ctrl-C, too."""
        began = self._seam.monotonic()
        fatal: PhotosyncError | None = None
        interrupted = False
        self._listener(Planned(self._place.text, len(going), sum(each.entry.size for each in going), 0))
        try:
            self._require_room(going)
            for each in going:
                self._tell(each, self._one(each))
        except KeyboardInterrupt:
            interrupted = True
        except Fatal as error:
            fatal = error
        finally:
            self._creator.close()
        for each in going[sum(self._tally.counts.values()) :]:
            self._tell(each, Outcome(each.entry.path, Status.PENDING, bytes=each.entry.size))
        return Report(
            self._place.text,
            self._tally,
            source_bytes=self._read,
            requests=dict(self._store.requests),
            seconds=self._seam.monotonic() - began,
            fatal=fatal,
            interrupted=interrupted,
        )

    def _tell(self, going: Going, outcome: Outcome) -> None:
        self._tally.add(outcome)
        self._listener(Finished(self._place.text, outcome))

    def _require_room(self, going: Sequence[Going]) -> None:
        free, needed = self._store.about().free, sum(each.entry.size for each in going)
        if free is not None and needed > free:
            # What an earlier run brought takes no more room; whether it is that is seen later.
            needed -= sum(map(self._there, going))
        if free is not None and needed > free:
            raise DestinationFull(
                f"{self._place.text} has {human_size(free)} free, {human_size(needed)} are to be restored: "
                "restore less at a time (name a pattern), or free some space. Nothing was changed."
            )

    def _there(self, going: Going) -> int:
        """Bytes that seem to be on the phone already, whole or begun."""
        whole = (going.to, beside(going.to, going.entry.content, ANY))
        for path in (*whole, temporary(going.to, going.entry.content)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                size = self._store.stat(path).size
                if size == going.entry.size or path not in whole:
                    return min(size, going.entry.size)
        return 0

    def _one(self, going: Going) -> Outcome:
        entry = going.entry
        try:
            for to in (going.to, beside(going.to, entry.content, ANY)):
                there = self._has(to, entry)
                if there:
                    return Outcome(entry.path, Status.UNCHANGED, "reread", entry.size, stored=to)
                if there is None:
                    self._put(entry, to)
                    status = Status.VERIFIED if to == going.to else Status.CONFLICT
                    return Outcome(entry.path, status, "reread", entry.size, entry.size, to)
            raise AlreadyExists(f"{going.to} and the name beside it are taken by other files; both stay")
        except Fatal:
            raise
        except Exception as error:
            found = classify(error, f"restoring {printable(entry.path)}")
            if isinstance(found, Fatal):
                raise found from error
            transient = isinstance(found, Transient)
            return Outcome(entry.path, Status.FAILED, bytes=entry.size, error=str(found), transient=transient)

    def _has(self, path: str, entry: ManifestEntry) -> bool | None:
        """Whether a name on the phone has an entry's bytes; None: nothing has the name."""
        try:
            there = self._store.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return there.is_file and there.size == entry.size and self._content(path) == entry.content

    def _content(self, path: str) -> str:
        digest = new("blake3")
        with contextlib.closing(self._store.open(path)) as reader:
            while data := reader.read(_BLOCK):
                digest.update(data)
        return digest.hexdigest()

    def _put(self, entry: ManifestEntry, to: str) -> None:
        growing = temporary(to, entry.content)
        real, final = self._real(growing), self._real(to)
        try:
            self._fill(entry, real)
            if (found := self._content(growing)) != entry.content:
                raise Corrupt(
                    f"what the phone holds of {printable(to)} is not what was sent (content id {found[:16]}, "
                    f"not {entry.content[:16]}); it was taken away again"
                )
            self._creator.publish(real, final)
        except BaseException:
            with contextlib.suppress(PhotosyncError, OSError):
                self._creator.drop(real)
            raise

    def _fill(self, entry: ManifestEntry, real: str) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                with contextlib.closing(self._source.open(entry.path)) as reader:
                    self._creator.begin(real)
                    while data := reader.read(_BLOCK):
                        self._read += len(data)
                        self._listener(Moved(self._place.text, entry.path, len(data), len(data)))
                        self._creator.write(real, data)
                self._creator.end(real, entry.mtime_ns or None)
            except Transient:
                if attempt == _TRIES:
                    raise
            else:
                return

    def _real(self, path: str) -> str:
        real = self._store.real(path)
        if real is None:
            raise Permanent(f"{path} is above the phone's photo folders")
        return real


def _base(place: Place, store: PhoneStore | AdbStore) -> str:
    """The target folder as the store calls it."""
    if "" in store.shown:
        return ""
    if place.text.rpartition(":")[2]:
        raise PlaceError(f"{place.text} is in several storages: name one, as in phone:STORAGE/FOLDER")
    return join(store.device.storages[0].name if store.device.storages else "", FOLDER)


def _creator(store: PhoneStore | AdbStore) -> Creator:
    if isinstance(store, AdbStore):
        return adb_creation.creator_for(store)
    creator = phone_creation.creator_for(store)
    if creator is None:
        raise PlaceError(
            f"Nothing is written to {store.device.model} by this route ({store.device.route}): an iPhone "
            "would not show it in its photo library, and PTP is for reading. Restore to a folder, and import "
            "it with the device's own program."
        )
    return creator


def show_going(going: Sequence[Going], *, as_json: bool) -> None:
    """What a dry run shows."""
    for each in going:
        if as_json:
            row = {"event": "plan", "action": "copy", "path": each.entry.path, "to": each.to}
            json_line({**row, "bytes": each.entry.size, "reason": "to be restored"})
        else:
            print(f"restore  {printable(each.entry.path)}  ({printable(each.to)})")  # noqa: T201
    if not as_json:
        print(f"{len(going)} to restore, as far as they are not there. Nothing was changed.")  # noqa: T201
