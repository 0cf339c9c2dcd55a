"""Reading: a download as it streams in."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_errors import translated
from photosync.backends.dropbox_metadata import entry_of
from photosync.engine.entry import Entry
from photosync.engine.errors import Corrupt, Permanent, Transient, Trouble
from photosync.engine.hashing import Digest, new

_HEADERS: Mapping[str, str] = MappingProxyType({"Accept-Encoding": "identity"})
_PARTIAL = 206


class Download:
    """`photosync.engine.capabilities.Reader` of one revision of a file.

    A body that ends early is `Transient`. One read from its start to its end is checked against the content
    hash that Dropbox has for it, and is `Corrupt` if they differ.

    Args:
        response: streaming HTTP reply.
        entry: the file as the same reply describes it.
        offset: where the body begins in the file, bytes.
        check: it is the whole file.
    """

    def __init__(self, response: Any, entry: Entry, offset: int, check: bool) -> None:
        self._response = response
        self._entry = entry
        self._at = offset
        self._digest: Digest | None = new("dropbox") if check else None

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; empty only at the end.

        Raises:
            Transient: the connection broke.
            Corrupt: these are not the bytes that Dropbox keeps.
        """
        size = min(size, self._entry.size - self._at)
        if size <= 0:
            return b""
        with translated("reading", self._entry.path):
            data: bytes = self._response.raw.read(size)
        if not data:
            raise Transient(
                f"Dropbox, reading {self._entry.path!r}: the reply ended after {self._at} of "
                f"{self._entry.size} bytes.",
                trouble=Trouble.NETWORK,
            )
        self._at += len(data)
        self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        if self._digest is None:
            return
        self._digest.update(data)
        expected = self._entry.digests.get("dropbox")
        if self._at == self._entry.size and expected not in (None, self._digest.hexdigest()):
            raise Corrupt(
                f"Dropbox, reading {self._entry.path!r}: the bytes received do not match their content hash. "
                "Try again; if it stays so, restore an earlier version at dropbox.com."
            )

    def stat(self) -> Entry:
        """The revision that is being read, which never changes."""
        return self._entry

    def close(self) -> None:
        self._response.close()


def download(
    account: Account, full: str, path: str, offset: int, rev: str | None = None, size: int | None = None
) -> Download:
    """Opens a file.

    Args:
        full: from `full_path`.
        path: the same for messages and the entry.
        offset: bytes to skip; at most the file's size.
        rev: revision to read; None: the present one.
        size: bytes to be sent; None: all that follow.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        Permanent: it has no bytes to download, or ends before ``offset``.
    """
    # A range behind the last byte is an error in HTTP; one that begins a byte earlier is not.
    start = max(0, offset - 1)
    ranged = offset > 0 or size is not None
    last = "" if size is None else offset + size - 1
    headers = {**_HEADERS, "Range": f"bytes={start}-{last}"} if ranged else dict(_HEADERS)
    source = full if rev is None else f"rev:{rev}"
    with account.calling("reading", path) as sdk:
        metadata, response = sdk.files_download(source, extra_headers=headers)
    if ranged and (
        response.status_code != _PARTIAL
        or not response.headers.get("content-range", "").startswith(f"bytes {start}-")
    ):
        response.close()
        raise Permanent(f"Dropbox, reading {path!r}: the reply does not begin at byte {start} as asked.")
    reader = Download(response, entry_of(metadata, path), start, check=not ranged)
    if offset:
        reader.read(1)
    return reader
