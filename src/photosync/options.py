"""The options that several commands have."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from photosync.context import Context

if TYPE_CHECKING:
    from photosync.config import Defaults
    from photosync.engine.choosing import Choice
    from photosync.engine.filters import Filter

SOURCE = typer.Argument(help="phone:, phone@NAME:path, REMOTE:path, a URL, or a folder.")
DESTINATION = typer.Argument(help="REMOTE:path, a URL such as s3://bucket/photos, or a folder.")

Source = Annotated[str, SOURCE]
Destination = Annotated[str, DESTINATION]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Only show what would be done.")]
LogFile = Annotated[Path | None, typer.Option("--log-file", metavar="FILE", help="Keep a log in this file.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, the report last.")]


@dataclass(frozen=True, eq=False, repr=False)
class Names:
    """Which files, by name."""

    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="PATTERN", help="Only files that match (rclone's patterns)."),
    ] = None
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Not files that match.")
    ] = None
    filter_from: Annotated[
        list[Path] | None, typer.Option("--filter-from", metavar="FILE", help="Rules: + PATTERN, - PATTERN.")
    ] = None
    ignore_case: Annotated[bool, typer.Option("--ignore-case", help="Patterns match whatever the case.")] = (
        False
    )

    def filter(self) -> "Filter | None":
        """The filter that is asked for; None: everything is wanted.

        Raises:
            FilterError: a rule or limit can't be understood.
        """
        chosen = _given(self, Filters)
        ignore_case = bool(chosen.pop("ignore_case", False))
        if not chosen:
            return None
        from photosync.engine.filters import Filter

        return Filter.parse(**chosen, ignore_case=ignore_case, now_ns=time.time_ns())


@dataclass(frozen=True, eq=False, repr=False)
class Filters(Names):
    """Which files, by name, size and age."""

    min_size: Annotated[str | None, typer.Option("--min-size", metavar="SIZE", help="Say 100k, 10M, 1G.")] = (
        None
    )
    max_size: Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="Say 100k, 10M, 1G.")] = (
        None
    )
    min_age: Annotated[
        str | None, typer.Option("--min-age", metavar="AGE", help="Older than, say 30d or 2024-01-31.")
    ] = None
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="AGE", help="Newer than, say 1w or 2024-01-31.")
    ] = None


@dataclass(frozen=True, eq=False, repr=False)
class Choosing:
    """Which photos, by what they say of themselves."""

    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="KIND,…", help="Of photo, raw, screenshot, video, sidecar, other."),
    ] = None
    taken_after: Annotated[
        str | None,
        typer.Option("--taken-after", metavar="DATE", help="Taken then or later: 2024-01-31, or 30d."),
    ] = None
    taken_before: Annotated[
        str | None, typer.Option("--taken-before", metavar="DATE", help="Taken before: 2024-01-31, or 30d.")
    ] = None
    album: Annotated[
        list[str] | None,
        typer.Option("--album", metavar="NAME", help="In a folder of that name (* and ? work)."),
    ] = None
    camera: Annotated[
        list[str] | None,
        typer.Option("--camera", metavar="NAME", help="By a camera whose name has that in it."),
    ] = None

    def choice(self) -> "Choice | None":
        """The choice that is asked for; None: all of them.

        Raises:
            FilterError: a value can't be understood.
        """
        if not _given(self, Choosing):
            return None
        from photosync.engine.choosing import Choice

        return Choice.parse(
            types=self.types or (),
            albums=self.album or (),
            cameras=self.camera or (),
            taken_after=self.taken_after,
            taken_before=self.taken_before,
            now_ns=time.time_ns(),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Saying:
    """How much to tell."""

    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Name every file.")
    ] = 0
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what went wrong.")] = False
    log_file: LogFile = None

    def tell(self, context: typer.Context) -> Context:
        """The command's context, which knows of it from now on."""
        ctx: Context = context.obj
        ctx.louder(self.verbose, self.quiet, self.log_file)
        return ctx


@dataclass(frozen=True, eq=False, repr=False)
class Running:
    """Whether anything is done, and for whom it is told."""

    dry_run: DryRun = False
    as_json: AsJson = False


@dataclass(frozen=True, eq=False, repr=False)
class Room:
    """How much at once."""

    transfers: Annotated[
        int | None,
        typer.Option("--transfers", min=1, help="Most files, and most requests, under way at once."),
    ] = None
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="For all that is in flight together.")
    ] = "128M"


@dataclass(frozen=True, eq=False, repr=False)
class Pace(Room):
    """How fast, and how it is proven."""

    bwlimit: Annotated[
        str | None, typer.Option("--bwlimit", metavar="RATE", help='Say 10M, or "08:00,512k 19:00,off".')
    ] = None
    tpslimit: Annotated[
        float | None, typer.Option("--tpslimit", min=0.01, help="Most requests a second.")
    ] = None
    verify: Annotated[
        str,
        typer.Option(
            "--verify",
            metavar="auto|reread|none",
            help="Proof of a copy: the service's own hash or else reading back; always reading back; "
            "only a hash that costs nothing.",
        ),
    ] = "auto"


@dataclass(frozen=True, eq=False, repr=False)
class Comparing:
    """What is read again."""

    checksum: Annotated[
        bool,
        typer.Option(
            "-c", "--checksum", help="Read every source file again instead of trusting size and time."
        ),
    ] = False


@dataclass(frozen=True, eq=False, repr=False)
class Placing(Comparing):
    """Where new files go, and what is read again."""

    layout: Annotated[
        str | None,
        typer.Option("--layout", metavar="TEMPLATE", help="Where new files go: '{taken:%Y/%Y-%m}/{name}'."),
    ] = None


@dataclass(frozen=True, eq=False, repr=False)
class Believing:
    """What looks wrong and is no error, or the other way round."""

    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty", help="An empty source, or a destination that was emptied, is no error."
        ),
    ] = False
    allow_shrunken: Annotated[
        bool, typer.Option("--allow-shrunken", help="A source that lost most of its files is no error.")
    ] = False
    new_device: Annotated[
        bool,
        typer.Option(
            "--new-device", help="The phone is another one than at the last run, and that is right."
        ),
    ] = False
    error_on_no_transfer: Annotated[
        bool, typer.Option("--error-on-no-transfer", help="Exit with 9 if there was nothing to transfer.")
    ] = False


@dataclass(frozen=True, eq=False, repr=False)
class Looking(Choosing, Filters):
    """Options of commands that list; the last named come first in their help."""


@dataclass(frozen=True, eq=False, repr=False)
class Tending(Saying, Filters, Running):
    """Options of ``delete`` and ``dedupe``."""


@dataclass(frozen=True, eq=False, repr=False)
class Signing:
    """Who vouches for the manifest."""

    sign: Annotated[
        Path | None,
        typer.Option("--sign", metavar="KEYFILE", help="Sign the manifest, now and from now on; see key."),
    ] = None


@dataclass(frozen=True, eq=False, repr=False)
class Moving(Saying, Signing, Comparing, Pace, Filters, Running):
    """Options of ``move``."""


@dataclass(frozen=True, eq=False, repr=False)
class Copying(Saying, Believing, Signing, Pace, Placing, Choosing, Filters, Running):
    """Options of ``copy``, ``sync`` and ``mirror``."""


Group = TypeVar("Group", bound=Running)


def with_defaults(group: Group, defaults: "Defaults") -> Group:
    """Options as they were given; those that were not, as ``[defaults]`` of the configuration says."""
    usual: dict[str, Any] = {
        name: getattr(defaults, name)
        for name in defaults.__struct_fields__
        if getattr(defaults, name) and not getattr(group, name, True)
    }
    if "log_file" in usual:
        usual["log_file"] = Path(usual["log_file"]).expanduser()
    if "filter_from" in usual:
        usual["filter_from"] = [Path(each).expanduser() for each in usual["filter_from"]]
    return dataclasses.replace(group, **usual)


def _given(group: object, kind: type[Filters | Choosing]) -> dict[str, Any]:
    """Of the options of one kind, those that were given, by name."""
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: value for name in names if (value := getattr(group, name, None))}
