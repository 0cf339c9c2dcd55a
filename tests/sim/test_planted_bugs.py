"""Bugs planted in the engine, each of which the simulation must find: the proof that it can see."""

from collections.abc import Callable
from pathlib import Path

import pytest

from photosync.engine import plan, scan, source, target, transfer, verify
from photosync.engine.errors import Fatal
from photosync.engine.hashing import Fingerprint
from photosync.engine.plan import Mode
from photosync.engine.scan import Listing
from photosync.engine.workers import ByteBudget
from tests.sim import test_sim
from tests.sim.scheduler import Crashed

SEEDS = 120


def found(tmp_path: Path, seeds: int = SEEDS) -> int | None:
    """The first seed under which a promise is seen to be broken."""
    for seed in range(seeds):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            test_sim.live(seed, folder)
        except (AssertionError, Fatal, Crashed, KeyError, ExceptionGroup):
            return seed
    return None


def ignore_hashes(patch: pytest.MonkeyPatch) -> None:
    """What the service reports about its bytes is believed to agree."""
    patch.setattr(verify, "agreed", lambda reported, _found: next(iter(reported), None))


def omit_listing_errors(patch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed counts as empty."""
    real = scan.walk

    def walk(*args: object, **kwargs: object) -> Listing:
        listing = real(*args, **kwargs)  # type: ignore[arg-type]
        return Listing(listing.entries, listing.others, (), listing.own)

    patch.setattr(scan, "walk", walk)


def keep_both_always(patch: pytest.MonkeyPatch) -> None:
    """A name that is taken is never looked at: what a lost reply left behind is stored again."""
    patch.setattr(target.Target, "same", lambda *_args: None)


def adopt_by_size(patch: pytest.MonkeyPatch) -> None:
    """An object of the same size counts as the same."""

    def same(_self: target.Target, existing: object, found: Fingerprint) -> str | None:
        return "server-hash:size" if getattr(existing, "size", None) == found.size else None

    patch.setattr(target.Target, "same", same)


def believe_short_reads(patch: pytest.MonkeyPatch) -> None:
    """The end of the bytes is the end of the file, whatever its size."""
    real: Callable[..., object] = source.Source.blocks

    def blocks(self: source.Source, file: source.OpenFile, size: int = source.BLOCK) -> object:
        while block := file.reader.read(size):
            yield block

    assert real
    patch.setattr(source.Source, "blocks", blocks)


def leak_budget(patch: pytest.MonkeyPatch) -> None:
    """Memory is never given back."""
    patch.setattr(ByteBudget, "release", lambda _self, _size: None)


def claim_without_proof(patch: pytest.MonkeyPatch) -> None:
    """Copies are claimed without proof."""
    patch.setattr(verify, "prove", lambda *_args, **_kwargs: verify.REREAD)


def lose_items(patch: pytest.MonkeyPatch) -> None:
    """A file that changed under the reader is dropped without a word."""
    real = transfer.Transfer.problem

    def problem(self: transfer.Transfer, item: transfer.Item, error: Exception) -> None:
        if "changed" in str(error):
            self._open_items -= 1
            self._ended.add(item.number)
            if not self._open_items:
                self._queue.close()
                self._tasks.close()
            return
        real(self, item, error)  # type: ignore[arg-type]

    patch.setattr(transfer.Transfer, "problem", problem)


def leave_followers_behind(patch: pytest.MonkeyPatch) -> None:
    """Files of a photo whose first file failed are never taken up."""

    def let_go(self: transfer.Transfer, leader: transfer.Item) -> None:
        for item in leader.followers if leader.number not in self._ended else ():
            self._queue.put(item)
        leader.followers = ()

    patch.setattr(transfer.Transfer, "_let_go", let_go)


def forget_where_it_lies(patch: pytest.MonkeyPatch) -> None:
    """A library that was laid out is not found again once the state is lost."""
    patch.setattr(plan._Elsewhere, "match", lambda *_args: [])


@pytest.mark.parametrize(
    "plant",
    [
        ignore_hashes,
        omit_listing_errors,
        keep_both_always,
        adopt_by_size,
        believe_short_reads,
        leak_budget,
        claim_without_proof,
        lose_items,
        leave_followers_behind,
        forget_where_it_lies,
    ],
)
def test_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    seed = found(tmp_path)
    assert seed is not None, f"{plant.__name__} was not noticed in {SEEDS} seeds"


def test_nothing_is_found_without_a_bug(tmp_path: Path) -> None:
    assert found(tmp_path, seeds=20) is None
    assert Mode.SYNC in {Mode.SYNC if seed % 5 == 4 else Mode.COPY for seed in range(20)}
