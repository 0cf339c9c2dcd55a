"""Digests against independent computations, however the bytes are cut."""

import hashlib

import pytest
import xxhash
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from photosync.engine import hashing
from photosync.engine.hashing import CHUNK, Hasher, fingerprint, worthwhile

SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5]


def blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def by_blocks(data: bytes, size: int) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks(data, size))).hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_every_digest(size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    found = fingerprint(data, ["md5", "dropbox", "sha256-parts/8388608"])
    assert found.size == size
    assert found.content == blake3(data).hexdigest()
    assert found.digests["sha256"] == hashlib.sha256(data).hexdigest()
    assert found.digests["md5"] == hashlib.md5(data).hexdigest()
    assert found.digests["dropbox"] == by_blocks(data, CHUNK)
    parts = len(blocks(data, 8 << 20))
    assert found.digests["sha256-parts/8388608"] == f"{by_blocks(data, 8 << 20)}-{parts}"
    assert list(found.chunks) == [xxhash.xxh3_128(b).hexdigest() for b in blocks(data, CHUNK)]


def test_dropbox_published_hash_of_nothing() -> None:
    assert fingerprint(b"").digest("dropbox") == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_the_dropbox_hash_that_follows_is_the_one_computed(size: int) -> None:
    data = b"x" * size
    hasher = Hasher(["dropbox"])
    hasher.update(data)
    computed = hasher.finish().digests["dropbox"]
    plain = fingerprint(data)
    assert "dropbox" not in plain.digests
    assert plain.digest("dropbox") == (computed if size <= CHUNK else None)


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_how_the_bytes_are_cut_does_not_matter(pieces: list[bytes]) -> None:
    names = ["md5", "dropbox", "sha256-parts/7"]
    hasher = Hasher(names)
    for piece in pieces:
        hasher.update(memoryview(piece))
    assert hasher.finish() == fingerprint(b"".join(pieces), names)
    assert hasher.finish() == hasher.finish()


@pytest.mark.parametrize(
    "name", ["crc32", "", "sha256-parts/", "sha256-parts/0", "sha256-parts/-1", "sha256-parts/x"]
)
def test_unknown_names(name: str) -> None:
    assert not hashing.known(name)
    with pytest.raises(ValueError, match="no content hash"):
        hashing.new(name)


def test_known_names() -> None:
    assert all(map(hashing.known, ["blake3", "sha256", "md5", "dropbox", "sha256-parts/8388608"]))


@pytest.mark.parametrize(
    ("declared", "told", "made"),
    [
        (("sha256", "md5"), (), ("sha256",)),
        (("sha256", "md5"), ({"sha256": "1", "md5": "2"},), ("sha256",)),
        (("sha256", "md5"), ({"sha256": "1", "md5": "2"}, {"md5": "3"}), ("sha256", "md5")),
        (("sha256", "md5"), ({},), ("sha256",)),
        (("md5",), (), ("md5",)),
        (("sha256", "crc64nvme"), (), ("sha256", "crc64nvme")),
        ((), ({"md5": "1"},), ()),
    ],
)
def test_a_weak_hash_is_made_only_where_the_service_tells_no_better_one(
    declared: tuple[str, ...], told: tuple[dict[str, str], ...], made: tuple[str, ...]
) -> None:
    assert worthwhile(declared, *told) == made
