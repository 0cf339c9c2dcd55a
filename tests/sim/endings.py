"""How lives end: one after the other, or in several processes.

Apart from ``__main__``, which other processes cannot import.
"""

import json
import multiprocessing
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
