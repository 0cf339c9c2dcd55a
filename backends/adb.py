"""An Android phone as an fsspec filesystem: ``fsspec.filesystem("psadb", serial="R58M123ABC")``.

It only reads: whatever would write raises `photosync.engine.errors.ReadOnly`. The engine does not use the
filesystem's methods but those of its `AdbBackend.store`.
"""

import io
import stat
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NoReturn

from fsspec import AbstractFileSystem

from photosync.backends.adb_client import AdbPhone, Told
from photosync.backends.adb_listing import parse, script
from photosync.backends.adb_store import AdbReader, AdbStore, adb_store
from photosync.backends.devices import Device
from photosync.engine.entry import join
from photosync.engine.errors import ReadOnly

_BUFFER = 1 << 20


class AdbBackend(AbstractFileSystem):  # type: ignore[misc]
    """The files of one phone, by their absolute paths there ("/sdcard/DCIM").

    Args:
        serial: what ``adb -s`` takes.
        storage_options: fsspec's own.

    Raises:
        DeviceGone: at the first use, if the phone is not there or not ready.
    """

    protocol = "psadb"
    root_marker = "/"
    cachable = False

    def __init__(self, serial: str, **storage_options: Any) -> None:
        super().__init__(**storage_options)
        self._serial = serial

    @cached_property
    def _phone(self) -> AdbPhone:
        return AdbPhone(self._serial)

    @property
    def requests(self) -> Mapping[str, int]:
        """Connections so far: "shell" and "sync"."""
        return self._phone.requests

    def store(self, root: str) -> AdbStore:
        """A folder of the phone as the engine's store."""
        device = Device(self._serial, "adb", self._serial, f"mount:adb:{self._serial}", self._serial)
        return adb_store(device, self._strip_protocol(root), self._phone)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        return stripped if isinstance(stripped, list) else "/" + stripped.strip("/")

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Entries of a folder, or the one of a file.

        Raises:
            FileNotFoundError: nothing has that name.
            OSError: the phone can't list it.
        """
        path = self._strip_protocol(path)
        found = [self.info(path)]
        if found[0]["type"] == "directory":
            answer = self._phone.shell(script(path, deep=False), f"listing {path}")
            tree = parse(answer, path, deep=False)
            for error in tree.failed.values():
                raise error
            found = [_info(join(path.rstrip("/"), name), told) for name, told in tree.folders[path].items()]
        return found if detail else sorted(each["name"] for each in found)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """``name``, ``type``, ``size``, and ``mtime`` in whole seconds since the epoch.

        Raises:
            FileNotFoundError: nothing has that name.
        """
        path = self._strip_protocol(path)
        told = self._phone.told(path)
        if stat.S_ISLNK(told.mode):
            told = self._phone.told(f"{path}/")
        return _info(path, told)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether anything has that name; errors are raised, unlike in fsspec's own."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        path = self._strip_protocol(path)
        size = self._phone.told(path).size
        first, last, _ = slice(start, end).indices(size)
        with AdbFile(AdbReader(self._phone, path, path, first)) as file:
            return file.read(max(0, last - first))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode != "rb":
            self._refuse()
        path = self._strip_protocol(path)
        return io.BufferedReader(AdbFile(AdbReader(self._phone, path, path, 0)), _BUFFER)

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ReadOnly("a phone is only read from; choose another destination.")

    cp_file = mkdir = makedirs = rmdir = _rm = rm_file = rm = mv = touch = put_file = pipe_file = _refuse


class AdbFile(io.RawIOBase):
    """A phone's file, from front to back."""

    def __init__(self, reader: AdbReader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._reader.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._reader.close()
        super().close()


def _info(path: str, told: Told) -> dict[str, Any]:
    kind = "file" if stat.S_ISREG(told.mode) else "directory" if stat.S_ISDIR(told.mode) else "other"
    size = told.size if kind == "file" else 0
    return {"name": path, "type": kind, "size": size, "mtime": told.mtime}
