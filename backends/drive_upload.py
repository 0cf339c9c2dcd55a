"""One large file, part by part, through a resumable session that another process can go on with.

A session belongs to one id and one size, and lives a week. It takes bytes in order, in multiples of 256 KiB,
and publishes the file when it has the last one; so the last bytes are kept back until `SessionUpload.commit`.
Its address is all that is needed to go on with it: nobody but the journal gets to see the token it is in.

Source: "Perform a resumable upload" of the Drive API's guides.
"""

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from photosync.backends.drive_body import beginning
from photosync.backends.drive_client import Account
from photosync.backends.drive_errors import status_error
from photosync.backends.drive_folders import Folders
from photosync.backends.drive_metadata import BYTES, Item, checked, item_of, split, stored_of, times
from photosync.engine.capabilities import Buffer, Stored
from photosync.engine.entry import join
from photosync.engine.errors import AlreadyExists, Corrupt, Permanent, Transient

PART = 8 << 20
GRAIN = 256 << 10
"""Every request but the last carries a multiple of so many bytes."""

_GOING_ON = 308
_DONE = (200, 201)
_CANCELLED = (204, 499)


class SessionUpload:
    """`photosync.engine.capabilities.Upload` of the Drive store.

    Args:
        root: the store's.
        session: address, file id and the folder's id of a session begun; None begins one.
    """

    digest: str | None = "sha256"

    def __init__(
        self,
        account: Account,
        folders: Folders,
        root: str,
        path: str,
        size: int,
        mtime_ns: int | None,
        session: tuple[str, str] | None = None,
        part_size: int = PART,
    ) -> None:
        self._account = account
        self._folders = folders
        self._path = path
        self._full = join(root, checked(path))
        self._size = size
        self.part_size = part_size
        self._tail = b""
        self._at = 0
        self._unsure = False
        self._item: Item | None = None
        if session is None:
            self._id = account.ids.take()
            self._url = self._begin(mtime_ns)
        else:
            self._url, self._id = session
        self.token = json.dumps(
            {"session": self._url, "id": self._id, "path": path, "size": size, "part_size": part_size}
        )

    def _begin(self, mtime_ns: int | None) -> str:
        above, name = split(self._full)
        try:
            folder = self._folders.ensure(above)
        except FileNotFoundError:
            raise self._folders.gone(above) from None
        body = {"id": self._id, "name": name, "parents": [folder.id], **times(mtime_ns, created=True)}
        with self._account.calling("starting the upload of", self._path) as service:
            request = beginning(service, body)
            headers = {
                **request.headers,
                "X-Upload-Content-Type": BYTES,
                "X-Upload-Content-Length": str(self._size),
            }
            reply, content = service.http("files.create").request(
                request.uri, request.method, request.body, headers
            )
        if reply.status not in _DONE or "location" not in reply:
            error = status_error(reply.status, reply, content, "starting the upload of", self._path)
            if isinstance(error, FileNotFoundError):
                raise self._folders.gone(above)
            raise error
        if urlsplit(reply["location"])[:2] != urlsplit(request.uri)[:2]:
            raise Permanent(f"Google Drive: the upload of {self._path!r} was sent elsewhere; not followed.")
        return str(reply["location"])

    @classmethod
    def resume(cls, account: Account, folders: Folders, root: str, token: str) -> "SessionUpload":
        """The upload that a token stands for.

        Raises:
            FileNotFoundError: Google has forgotten it, or the token is not one of ours.
        """
        try:
            held = json.loads(token)
            url = str(held["session"])
            if urlsplit(url).scheme != "https" or not _google(urlsplit(url).hostname):
                raise ValueError("another address")
            upload = cls(
                account,
                folders,
                root,
                str(held["path"]),
                int(held["size"]),
                None,
                (url, str(held["id"])),
                int(held["part_size"]),
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise FileNotFoundError("this is no token of an upload to Google Drive") from None
        upload.parts_held()
        return upload

    def parts_held(self) -> Mapping[int, int]:
        """See `Upload.parts_held`. The last part is among them once the file is published.

        Raises:
            FileNotFoundError: the session is gone, or holds what it cannot hold.
        """
        self._ask()
        if self._item is not None:
            self._at = self._size
        whole, rest = divmod(self._at, self.part_size)
        parts = dict.fromkeys(range(whole), self.part_size)
        return parts | ({whole: rest} if self._item is not None and rest else {})

    def _ask(self) -> None:
        """Finds out how much the session holds."""
        self._exchange(b"", f"bytes */{self._size}")
        if self._at > self._size:
            raise FileNotFoundError(f"the upload of {self._path!r} holds something else: {self._at} bytes")

    def send_part(self, index: int, data: Buffer, sha256: str) -> None:
        """See `Upload.send_part`; parts go in order.

        Raises:
            FileNotFoundError: Google has forgotten the upload.
            Corrupt: ``data`` is not what ``sha256`` is of.
        """
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Corrupt(f"part {index} of {self._path!r} changed in memory after it was read. Run again.")
        start, end = index * self.part_size, index * self.part_size + len(data)
        if self._unsure:
            self._ask()
        view = memoryview(data)
        if end >= self._size:
            # At least one byte stays: with the last one the file would be there.
            kept = (len(data) - 1) // GRAIN * GRAIN
            self._tail = bytes(view[kept:])
            view, end = view[:kept], start + kept
        if self._item is not None or self._at >= end:
            return
        if self._at < start:
            raise FileNotFoundError(f"the upload of {self._path!r} has lost bytes that it held")
        self._put(view[self._at - start :], end)

    def _put(self, data: memoryview, end: int) -> None:
        """Sends bytes that go on where the session is, up to ``end``."""
        start = self._at
        self._exchange(bytes(data), f"bytes {start}-{end - 1}/{self._size}")
        if self._item is None and self._at != end:
            self._unsure = True
            raise Transient(
                f"Google Drive, sending {self._path!r}: {self._at - start} of {end - start} bytes arrived."
            )

    def _exchange(self, body: bytes, content_range: str) -> None:
        """One request to the session; notes where it is afterwards."""
        headers = {"Content-Range": content_range, "Content-Length": str(len(body))}
        self._unsure = True
        with self._account.calling("sending a part of", self._path) as service:
            reply, content = service.http("files.create").request(self._url, "PUT", body, headers)
            if reply.status in _DONE:
                self._item = item_of(json.loads(content))
                self._unsure = False
                return
        if reply.status != _GOING_ON:
            raise status_error(reply.status, reply, content, "sending a part of", self._path)
        self._at = _held(reply.get("range", ""))
        self._unsure = False

    def commit(self, digests: Mapping[str, str]) -> Stored:
        """See `Upload.commit`.

        Raises:
            FileNotFoundError: Google has forgotten the upload.
        """
        if self._unsure:
            self._ask()
        if self._item is None:
            self._look()
            if self._at + len(self._tail) != self._size:
                raise Permanent(
                    f"the upload of {self._path!r} lacks {self._size - self._at - len(self._tail)} bytes"
                )
            self._put(memoryview(self._tail), self._size)
        item = self._item
        if item is None:
            raise Transient(f"Google Drive did not say what became of {self._path!r}.")
        folder = self._folders.parent(self._full)
        self._folders.placed(folder, item)
        self._folders.settle(folder, split(self._full)[1], item.id)
        return stored_of(item, self._path)

    def _look(self) -> None:
        try:
            found = self._folders.find(self._full)
        except FileNotFoundError:
            return
        if found.id != self._id:
            raise AlreadyExists(f"Google Drive has {self._path!r} already; it was left as it is.")

    def abort(self) -> None:
        """See `Upload.abort`. A session that is not cancelled is forgotten by Google after a week."""
        if self._item is not None:
            return
        with self._account.calling("cancelling the upload of", self._path) as service:
            reply, content = service.http("files.create").request(
                self._url, "DELETE", b"", {"Content-Length": "0"}
            )
        if reply.status not in (*_DONE, *_CANCELLED, 404, 410):
            raise status_error(reply.status, reply, content, "cancelling the upload of", self._path)


def _google(host: str | None) -> bool:
    return host is not None and (host == "googleapis.com" or host.endswith(".googleapis.com"))


def _held(content_range: str) -> int:
    """Bytes that a session holds, of its reply's Range ("bytes=0-1048575"); none without one."""
    first, _, last = content_range.rpartition("-")
    return int(last) + 1 if last.isascii() and last.isdecimal() and first in ("bytes=0", "0") else 0
