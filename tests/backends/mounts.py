"""File systems mounted for a test."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(kind: str, at: Path, options: str) -> Iterator[Path]:
    """Mounts an empty file system, and unmounts it at the end; skips the test where that is not allowed."""
    at.mkdir()
    if os.getuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        ["mount", "-t", kind, "-o", options, kind, at], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine does not mount {kind}: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)
