"""One instance of anyone's fsspec filesystem, spoken to strictly."""

import contextlib
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from fsspec import AbstractFileSystem

from photosync.backends.anyfs_errors import absent, refused, understood
from photosync.backends.anyfs_facts import Facts, renames
from photosync.engine.capabilities import Buffer, Stored
from photosync.engine.entry import Entry, Kind, join
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    NameRefused,
    PhotosyncError,
    ReadOnly,
    Transient,
    Unsupported,
    describe,
)
from photosync.engine.names import OURS, check_relative, printable

STAGING = f"{OURS}/partial"
"""Folder of files that are not complete yet."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("mtime", "modified", "LastModified", "last_modified", "updated", "modify", "created")
_VERSIONS = ("ETag", "etag")
_MLSD_TIME = re.compile(r"\d{14}(?:\.\d+)?")


class Session:
    """A filesystem and the folder that is the root. Paths given are relative to it.

    Args:
        fs: the instance.
        facts: about its kind.
        root: path in ``fs``, as its ``_strip_protocol`` gives it.
        making: held while folders are made: servers that are asked for one twice at a time stumble.
    """

    def __init__(self, fs: AbstractFileSystem, facts: Facts, root: str, making: threading.Lock) -> None:
        self.fs = fs
        self.facts = facts
        self._root = root
        self._making = making
        self._made: set[str] = set()
        facts.prepare(fs)

    def full(self, path: str) -> str:
        if not path:
            return self._root
        # Some filesystems, archives for one, have a root without a name.
        return f"{self._root.rstrip('/')}/{check_relative(path)}" if self._root else check_relative(path)

    @contextlib.contextmanager
    def guard(self, doing: str) -> Iterator[None]:
        """Turns what the filesystem raises into errors of `photosync.engine.errors`.

        Raises:
            FileNotFoundError: passes through.
            Transient: also if the connection is gone, whatever the error says.
        """
        try:
            yield
        except PhotosyncError:
            raise
        except FileNotFoundError:
            self._made.clear()
            raise
        except Exception as error:
            if absent(error):
                self._made.clear()
                raise FileNotFoundError(f"{doing}: nothing is there, or not in a folder") from error
            if not self.facts.alive(self.fs):
                raise Transient(f"{doing}: the connection was lost") from error
            raise understood(error, doing) from error

    @property
    def asks_cheaply(self) -> bool:
        """Whether asking about one file costs one request, and not the listing of its folder."""
        return not self.facts.info_lists and type(self.fs).info is not AbstractFileSystem.info

    def close(self) -> None:
        """Ends the connection, if it is known how."""
        with contextlib.suppress(Exception):
            self.facts.close(self.fs)

    # looking

    def list_folder(self, path: str) -> list[Entry]:
        """Direct children.

        Raises:
            FileNotFoundError: there is no such folder, though ``ls`` of fsspec also lists files.
            NameRefused: the listing is of some other folder.
        """
        full = self.full(path)
        self.fs.invalidate_cache()
        infos = self.fs.ls(full, detail=True)
        if not infos:
            self._need_folder(path)
            self.facts.confirm_empty(self.fs, full)
        elif len(infos) == 1 and _bare(infos[0]["name"]) == _bare(full) and infos[0]["type"] != "directory":
            raise FileNotFoundError(f"{printable(path)} is no folder")
        return [entry for info in infos if (entry := self._child(path, info)) is not None]

    def _need_folder(self, path: str) -> None:
        if self.fs.info(self.full(path))["type"] != "directory":
            raise FileNotFoundError(f"{printable(path)} is no folder")

    def _child(self, folder: str, info: Mapping[str, Any]) -> Entry | None:
        full, inside = _bare(self.full(folder)), _bare(info["name"])
        if inside == full:
            return None
        if full and not inside.startswith(f"{full}/"):
            raise NameRefused(
                f"the listing of {printable(folder) or '/'} holds {printable(inside)!r}, which is elsewhere"
            )
        name = inside[len(full) :].lstrip("/")
        if name in {".", ".."}:
            return None
        if "/" in name:
            return Entry(join(folder, name), kind=Kind.OTHER, note="its name leads to another folder")
        return self._entry(join(folder, name), info)

    def find(self, path: str) -> Entry | None:
        """What has that name; asks the filesystem, not its cache."""
        full = self.full(check_relative(path))
        self.fs.invalidate_cache()
        try:
            return self._entry(path, self.fs.info(full))
        except Exception as error:
            if absent(error):
                return None
            raise

    def stat(self, path: str) -> Entry:
        found = self.find(path)
        if found is None:
            raise FileNotFoundError(f"nothing is called {printable(path)}")
        return found

    def _entry(self, path: str, info: Mapping[str, Any]) -> Entry:
        kind = info.get("type")
        if kind == "directory" and not info.get("islink"):
            return Entry(path, kind=Kind.FOLDER)
        if kind != "file" or info.get("islink"):
            return Entry(path, kind=Kind.OTHER, note=f"not a regular file ({kind})")
        size = info.get("size")
        if size is None:
            size = self.fs.info(self.full(path)).get("size")
        if size is None:
            return Entry(path, kind=Kind.OTHER, note="its size is unknown")
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), None)
        return Entry(path, int(size), _mtime_ns(info), version=version)

    # writing

    def new_temporary(self) -> str:
        """A path for a file that is not complete yet; its folder exists."""
        with self._writable():
            self._need(STAGING)
        return join(STAGING, f"{secrets.token_hex(16)}.part")

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        """Who may not even write photosync's own files may write nothing there.

        Raises:
            ReadOnly: that is so.
        """
        try:
            yield
        except PhotosyncError:
            raise
        except Exception as error:
            if not refused(error):
                raise
            raise ReadOnly(
                f"the place does not let you write there ({describe(error)}). Choose a folder that you may "
                "write to, or have the server allow it, then run again."
            ) from error

    def make_folder(self, path: str) -> None:
        """Makes a folder and those around it; "" is the root."""
        with self._writable():
            if path:
                self._need(path)
            elif not self._is_there():
                with self._making:
                    self.fs.makedirs(self._root, exist_ok=True)

    def _is_there(self) -> bool:
        try:
            return bool(self.fs.info(self._root)["type"] == "directory")
        except Exception as error:
            if absent(error):
                return False
            raise

    def _need(self, folder: str) -> None:
        if folder and folder not in self._made:
            with self._making:
                self._make(folder)

    def _make(self, folder: str) -> None:
        """Makes a folder and those around it; asks first, because some filesystems put files below files."""
        if not folder or folder in self._made:
            return
        self._make(folder.rpartition("/")[0])
        if not self._is_folder(folder):
            try:
                self.fs.makedirs(self.full(folder), exist_ok=True)
            except Exception:
                # Another thread or machine may have been faster, which not every filesystem forgives.
                if not self._is_folder(folder):
                    raise
        self._made.add(folder)

    def _is_folder(self, path: str) -> bool:
        found = self.find(path)
        if found is not None and found.kind is not Kind.FOLDER:
            raise AlreadyExists(f"{printable(path)} is a file, where a folder is needed")
        return found is not None

    def open(self, path: str, offset: int) -> Any:
        """Opens a file to be read from ``offset`` bytes on."""
        if self.facts.opening is not None:
            return self.facts.opening(self.fs, self.full(path), offset)
        file = self.fs.open(self.full(path), "rb")
        if offset:
            file.seek(offset)
        return file

    def read(self, path: str) -> bytes:
        """A whole file."""
        if self.facts.opening is None:
            return bytes(self.fs.cat_file(self.full(path)))
        with contextlib.closing(self.open(path, 0)) as file:
            return b"".join(iter(lambda: file.read(1 << 20), b""))

    def open_new(self, path: str) -> Any:
        """Opens a file to be written from its beginning, replacing what is there."""
        with self._writable():
            file = self.fs.open(self.full(path), "wb")
        if self.facts.writing is not None:
            self.facts.writing(file)
        return file

    def write(self, path: str, data: Buffer) -> None:
        """Writes a whole file, replacing what is there."""
        if self.facts.writing is None:
            with self._writable():
                self.fs.pipe_file(self.full(path), bytes(data))
        else:
            with self.open_new(path) as file:
                file.write(bytes(data))

    def settle(self, temporary: str, path: str, size: int, mtime_ns: int | None) -> Stored:
        """Gives a complete file its time and its final name.

        Raises:
            Corrupt: it does not have ``size`` bytes.
            AlreadyExists: something has the name.
            Unsupported: the filesystem has no rename.
        """
        held = self.stat(temporary).size
        if held != size:
            raise Corrupt(f"{printable(path)}: {held} of {size} bytes were stored")
        if mtime_ns is not None and self.facts.utime is not None:
            # Content matters more than a time that the place cannot express.
            with contextlib.suppress(Unsupported):
                self.facts.utime(self.fs, self.full(temporary), mtime_ns)
        return self.rename(temporary, path)

    def rename(self, path: str, to: str) -> Stored:
        """Renames where nothing has the new name, which is asked just before."""
        to_full = self.full(check_relative(to))
        self._need(to.rpartition("/")[0])
        if self.find(to) is not None:
            raise AlreadyExists(f"{printable(to)} exists already; it was left as it is")
        try:
            self._move(self.full(path), to_full)
        except Exception as error:
            if absent(error):
                raise
            if self.find(path) is not None and self.find(to) is not None:
                raise AlreadyExists(f"{printable(to)} exists already; it was left as it is") from error
            raise
        return self.stored(self.stat(to))

    def _move(self, full: str, to: str) -> None:
        if self.facts.rename is not None:
            self.facts.rename(self.fs, full, to)
        elif self.facts.copies_whole:
            # Not fs.mv, which takes "[1].jpg" for a pattern.
            self.fs.cp_file(full, to)
            self.fs.rm_file(full)
        elif renames(self.fs):
            self.fs.mv(full, to)
        else:
            raise Unsupported(
                "this filesystem cannot rename, so that a file would be seen half written under its name. "
                "Choose another way to reach the place."
            )

    def replace(self, path: str, to: str) -> None:
        """Renames over what is there. Where ``mv`` refuses to, the name is free for a moment."""
        full, to_full = self.full(path), self.full(to)
        if self.facts.copies_whole or not renames(self.fs):
            self._move(full, to_full)
            return
        try:
            self.fs.mv(full, to_full)
        except Exception:
            if self.find(path) is None or self.find(to) is None:
                raise
            self.fs.rm_file(to_full)
            self._move(full, to_full)

    def stored(self, entry: Entry) -> Stored:
        keeps = self.facts.capabilities.mtime_precision_ns is not None
        return Stored(entry.path, entry.size, entry.version, mtime_ns=entry.mtime_ns if keeps else None)

    def remove(self, path: str) -> None:
        self.fs.rm_file(self.full(check_relative(path)))

    def discard(self, temporary: str) -> None:
        """Removes what was not published, as far as possible."""
        with contextlib.suppress(Exception):
            self.remove(temporary)


def _bare(full: str) -> str:
    return full.strip("/")


def _mtime_ns(info: Mapping[str, Any]) -> int | None:
    """Nanoseconds since the epoch, from whichever key and type the filesystem uses."""
    value = next((info[key] for key in _TIMES if info.get(key) not in (None, "")), None)
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, datetime):
        # All implementations that leave the zone out mean UTC.
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(value * 1_000_000_000)
    return None


def _parsed(text: str) -> datetime | None:
    """ISO 8601; MLSD's digits (RFC 3659, 2.3); the dates of HTTP and WebDAV (RFC 9110, 5.6.7)."""
    if _MLSD_TIME.fullmatch(text):
        return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        with contextlib.suppress(ValueError):
            return parse(text)
    return None
