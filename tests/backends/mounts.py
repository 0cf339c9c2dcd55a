"""File systems mounted for a test."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(kind: str, at: Path, options: str, what: Path | None = None) -> Iterator[Path]:
    """Mounts a file system, and unmounts it at the end; skips the test where that is not allowed.

    Args:
        kind: "tmpfs", "ext4" …
        at: folder to mount it at; made if it is missing.
        options: as for mount's ``-o``.
        what: image, for kinds that need one.
    """
    at.mkdir(exist_ok=True)
    if os.getuid() != 0:
        pytest.skip("mounting needs root")
    # On a shared mount of its own: else a mount namespace that another test makes meanwhile would keep the
    # file system, and a disk whose power was cut would still be without it when it is mounted again.
    base = ["mount", "--bind", "--make-shared", at, at]
    if subprocess.run(base, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not mount anything")
    try:
        with _above(kind, at, options, what):
            yield at
    finally:
        subprocess.run(["umount", at], check=True)


@contextlib.contextmanager
def _above(kind: str, at: Path, options: str, what: Path | None) -> Iterator[None]:
    done = subprocess.run(
        ["mount", "-t", kind, "-o", options, what or kind, at], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine does not mount {kind}: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Whoever looks for phones on this machine looks into every disk for a moment.
        for wait in (0.1, 0.2, 0.5, 1, 2, 5, None):
            if not subprocess.run(["umount", at], check=False).returncode:
                break
            if wait is None:
                subprocess.run(["umount", "--lazy", at], check=True)
                pytest.fail(f"something is still open on {at}")
            time.sleep(wait)
