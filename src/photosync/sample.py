"""A phone to try things on: folders full of real, small media files, the same for the same seed."""

import os
import random
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from photosync.sample_media import (
    Heic,
    Shot,
    aae,
    dng,
    free_box,
    jpeg,
    motion_photo,
    picture,
    png,
    samsung_motion_photo,
    vary_boxes,
    vary_jpeg,
    vary_png,
    video,
)

if TYPE_CHECKING:
    from PIL.Image import Image

_BLOCK = 1 << 20
_FIRST = datetime(2024, 5, 1, 10, 11, 12, 345_000, timezone(timedelta(hours=2)))
_PLACES = ((52.520008, 13.404954), (-33.856784, 151.215297), (37.819929, -122.478255))

ODD_NAMES = (
    "IMG_0001 (1).JPG",
    "2024-01-01 10:11:12.jpg",
    "\U0001f389 party \U0001f469\u200d\U0001f467.jpg",
    "\u05e9\u05dc\u05d5\u05dd.jpg",
    "Caf\u00e9.jpg",
    unicodedata.normalize("NFD", "Caf\u00e9.jpg"),
    "twin.jpg",
    "TWIN.JPG",
    "stra\u00dfe.jpg",
    "STRASSE.JPG",
    "trailing space ",
    "trailing dot.",
    " leading space.jpg",
    "%41.jpg",
    "100%.jpg",
    "CON.jpg",
    "desktop.ini.jpg",
    "back\\slash.jpg",
    "question?*.jpg",
    ".photosync-notes.jpg",
    "line\nbreak.jpg",
    "escape\x1b[31m.jpg",
    "l" * 246 + ".jpg",
    os.fsdecode(b"latin1-\xe9.jpg"),
)
"""Names that phones do hold and some destination does not."""


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What was written.

    Attributes:
        files: how many.
        bytes: their sizes together.
        folders: that hold files.
        refused: paths that this file system can't hold, or can't hold beside another.
    """

    files: int
    bytes: int
    folders: int
    refused: tuple[str, ...] = ()


class _Phone:
    """Writes files below a root, each dated by when it was taken."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = self.bytes = 0
        self.folders: set[Path] = set()
        self.refused: list[str] = []

    def put(self, path: str, chunks: Iterable[bytes], taken: datetime) -> None:
        target = self.root / path
        if target.parent not in self.folders:
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Exclusive, so that of two names that this file system takes for one the first survives.
            with target.open("xb") as file:
                size = sum(map(file.write, chunks))
        except FileExistsError:
            if not self._written_before(target):
                raise
            self.refused.append(path)
            return
        except (OSError, UnicodeError):
            self.refused.append(path)
            return
        stamp = (taken - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000
        os.utime(target, ns=(stamp, stamp))
        self.folders.add(target.parent)
        self.files += 1
        self.bytes += size

    def _written_before(self, target: Path) -> bool:
        return target.parent in self.folders and target.name not in os.listdir(target.parent)

    def summary(self) -> SampleSummary:
        return SampleSummary(self.files, self.bytes, len(self.folders), tuple(self.refused))


def build_sample(root: Path, *, seed: int = 1, photos: int = 40) -> SampleSummary:
    """Writes what an iPhone's and an Android phone's storage would hold, with the traps that names, pairs and
    formats set for a backup.

    Args:
        root: folder to fill; created if missing. Nothing in it is replaced.
        seed: the same seed gives the same bytes, names and times.
        photos: shots in each camera's folder, beside the special ones.

    Raises:
        photosync.sample_media.MissingExtra: the encoders are not installed.
        FileExistsError: a file of the sample is there already.
    """
    phone = _Phone(root)
    rng = random.Random(seed)
    clock = _clock(rng)
    _iphone(phone, rng, clock, photos)
    _android(phone, rng, clock, photos)
    for name in ODD_NAMES:
        shot = Shot(next(clock), "Google", "Pixel 8")
        phone.put(f"DCIM/Odd/{name}", [jpeg(picture(rng.randrange(1 << 30), 96, 72), shot)], shot.taken)
    return phone.summary()


def _clock(rng: random.Random) -> Iterator[datetime]:
    now = _FIRST
    while True:
        yield now
        now += timedelta(seconds=rng.randrange(2, 40_000), milliseconds=rng.randrange(1000))


def _iphone(phone: _Phone, rng: random.Random, clock: Iterator[datetime], photos: int) -> None:
    folder = "DCIM/100APPLE"
    like = Shot(_FIRST, place=_PLACES[0], pair=_identifier(rng))
    pictures = [Heic(picture(rng.randrange(1 << 30), 320, 240), like) for _ in range(2)]
    for number in range(1, photos + 1):
        taken, name = next(clock), f"{folder}/IMG_{number:04}"
        shot = replace(like, taken=taken, place=rng.choice(_PLACES), pair=_identifier(rng))
        kind = number % 5
        if kind == 4:
            phone.put(f"{name}.PNG", [png(picture(rng.randrange(1 << 30), 180, 390), "Screenshot")], taken)
        elif kind == 3:
            phone.put(f"{name}.MOV", [_quicktime(rng, taken)], taken)
        elif kind == 2:
            still = picture(rng.randrange(1 << 30), 320, 240)
            phone.put(f"{name}.JPG", [jpeg(still, replace(shot, pair=None))], taken)
        else:
            phone.put(f"{name}.HEIC", [rng.choice(pictures).shot(shot)], taken)
            if kind == 1:
                phone.put(f"{name}.MOV", [_quicktime(rng, taken, shot.pair)], taken)
    taken, name = next(clock), f"{folder}/IMG_{photos + 1:04}"
    shot = replace(like, taken=taken, pair=_identifier(rng))
    still = picture(rng.randrange(1 << 30), 320, 240)
    phone.put(f"{name}.JPG", [jpeg(still, shot)], taken)
    phone.put(f"{name}.MOV", [_quicktime(rng, taken, shot.pair)], taken)
    phone.put(f"{name}.AAE", [aae(taken)], taken)
    phone.put(f"{folder}/IMG_E{photos + 1:04}.JPG", [jpeg(still.convert("L"), shot)], taken)
    taken, name = next(clock), f"{folder}/IMG_{photos + 2:04}"
    shot = replace(like, taken=taken, pair=None)
    phone.put(f"{name}.DNG", [dng(still, shot)], taken)
    phone.put(f"{name}.JPG", [jpeg(still, shot)], taken)
    phone.put(f"{folder}/IMG_{photos + 3:04}.JPG", [], next(clock))


def _android(phone: _Phone, rng: random.Random, clock: Iterator[datetime], photos: int) -> None:
    pixel = Shot(_FIRST, "Google", "Pixel 8", _PLACES[1])
    galaxy = Shot(_FIRST, "samsung", "SM-S921B", _PLACES[2])
    for _ in range(photos):
        taken = next(clock)
        still = picture(rng.randrange(1 << 30), 320, 240)
        stem = f"DCIM/Camera/PXL_{taken.astimezone(UTC):%Y%m%d_%H%M%S}{taken.microsecond // 1000:03}"
        phone.put(f"{stem}.jpg", [jpeg(still, replace(pixel, taken=taken))], taken)
    taken = next(clock)
    movie = video(rng.randrange(1 << 30), taken, {"com.android.version": "14"})
    phone.put(f"DCIM/Camera/VID_{taken:%Y%m%d_%H%M%S}.mp4", [movie], taken)
    still = picture(rng.randrange(1 << 30), 320, 240)
    moving = motion_photo(still, replace(pixel, taken=taken), movie)
    phone.put(f"DCIM/Camera/PXL_{taken.astimezone(UTC):%Y%m%d_%H%M%S}.MP.jpg", [moving], taken)
    moving = samsung_motion_photo(still, replace(galaxy, taken=taken), movie)
    phone.put(f"DCIM/Camera/{taken:%Y%m%d_%H%M%S}.jpg", [moving], taken)
    taken = next(clock)
    for number in range(5):
        shot = replace(pixel, taken=taken + timedelta(milliseconds=120 * number))
        cover = "_COVER" if number == 2 else ""
        name = (
            f"{number:05}IMG_{number:05}_BURST{taken:%Y%m%d%H%M%S}{taken.microsecond // 1000:03}{cover}.jpg"
        )
        phone.put(f"DCIM/Camera/{name}", [jpeg(picture(rng.randrange(1 << 30), 160, 120), shot)], shot.taken)
    for number in range(4):
        taken = next(clock)
        shown = png(picture(rng.randrange(1 << 30), 180, 390), "Screenshot")
        phone.put(f"DCIM/Screenshots/Screenshot_{taken:%Y%m%d-%H%M%S}.png", [shown], taken)
        plain = jpeg(picture(rng.randrange(1 << 30), 200, 150), quality=60)
        phone.put(f"Pictures/WhatsApp Images/IMG-{taken:%Y%m%d}-WA{number:04}.jpg", [plain], taken)
    phone.put("DCIM/.thumbnails/.nomedia", [], next(clock))


def _identifier(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4)).upper()


def _quicktime(rng: random.Random, taken: datetime, pair: str | None = None) -> bytes:
    tags = {
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.model": "iPhone 15 Pro",
        "com.apple.quicktime.creationdate": f"{taken:%Y-%m-%dT%H:%M:%S%z}",
    }
    if pair is not None:
        tags["com.apple.quicktime.content.identifier"] = pair
    return video(rng.randrange(1 << 30), taken, tags, kind="mov")


def build_library(root: Path, *, files: int, seed: int = 1, big: Sequence[int] = ()) -> SampleSummary:
    """Writes a large library quickly: a few dozen encoded media, each file one of them made distinct.

    Args:
        root: folder to fill; created if missing. Nothing in it is replaced.
        files: how many, 1,000 a folder, between 0 bytes (one in 500) and about 1 MB.
        seed: the same seed gives the same bytes, names and times.
        big: sizes in bytes of further MP4 files; their content does not compress and does not repeat.

    Raises:
        photosync.sample_media.MissingExtra: the encoders are not installed.
        FileExistsError: a file of the library is there already.
        ValueError: a big size is smaller than an MP4 can be.
    """
    phone = _Phone(root)
    rng = random.Random(seed)
    clock = _clock(rng)
    media = _templates(rng)
    movie = next(data for extension, data, _ in media if extension == "MP4")
    for number in range(files):
        taken = next(clock)
        extension, data, vary = rng.choices(media, weights=[_SHARES[kind] for kind, _, _ in media])[0]
        path = f"DCIM/{100 + number // 1000}APPLE/IMG_{number:06}.{extension}"
        empty = number % 500 == 499
        phone.put(path, [] if empty else [vary(data, f"file {number} of seed {seed}")], taken)
    for number, size in enumerate(big):
        phone.put(f"DCIM/Big/VID_{number:04}.MP4", _long_movie(movie, size, rng), next(clock))
    return phone.summary()


_SHARES = {"JPG": 40, "HEIC": 25, "PNG": 8, "MOV": 10, "MP4": 5, "DNG": 2}


def _templates(rng: random.Random) -> list[tuple[str, bytes, Callable[[bytes, str], bytes]]]:
    shot = Shot(_FIRST, place=_PLACES[0])
    made: list[tuple[str, bytes, Callable[[bytes, str], bytes]]] = []

    def still(width: int, height: int) -> "Image":
        return picture(rng.randrange(1 << 30), width, height)

    for width, height in (
        (160, 120),
        (320, 240),
        (480, 360),
        (640, 480),
        (800, 600),
        (1600, 1200),
        (2048, 1536),
    ):
        made.append(("JPG", jpeg(still(width, height), shot, quality=88), vary_jpeg))
    for width, height in ((160, 120), (320, 240)):
        made.append(("HEIC", Heic(still(width, height), shot).shot(shot), vary_boxes))
    for width, height in ((90, 195), (270, 585)):
        made.append(("PNG", png(still(width, height), "Screenshot"), vary_png))
    for kind, frames in (("mov", 6), ("mov", 24), ("mp4", 12), ("mp4", 36)):
        made.append(
            (kind.upper(), video(rng.randrange(1 << 30), _FIRST, {}, kind=kind, frames=frames), vary_boxes)
        )
    made.append(("DNG", dng(still(320, 240), shot), lambda data, text: data + text.encode()))
    return made


def _long_movie(movie: bytes, size: int, rng: random.Random) -> Iterator[bytes]:
    """``movie`` and a free box that fills it up to ``size`` bytes."""
    if size < len(movie) + 8:
        raise ValueError(f"a big file must have at least {len(movie) + 8} bytes, not {size}")
    header = free_box(size - len(movie))
    yield movie + header
    left = size - len(movie) - len(header)
    noise = rng.randbytes(2 * _BLOCK)
    for number in range(left // _BLOCK + 1):
        start = number * 4099 % _BLOCK
        block = number.to_bytes(8, "big") + noise[start : start + _BLOCK - 8]
        yield block[: left - number * _BLOCK]
