"""``copy``, ``sync``, ``move`` and ``check``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photosync.context import Context

if TYPE_CHECKING:
    from photosync.config import Config
    from photosync.engine.choosing import Choice
    from photosync.engine.filters import Filter

SOURCE = typer.Argument(help="phone:, phone@NAME:path, REMOTE:path, a URL, or a folder.")
DESTINATION = typer.Argument(help="REMOTE:path, a URL such as s3://bucket/photos, or a folder.")

Source = Annotated[str, SOURCE]
Destination = Annotated[str, DESTINATION]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Only show what would be done.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, the report last.")]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="PATTERN", help="Only files that match (rclone's patterns)."),
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Not files that match.")
]
FilterFrom = Annotated[
    list[Path] | None, typer.Option("--filter-from", metavar="FILE", help="Rules: + PATTERN, - PATTERN.")
]
IgnoreCase = Annotated[bool, typer.Option("--ignore-case", help="Patterns match whatever the case.")]
MinSize = Annotated[str | None, typer.Option("--min-size", metavar="SIZE", help="Say 100k, 10M, 1G.")]
MaxSize = Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="Say 100k, 10M, 1G.")]
MinAge = Annotated[
    str | None, typer.Option("--min-age", metavar="AGE", help="Older than, say 30d or 2024-01-31.")
]
MaxAge = Annotated[
    str | None, typer.Option("--max-age", metavar="AGE", help="Newer than, say 1w or 2024-01-31.")
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="KIND,…", help="Of photo, raw, screenshot, video, sidecar, other."),
]
TakenAfter = Annotated[
    str | None, typer.Option("--taken-after", metavar="DATE", help="Taken then or later: 2024-01-31, or 30d.")
]
TakenBefore = Annotated[
    str | None, typer.Option("--taken-before", metavar="DATE", help="Taken before: 2024-01-31, or 30d.")
]
Album = Annotated[
    list[str] | None, typer.Option("--album", metavar="NAME", help="In a folder of that name (* and ? work).")
]
Camera = Annotated[
    list[str] | None, typer.Option("--camera", metavar="NAME", help="By a camera whose name has that in it.")
]
LayoutText = Annotated[
    str | None,
    typer.Option("--layout", metavar="TEMPLATE", help="Where new files go: '{taken:%Y/%Y-%m}/{name}'."),
]
ListOnly = Annotated[bool, typer.Option("--list", help="Only list the source files that the filters take.")]
Transfers = Annotated[
    int | None, typer.Option("--transfers", min=1, help="Most files, and most requests, under way at once.")
]
BwLimit = Annotated[
    str | None, typer.Option("--bwlimit", metavar="RATE", help='Say 10M, or "08:00,512k 19:00,off".')
]
TpsLimit = Annotated[float | None, typer.Option("--tpslimit", min=0.01, help="Most requests a second.")]
Memory = Annotated[str, typer.Option("--memory", metavar="SIZE", help="For all that is in flight together.")]
Checksum = Annotated[
    bool,
    typer.Option("-c", "--checksum", help="Read every source file again instead of trusting size and time."),
]
How = Annotated[
    str,
    typer.Option(
        "--verify",
        metavar="auto|reread|none",
        help="Proof of a copy: the service's own hash or else reading back; always reading back; "
        "only a hash that costs nothing.",
    ),
]
AllowEmpty = Annotated[
    bool,
    typer.Option("--allow-empty", help="An empty source, or a destination that was emptied, is no error."),
]
AllowShrunken = Annotated[
    bool, typer.Option("--allow-shrunken", help="A source that lost most of its files is no error.")
]
NewDevice = Annotated[
    bool,
    typer.Option("--new-device", help="The phone is another one than at the last run, and that is right."),
]
ErrorOnNoTransfer = Annotated[
    bool, typer.Option("--error-on-no-transfer", help="Exit with 9 if there was nothing to transfer.")
]
MaxDelete = Annotated[
    int | None,
    typer.Option(
        "--max-delete", min=0, help="Most files to move to the trash [default: a tenth, at least 10]."
    ),
]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Name every file.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say only what went wrong.")]
LogFile = Annotated[Path | None, typer.Option("--log-file", metavar="FILE", help="Keep a log in this file.")]


def register(app: typer.Typer) -> None:
    app.command()(copy)
    app.command()(sync)
    app.command()(move)
    app.command()(check)


def copy(
    context: typer.Context,
    source: Source,
    destination: Destination,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    include: Include = None,
    exclude: Exclude = None,
    filter_from: FilterFrom = None,
    ignore_case: IgnoreCase = False,
    min_size: MinSize = None,
    max_size: MaxSize = None,
    min_age: MinAge = None,
    max_age: MaxAge = None,
    types: Types = None,
    taken_after: TakenAfter = None,
    taken_before: TakenBefore = None,
    album: Album = None,
    camera: Camera = None,
    layout: LayoutText = None,
    list_only: ListOnly = False,
    transfers: Transfers = None,
    bwlimit: BwLimit = None,
    tpslimit: TpsLimit = None,
    memory: Memory = "128M",
    checksum: Checksum = False,
    verify: How = "auto",
    allow_empty: AllowEmpty = False,
    allow_shrunken: AllowShrunken = False,
    new_device: NewDevice = False,
    error_on_no_transfer: ErrorOnNoTransfer = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Copy what the destination lacks. Deletes nothing and overwrites nothing.

    A file whose name is taken by another one is kept beside it. A file renamed at the source is renamed at
    the destination without sending it again.
    """
    transfer(context, source, [destination], "copy", None, locals())


def sync(
    context: typer.Context,
    source: Source,
    destination: Destination,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    include: Include = None,
    exclude: Exclude = None,
    filter_from: FilterFrom = None,
    ignore_case: IgnoreCase = False,
    min_size: MinSize = None,
    max_size: MaxSize = None,
    min_age: MinAge = None,
    max_age: MaxAge = None,
    types: Types = None,
    taken_after: TakenAfter = None,
    taken_before: TakenBefore = None,
    album: Album = None,
    camera: Camera = None,
    layout: LayoutText = None,
    list_only: ListOnly = False,
    transfers: Transfers = None,
    bwlimit: BwLimit = None,
    tpslimit: TpsLimit = None,
    memory: Memory = "128M",
    checksum: Checksum = False,
    verify: How = "auto",
    max_delete: MaxDelete = None,
    allow_empty: AllowEmpty = False,
    allow_shrunken: AllowShrunken = False,
    new_device: NewDevice = False,
    error_on_no_transfer: ErrorOnNoTransfer = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Make the destination like the source. What is extra or replaced goes to .photosync/trash there.

    Refuses if the source could not be listed completely, is empty, lost most of its files, or if more
    than --max-delete files would go.
    """
    transfer(context, source, [destination], "sync", max_delete, locals())


def move(
    context: typer.Context,
    source: Source,
    destination: Destination,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    include: Include = None,
    exclude: Exclude = None,
    filter_from: FilterFrom = None,
    ignore_case: IgnoreCase = False,
    min_size: MinSize = None,
    max_size: MaxSize = None,
    min_age: MinAge = None,
    max_age: MaxAge = None,
    transfers: Transfers = None,
    bwlimit: BwLimit = None,
    tpslimit: TpsLimit = None,
    memory: Memory = "128M",
    verify: How = "auto",
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Copy, prove, and only then remove at the source what this run has proven.

    Every source file is read and compared, also one that was copied before. A file that changes meanwhile
    stays. Nothing is removed if the run ends early. Not for phones: see free-up.
    """
    transfer(context, source, [destination], "move", None, locals())


def transfer(
    context: typer.Context,
    source: str,
    destinations: list[str],
    mode: str,
    max_delete: int | None,
    given: dict[str, object],
) -> None:
    """What ``copy``, ``sync`` and ``mirror`` have in common.

    Args:
        given: the command's own arguments by name.
    """
    from photosync import mirrors
    from photosync.failures import told
    from photosync.jobs import Options, execute

    ctx: Context = context.obj
    ctx.louder(_int(given["verbose"]), bool(given["quiet"]), _path(given["log_file"]))
    output = ctx.output(bool(given["as_json"]))
    with told(output, *destinations):
        session = ctx.session()
        given = _with_defaults(given, session.config)
        ctx.louder(0, False, _path(given["log_file"]))
        names = set(Options.__dataclass_fields__) - {"mode", "max_delete", "wanted", "choice"}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if name in names}
        options = Options(
            mode=mode,
            max_delete=max_delete,
            wanted=make_filter(**given),
            choice=make_choice(**given),
            **chosen,
        )
        dry_run, listing = bool(given["dry_run"]), bool(given.get("list_only"))
        if "unplug_early" in given:
            staging = mirrors.StageOptions(
                **{name: given[name] for name in mirrors.StageOptions.__dataclass_fields__}  # type: ignore[arg-type]
            )
            code = mirrors.execute(session, source, destinations, options, staging, output, dry_run=dry_run)
        else:
            code = execute(
                session, source, destinations[0], options, output, dry_run=dry_run, listing=listing
            )
    raise typer.Exit(int(code))


def _with_defaults(given: dict[str, object], config: "Config") -> dict[str, object]:
    """The options as given, and ``[defaults]`` of the configuration for those that were not."""
    usual = {name: getattr(config.defaults, name) for name in config.defaults.__struct_fields__}
    if usual["log_file"]:
        usual["log_file"] = Path(usual["log_file"]).expanduser()
    usual["filter_from"] = [Path(each).expanduser() for each in usual["filter_from"]]
    return given | {
        name: value for name, value in usual.items() if value and name in given and not given[name]
    }


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _path(value: object) -> Path | None:
    return value if isinstance(value, Path) else None


def make_filter(**given: Any) -> "Filter | None":
    """The filter that options ask for, by their names; None: everything is wanted.

    Raises:
        FilterError: a rule or limit can't be understood.
    """
    names = ("include", "exclude", "filter_from", "min_size", "max_size", "min_age", "max_age")
    chosen = {name: given[name] for name in names if given.get(name)}
    if not chosen:
        return None
    from photosync.engine.filters import Filter

    return Filter.parse(**chosen, ignore_case=bool(given["ignore_case"]), now_ns=time.time_ns())


def make_choice(**given: Any) -> "Choice | None":
    """The choice of photos that options ask for, by their names; None: all of them.

    Raises:
        FilterError: a value can't be understood.
    """
    names = ("types", "album", "camera", "taken_after", "taken_before")
    if not any(given.get(name) for name in names):
        return None
    from photosync.engine.choosing import Choice

    return Choice.parse(
        types=given["types"] or (),
        albums=given["album"] or (),
        cameras=given["camera"] or (),
        taken_after=given["taken_after"],
        taken_before=given["taken_before"],
        now_ns=time.time_ns(),
    )


def check(
    context: typer.Context,
    source: Source,
    destination: Destination,
    one_way: Annotated[bool, typer.Option("--one-way", help="Ignore what only the destination has.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Read both sides instead of trusting hashes.")
    ] = False,
    as_json: AsJson = False,
    include: Include = None,
    exclude: Exclude = None,
    filter_from: FilterFrom = None,
    ignore_case: IgnoreCase = False,
    min_size: MinSize = None,
    max_size: MaxSize = None,
    min_age: MinAge = None,
    max_age: MaxAge = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Compare source and destination by content; changes nothing. Exits with 1 if they differ."""
    from photosync.audits import check_places
    from photosync.failures import told

    ctx: Context = context.obj
    ctx.louder(verbose, quiet, log_file)
    given = dict(locals())
    with told(ctx.output(as_json), destination):
        code = check_places(
            ctx.session(),
            source,
            destination,
            make_filter(**given),
            one_way=one_way,
            download=download,
            as_json=as_json,
            verbosity=ctx.verbosity,
        )
    raise typer.Exit(int(code))
