"""``watch``: runs jobs when their phone is plugged in, and when their schedule says so.

One job at a time, each in a process of its own (`photosync run NAME`), so that one that hangs or dies takes
nothing with it. Devices are looked for every few seconds; with pyudev, Linux says when something changed.
"""

import datetime
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from photosync.config import JobSpec
from photosync.engine.workers import Workers
from photosync.job_runs import last_start, next_run
from photosync.session import Session

POLL = 5.0
AGAIN = 900.0
"""Seconds after which a scheduled job that could not run is tried again."""

_log = logging.getLogger("photosync")


@dataclass(frozen=True, slots=True)
class Plugged:
    """A device that is there: what ``phone@NAME:`` calls it, and what tells it from others."""

    name: str
    identity: str


@dataclass(slots=True)
class Watch:
    """What has been seen so far.

    Attributes:
        jobs: by name.
        by_schedule: whether schedules count.
        present: devices seen at the last look; None: there was none yet.
        tried: when each job was last begun by its schedule, seconds since the epoch.
    """

    jobs: dict[str, JobSpec]
    by_schedule: bool = True
    present: set[Plugged] | None = None
    tried: dict[str, float] = field(default_factory=dict)

    def due(self, devices: Sequence[Plugged], now: float) -> list[str]:
        """Names of the jobs that are to run now.

        Args:
            devices: that are plugged in.
            now: seconds since the epoch.
        """
        new = set(devices) - (self.present or set())
        self.present = set(devices)
        names = [name for name, job in self.jobs.items() if job.on_plug_in and _has_come(job, new)]
        if self.by_schedule:
            names += [name for name in self.jobs if name not in names and self._is_time(name, now)]
        return names

    def _is_time(self, name: str, now: float) -> bool:
        started = max(last_start(name) or 0.0, self.tried.get(name, 0.0))
        if not started:
            # A job that never ran begins to count now.
            self.tried[name] = started = now
        at = next_run(self.jobs[name], started)
        if at is None or at > datetime.datetime.fromtimestamp(now) or now - self.tried.get(name, 0.0) < AGAIN:
            return False
        self.tried[name] = now
        return True


def _has_come(job: JobSpec, new: set[Plugged]) -> bool:
    source = job.source
    if not source.startswith(("phone:", "phone@")):
        return False
    name = source.partition(":")[0].partition("@")[2]
    return any(not name or device.name == name for device in new)


def watch(session: Session, command: Sequence[str], *, plug_in_only: bool, once: bool = False) -> None:
    """Runs jobs until it is interrupted.

    Args:
        command: what begins ``photosync`` with this configuration.
        plug_in_only: schedules are somebody else's business.
        once: look once, run what is due, and return.
    """
    state = Watch(session.config.jobs, not plug_in_only)
    with Workers(session.seam) as workers:
        for _ in _changes(workers.sleep):
            for name in state.due(plugged_in(), time.time()):
                _run([*command, "run", name])
            if once:
                return


def plugged_in() -> list[Plugged]:
    """Devices that could be copied from now."""
    from photosync.backends.device_list import find_devices

    return [Plugged(device.name, device.identity) for device in find_devices() if not device.hint]


def _run(command: Sequence[str]) -> None:
    _log.info("starting %s", command[-1])
    code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    _log.info("%s ended with exit code %d", command[-1], code)


def _changes(sleep: Callable[[float], None]) -> Iterator[None]:
    """One item at once, then whenever something may have changed, and at least every few seconds."""
    wait = _udev() or sleep
    while True:
        yield
        wait(POLL)


def _udev() -> Callable[[float], None] | None:
    """Waits for the kernel's word on devices; None where it cannot be had."""
    try:
        import pyudev

        monitor = pyudev.Monitor.from_netlink(pyudev.Context())
        monitor.filter_by("usb")
        monitor.filter_by("block")
        monitor.start()
    except Exception as error:  # noqa: BLE001 - no library, no udev, no permission: looking does as well
        _log.debug("devices are looked for every %d seconds (%s)", POLL, type(error).__name__)
        return None
    return lambda seconds: monitor.poll(seconds) and None


def own_command(config: Path | None) -> list[str]:
    """What begins this program again."""
    chosen = ["--config", str(config)] if config is not None else []
    return [sys.executable, "-m", "photosync.cli", *chosen]
