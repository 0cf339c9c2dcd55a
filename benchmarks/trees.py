"""What is copied: trees of files whose bytes are random, but the same every time."""

import hashlib
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Tree: TypeAlias = Mapping[str, tuple[int, str]]
"""Relative path → (bytes, MD5 in hex): what S3 services show as the ETag of a simple upload."""

_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class Files:
    """Files of equal size, 500 to a folder, as cameras lay them out.

    Attributes:
        count: how many.
        size: bytes of each.
    """

    count: int
    size: int

    @property
    def title(self) -> str:
        unit, name = next(
            (unit, name) for unit, name in ((10**9, "GB"), (10**6, "MB"), (1000, "KB"), (1, "bytes"))
            if self.size >= unit
        )  # fmt: skip
        return f"{self.count:,} × {self.size // unit:,} {name}"

    def make(self, folder: Path) -> Tree:
        """Writes the tree and returns what is in it. It is in the page cache afterwards."""
        tree = {}
        for number in range(self.count):
            path = f"DCIM/{100 + number // 500}CANON/IMG_{number:06d}.JPG"
            tree[path] = (self.size, write(folder / path, number, self.size))
        os.sync()
        return tree


def write(path: Path, seed: int, size: int) -> str:
    """Writes one file of random bytes; returns its MD5 in hex."""
    digest, dice = hashlib.md5(), random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            block = dice.randbytes(min(_BLOCK, size - start))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def is_own(path: str) -> bool:
    """Whether a file is photosync's own."""
    return path.startswith(".photosync/")


def tree_of(folder: Path) -> Tree:
    """What a folder really holds, photosync's own files left out."""
    tree: dict[str, tuple[int, str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not is_own(name):
            with path.open("rb") as file:
                tree[name] = (path.stat().st_size, hashlib.file_digest(file, "md5").hexdigest())
    return tree


def difference(expected: Tree, found: Tree) -> str | None:
    """Where two trees differ, in words; None if they do not. An empty hash is one that nobody knows."""
    wrong = [path for path, what in expected.items() if not _equal(what, found.get(path))]
    extra = found.keys() - expected.keys()
    if not wrong and not extra:
        return None
    first = min([*wrong, *extra])
    return f"{len(wrong)} files missing or different, {len(extra)} too many, the first {first}"


def _equal(one: tuple[int, str], other: tuple[int, str] | None) -> bool:
    return other is not None and one[0] == other[0] and (one[1] == other[1] or not other[1])
