"""The command line. Commands live in ``commands_*``; nothing heavy is imported before one is chosen."""

import logging
import signal
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from photosync.context import Context

MODULES = {
    "transfer": ("copy", "sync", "move", "check"),
    "mirror": ("mirror",),
    "jobs": ("run", "jobs", "runs", "watch", "install-service"),
    "look": ("ls", "lsjson", "size", "about", "devices"),
    "manage": ("delete", "dedupe", "cat", "mkdir"),
    "manifest": ("verify", "log", "diff", "manifest"),
    "key": ("key",),
    "library": ("restore", "heal", "prune", "free-up"),
    "connect": ("connect", "authorize", "disconnect"),
    "setup": ("config", "doctor", "version", "demo"),
    "benchmark": ("benchmark",),
}
"""Which of ``commands_*`` has which commands, as they are listed."""


class Commands(TyperGroup):
    """Commands that are made when they are asked for: to make them all takes longer than many a run."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            homes = [module for module, names in MODULES.items() if cmd_name in names]
            # Who mistyped is told of all that are like it.
            self._make(homes or MODULES)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        self._make(MODULES)
        return super().list_commands(ctx)

    def _make(self, modules: Iterable[str]) -> None:
        for module in modules:
            made = typer.Typer(rich_markup_mode=None)
            import_module(f"photosync.commands_{module}").register(made)
            self.commands.update(get_group(made).commands)
        self.commands = {
            name: self.commands[name] for names in MODULES.values() for name in names if name in self.commands
        }


app = typer.Typer(
    name="photosync",
    cls=Commands,
    help="Copies every photo on a phone, whole and proven, wherever you choose.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from photosync.commands_setup import version

        version()
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
