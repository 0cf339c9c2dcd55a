"""From what a person asked for to a run of the engine."""

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from photosync.config import Local
from photosync.engine import move, sync
from photosync.engine.assets import kind_of, pair
from photosync.engine.choosing import Choice
from photosync.engine.errors import SafetyGuard
from photosync.engine.filters import Filter
from photosync.engine.item import Pair, Settings
from photosync.engine.journal import Journal
from photosync.engine.layout import Layout
from photosync.engine.limits import LimitError, Timetable
from photosync.engine.media import NOTHING
from photosync.engine.plan import Mode, Policy
from photosync.engine.report import Exit
from photosync.engine.sizes import human_size
from photosync.engine.sync import Job
from photosync.engine.taken import taken
from photosync.engine.verify import Verify
from photosync.output import Json, Output, json_line
from photosync.places import ONE_FILE, Place, PlaceError
from photosync.session import Session

SMALLEST_MEMORY = 16 << 20
MOVE = "move"
"""The mode that removes at the source what it has proven."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``copy`` and ``sync``, as they are written on the command line.

    Attributes:
        mode: "copy", "sync" or "move".
        wanted: filter; None: everything.
        choice: of photos; None: all of them.
        layout: template of paths at the destination; None: as at the source.
        transfers, tpslimit, bwlimit, memory: limits; see the commands' help.
        checksum: read every source file again.
        verify: "auto", "reread" or "none".
        max_delete: most files to trash; None: the planner's default.
        allow_empty, allow_shrunken: believe a source that looks wrong.
        new_device: the phone may be another one than at the last run.
        error_on_no_transfer: exit with 9 if nothing was transferred.
    """

    mode: str = "copy"
    wanted: Filter | None = None
    choice: Choice | None = None
    layout: str | None = None
    transfers: int | None = None
    tpslimit: float | None = None
    bwlimit: str | None = None
    memory: str = "128M"
    checksum: bool = False
    verify: str = "auto"
    max_delete: int | None = None
    allow_empty: bool = False
    allow_shrunken: bool = False
    new_device: bool = False
    error_on_no_transfer: bool = False


def execute(
    session: Session,
    source: str,
    destination: str,
    options: Options,
    output: Output,
    *,
    dry_run: bool,
    listing: bool = False,
) -> Exit:
    """Runs ``copy``, ``sync`` or ``move`` and shows its end.

    Raises:
        FileNotFoundError: the source is not there.
        PlaceError, LimitError, LayoutError: something was written wrongly.
        PhotosyncError: a place could not be opened.
    """
    with session.open(source) as origin, session.open(destination) as target:
        refuse_overlap(origin, target, options.mode)
        job = make_job(origin, target, options)
        moving = options.mode == MOVE
        if moving:
            refuse_unmovable(origin, options)
        with session.journal(target) as journal:
            looking = dry_run or listing
            refuse_stranger(origin, target, journal, options.new_device, remember=not looking)
            if looking:
                job = move.as_move(job) if moving else job
                prepared = sync.prepare(job, journal, session.seam, lambda _event: None)
                if listing:
                    _list(prepared, isinstance(output, Json))
                else:
                    show_plan(prepared, target, isinstance(output, Json))
                return Exit.RETRY if prepared.source.errors else Exit.OK
            run = move.run if moving else sync.run
            report = run(job, journal, session.seam, output)
    output.report(report)
    if options.error_on_no_transfer and report.clean and not report.transferred:
        return Exit.NOTHING_TRANSFERRED
    return report.exit_code


def make_job(source: Place, destination: Place, options: Options) -> Job:
    """The engine's job for two places.

    Raises:
        PlaceError: the destination cannot be written, or the source is a file of this machine.
        LimitError: a limit makes no sense.
        LayoutError: nor does the layout.
    """
    if not destination.store.capabilities.writable:
        raise PlaceError(f"{destination.text} can only be read: choose another destination")
    if isinstance(source.remote, Local) and os.path.isfile(source.root):
        raise PlaceError(f"{source.text} is a file: {ONE_FILE}")
    if options.verify not in set(Verify):
        raise LimitError(f"--verify {options.verify!r}: choose auto, reread or none")
    settings = make_settings(options.memory, options.transfers, Verify(options.verify))
    layout = Layout.parse(options.layout, _device(source)) if options.layout else None
    return Job(
        Pair(source.store, destination.store, source.identity, destination.identity, destination.text),
        Policy(
            Mode.COPY if options.mode == MOVE else Mode(options.mode),
            options.checksum,
            prove=settings.how is not Verify.NONE,
            max_delete=options.max_delete,
            stamp=settings.stamp,
            layout=layout,
        ),
        settings,
        options.wanted,
        options.allow_empty,
        options.allow_shrunken,
        options.tpslimit,
        Timetable.parse(options.bwlimit) if options.bwlimit else None,
        platform.node() or "unnamed",
        choice=options.choice,
    )


def _device(source: Place) -> str:
    """What people call the source: the phone's name, the remote's, or the folder's."""
    device = getattr(source.store, "device", None)
    if device is not None:
        return str(device.name)
    return source.name.rstrip("/").replace("\\", "/").rpartition("/")[2]


def make_settings(memory: str, transfers: int | None, how: Verify = Verify.AUTO) -> Settings:
    """How to transfer, from what was written on a command line.

    Raises:
        LimitError: the memory is no size, or too little.
    """
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return Settings(how, _memory(memory), transfers, stamp)


def refuse_unmovable(source: Place, options: Options) -> None:
    """``move`` removes nothing where it may not, and nothing that it did not prove.

    Raises:
        PlaceError: the source is a phone, or can only be read.
        LimitError: no proof is wanted.
    """
    if not source.store.capabilities.writable:
        raise PlaceError(
            f"{source.text} can only be read, so nothing is moved from there. To bring photos away: "
            "photosync copy. To make room on a phone, once several copies are proven: photosync free-up"
        )
    if options.verify == Verify.NONE:
        raise LimitError("--verify none: move removes only what is proven; choose auto or reread")


def _memory(text: str) -> int:
    from photosync.engine.limits import parse_rate

    size = parse_rate(text)
    if size is None or size < SMALLEST_MEMORY:
        raise LimitError(
            f"--memory {text}: at least {human_size(SMALLEST_MEMORY)} are needed; write for example 128M"
        )
    return int(size)


def refuse_overlap(source: Place, destination: Place, mode: str) -> None:
    """A copy into itself would never end, and a sync into what holds the source would trash it.

    Raises:
        PlaceError: one place lies in the other.
    """
    one, other = source.identity.rstrip("/") + "/", destination.identity.rstrip("/") + "/"
    if os.name == "nt":
        one, other = one.casefold(), other.casefold()
    if one == other:
        raise PlaceError("source and destination are the same place")
    if other.startswith(one):
        raise PlaceError(f"{destination.text} lies inside {source.text}: choose a destination outside of it")
    if mode == MOVE and one.startswith(other):
        raise PlaceError(
            f"{source.text} lies inside {destination.text}: move would take files out of the copy that is "
            "there. Choose another destination"
        )
    if mode == "sync" and one.startswith(other):
        raise PlaceError(
            f"{source.text} lies inside {destination.text}, and sync would move it to the trash: "
            "choose another destination"
        )


def refuse_stranger(
    source: Place, destination: Place, journal: Journal, allowed: bool, *, remember: bool = True
) -> None:
    """Another phone where one is expected would mix two people's photos, and a sync would trash the first's.

    Args:
        source, destination: opened; nothing is asked of a source that is no phone.
        journal: of the destination, where the phone last copied from is kept, for each way of naming it.
        allowed: another one is expected now.
        remember: this phone is the one expected from now on.

    Raises:
        SafetyGuard: it is another phone, or one that goes by another name now.
    """
    if not source.device:
        return
    kept = f"phone at {source.text}"
    last = journal.fact(kept)
    if last not in (None, source.device) and not allowed:
        raise SafetyGuard(
            f"{source.text} is another device ({_told(source.device)}) than at the last run to "
            f"{destination.text} ({_told(last)}). If that is right, say --new-device; or choose another "
            "destination. Nothing was changed."
        )
    if remember:
        journal.set_fact(kept, source.device)


def _told(identity: str | None) -> str:
    kind, _, value = (identity or "").partition(":")
    return f"{kind} {value}"


def show_plan(prepared: sync.Prepared, destination: Place, as_json: bool) -> None:
    """Prints what would be done."""
    rows = list(prepared.plan.describe())
    if as_json:
        for row in rows:
            json_line({"event": "plan", "destination": destination.text, **row})
        json_line(
            {
                "event": "plan-totals",
                "destination": destination.text,
                "actions": len(rows),
                "bytes": prepared.plan.bytes,
                "unchanged": prepared.plan.unchanged,
                "complete": prepared.source.complete,
                "warnings": [prepared.too_little] if prepared.too_little else [],
            }
        )
        return
    print("\n".join(_lines(rows, prepared, destination)))  # noqa: T201 - the plan is what was asked for


def _list(prepared: sync.Prepared, as_json: bool) -> None:
    """Shows what the filters take, as rclone's ``ls`` shows files."""
    from photosync.engine.names import printable

    facts = prepared.plan.facts
    for photo in pair(prepared.source.entries, facts):
        for entry in photo.members:
            if not as_json:
                print(f"{entry.size:>9} {printable(entry.path)}")  # noqa: T201 - asked for
                continue
            known = facts.get(entry.path, NOTHING)
            when = taken(entry.path, entry.mtime_ns, known)
            json_line(
                {
                    "event": "chosen",
                    "path": entry.path,
                    "bytes": entry.size,
                    "type": kind_of(entry.path, known).value,
                    "taken": when.text,
                    "taken_from": when.source,
                    "asset": photo.primary.path if len(photo.members) > 1 else None,
                }
            )


def _lines(rows: Sequence[dict[str, object]], prepared: sync.Prepared, destination: Place) -> list[str]:
    from photosync.engine.names import printable

    lines = []
    for row in rows:
        to = row.get("to", row["path"])
        shown = (
            f"{row['path']}" if to == row["path"] or row["action"] == "trash" else f"{row['path']} -> {to}"
        )
        lines.append(f"{row['action']:<8} {printable(shown)}  ({row['reason']})")
    total = human_size(prepared.plan.bytes)
    lines.append(
        f"{len(rows)} to do ({total} to read), {prepared.plan.unchanged} at {destination.text} already. "
        "Nothing was changed."
    )
    if prepared.too_little:
        lines.append(f"warning: {prepared.too_little}")
    return lines
