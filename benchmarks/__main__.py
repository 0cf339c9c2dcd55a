"""``python -m benchmarks``: every peer at every place, interleaved, and the table of medians.

``python -m benchmarks requests`` counts requests instead.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import requests
from benchmarks.measure import measure, settle
from benchmarks.peers import PEERS, Peer
from benchmarks.places import LOCAL, PLACES, Ready, missing
from benchmarks.workloads import WORKLOADS, Tree, Workload, difference


@dataclass(slots=True)
class Row:
    """One peer at one place: what each round gave.

    Attributes:
        step: "first" or "no change".
        wall, cpu, peak: seconds, seconds, bytes.
        durable: seconds until it was all on the disk: the run and a sync(2) after it (local places).
        requests: of the last round: by operation where the place or the peer counts them.
        sent: of the last round: uploads that came with a checksum or signature, by its name.
        wrong: why the row is void, or None.
    """

    place: str
    step: str
    peer: str
    checksums: str
    wall: list[float] = field(default_factory=list)
    durable: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    wrong: str | None = None


_SENT = ("md5", "sha256", "crc", "signed", "unsigned")
_REQUESTS = ("PUT", "GET", "HEAD", "LIST", "DELETE", "POST", "BUCKET", "OTHER")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--workload", choices=[each.name for each in WORKLOADS], default="photos")
    parser.add_argument("--place", choices=list(PLACES), action="append", help="default: all of them")
    parser.add_argument("--peer", action="append", metavar="NAME", help="default: all of them")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="every single figure")
    given = parser.parse_args()
    workload = next(each for each in WORKLOADS if each.name == given.workload)
    peers = [peer for peer in PEERS if given.peer is None or peer.name in given.peer]
    rows: dict[tuple[str, str, str], Row] = {}
    notes = [f"missing: {name}" for name in sorted({peer.program for peer in peers if peer.found is None})]
    with tempfile.TemporaryDirectory(prefix="photosync-benchmark-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        tree = workload.make(folder / "source")
        for place in given.place or PLACES:
            if reason := missing(place):
                notes.append(f"{place} left out: {reason}")
                continue
            kind = LOCAL if place == LOCAL else "s3"
            here = [peer for peer in peers if kind in peer.kinds and peer.found]
            for number in range(given.runs):
                _round(folder, place, _turned(here, number), tree, rows)
                print(f"{place}: round {number + 1} of {given.runs}", flush=True)
                if given.json:
                    given.json.write_text(json.dumps([asdict(row) for row in rows.values()], indent=1))
    print(f"\n{_table(workload, rows.values())}", *notes, sep="\n")


def _turned(peers: list[Peer], by: int) -> list[Peer]:
    """Nobody always comes first."""
    by %= len(peers) or 1
    return peers[by:] + peers[:by]


def _round(
    folder: Path, place: str, peers: list[Peer], tree: Tree, rows: dict[tuple[str, str, str], Row]
) -> None:
    with PLACES[place](folder) as make:
        for index, peer in enumerate(peers):
            ready = make(str(index))
            state = folder / "state"
            for step in ("first", "no change"):
                checksums = (peer.local if ready.kind == LOCAL else peer.s3) if step == "first" else ""
                row = rows.setdefault((place, step, peer.name), Row(place, step, peer.name, checksums))
                row.wrong = _run(folder, ready, peer, state, tree, row) or row.wrong
            shutil.rmtree(state, ignore_errors=True)
            if ready.kind == LOCAL:
                shutil.rmtree(ready.rsync, ignore_errors=True)


def _run(folder: Path, ready: Ready, peer: Peer, state: Path, tree: Tree, row: Row) -> str | None:
    settle()
    before = ready.counts()
    command = peer.command(ready, again=row.step != "first")
    cost = measure(command, peer.environment(ready, state), folder)
    if ready.kind == LOCAL:
        row.durable.append(cost.wall + settle())
    row.wall.append(cost.wall)
    row.cpu.append(cost.cpu)
    row.peak.append(cost.peak)
    counts = _since(before, ready.counts())
    row.sent = {name: counts[name] for name in _SENT if counts.get(name)}
    row.requests = {name: counts[name] for name in _REQUESTS if counts.get(name)} or peer.requests(cost) or {}
    expected = {path: (size, "") for path, (size, _) in tree.items()} if ready.trusted else tree
    return peer.problem(cost, len(tree)) or difference(expected, ready.found())


def _since(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items()}


def _table(workload: Workload, rows: Iterable[Row]) -> str:
    lines = [
        f"{workload.title}; medians, (least–most)",
        "| place | run | peer | wall s | durable s | CPU s | peak MB | requests | checksums |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    order = sorted(rows, key=lambda row: (list(PLACES).index(row.place), row.step))
    for row in order:
        if row.wrong:
            figures: list[Any] = [f"void: {row.wrong}", "", "", "", ""]
        else:
            sent = " ".join(f"{name}:{count}" for name, count in row.sent.items())
            figures = [
                f"{median(row.wall):.2f} ({min(row.wall):.2f}–{max(row.wall):.2f})",
                f"{median(row.durable):.2f}" if row.durable else "",
                f"{median(row.cpu):.2f}",
                f"{median(row.peak) / 1e6:.0f}",
                " ".join(f"{name}:{count}" for name, count in row.requests.items()),
            ]
            if sent:
                figures[-1] += f" (sent {sent})"
        cells = [row.place, row.step, row.peer, *figures, row.checksums]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["requests"]:
        sys.exit(requests.main(sys.argv[2:]))
    main()
