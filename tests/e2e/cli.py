"""The real command, run as a user or a script would, and other programs' opinion of what it left behind."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

TIMEOUT = 240.0
OURS = ".photosync"


@dataclass(frozen=True)
class Done:
    """A command that has ended.

    Attributes:
        code: exit code; negative: the signal that ended it.
        out, err: what it wrote, undecodable bytes as surrogates.
        seconds: how long it took.
    """

    code: int
    out: str
    err: str
    seconds: float = 0.0

    @property
    def events(self) -> list[dict[str, Any]]:
        """stdout as JSON lines; raises if anything else is on it."""
        return [json.loads(line) for line in self.out.removesuffix("\n").split("\n")]

    @property
    def report(self) -> dict[str, Any]:
        """The last line, which must be the report."""
        last = self.events[-1]
        assert last["event"] == "report", self
        return last

    def files(self, status: str | None = None) -> dict[str, dict[str, Any]]:
        """Lines about files by path, those with one status or all."""
        rows = [row for row in self.events if row["event"] == "file"]
        return {row["path"]: row for row in rows if status in (None, row["status"])}

    @property
    def requests(self) -> dict[str, int]:
        """Requests to the one destination, by operation."""
        (found,) = self.report["requests"].values()
        return dict(found)

    def expect(self, code: int) -> Self:
        assert self.code == code, (
            f"exit code {self.code}, not {code}\n{self._errors()}\n{self.out[-4000:]}\n{self.err[-4000:]}"
        )
        return self

    def _errors(self) -> str:
        """Lines that tell an error: among thousands they would not be within the end of the output."""
        return "\n".join(line for line in self.out.splitlines() if '"error":"' in line)[:4000]


def program(name: str) -> str:
    """A program of this environment."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed in this environment"
    return found


@dataclass
class Photosync:
    """photosync on one machine: a home, a state folder, a configuration and credentials of its own.

    Attributes:
        home: folder that holds all of it.
        env: the whole environment of its processes; nothing comes from the tests' own.
    """

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "PHOTOSYNC_STATE_DIR": str(self.state),
            "PHOTOSYNC_CONFIG": str(self.config),
            "PHOTOSYNC_SECRETS_FILE": str(self.home / "secrets.json"),
            "PHOTOSYNC_CACHE_DIR": str(self.home / "cache"),
            **self.env,
        }

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def config(self) -> Path:
        return self.home / "config.toml"

    def start(self, *arguments: str | Path, **options: Any) -> "subprocess.Popen[bytes]":
        """Begins a command, in a process group of its own.

        Args:
            options: ``env`` adds variables; ``terminal`` is a descriptor for stderr; ``under`` is a
                command that runs it; others are Popen's.
        """
        terminal = options.pop("terminal", subprocess.PIPE)
        return subprocess.Popen(
            [*options.pop("under", ()), program("photosync"), *map(str, arguments)],
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=terminal,
            env={**self.env, **options.pop("env", {})},
            cwd=self.home,
            start_new_session=True,
            **options,
        )

    def run(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        text: str | None = None,
        timeout: float = TIMEOUT,
    ) -> Done:
        """Runs a command to its end.

        Args:
            arguments: of photosync.
            env: further variables.
            text: for its stdin.
            timeout: seconds after which it is killed and the test fails.
        """
        options: dict[str, Any] = {"stdin": subprocess.PIPE} if text is not None else {}
        began = time.monotonic()
        with self.start(*arguments, env=dict(env or {}), **options) as process:
            return finish(process, text, timeout, began)

    def copy(self, source: str | Path, destination: str | Path, *options: str | Path, **how: Any) -> Done:
        """``copy --json``."""
        return self.run("copy", source, destination, "--json", *options, **how)

    def lose_state(self) -> None:
        """Forgets everything but the configuration and the sign-ins."""
        shutil.rmtree(self.state)

    def import_rclone(self, text: str) -> None:
        """Takes over the remotes of an rclone.conf."""
        file = self.home / "rclone.conf"
        file.write_text(text)
        done = self.run("config", "import-rclone", file).expect(0)
        assert "imported" in done.out, done.err


def finish(
    process: "subprocess.Popen[bytes]", text: str | None = None, timeout: float = TIMEOUT, began: float = 0.0
) -> Done:
    """Waits for a command that was started."""
    try:
        out, err = process.communicate(None if text is None else text.encode(), timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    seconds = time.monotonic() - began if began else 0.0
    decoded = [(data or b"").decode("utf-8", "surrogateescape") for data in (out, err)]
    return Done(process.returncode, decoded[0], decoded[1], seconds)


def cpu_seconds(process: "subprocess.Popen[bytes]") -> float:
    """Waits for a process that writes next to nothing; gives its user and system time together."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    found: resource.struct_rusage = usage
    return found.ru_utime + found.ru_stime


def tree(folder: Path) -> dict[str, bytes]:
    """A folder's files by relative path, photosync's own left out; names that are no text as surrogates."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.is_symlink() and file.relative_to(folder).parts[0] != OURS
    }


def write(folder: Path, files: Mapping[str, bytes], mtime: float | None = None) -> Path:
    """Writes files below a folder, all with one time if it is given; gives the folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if mtime is not None:
            os.utime(path, (mtime, mtime))
    return folder


def noise(size: int, seed: object = 0) -> bytes:
    """Bytes that don't compress, the same for the same seed."""
    import random

    return random.Random(str(seed)).randbytes(size)


def photo(size: int, seed: object = 0) -> bytes:
    """So many bytes with the structure of a JPEG, which nobody takes for damaged."""
    return b"\xff\xd8\xff\xda\0\2" + noise(size - 8, seed).replace(b"\xff", b"\0") + b"\xff\xd9"


def sha256sum_check(folder: Path, sums: Path) -> subprocess.CompletedProcess[str]:
    """coreutils' verdict on a folder."""
    return subprocess.run(
        ["sha256sum", "--check", "--quiet", "--strict", str(sums)],
        cwd=folder, capture_output=True, text=True, errors="surrogateescape", env={"LC_ALL": "C"},
        check=False,
    )  # fmt: skip


def rclone_check(
    source: Path | str, destination: str, env: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> None:
    """rclone reads both sides and must find them equal, photosync's own folder left out."""
    done = subprocess.run(
        [program("rclone"), "check", "--download", str(source), destination, "--config",
         (env or {}).get("RCLONE_CONFIG", ""), "--exclude", f"/{OURS}/**", *options],
        capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": "/", **(env or {})},
        timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "0 differences found" in done.stderr, done.stderr[-4000:]
