"""The command line. Commands live in ``commands_*``; nothing heavy is imported before one is chosen."""

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from photosync import (
    commands_benchmark,
    commands_connect,
    commands_jobs,
    commands_key,
    commands_library,
    commands_look,
    commands_manage,
    commands_manifest,
    commands_mirror,
    commands_setup,
    commands_transfer,
)
from photosync.context import Context

app = typer.Typer(
    name="photosync",
    help="Copies every photo on a phone, whole and proven, wherever you choose.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands_transfer.register(app)
commands_mirror.register(app)
commands_jobs.register(app)
commands_look.register(app)
commands_manage.register(app)
commands_manifest.register(app)
commands_key.register(app)
commands_library.register(app)
commands_connect.register(app)
commands_setup.register(app)
commands_benchmark.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        commands_setup.version()
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (TOML).")
    ] = None,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what went wrong.")] = False,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", metavar="FILE", help="Keep a log in this file.")
    ] = None,
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = Context(config, -1 if quiet else verbose, log_file)


def main() -> None:
    """Entry point: runs a command, says what went wrong in one line, and exits with rclone's codes."""
    _lenient_stdout()
    # Who ends a run as a service or at shutdown gets what Ctrl-C gives: a report, and a journal in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except (Exception, KeyboardInterrupt) as error:
        from photosync.failures import explain

        found = explain(error)
        if found is None:
            logging.getLogger("photosync").debug("unexpected error", exc_info=error)
            from photosync.context import redact

            kind = type(error).__name__
            text = redact(f"{kind}: {error}")
            sys.stderr.write(
                f"error: photosync met something that it did not expect ({text}). Nothing was deleted. "
                "Please report it; --log-file FILE with -v keeps the details.\n"
            )
            sys.exit(1)
        code, text = found
        from photosync.engine.names import printable

        sys.stderr.write(f"error: {printable(text)}\n")
        sys.exit(int(code))


def _lenient_stdout() -> None:
    """Names may hold bytes that are no text; printing them must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
