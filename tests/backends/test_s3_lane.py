"""The fast lane of S3: the same objects, the same refusals, and botocore wherever it does not get through."""

import base64
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from photosync.backends.s3 import S3Backend
from photosync.backends.s3_lane import WIDTH, Lane, credentials
from photosync.backends.s3_store import S3Store
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.errors import AlreadyExists, NotSignedIn, Transient
from photosync.engine.hashing import fingerprint
from tests.backends.canned_s3 import Answer, Request, canned, refusal
from tests.backends.conftest import SignedSeaweed
from tests.servers.seaweed import Seaweed

PROBED = {"checksum": True, "if_none_match": True, "if_match": True}
NS = 1_700_000_000_123_456_780


def blob(path: str, data: bytes) -> Blob:
    return Blob(path, data, NS, fingerprint(data).digests)


def by_lane(request: Request) -> bool:
    """botocore names each of its requests."""
    return "amz-sdk-invocation-id" not in request.headers


def put(store: S3Store, path: str, data: bytes) -> Stored | Exception:
    (result,) = store.put([blob(path, data)])
    return result


class Service:
    """Takes every object, or refuses those that come by the lane.

    Attributes:
        lane, botocore: requests that came each way.
        refuse: answer to those by the lane, or None.
    """

    def __init__(self, refuse: Answer | None = None, refuse_all: Answer | None = None) -> None:
        self.lane: list[Request] = []
        self.botocore: list[Request] = []
        self.refuse, self.refuse_all = refuse, refuse_all

    def __call__(self, request: Request) -> Answer:
        fast = by_lane(request)
        (self.lane if fast else self.botocore).append(request)
        if self.refuse_all is not None:
            return self.refuse_all
        if fast and self.refuse is not None:
            return self.refuse
        return Answer(headers={"ETag": '"abc"'})


def test_what_is_sent() -> None:
    service = Service()
    with canned(service) as s3:
        store = s3.store("bucket/phone")
        store.probed = PROBED
        stored = put(store, "DCIM/ü %41+.jpg", b"photo")
        assert isinstance(stored, Stored)
        assert (stored.version, stored.size, stored.mtime_ns) == ("abc", 5, NS)
        assert stored.digests == {"sha256": hashlib.sha256(b"photo").hexdigest()}
        assert store.requests == {"PutObject": 1}
    (request,) = service.lane
    assert not service.botocore
    assert (request.method, request.path, request.body) == ("PUT", "/bucket/phone/DCIM/ü %41+.jpg", b"photo")
    sums = base64.b64encode(hashlib.sha256(b"photo").digest()).decode()
    assert request.headers["x-amz-checksum-sha256"] == sums
    assert request.headers["if-none-match"] == "*"
    assert request.headers["x-amz-meta-mtime"] == "1700000000.12345678"


def test_large_objects_and_careless_services_go_the_long_way() -> None:
    service = Service()
    with canned(service) as s3:
        store = s3.store("bucket")
        store.probed = PROBED
        assert isinstance(put(store, "large.jpg", bytes(WIDTH + 1)), Stored)
        store.probed = {**PROBED, "checksum": False}
        assert isinstance(put(store, "a.jpg", b"photo"), Stored)
    assert len(service.botocore) == 2
    assert not service.lane


def test_what_differs_from_its_digest_never_goes_fast() -> None:
    service = Service()
    with canned(service) as s3:
        store = s3.store("bucket")
        store.probed = PROBED
        good = blob("a.jpg", b"as it was read")
        store.put([Blob("a.jpg", b"as it is now!!", NS, good.digests)])
    assert not service.lane
    (request,) = service.botocore
    assert (
        request.headers["x-amz-checksum-sha256"]
        != base64.b64encode(hashlib.sha256(request.body).digest()).decode()
    ), "the service gets to see that it is damaged"


@pytest.mark.parametrize("status", [400, 403, 404, 500, 501])
def test_a_lane_that_fails_is_left(status: int) -> None:
    service = Service(refuse=refusal(status, "Whatever"))
    with canned(service) as s3:
        store = s3.store("bucket")
        store.probed = PROBED
        for number in range(5):
            assert isinstance(put(store, f"{number}.jpg", b"photo"), Stored)
        assert store.requests == {"PutObject": 8}
    assert (len(service.lane), len(service.botocore)) == (3, 5)


def test_a_slow_down_is_told_with_its_wait() -> None:
    service = Service(refuse_all=refusal(503, "SlowDown", Retry_After="7"))
    with canned(service) as s3:
        store = s3.store("bucket")
        store.probed = PROBED
        with pytest.raises(Transient) as told:
            store.put([blob("a.jpg", b"photo")])
    assert told.value.retry_after == 7


def test_a_refused_sign_in_is_told() -> None:
    service = Service(refuse_all=refusal(403, "InvalidAccessKeyId"))
    with canned(service) as s3:
        store = s3.store("bucket")
        store.probed = PROBED
        with pytest.raises(NotSignedIn):
            store.put([blob("a.jpg", b"photo")])


def test_nothing_is_replaced(s3_store: S3Store) -> None:
    s3_store.probe()
    before = Counter(s3_store.requests)
    assert isinstance(put(s3_store, "a.jpg", b"first"), Stored)
    assert isinstance(put(s3_store, "a.jpg", b"second"), AlreadyExists)
    assert Counter(s3_store.requests) - before == {"PutObject": 2}
    reader = s3_store.open("a.jpg")
    assert reader.read(100) == b"first"
    reader.close()


def test_behind_an_authority_of_ones_own(
    signed_seaweed: SignedSeaweed, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Seaweed = signed_seaweed.server
    assert server.endpoint_tls is not None
    (tmp_path / "ca.pem").write_bytes(signed_seaweed.authority)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    s3 = S3Backend(
        key=server.key, secret=server.secret, endpoint_url=server.endpoint_tls,
        region_name="us-east-1", skip_instance_cache=True,
    )  # fmt: skip
    store = s3.store(bucket)
    store.probe()
    before = Counter(store.requests)
    assert isinstance(put(store, "a.jpg", b"photo"), Stored)
    assert Counter(store.requests) - before == {"PutObject": 1}, "the lane got through"
    store.close()


@pytest.mark.row(53)
def test_an_authority_that_nobody_trusts(signed_seaweed: SignedSeaweed, bucket: str) -> None:
    server: Seaweed = signed_seaweed.server
    s3 = S3Backend(
        key=server.key, secret=server.secret, endpoint_url=server.endpoint_tls,
        region_name="us-east-1", skip_instance_cache=True,
    )  # fmt: skip
    store = s3.store(bucket)
    lane = store._service.lane(bucket)
    assert isinstance(lane, Lane)
    with pytest.raises(Exception, match=r"(?i)certificate|tls|error sending request"):
        lane.create("a.jpg", b"photo", {})
    assert not server.client().list_objects_v2(Bucket=bucket).get("Contents")


def test_credentials_that_end_are_asked_for_again() -> None:
    class Frozen:
        access_key, secret_key, token = "k", "s", "t"

    class Static:
        def get_frozen_credentials(self) -> Frozen:
            return Frozen()

    class Renewed(Static):
        def refresh_needed(self) -> bool:
            return False

    assert credentials(Static())()["expires_at"] is None
    assert credentials(Renewed())()["expires_at"] is not None
    assert credentials(Static())()["token"] == "t"
