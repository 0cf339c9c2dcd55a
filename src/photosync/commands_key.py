"""``key``: keys that sign manifests, and whose are believed."""

from pathlib import Path
from typing import Annotated

import typer

from photosync.context import Context

Destination = Annotated[
    str,
    typer.Argument(metavar="DESTINATION", help="REMOTE:path, a URL, or a folder that photosync wrote to."),
]
KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Of the private key.")]
key_app = typer.Typer(
    help="Keys that sign manifests, and whose are believed.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    app.add_typer(key_app, name="key")


@key_app.command()
def new(file: KeyFile) -> None:
    """Make a private key in a new file that only you may read, and print the public one.

    Sign with it by `--sign FILE`. It has no password: keep it, and a copy of it, where nobody else reads.
    """
    from photosync.engine.signing import new_key

    try:
        public = new_key(file).public
    except FileExistsError:
        raise typer.BadParameter(f"{file} exists already and was left as it is", param_hint="FILE") from None
    typer.echo(public)


@key_app.command()
def show(file: KeyFile) -> None:
    """Print the public key of a private one."""
    from photosync.engine.signing import Signer

    typer.echo(Signer(file).public)


@key_app.command()
def trust(
    context: typer.Context,
    destination: Destination,
    key: Annotated[
        str, typer.Argument(metavar="KEY|none", help="The public key; none: believe anybody again.")
    ],
) -> None:
    """Believe this key's manifests at a destination, and no other.

    On a new machine, before anything is restored: what somebody forged is then refused. What is
    believed is kept on this machine.
    """
    from photosync.engine.signing import Trust, is_public_key

    public = key.strip().lower()
    if public != "none" and not is_public_key(public):
        raise typer.BadParameter("a public key has 64 digits, as `photosync key show FILE` prints it")
    ctx: Context = context.obj
    session = ctx.session()
    with session.open(destination) as place, session.journal(place, believing=False) as journal:
        Trust(journal, place.identity).believe(None if public == "none" else public)
    words = "anybody" if public == "none" else f"the key {public[:16]}… only"
    typer.echo(f"{destination}: manifests are believed of {words}.")
