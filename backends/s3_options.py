"""How objects are to be kept: storage class, encryption, retention, and who pays for requests.

Names and values are those of the API ("PutObject", Amazon S3 API Reference). The service checks them; what it
does not know it refuses, or ignores.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

_WRITES = frozenset({"put_object", "create_multipart_upload", "copy_object"})
_PAID = _WRITES | {
    "abort_multipart_upload",
    "complete_multipart_upload",
    "delete_object",
    "get_object",
    "head_object",
    "list_multipart_uploads",
    "list_objects_v2",
    "list_parts",
    "upload_part",
    "upload_part_copy",
}
_OWN = ".photosync/"
PASSING = ("probe-", "uploads/")
"""What photosync keeps below its own folder for a short time only."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """
    Attributes:
        storage_class: of photos; photosync's own records stay in the bucket's default class, so that they can
            be read whatever it is. None: the bucket's default for all.
        sse: "AES256" (keys of the service), "aws:kms" or "aws:kms:dsse"; None: the bucket's default.
        sse_kms_key_id: for the latter two; None: the account's own key.
        object_lock_mode: "GOVERNANCE" or "COMPLIANCE"; None: the bucket's default.
        object_lock_until: end of the retention; with ``object_lock_mode``.
        requester_pays: agree to pay for requests to somebody else's bucket.
    """

    storage_class: str | None = None
    sse: str | None = None
    sse_kms_key_id: str | None = None
    object_lock_mode: str | None = None
    object_lock_until: datetime | None = None
    requester_pays: bool = False

    def parameters(self, operation: str, key: str) -> dict[str, Any]:
        """What to add to a request.

        Args:
            operation: botocore's name for it.
            key: of the object, "" if it concerns none.
        """
        found: dict[str, Any] = {}
        if self.requester_pays and operation in _PAID:
            found["RequestPayer"] = "requester"
        if operation not in _WRITES:
            return found
        _, own, record = f"/{key}".rpartition(f"/{_OWN}")
        if self.storage_class and not own:
            found["StorageClass"] = self.storage_class
        if self.sse:
            found["ServerSideEncryption"] = self.sse
            if self.sse_kms_key_id:
                found["SSEKMSKeyId"] = self.sse_kms_key_id
        if self.object_lock_mode and not (own and record.startswith(PASSING)):
            found["ObjectLockMode"] = self.object_lock_mode
            found["ObjectLockRetainUntilDate"] = self.object_lock_until
        return found

    def told(self, operation: str, key: str) -> str:
        """The same for people: "storage_class GLACIER, sse aws:kms", or ""."""
        names = {
            "StorageClass": "storage_class",
            "ServerSideEncryption": "sse",
            "SSEKMSKeyId": "sse_kms_key_id",
            "ObjectLockMode": "object_lock_mode",
        }
        asked = self.parameters(operation, key)
        return ", ".join(f"{names[name]} {value}" for name, value in asked.items() if name in names)
