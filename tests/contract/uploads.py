"""The part of the contract that is about large objects."""

import hashlib
from collections.abc import Callable, Iterable
from itertools import chain

import pytest

from photosync.engine.capabilities import Orders, Store, Upload
from photosync.engine.errors import PhotosyncError
from photosync.engine.hashing import Fingerprint, fingerprint
from photosync.engine.names import is_ours
from photosync.testing.helpers import MTIME, content, files, noise, parts, put, read, stored, taken


def large(store: Store) -> bytes:
    """The smallest content that is uploaded in parts: three of them, the last one short."""
    can = store.capabilities
    return noise(max(2 * can.part_size, can.small_limit) + 12_345)


def send(upload: Upload, data: bytes, indexes: Iterable[int] | None = None) -> None:
    pieces = parts(data, upload.part_size)
    for index in range(len(pieces)) if indexes is None else indexes:
        upload.send_part(index, pieces[index], hashlib.sha256(pieces[index]).hexdigest())


def proof(store: Store, upload: Upload, data: bytes) -> Fingerprint:
    names = chain(store.capabilities.hashes, filter(None, [upload.digest]))
    return fingerprint(data, names)


def start(store: Store, path: str, data: bytes) -> Upload:
    return store.start_upload(path, len(data), MTIME)


class UploadContract:
    """Mixed into `photosync.testing.StoreContract`."""

    def test_upload_in_order(self, store: Store) -> None:
        data = large(store)
        upload = start(store, "DCIM/video.mp4", data)
        assert upload.part_size % (4 << 20) == 0
        send(upload, data)
        found = proof(store, upload, data)
        kept = upload.commit(found.digests)
        assert (kept.path, kept.size) == ("DCIM/video.mp4", len(data))
        if upload.digest is not None:
            assert upload.digest in kept.digests
        for name, value in kept.digests.items():
            assert fingerprint(data, [name]).digests[name] == value
        assert content(store) == {"DCIM/video.mp4": data}
        precision = store.capabilities.mtime_precision_ns
        if precision is not None:
            mtime_ns = store.stat("DCIM/video.mp4").mtime_ns
            assert mtime_ns is not None
            assert abs(mtime_ns - MTIME) < precision
        assert store.stat("DCIM/video.mp4").version == kept.version

    def test_upload_in_any_order(self, store: Store) -> None:
        if not store.capabilities.parallel_parts:
            pytest.skip("not applicable: parallel_parts is not declared")
        data = large(store)
        upload = start(store, "video.mp4", data)
        if isinstance(upload, Orders) and upload.in_order:
            upload.abort()
            pytest.skip("not applicable: an upload of this size wants its parts in order")
        send(upload, data, reversed(range(len(parts(data, upload.part_size)))))
        upload.commit(proof(store, upload, data).digests)
        assert content(store) == {"video.mp4": data}

    def test_upload_unfinished_publishes_nothing(self, store: Store, reopen: Callable[[], Store]) -> None:
        data = large(store)
        upload = start(store, "video.mp4", data)
        send(upload, data)
        for seen in (store, reopen()):
            assert not [path for path in files(seen) if not is_ours(path)]
            with pytest.raises(FileNotFoundError):
                seen.stat("video.mp4")
        upload.abort()

    def test_upload_that_lacks_a_part_is_never_published(self, store: Store) -> None:
        data = large(store)
        upload = start(store, "video.mp4", data)
        send(upload, data, [0])
        with pytest.raises((PhotosyncError, OSError)):
            upload.commit(proof(store, upload, data).digests)
        upload.abort()
        assert files(store) == {}

    def test_upload_resumes_in_another_process(self, store: Store, reopen: Callable[[], Store]) -> None:
        data = large(store)
        upload = start(store, "video.mp4", data)
        size, count = upload.part_size, len(parts(data, upload.part_size))
        send(upload, data, [0])
        if not store.capabilities.resumable:
            with pytest.raises(FileNotFoundError):
                reopen().resume_upload(upload.token)
            return
        other = reopen().resume_upload(upload.token)
        assert other.part_size == size
        assert dict(other.parts_held()) == {0: size}
        send(other, data, range(1, count))
        other.commit(proof(store, other, data).digests)
        assert content(store) == {"video.mp4": data}

    def test_upload_says_which_parts_it_holds(self, store: Store) -> None:
        data = large(store)
        upload = start(store, "video.mp4", data)
        assert dict(upload.parts_held()) == {}
        send(upload, data, [0])
        assert dict(upload.parts_held()) == {0: upload.part_size}
        upload.abort()

    def test_upload_that_nobody_knows(self, store: Store) -> None:
        with pytest.raises(FileNotFoundError):
            store.resume_upload("no such upload").parts_held()

    def test_upload_replaces_nothing(self, store: Store) -> None:
        data = large(store)
        upload = start(store, "video.mp4", data)
        send(upload, data)
        put(store, "video.mp4", b"somebody else's")
        try:
            result: Exception | None = None
            upload.commit(proof(store, upload, data).digests)
        except (PhotosyncError, OSError) as error:
            result = error
        assert result is not None
        assert taken(result)
        upload.abort()
        assert content(store) == {"video.mp4": b"somebody else's"}

    def test_upload_aborted_leaves_nothing(self, store: Store, reopen: Callable[[], Store]) -> None:
        data = large(store)
        upload = start(store, "video.mp4", data)
        send(upload, data)
        upload.abort()
        for seen in (store, reopen()):
            assert files(seen) == {}

    def test_upload_after_an_aborted_one(self, store: Store) -> None:
        data = large(store)
        start(store, "video.mp4", data).abort()
        upload = start(store, "video.mp4", data)
        send(upload, data)
        stored(upload.commit(proof(store, upload, data).digests))
        assert read(store, "video.mp4", len(data) - 10) == data[-10:]
