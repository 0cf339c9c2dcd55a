"""What the contract's tests are written with."""

import random
from collections.abc import Sequence

from photosync.engine.capabilities import Blob, Reader, Store, Stored
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import AlreadyExists, PhotosyncError
from photosync.engine.hashing import fingerprint

MTIME = 1_600_000_000_123_456_789
OUTSIDE = (".", "..", "../x", "a/../../x", "/etc/x", "a//x", "a/./x", "a/", "a\0b")
"""Paths that lead outside of a root, or are none. "" is the root itself."""


def blob(store: Store, path: str, data: bytes, mtime_ns: int | None = MTIME) -> Blob:
    """As the engine makes them: with every digest that the store declares."""
    return Blob(path, data, mtime_ns, fingerprint(data, store.capabilities.hashes).digests)


def put(store: Store, path: str, data: bytes = b"photo", mtime_ns: int | None = MTIME) -> Stored:
    """Stores one object, and raises what the store returned for it."""
    return stored(store.put([blob(store, path, data, mtime_ns)])[0])


def attempt(store: Store, one: Blob) -> Stored | Exception:
    """Stores one object; what `put` raises for the whole call is returned as well."""
    try:
        [result] = store.put([one])
    except PhotosyncError as error:
        return error
    return result


def stored(result: Stored | Exception) -> Stored:
    if isinstance(result, Exception):
        raise result
    return result


def taken(result: Stored | Exception) -> bool:
    """Whether the store left alone what it found."""
    return isinstance(result, (AlreadyExists, FileExistsError))


def read(store: Store, path: str, offset: int = 0) -> bytes:
    return drain(store.open(path, offset))


def drain(reader: Reader) -> bytes:
    pieces = []
    try:
        while piece := reader.read(1 << 20):
            assert len(piece) <= 1 << 20
            pieces.append(piece)
    finally:
        reader.close()
    return b"".join(pieces)


def files(store: Store) -> dict[str, Entry]:
    """Every file, walked folder by folder as the engine does."""
    found: dict[str, Entry] = {}
    pending = [""]
    while pending:
        try:
            children = store.list_folder(pending.pop())
        except FileNotFoundError:
            # Folders may live only as long as something is in them; so may the root.
            continue
        for entry in children:
            if entry.kind is Kind.FOLDER:
                pending.append(entry.path)
            else:
                assert entry.path not in found, f"{entry.path} is listed twice"
                found[entry.path] = entry
    return found


def content(store: Store) -> dict[str, bytes]:
    """Every file's bytes, photosync's own lock files excepted."""
    return {path: read(store, path) for path in files(store) if not path.endswith("/lock")}


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress and repeat in every run."""
    return random.Random(seed).randbytes(size)


def parts(data: bytes, size: int) -> Sequence[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
