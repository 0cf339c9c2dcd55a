"""Fuzzes for as long as one likes, one target after the other, and keeps what it finds.

python -m tests.fuzz [--minutes N] [TARGET …]      N minutes each; all targets by default

With Atheris (`make fuzz` installs it) the search is led by which lines of photosync an input reaches, and
inputs that reached new ones are kept in ``.fuzz/`` for the next time; without it seeds are damaged blindly.
An input that breaks something is written below ``tests/fuzz/found/``, where the short suite reads it from
then on.
"""

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.target import FOUND, Target, damaged

CORPUS = Path(".fuzz")
_SECONDS = 5
_MEGABYTES = 2048


def _targets() -> list[Target]:
    from tests.fuzz.answers import targets
    from tests.fuzz.parsers import TARGETS

    return [*TARGETS, *targets()]


def _named(name: str) -> Target:
    (found,) = (each for each in _targets() if each.name == name)
    return found


def keep(target: Target, data: bytes) -> Path:
    """Writes down an input that broke something."""
    path = FOUND / target.name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def blindly(target: Target, seconds: float) -> int:
    """Damages seeds at random; how many."""
    dice = random.Random()
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        data = damaged(dice.choice(target.seeds), target, dice)
        count += 1
        try:
            target.run(data)
        except BaseException:
            print(f"{target.name}: {keep(target, data)}\n{traceback.format_exc()}")
            raise SystemExit(1) from None
    return count


def led(name: str, seconds: float) -> None:
    """The same under Atheris, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["photosync"]):
        target = _named(name)
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def change(data: bytes, most: int, seed: int) -> bytes:
        dice = random.Random(seed)
        changed = damaged(data, target, dice) if dice.random() < 0.5 else atheris.Mutate(data, most)
        return bytes(changed[:most])

    FOUND.joinpath(name).mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds:.0f}", f"-timeout={_SECONDS}", f"-rss_limit_mb={_MEGABYTES}",
        f"-artifact_prefix={FOUND / name}/", "-print_final_stats=1", "-max_len=65536", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], target.run, custom_mutator=change)
    atheris.Fuzz()


def main() -> int:
    """As the first lines of this file say."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    seconds = given.minutes * 60
    if given.child:
        if importlib.util.find_spec("atheris"):
            led(given.targets[0], seconds)
        else:
            count = blindly(_named(given.targets[0]), seconds)
            print(f"stat::number_of_executed_units: {count}")
        return 0
    names = given.targets or [each.name for each in _targets()]
    return max([_child(name, given.minutes) for name in names])


def _end(text: str) -> str:
    """What was said at the end, without the progress of the search."""
    return "\n".join([line for line in text.splitlines() if not line.startswith("#")][-60:])


def _child(name: str, minutes: float) -> int:
    """Fuzzes one target in a process of its own, and prints what came of it."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--child", "--minutes", str(minutes), name]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode("utf-8", "replace")
    counts = [line.split()[-1] for line in text.splitlines() if "number_of_executed_units" in line]
    outcome = "clean" if done.returncode == 0 else "\n" + _end(text)
    print(f"{name:10} {counts[-1] if counts else '?':>10} executions  {outcome}", flush=True)
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
