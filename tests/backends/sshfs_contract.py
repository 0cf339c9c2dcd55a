"""What every store promises, asked of sshfs; run by test_sshfs.py in a process that has it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from sshfs import SSHFileSystem

from photosync.engine.capabilities import Store
from photosync.testing.store_contract import StoreContract
from tests.backends.test_anyfs_contract import opener


class TestSshfs(StoreContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Callable[[], Store]]:
        options = json.loads(os.environ["SSHFS_OPTIONS"])

        def make() -> Any:
            fs = fsspec.filesystem("sftp", **options, skip_instance_cache=True)
            assert isinstance(fs, SSHFileSystem)
            return fs

        with opener(make, str(tmp_path / "disk" / "photos"), lambda _fs: None) as opened:
            yield opened
