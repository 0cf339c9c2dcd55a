"""When a photo was taken, and by whose word."""

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photosync.engine.media import Facts
from photosync.engine.taken import best, taken


@pytest.fixture(autouse=True)
def _berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("IMG_20240501_101112.jpg", "2024-05-01T10:11:12"),
        ("VID_20240501_101112345.mp4", "2024-05-01T10:11:12.345000"),
        ("20240501_101112.jpg", "2024-05-01T10:11:12"),
        ("PXL_20240501_081112345.MP.jpg", "2024-05-01T10:11:12.345000"),
        ("Screenshot_20240501-101112.png", "2024-05-01T10:11:12"),
        ("Screenshot 2024-05-01 at 10.11.12.png", "2024-05-01T10:11:12"),
        ("WhatsApp Image 2024-05-01 at 10.11.12.jpeg", "2024-05-01T10:11:12"),
        ("IMG-20240501-WA0001.jpg", "2024-05-01T00:00:00"),
        ("signal-2024-05-01-10-11-12-345.jpg", "2024-05-01T10:11:12.345000"),
        ("photo_2024-05-01_10-11-12.jpg", "2024-05-01T10:11:12"),
        ("2024-05-01 10.11.12.jpg", "2024-05-01T10:11:12"),
        ("00000IMG_00000_BURST20240501101112.jpg", None),
        ("FB_IMG_1714551072000.jpg", "2024-05-01T10:11:12"),
        ("IMG_0001.jpg", None),
        ("IMG_20241301_101112.jpg", None),
        ("IMG_20240231_101112.jpg", None),
        ("invoice-20240501.jpg", None),
        ("1120240501_10111299.jpg", None),
    ],
)
def test_names(name: str, moment: str | None) -> None:
    found = taken(f"DCIM/{name}", None)
    assert (found.text, found.source) == (moment, "name" if moment else "")


def test_what_the_photo_says_comes_first_then_its_name_then_its_time() -> None:
    mtime, name = 1_000_000_000 * 10**9, "IMG_20240501_101112.jpg"
    exif = Facts(taken="2023-01-02T03:04:05.600000", source="exif")
    assert taken(name, mtime, exif).text == "2023-01-02T03:04:05.600000"
    assert taken(name, mtime).source == "name"
    assert taken("a.jpg", mtime).text == "2001-09-09T03:46:40"
    assert taken("a.jpg", mtime).source == "mtime"
    assert taken("a.jpg", None).moment is None


def test_the_clock_is_the_one_on_the_wall_there() -> None:
    there = taken("a", 0, Facts(taken="2024-05-01T23:30:00+09:00", source="exif"))
    assert there.text == "2024-05-01T23:30:00"
    assert there.at == 1714573800
    film = taken("a", 0, Facts(taken="2024-05-01T23:30:00-07:00", source="quicktime"))
    assert film.text == "2024-05-01T23:30:00"
    utc = taken("a", 0, Facts(taken="2024-05-01T23:30:00+00:00", source="quicktime-utc"))
    assert utc.text == "2024-05-02T01:30:00"


@pytest.mark.parametrize("text", ["2024-13-01T00:00:00", "0001-01-01T00:00:00", "", "x", "2024-01-01T00:61"])
def test_what_is_no_date_is_passed_over(text: str) -> None:
    assert taken("a.jpg", 10**18, Facts(taken=text, source="exif")).source == "mtime"


@given(st.text(max_size=40), st.one_of(st.none(), st.integers(-(2**70), 2**70)), st.text(max_size=30))
def test_nothing_is_raised(name: str, mtime_ns: int | None, text: str) -> None:
    for source in ("exif", "quicktime-utc"):
        found = taken(name, mtime_ns, Facts(taken=text, source=source))
        assert (found.moment is None) == (found.source == "")


def test_the_best_word_counts_for_a_whole_photo() -> None:
    by_time, by_name = taken("a.AAE", 0), taken("IMG_20240501_101112.AAE", 0)
    assert best([by_time, by_name]) is by_name
    assert best([]).moment is None
