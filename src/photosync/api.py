"""photosync from Python: the same as the command line, with reports instead of text."""

from pathlib import Path
from typing import Any

from photosync.engine import sync as engine_sync
from photosync.engine.events import Event, Listener
from photosync.engine.report import Report
from photosync.jobs import Options, make_job, refuse_overlap, refuse_stranger
from photosync.session import Session


def copy(
    source: str,
    destination: str,
    *,
    config: Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Report:
    """Brings what the destination lacks; deletes and overwrites nothing.

    Args:
        source, destination: places, as on the command line.
        config: configuration file; None: the user's.
        listener: told what happens, from one thread at a time.
        options: fields of `photosync.jobs.Options`.

    Returns:
        The report; ``report.clean`` says whether every file is proven at the destination.

    Raises:
        FileNotFoundError: the source is not there.
        ValueError: a place, an option or the configuration makes no sense.
        photosync.engine.errors.PhotosyncError: a place could not be opened.
    """
    return _run(source, destination, Options(mode="copy", **options), config, listener)


def sync(
    source: str,
    destination: str,
    *,
    config: Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Report:
    """Makes the destination like the source; what goes, goes to its trash. Otherwise as `copy`."""
    return _run(source, destination, Options(mode="sync", **options), config, listener)


def _run(
    source: str, destination: str, options: Options, config: Path | None, listener: Listener | None
) -> Report:
    session = Session(config)
    with session.open(source) as origin, session.open(destination) as target:
        refuse_overlap(origin, target, options.mode)
        job = make_job(origin, target, options)
        with session.journal(target) as journal:
            refuse_stranger(origin, target, journal, options.new_device)
            return engine_sync.run(job, journal, session.seam, listener or _ignore)


def _ignore(_event: Event) -> None:
    pass
