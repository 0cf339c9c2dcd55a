"""Proof that bytes arrived. Size, time, ETag and "200 OK" prove nothing.

A copy is *verified* when the digest of the bytes read at the source equals a content hash that the service
computed over what it holds, or the digest of everything read back from it. Three answers are kept apart:
equal, different (`Corrupt`), and not known.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from blake3 import blake3

from photosync.engine.capabilities import Reader, Store
from photosync.engine.errors import Corrupt
from photosync.engine.hashing import Fingerprint, Hasher

BLOCK = 1 << 20
NONE = "none"
REREAD = "reread"


class Verify(StrEnum):
    """How hard to look after a copy."""

    AUTO = "auto"
    """The service's own hash where there is one, else reading back."""
    REREAD = "reread"
    """Always reading back."""
    NONE = "none"
    """Only a hash that costs no request; otherwise the copy counts as written, not verified."""


def agreed(reported: Mapping[str, str], found: Fingerprint) -> str | None:
    """Name of a hash that the service reports and that equals ours; None if there is none in common.

    Raises:
        Corrupt: a hash in common differs.
    """
    name = None
    for candidate, value in reported.items():
        ours = found.digest(candidate)
        if ours is None:
            continue
        if ours != value:
            raise Corrupt(f"the destination holds other bytes: {candidate} {value}, expected {ours}")
        name = candidate
    return name


def told(reported: Mapping[str, str], found: Fingerprint, how: Verify) -> str | None:
    """The evidence, as far as it needs no request; None: reading back decides.

    Raises:
        Corrupt: a hash in common differs.
    """
    name = agreed(reported, found)
    if name is not None and how is not Verify.REREAD:
        return f"server-hash:{name}"
    return NONE if how is Verify.NONE else None


def reread(
    reader: Reader, names: tuple[str, ...] = (), check: Callable[[], None] | None = None
) -> Fingerprint:
    """Reads a file to its end and closes it."""
    hasher = Hasher(names)
    for data in _all(reader, check):
        hasher.update(data)
    return hasher.finish()


def _content(reader: Reader, check: Callable[[], None] | None) -> tuple[int, str]:
    """Bytes and content id of a file, read to its end and closed: all that a proof compares."""
    size, digest = 0, blake3()
    for data in _all(reader, check):
        size += len(data)
        digest.update(data)
    return size, digest.hexdigest()


def _all(reader: Reader, check: Callable[[], None] | None) -> Iterator[bytes]:
    try:
        while data := reader.read(BLOCK):
            yield data
            if check is not None:
                check()
    finally:
        reader.close()


def prove(
    store: Store,
    path: str,
    reported: Mapping[str, str],
    found: Fingerprint,
    how: Verify,
    check: Callable[[], None] | None = None,
) -> str:
    """The evidence that a store holds certain bytes.

    Args:
        store: the destination.
        path: the object.
        reported: content hashes that the service itself reports for it.
        found: what was read at the source.
        how: see `Verify`.
        check: called while reading back; raises to stop.

    Returns:
        "server-hash:<name>", "reread" or "none".

    Raises:
        Corrupt: the bytes differ.
    """
    if (evidence := told(reported, found, how)) is not None:
        return evidence
    size, content = _content(store.open(path), check)
    if (size, content) != (found.size, found.content):
        raise Corrupt(
            f"read back {size} bytes with content id {content[:16]}, "
            f"expected {found.size} with {found.content[:16]}"
        )
    return REREAD
