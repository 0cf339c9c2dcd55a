"""``mirror``."""

from pathlib import Path
from typing import Annotated

import typer

from photosync import commands_transfer as given

Stage = Annotated[
    Path | None,
    typer.Option(
        "--stage", metavar="DIR", help="Where to keep what was read of a slow source until it is delivered."
    ),
]
StageSize = Annotated[
    str | None,
    typer.Option(
        "--stage-size", metavar="SIZE", help="Most space for that, say 20G [default: half of what is free]."
    ),
]
UnplugEarly = Annotated[
    bool, typer.Option("--unplug-early", help="Say when the phone may be taken away, and finish without it.")
]


def register(app: typer.Typer) -> None:
    app.command()(mirror)


def mirror(
    context: typer.Context,
    source: given.Source,
    destinations: Annotated[list[str], given.DESTINATION],
    stage: Stage = None,
    stage_size: StageSize = None,
    unplug_early: UnplugEarly = False,
    dry_run: given.DryRun = False,
    as_json: given.AsJson = False,
    include: given.Include = None,
    exclude: given.Exclude = None,
    filter_from: given.FilterFrom = None,
    ignore_case: given.IgnoreCase = False,
    min_size: given.MinSize = None,
    max_size: given.MaxSize = None,
    min_age: given.MinAge = None,
    max_age: given.MaxAge = None,
    types: given.Types = None,
    taken_after: given.TakenAfter = None,
    taken_before: given.TakenBefore = None,
    album: given.Album = None,
    camera: given.Camera = None,
    layout: given.LayoutText = None,
    transfers: given.Transfers = None,
    bwlimit: given.BwLimit = None,
    tpslimit: given.TpsLimit = None,
    memory: given.Memory = "128M",
    checksum: given.Checksum = False,
    verify: given.How = "auto",
    allow_empty: given.AllowEmpty = False,
    allow_shrunken: given.AllowShrunken = False,
    new_device: given.NewDevice = False,
    error_on_no_transfer: given.ErrorOnNoTransfer = False,
    verbose: given.Verbose = 0,
    quiet: given.Quiet = False,
    log_file: given.LogFile = None,
) -> None:
    """Copy to several destinations at once, reading a phone only once.

    Every destination goes at its own pace and has its own verdict; one that fails, fills up or is slow holds
    back none. --bwlimit and --tpslimit hold for each destination by itself.
    """
    given.transfer(context, source, destinations, "copy", None, locals())
