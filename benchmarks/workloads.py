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


@dataclass(frozen=True, slots=True)
class Workload:
    """Files of equal size, 500 to a folder, as cameras lay them out.

    Attributes:
        name: on the command line.
        files: how many.
        size: bytes of each.
    """

    name: str
    files: int
    size: int

    @property
    def title(self) -> str:
        return f"{self.files:,} × {self.size // 1000:,} KB"

    def make(self, folder: Path) -> Tree:
        """Writes the tree and returns what is in it. It is in the page cache afterwards."""
        tree: dict[str, tuple[int, str]] = {}
        for number in range(self.files):
            path = f"DCIM/{100 + number // 500}CANON/IMG_{number:05d}.JPG"
            data = random.Random(number).randbytes(self.size)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
            tree[path] = (self.size, hashlib.md5(data).hexdigest())
        os.sync()
        return tree


WORKLOADS = (Workload("photos", 5_000, 100_000), Workload("tiny", 200, 100_000))


def tree_of(folder: Path) -> Tree:
    """What a folder really holds, photosync's own files left out."""
    tree: dict[str, tuple[int, str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(".photosync/"):
            data = path.read_bytes()
            tree[name] = (len(data), hashlib.md5(data).hexdigest())
    return tree


def difference(expected: Tree, found: Tree) -> str | None:
    """Where two trees differ, in words; None if they do not."""
    wrong = [path for path, what in expected.items() if found.get(path) != what]
    extra = found.keys() - expected.keys()
    if not wrong and not extra:
        return None
    first = min([*wrong, *extra])
    return f"{len(wrong)} files missing or different, {len(extra)} too many, the first {first}"
