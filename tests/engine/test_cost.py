"""What a file costs in calls of photosync's own functions: speed must not rot unseen.

Calls are counted, no time: by the deterministic scheduler a run makes the same ones on every machine. Each
workload is run with few and with many files, so that what a run costs by itself falls out.
"""

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from photosync.backends.local_store import LocalStore
from photosync.engine.capabilities import Blob, Capabilities, Stored
from photosync.engine.entry import Entry
from photosync.engine.item import Pair, Settings
from photosync.engine.journal import Journal
from photosync.engine.names import S3
from photosync.engine.sync import Job, run
from tests.sim.scheduler import Scheduler

CALLS = {
    "copy to objects": 239.9,
    "objects, no change": 10.7,
    "copy to a disk": 280.4,
    "disk, no change": 7.4,
}
"""Calls a file, as recorded. A change that saves a tenth or more belongs here, too."""
FEW, MANY = 20, 70
OURS = tuple(
    os.path.dirname(sys.modules[name].__file__ or "") + os.sep
    for name in ("photosync.engine.sync", "photosync.backends.local_store")
)
INLINED = {"<listcomp>", "<dictcomp>", "<setcomp>"}
"""No calls any more from Python 3.12 on."""


class Objects:
    """A store that takes objects one by one, keeps what it was told of them, and checks SHA-256."""

    capabilities = Capabilities(
        names=S3, hashes=("sha256",), exclusive=True, flat_listing=True, write_concurrency=4
    )

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self._files: dict[str, Entry] = {}
        self._own: dict[str, bytes] = {}

    def list_tree(self) -> Iterator[Entry]:
        return iter(list(self._files.values()))

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        stored: list[Stored | Exception] = []
        for blob in blobs:
            self._files[blob.path] = Entry(blob.path, len(blob.data), version="1")
            digests = {"sha256": blob.digests["sha256"]}
            stored.append(Stored(blob.path, len(blob.data), "1", digests, blob.mtime_ns))
        return stored

    def read_small(self, path: str, limit: int) -> tuple[bytes, str | None]:
        try:
            return self._own[path], "1"
        except KeyError:
            raise FileNotFoundError(path) from None

    def replace_small(self, path: str, data: bytes, replaces: str | None) -> str | None:
        self._own[path] = data
        return "1"


def calls(source: Path, destination: Any, state: Path) -> int:
    """Runs once and counts."""
    counted = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal counted
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and code.co_name not in INLINED:
            counted += 1

    scheduler = Scheduler(1)
    origin = LocalStore(str(source))
    # Whatever file system this is.
    origin.capabilities = replace(origin.capabilities, read_concurrency=4, slow_read=False)
    job = Job(Pair(origin, destination, "a", "b", "there"), settings=Settings())

    def body() -> None:
        with Journal(state, scheduler) as journal:
            report = run(job, journal, scheduler, lambda _event: None)
        assert report.fatal is report.manifest_error is None

    threading.setprofile(count)
    try:
        scheduler.run(body)
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
    return counted


def measured(folder: Path, files: int, objects: bool) -> tuple[int, int]:
    """Calls of a first run, and of one with nothing to do."""
    source = folder / f"source-{files}"
    for number in range(files):
        path = source / f"DCIM/{100 + number // 10}/IMG_{number:04d}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff\xe0 photo %d \xff\xd9" % number)
    store: Any = Objects() if objects else LocalStore(str(folder / f"copy-{files}"))
    # A real disk has its own idea of how many may read and write at once.
    store.capabilities = replace(store.capabilities, write_concurrency=4)
    state = folder / f"state-{files}"
    return calls(source, store, state), calls(source, store, state)


@pytest.mark.parametrize("objects", [True, False], ids=["objects", "disk"])
def test_what_a_file_costs(tmp_path: Path, objects: bool) -> None:
    few, many = (measured(tmp_path, files, objects) for files in (FEW, MANY))
    for name, less, more in zip(
        ("copy to objects", "objects, no change") if objects else ("copy to a disk", "disk, no change"),
        few,
        many,
        strict=True,
    ):
        each = (more - less) / (MANY - FEW)
        assert each <= CALLS[name] * 1.1, f"{name}: {each:.1f} calls a file, recorded are {CALLS[name]}"
        assert each >= CALLS[name] * 0.9, f"{name}: only {each:.1f} calls a file: record that in CALLS"
