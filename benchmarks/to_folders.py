"""Workloads on disks: copies, reflinks, a run without changes, and three destinations from a slow source."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import peers
from benchmarks.bench import Bench, Round, Source, forget, go, prepare, taking_turns
from benchmarks.measure import Cost
from benchmarks.peers import Peer, complaint, environment, requests
from benchmarks.places import Ready, at_folder, xfs
from benchmarks.rounds import Go
from benchmarks.to_s3 import AGAIN, FIRST
from benchmarks.trees import Files, Tree, difference, is_own, tree_of

CONTESTANTS = (
    peers.PHOTOSYNC_LOCAL, peers.PHOTOSYNC_UNCHECKED, peers.RCLONE_LOCAL, peers.TUNED_LOCAL, peers.RSYNC,
    peers.CP, peers.ALONE_LOCAL, peers.ALONE_LOCAL_UNREAD,
)  # fmt: skip
SLOW = 30e6
"""Bytes a second of the slow source: a phone's cable."""


@contextlib.contextmanager
def local(here: Bench) -> Iterator[Round]:
    """Copies beside the source, on the same file system, all of which stay until the end.

    ext4 does not use the inode of a file that was deleted less than five minutes ago (``recently_deleted`` in
    linux/fs/ext4/ialloc.c). With each copy removed before the next begins, looking for another one took cp
    ten times as long as copying, and whoever came later longer than whoever came first.
    """
    where = here.folder / "copies"
    where.mkdir()
    try:
        source = here.source(Files(here.size(5_000, 200), 100_000))
        yield _copies(CONTESTANTS, source, where, FIRST, kept=True)
    finally:
        shutil.rmtree(where, ignore_errors=True)


@contextlib.contextmanager
def reflink(here: Bench) -> Iterator[Round]:
    """Copies within an XFS that can share blocks."""
    many, some = Files(here.size(5_000, 200), 100_000), Files(here.size(200, 10), 4_000_000)
    with xfs(here.folder, 6 << 30) as folder:
        rounds = []
        for files in (many, some):
            where = folder / str(files.size)
            source = Source(where, dict(files.make(where / "source")), files)
            contestants = (
                peers.PHOTOSYNC_LOCAL, peers.RCLONE_LOCAL, peers.TUNED_LOCAL, peers.CP_REFLINK,
                peers.ALONE_CLONE,
            )  # fmt: skip
            rounds.append(_copies(contestants, source, where, files.title))

        def turns(number: int) -> Iterator[Go]:
            for each in rounds:
                yield from each(number)

        yield turns


def no_xfs() -> str | None:
    """Why an XFS cannot be had on this machine, or None."""
    if os.geteuid() != 0:
        return "mounting an XFS needs root"
    if not shutil.which("mkfs.xfs"):
        return "no mkfs.xfs (package xfsprogs)"
    loop = subprocess.run(["losetup", "-f"], capture_output=True, check=False)
    return "no loop devices here" if loop.returncode else None


def _copies(contestants: Sequence[Peer], source: Source, where: Path, step: str, kept: bool = False) -> Round:
    state = where / "state"

    def turns(number: int) -> Iterator[Go]:
        for index, peer in enumerate(taking_turns(contestants, number)):
            place = at_folder(where / f"to-{number}-{index}")
            yield replace(go(peer, place, state, source, step), durable=True)
            if not kept:
                place.empty()
            forget(state)

    return turns


@contextlib.contextmanager
def noop(here: Bench) -> Iterator[Round]:
    """100,000 files are there already. Names and sizes are compared; nothing was written."""
    source = here.source(Files(here.size(100_000, 2_000), 100))
    state, own, others = here.folder / "local-state", here.folder / "to-own", here.folder / "to-others"
    contestants = (
        peers.PHOTOSYNC_LOCAL, peers.RCLONE_LOCAL, peers.TUNED_LOCAL, peers.RSYNC, peers.CP,
    )  # fmt: skip
    try:
        # Found there and adopted, the quickest way for photosync to a destination that is proven.
        for folder in (own, others):
            prepare(peers.CP_EXACT, at_folder(folder), state, source)
        prepare(peers.PHOTOSYNC_LOCAL, at_folder(own), state, source)

        def turns(number: int) -> Iterator[Go]:
            for peer in taking_turns(contestants, number):
                place = _listed(own if peer.own else others)
                yield go(peer, place, state, source, AGAIN, True)

        yield turns
    finally:
        for folder in (own, others, state):
            shutil.rmtree(folder, ignore_errors=True)


def _listed(folder: Path) -> Ready:
    return Ready(str(folder), str(folder), str(folder), lambda: _sizes(folder))


def _sizes(folder: Path) -> Tree:
    tree: dict[str, tuple[int, str]] = {}
    pending = [""]
    while pending:
        inside = pending.pop()
        with os.scandir(folder / inside) as entries:
            for entry in entries:
                path = f"{inside}{entry.name}"
                if entry.is_dir():
                    pending.append(f"{path}/")
                elif not is_own(path):
                    tree[path] = (entry.stat().st_size, "")
    return tree


@contextlib.contextmanager
def mirror(here: Bench) -> Iterator[Round]:
    """Three folders from a mounted phone of 30 MB/s: one mirror, or three copies one after the other."""
    from tests.servers.fuse_phone import fuse_phone

    source = here.source(Files(here.size(40, 4), 4_000_000))
    mounted, state = here.folder / "slow", here.folder / "state"
    (mounted / "source").mkdir(parents=True)
    targets = [here.folder / f"mirror-{number}" for number in range(3)]
    contestants = (peers.PHOTOSYNC_MIRROR, peers.RCLONE_THRICE, peers.RSYNC_THRICE)
    with fuse_phone(source.folder / "source", mounted / "source", bytes_per_second=SLOW) as phone:

        def turns(number: int) -> Iterator[Go]:
            for peer in taking_turns(contestants, number):
                yield Go(
                    peer.name, FIRST, peer.checks,
                    _commands(peer, targets),
                    mounted,
                    environment(at_folder(targets[0]), state),
                    _verdict(peer, targets, source.tree),
                    asked=requests if peer.own else lambda _cost: {},
                    read=lambda: phone.counters()["bytes"],
                )  # fmt: skip
                for target in targets:
                    shutil.rmtree(target, ignore_errors=True)
                forget(state)

        yield turns
    (mounted / "source").rmdir()


def _commands(peer: Peer, targets: Sequence[Path]) -> list[list[str]]:
    if not peer.own:
        return [peer.command(at_folder(target)) for target in targets]
    first, *others = map(str, targets)
    command = peer.command(at_folder(targets[0]))
    at = command.index(first) + 1
    return [[*command[:at], *others, *command[at:]]]


def _verdict(peer: Peer, targets: Sequence[Path], tree: Tree) -> Callable[[Cost], str | None]:
    def problem(cost: Cost) -> str | None:
        said = complaint(cost, len(tree) * len(targets)) if peer.own else cost.error
        found = (difference(tree, tree_of(target)) for target in targets)
        return said or next((wrong for wrong in found if wrong), None)

    return problem


def no_fuse() -> str | None:
    """Why a folder cannot be mounted by FUSE on this machine, or None."""
    if Path("/dev/fuse").exists() and shutil.which("fusermount3"):
        return None
    return "no FUSE (package fuse3, /dev/fuse)"
