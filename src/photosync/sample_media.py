"""Real media files, made from nothing but a seed: what phones write, small, and the same for the same seed.

Encoders come with the extra ``samples``; they are imported when the first file is made.
"""

import io
import plistlib
import random
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825


class MissingExtra(ImportError):
    """The encoders are not installed; the text says how to get them."""


def load(name: str) -> ModuleType:
    """Imports an encoder.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"making sample media needs {name.partition('.')[0]}, which is not installed. "
            "Run: pip install 'photosync-engine[samples]'"
        ) from error


@dataclass(frozen=True, slots=True)
class Shot:
    """What a camera knows when it is triggered.

    Attributes:
        taken: with a zone; its microseconds become EXIF's sub-seconds (three digits).
        make, model: of the camera.
        place: latitude and longitude in degrees, or None.
        pair: identifier that joins the parts of a Live Photo, or None.
        comment: EXIF user comment, ASCII.
    """

    taken: datetime
    make: str = "Apple"
    model: str = "iPhone 15 Pro"
    place: tuple[float, float] | None = None
    pair: str | None = None
    comment: str = ""


def picture(seed: int, width: int, height: int) -> "Image":
    """An image with smooth areas, edges and grain, so that it compresses like a photograph."""
    image, draw = load("PIL.Image"), load("PIL.ImageDraw")
    rng = random.Random(seed)
    bands = [
        image.linear_gradient("L").rotate(rng.randrange(4) * 90).resize((width, height)) for _ in range(3)
    ]
    made: Image = image.merge("RGB", bands)
    pen = draw.Draw(made)
    for _ in range(12):
        x, y = rng.randrange(width), rng.randrange(height)
        size = rng.randrange(8, max(9, min(width, height) // 2))
        colour = tuple(rng.randrange(256) for _ in range(3))
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x, y, x + size, y + size), fill=colour)
    grain = image.frombytes("L", (width, height), rng.randbytes(width * height)).convert("RGB")
    blended: Image = image.blend(made, grain, 0.06)
    return blended


def exif(shot: Shot) -> bytes:
    """EXIF of a shot, beginning with the TIFF header; of equal length for shots with equally long texts."""
    block = load("PIL.Image").Exif()
    block[0x010F] = shot.make
    block[0x0110] = shot.model
    block[0x0112] = 1
    block[0x0132] = f"{shot.taken:%Y:%m:%d %H:%M:%S}"
    offset = f"{shot.taken:%z}"
    details = block.get_ifd(_EXIF_IFD)
    details[0x9000] = b"0232"
    for tag in (0x9003, 0x9004):
        details[tag] = f"{shot.taken:%Y:%m:%d %H:%M:%S}"
    for tag in (0x9010, 0x9011, 0x9012):
        details[tag] = f"{offset[:3]}:{offset[3:]}"
    for tag in (0x9291, 0x9292):
        details[tag] = f"{shot.taken.microsecond // 1000:03}"
    if shot.comment:
        details[0x9286] = b"ASCII\0\0\0" + shot.comment.encode("ascii")
    if shot.pair is not None:
        details[0x927C] = _apple_maker_note(shot.pair)
    if shot.place is not None:
        gps = block.get_ifd(_GPS_IFD)
        gps[0] = b"\2\3\0\0"
        for tag, value, letters in ((1, shot.place[0], "NS"), (3, shot.place[1], "EW")):
            gps[tag] = letters[value < 0]
            gps[tag + 1] = _degrees(abs(value))
    written: bytes = block.tobytes()
    return written.removeprefix(b"Exif\0\0")


def _degrees(value: float) -> tuple[float, float, float]:
    minutes, seconds = divmod(round(value * 360_000), 6000)
    return float(minutes // 60), float(minutes % 60), seconds / 100


def _apple_maker_note(pair: str) -> bytes:
    """An Apple maker note whose only tag is 0x0011, ContentIdentifier: big-endian, offsets from its start."""
    text = pair.encode("ascii") + b"\0"
    head = b"Apple iOS\0\0\1MM"
    ifd = struct.pack(">HHHII", 1, 0x11, 2, len(text), len(head) + 18) + struct.pack(">I", 0)
    return head + ifd + text


def jpeg(image: "Image", shot: Shot | None = None, *, quality: int = 85, xmp: bytes | None = None) -> bytes:
    """A JPEG; without a shot it has no metadata, as messengers leave it."""
    out = io.BytesIO()
    extra = {} if shot is None else {"exif": b"Exif\0\0" + exif(shot)}
    if xmp is not None:
        extra["xmp"] = xmp
    image.save(out, "JPEG", quality=quality, **extra)
    return out.getvalue()


class Heic:
    """One encoded HEIC picture, from which any number of shots are made without encoding it again."""

    def __init__(self, image: "Image", like: Shot) -> None:
        self._exif = exif(like)
        out = io.BytesIO()
        load("pillow_heif").from_pillow(image).save(out, quality=50, exif=b"Exif\0\0" + self._exif)
        self._data = out.getvalue()
        if self._data.count(self._exif) != 1:
            raise AssertionError("the HEIC encoder did not keep the EXIF block as it was given")

    def shot(self, shot: Shot) -> bytes:
        """The picture as ``shot``, whose texts are as long as those of the shot it was encoded with."""
        block = exif(shot)
        if len(block) != len(self._exif):
            raise ValueError(f"EXIF of {shot.taken} has {len(block)} bytes instead of {len(self._exif)}")
        return self._data.replace(self._exif, block)


def png(image: "Image", text: str) -> bytes:
    """A screenshot; ``text`` (Latin-1) becomes a tEXt chunk."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return vary_png(out.getvalue(), text)


def dng(image: "Image", shot: Shot) -> bytes:
    """An uncompressed TIFF with the tags that make it a DNG 1.4 with demosaiced (linear RGB) data."""
    out = io.BytesIO()
    tags: dict[int, object] = {
        0x010F: shot.make,
        0x0110: shot.model,
        0x0132: f"{shot.taken:%Y:%m:%d %H:%M:%S}",
        0xC612: b"\1\4\0\0",
        0xC613: b"\1\1\0\0",
        0xC614: f"{shot.make} {shot.model}",
    }
    image.save(out, "TIFF", tiffinfo=tags)
    return out.getvalue()


def video(
    seed: int, taken: datetime, tags: Mapping[str, str], *, kind: str = "mp4", frames: int = 12
) -> bytes:
    """A short MPEG-4 video.

    Args:
        tags: QuickTime metadata keys, such as "com.apple.quicktime.content.identifier".
        kind: "mp4" or "mov".
        frames: at 12 a second.
    """
    av = load("av")
    out = io.BytesIO()
    options = {"movflags": "use_metadata_tags", "fflags": "+bitexact"}
    with av.open(out, "w", format=kind, options=options) as container:
        container.metadata.update(tags)
        container.metadata["creation_time"] = f"{taken.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        stream = container.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.options = {"threads": "1", "flags": "+bitexact"}
        still = picture(seed, 160 + frames, 120)
        for number in range(frames):
            frame = av.VideoFrame.from_image(still.crop((number, 0, number + 160, 120)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


def motion_photo(image: "Image", shot: Shot, movie: bytes) -> bytes:
    """A Google motion photo: a JPEG whose XMP says how many bytes of video follow it (format 1.0)."""
    xmp = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"
 xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/"
 GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" GCamera:MotionPhotoPresentationTimestampUs="500000">
<Container:Directory><rdf:Seq>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Mime="image/jpeg" Item:Semantic="Primary"/></rdf:li>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Mime="video/mp4" Item:Semantic="MotionPhoto"
 Item:Length="{len(movie)}"/></rdf:li>
</rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"""
    return jpeg(image, shot, xmp=xmp.encode()) + movie


def samsung_motion_photo(image: "Image", shot: Shot, movie: bytes) -> bytes:
    """A Samsung motion photo: a JPEG followed by a trailer of named blocks and their directory."""
    mark = struct.pack("<HH", 0, 0x0A30)
    name = b"MotionPhoto_Data"
    block = mark + struct.pack("<I", len(name)) + name + movie
    directory = b"SEFH" + struct.pack("<II", 106, 1) + mark + struct.pack("<II", len(block), len(block))
    return jpeg(image, shot) + block + directory + struct.pack("<I", len(directory)) + b"SEFT"


def aae(taken: datetime) -> bytes:
    """The sidecar in which iOS keeps edits."""
    return plistlib.dumps(
        {
            "adjustmentBaseVersion": 0,
            "adjustmentData": zlib.compress(b'{"adjustments":[]}'),
            "adjustmentEditorBundleID": "com.apple.mobileslideshow",
            "adjustmentFormatIdentifier": "com.apple.photo",
            "adjustmentFormatVersion": "1.4",
            "adjustmentTimestamp": taken.astimezone(UTC).replace(tzinfo=None, microsecond=0),
        }
    )


def vary_jpeg(data: bytes, text: str) -> bytes:
    """The same picture with a comment segment after the segments that must come first."""
    at = 2
    while data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    body = text.encode("latin-1")
    return b"".join((data[:at], b"\xff\xfe", struct.pack(">H", len(body) + 2), body, data[at:]))


def vary_png(data: bytes, text: str) -> bytes:
    """The same picture with a tEXt chunk after its header."""
    chunk = b"tEXtComment\0" + text.encode("latin-1")
    after = 8 + 25
    framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"".join((data[:after], framed, data[after:]))


def vary_boxes(data: bytes, text: str) -> bytes:
    """The same HEIC, MP4 or MOV with a free box at its end."""
    body = text.encode("latin-1")
    return data + free_box(len(body) + 8) + body


def free_box(size: int) -> bytes:
    """Header of an ISO base media box of ``size`` bytes, header included, whose content means nothing."""
    if size < 1 << 32:
        return struct.pack(">I4s", size, b"free")
    return struct.pack(">I4sQ", 1, b"free", size)
