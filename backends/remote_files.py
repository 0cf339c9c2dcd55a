"""File objects over services that read by range and publish whole files."""

import io
import sys
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from photosync.engine.entry import Entry

BUFFER = 1 << 20


class Download(Protocol):
    """A `photosync.engine.capabilities.Reader` that always knows what it reads."""

    def read(self, size: int, /) -> bytes: ...
    def stat(self) -> Entry: ...
    def close(self) -> None: ...


class RemoteReader(io.RawIOBase):
    """A file at a service, of one version. It streams; reading on after a seek asks for a range.

    Args:
        open_at: opens the file at an offset in bytes; the second argument is the version to read, None for
            the present one.
        path: for messages.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
    """

    def __init__(self, open_at: Callable[[int, str | None], Download], path: str) -> None:
        self._open_at = open_at
        self._path = path
        self._at = 0
        self._stream_at = 0
        self._stream: Download | None = open_at(0, None)
        self.entry: Entry = self._stream.stat()

    @property
    def size(self) -> int:
        """Bytes."""
        return self.entry.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to byte {base + offset} of {self._path!r}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self.size:
            return 0
        if self._stream is None or self._stream_at != self._at:
            self._drop_stream()
            self._stream = self._open_at(self._at, self.entry.version)
            self._stream_at = self._at
        try:
            data = self._stream.read(len(view))
        except BaseException:
            self._drop_stream()
            raise
        view[: len(data)] = data
        self._at += len(data)
        self._stream_at = self._at
        return len(data)

    def close(self) -> None:
        self._drop_stream()
        super().close()

    def _drop_stream(self) -> None:
        stream, self._stream = getattr(self, "_stream", None), None
        if stream is not None:
            stream.close()


class StagedWriter(io.RawIOBase):
    """Collects a file; its name appears, whole, when it is closed cleanly.

    Nothing is published if it is closed while an exception is on its way that was raised after it was
    opened (leaving a ``with`` block is the usual case, also through wrappers for text and compression), or
    if it is never closed.

    Args:
        path: for messages.
        autocommit: publish on close; else `commit` does.
    """

    def __init__(self, path: str, autocommit: bool) -> None:
        self._path = path
        self._autocommit = autocommit
        self._opened_handling = sys.exc_info()[1]
        self._pending = True

    def publish(self) -> None:
        """Gives what was written its name."""
        raise NotImplementedError

    def forget(self) -> None:
        """Lets go of what was written."""
        raise NotImplementedError

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Publishes the file, unless an exception is on its way.

        Raises:
            FileExistsError: the name is taken, and nothing was to be replaced.
        """
        if self.closed:
            return
        error = sys.exc_info()[1]
        if error is not None and error is not self._opened_handling:
            warnings.warn(f"{self._path!r} was not published: {error!r}", stacklevel=2)
            self.discard()
            return
        try:
            if self._autocommit:
                self.commit()
        finally:
            super().close()

    def commit(self) -> None:
        """Publishes the file; fsspec's transactions call it."""
        if self._pending:
            self._pending = False
            self.publish()

    def discard(self) -> None:
        """Publishes nothing."""
        self._pending = False
        self.forget()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # The base class would close, and so publish, a file that somebody left unfinished.
        if getattr(self, "_pending", False) and not self.closed:
            warnings.warn(f"{self._path!r} was never closed, nothing was published", ResourceWarning, 2)
            self.discard()
