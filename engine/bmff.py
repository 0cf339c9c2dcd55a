"""Boxes: HEIC, AVIF, MOV, MP4 and CR3. Bounded, see `photosync.engine.views`.

Sources: ISO/IEC 14496-12 (boxes, ``meta``, ``iloc``), ISO/IEC 23008-12 (HEIF), QuickTime File Format
(Apple: ``mvhd``, metadata keys).
"""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from photosync.engine.tiff import Exif, Tiff
from photosync.engine.views import Malformed, View, need

_MOST_BOXES = 4096
_MOST_ITEMS = 1024
_MOST_VALUE = 1024
_KEY = "com.apple.quicktime."
_EPOCH = datetime.datetime(1904, 1, 1, tzinfo=datetime.UTC)
_ZONE = re.compile(r"([+-]\d\d)(\d\d)\Z", re.ASCII)
_KNOWN = re.compile(rb"[A-Za-z0-9 \xa9_-]{4}\Z")


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its type, where its content begins, and where it ends by what it says."""

    kind: bytes
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Film:
    """What a film tells of itself.

    Attributes:
        taken: ISO 8601 with offset; "" if it does not say.
        make, model: of the camera.
        pair: Apple's ContentIdentifier, which the picture of a Live Photo has too.
        place: where it was taken is there.
        zoned: ``taken`` has the offset of the place where it was taken; else it is UTC for want of a better.
    """

    taken: str = ""
    make: str = ""
    model: str = ""
    pair: str = ""
    place: bool = False
    zoned: bool = False


def boxes(view: View, begin: int, end: int) -> Iterator[Box]:
    """Boxes between two offsets, up to the first that is none or that is out of view."""
    for _ in range(_MOST_BOXES):
        head = view.at(begin, 8)
        if begin + 8 > end or len(head) < 8:
            return
        size, kind, inside = int.from_bytes(head[:4], "big"), head[4:], begin + 8
        if size == 1:
            size, inside = int.from_bytes(view.at(begin + 8, 8), "big"), begin + 16
        elif size == 0:
            size = end - begin
        if size < inside - begin or not _KNOWN.match(kind):
            return
        yield Box(kind, inside, begin + size)
        begin += size


def _child(view: View, parent: Box, kind: bytes) -> Box | None:
    return next((box for box in boxes(view, parent.begin, parent.end) if box.kind == kind), None)


def _meta(view: View, parent: Box) -> Box | None:
    """A ``meta`` box without the four bytes that ISO puts before its content and QuickTime does not."""
    found = _child(view, parent, b"meta")
    if found is None or view.at(found.begin + 4, 4) == b"hdlr":
        return found
    return Box(found.kind, found.begin + 4, found.end)


def film(view: View) -> Film:
    """What the index of a film tells; what cannot be read is left out."""
    whole = Box(b"", 0, view.size)
    index = _child(view, whole, b"moov")
    if index is None:
        return Film()
    told: dict[str, str] = {}
    user = _child(view, index, b"udta")
    for parent in (index, user):
        meta = None if parent is None else _meta(view, parent)
        if meta is not None:
            told = _keys(view, meta) | told
    old = {} if user is None else _user(view, user)
    header = _child(view, index, b"mvhd")
    return Film(
        _zoned(told.get("creationdate", "")) or ("" if header is None else _created(view, header)),
        told.get("make", "") or old.get(b"\xa9mak", ""),
        told.get("model", "") or old.get(b"\xa9mod", ""),
        told.get("content.identifier", ""),
        "location.ISO6709" in told or b"\xa9xyz" in old,
        "creationdate" in told,
    )


def _keys(view: View, meta: Box) -> dict[str, str]:
    """Apple's metadata: names in ``keys``, values in ``ilst``, by number."""
    keys, values = _child(view, meta, b"keys"), _child(view, meta, b"ilst")
    if keys is None or values is None:
        return {}
    names: list[str] = []
    at = keys.begin + 8
    while at + 8 <= keys.end and len(names) < _MOST_ITEMS:
        size = int.from_bytes(view.at(at, 4), "big")
        if size < 8:
            break
        names.append(view.at(at + 8, min(size - 8, _MOST_VALUE)).decode("utf-8", "replace"))
        at += size
    told = {}
    at = values.begin
    for _ in names:
        head = view.at(at, 8)
        size, number = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
        if size < 8 or at + size > values.end:
            break
        data = next(boxes(view, at + 8, at + size), None)
        if data is not None and data.kind == b"data" and 0 < number <= len(names):
            text = view.at(data.begin + 8, max(0, min(data.end - data.begin - 8, _MOST_VALUE)))
            told[names[number - 1].removeprefix(_KEY)] = text.decode("utf-8", "replace").strip("\0 ")
        at += size
    return told


def _user(view: View, user: Box) -> dict[bytes, str]:
    """QuickTime's older user data: a length, a language, a text."""
    return {
        box.kind: view.at(box.begin + 4, max(0, min(box.end - box.begin - 4, _MOST_VALUE))).decode(
            "utf-8", "replace"
        )
        for box in boxes(view, user.begin, user.end)
        if box.kind[:1] == b"\xa9"
    }


def _zoned(text: str) -> str:
    return _ZONE.sub(r"\1:\2", text).replace("Z", "+00:00")


def _created(view: View, header: Box) -> str:
    wide = view.at(header.begin, 1) == b"\1"
    seconds = int.from_bytes(view.at(header.begin + 4, 8 if wide else 4), "big")
    try:
        moment = _EPOCH + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return ""
    # Cameras without a clock, and encoders that do not care, write the epoch of one system or the other.
    return "" if moment.year <= 1970 else moment.isoformat()


def still(view: View) -> Exif:
    """The EXIF of a HEIC or AVIF; an empty one if there is none, or if it is out of view."""
    meta = _meta(view, Box(b"", 0, view.size))
    if meta is None:
        return Exif()
    try:
        at = _item(view, meta)
        return Exif() if at is None else Tiff(view, at + 4 + int.from_bytes(need(view, at, 4), "big")).exif()
    except Malformed:
        return Exif()


def _item(view: View, meta: Box) -> int | None:
    """Where the item of type Exif lies."""
    names, places = _child(view, meta, b"iinf"), _child(view, meta, b"iloc")
    number = None if names is None else _exif_number(view, names)
    if number is None or places is None:
        return None
    offset, inner = _place(view, places, number)
    if not inner:
        return offset
    data = _child(view, meta, b"idat")
    return None if data is None else data.begin + offset


def _exif_number(view: View, names: Box) -> int | None:
    short = view.at(names.begin, 1) == b"\0"
    for entry in boxes(view, names.begin + (6 if short else 8), names.end):
        version = view.at(entry.begin, 1)
        width = 2 if version == b"\2" else 4
        if version in (b"\2", b"\3") and view.at(entry.begin + 4 + width + 2, 4) == b"Exif":
            return int.from_bytes(view.at(entry.begin + 4, width), "big")
    return None


def _place(view: View, places: Box, wanted: int) -> tuple[int, bool]:
    """Offset of an item's first extent, and whether it counts from the ``idat`` box."""
    data = need(view, places.begin, min(places.end - places.begin, 64 * _MOST_ITEMS, view.size))
    at = 0

    def number(width: int) -> int:
        nonlocal at
        at += width
        if at > len(data):
            raise Malformed
        return int.from_bytes(data[at - width : at], "big")

    version = number(4) >> 24
    widths = number(2)
    offset_width, length_width, base_width, index_width = (widths >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    for _ in range(min(number(wide), _MOST_ITEMS)):
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_width)
        extents = number(2)
        before, after = index_width if version else 0, length_width
        if item == wanted and extents and method <= 1:
            number(before)
            return base + number(offset_width), method == 1
        # Passed over at once: an extent may have no bytes, and a file tell of very many.
        number(extents * (before + offset_width + after))
    raise Malformed
