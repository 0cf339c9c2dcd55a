"""Photos on a mounted phone, camera or memory card, as a store that is only ever read.

What ``phone:…`` means is told in `photosync.backends.phone_paths`.
"""

import contextlib
import errno
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from photosync.backends import afc
from photosync.backends.device_facts import Facts, gather_facts, mount_at
from photosync.backends.devices import UNLOCK, Device, Seen, is_plugged_in, trouble
from photosync.backends.mount_worker import MountWorker, NoAnswer
from photosync.backends.phone_paths import PhonePaths, above, housekeeping
from photosync.backends.posix import entry_of
from photosync.engine.capabilities import Capabilities, Usage
from photosync.engine.entry import Entry, Kind, join
from photosync.engine.errors import (
    Corrupt,
    DeviceGone,
    Permanent,
    PhotosyncError,
    ReadOnly,
    Transient,
)
from photosync.engine.readonly import ReadOnlyStore

_MOUNTED = "photosync.backends.phone_files:operations"
_UNMOUNTED = {
    **afc.OPERATIONS,
    "ptp": "photosync.backends.ptp_files:operations",
}
"""Who answers for routes without a mount; the operations are the same."""

_LARGE = 1 << 20
"""Bytes of the smallest read: each costs an exchange with the phone."""

_PATIENCE = 120.0
_LISTING_TIMES = 8
"""A folder of 30,000 photos takes minutes where each is asked about by itself."""

_SLOWEST = 2_000_000
"""Bytes a second. jmtpfs and simple-mtpfs fetch a whole file when it is opened and say nothing meanwhile."""

WHOLE_FILES = frozenset(
    {"jmtpfs", "simple-mtpfs", "gphotofs", "gvfs-gphoto2", "kio-camera", "ptp", "pymobiledevice3"}
)
"""Routes that fetch a whole file whatever part of it is read: nothing is gained by reading heads."""

_GONE = {errno.ENODEV, errno.ENOTCONN, errno.ENXIO, errno.ESHUTDOWN, errno.ECONNABORTED}


def phone_store(
    device: Device,
    subpath: str = "",
    *,
    facts: Callable[[], Facts] = gather_facts,
    patience: float = _PATIENCE,
) -> "PhoneStore":
    """Opens a device for reading.

    Args:
        device: as found; its identity is checked now, and again whenever something looks wrong.
        subpath: what stands behind ``phone:``; see the module's text.
        facts: asks this machine about its mounts and USB.
        patience: seconds that the device may take for one answer; eight times that for listing a folder,
            and longer for opening a large file, because some mounts fetch all of it then.

    Raises:
        DeviceGone: the device is not there, not the same, or shows no photo folder.
        FileNotFoundError: there is no folder ``subpath`` on it.
        NameRefused: ``subpath`` tries to leave the device.
    """
    store = PhoneStore(device, facts, patience)
    try:
        store.check_present()
        store.narrow(subpath)
    except BaseException:
        store.close()
        raise
    return store


class PhoneStore(ReadOnlyStore):
    """See `phone_store`, which makes it."""

    def __init__(self, device: Device, facts: Callable[[], Facts], patience: float) -> None:
        self.device = device
        self._requests = Counter[str]()
        self.requests: Mapping[str, int] = self._requests
        self._facts = facts
        self._patience = patience
        self._operations = _UNMOUNTED.get(device.route, _MOUNTED)
        self._worker = MountWorker(self._operations)
        self._lock = threading.Lock()
        self._gone: str | None = None
        self._closed = False
        self._paths: PhonePaths
        now = facts()
        self._mount = mount_at(device.path, now.mounts)
        self._was_plugged_in = is_plugged_in(device, now)
        fat = self._mount is not None and self._mount.fstype in ("vfat", "msdos")
        self.capabilities = Capabilities(
            # MTP dates (PTP, ISO 15740, DateTime) have whole seconds, FAT has even ones.
            mtime_precision_ns=2_000_000_000 if fat else 1_000_000_000,
            read_concurrency=1,
            write_concurrency=1,
            partial_reads=device.route not in WHOLE_FILES,
            slow_read=True,
            writable=False,
        )

    def narrow(self, subpath: str) -> None:
        """Settles what is listed; `phone_store` calls it once."""
        self._paths = PhonePaths(self.device, subpath, self._is_folder)

    # ---- is it still there -------------------------------------------------------------------------------

    def check_present(self) -> None:
        """Makes sure that the device that was opened is still there and shows its storages.

        Raises:
            DeviceGone: it is not; the text says what to do.
        """
        self._check_machine()
        try:
            seen: Seen = self._call("looking at the device", self._patience, "look", self.device.path)
        except OSError as error:
            raise DeviceGone(trouble(error, self.device.path)) from error
        if seen.empty:
            raise DeviceGone(f"{self.device.model} at {self.device.path} is empty. {UNLOCK}")
        shown = {storage.name: set(storage.folders) for storage in seen.storages}
        for storage in self.device.storages:
            if not shown.get(storage.name, set()) & set(storage.folders):
                raise DeviceGone(
                    f"{join(self.device.path, storage.name)} no longer shows {' or '.join(storage.folders)}. "
                    "Unlock the device, allow file transfer, then run again."
                )

    def _check_machine(self) -> None:
        """The part of `check_present` that costs the device nothing."""
        facts, path = self._facts(), self.device.path
        if mount_at(path, facts.mounts) != self._mount:
            raise DeviceGone(f"{path} was unmounted or something else is mounted there. Run again to go on.")
        if self._was_plugged_in and is_plugged_in(self.device, facts) is False:
            raise DeviceGone(f"{self.device.model} was unplugged. Plug it in again, then run again.")

    # ---- asking ------------------------------------------------------------------------------------------

    def _call(self, doing: str, patience: float, operation: str, *arguments: object) -> Any:
        """Asks the helper; what the operating system says about the device comes out as it is."""
        with self._lock:
            if self._gone is not None:  # another question would leave another helper stuck
                raise DeviceGone(self._gone)
            if self._closed:
                raise Permanent(f"{doing}: {self.device.model} was closed")
            worker = self._worker
            self._requests[operation] += 1
        try:
            return worker.call(patience, operation, *arguments)
        except NoAnswer as error:
            self._gone = f"{doing}: {trouble(error, self.device.path)}"
            raise DeviceGone(self._gone) from error
        except Transient:
            worker.close()  # else it might keep the device for itself
            with self._lock:
                if self._worker is worker:
                    self._worker = MountWorker(self._operations)
            raise

    def _ask(self, doing: str, patience: float, operation: str, *arguments: object) -> Any:
        """As `_call`; errors come out as the engine understands them, a vanished device as DeviceGone.

        Args:
            doing: for messages, such as "reading DCIM/a.jpg".
        """
        try:
            return self._call(doing, patience, operation, *arguments)
        except OSError as error:
            if error.errno in _GONE:
                self._check_machine()  # knows better words for it, if the mount itself is gone
                raise DeviceGone(f"{doing}: {trouble(error, self.device.path)}") from error
            self.check_present()
            if error.errno == errno.EIO:
                raise Permanent(
                    f"{doing}: {os.strerror(errno.EIO)}, though the device still answers. If the photo is "
                    "kept in the cloud only, download it to the phone; then run again."
                ) from error
            raise

    def real(self, path: str) -> str | None:
        """The path on the device; None above all folders that are shown."""
        return self._paths.real(path)

    @property
    def shown(self) -> tuple[str, ...]:
        """See `PhonePaths.shown`."""
        return self._paths.shown

    def _is_folder(self, real: str) -> bool:
        try:
            found: os.stat_result = self._ask(
                f"looking at {real}", self._patience, "stat", self.device.path, real
            )
        except (FileNotFoundError, NotADirectoryError):
            return False
        return stat.S_ISDIR(found.st_mode)

    # ---- the protocol: reading ---------------------------------------------------------------------------

    def list_folder(self, path: str) -> list[Entry]:
        """Direct children. An empty answer is believed only while the device is certainly there."""
        real = self.real(path)
        if real is None:
            steps = self._paths.steps(path)
            self.check_present()
            patience = self._patience * _LISTING_TIMES
            there, _ = self._ask(f"listing {path or '/'}", patience, "list", self.device.path, path)
            return above(path, steps, [name for name, told in there if stat.S_ISDIR(told.st_mode)])
        doing = f"listing {path or '/'}"
        patience = self._patience * _LISTING_TIMES
        found, vanished = self._ask(doing, patience, "list", self.device.path, real)
        if vanished or not found:
            self.check_present()
        else:
            self._check_machine()
        return [_entry(join(path, name), join(real, name), told) for name, told in found]

    def stat(self, path: str) -> Entry:
        real = self.real(path)
        if real is None:
            self._paths.steps(path)
            return Entry(path, kind=Kind.FOLDER)
        told = self._ask(f"looking at {path}", self._patience, "stat", self.device.path, real)
        return _entry(path, real, told)

    def open(self, path: str, offset: int = 0) -> "PhoneReader":
        """Opens a file, to be read from front to back."""
        real = self._paths.file(path)
        size = self.stat(path).size
        patience = self._patience + size / _SLOWEST
        number, told = self._ask(f"opening {path}", patience, "open", self.device.path, real, offset)
        return PhoneReader(self, path, number, offset, told.st_size, patience)

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        with contextlib.closing(self.open(path)) as reader:
            pieces = bytearray()
            while len(pieces) <= limit and (piece := reader.read(limit + 1 - len(pieces))):
                pieces += piece
        if len(pieces) > limit:
            raise Corrupt(f"{path} is longer than the {limit} bytes expected")
        return bytes(pieces), None

    def about(self) -> Usage:
        total, free = self._ask("asking for space", self._patience, "usage", self.device.path)
        return Usage(total, total - free, free) if total else Usage(None, None, None)

    def close(self) -> None:
        """Ends the helper process; reads under way in other threads fail."""
        with self._lock:
            self._closed = True
        self._worker.close()

    def _read_only(self) -> ReadOnly:
        return ReadOnly(f"{self.device.model} is only read from; choose another destination.")


class PhoneReader:
    """An open file on a device."""

    def __init__(
        self, store: PhoneStore, path: str, number: int, offset: int, size: int, patience: float
    ) -> None:
        self._store = store
        self._path = path
        self._number: int | None = number
        self._done = offset
        self._size = size
        self._patience = patience
        self._ahead = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        if not self._ahead:
            self._ahead = memoryview(self._ask("read", max(size, _LARGE)))
            self._done += len(self._ahead)
            if not self._ahead and self._done < self._size:
                # Some mounts end a file early when the cable comes out.
                self._store.check_present()
        piece, self._ahead = bytes(self._ahead[:size]), self._ahead[size:]
        return piece

    def stat(self) -> Entry | None:
        """Asks the device again."""
        return _entry(self._path, self._path, self._ask("told"))

    def close(self) -> None:
        number, self._number = self._number, None
        if number is not None:
            # A device that is gone has closed it already; what was read is judged by read and stat.
            with contextlib.suppress(PhotosyncError, OSError, KeyError):
                self._store._call(f"closing {self._path}", self._patience, "close", number)

    def _ask(self, operation: str, *arguments: object) -> Any:
        doing = f"reading {self._path}"
        try:
            return self._store._ask(doing, self._patience, operation, self._number, *arguments)
        except KeyError as error:  # the helper was started anew since
            raise Transient(f"{doing}: the helper process was lost; the file must be opened again") from error


def _entry(path: str, real: str, told: os.stat_result) -> Entry:
    if note := housekeeping(real):
        return Entry(path, told.st_size, kind=Kind.SKIPPED, note=note)
    # The version is the change time, which a phone does not have: its mount makes one up.
    return replace(entry_of(path, told), version=None)
