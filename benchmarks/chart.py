"""The wall clock of every program at every workload, as bars in an SVG."""

from collections.abc import Iterator
from html import escape
from statistics import median

from benchmarks.result import Measured, Result
from benchmarks.rounds import Row
from benchmarks.table import told

WIDTH, LEFT, RIGHT, BAR = 900, 230, 130, 16
_OURS, _THEIRS, _INK, _PALE = "#1f6feb", "#9aa4b0", "#24292f", "#57606a"


def chart(result: Result) -> str:
    """An SVG document; bars of one workload share a scale."""
    body: list[str] = []
    top = 40
    for measured in result.workloads:
        if measured.rows and not measured.failed:
            drawn = list(_workload(measured, top))
            body += drawn
            top += _height(measured)
    title = "Wall clock, seconds: medians of interleaved rounds, least and most as a line"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        'font-family="sans-serif" font-size="12">'
    )
    ground = f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>'
    return "\n".join([head, ground, _text(10, 24, title, size=15), *body, "</svg>", ""])


def _height(measured: Measured) -> int:
    return 24 + 15 * len(measured.verdicts) + (BAR + 4) * len(measured.rows) + 18


def _workload(measured: Measured, top: int) -> Iterator[str]:
    yield _text(10, top + 14, f"{measured.name}: {measured.title}", weight="bold")
    top += 24
    for verdict in measured.verdicts:
        goal, asked, value, _, _, peer, outcome = told(verdict)
        text = (
            f"{goal}: {asked} asked, {value or 'nothing'} measured{f' ({peer})' if peer else ''}: {outcome}"
        )
        yield _text(20, top + 8, text, fill=_PALE, size=11)
        top += 15
    sound = [row for row in measured.rows if not row.wrong]
    longest = max((max(row.wall) for row in sound), default=0.0) or 1.0
    for row in measured.rows:
        yield from _bar(row, top, (WIDTH - LEFT - RIGHT) / longest)
        top += BAR + 4


def _bar(row: Row, top: int, scale: float) -> Iterator[str]:
    steps = (
        ""
        if row.step in ("first run", "no change", "one added", "start", "whole process")
        else f"{row.step}, "
    )
    yield _text(LEFT - 6, top + 12, f"{steps}{row.peer}", anchor="end", fill=_INK)
    if row.wrong:
        yield _text(LEFT, top + 12, "void", fill="#cf222e")
        return
    middle, least, most = (value * scale for value in (median(row.wall), min(row.wall), max(row.wall)))
    colour = _OURS if row.peer.startswith("photosync") else _THEIRS
    yield f'<rect x="{LEFT}" y="{top}" width="{max(1.0, middle):.1f}" height="{BAR}" fill="{colour}"/>'
    yield (
        f'<line x1="{LEFT + least:.1f}" x2="{LEFT + most:.1f}" y1="{top + BAR / 2}" y2="{top + BAR / 2}" '
        f'stroke="{_INK}" stroke-width="1.5"/>'
    )
    yield _text(LEFT + max(middle, most) + 6, top + 12, f"{median(row.wall):.2f}", fill=_PALE)


def _text(
    x: float, y: float, text: str, *, fill: str = _INK, size: int = 12, weight: str = "normal",
    anchor: str = "start",
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
