"""``install-service``: units by which systemd or launchd runs jobs for a user."""

import os
import plistlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from photosync.config import JobSpec
from photosync.schedule import Schedule

LABEL = "photosync.watch"


def units(jobs: Mapping[str, JobSpec], command: Sequence[str]) -> dict[str, str]:
    """systemd user units by file name (systemd.service(5), systemd.timer(5)).

    Args:
        jobs: by name.
        command: what begins ``photosync``.
    """
    found: dict[str, str] = {}
    for name, job in sorted(jobs.items()):
        if job.schedule:
            found[f"photosync-{name}.service"] = (
                f"[Unit]\nDescription=photosync: {_plain(name)}\n\n"
                f"[Service]\nType=oneshot\nExecStart={_line([*command, 'run', name])}\n"
            )
            timer = "\n".join(Schedule.parse(job.schedule).timer())
            found[f"photosync-{name}.timer"] = (
                f"[Unit]\nDescription=photosync: {_plain(name)}, {_plain(job.schedule)}\n\n"
                f"[Timer]\n{timer}\n\n[Install]\nWantedBy=timers.target\n"
            )
    if any(job.on_plug_in for job in jobs.values()):
        found["photosync-watch.service"] = (
            "[Unit]\nDescription=photosync: copies a phone when it is plugged in\n\n"
            f"[Service]\nExecStart={_line([*command, 'watch', '--plug-in-only'])}\n"
            "Restart=on-failure\nRestartSec=30\n\n[Install]\nWantedBy=default.target\n"
        )
    return found


def _plain(text: str) -> str:
    return re.sub(r"[\x00-\x1f]", " ", text).replace("%", "%%")


def _line(command: Sequence[str]) -> str:
    """A command in systemd's quoting (systemd.service(5), "Command lines")."""
    escaped = (
        re.sub(r"[\x00-\x1f]", lambda found: f"\\x{ord(found[0]):02x}", part.replace("\\", "\\\\"))
        .replace('"', '\\"')
        .replace("%", "%%")
        .replace("$", "$$")
        for part in command
    )
    return " ".join(f'"{part}"' for part in escaped)


def plist(command: Sequence[str]) -> bytes:
    """A launchd agent that keeps ``watch`` running (launchd.plist(5))."""
    return plistlib.dumps(
        {"Label": LABEL, "ProgramArguments": [*command, "watch"], "RunAtLoad": True, "KeepAlive": True}
    )


def install(jobs: Mapping[str, JobSpec], command: Sequence[str], platform: str = sys.platform) -> list[str]:
    """Writes what runs the jobs, and gives lines that say what to do next. Enables nothing itself."""
    wanted = {name: job for name, job in jobs.items() if job.schedule or job.on_plug_in}
    if not wanted:
        return ["No job has a schedule or on_plug_in = true; nothing was written."]
    if platform == "darwin":
        folder = Path.home() / "Library/LaunchAgents"
        files = {f"{LABEL}.plist": plist(command)}
        enable = [f"launchctl bootstrap gui/$(id -u) {folder / f'{LABEL}.plist'}"]
    else:
        config = os.environ.get("XDG_CONFIG_HOME")
        folder = (Path(config) if config else Path.home() / ".config") / "systemd/user"
        files = {name: text.encode() for name, text in units(wanted, command).items()}
        started = [name for name in files if name.endswith(".timer") or name == "photosync-watch.service"]
        enable = ["systemctl --user daemon-reload", f"systemctl --user enable --now {' '.join(started)}"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [
        *(f"wrote {folder / name}" for name in files),
        "",
        "To enable:",
        *(f"  {line}" for line in enable),
    ]
