"""What the engine does with very many files: ``python -m benchmarks.million scan|plan|manifest …``.

A process of its own for each, so that its memory is known. The last line that it writes is a JSON object:
stage → [seconds, seconds of CPU, peak bytes of the process so far].
"""

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from photosync.engine.capabilities import Store

T = TypeVar("T")
CHANGES = 1_000
_stages: dict[str, tuple[float, float, int]] = {}


def _timed(stage: str, run: Callable[[], T]) -> T:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    _stages[stage] = (time.perf_counter() - wall, time.process_time() - cpu, peak)
    return result


def path_of(number: int) -> str:
    """A thousand files to a folder; sorted as they are numbered."""
    return f"DCIM/{number // 1000:05d}CANON/IMG_{number:08d}.JPG"


def make_files(folder: Path, count: int) -> None:
    """Writes ``count`` empty files."""
    for number in range(count):
        path = folder / path_of(number)
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.touch()


def scan(folder: str) -> None:
    """Lists a folder as a copy lists its source."""
    from photosync.backends.local import LocalBackend
    from photosync.engine.scan import walk

    store = LocalBackend().store(folder)
    listing = _timed("scan", lambda: walk(store, check=lambda: None, is_source=True))
    print(len(listing.entries))


def plan(count: str) -> None:
    """Plans a run that finds nothing to do but ``CHANGES`` new files, all others being known and there.

    Both sides are listed first, from a store that makes its entries up.
    """
    from photosync.engine.capabilities import Capabilities
    from photosync.engine.entry import Entry
    from photosync.engine.journal import GROUP, Delivered
    from photosync.engine.plan import Policy, make_plan
    from photosync.engine.scan import Listing, flat

    total = int(count)

    def entry(number: int) -> Entry:
        return Entry(path_of(number), 3_000_000 + number, 1_700_000_000_000_000_000 + number)

    def row(number: int) -> tuple[Any, ...]:
        path, at = path_of(number).encode(), 1_700_000_000_000_000_000 + number
        return path, 3_000_000 + number, at, None, "0" * 64, path, None, "server-hash:sha256"

    def known() -> Iterator[list[tuple[Any, ...]]]:
        for start in range(0, total - CHANGES, GROUP):
            yield [row(number) for number in range(start, min(start + GROUP, total - CHANGES))]

    def listing(files: int) -> Listing:
        made_up = SimpleNamespace(list_tree=lambda: map(entry, range(files)))
        return flat(cast("Store", made_up), check=lambda: None)

    source, there = _timed("list", lambda: (listing(total), listing(total - CHANGES)))
    found = _timed("plan", lambda: make_plan(source, there, Delivered(known), Policy(), Capabilities()))
    print(len(found.actions))


def manifest(count: str) -> None:
    """Builds a manifest, edits ``CHANGES`` entries of it, and finds out which."""
    from photosync.engine.compare import diff
    from photosync.engine.manifest import MemoryNodes, build, edit
    from photosync.engine.nodes import ManifestEntry

    total = int(count)

    def entry(number: int, version: int = 0) -> ManifestEntry:
        digest = hashlib.sha256(b"%d %d" % (number, version)).hexdigest()
        return ManifestEntry(
            path_of(number), 3_000_000, 1_700_000_000_000_000_000, digest, digest, (digest[:32],)
        )

    entries = [entry(number) for number in range(total)]
    nodes = MemoryNodes()
    root = _timed("build", lambda: build(entries, nodes))
    changed = [entry(number, 1) for number in range(0, total, max(1, total // CHANGES))]
    other = _timed("edit", lambda: edit(root, changed, (), nodes))
    found = _timed("diff", lambda: sum(1 for _ in diff(root, other, nodes)))
    if found != len(changed):
        sys.exit(f"{found} differences found, not {len(changed)}")
    print(found)


if __name__ == "__main__":
    {"scan": scan, "plan": plan, "manifest": manifest}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(_stages))
