"""Finding equal content under several names, by hashes that are known already. Pure: no I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from photosync.engine.assets import Kind, kind_of
from photosync.engine.entry import Entry

Hashes = Mapping[str, str]
"""Name of a content hash → hex."""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Files that are equal.

    Attributes:
        keep: the one that stays.
        others: the rest, sorted by path.
        evidence: name of the hash that they have in common; "name" for several objects of one name, which
            some services allow, and about whose content nothing is said.
    """

    keep: Entry
    others: Sequence[Entry]
    evidence: str


SAME_NAME = "name"


def find(entries: Iterable[Entry], hashes: Callable[[Entry], Hashes]) -> tuple[list[Duplicates], list[Entry]]:
    """Groups files by content.

    Of each group that one stays which has the shortest path, and of several the first in order: "IMG_1.jpg"
    before "IMG_1 (1).jpg", "IMG_1~3f9a2b7c.jpg" or "Copy of/IMG_1.jpg". Empty files have no content to be
    equal, so they are left out; so are sidecars: one edit, done to two photos, belongs to each of them.

    Args:
        entries: files of one place.
        hashes: what is known of a file's content.

    Returns:
        The groups, sorted by the path that stays; and files of which too little is known, though another file
        has their size.
    """
    by_name: dict[str, list[Entry]] = {}
    for entry in entries:
        by_name.setdefault(entry.path, []).append(entry)
    found = [_group(same, SAME_NAME) for same in by_name.values() if len(same) > 1]
    by_size: dict[int, list[Entry]] = {}
    for same in by_name.values():
        if len(same) == 1 and same[0].size and kind_of(same[0].path) is not Kind.SIDECAR:
            by_size.setdefault(same[0].size, []).append(same[0])
    unknown: list[Entry] = []
    for candidates in by_size.values():
        if len(candidates) > 1:
            groups, rest = _equal(candidates, hashes)
            found += groups
            unknown += rest
    found.sort(key=lambda group: group.keep.path)
    unknown.sort(key=lambda entry: entry.path)
    return found, unknown


def _equal(
    candidates: Sequence[Entry], hashes: Callable[[Entry], Hashes]
) -> tuple[list[Duplicates], list[Entry]]:
    """Groups files of one size."""
    known = {entry.path: hashes(entry) for entry in candidates}
    names = [name for each in known.values() for name in each]
    groups: list[Duplicates] = []
    grouped: set[str] = set()
    for name in dict.fromkeys(names):
        by_value: dict[str, list[Entry]] = {}
        for entry in candidates:
            value = known[entry.path].get(name)
            if value is not None and entry.path not in grouped:
                by_value.setdefault(value, []).append(entry)
        for same in by_value.values():
            if len(same) > 1:
                groups.append(_group(same, name))
                grouped.update(entry.path for entry in same)
    # Two files can only be told apart by a hash that both have.
    common = [name for name in dict.fromkeys(names) if all(name in each for each in known.values())]
    rest = [] if common else [entry for entry in candidates if entry.path not in grouped]
    return groups, rest


def _group(same: Sequence[Entry], evidence: str) -> Duplicates:
    first, *rest = sorted(same, key=lambda entry: (len(entry.path), entry.path))
    return Duplicates(first, sorted(rest, key=lambda entry: entry.path), evidence)
