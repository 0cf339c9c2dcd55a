"""Local disks as an fsspec filesystem whose files appear whole or not at all."""

import contextlib
import io
import os
import secrets
import shutil
from types import TracebackType
from typing import Any

from fsspec.core import get_compression
from fsspec.implementations.local import LocalFileSystem

from photosync.backends import posix
from photosync.backends.local_store import LocalStore
from photosync.backends.local_upload import temporary
from photosync.backends.staged import StagedText
from photosync.engine.errors import Unsupported


class LocalBackend(LocalFileSystem):  # type: ignore[misc]
    """fsspec's local filesystem, but staged: an exception inside ``with fs.open(path, "wb")`` leaves nothing.

    As everywhere in fsspec, mode "wb" replaces what was there; "xb" does not. Modes that change a file in
    place ("ab", "r+b") cannot be staged and are fsspec's own. Through ``fsspec.open`` (not this object's
    ``open``) fsspec closes files after an exception as well, and so publishes: use this object's.
    """

    protocol = "pslocal"

    def store(self, root: str) -> LocalStore:
        """The folder ``root`` as a store; it need not exist yet."""
        return LocalStore(self._strip_protocol(root))

    def open(self, path: str, mode: str = "rb", compression: str | None = None, **options: Any) -> Any:
        if not _staged(mode):
            return super().open(path, mode, compression=compression, **options)
        if get_compression(path, compression) is not None:
            raise Unsupported(f"opening {path}: compress the data before writing them, or use fsspec.open")
        if "b" in mode:
            return super().open(path, mode, **options)
        text = {name: options.pop(name) for name in ("encoding", "errors", "newline") if name in options}
        return StagedText(super().open(path, mode.replace("t", "") + "b", **options), **text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        path = self._strip_protocol(path)
        if not _staged(mode):
            return super()._open(path, mode, block_size, **options)
        if self.auto_mkdir:
            self.makedirs(self._parent(path), exist_ok=True)
        return StagedFile(path, "x" in mode, autocommit)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        source = self._strip_protocol(path1)
        if not os.path.isfile(source):
            super().cp_file(path1, path2, **options)
            return
        with open(source, "rb") as file, self.open(path2, "wb") as target:
            shutil.copyfileobj(file, target)


class StagedFile(io.BufferedRandom):
    """A file being written. It gets its name, whole and durable, when it is closed without an exception.

    Leaving a ``with`` block by an exception, `discard` and being forgotten unclosed publish nothing.

    Args:
        path: absolute.
        exclusive: do not replace a file.
        autocommit: publish on closing; else on `commit`, as fsspec's transactions do.

    Raises:
        FileExistsError: ``exclusive``, and there is one.
    """

    def __init__(self, path: str, exclusive: bool, autocommit: bool = True) -> None:
        self._done = True
        if exclusive and os.path.lexists(path):
            raise FileExistsError(f"{path} exists")
        self.path = path
        self._folder, self._name = os.path.split(path)
        self._temporary = os.path.join(self._folder, temporary(secrets.token_hex(8)))
        self._exclusive = exclusive
        self._autocommit = autocommit
        super().__init__(io.FileIO(os.open(self._temporary, posix.NEW_FILE, 0o666), "r+b"))
        self._done = False

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            os.fsync(self.fileno())
        except BaseException:
            self.discard()
            raise
        super().close()
        if self._autocommit:
            self.commit()

    def commit(self) -> None:
        """Publishes what was written; after `close`."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            temporary_name = os.path.basename(self._temporary)
            if not self._exclusive:
                os.replace(temporary_name, self._name, src_dir_fd=folder, dst_dir_fd=folder)
            elif not posix.rename_exclusive(folder, temporary_name, folder, self._name):
                raise Unsupported(f"{self.path}: this file system cannot create a file only if there is none")
            self._done = True
            os.fsync(folder)
        finally:
            os.close(folder)
            if not self._done:
                self.discard()

    def discard(self) -> None:
        """Publishes nothing."""
        if not self.closed:
            # The raw file first: closing the buffer would flush, which may be what failed.
            self.raw.close()
        if not self._done:
            self._done = True
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # io's own finalizer would close, which is to publish. What is closed waits for its transaction.
        if not self._done and not self.closed:
            self.discard()


def _staged(mode: str) -> bool:
    return "w" in mode or "x" in mode
