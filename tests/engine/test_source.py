"""Reading the source: exactly the bytes that were promised, or none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from photosync.backends.local import LocalBackend
from photosync.engine.entry import Entry
from photosync.engine.errors import DeviceGone, Permanent, SourceChanged, Transient
from photosync.engine.hashing import fingerprint
from photosync.engine.limits import Gate
from photosync.engine.retry import RetryPolicy
from photosync.engine.source import BLOCK, Source, SourceGone
from photosync.engine.workers import Cancelled, Threads, Workers
from tests.engine.rig import entry


class Reader:
    """Gives what it is told to; an exception is raised."""

    def __init__(self, blocks: list[bytes | Exception], stats: list[Entry | Exception | None]) -> None:
        self.blocks, self.stats = blocks, stats
        self.closed = 0

    def read(self, size: int, /) -> bytes:
        block = self.blocks.pop(0) if self.blocks else b""
        if isinstance(block, Exception):
            raise block
        return block

    def stat(self) -> Entry | None:
        found = self.stats.pop(0) if len(self.stats) > 1 else self.stats[0]
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self.closed += 1


def source(open_: Callable[[str], object], workers: Workers) -> Source:
    store = type("Store", (), {"open": staticmethod(lambda path, _offset: open_(path))})()
    return Source(store, workers, Gate(workers), RetryPolicy(attempts=2, first_wait=0.001), lambda *_: None)


def read(reader: Reader, listed: Entry) -> bytes:
    with Workers(Threads()) as workers:
        here = source(lambda _path: reader, workers)
        try:
            return b"".join(here.blocks(here.open(listed)))
        finally:
            assert reader.closed == 1


def test_bytes_arrive() -> None:
    assert read(Reader([b"ab", b"cd"], [entry("a", 4)]), entry("a", 4)) == b"abcd"


def test_nothing_is_something() -> None:
    assert read(Reader([], [entry("a", 0)]), entry("a", 0)) == b""


@pytest.mark.parametrize(
    ("blocks", "stats", "words"),
    [
        ([b"abc"], [entry("a", 4)], "gave 3 bytes though it was said to have 4"),
        ([], [None], "gave 0 bytes"),
        ([b"ab", b"cde"], [entry("a", 4)], "longer than the 4 bytes"),
        ([b"abcd"], [entry("a", 4), entry("a", 5)], "changed while it was read"),
        ([b"abcd"], [entry("a", 4), entry("a", 4, 2)], "changed while it was read"),
        ([b"abcd"], [entry("a", 4), entry("a", 4, version="v2")], "changed while it was read"),
    ],
)
@pytest.mark.row(6, 11)
def test_other_bytes_than_promised_are_no_file(
    blocks: list[bytes | Exception], stats: list[Entry | Exception | None], words: str
) -> None:
    with pytest.raises(SourceChanged, match=words):
        read(Reader(blocks, stats), entry("a", 4))


def test_what_counts_is_the_file_as_it_was_opened() -> None:
    assert read(Reader([b"grown"], [entry("a", 5, 9)]), entry("a", 4)) == b"grown"


def test_a_store_that_cannot_stat_is_held_to_the_listing() -> None:
    assert read(Reader([b"abcd"], [None]), entry("a", 4)) == b"abcd"
    with pytest.raises(SourceChanged):
        read(Reader([b"abcde"], [None]), entry("a", 4))


@pytest.mark.row(9)
def test_an_unreadable_block_fails_this_file() -> None:
    with pytest.raises(Permanent, match="reading a: Input/output error"):
        read(Reader([b"ab", OSError(5, "Input/output error")], [entry("a", 4)]), entry("a", 4))


@pytest.mark.parametrize("error", [OSError(19, "No such device"), DeviceGone("unplugged")])
@pytest.mark.parametrize("where", ["open", "stat", "read", "end"])
def test_a_device_that_is_gone_is_told_as_such(error: Exception, where: str) -> None:
    fine = entry("a", 4)
    blocks: list[bytes | Exception] = [error] if where == "read" else [b"abcd"]
    stats: dict[str, list[Entry | Exception | None]] = {"stat": [error], "end": [fine, error]}
    reader = Reader(blocks, stats.get(where, [fine]))

    def open_(_path: str) -> Reader:
        if where == "open":
            raise error
        return reader

    with Workers(Threads()) as workers:
        here = source(open_, workers)
        with pytest.raises(SourceGone) as told:
            b"".join(here.blocks(here.open(fine)))
    assert isinstance(told.value.__cause__, DeviceGone)
    assert reader.closed == (0 if where == "open" else 1)


def test_a_vanished_file_is_told() -> None:
    def open_(path: str) -> Reader:
        raise FileNotFoundError(2, "none", path)

    with Workers(Threads()) as workers, pytest.raises(Permanent, match="a vanished from the source"):
        source(open_, workers).open(entry("a"))


def test_opening_is_tried_again() -> None:
    answers: list[object] = [Transient("busy"), Reader([b"abcd"], [entry("a", 4)])]

    def open_(_path: str) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Workers(Threads()) as workers:
        here = source(open_, workers)
        assert here.hash(entry("a", 4), ())[0] == fingerprint(b"abcd")


def test_cancelling_stops_between_blocks() -> None:
    reader = Reader([b"ab", b"cd"], [entry("a", 4)])
    with Workers(Threads()) as workers:
        here = source(lambda _path: reader, workers)
        blocks = here.blocks(here.open(entry("a", 4)))
        next(blocks)
        workers.cancel()
        with pytest.raises(Cancelled):
            next(blocks)
    assert reader.closed == 1


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(BLOCK + 7))
    seen: list[tuple[str, int]] = []
    store = LocalBackend().store(str(tmp_path))
    with Workers(Threads()) as workers:
        here = Source(store, workers, Gate(workers), RetryPolicy(), lambda *told: seen.append(told))
        found, opened, _ = here.hash(store.stat("a"), ("md5",))
    assert found == fingerprint(bytes(BLOCK + 7), ["md5"])
    assert opened.size == BLOCK + 7
    assert seen == [("a", BLOCK), ("a", 7)]


@pytest.mark.parametrize("change", ["append", "truncate", "rewrite", "replace"])
@pytest.mark.row(5)
def test_a_real_file_that_changes_under_the_reader_is_noticed(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * (BLOCK * 2))
    store = LocalBackend().store(str(tmp_path))
    with Workers(Threads()) as workers:
        here = Source(store, workers, Gate(workers), RetryPolicy(), lambda *_: None)
        blocks = here.blocks(here.open(store.stat("a")))
        next(blocks)
        if change == "replace":
            (tmp_path / "b").write_bytes(b"y" * (BLOCK * 2))
            os.replace(tmp_path / "b", path)
        else:
            with open(path, "r+b") as file:
                if change == "append":
                    file.seek(0, os.SEEK_END)
                    file.write(b"more")
                elif change == "truncate":
                    file.truncate(BLOCK + 1)
                else:
                    file.write(b"z")
        with pytest.raises(SourceChanged):
            list(blocks)
