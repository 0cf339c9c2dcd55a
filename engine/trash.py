"""The trash of a destination: what ``sync``, ``heal`` and ``delete`` moved out of the way, by run.

Below ``.photosync/trash/`` lies a folder for each run, named by the time at which it began; in it, files keep
the paths that they had.
"""

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass

from photosync.engine.capabilities import Store
from photosync.engine.entry import Entry, Kind
from photosync.engine.names import OURS

TRASH = f"{OURS}/trash"
_STAMP = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True, slots=True)
class Bin:
    """What one run moved to the trash.

    Attributes:
        stamp: name of its folder.
        began_ns: nanoseconds since the epoch; None if the folder is not named by a time.
        files: in it, as listed.
    """

    stamp: str
    began_ns: int | None
    files: tuple[Entry, ...]

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.files)


def list_trash(store: Store) -> list[Entry]:
    """Every file in a destination's trash. Errors are raised; no trash is an empty one."""
    found: list[Entry] = []
    pending = [TRASH]
    while pending:
        folder = pending.pop()
        try:
            children = store.list_folder(folder)
        except FileNotFoundError:
            continue
        # What claims to lie elsewhere could have something else deleted.
        children = [entry for entry in children if entry.path.rpartition("/")[0] == folder]
        found += [entry for entry in children if entry.kind is Kind.FILE]
        pending += [entry.path for entry in children if entry.kind is Kind.FOLDER]
    return found


def name_before(path: str) -> str:
    """The path that a file in the trash had."""
    return path.removeprefix(f"{TRASH}/").partition("/")[2]


def bins(files: Iterable[Entry]) -> list[Bin]:
    """Files of the trash by the run that moved them there, oldest first."""
    by_stamp: dict[str, list[Entry]] = {}
    for entry in files:
        by_stamp.setdefault(entry.path.removeprefix(f"{TRASH}/").partition("/")[0], []).append(entry)
    return [Bin(stamp, _began(stamp), tuple(inside)) for stamp, inside in sorted(by_stamp.items())]


def _began(stamp: str) -> int | None:
    if not _STAMP.fullmatch(stamp):
        return None
    try:
        moment = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%S%z")
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000_000


def expired(found: Iterable[Bin], *, before_ns: int | None, keep_last: int | None) -> list[Bin]:
    """What a policy lets go. What has no time in its name is never let go by age.

    Args:
        found: as `bins` gives them.
        before_ns: runs that began earlier; None: of any age.
        keep_last: but not this many newest ones; None: no such exception.
    """
    rest = list(found)
    if keep_last:
        rest = rest[:-keep_last]
    if before_ns is None:
        return rest
    return [each for each in rest if each.began_ns is not None and each.began_ns < before_ns]
