"""TIFF structure, as EXIF blocks, DNG and most raw files have it. Bounded, see `photosync.engine.views`.

Sources: TIFF 6.0 (Adobe, 1992); Exif 2.32 (CIPA DC-008); the layout of Apple's maker note as ExifTool's
documentation of tags tells it.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from photosync.engine.views import Malformed, View, need

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I"}
_MOST_TAGS = 1024
_MOST_DIRECTORIES = 32
_MOST_VALUES = 65_536
_MOST_TEXT = 1024
_MOMENT = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET = re.compile(r"[+-]\d\d:\d\d", re.ASCII)
_APPLE = b"Apple iOS\0"


@dataclass(frozen=True, slots=True)
class Exif:
    """What an EXIF block tells.

    Attributes:
        taken: when, ISO 8601, with its offset from UTC where the camera noted it; "" if it did not.
        make, model: of the camera.
        pair: Apple's ContentIdentifier, which the film of a Live Photo has too.
        burst: Apple's identifier of a burst.
        place: latitude and longitude are there.
        comment: what the camera wrote there.
    """

    taken: str = ""
    make: str = ""
    model: str = ""
    pair: str = ""
    burst: str = ""
    place: bool = False
    comment: str = ""


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: int
    count: int
    at: int
    """Where its value begins, in the file."""


class Tiff:
    """A TIFF structure within a file.

    Args:
        view: the file.
        start: where its header is; offsets count from there.

    Raises:
        Malformed: there is none.
    """

    def __init__(self, view: View, start: int = 0) -> None:
        head = need(view, start, 8)
        if head[:2] not in (b"II", b"MM"):
            raise Malformed
        self._order = "<" if head[:2] == b"II" else ">"
        if self._number("H", head[2:4]) not in (42, 0x55, 0x4F52, 0x5352):
            raise Malformed
        self._view, self._start = view, start
        self.first = self._number("I", head[4:8])

    def _number(self, letter: str, data: bytes) -> int:
        return int(struct.unpack(self._order + letter, data)[0])

    def directory(self, offset: int) -> tuple[Mapping[int, _Tag], int]:
        """The tags of a directory, and the offset of the next one (0: none).

        Raises:
            Malformed: there is none.
        """
        return _directory(self._view, self._start, self._start + offset, self._order)

    def directories(self) -> Iterator[Mapping[int, _Tag]]:
        """The directories one after another, those below them included."""
        pending: list[int] = [self.first]
        seen: set[int] = set()
        while pending and len(seen) < _MOST_DIRECTORIES:
            offset = pending.pop()
            if not offset or offset in seen:
                continue
            seen.add(offset)
            tags, following = self.directory(offset)
            yield tags
            pending.append(following)
            if 0x14A in tags:
                pending += self.numbers(tags[0x14A])[:_MOST_DIRECTORIES]

    def numbers(self, tag: _Tag) -> list[int]:
        """Values of whole numbers; empty for other kinds and for absurdly many."""
        letter = _LETTERS.get(tag.kind)
        if letter is None or tag.count > _MOST_VALUES:
            return []
        data = need(self._view, tag.at, tag.count * _SIZES[tag.kind])
        return list(struct.unpack(f"{self._order}{tag.count}{letter}", data))

    def number(self, tags: Mapping[int, _Tag], name: int) -> int:
        """A single whole number, or 0."""
        found = tags.get(name)
        values = self.numbers(replace(found, count=1)) if found is not None and found.count else []
        return values[0] if values else 0

    def text(self, tags: Mapping[int, _Tag], name: int) -> str:
        """A text, or ""."""
        found = tags.get(name)
        return "" if found is None else _text(self._view, found)

    def overrun(self) -> int:
        """Where the file ends by what its directories say, at least, bytes from the header."""
        end = 0
        try:
            for tags in self.directories():
                for where, how_long in ((0x111, 0x117), (0x144, 0x145), (0x201, 0x202)):
                    if where in tags and how_long in tags:
                        offsets, counts = self.numbers(tags[where]), self.numbers(tags[how_long])
                        if len(offsets) == len(counts):
                            end = max(end, *(o + n for o, n in zip(offsets, counts, strict=True)), 0)
        except _Beyond as beyond:
            end = max(end, beyond.end)
        except Malformed:
            pass
        return end

    def exif(self) -> Exif:
        """What the first directory and those it names tell; what cannot be read is left out."""
        try:
            first, _ = self.directory(self.first)
        except Malformed:
            return Exif()
        return Exif(
            make=self.text(first, 0x10F),
            model=self.text(first, 0x110),
            place=self._place(self.number(first, 0x8825)),
            **self._details(first, self.number(first, 0x8769)),
        )

    def _details(self, first: Mapping[int, _Tag], offset: int) -> dict[str, str]:
        try:
            tags = self.directory(offset)[0] if offset else {}
        except Malformed:
            tags = {}
        taken = ""
        for here, moment, part, zone in (
            (tags, 0x9003, 0x9291, 0x9011),
            (tags, 0x9004, 0x9292, 0x9012),
            (first, 0x132, 0x9290, 0x9010),
        ):
            taken = taken or _moment(self.text(here, moment), self.text(tags, part), self.text(tags, zone))
        note = tags.get(0x927C)
        pair, burst = ("", "") if note is None else _apple(self._view, note.at)
        comment = tags.get(0x9286)
        words = "" if comment is None else _text(self._view, comment).removeprefix("ASCII").strip()
        return {"taken": taken, "pair": pair, "burst": burst, "comment": words}

    def _place(self, offset: int) -> bool:
        try:
            return bool(offset) and {2, 4} <= set(self.directory(offset)[0])
        except Malformed:
            return False


class _Beyond(Malformed):
    """A directory does not lie within the file."""

    def __init__(self, end: int) -> None:
        super().__init__()
        self.end = end


def _directory(view: View, start: int, at: int, order: str) -> tuple[Mapping[int, _Tag], int]:
    if at + 2 > view.size:
        raise _Beyond(at + 2)
    count = struct.unpack(order + "H", need(view, at, 2))[0]
    if count > _MOST_TAGS:
        raise Malformed
    if at + 2 + count * 12 > view.size:
        raise _Beyond(at + 2 + count * 12)
    data = need(view, at + 2, count * 12)
    tags: dict[int, _Tag] = {}
    for number in range(count):
        name, kind, length, value = struct.unpack_from(order + "HHII", data, number * 12)
        size = _SIZES.get(kind, 1) * length
        tags.setdefault(name, _Tag(kind, length, start + value if size > 4 else at + 10 + number * 12))
    following = view.at(at + 2 + count * 12, 4)
    return tags, int(struct.unpack(order + "I", following)[0]) if len(following) == 4 else 0


def _text(view: View, tag: _Tag) -> str:
    if tag.kind not in (1, 2, 7):
        return ""
    data = view.at(tag.at, min(tag.count, _MOST_TEXT))
    return (
        data.replace(b"\0", b" " if tag.kind == 7 else b"\0")
        .split(b"\0")[0]
        .decode("utf-8", "replace")
        .strip()
    )


def _moment(text: str, part: str, zone: str) -> str:
    found = _MOMENT.match(text)
    if found is None:
        return ""
    digits = re.match(r"\d{1,6}", part)
    year, month, day, hour, minute, second = found.groups()
    return (
        f"{year}-{month}-{day}T{hour}:{minute}:{second}"
        + (f".{digits[0].ljust(6, '0')}" if digits else "")
        + (zone if _OFFSET.fullmatch(zone) else "")
    )


def _apple(view: View, at: int) -> tuple[str, str]:
    """Content and burst identifier in Apple's maker note: big-endian, offsets from its beginning."""
    head = view.at(at, 14)
    if head[:10] != _APPLE or head[12:14] != b"MM":
        return "", ""
    try:
        tags, _ = _directory(view, at, at + 14, ">")
    except Malformed:
        return "", ""
    pair, burst = (_text(view, tags[name]) if name in tags else "" for name in (0x11, 0x0B))
    return pair, burst
