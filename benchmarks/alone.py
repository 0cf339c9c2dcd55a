"""Runs one command and writes what it cost into a file: ``python -I -S alone.py FILE SECONDS COMMAND…``.

A program of its own, and a small one, because a process inherits the largest resident set of the one that
started it (getrusage(2), over fork and exec), and because the benchmark itself may be busy serving requests.
"""

import json
import os
import re
import signal
import sys
import time


def main(file: str, seconds: str, *command: str) -> None:
    began = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    late = False

    def end(*_: object) -> None:
        nonlocal late
        late = True
        os.kill(process, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, float(seconds))
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    wall = time.perf_counter() - began
    signal.setitimer(signal.ITIMER_REAL, 0)
    # Only as long as it is not reaped does /proc tell what it read.
    read = _read_by(process)
    _, status, usage = os.wait4(process, 0)
    with open(file, "w", encoding="utf-8") as told:
        json.dump({
            "wall": wall,
            "cpu": usage.ru_utime + usage.ru_stime,
            "peak": usage.ru_maxrss * 1024,
            "read": read,
            "code": os.waitstatus_to_exitcode(status),
            "late": late,
        }, told)  # fmt: skip


def _read_by(process: int) -> "int | None":
    try:
        with open(f"/proc/{process}/io", encoding="ascii") as counters:
            found = re.search(r"rchar: (\d+)", counters.read())
    except OSError:
        return None
    return int(found[1]) if found else None


if __name__ == "__main__":
    main(*sys.argv[1:])
