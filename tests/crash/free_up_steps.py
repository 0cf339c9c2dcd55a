"""photosync, killed right before a given step of freeing: ``free_up_steps.py NUMBER LOG PROGRAM ARGUMENTS…``.

NUMBER counts from 1; 0 kills nowhere. LOG gets the names of the steps that were begun, a line each.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from photosync.backends.phone_removal import MountRemover
from photosync.cli import main
from photosync.engine import spared
from photosync.engine.freeup import FreeUp
from photosync.engine.journal import Journal

STEPS: tuple[tuple[Any, str], ...] = (
    (spared, "edit"),
    (FreeUp, "_read"),
    (FreeUp, "_prove_one"),
    (Journal, "set_kept"),
    (Journal, "intend"),
    (Journal, "settle"),
    (MountRemover, "remove"),
    (Journal, "set_freed"),
    (Journal, "set_told"),
    (Journal, "set_count"),
    (MountRemover, "close"),
)


def kill_before(number: int, log: Path) -> None:
    count = 0

    def stepping(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            with log.open("a") as file:
                file.write(f"{name}\n")
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return step

    for owner, name in STEPS:
        setattr(owner, name, stepping(name, getattr(owner, name)))


if __name__ == "__main__":
    kill_before(int(sys.argv[1]), Path(sys.argv[2]))
    sys.argv = sys.argv[3:]
    main()
