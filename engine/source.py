"""Reading the source: each file once, in order, exactly as many bytes as it was said to have."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol, runtime_checkable

from photosync.engine import retry
from photosync.engine.capabilities import Readable, Reader, Store
from photosync.engine.entry import Entry
from photosync.engine.errors import Fatal, Permanent, SourceChanged, classify
from photosync.engine.hashing import Fingerprint, Hasher
from photosync.engine.limits import Gate
from photosync.engine.retry import RetryPolicy
from photosync.engine.views import Glimpse
from photosync.engine.workers import Workers

BLOCK = 1 << 20


class SourceGone(Exception):
    """The source as a whole is gone; ``__cause__`` says how."""


def _raise(error: Exception, doing: str) -> NoReturn:
    found = classify(error, doing)
    if isinstance(found, Fatal):
        raise SourceGone from found
    raise found


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A source file that is open, and what it looked like when it was opened."""

    reader: Reader
    entry: Entry


@runtime_checkable
class Shared(Protocol):
    """A source that several destinations read at once (`photosync.engine.stage_view.StageView`).

    Attributes:
        origin: where the files are.
    """

    @property
    def origin(self) -> Readable: ...
    def expect(self, entries: Sequence[Entry], wanted: Sequence[Entry], workers: Workers) -> None:
        """What may be read, and what certainly will, in order; ``workers`` is the reader's scope."""
        ...

    def ready(self, entry: Entry) -> bool:
        """Whether reading a file can begin at once."""
        ...

    def holds(self, entry: Entry) -> bool:
        """Whether a file can be read even when the source itself is gone."""
        ...


class Source:
    """Where photos come from.

    Args:
        store: the place.
        workers: scope whose cancellation stops a read between blocks.
        gate: the place's gate.
        retries: how stubborn to be about opening a file.
        progress: told (path, bytes) for each block read, from any thread.
    """

    def __init__(
        self,
        store: Readable,
        workers: Workers,
        gate: Gate,
        retries: RetryPolicy,
        progress: Callable[[str, int], None],
    ) -> None:
        self.store = store
        # Asking a protocol costs more than all else that opening a small file asks of this class.
        self._shared = store if isinstance(store, Shared) else None
        self._workers = workers
        self._gate = gate
        self._retries = retries
        self._progress = progress

    def expect(self, entries: Sequence[Entry], wanted: Sequence[Entry]) -> None:
        """Says what may be read, and what certainly will, in order."""
        if self._shared is not None:
            self._shared.expect(entries, wanted, self._workers)

    def ready(self, entry: Entry) -> bool:
        """Whether reading a file begins without waiting for another destination's sake."""
        return self._shared is None or self._shared.ready(entry)

    def holds(self, entry: Entry) -> bool:
        """Whether a file can be read even when the source itself is gone."""
        return self._shared is not None and self._shared.holds(entry)

    def open(self, entry: Entry, offset: int = 0) -> OpenFile:
        """Opens a file, to be read from ``offset`` bytes on.

        Raises:
            SourceGone: the source as a whole cannot be read any more.
            Permanent: this file cannot.
        """
        try:
            reader = retry.call(
                lambda: self.store.open(entry.path, offset),
                f"opening {entry.path}",
                self._workers,
                self._gate,
                self._retries,
            )
            try:
                now = reader.stat()
            except BaseException:
                reader.close()
                raise
        except FileNotFoundError as error:
            raise Permanent(f"{entry.path} vanished from the source before it was read") from error
        except Exception as error:
            _raise(error, f"opening {entry.path}")
        if now is None or (now.size, now.mtime_ns, now.version) == (
            entry.size,
            entry.mtime_ns,
            entry.version,
        ):
            return OpenFile(reader, entry)
        return OpenFile(reader, replace(entry, size=now.size, mtime_ns=now.mtime_ns, version=now.version))

    def look(self, entry: Entry) -> Entry:
        """A file as it is now, with the content hashes that the place itself has.

        Raises:
            SourceGone: the source as a whole cannot be read any more.
            Permanent: this file is gone, or is no file any more.
        """
        store = self.store
        assert isinstance(store, Store), "a staged file is never asked about, only read"
        try:
            now = retry.call(
                lambda: store.stat(entry.path),
                f"looking at {entry.path}",
                self._workers,
                self._gate,
                self._retries,
            )
        except FileNotFoundError as error:
            raise Permanent(f"{entry.path} vanished from the source before it was copied") from error
        except Exception as error:
            _raise(error, f"looking at {entry.path}")
        if not now.is_file:
            raise Permanent(f"{entry.path} is no regular file any more")
        return replace(now, path=entry.path)

    def blocks(self, file: OpenFile, size: int = BLOCK) -> Iterator[bytes]:
        """The file's bytes, at most ``size`` at once; closes it.

        Raises:
            SourceChanged: it gave fewer or more bytes than it was said to have, or looks different now.
            SourceGone, PhotosyncError: as `open`.
        """
        entry, done = file.entry, 0
        try:
            while True:
                self._workers.check()
                # No more than is to come, and one byte beyond: what is asked for is allocated.
                block = file.reader.read(min(size, max(entry.size - done, 0) + 1))
                if not block:
                    break
                done += len(block)
                self._progress(entry.path, len(block))
                if done > entry.size:
                    raise SourceChanged(
                        f"{entry.path} is longer than the {entry.size} bytes it was said to have"
                    )
                yield block
            now = file.reader.stat()
        except Exception as error:
            _raise(error, f"reading {entry.path}")
        finally:
            file.reader.close()
        if done != entry.size:
            raise SourceChanged(
                f"{entry.path} gave {done} bytes though it was said to have {entry.size}; nothing was "
                "stored. If it stays so, copy this file another way: some phones cut files short."
            )
        if now is not None and (now.size, now.mtime_ns, now.version) != (
            entry.size,
            entry.mtime_ns,
            entry.version,
        ):
            raise SourceChanged(f"{entry.path} changed while it was read")

    def some(self, file: OpenFile, size: int) -> bytes:
        """The next bytes of an open file, at most so many; raises as `open`."""
        self._workers.check()
        try:
            block = file.reader.read(size)
        except Exception as error:
            _raise(error, f"reading {file.entry.path}")
        self._progress(file.entry.path, len(block))
        return block

    def hash(self, entry: Entry, names: tuple[str, ...]) -> tuple[Fingerprint, Entry, Glimpse]:
        """A file's fingerprint, what it looked like when it was read, and what was kept of it."""
        file = self.open(entry)
        hasher, glimpse = Hasher(names), Glimpse(file.entry.size)
        for block in self.blocks(file):
            hasher.update(block)
            glimpse.feed(block)
        return hasher.finish(), file.entry, glimpse
