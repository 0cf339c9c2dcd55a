"""The datasets of PTP (ISO 15740, section 5): little-endian; arrays and strings begin with their length."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_NAME = 254
"""UTF-16 units; a string's length is one byte and counts the closing 0, too (5.3.4)."""

UNKNOWN = 0xFFFFFFFF
ASSOCIATION = 0x3001
UNDEFINED = 0x3000
JFIF = 0x3808
FORMATS = {
    ".avi": 0x300A,
    ".mpg": 0x300B,
    ".mov": 0x300D,
    ".jpg": 0x3801,
    ".jpeg": 0x3801,
    ".gif": 0x3807,
    ".png": 0x380B,
    ".tif": 0x380D,
    ".mp4": 0xB982,
    ".3gp": 0xB984,
}
"""ObjectFormatCodes (ISO 15740, 6.2; MTP 1.1, appendix A) that cameras give; everything else is undefined."""


@dataclass(frozen=True, slots=True)
class Model:
    """Who a device says it is, and how it tells sizes.

    Attributes:
        extension: VendorExtensionID: 6 for MTP, 10 for Nikon.
        extension_text: VendorExtensionDesc.
        operations: that it supports.
        wide: sizes in ObjectInfo have 64 bits, against the standard, as some of Samsung's phones do.
    """

    manufacturer: str
    name: str
    extension: int
    extension_text: str
    operations: tuple[int, ...]
    wide: bool = False


def string(text: str) -> bytes:
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * LONGEST_NAME]
    return bytes([len(units) // 2 + 1]) + units + b"\0\0" if units else b"\0"


def array(numbers: Iterable[int], code: str = "I") -> bytes:
    listed = list(numbers)
    return struct.pack(f"<I{len(listed)}{code}", len(listed), *listed)


def device_info(model: Model, serial: str) -> bytes:
    """5.5.1: StandardVersion … SerialNumber. No events, no properties."""
    nothing = array(())
    return b"".join(
        (
            struct.pack("<HIH", 100, model.extension, 100),
            string(model.extension_text),
            struct.pack("<H", 0),
            array(model.operations, "H"),
            nothing,
            nothing,
            nothing,
            array(sorted({ASSOCIATION, UNDEFINED, *FORMATS.values()}), "H"),
            string(model.manufacturer),
            string(model.name),
            string("1.0"),
            string(serial),
        )
    )


def storage_info(description: str, capacity: int, free: int) -> bytes:
    """5.5.3: fixed RAM with a hierarchy, read-only without deletion; sizes in bytes."""
    kinds = struct.pack("<HHH", 3, 2, 1)
    return kinds + struct.pack("<QQI", capacity, free, UNKNOWN) + string(description) + string("")


def object_info(
    storage: int, form: int, size: int, parent: int, name: str, modified: str, wide: bool
) -> bytes:
    """5.5.2.

    Args:
        size: bytes; beyond 32 bits it is told as 0xFFFFFFFF (MTP 1.1, 5.3.1).
        modified: see 5.3.5, DateTime.
        wide: see `Model`.
    """
    told = struct.pack("<Q", size) if wide else struct.pack("<I", min(size, UNKNOWN))
    folder = form == ASSOCIATION
    return b"".join(
        (
            struct.pack("<IHH", storage, form, 1),
            told,
            struct.pack("<HIII", UNDEFINED if folder else JFIF, 0, 0, 0),
            struct.pack("<III", 0, 0, 0),
            struct.pack("<IHII", parent, 1 if folder else 0, 0, 0),
            string(name),
            string(""),
            string(modified),
            string(""),
        )
    )
