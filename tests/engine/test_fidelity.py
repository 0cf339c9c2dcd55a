"""Suspicious files: every kind of damage that phones do, and no false alarm."""

import struct
from pathlib import Path

import pytest

from photosync.engine.fidelity import suspicion
from photosync.engine.media import look
from photosync.engine.views import HEAD, Glimpse, Memory
from tests.engine import media_files as make
from tests.engine.rig import Rig
from tests.engine.test_media import SAMPLES, glimpse


def suspected(name: str, data: bytes) -> str | None:
    facts = look(Memory(data))
    why = suspicion(name, Memory(data), facts)
    assert suspicion(name, glimpse(data, 4096), facts) == why
    return why


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_good_file_is_not_suspected_and_any_cut_is(name: str) -> None:
    data = SAMPLES[name]
    assert suspected(name, data) is None
    missed = [cut for cut in range(len(data)) if suspected(name, data[:cut]) is None]
    # Shorter than that, it cannot be known for a TIFF.
    assert [cut for cut in missed if cut >= 8] == []


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jpg", b"", "it is empty"),
        ("a.heic", bytes(5000), "nothing but zeros"),
        ("IMG_1.HEIC", SAMPLES["a.jpg"], "it holds a JPEG, though its name ends in .HEIC"),
        ("a.jpg", SAMPLES["a.png"], "it holds a PNG"),
        ("a.mov", b"<html>please unlock</html>", "it is not a film"),
        ("a.dng", SAMPLES["a.jpg"], "it holds a JPEG"),
        ("a.mov", make.box(b"ftyp", b"qt  ") + make.box(b"mdat", b"x"), "a part of it (moov) is missing"),
    ],
)
def test_what_is_said_of_damage(name: str, data: bytes, words: str) -> None:
    assert words in (suspected(name, data) or "")


@pytest.mark.parametrize("name", [".nomedia", "notes.txt", "a", ".jpg", "thumbs.db"])
def test_what_is_no_photo_is_nobodys_business(name: str) -> None:
    assert suspected(name, b"") is None
    assert suspected(name, bytes(100)) is None
    assert suspected(name, b"text") is None


def test_data_after_the_end_is_allowed() -> None:
    """Motion photos, makers' trailers and padding stand behind many good photos."""
    assert suspected("a.png", SAMPLES["a.png"] + bytes(200_000)) is None
    for name in ("a.jpg", "a.png"):
        assert suspected(name, SAMPLES[name] + b"trailer" * 9) is None
    assert suspected("a.heic", SAMPLES["a.heic"] + bytes(64)) is None
    assert suspected("a.jpg", SAMPLES["a.jpg"] + make.movie()) is None


def test_a_film_that_was_cut_to_32_bits_is_told_as_that() -> None:
    whole = make.box(b"ftyp", b"qt  ") + make.box(b"moov", b"")
    film = whole + make.wide_box(b"mdat", b"x" * 100, (1 << 32) + 116)
    assert suspected("a.mov", film) == "4 GiB of it are missing: it was cut to its size modulo 4 GiB"
    largest = Glimpse((1 << 32) - 1)
    largest.feed(make.box(b"ftyp", b"qt  ") + struct.pack(">I4s", 0, b"mdat"))
    assert "largest that some phones can tell" in (suspicion("a.mov", largest, look(largest)) or "")


def test_a_large_jpeg_is_judged_by_what_went_by() -> None:
    big = make.jpeg(make.exif(), b"p" * (3 * HEAD))
    for data, good in ((big, True), (big[:-2], False), (big + make.movie(media=bytes(2 * HEAD)), True)):
        for block in (65_536, len(big) - 1):
            passed = glimpse(data, block)
            assert (suspicion("a.jpg", passed, look(passed)) is None) is good


def test_a_suspicious_file_is_copied_told_counted_and_remembered(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("good.jpg", SAMPLES["a.jpg"], 5)
    rig.photo("cut.jpg", SAMPLES["a.jpg"][:-9], 5)
    rig.photo("large.jpg", make.jpeg(make.exif(), b"p" * 400)[:-2], 5)
    report = rig.run()
    assert report.clean
    assert report.tally.suspicious == 2
    assert rig.files().keys() == {"good.jpg", "cut.jpg", "large.jpg"}
    assert rig.outcomes["good.jpg"].suspicious is None
    assert rig.outcomes["cut.jpg"].suspicious == "the end of the JPEG is missing"
    assert rig.outcomes["cut.jpg"].status == "verified"
    with rig.journal() as journal:
        assert journal.suspicions("phone").keys() == {"cut.jpg", "large.jpg"}
    rig.photo("cut.jpg", SAMPLES["a.jpg"], 6)
    rig.run()
    with rig.journal() as journal:
        assert journal.suspicions("phone").keys() == {"large.jpg"}


def test_a_place_that_a_photo_lost_is_noticed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with_place, without = (make.jpeg(make.exif(place=place)) for place in (True, False))
    rig.photo("a.jpg", with_place, 1)
    rig.photo("b.jpg", with_place, 1)
    assert rig.run().tally.suspicious == 0
    rig.photo("a.jpg", without, 2)
    rig.photo("b.jpg", make.jpeg(make.exif("2025:01:01 00:00:00")), 2)
    assert rig.run().tally.suspicious == 1
    assert "GPS" in (rig.outcomes["a.jpg"].suspicious or "")
    assert without in rig.files().values()
