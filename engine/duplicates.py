"""Finding equal content under several names, by hashes that are known already. Pure: no I/O."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from photosync.engine.assets import Asset, Kind, kind_of, pair
from photosync.engine.entry import Entry
from photosync.engine.hashing import WEAK
from photosync.engine.names import printable

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
        held: path of one of the others → why it has to stay all the same.
    """

    keep: Entry
    others: Sequence[Entry]
    evidence: str
    held: Mapping[str, str] = field(default_factory=dict)

    @property
    def spare(self) -> list[Entry]:
        """The others that may go."""
        return [entry for entry in self.others if entry.path not in self.held]


SAME_NAME = "name"


def find(
    entries: Iterable[Entry], hashes: Callable[[Entry], Hashes], stay: Container[str] = ()
) -> tuple[list[Duplicates], list[Entry]]:
    """Groups files by content.

    Of each group that one stays which has the shortest path, and of several the first in order: "IMG_1.jpg"
    before "IMG_1 (1).jpg", "IMG_1~3f9a2b7c.jpg" or "Copy of/IMG_1.jpg". Empty files have no content to be
    equal, so they are left out; so are sidecars: one edit, done to two photos, belongs to each of them.

    Args:
        entries: files of one place.
        hashes: what is known of a file's content.
        stay: paths of copies whose original photosync removed: of a group, one of these stays. Of any other,
            ``sync`` would not know that it is the last.

    Returns:
        The groups, sorted by the path that stays; and files of which too little is known, though another file
        has their size.
    """
    by_name: dict[str, list[Entry]] = {}
    for entry in entries:
        by_name.setdefault(entry.path, []).append(entry)
    found = [_group(same, SAME_NAME, stay) for same in by_name.values() if len(same) > 1]
    by_size: dict[int, list[Entry]] = {}
    for same in by_name.values():
        if len(same) == 1 and same[0].size and kind_of(same[0].path) is not Kind.SIDECAR:
            by_size.setdefault(same[0].size, []).append(same[0])
    unknown: list[Entry] = []
    for candidates in by_size.values():
        if len(candidates) > 1:
            groups, rest = _equal(candidates, hashes, stay)
            found += groups
            unknown += rest
    found.sort(key=lambda group: group.keep.path)
    unknown.sort(key=lambda entry: entry.path)
    return found, unknown


def whole(
    groups: Sequence[Duplicates], entries: Iterable[Entry], hashes: Callable[[Entry], Hashes]
) -> list[Duplicates]:
    """The groups, with what has to stay because the rest of its photo does: half a Live Photo is none, and a
    raw file is not taken from its JPEG. A photo of several files is a duplicate if each of them is, its
    sidecars too.

    Args:
        groups: from `find`.
        entries: every file of the place, also what nobody asked for.
        hashes: as for `find`.

    Returns:
        The groups, and one for each sidecar that may go with its photo.
    """
    going = {
        entry.path: group.keep.path
        for group in groups
        if group.evidence != SAME_NAME
        for entry in group.others
    }
    photos = [photo for photo in pair(entries, {}) if len(photo.members) > 1]
    home = {entry.path: photo for photo in photos for entry in photo.members}
    held: dict[str, str] = {}
    sidecars: list[Duplicates] = []
    for photo in photos:
        leave = [entry for entry in photo.members if entry.path in going]
        if not leave:
            continue
        kept = home.get(going[leave[0].path])
        twins = [_twin(entry, kept, hashes) for entry in photo.members if kind_of(entry.path) is Kind.SIDECAR]
        stays = [entry for entry in photo.members if entry not in leave]
        if len(stays) > len([twin for twin in twins if twin]):
            why = f"it belongs to one photo with {printable(stays[0].path)}, which stays"
        elif any(home.get(going[entry.path]) is not kept for entry in leave):
            why = "the files of its photo are equal to files of several others"
        else:
            sidecars += [twin for twin in twins if twin]
            continue
        held |= {entry.path: why for entry in leave}
    found = [
        replace(group, held={entry.path: held[entry.path] for entry in group.others if entry.path in held})
        for group in groups
    ]
    return sorted([*found, *sidecars], key=lambda group: group.keep.path)


def _twin(sidecar: Entry, photo: Asset | None, hashes: Callable[[Entry], Hashes]) -> Duplicates | None:
    """A sidecar and its equal in another photo."""
    mine = hashes(sidecar)
    for entry in photo.members if photo is not None else ():
        if kind_of(entry.path) is Kind.SIDECAR and entry.size == sidecar.size:
            theirs = hashes(entry)
            shared = [name for name in mine if mine[name] == theirs.get(name)]
            if shared:
                return Duplicates(entry, [sidecar], shared[0])
    return None


def _equal(
    candidates: Sequence[Entry], hashes: Callable[[Entry], Hashes], stay: Container[str]
) -> tuple[list[Duplicates], list[Entry]]:
    """Groups files of one size."""
    known = {entry.path: hashes(entry) for entry in candidates}
    names = [name for each in known.values() for name in each]
    groups: list[Duplicates] = []
    grouped: set[str] = set()
    ranked = sorted(dict.fromkeys(names), key=lambda name: name in WEAK)
    for number, name in enumerate(ranked):
        by_value: dict[str, list[Entry]] = {}
        for entry in candidates:
            value = known[entry.path].get(name)
            if value is not None and entry.path not in grouped:
                by_value.setdefault(value, []).append(entry)
        for same in by_value.values():
            better = ({known[entry.path].get(each) for entry in same} - {None} for each in ranked[:number])
            if len(same) > 1 and all(len(values) < 2 for values in better):
                groups.append(_group(same, name, stay))
                grouped.update(entry.path for entry in same)
    # Two files can only be told apart by a hash that both have.
    common = [name for name in dict.fromkeys(names) if all(name in each for each in known.values())]
    rest = [] if common else [entry for entry in candidates if entry.path not in grouped]
    return groups, rest


def _group(same: Sequence[Entry], evidence: str, stay: Container[str]) -> Duplicates:
    first, *rest = sorted(same, key=lambda entry: (entry.path not in stay, len(entry.path), entry.path))
    return Duplicates(first, sorted(rest, key=lambda entry: entry.path), evidence)
