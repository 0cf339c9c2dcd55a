"""What is in a destination's trash, and what a policy lets go."""

from photosync.engine.entry import Entry
from photosync.engine.trash import TRASH, Bin, bins, expired, name_before

DAY_NS = 86_400_000_000_000


def trashed(stamp: str, *names: str) -> list[Entry]:
    return [Entry(f"{TRASH}/{stamp}/{name}", size=10) for name in names]


def test_files_are_told_apart_by_run() -> None:
    found = bins(trashed("20240102T000000Z", "a/b.jpg", "c.jpg") + trashed("19700102T000000Z", "d.jpg"))
    assert [(each.stamp, len(each.files), each.bytes) for each in found] == [
        ("19700102T000000Z", 1, 10),
        ("20240102T000000Z", 2, 20),
    ]
    assert found[0].began_ns == DAY_NS


def test_the_name_before() -> None:
    assert name_before(f"{TRASH}/20240102T000000Z/a/b.jpg") == "a/b.jpg"


def test_age_and_number() -> None:
    found = [Bin(f"1970010{day}T000000Z", (day - 1) * DAY_NS, ()) for day in range(1, 6)]
    assert expired(found, before_ns=3 * DAY_NS, keep_last=None) == found[:3]
    assert expired(found, before_ns=3 * DAY_NS, keep_last=4) == found[:1]
    assert expired(found, before_ns=None, keep_last=2) == found[:3]
    assert expired(found, before_ns=None, keep_last=0) == found
    assert expired(found, before_ns=3 * DAY_NS, keep_last=9) == []


def test_what_has_no_time_in_its_name_does_not_age() -> None:
    (odd,) = bins(trashed("quarantine", "a.jpg"))
    (wrong,) = bins(trashed("20249999T000000Z", "a.jpg"))
    assert odd.began_ns is wrong.began_ns is None
    assert expired([odd, wrong], before_ns=10**19, keep_last=None) == []
