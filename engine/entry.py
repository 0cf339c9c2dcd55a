"""One file as a listing shows it."""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import repeat
from types import MappingProxyType
from typing import Protocol

NO_DIGESTS: Mapping[str, str] = MappingProxyType({})

LARGEST = (1 << 63) - 1
"""Of sizes and times: what the journal's integers hold. As a time, it is in the year 2262."""


class Kind(StrEnum):
    """What a listing found under a name."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"
    """Symbolic link, pipe, device, cloud-only document: never opened, always reported."""
    SKIPPED = "skipped"
    """Nothing that anybody would miss, such as a phone's own previews: told once, never a problem."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a store, relative to the store's root.

    Attributes:
        path: POSIX path, no leading slash; undecodable bytes are surrogate-escaped.
        size: bytes; 0 for folders.
        mtime_ns: modification time, nanoseconds since the epoch, or None where the store has none. One that
            64 bits do not hold (file systems can) becomes the nearest that they do.
        digests: content hashes that the store itself reports, name → lowercase hex
            (names as in `photosync.engine.hashing`).
        version: an opaque token that changes whenever the content does (ETag, rev, ctime), or None.
            A token, never evidence: an ETag is not an MD5.
        kind: file, folder or other.
        note: for OTHER and SKIPPED, the words that say why it is left out.
    """

    path: str
    size: int = 0
    mtime_ns: int | None = None
    digests: Mapping[str, str] = field(default_factory=lambda: NO_DIGESTS)
    version: str | None = None
    kind: Kind = Kind.FILE
    note: str = ""

    def __post_init__(self) -> None:
        time = self.mtime_ns
        if time is not None and not -LARGEST <= time <= LARGEST:
            object.__setattr__(self, "mtime_ns", LARGEST if time > 0 else -LARGEST)

    @property
    def is_file(self) -> bool:
        return self.kind is Kind.FILE


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a listing, column by column, and what else was listed with them.

    Attributes:
        paths: as in `Entry`.
        sizes, times, versions: as in `Entry`, one for each path; times None: there are none.
        others: whatever is no plain file, or has more to be told of it.
        digests: as in `Entry`, as JSON, one for each path; None: there are none.
    """

    paths: Sequence[str]
    sizes: Sequence[int]
    times: Sequence[int] | None
    versions: Sequence[str]
    others: Sequence[Entry] = ()
    digests: Sequence[str] | None = None

    def entries(self) -> Iterator[Entry]:
        """The files one by one, without ``others``."""
        times: Iterable[int | None] = repeat(None, len(self.paths)) if self.times is None else self.times
        known: Iterable[Mapping[str, str]] = (
            repeat(NO_DIGESTS, len(self.paths)) if self.digests is None else map(json.loads, self.digests)
        )
        rows = zip(self.paths, self.sizes, times, known, self.versions, strict=True)
        for path, size, mtime_ns, digests, version in rows:
            yield Entry(path, size, mtime_ns, digests, version)


@dataclass(frozen=True, slots=True)
class PackedFiles:
    """Files of one folder, column by column, in the form in which `photosync.engine.columns` keeps them.

    Attributes:
        paths: as in `Entry`, NUL behind each; ASCII, in ascending order, none twice. The last part of each is
            a name, neither "." nor ".."; what is before it is the same for all.
        path_bytes: how many each takes, its NUL included.
        sizes, times: as in `Entry`, none of them less or more than an entry's may be.
        versions: as in `Entry`, ASCII, ``=`` before each.
        version_bytes: how many each takes, its ``=`` included.
        others: whatever is no plain file.
    """

    paths: bytes
    path_bytes: "array[int]"
    sizes: "array[int]"
    times: "array[int]"
    versions: bytes
    version_bytes: "array[int]"
    others: Sequence[Entry] = ()

    def unpacked(self) -> Files:
        """The same as lists of texts."""
        if not self.paths:
            return Files((), (), (), (), self.others)
        paths, versions = self.paths[:-1].decode().split("\0"), self.versions[1:].decode().split("=")
        return Files(paths, self.sizes, self.times, versions, self.others)

    def entries(self) -> Iterator[Entry]:
        """The files one by one, without ``others``."""
        return self.unpacked().entries()


Listed = Files | PackedFiles
"""Files of a listing, in either form."""


def join(folder: str, name: str) -> str:
    """``folder/name``, or ``name`` at the root."""
    return f"{folder}/{name}" if folder else name


class State(Protocol):
    """What a file looked like: an `Entry`, or what is remembered of one."""

    @property
    def size(self) -> int: ...
    @property
    def mtime_ns(self) -> int | None: ...
    @property
    def version(self) -> str | None: ...


def same_state(one: State, other: State) -> bool:
    """Whether a file looks the same both times.

    Beside a version, a time that is known only once decides nothing: a listing (S3's) may tell less than an
    open file did.
    """
    if (one.size, one.version) != (other.size, other.version):
        return False
    untold = one.version is not None and None in (one.mtime_ns, other.mtime_ns)
    return untold or one.mtime_ns == other.mtime_ns
