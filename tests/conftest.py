"""Options of the test suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds", default="200", help="seeds of the simulation: a count, or FIRST+COUNT to repeat some"
    )
