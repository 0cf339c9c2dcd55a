"""What every store promises, asked of the Google Drive store against the emulator, in every kind of place."""

from collections.abc import Callable, Iterator

import pytest

from photosync.engine.capabilities import Store
from photosync.testing.store_contract import StoreContract
from tests.backends.drive_rig import Rig, rigged


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


class TestDrive(StoreContract):
    @pytest.fixture
    def reopen(self, rig: Rig) -> Callable[[], Store]:
        return lambda: rig.sign_in().store("Photos/of mine")


class TestOwnFilesOnly(StoreContract):
    """The scope that photosync asks for: what it did not make itself is not there, the root included."""

    @pytest.fixture
    def rig(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
        with rigged(monkeypatch, "drive.file") as rig:
            rig.emulator.put("Photos/a.jpg", b"somebody else's")
            yield rig

    @pytest.fixture
    def reopen(self, rig: Rig) -> Callable[[], Store]:
        return lambda: rig.sign_in().store("Photos")


class TestSharedDrive(StoreContract):
    @pytest.fixture
    def reopen(self, rig: Rig) -> Callable[[], Store]:
        drive = rig.emulator.add_drive("Family")
        return lambda: rig.sign_in(shared_drive=drive).store("Photos")


class TestFolderById(StoreContract):
    @pytest.fixture
    def reopen(self, rig: Rig) -> Callable[[], Store]:
        folder = rig.emulator.mkdir("Some/where")
        return lambda: rig.sign_in(root_folder_id=folder).store("Photos")
