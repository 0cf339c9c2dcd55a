"""Looking into files before they are copied: heads and indexes only, each version of a file once."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from photosync.engine.assets import Kind, family, kind_of, pair
from photosync.engine.choosing import Choice
from photosync.engine.entry import Entry
from photosync.engine.errors import PhotosyncError
from photosync.engine.fidelity import lost_place
from photosync.engine.journal import Delivery, Journal
from photosync.engine.layout import Layout
from photosync.engine.media import NOTHING, Facts, look
from photosync.engine.plan import fresh
from photosync.engine.scan import Listing
from photosync.engine.source import OpenFile, Source, SourceGone
from photosync.engine.views import Window

_STEP = 64 << 10


class Looker:
    """Finds out what files of a source say of themselves.

    What cannot be read says nothing: it is the copy that will tell why. A source that only hands out whole
    files is not asked: name and time have to do, until a copy has shown more.

    Args:
        source: the place.
        place: what the journal calls it.
        journal: remembers what was found.
        began: told when files are about to be looked into.
    """

    def __init__(self, source: Source, place: str, journal: Journal, began: Callable[[], None]) -> None:
        self._source, self._place, self._journal, self._began = source, place, journal, began

    def facts(self, entries: Iterable[Entry]) -> dict[str, Facts]:
        """What files say, by path; those that say nothing are left out.

        Raises:
            PhotosyncError: the source as a whole is gone.
        """
        found = {}
        for entry in entries:
            facts = self._journal.facts(self._place, entry) or self._look(entry)
            if facts != NOTHING:
                found[entry.path] = facts
        return found

    def _look(self, entry: Entry) -> Facts:
        if kind_of(entry.path) in (Kind.OTHER, Kind.SIDECAR):
            return NOTHING
        if not entry.size or not self._source.store.capabilities.partial_reads:
            return NOTHING
        reading = _Reading(self._source, entry)
        try:
            facts = look(Window(entry.size, reading.read))
            if not reading.changed:
                # What the copy will be compared with must not be forgotten for having looked.
                before = self._journal.earlier_facts(self._place, entry.path) or NOTHING
                suspicion = self._journal.earlier_suspicion(self._place, entry.path)
                lost = lost_place(before, facts, suspicion)
                self._journal.set_facts(self._place, entry, facts, lost)
            return facts
        except SourceGone as gone:
            raise _cause(gone) from None
        except PhotosyncError:
            return NOTHING
        finally:
            reading.close()

    def choose(self, source: Listing, choice: Choice | None) -> tuple[Listing, dict[str, Facts]]:
        """Leaves out photos that are not wanted; tells what was found out for that, too.

        Raises:
            PhotosyncError: the source as a whole is gone.
        """
        if choice is None:
            return source, {}
        facts: dict[str, Facts] = {}
        if choice.needs_facts:
            self._began()
            facts = self.facts(source.entries)
        unwanted = {
            entry.path
            for photo in pair(source.entries, facts)
            if not choice.wants(photo, facts)
            for entry in photo.members
        }
        entries = [entry for entry in source.entries if entry.path not in unwanted]
        return replace(source, entries=entries, declined=[*source.declined, *sorted(unwanted)]), facts

    def prepare(
        self, source: Listing, known: Iterable[Delivery], layout: Layout | None, facts: dict[str, Facts]
    ) -> dict[str, str]:
        """Finds out what a layout needs to know of new files.

        Args:
            known: deliveries, sorted by `photosync.engine.journal.key` of the path.
            facts: what is known already, by path; what is found out is added.

        Returns:
            Content ids by path, if the layout needs them.

        Raises:
            PhotosyncError: the source as a whole is gone.
        """
        if layout is None:
            return {}
        new = fresh(source.entries, known)
        if not new or not (layout.needs_facts or layout.needs_content):
            return {}
        self._began()
        facts |= self.facts(entry for entry in new if entry.path not in facts)
        # Their other halves may have been copied earlier.
        families = {family(entry.path) for entry in new}
        for entry in source.entries:
            if entry.path not in facts and family(entry.path) in families:
                told = self._journal.facts(self._place, entry)
                if told is not None:
                    facts[entry.path] = told
        return self._contents(new) if layout.needs_content else {}

    def _contents(self, entries: Iterable[Entry]) -> dict[str, str]:
        found = {}
        for entry in entries:
            known = self._journal.content(self._place, entry)
            try:
                if known is None:
                    known, seen, _ = self._source.hash(entry, ())
                    self._journal.set_content(self._place, seen, known)
            except SourceGone as gone:
                raise _cause(gone) from None
            except PhotosyncError:
                continue
            found[entry.path] = known.content
        return found


def _cause(gone: SourceGone) -> BaseException:
    return gone.__cause__ or gone


class _Reading:
    """Reads parts of one file, going on where the last part ended if that is where the next one begins."""

    def __init__(self, source: Source, entry: Entry) -> None:
        self._source, self._entry = source, entry
        self._file: OpenFile | None = None
        self._at = 0
        self.changed = False

    def read(self, offset: int, size: int) -> bytes:
        """Up to so many bytes."""
        if self._file is None or self._at != offset:
            self.close()
            self._file, self._at = self._source.open(self._entry, offset), offset
            self.changed = self.changed or self._file.entry != self._entry
        data = bytearray()
        while len(data) < size:
            block = self._source.some(self._file, min(size - len(data), _STEP))
            if not block:
                break
            data += block
        self._at += len(data)
        return bytes(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.reader.close()
            self._file = None
