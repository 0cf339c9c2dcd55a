"""Workloads at the emulated clouds, every request of which takes 50 ms at least."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from benchmarks import peers, places
from benchmarks.bench import Bench, Round, Source, forget, go, prepare, sign_in, taking_turns
from benchmarks.peers import Peer
from benchmarks.places import FOLDER, Ready
from benchmarks.rounds import Go
from benchmarks.to_s3 import ADDED, FIRST, Opened, add
from benchmarks.trees import Files

Account = Callable[[], contextlib.AbstractContextManager[tuple[Ready, Any]]]


def copies(account: Account, contestants: Sequence[Peer], files: Files, quick: int) -> Opened:
    """Copies into an account that is new for every program; ``quick`` is the number of files then."""

    @contextlib.contextmanager
    def opened(here: Bench) -> Iterator[Round]:
        source = here.source(replace(files, count=here.size(files.count, quick)))
        state = here.folder / "state"

        def turns(number: int) -> Iterator[Go]:
            for peer in taking_turns(contestants, number):
                with account() as (place, _):
                    variables = sign_in(place, state)
                    yield replace(go(peer, place, state, source, FIRST), environment=variables)
                forget(state)

        yield turns

    return opened


@contextlib.contextmanager
def added(here: Bench) -> Iterator[Round]:
    """100,000 files are at Dropbox already, and in each round one more photo is at the source."""
    source = here.source(Files(here.size(100_000, 1_000), 100))
    contestants = (peers.PHOTOSYNC_DROPBOX, peers.RCLONE_DROPBOX)
    with contextlib.ExitStack() as accounts:
        at: dict[Peer, tuple[Ready, dict[str, str]]] = {}
        for peer in contestants:
            place, emulator = accounts.enter_context(places.dropbox())
            at[peer] = place, sign_in(place, here.folder / f"dropbox-{peer.program}")
            if peer.own:
                # It brings them itself, in batches: to take over what is there it asks for each file.
                prepare(peer, place, here.folder, source, at[peer][1])
            else:
                _fill(emulator, source)

        def turns(number: int) -> Iterator[Go]:
            add(source)
            for peer in taking_turns(contestants, number):
                place, variables = at[peer]
                yield replace(go(peer, place, here.folder, source, ADDED), environment=variables)

        yield turns
    for peer in contestants:
        forget(here.folder / f"dropbox-{peer.program}")


def _fill(emulator: Any, source: Source) -> None:
    """Puts the files there past HTTP, as another program would have: nobody is measured by it."""
    from tests.servers.dropbox_content import Content
    from tests.servers.dropbox_state import Commit

    for path in source.tree:
        file = source.folder / "source" / path
        content = Content(file.read_bytes())
        told = datetime.fromtimestamp(int(file.stat().st_mtime), UTC)
        commit = Commit(f"/{FOLDER}/{path}", client_modified=told)
        emulator.api.account.commit(commit, content, content.hash())
