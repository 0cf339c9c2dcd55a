"""The only place that starts threads, waits, locks, or reads a clock.

Everything in the engine that blocks does so through a `Seam`. `Threads` is the real one. A simulation
supplies another that runs the same code with one thread at a time, a seeded scheduler and a virtual clock.

A `Workers` scope owns the threads started in it: leaving the scope waits for them all, the first error
cancels the others, and nothing outlives it but a call that the operating system will not interrupt.
"""

import gc
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Cancelled(BaseException):
    """The scope was cancelled. Not an `Exception`: nothing may swallow it on the way out."""


class Monitor(Protocol):
    """A lock with one condition, as `threading.Condition`."""

    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def notify(self, n: int = 1) -> None: ...
    def notify_all(self) -> None: ...


class Seam(Protocol):
    """What the engine needs of threads and time."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch. Advisory: nothing is skipped, replaced or deleted by it."""
        ...

    def random(self) -> float:
        """Jitter for backoff, 0 ≤ x < 1."""
        ...

    def start(self, run: Callable[[], None], name: str) -> None:
        """Runs a function on a thread of its own."""
        ...

    def monitor(self) -> Monitor: ...


class Threads:
    """The real seam: daemon threads, so that a hung read cannot keep the process alive."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ns(self) -> int:
        return time.time_ns()

    def random(self) -> float:
        return random.random()

    def start(self, run: Callable[[], None], name: str) -> None:
        threading.Thread(target=run, name=name, daemon=True).start()

    def monitor(self) -> Monitor:
        return threading.Condition()


class _Collector:
    """Python's collector of cycles, paused as long as anybody wants it to be."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses = 0
        self._was_on = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For what makes very many objects of which none is in a cycle.

        A listing of 100,000 files is half a million objects; looking through them again and again was a third
        of what a run with nothing to do costs. Not for what handles files' contents: those must go at once.
        """
        with self._lock:
            if not self._pauses:
                self._was_on = gc.isenabled()
                gc.disable()
            self._pauses += 1
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                if not self._pauses and self._was_on:
                    gc.enable()


collector = _Collector()

GRACE = 10.0
"""Seconds that a cancelled scope waits for calls in progress before it leaves their threads behind."""


class Workers:
    """A scope for threads, to be used as a context manager.

    Leaving it waits for every thread. If the body or a thread fails, the rest is cancelled and the errors
    leave together as an `ExceptionGroup` (a single one leaves as itself).

    Args:
        seam: where threads and time come from.
        within: a scope whose cancellation cancels this one, too. It does not wait for this one's threads.
    """

    def __init__(self, seam: Seam, within: "Workers | None" = None) -> None:
        self.seam = seam
        self._state = seam.monitor()
        self._running = 0
        self._errors: list[BaseException] = []
        self._cancelled = False
        self._monitors: list[Monitor] = [self._state]
        self._inner: list[Workers] = []
        self._within = within
        if within is not None:
            within._adopt(self)

    def _adopt(self, scope: "Workers") -> None:
        with self._state:
            self._inner.append(scope)
            cancelled = self._cancelled
        if cancelled:
            scope.cancel()

    def _part_with(self, scope: "Workers") -> None:
        with self._state:
            self._inner.remove(scope)

    def monitor(self) -> Monitor:
        """A monitor whose waiters wake up when the scope is cancelled."""
        monitor = self.seam.monitor()
        self.watch(monitor)
        return monitor

    def watch(self, monitor: Monitor) -> None:
        """Wakes another scope's monitor, too, when this one is cancelled."""
        with self._state:
            self._monitors.append(monitor)

    def start(self, run: Callable[[], None], name: str) -> None:
        """Starts a thread that belongs to this scope."""

        def body() -> None:
            try:
                run()
            except Cancelled:
                pass
            except BaseException as error:
                with self._state:
                    self._errors.append(error)
                self.cancel()
            finally:
                with self._state:
                    self._running -= 1
                    self._state.notify_all()

        with self._state:
            self._running += 1
        try:
            self.seam.start(body, name)
        except BaseException:
            with self._state:
                self._running -= 1
            raise

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Asks every thread of the scope to stop at its next check or wait."""
        with self._state:
            self._cancelled = True
            monitors, inner = list(self._monitors), list(self._inner)
        for monitor in monitors:
            with monitor:
                monitor.notify_all()
        for scope in inner:
            scope.cancel()

    def check(self) -> None:
        """Raises `Cancelled` if the scope was cancelled."""
        if self._cancelled:
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Waits; raises `Cancelled` as soon as the scope is cancelled."""
        until = self.seam.monotonic() + seconds
        with self._state:
            while not self._cancelled and (left := until - self.seam.monotonic()) > 0:
                self._state.wait(left)
        self.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.join()
                return
            self.cancel()
            self._wait()
            if isinstance(error, Cancelled):
                # What stopped the body is what a thread failed of.
                self._raise()
        finally:
            if self._within is not None:
                self._within._part_with(self)

    def join(self) -> None:
        """Waits until no thread of the scope runs.

        Raises:
            BaseException: what a thread raised; several as a `BaseExceptionGroup`.
        """
        try:
            self._wait()
        except BaseException:
            self.cancel()
            self._wait()
            raise
        self._raise()

    def _raise(self) -> None:
        if self._errors:
            errors, self._errors = self._errors, []
            if len(errors) == 1:
                raise errors[0]
            raise BaseExceptionGroup("several workers failed", errors)

    def _wait(self) -> None:
        deadline: float | None = None
        with self._state:
            while self._running:
                if self._cancelled and deadline is None:
                    deadline = self.seam.monotonic() + GRACE
                left = None if deadline is None else deadline - self.seam.monotonic()
                if left is not None and left <= 0:
                    return
                self._state.wait(left)


class Channel(Generic[T]):
    """A queue between threads of one scope. Its length is bounded by what fills it, see `ByteBudget`.

    Raises:
        Cancelled: from every waiting method, once the scope is cancelled.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._monitor = workers.monitor()
        self._items: deque[T] = deque()
        self._closed = False

    def put(self, item: T) -> None:
        with self._monitor:
            self._items.append(item)
            self._monitor.notify()

    def empty(self) -> bool:
        """Whether nothing is queued at the moment."""
        with self._monitor:
            return not self._items

    def close(self) -> None:
        """No more will be put; what is queued is still delivered."""
        with self._monitor:
            self._closed = True
            self._monitor.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Items until the channel is closed and empty; several threads may iterate at once."""
        while True:
            with self._monitor:
                while not self._items and not self._closed:
                    self._workers.check()
                    self._monitor.wait()
                self._workers.check()
                if not self._items:
                    return
                # Not by a name of its own: it would be kept until there is another.
                given = [self._items.popleft()]
            yield given.pop()


class Errand(Generic[R]):
    """Something that a thread finds out while its scope does something else.

    Args:
        workers: the scope.
        run: what it raises cancels the scope.
        name: of the thread.
    """

    def __init__(self, workers: Workers, run: Callable[[], R], name: str) -> None:
        self._workers, self._run, self._name = workers, run, name
        self._found: Channel[R] = Channel(workers)
        self._begun = False

    def begin(self) -> None:
        """Starts it, unless it was; only from the thread that waits for it."""
        if not self._begun:
            self._begun = True
            self._workers.start(lambda: self._found.put(self._run()), self._name)

    def result(self) -> R:
        """What was found out; begins, and waits, if need be. To be asked for once.

        Raises:
            Cancelled: it failed, or the scope was cancelled; the scope tells which.
        """
        self.begin()
        return next(iter(self._found))


def each(workers: Workers, threads: int, items: Sequence[T], run: Callable[[T], R], name: str) -> list[R]:
    """Runs a function over items on several threads of a scope.

    Args:
        workers: the scope; it is waited for.
        threads: most of them.
        items: what to run it over.
        run: what it raises cancels the scope.
        name: of the threads.

    Returns:
        The results, in no particular order.
    """
    queue: Channel[T] = Channel(workers)
    results: list[R] = []
    guard = workers.monitor()
    for item in items:
        queue.put(item)
    queue.close()

    def work() -> None:
        for item in queue:
            result = run(item)
            with guard:
                results.append(result)

    for number in range(max(1, min(threads, len(items)))):
        workers.start(work, f"{name}-{number}")
    workers.join()
    return results


class ByteBudget:
    """Bounds the bytes held in memory by everything in flight.

    Args:
        workers: the scope.
        limit: bytes. A request larger than that is granted alone.
    """

    def __init__(self, workers: Workers, limit: int) -> None:
        self._workers = workers
        self._monitor = workers.monitor()
        self._limit = limit
        self._used = 0

    def acquire_while(self, size: int, coming: Callable[[], bool]) -> bool:
        """Takes bytes; waits for them as long as some are sure to come, and gives False if none are.

        Args:
            size: bytes.
            coming: whether somebody will release some without waiting for any. Asked again at each release,
                so whoever makes it false does so before that.
        """
        with self._monitor:
            while self._used and self._used + size > self._limit:
                if not coming():
                    return False
                self._workers.check()
                self._monitor.wait()
            self._workers.check()
            self._used += size
            return True

    def acquire(self, size: int) -> None:
        """Takes bytes; waits for them."""
        self.acquire_while(size, lambda: True)

    def release(self, size: int) -> None:
        with self._monitor:
            self._used -= size
            self._monitor.notify_all()

    def exceed(self, size: int) -> None:
        """Counts bytes that are in memory already, whatever the limit."""
        with self._monitor:
            self._used += size
