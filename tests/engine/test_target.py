"""What stands at the destination: calls that may be repeated, and what their lost answers mean."""

from collections.abc import Callable

import pytest

from photosync.engine.capabilities import Stored
from photosync.engine.entry import Entry
from photosync.engine.errors import AlreadyExists, Corrupt, Permanent, Transient
from photosync.engine.hashing import fingerprint
from photosync.engine.limits import Gate
from photosync.engine.retry import RetryPolicy
from photosync.engine.target import QUARANTINE, Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Workers
from tests.engine.rig import simulate
from tests.sim.scheduler import Scheduler
from tests.sim.store import Faults, SimStore, World


def against(personality: str, body: Callable[[SimStore, Target], None]) -> World:
    """Runs a function against a destination that has "a" with the bytes b"here"."""
    world = World(personality)
    world.set("a", b"here", 5)

    def inside(seam: Scheduler) -> None:
        store = SimStore(world, seam, Faults())
        with Workers(seam) as workers:
            body(store, Target(store, workers, Gate(workers), RetryPolicy(attempts=3), Verify.AUTO))

    simulate(inside)
    return world


def lose_answers(store: SimStore, name: str, times: int = 1) -> None:
    """The call succeeds; its answer does not arrive."""
    real, left = getattr(store, name), [times]

    def call(*args: object) -> object:
        answer = real(*args)
        if left[0]:
            left[0] -= 1
            raise Transient("the answer was lost")
        return answer

    setattr(store, name, call)


@pytest.mark.parametrize("lost", [0, 1])
def test_setting_aside(lost: int) -> None:
    def body(store: SimStore, target: Target) -> None:
        lose_answers(store, "move", lost)
        target.set_aside("a", "away/a")

    assert {path: thing.data for path, thing in against("disk", body).things.items()} == {"away/a": b"here"}


def test_setting_aside_what_is_gone_already() -> None:
    against("disk", lambda _store, target: target.set_aside("none", "away/none"))


def test_setting_aside_never_replaces() -> None:
    def body(store: SimStore, target: Target) -> None:
        store.world.set("away/a", b"earlier", 1)
        with pytest.raises(AlreadyExists):
            target.set_aside("a", "away/a")

    world = against("disk", body)
    assert {thing.data for thing in world.things.values()} == {b"here", b"earlier"}


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_renaming(lost: int) -> None:
    def body(store: SimStore, target: Target) -> None:
        lose_answers(store, "move", lost)
        stored = target.rename("a", "b")
        assert stored is not None
        assert (stored.path, stored.size) == ("b", 4)

    assert set(against("disk", body).things) == {"b"}


def test_renaming_what_is_gone_does_not_claim_what_somebody_else_put_there() -> None:
    def body(store: SimStore, target: Target) -> None:
        store.world.set("b", b"strange", 1)
        assert target.rename("none", "b") is None
        assert target.rename("none", "c") is None
        assert target.rename("a", "b") is None

    assert against("disk", body).things["b"].data == b"strange"


@pytest.mark.parametrize("personality", ["disk", "objects"])
def test_sameness_is_of_bytes(personality: str) -> None:
    def body(store: SimStore, target: Target) -> None:
        existing = store.stat("a")
        evidence = target.same(existing, fingerprint(b"here"))
        assert evidence == ("reread" if personality == "disk" else "server-hash:sha256")
        assert target.same(existing, fingerprint(b"HERE")) is None
        assert target.same(existing, fingerprint(b"here!")) is None

    against(personality, body)


@pytest.mark.parametrize("lost", [0, 1])
def test_damage_loses_its_name_and_is_kept(lost: int) -> None:
    def body(store: SimStore, target: Target) -> None:
        lose_answers(store, "move", lost)
        with pytest.raises(Corrupt, match="was set aside"):
            target.prove(Stored("a", 4), fingerprint(b"HERE"), "x")

    world = against("disk", body)
    assert {path: thing.data for path, thing in world.things.items()} == {f"{QUARANTINE}/x/a": b"here"}


def test_damage_that_cannot_be_set_aside_is_told() -> None:
    def body(store: SimStore, target: Target) -> None:
        def deny(*_args: object) -> Stored:
            raise PermissionError(13, "Permission denied")

        store.move = deny  # type: ignore[method-assign]
        with pytest.raises(Permanent, match=r"could not be set aside.*remove it at the destination"):
            target.prove(Stored("a", 4), fingerprint(b"HERE"), "x")

    against("disk", body)


def test_a_size_that_differs_is_damage_whatever_the_hashes() -> None:
    def body(_store: SimStore, target: Target) -> None:
        with pytest.raises(Corrupt):
            target.prove(Stored("a", 5), fingerprint(b"here"), "x")

    against("disk", body)


@pytest.mark.parametrize("personality", ["disk", "objects"])
@pytest.mark.row(37)
def test_a_commit_whose_answer_was_lost_ends_once(personality: str) -> None:
    """Where the service tells a hash, that settles it; where not, the caller hears that the name is taken."""

    def body(store: SimStore, target: Target) -> None:
        upload = store.start_upload("new", 3, 1)
        found = fingerprint(b"new")
        upload.send_part(0, b"new", found.digests["sha256"])
        lose_answers(upload, "commit")  # type: ignore[arg-type]
        if personality == "objects":
            assert target.commit(upload, "new", found).path == "new"
        else:
            with pytest.raises((AlreadyExists, FileNotFoundError)):
                target.commit(upload, "new", found)

    assert against(personality, body).things["new"].data == b"new"


def test_a_commit_against_a_strangers_file_of_equal_size_is_taken_not_damage() -> None:
    def body(store: SimStore, target: Target) -> None:
        upload = store.start_upload("a", 4, 1)
        found = fingerprint(b"mine")
        upload.send_part(0, b"mine", found.digests["sha256"])
        calls: list[int] = []
        real = upload.commit

        def commit(digests: object) -> Stored:
            calls.append(1)
            if len(calls) == 1:
                raise Transient("nobody knows")
            return real(digests)  # type: ignore[arg-type]

        upload.commit = commit  # type: ignore[method-assign]
        with pytest.raises(AlreadyExists):
            target.commit(upload, "a", found)

    assert against("objects", body).things["a"].data == b"here"


@pytest.mark.row(33)
def test_times_are_kept_only_to_the_stores_precision() -> None:
    def body(store: SimStore, target: Target) -> None:
        existing = store.stat("a")
        assert target.keep_time(existing, 5).version == existing.version
        assert target.keep_time(existing, 6).mtime_ns == 6
        assert target.keep_time(Entry("a", 4, 6), None).mtime_ns == 6

    against("disk", body)
