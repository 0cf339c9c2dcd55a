"""``connect``, ``disconnect``, ``config``, ``version``: setting up."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photosync.context import Context

if TYPE_CHECKING:
    from photosync.config import Remote
    from photosync.connect import SignIn

config_app = typer.Typer(
    help="Look at the configuration, or take over rclone's.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="What you will write before the colon.")]


def register(app: typer.Typer) -> None:
    app.command()(connect)
    app.command()(disconnect)
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


def connect(
    context: typer.Context,
    name: Name,
    kind: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="dropbox, s3, sftp, webdav, ftp, smb, local, fsspec."),
    ] = None,
    root: Annotated[
        str, typer.Option("--root", help="Folder or bucket/prefix at which the remote begins.")
    ] = "",
    app_key: Annotated[str, typer.Option("--app-key", help="Dropbox: key of your own app.")] = "",
    endpoint: Annotated[str, typer.Option("--endpoint", help="S3: URL of a service other than AWS.")] = "",
    region: Annotated[str, typer.Option("--region", help="S3: region.")] = "",
    profile: Annotated[str, typer.Option("--profile", help="S3: profile in ~/.aws.")] = "",
    host: Annotated[str, typer.Option("--host", help="SFTP, FTP, SMB: server.")] = "",
    port: Annotated[int | None, typer.Option("--port", help="SFTP, FTP, SMB: port.")] = None,
    user: Annotated[str, typer.Option("--user", help="SFTP, FTP, SMB, WebDAV: user.")] = "",
    key_file: Annotated[str, typer.Option("--key-file", help="SFTP: private key.")] = "",
    url: Annotated[str, typer.Option("--url", help="WebDAV: address.")] = "",
    protocol: Annotated[str, typer.Option("--protocol", help="fsspec: protocol.")] = "",
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Any other setting of the type.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Credentials from a file instead of a browser or a prompt."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only try the sign-in that is kept.")] = False,
) -> None:
    """Sign in to a remote and keep it under a name."""
    from photosync import connect as signing

    ctx: Context = context.obj
    session = ctx.session()
    if check:
        with session.open(f"{name}:") as place:
            signing.check(place)
        typer.echo(f"{name}: works.")
        return
    given = {
        "root": root, "app_key": app_key, "endpoint": endpoint, "region": region, "profile": profile,
        "host": host, "port": port, "user": user, "key_file": key_file, "url": url, "protocol": protocol,
    }  # fmt: skip
    remote = _remote(session.config.remotes.get(name), name, kind, given, option or [])
    sign_in = _sign_in(remote, token_file)
    for warning in sign_in.warnings:
        typer.echo(f"warning: {warning}", err=True)
    proven = signing.connect(name, sign_in, config_path=ctx.config, secrets=session.secrets)
    typer.echo(
        f"{name}: connected." if proven else f"{name}: kept; name a bucket or share after {name}: to use it."
    )


def _remote(
    old: "Remote | None", name: str, kind: str | None, given: dict[str, Any], options: list[str]
) -> "Remote":
    import msgspec

    from photosync.config import TYPES, Remote, type_of
    from photosync.connect import ConnectError

    kind = kind or (type_of(old) if old is not None else name if name in TYPES else None)
    if kind is None:
        raise ConnectError(f"say what {name} is: --type {'|'.join(TYPES)}")
    if kind not in TYPES:
        raise ConnectError(f"there is no type {kind!r}; choose one of {', '.join(TYPES)}")
    settings: dict[str, Any] = {}
    if old is not None and type_of(old) == kind:
        settings = msgspec.to_builtins(old)
    settings |= {key: value for key, value in given.items() if value} | {"type": kind}
    extra = {}
    for pair in options:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConnectError(f"--option {pair!r}: write KEY=VALUE")
        extra[key] = value
    if kind == "fsspec":
        settings["options"] = {**settings.get("options", {}), **extra}
    else:
        settings |= extra
    try:
        made: Remote = msgspec.convert(settings, Remote, strict=False)
    except msgspec.ValidationError as error:
        raise ConnectError(f"{name}: {error}") from None
    return made


def _sign_in(remote: "Remote", token_file: Path | None) -> "SignIn":
    from photosync import connect as signing
    from photosync.config import S3, Drive, Dropbox

    if token_file is not None:
        text = sys.stdin.read() if str(token_file) == "-" else token_file.read_text(encoding="utf-8")
        return signing.with_token(remote, text)
    if isinstance(remote, Dropbox):
        return signing.with_code(remote, _ask_code)
    if isinstance(remote, Drive):
        raise signing.ConnectError("Google Drive is not supported yet")
    if isinstance(remote, S3) and remote.profile:
        return signing.with_answers(remote, {})
    answers = {
        question.name: typer.prompt(
            question.prompt, default="", hide_input=question.hidden, show_default=False
        )
        for question in signing.questions(remote)
    }
    return signing.with_answers(remote, answers)


def _ask_code(url: str) -> str:
    typer.echo(
        f"Open this address in a browser, on this machine or any other, and allow access:\n\n  {url}\n"
    )
    return str(typer.prompt("Paste the code that is shown there")).strip()


def disconnect(context: typer.Context, name: Name) -> None:
    """Sign out of a remote and forget it. Nothing at the remote is deleted."""
    from photosync import connect as signing

    ctx: Context = context.obj
    session = ctx.session()
    for warning in signing.disconnect(name, config_path=ctx.config, secrets=session.secrets):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{name}: disconnected.")


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
