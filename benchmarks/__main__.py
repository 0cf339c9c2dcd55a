"""``python -m benchmarks``: named workloads, photosync and its peers in turns, and how the goals stand.

``python -m benchmarks requests`` counts requests instead.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import requests
from benchmarks.bench import Bench
from benchmarks.chart import chart
from benchmarks.peers import found
from benchmarks.result import Measured, Result, machine, now
from benchmarks.rounds import Row, judge, run
from benchmarks.table import page, terminal
from benchmarks.workloads import WORKLOADS, Workload

RUNS, QUICK_RUNS = 5, 1
ORDER = [each.name for each in WORKLOADS]


def main(arguments: list[str]) -> int:
    """Measures, tells, and returns 1 if a workload failed or a row is void."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_listed(),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="workloads; default: all of them")
    parser.add_argument("--runs", type=int, help=f"rounds; default: {RUNS}, with --quick {QUICK_RUNS}")
    parser.add_argument(
        "--quick", action="store_true", help="all workloads much smaller: three minutes in all"
    )
    kept = "every figure; what it holds of workloads that are not run now is kept"
    parser.add_argument("--json", type=Path, metavar="FILE", help=kept)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="a chart")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the page docs/benchmarks.md")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="for 8 GB of files that go away again")
    parser.add_argument("--no-run", action="store_true", help="only tell again what --json holds")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in ORDER]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}. There are: {', '.join(ORDER)}")
    runs = given.runs or (QUICK_RUNS if given.quick else RUNS)
    result = Result.read(given.json) if given.json else Result()
    chosen = (
        [] if given.no_run else [each for each in WORKLOADS if not given.names or each.name in given.names]
    )
    sound = True
    # Mounts and servers have to go, however it ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with (
        tempfile.TemporaryDirectory(
            prefix="photosync-benchmark-", dir=given.scratch, ignore_cleanup_errors=True
        ) as scratch,
        contextlib.ExitStack() as stack,
    ):
        if chosen:
            result = Result(machine(Path(scratch)), result.workloads)
        here = Bench(Path(scratch), given.quick, stack)
        for workload in chosen:
            measured = measure(workload, here, runs)
            sound = sound and measured.is_sound
            result = result.with_workload(measured, ORDER)
            print(terminal(measured), flush=True)
            _write(result, given.json, given.svg, given.markdown)
    if given.no_run:
        _write(result, None, given.svg, given.markdown)
    return 0 if sound else 1


def _write(result: Result, figures: Path | None, svg: Path | None, markdown: Path | None) -> None:
    if figures:
        result.write(figures)
    if svg:
        svg.write_text(chart(result))
    if markdown:
        markdown.write_text(page(result, ORDER))


def measure(workload: Workload, here: Bench, runs: int) -> Measured:
    """Runs one workload; whatever goes wrong in it is told, and hinders no other."""
    began, before = time.monotonic(), os.getloadavg()[0]
    rows: dict[tuple[str, str, str], Row] = {}
    failed = workload.missing()
    if failed is None:
        try:
            with workload.opened(here) as turns:
                for number in range(runs):
                    _say(f"{workload.name}: round {number + 1} of {runs}")
                    for go in turns(number):
                        _say(f"{workload.name}: round {number + 1} of {runs}: {go.peer}, {go.step}")
                        run(go, workload.name, rows)
        except Exception as error:  # noqa: BLE001 - told, and the next one is measured
            failed = f"{type(error).__name__}: {error}"
    _say("")
    return Measured(
        workload.name,
        workload.title,
        workload.what,
        now(),
        runs,
        here.quick,
        time.monotonic() - began,
        (before, os.getloadavg()[0]),
        tuple(program for program in workload.programs if not found(program)),
        _sorted(rows),
        () if here.quick or failed else tuple(judge(goal, workload.name, rows) for goal in workload.goals),
        failed,
    )


def _sorted(rows: dict[tuple[str, str, str], Row]) -> tuple[Row, ...]:
    """By step, photosync first, otherwise as they came: turns differ from round to round."""
    steps = list(dict.fromkeys(row.step for row in rows.values()))
    key = lambda row: (steps.index(row.step), not row.peer.startswith("photosync"), row.peer)  # noqa: E731
    return tuple(sorted(rows.values(), key=key))


def _say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
    elif text:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _listed() -> str:
    lines = [f"  {each.name:<15} {each.seconds:>4} s  {each.title}" for each in WORKLOADS]
    total = sum(each.seconds for each in WORKLOADS) / 60
    return "\n".join(
        [f"workloads, with what {RUNS} rounds take on a quiet machine ({total:.0f} min in all):", *lines]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["requests"]:
        sys.exit(requests.main(sys.argv[2:]))
    sys.exit(main(sys.argv[1:]))
