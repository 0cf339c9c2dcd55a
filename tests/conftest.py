"""Options of the test suite, and the rule about skips.

A test that lacks a server or a right says so and is skipped. With PHOTOSYNC_TEST_SKIPS=fail, as the gate
runs, such a skip is a failure; only tests that do not apply to what they are given may skip ("not applicable:
…").
"""

import os
import signal
from collections.abc import Generator
from typing import Any

import pytest


def pytest_configure() -> None:
    # A shell starts what it puts into the background with Ctrl-C ignored, and every process below inherits
    # that; the commands under test must hear it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds", default="200", help="seeds of the simulation: a count, or FIRST+COUNT to repeat some"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, pytest.TestReport]:
    report: pytest.TestReport = yield
    if report.skipped and os.environ.get("PHOTOSYNC_TEST_SKIPS") == "fail":
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if "not applicable:" not in reason and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} may not be skipped here: {reason}"
    return report
