"""Resumable uploads: what is sent twice, what another process finds, and what a token may say."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from photosync.backends.drive_store import SMALL, DriveStore
from photosync.backends.drive_upload import PART, SessionUpload
from photosync.engine.capabilities import Stored
from photosync.engine.errors import AlreadyExists, Corrupt, Permanent, Transient
from photosync.engine.hashing import fingerprint
from photosync.testing.helpers import noise, parts
from tests.backends.drive_rig import MTIME, Rig, blob, rigged, stored
from tests.servers.faults import Fault

DATA = noise(2 * PART + 700_001)
PIECES = parts(DATA, PART)
DIGESTS = fingerprint(DATA, ["sha256", "md5"]).digests


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


@pytest.fixture
def store(rig: Rig) -> DriveStore:
    return rig.store()


def start(store: DriveStore) -> SessionUpload:
    return store.start_upload("v.mp4", len(DATA), MTIME)


def send(upload: SessionUpload, *indexes: int) -> None:
    for index in indexes:
        upload.send_part(index, PIECES[index], hashlib.sha256(PIECES[index]).hexdigest())


def whole(rig: Rig, kept: Stored) -> None:
    assert kept.digests == {name: DIGESTS[name] for name in ("md5", "sha256")}
    assert rig.content() == {"Photos/v.mp4": [DATA]}
    (file,) = rig.emulator.files()["Photos/v.mp4"]
    assert round(file.modified * 1000) == round(file.created * 1000) == MTIME // 1_000_000


def test_requests_of_a_large_file(rig: Rig, store: DriveStore) -> None:
    with rig.counting() as counted:
        upload = start(store)
        send(upload, 0, 1, 2)
        whole(rig, upload.commit(DIGESTS))
    assert counted["upload/start"] == 1
    # The third part goes but for its last bytes, which publish the file.
    assert counted["upload/chunk"] == 4
    assert counted["upload/status"] == 0


@pytest.mark.parametrize("reset", ["before", "body", "reply"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.row(36)
def test_a_part_that_failed_is_not_sent_over_again(rig: Rig, store: DriveStore, reset: str, nth: int) -> None:
    upload = start(store)
    rig.emulator.faults.append(Fault("upload/chunk", nth=nth, reset=reset))  # type: ignore[arg-type]
    for index in range(3):
        try:
            send(upload, index)
        except Transient:
            send(upload, index)
    whole(rig, upload.commit(DIGESTS))
    if reset == "reply":
        assert rig.emulator.received["upload/chunk"] == len(DATA)


def test_a_part_of_which_some_was_kept(rig: Rig, store: DriveStore) -> None:
    upload = start(store)
    rig.emulator.faults.append(Fault("upload/chunk", truncate=3 << 20))
    with pytest.raises(Transient, match="arrived"):
        send(upload, 0)
    send(upload, 0, 1, 2)
    whole(rig, upload.commit(DIGESTS))
    assert rig.emulator.received["upload/chunk"] == len(DATA) + PART - (3 << 20)


@pytest.mark.parametrize("reset", ["before", "reply"])
@pytest.mark.row(37)
def test_a_commit_whose_reply_was_lost(rig: Rig, store: DriveStore, reset: str) -> None:
    upload = start(store)
    send(upload, 0, 1, 2)
    rig.emulator.faults.append(Fault("upload/chunk", reset=reset))  # type: ignore[arg-type]
    with pytest.raises(Transient):
        upload.commit(DIGESTS)
    whole(rig, upload.commit(DIGESTS))


def test_another_process_goes_on(rig: Rig, store: DriveStore) -> None:
    upload = start(store)
    send(upload, 0, 1)
    other = rig.sign_in().store("Photos").resume_upload(upload.token)
    assert dict(other.parts_held()) == {0: PART, 1: PART}
    send(other, 2)
    whole(rig, other.commit(DIGESTS))


def test_another_process_finds_the_last_part_half_there(rig: Rig, store: DriveStore) -> None:
    upload = start(store)
    send(upload, 0, 1, 2)
    other = rig.sign_in().store("Photos").resume_upload(upload.token)
    assert dict(other.parts_held()) == {0: PART, 1: PART}
    send(other, 2)
    whole(rig, other.commit(DIGESTS))
    assert rig.emulator.received["upload/chunk"] == len(DATA)


def test_another_process_finds_it_published(rig: Rig, store: DriveStore) -> None:
    upload = start(store)
    send(upload, 0, 1, 2)
    kept = upload.commit(DIGESTS)
    other = rig.sign_in().store("Photos").resume_upload(upload.token)
    assert sum(other.parts_held().values()) == len(DATA)
    assert other.commit(DIGESTS).version == kept.version
    whole(rig, kept)


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.row(40)
def test_a_session_that_has_expired(rig: Rig, store: DriveStore, status: int) -> None:
    upload = start(store)
    send(upload, 0)
    rig.emulator.api.uploads.expired_status = status
    rig.emulator.advance(8 * 24 * 3600)
    with pytest.raises(FileNotFoundError):
        send(upload, 1)
    with pytest.raises(FileNotFoundError):
        rig.sign_in().store("Photos").resume_upload(upload.token)
    assert rig.content() == {}


def test_a_name_taken_meanwhile(rig: Rig, store: DriveStore) -> None:
    upload = start(store)
    send(upload, 0, 1, 2)
    rig.emulator.put("Photos/v.mp4", b"theirs")
    with pytest.raises(AlreadyExists):
        upload.commit(DIGESTS)
    upload.abort()
    assert rig.content() == {"Photos/v.mp4": [b"theirs"]}
    with pytest.raises(FileNotFoundError):
        upload.parts_held()


def test_bytes_that_changed_in_memory(store: DriveStore) -> None:
    upload = start(store)
    with pytest.raises(Corrupt):
        upload.send_part(0, PIECES[1], hashlib.sha256(PIECES[0]).hexdigest())


def test_a_token_holds_no_credentials_and_leads_nowhere_else(rig: Rig, store: DriveStore) -> None:
    upload = start(store)
    token = json.loads(upload.token)
    assert token.keys() == {"session", "id", "path", "size", "part_size"}
    signed_in = rig.fs._account._token
    assert not any(str(signed_in[name]) in upload.token for name in ("access_token", "refresh_token"))
    for address in (
        "https://evil.example/upload",
        "http://www.googleapis.com/x",
        "https://xgoogleapis.com/",
        "",
    ):
        with pytest.raises(FileNotFoundError, match="no token"):
            store.resume_upload(json.dumps({**token, "session": address}))
    for text in ("", "{}", "[]", "null", '{"session": 1}'):
        with pytest.raises(FileNotFoundError):
            store.resume_upload(text)


@pytest.mark.parametrize("size", [SMALL + 1, PART, PART + 1, 2 * PART, PART + (256 << 10)])
def test_sizes_at_the_edges(rig: Rig, store: DriveStore, size: int) -> None:
    data = DATA[:size]
    upload = store.start_upload("v.mp4", size, None)
    for index, piece in enumerate(parts(data, PART)):
        upload.send_part(index, piece, hashlib.sha256(piece).hexdigest())
    assert rig.content() == {}
    upload.commit(fingerprint(data, ["sha256"]).digests)
    assert rig.content() == {"Photos/v.mp4": [data]}


def test_a_part_out_of_order_is_refused(store: DriveStore) -> None:
    upload = start(store)
    with pytest.raises(FileNotFoundError):
        send(upload, 1)
    with pytest.raises(Permanent, match="lacks"):
        upload.commit(DIGESTS)


def test_a_small_file_beside(rig: Rig, store: DriveStore) -> None:
    upload = start(store)
    send(upload, 0, 1, 2)
    stored(store.put([blob("a.jpg", b"photo")]))
    upload.commit(DIGESTS)
    [result] = store.put([blob("v.mp4", b"other")])
    assert isinstance(result, AlreadyExists)
