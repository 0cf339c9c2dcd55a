"""What a run shows: JSON lines for scripts, or progress and a summary for people."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from photosync.engine.events import Event, Finished, MayUnplug, Moved, Notice, Phase, Planned, Status
from photosync.engine.mirror import MirrorReport
from photosync.engine.names import printable
from photosync.engine.removal import Removal
from photosync.engine.report import Report
from photosync.engine.sizes import human_size

if TYPE_CHECKING:
    from rich.progress import TaskID

_COUNTED = (
    Status.VERIFIED,
    Status.WRITTEN,
    Status.UNCHANGED,
    Status.CONFLICT,
    Status.REFUSED,
    Status.FAILED,
    Status.PENDING,
)


class Output(Protocol):
    """Listens to a run and shows its end."""

    def __call__(self, event: Event) -> None: ...
    def report(self, report: Report) -> None: ...
    def report_all(self, report: MirrorReport) -> None:
        """The end of a run with several destinations."""
        ...

    def failed(self, text: str, destinations: Sequence[str]) -> None:
        """The run could not begin."""
        ...


def json_text(record: dict[str, Any]) -> str:
    """One JSON object on one line; undecodable bytes of names become escapes (\\udcff)."""
    try:
        return msgspec.json.encode(record).decode()
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(record, separators=(",", ":"))


def json_line(record: dict[str, Any]) -> None:
    """Prints one JSON object on a line of its own."""
    sys.stdout.write(json_text(record) + "\n")
    sys.stdout.flush()


def removal_record(each: Removal, place: str) -> dict[str, Any]:
    """What became of a file that was to be removed, for JSON."""
    return {
        "event": "remove",
        "path": each.path,
        "place": place,
        "status": each.fate.value,
        "bytes": each.bytes,
        "to": each.to,
        "error": each.error,
    }


class Json:
    """JSON lines on stdout, the last of them the report."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            outcome = event.outcome
            json_line(
                {
                    "event": "trash" if outcome.status is Status.TRASHED else "file",
                    "path": outcome.path,
                    "destination": event.destination,
                    "status": outcome.status.value,
                    "evidence": outcome.evidence,
                    "bytes": outcome.bytes,
                    "stored": outcome.stored,
                    "reason": outcome.reason,
                    "error": outcome.error,
                    "asset": outcome.asset,
                    "taken": outcome.taken.text if outcome.taken else None,
                    "taken_from": outcome.taken.source if outcome.taken else None,
                    "suspicious": outcome.suspicious,
                }
            )
        elif isinstance(event, Notice):
            json_line({"event": "notice", "level": event.level, "text": event.text})
        elif isinstance(event, MayUnplug):
            json_line({"event": "unplug", "files": event.files, "bytes": event.bytes})

    def report(self, report: Report) -> None:
        for each in report.removals:
            json_line(removal_record(each, "source"))
        json_line({"event": "report", **as_record(report)})

    def report_all(self, report: MirrorReport) -> None:
        parts = {each.destination: as_record(each) for each in report.reports}
        counted = [*(status.value for status in _COUNTED), "trashed", "suspicious", "bytes"]
        errors = [f"{name}: {part['error']}" for name, part in parts.items() if part["error"]]
        json_line(
            {
                "event": "report",
                "status": report.status,
                **{name: sum(part[name] for part in parts.values()) for name in counted},
                "source_bytes_read": report.source_bytes,
                "source_bytes_read_again": report.read_again,
                "requests": {name: part["requests"][name] for name, part in parts.items()},
                "retries": {name: part["retries"][name] for name, part in parts.items()},
                "seconds": round(report.seconds, 3),
                "root": _common(part["root"] for part in parts.values()),
                "snapshot": _common(part["snapshot"] for part in parts.values()),
                "interrupted": any(part["interrupted"] for part in parts.values()),
                "warnings": list(dict.fromkeys(text for part in parts.values() for text in part["warnings"])),
                "error": "; ".join(errors) or None,
                "staged_files": report.kept_files,
                "staged_bytes": report.kept_bytes,
                "destinations": {
                    name: {
                        **part,
                        "requests": part["requests"][name],
                        "retries": part["retries"][name],
                        "exit_code": int(each.exit_code),
                    }
                    for (name, part), each in zip(parts.items(), report.reports, strict=True)
                },
            }
        )

    def failed(self, text: str, destinations: Sequence[str]) -> None:
        json_line(
            {
                "event": "report",
                "status": "failed",
                **dict.fromkeys((status.value for status in _COUNTED), 0),
                "trashed": 0,
                "removed": 0,
                "kept": 0,
                "suspicious": 0,
                "bytes": 0,
                "source_bytes_read": 0,
                "requests": {name: {} for name in destinations},
                "retries": {name: {} for name in destinations},
                "seconds": 0.0,
                "root": None,
                "snapshot": None,
                "interrupted": False,
                "warnings": [],
                "error": text,
            }
        )


def as_record(report: Report) -> dict[str, Any]:
    """A report as JSON has it."""
    error = report.fatal or report.manifest_error
    return {
        "status": report.status,
        **{status.value: report.count(status) for status in _COUNTED},
        "trashed": report.count(Status.TRASHED),
        "removed": len(report.removals) - len(report.left),
        "kept": len(report.left),
        "suspicious": report.tally.suspicious,
        "bytes": report.tally.bytes,
        "source_bytes_read": report.source_bytes,
        "requests": {report.destination: dict(sorted(report.requests.items()))},
        "retries": {report.destination: dict(sorted(report.retries.items()))},
        "seconds": round(report.seconds, 3),
        "root": report.root,
        "snapshot": report.snapshot,
        "interrupted": report.interrupted,
        "warnings": list(report.warnings),
        "error": str(error) if error else None,
    }


def _common(values: Iterable[Any]) -> Any:
    """The value that all have, or None."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


class People:
    """Progress bars on a terminal, then what happened, in words.

    Args:
        verbosity: -1: errors only; 0: problems and the summary; 1: every file.
        progress: whether to draw bars on stderr.
    """

    def __init__(self, verbosity: int, progress: bool) -> None:
        self._verbosity = verbosity
        self._bar: _Bar | None = _Bar() if progress and verbosity >= 0 else None
        self._write: Callable[[str], None] = self._bar.write if self._bar else _stderr
        self._names: set[str] = set()

    def __call__(self, event: Event) -> None:
        if self._bar is not None:
            self._bar(event)
        if isinstance(event, Notice):
            if self._verbosity >= 0 or event.level == "error":
                self._write(f"{event.level}: {event.text}")
        elif isinstance(event, MayUnplug):
            left = f" ({event.files} files, {human_size(event.bytes)} still to be delivered)"
            text = "The phone may be unplugged now: all that is needed of it has been read"
            self._write(f"{text}{left if event.files else ''}.")
        elif isinstance(event, Planned):
            self._names.add(event.destination)
        elif isinstance(event, Finished):
            self._file(event)

    def _file(self, event: Finished) -> None:
        outcome = event.outcome
        where = f"  {event.destination}" if self._names - {event.destination} else ""
        if outcome.suspicious and self._verbosity >= 0:
            self._write(f"suspicious  {printable(outcome.path)}: {outcome.suspicious}")
        if outcome.status in (Status.VERIFIED, Status.WRITTEN, Status.TRASHED):
            if self._verbosity >= 1:
                self._write(f"{outcome.status}{where}  {printable(outcome.path)}  ({outcome.evidence})")
            return
        if outcome.status is Status.PENDING and outcome.error is None:
            return
        text = f"{outcome.status}{where}  {printable(outcome.path)}"
        if outcome.status is Status.CONFLICT and outcome.stored:
            text += f": another file has that name; both are kept, this one as {printable(outcome.stored)}"
        elif outcome.error:
            text += f": {outcome.error}"
        if self._verbosity >= 0 or outcome.status in (Status.FAILED, Status.REFUSED):
            self._write(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._write = _stderr

    def report(self, report: Report) -> None:
        self.close()
        if report.fatal is not None:
            _stderr(f"error: {report.fatal}")
        for each in report.left:
            _stderr(f"{each.fate}  {printable(each.path)}: {each.error}")
        if self._verbosity >= 0:
            sys.stdout.write("\n".join(summary(report)) + "\n")
            sys.stdout.flush()

    def report_all(self, report: MirrorReport) -> None:
        self.close()
        for each in report.reports:
            if each.fatal is not None:
                _stderr(f"error: {each.destination}: {each.fatal}")
        if self._verbosity >= 0:
            lines: list[str] = []
            for each in report.reports:
                lines += [f"{each.destination}:", *(f"  {line}" for line in summary(each))]
            read = human_size(report.source_bytes)
            lines.append(f"Read {read} at the source in {report.seconds:.1f} s.")
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()

    def failed(self, text: str, destinations: Sequence[str]) -> None:
        self.close()
        _stderr(f"error: {text}")


def summary(report: Report) -> list[str]:
    """What happened, in a few lines."""
    to = report.destination
    requests = sum(report.requests.values())
    asked = f", {requests} request{'' if requests == 1 else 's'}" if requests else ""
    took = f"{report.seconds:.1f} s{asked}"
    if report.status == "nothing":
        same = report.count(Status.UNCHANGED)
        files = "the only file is" if same == 1 else f"all {same} files are"
        return [f"Nothing to do: {files} at {to} already ({took})."]
    copied = report.count(Status.VERIFIED) - report.tally.adopted
    counted = {"copied and verified": copied, "there already, proven now": report.tally.adopted}
    words = {
        Status.WRITTEN: "copied, not verified",
        Status.UNCHANGED: "there already",
        Status.CONFLICT: "kept beside another file of the same name",
        Status.TRASHED: "moved to the trash",
        Status.REFUSED: "refused",
        Status.FAILED: "failed",
        Status.PENDING: "still to do; run again",
    }
    counted |= {text: report.count(status) for status, text in words.items()}
    lines = [f"{count:>8}  {text}" for text, count in counted.items() if count]
    lines.append(f"{human_size(report.tally.bytes):>8}  sent to {to} in {took}")
    if report.removals:
        lines.append(f"{len(report.removals) - len(report.left):>8}  removed at the source")
    if report.tally.suspicious:
        looks, them = ("they look", "them") if report.tally.suspicious > 1 else ("it looks", "it")
        lines.append(
            f"{report.tally.suspicious:>8}  copied, but {looks} damaged: keep {them} at the source, too"
        )
    if report.listing_errors:
        lines.append(f"{len(report.listing_errors):>8}  folders at the source could not be listed")
    if report.count(Status.WRITTEN):
        lines.append(f"What was only written is not proven: photosync verify {to}")
    elif report.clean and report.snapshot is not None:
        lines.append(
            f"Every file is proven at {to} (snapshot {report.snapshot}, root {(report.root or '')[:16]})."
        )
    elif report.interrupted:
        lines.append("Interrupted. Nothing is half-written; the next run goes on from here.")
    return lines


def _stderr(text: str) -> None:
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


@dataclass(slots=True)
class _Progress:
    """How far one destination is."""

    task: "TaskID"
    active: set[str] = field(default_factory=set)
    files: int = 0
    done: int = 0
    bytes: int = 0
    shown: float = 0.0


class _Bar:
    """A total for each destination, known before it starts, the files under way, and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        self._places: dict[str, _Progress] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice | MayUnplug) or not event.destination:
            return
        name = event.destination
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = _Progress(self._progress.add_task("Starting", total=None))
        if isinstance(event, Phase):
            words = {
                "scan": "Looking at both sides",
                "look": "Looking into new files",
                "plan": "Planning",
                "snapshot": "Writing the manifest",
            }
            self._progress.update(place.task, description=self._label(name, words.get(event.name, "Copying")))
        elif isinstance(event, Planned):
            place.files, place.bytes = event.files, 0
            self._progress.update(place.task, total=event.bytes, completed=0)
        elif isinstance(event, Moved):
            place.active.add(event.path)
            place.bytes += event.read
            self._draw(name, place, force=False)
        else:
            place.active.discard(event.outcome.path)
            place.done += 1
            self._draw(name, place, force=place.done == place.files)

    def _label(self, name: str, text: str) -> str:
        return f"{printable(name)}: {text}" if len(self._places) > 1 else text

    def _draw(self, name: str, place: _Progress, *, force: bool) -> None:
        now = time.monotonic()
        if not force and now - place.shown < 0.1:
            return
        place.shown = now
        text = f"{place.done} of {place.files} files, {len(place.active)} under way"
        self._progress.update(place.task, description=self._label(name, text), completed=place.bytes)

    def write(self, text: str) -> None:
        self._progress.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()
