"""Copying within one service: the bytes never pass through this machine.

What the service says of both objects, by one content hash, is the proof. Where it says nothing in common, or
a name is taken, the file is read and sent like any other.
"""

from typing import TYPE_CHECKING

from photosync.engine import standing
from photosync.engine.capabilities import Readable, ServerCopies, Store
from photosync.engine.errors import AlreadyExists, SourceChanged
from photosync.engine.journal import Delivery
from photosync.engine.target import as_stored
from photosync.engine.verify import Verify

if TYPE_CHECKING:
    from photosync.engine.item import Item
    from photosync.engine.transfer import Transfer


def reach(source: Readable, destination: Store) -> ServerCopies | None:
    """The destination, if its service can copy from the source by itself."""
    if isinstance(destination, ServerCopies) and isinstance(source, Store) and destination.reaches(source):
        return destination
    return None


def copy(transfer: "Transfer", item: "Item", store: ServerCopies) -> bool:
    """Delivers one file.

    Args:
        transfer: whose file it is.
        item: the file; ended if this succeeds.
        store: from `reach`.

    Returns:
        False: it has to be read after all.

    Raises:
        Corrupt: the copy has other bytes; it no longer has its final name.
        SourceChanged: the file vanished.
    """
    pair, journal = transfer.pair, transfer.journal
    origin = pair.source
    assert isinstance(origin, Store), "nobody else is reached"
    seen = transfer.source.look(item.source)
    item.saw(seen)
    found = journal.content(pair.source_id, seen)
    if found is None and (not seen.digests or transfer.settings.how is Verify.REREAD):
        return False
    standing.displace(transfer, item)
    try:
        stored = transfer.target.call(
            lambda: store.copy_from(origin, seen.path, item.to), f"copying {seen.path} to {item.to}"
        )
    except AlreadyExists:
        return False
    except FileNotFoundError as error:
        raise SourceChanged(f"{seen.path} vanished from the source before it was copied") from error
    if found is not None:
        transfer.prove(item, found, stored)
        return True
    aside = f"{transfer.settings.stamp}-{item.attempt}"
    name = transfer.target.prove_alike(stored, seen, aside)
    if name is None and (there := transfer.target.look(stored.path)) is not None:
        # Some services tell the hash only of what they are asked about.
        stored = as_stored(there)
        name = transfer.target.prove_alike(stored, seen, aside)
    if name is None:
        # Nor will it say more of the next one: whatever it copies has to be read twice, here and there.
        transfer.within = None
        return False
    delivery = Delivery(
        seen.path,
        seen.size,
        seen.mtime_ns,
        seen.version,
        # No content id: that would take reading. So the manifest cannot list it yet.
        f"{name}:{seen.digests[name]}",
        stored.path,
        stored.version,
        f"server-hash:{name}",
    )
    journal.set_delivery(pair.source_id, pair.destination_id, delivery)
    transfer.copied_within(item, stored, delivery.evidence)
    return True
