"""Small media files made by hand, byte by byte, so that tests can say exactly what is in them."""

import struct


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def tiff(directory: dict[int, tuple[int, bytes]], below: dict[int, dict[int, tuple[int, bytes]]]) -> bytes:
    """A little-endian TIFF: tags with (type, value) in the first directory, and directories below it."""
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
    out = bytearray(b"II*\0\x08\0\0\0")

    def write(tags: dict[int, tuple[int, bytes]], subs: dict[int, dict[int, tuple[int, bytes]]]) -> None:
        start = len(out)
        names = sorted({*tags, *subs})
        out.extend(bytes(2 + 12 * len(names) + 4))
        struct.pack_into("<H", out, start, len(names))
        for number, name in enumerate(names):
            at = start + 2 + number * 12
            if name in subs:
                struct.pack_into("<HHII", out, at, name, 4, 1, len(out))
                write(subs[name], {})
                continue
            kind, value = tags[name]
            struct.pack_into("<HHI", out, at, name, kind, len(value) // sizes[kind])
            if len(value) <= 4:
                out[at + 8 : at + 8 + len(value)] = value
            else:
                struct.pack_into("<I", out, at + 8, len(out))
                out.extend(value)

    write(directory, below)
    return bytes(out)


def text(value: str) -> tuple[int, bytes]:
    return 2, value.encode() + b"\0"


def apple_note(pair: str) -> bytes:
    value = pair.encode() + b"\0"
    head = b"Apple iOS\0\0\1MM"
    return head + struct.pack(">HHHII", 1, 0x11, 2, len(value), len(head) + 18) + bytes(4) + value


def exif(
    taken: str = "2024:05:01 10:11:12", *, model: str = "Cam", pair: str = "", place: bool = False
) -> bytes:
    details = {0x9003: text(taken), 0x9011: text("+02:00"), 0x9291: text("345")}
    if pair:
        details[0x927C] = (7, apple_note(pair))
    below = {0x8769: details}
    if place:
        below[0x8825] = {2: (5, bytes(24)), 4: (5, bytes(24))}
    return tiff({0x10F: text("Maker"), 0x110: text("Cam")}, below)


def jpeg(block: bytes | None = None, body: bytes = b"picture") -> bytes:
    head = b"" if block is None else segment(0xE1, b"Exif\0\0" + block)
    return b"\xff\xd8" + head + segment(0xDA, b"\0" * 6) + body + b"\xff\xd9"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body


def wide_box(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I4sQ", 1, kind, (len(body) + 16) if size is None else size) + body


def movie(pair: str = "", created: str = "", *, index_first: bool = False, media: bytes = b"frames") -> bytes:
    """A MOV with Apple's metadata keys."""
    told = {"content.identifier": pair, "creationdate": created}
    told = {f"com.apple.quicktime.{name}": value for name, value in told.items() if value}
    keys = struct.pack(">II", 0, len(told)) + b"".join(box(b"mdta", name.encode()) for name in told)
    values = b"".join(
        struct.pack(">II", 24 + len(value.encode()), number)
        + box(b"data", struct.pack(">II", 1, 0) + value.encode())
        for number, value in enumerate(told.values(), 1)
    )
    meta = box(b"meta", box(b"hdlr", bytes(24)) + box(b"keys", keys) + box(b"ilst", values))
    header = box(b"mvhd", bytes(4) + struct.pack(">II", 3_797_398_800, 0) + bytes(88))
    index, data = box(b"moov", header + meta), box(b"mdat", media)
    kind = box(b"ftyp", b"qt  \0\0\0\0qt  ")
    return kind + (index + data if index_first else data + index)


def heic(block: bytes) -> bytes:
    """A HEIC that holds nothing but its EXIF."""
    item = box(b"infe", b"\2\0\0\0" + struct.pack(">HH", 7, 0) + b"Exif\0")
    names = box(b"iinf", bytes(4) + struct.pack(">H", 1) + item)
    kind = box(b"ftyp", b"heic\0\0\0\0mif1heic")

    def meta(offset: int) -> bytes:
        place = struct.pack(">IHHHHHII", 0, 0x4400, 1, 7, 0, 1, offset, len(block) + 4)
        return box(b"meta", bytes(4) + box(b"hdlr", bytes(24)) + names + box(b"iloc", place))

    offset = len(kind) + len(meta(0)) + 8
    return kind + meta(offset) + box(b"mdat", struct.pack(">I", 0) + block)


PNG = b"\x89PNG\r\n\x1a\n"


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    every = [(b"IHDR", bytes(13)), *chunks, (b"IDAT", b"pixels"), (b"IEND", b"")]
    return PNG + b"".join(struct.pack(">I", len(body)) + kind + body + bytes(4) for kind, body in every)


def dng() -> bytes:
    """A TIFF with one strip at its end."""
    strip = b"strip" * 20
    tags = {0x10F: text("Maker"), 0x110: text("RawCam"), 0x132: text("2023:01:02 03:04:05")}
    sizes = {0x111: (4, bytes(4)), 0x117: (4, struct.pack("<I", len(strip)))}
    length = len(tiff(tags | sizes, {}))
    return tiff(tags | sizes | {0x111: (4, struct.pack("<I", length))}, {}) + strip
