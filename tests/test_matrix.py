"""docs/trust.md says which tests show which faults, and every fault has a test or a reason why not."""

import pytest

from tests.matrix import PAGE, Shown, collect, page, tests_by_row
from tests.matrix_rows import ROWS, UNTESTED


def some() -> dict[int, set[Shown]]:
    return {row: {Shown("tests/test_a.py", "test_a")} for row in ROWS if row not in UNTESTED}


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == page(tests_by_row(collect())), "make matrix"


def test_there_are_ninety_faults() -> None:
    assert list(ROWS) == list(range(1, 91))


def test_a_mark_that_names_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not in the matrix: \[91\]"):
        page(some() | {91: {Shown("tests/test_a.py", "test_a")}})


def test_a_row_without_a_test_or_a_reason_is_refused() -> None:
    tests = some()
    del tests[1]
    with pytest.raises(ValueError, match=r"without a reason why not: \[1\]"):
        page(tests)


def test_a_reason_beside_a_test_is_refused() -> None:
    untested = next(iter(UNTESTED))
    with pytest.raises(ValueError, match="said not to be"):
        page(some() | {untested: {Shown("tests/test_a.py", "test_a")}})


def test_slow_tests_are_told_apart() -> None:
    tests = some() | {1: {Shown("tests/test_a.py", "test_a"), Shown("tests/test_a.py", "test_b", slow=True)}}
    assert "| [test_a](../tests/test_a.py): `test_a`, `test_b`★ |" in page(tests)
