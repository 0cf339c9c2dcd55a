"""When a job runs by itself.

============================  ==============================================================
``every 30m`` ``every 6h``    so long after the last run began (m, h, d; at least 5 minutes)
``daily 03:00``               at that time of every day
``Mon,Thu 20:30``             on those days; Mon, Tue, Wed, Thu, Fri, Sat, Sun
============================  ==============================================================

Times are this machine's local ones. A time at which the machine was off is made up for once.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_UNITS = {"m": 1, "h": 60, "d": 24 * 60}
_SHORTEST = timedelta(minutes=5)


class ScheduleError(ValueError):
    """A schedule that cannot be understood; the text shows a right one."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """See the module's text.

    Attributes:
        every: time between runs; None: at ``hour``:``minute`` of ``days``.
        days: 0 for Monday to 6.
        hour, minute: of the local day.
    """

    every: timedelta | None = None
    days: tuple[int, ...] = tuple(range(7))
    hour: int = 0
    minute: int = 0

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Reads a schedule.

        Raises:
            ScheduleError: it is none.
        """
        found = re.fullmatch(r"every\s+(\d{1,5})\s*([mhd])", text.strip(), re.IGNORECASE)
        if found:
            every = timedelta(minutes=int(found[1]) * _UNITS[found[2].lower()])
            if every < _SHORTEST:
                raise ScheduleError(f"{text!r} is too often; the least is every 5m")
            return cls(every)
        found = re.fullmatch(r"(\S+)\s+(\d{1,2}):(\d{2})", text.strip())
        if not found or int(found[2]) > 23 or int(found[3]) > 59:
            raise ScheduleError(
                f"{text!r} is no schedule; write for example every 6h, daily 03:00 or Mon,Thu 20:30"
            )
        return cls(None, _days(found[1]), int(found[2]), int(found[3]))

    def next(self, last: datetime) -> datetime:
        """The first moment after ``last``, the beginning of the last run, at which another one is due."""
        if self.every is not None:
            return last + self.every
        at = last.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        return next(
            day
            for day in (at + timedelta(days=ahead) for ahead in range(8))
            if day > last and day.weekday() in self.days
        )

    def timer(self) -> list[str]:
        """The same in systemd's words (systemd.timer(5)), lines of a ``[Timer]`` section."""
        if self.every is not None:
            minutes = int(self.every.total_seconds() // 60)
            return [f"OnActiveSec={minutes}min", f"OnUnitActiveSec={minutes}min"]
        days = "" if len(self.days) == 7 else ",".join(_DAYS[day] for day in self.days) + " "
        return [f"OnCalendar={days}*-*-* {self.hour:02}:{self.minute:02}:00", "Persistent=true"]


def _days(text: str) -> tuple[int, ...]:
    if text.lower() == "daily":
        return tuple(range(7))
    found = set()
    for name in text.split(","):
        if name.title() not in _DAYS:
            raise ScheduleError(f"{name!r} is no day; write daily, or days such as Mon,Thu")
        found.add(_DAYS.index(name.title()))
    return tuple(sorted(found))
