"""A slow source, read once for several destinations that go at their own pace.

One thread, the stager, reads what any destination wants, in order, and keeps it on a local disk until all
that want it are done with it. A destination sees a `photosync.engine.stage_view.StageView`, which reads like
the source itself, and follows a file that is still growing.

The disk space is a budget. While it is full the stager waits, as long as no destination starves: each has
staged bytes to work on. When one starves, room is made at the cost of the slowest: copies that only others
wait for are dropped, the newest first, and those read them later, in a second pass, when they are staged
again. So a slow destination costs the phone a second read of some files, never another destination's time.

A file larger than the budget streams: it is kept in pieces, each dropped when all who follow it have passed.

What is staged when a run ends and was not delivered stays, with a small journal; the next run of the same
mirror takes it from there, without the phone if need be.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from photosync.engine.actions import same_there
from photosync.engine.capabilities import Readable
from photosync.engine.entry import Entry
from photosync.engine.errors import PhotosyncError
from photosync.engine.hashing import Fingerprint
from photosync.engine.journal import Delivery, Journal
from photosync.engine.stage_files import StageFiles
from photosync.engine.stage_listing import StageListing
from photosync.engine.staged import Copy, File, Pass, State, Unwanted
from photosync.engine.verify import NONE, REREAD
from photosync.engine.workers import Workers

if TYPE_CHECKING:
    from photosync.engine.stage_view import StageView


class Stage:
    """See the module's text.

    Args:
        listing: what the source shows.
        source_id: what journals call the source.
        files: where copies lie.
        limit: bytes that they may take.
        journal: the stage's own, beside the copies.
        workers: scope of the stager.
        absent: why the source is not there, or None.

    Attributes:
        gone: why the source cannot be read any more, or None.
        read_again: bytes read at the source that had been staged before.
    """

    def __init__(
        self,
        listing: StageListing,
        source_id: str,
        files: StageFiles,
        limit: int,
        journal: Journal,
        workers: Workers,
        absent: PhotosyncError | None = None,
    ) -> None:
        self.listing, self.source_id, self.files, self.limit = listing, source_id, files, limit
        self.monitor = workers.monitor()
        self.gone = absent
        self.read_again = 0
        self._journal = journal
        self._workers = workers
        self._views: list[StageView] = []
        self._files: dict[str, File] = {}
        self._ordered: list[File] = []
        self._first: deque[File] = deque()
        self._second: list[int] = []
        self._used = 0

    # who wants what

    def join(self, view: "StageView") -> None:
        """A destination will read from here; until it says what, it is taken to want everything."""
        with self.monitor:
            self._views.append(view)

    def expect(self, view: "StageView", entries: Iterable[Entry]) -> None:
        """A destination says what it will read, in order."""
        wanted = {entry.path: entry for entry in entries}
        with self.monitor:
            if wanted:
                self.listing.keep()
            view.planned = True
            for file in self._files.values():
                if file.entry.path not in wanted:
                    self._release(file, view)
            for entry in wanted.values():
                new = entry.path not in self._files
                file = self.file(entry)
                file.claims[view] = True
                if file.copy is None and file.turn is Pass.NONE:
                    self._want(file, Pass.FIRST if new else Pass.SECOND)
            if self._all_planned:
                copies = [file.copy for file in self._ordered if file.copy is not None]
                self.files.sweep({piece for copy in copies for piece in copy.pieces if piece})
            self.monitor.notify_all()

    @property
    def _all_planned(self) -> bool:
        return all(view.planned or view.ended for view in self._views)

    def file(self, entry: Entry) -> File:
        """The file of that name, known from now on."""
        file = self._files.get(entry.path)
        if file is None:
            file = self._files[entry.path] = File(entry, len(self._files))
            self._ordered.append(file)
            self._adopt(file)
        return file

    def find(self, path: str) -> File | None:
        return self._files.get(path)

    def _want(self, file: File, turn: Pass) -> None:
        file.turn = turn
        if turn is Pass.FIRST:
            self._first.append(file)
        else:
            heapq.heappush(self._second, file.order)

    def request(self, file: File, view: "StageView") -> None:
        """A destination needs a file that no copy serves (any more)."""
        file.claims[view] = True
        file.taken.discard(view)
        if file.turn is Pass.NONE:
            self._want(file, Pass.SECOND)
            self.monitor.notify_all()

    def _adopt(self, file: File) -> None:
        """Takes over what an earlier run staged of it, or what a destination on a local disk has."""
        copy = self._left_over(file.entry) or self._delivered(file.entry)
        if copy is not None:
            file.copy = copy
            self._claim_for_all(file)

    def _left_over(self, entry: Entry) -> Copy | None:
        known = self._journal.content(self.source_id, entry)
        if known is None:
            return None
        copy = Copy(entry, State.STAGED, written=entry.size, content=known.content)
        path = self.files.whole(entry)
        if self.files.holds(path, entry.size):
            copy.pieces, copy.held = [path], [entry.size]
            self._used += entry.size
            return copy
        copy.elsewhere = self._proven_copy(entry)
        return copy if copy.elsewhere is not None else None

    def _delivered(self, entry: Entry) -> Copy | None:
        """A copy that was proven in an earlier run and looks as it did then; its bytes are compared once more
        with its content id while they are read."""
        for view in self._views:
            if view.serves is None or view.journal is None:
                continue
            known = view.journal.delivery(self.source_id, view.destination, entry.path)
            if known is None or not known.of(entry) or known.evidence == NONE:
                continue
            try:
                there = view.serves.stat(known.stored)
            except (OSError, PhotosyncError):
                continue
            if there.is_file and same_there(there, known):
                elsewhere = view.serves, known.stored
                return Copy(
                    entry, State.STAGED, written=known.size, content=known.content, elsewhere=elsewhere
                )
        return None

    def _claim_for_all(self, file: File) -> None:
        for view in self._views:
            if not view.planned and not view.ended:
                file.claims.setdefault(view, True)

    def _proven_copy(self, entry: Entry) -> tuple[Readable, str] | None:
        for view in self._views:
            if view.serves is not None:
                kept = self._journal.delivery(self.source_id, view.destination, entry.path)
                if kept is not None and kept.of(entry):
                    return view.serves, kept.stored
        return None

    def settled(self, view: "StageView", path: str, delivered: bool) -> None:
        """A destination is done with a file; one that did not get it may want it in another run."""
        with self.monitor:
            file = self._files.get(path)
            if file is None:
                return
            if delivered:
                self._release(file, view)
            else:
                self._give_up(file, view)
            self.monitor.notify_all()

    def stored(self, view: "StageView", path: str, stored: str) -> None:
        """A destination on a local disk has a proven copy, which may stand in for the staged one."""
        with self.monitor:
            file = self._files.get(path)
            copy = file.copy if file is not None else None
            if file is None or copy is None or view.serves is None or copy.content is None or copy.segment:
                return
            if copy.elsewhere is not None or copy.state is not State.STAGED or not set(file.claims) - {view}:
                return
            seen = copy.seen
            kept = (path, seen.size, seen.mtime_ns, seen.version, copy.content, stored, None, REREAD)
            self._journal.set_delivery(self.source_id, view.destination, Delivery(*kept))
            self._journal.flush()
            copy.elsewhere = view.serves, stored
            self._drop_pieces(copy)

    def leave(self, view: "StageView") -> None:
        """A destination has ended, whatever the reason."""
        with self.monitor:
            view.ended = True
            for file in self._files.values():
                self._give_up(file, view)
            self.monitor.notify_all()

    def close(self) -> tuple[int, int]:
        """Removes what nobody needs any more; files that stay for another run, and their bytes here."""
        with self.monitor:
            kept = [
                copy
                for file, copy in self._staged()
                if file.claims and (copy.elsewhere is not None or None not in copy.pieces)
            ]
            pieces = {piece for copy in kept for piece in copy.pieces if piece}
            self.files.sweep(pieces)
            if not kept:
                self.files.discard()
            return len(kept), sum(copy.written for copy in kept if pieces.intersection(copy.pieces))

    def _release(self, file: File, view: "StageView") -> None:
        file.claims.pop(view, None)
        copy = file.copy
        # Whoever is done with a file holds up nobody by what it did not read of it.
        self.unfollow(copy, view)
        if copy is not None and not file.claims and copy.state is State.STAGED:
            self._drop(file)
        else:
            self._trim(copy)

    def _give_up(self, file: File, view: "StageView") -> None:
        if view in file.claims:
            file.claims[view] = False
            self.unfollow(file.copy, view)

    # dropping copies

    def _staged(self) -> Iterator[tuple[File, Copy]]:
        for file in self._files.values():
            if file.copy is not None and file.copy.state is State.STAGED:
                yield file, file.copy

    def _drop(self, file: File) -> None:
        """Whoever still has to read the file reads it in the second pass."""
        if file.copy is not None:
            file.copy.revoked = True
            self._drop_pieces(file.copy)
        file.copy = None
        self.monitor.notify_all()
        if file.unread and file.turn is Pass.NONE:
            self._want(file, Pass.SECOND)

    def _drop_pieces(self, copy: Copy) -> None:
        for index in range(len(copy.pieces)):
            self._drop_piece(copy, index)

    def _drop_piece(self, copy: Copy, index: int) -> None:
        piece = copy.pieces[index]
        if piece is not None:
            self.files.remove(piece)
            copy.pieces[index] = None
            self._used -= copy.held[index]

    def _trim(self, copy: Copy | None) -> None:
        """Drops the pieces of a streamed file that all who follow it have passed."""
        if copy is not None and copy.segment:
            passed = min((copy.at.get(view, 0) for view in copy.followers), default=copy.written)
            whole = copy.state is not State.READING and passed == copy.written
            for index in range(len(copy.pieces) if whole else min(passed // copy.segment, len(copy.pieces))):
                self._drop_piece(copy, index)
            self.monitor.notify_all()

    def passed(self, copy: Copy, view: "StageView", offset: int) -> None:
        """A destination has read so far."""
        before, copy.at[view] = copy.at.get(view, 0), offset
        if copy.segment and (before // copy.segment != offset // copy.segment or offset == copy.written):
            self._trim(copy)

    def unfollow(self, copy: Copy | None, view: "StageView") -> None:
        """A destination needs the pieces of a streamed file no longer."""
        if copy is not None and view in copy.followers:
            copy.followers.discard(view)
            self._trim(copy)

    def damaged(self, file: File, copy: Copy) -> None:
        """A copy is not what was read at the source: nobody shall have it."""
        with self.monitor:
            if file.copy is copy:
                self._drop(file)

    # the budget

    def reserve(self, file: File, copy: Copy, size: int) -> None:
        """Waits for room.

        Raises:
            Unwanted: nobody is waiting for this any more.
        """
        with self.monitor:
            while True:
                self._workers.check()
                if not (copy.followers if copy.pieces else file.live):
                    raise Unwanted
                if not self._used or self._used + size <= self.limit:
                    break
                if not (self._make_room(file) or self._shake_off(file, copy)):
                    self.monitor.wait()
            self._used += size
            copy.held.append(size)

    def _make_room(self, coming: File) -> bool:
        """Drops what is needed least; False if nothing may be dropped now.

        In the second pass what somebody has open stays: two files would take each other's place for ever.
        """
        starving = {view for view in self._views if view.waits}
        waited_for = {view.waits for view in starving}
        everybody = all(view.waits or view.ended for view in self._views)
        goal = self._used - self.limit // 16
        cheap: list[File] = []
        dear: list[File] = []
        for file in reversed(self._ordered):
            copy = file.copy
            if copy is None or copy.state is not State.STAGED or not any(copy.pieces) or file in waited_for:
                continue
            if copy.at:
                if starving and not file.unread & starving and coming.readings == 1:
                    dear.append(file)
            elif not file.unread:
                self._drop(file)
            elif everybody or (starving and not file.unread & starving):
                cheap.append(file)
            if self._used <= goal:
                return True
        for file in [*cheap, *dear]:
            self._drop(file)
            if self._used <= goal:
                break
        return self._used < goal + self.limit // 16

    def _shake_off(self, file: File, copy: Copy) -> bool:
        """The slowest of those who follow a streamed file loses it, if somebody starves.

        In the second pass the last one keeps it, unless it waits for another file itself.
        """
        behind = [
            view for view in copy.followers if copy.at.get(view, 0) < copy.written and view.waits is not file
        ]
        if not behind or not any(view.waits for view in self._views):
            return False
        slowest = min(
            behind, key=lambda view: (view in copy.at, copy.at.get(view, 0), self._views.index(view))
        )
        if file.readings > 1 and len(copy.followers) == 1 and slowest.waits is None:
            return False
        self.unfollow(copy, slowest)
        return True

    # for the stager

    @property
    def over(self) -> bool:
        """Whether every destination has ended."""
        return all(view.ended for view in self._views)

    def held(self) -> tuple[int, int]:
        """Files that are staged, and their bytes."""
        with self.monitor:
            sizes = [copy.written for _, copy in self._staged()]
        return len(sizes), sum(sizes)

    def take(self, told: bool, under_way: Callable[[], bool]) -> File | None:
        """The next file to read, as soon as there is one; the monitor is held.

        Args:
            told: it is known that nothing is left to be read.
            under_way: whether something is still being written.

        Returns:
            None if nothing is left and that is news, or if every destination has ended.
        """
        while True:
            self._workers.check()
            if self.gone is None and (file := self._in_turn()) is not None:
                return file
            if self.over:
                return None
            if not told and not under_way() and self.gone is None and self._all_planned:
                return None
            self.monitor.wait()

    def _in_turn(self) -> File | None:
        while self._first:
            file = self._first.popleft()
            file.turn = Pass.NOW if file.live else Pass.NONE
            if file.live:
                return file
        asked = [view.waits for view in self._views if view.waits and view.waits.turn is Pass.SECOND]
        for file in sorted(asked, key=lambda each: each.order)[:1]:
            file.turn = Pass.NOW
            return file
        while self._second:
            file = self._ordered[heapq.heappop(self._second)]
            if file.turn is Pass.SECOND:
                file.turn = Pass.NOW if file.unread else Pass.NONE
                if file.unread:
                    return file
        return None

    def begin(self, file: File, copy: Copy, seen: Entry) -> None:
        """The source has opened a file: whoever waits for it may follow; the monitor is held."""
        copy.seen = seen
        if file.copy is not None:
            file.copy.revoked = True
            self._drop_pieces(file.copy)
        self._claim_for_all(file)
        if copy.segment:
            copy.followers = file.unread
        else:
            # It may have another size now than when it was listed.
            self._used += seen.size - copy.held[0]
            copy.held[0] = seen.size
            copy.pieces.append(self.files.begin())
        file.copy, file.turn = copy, Pass.NONE
        self.monitor.notify_all()

    def finish(self, file: File, copy: Copy, found: Fingerprint) -> None:
        """A copy is whole."""
        with self.monitor:
            if not copy.segment:
                copy.pieces[0] = self.files.complete(copy.pieces[0], copy.seen)
                self._journal.set_content(self.source_id, copy.seen, found)
                self._journal.flush()
            copy.content, copy.state = found.content, State.STAGED
            if not file.claims:
                self._drop(file)
            else:
                self._trim(copy)
            self.monitor.notify_all()

    def fail(self, file: File, copy: Copy, error: PhotosyncError) -> None:
        """A file could not be read."""
        with self.monitor:
            copy.state, copy.error, copy.revoked = State.FAILED, error, True
            file.copy = copy
            if file.turn is Pass.NOW:
                file.turn = Pass.NONE
            self._give_back(copy)
            self.monitor.notify_all()

    def lose(self, file: File, copy: Copy, error: PhotosyncError) -> None:
        """The source, or the stage, is of no use any more; what is staged is."""
        with self.monitor:
            self.gone = error
            self.fail(file, copy, error)

    def abandon(self, file: File, copy: Copy) -> None:
        """Nobody follows a copy to its end; who still needs the file reads it in the second pass."""
        with self.monitor:
            copy.revoked = True
            self._give_back(copy)
            if file.copy is copy or file.turn is Pass.NOW:
                file.turn = Pass.NONE
                self._drop(file)

    def _give_back(self, copy: Copy) -> None:
        self._drop_pieces(copy)
        self._used -= sum(copy.held[len(copy.pieces) :])
        del copy.held[len(copy.pieces) :]
