"""``connect``, ``authorize``, ``disconnect``: signing in and out."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photosync.context import Context

if TYPE_CHECKING:
    from photosync.config import Drive, Dropbox, Remote
    from photosync.sign_in import SignIn

Name = Annotated[str, typer.Argument(help="What you will write before the colon.")]
AppKey = Annotated[str, typer.Option("--app-key", help="Dropbox: key of your own app.")]
ClientFile = Annotated[
    Path | None,
    typer.Option(
        "--client-file",
        metavar="FILE",
        help="Drive: the JSON file of your own OAuth client, from Google's console.",
    ),
]
ClientId = Annotated[
    str, typer.Option("--client-id", help="Drive: id of your own OAuth client; its secret is asked for.")
]
Scope = Annotated[
    str,
    typer.Option(
        "--scope",
        help="Drive: drive.file (only what photosync makes) or drive (everything). [default: drive.file]",
    ),
]
WithBrowser = Annotated[
    bool | None,
    typer.Option(
        "--browser/--no-browser",
        help="Open a browser here, or let you paste what any other browser shows. "
        "[default: Drive opens one, Dropbox shows a code]",
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(connect)
    app.command()(authorize)
    app.command()(disconnect)


def connect(
    context: typer.Context,
    name: Name,
    kind: Annotated[
        str | None,
        typer.Option(
            "--type", metavar="TYPE", help="dropbox, drive, s3, sftp, webdav, ftp, smb, local or fsspec."
        ),
    ] = None,
    root: Annotated[
        str, typer.Option("--root", help="Folder or bucket/prefix at which the remote begins.")
    ] = "",
    app_key: AppKey = "",
    client_file: ClientFile = None,
    client_id: ClientId = "",
    scope: Scope = "",
    shared_drive: Annotated[str, typer.Option("--shared-drive", help="Drive: id of a shared drive.")] = "",
    browser: WithBrowser = None,
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
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="Credentials from a file, or from - (asked for at a terminal), instead of a browser.",
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only try the sign-in that is kept.")] = False,
) -> None:
    """Sign in to a remote and keep it under a name."""
    from photosync import connect as signing
    from photosync.config import S3
    from photosync.places import Kind, PlaceSpec
    from photosync.secrets import Credentials

    ctx: Context = context.obj
    session = ctx.session()
    if check:
        _check(ctx, name)
        return
    given = {
        "root": root, "app_key": app_key, "client_id": client_id, "scope": scope,
        "shared_drive": shared_drive, "endpoint": endpoint, "region": region, "profile": profile,
        "host": host, "port": port, "user": user, "key_file": key_file, "url": url, "protocol": protocol,
    }  # fmt: skip
    old = session.config.remotes.get(name)
    secret = ""
    if client_file is not None:
        given["client_id"], secret = _client(client_file)
    remote = _remote(old, name, kind, given, option or [])
    if not secret and not client_id and old is not None:
        # Signing in anew to what is known already needs no file again.
        secret = str((session.secrets.get(name) or Credentials()).get("client_secret", ""))
    sign_in = _sign_in(remote, token_file, browser, secret)
    for warning in sign_in.warnings:
        typer.echo(f"warning: {warning}", err=True)
    proven = signing.connect(name, sign_in, config_path=ctx.config, secrets=session.secrets)
    if not proven:
        typer.echo(f"{name}: kept; name a bucket or share after {name}: to use it.")
        return
    typer.echo(f"{name}: connected as {sign_in.who}." if sign_in.who else f"{name}: connected.")
    if isinstance(sign_in.remote, S3) and not sign_in.remote.root:
        spec = PlaceSpec(f"{name}:", Kind.REMOTE, name, "", sign_in.remote)
        _show_buckets(name, signing.buckets(spec, session.secrets))


def _show_buckets(name: str, found: list[str] | None) -> None:
    if found:
        typer.echo("\n".join(f"  {name}:{bucket}" for bucket in found))
    else:
        typer.echo(f"  Name a bucket after {name}: to use it.")


def _check(ctx: Context, name: str) -> None:
    from photosync import connect as signing
    from photosync.config import S3, unknown_remote
    from photosync.engine.sizes import human_size
    from photosync.places import parse

    session = ctx.session()
    if name not in session.config.remotes:
        raise unknown_remote(name, session.config)
    remote = session.config.remotes[name]
    if isinstance(remote, S3) and not remote.root:
        found = signing.buckets(parse(f"{name}:", session.config), session.secrets)
        typer.echo(f"{name}: works." if found is not None else f"{name}: may not list buckets.")
        _show_buckets(name, found)
        return
    with session.open(f"{name}:") as place:
        signing.check(place)
        rows = {"account": signing.who(place, session.secrets)}
        usage = place.store.about()
    spaces = {"total": usage.total, "used": usage.used, "free": usage.free}
    rows |= {word: human_size(value) for word, value in spaces.items() if value is not None}
    if "free" not in rows:
        rows["space"] = "not told by the service"
    typer.echo(f"{name}: works.")
    for word, text in rows.items():
        if text:
            typer.echo(f"  {word + ':':<9}{text}")


def authorize(
    kind: Annotated[str, typer.Option("--type", metavar="TYPE", help="dropbox or drive.")],
    app_key: AppKey = "",
    client_file: ClientFile = None,
    client_id: ClientId = "",
    scope: Scope = "",
    browser: WithBrowser = None,
) -> None:
    """Sign in for a machine without a browser: prints what `connect NAME --token-file -` takes there."""
    from photosync import handover
    from photosync.config import Drive, Dropbox
    from photosync.sign_in import ConnectError

    if kind not in ("dropbox", "drive"):
        raise ConnectError(
            f"--type {kind}: only dropbox and drive need a browser; sign in where photosync runs"
        )
    given: dict[str, Any] = (
        {"app_key": app_key} if kind == "dropbox" else {"client_id": client_id, "scope": scope}
    )
    secret = ""
    if client_file is not None:
        given["client_id"], secret = _client(client_file)
    remote = _remote(None, "", kind, given, [])
    sign_in = _sign_in(remote, None, browser, secret)
    assert isinstance(sign_in.remote, (Dropbox, Drive))
    typer.echo(
        "Whoever has the next line has access to your files. On the other machine run\n"
        f"  photosync connect NAME --type {kind} --token-file -\n"
        "and paste it there:\n",
        err=True,
    )
    typer.echo(handover.printed(sign_in.remote, sign_in.credentials or {}))


def disconnect(context: typer.Context, name: Name) -> None:
    """Sign out of a remote and forget it. Nothing at the remote is deleted."""
    from photosync import connect as signing

    ctx: Context = context.obj
    session = ctx.session()
    for warning in signing.disconnect(name, config_path=ctx.config, secrets=session.secrets):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{name}: disconnected.")


def _client(file: Path) -> tuple[str, str]:
    from photosync.google_client import ClientError, read_client
    from photosync.sign_in import ConnectError

    try:
        client = read_client(_text_of(file))
    except ClientError as error:
        raise ConnectError(f"{file} {error}") from None
    return client.id, client.secret


def _text_of(file: Path) -> str:
    from photosync.sign_in import ConnectError

    try:
        return file.expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConnectError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConnectError(f"{file} is not UTF-8 text") from None


def _remote(
    old: "Remote | None", name: str, kind: str | None, given: dict[str, Any], options: list[str]
) -> "Remote":
    import msgspec

    from photosync.config import TYPES, Remote, type_of
    from photosync.sign_in import ConnectError

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


def _sign_in(remote: "Remote", token_file: Path | None, browser: bool | None, client_secret: str) -> "SignIn":
    from photosync import sign_in as signing
    from photosync.config import S3, Drive, Dropbox

    if token_file is not None:
        text = _pasted() if str(token_file) == "-" else _text_of(token_file)
        return signing.with_token(remote, text, client_secret)
    if isinstance(remote, Drive) and remote.service_account_file:
        return signing.with_answers(remote, {})
    if isinstance(remote, (Dropbox, Drive)):
        return _in_person(remote, browser, client_secret)
    if isinstance(remote, S3) and remote.profile:
        return signing.with_answers(remote, {})
    answers = {
        question.name: _prompt(question.prompt, hidden=question.hidden, optional=True)
        for question in signing.questions(remote)
    }
    return signing.with_answers(remote, answers)


def _pasted() -> str:
    """Standard input, of which a terminal gives one line and shows nothing."""
    if sys.stdin.isatty():
        return _prompt("Paste it here (it is not shown)", hidden=True)
    return sys.stdin.read()


def _in_person(remote: "Dropbox | Drive", browser: bool | None, client_secret: str) -> "SignIn":
    from photosync import oauth
    from photosync import sign_in as signing
    from photosync.config import Drive, Dropbox

    if isinstance(remote, Drive) and remote.client_id and not client_secret:
        client_secret = _prompt("Secret of the OAuth client (it is not shown)", hidden=True)
    wanted = isinstance(remote, Drive) if browser is None else browser
    # Dropbox only comes back to an address that was registered for the app, and has pages of its own to
    # show a code; Google comes back to any port of this machine, and shows none.
    fixed = isinstance(remote, Dropbox)
    host, port = ("localhost", oauth.FIXED_PORT) if fixed else ("127.0.0.1", 0)

    def meet(begin: oauth.Begin) -> oauth.Token:
        if not wanted:
            return oauth.by_hand(begin, _ask, "" if fixed else f"http://127.0.0.1:{oauth.FIXED_PORT}/")
        try:
            return oauth.in_browser(begin, _open, port, host)
        except OSError as error:
            raise signing.ConnectError(
                f"port {port} of this machine cannot be listened at ({error.strerror}). End the program that "
                "uses it, or sign in with --no-browser"
            ) from None

    return signing.with_person(remote, meet, client_secret)


def _open(url: str) -> None:
    typer.echo(
        f"Allow access in the browser. If none opens, open this address on this machine:\n\n  {url}\n\n"
        "Waiting for the browser to come back. If yours is on another machine, press Ctrl-C and add "
        "--no-browser.",
        err=True,
    )
    # A browser of the terminal would hold up the very answer that it waits for.
    subprocess.Popen(
        [sys.executable, "-m", "webbrowser", url],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _ask(url: str) -> str:
    typer.echo(
        f"Open this address in a browser, on this machine or any other, and allow access:\n\n  {url}\n",
        err=True,
    )
    if "redirect_uri" in url:
        typer.echo(
            "The browser then says that it cannot reach the page. That is right: copy the whole address out "
            "of its address bar.",
            err=True,
        )
        return _prompt("Paste that address here")
    return _prompt("Paste the code that is shown there")


def _prompt(text: str, *, hidden: bool = False, optional: bool = False) -> str:
    """What a person types, or the next line of a standard input that is no terminal."""
    from photosync.sign_in import ConnectError

    if sys.stdin.isatty():
        default = "" if optional else None
        answer = typer.prompt(text, default=default, show_default=False, hide_input=hidden, err=True)
    else:
        # Without a terminal there is nothing to hide, and getpass would warn that it cannot.
        typer.echo(f"{text}:", err=True)
        answer = sys.stdin.readline()
        if not answer:
            raise ConnectError(
                "nobody answered: run it at a terminal, or give the answer on the standard input"
            )
    # A password may begin or end in blanks.
    return str(answer).rstrip("\r\n")
