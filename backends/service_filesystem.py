"""What the fsspec filesystems of services have in common."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol

from fsspec.spec import AbstractFileSystem

from photosync.backends.remote_files import BUFFER, Download


class _Store(Protocol):
    def open(self, path: str, offset: int = 0, /) -> Download: ...
    def list_folder(self, path: str, /) -> Sequence[object]: ...


class ServiceFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """A service whose paths have no leading slash; "" is the root. Errors are raised, unlike in fsspec's own
    methods that ask whether something is there.

    Subclasses give `info`, `ls`, `mkdir`, ``_store``, ``_open`` and ``_remove``.

    Attributes:
        UNSHARED: options that neither pickles nor JSON of an instance carry.
        SERVICE: for messages.
    """

    UNSHARED: ClassVar[frozenset[str]]
    SERVICE: ClassVar[str]
    _store: _Store

    @property
    def storage_options(self) -> dict[str, Any]:
        """What pickles and JSON of this instance carry."""
        return self._shared_options

    @storage_options.setter
    def storage_options(self, options: Mapping[str, Any]) -> None:
        self._shared_options = {key: value for key, value in options.items() if key not in self.UNSHARED}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        return stripped if isinstance(stripped, list) else stripped.strip("/")

    def _remove(self, path: str) -> None:
        """Removes a file, or a folder with all that is in it."""
        raise NotImplementedError

    # Looking

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether anything has that name."""
        return self._type(path) is not None

    def isdir(self, path: str) -> bool:
        """Whether it is a folder."""
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Whether it is a file."""
        return self._type(path) == "file"

    def _type(self, path: str) -> str | None:
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return None

    def created(self, path: str) -> datetime:
        """When the service got the file, or its present revision."""
        return self._time(path, "created")

    def modified(self, path: str) -> datetime:
        """The file's modification time as its writer gave it."""
        return self._time(path, "modified")

    def _time(self, path: str, name: str) -> datetime:
        info = self.info(path)
        if name not in info:
            raise IsADirectoryError(f"{path!r} is a folder, of which {self.SERVICE} tells no times")
        found: datetime = info[name]
        return found

    # Reading and writing

    def open(self, path: str, mode: str = "rb", compression: str | None = None, **kwargs: Any) -> Any:
        """See fsspec. A file being written appears when it is closed cleanly, never in part."""
        if compression is not None and "r" not in mode:
            raise ValueError(
                "a compressor that is opened here never closes the file below it; use fsspec.open(…, "
                "compression=…) for writing"
            )
        return super().open(path, mode, compression=compression, **kwargs)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Bytes of a file from ``start`` up to ``end``; negative ones count from its end."""
        path = self._strip_protocol(path)
        if (start or 0) < 0 or (end or 0) < 0:
            size = int(self.info(path)["size"])
            start, end, _ = slice(start, end).indices(size)
        reader = self._store.open(path, start or 0)
        try:
            left = reader.stat().size - (start or 0) if end is None else end - (start or 0)
            pieces = []
            while left > 0 and (piece := reader.read(min(left, BUFFER))):
                pieces.append(piece)
                left -= len(piece)
            return b"".join(pieces)
        finally:
            reader.close()

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Writes a file whole; ``mode`` "create" refuses to replace one."""
        with self.open(path, "xb" if mode == "create" else "wb") as file:
            file.write(value)

    # Changing the tree

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Removes files and, with ``recursive``, folders with all that is in them."""
        for each in [path] if isinstance(path, str) else path:
            one = self._strip_protocol(each)
            if not recursive:
                self.rm_file(one)
            elif not one or maxdepth is not None:
                raise ValueError("remove folders one by one: neither the root nor a depth can be removed")
            else:
                self._remove(one)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Makes a folder and its parents."""
        try:
            self.mkdir(path)
        except FileExistsError:
            if not exist_ok or not self.isdir(path):
                raise

    def rmdir(self, path: str) -> None:
        """Removes a folder that is empty when looked at; the service has no way to make sure it stays so.

        Raises:
            OSError: it is not empty.
        """
        path = self._strip_protocol(path)
        if self._store.list_folder(path):
            raise OSError(f"the folder {path!r} at {self.SERVICE} is not empty")
        self.rm(path, recursive=True)
