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
        one = rig.credentials()
        return lambda: rig.sign_in(**one).store("Photos/of mine")


class TestOwnFilesOnly(StoreContract):
    """The scope that photosync asks for: what it did not make itself is not there, the root included."""

    @pytest.fixture
    def rig(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
        with rigged(monkeypatch, "drive.file") as rig:
            rig.emulator.put("Photos/a.jpg", b"somebody else's")
            yield rig

    @pytest.fixture
    def reopen(self, rig: Rig) -> Callable[[], Store]:
        one = rig.credentials()
        return lambda: rig.sign_in(**one).store("Photos")


@pytest.mark.slow
class TestSharedDrive(StoreContract):
    @pytest.fixture
    def reopen(self, rig: Rig) -> Callable[[], Store]:
        one = rig.credentials() | {"shared_drive": rig.emulator.add_drive("Family")}
        return lambda: rig.sign_in(**one).store("Photos")


@pytest.mark.slow
class TestFolderById(StoreContract):
    @pytest.fixture
    def reopen(self, rig: Rig) -> Callable[[], Store]:
        one = rig.credentials() | {"root_folder_id": rig.emulator.mkdir("Some/where")}
        return lambda: rig.sign_in(**one).store("Photos")
