"""Trying again: what, how often, how long between."""

import pytest

from photosync.engine import retry
from photosync.engine.errors import (
    Corrupt,
    DestinationFull,
    Fatal,
    Permanent,
    RateLimited,
    Transient,
    Trouble,
)
from photosync.engine.limits import Gate
from photosync.engine.retry import RetryPolicy
from photosync.engine.workers import Workers
from tests.engine.rig import simulate
from tests.sim.scheduler import Scheduler

POLICY = RetryPolicy(attempts=4, first_wait=1.0, longest_wait=60.0)


def seconds_and_calls(errors: list[Exception], expected: type[Exception] | None = None) -> tuple[float, int]:
    """Runs a call that fails with these errors in turn; virtual seconds that passed, and calls made."""
    result: list[tuple[float, int]] = []

    def body(seam: Scheduler) -> None:
        left = list(errors)
        calls = 0

        def run() -> str:
            nonlocal calls
            calls += 1
            if left:
                raise left.pop(0)
            return "done"

        with Workers(seam) as workers:
            if expected is None:
                assert retry.call(run, "storing a.jpg", workers, Gate(workers), POLICY) == "done"
            else:
                with pytest.raises(expected):
                    retry.call(run, "storing a.jpg", workers, Gate(workers), POLICY)
        result.append((seam.monotonic() - 1000.0, calls))

    simulate(body)
    return result[0]


def test_transient_errors_are_tried_again_with_growing_waits() -> None:
    seconds, calls = seconds_and_calls([Transient("1"), ConnectionResetError("2"), Transient("3")])
    assert calls == 4
    assert 0.5 + 1 + 2 <= seconds <= 1 + 2 + 4


def test_attempts_are_counted() -> None:
    assert seconds_and_calls([Transient("x")] * 9, Transient)[1] == 4


def test_every_further_try_is_counted_by_its_reason() -> None:
    def body(seam: Scheduler) -> None:
        left: list[Exception] = [
            Transient("1", trouble=Trouble.SERVER),
            ConnectionResetError("2"),
            Transient("3", 1.0, Trouble.THROTTLED),
        ]

        def run() -> None:
            if left:
                raise left.pop()

        with Workers(seam) as workers:
            gate = Gate(workers)
            retry.call(run, "a", workers, gate, POLICY)
            retry.call(run, "b", workers, gate, POLICY)
        assert gate.retries == {Trouble.SERVER: 1, Trouble.NETWORK: 1, Trouble.THROTTLED: 1}

    simulate(body)


@pytest.mark.row(34)
def test_retry_after_is_obeyed() -> None:
    seconds, calls = seconds_and_calls([Transient("slow down", retry_after=17.0)])
    assert (seconds, calls) == (pytest.approx(17.0), 2)


@pytest.mark.row(34)
def test_retry_after_is_capped() -> None:
    assert seconds_and_calls([Transient("slow down", retry_after=86_400.0)])[0] == pytest.approx(60.0)


@pytest.mark.row(34)
def test_retry_after_holds_back_every_caller() -> None:
    def body(seam: Scheduler) -> None:
        seen: list[float] = []
        first = [Transient("slow down", retry_after=30.0)]

        def limited() -> None:
            if first:
                raise first.pop()

        with Workers(seam) as workers:
            gate = Gate(workers)
            workers.start(lambda: retry.call(limited, "a", workers, gate, POLICY), "limited")
            workers.sleep(1)
            retry.call(lambda: seen.append(seam.monotonic()), "b", workers, gate, POLICY)
            workers.join()
        assert seen == [pytest.approx(1030.0)]

    simulate(body)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Permanent("no"), Permanent),
        (Corrupt("no"), Corrupt),
        (Fatal("no"), Fatal),
        (ValueError("bug"), Permanent),
        (PermissionError(13, "Permission denied"), Permanent),
        (OSError(28, "No space"), DestinationFull),
        (FileNotFoundError(2, "none"), FileNotFoundError),
    ],
)
@pytest.mark.row(21)
def test_what_does_not_pass_is_not_tried_again(error: Exception, raised: type[Exception]) -> None:
    assert seconds_and_calls([error], raised) == (0.0, 1)


def test_the_message_says_what_was_done_and_the_cause_is_kept() -> None:
    def body(seam: Scheduler) -> None:
        cause = PermissionError(13, "Permission denied")

        def run() -> None:
            raise cause

        words = r"storing a.jpg: Permission denied"
        with Workers(seam) as workers, pytest.raises(Permanent, match=words) as told:
            retry.call(run, "storing a.jpg", workers, Gate(workers), POLICY)
        assert told.value.__cause__ is cause

    simulate(body)


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_waits_double_up_to_the_longest(jitter: float) -> None:
    policy = RetryPolicy(first_wait=1.0, longest_wait=10.0)
    waits = [policy.wait(attempt, Transient("x"), jitter) for attempt in range(1, 7)]
    for wait, ceiling in zip(waits, [1, 2, 4, 8, 10, 10], strict=True):
        assert ceiling / 2 <= wait <= ceiling


def test_a_limit_slows_down_whoever_comes_after() -> None:
    def body(seam: Scheduler) -> None:
        refusals: list[Exception] = [
            RateLimited("too many"),
            RateLimited("too many"),
            RateLimited("too many"),
        ]

        def limited() -> float:
            if refusals:
                raise refusals.pop()
            return seam.monotonic()

        with Workers(seam) as workers:
            gate = Gate(workers)
            first = retry.call(limited, "a", workers, gate, POLICY)
            second = retry.call(limited, "b", workers, gate, POLICY)
            assert second - first == pytest.approx(0.2 * 0.95, rel=0.1)

    simulate(body)
