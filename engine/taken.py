"""When a photo was taken: by what it says itself, then by its name, then by the time the file has."""

import datetime
import re
from dataclasses import dataclass

from photosync.engine.media import NOTHING, Facts

_DATE = (
    r"(?P<year>(?:19[7-9]|20\d)\d)(?P<sep>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=sep)(?P<day>0[1-9]|[12]\d|3[01])"
)
_TIME = r"(?P<hour>[01]\d|2[0-3])[-_.:]?(?P<minute>[0-5]\d)[-_.:]?(?P<second>[0-5]\d)(?:[-_.]?(?P<ms>\d{3}))?"
# PXL_20240501_081112345.jpg, IMG_20240501_101112.jpg, Screenshot_20240501-101112.png, 20240501_101112.jpg,
# signal-2024-05-01-10-11-12-345.jpg, photo_2024-05-01_10-11-12.jpg, 2024-05-01 10.11.12.jpg,
# WhatsApp Image 2024-05-01 at 10.11.12.jpeg, Screenshot 2024-05-01 at 10.11.12.png
_MOMENT = re.compile(rf"(?<!\d){_DATE}(?:[-_. T]| at ){_TIME}(?!\d)", re.ASCII)
_MESSENGER = re.compile(rf"\A(?:IMG|VID|AUD|PTT|STK|DOC)-{_DATE}-WA\d{{4}}", re.ASCII)
_EPOCH = re.compile(r"\A(?:FB_IMG_|mmexport|wx_camera_)(?P<ms>1\d{12})(?!\d)", re.ASCII)
_PIXEL = re.compile(r"\APXL_", re.ASCII)
_EARLIEST = 1900


@dataclass(frozen=True, slots=True)
class Taken:
    """When, and by whose word.

    Attributes:
        moment: the clock on the wall where it was taken, without a zone; None: nothing is known.
        source: "exif", "quicktime", "quicktime-utc" (a film that knows UTC only), "name", "mtime", or "".
        at: seconds since the epoch; what has no zone is taken for local time of this machine.
    """

    moment: datetime.datetime | None
    source: str
    at: float = 0.0

    @property
    def text(self) -> str | None:
        """ISO 8601, or None."""
        return None if self.moment is None else self.moment.isoformat()


UNKNOWN = Taken(None, "")
_RANK = {"exif": 0, "quicktime": 0, "quicktime-utc": 1, "name": 2, "mtime": 3, "": 4}


def taken(path: str, mtime_ns: int | None, facts: Facts = NOTHING) -> Taken:
    """When a file's photo was taken.

    UTC becomes local time of this machine, for want of a better zone.

    Args:
        path: its name may tell.
        mtime_ns: nanoseconds since the epoch, or None.
        facts: what it says of itself.
    """
    found = _from_text(facts.taken, facts.source) or _from_name(path.rpartition("/")[2])
    if found is None and mtime_ns is not None:
        found = _from_epoch(mtime_ns / 1e9, "mtime")
    return found or UNKNOWN


def best(found: list[Taken]) -> Taken:
    """The most trustworthy of several, the first among equals."""
    return min(found, key=lambda each: _RANK[each.source], default=UNKNOWN)


def _from_text(text: str, source: str) -> Taken | None:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if source == "quicktime-utc":
        return _local(moment, source)
    return _made(moment, source)


def _made(moment: datetime.datetime, source: str) -> Taken | None:
    if moment.year < _EARLIEST:
        return None
    try:
        return Taken(moment.replace(tzinfo=None), source, moment.timestamp())
    except (OverflowError, ValueError, OSError):
        return None


def _local(moment: datetime.datetime, source: str) -> Taken | None:
    try:
        return _made(moment.astimezone(), source)
    except (OverflowError, ValueError, OSError):
        return None


def _from_epoch(seconds: float, source: str) -> Taken | None:
    try:
        moment = datetime.datetime.fromtimestamp(seconds)
    except (OverflowError, ValueError, OSError):
        return None
    return None if moment.year < _EARLIEST else Taken(moment, source, seconds)


def _from_name(name: str) -> Taken | None:
    if found := _EPOCH.match(name):
        return _from_epoch(int(found["ms"]) / 1000, "name")
    found = _MOMENT.search(name) or _MESSENGER.match(name)
    if found is None:
        return None
    year, month, day, hour, minute, second, ms = (
        int(found.groupdict().get(part) or 0)
        for part in ("year", "month", "day", "hour", "minute", "second", "ms")
    )
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, ms * 1000)
    except ValueError:
        return None
    if _PIXEL.match(name):
        # Pixel phones name their files by UTC.
        return _local(moment.replace(tzinfo=datetime.UTC), "name")
    return _made(moment, "name")
