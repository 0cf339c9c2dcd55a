"""Deletes single files on an Android phone: the only code that changes one. No store leads here."""

import errno
import os
import stat
from collections.abc import Callable

from photosync.backends.adb_client import AdbPhone, failure, quote
from photosync.backends.adb_store import AdbStore, storage_path
from photosync.backends.devices import Device
from photosync.engine.entry import Entry, join
from photosync.engine.errors import Permanent, SourceChanged
from photosync.engine.names import check_relative

_SCRIPT = b"""\
[ -f %(path)s ] && [ ! -L %(path)s ] && [ "$(stat -c '%%s %%Y' %(path)s)" = '%(size)d %(mtime)d' ] || exit 9
rm %(path)s </dev/null
"""
_OTHER = 9


class AdbRemover:
    """Deletes files that are still exactly what was proven to be safe elsewhere.

    Args:
        device: as found.
        phone: a connection to it.
        real: the path on the device of a path that `remove` is given, None above all storages.
    """

    def __init__(
        self, device: Device, phone: AdbPhone, real: Callable[[str], str | None] = lambda path: path
    ) -> None:
        self._phone = phone
        self._real = real
        self._tops = {storage.name: storage_path(storage.name) for storage in device.storages}

    def remove(self, entry: Entry) -> None:
        """Deletes one file.

        Args:
            entry: the file ("Internal shared storage/DCIM/Camera/a.jpg"), with the size and time that it had
                when its copies were proven.

        Raises:
            SourceChanged: it has another size or time now, or is no plain file; it was left alone.
            FileNotFoundError: it is not there.
            Permanent: the path is in no storage, or the file is still there though the phone said otherwise.
            OSError: the phone refused.
            DeviceGone, Transient: the outcome may be unknown.
        """
        path = self._absolute(entry.path)
        mtime, odd = divmod(entry.mtime_ns or 0, 1_000_000_000)
        if entry.mtime_ns is None or odd or not entry.is_file:
            raise Permanent(f"{entry.path} has no time as this phone tells it: it was left alone")
        told = self._phone.told(path)
        if (stat.S_IFMT(told.mode), told.size, told.mtime) != (stat.S_IFREG, entry.size, mtime):
            raise _changed(entry)
        # The phone looks again itself, so that nothing fits in between but what its own two steps leave.
        words = {b"path": quote(path), b"size": entry.size, b"mtime": mtime}
        answer = self._phone.shell(_SCRIPT % words, f"deleting {entry.path}")
        if answer.code == _OTHER:
            raise _changed(entry)
        if answer.code:
            raise failure(answer.err, entry.path)
        try:
            self._phone.told(path)
        except FileNotFoundError:
            return
        raise Permanent(f"{entry.path} is still on the phone, though it said that it had deleted it")

    def _absolute(self, path: str) -> str:
        storage, _, inside = (self._real(check_relative(path)) or "").partition("/")
        if storage not in self._tops or not inside:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return join(self._tops[storage], inside)


def remover_for(store: AdbStore) -> AdbRemover:
    """What can delete the files of a store."""
    return AdbRemover(store.device, store.phone, store.paths.real)


def _changed(entry: Entry) -> SourceChanged:
    return SourceChanged(f"{entry.path} is no longer the file whose copies were proven: it was left alone")
