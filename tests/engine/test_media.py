"""What photos and films say of themselves, whole, streamed by and looked into; and hostile ones."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photosync.engine.fidelity import suspicion
from photosync.engine.media import Facts, format_of, look
from photosync.engine.views import HEAD, INDEX, TAIL, Glimpse, Memory, View, Window
from photosync.sample import build_sample
from tests.engine import media_files as make

TAKEN = "2024-05-01T10:11:12.345000+02:00"
PAIR = "5A6B-11"
SAMPLES: dict[str, bytes] = {
    "a.jpg": make.jpeg(make.exif(pair=PAIR, place=True)),
    "a.heic": make.heic(make.exif(pair=PAIR, place=True)),
    "a.mov": make.movie(PAIR, "2024-05-01T10:11:12+0200"),
    "b.mov": make.movie(index_first=True),
    "a.png": make.png((b"eXIf", make.exif())),
    "a.dng": make.dng(),
}


SPLINTERS = [b"", b"\0", b"\xff" * 4, b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\1", b"moov"]
STARTS = [b"", b"\xff\xd8\xff\xe1", make.PNG, b"II*\0", b"MM\0*", b"\0\0\0\x18ftypheic", b"\0\0\0\1ftypqt  "]


def glimpse(data: bytes, block: int = 7) -> Glimpse:
    made = Glimpse(len(data))
    for at in range(0, len(data), block):
        made.feed(data[at : at + block])
    return made


def window(data: bytes) -> Window:
    return Window(len(data), lambda offset, size: data[offset : offset + size])


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("a.jpg", Facts("jpeg", TAKEN, "exif", "Maker", "Cam", PAIR, place=True)),
        ("a.heic", Facts("heif", TAKEN, "exif", "Maker", "Cam", PAIR, place=True)),
        ("a.mov", Facts("film", "2024-05-01T10:11:12+02:00", "quicktime", pair=PAIR)),
        ("b.mov", Facts("film", "2024-05-01T09:00:00+00:00", "quicktime-utc")),
        ("a.png", Facts("png", TAKEN, "exif", "Maker", "Cam")),
        ("a.dng", Facts("tiff", "2023-01-02T03:04:05", "exif", "Maker", "RawCam")),
    ],
)
def test_what_is_said(name: str, facts: Facts) -> None:
    data = SAMPLES[name]
    assert look(Memory(data)) == facts
    assert look(window(data)) == facts
    assert look(glimpse(data)) == facts
    assert Facts.loads(facts.dumps()) == facts


@pytest.mark.parametrize("block", [1, 13, 4096, 1 << 20])
def test_an_index_in_the_middle_of_a_stream_is_kept(block: int) -> None:
    media = bytes(HEAD) + b"x" * 999
    ftyp, data = make.box(b"ftyp", b"qt  "), make.wide_box(b"mdat", media)
    index = make.movie(PAIR, index_first=True)
    index = index[20 : index.index(b"mdat") - 4]
    film = ftyp + make.box(b"wide", b"") + data + index + make.box(b"free", bytes(TAIL + HEAD))
    found = glimpse(film, block) if block > 1 else glimpse(film[: HEAD + 5000] + film[HEAD + 5000 :], 17)
    assert look(found).pair == PAIR
    assert suspicion("a.mov", found, look(found)) is None
    assert look(window(film)).pair == PAIR


def test_motion_photos_and_screenshots_are_known() -> None:
    xmp = make.segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x GCamera:MotionPhoto="1"/>')
    plain = make.jpeg()
    assert look(Memory(plain[:2] + xmp + plain[2:] + make.movie())).motion
    directory = b"SEFH" + struct.pack("<II", 106, 1) + struct.pack("<HHII", 0, 0x0A30, 9, 9)
    assert look(Memory(plain + directory + struct.pack("<I", len(directory)) + b"SEFT")).motion
    assert not look(Memory(plain)).motion
    comment = make.tiff({0x110: make.text("iPhone")}, {0x8769: {0x9286: (7, b"ASCII\0\0\0Screenshot")}})
    assert look(Memory(make.png((b"eXIf", comment)))).screenshot


def test_dates_that_mean_nothing_are_not_believed() -> None:
    assert look(Memory(make.jpeg(make.exif("0000:00:00")))).taken == ""
    zero = make.movie().replace(struct.pack(">I", 3_797_398_800), bytes(4))
    assert look(Memory(zero)).taken == ""


def test_little_is_read_of_a_large_file() -> None:
    """A film of 100 GB of which every byte asked for is counted."""
    size, asked = 100 << 30, []
    head = make.box(b"ftyp", b"qt  ") + make.wide_box(b"mdat", b"", size - 5000)
    index = make.movie(PAIR, index_first=True)
    tail = index[20 : index.index(b"mdat") - 4]
    at = 12 + size - 5000

    def read(offset: int, count: int) -> bytes:
        asked.append(count)
        if offset < 1000:
            return (head + bytes(count))[offset : offset + count]
        return tail[max(0, offset - at) :][:count] if offset >= at else bytes(count)

    assert look(Window(at + len(tail), read)).pair == PAIR
    assert sum(asked) < 300_000
    assert len(asked) <= 3


class _Counting:
    """A view that counts what is asked of it."""

    def __init__(self, view: View) -> None:
        self.view, self.size, self.asked, self.calls = view, view.size, 0, 0

    def at(self, offset: int, size: int) -> bytes:
        data = self.view.at(offset, size)
        self.calls += 1
        self.asked += len(data)
        return data


def survives(name: str, data: bytes) -> None:
    """Hostile bytes: no exception, and no more work than a few files' worth."""
    counting = _Counting(Memory(data))
    facts = look(counting)
    assert counting.calls < 20_000
    assert counting.asked < 64 * len(data) + INDEX
    whole = Memory(data)
    suspicion(name, whole, facts)
    passed = glimpse(data, 4096)
    suspicion(name, passed, look(passed))
    look(window(data))


@given(st.sampled_from(sorted(SAMPLES)), st.data())
@settings(max_examples=400, deadline=None)
@pytest.mark.row(86)
def test_damaged_files_are_survived(name: str, draw: st.DataObject) -> None:
    data = bytearray(SAMPLES[name])
    for _ in range(draw.draw(st.integers(1, 6))):
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at : at + draw.draw(st.integers(0, 4))] = draw.draw(st.sampled_from(SPLINTERS))
        if not data:
            return
    survives(name, bytes(data))


@given(st.sampled_from(["", *SAMPLES]), st.sampled_from(STARTS), st.binary(max_size=300))
@settings(max_examples=400, deadline=None)
@pytest.mark.row(86)
def test_noise_is_survived(name: str, start: bytes, noise: bytes) -> None:
    survives(name, start + noise)


@pytest.mark.row(86)
def test_a_directory_that_names_itself_ends() -> None:
    survives("a.dng", struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x14A, 4, 1, 8, 8))
    survives("a.mov", make.box(b"ftyp", b"qt  ") + make.box(b"free", b"") * 9000)
    deep = b""
    for _ in range(3000):
        deep = make.box(b"moov", deep)
    survives("a.mov", make.box(b"ftyp", b"qt  ") + deep)


def test_real_files_are_read_and_not_suspected(tmp_path: Path) -> None:
    """Everything that a phone's sample holds, by real encoders; only the empty photo is flagged."""
    build_sample(tmp_path, photos=6)
    flagged, dated = {}, 0
    for path in sorted(tmp_path.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        whole, passed = Memory(data), glimpse(data, 60_000)
        facts = look(whole)
        assert look(passed) == facts
        dated += facts.source in ("exif", "quicktime", "quicktime-utc")
        why = suspicion(path.name, whole, facts)
        assert suspicion(path.name, passed, facts) == why
        if why:
            flagged[path.name] = why
    assert flagged == {"IMG_0009.JPG": "it is empty"}
    assert dated > 40


def test_formats_are_told_by_their_first_bytes() -> None:
    assert format_of(b"RIFF\0\0\0\0WEBPVP8 ") == "webp"
    assert format_of(b"GIF89a") == "gif"
    assert format_of(b"\0\0\0\x08moov") == "film"
    assert format_of(b"\0\0\0\x18ftypavif") == "heif"
    assert format_of(b"hello") == format_of(b"") == ""
