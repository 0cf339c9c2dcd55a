"""``verify``, ``log``, ``diff``, ``manifest``: what is proven at a destination, now and earlier."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photosync.context import Context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from photosync.engine.snapshots import Snapshot, Snapshots

PlaceText = Annotated[
    str,
    typer.Argument(metavar="DESTINATION", help="REMOTE:path, a URL, or a folder that photosync wrote to."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")]
Number = Annotated[
    int | None, typer.Option("--snapshot", min=1, help="Its number, see log [default: newest].")
]
manifest_app = typer.Typer(
    help="The manifest that proves a copy.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(log)
    app.command()(diff)
    app.add_typer(manifest_app, name="manifest")


def verify(
    context: typer.Context,
    destination: PlaceText,
    deep: Annotated[bool, typer.Option("--deep", help="Read everything back.")] = False,
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample", metavar="SHARE", help="Look at a share only, say 5%: what was proven longest ago."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="DATE", help="Only files not proven since then: 2024-01-31, or an age as 30d."
        ),
    ] = None,
    as_json: AsJson = False,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Name every file.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what went wrong.")] = False,
) -> None:
    """Prove that a destination still holds what its manifest says.

    By the service's own hashes where it has them, else by reading. Exits with 1 if anything is damaged
    or missing. When each file was last proven is remembered: --sample and --since go by that.
    """
    from photosync.audits import verify_place
    from photosync.engine.filters import moment
    from photosync.failures import told

    ctx: Context = context.obj
    ctx.louder(verbose, quiet, None)
    share = _share(sample)
    with told(ctx.output(as_json), destination):
        session = ctx.session()
        code = verify_place(
            session,
            destination,
            deep=deep,
            sample=share,
            since_ns=moment(since, session.seam.wall_ns(), "--since"),
            as_json=as_json,
            verbosity=ctx.verbosity,
        )
    raise typer.Exit(int(code))


def _share(text: str | None) -> float | None:
    """ "5%" as 0.05."""
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter("write a share such as 5%", param_hint="--sample")
    return share


def _snapshot(snapshots: "Snapshots", number: int | None, destination: str) -> "Snapshot":
    head = snapshots.head()
    if head is None:
        raise FileNotFoundError(2, "no manifest is there yet; `photosync copy` writes one", destination)
    snapshots.load(head)
    return head if number is None else snapshots.at(number)


def log(context: typer.Context, destination: PlaceText, as_json: AsJson = False) -> None:
    """List the snapshots at a destination, newest first."""
    from photosync.engine.sizes import human_size
    from photosync.failures import told
    from photosync.output import json_line

    ctx: Context = context.obj
    with (
        told(ctx.output(as_json), destination),
        (session := ctx.session()).open(destination) as place,
        session.snapshots(place) as (snapshots, _),
    ):
        history = snapshots.history()
    for snapshot in reversed(history):
        if as_json:
            record = {name: getattr(snapshot, name) for name in ("number", "root", "parent", "device")}
            json_line(
                {"event": "snapshot", **record}
                | {"files": snapshot.files, "bytes": snapshot.bytes, "time": snapshot.time}
            )
        else:
            typer.echo(
                f"{snapshot.number:>5}  {snapshot.time}  {snapshot.files:>8} files  "
                f"{human_size(snapshot.bytes):>10}  {snapshot.root[:16]}  {snapshot.device}"
            )
    if not history and not as_json:
        typer.echo(f"There is no manifest at {destination} yet; photosync copy writes one.")


def diff(
    context: typer.Context,
    destination: PlaceText,
    old: Annotated[
        int | None, typer.Argument(help="Snapshot number [default: the one before the newest].")
    ] = None,
    new: Annotated[int | None, typer.Argument(help="Snapshot number [default: the newest].")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two snapshots: + added, - removed, ~ other content."""
    from photosync.engine import compare, manifest
    from photosync.engine.names import printable
    from photosync.failures import told
    from photosync.output import json_line

    ctx: Context = context.obj
    with (
        told(ctx.output(as_json), destination),
        (session := ctx.session()).open(destination) as place,
        session.snapshots(place) as (snapshots, nodes),
    ):
        later = _snapshot(snapshots, new, destination)
        before = later.number - 1 if old is None else old
        start = snapshots.at(before).root if before else manifest.build([], nodes)
        for change in compare.diff(start, later.root, nodes):
            sign = "+" if change.old is None else "-" if change.new is None else "~"
            if as_json:
                words = {"+": "added", "-": "removed", "~": "changed"}
                json_line({"event": "change", "path": change.path, "change": words[sign]})
            else:
                typer.echo(f"{sign} {printable(change.path)}")


@manifest_app.command()
def show(
    context: typer.Context, destination: PlaceText, snapshot: Number = None, as_json: AsJson = False
) -> None:
    """Show a snapshot's root and totals."""
    from photosync.engine.sizes import human_size
    from photosync.failures import told
    from photosync.output import json_line

    ctx: Context = context.obj
    with (
        told(ctx.output(as_json), destination),
        (session := ctx.session()).open(destination) as place,
        session.snapshots(place) as (snapshots, _),
    ):
        found = _snapshot(snapshots, snapshot, destination)
    if as_json:
        record = {"number": found.number, "root": found.root, "files": found.files, "bytes": found.bytes}
        json_line({"event": "snapshot", **record, "time": found.time, "device": found.device})
    else:
        typer.echo(
            f"snapshot {found.number}\nroot     {found.root}\nfiles    {found.files}\n"
            f"size     {human_size(found.bytes)}\ntime     {found.time}\ndevice   {found.device}"
        )


@manifest_app.command()
def export(
    context: typer.Context,
    destination: PlaceText,
    form: Annotated[
        str, typer.Option("--format", metavar="sha256sum|jsonl", help="What to write.")
    ] = "sha256sum",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File [default: stdout].")] = None,
    snapshot: Number = None,
) -> None:
    """Write the manifest for other tools: `sha256sum -c` or `rclone check --checkfile`, or JSON lines."""
    from photosync.engine import export as writers
    from photosync.engine import manifest
    from photosync.engine.names import decode
    from photosync.engine.record import name_there

    if form not in ("sha256sum", "jsonl"):
        raise typer.BadParameter("choose sha256sum or jsonl", param_hint="--format")
    ctx: Context = context.obj
    session = ctx.session()
    with session.open(destination) as place, session.snapshots(place) as (snapshots, nodes):
        found = _snapshot(snapshots, snapshot, destination)
        entries = manifest.entries(found.root, nodes)
        if form == "jsonl":
            lines = writers.json_lines(entries)
        else:
            stored = {decode(path): path for path in nodes.stored_names(place.identity)}
            rules = place.store.capabilities.names
            lines = writers.sha256sums(entries, lambda entry: name_there(entry, rules, stored))
        _write_lines(lines, output)


def _write_lines(lines: "Iterable[str]", output: Path | None) -> None:
    """Lines as bytes: names that are no text must come out as they are."""
    stream = sys.stdout.buffer if output is None else output.open("wb")
    try:
        for line in lines:
            stream.write(line.encode("utf-8", "surrogateescape"))
        stream.flush()
    finally:
        if output is not None:
            stream.close()


@manifest_app.command()
def sign(
    context: typer.Context,
    destination: PlaceText,
    key: Annotated[
        Path | None, typer.Option("--sign", metavar="KEYFILE", help="With this key; see key.")
    ] = None,
) -> None:
    """Sign the list of what was freed anew: what is named there, and all that this machine knows.

    For a list that is not signed as it has to be, that is older than one that was seen, or gone. Run it on
    the machine that freed the photos.
    """
    from contextlib import suppress

    from photosync.engine import spared
    from photosync.engine.errors import Fatal
    from photosync.engine.signing import FreedUntrusted, Trust

    ctx: Context = context.obj
    session = ctx.session()
    session.sign = key
    with (
        session.open(destination) as place,
        session.journal(place, believing=False) as journal,
        session.target(place) as target,
    ):
        with suppress(FreedUntrusted):  # What the manifest tells of the list is about to be told anew.
            session.check_signature(place, journal)
        if not Trust(journal, place.identity).keys:
            raise Fatal("the manifest there is not signed, so neither is this list. To sign: --sign KEYFILE")
        names, known = spared.renew(place.identity, journal, target)
        if not names:
            raise Fatal(
                "nothing there names a copy whose original was freed, and this machine knows of none. "
                "Nothing was signed. Run this on the machine that freed the photos"
            )
        spared.vouch(place.identity, journal, target)
    typer.echo(
        f"{destination}: the list of what was freed is signed. It names {len(names)} files, "
        f"{len(known)} of them as this machine knows itself."
    )


@manifest_app.command()
def rebuild(context: typer.Context, destination: PlaceText) -> None:
    """Start the manifest anew from what this machine has proven, keeping the old one aside.

    For a manifest that was damaged or rolled back. Copies are not touched.
    """
    import platform

    from photosync.engine import record, spared
    from photosync.engine.signing import Trust

    ctx: Context = context.obj
    session = ctx.session()
    with (
        session.open(destination) as place,
        session.journal(place, believing=False) as journal,
        session.target(place) as target,
    ):
        trust = Trust(journal, place.identity)
        trust.sign(b"")  # Whoever cannot write a new one leaves the old one where it is.
        trust.forget_seen()
        aside = record.set_manifest_aside(target, session.seam)
        journal.forget_head(place.identity)
        # First: a signed manifest tells which one there is.
        damaged = spared.rebuild(place.identity, journal, target, session.seam)
        written = record.record(place.identity, journal, target, session.seam, platform.node() or "unnamed")
    if damaged:
        typer.echo(f"The list of what was freed was damaged; it is kept as {damaged}.")
    typer.echo(f"The old manifest is kept as {aside}." if aside else "There was no manifest.")
    if not written:
        typer.echo("This machine has proven nothing there yet: run photosync copy.")
