"""docs/trust.md and THREATS.md name tests that there are, and every fault has a test or a reason why not."""

import re

import pytest

from tests import routes
from tests.matrix import PAGE, ROOT, Shown, above, by_row, collect, page
from tests.matrix_rows import ROWS, UNTESTED


def some() -> dict[int, set[Shown]]:
    return {row: {Shown("tests/test_a.py", "test_a")} for row in ROWS if row not in UNTESTED}


@pytest.fixture(scope="module")
def items() -> list[pytest.Item]:
    return collect()


def test_the_page_is_not_stale(items: list[pytest.Item]) -> None:
    assert PAGE.read_text() == above() + page(by_row(items)), "make matrix"


def test_every_route_to_a_phone_is_tested(items: list[pytest.Item]) -> None:
    for route in routes.ROUTES:
        for shows in routes.SHOWS:
            tests = routes.by_route(items)[route][shows]
            often = any(not test.endswith("★") for test in tests)
            assert often or (tests and (route, shows) == ("pymobiledevice3", "beyond")), (route, shows)
    assert routes.told() == routes.table(items), "make matrix"


def test_the_tests_that_threats_name_exist(items: list[pytest.Item]) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "THREATS.md").read_text()))
    assert len(named) > 30
    assert named <= {item.name.partition("[")[0] for item in items}


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
