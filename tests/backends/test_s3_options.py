"""How objects are kept: storage class, encryption, retention, versions; and uploads that nobody finishes."""

import hashlib
import itertools
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from photosync.backends import s3_marks
from photosync.backends.s3 import S3Backend
from photosync.backends.s3_store import S3Store
from photosync.engine.capabilities import Stored
from photosync.engine.errors import Fatal, NotSignedIn, Permanent
from photosync.testing.helpers import blob
from tests.backends.canned_s3 import Answer, Careless, Request, canned
from tests.backends.test_s3_store import content, put
from tests.backends.test_s3_upload import VIDEO, digests, send
from tests.servers.seaweed import Seaweed

_numbers = itertools.count()
UNTIL = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)


def signed_in(server: Seaweed, **options: Any) -> S3Backend:
    return S3Backend(
        key=server.key, secret=server.secret, endpoint_url=server.endpoint, region_name="us-east-1",
        skip_instance_cache=True, **options,
    )  # fmt: skip


@pytest.fixture
def locked(s3_server: Seaweed) -> str:
    """A bucket with Object Lock, and so with versions."""
    name = f"locked-{next(_numbers)}"
    s3_server.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def stored_by(server: Seaweed, bucket: str, **options: Any) -> S3Store:
    """A store to which a small object, one in parts and a record of our own were written."""
    store = signed_in(server, **options).store(f"{bucket}/phone")
    put(store, "a.jpg", b"photo")
    upload = store.start_upload("a.mov", len(VIDEO), None)
    send(upload, 0, 1, 2)
    upload.commit(digests())
    store.replace_small(".photosync/HEAD", b"{}", None)
    store.copy("a.jpg", "b.jpg")
    return store


def test_photos_get_the_storage_class_and_records_do_not(s3_server: Seaweed, bucket: str) -> None:
    stored_by(s3_server, bucket, storage_class="STANDARD_IA")
    found = s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert {item["Key"].removeprefix("phone/"): item["StorageClass"] for item in found} == {
        "a.jpg": "STANDARD_IA",
        "a.mov": "STANDARD_IA",
        "b.jpg": "STANDARD_IA",
        ".photosync/HEAD": "STANDARD",
    }


def test_an_unknown_storage_class_ends_the_run_and_says_what_to_correct(
    s3_server: Seaweed, bucket: str
) -> None:
    store = signed_in(s3_server, storage_class="ATTIC").store(bucket)
    with pytest.raises(Fatal, match="storage_class"):
        put(store, "a.jpg", b"photo")
    assert "Contents" not in s3_server.client().list_objects_v2(Bucket=bucket)


def test_what_is_locked_is_kept_as_long_as_asked(s3_server: Seaweed, locked: str) -> None:
    store = stored_by(s3_server, locked, object_lock_mode="GOVERNANCE", object_lock_until=UNTIL)
    client = s3_server.client()
    for name in ("a.jpg", "a.mov", ".photosync/HEAD"):
        kept = client.get_object_retention(Bucket=locked, Key=f"phone/{name}")["Retention"]
        assert (kept["Mode"], kept["RetainUntilDate"]) == ("GOVERNANCE", UNTIL)
    versions = client.list_object_versions(Bucket=locked)["Versions"]
    passing = [each for each in versions if "/probe-" in each["Key"] or "/uploads/" in each["Key"]]
    assert passing, "they were there"
    for each in passing:
        # What is kept for a moment only is not locked: it goes for good.
        client.delete_object(Bucket=locked, Key=each["Key"], VersionId=each["VersionId"])
    assert content(store, "a.jpg") == b"photo"


def test_a_bucket_without_object_lock_says_what_was_asked(s3_server: Seaweed, bucket: str) -> None:
    store = signed_in(s3_server, object_lock_mode="COMPLIANCE", object_lock_until=UNTIL).store(bucket)
    with pytest.raises(Permanent, match="object_lock_mode COMPLIANCE: is that what"):
        put(store, "a.jpg", b"photo")


def test_versions_do_not_disturb(s3_server: Seaweed, s3: S3Backend, bucket: str) -> None:
    client = s3_server.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = stored_by(s3_server, bucket)
    version = store.replace_small(".photosync/HEAD", b"{1}", store.stat(".photosync/HEAD").version)
    store.move("b.jpg", "c.jpg")
    store.delete("c.jpg")
    assert {entry.path for entry in store.list_tree()} == {"a.jpg", "a.mov", ".photosync/HEAD"}
    assert store.read_small(".photosync/HEAD", 10) == (b"{1}", version)
    put(store, "c.jpg", b"a deleted name may be taken again")


def on_disk(server: Seaweed, data: bytes) -> bool:
    """Whether a server holds these bytes as they are."""
    return any(data in file.read_bytes() for file in server.data.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("options", "told"),
    [({}, None), ({"sse": "AES256"}, ("AES256", None)),
     ({"sse": "aws:kms", "sse_kms_key_id": "photos-key"}, ("aws:kms", "photos-key"))],
)  # fmt: skip
def test_what_is_to_be_encrypted_is(
    s3_server: Seaweed, bucket: str, options: dict[str, Any], told: tuple[str, str | None] | None
) -> None:
    """Small files, files in parts, records and copies; all of them are read and proven as ever."""
    secret = os.urandom(24) * 100
    store = stored_by(s3_server, bucket, **options)
    kept = put(store, "secret.jpg", secret)
    assert on_disk(s3_server, secret[:600]) == (not options)
    client = s3_server.client()
    for name in ("a.jpg", "b.jpg", "a.mov", "secret.jpg", ".photosync/HEAD"):
        found = client.head_object(Bucket=bucket, Key=f"phone/{name}")
        encryption = found.get("ServerSideEncryption"), found.get("SSEKMSKeyId")
        assert encryption == (told or (None, None)), name
    assert content(store, "secret.jpg") == secret
    assert content(store, "a.mov") == VIDEO
    assert content(store, "b.jpg") == b"photo"
    assert store.stat("secret.jpg").digests == kept.digests == {"sha256": hashlib.sha256(secret).hexdigest()}
    assert [
        result for result in store.put([blob(store, "secret.jpg", b"other")]) if isinstance(result, Stored)
    ] == []


def sent_headers(**options: Any) -> list[Request]:
    """What a careless service is sent when something is written and read."""
    seen: list[Request] = []
    service = Careless()

    def answer(request: Request) -> Answer:
        seen.append(request)
        return service(request)

    with canned(answer, **options) as backend:
        store = backend.store("bucket")
        put(store, "a.jpg", b"photo")
        content(store, "a.jpg")
    return [request for request in seen if request.path == "/bucket/a.jpg"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sse": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"sse": "aws:kms", "sse_kms_key_id": "arn:aws:kms:eu:1:key/2"},
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu:1:key/2",
            },
        ),
    ],
)
def test_encryption_is_asked_for_by_writes_alone(options: dict[str, str], expected: dict[str, str]) -> None:
    for request in sent_headers(**options):
        found = {name: value for name, value in request.headers.items() if "encryption" in name}
        assert found == (expected if request.method == "PUT" else {})


def test_the_requester_pays_for_every_request() -> None:
    seen = sent_headers(requester_pays=True)
    assert {request.method for request in seen} == {"PUT", "HEAD", "GET"}
    assert {request.headers.get("x-amz-request-payer") for request in seen} == {"requester"}


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (("20261124T190000Z", "2026-11-24T18:20:00Z"), "40 minutes ahead of the server's, .* 18:20"),
        (("20261124T180000Z", "2026-11-24T21:00:00Z"), r"3\.0 hours behind the server's"),
        (None, r"the server's says 20\d\d-.*timedatectl"),
    ],
)  # fmt: skip
def test_a_wrong_clock_is_told_by_how_much(times: tuple[str, str] | None, words: str) -> None:
    told = f"<RequestTime>{times[0]}</RequestTime><ServerTime>{times[1]}</ServerTime>" if times else ""
    text = f"<Error><Code>RequestTimeTooSkewed</Code><Message>no</Message>{told}</Error>"
    with (
        canned(lambda _: Answer(403, text.encode())) as backend,
        pytest.raises(NotSignedIn, match=words),
    ):
        list(backend.store("bucket").list_tree())


# Uploads that nobody finishes


def uploads(server: Seaweed, bucket: str) -> set[str]:
    found = server.client().list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    return {each["Key"] for each in found}


def own(store: S3Store) -> list[str]:
    return [entry.path for entry in store.list_tree() if entry.path.startswith(".photosync/")]


def test_a_mark_stands_as_long_as_the_upload(s3_store: S3Store) -> None:
    for end in ("commit", "abort"):
        upload = s3_store.start_upload(f"{end}.mov", len(VIDEO), None)
        assert len(own(s3_store)) == 1
        send(upload, 0, 1, 2)
        upload.commit(digests()) if end == "commit" else upload.abort()
        assert own(s3_store) == []


def test_an_abandoned_upload_is_aborted_and_a_live_one_is_not(
    s3_store: S3Store, s3_server: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_store.start_upload("empty.mov", len(VIDEO), None)
    begun = s3_store.start_upload("begun.mov", len(VIDEO), None)
    send(begun, 0)
    theirs = "phone/backup/theirs.mov"
    s3_server.client().create_multipart_upload(Bucket=bucket, Key=theirs)
    assert s3_store.sweep(own(s3_store)) == 0
    assert len(uploads(s3_server, bucket)) == 3, "none is old enough"

    monkeypatch.setattr(s3_marks, "ABANDONED", timedelta(0))
    monkeypatch.setattr(s3_marks.Marks, "_last_part", lambda *_: [datetime.now(UTC) + timedelta(hours=1)])
    assert s3_store.sweep(own(s3_store)) == 0, "a part that arrived lately shows that somebody is at it"
    monkeypatch.undo()

    monkeypatch.setattr(s3_marks, "ABANDONED", timedelta(0))
    assert s3_store.sweep(["DCIM/a.jpg", *own(s3_store)]) == 2
    assert uploads(s3_server, bucket) == {theirs}, "somebody else's is left alone"
    assert own(s3_store) == []


def test_a_mark_that_lies_is_left_alone(
    s3_store: S3Store, s3_server: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_marks, "ABANDONED", timedelta(0))
    client = s3_server.client()
    theirs = client.create_multipart_upload(Bucket=bucket, Key="elsewhere/a.mov")["UploadId"]
    name = hashlib.sha256(theirs.encode()).hexdigest()[:32]
    for path, body in {
        f"{name}.json": json.dumps({"key": "elsewhere/a.mov", "upload_id": theirs}),
        "other.json": json.dumps({"key": "phone/backup/a.mov", "upload_id": theirs}),
        "noise.json": "\0",
    }.items():
        client.put_object(Bucket=bucket, Key=f"phone/backup/.photosync/uploads/{path}", Body=body.encode())
    assert s3_store.sweep(own(s3_store)) == 0
    assert uploads(s3_server, bucket) == {"elsewhere/a.mov"}
    assert len(own(s3_store)) == 3
