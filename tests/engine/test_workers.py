"""Scopes, channels and budgets, on real threads and under the scheduler."""

import threading
import time
import weakref

import pytest

from photosync.engine import workers as module
from photosync.engine.errors import Permanent
from photosync.engine.senders import Senders
from photosync.engine.width import Width
from photosync.engine.workers import ByteBudget, Cancelled, Channel, Errand, Threads, Workers
from tests.engine.rig import simulate
from tests.sim.scheduler import Scheduler


def test_the_first_error_cancels_the_others_and_leaves_as_itself() -> None:
    ended: list[str] = []
    with pytest.raises(Permanent, match="first"), Workers(Threads()) as workers:  # noqa: PT012

        def fail() -> None:
            raise Permanent("first")

        def wait() -> None:
            try:
                workers.sleep(60)
            except Cancelled:
                ended.append("cancelled")
                raise

        workers.start(wait, "waits")
        workers.start(fail, "fails")
    assert ended == ["cancelled"]


def test_several_errors_leave_as_a_group() -> None:
    barrier = threading.Barrier(2)

    def fail(text: str) -> None:
        barrier.wait(5)
        raise Permanent(text)

    with pytest.raises(BaseExceptionGroup) as told, Workers(Threads()) as workers:  # noqa: PT012
        workers.start(lambda: fail("a"), "a")
        workers.start(lambda: fail("b"), "b")
    assert sorted(str(error) for error in told.value.exceptions) == ["a", "b"]


def test_an_error_of_the_body_cancels_the_threads() -> None:
    seen: list[bool] = []
    with pytest.raises(ValueError, match="body"), Workers(Threads()) as workers:  # noqa: PT012

        def wait() -> None:
            try:
                workers.sleep(60)
            finally:
                seen.append(workers.cancelled)

        workers.start(wait, "waits")
        raise ValueError("body")
    assert seen == [True]


@pytest.mark.parametrize("seed", range(10))
def test_an_errand_is_run_beside_its_scope_and_fails_it(seed: int) -> None:
    def body(seam: Scheduler) -> None:
        began = seam.monotonic()
        with Workers(seam) as workers:
            errand = Errand(workers, lambda: workers.sleep(10) or 7, "asks")
            errand.begin()
            errand.begin()
            workers.sleep(9)
            assert errand.result() == 7
        assert seam.monotonic() == began + 10

        def fail() -> int:
            workers.sleep(5)
            raise Permanent("odd")

        with pytest.raises(Permanent, match="odd"), Workers(seam) as workers:  # noqa: PT012
            errand = Errand(workers, fail, "fails")
            errand.begin()
            workers.sleep(1000)
        assert seam.monotonic() == began + 15
        with pytest.raises(Permanent, match="odd"), Workers(seam) as workers:
            Errand(workers, fail, "fails").result()

    simulate(body, seed)


@pytest.mark.parametrize("seed", range(20))
def test_cancelling_wakes_every_waiter(seed: int) -> None:
    """Whatever it waits for: an item, memory, time, the end of the others."""

    def body(seam: Scheduler) -> None:
        woken: list[str] = []
        with Workers(seam) as workers:
            channel: Channel[int] = Channel(workers)
            budget = ByteBudget(workers, 10)
            budget.acquire(10)
            waits = {
                "item": lambda: list(channel),
                "memory": lambda: budget.acquire(1),
                "time": lambda: workers.sleep(10_000),
            }

            def wait(name: str) -> None:
                try:
                    waits[name]()
                except Cancelled:
                    woken.append(name)
                    raise

            for name in waits:
                workers.start(lambda name=name: wait(name), name)  # type: ignore[misc]
            workers.cancel()
        assert sorted(woken) == ["item", "memory", "time"]
        assert seam.monotonic() == 1000.0

    simulate(body, seed)


def test_ctrl_c_while_waiting_cancels_and_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    workers = Workers(Threads())

    def wait() -> None:
        try:
            workers.sleep(60)
        except Cancelled:
            seen.append("cancelled")
            raise

    workers.start(wait, "waits")
    real = workers._state.wait
    calls = 0

    def interrupted(timeout: float | None = None) -> bool:
        nonlocal calls
        if threading.current_thread() is threading.main_thread():
            calls += 1
            if calls == 1:
                raise KeyboardInterrupt
        return real(timeout)

    monkeypatch.setattr(workers._state, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        workers.join()
    assert seen == ["cancelled"]


def test_a_thread_that_hangs_is_left_behind_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.2)
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(ValueError), Workers(Threads()) as workers:  # noqa: PT012
        workers.start(lambda: release.wait(30) and None, "hangs")
        raise ValueError("stop")
    assert 0.2 <= time.monotonic() - began < 5
    release.set()


def test_a_thread_that_cannot_be_started_does_not_hold_up_the_scope() -> None:
    class Exhausted(Threads):
        def start(self, run: object, name: str) -> None:
            raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="start new thread"), Workers(Exhausted()) as workers:
        workers.start(lambda: None, "never")


def test_join_may_be_called_again_and_again() -> None:
    done: list[int] = []
    with Workers(Threads()) as workers:
        for number in range(3):
            workers.start(lambda number=number: done.append(number), "w")  # type: ignore[misc]
            workers.join()
    assert done == [0, 1, 2]


@pytest.mark.parametrize("seed", range(10))
def test_a_channel_delivers_each_item_once_also_after_it_was_closed(seed: int) -> None:
    def body(seam: Scheduler) -> None:
        got: list[int] = []
        with Workers(seam) as workers:
            channel: Channel[int] = Channel(workers)

            def take() -> None:
                for item in channel:
                    got.append(item)
                    if item < 5:
                        channel.put(item + 100)

            for number in range(3):
                workers.start(take, f"t{number}")
            for item in range(20):
                channel.put(item)
            assert not channel.empty() or len(got) >= 20
            channel.close()
        assert sorted(got) == [*range(20), *range(100, 105)]

    simulate(body, seed)


@pytest.mark.parametrize("seed", range(10))
def test_a_budget_is_kept_and_a_large_request_goes_alone(seed: int) -> None:
    def body(seam: Scheduler) -> None:
        held = 0
        alone: list[int] = []
        with Workers(seam) as workers:
            budget = ByteBudget(workers, 10)

            def use(size: int) -> None:
                nonlocal held
                budget.acquire(size)
                held += size
                if size > 10:
                    alone.append(held)
                else:
                    assert held <= 10
                workers.sleep(0.1)
                held -= size
                budget.release(size)

            for number, size in enumerate([3, 4, 5, 25, 10, 1, 9]):
                workers.start(lambda size=size: use(size), f"u{number}")  # type: ignore[misc]
            workers.join()
            assert budget.acquire_while(10, never)
            assert not budget.acquire_while(1, never)
            budget.exceed(5)
            budget.release(15)
            assert budget.acquire_while(10, never)
        assert alone == [25]

    simulate(body, seed)


def test_who_waits_for_more_holds_nothing_of_what_was_taken() -> None:
    """An idle sender that kept its last task would keep the part of a film in it, uncounted."""

    class Part:
        pass

    def body(seam: Scheduler) -> None:
        part = Part()
        gone = weakref.ref(part)
        with Workers(seam) as workers:
            senders = Senders(workers, Width(1))
            senders.tasks.put(lambda part=part: None)  # type: ignore[misc]
            del part
            senders.start(1)
            workers.sleep(1)
            assert gone() is None
            senders.tasks.close()

    simulate(body)


def never() -> bool:
    return False


@pytest.mark.parametrize("seed", range(10))
def test_a_budget_is_waited_for_while_something_comes(seed: int) -> None:
    def body(seam: Scheduler) -> None:
        under_way = 2
        with Workers(seam) as workers:
            budget = ByteBudget(workers, 10)
            budget.acquire(10)

            def end() -> None:
                nonlocal under_way
                for _ in range(2):
                    workers.sleep(0.1)
                    under_way -= 1
                    budget.release(3)

            workers.start(end, "end")
            assert budget.acquire_while(6, lambda: under_way > 0)
            assert under_way == 0
            assert not budget.acquire_while(1, lambda: under_way > 0)

    simulate(body, seed)
