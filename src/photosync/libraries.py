"""A destination opened as what it is: a library with a manifest."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from photosync.engine import sync
from photosync.engine.entry import Entry
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.names import decode
from photosync.engine.record import TargetFiles
from photosync.engine.replica import Holdings
from photosync.engine.retry import RetryPolicy
from photosync.engine.scan import Listing
from photosync.engine.signing import Trust
from photosync.engine.snapshots import Snapshot, Snapshots
from photosync.engine.target import Target
from photosync.engine.trash import list_trash
from photosync.engine.verify import Verify
from photosync.engine.workers import Workers
from photosync.places import Place
from photosync.session import Session


@dataclass(frozen=True, slots=True)
class Library:
    """A destination with a manifest, locked for this process.

    Attributes:
        place: the destination.
        journal: what is known of it.
        workers: scope of everything done with it.
        target: the place, with retries.
        snapshots: its history.
        head: the newest snapshot, as it was read.
    """

    place: Place
    journal: Journal
    workers: Workers
    target: Target
    snapshots: Snapshots
    head: Snapshot

    def listing(self) -> Listing:
        """Everything there.

        Raises:
            PhotosyncError: a part of it could not be listed.
        """
        place = self.place
        retries = self.target.retries
        found = sync.list_place(
            place.store, place.identity, self.journal, self.workers, self.target.gate, retries
        )
        for error in found.errors:
            raise error.error
        return found

    def trash(self) -> list[Entry]:
        """Files in its trash."""
        return self.target.call(
            lambda: list_trash(self.place.store), f"listing the trash of {self.place.text}"
        )

    def holdings(self, listing: Listing, trash: list[Entry]) -> Holdings:
        """What lies there, to look for files in."""
        return Holdings(listing, trash, self.head.root, self.place.store.capabilities.names)

    def stored_names(self) -> dict[str, str]:
        """Logical path → stored path, where the journal knows that it is another one."""
        return {decode(path): path for path in self.journal.stored_names(self.place.identity)}


@contextmanager
def open_library(session: Session, text: str, how: Verify = Verify.AUTO) -> Iterator[Library]:
    """Opens a destination that photosync wrote to.

    Raises:
        FileNotFoundError: there is no manifest.
        ManifestError: HEAD is damaged, forged or of a newer format.
        Transient: another run is using it.
    """
    with (
        session.open(text) as place,
        session.journal(place) as journal,
        Workers(session.seam) as workers,
    ):
        target = Target(place.store, workers, Gate(workers), RetryPolicy(), how)
        snapshots = Snapshots(TargetFiles(target), journal, Trust(journal, place.identity))
        head = snapshots.head()
        if head is None:
            raise FileNotFoundError(2, "no manifest is there yet; `photosync copy` writes one", text)
        yield Library(place, journal, workers, target, snapshots, head)
