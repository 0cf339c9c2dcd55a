"""Very many files in little memory: columns of bytes and numbers, from which entries are made when asked for.

An `Entry` with its path takes 270 bytes, its row here 60. Two listings of 1,000,000 files are thus a tenth of
a gigabyte, and what compares them looks at the columns.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain, islice, pairwise, repeat
from operator import eq, le
from typing import overload

import msgspec

from photosync.engine.entry import NO_DIGESTS, Entry, Files, Kind, PackedFiles
from photosync.engine.journal_rows import path_of

Row = tuple[str, int, int | None, str | None]
"""Path, size, mtime_ns and version of a file."""

_NO_TIME = -(1 << 63)
"""Beyond what `Entry` lets a time be."""
_STEP = 1024
"""Rows that are made into text together."""


def encoded(token: str) -> bytes:
    """Any text as bytes, lone surrogates included: a token may be whatever a service says."""
    return token.encode("utf-8", "surrogatepass")


def decoded(data: bytes | bytearray) -> str:
    """The text that `encoded` made those bytes of."""
    return data.decode("utf-8", "surrogatepass")


class _Tokens:
    """A column of texts of which all may be missing."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("Q")

    def set(self, row: int, value: bytes) -> None:
        missing = row - len(self._ends)
        if missing:
            self._ends.extend(repeat(len(self._data), missing))
        # A byte more, so that an empty one is not taken for none.
        self._data += b"=" + value
        self._ends.append(len(self._data))

    def extend(self, row: int, values: Sequence[str]) -> None:
        """Sets those of a row and the ones behind it; nothing is set there yet."""
        text = "=" + "=".join(values)
        if not values or not text.isascii():
            for at, value in enumerate(values, row):
                self.set(at, encoded(value))
            return
        self._ends.extend(repeat(len(self._data), row - len(self._ends)))
        self._ends.extend(
            accumulate(map(len, values), lambda end, size: end + size + 1, initial=len(self._data))
        )
        del self._ends[row]
        self._data += text.encode()

    def extend_packed(self, row: int, values: bytes, sizes: Iterable[int]) -> None:
        """Sets those of a row and the ones behind it, as in `PackedFiles`; nothing is set there yet."""
        self._ends.extend(repeat(len(self._data), row - len(self._ends)))
        self._ends.extend(accumulate(sizes, initial=len(self._data)))
        del self._ends[row]
        self._data += values

    def take(self, row: int, other: "_Tokens", start: int, stop: int) -> None:
        """Sets those of a row and the ones behind it as they are in some rows of another column."""
        ends = other._ends[start:stop]
        if ends:
            begin = other._ends[start - 1] if start else 0
            self._ends.extend(repeat(len(self._data), row - len(self._ends)))
            moved = len(self._data) - begin
            self._ends.extend([end + moved for end in ends])
            self._data += other._data[begin : ends[-1]]

    def get(self, row: int) -> bytes | None:
        if row >= len(self._ends):
            return None
        start, end = self._ends[row - 1] if row else 0, self._ends[row]
        return bytes(self._data[start + 1 : end]) if end > start else None

    def texts(self, start: int, stop: int) -> Iterable[str | None]:
        """Those of some rows."""
        if start >= len(self._ends):
            return repeat(None, stop - start)
        ends = self._ends[start:stop]
        starts = [self._ends[start - 1] if start else 0, *ends[:-1]]
        data, missing = self._data, stop - start - len(ends)
        part = data[starts[0] : ends[-1]] if ends else b""
        if not missing and part.isascii() and part.count(b"=") == len(ends) == len({*starts, ends[-1]}) - 1:
            # None is missing, and each has no "=" but the one before it.
            return part.decode().split("=")[1:]
        found = [
            decoded(data[begin + 1 : end]) if end > begin else None
            for begin, end in zip(starts, ends, strict=True)
        ]
        return found + [None] * missing

    def ordered(self, order: Sequence[int]) -> "_Tokens":
        """The rows in another order."""
        made = _Tokens()
        if self._ends:
            for row, value in enumerate(map(self.get, order)):
                if value is not None:
                    made.set(row, value)
        return made


@dataclass(frozen=True, slots=True)
class Run:
    """Rows from ``start`` to before ``stop``, all of them files of one folder."""

    start: int
    stop: int
    folder: str


class Columns(Sequence[Entry]):
    """Files, sorted by `photosync.engine.journal.key` of the path.

    Args:
        entries: in any order; what comes sorted is not sorted again. No path holds NUL.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._paths = bytearray()
        self._ends = array("Q")
        self._sizes = array("q")
        self._times = array("q")
        self._timeless = False
        self._versions = _Tokens()
        self._digests = _Tokens()
        self._odd: dict[int, Entry] = {}
        self._runs: list[Run] | None = None
        self._last = b""
        self._starts: list[int] = [0]
        for entry in entries:
            self.append(entry)

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "Columns":
        """The entries, `sorted` and packed if they are not."""
        packed = entries if isinstance(entries, cls) else cls(entries)
        return packed.sorted()

    def append(self, entry: Entry) -> None:
        row, name = len(self._ends), entry.path.encode("utf-8", "surrogateescape")
        if name <= self._last and row:
            self._starts.append(row)
        self._last = name
        self._paths += name
        self._paths.append(0)
        self._ends.append(len(self._paths))
        self._sizes.append(entry.size)
        if entry.mtime_ns is None:
            self._timeless = True
            self._times.append(_NO_TIME)
        else:
            self._times.append(entry.mtime_ns)
        if entry.version is not None:
            self._versions.set(row, encoded(entry.version))
        if entry.digests:
            self._digests.set(row, msgspec.json.encode(entry.digests))
        if entry.note or entry.kind is not Kind.FILE:
            self._odd[row] = entry
        self._runs = None

    def extend(self, files: Files, text: str) -> None:
        """Appends files, without what is listed beside them.

        Args:
            text: all of their paths, NUL between them; ASCII, and no path holds NUL.
        """
        row, paths = len(self._ends), files.paths
        if paths[0].encode() <= self._last and row:
            self._starts.append(row)
        breaks = map(le, islice(paths, 1, None), paths)
        self._starts += [at for at, broken in enumerate(breaks, row + 1) if broken]
        self._last = paths[-1].encode()
        ends = accumulate([len(path) + 1 for path in paths], initial=len(self._paths))
        self._ends.extend(islice(ends, 1, None))
        self._paths += text.encode()
        self._paths.append(0)
        self._sizes.extend(files.sizes)
        self._timeless = self._timeless or files.times is None
        self._times.extend(repeat(_NO_TIME, len(paths)) if files.times is None else files.times)
        self._versions.extend(row, files.versions)
        if files.digests is not None:
            self._digests.extend(row, files.digests)
        self._runs = None

    def extend_packed(self, files: PackedFiles) -> None:
        """Appends files, at least one, without what is listed beside them."""
        row = len(self._ends)
        if row and files.paths[: files.path_bytes[0] - 1] <= self._last:
            self._starts.append(row)
        self._last = files.paths[-files.path_bytes[-1] : -1]
        self._ends.extend(accumulate(files.path_bytes, initial=len(self._paths)))
        del self._ends[row]
        self._paths += files.paths
        self._sizes += files.sizes
        self._times += files.times
        self._versions.extend_packed(row, files.versions, files.version_bytes)
        self._runs = None

    def sorted(self) -> "Columns":
        """These files in order; of a path that is there twice, the later one.

        Some places list a name twice when files are renamed meanwhile.
        """
        if len(self._starts) == 1:
            return self
        parts = [(self._key(start), start, stop) for start, stop in pairwise([*self._starts, len(self)])]
        parts.sort()
        if all(self._key(before[2] - 1) < after[0] for before, after in pairwise(parts)):
            return self._in_parts([(start, stop) for _, start, stop in parts])
        names = self._paths.split(b"\0")[:-1]
        order = sorted(range(len(names)), key=names.__getitem__)
        ordered = partial(map, names.__getitem__)
        if any(map(eq, ordered(order), ordered(islice(order, 1, None)))):
            last = {bytes(names[row]): row for row in order}
            order = list(last.values())
        made = Columns()
        made._paths = bytearray(b"\0").join([*map(names.__getitem__, order), b""])
        made._ends = array("Q", accumulate(len(names[row]) + 1 for row in order))
        made._sizes = array("q", map(self._sizes.__getitem__, order))
        made._times = array("q", map(self._times.__getitem__, order))
        made._timeless = self._timeless
        made._versions, made._digests = self._versions.ordered(order), self._digests.ordered(order)
        if self._odd:
            made._odd = {at: self._odd[row] for at, row in enumerate(order) if row in self._odd}
        made._last = bytes(names[order[-1]])
        return made

    def _in_parts(self, parts: Iterable[tuple[int, int]]) -> "Columns":
        """These files with whole parts of them in another order, in which they are sorted."""
        made = Columns()
        for start, stop in parts:
            row, begin = len(made), self._ends[start - 1] if start else 0
            moved = len(made._paths) - begin
            made._paths += self._paths[begin : self._ends[stop - 1]]
            made._ends.extend([end + moved for end in self._ends[start:stop]])
            made._sizes += self._sizes[start:stop]
            made._times += self._times[start:stop]
            made._versions.take(row, self._versions, start, stop)
            made._digests.take(row, self._digests, start, stop)
            if self._odd:
                made._odd.update(
                    {at - start + row: self._odd[at] for at in range(start, stop) if at in self._odd}
                )
        made._timeless = self._timeless
        made._last = made._key(len(made) - 1)
        return made

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[Entry]:
        for number, row in enumerate(self.rows()):
            yield self.entry(number, row)

    def entry(self, number: int, row: Row) -> Entry:
        """As by index, where `rows` has told most of it already."""
        if number in self._odd:
            return self._odd[number]
        path, size, mtime_ns, version = row
        return Entry(path, size, mtime_ns, self._known(number), version)

    def _known(self, row: int) -> Mapping[str, str]:
        digests = self._digests.get(row)
        return NO_DIGESTS if digests is None else msgspec.json.decode(digests)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> list[Entry]: ...
    def __getitem__(self, at: int | slice) -> Entry | list[Entry]:
        if isinstance(at, slice):
            return [self[row] for row in range(len(self))[at]]
        row = range(len(self))[at]
        if row in self._odd:
            return self._odd[row]
        time, version = self._times[row], self._versions.get(row)
        return Entry(
            self.path(row),
            self._sizes[row],
            None if time == _NO_TIME else time,
            self._known(row),
            None if version is None else decoded(version),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Entry.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def path(self, row: int) -> str:
        start = self._ends[row - 1] if row else 0
        return self._paths[start : self._ends[row] - 1].decode("utf-8", "surrogateescape")

    def _key(self, row: int) -> bytes:
        return bytes(self._paths[self._ends[row - 1] if row else 0 : self._ends[row] - 1])

    def text(self, start: int, stop: int) -> str:
        """The paths of some rows, NUL between them."""
        first = self._ends[start - 1] if start else 0
        return path_of(bytes(self._paths[first : self._ends[stop - 1] - 1])) if stop > start else ""

    def names(self, start: int, stop: int) -> bytearray:
        """The paths of some rows, as `photosync.engine.journal.key` makes them, NUL behind each."""
        return self._paths[self._ends[start - 1] if start else 0 : self._ends[stop - 1]]

    def sizes(self, start: int, stop: int) -> list[int]:
        """The sizes of some rows."""
        return self._sizes[start:stop].tolist()

    def times(self, start: int, stop: int) -> list[int | None]:
        """The times of some rows."""
        times = self._times[start:stop]
        return [None if time == _NO_TIME else time for time in times] if self._timeless else [*times]

    def versions(self, start: int, stop: int) -> list[str | None]:
        """The versions of some rows."""
        return list(self._versions.texts(start, stop))

    def behind(self, name: bytes, start: int = 0) -> int:
        """The first row from ``start`` on whose path sorts behind one; of columns that are `sorted`."""
        return bisect_right(range(len(self)), name, start, key=self._key)

    def paths(self, start: int = 0, stop: int | None = None) -> Iterator[str]:
        """The paths of all or some rows."""
        stop = len(self) if stop is None else stop
        steps = range(start, stop, _STEP)
        return chain.from_iterable(self.text(at, min(at + _STEP, stop)).split("\0") for at in steps)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[Row]:
        """All or some rows, for what would be slower with entries."""
        stop = len(self) if stop is None else stop
        steps = range(start, stop, _STEP)
        return chain.from_iterable(self._some(at, min(at + _STEP, stop)) for at in steps)

    def _some(self, start: int, stop: int) -> Iterable[Row]:
        paths = self.text(start, stop).split("\0")
        return zip(
            paths,
            self._sizes[start:stop],
            self.times(start, stop),
            self._versions.texts(start, stop),
            strict=True,
        )

    def runs(self) -> list[Run]:
        """All rows, by folder: those of one follow each other, but for what lies in folders below it."""
        if self._runs is None:
            self._runs = []
            start = 0
            while start < len(self):
                first = self._key(start)
                folder = first[: first.rfind(b"/") + 1]
                stop = self._end(start, folder)
                self._runs.append(Run(start, stop, path_of(folder[:-1])))
                start = stop
        return self._runs

    def _end(self, start: int, folder: bytes) -> int:
        """Where the rows end that lie in a folder themselves: steps are doubled, then halved."""
        stop, step, growing = start + 1, 1, True
        while step:
            ahead = stop + step
            inside = ahead <= len(self) and self._key(ahead - 1).startswith(folder)
            if inside:
                slashes = self._paths.count(b"/", self._ends[stop - 1], self._ends[ahead - 1])
                inside = slashes == step * folder.count(b"/")
            stop = ahead if inside else stop
            growing = growing and inside
            step = step * 2 if growing else step // 2
        return stop
