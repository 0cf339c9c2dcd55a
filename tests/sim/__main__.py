"""``photosync-sim``: lives of many seeds, told and, where a promise broke, made small.

photosync-sim --seeds 10000 --jobs 4
photosync-sim --first 173 --seeds 1      one seed again
photosync-sim --bugs                     how many seeds each planted bug needs
"""

import argparse
import functools
import hashlib
import sys
import time
from collections.abc import Sequence

from tests.sim.bugs import BUGS, seeds_needed
from tests.sim.endings import KEPT, endings, keep, smallest


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="photosync-sim", description="The simulation of photosync's engine."
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many (200)")
    parser.add_argument("--first", type=int, default=0, help="the first one (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1); they change nothing but the time")
    parser.add_argument("--keep", action="store_true", help=f"add what fails to {KEPT.name}")
    parser.add_argument("--bugs", action="store_true", help="plant each bug, and count the seeds it takes")
    given = parser.parse_args(arguments)
    if given.seeds < 1 or given.jobs < 1 or given.first < 0:
        parser.error("--seeds and --jobs are at least 1, --first at least 0")
    say = functools.partial(print, flush=True)
    if given.bugs:
        missed = 0
        for plant, most in BUGS.items():
            found = seeds_needed(plant, most, given.first)
            missed += found is None
            count = f"{found[0]} of {most}" if found else f"not in {most}"
            say(f"{count:>12}  {plant.__name__}: {plant.__doc__}")
        return 1 if missed else 0
    began, traces, failed = time.monotonic(), hashlib.sha256(), 0
    for number, ending in enumerate(endings(given.first, given.seeds, given.jobs), 1):
        traces.update(ending.trace.encode())
        if ending.error:
            failed += 1
            say(f"FAILED {ending.error}\n{smallest(ending)}")
            if given.keep:
                keep(ending)
        elif number % 500 == 0:
            say(f"{number} seeds, {number / (time.monotonic() - began):.1f} seeds/s, {failed} failed")
    seconds = time.monotonic() - began
    say(
        f"{given.seeds} seeds from {given.first}: {failed} failed; {seconds:.0f} s, "
        f"{given.seeds / seconds:.1f} seeds/s; trace {traces.hexdigest()[:16]}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
