"""Copying within one service: the bytes never pass through this machine.

What the service says of both objects, by one content hash, is the proof. Where it says nothing in common, or
a name is taken, the file is read and sent like any other.
"""

from typing import TYPE_CHECKING

from photosync.engine import standing
from photosync.engine.actions import Compare
from photosync.engine.capabilities import Readable, ServerCopies, Store, Stored
from photosync.engine.entry import Entry
from photosync.engine.errors import AlreadyExists, SourceChanged, Unsupported
from photosync.engine.hashing import Fingerprint
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
    origin = transfer.pair.source
    assert isinstance(origin, Store), "nobody else is reached"
    seen = transfer.source.look(item.source)
    item.saw(seen)
    found = _known(transfer, item)
    if found is None and (not seen.digests or transfer.settings.how is Verify.REREAD):
        return False
    standing.displace(transfer, item)
    try:
        stored = transfer.target.call(
            lambda: store.copy_from(origin, seen, item.to), f"copying {seen.path} to {item.to}"
        )
    except (AlreadyExists, Unsupported):
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
    _deliver(transfer, item, stored, name)
    return True


def compare(transfer: "Transfer", item: "Item", action: Compare) -> bool:
    """Proves that a file is at the destination already.

    Args:
        transfer, item: as for `copy`.
        action: what the plan says of it.

    Returns:
        False: the service does not say so; both have to be read.

    Raises:
        SafetyGuard: what is there is the file itself.
    """
    if transfer.settings.how is Verify.REREAD:
        return False
    seen = transfer.source.look(item.source)
    item.saw(seen)
    for candidate in standing.staying(transfer, item, action.existing, *action.also):
        there = transfer.target.look(candidate.path)
        if there is None:
            continue
        standing.refuse_itself(transfer, item, there)
        name = _in_common(seen, there)
        if name is None:
            continue
        item.adopted = True
        found, stored = _known(transfer, item), standing.dated(transfer, item, there)
        if found is None:
            _deliver(transfer, item, stored, name)
        else:
            transfer.delivered(item, found, stored, f"server-hash:{name}")
        return True
    return False


def _in_common(one: Entry, other: Entry) -> str | None:
    """Name of a hash by which the service calls two files equal; None if it does not."""
    names = [name for name in one.digests if name in other.digests]
    equal = one.size == other.size and all(one.digests[name] == other.digests[name] for name in names)
    return names[-1] if names and equal else None


def _known(transfer: "Transfer", item: "Item") -> Fingerprint | None:
    """What an earlier reading said of a file, unless the service says otherwise now."""
    place, seen = transfer.pair.source_id, item.source
    found = transfer.journal.content(place, seen)
    if found is None or any(found.digest(name) not in (None, value) for name, value in seen.digests.items()):
        return None
    item.suspicion = transfer.journal.earlier_suspicion(place, seen.path)
    return found


def _deliver(transfer: "Transfer", item: "Item", stored: Stored, name: str) -> None:
    """Writes down a copy that is proven, though its bytes were not read."""
    pair, seen = transfer.pair, item.source
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
    transfer.journal.set_delivery(pair.source_id, pair.destination_id, delivery)
    transfer.copied_within(item, stored, delivery.evidence)
