"""Copying within a service, without the bytes passing through this machine."""

import contextlib
from typing import Any

from photosync.backends.s3_objects import part_size_for
from photosync.backends.s3_service import Service
from photosync.engine.errors import AlreadyExists, PhotosyncError, SourceChanged

WHOLE_LIMIT = 5 << 30
"""Bytes that one CopyObject may copy ("Copying objects", Amazon S3 User Guide)."""

_PART = 512 << 20
_KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
)


def copy_object(
    service: Service, doing: str, source: dict[str, str], target: dict[str, str], head: dict[str, Any], *,
    exclusive: bool, checksum: bool,
) -> dict[str, Any]:  # fmt: skip
    """Copies an object with its metadata.

    Args:
        source, target: Bucket and Key.
        head: HEAD of the source: the version and size that are copied.
        exclusive: the target is not replaced.
        checksum: ask the service to compute a SHA-256 of what it writes.

    Returns:
        ETag and, where the service says it, ChecksumSHA256 of the copy.

    Raises:
        AlreadyExists: with ``exclusive``, the target exists.
        SourceChanged: the source has another version now.
    """
    origin = {"CopySource": source, "CopySourceIfMatch": head["ETag"]}
    conditions = {"IfNoneMatch": "*"} if exclusive else {}
    sums = {"ChecksumAlgorithm": "SHA256"} if checksum else {}
    try:
        if head["ContentLength"] <= WHOLE_LIMIT:
            done = service.call("copy_object", doing, **target, **origin, **conditions, **sums)
            result: dict[str, Any] = done["CopyObjectResult"]
            return result
        return _in_parts(service, doing, target, origin, head, conditions)
    except AlreadyExists as error:
        if exclusive and _exists(service, doing, target):
            raise
        raise SourceChanged(f"{doing}: the source has changed meanwhile") from error


def _in_parts(
    service: Service, doing: str, target: dict[str, str], origin: dict[str, Any], head: dict[str, Any],
    conditions: dict[str, str],
) -> dict[str, Any]:  # fmt: skip
    size = head["ContentLength"]
    step = part_size_for(size, _PART)
    kept = {name: head[name] for name in _KEPT if name in head}
    created = service.call("create_multipart_upload", doing, **target, **kept)
    upload = {**target, "UploadId": created["UploadId"]}
    try:
        parts = []
        for number, begin in enumerate(range(0, size, step), 1):
            last = min(begin + step, size) - 1
            done = service.call(
                "upload_part_copy", doing,
                **upload, **origin, PartNumber=number, CopySourceRange=f"bytes={begin}-{last}",
            )  # fmt: skip
            parts.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
        return service.call(
            "complete_multipart_upload", doing, **upload, **conditions, MultipartUpload={"Parts": parts}
        )
    except (PhotosyncError, FileNotFoundError):
        with contextlib.suppress(PhotosyncError, FileNotFoundError):
            service.call("abort_multipart_upload", doing, **upload)
        raise


def _exists(service: Service, doing: str, place: dict[str, str]) -> bool:
    try:
        service.call("head_object", doing, **place)
    except FileNotFoundError:
        return False
    return True
