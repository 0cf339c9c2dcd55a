"""``copy``, ``sync``, ``move`` and ``check``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from photosync.option_groups import grouped
from photosync.options import AsJson, Copying, Destination, Filters, Moving, Saying, Source, with_defaults

if TYPE_CHECKING:
    from photosync.mirrors import StageOptions

ListOnly = Annotated[bool, typer.Option("--list", help="Only list the source files that the filters take.")]
MaxDelete = Annotated[
    int | None,
    typer.Option(
        "--max-delete", min=0, help="Most files to move to the trash [default: a tenth, at least 10]."
    ),
]


def register(app: typer.Typer) -> None:
    for command in (copy, sync, move, check):
        app.command()(grouped(command))


def copy(
    context: typer.Context,
    source: Source,
    destination: Destination,
    given: Copying,
    list_only: ListOnly = False,
) -> None:
    """Copy what the destination lacks. Deletes nothing and overwrites nothing.

    A file whose name is taken by another one is kept beside it. A file renamed at the source is renamed at
    the destination without sending it again.
    """
    transfer(context, source, [destination], "copy", given, listing=list_only)


def sync(
    context: typer.Context,
    source: Source,
    destination: Destination,
    given: Copying,
    list_only: ListOnly = False,
    max_delete: MaxDelete = None,
) -> None:
    """Make the destination like the source. What is extra or replaced goes to .photosync/trash there.

    Refuses if the source could not be listed completely, is empty, lost most of its files, or if more
    than --max-delete files would go.
    """
    transfer(context, source, [destination], "sync", given, listing=list_only, max_delete=max_delete)


def move(context: typer.Context, source: Source, destination: Destination, given: Moving) -> None:
    """Copy, prove, and only then remove at the source what this run has proven.

    Every source file is compared, also one that was copied before; within one service by the service's own
    hashes (--checksum reads there, too). A file that changes meanwhile stays. Nothing is removed if the run
    ends early. Not for phones: see free-up.
    """
    transfer(context, source, [destination], "move", given)


def transfer(
    context: typer.Context,
    source: str,
    destinations: list[str],
    mode: str,
    given: Moving | Copying,
    *,
    listing: bool = False,
    max_delete: int | None = None,
    staging: "StageOptions | None" = None,
) -> None:
    """What ``copy``, ``sync``, ``move`` and ``mirror`` have in common.

    Args:
        listing: only list the files that the filters take.
        max_delete: most files to trash; None: the planner's default.
        staging: of ``mirror``, which alone may have several destinations.
    """
    from photosync import mirrors
    from photosync.failures import told
    from photosync.jobs import Options, execute

    ctx = given.tell(context)
    output = ctx.output(given.as_json)
    with told(output, *destinations):
        session = ctx.session()
        session.sign = None if given.dry_run else given.sign
        given = with_defaults(given, session.config.defaults)
        ctx.louder(0, False, given.log_file)
        chosen: dict[str, Any] = {
            name: getattr(given, name)
            for name in Options.__dataclass_fields__
            if name not in ("mode", "max_delete", "wanted", "choice") and hasattr(given, name)
        }
        options = Options(
            mode=mode,
            max_delete=max_delete,
            wanted=given.filter(),
            choice=given.choice() if isinstance(given, Copying) else None,
            **chosen,
        )
        if staging is not None:
            code = mirrors.execute(
                session, source, destinations, options, staging, output, dry_run=given.dry_run
            )
        else:
            code = execute(
                session, source, destinations[0], options, output, dry_run=given.dry_run, listing=listing
            )
    raise typer.Exit(int(code))


def check(
    context: typer.Context,
    source: Source,
    destination: Destination,
    filters: Filters,
    saying: Saying,
    one_way: Annotated[bool, typer.Option("--one-way", help="Ignore what only the destination has.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Read both sides instead of trusting hashes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare source and destination by content; changes nothing. Exits with 1 if they differ."""
    from photosync.audits import check_places
    from photosync.failures import told

    ctx = saying.tell(context)
    with told(ctx.output(as_json), destination):
        code = check_places(
            ctx.session(),
            source,
            destination,
            filters.filter(),
            one_way=one_way,
            download=download,
            as_json=as_json,
            verbosity=ctx.verbosity,
        )
    raise typer.Exit(int(code))
