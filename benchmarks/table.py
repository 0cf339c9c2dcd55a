"""Figures as tables: aligned for a terminal, and as the page docs/benchmarks.md."""

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.result import Measured, Result
from benchmarks.rounds import Row, Verdict

HEAD = ("step", "program", "wall s", "CPU s", "peak MB", "read MB", "requests", "sent with")
GOALS = ("goal", "asked", "measured", "of CPU", "the work alone", "beside", "")
_FOREWORD = """\
Written by `make bench`; [Speed](performance.md) says what the figures mean and where time goes. Medians of
interleaved rounds, (least–most). *CPU* is user and system time of the whole process, *peak* its largest
resident set, *read* what it asked the kernel to read (at the mirror: what its source was asked for),
*durable* the wall clock with a `sync` after it. Requests are of the last round, as the service counted them
where it does. After each run the destination is compared with the source; a run that leaves anything else
voids its row."""
_ABOUT_GOALS = """\
Peer's wall clock over photosync's, round by round, beside the fastest of the peers that the goal names; or
as the unit says; *of CPU* the same of processor time, which other work on the machine disturbs less; *the
work alone* what a bare loop reaches that does to every byte what photosync promises of it, on all
processors, and nothing else (`benchmarks/bare.py`): where that misses a goal, hardly any program that keeps
the promises can meet it on this machine. Read ratios within a workload only: between machines and days,
seconds mean nothing."""
_UNITS = {"ratio": ("≥", " ×"), "times": ("≤", " ×"), "seconds": ("≤", " s"), "MB": ("≤", " MB")}


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return _figure(values[0])
    return f"{_figure(median(values))} ({_figure(min(values))}–{_figure(max(values))})"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def cells(row: Row) -> list[str]:
    """A row's figures: medians, (least–most)."""
    if row.wrong:
        return [row.step, row.peer, f"void: {row.wrong}", "", "", "", "", ""]
    asked = ", ".join(f"{count:,} {name}" for name, count in _most(row.requests))
    wall = _spread(row.wall)
    if row.durable:
        wall += f", durable {_figure(median(row.durable))}"
    return [
        row.step,
        row.peer,
        wall,
        _figure(median(row.cpu)),
        f"{median(row.peak) / 1e6:.0f}" if any(row.peak) else "",
        f"{median(row.read) / 1e6:,.0f}" if row.read else "",
        asked,
        ", ".join(f"{name} {count:,}" for name, count in row.sent.items()),
    ]


def _most(requests: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(requests.items(), key=lambda pair: -pair[1])[:5]


def told(verdict: Verdict) -> list[str]:
    """A goal: what it asks, what was measured (and of CPU), what the work alone would reach, beside whom, and
    whether that is enough."""
    sign, unit = _UNITS[verdict.goal.kind]
    values = f"{_spread(verdict.values)}{unit}" if verdict.values else ""
    outcome = verdict.why if verdict.met is None else "met" if verdict.met else "missed"
    cpu = f"{_spread(verdict.cpu)}{unit}" if verdict.cpu else ""
    alone = f"{_spread(verdict.alone)}{unit}" if verdict.alone else ""
    return [
        verdict.goal.text,
        f"{sign} {verdict.goal.limit:g}{unit}",
        values,
        cpu,
        alone,
        verdict.peer,
        outcome,
    ]


def terminal(measured: Measured) -> str:
    """A workload for people's eyes."""
    lines = [f"\n{measured.name}: {measured.title}{', scaled down' if measured.quick else ''}"]
    if measured.failed:
        return f"{lines[0]}\n  not measured: {measured.failed}"
    lines += _aligned([list(HEAD), *map(cells, measured.rows)])
    if measured.verdicts:
        lines += [
            "",
            *_aligned([list(GOALS), *map(told, measured.verdicts)]),
        ]
    lines += [f"  missing: {program}" for program in measured.missing]
    return "\n".join(lines)


def _aligned(rows: list[list[str]]) -> list[str]:
    used = [at for at in range(len(rows[0])) if any(row[at] for row in rows[1:])]
    widths = {at: max(len(row[at]) for row in rows if not row[2].startswith("void")) for at in used}
    return ["  " + "  ".join(row[at].ljust(widths[at]) for at in used).rstrip() for row in rows]


def page(result: Result, names: Sequence[str] = ()) -> str:
    """The whole as Markdown.

    Args:
        names: of all workloads; those that were not measured are named.
    """
    return "\n".join(_page(result, names)) + "\n"


def _page(result: Result, names: Sequence[str]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield _FOREWORD
    yield ""
    yield "![Wall clock of each program at each workload](benchmarks.svg)"
    yield ""
    yield "| machine | |"
    yield "| --- | --- |"
    for label, what in result.machine.items():
        yield f"| {label} | {what} |"
    yield ""
    yield "## Goals"
    yield ""
    yield _ABOUT_GOALS
    yield ""
    yield _line(["workload", *GOALS])
    yield _line(["---"] * (len(GOALS) + 1))
    for measured in result.workloads:
        for verdict in measured.verdicts:
            yield _line([f"[{measured.name}](#{measured.name})", *told(verdict)])
    missed = [
        f"{measured.name} ({verdict.goal.text})"
        for measured in result.workloads
        for verdict in measured.verdicts
        if verdict.met is False
    ]
    yield ""
    yield f"Missed: {len(missed)}. {'; '.join(missed)}." if missed else "None is missed."
    absent = [name for name in names if name not in {each.name for each in result.workloads}]
    if absent:
        yield ""
        yield f"Not measured here: {', '.join(absent)}."
    for measured in result.workloads:
        yield from _workload(measured)


def _workload(measured: Measured) -> Iterator[str]:
    yield ""
    yield f"## {measured.name}"
    yield ""
    yield f"{measured.title}: {measured.what}."
    yield ""
    before, after = measured.load
    yield (
        f"{measured.when} UTC, rounds: {measured.runs}{', scaled down' if measured.quick else ''}, "
        f"{measured.seconds:.0f} s in all, load {before:.1f} before and {after:.1f} after: "
        f"`python -m benchmarks {measured.name} --runs {measured.runs}{' --quick' if measured.quick else ''}`"
    )
    for program in measured.missing:
        yield ""
        yield f"Not installed, so missing: {program}."
    yield ""
    if measured.failed:
        yield f"Not measured: {measured.failed}."
        return
    yield _line(list(HEAD))
    yield _line(["---"] * len(HEAD))
    for row in measured.rows:
        yield _line(cells(row))
    checks = {row.peer: row.checks for row in measured.rows if row.checks}
    if checks:
        yield ""
        yield "What each computes and checks:"
        yield ""
        for peer, what in checks.items():
            yield f"* {peer}: {what}"


def _line(texts: list[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
