"""What photosync asks of every store, as tests."""

import threading
from collections.abc import Callable, Iterator

import pytest

from photosync.engine import hashing
from photosync.engine.capabilities import Parts, Store, Stored
from photosync.testing.helpers import MTIME, blob, content, drain, files, noise, put, read, stored, taken
from photosync.testing.places import PlaceContract
from photosync.testing.uploads import UploadContract


class StoreContract(PlaceContract, UploadContract):
    """Subclass it and override `reopen`; override `store` as well if opening needs more.

    Whatever a store declares in its capabilities is proven; what it does not declare it must refuse in words
    (`Unsupported`), or the test says that it is skipped.
    """

    @pytest.fixture
    def reopen(self) -> Callable[[], Store]:
        """Makes a store object on a place of the test's own, as another process would: nothing is shared but
        the place. The root does not exist at first."""
        raise NotImplementedError("override the fixture `reopen`")

    @pytest.fixture
    def store(self, reopen: Callable[[], Store]) -> Iterator[Store]:
        """The store under test; its root does not exist yet."""
        opened = reopen()
        yield opened
        opened.close()

    def test_declares_what_makes_sense(self, store: Store) -> None:
        assert isinstance(store, Store)
        can = store.capabilities
        assert can.writable
        assert can.part_size > 0
        assert can.part_size % (4 << 20) == 0
        assert can.batch.count >= 1
        assert can.batch.bytes >= can.small_limit
        assert can.read_concurrency >= 1
        assert can.write_concurrency >= 1
        assert can.mtime_precision_ns is None or can.mtime_precision_ns >= 1
        assert can.mtime_precision_ns is not None or not can.set_mtime
        for name in can.hashes:
            assert hashing.known(name)

    def test_put(self, store: Store) -> None:
        data = noise(100_000)
        kept = put(store, "DCIM/a.jpg", data)
        assert (kept.path, kept.size) == ("DCIM/a.jpg", len(data))
        seen = store.stat("DCIM/a.jpg")
        assert (seen.path, seen.size, seen.version) == ("DCIM/a.jpg", len(data), kept.version)
        assert files(store)["DCIM/a.jpg"].version == kept.version
        assert content(store) == {"DCIM/a.jpg": data}

    def test_put_replaces_nothing(self, store: Store) -> None:
        before = put(store, "a.jpg", b"one")
        [result] = store.put([blob(store, "a.jpg", b"two")])
        assert taken(result)
        assert content(store) == {"a.jpg": b"one"}
        assert store.stat("a.jpg").version == before.version

    def test_put_of_the_same_again(self, store: Store) -> None:
        put(store, "a.jpg", b"one")
        [result] = store.put([blob(store, "a.jpg", b"one")])
        assert isinstance(result, Stored) or taken(result)
        assert content(store) == {"a.jpg": b"one"}

    def test_put_where_a_folder_is(self, store: Store) -> None:
        put(store, "a/b.jpg", b"one")
        if store.capabilities.names.flat:
            pytest.skip("not applicable: there are no real folders")
        [result] = store.put([blob(store, "a", b"two")])
        assert taken(result)
        assert content(store) == {"a/b.jpg": b"one"}

    def test_put_below_a_file(self, store: Store) -> None:
        put(store, "a", b"one")
        if store.capabilities.names.flat:
            pytest.skip("not applicable: there are no real folders")
        [result] = store.put([blob(store, "a/b.jpg", b"two")])
        assert isinstance(result, Exception)
        assert content(store) == {"a": b"one"}

    def test_put_of_nothing(self, store: Store) -> None:
        assert put(store, "empty.jpg", b"").size == 0
        assert content(store) == {"empty.jpg": b""}

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_put_takes_any_buffer(self, store: Store, kind: Callable[[bytes], bytes]) -> None:
        put(store, "a.jpg", kind(b"photo"))
        assert content(store) == {"a.jpg": b"photo"}

    def test_put_batch(self, store: Store) -> None:
        """An object that cannot be stored concerns itself alone."""
        put(store, "DCIM/3.jpg", b"there before")
        count = min(store.capabilities.batch.count, 20)
        blobs = [blob(store, f"DCIM/{n}.jpg" if n % 2 else f"n/{n}.jpg", b"x" * n) for n in range(count)]
        results = store.put(blobs)
        assert len(results) == count
        for number, (one, result) in enumerate(zip(blobs, results, strict=True)):
            if one.path == "DCIM/3.jpg":
                assert taken(result)
            else:
                assert (stored(result).path, stored(result).size) == (one.path, number)
        assert content(store) == {one.path: bytes(one.data) for one in blobs} | {
            "DCIM/3.jpg": b"there before"
        }

    def test_put_batch_with_one_name_twice(self, store: Store) -> None:
        if store.capabilities.batch.count < 2:
            pytest.skip("not applicable: one object a call")
        first, second = store.put([blob(store, "a.jpg", b"one"), blob(store, "a.jpg", b"two")])
        winners = [data for data, result in ((b"one", first), (b"two", second)) if isinstance(result, Stored)]
        assert len(winners) == 1
        assert content(store) == {"a.jpg": winners[0]}

    @pytest.mark.parametrize("mtime_ns", [MTIME, 0, 1_000_000_001, 4_000_000_000_000_000_000])
    def test_put_keeps_the_time(self, store: Store, mtime_ns: int) -> None:
        kept = put(store, "a.jpg", mtime_ns=mtime_ns)
        precision = store.capabilities.mtime_precision_ns
        if precision is None:
            pytest.skip("not applicable: no modification times are kept")
        seen = store.stat("a.jpg").mtime_ns
        assert seen is not None
        assert abs(seen - mtime_ns) < precision
        assert kept.mtime_ns is None or abs(kept.mtime_ns - mtime_ns) < precision

    def test_put_without_a_time(self, store: Store) -> None:
        put(store, "a.jpg", mtime_ns=None)
        assert content(store) == {"a.jpg": b"photo"}

    def test_version_changes_with_the_content(self, store: Store) -> None:
        first = put(store, "a.jpg", b"one").version
        store.delete("a.jpg")
        second = put(store, "a.jpg", b"two").version
        if first is None:
            pytest.skip("not applicable: the store has no version tokens")
        assert first != second

    def test_read_from_an_offset(self, store: Store) -> None:
        data = noise(300_000)
        put(store, "a.jpg", data)
        for offset in (1, 65_536, 299_999):
            assert read(store, "a.jpg", offset) == data[offset:]
        reader = store.open("a.jpg", 100)
        piece = reader.read(7)
        assert 0 < len(piece) <= 7
        assert piece + drain(reader) == data[100:]

    def test_read_a_part(self, store: Store) -> None:
        if not isinstance(store, Parts):
            pytest.skip("not applicable: it is read from an offset on")
        data = bytes(range(256)) * 40
        put(store, "a.jpg", data)
        for offset, size in ((0, 1), (0, len(data)), (100, 5000), (len(data) - 1, 1)):
            reader = store.open_part("a.jpg", offset, size)
            found = b""
            while len(found) < size and (piece := reader.read(size - len(found))):
                found += piece
            seen = reader.stat()
            reader.close()
            assert found == data[offset : offset + size]
            assert seen is not None
            assert seen.size == len(data)

    def test_read_beyond_the_end(self, store: Store) -> None:
        put(store, "a.jpg", b"photo")
        assert read(store, "a.jpg", 5) == b""

    def test_reader_tells_what_it_reads(self, store: Store) -> None:
        put(store, "a.jpg", b"photo")
        reader = store.open("a.jpg")
        try:
            now = reader.stat()
            listed = files(store)["a.jpg"]
            if now is None:
                pytest.skip("not applicable: the store can't tell")
            assert (now.path, now.size, now.version) == ("a.jpg", 5, listed.version)
        finally:
            reader.close()

    def test_calls_from_several_threads(self, store: Store) -> None:
        can = store.capabilities
        writers = min(can.write_concurrency, 8)
        count = min(can.batch.count, 5)
        results: dict[int, list[Stored | Exception] | Exception] = {}
        barrier = threading.Barrier(writers)

        def work(number: int) -> None:
            blobs = [
                blob(store, f"t{number % 2}/{number}-{n}.jpg", noise(1000, number + n)) for n in range(count)
            ]
            barrier.wait(30)
            try:
                results[number] = store.put(blobs)
                for one in blobs:
                    assert read(store, one.path) == one.data
            except Exception as error:
                results[number] = error

        _run(work, writers)
        for result in results.values():
            assert isinstance(result, list), result
            assert [one for one in result if isinstance(one, Exception)] == []
        assert len(files(store)) == writers * count

    def test_one_of_several_writers_wins(self, store: Store) -> None:
        put(store, "first.jpg")
        if not store.capabilities.exclusive:
            pytest.skip("not applicable: exclusive is not declared")
        writers = min(store.capabilities.write_concurrency, 8)
        results: dict[int, Stored | Exception] = {}
        barrier = threading.Barrier(writers)

        def work(number: int) -> None:
            mine = blob(store, "a.jpg", b"writer %d" % number)
            barrier.wait(30)
            [results[number]] = store.put([mine])

        _run(work, writers)
        winners = [number for number, result in results.items() if isinstance(result, Stored)]
        assert len(winners) == 1, results
        assert all(taken(result) for number, result in results.items() if number != winners[0]), results
        assert read(store, "a.jpg") == b"writer %d" % winners[0]

    def test_counts_its_requests(self, store: Store) -> None:
        counts = [sum(store.requests.values())]
        put(store, "a.jpg")
        counts.append(sum(store.requests.values()))
        store.list_folder("")
        counts.append(sum(store.requests.values()))
        read(store, "a.jpg")
        counts.append(sum(store.requests.values()))
        assert counts == sorted(set(counts)), "each call makes at least one request"

    def test_about(self, store: Store) -> None:
        put(store, "a.jpg")
        usage = store.about()
        for figure in (usage.total, usage.used, usage.free):
            assert figure is None or figure >= 0


def _run(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
