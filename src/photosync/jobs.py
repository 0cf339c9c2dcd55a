"""From what a person asked for to a run of the engine."""

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from photosync.engine import sync
from photosync.engine.filters import Filter
from photosync.engine.limits import LimitError, Timetable
from photosync.engine.plan import Mode, Policy
from photosync.engine.report import Exit
from photosync.engine.sync import Job
from photosync.engine.transfer import Pair, Settings
from photosync.engine.verify import Verify
from photosync.output import Json, Output, human_size, json_line
from photosync.places import Place, PlaceError
from photosync.session import Session

SMALLEST_MEMORY = 16 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``copy`` and ``sync``, as they are written on the command line.

    Attributes:
        mode: "copy" or "sync".
        wanted: filter; None: everything.
        transfers, tpslimit, bwlimit, memory: limits; see the commands' help.
        checksum: read every source file again.
        verify: "auto", "reread" or "none".
        max_delete: most files to trash; None: the planner's default.
        allow_empty, allow_shrunken: believe a source that looks wrong.
        error_on_no_transfer: exit with 9 if nothing was transferred.
    """

    mode: str = "copy"
    wanted: Filter | None = None
    transfers: int | None = None
    tpslimit: float | None = None
    bwlimit: str | None = None
    memory: str = "128M"
    checksum: bool = False
    verify: str = "auto"
    max_delete: int | None = None
    allow_empty: bool = False
    allow_shrunken: bool = False
    error_on_no_transfer: bool = False


def execute(
    session: Session, source: str, destination: str, options: Options, output: Output, *, dry_run: bool
) -> Exit:
    """Runs ``copy`` or ``sync`` and shows its end.

    Raises:
        FileNotFoundError: the source is not there.
        PlaceError, LimitError: something was written wrongly.
        PhotosyncError: a place could not be opened.
    """
    with session.open(source) as origin, session.open(destination) as target:
        refuse_overlap(origin, target, options.mode)
        job = make_job(origin, target, options)
        with session.journal(target) as journal:
            if dry_run:
                prepared = sync.prepare(job, journal, session.seam, lambda _event: None)
                show_plan(prepared, target, isinstance(output, Json))
                return Exit.RETRY if prepared.source.errors else Exit.OK
            report = sync.run(job, journal, session.seam, output)
    output.report(report)
    if options.error_on_no_transfer and report.clean and not report.transferred:
        return Exit.NOTHING_TRANSFERRED
    return report.exit_code


def make_job(source: Place, destination: Place, options: Options) -> Job:
    """The engine's job for two places.

    Raises:
        PlaceError: the destination cannot be written.
        LimitError: a limit makes no sense.
    """
    if not destination.store.capabilities.writable:
        raise PlaceError(f"{destination.text} can only be read: photosync never writes to a phone")
    if options.verify not in set(Verify):
        raise LimitError(f"--verify {options.verify!r}: choose auto, reread or none")
    settings = make_settings(options.memory, options.transfers, Verify(options.verify))
    return Job(
        Pair(source.store, destination.store, source.identity, destination.identity, destination.text),
        Policy(
            Mode(options.mode),
            options.checksum,
            prove=settings.how is not Verify.NONE,
            max_delete=options.max_delete,
            stamp=settings.stamp,
        ),
        settings,
        options.wanted,
        options.allow_empty,
        options.allow_shrunken,
        options.tpslimit,
        Timetable.parse(options.bwlimit) if options.bwlimit else None,
        platform.node() or "unnamed",
    )


def make_settings(memory: str, transfers: int | None, how: Verify = Verify.AUTO) -> Settings:
    """How to transfer, from what was written on a command line.

    Raises:
        LimitError: the memory is no size, or too little.
    """
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return Settings(how, _memory(memory), transfers, stamp)


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
    if mode == "sync" and one.startswith(other):
        raise PlaceError(
            f"{source.text} lies inside {destination.text}, and sync would move it to the trash: "
            "choose another destination"
        )


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
            }
        )
        return
    print("\n".join(_lines(rows, prepared, destination)))  # noqa: T201 - the plan is what was asked for


def _lines(rows: Sequence[dict[str, object]], prepared: sync.Prepared, destination: Place) -> list[str]:
    from photosync.engine.names import printable

    lines = [f"{row['action']:<8} {printable(str(row['path']))}  ({row['reason']})" for row in rows]
    total = human_size(prepared.plan.bytes)
    lines.append(
        f"{len(rows)} to do ({total} to read), {prepared.plan.unchanged} at {destination.text} already. "
        "Nothing was changed."
    )
    return lines
