"""``run``, ``jobs``, ``runs``, ``watch``, ``install-service``: what is done again and again."""

from typing import Annotated

import typer

from photosync.context import Context
from photosync.option_groups import grouped
from photosync.options import AsJson, DryRun, LogFile, Saying

Rows = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]


def register(app: typer.Typer) -> None:
    app.command()(grouped(run))
    app.command()(jobs)
    app.command()(runs)
    app.command()(watch)
    app.command("install-service")(install_service)


def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="JOB", help="A [jobs.NAME] of the configuration.")],
    saying: Saying,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run a job of the configuration."""
    from photosync.failures import told
    from photosync.job_runs import run_job

    ctx = saying.tell(context)
    output = ctx.output(as_json)
    with told(output):
        code = run_job(ctx.session(), name, output, dry_run=dry_run)
    raise typer.Exit(int(code))


def jobs(context: typer.Context, as_json: Rows = False) -> None:
    """List the jobs of the configuration."""
    from photosync.job_runs import list_jobs
    from photosync.output import json_line

    ctx: Context = context.obj
    found = [each.record() for each in list_jobs(ctx.session())]
    for row in found:
        if as_json:
            json_line(row)
            continue
        when = [row["schedule"]] if row["schedule"] else []
        when += ["when plugged in"] if row["on_plug_in"] else []
        typer.echo(f"{row['name']}:  {row['source']} to {', '.join(row['destinations'])}")
        last = f"last begun {row['last']}" if row["last"] else "never run"
        typer.echo(f"    {'; '.join(when) or 'by hand'}; {last}")
    if not found and not as_json:
        typer.echo("There are no jobs yet: add [jobs.NAME] to the configuration (see the guide).")


def runs(
    context: typer.Context,
    as_json: Rows = False,
    last: Annotated[int | None, typer.Option("--last", min=1, metavar="N", help="Only the newest N.")] = None,
) -> None:
    """Show what earlier runs did, newest last: one line for each destination."""
    from photosync.job_runs import lines_of, past_runs
    from photosync.output import json_line

    ctx: Context = context.obj
    rows = past_runs(ctx.session())
    rows = rows[-last:] if last else rows
    if as_json:
        for row in rows:
            json_line(row)
        return
    from photosync.engine.names import printable

    for line in lines_of(rows):
        typer.echo(printable(line))


def watch(
    context: typer.Context,
    plug_in_only: Annotated[
        bool, typer.Option("--plug-in-only", help="Leave schedules to systemd's timers.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Look once, run what is due, and end.")] = False,
    log_file: LogFile = None,
) -> None:
    """Run jobs when their phone is plugged in and when their schedule says so, until interrupted."""
    from photosync.watch import own_command
    from photosync.watch import watch as watching

    ctx: Context = context.obj
    ctx.louder(0, False, log_file)
    watching(ctx.session(), own_command(ctx.config), plug_in_only=plug_in_only, once=once)


def install_service(context: typer.Context) -> None:
    """Write systemd user units, or a launchd agent, that run the jobs; prints how to enable them."""
    from photosync.service import install
    from photosync.watch import own_command

    ctx: Context = context.obj
    config = ctx.config.resolve() if ctx.config is not None else None
    for line in install(ctx.session().config.jobs, own_command(config)):
        typer.echo(line)
