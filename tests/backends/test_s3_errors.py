"""What goes wrong with S3, and how people are told; and where the connection's settings come from."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from photosync.backends.s3 import S3Backend
from photosync.backends.s3_errors import NoBucket
from photosync.backends.s3_store import S3Store
from photosync.backends.tls import ca_bundle
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    DestinationFull,
    Fatal,
    NameRefused,
    NotSignedIn,
    Permanent,
    PhotosyncError,
    Transient,
    Trouble,
    Unsupported,
)
from tests.backends.canned_s3 import Answer, canned, refusal
from tests.backends.conftest import SignedSeaweed
from tests.backends.test_s3_store import content, put
from tests.servers.faults import Fault
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweed import Seaweed


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def signed(server: Seaweed, **options: str | bool | None) -> S3Backend:
    given = {"key": server.key, "secret": server.secret, "endpoint_url": server.endpoint, **options}
    return S3Backend(**given, skip_instance_cache=True)


# A real server's refusals


def test_wrong_secret_and_unknown_key(s3_server: Seaweed, bucket: str) -> None:
    with pytest.raises(NotSignedIn, match="secret does not belong"):
        signed(s3_server, secret="wrong").store(bucket).list_folder("")
    with pytest.raises(NotSignedIn, match="access key is unknown") as caught:
        signed(s3_server, key="NOBODY").store(bucket).list_folder("")
    assert s3_server.secret not in str(caught.value)


def test_missing_bucket(s3: S3Backend) -> None:
    store = s3.store("no-such-bucket-here")
    with pytest.raises(NoBucket, match="create it"):
        store.list_folder("")
    with pytest.raises(Fatal):
        list(store.list_tree())
    with pytest.raises(Fatal):
        put(store, "a.jpg", b"1")
    with pytest.raises(FileNotFoundError):
        store.read_small("HEAD", 10)


def test_reader_may_not_write(s3_server: Seaweed, bucket: str) -> None:
    backend = signed(s3_server, key=s3_server.reader_key, secret=s3_server.reader_secret)
    store = backend.store(bucket)
    assert store.list_folder("") == []
    with pytest.raises(Permanent, match="may not do that"):
        put(store, "a.jpg", b"1")
    assert store.probed is None


def test_refused_connection_names_the_object_and_is_worth_retrying() -> None:
    backend = S3Backend(key="k", secret="s", endpoint_url="http://127.0.0.1:1", region_name="r")
    with pytest.raises(Transient, match="reading bucket/a: no connection") as caught:
        backend.store("bucket").open("a")
    assert caught.value.retry_after is None


def test_missing_credentials_tell_the_ways_to_give_them(s3_server: Seaweed) -> None:
    backend = signed(s3_server, key=None, secret=None)
    with pytest.raises(NotSignedIn, match="AWS_ACCESS_KEY_ID"):
        backend.store("bucket").list_folder("")
    with pytest.raises(NotSignedIn, match="profile"):
        signed(s3_server, key=None, secret=None, profile="absent").store("bucket").list_folder("")
    with pytest.raises(NotSignedIn):
        signed(s3_server, secret=None).store("bucket").list_folder("")


def test_anonymous_requests_are_not_signed(s3_server: Seaweed, bucket: str) -> None:
    with pytest.raises(Permanent, match="may not do that"):
        signed(s3_server, key=None, secret=None, anon=True).store(bucket).list_folder("")


@pytest.mark.parametrize("root", ["", "/", "pss3://"])
def test_a_store_needs_a_bucket(s3: S3Backend, root: str) -> None:
    with pytest.raises(Permanent, match="which bucket"):
        s3.store(root)


def test_a_root_cannot_leave_its_bucket(s3: S3Backend) -> None:
    with pytest.raises(NameRefused):
        s3.store("bucket/../other")


# Answers that no server at hand gives


@dataclass
class Refusing:
    store: S3Store
    answer: Answer


@pytest.fixture(scope="module")
def refusing() -> Iterator[Refusing]:
    with canned(lambda _: said.answer) as backend:
        said = Refusing(backend.store("bucket/album"), Answer())
        said.store.probed = {"checksum": True, "if_none_match": True, "if_match": True}
        yield said


@pytest.mark.parametrize(
    ("status", "code", "expected", "words"),
    [
        (503, "SlowDown", Transient, "SlowDown"),
        (500, "InternalError", Transient, "InternalError"),
        (502, "Whatever", Transient, "Whatever"),
        (429, "TooMany", Transient, "TooMany"),
        (400, "RequestTimeout", Transient, "RequestTimeout"),
        (409, "ConditionalRequestConflict", Transient, "Conflict"),
        (400, "BadDigest", Corrupt, "not those"),
        (400, "ExpiredToken", NotSignedIn, "sign in again"),
        (403, "RequestTimeTooSkewed", NotSignedIn, "clock"),
        (403, "AccessDenied", Permanent, "policy"),
        (403, "QuotaExceeded", DestinationFull, "quota"),
        (507, "Whatever", DestinationFull, "space"),
        (412, "PreconditionFailed", AlreadyExists, "holds that name"),
        (400, "EntityTooLarge", Permanent, "EntityTooLarge"),
        (400, "KeyTooLongError", NameRefused, "shorter"),
        (501, "NotImplemented", Unsupported, "cannot do it"),
        (404, "NoSuchBucket", NoBucket, "no such bucket"),
        (404, "NoSuchKey", FileNotFoundError, "no such object"),
        (400, "IllegalLocationConstraintException", Fatal, "region_name"),
        (403, "InvalidObjectState", Permanent, "archive"),
    ],
)
def test_refusals_find_their_place_in_the_tree(
    refusing: Refusing, status: int, code: str, expected: type[Exception], words: str
) -> None:
    refusing.answer = refusal(status, code)
    with pytest.raises(expected, match=words) as caught:
        put(refusing.store, "a.jpg", b"x")
    assert type(caught.value) is expected
    assert "bucket/album/a.jpg" in str(caught.value)


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("Mon, 23 Nov 2026 12:00:00 GMT", None)])
@pytest.mark.row(34)
def test_retry_after_is_handed_on(said: str, seconds: float | None) -> None:
    with canned(lambda _: refusal(503, "SlowDown", Retry_After=said)) as backend:
        store = backend.store("bucket")
        with pytest.raises(Transient) as caught:
            store.list_folder("")
        assert caught.value.retry_after == seconds
        assert store.requests == {"ListObjectsV2": 1}


def test_head_says_only_a_status() -> None:
    for status, expected in ((403, Permanent), (503, Transient), (404, FileNotFoundError)):
        with canned(lambda _, status=status: refusal(status, "X")) as backend, pytest.raises(expected):
            backend._head("bucket", "key")


# Where settings come from


def test_environment_names_endpoint_and_credentials(
    s3_server: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret)
    assert S3Backend(skip_instance_cache=True).store(bucket).list_folder("") == []


def test_profile_names_endpoint_and_credentials(s3_server: Seaweed, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        f"[profile photos]\nendpoint_url = {s3_server.endpoint}\nregion = us-east-1\n"
    )
    (tmp_path / "credentials").write_text(
        f"[photos]\naws_access_key_id = {s3_server.key}\naws_secret_access_key = {s3_server.secret}\n"
    )
    assert S3Backend(profile="photos", skip_instance_cache=True).store(bucket).list_folder("") == []


@pytest.fixture
def authority(signed_seaweed: SignedSeaweed, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    path.write_bytes(signed_seaweed.authority)
    return path


@pytest.fixture
def _no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_no_bundles")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"])
def test_an_authority_of_ones_own_is_trusted_where_it_is_named(
    s3_server: Seaweed, bucket: str, authority: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with pytest.raises(Fatal, match="SSL_CERT_FILE"):
        signed(s3_server, endpoint_url=s3_server.endpoint_tls).store(bucket).list_folder("")
    monkeypatch.setenv(variable, str(authority))
    store = signed(s3_server, endpoint_url=s3_server.endpoint_tls).store(bucket)
    assert store.list_folder("") == []
    assert put(store, "a.jpg", b"over TLS").digests
    assert store.read_small("a.jpg", 100)[0] == b"over TLS"


@pytest.mark.usefixtures("_no_bundles")
def test_a_body_is_signed_with_the_digest_that_it_had_when_it_was_read(
    s3_server: Seaweed, bucket: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    read = hashlib.sha256(b"x").hexdigest()
    for name, endpoint in (("tls", s3_server.endpoint_tls), ("plain", s3_server.endpoint)):
        store = signed(s3_server, endpoint_url=endpoint).store(bucket)
        seen: list[str] = []
        store._service.client.meta.events.register(
            "before-send.s3.PutObject",
            lambda request, seen=seen, **_: seen.append(request.headers["X-Amz-Content-SHA256"].decode()),
        )
        monkeypatch.setattr(store, "_put_fast", lambda blob, key: None)
        put(store, f"{name}.jpg", b"x")
        # What was asked of the service before has bodies of its own, which botocore signs as it does.
        assert seen[-1] == read
        assert read not in seen[:-1]
        assert content(store, f"{name}.jpg") == b"x"


@pytest.mark.usefixtures("_no_bundles")
def test_every_bundle_that_is_named_is_trusted(
    authority: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import certifi

    assert ca_bundle() == certifi.where()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    assert ca_bundle(None, str(authority)) == str(authority)
    joined = Path(ca_bundle(certifi.where()))
    assert authority.read_bytes() in joined.read_bytes()
    assert Path(certifi.where()).read_bytes() in joined.read_bytes()
    assert ca_bundle(certifi.where()) == str(joined)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(Fatal, match=r"SSL_CERT_FILE names .*absent\.pem"):
        ca_bundle()


def test_importing_the_backend_imports_no_sdk() -> None:
    sdks = {"boto3", "botocore", "urllib3", "requests"}
    code = f"import sys, photosync.backends.s3; print(sorted({sdks} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_raised_is_known_to_callers() -> None:
    assert issubclass(NoBucket, PhotosyncError)
    assert issubclass(NoBucket, FileNotFoundError)


def test_a_record_that_came_back_damaged_is_read_again(s3_server: Seaweed, bucket: str) -> None:
    with S3Proxy(s3_server.endpoint) as line:
        store = S3Backend(
            key=s3_server.key, secret=s3_server.secret, endpoint_url=line.endpoint, region_name="us-east-1",
            skip_instance_cache=True,
        ).store(bucket)  # fmt: skip
        store.replace_small("HEAD", b"x" * 1000, None)
        line.faults.append(Fault("GetObject", corrupt=500))
        with pytest.raises(Transient, match="damaged") as caught:
            store.read_small("HEAD", 2000)
        assert caught.value.trouble is Trouble.DAMAGED
        assert store.read_small("HEAD", 2000)[0] == b"x" * 1000


@pytest.mark.parametrize("fault", [
    Fault("CopyObject", reset="reply"), Fault("CopyObject", reset="before"),
    Fault("DeleteObject", reset="before"), Fault("DeleteObject", status=503),
], ids=lambda fault: f"{fault.route}-{fault.reset or fault.status}")  # fmt: skip
def test_a_move_that_broke_off_is_gone_on_with(s3_server: Seaweed, bucket: str, fault: Fault) -> None:
    with S3Proxy(s3_server.endpoint) as line:
        store = signed(s3_server, endpoint_url=line.endpoint, region_name="us-east-1").store(bucket)
        put(store, "a.jpg", b"photo")
        put(store, "taken.jpg", b"photo")
        with pytest.raises(AlreadyExists):
            store.move("a.jpg", "taken.jpg")
        line.faults.append(fault)
        with pytest.raises(Transient):
            store.move("a.jpg", "b.jpg")
        assert store.move("a.jpg", "b.jpg").size == 5
        assert {entry.path for entry in store.list_tree()} == {"b.jpg", "taken.jpg"}
