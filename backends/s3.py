"""S3, and everything that speaks its protocol, as an fsspec filesystem of its own and as a store."""

import contextlib
import errno
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.core import get_compression
from fsspec.utils import tokenize

from photosync.backends.s3_copy import copy_object
from photosync.backends.s3_errors import translated
from photosync.backends.s3_files import ReadFile, TextWriteFile, WriteFile
from photosync.backends.s3_objects import Pages, version_of
from photosync.backends.s3_options import Keeping
from photosync.backends.s3_pages import timestamp
from photosync.backends.s3_service import Account, Service
from photosync.backends.s3_store import S3Store, open_store
from photosync.engine.errors import Permanent, SourceChanged, Unsupported

_SECRETS = frozenset({"key", "secret", "token"})


class S3Backend(AbstractFileSystem):  # type: ignore[misc]
    """Buckets and keys as paths ``bucket/key``. A folder is a common prefix, or an empty object ``folder/``.

    A file written is published whole when it is closed without an exception. As everywhere in fsspec, mode
    "wb" replaces what was there; "xb" does not. Through ``fsspec.open`` (not this object's ``open``) fsspec
    closes files after an exception as well: use this object's.

    Secrets never leave the object: it pickles, and turns to JSON, without ``key``, ``secret`` and ``token``.
    A copy in another process signs in by what it finds there (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
    ``profile``, SSO, instance role); or make it there with secrets of its own.

    Args:
        key, secret, token: access key, secret key, session token. Default: as AWS's own tools find them.
        profile: of ~/.aws/config.
        endpoint_url: of the service. Default: AWS_ENDPOINT_URL_S3, the profile's, or Amazon.
        region_name: default: AWS_REGION or AWS_DEFAULT_REGION, or the profile's.
        anon: sign nothing, for public buckets.
        addressing_style: "path" (``host/bucket``), "virtual" (``bucket.host``) or "auto".
        storage_class, sse, sse_kms_key_id, object_lock_mode, object_lock_until, requester_pays: how objects
            are to be kept, see `photosync.backends.s3_options.Keeping`.
    """

    protocol = "pss3"
    root_marker = ""

    def __init__(
        self,
        *,
        key: str | None = None,
        secret: str | None = None,
        token: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        anon: bool = False,
        addressing_style: str | None = None,
        storage_class: str | None = None,
        sse: str | None = None,
        sse_kms_key_id: str | None = None,
        object_lock_mode: str | None = None,
        object_lock_until: datetime | None = None,
        requester_pays: bool = False,
        **options: Any,
    ) -> None:
        self._public_options: dict[str, Any] = {}
        super().__init__(**{**options, "use_listings_cache": False})
        keeping = Keeping(
            storage_class, sse, sse_kms_key_id, object_lock_mode, object_lock_until, requester_pays
        )
        self._account = Account(
            key, secret, token, profile, endpoint_url, region_name, anon, addressing_style, keeping
        )
        self._service = Service(self._account)

    @property
    def storage_options(self) -> dict[str, Any]:
        """What fsspec hands on when it pickles or describes this object: no secrets."""
        return self._public_options

    @storage_options.setter
    def storage_options(self, options: dict[str, Any]) -> None:
        self._public_options = {name: value for name, value in options.items() if name not in _SECRETS}

    def store(self, root: str) -> S3Store:
        """The store at ``bucket`` or ``bucket/prefix``, with a connection and a count of its own.

        Raises:
            Permanent: no bucket is named.
            NameRefused: the prefix has an empty or dotted component.
        """
        return open_store(self._account, str(self._strip_protocol(root)))

    # Looking

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        bucket, key = self._split(path)
        found = list(self._children(bucket, key)) if bucket else self._buckets()
        if not found and key:
            found = [self.info(path)]
            if found[0]["type"] == "directory":
                found = []
        return found if detail else [info["name"] for info in found]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        bucket, key = self._split(path)
        if not bucket:
            return _directory("")
        if not key:
            self._service.call("head_bucket", f"looking at {bucket}", Bucket=bucket)
            return _directory(bucket)
        try:
            return _file(f"{bucket}/{key}", self._head(bucket, key), "ContentLength")
        except FileNotFoundError:
            for page in Pages(self._service, bucket, f"{key}/", most=1):
                if page.get("Contents"):
                    return _directory(f"{bucket}/{key}")
            raise

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """fsspec's own would take a folder that fails to list for an empty one."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        bucket, key = self._split(path)
        if not bucket:
            return super().find(path, maxdepth, withdirs, detail, on_error="raise")
        found: dict[str, dict[str, Any]] = {}
        for page in Pages(self._service, bucket, f"{key}/" if key else ""):
            for item in page.get("Contents", ()):
                self._add_with_folders(found, path, f"{bucket}/{item['Key']}", item)
        if not found and key and self.isfile(path):
            found[path] = self.info(path)
        depth = path.count("/") + (maxdepth or 0)
        kept = {
            name: info
            for name, info in sorted(found.items())
            if (withdirs or info["type"] == "file") and (maxdepth is None or name.count("/") <= depth)
        }
        return kept if detail else list(kept)

    @staticmethod
    def _add_with_folders(
        found: dict[str, dict[str, Any]], root: str, name: str, item: dict[str, Any]
    ) -> None:
        marker = name.endswith("/") and item["Size"] == 0
        if not marker:
            found[name] = _file(name, item, "Size")
        folder = name.rstrip("/") if marker else name.rpartition("/")[0]
        while len(folder) >= len(root) and folder not in found:
            found[folder] = _directory(folder)
            folder = folder.rpartition("/")[0]

    def created(self, path: str) -> datetime:
        """When the object got its content; S3 knows no other time."""
        return self.modified(path)

    def modified(self, path: str) -> datetime:
        info = self.info(path)
        if info["type"] == "directory":
            raise IsADirectoryError(f"{path} is a folder, which has no time on S3")
        when: datetime = info["LastModified"]
        return when

    def ukey(self, path: str) -> str:
        """Changes whenever the content does."""
        info = self.info(path)
        return str(tokenize(info["name"], info["size"], info.get("ETag")))

    def checksum(self, path: str) -> int:
        return int(self.ukey(path), 16)

    # Reading and writing

    def open(self, path: str, mode: str = "rb", compression: str | None = None, **options: Any) -> Any:
        if "r" in mode:
            return super().open(path, mode, compression=compression, **options)
        if get_compression(path, compression) is not None:
            raise Unsupported(f"opening {path}: compress the data before writing them, or use fsspec.open")
        if "b" in mode:
            return super().open(path, mode, **options)
        text = {name: options.pop(name) for name in ("encoding", "errors", "newline") if name in options}
        return TextWriteFile(super().open(path, mode.replace("t", "") + "b", **options), **text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **_: Any,
    ) -> ReadFile | WriteFile:
        bucket, key = self._object(path)
        if mode == "rb":
            info = self.info(path)
            if info["type"] == "directory":
                raise IsADirectoryError(f"{path} is a folder")
            return ReadFile(self._service, bucket, key, info["size"], info["ETag"])
        if mode not in {"wb", "xb"}:
            raise Unsupported(f"opening {path}: S3 cannot do mode {mode!r}, only rb, wb and xb")
        if mode == "xb" and self.exists(path):
            raise FileExistsError(f"{path} exists")
        return WriteFile(self._service, bucket, key, exclusive=mode == "xb", autocommit=autocommit)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        bucket, key = self._object(path)
        begin, stop = start or 0, end
        if begin < 0 or (stop is not None and stop < 0):
            size = self.info(path)["size"]
            begin = max(0, begin + size) if begin < 0 else begin
            stop = stop + size if stop is not None and stop < 0 else stop
        if stop is not None and stop <= begin:
            return b""
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if begin or stop is not None:
            asked["Range"] = f"bytes={begin}-" + ("" if stop is None else str(stop - 1))
        doing = f"reading {path}"
        status, response = self._service.attempt("get_object", doing, **asked)
        if status == 416:
            return b""
        if status != 200:
            raise Permanent(f"{doing}: the service refused the range {begin}-{stop}")
        with translated(doing):
            data: bytes = response["Body"].read()
            return data

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        with self.open(path, "xb" if mode == "create" else "wb") as file:
            file.write(value)

    def put_file(
        self, lpath: str, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **_: Any
    ) -> None:
        if os.path.isdir(lpath):
            self.makedirs(rpath, exist_ok=True)
            return
        with open(lpath, "rb") as source, self.open(rpath, "xb" if mode == "create" else "wb") as file:
            size = os.fstat(source.fileno()).st_size
            callback.set_size(size)
            while data := source.read(1 << 20):
                callback.relative_update(file.write(data))
            if file.tell() != size:
                raise SourceChanged(f"{lpath} had {size} bytes, but {file.tell()} could be read: try again")

    # Changing

    def rm_file(self, path: str) -> None:
        bucket, key = self._object(path)
        if self.info(path)["type"] == "directory":
            self.rmdir(path)
        else:
            self._service.call("delete_object", f"deleting {bucket}/{key}", Bucket=bucket, Key=key)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        for one in reversed(self.expand_path(path, recursive=recursive, maxdepth=maxdepth)):
            # A folder is gone with the last object in it.
            with contextlib.suppress(FileNotFoundError) if recursive else contextlib.nullcontext():
                if self._split(one)[1]:
                    self.rm_file(one)
                else:
                    self.rmdir(one)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        if self.isdir(path1):
            # A folder that is no more than a prefix comes into being with its first file.
            if self.ls(path1) == []:
                self.makedirs(path2, exist_ok=True)
            return
        source, target = (
            dict(zip(("Bucket", "Key"), self._object(path), strict=True)) for path in (path1, path2)
        )
        copy_object(
            self._service, f"copying {path1}", source, target, self._head(**source),
            exclusive=False, checksum=False,
        )  # fmt: skip

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        bucket, key = self._split(path)
        if self.exists(path):
            raise FileExistsError(f"{path} exists")
        if not key:
            self._create_bucket(bucket)
            return
        if create_parents and not self.exists(bucket):
            self._create_bucket(bucket)
        self._service.call("put_object", f"making the folder {path}", Bucket=bucket, Key=f"{key}/", Body=b"")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        if exist_ok and self.isdir(path):
            return
        self.mkdir(path)

    def rmdir(self, path: str) -> None:
        bucket, key = self._split(path)
        if not key:
            self._service.call("delete_bucket", f"removing the bucket {bucket}", Bucket=bucket)
            return
        page = next(Pages(self._service, bucket, f"{key}/", most=2))
        keys = [item["Key"] for item in page.get("Contents", ())]
        if not keys:
            raise FileNotFoundError(f"there is no folder {path}")
        if keys != [f"{key}/"]:
            raise OSError(errno.ENOTEMPTY, f"the folder {path} is not empty")
        self._service.call("delete_object", f"removing the folder {path}", Bucket=bucket, Key=f"{key}/")

    # Helpers

    @classmethod
    def _split(cls, path: str) -> tuple[str, str]:
        bucket, _, key = str(cls._strip_protocol(path)).partition("/")
        return bucket, key

    def _object(self, path: str) -> tuple[str, str]:
        bucket, key = self._split(path)
        if not key:
            raise IsADirectoryError(f"{path or 'the root'} is a bucket, no object")
        return bucket, key

    def _head(self, Bucket: str, Key: str) -> dict[str, Any]:
        return self._service.call("head_object", f"looking at {Bucket}/{Key}", Bucket=Bucket, Key=Key)

    def _buckets(self) -> list[dict[str, Any]]:
        answer = self._service.call("list_buckets", "listing buckets")
        return [_directory(bucket["Name"]) for bucket in answer.get("Buckets", ())]

    def _children(self, bucket: str, key: str) -> Iterator[dict[str, Any]]:
        prefix = f"{key}/" if key else ""
        for page in Pages(self._service, bucket, prefix, "/"):
            for item in page.get("CommonPrefixes", ()):
                yield _directory(f"{bucket}/{item['Prefix'][:-1]}")
            for item in page.get("Contents", ()):
                if item["Key"] != prefix or item["Size"]:
                    yield _file(f"{bucket}/{item['Key']}", item, "Size")

    def _create_bucket(self, bucket: str) -> None:
        region = self._service.client.meta.region_name
        # Amazon's first region is the one that must not be named.
        placed = {} if region in {None, "us-east-1", "aws-global"} else {"LocationConstraint": region}
        where = {"CreateBucketConfiguration": placed} if placed else {}
        self._service.call("create_bucket", f"creating the bucket {bucket}", Bucket=bucket, **where)


def _directory(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


def _file(name: str, said: dict[str, Any], size: str) -> dict[str, Any]:
    return {
        "name": name,
        "size": said[size],
        "type": "file",
        "ETag": version_of(said),
        "LastModified": timestamp(said["LastModified"]),
        "StorageClass": said.get("StorageClass", "STANDARD"),
    }
