"""A deterministic seam: the engine's own blocking code on real threads, of which exactly one runs at a time.

Every effect (a wait, a notification, a store call) hands the baton to a scheduler that picks the next thread
with a seeded random generator; time is virtual and jumps to the next deadline when everybody waits. The same
seed gives the same trace.
"""

import hashlib
import random
import threading
from collections.abc import Callable
from types import TracebackType

from photosync.engine.workers import Monitor


class Crashed(BaseException):
    """The simulated process was killed. Nothing catches it."""


class Stuck(AssertionError):
    """Every thread waits and nothing will ever wake one: a deadlock in the engine."""


class _Task:
    def __init__(self, name: str) -> None:
        self.name = name
        self.baton = threading.Semaphore(0)
        self.ready = True
        self.deadline: float | None = None


class Scheduler:
    """Implements `photosync.engine.workers.Seam`.

    Args:
        seed: decides every choice.
        limit: most effects before the run counts as livelocked.

    Attributes:
        crash_at: effect at which the process dies.
        crash_unsynced: it dies when a name that it gave is to be synced.
    """

    def __init__(self, seed: int, limit: int = 200_000) -> None:
        self.dice = random.Random(seed)
        self.now = 1_000.0
        self.effects = 0
        self.crash_at: int | None = None
        self.crash_unsynced = False
        self.crashed = False
        self._named = False
        self._limit = limit
        self._tasks: list[_Task] = []
        self._threads: list[threading.Thread] = []
        self._current: _Task | None = None
        self._trace = hashlib.sha256()
        self.failure: BaseException | None = None

    # running

    def run(self, body: Callable[[], None]) -> None:
        """Runs a function, and all that it starts, to the end; raises what it raises."""
        main = _Task("main")
        self._tasks = [main]
        self._current = main
        done: list[BaseException | None] = []

        def start() -> None:
            main.baton.acquire()
            try:
                body()
                done.append(None)
            except BaseException as error:
                done.append(error)
            finally:
                self._leave(main)

        thread = threading.Thread(target=start, daemon=True)
        thread.start()
        main.baton.release()
        thread.join(120)
        if not done:
            raise self.failure or Stuck("the simulation did not end")
        for each in self._threads:
            # A dead process must not reach into what comes after it.
            each.join(60)
        if self.crashed:
            raise Crashed
        if self.failure is not None:
            raise self.failure
        if done[0] is not None:
            raise done[0]

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    def alive(self) -> None:
        """Raises `Crashed` in threads of a process that was killed."""
        if self.crashed or self.failure is not None:
            raise Crashed

    def effect(self, label: str) -> None:
        """A point at which another thread may go on, or the process may die."""
        self.alive()
        self.effects += 1
        self._trace.update(f"{self._name()}:{label};".encode())
        self._named = self._named or label.endswith((".rename", ".link"))
        unsynced = self.crash_unsynced and self._named and label.endswith(".fsync")
        if self.effects == self.crash_at or unsynced:
            self.crashed = True
            self._release_all()
            raise Crashed
        if self.effects > self._limit:
            self._fail(AssertionError("too many effects: the engine does not come to an end"))
        self._switch()

    def _name(self) -> str:
        return self._current.name if self._current else "?"

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self._release_all()
        raise Crashed

    def _release_all(self) -> None:
        for task in self._tasks:
            task.ready = True
            if task is not self._current:
                task.baton.release()

    def _switch(self) -> None:
        """Hands the baton to a seeded choice of the threads that can go on."""
        me = self._current
        assert me is not None
        chosen = self._choose()
        if chosen is me:
            return
        self._current = chosen
        chosen.baton.release()
        me.baton.acquire()
        self.alive()

    def _choose(self) -> _Task:
        ready = [task for task in self._tasks if task.ready]
        if not ready:
            sleepers = [task for task in self._tasks if task.deadline is not None]
            if not sleepers:
                self._fail(Stuck(f"deadlock: {[task.name for task in self._tasks]} all wait for ever"))
            first = min(sleepers, key=lambda task: task.deadline or 0.0)
            self.now = max(self.now, first.deadline or 0.0)
            first.ready, first.deadline = True, None
            ready = [first]
        return ready[0] if len(ready) == 1 else self.dice.choice(ready)

    def _leave(self, task: _Task) -> None:
        self._tasks.remove(task)
        if self.crashed or self.failure is not None or not self._tasks:
            return
        try:
            chosen = self._choose()
        except Crashed:
            return
        self._current = chosen
        chosen.baton.release()

    def park(self, timeout: float | None) -> None:
        """The running thread waits until it is woken, or for ``timeout`` virtual seconds."""
        me = self._current
        assert me is not None
        me.ready = False
        me.deadline = None if timeout is None else self.now + timeout
        self._switch()

    def wake(self, task: "_Task") -> None:
        task.ready, task.deadline = True, None

    @property
    def current(self) -> "_Task":
        assert self._current is not None
        return self._current

    # the seam

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int(self.now * 1e9) + 1_700_000_000_000_000_000

    def random(self) -> float:
        return self.dice.random()

    def start(self, run: Callable[[], None], name: str) -> None:
        task = _Task(f"{name}#{self.effects}")

        def body() -> None:
            task.baton.acquire()
            try:
                if not (self.crashed or self.failure):
                    run()
            except Crashed:
                pass
            finally:
                self._leave(task)

        self._tasks.append(task)
        thread = threading.Thread(target=body, daemon=True)
        self._threads.append(thread)
        thread.start()
        self.effect(f"start {name}")

    def monitor(self) -> Monitor:
        return SimMonitor(self)


class SimMonitor:
    """A re-entrant lock with a condition. Since one thread runs at a time, a lock is only ever contended
    when its owner gave the baton away while holding it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._owner: _Task | None = None
        self._depth = 0
        self._waiters: list[_Task] = []
        self._blocked: list[_Task] = []

    def __enter__(self) -> bool:
        self._scheduler.alive()
        me = self._scheduler.current
        while self._owner is not None and self._owner is not me:
            self._blocked.append(me)
            self._scheduler.park(None)
        self._owner = me
        self._depth += 1
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._unblock()

    def _unblock(self) -> None:
        for task in self._blocked:
            self._scheduler.wake(task)
        self._blocked.clear()

    def wait(self, timeout: float | None = None) -> bool:
        self._scheduler.alive()
        me = self._scheduler.current
        depth, self._depth, self._owner = self._depth, 0, None
        self._unblock()
        self._waiters.append(me)
        self._scheduler.park(timeout)
        if me in self._waiters:
            self._waiters.remove(me)
        while self._owner is not None:
            self._blocked.append(me)
            self._scheduler.park(None)
        self._owner, self._depth = me, depth
        return True

    def notify(self, n: int = 1) -> None:
        for task in self._waiters[:n]:
            self._scheduler.wake(task)
        del self._waiters[:n]

    def notify_all(self) -> None:
        self.notify(len(self._waiters))
