"""What a photo or film says of itself, read from little of it, whatever it is.

Own readers, because the libraries at hand read Apple's ContentIdentifier wrongly or not at all, decode
pictures to get at their metadata, or trust the file. These decode nothing, read a bounded part, and say
nothing where they understand nothing: `look` raises for no content whatever.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from photosync.engine import bmff
from photosync.engine.tiff import Exif, Tiff
from photosync.engine.views import Malformed, View

_SEGMENTS = 256
_CHUNKS = 1024
_STILLS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}
_FILM_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MOTION = (b'MotionPhoto="1"', b'MicroVideo="1"', b"MotionPhoto>1<", b"MicroVideo>1<")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file from what is in it.

    Attributes:
        format: "jpeg", "png", "gif", "webp", "heif", "film", "tiff" or, if it is none of them, "".
        taken: when, ISO 8601, with an offset where there is one; "" if it does not say.
        source: what says so: "exif", "quicktime" (with its zone) or "quicktime-utc".
        make, model: of the camera.
        pair: Apple's ContentIdentifier, equal in both halves of a Live Photo.
        burst: Apple's identifier of a burst.
        place: it says where it was taken.
        motion: a picture with a film in the same file.
        screenshot: it says that it is one.
    """

    format: str = ""
    taken: str = ""
    source: str = ""
    make: str = ""
    model: str = ""
    pair: str = ""
    burst: str = ""
    place: bool = False
    motion: bool = False
    screenshot: bool = False

    def dumps(self) -> str:
        """As JSON, without what is not known."""
        known = {name: value for name in self.__slots__ if (value := getattr(self, name))}
        return msgspec.json.encode(known).decode()

    @classmethod
    def loads(cls, text: str) -> "Facts":
        return cls(**msgspec.json.decode(text))


NOTHING = Facts()


def look(view: View) -> Facts:
    """What a file says of itself."""
    kind = format_of(view.at(0, 16))
    try:
        if kind == "jpeg":
            return _jpeg(view)
        if kind == "png":
            return _png(view)
        if kind == "tiff":
            return _from_exif(kind, Tiff(view).exif())
        if kind == "heif":
            return _from_exif(kind, bmff.still(view))
        if kind == "film":
            told = bmff.film(view)
            source = "quicktime" if told.zoned else "quicktime-utc"
            return Facts(
                kind,
                told.taken,
                source if told.taken else "",
                told.make,
                told.model,
                told.pair,
                place=told.place,
            )
    except Malformed:
        pass
    return Facts(kind)


def format_of(head: bytes) -> str:
    """The format that a file's first bytes belong to, see `Facts.format`."""
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:8] == _PNG:
        return "png"
    if head[4:8] == b"ftyp":
        return "heif" if head[8:12] in _STILLS else "film"
    if head[4:8] in _FILM_BOXES:
        return "film"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"IIU\0", b"IIRO", b"IIRS"):
        return "tiff"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    return "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else ""


def _from_exif(kind: str, told: Exif, motion: bool = False) -> Facts:
    return Facts(
        kind,
        told.taken,
        "exif" if told.taken else "",
        told.make,
        told.model,
        told.pair,
        told.burst,
        told.place,
        motion,
        told.comment.lower() == "screenshot",
    )


def segments(view: View) -> Iterator[tuple[int, int, int]]:
    """Segments of a JPEG up to its picture: marker, offset and length of the content."""
    at = 2
    for _ in range(_SEGMENTS):
        head = view.at(at, 4)
        while head[:2] == b"\xff\xff":
            at += 1
            head = view.at(at, 4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        size = int.from_bytes(head[2:], "big")
        yield head[1], at + 4, max(0, size - 2)
        if head[1] == 0xDA or size < 2:
            return
        at += 2 + size


def _jpeg(view: View) -> Facts:
    told, motion = Exif(), _samsung_motion(view)
    for marker, at, size in segments(view):
        if marker != 0xE1:
            continue
        if view.at(at, 6) == b"Exif\0\0":
            try:
                told = Tiff(view, at + 6).exif()
            except Malformed:
                continue
        elif view.at(at, len(_XMP)) == _XMP:
            text = view.at(at, size)
            motion = motion or any(mark in text for mark in _MOTION)
    return _from_exif("jpeg", told, motion)


def _samsung_motion(view: View) -> bool:
    """Whether Samsung's trailer (SEFH … SEFT) names a film."""
    if view.at(view.size - 4, 4) != b"SEFT":
        return False
    size = int.from_bytes(view.at(view.size - 8, 4), "little")
    directory = view.at(view.size - 8 - size, min(size, 4096))
    entries = (directory[at : at + 4] for at in range(12, len(directory), 12))
    return directory[:4] == b"SEFH" and any(entry[2:] == b"\x30\x0a" for entry in entries)


def _png(view: View) -> Facts:
    at = len(_PNG)
    for _ in range(_CHUNKS):
        head = view.at(at, 8)
        if len(head) < 8 or head[4:] == b"IEND":
            break
        if head[4:] == b"eXIf":
            return _from_exif("png", Tiff(view, at + 8).exif())
        at += 12 + int.from_bytes(head[:4], "big")
    return Facts("png")
