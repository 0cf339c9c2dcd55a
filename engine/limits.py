"""Budgets that a destination or a user imposes: requests a second, bytes a second, "come back later"."""

import datetime
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from photosync.engine.errors import Trouble
from photosync.engine.width import Width
from photosync.engine.workers import Workers

_UNITS = {"": 1 << 10, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_A_WEEK = 7 * 24 * 60


class LimitError(ValueError):
    """A limit that cannot be understood; the text shows a right one."""


def parse_rate(text: str) -> float | None:
    """Bytes a second from rclone's notation: "512k", "10M", "1.5G"; a bare number is KiB/s; "off" is None.

    Raises:
        LimitError: anything else.
    """
    if text.strip().lower() in ("off", "0"):
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?(?:/s)?", text.strip().lower())
    if not found or float(found[1]) <= 0:
        raise LimitError(f"{text!r} is no bandwidth; write for example 512k, 10M or off")
    return float(found[1]) * _UNITS[found[2]]


@dataclass(frozen=True, slots=True)
class Timetable:
    """Bandwidth by the time of the week, as rclone's ``--bwlimit "08:00,512k 19:00,10M 23:00,off"``.

    Attributes:
        steps: (minute of the week from Monday 00:00, bytes a second or None), sorted, not empty.
    """

    steps: Sequence[tuple[int, float | None]]

    @classmethod
    def parse(cls, text: str) -> "Timetable":
        """Reads one rate, or a timetable of ``[Day-]HH:MM,RATE`` separated by spaces.

        Raises:
            LimitError: a part of it cannot be understood.
        """
        steps: list[tuple[int, float | None]] = []
        for part in text.split():
            when, comma, rate = part.rpartition(",")
            if not comma:
                if len(text.split()) > 1:
                    raise LimitError(f"{part!r} has no time; write for example 08:00,512k")
                return cls([(0, parse_rate(part))])
            found = re.fullmatch(r"(?:([A-Za-z]{3})-)?(\d{1,2}):(\d{2})", when)
            if not found or int(found[2]) > 23 or int(found[3]) > 59:
                raise LimitError(f"{when!r} is no time; write for example 08:00 or Mon-08:00")
            minute = int(found[2]) * 60 + int(found[3])
            if found[1] is None:
                days: Sequence[int] = range(7)
            elif found[1].lower() in _DAYS:
                days = [_DAYS.index(found[1].lower())]
            else:
                raise LimitError(f"{found[1]!r} is no day; write Mon, Tue, Wed, Thu, Fri, Sat or Sun")
            steps += [(day * 24 * 60 + minute, parse_rate(rate)) for day in days]
        if not steps:
            raise LimitError("an empty bandwidth limit; write for example 10M or off")
        return cls(sorted(steps, key=lambda step: step[0]))

    def rate(self, wall_ns: int) -> float | None:
        """Bytes a second allowed at that instant, in local time; None: no limit."""
        now = datetime.datetime.fromtimestamp(wall_ns / 1e9)
        minute = (now.weekday() * 24 + now.hour) * 60 + now.minute
        past = [rate for at, rate in self.steps if at <= minute % _MINUTES_A_WEEK]
        return past[-1] if past else self.steps[-1][1]


SLOWEST = 4.0
"""Seconds between two requests that a place can drive the gate to by refusing them."""
STEP = 0.05
"""Seconds between two requests at the first refusal; each further one doubles it."""
RECOVERY = 0.95
"""What a request that went through leaves of the interval."""
SETTLING = 0.5
"""Seconds after a refusal in which further ones are answers to requests that were under way already."""
BURST = 2.0
"""Seconds' worth of the bandwidth that files may be sent together with."""


class Pace:
    """How many bytes one call may carry, so that a lost one costs seconds whatever the line.

    Args:
        most: bytes that the place takes at once.
    """

    SECONDS = 15.0
    LEAST = 1 << 20

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = most
        """Bytes."""

    def took(self, size: int, seconds: float) -> None:
        """A call with ``size`` bytes took so long. A line is believed to be faster only step by step."""
        allowed = size * self.SECONDS / seconds if seconds > 0 else float(self._most)
        # A small call that was quick says little about how quick a large one would be.
        if seconds > self.SECONDS or size >= self.limit // 2:
            self.limit = int(max(min(self.LEAST, self._most), min(allowed, self.limit * 2, self._most)))

    def lost(self) -> None:
        """A call failed on its way."""
        self.limit = max(min(self.LEAST, self._most), self.limit // 2)


class Gate:
    """Every request to one place passes here first.

    A place that refuses requests for being too many (`slow_down`) gets them spaced out from then on: further
    with each refusal, closer again with each request that goes through. Callers that each wait on their own
    would not do, because such limits are on all of them together.

    Args:
        workers: the scope.
        requests_per_second: None: as many as there are.
        bandwidth: None: as much as there is.

    Attributes:
        retries: what had to be tried again, by kind of trouble.
        width: of the calls to the place, told of refusals; None: it is fixed.
    """

    def __init__(
        self,
        workers: Workers,
        requests_per_second: float | None = None,
        bandwidth: Timetable | None = None,
    ) -> None:
        self._workers = workers
        self._monitor = workers.monitor()
        self._interval = 1.0 / requests_per_second if requests_per_second else 0.0
        self._bandwidth = bandwidth
        self._next_request = 0.0
        self._next_byte = 0.0
        self._held_until = 0.0
        self.width: Width | None = None
        self.retries: Counter[Trouble] = Counter()
        self._pace = 0.0
        self._refused_at = float("-inf")

    def enter(self) -> None:
        """Waits for the right to make one request."""
        if not (self._interval or self._pace or self._held_until):
            # Nearly always, and for every file.
            self._workers.check()
            return
        while True:
            with self._monitor:
                now = self._workers.seam.monotonic()
                interval = max(self._interval, self._pace)
                at = max(self._held_until, self._next_request if interval else 0.0)
                if at <= now:
                    if interval:
                        self._next_request = max(now, self._next_request) + interval
                    break
            self._workers.sleep(at - now)
        self._workers.check()

    def note(self, trouble: Trouble) -> None:
        """Counts one try that will be repeated."""
        with self._monitor:
            self.retries[trouble] += 1

    def hold(self, seconds: float) -> None:
        """Holds back every request from now on for that long: the place asked for it."""
        with self._monitor:
            self._held_until = max(self._held_until, self._workers.seam.monotonic() + seconds)

    def slow_down(self) -> None:
        """Spaces requests out: the place refused one for being one too many."""
        with self._monitor:
            now = self._workers.seam.monotonic()
            if now - self._refused_at < SETTLING + self._pace:
                return
            self._refused_at = now
            if self.width is not None:
                self.width.refused()
            self._pace = min(max(2 * self._pace, STEP), SLOWEST)
            self._next_request = max(self._next_request, now + self._pace)

    def passed(self) -> None:
        """Lets requests come closer again: one went through."""
        if self._pace:
            with self._monitor:
                self._pace *= RECOVERY
                if self._pace < STEP / 8:
                    self._pace = 0.0

    def spend(self, size: int) -> None:
        """Waits until ``size`` bytes may be sent.

        The rate is kept on average: each call is let through when what earlier calls sent is paid for.
        """
        rate = self._rate()
        if rate is None:
            return
        with self._monitor:
            now = self._workers.seam.monotonic()
            wait = max(0.0, self._next_byte - now)
            self._next_byte = max(now, self._next_byte) + size / rate
        if wait:
            self._workers.sleep(wait)

    def together(self, most: int) -> int:
        """How many bytes may be gathered for one call, of at most ``most``: one that is let through carries
        all of them at once."""
        rate = self._rate()
        return most if rate is None else min(most, max(1, int(rate * BURST)))

    def _rate(self) -> float | None:
        return None if self._bandwidth is None else self._bandwidth.rate(self._workers.seam.wall_ns())
