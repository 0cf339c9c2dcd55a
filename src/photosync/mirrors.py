"""``mirror``: from what a person asked for to one run of the engine with several destinations."""

import errno
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from photosync import paths
from photosync.engine import mirror, sync
from photosync.engine.capabilities import Capabilities, Store
from photosync.engine.errors import DeviceGone, Fatal, PhotosyncError, Transient
from photosync.engine.events import Listener, Notice
from photosync.engine.journal import Journal
from photosync.engine.limits import LimitError, parse_rate
from photosync.engine.mirror import AbsentSource, Destination, MirrorReport, Staging
from photosync.engine.report import Exit, Report, Tally
from photosync.engine.sizes import human_size
from photosync.jobs import SMALLEST_MEMORY, Options, make_job, refuse_overlap, refuse_stranger, show_plan
from photosync.output import Json, Output
from photosync.places import Place, PlaceError, parse
from photosync.session import Session, locked

SMALLEST_STAGE = 16 << 20


@dataclass(frozen=True, slots=True)
class StageOptions:
    """Options of ``mirror`` beside those of ``copy``, as they are written on the command line.

    Attributes:
        stage: folder for staged copies; None: in the user's cache.
        stage_size: bytes that they may take ("20G"); None: half of what is free there.
        unplug_early: stage durably, and say when the phone may be taken away.
    """

    stage: Path | None = None
    stage_size: str | None = None
    unplug_early: bool = False


def execute(
    session: Session,
    source: str,
    destinations: Sequence[str],
    options: Options,
    staging: StageOptions,
    output: Output,
    *,
    dry_run: bool,
) -> Exit:
    """Runs ``mirror`` and shows its end.

    Raises:
        FileNotFoundError: the source is not there.
        PlaceError, LimitError: something was written wrongly.
        PhotosyncError: the source could not be opened.
    """
    if dry_run:
        return max(_show(session, source, each, options, isinstance(output, Json)) for each in destinations)
    report = run(session, source, destinations, options, staging, output)
    output.report_all(report)
    if options.error_on_no_transfer and report.clean and not report.transferred:
        return Exit.NOTHING_TRANSFERRED
    return report.exit_code


def _show(session: Session, source: str, destination: str, options: Options, as_json: bool) -> Exit:
    with session.open(source) as origin, session.open(destination) as target:
        refuse_overlap(origin, target, options.mode)
        job = make_job(origin, target, options)
        with session.journal(target) as journal:
            prepared = sync.prepare(job, journal, session.seam, lambda _event: None)
    show_plan(prepared, target, as_json)
    return Exit.RETRY if prepared.source.errors else Exit.OK


def run(
    session: Session,
    source: str,
    destinations: Sequence[str],
    options: Options,
    staging: StageOptions,
    listener: Listener,
) -> MirrorReport:
    """One run with several destinations; one that cannot be opened concerns no other.

    Raises:
        As `execute`.
    """
    for text in (source, *destinations):
        parse(text, session.config)
    twice = [text for text in destinations if list(destinations).count(text) > 1]
    if twice:
        raise PlaceError(f"{twice[0]} is named twice; name each destination once")
    if staging.stage_size is not None:
        _size(staging.stage_size)
    with ExitStack() as stack:
        origin = _open_source(session, source, destinations, staging, stack)
        options = _share_memory(options, len(destinations))
        targets: list[Destination] = []
        failed: dict[str, Report] = {}
        opened: list[Place] = []
        for text in destinations:
            try:
                target = _open(session, origin, text, options, opened, stack)
            except PlaceError:
                raise
            except (PhotosyncError, FileNotFoundError) as error:
                found = error if isinstance(error, PhotosyncError) else Fatal(f"{text}: {error}")
                failed[text] = Report(text, Tally(), fatal=found)
            else:
                targets.append(target)
        if not targets:
            return MirrorReport(list(failed.values()))
        report = _run(session, origin, targets, staging, listener, destinations, source)
    done = {each.destination: each for each in report.reports} | failed
    return replace(report, reports=[done[text] for text in destinations])


def _share_memory(options: Options, count: int) -> Options:
    size = parse_rate(options.memory)
    share = max(SMALLEST_MEMORY, int(size or 0) // count)
    return replace(options, memory=f"{share}b") if size else options


def _open(
    session: Session, origin: Place, text: str, options: Options, opened: list[Place], stack: ExitStack
) -> Destination:
    with ExitStack() as own:
        place = own.enter_context(session.open(text))
        refuse_overlap(origin, place, options.mode)
        for other in opened:
            _refuse_nested(place, other)
        job = make_job(origin, place, options)
        journal = own.enter_context(session.journal(place))
        refuse_stranger(origin, place, journal, options.new_device)
        opened.append(place)
        stack.push(own.pop_all())
    return Destination(job, journal, serves=place.is_local)


def _refuse_nested(one: Place, other: Place) -> None:
    ours, theirs = f"{one.identity.rstrip('/')}/", f"{other.identity.rstrip('/')}/"
    if ours.startswith(theirs) or theirs.startswith(ours):
        raise PlaceError(f"{one.text} and {other.text} lie in one another: choose destinations apart")


# the stage


def _run(
    session: Session,
    origin: Place,
    targets: list[Destination],
    staging: StageOptions,
    listener: Listener,
    destinations: Sequence[str],
    source: str,
) -> MirrorReport:
    slow = origin.store.capabilities.slow_read
    if not slow or (len(destinations) == 1 and not staging.unplug_early and not _absent(origin)):
        return mirror.run(targets, None, session.seam, listener)
    folder = stage_folder(origin.identity, destinations, staging.stage)
    with _stage_journal(session, folder) as journal:
        limit = _limit(staging, folder)
        journal.set_fact("mirror", _label(source, destinations))
        journal.set_fact("source", origin.identity)
        absent = _absent(origin)
        if absent is not None:
            text = "the source is not there; going on with what is staged"
            listener(Notice("warning", f"{text} ({absent})"))
        stage = Staging(folder, limit, journal, staging.unplug_early, absent)
        report = mirror.run(targets, stage, session.seam, listener)
    if report.kept_files:
        listener(
            Notice(
                "info",
                f"{report.kept_files} files stay staged ({human_size(report.kept_bytes)} in {folder}) for "
                "the next run of this mirror, which does not need the source for them",
            )
        )
    else:
        shutil.rmtree(folder, ignore_errors=True)
    if report.read_again:
        listener(
            Notice(
                "info",
                f"{human_size(report.read_again)} were read twice at the source, for destinations that were "
                "too slow for the stage; a larger --stage-size avoids that",
            )
        )
    return report


def _absent(origin: Place) -> PhotosyncError | None:
    return origin.store.error if isinstance(origin.store, AbsentSource) else None


def _open_source(
    session: Session, text: str, destinations: Sequence[str], staging: StageOptions, stack: ExitStack
) -> Place:
    """The source; where it is gone, but an earlier run staged what it had, a stand-in for it."""
    try:
        place = stack.enter_context(session.open(text))
        if place.is_local and not os.path.isdir(place.identity) and not os.path.isfile(place.identity):
            # A phone's mount, perhaps: what stands for it is gone with it.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place.identity)
        return place
    except (DeviceGone, FileNotFoundError) as error:
        found = _staged(session, text, destinations, staging.stage)
        if found is None:
            raise
        why = error if isinstance(error, PhotosyncError) else DeviceGone(f"{text} is not there: {error}")
        store = AbsentSource(why, Capabilities(slow_read=True, writable=False))
        return Place(text, cast(Store, store), None, text, found)


def _staged(session: Session, text: str, destinations: Sequence[str], root: Path | None) -> str | None:
    """Identity of the absent source of which an earlier run of this mirror left something staged.

    Raises:
        DeviceGone: there are several.
    """
    found = []
    for file in sorted(_stage_root(root).glob("*/journal.sqlite")):
        with suppress(Transient), _stage_journal(session, file.parent) as journal:
            listed = journal.fact("unlisted") is not None
            if listed and journal.fact("mirror") == _label(text, destinations):
                found.append(journal.fact("source"))
    if len(found) > 1:
        raise DeviceGone(
            f"{text} is not there, and copies of {len(found)} different ones are staged: plug one in again"
        )
    return found[0] if found else None


def stages() -> list[Path]:
    """Folders of the stages in the user's cache that no mirror is using at the moment."""
    found = []
    for file in _stage_root(None).glob("*/journal.sqlite"):
        with suppress(Transient), locked(file.parent.with_suffix(".lock"), ""):
            found.append(file.parent)
    return found


def named(folder: Path) -> str:
    """Source and destinations of a stage, as they were named."""
    with suppress(PhotosyncError), Journal(folder / "journal.sqlite") as journal:
        if (label := journal.fact("mirror")) is not None:
            source, destinations = json.loads(label)
            return " ".join(shlex.quote(each) for each in (source, *destinations))
    return "…"


def _label(source: str, destinations: Sequence[str]) -> str:
    return json.dumps([source, sorted(destinations)])


def _stage_root(chosen: Path | None) -> Path:
    return chosen.expanduser() if chosen is not None else paths.cache_dir() / "stage"


def stage_folder(identity: str, destinations: Sequence[str], chosen: Path | None) -> Path:
    """The stage of one mirror."""
    name = json.dumps([identity, sorted(destinations)])
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return _stage_root(chosen) / digest


@contextmanager
def _stage_journal(session: Session, folder: Path) -> Iterator[Journal]:
    """The stage's journal, locked.

    Raises:
        Transient: another run is using it.
        Fatal: the folder cannot be used.
    """
    busy = "another photosync is running this mirror at the moment; run again when it has ended"
    with (
        locked(folder.with_suffix(".lock"), busy),
        Journal(_made(folder) / "journal.sqlite", session.seam) as journal,
    ):
        yield journal


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Fatal(
            f"the stage {folder} cannot be used ({error.strerror}): choose another with --stage"
        ) from error
    return folder


def _limit(staging: StageOptions, folder: Path) -> int:
    if staging.stage_size is not None:
        return _size(staging.stage_size)
    there = sum(path.stat().st_size for path in folder.glob("files/*"))
    limit = (shutil.disk_usage(folder).free + there) // 2
    if limit < SMALLEST_STAGE:
        raise Transient(
            f"the disk of the stage {folder} is nearly full: free some space, or choose another with --stage"
        )
    return limit


def _size(text: str) -> int:
    size = parse_rate(text)
    if size is None or size < SMALLEST_STAGE:
        raise LimitError(
            f"--stage-size {text}: at least {human_size(SMALLEST_STAGE)} are needed; write for example 20G"
        )
    return int(size)
