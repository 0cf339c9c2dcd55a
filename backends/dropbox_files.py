"""File objects of the Dropbox filesystem."""

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_download import Download, download
from photosync.backends.dropbox_metadata import commit_info
from photosync.backends.dropbox_upload import PART
from photosync.engine.entry import Entry
from photosync.engine.errors import AlreadyExists, ReadOnly

BUFFER = 1 << 20


@contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Raises the errors that callers of fsspec expect."""
    try:
        yield
    except AlreadyExists as error:
        raise FileExistsError(f"{path!r} exists at Dropbox") from error
    except ReadOnly as error:
        raise PermissionError(f"{path!r} may not be changed at Dropbox") from error


class RemoteReader(io.RawIOBase):
    """A file at Dropbox, of one revision. It streams; reading on after a seek asks for a range.

    Args:
        full: from `full_path`.
        path: the same for messages.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
    """

    def __init__(self, account: Account, full: str, path: str) -> None:
        self._account = account
        self._full = full
        self._path = path
        self._at = 0
        self._stream_at = 0
        self._stream: Download | None = download(account, full, path, 0)
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
            self._stream = download(self._account, self._full, self._path, self._at, self.entry.version)
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
    """Collects a file in an upload session; its name appears, whole, when it is closed cleanly.

    Nothing is published if it is closed while an exception is on its way that was raised after it was
    opened (leaving a ``with`` block is the usual case, also through wrappers for text and compression), or
    if it is never closed.

    Args:
        full: from `full_path`.
        path: the same for messages.
        exclusive: fail if the name is taken, instead of replacing the file.
        autocommit: publish on close; else `commit` does.
    """

    def __init__(self, account: Account, full: str, path: str, exclusive: bool, autocommit: bool) -> None:
        self._account = account
        self._full = full
        self._path = path
        self._exclusive = exclusive
        self._autocommit = autocommit
        self._opened_handling = sys.exc_info()[1]
        self._buffer = bytearray()
        self._session: str | None = None
        self._sent = 0
        self._pending = True

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._sent + len(self._buffer)

    def write(self, data: Any, /) -> int:
        """Takes all of ``data``, and sends what fills a part."""
        if self.closed:
            raise ValueError(f"write to {self._path!r}, which is closed")
        view = memoryview(data).cast("B")
        self._buffer += view
        while len(self._buffer) >= PART:
            self._send(bytes(self._buffer[:PART]))
            del self._buffer[:PART]
        return len(view)

    def close(self) -> None:
        """Publishes the file, unless an exception is on its way.

        Raises:
            FileExistsError: ``exclusive``, and the name is taken.
        """
        if self.closed:
            return
        error = sys.exc_info()[1]
        if error is not None and error is not self._opened_handling:
            warnings.warn(f"{self._path!r} was not published at Dropbox: {error!r}", stacklevel=2)
            self.discard()
            return
        try:
            if self._autocommit:
                self.commit()
        finally:
            super().close()

    def commit(self) -> None:
        """Publishes the file; fsspec's transactions call it."""
        from dropbox.files import UploadSessionCursor, WriteMode

        if not self._pending:
            return
        self._pending = False
        mode = WriteMode.add if self._exclusive else WriteMode.overwrite
        commit = commit_info(self._full, None, mode)
        rest = bytes(self._buffer)
        self._buffer.clear()
        with os_errors(self._path), self._account.writing("writing", self._path) as sdk:
            if self._session is None:
                sdk.files_upload(
                    rest, self._full, mode=mode, autorename=False, mute=True, strict_conflict=True
                )
            else:
                cursor = UploadSessionCursor(self._session, self._sent)
                sdk.files_upload_session_finish(rest, cursor, commit)

    def discard(self) -> None:
        """Publishes nothing; what was sent is forgotten with its upload session."""
        self._pending = False
        self._buffer.clear()
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

    def _send(self, part: bytes) -> None:
        from dropbox.files import UploadSessionCursor

        with self._account.calling("sending a part of", self._path) as sdk:
            if self._session is None:
                self._session = str(sdk.files_upload_session_start(part).session_id)
            else:
                sdk.files_upload_session_append_v2(part, UploadSessionCursor(self._session, self._sent))
        self._sent += len(part)
