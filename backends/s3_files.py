"""Files that `photosync.backends.s3.S3Backend` opens."""

import base64
import contextlib
import hashlib
import io
from types import TracebackType
from typing import Any, Self

from photosync.backends.s3_objects import ObjectReader
from photosync.backends.s3_service import Service
from photosync.engine.capabilities import Buffer
from photosync.engine.errors import PhotosyncError, SourceChanged, Transient

_PART = 8 << 20
_PARTS_OF_A_SIZE = 1000


class _Raw(io.RawIOBase):
    """Reads by ranged GETs that are streamed: one request for each run of bytes read in order."""

    def __init__(self, service: Service, bucket: str, key: str, size: int, version: str | None) -> None:
        self._object = (service, bucket, key)
        self._size = size
        self._version = version
        self._position = 0
        self._reader: ObjectReader | None = None
        self._reads_at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, into: Any, /) -> int:
        view = memoryview(into).cast("B")
        if self._position >= self._size or not view:
            return 0
        data = self._stream().read(len(view))
        if not data:
            raise Transient(f"reading {'/'.join(self._object[1:])}: it ended early, at byte {self._position}")
        view[: len(data)] = data
        self._position += len(data)
        self._reads_at = self._position
        return len(data)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        super().close()

    def _stream(self) -> ObjectReader:
        if self._reader is None or self._reads_at != self._position:
            if self._reader is not None:
                self._reader.close()
            service, bucket, key = self._object
            try:
                self._reader = ObjectReader(service, bucket, key, key, self._position, self._version)
            except PhotosyncError as error:
                raise _changed(error, bucket, key) from error
            self._reads_at = self._position
        return self._reader


def _changed(error: PhotosyncError, bucket: str, key: str) -> PhotosyncError:
    from photosync.engine.errors import AlreadyExists

    if isinstance(error, AlreadyExists):
        return SourceChanged(f"reading {bucket}/{key}: it was replaced after it had been opened")
    return error


class ReadFile(io.BufferedReader):
    """An object opened for reading; every byte is of the version that was there when it was opened.

    Args:
        service: to call.
        bucket, key: the object.
        size: its bytes.
        version: its ETag without quotes.
    """

    def __init__(self, service: Service, bucket: str, key: str, size: int, version: str | None) -> None:
        super().__init__(_Raw(service, bucket, key, size, version), 64 << 10)
        self.size = size


class WriteFile(io.RawIOBase):
    """An object being written. It gets its name, whole, when it is closed without an exception, or never.

    Leaving a ``with`` block by an exception, `discard` and being forgotten unclosed publish nothing.

    Args:
        service: to call.
        bucket, key: the object.
        exclusive: do not replace an object.
        autocommit: publish on closing; else on `commit`, as fsspec's transactions do.
    """

    def __init__(self, service: Service, bucket: str, key: str, exclusive: bool, autocommit: bool) -> None:
        self._service = service
        self._place = {"Bucket": bucket, "Key": key}
        self._doing = f"writing {bucket}/{key}"
        self.name = f"{bucket}/{key}"
        self._conditions = {"IfNoneMatch": "*"} if exclusive else {}
        self._autocommit = autocommit
        self._buffer = bytearray()
        self._written = 0
        self._upload: dict[str, str] | None = None
        self._parts: list[dict[str, Any]] = []
        self._failed = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if self._failed:
            raise Transient(f"{self._doing}: an earlier part could not be sent; write it all anew")
        view = memoryview(data).cast("B")
        self._written += len(view)
        self._buffer += view
        while len(self._buffer) > self._step():
            step = self._step()
            self._send(bytes(memoryview(self._buffer)[:step]))
            del self._buffer[:step]
        return len(view)

    def close(self) -> None:
        if self.closed:
            return
        try:
            if self._failed:
                self.discard()
                raise Transient(f"{self._doing}: a part could not be sent, nothing was published")
            if self._autocommit:
                self.commit()
        finally:
            super().close()

    def commit(self) -> None:
        """Publishes what was written."""
        if self._upload is None:
            self._service.call(
                "put_object", self._doing,
                **self._place, **self._conditions, Body=bytes(self._buffer), ContentMD5=_md5(self._buffer),
            )  # fmt: skip
        else:
            try:
                self._send(bytes(self._buffer))
                self._service.call(
                    "complete_multipart_upload", self._doing,
                    **self._upload, **self._conditions, MultipartUpload={"Parts": self._parts},
                )  # fmt: skip
            except (PhotosyncError, FileNotFoundError):
                self.discard()
                raise
        self._forget()

    def discard(self) -> None:
        """Publishes nothing, and frees what was sent."""
        upload = self._upload
        self._forget()
        if not self.closed:
            super().close()
        if upload is not None:
            with contextlib.suppress(PhotosyncError, FileNotFoundError):
                self._service.call("abort_multipart_upload", self._doing, **upload)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # io's own finalizer would close, which is to publish.
        if not self.closed and self._autocommit:
            self.discard()

    def _step(self) -> int:
        # The size is not known in advance: parts grow, so that 10,000 of them hold the largest object.
        return _PART << (len(self._parts) // _PARTS_OF_A_SIZE)

    def _send(self, data: bytes) -> None:
        self._failed = True
        if self._upload is None:
            created = self._service.call("create_multipart_upload", self._doing, **self._place)
            self._upload = {**self._place, "UploadId": created["UploadId"]}
        number = len(self._parts) + 1
        sent = self._service.call(
            "upload_part", self._doing,
            **self._upload, PartNumber=number, Body=data, ContentMD5=_md5(data),
        )  # fmt: skip
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._failed = False

    def _forget(self) -> None:
        self._upload = None
        self._buffer.clear()
        self._parts.clear()


class TextWriteFile(io.TextIOWrapper):
    """`WriteFile` for text. The standard wrapper closes, and so publishes, whatever happened."""

    def __init__(self, file: WriteFile, **options: Any) -> None:
        super().__init__(file, **options)
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.discard()

    def __del__(self) -> None:
        if not self._file.closed:
            self._file.discard()


def _md5(data: Buffer) -> str:
    """Content-MD5, the one checksum of a body that every S3 service knows; it guards the way, no more."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
