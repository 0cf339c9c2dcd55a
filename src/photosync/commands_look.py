"""``ls``, ``lsjson``, ``size``, ``about``, ``devices``: looking around."""

from typing import TYPE_CHECKING, Annotated

import typer

from photosync.context import Context
from photosync.option_groups import grouped
from photosync.options import Looking

if TYPE_CHECKING:
    from photosync.engine.entry import Entry
    from photosync.engine.media import Facts

PlaceText = Annotated[str, typer.Argument(metavar="PLACE", help="phone:, REMOTE:path, a URL, or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]


def register(app: typer.Typer) -> None:
    for command in (ls, lsjson, size):
        app.command()(grouped(command))
    app.command()(about)
    app.command()(devices)


def _entries(
    context: typer.Context, place: str, given: Looking, looking: bool = False
) -> "tuple[list[Entry], dict[str, Facts]]":
    from photosync.listing import list_files

    ctx: Context = context.obj
    return list_files(ctx.session(), place, given.filter(), given.choice(), looking=looking)


def ls(
    context: typer.Context,
    place: PlaceText,
    given: Looking,
) -> None:
    """List files below a place: size and path, as rclone does. With filters: what they take."""
    from photosync.engine.names import printable

    for entry in _entries(context, place, given)[0]:
        typer.echo(f"{entry.size:>9} {printable(entry.path)}")


def lsjson(
    context: typer.Context,
    place: PlaceText,
    given: Looking,
    with_metadata: Annotated[
        bool, typer.Option("-M", "--metadata", help="Look into files: when taken, by which camera, as what.")
    ] = False,
) -> None:
    """List files below a place as a JSON array with rclone's keys."""
    from photosync.listing import as_rclone, metadata
    from photosync.output import json_text

    entries, facts = _entries(context, place, given, with_metadata)
    known = metadata(entries, facts) if with_metadata else {}
    rows = [
        json_text(as_rclone(entry) | ({"Metadata": known[entry.path]} if with_metadata else {}))
        for entry in entries
    ]
    typer.echo("[\n" + ",\n".join(rows) + "\n]")


def size(
    context: typer.Context,
    place: PlaceText,
    given: Looking,
    as_json: AsJson = False,
) -> None:
    """Count files and bytes below a place."""
    from photosync.engine.sizes import human_size
    from photosync.output import json_text

    entries = _entries(context, place, given)[0]
    total = sum(entry.size for entry in entries)
    if as_json:
        typer.echo(json_text({"count": len(entries), "bytes": total}))
    else:
        typer.echo(f"Total objects: {len(entries)}\nTotal size: {human_size(total)} ({total} Byte)")


def about(context: typer.Context, place: PlaceText, as_json: AsJson = False) -> None:
    """Show the space that a place has, uses and offers."""
    from photosync.engine.sizes import human_size
    from photosync.output import json_text

    ctx: Context = context.obj
    session = ctx.session()
    with session.open(place) as opened, session.target(opened) as target:
        usage = target.call(opened.store.about, f"asking {place} about its space")
    rows = {"total": usage.total, "used": usage.used, "free": usage.free}
    if as_json:
        typer.echo(json_text({name: value for name, value in rows.items() if value is not None}))
        return
    if not any(value is not None for value in rows.values()):
        typer.echo(f"{place} does not say how much space it has.")
    for name, value in rows.items():
        if value is not None:
            typer.echo(f"{name.capitalize() + ':':<7} {human_size(value)}")


def devices(as_json: AsJson = False) -> None:
    """List phones, cameras and cards that are plugged in, and what hinders them.

    One phone that is reached in several ways is listed once, with all of them, the best first.
    """
    from photosync.device_report import device_rows, people
    from photosync.engine.names import printable
    from photosync.output import json_text

    rows = device_rows()
    if as_json:
        typer.echo("\n".join(json_text({"event": "device", **row}) for row in rows))
        return
    if not rows:
        from photosync.backends.device_list import how_to_appear

        typer.echo(f"No phone, camera or memory card is plugged in. {how_to_appear()}")
    for row in rows:
        typer.echo("\n".join(map(printable, people(row))))
