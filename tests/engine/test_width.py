"""How many calls are in flight: grows while that brings more, shrinks when it does not or is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from photosync.engine.errors import RateLimited
from photosync.engine.limits import Gate
from photosync.engine.senders import Senders
from photosync.engine.width import Width
from photosync.engine.workers import Workers
from tests.engine.rig import Rig, simulate
from tests.sim.scheduler import Scheduler


@dataclass
class Line:
    """A place that answers each call after a while, and carries so many calls a second at most.

    Attributes:
        wait: seconds.
        most: calls a second.
    """

    wait: float
    most: float = 1e9
    now: float = 0.0

    def use(self, width: Width, calls: int, size: int = 100_000) -> None:
        for _ in range(calls):
            self.now += max(self.wait / width.limit, 1 / self.most)
            width.took(size, self.now, full=True)


def test_a_slow_answer_is_met_by_more_calls() -> None:
    width, line = Width(128), Line(0.03)
    assert width.limit == 8
    line.use(width, 1_000)
    assert width.limit == 128


def test_a_full_line_is_not_crowded() -> None:
    width, line = Width(128), Line(0.03, most=300)
    line.use(width, 1_000)
    assert width.limit in (8, 16), "16 at once is all that such a line is worth"


def test_what_changes_is_tried_again() -> None:
    width, line = Width(128), Line(0.03, most=250)
    line.use(width, 1_000)
    assert width.limit == 8
    line.most = 1e9
    line.use(width, 3_000)
    assert width.limit == 128


def test_never_more_than_allowed() -> None:
    width, line = Width(3), Line(0.03)
    line.use(width, 1_000)
    assert width.limit == 3


def test_nothing_is_learnt_while_calls_are_missing() -> None:
    width = Width(128)
    for number in range(1_000):
        width.took(100_000, number * 0.01, full=False)
    assert width.limit == 8


def test_refusals_halve_it() -> None:
    width, line = Width(128), Line(0.03)
    line.use(width, 1_000)
    width.refused()
    assert width.limit == 64
    for _ in range(10):
        width.refused()
    assert width.limit == 1
    line.use(width, 5_000)
    assert width.limit > 1, "a refusal is not for ever"


def test_the_gate_tells_of_refusals() -> None:
    def body(scheduler: Scheduler) -> None:
        with Workers(scheduler) as workers:
            gate = Gate(workers)
            gate.width = Width(8)
            gate.slow_down()
            gate.slow_down()
            assert gate.width.limit == 4, "refusals within a moment are one"

    simulate(body)


@pytest.mark.parametrize("limit", [1, 8, 20])
def test_as_many_calls_at_once_as_it_says(limit: int) -> None:
    def body(scheduler: Scheduler) -> None:
        width = Width(limit)
        most = now = 0

        def call(senders: Senders, workers: Workers) -> Callable[[], None]:
            def run() -> None:
                nonlocal most, now
                now += 1
                most = max(most, now)
                workers.sleep(0.03)
                now -= 1
                senders.arrived(100_000)
                assert now <= width.limit

            return run

        with Workers(scheduler) as workers:
            senders = Senders(workers, width)
            for _ in range(400):
                senders.tasks.put(call(senders, workers))
            senders.tasks.close()
            senders.start(400)
        assert now == 0
        assert most == limit, "grown as far as it may"

    simulate(body)


def test_a_refused_upload_is_sent_by_fewer(tmp_path: Path) -> None:
    """A run that is refused once ends all the same, with everything delivered."""
    refused = []

    def setup(store: object) -> None:
        put = store.put  # type: ignore[attr-defined]

        def first_refused(blobs: object) -> object:
            if not refused:
                refused.append(blobs)
                raise RateLimited("too many", retry_after=1.0)
            return put(blobs)

        store.put = first_refused  # type: ignore[attr-defined]

    rig = Rig(tmp_path, setup=setup, can={"write_concurrency": 12})
    for number in range(30):
        rig.photo(f"{number}.jpg", b"photo %d" % number)
    rig.run()
    assert refused
    assert len(rig.outcomes) == 30
    assert all(outcome.stored for outcome in rig.outcomes.values())
