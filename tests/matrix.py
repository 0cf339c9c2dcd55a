"""The fault matrix: which fault is provoked by which tests, and the page that tells it.

make matrix          writes the matrix into docs/trust.md, and the table of routes in docs/phones.md
"""

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import routes
from tests.matrix_rows import PARTLY, ROWS, UNTESTED

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "trust.md"

HEAD = """\
## The fault matrix

What can go wrong, what must happen then, and which tests make it happen. From here on this page is
written by `make matrix` from the marks on the tests themselves; a test fails when it does not agree with
them. {tested} of {rows} faults are made to happen by at least one test, {partly} of those only in part, and
{untested} by none; these say why. ★: only in the long suite (`make test-long`). `python -m pytest -m row`
runs the tests of this page.

| # | Fault | What must happen | Tests |
|--:|---|---|---|
"""


@dataclass(frozen=True, order=True)
class Shown:
    """A marked test: its file, its name without parameters, whether only long runs run it."""

    file: str
    name: str
    slow: bool = False


def rows_of(item: pytest.Item) -> set[int]:
    """The rows that a test's marks name."""
    return {number for mark in item.iter_markers("row") for number in mark.args}


def by_row(items: Iterable[pytest.Item]) -> dict[int, set[Shown]]:
    """Marked tests by row. One whose parameters are partly slow counts as one that every run runs."""
    found: dict[int, dict[tuple[str, str], bool]] = defaultdict(dict)
    for item in items:
        file, _, name = item.nodeid.partition("::")
        key = (file, name.partition("[")[0])
        for number in rows_of(item):
            slow = item.get_closest_marker("slow") is not None
            found[number][key] = found[number].get(key, True) and slow
    return {
        number: {Shown(*key, slow=slow) for key, slow in tests.items()} for number, tests in found.items()
    }


def page(tests: dict[int, set[Shown]]) -> str:
    """The fault matrix, as docs/trust.md has it.

    Raises:
        ValueError: a mark names no row, or a row is neither tested nor excused, or both.
    """
    if unknown := sorted(set(tests) - set(ROWS)):
        raise ValueError(f"marks name rows that are not in the matrix: {unknown}")
    if silent := sorted(set(ROWS) - set(tests) - set(UNTESTED)):
        raise ValueError(f"rows without a test and without a reason why not: {silent}")
    if both := sorted(set(tests) & set(UNTESTED)):
        raise ValueError(f"rows that are tested and said not to be: {both}")
    if idle := sorted(set(PARTLY) - set(tests)):
        raise ValueError(f"rows said to be tested in part that are not tested: {idle}")
    lines = [HEAD.format(tested=len(tests), rows=len(ROWS), partly=len(PARTLY), untested=len(UNTESTED))]
    for number, (fault, expected) in ROWS.items():
        lines.append(f"| {number} | {fault} | {expected} | {_told(number, tests)} |\n")
    return "".join(lines)


def above() -> str:
    """What docs/trust.md says before the matrix, which people write."""
    return PAGE.read_text().partition(HEAD.partition("\n")[0])[0]


def _told(number: int, tests: dict[int, set[Shown]]) -> str:
    if number in UNTESTED:
        return f"**not tested:** {UNTESTED[number]}"
    told: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests[number]):
        told[test.file].append(f"`{test.name}`" + ("★" if test.slow else ""))
    links = "; ".join(f"[{Path(file).stem}](../{file}): " + ", ".join(names) for file, names in told.items())
    return links + (f". **In part:** {PARTLY[number]}" if number in PARTLY else "")


class _Collector:
    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = list(items)


def collect() -> list[pytest.Item]:
    """Every test of the project, none of them run.

    Raises:
        ValueError: a file of tests cannot be imported.
    """
    collector = _Collector()
    said = io.StringIO()
    arguments = [
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(ROOT),
        str(ROOT / "tests"),
    ]
    with contextlib.redirect_stdout(said):
        code = pytest.main(arguments, plugins=[collector])
    if code:
        raise ValueError(f"the tests cannot be collected:\n{said.getvalue()[-4000:]}")
    return collector.items


if __name__ == "__main__":
    tests = collect()
    PAGE.write_text(above() + page(by_row(tests)))
    routes.tell(tests)
