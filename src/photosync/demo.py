"""The main job on a sample phone: copy, verify, and a second run that finds nothing to do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


def demo(folder: Path) -> int:
    """Makes a phone full of sample photos in a folder and copies it into another.

    Args:
        folder: holds ``phone``, ``copy`` and ``state`` afterwards; those are made anew.

    Returns:
        The exit code of the first step that failed, else 0.
    """
    from photosync.engine.sizes import human_size
    from photosync.sample import build_sample

    folder = folder.resolve()
    phone, copy = folder / "phone", folder / "copy"
    for old in (phone, copy, folder / "state"):
        shutil.rmtree(old, ignore_errors=True)
    summary = build_sample(phone)
    typer.echo(f"A sample phone with {summary.files} files, {human_size(summary.bytes)}: {phone}\n")
    steps = [
        ["copy", str(phone), str(copy)],
        ["verify", str(copy), "--deep"],
        ["copy", str(phone), str(copy)],
        ["log", str(copy)],
    ]
    with _state_in(folder / "state"):
        for step in steps:
            typer.echo(f"$ photosync {' '.join(step)}")
            code = _run(step)
            if code:
                return code
            typer.echo("")
    typer.echo(f"The copy is plain files: look at {copy}")
    return 0


def _run(arguments: list[str]) -> int:
    from photosync.cli import app

    try:
        app(arguments, standalone_mode=False)
    except typer.Exit as end:
        return end.exit_code
    return 0


@contextmanager
def _state_in(folder: Path) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ("PHOTOSYNC_STATE_DIR", "PHOTOSYNC_CONFIG")}
    os.environ |= {"PHOTOSYNC_STATE_DIR": str(folder), "PHOTOSYNC_CONFIG": str(folder / "config.toml")}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
