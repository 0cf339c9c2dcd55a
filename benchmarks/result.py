"""What was measured, as JSON: kept in a file in which each workload can be measured anew by itself."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers import INSTALLED, found
from benchmarks.rounds import Goal, Row, Verdict

_VERSIONS = {
    "rclone": ["version"], "s5cmd": ["version"], "aws": ["--version"], "rsync": ["--version"],
    "cp": ["--version"], "find": ["--version"],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """One workload.

    Attributes:
        name, title, what: of the workload.
        when: UTC date and time.
        runs: rounds that were asked for.
        quick: it was much smaller than its title says.
        seconds: it took, preparation included.
        load: one-minute load averages before and after.
        missing: programs that are not installed.
        rows: by program and step.
        verdicts: of its goals; none if it was quick.
        failed: why it was not measured, or None.
    """

    name: str
    title: str
    what: str
    when: str
    runs: int
    quick: bool
    seconds: float = 0.0
    load: tuple[float, float] = (0.0, 0.0)
    missing: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    failed: str | None = None

    @property
    def is_sound(self) -> bool:
        return self.failed is None and not any(row.wrong for row in self.rows)


@dataclass(frozen=True, slots=True)
class Result:
    """All workloads, in the order in which they are told.

    Attributes:
        machine: label → what it is.
        workloads: what was measured.
    """

    machine: dict[str, str] = field(default_factory=dict)
    workloads: tuple[Measured, ...] = ()

    def with_workload(self, new: Measured, order: Sequence[str]) -> "Result":
        """The same with one workload measured, or measured anew.

        Args:
            order: names of all workloads.
        """
        others = [each for each in self.workloads if each.name != new.name and each.name in order]
        return replace(self, workloads=tuple(sorted([*others, new], key=lambda each: order.index(each.name))))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> "Result":
        """What an earlier invocation wrote; an empty one if the file is not there."""
        if not file.exists():
            return cls()
        said = json.loads(file.read_text())
        return cls(said["machine"], tuple(_measured(each) for each in said["workloads"]))


def _measured(said: dict[str, Any]) -> Measured:
    rows = tuple(Row(**row) for row in said.pop("rows"))
    verdicts = tuple(
        Verdict(**{**each, "goal": Goal(**{**each["goal"], "against": tuple(each["goal"]["against"])}),
                   "values": tuple(each["values"]), "cpu": tuple(each["cpu"]),
                   "alone": tuple(each.get("alone", ()))})
        for each in said.pop("verdicts")
    )  # fmt: skip
    load, missing = tuple(said.pop("load")), tuple(said.pop("missing"))
    return Measured(**said, rows=rows, verdicts=verdicts, load=load, missing=missing)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")


def machine(scratch: Path) -> dict[str, str]:
    """What matters of this machine, and the versions of everything that is measured."""
    told = {
        "processors": f"{os.cpu_count()}, {_processor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "files on": _file_system(scratch),
        "Python": platform.python_version(),
        "photosync": f"{version('photosync-engine')}, {_way()}",
    }
    for program, arguments in _VERSIONS.items():
        path = found(program)
        told[program] = _first_line([path, *arguments]) if path else "not installed"
    told["aws"] = told["aws"].partition(" Python")[0]
    return told


def _way() -> str:
    here = found("photosync") == str(INSTALLED)
    return "as people install it" if here else "with all that is here for its development"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


def _file_system(folder: Path) -> str:
    from photosync.backends.posix import filesystem_type

    return filesystem_type(str(folder))


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, check=False)
    lines = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
    return lines[0].strip() if lines else "unknown"
