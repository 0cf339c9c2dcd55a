"""fsspec's own abstract suite over our filesystems, with every exception named and proven."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests import abstract

from photosync.backends.drive import DriveBackend
from photosync.backends.dropbox import DropboxBackend
from photosync.backends.local import LocalBackend
from photosync.backends.s3 import S3Backend
from tests.servers.drive_emulator import DriveEmulator
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.seaweed import Seaweed


def _posix(*parts: Any) -> str:
    return "/".join(str(part) for part in parts)


class _Fixtures(abstract.AbstractFixtures):
    exceptions: Mapping[str, str] = {}
    """Name of a test → why it cannot pass. It must fail, or it has no place here."""

    def test_exceptions_are_tests(self) -> None:
        for name in self.exceptions:
            assert callable(getattr(self, name.partition("[")[0]))

    @pytest.fixture(autouse=True)
    def _excepted(self, request: pytest.FixtureRequest) -> None:
        reason = self.exceptions.get(request.node.name)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture(scope="class")
    @classmethod
    def local_fs(cls) -> LocalFileSystem:
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return _posix


class _Local(_Fixtures):
    @pytest.fixture
    def fs(self) -> LocalBackend:
        return LocalBackend(auto_mkdir=True)

    @pytest.fixture
    def fs_path(self, tmp_path: Path) -> str:
        folder = tmp_path / "place"
        folder.mkdir()
        return str(folder)


class TestLocalCopy(_Local, abstract.AbstractCopyTests):
    pass


class TestLocalGet(_Local, abstract.AbstractGetTests):
    pass


class TestLocalPut(_Local, abstract.AbstractPutTests):
    pass


class TestLocalOpen(_Local, abstract.AbstractOpenTests):
    pass


class TestLocalPipe(_Local, abstract.AbstractPipeTests):
    pass


_STILL_LISTED = "SeaweedFS, unlike Amazon, goes on listing a folder when the last object in it is deleted"


class _S3(_Fixtures):
    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False

    @pytest.fixture
    def fs(self, abstract_s3: S3Backend) -> S3Backend:
        return abstract_s3

    @pytest.fixture
    def fs_path(self) -> str:
        return f"abstract/{uuid.uuid4()}"


@pytest.fixture(scope="module")
def abstract_s3(s3_server: Seaweed) -> S3Backend:
    s3_server.client().create_bucket(Bucket="abstract")
    return S3Backend(
        key=s3_server.key,
        secret=s3_server.secret,
        endpoint_url=s3_server.endpoint,
        region_name="us-east-1",
        skip_instance_cache=True,
    )


@pytest.mark.slow
class TestS3Copy(_S3, abstract.AbstractCopyTests):
    exceptions: Mapping[str, str] = dict.fromkeys(
        (
            "test_copy_directory_to_existing_directory",
            "test_copy_directory_to_new_directory",
            "test_copy_glob_to_existing_directory",
        ),
        _STILL_LISTED,
    )


@pytest.mark.slow
class TestS3Get(_S3, abstract.AbstractGetTests):
    pass


@pytest.mark.slow
class TestS3Put(_S3, abstract.AbstractPutTests):
    exceptions: Mapping[str, str] = dict.fromkeys(
        (
            "test_put_directory_to_existing_directory",
            "test_put_directory_to_new_directory",
            "test_put_glob_to_existing_directory",
            "test_put_directory_without_files_with_same_name_prefix",
        ),
        _STILL_LISTED,
    )


class TestS3Open(_S3, abstract.AbstractOpenTests):
    pass


class TestS3Pipe(_S3, abstract.AbstractPipeTests):
    pass


class _Dropbox(_Fixtures):
    @pytest.fixture
    def fs(self, abstract_dropbox: DropboxBackend) -> DropboxBackend:
        return abstract_dropbox

    @pytest.fixture
    def fs_path(self) -> str:
        return f"abstract/{uuid.uuid4()}"


@pytest.fixture(scope="module")
def abstract_dropbox() -> Iterator[DropboxBackend]:
    with DropboxEmulator() as emulator, pytest.MonkeyPatch.context() as environment:
        for name, value in emulator.env().items():
            environment.setenv(name, value)
        yield DropboxBackend(access_token=emulator.token()["access_token"])


@pytest.mark.slow
class TestDropboxCopy(_Dropbox, abstract.AbstractCopyTests):
    pass


@pytest.mark.slow
class TestDropboxGet(_Dropbox, abstract.AbstractGetTests):
    pass


@pytest.mark.slow
class TestDropboxPut(_Dropbox, abstract.AbstractPutTests):
    pass


class TestDropboxOpen(_Dropbox, abstract.AbstractOpenTests):
    exceptions: Mapping[str, str] = {
        "test_open_exclusive": "Dropbox refuses when the file is closed; looking first costs a request"
    }


class TestDropboxPipe(_Dropbox, abstract.AbstractPipeTests):
    pass


class _Drive(_Fixtures):
    @pytest.fixture
    def fs(self, abstract_drive: DriveBackend) -> DriveBackend:
        return abstract_drive

    @pytest.fixture
    def fs_path(self) -> str:
        return f"abstract/{uuid.uuid4()}"


@pytest.fixture(scope="module")
def abstract_drive() -> Iterator[DriveBackend]:
    with DriveEmulator() as emulator, pytest.MonkeyPatch.context() as environment:
        for name, value in emulator.env().items():
            environment.setenv(name, value)
        yield DriveBackend(access_token=emulator.token()["access_token"])


@pytest.mark.slow
class TestDriveCopy(_Drive, abstract.AbstractCopyTests):
    pass


@pytest.mark.slow
class TestDriveGet(_Drive, abstract.AbstractGetTests):
    pass


@pytest.mark.slow
class TestDrivePut(_Drive, abstract.AbstractPutTests):
    pass


class TestDriveOpen(_Drive, abstract.AbstractOpenTests):
    exceptions: Mapping[str, str] = {
        "test_open_exclusive": "Drive refuses nothing, and looking first costs a request: it is done on close"
    }


class TestDrivePipe(_Drive, abstract.AbstractPipeTests):
    pass
