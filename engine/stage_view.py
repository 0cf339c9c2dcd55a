"""The source as one destination of several sees it: through the stage."""

import copy as copies
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

from blake3 import blake3

from photosync.engine.capabilities import Readable, Reader, Store
from photosync.engine.entry import Entry
from photosync.engine.errors import Corrupt, Deferred, PhotosyncError, Unsupported
from photosync.engine.journal import Journal
from photosync.engine.stage import Stage
from photosync.engine.staged import Copy, File, Pass, State
from photosync.engine.workers import Workers


class StageView:
    """A `photosync.engine.capabilities.Readable`, made for one destination.

    Args:
        stage: what is behind it.
        origin: the source itself.
        destination: what journals call the destination.
        serves: the destination, if it is on a local disk: its proven copies may stand in for staged ones.

    Attributes:
        planned: it has said what it will read.
        ended: it needs nothing any more.
        waits: the file that it is waiting for, or None.
    """

    def __init__(
        self,
        stage: Stage,
        origin: Readable,
        destination: str,
        serves: Store | None,
        journal: Journal | None = None,
    ) -> None:
        self.origin = origin
        self.capabilities = replace(origin.capabilities, read_concurrency=1)
        self.destination, self.serves, self.journal = destination, serves, journal
        self.planned = self.ended = False
        self.waits: File | None = None
        self._stage = stage
        self._entries: dict[str, Entry] = {}
        self._deferred: set[str] = set()
        self._check: Callable[[], None] = lambda: None
        stage.join(self)

    def list_folder(self, path: str) -> list[Entry]:
        return self._stage.listing.folder(path)

    def expect(self, entries: Sequence[Entry], wanted: Sequence[Entry], workers: Workers) -> None:
        """What may be read, and what certainly will, in order.

        Args:
            workers: the scope whose cancellation ends waiting.
        """
        workers.watch(self._stage.monitor)
        self._entries = {entry.path: entry for entry in entries}
        self._check = workers.check
        self._stage.expect(self, wanted)

    def holds(self, entry: Entry) -> bool:
        """Whether a file can be read though the source is gone."""
        with self._stage.monitor:
            file = self._stage.find(entry.path)
            copy = file.copy if file is not None else None
            return copy is not None and copy.state is State.STAGED and copy.serves(self)

    def ready(self, entry: Entry) -> bool:
        """Whether reading a file can begin at once."""
        with self._stage.monitor:
            file = self._stage.find(entry.path)
            return file is not None and file.copy is not None and file.copy.serves(self)

    def open(self, path: str, offset: int = 0) -> Reader:
        """Opens a file that was expected, from its beginning.

        Raises:
            Deferred: it is read in the second pass; others come first.
            Unsupported: ``offset`` is not 0.
        """
        if offset:
            raise Unsupported("staged files are read from their beginning")
        stage = self._stage
        with stage.monitor:
            file = stage.file(self._entries[path])
            if not self._answered(file):
                stage.request(file, self)
                if file.turn is Pass.SECOND and path not in self._deferred:
                    self._deferred.add(path)
                    raise self.deferred(file)
            return StageReader(self, stage, file)

    def deferred(self, file: File) -> Deferred:
        return Deferred(f"{file.entry.path} is read from the source later on")

    def _answered(self, file: File) -> bool:
        """Whether there is, or soon will be, something to read or to be told."""
        copy = file.copy
        if self._stage.gone is not None or file.turn in (Pass.FIRST, Pass.NOW):
            return True
        return copy is not None and (copy.serves(self) or self._is_news(copy))

    def _is_news(self, copy: Copy) -> bool:
        return copy.state is State.FAILED and self not in copy.told

    def attach(self, file: File) -> Copy:
        """Waits for a copy of a file to begin.

        Raises:
            PhotosyncError: it could not be read at the source.
        """
        stage = self._stage
        with stage.monitor, self.starving():
            while True:
                copy = file.copy
                if copy is not None and copy.serves(self):
                    copy.at.setdefault(self, 0)
                    self._deferred.discard(file.entry.path)
                    return copy
                if copy is not None and copy.error is not None and self._is_news(copy):
                    copy.told.add(self)
                    raise clone(copy.error)
                if stage.gone is not None:
                    raise clone(stage.gone)
                stage.request(file, self)
                self.wait(file)

    @contextmanager
    def starving(self) -> Iterator[None]:
        """Whoever waits in here counts as starving from the first `wait` to the end."""
        try:
            yield
        finally:
            self.waits = None

    def wait(self, file: File) -> None:
        """Waits for the stager to get on; the monitor is held."""
        self._check()
        if self.waits is not file:
            self.waits = file
            self._stage.monitor.notify_all()
        self._stage.monitor.wait()
        self._check()


class StageReader:
    """A file that is staged, or will be. Nothing waits before `stat` or `read` is called."""

    def __init__(self, view: StageView, stage: Stage, file: File) -> None:
        self._view, self._stage, self._file = view, stage, file
        self._copy: Copy | None = None
        self._hasher = blake3()
        self._done = 0
        self._index = -1
        self._piece: BinaryIO | None = None
        self._elsewhere: Reader | None = None

    def stat(self) -> Entry | None:
        """The file as the stager found it, and found it unchanged when it had read all."""
        return self._attached().seen

    def _attached(self) -> Copy:
        if self._copy is None:
            self._copy = self._view.attach(self._file)
        return self._copy

    def read(self, size: int, /) -> bytes:
        """Raises:
        Corrupt: the staged copy is not what was read at the source.
        Deferred: it is kept for others only; it will be read from the source again.
        """
        copy = self._attached()
        ready = self._wait(copy)
        try:
            data = self._next(copy, min(size, ready)) if ready else b""
        except (OSError, PhotosyncError) as error:
            raise self._damaged(copy) from error
        with self._stage.monitor:
            if ready and not data and copy.revoked:
                raise self._view.deferred(self._file)
        if data:
            self._hasher.update(data)
            self._done += len(data)
            with self._stage.monitor:
                self._stage.passed(copy, self._view, self._done)
        elif ready or copy.content != self._hasher.hexdigest():
            raise self._damaged(copy)
        else:
            with self._stage.monitor:
                self._file.taken.add(self._view)
        return data

    def _wait(self, copy: Copy) -> int:
        """Bytes that can be read at once; 0 at the end."""
        view = self._view
        with self._stage.monitor, view.starving():
            while True:
                if copy.error is not None:
                    copy.told.add(view)
                    raise clone(copy.error)
                if copy.revoked or (copy.segment and view not in copy.followers):
                    raise view.deferred(self._file)
                if self._done < copy.written or copy.state is State.STAGED:
                    return copy.written - self._done
                view.wait(self._file)

    def _next(self, copy: Copy, size: int) -> bytes:
        if self._elsewhere is None:
            index = self._done // copy.segment if copy.segment else 0
            if index != self._index:
                self._open(copy, index)
            if copy.segment:
                size = min(size, (index + 1) * copy.segment - self._done)
            data = self._piece.read(size) if self._piece is not None else b""
            if data or copy.elsewhere is None:
                return data
            # The staged copy was removed, because a destination has one of its own.
            store, path = copy.elsewhere
            self._elsewhere = store.open(path, self._done)
        return self._elsewhere.read(size)

    def _open(self, copy: Copy, index: int) -> None:
        self._close_piece()
        with self._stage.monitor:
            piece = copy.pieces[index] if copy.pieces else None
            if piece is not None:
                self._piece, self._index = piece.open("rb", buffering=0), index

    def _damaged(self, copy: Copy) -> Corrupt:
        self._stage.damaged(self._file, copy)
        return Corrupt(f"the staged copy of {self._file.entry.path} is damaged; it is read again")

    def _close_piece(self) -> None:
        if self._piece is not None:
            self._piece.close()
            self._piece = None

    def close(self) -> None:
        self._close_piece()
        if self._elsewhere is not None:
            self._elsewhere.close()
        if self._copy is not None:
            with self._stage.monitor:
                self._copy.at.pop(self._view, None)
                self._stage.unfollow(self._copy, self._view)
                self._stage.monitor.notify_all()


def clone(error: PhotosyncError) -> PhotosyncError:
    """An error to be raised once more, on another thread."""
    twin = copies.copy(error)
    twin.__cause__, twin.__traceback__ = error.__cause__, None
    return twin
