"""Marks of multipart uploads under way, by which those that nobody will finish are found and cleaned away.

S3 keeps the parts of an unfinished upload for ever, and charges for them; whose they are it does not say. So
each upload of photosync has a small object beside the photos, from its beginning to its end. Where that
object is as old as `ABANDONED`, and no part has arrived for as long, whoever began the upload is gone: it is
aborted. All times are the service's own. Uploads without a mark are somebody else's and never touched.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from photosync.backends.s3_errors import translated
from photosync.backends.s3_service import Service
from photosync.engine.errors import PhotosyncError

FOLDER = ".photosync/uploads/"
ABANDONED = timedelta(days=7)


class Marks:
    """The marks at one store.

    Args:
        service: to call.
        bucket: of the store.
        prefix: key prefix of its root, "" or with a slash at its end.
    """

    def __init__(self, service: Service, bucket: str, prefix: str) -> None:
        self._service = service
        self._bucket = bucket
        self._prefix = prefix

    def _place(self, upload_id: str) -> dict[str, str]:
        name = hashlib.sha256(upload_id.encode()).hexdigest()[:32]
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{FOLDER}{name}.json"}

    def set(self, key: str, upload_id: str) -> None:
        """Marks an upload that has begun."""
        body = json.dumps({"key": key, "upload_id": upload_id}).encode()
        self._service.call(
            "put_object", f"marking the upload of {self._bucket}/{key}", **self._place(upload_id), Body=body
        )

    def remove(self, upload_id: str) -> None:
        """Takes the mark of an upload away that is finished or aborted. One that stays does no harm."""
        self._try("delete_object", **self._place(upload_id))

    def sweep(self, paths: Sequence[str]) -> int:
        """Aborts what is abandoned.

        Args:
            paths: of the store's files; marks are those below `FOLDER`.

        Returns:
            How many marks were taken away, with their uploads.
        """
        removed = 0
        for path in paths:
            if path.startswith(FOLDER) and path.endswith(".json") and self._sweep(f"{self._prefix}{path}"):
                removed += 1
        return removed

    def _sweep(self, mark: str) -> bool:
        found = self._read(mark)
        if found is None:
            return False
        key, upload_id, marked, now = found
        upload = {"Bucket": self._bucket, "Key": key, "UploadId": upload_id}
        try:
            last = self._last_part(upload)
        except FileNotFoundError:
            # Finished or aborted already.
            return self._try("delete_object", Bucket=self._bucket, Key=mark)
        except PhotosyncError:
            return False
        if now - max([marked, *last]) < ABANDONED:
            return False
        return self._try("abort_multipart_upload", **upload) and self._try(
            "delete_object", Bucket=self._bucket, Key=mark
        )

    def _read(self, mark: str) -> tuple[str, str, datetime, datetime] | None:
        """Key and id of an upload, when it was marked, and now; None for what is young or no mark of ours."""
        doing = f"looking at {self._bucket}/{mark}"
        try:
            answer = self._service.call("get_object", doing, Bucket=self._bucket, Key=mark)
            with translated(doing):
                said: Any = json.loads(answer["Body"].read())
            key, upload_id = str(said["key"]), str(said["upload_id"])
            marked = answer["LastModified"]
            now = datetime.strptime(
                answer["ResponseMetadata"]["HTTPHeaders"]["date"], "%a, %d %b %Y %H:%M:%S %Z"
            ).replace(tzinfo=marked.tzinfo)
        except (PhotosyncError, OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        ours = key.startswith(self._prefix) and self._place(upload_id)["Key"] == mark
        return (key, upload_id, marked, now) if ours and now - marked >= ABANDONED else None

    def _last_part(self, upload: dict[str, str]) -> list[datetime]:
        """When the latest part arrived, or nothing if none has."""
        times: list[datetime] = []
        asked: dict[str, Any] = dict(upload)
        while True:
            page = self._service.call("list_parts", f"looking at {self._bucket}/{upload['Key']}", **asked)
            times += [part["LastModified"] for part in page.get("Parts", ())]
            marker = page.get("NextPartNumberMarker")
            if not page.get("IsTruncated") or not marker or marker == asked.get("PartNumberMarker"):
                return [max(times)] if times else []
            asked["PartNumberMarker"] = marker

    def _try(self, operation: str, **parameters: Any) -> bool:
        try:
            self._service.call(operation, f"tidying {self._bucket}/{parameters['Key']}", **parameters)
        except FileNotFoundError:
            return True
        except PhotosyncError:
            return False
        return True
