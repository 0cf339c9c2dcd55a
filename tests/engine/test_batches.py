"""Who sends a small file: its reader where the destination answers at once, a sender where it does not."""

from dataclasses import replace
from pathlib import Path

import pytest

from photosync.engine.capabilities import Batch, Blob, Stored
from photosync.engine.events import Status
from tests.engine.rig import Rig
from tests.sim.store import SimStore

CARD = {"read_concurrency": 3, "slow_read": False}
PHONE = {"read_concurrency": 1, "slow_read": True}


@pytest.mark.parametrize(
    ("source", "batch", "wait", "reader"),
    [(CARD, 1, 0.0, True), (CARD, 1, 0.05, False), (CARD, 4, 0.0, False), (PHONE, 1, 0.0, False)],
    ids=["at once", "after a while", "in batches", "from a phone"],
)
def test_who_sends(tmp_path: Path, source: dict[str, object], batch: int, wait: float, reader: bool) -> None:
    sent_by: list[str] = []

    def setup(store: SimStore) -> None:
        put = store.put

        def seen(blobs: list[Blob]) -> list[Stored | Exception]:
            scheduler = rig.scheduler
            sent_by.append(scheduler.current.name.partition("-")[0])
            scheduler.now += wait
            return put(blobs)

        store.put = seen  # type: ignore[method-assign, assignment]

    rig = Rig(
        tmp_path, "objects", setup=setup, source_can=source, can={"batch": replace(Batch(), count=batch)}
    )
    for number in range(20):
        rig.photo(f"{number}.jpg", b"photo %d" % number)
    rig.run()
    assert {outcome.status for outcome in rig.outcomes.values()} == {Status.VERIFIED}
    assert sent_by[0] == "send", "nothing is known of the destination yet"
    assert set(sent_by[5:]) == {"read"} if reader else set(sent_by) == {"send"}
