"""The one way in which photosync deletes on a mounted phone; only `photosync free-up` comes here.

It runs in a helper process of its own (`photosync.backends.mount_worker`), apart from the one that reads: no
code that reads a phone has any operation that could change it.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from photosync.backends.mount_worker import MountWorker, NoAnswer
from photosync.backends.phone import PhoneStore
from photosync.backends.phone_files import folder_of
from photosync.engine.entry import Entry
from photosync.engine.errors import DeviceGone, Permanent, ReadOnly, SourceChanged

_OPERATIONS = "photosync.backends.phone_removal:operations"
_PATIENCE = 120.0
_LIST_ONLY = ("gvfs-afc", "kio-afc", "ifuse", "afc", "pymobiledevice3", "ptp")
"""Deleting through AFC leaves ghosts in the iPhone's photo library (libimobiledevice/ifuse#38)."""


def operations() -> dict[str, Callable[..., object]]:
    """What the helper can do."""
    return {"remove": _remove}


def _remove(root: str, path: str, size: int, mtime_ns: int) -> bool:
    """Deletes a regular file; False if it looks different from what was said."""
    parent, _, name = path.rpartition("/")
    with folder_of(root, parent) as folder:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or (found.st_size, found.st_mtime_ns) != (size, mtime_ns):
            return False
        os.unlink(name, dir_fd=folder)
    return True


class MountRemover:
    """Deletes on a mounted device. Use `remover_for`."""

    def __init__(self, store: PhoneStore) -> None:
        self._store = store
        self._worker = MountWorker(_OPERATIONS)

    def remove(self, entry: Entry) -> None:
        """See `photosync.engine.freeup.Remover`."""
        self._store.check_present()
        real = self._store.real(entry.path)
        if real is None or entry.mtime_ns is None:
            raise Permanent(f"{entry.path} cannot be told from other files; it was not deleted")
        if not self._ask(entry, real):
            raise SourceChanged(f"{entry.path} changed since it was listed; it was not deleted")

    def _ask(self, entry: Entry, real: str) -> Any:
        doing = f"deleting {entry.path}"
        try:
            return self._worker.call(
                _PATIENCE, "remove", self._store.device.path, real, entry.size, entry.mtime_ns
            )
        except NoAnswer as error:
            raise DeviceGone(
                f"{doing}: the phone does not answer. Whether it is gone shows the next run."
            ) from error
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
                raise ReadOnly(
                    f"{doing}: {self._store.device.model} does not allow it by this route"
                ) from error
            raise

    def close(self) -> None:
        """Ends the helper."""
        self._worker.close()


def remover_for(store: PhoneStore) -> MountRemover | None:
    """What can delete on the device, or None if its route must not be used for that."""
    return None if store.device.route in _LIST_ONLY else MountRemover(store)
