"""What the tests show of each route to a phone: the table in docs/phones.md, made of marks on the tests."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "phones.md"
SHOWS = ("library", "beyond", "unplugged")
ROUTES = ("a mount", "adb", "afc", "gvfs-afc", "ifuse", "ptp", "pymobiledevice3")

_HEAD = """\
| route | 500 files | a video of more than 4 GiB | unplugged inside a file, and back |
| --- | --- | --- | --- |
"""
_TABLE = re.compile(re.escape(_HEAD) + r"(?:\|.*\n)*")


def by_route(items: Iterable[pytest.Item]) -> dict[str, dict[str, set[str]]]:
    """Route → what is shown → the tests, as links; a star: only in the long suite.

    Raises:
        ValueError: a mark names no route, or shows something else.
    """
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for item in items:
        for mark in item.iter_markers("route"):
            shows, *name = mark.args
            route = name[0] if name else item.callspec.params["route"]  # type: ignore[attr-defined]
            if route not in ROUTES or shows not in SHOWS:
                raise ValueError(f"{item.nodeid}: {mark.args}")
            file, _, test = item.nodeid.partition("::")
            star = "★" if item.get_closest_marker("slow") else ""
            found[route][shows].add(f"[`{test.partition('[')[0]}`](../{file}){star}")
    return found


def table(items: Iterable[pytest.Item]) -> str:
    """The table, in Markdown."""
    found = by_route(items)
    rows = ((route, *(", ".join(sorted(found[route][shows])) for shows in SHOWS)) for route in ROUTES)
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def told() -> str:
    """The table as it stands on the page."""
    found = _TABLE.search(PAGE.read_text())
    return found[0] if found else ""


def tell(items: Iterable[pytest.Item]) -> None:
    """Writes the table into the page."""
    made = table(items)
    PAGE.write_text(_TABLE.sub(lambda _: made, PAGE.read_text()))
