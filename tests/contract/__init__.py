"""The contract suite that every photosync backend passes; subclass it to test your own.

from photosync.testing import StoreContract

class TestMyStore(StoreContract):
    @pytest.fixture
    def reopen(self, tmp_path):
        return lambda: MyBackend().store(str(tmp_path))
"""

import pytest

pytest.register_assert_rewrite(
    "photosync.testing.helpers",
    "photosync.testing.places",
    "photosync.testing.store_contract",
    "photosync.testing.uploads",
)

from photosync.testing.store_contract import StoreContract  # noqa: E402

__all__ = ["StoreContract"]
