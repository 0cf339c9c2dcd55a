"""What a PTP device holds: a folder on disk for each storage, and an object for each thing in it."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.servers.ptp_datasets import ASSOCIATION, FORMATS, UNDEFINED

ROOT = 0xFFFFFFFF
"""GetObjectHandles: the objects at the root of a storage; 0 means those at any depth (ISO 15740, 10.5.7)."""

ANY_STORAGE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Thing:
    """An object.

    Attributes:
        parent: handle of its folder; 0 at the root.
        format: ObjectFormatCode.
    """

    handle: int
    storage: int
    parent: int
    path: Path
    format: int
    size: int
    mtime: float

    @property
    def is_folder(self) -> bool:
        return self.format == ASSOCIATION


class Objects:
    """Handles stay the same as long as the device is switched on; `scan` takes in what changed on disk."""

    def __init__(self, folders: Mapping[int, Path]) -> None:
        self._folders = dict(folders)
        self._handles: dict[Path, int] = {}
        self._numbers = count(1)
        self._things: dict[int, Thing] = {}

    def scan(self) -> None:
        self._things = {
            thing.handle: thing
            for storage, folder in self._folders.items()
            for thing in self._below(storage, folder, 0)
        }

    def get(self, handle: int) -> Thing | None:
        return self._things.get(handle)

    def below(self, storage: int, parent: int) -> list[int]:
        """Handles, as GetObjectHandles asks for them."""
        wanted = 0 if parent == ROOT else parent
        return [
            thing.handle
            for thing in self._things.values()
            if storage in (ANY_STORAGE, thing.storage) and (parent == 0 or thing.parent == wanted)
        ]

    def _below(self, storage: int, folder: Path, parent: int) -> Iterator[Thing]:
        for name in sorted(os.listdir(folder)):
            path = folder / name
            found = path.stat()
            handle = self._handles.setdefault(path, next(self._numbers))
            is_folder = stat.S_ISDIR(found.st_mode)
            form = ASSOCIATION if is_folder else FORMATS.get(path.suffix.lower(), UNDEFINED)
            size = 0 if is_folder else found.st_size
            yield Thing(handle, storage, parent, path, form, size, found.st_mtime)
            if is_folder:
                yield from self._below(storage, path, handle)
