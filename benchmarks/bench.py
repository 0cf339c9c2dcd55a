"""What workloads share in one invocation: trees, endpoints, and a library of 100,000 files."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.discard import Discard, discard
from benchmarks.measure import Cost, measure
from benchmarks.peers import PHOTOSYNC_S3, TUNED_S3, Peer, complaint, environment, found, requests
from benchmarks.places import Ready, at_discard
from benchmarks.rounds import Go
from benchmarks.trees import Files, Tree, difference

Round = Callable[[int], Iterator[Go]]
"""Number of a round → what every program does in it; tidying up happens between them."""


@dataclass(frozen=True, slots=True)
class Source:
    """A tree on the disk.

    Attributes:
        folder: holds it as ``source``; where programs run.
        tree: what is in it.
        files: what it is made of.
    """

    folder: Path
    tree: dict[str, tuple[int, str]]
    files: Files


@dataclass(frozen=True, slots=True)
class Library:
    """100,000 small files that were copied to the discarding endpoint before.

    Attributes:
        source: them.
        endpoint: where they are, in the buckets "photosync", "rclone" and "rclone-tuned".
        state: photosync's own.
    """

    source: Source
    endpoint: Discard
    state: Path


class Bench:
    """One invocation.

    Args:
        folder: for everything.
        quick: everything is much smaller.
    """

    def __init__(self, folder: Path, quick: bool, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.quick = quick
        self._stack = stack
        self._sources: dict[Files, Source] = {}
        self._endpoints: dict[float, Discard] = {}
        self._library: Library | None = None

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def source(self, files: Files) -> Source:
        """A tree, made when it is first asked for."""
        if files not in self._sources:
            folder = self.folder / f"tree-{files.count}-{files.size}"
            self._sources[files] = Source(folder, dict(files.make(folder / "source")), files)
        return self._sources[files]

    def discard(self, milliseconds: float = 0) -> Discard:
        """The endpoint that throws bodies away, started when it is first asked for."""
        if milliseconds not in self._endpoints:
            self._endpoints[milliseconds] = self._stack.enter_context(discard(self.folder, milliseconds))
        return self._endpoints[milliseconds]

    def library(self) -> Library:
        if self._library is None:
            source = self.source(Files(self.size(100_000, 2_000), 100))
            state = self.folder / "library-state"
            endpoint = self.discard()
            for peer, bucket in ((PHOTOSYNC_S3, "photosync"), (TUNED_S3, "rclone")):
                if found(peer.program):
                    place = at_discard(endpoint, bucket)
                    prepare(peer, place, state, source)
            endpoint.copy("rclone", "rclone-tuned")
            self._library = Library(source, endpoint, state)
        return self._library


def prepare(
    peer: Peer, place: Ready, state: Path, source: Source, variables: Mapping[str, str] | None = None
) -> None:
    """A copy that is not measured.

    Args:
        variables: its environment; None: the usual one of the place.

    Raises:
        RuntimeError: it failed.
    """
    cost = measure(peer.command(place), variables or environment(place, state), source.folder)
    wrong = verdict(peer, place, source.tree)(cost)
    if wrong:
        raise RuntimeError(f"{peer.name} could not prepare {place.plain}: {wrong}")


def verdict(peer: Peer, place: Ready, tree: Tree) -> Callable[[Cost], str | None]:
    """What is wrong with a run: by the program's own account, and by what is there now."""

    def problem(cost: Cost) -> str | None:
        said = complaint(cost, len(tree)) if peer.own else cost.error
        return said or difference(tree, place.found())

    return problem


def go(peer: Peer, place: Ready, state: Path, source: Source, step: str, again: bool = False) -> Go:
    """One program copies a tree to a place, or finds that there is nothing to do."""
    return Go(
        peer.name, step, peer.checks,
        [peer.command(place, again)],
        source.folder,
        environment(place, state),
        verdict(peer, place, source.tree),
        place.counts,
        requests if peer.own else lambda _cost: {},
    )  # fmt: skip


def taking_turns(peers: Sequence[Peer], number: int) -> list[Peer]:
    """Those that are installed and take part in a round; nobody always comes first."""
    here = [peer for peer in peers if found(peer.program) and number < peer.most]
    by = number % (len(here) or 1)
    return here[by:] + here[:by]


def forget(state: Path) -> None:
    """Every first run of photosync's begins with an empty state."""
    shutil.rmtree(state, ignore_errors=True)


def sign_in(place: Ready, state: Path) -> dict[str, str]:
    """Gives both rclone and photosync what they need for an emulated cloud; returns their environment."""
    state.mkdir(parents=True, exist_ok=True)
    config = state / "rclone.conf"
    config.write_text(place.rclone_config)
    variables = {**environment(place, state), "RCLONE_CONFIG": str(config)}
    program = found("photosync")
    assert program is not None
    cost = measure([program, "config", "import-rclone", str(config)], variables, state)
    if cost.error:
        raise RuntimeError(f"photosync config import-rclone: {cost.error}")
    return variables
