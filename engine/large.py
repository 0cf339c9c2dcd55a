"""One large file between its reader and the senders."""

import hashlib
from collections import deque
from io import BytesIO
from typing import TYPE_CHECKING

from photosync.engine import standing
from photosync.engine.capabilities import Orders, Upload
from photosync.engine.errors import AlreadyExists, Fatal, PhotosyncError, SourceChanged, classify
from photosync.engine.hashing import Fingerprint, Hasher
from photosync.engine.journal import PendingUpload

if TYPE_CHECKING:
    from photosync.engine.item import Item
    from photosync.engine.transfer import Transfer


class Large:
    """The upload of one file, part by part, resumable.

    The reader feeds blocks in order; full parts are queued for the senders, one at a time where the store
    wants order. A part counts against the memory budget from its first byte until it was sent. Whoever finds
    all parts sent and the source read to its end commits. A part is noted in the journal, with its digest,
    before it is sent; the next run reads the file again from its beginning, and sends only those parts that
    the store does not hold, provided that the digests still agree.

    Args:
        transfer: what it belongs to.
        item: the file.

    Raises:
        PhotosyncError: the upload could neither be resumed nor begun.
    """

    def __init__(self, transfer: "Transfer", item: "Item") -> None:
        self._t = transfer
        self._item = item
        self._noted: dict[int, str] = {}
        self._held: dict[int, int] = {}
        self._next = 0
        self._gathered = BytesIO()
        self._charged = 0
        self._waiting: deque[tuple[int, bytes, str]] = deque()
        self._flying = 0
        self._read = False
        self._over = False
        self._found: Fingerprint | None = None
        self._error: Exception | None = None
        pair = transfer.pair
        begun = transfer.journal.upload(pair.source_id, pair.destination_id, item.source)
        resumed = self._resume(begun) if begun is not None and begun.stored == item.to else None
        self._upload: Upload = resumed or self._start()
        upload = self._upload
        self._parallel = transfer.can.parallel_parts and not (isinstance(upload, Orders) and upload.in_order)
        digest = self._upload.digest
        self._hasher = Hasher([*transfer.hashes(item), *([digest] if digest else [])])

    def _resume(self, begun: PendingUpload) -> Upload | None:
        target, doing = self._t.target, f"going on with {self._item.to}"
        try:
            upload = target.call(lambda: target.store.resume_upload(begun.token), doing)
            self._held = dict(target.call(upload.parts_held, doing))
        except FileNotFoundError:
            return None
        self._noted = dict(begun.parts)
        return upload

    def _start(self) -> Upload:
        target, item = self._t.target, self._item
        upload = target.call(
            lambda: target.store.start_upload(item.to, item.source.size, item.source.mtime_ns),
            f"starting to store {item.to}",
        )
        self._note(upload)
        return upload

    def _note(self, upload: Upload) -> None:
        pair = self._t.pair
        pending = PendingUpload(self._item.to, upload.token, self._noted)
        self._t.journal.set_upload(pair.source_id, pair.destination_id, self._item.source, pending)

    def feed(self, block: bytes) -> None:
        """Takes bytes from the reader.

        Raises:
            Exception: the upload has failed meanwhile, so that reading on is pointless.
        """
        if self._error is not None:
            raise self._error
        self._hasher.update(block)
        view = memoryview(block)
        while view:
            if not self._charged:
                self._charge()
            piece = view[: self._charged - self._gathered.tell()]
            self._gathered.write(piece)
            view = view[len(piece) :]
            if self._gathered.tell() == self._charged:
                self._part()

    def _charge(self) -> None:
        """Takes the next part's room from the budget."""
        size = self._upload.part_size
        wanted = min(size, self._item.source.size - self._next * size)
        assert wanted > 0, "more bytes than the file was said to have"
        self._t.small.flush_if_stale()
        self._t.acquire(wanted)
        self._charged = wanted

    def let_go(self) -> None:
        """Gives back the room of a part that is not going to be read to its end."""
        self._gathered = BytesIO()
        charged, self._charged = self._charged, 0
        if charged:
            self._t.budget.release(charged)

    def _part(self) -> None:
        t = self._t
        # It hands out its buffer without a copy.
        data = self._gathered.getvalue()
        self._gathered = BytesIO()
        index, self._next = self._next, self._next + 1
        digest = hashlib.sha256(data).hexdigest()
        held, noted = self._held.get(index) == len(data), self._noted.get(index)
        if held and noted == digest:
            self.let_go()
            return
        # Where parts go in order, some bytes of one that was noted may be there already.
        if not self._parallel and noted != digest and (held or noted is not None):
            raise SourceChanged(f"{self._item.source.path} differs from what was sent of it earlier")
        with t.state:
            self._noted[index] = digest
            self._waiting.append((index, data, digest))
        # From now on whoever sends it gives its room back.
        self._charged = 0
        self._note(self._upload)
        self._pump()

    def _pump(self) -> None:
        """Queues what may be sent now; the last one queues the end."""
        t = self._t
        with t.state:
            if self._error is not None:
                while self._waiting:
                    t.budget.release(len(self._waiting.popleft()[1]))
            while self._waiting and (self._parallel or not self._flying):
                part = self._waiting.popleft()
                self._flying += 1
                t.send(self._item, lambda part=part: self._send(*part))  # type: ignore[misc]
            last = self._read and not self._flying and not self._waiting and not self._over
            self._over = self._over or last
        if last:
            t.send(self._item, self._finish)

    def _send(self, index: int, data: bytes, digest: str) -> None:
        t, item = self._t, self._item
        try:
            if self._error is None:
                t.target.gate.spend(len(data))
                t.target.call(
                    lambda: self._upload.send_part(index, data, digest),
                    f"storing part {index + 1} of {item.to}",
                )
                t.sent(item, len(data))
                self._note(self._upload)
        except FileNotFoundError:
            self._error = SourceChanged(f"the destination has forgotten the upload of {item.to}")
        except Fatal:
            raise
        except Exception as error:
            self._error = classify(error, f"storing {item.to}")
        finally:
            t.budget.release(len(data))
            with t.state:
                self._flying -= 1
        self._pump()

    def read_to_end(self) -> None:
        """The source was read whole, and stayed the same meanwhile."""
        assert not self._charged, "fewer bytes than the file was said to have"
        self._found = self._hasher.finish()
        self._read = True
        self._pump()

    def give_up(self, error: Exception) -> None:
        """The reader cannot go on; ends the item once nothing is in flight."""
        self.let_go()
        with self._t.state:
            if self._error is None:
                self._error = error
            self._read = True
        self._pump()

    def _finish(self) -> None:
        t, item, found = self._t, self._item, self._found
        if self._error is not None:
            if isinstance(self._error, SourceChanged):
                self._abandon()
            raise self._error
        assert found is not None
        if item.content is not None and item.content != found.content:
            self._abandon()
            raise SourceChanged(f"{item.source.path} changed between two reads")
        standing.displace(t, item)
        try:
            stored = t.target.commit(self._upload, item.to, found)
        except AlreadyExists:
            self._abandon()
            standing.taken(t, item, found, None)
            return
        except FileNotFoundError as error:
            self._abandon()
            raise SourceChanged(f"the destination has forgotten the upload of {item.to}") from error
        t.prove(item, found, stored)

    def _abandon(self) -> None:
        t = self._t
        t.journal.forget_upload(t.pair.source_id, t.pair.destination_id, self._item.source.path)
        try:
            self._upload.abort()
        except (PhotosyncError, OSError):
            # What is left behind costs space at the service, no photo; the service forgets it in time.
            return
