"""One very large file, its parts sent at once and in any order, through a concurrent upload session.

Such a session tells nobody what it holds. So only a part that it has acknowledged counts as held, and the
token names those; a part whose reply was lost is sent again, to the same offset. The last part closes the
session, after which nothing more may be sent: it waits in memory until `commit`. What was put together is
proven by the content hash that the commit reports. Source: the descriptions of upload_session/start and
append_v2 in the HTTP documentation.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from typing import Any

from photosync.backends.dropbox_errors import RouteRefused, SessionClosed
from photosync.backends.dropbox_upload import SessionUpload
from photosync.engine.capabilities import Buffer, Stored
from photosync.engine.errors import Corrupt, Permanent, Transient

FROM = 150 << 20
"""Bytes from which on a file goes this way."""


class ConcurrentUpload(SessionUpload):
    """`photosync.engine.capabilities.Upload` with parts in any order. Arguments as for `SessionUpload`; parts
    must be multiples of 4 MiB."""

    in_order = False

    def __init__(self, *args: Any, **options: Any) -> None:
        self._lock = threading.Lock()
        self._held_parts: set[int] = set()
        self._earlier: frozenset[int] = frozenset()
        self._last: bytes | None = None
        super().__init__(*args, **options)

    def _start(self) -> str:
        from dropbox.files import UploadSessionType

        with self._account.calling("starting the upload of", self._path) as sdk:
            kind = UploadSessionType.concurrent
            return str(sdk.files_upload_session_start(b"", session_type=kind).session_id)

    def _told(self) -> dict[str, Any]:
        return {**super()._told(), "concurrent": sorted(self._held_parts)}

    @property
    def _count(self) -> int:
        return -(-self._size // self.part_size)

    def _size_of(self, index: int) -> int:
        return min(self.part_size, self._size - index * self.part_size)

    def _recall(self, told: Mapping[str, Any]) -> None:
        indexes = {int(index) for index in told["concurrent"]}
        if not indexes <= set(range(self._count - 1)):
            raise ValueError("parts that the file does not have")
        self._held_parts = indexes
        self._earlier = frozenset(indexes)
        self.token = json.dumps(self._told())

    def parts_held(self) -> Mapping[int, int]:
        """See `Upload.parts_held`: what the session acknowledged, if Dropbox still knows it.

        Raises:
            FileNotFoundError: the session is gone.
        """
        try:
            self._append(b"", 0)
        except (SessionClosed, RouteRefused):
            # It is known there; `commit` finds out whether it was finished.
            pass
        with self._lock:
            held = dict.fromkeys(self._held_parts, self.part_size)
            return held | ({self._count - 1: len(self._last)} if self._last is not None else {})

    def send_part(self, index: int, data: Buffer, sha256: str) -> None:
        """See `Upload.send_part`.

        Raises:
            FileNotFoundError: Dropbox has forgotten the upload, or holds this part of an earlier version of
                the file, and nothing says that it could be replaced.
            Corrupt: ``data`` is not what ``sha256`` is of.
        """
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Corrupt(f"part {index} of {self._path!r} changed in memory after it was read. Run again.")
        if not 0 <= index < self._count or len(data) != self._size_of(index):
            raise ValueError(f"part {index} of {self._path!r} cannot have {len(data)} bytes")
        if index in self._earlier:
            raise FileNotFoundError(f"the upload of {self._path!r} holds other bytes in part {index}")
        if index == self._count - 1:
            with self._lock:
                self._last = bytes(data)
            return
        try:
            self._append(bytes(data), index * self.part_size)
        except SessionClosed as error:
            raise FileNotFoundError(f"the upload of {self._path!r} takes nothing more") from error
        with self._lock:
            self._held_parts.add(index)
            self.token = json.dumps(self._told())

    def commit(self, digests: Mapping[str, str]) -> Stored:
        """See `Upload.commit`."""
        missing = self._count - len(self._held_parts) - (self._last is not None)
        if missing or self._last is None:
            raise Transient(f"{missing} of {self._count} parts of {self._path!r} have not arrived: send them")
        try:
            self._append(self._last, (self._count - 1) * self.part_size, close=True)
        except (SessionClosed, FileNotFoundError):
            # It was closed, or even finished, by a call whose reply was lost.
            pass
        return super().commit(digests)

    def abort(self) -> None:
        """See `Upload.abort`, and `SessionUpload.abort`."""
        try:
            self._append(b"", 0, close=True)
        except (FileNotFoundError, Permanent):
            pass
