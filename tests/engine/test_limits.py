"""Bandwidth notation, timetables over a week, and the gate, in virtual time."""

import datetime
from itertools import pairwise

import pytest

from photosync.engine.limits import Gate, LimitError, Pace, Timetable, parse_rate
from photosync.engine.workers import Cancelled, Workers
from tests.engine.rig import simulate
from tests.sim.scheduler import Scheduler


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("512k", 512 << 10),
        ("10M", 10 << 20),
        ("1.5G", 1.5 * (1 << 30)),
        ("1T", 1 << 40),
        ("100", 100 << 10),
        ("100B", 100),
        ("10MB", 10 << 20),
        ("10MiB/s", 10 << 20),
        (" 1 m ", 1 << 20),
        ("off", None),
        ("0", None),
        ("OFF", None),
    ],
)
def test_rates(text: str, rate: float | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1M", "1,5M", "0.0", "10X", "1e6", "nan", "inf"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(LimitError, match="no bandwidth"):
        parse_rate(text)


def at(table: Timetable, day: int, hour: int, minute: int = 0) -> float | None:
    """The rate on a day of a week that begins on Monday, local time."""
    moment = datetime.datetime(2026, 3, 2 + day, hour, minute)
    return table.rate(int(moment.timestamp() * 1e9))


def test_one_rate_holds_always() -> None:
    table = Timetable.parse("1M")
    assert {at(table, day, hour) for day in range(7) for hour in (0, 12, 23)} == {1 << 20}


def test_a_day_wraps_at_midnight() -> None:
    table = Timetable.parse("08:00,512k 19:00,10M 23:00,off")
    assert at(table, 2, 7, 59) is None
    assert at(table, 2, 8) == 512 << 10
    assert at(table, 2, 18, 59) == 512 << 10
    assert at(table, 2, 19) == 10 << 20
    assert at(table, 2, 23) is None


def test_a_week_wraps_from_sunday_to_monday() -> None:
    table = Timetable.parse("Mon-08:00,1M Sat-10:00,off")
    assert at(table, 0, 7, 59) is None
    assert at(table, 0, 8) == 1 << 20
    assert at(table, 5, 9, 59) == 1 << 20
    assert at(table, 5, 10) is None
    assert at(table, 6, 23, 59) is None


def test_a_single_step_holds_all_week() -> None:
    table = Timetable.parse("Wed-12:00,1k")
    assert {at(table, day, hour) for day in range(7) for hour in (0, 11, 13)} == {1 << 10}


@pytest.mark.parametrize(
    "text", ["", " ", "08:00,1M 2M", "24:00,1M", "08:60,1M", "Foo-08:00,1M", "8,1M", "08:00,fast"]
)
def test_what_is_no_timetable_is_refused(text: str) -> None:
    with pytest.raises(LimitError):
        Timetable.parse(text)


def test_requests_are_spread() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers, requests_per_second=4)
            began = seam.monotonic()
            for _ in range(9):
                gate.enter()
            assert seam.monotonic() - began == pytest.approx(2.0)

    simulate(body)


def test_requests_are_spread_over_threads() -> None:
    def body(seam: Scheduler) -> None:
        times: list[float] = []
        with Workers(seam) as workers:
            gate = Gate(workers, requests_per_second=10)

            def work() -> None:
                for _ in range(5):
                    gate.enter()
                    times.append(seam.monotonic())

            for number in range(4):
                workers.start(work, f"w{number}")
            workers.join()
        times.sort()
        gaps = [later - sooner for sooner, later in pairwise(times)]
        assert min(gaps) >= 0.0999
        assert len(times) == 20

    simulate(body)


def test_without_limits_nothing_waits() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers)
            for _ in range(100):
                gate.enter()
                gate.spend(1 << 30)
            assert seam.monotonic() == 1000.0

    simulate(body)


def test_bandwidth_is_kept_on_average() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers, bandwidth=Timetable.parse("1M"))
            for _ in range(11):
                gate.spend(1 << 20)
            assert seam.monotonic() - 1000.0 == pytest.approx(10.0)

    simulate(body)


def test_time_that_was_not_used_is_not_saved_up() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers, bandwidth=Timetable.parse("1M"))
            workers.sleep(3600)
            for _ in range(3):
                gate.spend(1 << 20)
            assert seam.monotonic() - 4600.0 == pytest.approx(2.0)

    simulate(body)


def test_hold_holds_back_everybody_and_never_shortens() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers)
            gate.hold(30)
            gate.hold(1)
            gate.enter()
            assert seam.monotonic() == pytest.approx(1030.0)

    simulate(body)


def test_cancelling_ends_the_waiting() -> None:
    def body(seam: Scheduler) -> None:
        ended: list[float] = []
        with Workers(seam) as workers:
            gate = Gate(workers)
            gate.hold(10_000)

            def wait() -> None:
                try:
                    gate.enter()
                except Cancelled:
                    ended.append(seam.monotonic())
                    raise

            workers.start(wait, "waits")
            workers.sleep(1)
            workers.cancel()
        assert ended == [1001.0]

    simulate(body)


def intervals(gate: Gate, seam: Scheduler, count: int) -> list[float]:
    """Seconds between requests that all go through."""
    times = []
    for _ in range(count):
        gate.enter()
        times.append(seam.monotonic())
        gate.passed()
    return [later - sooner for sooner, later in pairwise(times)]


def test_a_place_that_refuses_is_asked_less_and_then_more_again() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers)
            for _ in range(3):
                gate.slow_down()
                workers.sleep(1)
            gaps = intervals(gate, seam, 200)
            assert gaps[0] == pytest.approx(0.2, rel=0.1)
            assert gaps == sorted(gaps, reverse=True)
            assert gaps[-1] == 0.0

    simulate(body)


def test_refusals_that_come_together_count_once() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers)
            for _ in range(10):
                gate.slow_down()
            assert intervals(gate, seam, 3)[0] == pytest.approx(0.05, rel=0.1)

    simulate(body)


def test_a_place_that_always_refuses_is_still_asked() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers)
            for _ in range(50):
                gate.slow_down()
                workers.sleep(10)
            before = seam.monotonic()
            gate.enter()
            gate.enter()
            assert seam.monotonic() - before <= 4.0

    simulate(body)


def test_the_users_own_limit_stays_when_a_place_recovers() -> None:
    def body(seam: Scheduler) -> None:
        with Workers(seam) as workers:
            gate = Gate(workers, requests_per_second=10)
            gate.slow_down()
            gaps = intervals(gate, seam, 100)
            assert min(gaps) == pytest.approx(0.1)

    simulate(body)


def test_a_call_may_carry_what_the_line_moves_in_a_quarter_of_a_minute() -> None:
    pace = Pace(48 << 20)
    assert pace.limit == 48 << 20
    pace.took(48 << 20, 48.0)
    assert pace.limit == 15 << 20
    pace.took(15 << 20, 15.0)
    assert pace.limit == 15 << 20
    pace.took(15 << 20, 1.0)
    assert pace.limit == 30 << 20, "a faster line is believed step by step"
    pace.took(1000, 0.001)
    assert pace.limit == 30 << 20, "a small call says nothing"
    pace.took(30 << 20, 0.0)
    assert pace.limit == 48 << 20


def test_a_line_that_loses_calls_gets_smaller_ones_but_never_none() -> None:
    pace = Pace(8 << 20)
    for _ in range(9):
        pace.lost()
    assert pace.limit == 1 << 20
    pace.took(1 << 20, 3600.0)
    assert pace.limit == 1 << 20
    tiny = Pace(100)
    tiny.lost()
    assert tiny.limit == 100
