"""Multipart uploads to a real server (SeaweedFS), and to answers that it does not give."""

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from photosync.backends import s3_crc
from photosync.backends import s3_store as s3_store_module
from photosync.backends.s3 import S3Backend
from photosync.backends.s3_store import S3Store
from photosync.engine.capabilities import Upload
from photosync.engine.errors import AlreadyExists, Corrupt, Transient
from photosync.engine.hashing import fingerprint
from tests.backends.canned_s3 import Answer, Request, canned, refusal
from tests.backends.test_s3_store import content, put
from tests.servers.seaweed import Seaweed

PART = 8 << 20
DIGEST = f"sha256-parts/{PART}"
VIDEO = b"".join(bytes([number]) * (1 << 20) for number in range(19))
"""19 MiB: three parts, the last of them short."""


def part(index: int, data: bytes = VIDEO) -> bytes:
    return data[index * PART : (index + 1) * PART]


def send(upload: Upload, *indexes: int) -> None:
    for index in indexes:
        upload.send_part(index, part(index), hashlib.sha256(part(index)).hexdigest())


def digests(data: bytes = VIDEO) -> dict[str, str]:
    return fingerprint(data, [DIGEST, "crc64nvme"]).digests


@pytest.fixture(autouse=True)
def without_awscrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is without that package; with it, see test_s3_crc.py."""
    monkeypatch.setattr(s3_crc, "crc64", lambda: None)
    monkeypatch.setattr(s3_store_module, "crc64", lambda: None)


def test_parts_in_any_order_make_one_object_that_the_server_vouches_for(s3_store: S3Store) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), 1_500_000_000)
    assert (upload.part_size, upload.digest) == (PART, DIGEST)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda index: send(upload, index), (2, 0, 1)))
    assert upload.parts_held() == {0: PART, 1: PART, 2: 3 << 20}
    with pytest.raises(FileNotFoundError):
        s3_store.stat("a.mov")
    stored = upload.commit(digests())
    assert stored.digests == {DIGEST: digests()[DIGEST]}
    found = s3_store.stat("a.mov")
    assert (found.size, found.version, found.mtime_ns) == (len(VIDEO), stored.version, 1_500_000_000)
    assert found.digests == stored.digests
    assert content(s3_store, "a.mov") == VIDEO


def test_damaged_part_is_refused(s3_store: S3Store) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    with pytest.raises(Corrupt, match="not those"):
        upload.send_part(0, bytes(PART), hashlib.sha256(part(0)).hexdigest())
    assert upload.parts_held() == {}
    upload.abort()


def test_part_of_a_wrong_size_is_a_bug_of_the_caller(s3_store: S3Store) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    for index, data in ((0, b"short"), (3, b""), (-1, b"")):
        with pytest.raises(ValueError, match="cannot have"):
            upload.send_part(index, data, hashlib.sha256(data).hexdigest())
    upload.abort()


@pytest.mark.row(39)
def test_commit_without_all_parts_publishes_nothing(s3_store: S3Store) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    send(upload, 0, 2)
    with pytest.raises(Transient, match="1 of 3 parts"):
        upload.commit(digests())
    with pytest.raises(FileNotFoundError):
        s3_store.stat("a.mov")
    upload.abort()


def test_commit_replaces_nothing_and_frees_the_parts(
    s3_store: S3Store, s3_server: Seaweed, bucket: str
) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    send(upload, 0, 1, 2)
    put(s3_store, "a.mov", b"somebody was faster")
    with pytest.raises(AlreadyExists):
        upload.commit(digests())
    assert content(s3_store, "a.mov") == b"somebody was faster"
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


def test_abort_frees_the_parts_and_may_be_repeated(
    s3_store: S3Store, s3_server: Seaweed, bucket: str
) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    send(upload, 0)
    upload.abort()
    upload.abort()
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)
    with pytest.raises(FileNotFoundError):
        s3_store.resume_upload(upload.token)


@pytest.mark.row(39)
def test_parts_of_another_version_of_the_file_are_never_published(s3_store: S3Store) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    send(upload, 0, 1, 2)
    with pytest.raises(Corrupt, match="not those of the file"):
        upload.commit(digests(bytes(len(VIDEO))))
    with pytest.raises(FileNotFoundError):
        s3_store.stat("a.mov")


SENDER = """
import hashlib, json, sys
sys.modules["awscrt"] = None
from photosync.backends.s3 import S3Backend
options, root = json.loads(sys.stdin.readline())
upload = S3Backend(**options).store(root).start_upload("a.mov", 19 << 20, 7)
data = b"".join(bytes([number]) * (1 << 20) for number in range(8))
upload.send_part(0, data, hashlib.sha256(data).hexdigest())
print(upload.token, flush=True)
sys.stdin.readline()
"""


def test_killed_upload_publishes_nothing_and_is_resumed_by_another_process(
    s3_server: Seaweed, s3: S3Backend, bucket: str
) -> None:
    options = {"key": s3_server.key, "secret": s3_server.secret, "endpoint_url": s3_server.endpoint}
    sender = subprocess.Popen(
        [sys.executable, "-c", SENDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert sender.stdin is not None
    assert sender.stdout is not None
    with sender:
        sender.stdin.write(json.dumps([options, f"{bucket}/root"]) + "\n")
        sender.stdin.flush()
        token = sender.stdout.readline().strip()
        sender.kill()
    assert token
    assert s3_server.secret not in token
    store = s3.store(f"{bucket}/root")
    with pytest.raises(FileNotFoundError):
        store.stat("a.mov")
    upload = store.resume_upload(token)
    assert upload.token == token
    assert upload.parts_held() == {0: PART}
    send(upload, 1, 2)
    stored = upload.commit(digests())
    assert stored.digests == {DIGEST: digests()[DIGEST]}
    assert stored.mtime_ns == 7
    assert content(store, "a.mov") == VIDEO
    with pytest.raises(FileNotFoundError):
        store.resume_upload(token)


def test_parts_whose_checksum_an_older_token_does_not_know_are_sent_anew(s3_store: S3Store) -> None:
    begun = s3_store.start_upload("a.mov", len(VIDEO), None)
    assert s3_store.probed is not None
    assert not s3_store.probed["parts_listed"]
    send(begun, 2)
    older = begun.token
    send(begun, 0, 1)
    upload = s3_store.resume_upload(older)
    assert upload.parts_held() == {2: 3 << 20}
    send(upload, 0, 1)
    assert upload.commit(digests()).digests == {DIGEST: digests()[DIGEST]}


@pytest.mark.parametrize(
    "token",
    ["", "{}", "[1]", '{"path":"a","upload_id":"u","part_size":0,"size":1,"mtime":null}', "\ud800"],
)
def test_damaged_tokens_mean_to_start_anew(s3_store: S3Store, token: str) -> None:
    with pytest.raises(FileNotFoundError):
        s3_store.resume_upload(token)


def test_multipart_is_asked_about_once_and_the_scratch_object_is_gone(
    s3_store: S3Store, s3_server: Seaweed, bucket: str
) -> None:
    for name in ("a.mov", "b.mov"):
        s3_store.start_upload(name, len(VIDEO), None).abort()
    assert s3_store.probed is not None
    assert s3_store.probed["parts_checksum"]
    assert s3_store.probed["parts_if_none_match"]
    assert s3_store.capabilities.exclusive
    assert s3_store.requests["CompleteMultipartUpload"] == 2
    assert "Contents" not in s3_server.client().list_objects_v2(Bucket=bucket)


class Multipart:
    """A service with multipart uploads that heeds neither conditions nor checksums of parts."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: dict[int, bytes] = {}
        self.reply_lost = False

    def __call__(self, request: Request) -> Answer:
        if request.method == "POST" and "uploads" in request.query:
            self.parts = {}
            return Answer(
                200,
                b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
            )
        if request.method == "PUT" and "partNumber" in request.query:
            self.parts[int(request.query["partNumber"])] = request.body
            return Answer(headers={"ETag": '"p"'})
        if request.method == "POST":
            if self.reply_lost:
                return refusal(404, "NoSuchUpload")
            self.objects[request.path] = b"".join(data for _, data in sorted(self.parts.items()))
            return Answer(
                200,
                b"<CompleteMultipartUploadResult><ETag>&quot;m-1&quot;</ETag></CompleteMultipartUploadResult>",
            )
        if request.method == "PUT":
            self.objects[request.path] = request.body
            return Answer(headers={"ETag": '"o"'})
        if request.method == "DELETE" and "uploadId" in request.query:
            return Answer(204)
        if request.method == "DELETE":
            self.objects.pop(request.path, None)
            return Answer(204)
        if request.method == "GET":
            return Answer(200, b"<ListPartsResult/>")
        if request.path not in self.objects:
            return refusal(404, "NoSuchKey")
        return Answer(headers={"ETag": '"m-1"', "Content-Length": str(len(self.objects[request.path]))})


@pytest.mark.row(39)
def test_a_service_that_heeds_nothing_is_looked_at_before_completing() -> None:
    service = Multipart()
    with canned(service) as backend:
        store = backend.store("bucket")
        upload = store.start_upload("a.mov", len(VIDEO), None)
        assert upload.digest is None
        send(upload, 0, 1, 2)
        service.objects["/bucket/a.mov"] = b"somebody was faster"
        with pytest.raises(AlreadyExists):
            upload.commit(digests())
        assert service.objects == {"/bucket/a.mov": b"somebody was faster"}
        service.objects.clear()
        stored = upload.commit(digests())
        assert stored.digests == {}
        assert service.objects == {"/bucket/a.mov": VIDEO}


def test_unknown_outcome_of_a_commit_is_to_be_looked_at() -> None:
    service = Multipart()
    with canned(service) as backend:
        upload = backend.store("bucket").start_upload("a.mov", len(VIDEO), None)
        send(upload, 0, 1, 2)
        service.reply_lost = True
        with pytest.raises(Transient, match="no longer known"):
            upload.commit(digests())


def test_list_of_parts_that_loops_is_an_error() -> None:
    page = (
        b"<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>0</NextPartNumberMarker>"
        b"</ListPartsResult>"
    )
    service = Multipart()

    def answer(request: Request) -> Answer:
        listing = request.method == "GET" and "uploadId" in request.query
        return Answer(200, page) if listing else service(request)

    with canned(answer) as backend:
        upload = backend.store("bucket").start_upload("a.mov", len(VIDEO), None)
        with pytest.raises(Transient, match="broke off its list"):
            upload.parts_held()
