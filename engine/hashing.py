"""One pass over bytes gives every digest that anyone asks for.

Names of content hashes, as they stand in listings, journals and evidence:

=====================  ==========================================================================
``blake3``             BLAKE3-256 of the whole: the *content id*
``sha256``, ``md5``    of the whole
``dropbox``            SHA-256 over the concatenated SHA-256 digests of 4 MiB blocks (Dropbox's
                       "Content hash" page)
``crc64nvme``          CRC-64/NVME of the whole, big-endian; only where the package ``awscrt`` is installed
``sha256-parts/N``     SHA-256 over the concatenated SHA-256 digests of parts of N bytes, then "-" and
                       the number of parts: what S3 calls a composite checksum, in hex
=====================  ==========================================================================
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import xxhash
from blake3 import blake3

from photosync.engine.capabilities import Buffer

CHUNK = 4 << 20
"""Bytes of a manifest chunk: the unit in which damage is located and healed."""


class Digest(Protocol):
    def update(self, data: Buffer, /) -> object: ...
    def hexdigest(self) -> str: ...


class _Blocks:
    """Digest of block digests; ``counted`` appends the number of blocks as S3 does."""

    def __init__(self, size: int, counted: bool) -> None:
        self._size = size
        self._counted = counted
        self._outer = hashlib.sha256()
        self._block = hashlib.sha256()
        self._filled = 0
        self._blocks = 0

    def update(self, data: Buffer, /) -> None:
        view = memoryview(data)
        while view:
            piece = view[: self._size - self._filled]
            self._block.update(piece)
            self._filled += len(piece)
            view = view[len(piece) :]
            if self._filled == self._size:
                self._close_block()

    def _close_block(self) -> None:
        self._outer.update(self._block.digest())
        self._block = hashlib.sha256()
        self._filled = 0
        self._blocks += 1

    def hexdigest(self) -> str:
        outer, blocks = self._outer.copy(), self._blocks
        if self._filled:
            outer.update(self._block.digest())
            blocks += 1
        return f"{outer.hexdigest()}-{blocks}" if self._counted else outer.hexdigest()


class _Crc64:
    def __init__(self) -> None:
        from awscrt.checksums import crc64nvme

        self._next = crc64nvme
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._next(bytes(data) if isinstance(data, memoryview) else data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:016x}"


_WHOLE: dict[str, Callable[[], Digest]] = {
    "blake3": blake3,
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "dropbox": lambda: _Blocks(CHUNK, counted=False),
}


def new(name: str) -> Digest:
    """A running digest.

    Raises:
        ValueError: no content hash has that name.
    """
    if name in _WHOLE:
        return _WHOLE[name]()
    if name == "crc64nvme":
        try:
            return _Crc64()
        except ImportError:
            raise ValueError("crc64nvme needs the package awscrt: install photosync-engine[s3crt]") from None
    kind, _, size = name.partition("/")
    if kind == "sha256-parts" and size.isdigit() and int(size) > 0:
        return _Blocks(int(size), counted=True)
    raise ValueError(f"no content hash is called {name!r}")


WEAK = ("md5",)
"""Hashes that count only where there is no better one: files can be made that share them."""


def worthwhile(hashes: Iterable[str], *told: Mapping[str, str]) -> tuple[str, ...]:
    """Those of a service's hashes that are worth making of a file before it is sent or compared.

    A weak one costs more than all others together, and says nothing where the service tells a better one: it
    is made only for objects of which the service tells no better one.

    Args:
        hashes: that the service may tell, as it declares them.
        told: what it tells of each object that the file may have to be compared with.
    """
    names = tuple(hashes)
    if all(name in WEAK for name in names):
        return names
    alone = {name for digests in told if all(name in WEAK for name in digests) for name in digests}
    return tuple(name for name in names if name not in WEAK or name in alone)


def known(name: str) -> bool:
    """Whether `new` can compute that hash."""
    try:
        new(name)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What one read of a file's bytes says about them.

    Attributes:
        size: bytes read.
        digests: name → hex; always has "blake3" and "sha256".
        chunks: xxh3-128 of each 4 MiB chunk, hex.
    """

    size: int
    digests: dict[str, str]
    chunks: tuple[str, ...]

    @property
    def content(self) -> str:
        """The content id."""
        return self.digests["blake3"]

    def digest(self, name: str) -> str | None:
        """A digest by name, also where it follows from another: the Dropbox hash of up to one 4 MiB block
        is the SHA-256 of that block's SHA-256."""
        if name == "dropbox" and name not in self.digests and self.size <= CHUNK:
            block = bytes.fromhex(self.digests["sha256"]) if self.size else b""
            return hashlib.sha256(block).hexdigest()
        return self.digests.get(name)


class Hasher:
    """Computes a `Fingerprint` from bytes given in order.

    Args:
        names: digests wanted beside "blake3" and "sha256".
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._digests = {name: new(name) for name in dict.fromkeys(("blake3", "sha256", *names))}
        self._chunk = xxhash.xxh3_128()
        self._chunk_filled = 0
        self._chunks: list[str] = []
        self._size = 0

    def update(self, data: Buffer) -> None:
        for digest in self._digests.values():
            digest.update(data)
        self._size += len(data)
        view = memoryview(data)
        while view:
            piece = view[: CHUNK - self._chunk_filled]
            self._chunk.update(piece)
            self._chunk_filled += len(piece)
            view = view[len(piece) :]
            if self._chunk_filled == CHUNK:
                self._chunks.append(self._chunk.hexdigest())
                self._chunk.reset()
                self._chunk_filled = 0

    def finish(self) -> Fingerprint:
        chunks = list(self._chunks)
        if self._chunk_filled:
            chunks.append(self._chunk.hexdigest())
        return Fingerprint(
            self._size, {name: digest.hexdigest() for name, digest in self._digests.items()}, tuple(chunks)
        )


def fingerprint(data: Buffer, names: Iterable[str] = ()) -> Fingerprint:
    """`Hasher` over bytes that are in memory already."""
    if len(data) > CHUNK:
        hasher = Hasher(names)
        hasher.update(data)
        return hasher.finish()
    # Small files are many: what a running digest costs beside its bytes would be paid several times for each.
    digests = {"blake3": blake3(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    found = Fingerprint(len(data), digests, (xxhash.xxh3_128_hexdigest(data),) if data else ())
    for name in names:
        digest = found.digest(name)
        if digest is None:
            running = new(name)
            running.update(data)
            digest = running.hexdigest()
        digests[name] = digest
    return found
