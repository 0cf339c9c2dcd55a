"""``delete``, ``dedupe``, ``cat`` and ``mkdir``: tending what lies at a place."""

import sys
from typing import Annotated

import typer

from photosync.context import Context
from photosync.option_groups import grouped
from photosync.options import DryRun, Saying, Tending

PlaceText = Annotated[str, typer.Argument(metavar="PLACE", help="REMOTE:path, a URL, or a folder.")]


def register(app: typer.Typer) -> None:
    app.command()(grouped(delete))
    app.command()(grouped(dedupe))
    app.command()(cat)
    app.command()(grouped(mkdir))


def delete(
    context: typer.Context,
    place: PlaceText,
    given: Tending,
    permanently: Annotated[
        bool, typer.Option("--permanently", help="Remove for good instead of moving to .photosync/trash.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> None:
    """Move the files at a destination that pass the filters to .photosync/trash there.

    Asks first; --yes answers. What the source still has comes back at the next copy.
    """
    from photosync.failures import told
    from photosync.managing import delete as run

    ctx = given.tell(context)

    def confirm(question: str) -> bool:
        return yes or (not given.as_json and sys.stdin.isatty() and typer.confirm(question, err=True))

    with told(ctx.output(given.as_json), place):
        code = run(
            ctx.session(),
            place,
            given.filter(),
            permanently=permanently,
            dry_run=given.dry_run,
            confirm=confirm,
            as_json=given.as_json,
            verbosity=ctx.verbosity,
        )
    raise typer.Exit(int(code))


def dedupe(
    context: typer.Context,
    place: PlaceText,
    given: Tending,
    mode: Annotated[
        str, typer.Option("--mode", metavar="list|trash|rename", help="Tell, or also tidy up.")
    ] = "list",
    download: Annotated[
        bool, typer.Option("--download", help="Read files of equal size whose hash nobody knows.")
    ] = False,
) -> None:
    """Find files of equal content, by hashes that the service or an earlier run knows.

    Of equal files the one with the shortest path stays, and of several the first in order; with --mode trash
    the others go to .photosync/trash, once they have been looked at again. A photo of several files goes
    whole or not at all. Where several files have one name, as at Google Drive, --mode rename gives each its
    own.
    """
    from photosync.deduping import MODES
    from photosync.deduping import dedupe as run
    from photosync.failures import told

    if mode not in MODES:
        raise typer.BadParameter(f"choose {', '.join(MODES[:-1])} or {MODES[-1]}", param_hint="--mode")
    ctx = given.tell(context)
    with told(ctx.output(given.as_json), place):
        code = run(
            ctx.session(),
            place,
            given.filter(),
            mode=mode,
            download=download,
            dry_run=given.dry_run,
            as_json=given.as_json,
            verbosity=ctx.verbosity,
        )
    raise typer.Exit(int(code))


def cat(
    context: typer.Context,
    places: Annotated[list[str], typer.Argument(metavar="FILE…", help="Files, or folders for all in them.")],
    offset: Annotated[
        int, typer.Option("--offset", metavar="N", help="From byte N on; negative: from the end.")
    ] = 0,
    count: Annotated[int | None, typer.Option("--count", metavar="N", min=0, help="Only N bytes.")] = None,
    head: Annotated[int | None, typer.Option("--head", metavar="N", min=0, help="The first N bytes.")] = None,
    tail: Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="The last N bytes.")] = None,
) -> None:
    """Write files to stdout, as rclone does."""
    from photosync.managing import cat as run

    if sum((head is not None, tail is not None, bool(offset) or count is not None)) > 1:
        raise typer.BadParameter("use only one of --head, --tail, or --offset with --count")
    if head is not None:
        count = head
    elif tail is not None:
        offset, count = -tail, tail
    ctx: Context = context.obj
    try:
        run(ctx.session(), places, sys.stdout.buffer, offset=offset, count=count)
    except FileNotFoundError as error:
        from photosync.engine.names import printable

        sys.stderr.write(f"error: {printable(str(error.filename or ''))}: there is no such file\n")
        raise typer.Exit(4) from error


def mkdir(
    context: typer.Context,
    place: PlaceText,
    saying: Saying,
    dry_run: DryRun = False,
) -> None:
    """Make a folder, and those around it. One that is there already is no error."""
    from photosync.managing import mkdir as run

    ctx = saying.tell(context)
    words = run(ctx.session(), place, dry_run=dry_run)
    if dry_run or ctx.verbosity > 0 or "need not" in words:
        typer.echo(words)
