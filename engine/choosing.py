"""Which photos are wanted, by what people know of them. A photo is taken whole or not at all."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from photosync.engine.assets import Asset, Kind, kind_of
from photosync.engine.entry import Entry
from photosync.engine.filters import FilterError, moment
from photosync.engine.media import NOTHING, Facts
from photosync.engine.taken import best, taken

_KINDS = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Choice:
    """Decides which photos are wanted. The default wants everything.

    Attributes:
        kinds: of which at least one file of the photo has to be; empty: any.
        albums: patterns, one of which a folder above it has to match; empty: any.
        cameras: patterns, one of which has to be found in the camera's name; empty: any.
        after, before: when it has to have been taken, nanoseconds since the epoch; the former is allowed
            itself; None: no limit. A photo whose time is not known is not left out for it.
    """

    kinds: frozenset[Kind] = frozenset()
    albums: tuple[re.Pattern[str], ...] = ()
    cameras: tuple[re.Pattern[str], ...] = ()
    after: int | None = None
    before: int | None = None

    @classmethod
    def parse(
        cls,
        *,
        types: Sequence[str] = (),
        albums: Sequence[str] = (),
        cameras: Sequence[str] = (),
        taken_after: str | None = None,
        taken_before: str | None = None,
        now_ns: int,
    ) -> "Choice":
        """Reads the options of these names.

        Args:
            types: kinds, several in one text with commas.
            albums: names of folders; ``*`` and ``?`` stand for any characters, case does not count.
            cameras: parts of a maker's and model's name, likewise.
            taken_after, taken_before: ages or dates as `photosync.engine.filters.Filter.parse` takes them.
            now_ns: the time, nanoseconds since the epoch.

        Raises:
            FilterError: a value can't be understood.
        """
        kinds = {name.strip().lower() for text in types for name in text.split(",")}
        if unknown := sorted(kinds - set(_KINDS)):
            raise FilterError(f"--type {unknown[0]!r}: there are {', '.join(_KINDS)}")
        made = cls(
            frozenset(_KINDS[name] for name in kinds),
            tuple(re.compile(fnmatch.translate(name.casefold())) for name in albums),
            tuple(re.compile(fnmatch.translate(f"*{name.casefold()}*")) for name in cameras),
            moment(taken_after, now_ns, "--taken-after"),
            moment(taken_before, now_ns, "--taken-before"),
        )
        if made.after is not None and made.before is not None and made.after >= made.before:
            raise FilterError(
                f"--taken-after {taken_after} is not before --taken-before {taken_before}: no photo can be "
                "both. Correct one of them."
            )
        return made

    @property
    def needs_facts(self) -> bool:
        """Whether files have to be looked into."""
        return bool(self.cameras) or self.after is not None or self.before is not None

    def wants(self, photo: Asset, facts: Mapping[str, Facts]) -> bool:
        """Whether a photo is wanted, with all its files.

        Args:
            facts: what is known of them, by path.
        """
        return (
            self._of_kind(photo, facts)
            and self._in_album(photo)
            and self._by_camera(photo, facts)
            and self._in_time(photo, facts)
        )

    def wants_file(self, path: str, mtime_ns: int | None, facts: Facts | None) -> bool:
        """Whether a file that is not there any more would surely have been wanted.

        Args:
            facts: what it once said of itself, or None.
        """
        if facts is None and self.needs_facts:
            return False
        entry = Entry(path, 1, mtime_ns)
        return self.wants(Asset((entry,)), {} if facts is None else {path: facts})

    def _of_kind(self, photo: Asset, facts: Mapping[str, Facts]) -> bool:
        if not self.kinds:
            return True
        found = [kind_of(each.path, facts.get(each.path, NOTHING)) for each in photo.members]
        # The film of a Live Photo makes it no video.
        return found[0] in self.kinds or (Kind.RAW in self.kinds and Kind.RAW in found)

    def _in_album(self, photo: Asset) -> bool:
        folders = photo.primary.path.casefold().split("/")[:-1]
        return not self.albums or any(each.match(name) for each in self.albums for name in folders)

    def _by_camera(self, photo: Asset, facts: Mapping[str, Facts]) -> bool:
        if not self.cameras:
            return True
        known = [facts.get(each.path, NOTHING) for each in photo.members]
        names = [f"{each.make} {each.model}".casefold() for each in known if each.make or each.model]
        return any(each.match(name) for each in self.cameras for name in names)

    def _in_time(self, photo: Asset, facts: Mapping[str, Facts]) -> bool:
        if self.after is None and self.before is None:
            return True
        when = best([taken(e.path, e.mtime_ns, facts.get(e.path, NOTHING)) for e in photo.members])
        if when.moment is None:
            return True
        at = round(when.at * 10**6) * 10**3
        return (self.after is None or at >= self.after) and (self.before is None or at < self.before)
