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
    app.command("version")(version)
    app.command()(demo)


def version() -> None:
    """Show the version."""
    from importlib.metadata import version as installed

    typer.echo(f"photosync {installed('photosync-engine')}")


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
    typer.echo(render(ctx.session().config), nl=False)


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
