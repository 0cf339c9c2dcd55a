"""The contract suite over every backend there is."""

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from photosync.backends.anyfs import AnyStore
from photosync.backends.dropbox import DropboxBackend
from photosync.backends.local import LocalBackend
from photosync.backends.s3 import S3Backend
from photosync.engine.capabilities import Store
from photosync.testing import StoreContract
from tests.servers import sshd
from tests.servers.dropbox_emulator import DropboxEmulator


class TestLocal(StoreContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: LocalBackend().store(str(tmp_path / "disk" / "photos"))


class TestMemory(StoreContract):
    @pytest.fixture
    def reopen(self) -> Callable[[], Store]:
        root = f"memory://{uuid.uuid4()}/photos"
        return lambda: AnyStore(fsspec.filesystem("memory"), root)


class TestSftp(StoreContract):
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
        if sshd.binary() is None:
            pytest.skip("sshd is missing: install openssh-server")
        with sshd.sshd(tmp_path_factory.mktemp("sshd")) as server:
            yield server

    @pytest.fixture
    def reopen(self, server: sshd.Sshd, tmp_path: Path) -> Iterator[Callable[[], Store]]:
        with contextlib.ExitStack() as stack:

            def opened() -> Store:
                fs = fsspec.filesystem("sftp", **server.options(), skip_instance_cache=True)
                stack.callback(fs.client.close)
                store = AnyStore(fs, str(tmp_path / "disk" / "photos"))
                stack.callback(store.close)
                return store

            yield opened


class TestS3(StoreContract):
    @pytest.fixture
    def reopen(self, s3: S3Backend, bucket: str) -> Callable[[], Store]:
        return lambda: s3.store(f"{bucket}/phone/photos")


class TestDropbox(StoreContract):
    @pytest.fixture(scope="class")
    def emulator(self) -> Iterator[DropboxEmulator]:
        with DropboxEmulator() as emulator, pytest.MonkeyPatch.context() as environment:
            for name, value in emulator.env().items():
                environment.setenv(name, value)
            yield emulator

    @pytest.fixture(scope="class")
    def backend(self, emulator: DropboxEmulator) -> DropboxBackend:
        return DropboxBackend(access_token=emulator.token()["access_token"])

    @pytest.fixture(scope="class")
    def numbers(self) -> Iterator[int]:
        return itertools.count()

    @pytest.fixture
    def reopen(self, backend: DropboxBackend, numbers: Iterator[int]) -> Callable[[], Store]:
        root = f"Apps/{next(numbers)}/Photos"
        return lambda: backend.store(root)
