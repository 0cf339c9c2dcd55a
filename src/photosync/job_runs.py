"""``run``, ``jobs`` and ``runs``: jobs of the configuration, and what became of them."""

import contextlib
import datetime
import difflib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photosync import mirrors, notify, paths, private_file
from photosync.config import ConfigError, JobSpec
from photosync.engine.errors import PhotosyncError
from photosync.engine.events import Notice
from photosync.engine.journal import Journal
from photosync.engine.mirror import MirrorReport
from photosync.engine.report import Exit
from photosync.failures import explain
from photosync.jobs import Options
from photosync.mirrors import StageOptions
from photosync.output import Output, as_record, summary
from photosync.session import Session, locked


def find_job(session: Session, name: str) -> JobSpec:
    """A job of the configuration.

    Raises:
        ConfigError: there is none of that name.
    """
    jobs = session.config.jobs
    if name in jobs:
        return jobs[name]
    if not jobs:
        raise ConfigError(f"there is no job called {name!r}: the configuration has no [jobs.NAME] yet")
    close = difflib.get_close_matches(name, jobs, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(jobs))}"
    raise ConfigError(f"there is no job called {name!r} in the configuration; {hint}")


def run_job(session: Session, name: str, output: Output, *, dry_run: bool) -> Exit:
    """Runs a job, shows its end and tells those who want to know.

    Raises:
        ConfigError: there is no such job, or it asks for what this version cannot do.
        Transient: it is running already.
        Exception: as `photosync.mirrors.execute`, after whoever wants to know was told.
    """
    job = find_job(session, name)
    options, staging = _options(job), _staging(job)
    busy = f"the job {name!r} is running at the moment; run it again when it has ended"
    with locked(_folder() / f"{name}.lock", busy):
        if dry_run:
            return mirrors.execute(
                session, job.source, job.destinations, options, staging, output, dry_run=True
            )
        _set_last(name, time.time())
        try:
            report = mirrors.run(session, job.source, job.destinations, options, staging, output)
        except Exception as error:
            found = explain(error)
            text = session.redact(found[1] if found else type(error).__name__)
            notify.tell(job, f"photosync: {name} failed", text, {"job": name, "status": "failed"})
            raise
    holding = [each for each in report.reports if each.clean]
    if len(holding) < job.min_copies:
        output(
            Notice(
                "warning",
                f"{len(holding)} of {len(report.reports)} destinations hold every file; "
                f"the job {name} wants {job.min_copies}",
            )
        )
    output.report_all(report)
    _tell(session, name, job, report)
    return report.exit_code


def _options(job: JobSpec) -> Options:
    from photosync.engine.filters import Filter

    filters: dict[str, Any] = {
        "include": job.include, "exclude": job.exclude,
        "filter_from": [Path(each).expanduser() for each in job.filter_from],
        "min_size": job.min_size, "max_size": job.max_size, "min_age": job.min_age, "max_age": job.max_age,
    }  # fmt: skip
    chosen = {option: value for option, value in filters.items() if value}
    wanted = Filter.parse(**chosen, ignore_case=job.ignore_case, now_ns=time.time_ns()) if chosen else None
    shared = set(Options.__dataclass_fields__) & set(job.__struct_fields__)
    return Options(wanted=wanted, **{option: getattr(job, option) for option in shared})


def _staging(job: JobSpec) -> StageOptions:
    stage = Path(job.stage).expanduser() if job.stage else None
    return StageOptions(stage, job.stage_size, job.unplug_early)


def _tell(session: Session, name: str, job: JobSpec, report: MirrorReport) -> None:
    words = {"ok": "done", "nothing": "nothing to do", "partial": "not everything was copied"}
    title = f"photosync: {name}: {words.get(report.status, 'failed')}"
    lines = [f"{each.destination}: {summary(each)[-1]}" for each in report.reports]
    record = {
        "job": name,
        "status": report.status,
        "exit_code": int(report.exit_code),
        "destinations": {each.destination: as_record(each) for each in report.reports},
    }
    redacted = json.loads(session.redact(json.dumps(record)))
    notify.tell(job, title, session.redact("\n".join(lines)), redacted)


# what was


@dataclass(frozen=True, slots=True)
class Listed:
    """A job as ``photosync jobs`` shows it.

    Attributes:
        last: when it last began, seconds since the epoch; None: never.
    """

    name: str
    job: JobSpec
    last: float | None

    def record(self) -> dict[str, Any]:
        due = next_run(self.job, self.last)
        return {
            "event": "job",
            "name": self.name,
            "source": self.job.source,
            "destinations": list(self.job.destinations),
            "schedule": self.job.schedule or None,
            "on_plug_in": self.job.on_plug_in,
            "min_copies": self.job.min_copies,
            "last": moment(self.last) if self.last else None,
            "next": moment(due.timestamp()) if due else None,
        }


def list_jobs(session: Session) -> list[Listed]:
    return [Listed(name, job, last_start(name)) for name, job in sorted(session.config.jobs.items())]


def next_run(job: JobSpec, last: float | None) -> datetime.datetime | None:
    """When a job is due; None: it has no schedule. A job that never ran is due at its next time."""
    from photosync.schedule import Schedule

    if not job.schedule:
        return None
    return Schedule.parse(job.schedule).next(datetime.datetime.fromtimestamp(last or time.time()))


def moment(seconds: float) -> str:
    """An instant as JSON has it."""
    found = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return found.isoformat(timespec="seconds").replace("+00:00", "Z")


def past_runs(session: Session) -> list[dict[str, Any]]:
    """Every run that this machine remembers, oldest first."""
    found = []
    for journal in _journals(session):
        for each in journal.runs():
            row = {"started": moment(each.started_ns / 1e9), "source": each.source}
            row |= {"destination": each.destination, **each.report}
            found.append((each.started_ns, {"event": "run", **row, "files": each.files}))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _journals(session: Session) -> Iterator[Journal]:
    for path in sorted((paths.state_dir() / "journals").glob("*.sqlite")):
        # One that is damaged says so when its destination is used; the history of the others stands.
        with contextlib.suppress(PhotosyncError), Journal(path, session.seam) as journal:
            yield journal


def lines_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Past runs for people, newest last."""
    lines = []
    for row in rows:
        text = f"{row['started']}  {row['status']:<8}"
        if "verified" not in row:
            audit = row["source"].partition(" ")[0] == "verify"
            text += f" {row['files']:>6} {'looked at' if audit else 'still at the source'}"
            lines.append(f"{text}  {row['source']} {'of' if audit else 'to'} {row['destination']}")
            continue
        copied = row["verified"] + row["written"] + row["conflict"]
        left = row["failed"] + row["pending"] + row["refused"]
        text += f" {copied:>6} copied"
        text += f", {left} not" if left else ""
        error = f"  ({row['error']})" if row.get("error") else ""
        lines.append(f"{text}  {row['source']} to {row['destination']}{error}")
    return lines


def _folder() -> Path:
    return paths.state_dir() / "jobs"


def last_start(name: str) -> float | None:
    """When a job last began."""
    try:
        return float((_folder() / f"{name}.last").read_text())
    except (OSError, ValueError):
        return None


def _set_last(name: str, seconds: float) -> None:
    with contextlib.suppress(OSError):
        private_file.replace(_folder() / f"{name}.last", str(seconds).encode())
