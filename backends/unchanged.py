"""Whether bytes in memory are still those that were read."""

import hashlib
from collections.abc import Mapping

from blake3 import blake3

from photosync.engine.capabilities import Buffer


def same_bytes(data: Buffer, digests: Mapping[str, str]) -> bool:
    """Whether bytes in memory still have the digest they were read with, by BLAKE3 if that is known: it takes
    a third of the time of SHA-256."""
    if (content := digests.get("blake3")) is not None:
        return blake3(data).hexdigest() == content
    return hashlib.sha256(data).hexdigest() == digests["sha256"]
