"""Which new file is an old one under another name."""

from collections.abc import Iterable, Iterator

from photosync.engine.beside import unmarked
from photosync.engine.entry import Entry
from photosync.engine.journal import Delivery
from photosync.engine.names import NameRules, decode, match_key
from photosync.engine.there import Claims

MOST_ALIKE = 256
"""Files of one size at the destination among which one is sought that may have got another name."""
MOST_COMPARED = 8
"""Of those, so many are compared by content."""


class Renames:
    """Pairs new files with copies whose source vanished: same size and time, else same size; of several,
    one of the same name, else the first. Each is used once."""

    def __init__(self, vanished: Iterable[Delivery]) -> None:
        self._like: dict[tuple[object, ...], list[Delivery]] = {}
        self._used: set[str] = set()
        for delivery in reversed(list(vanished)):
            for likeness in _likenesses(delivery):
                self._like.setdefault(likeness, []).append(delivery)

    def match(self, entry: Entry) -> Delivery | None:
        if not self._like:
            return None
        for likeness in _likenesses(entry):
            candidates = self._like.get(likeness, [])
            while candidates:
                best = candidates.pop()
                if best.path not in self._used:
                    self._used.add(best.path)
                    return best
        return None


class Elsewhere:
    """Finds what a lost journal knew: a file that lies at the destination under a name that it would not get
    today. Same size; those of the same name first, then those of the same time."""

    def __init__(self, claimed: Claims, rules: NameRules) -> None:
        self._claimed, self._rules = claimed, rules
        self._of_size: dict[int, list[Entry]] = {}
        for _, entry in claimed.free():
            self._of_size.setdefault(entry.size, []).append(entry)

    def match(self, entry: Entry) -> list[Entry]:
        free = [
            each
            for each in self._of_size.get(entry.size, ())[:MOST_ALIKE]
            if match_key(each.path, self._rules) not in self._claimed
        ]
        name = entry.path.rpartition("/")[2]
        named = {
            each.path: decode(unmarked(each.path) or each.path).rpartition("/")[2] == name for each in free
        }
        if not entry.size:
            # An empty file has no content by which to know it again.
            free = [each for each in free if named[each.path]]
        free.sort(key=lambda each: (not named[each.path], each.mtime_ns != entry.mtime_ns))
        return free[:MOST_COMPARED]


def _likenesses(file: Entry | Delivery) -> Iterator[tuple[object, ...]]:
    name = file.path.rpartition("/")[2]
    yield "time and name", file.size, file.mtime_ns, name
    yield "time", file.size, file.mtime_ns
    yield "name", file.size, name
    yield "size", file.size
