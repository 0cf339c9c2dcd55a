"""``delete``, ``cat`` and ``mkdir``: tending what lies at a place."""

import datetime
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from photosync.engine import ranges, record, removal, retry, scan, sync
from photosync.engine.capabilities import MakesFolders
from photosync.engine.entry import Kind
from photosync.engine.errors import Corrupt, PhotosyncError
from photosync.engine.filters import Filter
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.names import printable
from photosync.engine.nodes import ManifestError
from photosync.engine.removal import HEAD, Fate, Removal
from photosync.engine.report import Exit
from photosync.engine.retry import RetryPolicy
from photosync.engine.sizes import human_size
from photosync.engine.target import Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Workers
from photosync.output import json_line, removal_record
from photosync.places import ONE_FILE, Place, PlaceError, parent, parse
from photosync.places import Kind as PlaceKind
from photosync.session import Session


@dataclass(frozen=True, slots=True)
class Open:
    """A place whose files are about to be tended."""

    place: Place
    journal: Journal
    workers: Workers
    target: Target
    listing: scan.Listing

    @property
    def has_trash(self) -> bool:
        """Whether it is a destination of photosync's."""
        return any(entry.path == HEAD for entry in self.listing.own)


@contextmanager
def opened(session: Session, text: str, to_write: bool) -> Iterator[Open]:
    """A place, with its listing.

    Raises:
        FileNotFoundError: it is not there.
        PlaceError: it is a file, or can only be read.
        PhotosyncError: it could not be listed.
    """
    retries = RetryPolicy()
    with (
        session.open(text) as place,
        session.journal(place) as journal,
        Workers(session.seam) as workers,
    ):
        if to_write and not place.store.capabilities.writable:
            raise PlaceError(
                f"{text} can only be read: photosync removes nothing there. To make room on a phone, once "
                "several copies are proven: photosync free-up"
            )
        gate = Gate(workers)
        target = Target(place.store, workers, gate, retries, Verify.AUTO)
        listing = sync.list_place(place.store, place.identity, journal, workers, gate, retries)
        for error in listing.errors:
            if isinstance(error.error.__cause__, NotADirectoryError) and not error.path:
                raise PlaceError(f"{text} is a file: {ONE_FILE}")
            raise error.error
        if not listing.exists or not (listing.entries or listing.own):
            # An empty answer is also what a place that is not there gives to a flat listing.
            retry.call(lambda: place.store.list_folder(""), f"listing {text}", workers, gate, retries)
        yield Open(place, journal, workers, target, listing)


def delete(
    session: Session,
    text: str,
    wanted: Filter | None,
    *,
    permanently: bool,
    dry_run: bool,
    confirm: Callable[[str], bool],
    as_json: bool,
    verbosity: int,
) -> Exit:
    """Moves files to the trash of a destination, or removes them for good.

    Args:
        text: the place.
        wanted: which files; None: all.
        permanently: for good.
        dry_run: only tell.
        confirm: asks whether to go on.

    Raises:
        FileNotFoundError: the place is not there.
        PlaceError: it has no trash, can only be read, or nobody said yes.
        PhotosyncError: it could not be listed.
    """
    with opened(session, text, to_write=True) as at:
        chosen = [
            entry
            for entry in at.listing.entries
            if wanted is None or wanted.wants(entry.path, entry.size, entry.mtime_ns)
        ]
        if not permanently:
            need_trash(at, text)
        size = human_size(sum(entry.size for entry in chosen))
        what = f"{len(chosen)} of {len(at.listing.entries)} files ({size}) at {text}"
        how = "remove for good" if permanently else "move to the trash"
        if dry_run or not chosen:
            removals = [Removal(entry.path, Fate.KEPT, entry.size, error="dry run") for entry in chosen]
            return _planned(removals, text, f"would {how} {what}", as_json=as_json)
        if not confirm(f"{how} {what}?"):
            raise PlaceError(f"nothing was removed: say --yes to {how} {what}")
        removals = removal.at_destination(
            at.target, at.journal, at.place.identity, chosen, at.workers, None if permanently else stamp()
        )
        problem = write_manifest(session, at)
        return told(removals, text, problem, as_json=as_json, verbosity=verbosity)


def need_trash(at: Open, text: str) -> None:
    """Raises `PlaceError` for a place that has no trash."""
    if not at.has_trash:
        raise PlaceError(
            f"{text} is no destination of photosync's (it has no manifest), so it has no trash: say "
            "--permanently to remove for good"
        )


def stamp() -> str:
    """Names this run's folder in the trash."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")


def write_manifest(session: Session, at: Open) -> PhotosyncError | None:
    """Brings the manifest up to date, if there is one; gives what went wrong."""
    at.journal.flush()
    if not at.has_trash:
        return None
    try:
        record.record(at.place.identity, at.journal, at.target, session.seam, platform.node() or "unnamed")
    except (ManifestError, PhotosyncError) as error:
        return error if isinstance(error, PhotosyncError) else Corrupt(str(error))
    return None


def _planned(removals: Sequence[Removal], text: str, words: str, *, as_json: bool) -> Exit:
    if as_json:
        for each_ in removals:
            json_line({"event": "plan", "action": "remove", "path": each_.path, "bytes": each_.bytes})
        json_line({"event": "plan-totals", "place": text, "actions": len(removals)})
    else:
        for each_ in removals:
            print(f"remove   {printable(each_.path)}")  # noqa: T201
        print(f"{words}. Nothing was changed.")  # noqa: T201
    return Exit.OK


def told(
    removals: Sequence[Removal],
    text: str,
    problem: PhotosyncError | None,
    *,
    as_json: bool,
    verbosity: int,
) -> Exit:
    """Tells what became of each file, and gives the exit code.

    Args:
        problem: why the manifest was not brought up to date, or None.
    """
    counts = {fate.value: sum(one.fate is fate for one in removals) for fate in Fate}
    left = [one for one in removals if one.fate in (Fate.KEPT, Fate.FAILED)]
    done = len(removals) - len(left)
    for one in sorted(removals, key=lambda one: one.path):
        if as_json:
            json_line(removal_record(one, text))
        elif one in left or verbosity > 0:
            print(f"{one.fate:<8} {printable(one.path)}  {one.error or ''}".rstrip())  # noqa: T201
    if as_json:
        status = ("partial" if done else "failed") if left or problem else "ok" if done else "nothing"
        error = str(problem) if problem else None
        json_line({"event": "report", "status": status, "place": text, **counts, "error": error})
    elif verbosity >= 0:
        words = ", ".join(f"{count} {fate}" for fate, count in counts.items() if count)
        print(f"{text}: {words or 'nothing to do'}.")  # noqa: T201
        if problem is not None:
            print(f"The manifest there was not brought up to date: {problem}")  # noqa: T201
    if any(one.transient for one in left):
        return Exit.RETRY
    if any(one.fate is Fate.FAILED for one in left):
        return Exit.NO_RETRY
    return Exit.OTHER if left or problem else Exit.OK


def cat(
    session: Session,
    texts: Iterable[str],
    out: BinaryIO,
    *,
    offset: int,
    count: int | None,
) -> None:
    """Writes files, or all files of folders, one after the other.

    Args:
        texts: the places.
        out: where to.
        offset: first byte of each; negative: from its end.
        count: bytes of each; None: all.

    Raises:
        FileNotFoundError: one of them is not there.
        PhotosyncError: one could not be read.
    """
    for text in texts:
        parse(text, session.config)
        folder, name = parent(text)
        with session.open(folder) as place, session.target(place) as target:
            store = place.store
            entry = target.look(name) if name else None
            if name and entry is None:
                raise FileNotFoundError(2, "there is no such file", text)
            if entry is None or entry.kind is Kind.FOLDER:
                listing = target.call(lambda: scan.walk(store, check=lambda: None), f"listing {text}")  # noqa: B023
                inside = f"{name}/" if name else ""
                entries = [each_ for each_ in listing.entries if each_.path.startswith(inside)]
                for error in listing.errors:
                    raise error.error
            else:
                entries = [entry]
            for one in entries:
                first, length = ranges.span(one.size, offset, count)
                for block in ranges.read(store, one, first, length, target.call):
                    out.write(block)
    out.flush()


def mkdir(session: Session, text: str, *, dry_run: bool) -> str:
    """Makes a folder; says in words what was done.

    Raises:
        PlaceError: the place can only be read.
        PhotosyncError: it could not be made.
    """
    read_only = PlaceError(f"{text} can only be read: no folder is made there")
    if parse(text, session.config).kind is PlaceKind.PHONE:
        # Opening one looks for the very folder that is to be made.
        raise read_only
    with session.open(text) as place, session.target(place) as target:
        store = place.store
        if not store.capabilities.writable:
            raise read_only
        if store.capabilities.names.flat or not isinstance(store, MakesFolders):
            return f"{text}: folders need not be made there, they come with the first file"
        try:
            target.call(lambda: store.list_folder(""), f"listing {text}")
        except FileNotFoundError:
            pass
        else:
            return f"{text} is there already"
        if not dry_run:
            target.call(lambda: store.make_folder(""), f"making {text}")
        return f"{text} would be made" if dry_run else f"{text} was made"
