"""File objects of the Dropbox filesystem."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_metadata import commit_info
from photosync.backends.dropbox_upload import PART
from photosync.backends.remote_files import StagedWriter
from photosync.engine.errors import AlreadyExists, ReadOnly


@contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Raises the errors that callers of fsspec expect."""
    try:
        yield
    except AlreadyExists as error:
        raise FileExistsError(f"{path!r} exists at Dropbox") from error
    except ReadOnly as error:
        raise PermissionError(f"{path!r} may not be changed at Dropbox") from error


class SessionWriter(StagedWriter):
    """Collects a file in an upload session.

    Args:
        full: from `full_path`.
        path: the same for messages.
        exclusive: fail if the name is taken, instead of replacing the file.
        autocommit: publish on close; else `commit` does.
    """

    def __init__(self, account: Account, full: str, path: str, exclusive: bool, autocommit: bool) -> None:
        super().__init__(path, autocommit)
        self._account = account
        self._full = full
        self._exclusive = exclusive
        self._buffer = bytearray()
        self._session: str | None = None
        self._sent = 0

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

    def publish(self) -> None:
        """Commits the session.

        Raises:
            FileExistsError: ``exclusive``, and the name is taken.
        """
        from dropbox.files import UploadSessionCursor, WriteMode

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

    def forget(self) -> None:
        """What was sent is forgotten with its upload session."""
        self._buffer.clear()

    def _send(self, part: bytes) -> None:
        from dropbox.files import UploadSessionCursor

        with self._account.calling("sending a part of", self._path) as sdk:
            if self._session is None:
                self._session = str(sdk.files_upload_session_start(part).session_id)
            else:
                sdk.files_upload_session_append_v2(part, UploadSessionCursor(self._session, self._sent))
        self._sent += len(part)
