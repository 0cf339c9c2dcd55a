"""Multipart uploads: large objects part by part, in parallel, resumable from any process."""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from photosync.backends.s3_crc import crc64
from photosync.backends.s3_marks import Marks
from photosync.backends.s3_objects import body, metadata, part_size_for, to_base64, version_of
from photosync.backends.s3_probe import CRC64 as _CRC64_ASKED
from photosync.backends.s3_probe import reported
from photosync.backends.s3_service import Service
from photosync.backends.s3_signing import PARAMETER
from photosync.engine.capabilities import Buffer, Stored
from photosync.engine.entry import NO_DIGESTS
from photosync.engine.errors import AlreadyExists, Corrupt, Fatal, PhotosyncError, Transient

CRC64, SHA256 = "ChecksumCRC64NVME", "ChecksumSHA256"
_HEEDED = {CRC64: "parts_crc64", SHA256: "parts_checksum"}
"""What must be known of the service for each, the better one first."""


@dataclass(frozen=True, slots=True)
class _Part:
    size: int
    tag: str
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """What an upload will become.

    Attributes:
        path: relative to the store's root.
        upload_id: the service's name for the upload.
        part_size: bytes of each part but the last.
        size: bytes of the object.
        mtime: modification time in nanoseconds since the epoch, or None.
        checksums: index → checksum in base64 of parts that were sent, where the service does not list them.
        sums: which checksum the parts have: `SHA256`, `CRC64` or "" for none.
    """

    path: str
    upload_id: str
    part_size: int
    size: int
    mtime: int | None
    checksums: Mapping[int, str]
    sums: str

    @classmethod
    def parse(cls, token: str) -> "Target":
        """The target of a token.

        Raises:
            FileNotFoundError: this code never wrote that token.
        """
        try:
            said = json.loads(token)
            target = cls(
                str(said["path"]), str(said["upload_id"]), int(said["part_size"]), int(said["size"]),
                None if said["mtime"] is None else int(said["mtime"]),
                {int(index): str(checksum) for index, checksum in said["checksums"].items()},
                str(said["sums"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise FileNotFoundError("the token of an unfinished upload is damaged; start it anew") from error
        if target.part_size <= 0 or target.size < 0:
            raise FileNotFoundError("the token of an unfinished upload is damaged; start it anew")
        return target

    def token(self) -> str:
        return json.dumps(asdict(self))

    @property
    def count(self) -> int:
        """Parts that it has; an empty object has one, which is empty."""
        return max(1, -(-self.size // self.part_size))

    def size_of(self, index: int) -> int:
        """Bytes of the part with that index, from 0."""
        return min(self.part_size, self.size - index * self.part_size)


class S3Upload:
    """See `photosync.engine.capabilities.Upload`.

    The token changes as parts are sent where the service does not list the checksums of parts that it wants
    to see again on completion (SeaweedFS). Parts that an older token does not know are sent anew.

    Args:
        service: to call.
        place: Bucket and Key of the object.
        target: what is uploaded.
        heeded: what the service is known to heed, see `photosync.backends.s3_probe`.
        marks: of the store.
    """

    def __init__(
        self,
        service: Service,
        place: dict[str, str],
        target: Target,
        heeded: Mapping[str, bool],
        marks: Marks,
    ) -> None:
        self.token = target.token()
        self.part_size = target.part_size
        self.digest = {CRC64: "crc64nvme", SHA256: f"sha256-parts/{target.part_size}"}.get(target.sums)
        self._crc64 = crc64() if target.sums == CRC64 else None
        if target.sums and not heeded.get(_HEEDED[target.sums]):
            raise FileNotFoundError("the upload was begun with a checksum that is not to be had now")
        self._service = service
        self._place = place
        self._target = target
        self._marks = marks
        self._exclusive = heeded.get("parts_if_none_match", False)
        self._remembers = bool(target.sums) and not heeded.get("parts_listed", False)
        self._lock = threading.Lock()
        self._parts: dict[int, _Part] = {}

    def parts_held(self) -> Mapping[int, int]:
        """A part that has another size than it will have, or whose checksum nobody knows, does not count."""
        parts: dict[int, _Part] = {}
        marker = 0
        while True:
            page = self._call("list_parts", "looking at", **({"PartNumberMarker": marker} if marker else {}))
            for part in page.get("Parts", ()):
                index = part["PartNumber"] - 1
                if index < self._target.count and part["Size"] == self._target.size_of(index):
                    checksum = part.get(self._target.sums) or self._target.checksums.get(index)
                    if checksum or not self.digest:
                        parts[index] = _Part(part["Size"], part["ETag"], checksum)
            if not page.get("IsTruncated"):
                break
            last, marker = marker, int(page.get("NextPartNumberMarker") or 0)
            if marker <= last:
                raise Transient(
                    f"looking at {self._name}: the service broke off its list of parts without saying how to "
                    "go on"
                )
        self._parts = parts
        return {index: part.size for index, part in parts.items()}

    def send_part(self, index: int, data: Buffer, sha256: str) -> None:
        if not 0 <= index < self._target.count or len(data) != self._target.size_of(index):
            raise ValueError(f"part {index} of {self._name} cannot have {len(data)} bytes")
        checksum = to_base64(sha256) if self._target.sums == SHA256 else None
        if self._crc64 is not None:
            checksum = self._crc64(data)
        sums = {self._target.sums: checksum} if checksum else {}
        sent = self._call("upload_part", f"sending part {index + 1} of",
                          PartNumber=index + 1, Body=body(data), **{PARAMETER: sha256}, **sums)  # fmt: skip
        with self._lock:
            self._parts[index] = _Part(len(data), sent["ETag"], checksum)
            if self._remembers and checksum:
                self._target = replace(self._target, checksums={**self._target.checksums, index: checksum})
                self.token = self._target.token()

    def commit(self, digests: Mapping[str, str]) -> Stored:
        if len(self._parts) < self._target.count:
            self.parts_held()
        missing = self._target.count - len(self._parts)
        if missing:
            raise Transient(
                f"{missing} of {self._target.count} parts of {self._name} have not arrived: send them"
            )
        self._compare(digests)
        if not self._exclusive:
            self._look()
        try:
            done = self._call(
                "complete_multipart_upload",
                "completing",
                MultipartUpload={"Parts": [self._listed(index) for index in range(self._target.count)]},
                **({"IfNoneMatch": "*"} if self._exclusive else {}),
                **self._whole(digests),
            )
        except (AlreadyExists, Corrupt):
            self._discard()
            raise
        except FileNotFoundError as error:
            if isinstance(error, Fatal):
                raise
            # After a lost reply the upload is gone because it was completed: only a look can tell.
            raise Transient(f"the upload of {self._name} is no longer known to the service") from error
        self._marks.remove(self._target.upload_id)
        said = self._reported(done)
        return Stored(
            self._target.path,
            self._target.size,
            version_of(done),
            {self.digest: said} if self.digest and said else NO_DIGESTS,
            self._target.mtime,
        )

    def _whole(self, digests: Mapping[str, str]) -> dict[str, str]:
        """The checksum without which the service shall not put the parts together."""
        whole = digests.get("crc64nvme") if self._target.sums == CRC64 else None
        return {CRC64: to_base64(whole), "ChecksumType": "FULL_OBJECT"} if whole else {}

    def _reported(self, done: dict[str, Any]) -> str | None:
        if not self.digest:
            return None
        return reported(self._service, self._place, f"checking {self._name}", done, self._target.sums)

    def abort(self) -> None:
        try:
            self._call("abort_multipart_upload", "forgetting the upload of")
        except FileNotFoundError:
            pass
        self._marks.remove(self._target.upload_id)

    def _compare(self, digests: Mapping[str, str]) -> None:
        """Parts that another process sent may be of another version of the file: never publish those."""
        # Of a whole object the service compares the checksum itself.
        expected = digests.get(self.digest) if self.digest and self._target.sums == SHA256 else None
        checksums = [self._parts[index].checksum for index in range(self._target.count)]
        if not expected:
            return
        outer = hashlib.sha256(b"".join(base64.b64decode(str(checksum)) for checksum in checksums))
        if f"{outer.hexdigest()}-{len(checksums)}" != expected:
            self._discard()
            raise Corrupt(
                f"the parts that {self._name} was to be made of are not those of the file: send it anew"
            )

    def _look(self) -> None:
        try:
            self._service.call("head_object", f"looking at {self._name}", **self._place)
        except FileNotFoundError:
            return
        self._discard()
        raise AlreadyExists(f"completing {self._name}: another object holds that name")

    def _discard(self) -> None:
        # That the name is taken is what the caller must hear; the upload's mark tells a later run of it.
        with contextlib.suppress(PhotosyncError):
            self.abort()

    def _listed(self, index: int) -> dict[str, Any]:
        part = self._parts[index]
        sums = {self._target.sums: part.checksum} if part.checksum else {}
        return {"PartNumber": index + 1, "ETag": part.tag, **sums}

    @property
    def _name(self) -> str:
        return f"{self._place['Bucket']}/{self._place['Key']}"

    def _call(self, operation: str, doing: str, **parameters: Any) -> dict[str, Any]:
        return self._service.call(
            operation, f"{doing} {self._name}", **self._place, UploadId=self._target.upload_id, **parameters
        )


def start(
    service: Service, place: dict[str, str], path: str, size: int, mtime_ns: int | None,
    heeded: Mapping[str, bool], marks: Marks,
) -> S3Upload:  # fmt: skip
    """Begins an upload; arguments as for `S3Upload` and `Target`."""
    kind = next((kind for kind, feature in _HEEDED.items() if heeded.get(feature)), "")
    sums = {CRC64: _CRC64_ASKED, SHA256: {"ChecksumAlgorithm": "SHA256"}}.get(kind, {})
    created = service.call(
        "create_multipart_upload", f"beginning {place['Bucket']}/{place['Key']}",
        **place, Metadata=metadata(mtime_ns), **sums,
    )  # fmt: skip
    target = Target(path, created["UploadId"], part_size_for(size), size, mtime_ns, {}, kind)
    upload = S3Upload(service, place, target, heeded, marks)
    try:
        marks.set(place["Key"], target.upload_id)
    except PhotosyncError:
        with contextlib.suppress(PhotosyncError):
            upload.abort()
        raise
    return upload
