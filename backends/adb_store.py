"""Photos on an Android phone with USB debugging, as a store that is only ever read.

What ``phone:…`` means is told in `photosync.backends.phone_paths`. Times are whole seconds since the epoch,
whatever zone the phone is in: that is all that ADB's file service tells.
"""

import contextlib
import errno
import stat
import threading
from collections.abc import Generator, Iterator, Mapping

from photosync.backends.adb_client import AdbPhone, FileLink, ShellFailed, Told
from photosync.backends.adb_listing import Tree, parse, script
from photosync.backends.devices import Device, serial_identity
from photosync.backends.phone_paths import PhonePaths, above, housekeeping
from photosync.backends.posix import entry_of_no_file
from photosync.engine.capabilities import Capabilities, Usage
from photosync.engine.entry import Entry, Kind, join
from photosync.engine.errors import Corrupt, DeviceGone, ReadOnly
from photosync.engine.readonly import ReadOnlyStore

PRIMARY = "Internal shared storage"
"""What Android's MTP calls it in English: the same paths by both routes."""

_LISTING_TIMES = 8
"""A large library takes minutes on an old phone, and xargs says nothing meanwhile."""

_SECOND = 1_000_000_000


def storage_path(name: str) -> str:
    """Where Android keeps a storage (AOSP, vold): shared storage of the user, or a card by its volume id."""
    return "/sdcard" if name == PRIMARY else f"/storage/{name}"


def adb_store(device: Device, subpath: str = "", phone: AdbPhone | None = None) -> "AdbStore":
    """Opens a phone for reading.

    Args:
        device: as found; without storages, paths start at the phone's own root.
        subpath: what stands behind ``phone:``.
        phone: a connection to it; None: made now.

    Raises:
        DeviceGone: the phone is not there, not ready, or shows no photo folder.
        FileNotFoundError: there is no folder ``subpath`` on it.
        NameRefused: ``subpath`` tries to leave the phone.
    """
    store = AdbStore(device, phone or AdbPhone(device.path))
    store.check_present()
    store.narrow(subpath)
    return store


class AdbStore(ReadOnlyStore):
    """See `adb_store`, which makes it."""

    def __init__(self, device: Device, phone: AdbPhone) -> None:
        self.device = device
        self.phone = phone
        self.paths: PhonePaths
        self.requests: Mapping[str, int] = phone.requests
        # USB 2 is full with one file at a time; more of them hide what opening one costs.
        self.capabilities = Capabilities(
            mtime_precision_ns=_SECOND,
            read_concurrency=4,
            write_concurrency=1,
            slow_read=True,
            writable=False,
        )
        self._lock = threading.Lock()
        self._ahead = Tree()
        self._tops = {storage.name: storage_path(storage.name) for storage in device.storages}

    def narrow(self, subpath: str) -> None:
        """Settles what is listed; `adb_store` calls it once."""
        self.paths = PhonePaths(self.device, subpath, self._is_folder)

    def check_present(self) -> None:
        """Makes sure that the phone that was opened is still there.

        Raises:
            DeviceGone: it is not, or another one answers at its address.
        """
        told = serial_identity(self.phone.hardware())
        kind, _, _ = self.device.identity.partition(":")
        if kind == "serial" and told != self.device.identity:
            raise DeviceGone(
                f"Another phone answers at {self.device.path}: {told} instead of {self.device.identity}. "
                "Run photosync devices to see which one is there."
            )

    def list_folder(self, path: str) -> list[Entry]:
        """Direct children. The first question about a folder brings the answers for everything below it."""
        real = self.paths.real(path)
        if real is None or self._holds_storages(real):
            steps = self.paths.steps(path) if real is None else self._tops
            self.check_present()
            return above(path, steps, self._folders_at(path))
        told, failed, vanished = self._taken(self._absolute(real))
        if failed is not None:
            raise failed
        if vanished or not told:
            self.check_present()
        return [_entry(join(path, name), join(real, name), what) for name, what in told.items()]

    def _taken(self, folder: str) -> tuple[dict[str, Told], OSError | None, bool]:
        """A folder's children, asked for with all below or left from such a question; told once only."""
        with self._lock:
            tree = self._ahead
            if folder not in tree.folders:
                tree = self._ahead = self._listed(folder, deep=True)
            return tree.folders.pop(folder), tree.failed.pop(folder, None), tree.vanished

    def _listed(self, folder: str, *, deep: bool) -> Tree:
        doing = f"listing {folder}"
        patience = self.phone.patience * _LISTING_TIMES
        return parse(self.phone.shell(script(folder, deep=deep), doing, patience), folder, deep)

    def _folders_at(self, path: str) -> list[str]:
        if not path:
            return list(self._tops)
        tree = self._listed(self._absolute(path), deep=False)
        (told,) = tree.folders.values()
        for error in tree.failed.values():
            raise error
        return [name for name, what in told.items() if stat.S_ISDIR(what.mode)]

    def stat(self, path: str) -> Entry:
        real = self.paths.real(path)
        if real is None:
            self.paths.steps(path)
            return Entry(path, kind=Kind.FOLDER)
        if self._holds_storages(real):
            return Entry(path, kind=Kind.FOLDER)
        return _entry(path, real, self.phone.told(self._absolute(real)))

    def open(self, path: str, offset: int = 0) -> "AdbReader":
        real = self.paths.file(path)
        return AdbReader(self.phone, self._absolute(real), path, offset)

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        with contextlib.closing(self.open(path)) as reader:
            data = reader.read(limit + 1)
        if len(data) > limit:
            raise Corrupt(f"{path} is longer than the {limit} bytes expected")
        return data, None

    def about(self) -> Usage:
        """Space of the storage that is shown first."""
        top = next(iter(self._tops.values()), "/sdcard")
        answer = self.phone.shell(b"stat -f -c '%S %b %a' " + top.encode() + b"/", "asking for space")
        if answer.code:
            raise ShellFailed(f"{top}: {answer.err.decode('utf-8', 'replace').strip()}")
        block, total, free = map(int, answer.out.split())
        return Usage(total * block, (total - free) * block, free * block)

    def real(self, path: str) -> str | None:
        """The path on the phone; None above all folders that are shown."""
        return self.paths.real(path)

    @property
    def shown(self) -> tuple[str, ...]:
        """See `PhonePaths.shown`."""
        return self.paths.shown

    def _absolute(self, real: str) -> str:
        first, _, rest = real.partition("/")
        return join(self._tops[first], rest).rstrip("/") if first in self._tops else f"/{real}"

    def _holds_storages(self, real: str) -> bool:
        """Whether it is the folder that only paths know: the one that holds the storages."""
        return not real and bool(self._tops)

    def _is_folder(self, real: str) -> bool:
        if self._holds_storages(real):
            return True
        try:
            # The slash follows a link to a folder: /sdcard is one.
            return stat.S_ISDIR(self.phone.told(self._absolute(real) + "/").mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _read_only(self) -> ReadOnly:
        return ReadOnly(f"{self.device.model} is only read from; choose another destination.")


class AdbReader:
    """An open file on a phone.

    Args:
        phone: where it is.
        real: absolute path there.
        path: the path it is shown under.
        offset: bytes to leave out.
    """

    def __init__(self, phone: AdbPhone, real: str, path: str, offset: int) -> None:
        self.phone = phone
        self._real = real
        self._path = path
        self._stack = contextlib.ExitStack()
        self._pieces: Generator[bytes] | None = None
        self._busy = False
        self._ahead = memoryview(b"")
        self._done = offset
        self._offset = offset
        with self._errors():
            self._link: FileLink = self._stack.enter_context(phone.files(phone.patience))
            told = self._told()
        if not stat.S_ISREG(told.mode):
            self.close()
            raise OSError(errno.EINVAL, "not a regular file", path)
        self._size = told.size

    def read(self, size: int, /) -> bytes:
        data = bytearray()
        with self._errors():
            while len(data) < size:
                if not self._ahead and not self._more():
                    break
                piece, self._ahead = self._ahead[: size - len(data)], self._ahead[size - len(data) :]
                data += piece
        self._done += len(data)
        if not data and self._done < self._size:
            self.phone.hardware()  # raises if that is why
        return bytes(data)

    def _more(self) -> bool:
        if self._pieces is None:
            self._busy = not self._offset
            doing = f"reading {self._path}"
            self._pieces = (
                self._link.received(self._real)
                if self._busy
                else self.phone.dumped(self._real, self._offset, doing)
            )
            self._stack.enter_context(contextlib.closing(self._pieces))
        for piece in self._pieces:
            if piece:
                self._ahead = memoryview(piece)
                return True
        self._busy = False
        return False

    def stat(self) -> Entry | None:
        """Asks the phone again."""
        with self._errors():
            return _entry(self._path, self._path, self._told())

    def _told(self) -> Told:
        # In the middle of a transfer the connection has no ear for questions.
        return (self.phone if self._busy else self._link).told(self._real)

    def close(self) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with self.phone.errors(f"reading {self._path}"):
                yield
        except BaseException:
            self.close()
            raise


def _entry(path: str, real: str, told: Told) -> Entry:
    if note := housekeeping(real):
        return Entry(path, told.size, kind=Kind.SKIPPED, note=note)
    if stat.S_ISREG(told.mode):
        return Entry(path, told.size, told.mtime * _SECOND)
    return entry_of_no_file(path, told.mode)
