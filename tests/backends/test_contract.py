"""The contract suite over photosync's own backends; test_anyfs_contract.py has the others."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from photosync.backends.dropbox import DropboxBackend
from photosync.backends.local import LocalBackend
from photosync.backends.s3 import S3Backend
from photosync.backends.s3_store import S3Store
from photosync.engine.capabilities import Store
from photosync.testing import StoreContract
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.seaweed import Seaweed


@pytest.fixture(scope="module")
def s3_account(s3_server: Seaweed) -> S3Backend:
    """One client and one bucket for all tests, which take the server a second each."""
    s3_server.client().create_bucket(Bucket="contract")
    return S3Backend(
        key=s3_server.key,
        secret=s3_server.secret,
        endpoint_url=s3_server.endpoint,
        region_name="us-east-1",
        skip_instance_cache=True,
    )


@pytest.fixture(scope="module")
def s3_probed() -> dict[str, bool]:
    return {}


@pytest.fixture(scope="module")
def dropbox_account() -> Iterator[DropboxBackend]:
    """One account for all tests, each of which has a folder of its own."""
    with DropboxEmulator() as emulator, pytest.MonkeyPatch.context() as environment:
        for name, value in emulator.env().items():
            environment.setenv(name, value)
        yield DropboxBackend(access_token=emulator.token()["access_token"])


class TestLocal(StoreContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path, listing: str) -> Callable[[], Store]:
        return lambda: LocalBackend().store(str(tmp_path / "disk" / "photos"))


class TestS3(StoreContract):
    @pytest.fixture
    def reopen(self, s3_account: S3Backend, s3_probed: dict[str, bool]) -> Iterator[Callable[[], Store]]:
        opened: list[S3Store] = []
        root = f"contract/{uuid.uuid4()}/photos"

        def open_another() -> Store:
            # Found out once for all tests, as the journal remembers it for all runs.
            store = s3_account.store(root)
            store.probed = s3_probed
            opened.append(store)
            return store

        yield open_another
        for store in opened:
            s3_probed.update(store.probed or {})
            store.close()


class TestDropbox(StoreContract):
    @pytest.fixture
    def reopen(self, dropbox_account: DropboxBackend) -> Callable[[], Store]:
        root = f"Apps/{uuid.uuid4()}/Photos"
        return lambda: dropbox_account.store(root)
