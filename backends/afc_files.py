"""Lists and reads an iPhone's files through AFC; runs inside the helper process of `PhoneStore`.

The operations are those of `photosync.backends.phone_files`; a root is ``afc://UDID``. Times are told in
whole seconds, as ifuse and gvfs tell them, so that a phone that comes by another route shows the same files.

AFC serves the phone's media folder, with the originals: nothing is transcoded on the way. What lies in iCloud
only is listed and can't be opened.
"""

import errno
import os
import stat
from collections.abc import Callable
from itertools import count

from photosync.backends import afc_library, afc_program
from photosync.backends.devices import Seen, Storage, photo_folders

SCHEME = "afc://"

_MOST = 4 << 20
"""Bytes of one read: more gains nothing, and the phone has to hold them."""

_Phone = afc_library.Phone | afc_program.Phone


def operations() -> dict[str, Callable[..., object]]:
    """The operations by name, done by libimobiledevice."""
    return _table(afc_library.Phone, afc_library.udids)


def operations_by_program() -> dict[str, Callable[..., object]]:
    """The operations by name, done by pymobiledevice3 in a process of its own."""
    return _table(afc_program.Phone, afc_program.udids)


def _table(
    connect: Callable[[str], _Phone], udids: Callable[[], list[str]]
) -> dict[str, Callable[..., object]]:
    files = _Files(connect)
    return {
        "udids": lambda _root: udids(),
        "look": files.look,
        "details": files.details,
        "list": files.list,
        "stat": files.stat,
        "usage": files.usage,
        "open": files.open,
        "read": files.read,
        "told": files.told,
        "close": files.close,
    }


class _Files:
    """One phone, and the files of it that are being read."""

    def __init__(self, connect: Callable[[str], _Phone]) -> None:
        self._connect = connect
        self._phone: _Phone | None = None
        self._open: dict[int, tuple[int, str]] = {}
        self._numbers = count()

    def _connected(self, root: str) -> _Phone:
        if self._phone is None:
            self._phone = self._connect(root.removeprefix(SCHEME))
        return self._phone

    def look(self, root: str, named: bool = False) -> Seen:
        phone = self._connected(root)
        here = photo_folders(phone.names(""))
        return Seen(not here, False, (Storage("", here),) if here else (), phone.name if named else "")

    def details(self, root: str, counted: bool) -> tuple[int, int, int | None]:
        phone = self._connected(root)
        photos = None
        if counted:
            # DCF's folders, 100APPLE and so on: three digits come first (JEITA CP-3461).
            folders = [name for name in phone.names("DCIM") if name[:3].isdigit()]
            photos = sum(len(phone.names(f"DCIM/{name}")) for name in folders)
        return (*phone.usage(), photos)

    def list(self, root: str, path: str) -> tuple[list[tuple[str, os.stat_result]], int]:
        return self._connected(root).children(path)

    def stat(self, root: str, path: str) -> os.stat_result:
        return self._connected(root).stat(path)

    def usage(self, root: str) -> tuple[int, int]:
        return self._connected(root).usage()

    def open(self, root: str, path: str, offset: int) -> tuple[int, os.stat_result]:
        phone = self._connected(root)
        found = phone.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        handle = phone.open(path, offset)
        number = next(self._numbers)
        self._open[number] = (handle, path)
        return number, found

    def read(self, number: int, size: int) -> bytes:
        assert self._phone is not None
        return self._phone.read(self._open[number][0], min(size, _MOST))

    def told(self, number: int) -> os.stat_result:
        assert self._phone is not None
        return self._phone.stat(self._open[number][1])

    def close(self, number: int) -> None:
        handle, _ = self._open.pop(number)
        if self._phone is not None:
            self._phone.close_file(handle)
