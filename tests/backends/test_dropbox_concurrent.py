"""Very large files at Dropbox: concurrent upload sessions, tried with small ones."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from photosync.backends.dropbox_concurrent import FROM, ConcurrentUpload
from photosync.engine.errors import AlreadyExists, Corrupt, Transient
from tests.backends.dropbox_rig import MTIME, Rig, dropbox_hash, noise, rigged
from tests.servers.faults import Fault

PART = 8 << 20
APPEND, FINISH = "files/upload_session/append_v2", "files/upload_session/finish"
VIDEO = noise(3 * PART + 77)
DIGESTS = {"dropbox": dropbox_hash(VIDEO)}


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as found:
        yield found


def begin(rig: Rig, data: bytes = VIDEO) -> ConcurrentUpload:
    return ConcurrentUpload(rig.fs._account, "Photos", "clip.mp4", len(data), MTIME)


def send(upload: ConcurrentUpload, *indexes: int, data: bytes = VIDEO) -> None:
    for index in indexes:
        part = data[index * PART : (index + 1) * PART]
        upload.send_part(index, part, hashlib.sha256(part).hexdigest())


def resumed(rig: Rig, token: str) -> ConcurrentUpload:
    found = rig.sign_in().store("Photos").resume_upload(token)
    assert isinstance(found, ConcurrentUpload)
    return found


def test_only_very_large_files_go_this_way(rig: Rig) -> None:
    store = rig.store()
    assert isinstance(store.start_upload("a", FROM, None), ConcurrentUpload)
    assert not isinstance(store.start_upload("b", FROM - 1, None), ConcurrentUpload)


@pytest.mark.parametrize("data", [VIDEO, VIDEO[: 3 * PART]], ids=["short last part", "whole parts"])
def test_parts_at_once_and_in_any_order(rig: Rig, data: bytes) -> None:
    upload = begin(rig, data)
    with rig.counting() as asked, ThreadPoolExecutor(4) as pool:
        count = -(-len(data) // PART)
        list(pool.map(lambda index: send(upload, index, data=data), reversed(range(count))))
        assert rig.content() == {}
        stored = upload.commit({"dropbox": dropbox_hash(data)})
    assert asked == {APPEND: count, FINISH: 1}
    assert stored.digests == {"dropbox": dropbox_hash(data)}
    assert stored.mtime_ns == MTIME
    assert rig.content() == {"/Photos/clip.mp4": data}


def test_another_process_sends_what_was_not_acknowledged(rig: Rig) -> None:
    first = begin(rig)
    send(first, 2)
    rig.emulator.faults.append(Fault(APPEND, reset="reply"))
    with pytest.raises(Transient):
        send(first, 0)
    upload = resumed(rig, first.token)
    assert upload.parts_held() == {2: PART}
    send(upload, 0, 1, 3)
    assert upload.parts_held() == {0: PART, 1: PART, 2: PART, 3: 77}
    assert upload.commit(DIGESTS).digests == DIGESTS
    assert rig.content() == {"/Photos/clip.mp4": VIDEO}


def test_what_an_earlier_process_sent_is_never_replaced(rig: Rig) -> None:
    first = begin(rig)
    send(first, 0)
    with pytest.raises(FileNotFoundError, match="other bytes"):
        send(resumed(rig, first.token), 0)


@pytest.mark.parametrize("fault", [
    Fault(APPEND, reset="reply"), Fault(APPEND, reset="body"), Fault(APPEND, status=503),
    Fault(FINISH, reset="reply"), Fault(FINISH, reset="before"), Fault(FINISH, status=429),
], ids=lambda fault: f"{fault.route.rpartition('/')[2]}-{fault.reset or fault.status}")  # fmt: skip
def test_a_commit_that_failed_is_repeated(rig: Rig, fault: Fault) -> None:
    upload = begin(rig)
    send(upload, 0, 1, 2, 3)
    rig.emulator.faults.append(fault)
    with pytest.raises(Transient):
        upload.commit(DIGESTS)
    assert upload.commit(DIGESTS).digests == DIGESTS
    assert rig.content() == {"/Photos/clip.mp4": VIDEO}


@pytest.mark.parametrize("route", [APPEND, FINISH])
def test_a_commit_whose_answer_never_came_is_found_by_another_process(rig: Rig, route: str) -> None:
    first = begin(rig)
    send(first, 0, 1, 2, 3)
    rig.emulator.faults.append(Fault(route, reset="reply"))
    with pytest.raises(Transient):
        first.commit(DIGESTS)
    upload = resumed(rig, first.token)
    send(upload, 3)
    assert upload.commit(DIGESTS).digests == DIGESTS
    assert rig.content() == {"/Photos/clip.mp4": VIDEO}


def test_nothing_is_published_without_all_parts(rig: Rig) -> None:
    upload = begin(rig)
    send(upload, 0, 2, 3)
    with pytest.raises(Transient, match="1 of 4 parts"):
        upload.commit(DIGESTS)
    assert rig.content() == {}


def test_nothing_is_replaced(rig: Rig) -> None:
    upload = begin(rig)
    send(upload, 0, 1, 2, 3)
    rig.emulator.put("/Photos/clip.mp4", b"not ours")
    with pytest.raises(AlreadyExists):
        upload.commit(DIGESTS)
    assert rig.content() == {"/Photos/clip.mp4": b"not ours"}


def test_a_damaged_part_is_refused(rig: Rig) -> None:
    upload = begin(rig)
    rig.emulator.faults.append(Fault(APPEND, corrupt=5))
    with pytest.raises(Transient):
        send(upload, 0)
    with pytest.raises(Corrupt):
        upload.send_part(1, VIDEO[PART : 2 * PART], hashlib.sha256(b"other").hexdigest())
    with pytest.raises(ValueError, match="cannot have"):
        upload.send_part(1, b"", hashlib.sha256(b"").hexdigest())
    assert upload.parts_held() == {}


def test_a_session_that_is_gone_is_not_resumed(rig: Rig) -> None:
    upload = begin(rig)
    send(upload, 0)
    damaged = json.dumps(json.loads(upload.token) | {"concurrent": [7]})
    with pytest.raises(FileNotFoundError):
        rig.store().resume_upload(damaged)
    rig.emulator.advance(8 * 24 * 3600)
    with pytest.raises(FileNotFoundError):
        rig.store().resume_upload(upload.token)
    with pytest.raises(FileNotFoundError):
        send(upload, 1)


def test_an_aborted_upload_takes_nothing_more(rig: Rig) -> None:
    upload = begin(rig)
    send(upload, 0)
    upload.abort()
    upload.abort()
    with pytest.raises(FileNotFoundError):
        send(upload, 1)
