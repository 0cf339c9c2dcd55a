"""What S3 says about objects, in photosync's words: keys, listings, times, checksums."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from xml.etree import ElementTree

from photosync.backends.s3_columns import Listed, parse_columns
from photosync.backends.s3_errors import translated
from photosync.backends.s3_following import Following
from photosync.backends.s3_pages import whole_page
from photosync.backends.s3_service import Service
from photosync.engine.capabilities import Buffer
from photosync.engine.entry import NO_DIGESTS, Entry, Files, Kind
from photosync.engine.errors import Permanent, Transient
from photosync.engine.names import all_plain

ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects must be restored, for hours, before they can be read."""

MTIME = "mtime"
"""User metadata with the modification time in decimal seconds, as rclone writes it."""


def mtime_text(mtime_ns: int) -> str:
    """Nanoseconds since the epoch as decimal seconds without trailing zeros."""
    seconds, fraction = divmod(abs(mtime_ns), 10**9)
    text = f"{seconds}.{fraction:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if mtime_ns < 0 else text


def mtime_of(metadata: Mapping[str, str]) -> int | None:
    """Nanoseconds since the epoch that `MTIME` says, or None."""
    try:
        seconds = Decimal(metadata[MTIME])
        # A number with a huge exponent would take the memory of all its digits.
        return int(seconds * 10**9) if seconds.is_finite() and seconds.adjusted() < 20 else None
    except (KeyError, InvalidOperation):
        return None


def metadata(mtime_ns: int | None) -> dict[str, str]:
    return {} if mtime_ns is None else {MTIME: mtime_text(mtime_ns)}


def body(data: Buffer) -> bytes | bytearray:
    """``data`` in a type that botocore sends."""
    return bytes(data) if isinstance(data, memoryview) else data


def to_base64(digest: str) -> str:
    """A hex digest as S3 writes it."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def to_hex(checksum: str) -> str:
    """S3's base64 digest in hex; of a composite one the number of parts stays behind it."""
    digest, dash, parts = checksum.partition("-")
    return base64.b64decode(digest).hex() + dash + parts


def version_of(response: Mapping[str, Any]) -> str | None:
    """The ETag as a token; services differ in whether they quote it."""
    tag = response.get("ETag")
    return str(tag).strip('"') if tag else None


def part_size_for(size: int, least: int = 8 << 20) -> int:
    """Bytes of a part, a multiple of 4 MiB, so that ``size`` bytes are at most 10,000 parts
    ("Amazon S3 multipart upload limits")."""
    step = 4 << 20
    return max(least, -(-size // (10_000 * step)) * step)


class Pages:
    """The pages of a ListObjectsV2, 1,000 keys each at most.

    ``next`` may be called again after `Transient`: it repeats the request that failed and goes on.

    Args:
        service: to ask.
        bucket: to list.
        prefix: only keys that begin so.
        delimiter: "/" for one folder, "" for everything below.
        most: keys on a page.
        columns: a page may have its objects as ``Listed`` (`photosync.backends.s3_columns.Listed`) instead of
            ``Contents``.
    """

    def __init__(
        self,
        service: Service,
        bucket: str,
        prefix: str,
        delimiter: str = "",
        most: int = 1000,
        columns: bool = False,
    ) -> None:
        self._service = service
        self._columns = columns
        self._following: Following | None = None
        self._doing = f"listing {bucket}/{prefix}"
        self._parameters: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": most}
        if delimiter:
            self._parameters["Delimiter"] = delimiter
        self._done = False
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._done:
            raise StopIteration
        page = self._page()
        if page.get("IsTruncated"):
            token = page.get("NextContinuationToken")
            if not token or token in self._seen:
                raise Transient(
                    f"{self._doing}: the service broke its listing off without saying how to go on"
                )
            self._seen.add(token)
            self._parameters["ContinuationToken"] = token
        else:
            self._done = True
        return page

    def _page(self) -> dict[str, Any]:
        token = self._parameters.get("ContinuationToken")
        page: dict[str, Any]
        if token is None:
            page, self._following = self._service.first_page(self._doing, **self._parameters)
        elif self._following is not None:
            page = self._service.further_page(self._following, self._read, self._doing, **self._parameters)
        else:
            page = self._service.call("list_objects_v2", self._doing, **self._parameters)
        if any("Key" not in found or "Size" not in found for found in page.get("Contents", ())):
            raise Transient(f"{self._doing}: the service did not say the name and size of everything")
        return page

    def _read(self, body: bytes) -> dict[str, Any] | None:
        if self._columns and (found := parse_columns(body)):
            return {**found[0], "Listed": found[1]}
        try:
            return whole_page(body)
        except (ElementTree.ParseError, ValueError, KeyError):
            return None


def is_marker(found: Mapping[str, Any]) -> bool:
    """Whether a listed key is an empty object that stands for a folder."""
    return str(found["Key"]).endswith("/") and found["Size"] == 0


def entry_of(path: str, found: Mapping[str, Any]) -> Entry:
    """A listed object.

    Args:
        path: relative to the store's root.
        found: its element of ``Contents``.
    """
    if note := odd(path):
        return Entry(shown(path), found["Size"], version=version_of(found), kind=Kind.OTHER, note=note)
    tier = found.get("StorageClass")
    note = f"in the archive tier {tier}: restore it before it can be read" if tier in ARCHIVED else ""
    return Entry(path, found["Size"], version=version_of(found), note=note)


def files_of(paths: Sequence[str], objects: Sequence[Mapping[str, Any]]) -> Files:
    """Listed objects together.

    Args:
        paths: relative to the store's root.
        objects: their elements of ``Contents``.
    """
    plain = all_plain("\0".join(paths)) and not any(
        found.get("StorageClass") in ARCHIVED for found in objects
    )
    if not plain or not all(found.get("ETag") for found in objects):
        return Files((), (), None, (), [
            entry_of(path, found) for path, found in zip(paths, objects, strict=True) if not is_marker(found)
        ])  # fmt: skip
    versions = [found["ETag"].strip('"') for found in objects]
    return Files(paths, [found["Size"] for found in objects], None, versions)


def files_listed(listed: Listed, skip: int) -> Files:
    """The same of objects that came as columns.

    Args:
        skip: letters of the keys that are no part of the paths.
    """
    paths = [key[skip:] for key in listed.keys]
    tiers = listed.tiers
    if all_plain("\0".join(paths)) and (tiers is None or ARCHIVED.isdisjoint(tiers)):
        return Files(paths, listed.sizes, None, listed.versions)
    rows = zip(listed.sizes, listed.versions, tiers or [""] * len(paths), strict=True)
    return files_of(paths, [
        {"Key": key, "Size": size, "ETag": version, "StorageClass": tier}
        for key, (size, version, tier) in zip(listed.keys, rows, strict=True)
    ])  # fmt: skip


def odd(path: str) -> str:
    """Why no file elsewhere can have that name, or ""."""
    parts = path.split("/")
    if "" in parts:
        return f"the key {path!r} has an empty component, which no folder can have"
    if "." in parts or ".." in parts:
        return f"the key {path!r} has the component '.' or '..', which would leave its folder"
    return ""


def shown(path: str) -> str:
    """An `odd` path so that it can be told to people and tools: nothing in it is empty, ``.`` or ``..``."""
    parts = path.split("/")
    parts = [part.replace(".", "%2E") if part in {".", ".."} else part or "%2F" for part in parts]
    return "/".join(parts)


def head_entry(path: str, head: Mapping[str, Any]) -> Entry:
    """An object as HEAD and GET describe it; of a ranged GET the whole object's size."""
    size = int(head["ContentLength"])
    if said := head.get("ContentRange"):
        total = str(said).rpartition("/")[2]
        if not total.isdigit():
            raise Permanent(f"reading {path}: the service does not say how long the object is ({said})")
        size = int(total)
    return Entry(path, size, mtime_of(head.get("Metadata", {})), NO_DIGESTS, version_of(head))


class ObjectReader:
    """An open object: one GET, streamed. What it reads is one version, whatever is put meanwhile.

    Args:
        service: to ask.
        bucket, key: the object.
        path: what the store calls it.
        offset: to begin at.
        stop: byte to end before; None: the end.
        version: that it must have, or None.
        checked: the checksum that the service keeps is compared at the end.

    Raises:
        FileNotFoundError: there is no such object.
        AlreadyExists: it has another version.
    """

    def __init__(
        self,
        service: Service,
        bucket: str,
        key: str,
        path: str,
        offset: int = 0,
        version: str | None = None,
        checked: bool = False,
        stop: int | None = None,
    ) -> None:
        self._doing = f"reading {bucket}/{key}"
        self._body: Any = None
        parameters: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if checked:
            parameters["ChecksumMode"] = "ENABLED"
        if version is not None:
            parameters["IfMatch"] = f'"{version}"'
        if offset or stop is not None:
            # Beginning one byte early, a read from the very end is no unsatisfiable range.
            last = "" if stop is None else stop - 1
            parameters["Range"] = f"bytes={max(0, offset - 1)}-{last}"
        response = service.call("get_object", self._doing, **parameters)
        self._body = response["Body"]
        self._entry = head_entry(path, response)
        if "Range" in parameters and "ContentRange" not in response:
            self.close()
            raise Permanent(f"{self._doing}: the service sends the whole object when asked for a range")
        if offset:
            self.read(1)

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; empty only at the end."""
        with translated(self._doing):
            data: bytes = self._body.read(size)
            return data

    def stat(self) -> Entry:
        """The version that is being read, as it was when the GET began."""
        return self._entry

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
