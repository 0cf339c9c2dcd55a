"""Servers that answer anything: the stores' operations against damaged copies of real conversations.

An input is the name of an operation in a line, and answers, each begun by a line ``--- STATUS``, then
headers, an empty line and the body. They are given one after the other, round and round.
"""

import hashlib
import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import pytest
import requests
from botocore.awsrequest import AWSResponse
from urllib3.response import HTTPResponse

from photosync.backends import drive_http, session
from photosync.backends.drive import DriveBackend
from photosync.backends.dropbox import DropboxBackend
from photosync.backends.s3 import S3Backend
from photosync.engine.capabilities import Blob, Store, Sweeps
from photosync.engine.entry import Kind
from photosync.engine.errors import PhotosyncError
from photosync.engine.hashing import fingerprint
from photosync.engine.names import check_relative
from photosync.engine.scan import flat
from tests.backends import drive_rig, dropbox_rig
from tests.fuzz.target import Target

MOST = 60
"""Requests of one operation before it counts as endless; no input has as many answers."""
_DATA = b"photo" * 20
_MARK = b"--- "
_UPLOAD = hashlib.sha256(b"u").hexdigest()[:32]

Answer = tuple[int, dict[str, str], bytes]


class Endless(BaseException):
    """An operation that goes on asking; no handler of errors may take it for one of its own."""


def _blob(path: str) -> Blob:
    return Blob(path, _DATA, 1_700_000_000 * 10**9, fingerprint(_DATA, ["sha256", "md5", "dropbox"]).digests)


def _listed(store: Store) -> None:
    """One level: a service that shows each folder to hold another never ends."""
    for entry in store.list_folder(""):
        if entry.kind is Kind.FILE:
            store.list_folder(entry.path)


def _flat(store: Store) -> None:
    for entry in flat(store, check=lambda: None).entries:
        assert check_relative(entry.path) == entry.path


def _read(store: Store) -> None:
    reader = store.open("a/IMG_1.JPG")
    try:
        reader.stat()
        while reader.read(64):
            pass
    finally:
        reader.close()


def _put(store: Store) -> None:
    for result in store.put([_blob("a/IMG_9.JPG")]):
        assert not isinstance(result, Exception) or isinstance(result, (PhotosyncError, OSError)), result


def _upload(store: Store) -> None:
    upload = store.start_upload("a/VID_1.MP4", len(_DATA), None)
    upload.send_part(0, _DATA, fingerprint(_DATA, ["sha256"]).digests["sha256"])
    upload.parts_held()
    upload.commit(_blob("x").digests)


def _small(store: Store) -> None:
    data, version = store.read_small(".photosync/HEAD", 1000)
    assert len(data) <= 1000
    store.replace_small(".photosync/HEAD", b"new", version)


def _changes(store: Store) -> None:
    first = store.changes(None)
    store.changes(first.cursor)


def _sweep(store: Store) -> None:
    if isinstance(store, Sweeps):
        store.sweep([f".photosync/uploads/{_UPLOAD}.json"])


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "list": _listed,
    "flat": _flat,
    "changes": _changes,
    "stat": lambda store: store.stat("a/IMG_1.JPG"),
    "read": _read,
    "put": _put,
    "upload": _upload,
    "small": _small,
    "move": lambda store: store.move("a/IMG_1.JPG", "b/IMG_1.JPG"),
    "copy": lambda store: store.copy("a/IMG_1.JPG", "b/IMG_2.JPG"),
    "mtime": lambda store: store.set_mtime("a/IMG_1.JPG", 10**18),
    "delete": lambda store: store.delete("a/IMG_1.JPG"),
    "about": lambda store: store.about(),
    "sweep": lambda store: (
        store.sweep([f".photosync/uploads/{_UPLOAD}.json"]) if isinstance(store, Sweeps) else 0
    ),
}


# conversations as bytes


def spelled(operation: str, answers: list[Answer]) -> bytes:
    text = operation.encode() + b"\n"
    for status, headers, body in answers:
        lines = [f"--- {status}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        text += "\n".join(lines).encode() + body + b"\n"
    return text


def understood(data: bytes) -> tuple[str, list[Answer]]:
    first, _, rest = data.partition(b"\n")
    names = list(OPERATIONS)
    operation = first.decode("latin-1")
    if operation not in OPERATIONS:
        operation = names[sum(first) % len(names)]
    answers: list[Answer] = []
    for piece in (b"\n" + rest).split(b"\n" + _MARK)[1 : MOST // 2]:
        top, _, body = piece.partition(b"\n\n")
        status, *lines = top.decode("latin-1").split("\n")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        number = int(status) if status.isascii() and status.isdecimal() and len(status) == 3 else 200
        answers.append((number, headers, body))
    return operation, answers or [(500, {}, b"")]


def _round(answers: list[Answer]) -> Iterator[Answer]:
    yield from itertools.islice(itertools.cycle(answers), MOST)
    raise Endless(f"more than {MOST} requests")


# Dropbox and Drive, by the sessions of requests that their SDKs are given


def _reply(request: requests.PreparedRequest, answer: Answer) -> requests.Response:
    status, headers, body = answer
    reply = requests.Response()
    reply.status_code, reply.request, reply.url = status, request, request.url or ""
    reply.headers.update({name: value for name, value in headers.items() if name.lower() != "content-length"})
    reply.raw = HTTPResponse(io.BytesIO(body), headers={}, status=status, preload_content=False)
    return reply


@contextmanager
def _answering(answers: list[Answer]) -> Iterator[None]:
    given = _round(answers)
    with mock.patch.object(
        session._Adapter, "send", lambda _self, request, *_, **__: _reply(request, next(given))
    ):
        yield


def _dropbox() -> Store:
    token = {"access_token": "a", "app_key": "k"}
    return DropboxBackend(**token, skip_instance_cache=True).store("Photos")


@cache
def _client() -> Any:
    return drive_http.build("drive", "v3", http=mock.Mock(), static_discovery=True, cache_discovery=False)


def _drive() -> Store:
    return DriveBackend(access_token="a", skip_instance_cache=True).store("Photos")


@cache
def _s3() -> Any:
    store: Any = S3Backend(
        key="k", secret="s", endpoint_url="http://127.0.0.1:9", region_name="r", skip_instance_cache=True
    ).store("bucket/p")
    # What the lane sends goes past botocore, and to a socket.
    store._service.lane = lambda _bucket: None
    return store


def _run(make: Callable[[], Store], data: bytes) -> None:
    operation, answers = understood(data)
    with _answering(answers):
        store = make()
        try:
            OPERATIONS[operation](store)
        except (PhotosyncError, OSError):
            pass
        finally:
            store.close()


def _run_s3(data: bytes) -> None:
    operation, answers = understood(data)
    store = _s3()
    store.probed = None
    given = _round(answers)

    def send(request: Any, **_: Any) -> AWSResponse:
        status, headers, body = next(given)
        body = b"" if request.method == "HEAD" else body
        raw = HTTPResponse(io.BytesIO(body), headers=headers, status=status, preload_content=False)
        return AWSResponse(request.url, status, raw.headers, raw)

    events = store._service.client.meta.events
    events.register("before-send.s3", send)
    try:
        OPERATIONS[operation](store)
    except (PhotosyncError, OSError):
        pass
    finally:
        events.unregister("before-send.s3", send)


# what real conversations look like


def _recorded(make: Callable[[], Store], prepare: Callable[[Store], object]) -> list[bytes]:
    """Each operation as an emulator answers it."""
    heard: list[Answer] = []
    real = session._Adapter.send

    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        reply = real(self, request, *args, **kwargs)
        body = reply.content
        kept = ("content-type", "dropbox-api-result", "location", "range", "etag", "retry-after")
        headers = {name.lower(): value for name, value in reply.headers.items() if name.lower() in kept}
        heard.append((reply.status_code, headers, body))
        return _reply(request, heard[-1])

    store = make()
    prepare(store)
    seeds = []
    with mock.patch.object(session._Adapter, "send", send):
        for name, run in OPERATIONS.items():
            heard.clear()
            try:
                run(store)
            except (PhotosyncError, OSError):
                pass
            seeds.append(spelled(name, list(heard)))
            # Another process, which has not learnt where things are.
            store = make()
    return seeds


def _some_photos(store: Store) -> None:
    store.put([_blob("a/IMG_1.JPG"), _blob("a/IMG_2.JPG"), _blob("c.jpg")])
    store.replace_small(".photosync/HEAD", b"{}", None)


@cache
def dropbox_seeds() -> tuple[bytes, ...]:
    with pytest.MonkeyPatch.context() as patch, dropbox_rig.rigged(patch) as rig:
        return tuple(_recorded(lambda: rig.again().store("Photos"), _some_photos))


@cache
def drive_seeds() -> tuple[bytes, ...]:
    with pytest.MonkeyPatch.context() as patch, drive_rig.rigged(patch) as rig:
        return tuple(_recorded(lambda: rig.sign_in().store("Photos"), _some_photos))


_LIST = b"""<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>\
<Prefix>p/</Prefix><IsTruncated>%s</IsTruncated><Contents><Key>p/a/IMG_1.JPG</Key><Size>100</Size>\
<ETag>"e"</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass>\
</Contents><CommonPrefixes><Prefix>p/b/</Prefix></CommonPrefixes>%s</ListBucketResult>"""
_MORE = _LIST % (b"true", b"<NextContinuationToken>t</NextContinuationToken>")
_LAST = _LIST % (b"false", b"")
_OBJECT = {
    "Content-Length": "100", "ETag": '"e"', "Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT",
    "x-amz-meta-mtime": "1700000000.5", "x-amz-checksum-sha256": "3q2+7w==",
    "Content-Range": "bytes 0-99/100", "Date": "Wed, 23 Dec 2026 12:00:00 GMT",
}  # fmt: skip
_NONE = (404, {}, b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>")
_TAKEN = (412, {}, b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>")
_BUSY = (503, {"Retry-After": "1"}, b"<Error><Code>SlowDown</Code><Message>no</Message></Error>")
_BEGUN = (200, {}, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
_PART = b"<Part><PartNumber>1</PartNumber><Size>100</Size><ETag>e</ETag></Part>"
_PARTS = (200, {}, b"<ListPartsResult><IsTruncated>false</IsTruncated>%s</ListPartsResult>" % _PART)
_DONE = (200, {}, b'<CompleteMultipartUploadResult><ETag>"e-1"</ETag></CompleteMultipartUploadResult>')
_COPIED = (200, {}, b'<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>')
_OK = (200, _OBJECT, b"")
_GONE = (204, {}, b"")
_DAMAGED = (400, {}, b"<Error><Code>BadDigest</Code></Error>")
_UPLOADING = (200, _OBJECT, b'{"key":"p/a","upload_id":"u"}')
_S3_SEEDS = [
    spelled("list", [(200, {}, _MORE), (200, {}, _LAST)]),
    spelled("flat", [(200, {}, _MORE), (200, {}, _MORE.replace(b">t<", b">u<")), (200, {}, _LAST)]),
    spelled("stat", [_OK]),
    spelled("stat", [_NONE, (200, {}, _LAST)]),
    spelled("read", [(200, _OBJECT, _DATA)]),
    spelled("put", [_OK, _TAKEN, _DAMAGED, _GONE, _NONE, _OK]),
    spelled("upload", [_OK, _TAKEN, _OK, _BEGUN, _OK, _PARTS, _DONE]),
    spelled("small", [(200, _OBJECT, b"{}"), _OK]),
    spelled("move", [_OK, _COPIED, _OK, _GONE]),
    spelled("copy", [_OK, _COPIED, _OK]),
    spelled("delete", [_OK, _GONE]),
    spelled("about", [_BUSY]),
    spelled("sweep", [_UPLOADING, _PARTS, _GONE, _GONE]),
]  # fmt: skip


def targets() -> list[Target]:
    """The services, whose seeds are recorded from emulators now."""
    words = (b"\n--- 500\n\n", b"\n--- 429\nRetry-After: 9e9\n\n", b"\n--- 302\nLocation: http://127.0.0.1:9/\n\n",
             b"\n--- 200\n\n{}", b"\n--- 200\n\n[]", b"\n--- 409\n\n", b'{".tag":"', b"null")  # fmt: skip
    return [
        Target("dropbox", lambda data: _run(_dropbox, data), dropbox_seeds(), words),
        Target("drive", lambda data: _run(_drive, data), drive_seeds(), words),
        Target("s3", _run_s3, _S3_SEEDS, (*words, b"<IsTruncated>true</IsTruncated>", b"<Size>-1</Size>")),
    ]
