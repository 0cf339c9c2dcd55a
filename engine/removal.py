"""Removing files: only those that still are what was seen or proven, and never without a trace.

At a source after its bytes were proven elsewhere (`from_source`, for ``move``); at a destination into its
trash, or for good, because the user said so (`at_destination`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from photosync.engine import retry
from photosync.engine.capabilities import Store
from photosync.engine.entry import Entry, same_state
from photosync.engine.errors import Fatal, SafetyGuard, Transient, classify
from photosync.engine.journal import Delivery, Journal
from photosync.engine.limits import Gate
from photosync.engine.names import OURS
from photosync.engine.retry import RetryPolicy
from photosync.engine.target import Target
from photosync.engine.trash import TRASH
from photosync.engine.workers import Workers, each

HEAD = f"{OURS}/HEAD"
_HEAD_LIMIT = 1 << 20
GONE = "it is gone already"
AT_ONCE = 32
"""Removals at once, however many calls a place would take."""


class Fate(StrEnum):
    """What became of a file that was to be removed."""

    REMOVED = "removed"
    TRASHED = "trashed"
    RENAMED = "renamed"
    """It has a name of its own now."""
    KEPT = "kept"
    """It is not what it was, so it was left alone."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Removal:
    """The end of one file that was to be removed.

    Attributes:
        path: of the file.
        fate: see `Fate`.
        bytes: its size.
        to: where it is now, if it was moved to the trash.
        error: why it was kept or could not be removed, or None.
        transient: another run may get further.
    """

    path: str
    fate: Fate
    bytes: int = 0
    to: str | None = None
    error: str | None = None
    transient: bool = False


def why_kept(seen: Entry | Delivery, now: Entry | None) -> str | None:
    """Why a file must stay, in words; None: it is what it was.

    Args:
        seen: what it was when it was listed, or read and proven.
        now: what has its name at this moment; None: nothing.
    """
    if now is None:
        return GONE
    if not now.is_file:
        return "it is no regular file any more"
    if not same_state(seen, now):
        return "it has changed meanwhile"
    if now.version is None and now.mtime_ns is None:
        return "the place does not tell whether it has changed meanwhile"
    return None


def refuse_same_place(source: Store, target: Target) -> None:
    """One folder may be reached by two ways, and then what is proven "there" is the file itself.

    Raises:
        SafetyGuard: source and destination show the same manifest.
    """
    try:
        here = source.read_small(HEAD, _HEAD_LIMIT)[0]
        there = target.call(lambda: target.store.read_small(HEAD, _HEAD_LIMIT), "reading the manifest")[0]
    except FileNotFoundError:
        # Within a service there may be copies without a manifest: `within.compare` sees to those.
        return
    if here == there:
        raise SafetyGuard(
            "source and destination have the same manifest: they seem to be one place, reached by two ways. "
            "Nothing was removed. If one is a copy of the other, remove .photosync from the source."
        )


def from_source(
    source: Store,
    photos: Sequence[Sequence[Delivery]],
    workers: Workers,
    gate: Gate,
    retries: RetryPolicy,
) -> list[Removal]:
    """Removes photos at a source whose copies were proven: all files of each, or none.

    Args:
        source: the place.
        photos: the deliveries of their files, written down before.
        workers, gate, retries: as for any call.
    """

    def call(run: Callable[[], Entry | None], path: str) -> Entry | None:
        return retry.call(run, f"removing {path}", workers, gate, retries)

    def trouble(delivery: Delivery, run: Callable[[], Entry | None]) -> tuple[Removal | None, Entry | None]:
        try:
            return None, call(run, delivery.path)
        except FileNotFoundError:
            return _kept(delivery, why_kept(delivery, None)), None
        except Fatal:
            raise
        except Exception as error:
            return _failed(delivery.path, delivery.size, error), None

    def look(delivery: Delivery) -> Removal | None:
        bad, now = trouble(delivery, lambda: source.stat(delivery.path))
        if bad is None and (why := why_kept(delivery, now)) is not None:
            bad = _kept(delivery, why)
        return bad

    def one(photo: Sequence[Delivery]) -> list[Removal]:
        ends = {file.path: bad for file in photo if (bad := look(file)) is not None}
        held = _holding(ends.values())
        for file in photo:
            if file.path in ends:
                continue
            if held is None:
                bad, _ = trouble(file, partial(source.delete, file.path))
                ends[file.path] = bad or Removal(file.path, Fate.REMOVED, file.size)
                held = _holding([ends[file.path]])
            else:
                ends[file.path] = _kept(file, f"{held.path}, of the same photo, stays ({held.error})")
        return [ends[file.path] for file in photo]

    done = each(workers, min(AT_ONCE, source.capabilities.write_concurrency), photos, one, "remove")
    return [removal for photo in done for removal in photo]


def _kept(delivery: Delivery, why: str | None) -> Removal:
    return Removal(delivery.path, Fate.KEPT, delivery.size, error=why)


def _holding(ends: Iterable[Removal]) -> Removal | None:
    """What keeps the rest of a photo where it is; a file that is gone by itself does not."""
    return next((e for e in ends if e.fate is Fate.FAILED or e.error not in (None, GONE)), None)


def at_destination(
    target: Target,
    journal: Journal,
    destination: str,
    entries: Sequence[Entry],
    workers: Workers,
    trash: str | None,
) -> list[Removal]:
    """Moves files to the trash, or removes them for good. The manifest is for the caller to bring up to date.

    Args:
        target: the place.
        journal: is told that the paths hold nothing any more.
        destination: what the journal calls the place.
        entries: as they were listed.
        workers: scope for the threads.
        trash: names the folder in the trash; None: for good.
    """

    def one(entry: Entry) -> Removal:
        to = None if trash is None else f"{TRASH}/{trash}/{entry.path}"
        try:
            kept = why_kept(entry, target.look(entry.path))
            if kept is None:
                if to is None:
                    target.call(lambda: target.store.delete(entry.path), f"removing {entry.path}")
                else:
                    target.set_aside(entry.path, to)
                journal.set_withdrawn(destination, entry.path)
        except FileNotFoundError:
            kept = why_kept(entry, None)
        except Fatal:
            raise
        except Exception as error:
            return _failed(entry.path, entry.size, error)
        if kept is not None:
            return Removal(entry.path, Fate.KEPT, entry.size, error=kept)
        return Removal(entry.path, Fate.REMOVED if to is None else Fate.TRASHED, entry.size, to)

    return each(workers, min(AT_ONCE, target.store.capabilities.write_concurrency), entries, one, "remove")


def _failed(path: str, size: int, error: Exception) -> Removal:
    found = classify(error, f"removing {path}")
    return Removal(path, Fate.FAILED, size, error=str(found), transient=isinstance(found, Transient))
