"""File objects of the Google Drive filesystem."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from photosync.backends.drive_client import Account
from photosync.backends.drive_folders import Folders
from photosync.backends.drive_metadata import BYTES, FIELDS, checked, item_of, split
from photosync.backends.drive_upload import PART
from photosync.backends.remote_files import StagedWriter
from photosync.engine.errors import AlreadyExists, ReadOnly


@contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Raises the errors that callers of fsspec expect."""
    try:
        yield
    except AlreadyExists as error:
        raise FileExistsError(f"{path!r} exists at Google Drive") from error
    except ReadOnly as error:
        raise PermissionError(f"{path!r} may not be changed at Google Drive") from error


class SpooledWriter(StagedWriter):
    """Collects a file in memory, on disk once it is large, and sends it when it is closed.

    Args:
        path: from where the account begins.
        exclusive: fail if the name is taken, instead of replacing the file's content.
        autocommit: publish on close; else `commit` does.
    """

    def __init__(
        self, account: Account, folders: Folders, path: str, exclusive: bool, autocommit: bool
    ) -> None:
        super().__init__(checked(path), autocommit)
        self._account = account
        self._folders = folders
        self._exclusive = exclusive
        self._spool = tempfile.SpooledTemporaryFile(PART)  # noqa: SIM115 - closed by forget and publish

    def tell(self) -> int:
        return self._spool.tell()

    def write(self, data: Any, /) -> int:
        """Takes all of ``data``."""
        if self.closed:
            raise ValueError(f"write to {self._path!r}, which is closed")
        return self._spool.write(memoryview(data).cast("B"))

    def publish(self) -> None:
        """Sends the file.

        Raises:
            FileExistsError: ``exclusive``, and the name is taken; or a folder has it.
        """
        with os_errors(self._path), self._spool:
            try:
                there = self._folders.find(self._path)
            except FileNotFoundError:
                self._send(None)
                return
            if self._exclusive or there.is_folder:
                raise AlreadyExists(f"{self._path!r} exists at Google Drive")
            self._send(there.id)

    def _send(self, replaces: str | None) -> None:
        from googleapiclient.http import MediaIoBaseUpload

        above, name = split(self._path)
        folder = self._folders.ensure(above)
        large = self._spool.tell() > PART
        media = MediaIoBaseUpload(self._spool, BYTES, chunksize=PART, resumable=large)
        options = {"media_body": media, "fields": FIELDS, "supportsAllDrives": True}
        with self._account.calling("writing", self._path) as service:
            if replaces is None:
                body = {"id": self._account.ids.take(), "name": name, "parents": [folder.id]}
                request = service.files.create(body=body, **options)
            else:
                request = service.files.update(fileId=replaces, **options)
            http = service.http(request.methodId.removeprefix("drive."))
            reply = None if large else request.execute(http=http)
            while reply is None:
                reply = request.next_chunk(http=http)[1]
        self._folders.settle(folder, name, item_of(reply).id)

    def forget(self) -> None:
        self._spool.close()
