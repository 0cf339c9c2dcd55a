"""Reading: a download as it streams in."""

from typing import Any

from photosync.backends.drive_client import Account
from photosync.backends.drive_errors import status_error, translated
from photosync.backends.drive_metadata import Item, entry_of
from photosync.engine.entry import Entry
from photosync.engine.errors import Corrupt, Permanent, Transient, Trouble
from photosync.engine.hashing import Digest, new

_WHOLE, _PARTIAL = 200, 206


class Download:
    """`photosync.engine.capabilities.Reader` of one file.

    A body that ends early is `Transient`. One read from its start to its end is checked against the hash that
    Drive has for it, and is `Corrupt` if they differ.

    Args:
        response: streaming HTTP reply.
        entry: the file as it was found.
        offset: where the body begins in the file, bytes.
        check: it is the whole file.
    """

    def __init__(self, response: Any, entry: Entry, offset: int, check: bool) -> None:
        self._response = response
        self._entry = entry
        self._at = offset
        self._hash = next((name for name in ("sha256", "md5") if name in entry.digests), None)
        self._digest: Digest | None = new(self._hash) if self._hash and check else None

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; empty only at the end.

        Raises:
            Transient: the connection broke.
            Corrupt: these are not the bytes that Drive keeps.
        """
        size = min(size, self._entry.size - self._at)
        if size <= 0:
            return b""
        with translated("reading", self._entry.path):
            data: bytes = self._response.raw.read(size)
        if not data:
            raise Transient(
                f"Google Drive, reading {self._entry.path!r}: the reply ended after {self._at} of "
                f"{self._entry.size} bytes.",
                trouble=Trouble.NETWORK,
            )
        self._at += len(data)
        self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        if self._digest is None or self._hash is None:
            return
        self._digest.update(data)
        if self._at == self._entry.size and self._entry.digests[self._hash] != self._digest.hexdigest():
            raise Corrupt(
                f"Google Drive, reading {self._entry.path!r}: the bytes received do not match their hash. "
                "Try again; if it stays so, restore an earlier version at drive.google.com."
            )

    def stat(self) -> Entry:
        """The file as it was when it was opened; if its content is another one by the end, that is noticed
        by its hash."""
        return self._entry

    def close(self) -> None:
        self._response.close()


def download(account: Account, item: Item, path: str, offset: int, size: int | None = None) -> Download:
    """Opens a file.

    Args:
        item: the file.
        path: for messages and the entry.
        offset: bytes to skip; at most the file's size.
        size: bytes to be sent; None: all that follow.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        Permanent: it has no bytes to download, or ends before ``offset``.
    """
    entry = entry_of(item, path)
    if item.is_folder:
        raise IsADirectoryError(21, "not a file at Google Drive", path)
    if not entry.is_file:
        raise Permanent(f"Google Drive, reading {path!r}: it is {entry.note}.")
    if offset > entry.size:
        raise Permanent(f"Google Drive, reading {path!r}: it ends before byte {offset}.")
    # A range behind the last byte is an error in HTTP; one that begins a byte earlier is not.
    start = max(0, offset - 1)
    ranged = offset > 0 or size is not None
    last = "" if size is None else offset + size - 1
    with account.calling("reading", path) as service:
        request = service.files.get_media(fileId=item.id, supportsAllDrives=True)
        headers = {**request.headers, "Accept-Encoding": "identity"}
        headers.pop("accept-encoding", None)
        if ranged:
            headers["Range"] = f"bytes={start}-{last}"
        reply = service.http("files.get").open(request.uri, "GET", None, headers)
        if reply.status_code not in (_WHOLE, _PARTIAL):
            names = {name.lower(): value for name, value in reply.headers.items()}
            body = reply.raw.read(64 << 10, decode_content=True)
            reply.close()
            raise status_error(reply.status_code, names, body, "reading", path)
    if ranged and not (
        reply.status_code == _PARTIAL and reply.headers.get("content-range", "").startswith(f"bytes {start}-")
    ):
        reply.close()
        raise Permanent(f"Google Drive, reading {path!r}: the reply does not begin at byte {start} as asked.")
    reader = Download(reply, entry, start, check=not ranged)
    if offset > start:
        reader.read(1)
    return reader
