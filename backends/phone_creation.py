"""The one way in which photosync makes files on a mounted phone; only ``restore`` to a phone comes here.

It runs in a helper process of its own, as deleting does (`photosync.backends.phone_removal`), and can make
folders and new files, nothing else. A file grows under a name of photosync's own and gets its final one when
it is whole; nothing that has a name is ever replaced, and only what has such a name of photosync's own is
taken away again.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from itertools import count
from typing import Any

from photosync.backends.mount_worker import MountWorker, NoAnswer
from photosync.backends.phone import PhoneStore
from photosync.backends.phone_files import folder_of
from photosync.backends.posix import NEW_FILE, keep_mtime, rename_exclusive, write_all
from photosync.engine.errors import AlreadyExists, DeviceGone, ReadOnly
from photosync.engine.names import OURS, check_relative

_OPERATIONS = "photosync.backends.phone_creation:operations"
_PATIENCE = 120.0
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
READ_ONLY_ROUTES = ("gvfs-afc", "kio-afc", "ifuse", "afc", "ptp", "gphotofs", "gvfs-gphoto2", "kio-camera")
"""A file put there through AFC does not show in the iPhone's photo library, and PTP is not for writing."""


def temporary(path: str, content: str) -> str:
    """The name under which a file grows: beside its final one, the same in every run.

    Args:
        path: final path.
        content: content id, hex.
    """
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{OURS}-restoring-{content[:32]}.part"


def operations() -> dict[str, Callable[..., object]]:
    """What the helper can do."""
    files = _Files()
    return {"begin": files.begin, "write": files.write, "end": files.end, "publish": _publish, "drop": _drop}


class _Files:
    def __init__(self) -> None:
        self._open: dict[int, tuple[int, int]] = {}
        self._numbers = count()

    def begin(self, root: str, path: str) -> int:
        """Makes a file, and the folders that lead to it. What an earlier run left under its name goes."""
        require_own(path)
        parent, _, name = path.rpartition("/")
        _make_folders(root, parent)
        with contextlib.suppress(FileNotFoundError):
            _drop(root, path)
        with folder_of(root, parent) as folder:
            descriptor = os.open(name, NEW_FILE & ~os.O_RDWR | os.O_WRONLY, 0o644, dir_fd=folder)
        number = next(self._numbers)
        self._open[number] = descriptor, 0
        return number

    def write(self, number: int, data: bytes) -> None:
        descriptor, at = self._open[number]
        write_all(descriptor, data, at)
        self._open[number] = descriptor, at + len(data)

    def end(self, number: int, mtime_ns: int | None) -> None:
        descriptor, _ = self._open.pop(number)
        try:
            with contextlib.suppress(OSError):
                # Some MTP mounts cannot; they send the file when it is closed, and closing tells.
                os.fsync(descriptor)
            if mtime_ns is not None:
                keep_mtime(descriptor, mtime_ns)
        finally:
            os.close(descriptor)


def _make_folders(root: str, path: str) -> None:
    made = ""
    for name in path.split("/") if path else ():
        with folder_of(root, made) as folder, contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        made = f"{made}/{name}" if made else name


def _publish(root: str, path: str, to: str) -> None:
    """Gives a file its final name, in the same folder, if nothing has it."""
    require_own(path)
    parent, _, name = path.rpartition("/")
    _, _, new = to.rpartition("/")
    with folder_of(root, parent) as folder:
        with contextlib.suppress(FileNotFoundError):
            os.stat(new, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), to)
        if not rename_exclusive(folder, name, folder, new):
            # MTP has no such rename, nor a second writer at that moment.
            os.rename(name, new, src_dir_fd=folder, dst_dir_fd=folder)


def _drop(root: str, path: str) -> None:
    require_own(path)
    parent, _, name = path.rpartition("/")
    with folder_of(root, parent) as folder:
        if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)


def require_own(path: str) -> None:
    """Raises PermissionError for a name that is not from `temporary`."""
    folder, _, name = path.rpartition("/")
    if ".." in folder.split("/") or not (name.startswith(f"{OURS}-restoring-") and name.endswith(".part")):
        raise PermissionError(errno.EPERM, "not a file that photosync is making", path)


class MountCreator:
    """Makes files on a mounted device. Use `creator_for`. Paths are those on the device."""

    def __init__(self, store: PhoneStore) -> None:
        self._store = store
        self._worker = MountWorker(_OPERATIONS)
        self._number: int | None = None

    def begin(self, path: str) -> None:
        """Begins a file under a name from `temporary`.

        Raises:
            ReadOnly: this route cannot make files.
            DeviceGone: the phone does not answer.
            OSError: as for `os.open`, such as a name or a size that the phone does not take.
        """
        require_own(check_relative(path))
        self._store.check_present()
        self._number = self._ask(path, "begin", self._store.device.path, path)

    def write(self, path: str, data: bytes) -> None:
        """The next bytes of it. Raises as `begin`."""
        self._ask(path, "write", self._number, data)

    def end(self, path: str, mtime_ns: int | None) -> None:
        """Ends it; it can be read now. Raises as `begin`."""
        self._ask(path, "end", self._number, mtime_ns)

    def publish(self, path: str, to: str) -> None:
        """Gives it its final name.

        Raises:
            AlreadyExists: something has that name; nothing was changed.
        """
        try:
            self._ask(path, "publish", self._store.device.path, path, check_relative(to))
        except FileExistsError as error:
            raise AlreadyExists(f"{to} is on the phone already; it was left alone") from error

    def drop(self, path: str) -> None:
        """Takes away what did not become whole."""
        with contextlib.suppress(FileNotFoundError):
            self._ask(path, "drop", self._store.device.path, path)

    def _ask(self, path: str, operation: str, *arguments: object) -> Any:
        doing = f"restoring {path}"
        try:
            return self._worker.call(_PATIENCE, operation, *arguments)
        except NoAnswer as error:
            raise DeviceGone(
                f"{doing}: the phone does not answer. Plug it in again, then run again."
            ) from error
        except OSError as error:
            if error.errno in _REFUSED:
                model, route = self._store.device.model, self._store.device.route
                raise ReadOnly(
                    f"{doing}: {model} does not let files be written by this route ({route}). Restore to a "
                    "folder, or allow USB debugging, by which it works."
                ) from error
            raise

    def close(self) -> None:
        """Ends the helper."""
        self._worker.close()


def creator_for(store: PhoneStore) -> MountCreator | None:
    """What can make files on the device, or None if its route must not be used for that."""
    return None if store.device.route in READ_ONLY_ROUTES else MountCreator(store)
