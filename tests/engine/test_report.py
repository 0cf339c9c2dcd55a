"""Counts, one word and one exit code."""

import pytest

from photosync.engine.errors import Corrupt, DeviceGone, Permanent, PhotosyncError, Transient
from photosync.engine.events import Outcome, Status
from photosync.engine.report import Exit, Report, Tally
from photosync.engine.scan import ListingError


def report(*outcomes: Outcome, unchanged: int = 0, **more: object) -> Report:
    tally = Tally()
    tally.counts[Status.UNCHANGED] = unchanged
    for outcome in outcomes:
        tally.add(outcome)
    return Report("there", tally, **more)  # type: ignore[arg-type]


GOOD = Outcome("a", Status.VERIFIED, "reread", 10, sent=10)
AGAIN = Outcome("c", Status.FAILED, transient=True)
LISTING = [ListingError("d", Permanent("EIO"))]


@pytest.mark.parametrize(
    ("outcomes", "unchanged", "word", "code"),
    [
        ([], 0, "nothing", Exit.OK),
        ([], 5, "nothing", Exit.OK),
        ([GOOD], 0, "ok", Exit.OK),
        ([Outcome("a", Status.WRITTEN)], 0, "ok", Exit.OK),
        ([Outcome("a", Status.TRASHED)], 0, "ok", Exit.OK),
        ([GOOD, Outcome("b", Status.CONFLICT)], 0, "partial", Exit.OTHER),
        ([GOOD, Outcome("b", Status.FAILED)], 0, "partial", Exit.NO_RETRY),
        ([Outcome("b", Status.FAILED)], 0, "failed", Exit.NO_RETRY),
        ([Outcome("b", Status.REFUSED)], 3, "partial", Exit.NO_RETRY),
        ([Outcome("b", Status.FAILED, transient=True)], 0, "failed", Exit.RETRY),
        ([Outcome("b", Status.REFUSED), AGAIN], 0, "failed", Exit.RETRY),
        ([Outcome("b", Status.PENDING, transient=True)], 0, "failed", Exit.RETRY),
    ],
)
def test_outcomes(outcomes: list[Outcome], unchanged: int, word: str, code: Exit) -> None:
    made = report(*outcomes, unchanged=unchanged)
    assert (made.status, made.exit_code) == (word, code)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"fatal": DeviceGone("unplugged")}, Exit.FATAL),
        ({"fatal": DeviceGone("unplugged"), "interrupted": True}, Exit.FATAL),
        ({"fatal": Transient("the destination could not be listed")}, Exit.RETRY),
        ({"fatal": Permanent("the destination cannot be listed")}, Exit.NO_RETRY),
        ({"interrupted": True}, Exit.OTHER),
        ({"listing_errors": LISTING}, Exit.RETRY),
        ({"manifest_error": Corrupt("forged")}, Exit.OTHER),
        ({"manifest_error": Transient("connection reset")}, Exit.RETRY),
    ],
)
def test_what_went_wrong_beside_the_files(more: dict[str, PhotosyncError], code: Exit) -> None:
    made = report(GOOD, **more)  # type: ignore[arg-type]
    assert not made.clean
    assert (made.status, made.exit_code) == ("partial", code)


@pytest.mark.parametrize("status", list(Status))
def test_success_is_claimed_only_if_all_is_there(status: Status) -> None:
    good = {Status.VERIFIED, Status.WRITTEN, Status.UNCHANGED, Status.TRASHED}
    made = report(Outcome("a", status, transient=status is Status.PENDING))
    assert made.clean is (status in good)
    assert (made.exit_code == Exit.OK) is (status in good)


def test_counts() -> None:
    made = report(GOOD, GOOD, Outcome("c", Status.CONFLICT, sent=5), unchanged=4)
    assert made.transferred == 3
    assert made.tally.bytes == 25
    assert made.count(Status.VERIFIED, Status.UNCHANGED) == 6
