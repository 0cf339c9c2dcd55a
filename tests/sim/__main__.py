"""``photosync-sim``: lives of many seeds, told and, where a promise broke, made small.

photosync-sim --seeds 10000 --jobs 4
photosync-sim --first 173 --seeds 1      one seed again
photosync-sim --bugs                     how many seeds each planted bug needs
"""

import argparse
import functools
import hashlib
import json
import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.sim.bugs import BUGS, seeds_needed
from tests.sim.household import Household, scratch
from tests.sim.life import Life, draw, shrink

KEPT = Path(__file__).parent / "seeds.json"


@dataclass(frozen=True)
class Ending:
    """How one life ended.

    Attributes:
        trace: hash of everything that happened.
        error: what broke; "" if nothing did.
        place: where that was noticed, to tell one failure from another.
    """

    seed: int
    trace: str
    error: str = ""
    place: str = ""


def end_of(life: Life) -> Ending:
    """Lives it."""
    with scratch() as folder:
        household = Household(life, Path(folder))
        try:
            household.live()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error}"
            return Ending(life.seed, household.trace, text, f"{Path(last.filename).name}:{last.name}")
        return Ending(life.seed, household.trace)


def end_of_seed(seed: int) -> Ending:
    return end_of(draw(seed))


def endings(first: int, seeds: int, jobs: int) -> Iterator[Ending]:
    """In the order of the seeds, whatever the number of processes."""
    numbers = range(first, first + seeds)
    if jobs == 1:
        yield from map(end_of_seed, numbers)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(end_of_seed, numbers, chunksize=10)


def smallest(ending: Ending) -> Life:
    """The smallest life found that breaks in the same way."""
    return shrink(draw(ending.seed), lambda life: end_of(life).place == ending.place)


def keep(ending: Ending, path: Path = KEPT) -> None:
    """From now on every test run repeats this seed."""
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    kept.setdefault(str(ending.seed), ending.error[:200])
    ordered = dict(sorted(kept.items(), key=lambda pair: int(pair[0])))
    path.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")


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
