"""Finds out what an S3 service really enforces, by asking for what it must refuse.

Services that take a header do not always heed it: Ceph RGW 16 ignores ``If-None-Match`` when a multipart
upload is completed and wrong SHA-256 checksums everywhere, `rclone serve s3` ignores conditions, moto takes
any checksum. Headers that a service does not heed are not sent to it, and nothing is claimed on their ground.
"""

import base64
import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

from photosync.backends.s3_crc import Crc
from photosync.backends.s3_objects import to_hex, version_of
from photosync.backends.s3_service import Service
from photosync.engine.errors import PhotosyncError, Unsupported

_BODY = b"photosync asks what this service checks; this object may be deleted\n"
_WRONG = base64.b64encode(hashlib.sha256(b"something else").digest()).decode()
_RIGHT = base64.b64encode(hashlib.sha256(_BODY).digest()).decode()
CRC64 = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
"""How an upload says that its checksum shall be that of the whole object."""
_COMPOSITE = hashlib.sha256(hashlib.sha256(_BODY).digest()).hexdigest() + "-1"


def probe_put(service: Service, bucket: str, folder: str) -> dict[str, bool]:
    """Asks about PutObject, in five requests.

    Args:
        folder: key prefix, with a slash at its end, below which a small object is written and deleted.

    Returns:
        ``checksum``: a body that differs from its SHA-256 is refused;
        ``if_none_match``: an existing object is not replaced;
        ``if_match``: an object is replaced only if it has the version given.

    Raises:
        Exception: writing is not possible at all, or the service could not be reached.
    """
    with _scratch(service, bucket, folder) as (place, doing):
        checked = service.attempt("put_object", doing, **place, Body=_BODY, ChecksumSHA256=_WRONG)[0] == 400
        if checked:
            # A service that refuses the header as such refuses the right checksum as well.
            right = service.attempt("put_object", doing, **place, Body=_BODY, ChecksumSHA256=_RIGHT)[0]
            checked = right == 200
        if not checked:
            service.call("put_object", doing, **place, Body=_BODY)
        again = service.attempt("put_object", doing, **place, Body=_BODY, IfNoneMatch="*")[0]
        other = service.attempt("put_object", doing, **place, Body=_BODY, IfMatch=f'"{"0" * 32}"')[0]
    return {"checksum": checked, "if_none_match": again == 412, "if_match": other == 412}


def probe_multipart(service: Service, bucket: str, folder: str, checksum: bool) -> dict[str, bool]:
    """Asks about multipart uploads, in nine requests.

    Args:
        folder: as for `probe_put`.
        checksum: what `probe_put` found.

    Returns:
        ``parts_checksum``: a part that differs from its SHA-256 is refused, and the service reports the
        composite checksum of the object by itself;
        ``parts_listed``: it lists the checksums of parts that it holds;
        ``parts_if_none_match``: completing does not replace an existing object.
    """
    with _scratch(service, bucket, folder) as (place, doing):
        service.call("put_object", doing, **place, Body=_BODY)
        upload, checked = _create(service, place, doing, checksum)
        target = {**place, "UploadId": upload["UploadId"]}
        try:
            part: dict[str, Any] = {**target, "PartNumber": 1, "Body": _BODY}
            sums = {"ChecksumSHA256": _RIGHT} if checked else {}
            if checked:
                checked = (
                    service.attempt("upload_part", doing, **{**part, "ChecksumSHA256": _WRONG})[0] == 400
                )
            held = {
                "PartNumber": 1,
                "ETag": service.call("upload_part", doing, **part, **sums)["ETag"],
                **sums,
            }
            held_there = service.call("list_parts", doing, **target).get("Parts", ())
            listed = any(there.get("ChecksumSHA256") for there in held_there)
            complete = {**target, "MultipartUpload": {"Parts": [held]}}
            status, done = service.attempt("complete_multipart_upload", doing, **complete, IfNoneMatch="*")
            if status != 200:
                service.call("delete_object", doing, **place)
                done = service.call("complete_multipart_upload", doing, **complete)
        except PhotosyncError:
            with contextlib.suppress(PhotosyncError, FileNotFoundError):
                service.call("abort_multipart_upload", doing, **target)
            raise
        checked = checked and reported(service, place, doing, done) == _COMPOSITE
    return {"parts_checksum": checked, "parts_listed": listed, "parts_if_none_match": status == 412}


def probe_crc64(service: Service, bucket: str, folder: str, crc64: Crc) -> dict[str, bool]:
    """Asks about checksums of whole objects sent in parts, in seven requests.

    Args:
        folder: as for `probe_put`.

    Returns:
        ``parts_crc64``: a part, and an object, that differ from their CRC-64/NVME are refused, and the
        service reports that of the object by itself.
    """
    right, wrong = crc64(_BODY), crc64(b"something else")
    with _scratch(service, bucket, folder) as (place, doing):
        status = 501
        upload: dict[str, Any] = {}
        with contextlib.suppress(Unsupported):
            status, upload = service.attempt("create_multipart_upload", doing, **place, **CRC64)
        if status != 200:
            return {"parts_crc64": False}
        target = {**place, "UploadId": upload["UploadId"]}
        try:
            part: dict[str, Any] = {**target, "PartNumber": 1, "Body": _BODY}
            refused = service.attempt("upload_part", doing, **part, ChecksumCRC64NVME=wrong)[0] == 400
            status, sent = service.attempt("upload_part", doing, **part, ChecksumCRC64NVME=right)
            held = {"PartNumber": 1, "ETag": sent.get("ETag", ""), "ChecksumCRC64NVME": right}
            complete = {**target, "MultipartUpload": {"Parts": [held]}, "ChecksumType": "FULL_OBJECT"}
            if not refused or status != 200:
                service.call("abort_multipart_upload", doing, **target)
                return {"parts_crc64": False}
            refused = (
                service.attempt("complete_multipart_upload", doing, **complete, ChecksumCRC64NVME=wrong)[0]
                == 400
            )
            done = service.call("complete_multipart_upload", doing, **complete, ChecksumCRC64NVME=right)
        except (PhotosyncError, FileNotFoundError):
            with contextlib.suppress(PhotosyncError, FileNotFoundError):
                service.call("abort_multipart_upload", doing, **target)
            raise
        said = reported(service, place, doing, done, "ChecksumCRC64NVME")
    return {"parts_crc64": refused and said == to_hex(right)}


def reported(
    service: Service, place: dict[str, str], doing: str, done: dict[str, Any], name: str = "ChecksumSHA256"
) -> str | None:
    """The checksum that the service reports for a completed upload, in hex, or None.

    Args:
        place: Bucket and Key.
        done: what CompleteMultipartUpload answered; where that lacks it, HEAD is asked.
        name: of the checksum, as the API calls it; of SHA-256 it is one of the parts' checksums.
    """
    said = done.get(name)
    if not said:
        head = service.call("head_object", doing, **place, ChecksumMode="ENABLED")
        if version_of(head) != version_of(done):
            return None
        said = head.get(name)
    return to_hex(said) if said else None


def _create(
    service: Service, place: dict[str, str], doing: str, checksum: bool
) -> tuple[dict[str, Any], bool]:
    if checksum:
        with contextlib.suppress(Unsupported):
            status, upload = service.attempt(
                "create_multipart_upload", doing, **place, ChecksumAlgorithm="SHA256"
            )
            if status == 200:
                return upload, True
    return service.call("create_multipart_upload", doing, **place), False


@contextlib.contextmanager
def _scratch(service: Service, bucket: str, folder: str) -> Iterator[tuple[dict[str, str], str]]:
    """A key that nobody else uses, deleted at the end."""
    key = f"{folder}probe-{secrets.token_hex(8)}"
    place = {"Bucket": bucket, "Key": key}
    doing = f"asking what {bucket} enforces, with {key}"
    try:
        yield place, doing
    finally:
        # A place where nothing may be deleted is a fine place for a backup; a stray object of 70 bytes stays.
        with contextlib.suppress(PhotosyncError, FileNotFoundError):
            service.call("delete_object", doing, **place)
