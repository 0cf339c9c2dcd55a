"""From an exception to what a person reads and what a script gets: one line, one exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from photosync.engine.errors import (
    Fatal,
    NameRefused,
    Permanent,
    PhotosyncError,
    Transient,
    Unreachable,
    describe,
)
from photosync.engine.names import printable
from photosync.engine.report import Exit

if TYPE_CHECKING:
    from photosync.output import Output


def explain(error: BaseException) -> tuple[Exit, str] | None:
    """Exit code and message of an error that people may meet; None for a bug.

    Args:
        error: whatever ended the command.
    """
    from photosync.config import ConfigError
    from photosync.engine.filters import FilterError
    from photosync.engine.journal import JournalError
    from photosync.engine.layout import LayoutError
    from photosync.engine.limits import LimitError
    from photosync.places import PlaceError
    from photosync.sign_in import ConnectError

    match error:
        case KeyboardInterrupt():
            return Exit.OTHER, "interrupted; the next run goes on from here"
        case PlaceError() | ConfigError() | FilterError() | LimitError() | LayoutError() | ConnectError():
            return Exit.USAGE, str(error)
        case Unreachable():
            return Exit.RETRY, str(error)
        case Fatal():
            return Exit.FATAL, str(error)
        case Transient():
            return Exit.RETRY, str(error)
        case Permanent() | NameRefused():
            return Exit.NO_RETRY, str(error)
        case JournalError() | PhotosyncError():
            return Exit.OTHER, str(error)
        case FileNotFoundError():
            name = printable(str(error.filename)) if error.filename else ""
            return Exit.DIRECTORY_NOT_FOUND, f"{name or 'the folder'}: {describe(error)}"
        case OSError():
            name = f"{printable(str(error.filename))}: " if error.filename else ""
            return Exit.OTHER, f"{name}{describe(error)}"
    return None


@contextmanager
def told(output: "Output", *places: str) -> Iterator[None]:
    """Errors that people may meet end the command as the output tells them, with their exit code.

    Raises:
        typer.Exit: with the code.
    """
    import typer

    from photosync.context import redact

    try:
        yield
    except BaseException as error:
        found = explain(error)
        if found is None:
            raise
        output.failed(redact(found[1]), places)
        raise typer.Exit(int(found[0])) from error
