"""Listing a place, strictly: what cannot be listed is said, never left out.

The walk is our own over `Store.list_folder`: fsspec's ``find``, ``walk`` and ``glob`` return nothing for a
folder that fails to list, and a source that looks empty is how backups get deleted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from photosync.engine.capabilities import ListsFolderFiles, ListsTreeFiles, Readable, Store
from photosync.engine.columns import Columns
from photosync.engine.entry import LARGEST, Entry, Files, Kind, Listed, PackedFiles
from photosync.engine.errors import Fatal, NameRefused, Permanent, PhotosyncError, Transient, classify
from photosync.engine.journal import Journal
from photosync.engine.names import OURS, all_plain, check_relative, is_ours

_OURS = OURS.encode()
DEEPEST = 2048
"""Folders within folders; more than a path of a POSIX system can name."""


@dataclass(frozen=True, slots=True)
class ListingError:
    """A folder that could not be listed, or a name that could not be trusted.

    Attributes:
        path: the folder or name.
        error: what went wrong.
    """

    path: str
    error: PhotosyncError


@dataclass(frozen=True, slots=True)
class Listing:
    """All files below a root.

    Attributes:
        entries: files, sorted by `photosync.engine.journal.key` of the path.
        others: what is there but is no file that can be copied (links, pipes, cloud documents).
        errors: empty if the listing is complete.
        own: photosync's own files at a destination, by path.
        declined: paths of files that are there, though the filters do not want them.
        exists: False if the root itself is not there.
    """

    entries: Sequence[Entry]
    others: Sequence[Entry] = ()
    errors: Sequence[ListingError] = ()
    own: Sequence[Entry] = ()
    declined: Sequence[str] = ()
    exists: bool = True

    @property
    def complete(self) -> bool:
        return not self.errors


class _Collector:
    """Sorts what a place tells into files, others and photosync's own.

    At a destination every name that begins with ``.photosync`` is photosync's own. At a source only the
    folder of that name at the root is, if the source was a destination once; any other is a file of the
    user's, whose name gets escaped where it goes.
    """

    def __init__(
        self,
        wants: Callable[[Entry], bool],
        *,
        is_source: bool = False,
        own: Callable[[str], bool] = is_ours,
    ) -> None:
        self.wants = wants
        self._is_own = own
        self._is_source = is_source
        self.entries = Columns()
        self.others: list[Entry] = []
        self.errors: list[ListingError] = []
        self.own: list[Entry] = []
        self.declined: list[str] = []

    def add(self, entry: Entry) -> None:
        try:
            check_relative(entry.path)
        except NameRefused as error:
            self.others.append(replace(entry, kind=Kind.OTHER, note=entry.note or str(error)))
            return
        if not 0 <= entry.size <= LARGEST:
            note = f"its size is said to be {entry.size} bytes"
            self.others.append(replace(entry, size=0, kind=Kind.OTHER, note=note))
        elif self._is_own(entry.path) and not self._is_source:
            self.own.append(entry)
        elif not self.wants(entry):
            self.declined.append(entry.path)
        elif entry.kind is Kind.FILE:
            self.entries.append(entry)
        else:
            self.others.append(entry)

    def add_files(self, files: Listed) -> None:
        """Adds files, without what is listed beside them."""
        if isinstance(files, PackedFiles):
            if self._is_packed_plain(files):
                self.entries.extend_packed(files)
                return
            files = files.unpacked()
        text = "\0".join(files.paths)
        if self._is_plain(text, files):
            self.entries.extend(files, text)
        else:
            for entry in files.entries():
                self.add(entry)

    def _is_packed_plain(self, files: PackedFiles) -> bool:
        """As `_is_plain`; what `PackedFiles` promise need not be asked."""
        return (
            self.wants is everything
            and files.paths != b""
            and all_plain(files.paths[: files.path_bytes[0] - 1].decode())
            and (self._is_source or _OURS not in files.paths.lower())
        )

    def _is_plain(self, text: str, files: Files) -> bool:
        """Whether `add` would do the same with each of the files: append it as it is.

        Args:
            text: all of their paths.
        """
        return (
            self.wants is everything
            and all_plain(text)
            and text.count("\0") == len(files.paths) - 1
            # Of what is photosync's own, however it is told, that is a part.
            and (self._is_source or OURS not in text.lower())
            and min(files.sizes) >= 0
            and max(files.sizes) <= LARGEST
            and (files.times is None or (min(files.times) >= -LARGEST and max(files.times) <= LARGEST))
        )

    def enters(self, folder: str) -> bool:
        """Whether a folder is worth listing as far as photosync's own files go."""
        if folder == OURS and self._is_source:
            note = "the manifest of an earlier copy to here"
            self.others.append(Entry(folder, kind=Kind.SKIPPED, note=note))
            return False
        return self._is_source or not self._is_own(folder) or folder == OURS

    def listing(self) -> Listing:
        return Listing(self.entries.sorted(), self.others, self.errors, self.own, self.declined)


def everything(_entry: Entry) -> bool:
    return True


def every_folder(_path: str) -> bool:
    return True


def walk(
    store: Readable,
    *,
    check: Callable[[], None],
    is_source: bool = False,
    wants: Callable[[Entry], bool] = everything,
    enters: Callable[[str], bool] = every_folder,
    own: Callable[[str], bool] = is_ours,
    retry: Callable[[Callable[[], Listed], str], Listed] = lambda run, _doing: run(),
) -> Listing:
    """Lists a store folder by folder.

    Args:
        store: the place.
        check: called between folders; raises to stop.
        is_source: photos come from there; else photosync's own files are told apart.
        wants: filter on files and others.
        enters: filter on folders; one that it declines is not listed at all.
        own: which paths are photosync's own.
        retry: runs a call with retries.

    Returns:
        The listing; folders that failed are in ``errors``.

    Raises:
        FileNotFoundError: the root is not there.
        Fatal: the place itself is gone.
    """
    found = _Collector(wants, is_source=is_source, own=own)
    pending = [""]
    while pending:
        check()
        folder = pending.pop()
        try:
            files = retry(lambda folder=folder: _folder(store, folder), f"listing {folder or '/'}")  # type: ignore[misc]
        except FileNotFoundError as error:
            if not folder:
                raise
            gone = Transient(f"{folder} vanished while its place was listed; run again")
            gone.__cause__ = error
            found.errors.append(ListingError(folder, gone))
            continue
        except Exception as error:
            failure = classify(error, f"listing {folder or '/'}")
            if isinstance(failure, Fatal):
                raise failure from error
            found.errors.append(ListingError(folder, failure))
            continue
        found.add_files(files)
        inner: list[str] = []
        for entry in files.others:
            if entry.kind is not Kind.FOLDER or entry.path.rpartition("/")[0] != folder:
                # A folder that claims to lie elsewhere could lead out of the root, or round in circles.
                found.add(entry)
            elif entry.path.count("/") >= DEEPEST:
                why = Permanent(
                    f"{folder} has folders within folders without end; remove them, then run again"
                )
                found.errors.append(ListingError(folder, why))
            elif found.enters(entry.path) and enters(entry.path):
                inner.append(entry.path)
        # The first is listed next, so that files mostly come in order.
        pending += reversed(inner)
    return found.listing()


def _folder(store: Readable, path: str) -> Listed:
    if isinstance(store, ListsFolderFiles):
        return store.list_folder_files(path)
    return Files((), (), None, (), store.list_folder(path))


def flat(store: Store, *, check: Callable[[], None], own: Callable[[str], bool] = is_ours) -> Listing:
    """Lists a store that declares ``flat_listing``. An absent root is an empty listing."""
    found = _Collector(everything, own=own)
    if isinstance(store, ListsTreeFiles):
        for files in store.list_tree_files():
            check()
            found.add_files(files)
            for entry in files.others:
                found.add(entry)
        return found.listing()
    for number, entry in enumerate(store.list_tree()):
        if number % 1000 == 0:
            check()
        found.add(entry)
    return found.listing()


def fed(store: Store, journal: Journal, place: str, own: Callable[[str], bool] = is_ours) -> Listing:
    """Lists a store that declares ``change_feed``: what the journal remembers, brought up to date."""
    drain(store, journal, place)
    found = _Collector(everything, own=own)
    for files in journal.listed_files(place):
        found.add_files(files)
        for entry in files.others:
            found.add(entry)
    return found.listing()


def drain(store: Store, journal: Journal, place: str) -> None:
    """Applies everything that happened at a place since its cursor to the journal's listing of it."""
    changes = store.changes(journal.cursor(place))
    upserts: Iterable[Entry] = (entry for entry in changes.upserts if entry.kind is Kind.FILE)
    journal.set_listed(place, upserts, changes.removed, changes.cursor, changes.full)
