"""``config``, ``version``, ``demo``: setting up."""

from pathlib import Path
from typing import Annotated

import typer

from photosync.context import Context

config_app = typer.Typer(
    help="Look at the configuration, or take over rclone's.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    app.add_typer(config_app, name="config")
    app.command()(doctor)
    app.command("version")(version)
    app.command()(demo)


def version() -> None:
    """Show the version."""
    from importlib.metadata import version as installed

    typer.echo(f"photosync {installed('photosync-engine')}")


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout, the report last.")] = False,
) -> None:
    """Look at the whole set-up: phones, remotes, sign-ins, clock, space, permissions, versions.

    Says what to do about each problem, and exits with 1 if there is one. Asks only remotes that are
    configured, and changes nothing.
    """
    from collections import Counter

    from photosync.doctor import Level, examine
    from photosync.engine.names import printable
    from photosync.output import json_text

    ctx: Context = context.obj
    counts = Counter({level.value: 0 for level in Level})
    for finding in examine(ctx.session()):
        counts[finding.level.value] += 1
        if as_json:
            row = {name: str(getattr(finding, name)) for name in finding.__slots__}
            typer.echo(json_text({"event": "finding", **row}))
            continue
        if ctx.verbosity < 0 and finding.level is Level.OK:
            continue
        about = finding.subject if finding.subject.endswith(":") else f"{finding.area}:"
        typer.echo(printable(f"{finding.level:<8} {about} {finding.text}"))
        for line in finding.remedy.splitlines():
            typer.echo(printable(f"{'':<8} -> {line}"))
    worst = next(level.value for level in reversed(Level) if counts[level.value] or level is Level.OK)
    if as_json:
        typer.echo(json_text({"event": "report", "status": worst, **counts}))
    else:
        typer.echo(f"Problems: {counts['problem']}. Warnings: {counts['warning']}.")
    raise typer.Exit(int(worst == Level.PROBLEM))


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to make the sample phone and its copy.")] = Path(
        "photosync-demo"
    ),
) -> None:
    """Try it without a phone or an account: copies a sample phone, proves the copy, runs again."""
    from photosync.demo import demo as show_demo

    raise typer.Exit(show_demo(folder))


@config_app.command()
def show(context: typer.Context) -> None:
    """Show the configuration, secrets masked."""
    from photosync.config import render

    ctx: Context = context.obj
    text = render(ctx.session().config)
    typer.echo(text, nl=False)
    if not text:
        typer.echo("Nothing is configured yet; phone: and folders need nothing.", err=True)


@config_app.command()
def path(context: typer.Context) -> None:
    """Show where the configuration is."""
    from photosync.paths import config_file

    ctx: Context = context.obj
    typer.echo(str(config_file(ctx.config)))


@config_app.command("import-rclone")
def import_rclone(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="rclone.conf [default: where rclone keeps it].")] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", metavar="REMOTE", help="Only this remote.")
    ] = None,
) -> None:
    """Make remotes of those in rclone's configuration, which is never changed."""
    from photosync.rclone_import import ImportedRemote
    from photosync.rclone_import import import_rclone as take

    ctx: Context = context.obj
    session = ctx.session()
    results = take(file, name, ctx.config, session.secrets)
    taken = 0
    for result in results:
        if isinstance(result, ImportedRemote):
            taken += 1
            typer.echo(f"{result.name}: imported")
            for warning in result.warnings:
                typer.echo(f"warning: {result.name}: {warning}", err=True)
        else:
            typer.echo(f"{result.name}: skipped, {result.reason}", err=True)
    if not taken:
        typer.echo("Nothing was imported.", err=True)
        if name:
            raise typer.Exit(1)
