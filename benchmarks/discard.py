"""The S3 endpoint of ``discard.c``: compiled here and now, and asked what it was told."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from benchmarks.trees import Tree, is_own

KEY, SECRET = "PHOTOSYNCBENCHMARK00", "photosync-benchmark-secret-000000000000"


@dataclass(frozen=True, slots=True)
class Discard:
    """A running endpoint.

    Attributes:
        endpoint: its URL.
    """

    endpoint: str

    def counts(self) -> dict[str, int]:
        """Requests so far, by kind, and how many uploads came with which checksum."""
        found: dict[str, int] = json.loads(self._asked("stats"))
        return found

    def tree(self, bucket: str, folder: str) -> Tree:
        """Names and sizes below a folder of a bucket, without photosync's own."""
        prefix = f"{bucket}/{folder}/"
        tree: dict[str, tuple[int, str]] = {}
        for line in self._asked(f"objects?prefix={quote(prefix)}").splitlines():
            size, _, name = line.partition(" ")
            path = name.removeprefix(prefix)
            if not is_own(path):
                tree[path] = (int(size), "")
        return tree

    def forget(self, prefix: str) -> None:
        """Deletes all objects whose bucket and key begin so."""
        self._asked(f"forget?prefix={quote(prefix)}")

    def copy(self, bucket: str, to: str) -> None:
        """Copies a bucket's objects to another one."""
        self._asked(f"copy?from={quote(bucket)}&to={quote(to)}")

    def _asked(self, what: str) -> str:
        with urllib.request.urlopen(f"{self.endpoint}/-/{what}", timeout=60) as answer:
            text: str = answer.read().decode()
        return text


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")


def missing() -> str | None:
    """Why it cannot be had on this machine, or None."""
    return None if _compiler() else "no C compiler (cc, clang or gcc)"


@contextlib.contextmanager
def discard(folder: Path, milliseconds: float = 0) -> Iterator[Discard]:
    """Starts one on a free port of 127.0.0.1.

    Args:
        folder: for the program.
        milliseconds: after which each request is answered.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        program, port_file = Path(scratch, "discard"), Path(scratch, "port")
        source = Path(__file__).with_name("discard.c")
        subprocess.run([_compiler() or "cc", "-O2", "-o", str(program), str(source)], check=True)
        process = subprocess.Popen([str(program), str(port_file), str(milliseconds)])
        try:
            yield Discard(f"http://127.0.0.1:{_port(port_file)}")
        finally:
            process.kill()
            process.wait()


def _port(file: Path) -> int:
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text().endswith("\n")):
        if time.monotonic() > deadline:
            raise RuntimeError("the discarding endpoint did not start")
        time.sleep(0.01)
    return int(file.read_text())
