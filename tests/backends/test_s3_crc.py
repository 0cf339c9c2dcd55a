"""Multipart uploads whose whole object has a checksum, as it is where ``awscrt`` is installed."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from photosync.backends import s3_store as store_module
from photosync.backends.s3 import S3Backend
from photosync.backends.s3_crc import crc64
from photosync.backends.s3_store import S3Store
from photosync.engine.errors import AlreadyExists, Corrupt
from photosync.engine.hashing import fingerprint, known, new
from tests.backends.canned_s3 import canned
from tests.backends.test_s3_store import content, put
from tests.backends.test_s3_upload import PART, VIDEO, Multipart, digests, part, send
from tests.servers.seaweed import Seaweed


def test_the_checksum_is_the_published_one() -> None:
    # The check value of "CRC-64/NVME" in the catalogue of parametrised CRC algorithms.
    whole, pieces = new("crc64nvme"), new("crc64nvme")
    whole.update(b"123456789")
    for piece in (b"1234", memoryview(b"56789")):
        pieces.update(piece)
    assert whole.hexdigest() == pieces.hexdigest() == "ae8b14860a799888"
    assert known("crc64nvme")


def test_the_server_vouches_for_the_whole_object(s3_store: S3Store) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), 1_500_000_000)
    assert upload.digest == "crc64nvme"
    assert s3_store.capabilities.hashes == ("sha256", "crc64nvme")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda index: send(upload, index), (2, 0, 1)))
    stored = upload.commit(digests())
    assert stored.digests == {"crc64nvme": digests()["crc64nvme"]}
    found = s3_store.stat("a.mov")
    assert found.digests == stored.digests
    assert content(s3_store, "a.mov") == VIDEO


def test_parts_that_are_not_the_file_are_never_put_together(
    s3_store: S3Store, s3_server: Seaweed, bucket: str
) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    send(upload, 0, 1, 2)
    with pytest.raises(Corrupt):
        upload.commit(digests(bytes(len(VIDEO))))
    with pytest.raises(FileNotFoundError):
        s3_store.stat("a.mov")
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


def test_a_part_that_was_damaged_in_memory_is_never_part_of_an_object(s3_store: S3Store) -> None:
    """SeaweedFS does not compare a body with the SHA-256 that its signature names, so it takes the part."""
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    upload.send_part(0, bytes(PART), hashlib.sha256(part(0)).hexdigest())
    send(upload, 1, 2)
    with pytest.raises(Corrupt):
        upload.commit(digests())
    with pytest.raises(FileNotFoundError):
        s3_store.stat("a.mov")


def test_nothing_is_replaced(s3_store: S3Store) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    send(upload, 0, 1, 2)
    put(s3_store, "a.mov", b"somebody was faster")
    with pytest.raises(AlreadyExists):
        upload.commit(digests())
    assert content(s3_store, "a.mov") == b"somebody was faster"


def test_another_process_goes_on(s3: S3Backend, bucket: str) -> None:
    begun = s3.store(bucket).start_upload("a.mov", len(VIDEO), None)
    send(begun, 1)
    upload = s3.store(bucket).resume_upload(begun.token)
    assert upload.digest == "crc64nvme"
    assert upload.parts_held() == {1: PART}
    send(upload, 0, 2)
    assert upload.commit(digests()).digests == {"crc64nvme": digests()["crc64nvme"]}


def test_without_the_package_an_upload_begun_with_it_is_begun_anew(
    s3: S3Backend, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = s3.store(bucket)
    begun = store.start_upload("a.mov", len(VIDEO), None)
    monkeypatch.setattr(store_module, "crc64", lambda: None)
    other = s3.store(bucket)
    other.probed = store.probed
    assert other.capabilities.hashes == ("sha256",)
    with pytest.raises(FileNotFoundError):
        other.resume_upload(begun.token)
    assert other.start_upload("a.mov", len(VIDEO), None).digest == f"sha256-parts/{PART}"


def test_a_service_that_takes_any_checksum_is_not_believed() -> None:
    with canned(Multipart()) as backend:
        store = backend.store("bucket")
        upload = store.start_upload("a.mov", len(VIDEO), None)
        assert store.probed is not None
        assert not store.probed["parts_crc64"]
        assert upload.digest is None


def test_what_aws_own_tools_stored_is_recognised_without_reading_it(
    s3_store: S3Store, s3_server: Seaweed, bucket: str
) -> None:
    """They send this checksum with everything."""
    checksum: Callable[[bytes], str] | None = crc64()
    assert checksum is not None
    s3_store.start_upload("b.mov", len(VIDEO), None).abort()
    s3_server.client().put_object(
        Bucket=bucket, Key="phone/backup/a.jpg", Body=b"photo", ChecksumCRC64NVME=checksum(b"photo")
    )
    ours = fingerprint(b"photo", s3_store.capabilities.hashes)
    assert s3_store.stat("a.jpg").digests == {"crc64nvme": ours.digest("crc64nvme")}


def test_the_token_says_which_checksum(s3_store: S3Store) -> None:
    upload = s3_store.start_upload("a.mov", len(VIDEO), None)
    assert json.loads(upload.token)["sums"] == "ChecksumCRC64NVME"
    upload.abort()
