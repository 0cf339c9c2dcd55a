"""Whether a file that arrived whole looks as if it had been damaged before: cut, blanked, or made another.

A phone may hand out half a film, zeros, a JPEG in place of a HEIC, or a photo without its place, and say that
all is well. The bytes that photosync proves are then the wrong ones. So it looks at the structure of what
passes by, reads nothing for that, and flags what is wrong: the file is copied all the same, and remembered
as one that must not be removed from the phone.

Said only where the format leaves no doubt: what cannot be seen, or is merely unusual, is no suspicion.
"""

from photosync.engine import bmff
from photosync.engine.media import Facts, segments
from photosync.engine.tiff import Tiff
from photosync.engine.views import TAIL, Malformed, Passed

_4GIB = 1 << 32
_MOST_CHUNKS = 1 << 16
_PLAIN_TIFFS = ("tif", "tiff", "dng")
"""Makers of other raw files write offsets that mean nothing: Panasonic's strips begin at 4 GiB - 1."""
_NAMES = {
    "jpeg": "a JPEG",
    "png": "a PNG",
    "gif": "a GIF",
    "webp": "a WebP",
    "heif": "a HEIF picture",
    "film": "a film",
    "tiff": "a TIFF",
}
_FORMATS = {
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif", "mpo"), "jpeg"),
    **dict.fromkeys(("heic", "heif", "hif", "avif"), "heif"),
    **dict.fromkeys(("mov", "qt", "mp4", "m4v", "3gp", "3g2", "cr3"), "film"),
    **dict.fromkeys(("tif", "tiff", "dng", "nef", "cr2", "arw", "pef", "orf", "rw2"), "tiff"),
    "png": "png",
    "gif": "gif",
    "webp": "webp",
}


def suspicion(path: str, view: Passed, facts: Facts) -> str | None:
    """Why a file is not to be trusted, in words, or None.

    Args:
        path: its name decides what it ought to be.
        view: of all of it.
        facts: what it says of itself.
    """
    stem, _, extension = path.rpartition("/")[2].rpartition(".")
    expected = _FORMATS.get(extension.lower(), "") if stem else ""
    if not expected and not facts.format:
        return None
    if not view.size:
        return "it is empty"
    if view.blank:
        return "it holds nothing but zeros"
    if expected and facts.format != expected:
        held = f"it holds {_NAMES[facts.format]}" if facts.format else f"it is not {_NAMES[expected]}"
        return f"{held}, though its name ends in .{extension}"
    if view.size == _4GIB - 1:
        return "its size is the largest that some phones can tell: it may be cut"
    return _cut(view, facts.format, extension.lower())


def _cut(view: Passed, kind: str, extension: str) -> str | None:
    try:
        if kind == "jpeg":
            return _jpeg(view)
        if kind == "png":
            return _png(view)
        if kind == "tiff" and extension in _PLAIN_TIFFS:
            end = Tiff(view).overrun()
            return _missing(end - view.size) if end > view.size else None
        if kind in ("heif", "film"):
            return _boxes(view, kind)
    except Malformed:
        # Out of view, or a kind of its own.
        return None
    return None


def _jpeg(view: Passed) -> str | None:
    picture = next((at for marker, at, _ in segments(view) if marker == 0xDA), None)
    if picture is None:
        # Segments that run out of the file are cut; out of view, nothing is known.
        ends = [at + size for _, at, size in segments(view)]
        return "the picture in the JPEG is missing" if not ends or ends[-1] + 4 > view.size else None
    return None if view.last_end > picture else "the end of the JPEG is missing"


def _png(view: Passed) -> str | None:
    at = 8
    for _ in range(_MOST_CHUNKS):
        head = view.at(at, 8)
        if len(head) < 8:
            break
        at += 12 + int.from_bytes(head[:4], "big")
        if head[4:] == b"IEND" or at > view.size:
            return None if at <= view.size else "the end of the PNG is missing"
    # Out of view, the tail has to do.
    tail = view.at(max(0, view.size - TAIL), TAIL)
    return None if 0 <= tail.rfind(b"IEND") <= len(tail) - 8 else "the end of the PNG is missing"


def _boxes(view: Passed, kind: str) -> str | None:
    found = list(bmff.boxes(view, 0, view.size))
    if not found:
        return None
    last = found[-1]
    if last.end > view.size:
        return _missing(last.end - view.size)
    if view.size - last.end >= 8:
        return None
    kinds = {box.kind for box in found}
    for wanted in (b"meta" if kind == "heif" else b"moov", b"mdat"):
        if wanted not in kinds:
            return f"a part of it ({wanted.decode()}) is missing"
    return None


def _missing(size: int) -> str:
    if size % _4GIB == 0:
        return f"{size >> 30} GiB of it are missing: it was cut to its size modulo 4 GiB"
    return f"{size} bytes at its end are missing"


_LOST_PLACE = "the place that it had at an earlier copy (GPS) is gone"


def lost_place(before: Facts, now: Facts, suspicion: str | None = None) -> str | None:
    """Whether a shot that said where it was taken no longer does: a phone's way of protecting its owner.

    Args:
        before: what it said when it was last looked into.
        now: what it says.
        suspicion: that there was then.
    """
    had = before.place or suspicion == _LOST_PLACE
    if had and not now.place and before.taken and before.taken == now.taken:
        return _LOST_PLACE
    return None
