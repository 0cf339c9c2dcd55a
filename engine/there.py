"""What lies at a destination, by the names that it takes for the same. Nothing is indexed until asked for."""

from collections.abc import Iterator, Sequence

from photosync.engine.columns import Columns, Run
from photosync.engine.entry import Entry
from photosync.engine.names import NameRules, decode, match_key


class There:
    """Finds files by `match_key` of their path: of two that have the same, the later one.

    Args:
        entries: of the destination.
        rules: its names.
    """

    def __init__(self, entries: Sequence[Entry], rules: NameRules) -> None:
        self.columns = Columns.of(entries)
        self._rules = rules
        self._folds = rules.fold_case or rules.fold_unicode
        self._folders: dict[str, list[Run]] | None = None
        self._index: dict[str, dict[str, int]] = {}
        self._shadowed: frozenset[int] | None = None

    def row(self, place: str) -> int | None:
        """The row of what has that key."""
        folder = place.rpartition("/")[0]
        index = self._index.get(folder)
        if index is None:
            index = self._index[folder] = {}
            for run in self._by_folder().get(folder, ()):
                index.update(zip(self._places(run), range(run.start, run.stop), strict=True))
        return index.get(place)

    def get(self, place: str) -> Entry | None:
        row = self.row(place)
        return None if row is None else self.columns[row]

    def __getitem__(self, place: str) -> Entry:
        entry = self.get(place)
        if entry is None:
            raise KeyError(place)
        return entry

    def __contains__(self, place: str) -> bool:
        return self.row(place) is not None

    def __len__(self) -> int:
        return len(self.columns) - len(self.shadowed())

    def shadowed(self) -> frozenset[int]:
        """Rows that `row` never gives, because a later one has the same key."""
        if self._shadowed is None:
            found: set[int] = set()
            for runs in self._by_folder().values() if self._folds else ():
                places = [self._places(run) for run in runs]
                if len(set().union(*places)) < sum(map(len, places)):
                    rows = [row for run in runs for row in range(run.start, run.stop)]
                    last = dict(zip((place for those in places for place in those), rows, strict=True))
                    found.update(set(rows).difference(last.values()))
            self._shadowed = frozenset(found)
        return self._shadowed

    def hidden(self, path: str) -> Entry | None:
        """Of what `get` never gives, that which has this very path: a place may tell more names apart than
        its rules say."""
        rows = (row for row in self.shadowed() if self.columns.path(row) == path)
        return next((self.columns[row] for row in rows), None)

    def files(self) -> Iterator[tuple[int, str]]:
        """Row and path of all that `row` gives; in the place of a shadowed one, what shadows it."""
        if not self.shadowed():
            yield from enumerate(self.columns.paths())
            return
        rows = (self.row(self.place(path)) for path in self.columns.paths())
        for row in dict.fromkeys(rows):
            if row is not None:
                yield row, self.columns.path(row)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Key and entry of all that `get` gives."""
        return ((self.place(path), self.columns[row]) for row, path in self.files())

    def names(self) -> Iterator[tuple[str, str]]:
        """Key and path of what may stand for another name than its own, and of one file of each folder."""
        if self.shadowed():
            yield from ((self.place(path), path) for _, path in self.files())
            return
        for run in self.columns.runs():
            text = self.columns.text(run.start, run.stop)
            plain = text.isascii() and "%" not in text
            for path in self.columns.paths(run.start, run.start + 1 if plain else run.stop):
                yield self.place(path), path

    def place(self, path: str) -> str:
        return match_key(path, self._rules)

    def own_name(self, place: str) -> str | None:
        """The path of a file that stands for its own name, if it has that key."""
        row = self.row(place)
        path = None if row is None else self.columns.path(row)
        return path if path is not None and path.isascii() and decode(path) == path else None

    def _by_folder(self) -> dict[str, list[Run]]:
        if self._folders is None:
            self._folders = {}
            for run in self.columns.runs():
                self._folders.setdefault(match_key(run.folder, self._rules), []).append(run)
        return self._folders

    def _places(self, run: Run) -> list[str]:
        text = self.columns.text(run.start, run.stop)
        if text.isascii() or not self._folds:
            return match_key(text, self._rules).split("\0")
        return [match_key(path, self._rules) for path in text.split("\0")]


class Claims:
    """Which of what is there, or is going to be, has a file of the source that it is a copy of."""

    def __init__(self, there: There) -> None:
        self._there = there
        self._settled = bytearray(len(there.columns))
        self._places: set[str] = set()

    def add(self, place: str) -> None:
        self._places.add(place)

    def settle(self, row: int, count: int = 1) -> None:
        """Claims a row of what is there, or some that follow each other."""
        self._settled[row : row + count] = b"\1" * count

    def __contains__(self, place: str) -> bool:
        if place in self._places:
            return True
        row = self._there.row(place)
        return row is not None and self._settled[row] == 1

    def free(self, text: str = "") -> Iterator[tuple[str, Entry]]:
        """What is there and not claimed, by its key; only of paths that hold a text."""
        for row, path in self._unsettled():
            if text in path:
                place = self._there.place(path)
                if place not in self._places:
                    yield place, self._there.columns[row]

    def _unsettled(self) -> Iterator[tuple[int, str]]:
        """What `There.files` gives, without the rows that are claimed."""
        if self._there.shadowed():
            yield from (each for each in self._there.files() if not self._settled[each[0]])
            return
        row = self._settled.find(0)
        while row >= 0:
            yield row, self._there.columns.path(row)
            row = self._settled.find(0, row + 1)
