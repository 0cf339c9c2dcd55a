"""Schedules: what they mean, and what is none."""

from datetime import datetime

import pytest

from photosync.schedule import Schedule, ScheduleError

MONDAY = datetime(2026, 11, 23, 12, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("every 6h", datetime(2026, 11, 23, 18, 0)),
        ("Every 45 m", datetime(2026, 11, 23, 12, 45)),
        ("daily 03:00", datetime(2026, 11, 24, 3, 0)),
        ("daily 12:00", datetime(2026, 11, 24, 12, 0)),
        ("daily 12:01", datetime(2026, 11, 23, 12, 1)),
        ("Mon 12:00", datetime(2026, 11, 30, 12, 0)),
        ("mon,Thu 8:30", datetime(2026, 11, 26, 8, 30)),
    ],
)
def test_next(text: str, expected: datetime) -> None:
    assert Schedule.parse(text).next(MONDAY) == expected


@pytest.mark.parametrize(
    "text", ["", "sometimes", "every 1m", "every h", "daily 24:00", "Mo 10:00", "daily 3"]
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ScheduleError, match=r"write|least"):
        Schedule.parse(text)


def test_timers() -> None:
    assert Schedule.parse("Mon,Thu 20:30").timer()[0] == "OnCalendar=Mon,Thu *-*-* 20:30:00"
    assert Schedule.parse("every 2h").timer() == ["OnActiveSec=120min", "OnUnitActiveSec=120min"]
