"""What every store promises, asked of the Dropbox store against the emulator."""

from collections.abc import Callable, Iterator

import pytest

from photosync.engine.capabilities import Store
from photosync.testing.store_contract import StoreContract
from tests.backends.dropbox_rig import Rig, rigged


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


class TestDropbox(StoreContract):
    @pytest.fixture
    def reopen(self, rig: Rig) -> Callable[[], Store]:
        return lambda: rig.again().store("Photos/of mine")
