"""One large file, part by part, through an upload session that another process can go on with.

The session lives 7 days. It is sequential: Dropbox tells how much it holds by refusing an append at the wrong
offset, and takes no data then, so asking costs one small request and a part whose reply was lost is never
sent twice.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_errors import SessionClosed, WrongOffset
from photosync.backends.dropbox_metadata import commit_info, full_path, stored_of
from photosync.engine.capabilities import Buffer, Stored
from photosync.engine.errors import AlreadyExists, Corrupt, Transient

PART = 8 << 20


class SessionUpload:
    """`photosync.engine.capabilities.Upload` of the Dropbox store.

    Args:
        root: the store's.
        session: id of the upload session; None starts one.
    """

    digest: str | None = "dropbox"
    part_size = PART
    in_order = True

    def __init__(
        self,
        account: Account,
        root: str,
        path: str,
        size: int,
        mtime_ns: int | None,
        session: str | None = None,
        part_size: int = PART,
    ) -> None:
        self._account = account
        self._path = path
        self._full = full_path(root, path)
        self._size = size
        self._mtime_ns = mtime_ns
        self.part_size = part_size
        self._unsure = False
        self._session = self._start() if session is None else session
        self.token = json.dumps(self._told())

    def _start(self) -> str:
        with self._account.calling("starting the upload of", self._path) as sdk:
            return str(sdk.files_upload_session_start(b"").session_id)

    def _told(self) -> dict[str, Any]:
        """What the token says."""
        return {
            "session_id": self._session,
            "path": self._path,
            "size": self._size,
            "mtime_ns": self._mtime_ns,
            "part_size": self.part_size,
        }

    @classmethod
    def resume(cls, account: Account, root: str, token: str) -> Self:
        """The upload that a token stands for.

        Raises:
            FileNotFoundError: Dropbox has forgotten it, or the token is not one of ours.
        """
        try:
            held = json.loads(token)
            upload = cls(
                account,
                root,
                str(held["path"]),
                int(held["size"]),
                None if held["mtime_ns"] is None else int(held["mtime_ns"]),
                str(held["session_id"]),
                int(held["part_size"]),
            )
            upload._recall(held)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise FileNotFoundError("this is no token of an upload to Dropbox") from error
        upload.parts_held()
        return upload

    def _recall(self, told: Mapping[str, Any]) -> None:
        """Takes over what only some tokens say."""

    def parts_held(self) -> Mapping[int, int]:
        """See `Upload.parts_held`.

        Raises:
            FileNotFoundError: the session is gone, finished, or not cut into parts of this size.
        """
        try:
            held = self._held()
        except SessionClosed as error:
            raise FileNotFoundError(f"the upload of {self._path!r} is finished") from error
        whole, rest = divmod(held, self.part_size)
        if held > self._size or (rest and held != self._size):
            raise FileNotFoundError(f"the upload of {self._path!r} holds something else: {held} bytes")
        parts = dict.fromkeys(range(whole), self.part_size)
        return parts | ({whole: rest} if rest else {})

    def _held(self) -> int:
        try:
            self._append(b"", 0)
        except WrongOffset as error:
            return error.offset
        return 0

    def _append(self, data: bytes, offset: int, close: bool = False) -> None:
        from dropbox.files import UploadSessionCursor

        # Bytes alone get a content hash from the SDK: the service refuses what was damaged on its way.
        with self._account.calling("sending a part of", self._path) as sdk:
            sdk.files_upload_session_append_v2(data, UploadSessionCursor(self._session, offset), close=close)

    def send_part(self, index: int, data: Buffer, sha256: str) -> None:
        """See `Upload.send_part`; parts go in order.

        Raises:
            FileNotFoundError: Dropbox has forgotten the upload.
            Corrupt: ``data`` is not what ``sha256`` is of.
        """
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Corrupt(f"part {index} of {self._path!r} changed in memory after it was read. Run again.")
        offset = index * self.part_size
        try:
            self._append(bytes(data), offset)
        except WrongOffset as error:
            if error.offset != offset + len(data):
                raise Transient(f"{error} Part {index} begins at byte {offset}.") from error

    def commit(self, digests: Mapping[str, str]) -> Stored:
        """See `Upload.commit`.

        Raises:
            FileNotFoundError: Dropbox has forgotten the upload.
        """
        try:
            return stored_of(self._finish(), self._path, self._full)
        except (SessionClosed, FileNotFoundError) as error:
            stored = self._published(digests)
            if stored is None:
                raise FileNotFoundError(f"the upload of {self._path!r} is gone") from error
            return stored
        except AlreadyExists:
            stored = self._published(digests) if self._unsure else None
            if stored is None:
                raise
            return stored
        except Transient:
            self._unsure = True
            raise

    def _finish(self) -> Any:
        from dropbox.files import UploadSessionCursor

        commit = commit_info(self._full, self._mtime_ns)
        with self._account.writing("committing", self._path) as sdk:
            return sdk.files_upload_session_finish(
                b"", UploadSessionCursor(self._session, self._size), commit
            )

    def _published(self, digests: Mapping[str, str]) -> Stored | None:
        """What stands under the final name, if it is what an earlier `commit` put there."""
        try:
            with self._account.calling("looking for", self._path) as sdk:
                metadata = sdk.files_get_metadata(self._full)
        except FileNotFoundError:
            return None
        ours = digests.get("dropbox")
        if ours is None or getattr(metadata, "content_hash", None) != ours:
            return None
        return stored_of(metadata, self._path, self._full)

    def abort(self) -> None:
        """See `Upload.abort`. What a session holds counts against no quota and goes after 7 days; closing it
        keeps anybody from going on with it."""
        try:
            self._append(b"", self._held(), close=True)
        except (FileNotFoundError, SessionClosed):
            pass
