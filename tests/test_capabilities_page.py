"""docs/capabilities.md says what the code declares, and everything declared has a test."""

from dataclasses import fields
from pathlib import Path

from photosync.engine.capabilities import Capabilities
from photosync.testing import StoreContract
from photosync.testing.table import PROOFS, page, records

PAGE = Path(__file__).parents[1] / "docs" / "capabilities.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == page(), "make docs/capabilities.md"


def test_every_capability_has_a_test() -> None:
    assert set(PROOFS) == {field.name for field in fields(Capabilities)}
    for name, tests in PROOFS.items():
        assert tests, name
        for test in tests:
            assert callable(getattr(StoreContract, test, None)), f"{name}: there is no {test}"


def test_every_kind_of_place_is_on_the_page() -> None:
    assert all(f"| {name} " in PAGE.read_text() for name in records())
