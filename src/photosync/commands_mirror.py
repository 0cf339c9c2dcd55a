"""``mirror``."""

from pathlib import Path
from typing import Annotated

import typer

from photosync.commands_transfer import transfer
from photosync.option_groups import grouped
from photosync.options import DESTINATION, Copying, Source

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
    app.command()(grouped(mirror))


def mirror(
    context: typer.Context,
    source: Source,
    destinations: Annotated[list[str], DESTINATION],
    given: Copying,
    stage: Stage = None,
    stage_size: StageSize = None,
    unplug_early: UnplugEarly = False,
) -> None:
    """Copy to several destinations at once, reading a phone only once.

    Every destination goes at its own pace and has its own verdict; one that fails, fills up or is slow holds
    back none. --bwlimit and --tpslimit hold for each destination by itself.
    """
    from photosync.mirrors import StageOptions

    staging = StageOptions(stage, stage_size, unplug_early)
    transfer(context, source, destinations, "copy", given, staging=staging)
