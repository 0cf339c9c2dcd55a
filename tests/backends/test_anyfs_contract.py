"""The contract suite over fsspec filesystems of other people's, each against a real server."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from photosync.backends.anyfs import AnyStore
from photosync.engine.capabilities import Store
from photosync.testing import StoreContract
from photosync.testing.helpers import put
from tests.servers.ftpd import Ftpd
from tests.servers.smbd import Smbd
from tests.servers.sshd import Sshd
from tests.servers.webdav import Dav


@contextlib.contextmanager
def opener(
    make: Callable[[], Any], root: str, close: Callable[[Any], object]
) -> Iterator[Callable[[], Store]]:
    """Stores on one root, each with a filesystem of its own."""
    with contextlib.ExitStack() as stack:

        def opened() -> Store:
            fs = make()
            stack.callback(close, fs)
            store = AnyStore(fs, root)
            stack.callback(store.close)
            return store

        yield opened


class TestMemory(StoreContract):
    @pytest.fixture
    def reopen(self) -> Callable[[], Store]:
        root = f"memory://{uuid.uuid4()}/photos"
        return lambda: AnyStore(fsspec.filesystem("memory"), root)


class TestSftp(StoreContract):
    @pytest.fixture
    def reopen(self, sftp_server: Sshd, tmp_path: Path) -> Iterator[Callable[[], Store]]:
        def make() -> Any:
            return fsspec.filesystem("sftp", **sftp_server.options(), skip_instance_cache=True)

        with opener(make, str(tmp_path / "disk" / "photos"), lambda fs: fs.client.close()) as opened:
            yield opened


class TestFtp(StoreContract):
    @pytest.fixture
    def reopen(self, ftp_server: Ftpd) -> Iterator[Callable[[], Store]]:
        def make() -> Any:
            return fsspec.filesystem("ftp", **ftp_server.options())

        with opener(make, f"/{uuid.uuid4()}/photos", lambda fs: fs.ftp.close()) as opened:
            yield opened


class TestSmb(StoreContract):
    @pytest.fixture
    def reopen(self, smb_server: Smbd) -> Iterator[Callable[[], Store]]:
        def make() -> Any:
            return fsspec.filesystem("smb", **smb_server.options())

        with opener(make, f"/photos/{uuid.uuid4()}/phone", lambda _fs: None) as opened:
            yield opened


class _Webdav(StoreContract):
    @pytest.fixture
    def reopen(self, server: Dav) -> Iterator[Callable[[], Store]]:
        def make() -> Any:
            return fsspec.filesystem("webdav", **server.options(), skip_instance_cache=True)

        with opener(make, f"{uuid.uuid4()}/photos", lambda fs: fs.client.http.close()) as opened:
            yield opened


class TestWsgiDav(_Webdav):
    @pytest.fixture
    def server(self, wsgidav_server: Dav) -> Dav:
        return wsgidav_server

    def test_version_changes_with_the_content(self, store: Store) -> None:
        """WsgiDAV's ETag is made of inode, whole second and size."""
        first = put(store, "a.jpg", b"one").version
        store.delete("a.jpg")
        assert put(store, "a.jpg", b"another").version != first


class TestRcloneWebdav(_Webdav):
    @pytest.fixture
    def server(self, rclone_server: Dav) -> Dav:
        return rclone_server
