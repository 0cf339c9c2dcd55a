"""``restore``, ``heal``, ``prune``, ``free-up``: what a proven copy is kept for."""

from collections.abc import Callable
from typing import Annotated

import typer

from photosync.context import Context
from photosync.option_groups import grouped
from photosync.options import AsJson, DryRun, Names, Room, Saying

Library = Annotated[
    str,
    typer.Argument(metavar="DESTINATION", help="REMOTE:path, a URL, or a folder that photosync wrote to."),
]
From = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="OTHER", help="A further copy of the library; repeatable."),
]


def register(app: typer.Typer) -> None:
    app.command()(grouped(restore))
    app.command()(grouped(heal))
    app.command()(prune)
    app.command("free-up")(grouped(free_up))


def restore(
    context: typer.Context,
    destination: Library,
    room: Room,
    saying: Saying,
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="Where the files go: a folder, REMOTE:path, a URL, or phone:."),
    ] = None,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Files, folders, or rclone's patterns [default: all]."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="WHEN", help="A snapshot's number, 2024-01-31, or an age as 30d."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="TARGET", help="The target; all words but the first are patterns then."),
    ] = None,
    other: From = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write to a phone without asking.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring files back under their original names and times, proven by the manifest.

    Nothing at the target is overwritten. Needs nothing on this machine but access to the destination. With
    --as-of also what was overwritten or deleted since, as long as it is in the trash. To a phone (phone:, to
    DCIM/Restored, or phone:STORAGE/FOLDER) only new files are made, after a question.
    """
    from photosync.failures import told
    from photosync.jobs import make_settings
    from photosync.restores import restore_place

    words = [each for each in (target, *(patterns or [])) if each is not None]
    where = to if to is not None else words.pop(0) if words else None
    if where is None:
        raise typer.BadParameter("say where the files go", param_hint="TARGET")
    ctx = saying.tell(context)
    output = ctx.output(as_json)
    with told(output, where):
        code = restore_place(
            ctx.session(),
            destination,
            where,
            words,
            output,
            as_of=as_of,
            others=other or [],
            dry_run=dry_run,
            settings=make_settings(room.memory, room.transfers),
            confirm=_asks(yes, as_json, "to write to a phone"),
        )
    raise typer.Exit(int(code))


def _asks(yes: bool, as_json: bool, doing: str) -> Callable[[str], bool]:
    """Asks a person; without one, only --yes is a yes."""
    import sys

    def confirm(question: str) -> bool:
        if yes:
            return True
        if as_json or not sys.stdin.isatty():
            sys.stderr.write(f"Not confirmed: say --yes {doing} without being asked.\n")
            return False
        return typer.confirm(question)

    return confirm


def heal(
    context: typer.Context,
    destination: Library,
    room: Room,
    saying: Saying,
    other: From = None,
    deep: Annotated[bool, typer.Option("--deep", help="Find damage by reading everything back.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Mend what is damaged or missing, from other copies of the library.

    Of a damaged file only the damaged chunks are fetched. Every chunk is proven before it is used; what was
    damaged is kept in the trash.
    """
    import platform

    from photosync.failures import told
    from photosync.heals import heal_place
    from photosync.jobs import make_settings

    ctx = saying.tell(context)
    output = ctx.output(as_json)
    with told(output, destination):
        code = heal_place(
            ctx.session(),
            destination,
            other or [],
            output,
            deep=deep,
            dry_run=dry_run,
            settings=make_settings(room.memory, room.transfers),
            device=platform.node() or "unnamed",
        )
    raise typer.Exit(int(code))


def prune(
    context: typer.Context,
    destination: Library,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="AGE", help="Keep what is newer, say 90d [default: 30d].")
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", min=0, help="Keep what the last N runs moved there.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Empty the trash of a destination, by age. Shows what would go; deletes only with --yes.

    What is deleted can't be restored with --as-of any more.
    """
    from photosync.engine.filters import moment
    from photosync.engine.sizes import human_size
    from photosync.engine.trash import bins, expired
    from photosync.failures import told
    from photosync.libraries import open_library
    from photosync.output import json_line

    ctx: Context = context.obj
    session = ctx.session()
    with told(ctx.output(as_json), destination):
        before_ns = moment(keep or "30d", session.seam.wall_ns(), "--keep")
        if keep is None and keep_last is not None:
            before_ns = None
        with open_library(session, destination) as library:
            there = bins(library.trash())
            going = expired(there, before_ns=before_ns, keep_last=keep_last)
            for each in there:
                action = "keep" if each not in going else "delete"
                if yes and each in going:
                    for entry in each.files:
                        library.target.remove(entry.path)
                if as_json:
                    json_line(
                        {"event": "bin", "name": each.stamp, "files": len(each.files), "bytes": each.bytes}
                        | {"action": action, "done": yes and each in going}
                    )
                else:
                    typer.echo(
                        f"{action:<6}  {each.stamp}  {len(each.files):>8} files  {human_size(each.bytes):>10}"
                    )
        files, size = sum(len(each.files) for each in going), human_size(sum(each.bytes for each in going))
        if as_json:
            json_line({"event": "report", "status": "ok", "files": files, "deleted": files if yes else 0})
        elif not going:
            typer.echo(f"Nothing in the trash of {destination} is old enough to go.")
        else:
            said = "Deleted." if yes else "Nothing was changed; delete with --yes."
            typer.echo(f"{files} files, {size}. {said}")


def free_up(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="PHONE", help="phone:, phone@NAME: or phone:path.")],
    names: Names,
    saying: Saying,
    min_copies: Annotated[
        int, typer.Option("--min-copies", min=1, help="Places that can't be lost together, for every file.")
    ] = 2,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Only photos older than, say 30d.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete from a phone what is proven, now, to be in several other places.

    Each photo is read again on the phone and asked for at every place that has it, right before it goes; all
    files of a photo go or none. Shows the list and asks first.
    """
    from photosync.engine.filters import moment
    from photosync.failures import told
    from photosync.freeing import Wish, free_up

    ctx = saying.tell(context)
    session = ctx.session()

    with told(ctx.output(as_json), source):
        wish = Wish(
            min_copies,
            moment(older_than, session.seam.wall_ns(), "--older-than"),
            names.filter(),
            dry_run,
            _asks(yes, as_json, "to delete"),
            as_json,
            ctx.verbosity,
        )
        code = free_up(session, source, wish)
    raise typer.Exit(int(code))
