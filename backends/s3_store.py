"""A bucket, or a prefix in one, as a `photosync.engine.capabilities.Store`."""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from photosync.backends.s3_copy import copy_object
from photosync.backends.s3_crc import crc64
from photosync.backends.s3_errors import NoBucket
from photosync.backends.s3_lane import WIDTH, trouble_of
from photosync.backends.s3_marks import Marks
from photosync.backends.s3_objects import (
    ObjectReader,
    Pages,
    body,
    entry_of,
    files_listed,
    files_of,
    head_entry,
    is_marker,
    metadata,
    mtime_of,
    odd,
    shown,
    to_base64,
    to_hex,
    version_of,
)
from photosync.backends.s3_probe import probe_crc64, probe_multipart, probe_put
from photosync.backends.s3_service import IN_FLIGHT, Account, Service
from photosync.backends.s3_signing import PARAMETER
from photosync.backends.s3_upload import S3Upload, Target, start
from photosync.backends.unchanged import same_bytes
from photosync.engine.capabilities import Blob, Capabilities, Changes, Store, Stored, Usage
from photosync.engine.entry import NO_DIGESTS, Entry, Files, Kind
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    NameRefused,
    Permanent,
    Transient,
    Trouble,
    Unsupported,
)
from photosync.engine.names import S3, check_relative

_DECLARED = Capabilities(
    mtime_precision_ns=1,
    server_copy=True,
    server_move=True,
    resumable=True,
    parallel_parts=True,
    flat_listing=True,
    read_concurrency=16,
    write_concurrency=IN_FLIGHT,
)

AT_BEST = replace(_DECLARED, names=S3, hashes=("sha256",), exclusive=True)
"""What is declared of a service that honours everything it is asked for."""


def open_store(account: Account, root: str) -> "S3Store":
    """The store at ``bucket`` or ``bucket/prefix``, with a connection and a count of its own.

    Raises:
        Permanent: no bucket is named.
        NameRefused: the prefix has an empty or dotted component.
    """
    bucket, _, prefix = root.partition("/")
    if not bucket:
        raise Permanent("which bucket? A place on S3 is bucket or bucket/folder.")
    return S3Store(Service(account), bucket, f"{check_relative(prefix)}/" if prefix else "")


class S3Store:
    """See `photosync.engine.capabilities.Store`.

    What the service enforces is found out before the first write (`photosync.backends.s3_probe`), and only
    that is declared and relied upon. Modification times are kept in metadata, which listings lack.

    Args:
        service: to call; counts for this store alone.
        bucket: its name.
        prefix: "" or the root's key prefix with a slash at its end.
    """

    def __init__(self, service: Service, bucket: str, prefix: str) -> None:
        self._service = service
        self._bucket = bucket
        self._prefix = prefix
        self._marks = Marks(service, bucket, prefix)
        self._probing = threading.Lock()
        self._probed: dict[str, bool] = {}
        self._moving: set[tuple[str, str]] = set()
        self.requests: Mapping[str, int] = service.requests
        self.repeated: Mapping[str, int] = service.repeated
        # SeaweedFS takes a backslash for a slash, and Amazon advises against it.
        names = replace(
            S3, forbidden=S3.forbidden | {"\\"}, max_path=S3.max_path - len(prefix.encode(errors="replace"))
        )
        self._declared = replace(_DECLARED, names=names)
        self.capabilities = self._declared

    @property
    def probed(self) -> dict[str, bool] | None:
        """What was found out about the service, to be kept and given back next time; None: nothing yet."""
        return dict(self._probed) or None

    @probed.setter
    def probed(self, found: Mapping[str, bool] | None) -> None:
        self._learn({} if found is None else {str(name): value is True for name, value in found.items()})

    def probe(self) -> None:
        """Asks once what the service enforces, so that `capabilities` tell it. The first write does so."""
        if "checksum" not in self._probed:
            with self._probing:
                if "checksum" not in self._probed:
                    found = probe_put(self._service, self._bucket, f"{self._prefix}.photosync/")
                    self._learn({**self._probed, **found})

    def _probe_multipart(self) -> None:
        self.probe()
        if "parts_checksum" not in self._probed:
            with self._probing:
                if "parts_checksum" not in self._probed:
                    folder = f"{self._prefix}.photosync/"
                    checksum = self._probed["checksum"]
                    found = probe_multipart(self._service, self._bucket, folder, checksum)
                    self._learn({**self._probed, **found})
        crc = crc64()
        if crc is not None and "parts_crc64" not in self._probed:
            with self._probing:
                if "parts_crc64" not in self._probed:
                    folder = f"{self._prefix}.photosync/"
                    found = probe_crc64(self._service, self._bucket, folder, crc)
                    self._learn({**self._probed, **found})

    def _learn(self, found: dict[str, bool]) -> None:
        self._probed = found
        self.capabilities = replace(
            self._declared,
            hashes=("sha256",) * found.get("checksum", False) + ("crc64nvme",) * self._whole_parts(found),
            exclusive=found.get("if_none_match", False) and found.get("parts_if_none_match", True),
        )

    def _whole_parts(self, found: Mapping[str, bool]) -> bool:
        """Whether checksums of whole objects sent in parts can be relied upon."""
        return found.get("parts_crc64", False) and crc64() is not None

    def _has(self, feature: str) -> bool:
        return self._probed.get(feature, False)

    # Names

    def _key(self, path: str) -> str:
        key = self._prefix + check_relative(path)
        try:
            key.encode()
        except UnicodeEncodeError:
            raise NameRefused(f"{path!r} is not valid Unicode, which S3 asks of names") from None
        return key

    def _place(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._key(path)}

    def _doing(self, what: str, path: str) -> str:
        return f"{what} {self._bucket}/{self._prefix}{path}"

    # Listing

    @property
    def server_date(self) -> str | None:
        return self._service.server_date

    def list_folder(self, path: str) -> list[Entry]:
        prefix = f"{self._key(path)}/" if path else self._prefix
        below = f"{path}/" if path else ""
        entries: list[Entry] = []
        exists = not prefix
        for page in Pages(self._service, self._bucket, prefix, "/"):
            for found in page.get("Contents", ()):
                exists = True
                if found["Key"] != prefix or found["Size"]:
                    entries.append(entry_of(below + found["Key"][len(prefix) :], found))
            for found in page.get("CommonPrefixes", ()):
                exists = True
                entries.append(_folder(below + found["Prefix"][len(prefix) : -1]))
        if not exists:
            raise FileNotFoundError(f"{self._doing('listing', path)}: there is no such folder")
        return entries

    def list_tree(self) -> Iterator[Entry]:
        """Files, and keys that can be no file elsewhere. ``next`` may be called again after `Transient`."""
        return _Tree(Pages(self._service, self._bucket, self._prefix), len(self._prefix))

    def list_tree_files(self) -> Iterator[Files]:
        """As `list_tree`; see `photosync.engine.capabilities.ListsTreeFiles`."""
        return map(self._files, Pages(self._service, self._bucket, self._prefix, columns=True))

    def _files(self, page: Mapping[str, Any]) -> Files:
        skip = len(self._prefix)
        if "Listed" in page:
            return files_listed(page["Listed"], skip)
        objects = page.get("Contents", ())
        return files_of([found["Key"][skip:] for found in objects], objects)

    def changes(self, cursor: str | None) -> Changes:
        raise Unsupported("S3 has no change feed: list the tree")

    def stat(self, path: str) -> Entry:
        place = self._place(path)
        doing = self._doing("looking at", path)
        mode = {"ChecksumMode": "ENABLED"} if self._has("checksum") else {}
        try:
            head = self._service.call("head_object", doing, **place, **mode)
        except FileNotFoundError:
            pages = Pages(self._service, self._bucket, f"{place['Key']}/", most=1)
            if any(page.get("Contents") for page in pages):
                return Entry(path, kind=Kind.FOLDER)
            raise
        return replace(head_entry(path, head), digests=self._digests(doing, place, head))

    def _digests(self, doing: str, place: dict[str, str], head: Mapping[str, Any]) -> Mapping[str, str]:
        """The checksum that HEAD told, under its name; a composite one is named by the first part's size."""
        whole = head.get("ChecksumCRC64NVME")
        if whole and self._whole_parts(self._probed):
            return {"crc64nvme": to_hex(whole)}
        said = head.get("ChecksumSHA256")
        if not said:
            return NO_DIGESTS
        digest = to_hex(said)
        if "-" not in digest:
            return {"sha256": digest}
        if not self._has("parts_checksum"):
            return NO_DIGESTS
        part = self._service.call("head_object", doing, **place, PartNumber=1, IfMatch=head["ETag"])
        size = int(part["ContentLength"])
        return {f"sha256-parts/{size}": digest} if size else NO_DIGESTS

    # Reading

    def open(self, path: str, offset: int = 0) -> ObjectReader:
        return ObjectReader(self._service, self._bucket, self._key(path), path, offset)

    def open_part(self, path: str, offset: int, size: int) -> ObjectReader:
        """See `photosync.engine.capabilities.Parts`."""
        return ObjectReader(self._service, self._bucket, self._key(path), path, offset, stop=offset + size)

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        reader = ObjectReader(self._service, self._bucket, self._key(path), path, checked=True)
        try:
            entry = reader.stat()
            data = b""
            while len(data) <= limit and (more := reader.read(limit + 1 - len(data))):
                data += more
        finally:
            reader.close()
        if len(data) > limit:
            raise Corrupt(f"{self._doing('reading', path)}: it has more than {limit} bytes")
        if len(data) != entry.size:
            raise Transient(
                f"{self._doing('reading', path)}: it ended after {len(data)} of {entry.size} bytes",
                trouble=Trouble.NETWORK,
            )
        return data, entry.version

    # Writing

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        self.probe()
        results: list[Stored | Exception] = []
        for blob in blobs:
            try:
                results.append(self._put(blob))
            except (Permanent, Corrupt) as error:
                results.append(error)
        return results

    def _put(self, blob: Blob) -> Stored:
        place, doing = self._place(blob.path), self._doing("writing", blob.path)
        if (stored := self._put_fast(blob, place["Key"])) is not None:
            return stored
        conditions = self._vacant(place, doing)
        sha256 = blob.digests["sha256"]
        checked = self._has("checksum")
        sums = {"ChecksumSHA256": to_base64(sha256)} if checked else {}
        done = self._service.call(
            "put_object", doing,
            **place, **conditions, **sums, **{PARAMETER: sha256}, Body=body(blob.data),
            Metadata=metadata(blob.mtime_ns),
        )  # fmt: skip
        digests = {"sha256": sha256} if checked else NO_DIGESTS
        return Stored(blob.path, len(blob.data), version_of(done), digests, blob.mtime_ns)

    def _put_fast(self, blob: Blob, key: str) -> Stored | None:
        """Through the fast lane, if that is open and all goes well; else None."""
        if len(blob.data) > WIDTH or not (self._has("checksum") and self._has("if_none_match")):
            return None
        lane = self._service.lane(self._bucket)
        # The lane has the service check whatever it is given: that must be what was read.
        if lane is None or not same_bytes(blob.data, blob.digests):
            return None
        self._service.count("PutObject")
        try:
            tag = lane.create(key, blob.data, metadata(blob.mtime_ns))
        except AlreadyExists:
            raise
        except Exception as error:  # noqa: BLE001 - botocore does it again, and knows what is wrong
            self._service.repeat(trouble_of(error))
            return None
        digests = {"sha256": blob.digests["sha256"]}
        return Stored(blob.path, len(blob.data), version_of({"ETag": tag}), digests, blob.mtime_ns)

    def _vacant(self, place: dict[str, str], doing: str) -> dict[str, str]:
        """What to send so that nothing is replaced; where the service heeds nothing, looks now.

        Raises:
            AlreadyExists: the name is taken.
        """
        if self._has("if_none_match"):
            return {"IfNoneMatch": "*"}
        self._look(place, doing)
        return {}

    def _look(self, place: dict[str, str], doing: str) -> None:
        try:
            self._service.call("head_object", doing, **place)
        except FileNotFoundError:
            return
        raise AlreadyExists(f"{doing}: another object holds that name")

    def start_upload(self, path: str, size: int, mtime_ns: int | None) -> S3Upload:
        place = self._place(path)
        self._probe_multipart()
        return start(self._service, place, path, size, mtime_ns, self._heeded(), self._marks)

    def _heeded(self) -> dict[str, bool]:
        return {**self._probed, "parts_crc64": self._whole_parts(self._probed)}

    def resume_upload(self, token: str) -> S3Upload:
        target = Target.parse(token)
        place = self._place(target.path)
        self._probe_multipart()
        upload = S3Upload(self._service, place, target, self._heeded(), self._marks)
        upload.parts_held()
        return upload

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        self.probe()
        place, doing = self._place(path), self._doing("writing", path)
        if replaces is None:
            conditions = self._vacant(place, doing)
        else:
            conditions = {"IfMatch": f'"{replaces}"'} if self._has("if_match") else {}
            if not conditions:
                self._expect(place, doing, replaces)
        sums = {}
        if self._has("checksum"):
            sums["ChecksumSHA256"] = to_base64(hashlib.sha256(data).hexdigest())
        try:
            done = self._service.call("put_object", doing, **place, **conditions, **sums, Body=data)
        except NoBucket:
            raise
        except FileNotFoundError as error:
            # Amazon's answer to If-Match where there is nothing to match.
            raise AlreadyExists(f"{doing}: it has been deleted meanwhile") from error
        return version_of(done)

    def _expect(self, place: dict[str, str], doing: str, version: str) -> None:
        try:
            found = version_of(self._service.call("head_object", doing, **place))
        except FileNotFoundError:
            found = None
        if found != version:
            raise AlreadyExists(f"{doing}: it has another version")

    # Within the service

    def copy(self, path: str, to: str) -> Stored:
        return self._copy(self, path, to)[0]

    def reaches(self, source: Store) -> bool:
        """See `photosync.engine.capabilities.ServerCopies`."""
        if not isinstance(source, S3Store) or not self._service.is_same(source._service):
            return False
        # One service is asked once what it honours; a source is not written to for that.
        if source.probed is None:
            source.probed = self.probed
        return True

    def copy_from(self, source: Store, original: Entry, to: str) -> Stored:
        """See `photosync.engine.capabilities.ServerCopies`."""
        assert isinstance(source, S3Store)
        return self._copy(source, original.path, to)[0]

    def is_one(self, source: Store, original: Entry, there: Entry) -> bool:
        """See `photosync.engine.capabilities.ServerCopies`."""
        if not isinstance(source, S3Store) or not self._service.is_same(source._service):
            return False
        return source._place(original.path) == self._place(there.path)

    def move(self, path: str, to: str) -> Stored:
        """S3 cannot rename: the copy is complete under the new name before the old one goes.

        Called again after a `Transient`, it goes on with the copy that it may have made.
        """
        names = path, to
        try:
            try:
                stored, version = self._copy(self, path, to)
            except AlreadyExists:
                if names not in self._moving or (made := self._copied(path, to)) is None:
                    raise
                stored, version = made
            conditions = {"IfMatch": f'"{version}"'} if self._has("if_match") and version else {}
            self._service.call(
                "delete_object",
                self._doing("deleting (after copying it)", path),
                **self._place(path),
                **conditions,
            )
        except Transient:
            self._moving.add(names)
            raise
        self._moving.discard(names)
        return stored

    def _copied(self, path: str, to: str) -> tuple[Stored, str | None] | None:
        """What an earlier `move` put under the new name, and the version of the old, if they are equal."""
        source, target = self.stat(path), self.stat(to)
        equal = source.digests == target.digests if source.digests else source.version == target.version
        if source.size != target.size or not equal:
            return None
        stored = Stored(to, target.size, target.version, target.digests, target.mtime_ns)
        return stored, source.version

    def _copy(self, origin: "S3Store", path: str, to: str) -> tuple[Stored, str | None]:
        self.probe()
        source, target = origin._place(path), self._place(to)
        doing = origin._doing("copying", path)
        head = self._service.call("head_object", doing, **source)
        # Whether copies heed If-None-Match was not asked: look as well.
        self._look(target, self._doing("writing", to))
        done = copy_object(
            self._service, doing, source, target, head,
            exclusive=self._has("if_none_match"), checksum=self._has("checksum"),
        )  # fmt: skip
        said = done.get("ChecksumSHA256")
        digests = {"sha256": to_hex(said)} if said and "-" not in said else NO_DIGESTS
        stored = Stored(
            to, head["ContentLength"], version_of(done), digests, mtime_of(head.get("Metadata", {}))
        )
        return stored, version_of(head)

    def set_mtime(self, path: str, mtime_ns: int) -> Stored:
        raise Unsupported("S3 cannot change an object's metadata without writing it anew")

    def delete(self, path: str) -> None:
        self._service.call("delete_object", self._doing("deleting", path), **self._place(path))

    def sweep(self, paths: Sequence[str]) -> int:
        """See `photosync.engine.capabilities.Sweeps`: uploads that nobody went on with for a week."""
        return self._marks.sweep(paths)

    def about(self) -> Usage:
        return Usage(None, None, None)

    def close(self) -> None:
        self._service.close()


class _Tree:
    """Entries of a flat listing; an iterator and no generator, so that it survives a page that failed."""

    def __init__(self, pages: Pages, skip: int) -> None:
        self._pages = pages
        self._skip = skip
        self._page: Iterator[dict[str, Any]] = iter(())

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        while True:
            for found in self._page:
                if not is_marker(found):
                    return entry_of(found["Key"][self._skip :], found)
            self._page = iter(next(self._pages).get("Contents", ()))


def _folder(path: str) -> Entry:
    if note := odd(path):
        return Entry(shown(path), kind=Kind.OTHER, note=note)
    return Entry(path, kind=Kind.FOLDER)
