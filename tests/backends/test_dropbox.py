"""The Dropbox store against the emulator: putting, uploading, changing, reading."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from dropbox.team_common import MemberSpaceLimitType
from dropbox.users import SpaceAllocation, SpaceUsage, TeamSpaceAllocation

from photosync.backends.dropbox_store import DropboxStore
from photosync.engine.capabilities import Blob, Store, Stored, Upload, Usage
from photosync.engine.entry import Kind
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    DestinationFull,
    NameRefused,
    Permanent,
    Transient,
    Unsupported,
)
from tests.backends.dropbox_rig import MTIME, SECOND, Rig, blob, dropbox_hash, noise, rigged, stored
from tests.servers.faults import Fault

FINISH = "files/upload_session/finish"
APPEND_BATCH = "files/upload_session/append_batch"
FINISH_BATCH = "files/upload_session/finish_batch_v2"
PART = 8 << 20


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


def test_it_is_a_store(rig: Rig) -> None:
    assert isinstance(rig.store(), Store)


# Putting


def test_a_thousand_small_files_cost_few_requests(rig: Rig) -> None:
    blobs = [blob(f"2026/IMG_{n:04}.JPG", noise(10_000, n)) for n in range(1000)]
    with rig.counting() as counted:
        results = stored(rig.store().put(blobs))
    assert counted.total() <= 20, counted
    assert [result.path for result in results] == [each.path for each in blobs]
    assert [dict(result.digests) for result in results] == [
        {"dropbox": dropbox_hash(bytes(each.data))} for each in blobs
    ]
    assert rig.content() == {f"/Photos/{each.path}": each.data for each in blobs}


def test_the_requests_are_counted_by_endpoint(rig: Rig) -> None:
    store = rig.store()
    store.put([blob("a", b"1"), blob("b", b"2")])
    assert dict(store.requests) == {
        "files/upload_session/start_batch": 1,
        "files/upload_session/append_batch": 1,
        FINISH_BATCH: 1,
    }


def test_a_single_file_keeps_its_time_to_the_second(rig: Rig) -> None:
    with rig.counting() as counted:
        (result,) = stored(rig.store().put([blob("a.jpg", b"one", MTIME + 999)]))
    assert dict(counted) == {"files/upload": 1}
    version = rig.emulator.files()["/Photos/a.jpg"].rev
    assert result == Stored("a.jpg", 3, version, {"dropbox": dropbox_hash(b"one")}, MTIME)


def test_a_time_that_dropbox_cannot_hold_does_not_fail_the_file(rig: Rig) -> None:
    odd = [blob("early", b"1", -5 * SECOND), blob("late", b"2", 2**80), blob("none", b"3", None)]
    assert len(stored(rig.store().put(odd))) == 3


def test_an_empty_file_among_others(rig: Rig) -> None:
    stored(rig.store().put([blob("empty", b""), blob("a", b"1"), blob("b", b"2")]))
    assert rig.content() == {"/Photos/empty": b"", "/Photos/a": b"1", "/Photos/b": b"2"}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("there", [b"other", b"mine"])
@pytest.mark.row(48)
def test_what_is_there_is_never_replaced(rig: Rig, count: int, there: bytes) -> None:
    rig.emulator.put("/Photos/IMG_0.JPG", there)
    rev = rig.emulator.files()["/Photos/IMG_0.JPG"].rev
    results = rig.store().put([blob(f"img_{n}.jpg", b"mine") for n in range(count)])
    assert isinstance(results[0], AlreadyExists)
    assert len(stored(results[1:])) == count - 1
    assert rig.emulator.files()["/Photos/IMG_0.JPG"].rev == rev
    assert len(rig.content()) == count


def test_a_file_where_a_folder_is_needed_concerns_that_file_alone(rig: Rig) -> None:
    rig.emulator.put("/Photos/2026", b"a file")
    refused, kept = rig.store().put([blob("2026/a", b"1"), blob("2027/a", b"2")])
    assert isinstance(refused, AlreadyExists)
    assert isinstance(kept, Stored)


def test_names_that_dropbox_refuses_concern_their_files_alone(rig: Rig) -> None:
    names = ["Thumbs.db", "x" * 300, "back\\slash", "../up", "\udc80", "good.jpg"]
    *refused, kept = rig.store().put([blob(name, name.encode("utf-8", "replace")) for name in names])
    assert [type(each) for each in refused] == [NameRefused] * 5
    assert isinstance(kept, Stored)
    assert list(rig.content()) == ["/Photos/good.jpg"]


@pytest.mark.row(48)
def test_names_reach_dropbox_composed(rig: Rig) -> None:
    (result,) = stored(rig.store().put([blob("Cafe\u0301.jpg", b"1")]))
    assert result.path == "Cafe\u0301.jpg"
    assert list(rig.content()) == ["/Photos/Caf\u00e9.jpg"]
    assert rig.store().stat("Cafe\u0301.jpg").version == result.version


@pytest.mark.parametrize("count", [1, 3])
def test_bytes_that_changed_after_they_were_read_are_not_sent(rig: Rig, count: int) -> None:
    blobs = [blob(f"{n}", noise(100, n)) for n in range(count)]
    blobs[0] = replace(blobs[0], data=b"damaged")
    damaged, *others = rig.store().put(blobs)
    assert isinstance(damaged, Corrupt)
    assert len(stored(others)) == len(rig.content()) == count - 1


def test_a_full_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with rigged(monkeypatch, quota=1000) as rig:
        store = rig.store()
        fits, too_much = store.put([blob("a", noise(900)), blob("b", noise(901))])
        assert isinstance(fits, Stored)
        assert isinstance(too_much, DestinationFull)
        (alone,) = store.put([blob("c", noise(902))])
        assert isinstance(alone, DestinationFull)
        upload = store.start_upload("d", 903, None)
        send_one(upload, 0, noise(903))
        with pytest.raises(DestinationFull):
            upload.commit({})
        assert store.about() == Usage(total=1000, used=900, free=100)
        assert list(rig.content()) == ["/Photos/a"]


@pytest.mark.parametrize("refused", ["start_batch", "append_batch"])
@pytest.mark.parametrize("status", [400, 404, 413])
def test_without_batches_each_file_gets_a_session(rig: Rig, refused: str, status: int) -> None:
    rig.emulator.faults.append(Fault(f"files/upload_session/{refused}", status=status, count=None))
    store = rig.store()
    blobs = [blob(f"{n}", noise(100, n)) for n in range(5)]
    stored(store.put(blobs))
    assert rig.content() == {f"/Photos/{n}": noise(100, n) for n in range(5)}
    with rig.counting() as counted:
        stored(store.put([blob(f"again/{n}", noise(100, n)) for n in range(5)]))
    assert dict(counted) == {"files/upload_session/start": 5, FINISH_BATCH: 1}


def test_commits_take_turns_while_contents_travel_together(rig: Rig) -> None:
    rig.emulator.api.contention = True
    rig.emulator.api.write_seconds = 0.02
    store = rig.store()
    failures: list[object] = []

    def work(number: int) -> None:
        for turn in range(3):
            failures.extend(
                result
                for result in store.put([blob(f"{number}/{turn}/{n}", noise(500, n)) for n in range(3)])
                if not isinstance(result, Stored)
            )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rig.content()) == 54


@pytest.mark.parametrize(
    "fault",
    [
        Fault("files/upload_session/append_batch", reset="body"),
        Fault("files/upload_session/append_batch", status=503),
        Fault(FINISH_BATCH, reset="reply"),
        Fault(FINISH_BATCH, reset="before"),
        Fault(FINISH_BATCH, status=500),
    ],
    ids=lambda fault: f"{fault.route.rpartition('/')[2]}-{fault.reset or fault.status}",
)
@pytest.mark.row(35)
def test_trouble_in_a_batch_is_transient_and_leaves_no_second_copy(rig: Rig, fault: Fault) -> None:
    store = rig.store()
    blobs = [blob(f"{n}", noise(2000, n)) for n in range(4)]
    rig.emulator.faults.append(fault)
    with pytest.raises(Transient):
        store.put(blobs)
    assert len(stored(store.put(blobs))) == 4
    assert rig.content() == {f"/Photos/{n}": noise(2000, n) for n in range(4)}
    assert store.stat("0").digests == {"dropbox": dropbox_hash(noise(2000, 0))}


def test_a_commit_without_an_answer_is_looked_up_before_it_is_tried_again(rig: Rig) -> None:
    store = rig.store()
    blobs = [blob(f"{n % 2}/{n}", noise(2000, n)) for n in range(9)]
    rig.emulator.faults.append(Fault(FINISH_BATCH, reset="reply"))
    with pytest.raises(Transient):
        store.put(blobs)
    with rig.counting() as asked:
        assert [result.digests for result in stored(store.put(blobs))] == [
            {"dropbox": dropbox_hash(each.data)} for each in blobs
        ]
    assert asked == {"files/list_folder": 2}
    with rig.counting() as asked:
        assert {type(result) for result in store.put(blobs)} == {AlreadyExists}
    assert asked[FINISH_BATCH] == 1, "what is settled is not looked up again"


FINISH_JOB = "files/upload_session/finish_batch"


def as_jobs(rig: Rig, polls: int) -> None:
    """The account commits by jobs only, which are asked for so often before they have ended."""
    rig.emulator.api.async_polls = polls
    rig.emulator.faults.append(Fault(FINISH_BATCH, status=400, count=None))


def until_done(store: DropboxStore, blobs: list[Blob]) -> tuple[list[Stored | Exception], list[float | None]]:
    """What `put` gives in the end, and how long it asked to wait before."""
    waits: list[float | None] = []
    while True:
        try:
            return store.put(blobs), waits
        except Transient as error:
            waits.append(error.retry_after)
            assert len(waits) < 20


@pytest.mark.parametrize("polls", [-1, 0, 3])
def test_a_commit_that_goes_on_as_a_job_is_asked_for_until_it_ends(rig: Rig, polls: int) -> None:
    as_jobs(rig, polls)
    store = rig.store()
    blobs = [blob(f"{n}", noise(2000, n)) for n in range(9)]
    with rig.counting() as asked:
        results, waits = until_done(store, blobs)
    assert [result.digests for result in stored(results)] == [
        {"dropbox": dropbox_hash(b.data)} for b in blobs
    ]
    assert waits == [1.0, 2.0, 4.0][: max(polls, 0)]
    assert (asked[FINISH_BATCH], asked[FINISH_JOB]) == (1, 1)
    assert asked[f"{FINISH_JOB}/check"] == polls + 1
    assert asked["files/list_folder"] == 0, "nothing is doubted while the job is known"
    assert asked[APPEND_BATCH] == 1
    rig.emulator.put("/Photos/10", b"theirs")
    results, _ = until_done(store, [blob(f"{n}", noise(2000, n)) for n in (9, 10)])
    assert (type(results[0]), type(results[1])) == (Stored, AlreadyExists)


def test_one_job_of_an_account_at_a_time(rig: Rig) -> None:
    as_jobs(rig, 2)
    rig.emulator.api.contention = True
    store = rig.store()
    one, two = ([blob(f"{name}/{n}", noise(2000, n)) for n in range(3)] for name in "ab")
    for blobs in (one, two):
        with pytest.raises(Transient):
            store.put(blobs)
    assert rig.emulator.requests[FINISH_JOB] == 1, "the second waits for the first"
    stored(until_done(store, two)[0])
    with rig.counting() as asked:
        stored(until_done(store, one)[0])
    assert asked == {}, "what the first one gave was kept"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FINISH_JOB, reset="reply"),
        Fault(FINISH_JOB, reset="before"),
        Fault(f"{FINISH_JOB}/check", reset="reply"),
        Fault(f"{FINISH_JOB}/check", status=503),
        Fault(f"{FINISH_JOB}/check", error={".tag": "invalid_async_job_id"}),
        Fault(f"{FINISH_JOB}/check", error={".tag": "internal_error"}),
    ],
    ids=lambda fault: f"{fault.route.rpartition('/')[2]} {fault.reset or fault.status or fault.error}",
)
def test_a_job_that_is_lost(rig: Rig, fault: Fault) -> None:
    """What is there is found by its hash; nothing is there twice, and nothing is called there that is not."""
    as_jobs(rig, 1)
    store = rig.store()
    blobs = [blob(f"{n}", noise(2000, n)) for n in range(9)]
    fault.hits = fault.seen = 0
    rig.emulator.faults.append(fault)
    results, _ = until_done(store, blobs)
    assert fault.hits == 1
    assert [result.digests for result in stored(results)] == [
        {"dropbox": dropbox_hash(b.data)} for b in blobs
    ]
    assert rig.content() == {f"/Photos/{n}": noise(2000, n) for n in range(9)}
    assert rig.emulator.requests[APPEND_BATCH] == 1, "contents that arrived are not sent again"


def test_a_job_that_another_process_began(rig: Rig) -> None:
    as_jobs(rig, 5)
    blobs = [blob(f"{n}", noise(2000, n)) for n in range(3)]
    with pytest.raises(Transient):
        rig.store().put(blobs)
    listed = {entry.path: entry.digests for entry in rig.sign_in().store("Photos").list_tree()}
    assert listed == {each.path: {"dropbox": dropbox_hash(each.data)} for each in blobs}


def test_somebody_elses_bytes_are_not_taken_for_ours_after_a_lost_commit(rig: Rig) -> None:
    store = rig.store()
    blobs = [blob(f"{n}", noise(2000, n)) for n in range(3)]
    rig.emulator.faults.append(Fault(FINISH_BATCH, reset="before"))
    with pytest.raises(Transient):
        store.put(blobs)
    rig.emulator.put("/Photos/1", b"not ours")
    first, second, third = store.put(blobs)
    assert isinstance(second, AlreadyExists)
    assert len(stored([first, third])) == 2
    assert rig.content()["/Photos/1"] == b"not ours"


def test_contents_that_arrived_are_not_sent_again(rig: Rig) -> None:
    store = rig.store()
    blobs = [blob(f"{n}", noise(2000, n)) for n in range(300)]
    rig.emulator.faults.append(Fault(APPEND_BATCH, nth=3, reset="reply"))
    with pytest.raises(Transient):
        store.put(blobs)
    sent = rig.emulator.received[APPEND_BATCH]
    assert len(stored(store.put(blobs))) == 300
    again = rig.emulator.received[APPEND_BATCH] - sent
    assert 0 < again < 300 * 2000 / 2, "one request of three was lost"


def test_a_session_that_is_gone_is_begun_anew_for_its_file_alone(rig: Rig) -> None:
    store = rig.store()
    blobs = [blob(f"{n}", noise(2000, n)) for n in range(3)]
    rig.emulator.faults.append(Fault(FINISH_BATCH, status=503))
    with pytest.raises(Transient):
        store.put(blobs)
    rig.emulator.advance(8 * 24 * 3600)
    results = store.put(blobs)
    assert {type(result) for result in results} == {Transient}
    assert len(stored(store.put(blobs))) == 3


@pytest.mark.row(48)
def test_damage_on_the_way_up_is_refused_and_transient(rig: Rig) -> None:
    store = rig.store()
    upload = store.start_upload("large", 3000, None)
    for route, work in {
        "files/upload": lambda: store.put([blob("a", noise(3000))]),
        "files/upload_session/append_batch": lambda: store.put([blob(f"{n}", noise(3000)) for n in range(3)]),
        "files/upload_session/start": lambda: store.put([blob("b", noise(2 << 20))]),
        "files/upload_session/append_v2": lambda: send_one(upload, 0, noise(3000)),
    }.items():
        rig.emulator.faults.append(Fault(route, corrupt=2000))
        with pytest.raises(Transient):
            work()
    assert rig.content() == {}


@pytest.mark.row(34)
def test_a_rate_limit_says_how_long_to_wait(rig: Rig) -> None:
    rig.emulator.faults.append(Fault("files/upload", status=429, retry_after=17))
    with pytest.raises(Transient) as caught:
        rig.store().put([blob("a", b"1")])
    assert caught.value.retry_after == 17
    assert rig.emulator.requests["files/upload"] == 1
    rig.emulator.faults.append(Fault("files/upload", status=503, retry_after=18))
    with pytest.raises(Transient) as caught:
        rig.store().put([blob("a", b"1")])
    assert caught.value.retry_after == 18
    rig.emulator.faults.append(Fault("files/get_metadata", status=429))
    with pytest.raises(Transient) as caught:
        rig.store().stat("a")
    assert caught.value.retry_after is None


def test_too_many_writes_of_others_is_transient(rig: Rig) -> None:
    busy = {".tag": "path", "reason": {".tag": "too_many_write_operations"}, "upload_session_id": "x"}
    rig.emulator.faults.append(Fault("files/upload", error=busy))
    with pytest.raises(Transient):
        rig.store().put([blob("a", b"1")])


# Uploading in parts


def send_one(upload: Upload, index: int, data: bytes) -> None:
    upload.send_part(index, memoryview(data), hashlib.sha256(data).hexdigest())


def send(upload: Upload, data: bytes, first: int = 0) -> None:
    for index in range(first, -(-len(data) // upload.part_size)):
        at = index * upload.part_size
        send_one(upload, index, data[at : at + upload.part_size])


def digests(data: bytes) -> dict[str, str]:
    return {"dropbox": dropbox_hash(data)}


def test_a_large_file_goes_in_parts(rig: Rig) -> None:
    data = noise(2 * PART + 77)
    upload = rig.store().start_upload("v/clip.mp4", len(data), MTIME)
    assert upload.digest == "dropbox"
    with rig.counting() as counted:
        send(upload, data)
        assert rig.content() == {}
        result = upload.commit(digests(data))
    assert counted.total() == 4
    assert result.path == "v/clip.mp4"
    assert result.digests == digests(data)
    assert result.mtime_ns == MTIME
    assert rig.content() == {"/Photos/v/clip.mp4": data}


def test_another_process_goes_on_with_an_upload(rig: Rig) -> None:
    data = noise(2 * PART + 77)
    first = rig.store().start_upload("clip.mp4", len(data), MTIME)
    send_one(first, 0, data[:PART])
    token = first.token
    assert rig.fs._account._token["access_token"] not in token

    upload = rig.sign_in().store("Photos").resume_upload(token)
    assert upload.parts_held() == {0: PART}
    send(upload, data, first=1)
    assert upload.parts_held() == {0: PART, 1: PART, 2: 77}
    assert upload.commit(digests(data)).mtime_ns == MTIME
    assert rig.content() == {"/Photos/clip.mp4": data}


def test_an_upload_with_nothing_sent_is_found_again(rig: Rig) -> None:
    store = rig.store()
    assert store.resume_upload(store.start_upload("a", 10, None).token).parts_held() == {}


@pytest.mark.row(40)
def test_an_upload_that_dropbox_has_forgotten(rig: Rig) -> None:
    store = rig.store()
    upload = store.start_upload("a", 10, None)
    rig.emulator.advance(8 * 24 * 3600)
    with pytest.raises(FileNotFoundError):
        store.resume_upload(upload.token)
    with pytest.raises(FileNotFoundError):
        send_one(upload, 0, bytes(10))
    with pytest.raises(FileNotFoundError):
        upload.commit({})
    with pytest.raises(FileNotFoundError):
        store.resume_upload("{}")


def test_an_upload_that_holds_what_is_no_part_is_not_resumed(rig: Rig) -> None:
    store = rig.store()
    upload = store.start_upload("a", PART + 10, None)
    send_one(upload, 0, bytes(100))
    with pytest.raises(FileNotFoundError):
        store.resume_upload(upload.token)


def test_a_part_whose_reply_was_lost_is_not_sent_twice(rig: Rig) -> None:
    data = noise(PART + 5)
    upload = rig.store().start_upload("a", len(data), None)
    rig.emulator.faults.append(Fault("files/upload_session/append_v2", reset="reply"))
    with pytest.raises(Transient):
        send_one(upload, 0, data[:PART])
    send_one(upload, 0, data[:PART])
    send_one(upload, 1, data[PART:])
    upload.commit(digests(data))
    assert rig.content() == {"/Photos/a": data}


@pytest.mark.row(36)
def test_a_part_that_broke_off_is_sent_again(rig: Rig) -> None:
    data = noise(PART + 5)
    upload = rig.store().start_upload("a", len(data), None)
    rig.emulator.faults.append(Fault("files/upload_session/append_v2", reset="body"))
    with pytest.raises(Transient):
        send_one(upload, 0, data[:PART])
    send(upload, data)
    upload.commit(digests(data))
    assert rig.content() == {"/Photos/a": data}


def test_a_damaged_part_is_not_sent(rig: Rig) -> None:
    upload = rig.store().start_upload("a", 100, None)
    with pytest.raises(Corrupt):
        upload.send_part(0, bytes(100), hashlib.sha256(b"other").hexdigest())
    assert upload.parts_held() == {}


def test_an_upload_is_aborted_for_good(rig: Rig) -> None:
    store = rig.store()
    upload = store.start_upload("a", 2 * PART, None)
    send_one(upload, 0, noise(PART))
    upload.abort()
    upload.abort()
    with pytest.raises(FileNotFoundError):
        store.resume_upload(upload.token)


def test_a_part_out_of_order_is_refused(rig: Rig) -> None:
    upload = rig.store().start_upload("a", 3 * PART, None)
    with pytest.raises(Transient, match="Part 1 begins"):
        send_one(upload, 1, noise(PART))


@pytest.mark.row(37)
def test_a_commit_whose_reply_was_lost_is_recognised(rig: Rig) -> None:
    store = rig.store()
    upload = store.start_upload("a", 4, MTIME)
    send_one(upload, 0, b"data")
    rig.emulator.faults.append(Fault(FINISH, reset="reply"))
    with pytest.raises(Transient):
        upload.commit(digests(b"data"))
    version = rig.emulator.files()["/Photos/a"].rev
    assert upload.commit(digests(b"data")).version == version
    with pytest.raises(FileNotFoundError):
        store.resume_upload(upload.token)
    assert list(rig.content()) == ["/Photos/a"]


def test_what_others_wrote_is_not_taken_for_a_lost_commit(rig: Rig) -> None:
    upload = rig.store().start_upload("a", 4, MTIME)
    send_one(upload, 0, b"data")
    rig.emulator.faults.append(Fault(FINISH, reset="before"))
    with pytest.raises(Transient):
        upload.commit(digests(b"data"))
    rig.emulator.put("/Photos/A", b"other")
    with pytest.raises(AlreadyExists):
        upload.commit(digests(b"data"))
    assert rig.content() == {"/Photos/A": b"other"}


@pytest.mark.parametrize("there", [b"other", b"data"])
def test_a_taken_name_refuses_a_commit(rig: Rig, there: bytes) -> None:
    rig.emulator.put("/Photos/a", there)
    upload = rig.store().start_upload("a", 4, None)
    send_one(upload, 0, b"data")
    with pytest.raises(AlreadyExists):
        upload.commit(digests(b"data"))
    assert rig.content() == {"/Photos/a": there}


def test_a_commit_of_a_part_that_never_came(rig: Rig) -> None:
    upload = rig.store().start_upload("a", PART + 4, None)
    send_one(upload, 0, noise(PART))
    with pytest.raises(Permanent):
        upload.commit({})
    assert rig.content() == {}


# Changing


def test_moving_and_copying_keep_what_is_there(rig: Rig) -> None:
    store = rig.store()
    stored(store.put([blob("a", b"1"), blob("b", b"2")]))
    moved = store.move("a", "new/c")
    assert (moved.path, moved.digests, moved.mtime_ns) == ("new/c", digests(b"1"), MTIME)
    copied = store.copy("new/c", "d")
    assert (copied.path, copied.digests) == ("d", digests(b"1"))
    for work in (store.move, store.copy):
        with pytest.raises(AlreadyExists):
            work("b", "D")
        with pytest.raises(FileNotFoundError):
            work("gone", "e")
    assert rig.content() == {"/Photos/b": b"2", "/Photos/new/c": b"1", "/Photos/d": b"1"}


def test_deleting_takes_one_file_and_never_a_folder(rig: Rig) -> None:
    rig.emulator.put("/Photos/folder/a", b"1")
    rig.emulator.put("/Photos/folder/b", b"2")
    store = rig.store()
    store.delete("folder/a")
    with pytest.raises(IsADirectoryError):
        store.delete("folder")
    with pytest.raises(FileNotFoundError):
        store.delete("folder/a")
    assert list(rig.content()) == ["/Photos/folder/b"]


@pytest.mark.parametrize(
    ("own_limit", "usage"),
    [(0, Usage(1000, 600, 400)), (500, Usage(500, 400, 100)), (5000, Usage(1000, 600, 400))],
)
def test_the_space_of_a_team_and_its_member(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, own_limit: int, usage: Usage
) -> None:
    # The emulator has no teams.
    team = TeamSpaceAllocation(
        used=600,
        allocated=1000,
        user_within_team_space_allocated=own_limit,
        user_within_team_space_limit_type=MemberSpaceLimitType.off,
        user_within_team_space_used_cached=400,
    )
    answer = SpaceUsage(used=400, allocation=SpaceAllocation.team(team))
    monkeypatch.setattr(rig.fs._account._open(), "users_get_space_usage", lambda: answer)
    assert rig.store().about() == usage


def test_what_came_there_meanwhile_is_not_deleted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.emulator.put("/Photos/a", b"1")
    store = rig.store()
    seen = store.stat("a")
    rig.emulator.delete("/Photos/a")
    rig.emulator.put("/Photos/a/photo", b"2")
    monkeypatch.setattr(store, "stat", lambda path: seen)
    with pytest.raises(Permanent):
        store.delete("a")
    assert rig.content() == {"/Photos/a/photo": b"2"}


def test_a_time_cannot_be_set(rig: Rig) -> None:
    store = rig.store()
    assert not store.capabilities.set_mtime
    with pytest.raises(Unsupported):
        store.set_mtime("a", MTIME)


def test_small_files_are_replaced_only_by_who_saw_them(rig: Rig) -> None:
    store = rig.store()
    first = store.replace_small(".photosync/HEAD", b"1", None)
    assert store.read_small(".photosync/HEAD", 10) == (b"1", first)
    with pytest.raises(AlreadyExists):
        store.replace_small(".photosync/HEAD", b"1", None)
    second = store.replace_small(".photosync/HEAD", b"2", first)
    with pytest.raises(AlreadyExists):
        store.replace_small(".photosync/HEAD", b"3", first)
    assert store.read_small(".photosync/HEAD", 1) == (b"2", second)
    store.delete(".photosync/HEAD")
    with pytest.raises(AlreadyExists):
        store.replace_small(".photosync/HEAD", b"4", second)
    with pytest.raises(FileNotFoundError):
        store.read_small(".photosync/HEAD", 10)


def test_a_small_file_may_not_be_large(rig: Rig) -> None:
    rig.emulator.put("/Photos/HEAD", bytes(100))
    with pytest.raises(Corrupt):
        rig.store().read_small("HEAD", 99)


# Looking and reading


def test_stat(rig: Rig) -> None:
    rig.emulator.put("/Photos/Camera/IMG.JPG", b"photo")
    entry = rig.store().stat("Camera/img.jpg")
    assert entry.path == "Camera/IMG.JPG"
    assert (entry.size, entry.digests, entry.kind) == (5, digests(b"photo"), Kind.FILE)
    assert entry.version == rig.emulator.files()["/Photos/Camera/IMG.JPG"].rev
    assert rig.store().stat("camera").kind is Kind.FOLDER
    with pytest.raises(FileNotFoundError):
        rig.store().stat("gone")


@pytest.mark.parametrize("offset", [0, 1, 99_999, 100_000])
def test_reading_from_an_offset(rig: Rig, offset: int) -> None:
    data = noise(100_000)
    rig.emulator.put("/Photos/a", data)
    reader = rig.store().open("a", offset)
    entry = reader.stat()
    assert entry is not None
    assert (entry.size, entry.digests) == (100_000, digests(data))
    assert b"".join(iter(lambda: reader.read(30_000), b"")) == data[offset:]
    reader.close()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("files/download", corrupt=60_000), Corrupt),
        (Fault("files/download", truncate=60_000), Transient),
        (Fault("files/download", reset="body"), Transient),
        (Fault("files/download", status=503), Transient),
    ],
    ids=["corrupt", "truncated", "reset", "503"],
)
@pytest.mark.row(50)
def test_damage_on_the_way_is_not_hidden(rig: Rig, fault: Fault, error: type[Exception]) -> None:
    rig.emulator.put("/Photos/a", noise(100_000))
    rig.emulator.faults.append(fault)

    def read_all() -> None:
        reader = rig.store().open("a")
        try:
            while reader.read(30_000):
                pass
        finally:
            reader.close()

    with pytest.raises(error):
        read_all()


def test_reading_what_is_no_file(rig: Rig) -> None:
    rig.emulator.put("/Photos/folder/a", b"1")
    with pytest.raises(FileNotFoundError):
        rig.store().open("gone")
    with pytest.raises(IsADirectoryError):
        rig.store().open("folder")
