"""Makes new files on an Android phone: the only code that sends one there. No store leads here.

``SEND`` of ADB's file service (AOSP, packages/modules/adb, SYNC.TXT) replaces what has the name, so it is
only ever given a name of photosync's own (`photosync.backends.phone_creation.temporary`); the final name is
given by the phone's own ``mv -n`` once the file was read back.
"""

import contextlib
import struct

from photosync.backends.adb_client import AdbPhone, FileLink, failure, quote, raw
from photosync.backends.adb_store import AdbStore, storage_path
from photosync.backends.phone_creation import require_own
from photosync.engine.entry import join
from photosync.engine.errors import AlreadyExists, Permanent
from photosync.engine.names import check_relative

_PUBLISH = b"""\
if [ -e %(to)s ] || [ -L %(to)s ]; then exit 9; fi
mv -n %(path)s %(to)s </dev/null || exit 1
if [ -e %(path)s ]; then exit 9; fi
"""
_TAKEN = 9
_DATA_MAX = 64 << 10
_MODE = 0o100644


class AdbCreator:
    """Makes files on a phone. Use `creator_for`. Paths are as `PhonePaths.real` gives them.

    The methods are those of `photosync.backends.phone_creation.MountCreator`.
    """

    def __init__(self, store: AdbStore) -> None:
        self._phone: AdbPhone = store.phone
        self._tops = {storage.name: storage_path(storage.name) for storage in store.device.storages}
        self._stack = contextlib.ExitStack()
        self._link: FileLink | None = None

    def begin(self, path: str) -> None:
        require_own(path)
        self._stack.close()
        target = raw(self._absolute(path)) + b",%d" % _MODE
        with self._phone.errors(f"restoring {path}"):
            self._link = self._stack.enter_context(self._phone.files(self._phone.patience))
            self._send(b"SEND", target)

    def write(self, path: str, data: bytes) -> None:
        with self._phone.errors(f"restoring {path}"):
            for at in range(0, len(data), _DATA_MAX):
                self._send(b"DATA", data[at : at + _DATA_MAX])

    def end(self, path: str, mtime_ns: int | None) -> None:
        assert self._link is not None, "it was begun"
        link = self._link._link
        # Times before 1970 and after 2106 are none that the protocol has.
        seconds = min(max(0, (mtime_ns or 0) // 1_000_000_000), (1 << 32) - 1)
        try:
            with self._phone.errors(f"restoring {path}"):
                link.send(b"DONE" + struct.pack("<I", seconds))
                kind, size = struct.unpack("<4sI", link.exactly(8))
                said = link.exactly(min(size, _DATA_MAX))
        finally:
            self._stack.close()
            self._link = None
        if kind != b"OKAY":
            raise failure(said, path)

    def publish(self, path: str, to: str) -> None:
        require_own(path)
        words = {b"path": quote(self._absolute(path)), b"to": quote(self._absolute(to))}
        answer = self._phone.shell(_PUBLISH % words, f"restoring {to}")
        if answer.code == _TAKEN:
            raise AlreadyExists(f"{to} is on the phone already; it was left alone")
        if answer.code:
            raise failure(answer.err, to)

    def drop(self, path: str) -> None:
        require_own(path)
        self._stack.close()
        answer = self._phone.shell(b"rm -f " + quote(self._absolute(path)), f"taking {path} away")
        if answer.code:
            raise failure(answer.err, path)

    def close(self) -> None:
        self._stack.close()

    def _send(self, what: bytes, data: bytes) -> None:
        assert self._link is not None, "it was begun"
        self._link._link.send(what + struct.pack("<I", len(data)) + data)

    def _absolute(self, path: str) -> str:
        storage, _, inside = check_relative(path).partition("/")
        if storage not in self._tops or not inside:
            raise Permanent(f"{path} is in no storage of the phone")
        return join(self._tops[storage], inside)


def creator_for(store: AdbStore) -> AdbCreator:
    """What can make files on the phone of a store."""
    return AdbCreator(store)
