"""``benchmark``."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from photosync.context import Context

if TYPE_CHECKING:
    from photosync.benchmark import Findings, Speed

WORKLOADS = """\
photosync benchmark PLACE measures a place of yours, say dropbox:test: it writes some files there, reads them
back, removes them, and says which settings suit it.

photosync beside rclone, s5cmd, aws, rsync and cp, on the same work in the same run, is measured from a clone
of its repository: make bench, or make bench-quick for three minutes. python -m benchmarks --help lists
what there is."""


def register(app: typer.Typer) -> None:
    app.command()(benchmark)


def benchmark(
    context: typer.Context,
    place: Annotated[
        str | None, typer.Argument(metavar="[PLACE]", help="REMOTE:path, a URL, or a folder; not a phone.")
    ] = None,
    size: Annotated[str, typer.Option("--size", metavar="SIZE", help="Of each file, say 500K or 4M.")] = "1M",
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout, the report last.")] = False,
) -> None:
    """Measure how fast a place of yours is, and say which settings suit it.

    Writes into a folder of its own there, .photosync-benchmark-…, and removes it again. Asks before it sends
    more than 256 MiB. Without PLACE: how photosync is measured beside other programs.
    """
    from photosync import benchmark as measuring
    from photosync.engine.errors import PhotosyncError
    from photosync.failures import told

    if place is None:
        typer.echo(WORKLOADS)
        return
    ctx: Context = context.obj
    show = _Json() if as_json else _People(place, ctx.verbosity)

    def confirm(question: str) -> bool:
        return yes or (not as_json and sys.stdin.isatty() and typer.confirm(question, err=True))

    def warn(text: str) -> None:
        typer.echo(f"warning: {text}", err=True)

    with told(ctx.output(as_json), place):
        try:
            found = measuring.benchmark(ctx.session(), place, measuring.parse_size(size), confirm, show, warn)
        except KeyboardInterrupt:
            raise PhotosyncError("interrupted; what was written there is removed again") from None
    if found is None:
        typer.echo("Nothing was sent. A smaller --size sends less; --yes answers the question.", err=True)
        raise typer.Exit(1)
    show.end(found)
    if not found.tidy:
        raise typer.Exit(1)


class _People:
    def __init__(self, place: str, verbosity: int) -> None:
        self._place = place
        self._quiet = verbosity < 0
        self._head = ""

    def __call__(self, found: "Speed | Sequence[float]") -> None:
        if self._quiet:
            return
        from photosync.benchmark import Speed, latency
        from photosync.engine.sizes import human_size

        if not isinstance(found, Speed):
            middle, least, most = (1000 * value for value in latency(found))
            typer.echo(f"{self._place}: one request takes {middle:.1f} ms ({least:.1f}–{most:.1f})")
            return
        head = {
            "upload": "Upload, whole files",
            "download": "Download",
            "parts": "Upload of a large file in parts",
        }[found.what]
        if head != self._head:
            self._head = head
            typer.echo(head)
        typer.echo(
            f"  {found.at_once:>3} at once, {human_size(found.size):>9} each: {human_size(found.rate):>10}/s"
        )

    def end(self, found: "Findings") -> None:
        for trouble, count in found.retries.items():
            typer.echo(f"{count} calls were made again: {trouble}")
        typer.echo(found.advice())
        if found.snippet:
            typer.echo(f"\n{found.snippet}", nl=False)


class _Json:
    def __call__(self, found: "Speed | Sequence[float]") -> None:
        from photosync.benchmark import Speed
        from photosync.output import json_text

        if not isinstance(found, Speed):
            typer.echo(json_text({"event": "latency", "seconds": list(found)}))
            return
        row = {name: getattr(found, name) for name in ("what", "at_once", "size", "bytes", "seconds")}
        typer.echo(json_text({"event": "speed", **row, "bytes_per_second": found.rate}))

    def end(self, found: "Findings") -> None:
        from photosync.output import json_text

        typer.echo(
            json_text(
                {
                    "event": "report",
                    "status": "ok" if found.tidy else "failed",
                    "place": found.place,
                    "retries": found.retries,
                    "transfers": found.transfers,
                    "default_transfers": found.most,
                    "advice": found.advice(),
                    "config": found.snippet,
                }
            )
        )
