"""Trying again: which errors, how long to wait, and when to give up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from photosync.engine.errors import PhotosyncError, RateLimited, Transient, classify
from photosync.engine.limits import Gate
from photosync.engine.workers import Workers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How stubborn to be.

    Attributes:
        attempts: calls altogether, the first included.
        first_wait: seconds before the second call; doubled for each further one, with full jitter
            (Brooker, "Exponential Backoff And Jitter").
        longest_wait: seconds; also the cap on a server's Retry-After, so that a hostile or mistaken one
            cannot stop a run for a day.
    """

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 120.0

    def wait(self, attempt: int, error: Transient, jitter: float) -> float:
        """Seconds to wait after failed call number ``attempt`` (from 1)."""
        if error.retry_after is not None:
            return min(error.retry_after, self.longest_wait)
        return self.pause(attempt, jitter)

    def pause(self, attempt: int, jitter: float) -> float:
        """The same where nobody said how long; ``jitter``: 0 ≤ x < 1."""
        ceiling = min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1))
        return ceiling / 2 + ceiling / 2 * jitter


def call(
    run: Callable[[], T],
    doing: str,
    workers: Workers,
    gate: Gate,
    policy: RetryPolicy,
) -> T:
    """Runs a call against one place until it succeeds or there is no point in going on.

    Args:
        run: the call; must be safe to repeat.
        doing: for messages ("listing Photos").
        workers: scope whose cancellation ends the waiting.
        gate: the place's gate; a server's Retry-After holds back every caller of that place. It counts the
            retries.
        policy: how stubborn.

    Raises:
        PhotosyncError: the last error, once it is not transient or the attempts are used up.
            ``FileNotFoundError`` passes through: callers ask for it.
    """
    attempt = 0
    while True:
        attempt += 1
        gate.enter()
        try:
            result = run()
        except FileNotFoundError:
            raise
        except Exception as error:
            found: PhotosyncError = classify(error, doing)
            if isinstance(found, RateLimited):
                gate.slow_down()
            if not isinstance(found, Transient) or attempt >= policy.attempts:
                raise found from (error if error is not found else error.__cause__)
            gate.note(found.trouble)
            wait = policy.wait(attempt, found, workers.seam.random())
            if found.retry_after is not None:
                gate.hold(wait)
            else:
                workers.sleep(wait)
        else:
            gate.passed()
            return result
