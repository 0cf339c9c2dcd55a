"""CRC-64/NVME, the checksum of whole objects that S3 can put together from those of their parts.

It needs the package ``awscrt`` (``pip install photosync-engine[s3crt]``); Python's own would take minutes a
gigabyte. Source: "Checking object integrity", Amazon S3 User Guide.
"""

import base64
from collections.abc import Callable
from functools import cache

from photosync.engine.capabilities import Buffer

Crc = Callable[[Buffer], str]
"""Bytes to their checksum as S3 writes it: eight bytes, big-endian, in base64."""


@cache
def crc64() -> Crc | None:
    """The checksum's function, or None without ``awscrt``."""
    try:
        from awscrt.checksums import crc64nvme
    except ImportError:
        return None

    def checksum(data: Buffer) -> str:
        value: int = crc64nvme(bytes(data) if isinstance(data, memoryview) else data)
        return base64.b64encode(value.to_bytes(8, "big")).decode()

    return checksum
