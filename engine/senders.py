"""Threads that talk to a destination: as many as are worth it, never more than are allowed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from photosync.engine.width import Width
from photosync.engine.workers import Channel, Workers


class Senders:
    """Carries out what is queued for a destination.

    Threads are started as the width grows; when it shrinks, those that are too many wait.

    Args:
        workers: scope for the threads.
        width: how many calls may be in flight.

    Attributes:
        tasks: what is to be done; each ends its items by itself.
    """

    def __init__(self, workers: Workers, width: Width) -> None:
        self.tasks: Channel[Callable[[], None]] = Channel(workers)
        self._workers = workers
        self._width = width
        self._monitor = workers.monitor()
        self._threads = 0
        self._useful = 0
        self._active = 0

    def start(self, useful: int) -> None:
        """Starts the first threads.

        Args:
            useful: calls that there may ever be work for at once.
        """
        self._useful = useful
        self._grow()

    def arrived(self, size: int) -> None:
        """Bytes of a file arrived at the destination."""
        with self._monitor:
            before = self._width.limit
            self._width.took(size, self._workers.seam.monotonic(), full=self._active >= before)
            grown = self._width.limit > before
            if grown:
                self._monitor.notify_all()
        if grown:
            self._grow()

    def _grow(self) -> None:
        with self._monitor:
            first = self._threads
            last = self._threads = max(first, min(self._width.limit, self._useful))
        for number in range(first, last):
            self._workers.start(self._run, f"send-{number}")

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Around calls to the destination: waits until one more may be in flight."""
        with self._monitor:
            while self._active >= self._width.limit:
                self._workers.check()
                self._monitor.wait()
            self._active += 1
        try:
            yield
        finally:
            with self._monitor:
                self._active -= 1
                self._monitor.notify()

    def _run(self) -> None:
        for task in self.tasks:
            with self.calling():
                task()
            # Who waits for the next one must not hold what this one sent.
            del task
