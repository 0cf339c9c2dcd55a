"""What to do, and why: a pure function of two listings and what is known of earlier runs.

No I/O, no clock. Every action carries a reason that a person understands; a dry run *is* printing the plan.

For one source file, with D its delivery (what an earlier run proved) and E what stands at the destination:

==================  =====================  =====================================================
source              destination            action
==================  =====================  =====================================================
as in D             as in D                nothing
as in D             gone                   copy again
as in D             as in D, not proven    compare
as in D             differs from D         compare: equal bytes are adopted, others both kept
differs in size     there                  copy beside it (``copy``), or in its place (``sync``)
differs in time     there                  compare
no D, like a        as in that D           move, if the bytes prove equal
vanished one
no D                nothing there          copy
no D                same size there        compare
no D                another size there     copy beside it, or in its place
==================  =====================  =====================================================

"In its place" means that the old object goes to the trash first: nothing is ever overwritten.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from unicodedata import normalize

from photosync.engine.actions import (
    NOT_AT_SOURCE,
    Action,
    Compare,
    Copy,
    Move,
    Plan,
    Refuse,
    Trash,
    same_there,
)
from photosync.engine.assets import Asset, family, pair
from photosync.engine.beside import beside, marker, unmarked, unshared
from photosync.engine.capabilities import Capabilities
from photosync.engine.columns import Columns, Row
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import NameRefused, SafetyGuard
from photosync.engine.journal import Delivered, Delivery, delivery_of, key
from photosync.engine.layout import Layout
from photosync.engine.media import NOTHING, Facts
from photosync.engine.names import NameRules, Names, decode, is_shortened, match_key
from photosync.engine.renames import MOST_COMPARED, Elsewhere, Renames
from photosync.engine.scan import Listing
from photosync.engine.taken import best, taken
from photosync.engine.there import Claims, There
from photosync.engine.trash import TRASH
from photosync.engine.verify import NONE

_NOBODY: Row = ("", -1, None, None)


class Mode(StrEnum):
    """What becomes of files at the destination that the source does not have."""

    COPY = "copy"
    """They stay; different bytes under one name are both kept."""
    SYNC = "sync"
    """They go to the trash."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user asked for.

    Attributes:
        mode: see `Mode`.
        checksum: read every source file again instead of trusting size and time.
        anew: compare every source file, as for ``checksum``, but read only what a service that has both files
            does not prove by itself.
        prove: what an earlier run only wrote is proven now.
        max_delete: most files that ``sync`` may move to the trash; None: a tenth of what is there,
            at least ten.
        stamp: names this run's folder in the trash.
        layout: where new files go; None: where they are at the source.
        in_scope: whether a file (path, size, mtime_ns) passes the user's filters; what does not is neither
            trashed nor taken for renamed.
        kept: source paths that were freed on purpose: their copies are never in the way of anything.
        spared: destination paths of copies whose source was freed or moved: they stay where they are.
        shared: destination paths that several source files have their copy in: none replaces it.
        plain_names: names stand for themselves, as in a restored folder that nobody decodes.
    """

    mode: Mode = Mode.COPY
    checksum: bool = False
    anew: bool = False
    prove: bool = True
    max_delete: int | None = None
    stamp: str = "now"
    layout: Layout | None = None
    in_scope: Callable[[str, int, int | None], bool] = field(default=lambda _path, _size, _mtime_ns: True)
    kept: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    plain_names: bool = False


def make_plan(
    source: Listing,
    destination: Listing,
    known: Iterable[Delivery],
    policy: Policy,
    capabilities: Capabilities,
    facts: Mapping[str, Facts] | None = None,
    contents: Mapping[str, str] | None = None,
) -> Plan:
    """Decides what to do.

    Args:
        source: listing of the source; if incomplete, nothing is trashed or taken for renamed. Whether an
            empty one is to be believed is for the caller to ask.
        destination: complete listing of the destination.
        known: deliveries from this source to this destination, sorted by `key` of the path.
        policy: what the user asked for.
        capabilities: the destination's.
        facts: what is known of source files, by path; need not be complete.
        contents: content ids of new files, by path, for a layout that needs them.

    Raises:
        SafetyGuard: ``sync`` would trash more than ``max_delete`` allows, or the source listing is
            incomplete.
    """
    rules = replace(capabilities.names, plain=policy.plain_names)
    return _Planner(source, destination, policy, rules, facts or {}, contents or {}).plan(known)


def fresh(entries: Sequence[Entry], known: Iterable[Delivery]) -> list[Entry]:
    """Source files that were never delivered; both arguments sorted by `key` of the path."""
    packed = Columns.of(entries)
    joined = _join(packed.rows(), known)
    return [packed[number] for number, _, delivery in joined if number is not None and delivery is None]


class _Planner:
    def __init__(
        self,
        source: Listing,
        destination: Listing,
        policy: Policy,
        rules: NameRules,
        facts: Mapping[str, Facts],
        contents: Mapping[str, str],
    ) -> None:
        self.facts, self.contents = facts, contents
        self.markers: dict[tuple[str, str], str] = {}
        self.freed = {match_key(stored, rules) for stored in policy.spared}
        self.needed = self.freed.union(match_key(stored, rules) for stored in policy.shared)
        self.placed: set[str] = set()
        self.spared: set[str] = set()
        self.beside: dict[str, list[Entry]] | None = None
        self.respelt: dict[str, list[str]] = {}
        self.source = source
        self.destination = destination
        self.policy = policy
        self.rules = rules
        self.entries = Columns.of(source.entries)
        self.there = There(destination.entries, rules)
        self.actions: list[Action] = []
        self.claimed = Claims(self.there)
        self.vanished: dict[str, Delivery] = {}
        self.edited: list[tuple[Entry, Entry]] = []
        self.declined = frozenset(source.declined)
        self.unchanged = 0
        self.trusting = not (policy.checksum or policy.anew)

    def plan(self, known: Iterable[Delivery]) -> Plan:
        new: list[Entry] = []
        logical: dict[str, str] = {}
        for entry, delivery in self._unsettled(known, logical):
            if delivery is not None:
                # The listing's own strings where they are equal, so that the journal's need not be kept.
                path = delivery.path if entry is None else entry.path
                stored = path if delivery.stored == path else delivery.stored
                place = match_key(stored, self.rules)
                existing = self.there.get(place)
                if existing is None or existing.path != stored or not _is_plain(stored, place):
                    logical[place] = path if is_shortened(stored) else decode(stored)
                # Else the listing of the destination says all there is to say, see `_new`.
                if stored is not path and self.policy.mode is Mode.COPY and (shown := marker(path, stored)):
                    self.markers[family(path)] = shown
                if entry is None and delivery.path not in self.declined:
                    self.vanished[place] = delivery
                    continue
                self.claimed.add(place)
            if entry is not None and delivery is not None:
                self._known(entry, delivery, place)
            elif entry is not None:
                new.append(entry)
        self.actions += [self._edited(*each) for each in self.edited]
        self._new(new, logical)
        self.actions += [
            Refuse(entry, entry.note or "not a regular file")
            for entry in self.source.others
            if entry.kind is Kind.OTHER
        ]
        if self.policy.mode is Mode.SYNC:
            self._wait()
            self._trash()
        order = {Move: 0, Compare: 1, Copy: 1, Refuse: 2, Trash: 3}
        self.actions.sort(key=lambda action: order[type(action)])
        return Plan(self.actions, self.unchanged, self.facts)

    def _unsettled(
        self, known: Iterable[Delivery], logical: dict[str, str]
    ) -> Iterator[tuple[Entry | None, Delivery | None]]:
        """Files of the source and deliveries, without those that are on both sides as they were delivered.

        Nearly all files are so in nearly all runs: they are told by comparing columns, some hundred rows at
        once where all of these are so, and nothing is made of them.

        Args:
            logical: gets what names stand for that are not plain.
        """
        if not isinstance(known, Delivered):
            yield from self._one_by_one(
                known, range(len(self.entries)), range(len(self.there.columns)), logical
            )
            return
        at = there = 0
        for rows in known.groups():
            if self._as_delivered(rows, at, there):
                here = self.there.columns.text(there, there + len(rows))
                if "%" in here or not here.isascii():
                    self._name(here.split("\0"), logical)
                self.unchanged += len(rows)
                self.claimed.settle(there, len(rows))
                at, there = at + len(rows), there + len(rows)
                continue
            last = rows[-1][0]
            some = range(at, self.entries.behind(last, at))
            those = range(there, self.there.columns.behind(last, there))
            yield from self._one_by_one(map(delivery_of, rows), some, those, logical)
            at, there = some.stop, those.stop
        yield from ((self.entries.entry(*each), None) for each in enumerate(self.entries.rows(at), at))

    def _as_delivered(self, rows: Sequence[tuple[Any, ...]], at: int, there: int) -> bool:
        """Whether some deliveries are one by one what the source has from a row on, and what is there from
        a row on, and nothing else is between them.

        Decides of all of them together what `_one_by_one` decides of each.

        Args:
            rows: as `photosync.engine.journal.delivery_of` takes them.
            at: of the source.
            there: of the destination.
        """
        if not self.trusting or self.there.shadowed():
            return False
        here, stop, end = self.there.columns, at + len(rows), there + len(rows)
        if stop > len(self.entries) or end > len(here):
            return False
        paths, sizes, times, versions, _, stored, stored_versions, evidence = zip(*rows, strict=True)
        if stored != paths or (self.policy.prove and NONE in evidence):
            return False
        # No path of a listing holds NUL: with equal bytes, they are as many.
        names = b"\0".join((*paths, b""))
        return (
            names == self.entries.names(at, stop) == here.names(there, end)
            and list(sizes) == self.entries.sizes(at, stop) == here.sizes(there, end)
            and list(times) == self.entries.times(at, stop)
            and list(versions) == self.entries.versions(at, stop)
            and list(stored_versions) == here.versions(there, end)
        )

    def _name(self, paths: Iterable[str], logical: dict[str, str]) -> None:
        """Tells what names of unchanged files stand for that are not plain."""
        for path in paths:
            if "%" in path or not path.isascii():
                place = match_key(path, self.rules)
                if not _is_plain(path, place):
                    logical[place] = path if is_shortened(path) else decode(path)

    def _one_by_one(
        self, known: Iterable[Delivery], some: range, those: range, logical: dict[str, str]
    ) -> Iterator[tuple[Entry | None, Delivery | None]]:
        """`_unsettled` for rows ``some`` of the source, and ``those`` of the destination."""
        prove, hidden = self.policy.prove, self.there.shadowed()
        theirs = enumerate(self.there.columns.rows(those.start, those.stop), those.start)
        at, there = next(theirs, (0, _NOBODY))
        for shift, row, delivery in _join(self.entries.rows(some.start, some.stop), known):
            if shift is None or row is None:
                yield None, delivery
                continue
            number = some.start + shift
            if delivery is None:
                yield self.entries.entry(number, row), None
                continue
            path, size, mtime_ns, version = row
            if there[0] != path:
                name = key(path)
                while there[0] and key(there[0]) < name:
                    at, there = next(theirs, (0, _NOBODY))
            if (
                there[0] == path == delivery.stored
                and size == delivery.size == there[1]
                and mtime_ns == delivery.mtime_ns
                and version == delivery.version
                and there[3] == delivery.stored_version
                and self.trusting
                and not (prove and delivery.evidence == NONE)
                and at not in hidden
            ):
                self.unchanged += 1
                self.claimed.settle(at)
                if "%" in path or not path.isascii():
                    self._name((path,), logical)
            else:
                yield self.entries.entry(number, row), delivery

    def _known(self, entry: Entry, delivery: Delivery, place: str) -> None:
        existing = self.there.get(place)
        if existing is not None and existing.path != delivery.stored:
            existing = self.there.hidden(delivery.stored) or replace(existing, path=delivery.stored)
        if existing is None:
            gone = "gone from the destination" if delivery.of(entry) else "modified since it was copied"
            self.actions.append(Copy(entry, delivery.stored, gone))
        elif delivery.of(entry):
            if not same_there(existing, delivery):
                self.actions.append(self._comparison(entry, existing, "changed at the destination"))
            elif self.policy.checksum or self.policy.anew:
                self.actions.append(self._comparison(entry, existing, "asked to compare contents"))
            elif self.policy.prove and delivery.evidence == NONE:
                self.actions.append(self._comparison(entry, existing, "was written, but never proven"))
            else:
                self.unchanged += 1
        else:
            self.edited.append((entry, existing))

    def _edited(self, entry: Entry, existing: Entry) -> Copy | Compare:
        """What becomes of a file that was modified; if its copy is kept beside an earlier one, the edit may
        have been undone."""
        why = "modified since it was copied"
        plain = unmarked(existing.path) if self.policy.mode is Mode.COPY else None
        place = "" if plain is None else match_key(plain, self.rules)
        first = None if place in self.claimed else self.there.get(place)
        if first is not None and first.size != entry.size:
            first = None
        if entry.size == existing.size:
            made = self._comparison(entry, existing, why)
            return made if first is None else replace(made, also=(first,))
        if first is None:
            return self._different(entry, existing, why)
        return Compare(entry, existing.path, first, why, elsewhere=True, beside=True)

    def _comparison(self, entry: Entry, existing: Entry, reason: str) -> Compare:
        return Compare(
            entry,
            existing.path,
            existing,
            reason,
            replace=self._replaces(entry, existing),
            reread=self.policy.checksum or self.policy.anew,
        )

    def _replaces(self, entry: Entry, existing: Entry) -> bool:
        """Whether an object in the way goes to the trash. The only copy of what was freed never does, nor
        that of another file."""
        if self.policy.mode is not Mode.SYNC or entry.path in self.policy.kept:
            return False
        return match_key(existing.path, self.rules) not in self.needed

    def _different(self, entry: Entry, existing: Entry, reason: str) -> Copy:
        if self._replaces(entry, existing):
            return Copy(entry, existing.path, reason, displaces=existing.path)
        return Copy(entry, existing.path, reason, beside=True)

    def _new(self, new: list[Entry], logical: dict[str, str]) -> None:
        if not new:
            return
        unknown: set[str] = set()
        for place, path in self.there.names():
            if place not in logical:
                logical[place] = path if self.rules.plain else decode(path)
                if not place.isascii():
                    unknown.add(place)
        if self.rules.fold_unicode and not self.rules.plain:
            for place in sorted(unknown):
                self.respelt.setdefault(normalize("NFC", logical[place]), []).append(place)
            self._tell_twins(logical, unknown)
        names = Names(self.rules, logical, self.there.own_name if len(self.there) else None)
        renamed = Renames(self._movable() if self.source.complete else ())
        elsewhere = Elsewhere(self.claimed, self.rules) if self.policy.layout else None
        fresh = {entry.path for entry in new}
        for asset in self._assets(new):
            for entry in asset.members:
                if entry.path not in fresh:
                    continue
                try:
                    to = names.assign(self._path(entry, asset))
                except NameRefused as error:
                    self.actions.append(Refuse(entry, str(error)))
                    continue
                shown = self.markers.get(family(entry.path)) if self.markers else None
                action = self._place(entry, to, shown, renamed, elsewhere)
                if len(asset.members) > 1:
                    action = replace(action, asset=asset.primary.path)
                self.actions.append(action)

    def _tell_twins(self, logical: dict[str, str], unknown: set[str]) -> None:
        """Corrects what plain names stand for where the destination composes or decomposes characters.

        A name is escaped only where another file had the plain one before. So if two objects go by one name,
        the plain one is the twin's in another normal form, however the destination spells it now. A path that
        the source does not know stands for a file whose path differs in its normal form alone.

        Args:
            logical: by `match_key` of the stored path, as `Names` takes it.
            unknown: places of which only the destination's listing tells.
        """
        mistaken: set[str] = set()
        for place, path in logical.items():
            plain = match_key(path, self.rules)
            if plain != place and plain in unknown and logical[plain] == path:
                mistaken.add(plain)
        if not unknown:
            return
        accented = [path for path in self.entries.paths() if not path.isascii()]
        shown, named = set(accented), set(logical.values())
        for path in accented:
            place = match_key(path, self.rules)
            if place in mistaken and path not in named:
                # The first in order is the one that found the name free.
                logical[place] = path
                mistaken.remove(place)
        respelt: dict[str, list[str]] = {}
        for place in sorted(unknown):
            if logical[place] not in shown:
                respelt.setdefault(normalize("NFC", logical[place]), []).append(place)
        if not respelt:
            return
        named = set(logical.values())
        for exact in (True, False):
            for path in accented:
                places = respelt.get(normalize("NFC", path), [])
                name = path.rpartition("/")[2]
                for place in places if path not in named else ():
                    if not exact or logical[place].rpartition("/")[2] == name:
                        logical[place] = path
                        named.add(path)
                        places.remove(place)
                        break

    def _assets(self, new: list[Entry]) -> list[Asset]:
        """The photos that new files belong to, members that are delivered already included."""
        if len(new) == len(self.entries):
            return pair(new, self.facts)
        folders = {entry.path.rpartition("/")[0] for entry in new}
        families = {family(entry.path) for entry in new}
        near = (
            self.entries[row]
            for run in self.entries.runs()
            if run.folder in folders
            for row, path in enumerate(self.entries.paths(run.start, run.stop), run.start)
            if family(path) in families
        )
        return pair(near, self.facts)

    def _path(self, entry: Entry, asset: Asset) -> str:
        """Where a file goes: all members of a photo by what is known of that."""
        layout = self.policy.layout
        if layout is None:
            return entry.path
        when = best(
            [taken(each.path, each.mtime_ns, self.facts.get(each.path, NOTHING)) for each in asset.members]
        )
        about = self.facts.get(asset.primary.path, NOTHING)
        return layout.path(entry.path, when, about, self.contents.get(entry.path, ""))

    def _place(
        self, entry: Entry, to: str, shown: str | None, renamed: Renames, elsewhere: Elsewhere | None
    ) -> Copy | Compare | Move:
        """What becomes of a new file that goes by the name ``to``; ``shown``: beside that, with the rest of
        its photo."""
        twins = self._twins(to, entry)
        kept = [*self._kept_beside(to, entry), *twins]
        if shown is not None:
            plain = self.there.get(match_key(to, self.rules))
            if plain is not None and plain.size == entry.size:
                kept.insert(0, plain)
            to = beside(to, shown, self.rules)
        place = match_key(to, self.rules)
        existing = self.there.get(place)
        if existing is not None and existing.path != to:
            # The manifest knows a file by its name as the source spells it.
            existing = replace(existing, path=to)
        occupied = place in self.placed or (existing is not None and place in self.claimed)
        freed = existing is not None and self._was_freed(place)
        self.placed.add(place)
        if (occupied or freed) and (existing is None or self.policy.mode is Mode.SYNC):
            if existing is not None and not occupied and existing.size == entry.size:
                self.claimed.add(place)
                made = self._comparison(entry, existing, "a file of that name and size is there")
                return replace(made, replace=False, also=tuple(kept))
            return Copy(entry, to, "another file goes by that name", beside=True)
        self.claimed.add(place)
        if kept:
            kept = [each for each in kept if match_key(each.path, self.rules) != place]
        origin = renamed.match(entry) if existing is None else None
        if origin is not None:
            self.claimed.add(match_key(origin.stored, self.rules))
        if elsewhere is not None and (not kept or twins):
            # Whatever has the name that a layout gives it today, it may have got another one before.
            kept += elsewhere.match(entry)
        if origin is not None:
            return Move(entry, to, origin, f"renamed from {origin.path}", tuple(kept))
        if existing is None:
            return self._found(entry, to, kept) if kept else Copy(entry, to, "new")
        if existing.size == entry.size:
            made = self._comparison(entry, existing, "a file of that name and size is there")
            return made if made.replace else replace(made, also=tuple(kept))
        if kept and self.policy.mode is Mode.COPY:
            return replace(self._found(entry, to, kept), beside=True)
        return self._different(entry, existing, "another file of that name is there")

    def _found(self, entry: Entry, to: str, kept: list[Entry]) -> Compare:
        self.spared.update(match_key(each.path, self.rules) for each in kept)
        why = "a file of that size is there under another name"
        return Compare(entry, to, kept[0], why, elsewhere=True, also=tuple(kept[1:]))

    def _twins(self, to: str, entry: Entry) -> list[Entry]:
        """Files at the destination that may be this one though they have the name that its twin in another
        normal form would get: a place that spells names its own way does not tell which of the two it was.
        ``sync`` replaces what is wrong there, and ends with one of each."""
        found: list[Entry] = []
        if self.policy.mode is Mode.SYNC or not self.respelt or (path := decode(to)).isascii():
            return found
        for place in self.respelt.get(normalize("NFC", path), ()):
            each = self.there.get(place)
            if each is None or each.size != entry.size:
                continue
            names = (normalize("NFC", each.path), normalize("NFD", each.path))
            found += [replace(each, path=name) for name in names if decode(name) == path][:1]
        return found

    def _kept_beside(self, to: str, entry: Entry) -> list[Entry]:
        """Files at the destination that may be this one, kept beside another of its name by a run that did
        not live to write it down."""
        if self.beside is None:
            self.beside = {}
            for _, each in self.claimed.free("~"):
                if plain := unmarked(each.path):
                    self.beside.setdefault(match_key(plain, self.rules), []).append(each)
        if not self.beside:
            return []
        found = self.beside.get(match_key(to, self.rules), [])
        return [each for each in found if each.size == entry.size][:MOST_COMPARED]

    def _movable(self) -> Iterator[Delivery]:
        """Copies whose source vanished, but was not freed; an empty file has no content by which to know it
        again."""
        for place, delivery in self.vanished.items():
            existing = self.there.get(place)
            if existing is None or place in self.claimed or self._was_freed(place):
                continue
            if delivery.size and same_there(existing, delivery) and self._in_scope(place, existing):
                yield delivery

    def _in_scope(self, place: str, existing: Entry) -> bool:
        """Whether the source would show the file if it had it: filters are about what the source calls it."""
        delivery = self.vanished.get(place)
        if delivery is not None:
            return self.policy.in_scope(delivery.path, delivery.size, delivery.mtime_ns)
        path = decode(existing.path)
        return path not in self.declined and self.policy.in_scope(path, existing.size, existing.mtime_ns)

    def _was_freed(self, place: str) -> bool:
        delivery = self.vanished.get(place)
        return place in self.freed or (delivery is not None and delivery.path in self.policy.kept)

    def _shares_with_freed(self, entry: Entry) -> bool:
        """Whether something shares its name with a copy whose original was freed: it may be that copy."""
        plain = unshared(entry.path)
        return plain is not None and self._was_freed(match_key(plain, self.rules))

    def _wait(self) -> None:
        """What is replaced may be all there is of a photo that was renamed before its old name was used
        again: where another file of the run has its size, it goes to the trash last. What another file is
        going to be compared with, to be adopted, is not replaced."""
        sizes: Counter[int] | None = None
        adoptable = self.spared.union(
            match_key(each.path, self.rules)
            for action in self.actions
            if isinstance(action, Compare | Move)
            for each in action.also
        )
        for number, action in enumerate(self.actions):
            if isinstance(action, Compare) and action.replace:
                place = match_key(action.existing.path, self.rules)
            elif isinstance(action, Copy) and action.displaces is not None:
                place = match_key(action.displaces, self.rules)
            else:
                continue
            if place in adoptable:
                kept = (
                    {"replace": False} if isinstance(action, Compare) else {"displaces": None, "beside": True}
                )
                self.actions[number] = replace(action, **kept)
                continue
            existing = self.there.get(place)
            size = 0 if existing is None else existing.size
            if sizes is None:
                sizes = Counter(each.source.size for each in self.actions if not isinstance(each, Trash))
            if size and sizes[size] > (action.source.size == size):
                self.actions[number] = replace(action, waits=True)

    def _trash(self) -> None:
        if not self.source.complete:
            first = self.source.errors[0]
            raise SafetyGuard(
                f"the source could not be listed completely ({first.path or '/'}: {first.error}), so nothing "
                "is deleted and nothing was changed. Mend that, or use `photosync copy`, which never deletes."
            )
        # Somebody may have renamed, at the destination, a copy whose original was freed; or stored another
        # file of its name, which is shown in its place.
        astray = {
            delivery.size
            for place, delivery in self.vanished.items()
            if self._was_freed(place)
            and ((there := self.there.get(place)) is None or not same_there(there, delivery))
        }
        extra = [
            entry
            for place, entry in self.claimed.free()
            if not (place in self.spared or self._was_freed(place) or self._shares_with_freed(entry))
            and entry.size not in astray
            and self._in_scope(place, entry)
        ]
        limit = self.policy.max_delete
        if limit is None:
            limit = max(10, len(self.there) // 10)
        if len(extra) > limit:
            raise SafetyGuard(
                f"sync would move {len(extra)} of {len(self.there)} files at the destination to the trash, "
                f"more than the limit of {limit}; nothing was changed. If that is right, run it again with "
                f"--max-delete {len(extra)}."
            )
        alike = self._alike(extra)
        for entry in extra:
            to = f"{TRASH}/{self.policy.stamp}/{entry.path}"
            self.actions.append(Trash(entry, to, NOT_AT_SOURCE, tuple(alike.get(entry.path, ()))))

    def _alike(self, extra: list[Entry]) -> dict[str, list[Entry]]:
        """What stays as it is and has the same bytes as something that does not, where listings say so.

        Such listings may lag: if somebody has renamed a copy, they show both names for a while.
        """
        found: dict[str, list[Entry]] = {}
        like: dict[tuple[int, str, str], list[Entry]] = {}
        for entry in extra:
            for digest in entry.digests.items() if entry.size else ():
                like.setdefault((entry.size, *digest), []).append(entry)
        if not like:
            return found
        sizes = {size for size, _, _ in like}
        touched: set[str] = set()
        for action in self.actions:
            if isinstance(action, Copy | Compare | Move):
                touched.add(match_key(action.to, self.rules))
            if isinstance(action, Move):
                touched.add(match_key(action.origin.stored, self.rules))
        for path, size, _, _ in self.there.columns.rows():
            if size not in sizes:
                continue
            place = self.there.place(path)
            kept = self.there.get(place)
            if kept is None or place not in self.claimed or place in touched:
                continue
            for digest in kept.digests.items():
                for entry in like.get((kept.size, *digest), ()):
                    others = found.setdefault(entry.path, [])
                    if len(others) < MOST_COMPARED and kept not in others:
                        others.append(kept)
        return found


def _is_plain(stored: str, place: str) -> bool:
    """Whether the path of what is there tells by itself what it stands for."""
    return "%" not in stored and place.isascii()


def _join(
    rows: Iterable[Row], known: Iterable[Delivery]
) -> Iterator[tuple[int | None, Row | None, Delivery | None]]:
    """Merge join of two iterables sorted by `key` of the path; rows come with their number."""
    right = iter(known)
    delivery = next(right, None)
    place: bytes | None = None
    for number, row in enumerate(rows):
        path = row[0]
        if delivery is not None and delivery.path == path:
            # Nearly always, and without making a key of either.
            yield number, row, delivery
            delivery, place = next(right, None), None
            continue
        here = key(path)
        if place is None:
            place = b"" if delivery is None else key(delivery.path)
        while delivery is not None and place < here:
            yield None, None, delivery
            delivery = next(right, None)
            place = b"" if delivery is None else key(delivery.path)
        if delivery is None or place > here:
            yield number, row, None
        else:
            yield number, row, delivery
            delivery, place = next(right, None), None
    if delivery is not None:
        yield None, None, delivery
    for delivery in right:
        yield None, None, delivery
