"""Fills the stage: one thread reads the source, another hashes and writes, so that the source never waits."""

from collections.abc import Callable, Iterator

from photosync.engine.errors import Fatal, PhotosyncError, classify, describe
from photosync.engine.hashing import Hasher
from photosync.engine.source import Source, SourceGone
from photosync.engine.stage import Stage
from photosync.engine.staged import Copy, File, State, Unwanted
from photosync.engine.workers import ByteBudget, Channel, Workers

BLOCK = 4 << 20
"""Bytes of one read: between two, a phone waits for this program's other threads."""
SEGMENT = 64 << 20
"""Most bytes that one piece of a streamed file has."""
AHEAD = 16 << 20
"""Bytes that are read ahead of what is hashed and written."""


class Stager:
    """The two threads.

    Args:
        stage: what they fill.
        source: reads the source, with retries.
        workers: scope of both threads.
    """

    def __init__(self, stage: Stage, source: Source, workers: Workers) -> None:
        self._stage, self._source, self._workers = stage, source, workers
        self._under_way = 0
        self._memory = ByteBudget(workers, AHEAD)
        self._blocks: Channel[tuple[File, Copy, bytes | Exception | None]] = Channel(workers)

    def run(self, all_staged: Callable[[int, int], None]) -> None:
        """Stages what is wanted until every destination has ended.

        Args:
            all_staged: told (files, bytes) each time that nothing is left to be read at the source.
        """
        stage, told = self._stage, False
        self._workers.start(self._write_all, "stage-write")
        try:
            while True:
                with stage.monitor:
                    file = stage.take(told, lambda: self._under_way > 0)
                if file is not None:
                    told = False
                    self._read_one(file)
                elif stage.over:
                    return
                else:
                    told = True
                    all_staged(*stage.held())
        finally:
            self._blocks.close()

    def _read_one(self, file: File) -> None:
        """Reads one file; hashing and writing are the other thread's, so that the source never waits."""
        copy = Copy(file.entry)
        file.readings += 1
        streams = file.entry.size > self._stage.limit
        with self._stage.monitor:
            self._settle(streams)
            self._under_way += 1
        try:
            for block in self._read(file, copy):
                self._memory.acquire(len(block))
                self._blocks.put((file, copy, block))
                if copy.revoked:
                    raise Unwanted
        except Exception as error:
            self._blocks.put((file, copy, error))
        else:
            self._blocks.put((file, copy, None))
        with self._stage.monitor:
            self._settle(streams)

    def _settle(self, streams: bool) -> None:
        """A streamed file takes room piece by piece, so nothing may take room behind it or before it."""
        while streams and self._under_way:
            self._workers.check()
            self._stage.monitor.wait()

    def _write_all(self) -> None:
        hasher = Hasher()
        for file, copy, block in self._blocks:
            try:
                if isinstance(block, bytes):
                    if not copy.revoked:
                        hasher.update(block)
                        self._write(file, copy, block)
                elif block is not None:
                    raise block
                elif not copy.revoked:
                    self._stage.finish(file, copy, hasher.finish())
            except Exception as error:
                self._failed(file, copy, error)
            finally:
                if isinstance(block, bytes):
                    self._memory.release(len(block))
                else:
                    hasher = Hasher()
                    with self._stage.monitor:
                        self._under_way -= 1
                        self._stage.monitor.notify_all()

    def _failed(self, file: File, copy: Copy, error: Exception) -> None:
        """Ends a copy that did not become whole; what else there is to say of it is not news."""
        if copy.revoked or copy.state is not State.READING:
            return
        if isinstance(error, Unwanted):
            self._stage.abandon(file, copy)
        elif isinstance(error, SourceGone):
            cause = error.__cause__
            assert isinstance(cause, PhotosyncError)
            self._stage.lose(file, copy, cause)
        elif isinstance(error, OSError):
            failure = Fatal(
                f"the stage {self._stage.files.folder} cannot be written ({describe(error)}). Free some "
                "space there, or choose another disk with --stage; then run again."
            )
            failure.__cause__ = error
            self._stage.lose(file, copy, failure)
        else:
            self._stage.fail(file, copy, classify(error, f"reading {file.entry.path}"))

    def _read(self, file: File, copy: Copy) -> Iterator[bytes]:
        size = file.entry.size
        if size > self._stage.limit:
            copy.segment = max(1, min(SEGMENT, self._stage.limit // 4))
        else:
            self._stage.reserve(file, copy, size)
        opened = self._source.open(file.entry)
        try:
            with self._stage.monitor:
                self._stage.begin(file, copy, opened.entry)
        except BaseException:
            opened.reader.close()
            raise
        for block in self._source.blocks(opened, BLOCK):
            if file.readings > 1:
                self._stage.read_again += len(block)
            yield block

    def _write(self, file: File, copy: Copy, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            room = len(rest)
            if copy.segment:
                room = len(copy.pieces) * copy.segment - copy.written
                if not room:
                    self._stage.reserve(file, copy, copy.segment)
                    with self._stage.monitor:
                        copy.pieces.append(self._stage.files.begin())
                    room = copy.segment
            part, rest = rest[:room], rest[room:]
            piece = copy.pieces[-1]
            if piece is None:
                raise Unwanted
            self._stage.files.append(piece, part)
            with self._stage.monitor:
                copy.written += len(part)
                self._stage.monitor.notify_all()
