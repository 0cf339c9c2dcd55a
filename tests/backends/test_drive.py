"""The Google Drive store: writes that are repeated, names, what was there, and words for what goes wrong."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from photosync.backends.drive_errors import IdTaken, Refused, status_error
from photosync.backends.drive_metadata import named, nanoseconds, shown, times
from photosync.backends.drive_own import REPLACES
from photosync.backends.drive_store import DriveStore
from photosync.engine.beside import unshared
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.entry import Kind
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    DestinationFull,
    Fatal,
    NotSignedIn,
    Permanent,
    RateLimited,
    ReadOnly,
    Transient,
    Unsupported,
)
from photosync.engine.hashing import fingerprint
from photosync.testing.helpers import drain
from tests.backends.drive_rig import MTIME, Rig, blob, rigged, stored
from tests.servers.faults import Fault


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


@pytest.fixture
def store(rig: Rig) -> DriveStore:
    return rig.store()


def put(store: DriveStore, path: str, data: bytes) -> Stored:
    return stored(store.put([blob(path, data)]))[0]


# Bytes as they are


@pytest.mark.parametrize("known", [["sha256"], ["blake3", "sha256"]])
def test_bytes_that_changed_in_memory_do_not_go(rig: Rig, known: list[str]) -> None:
    digests = {name: value for name, value in fingerprint(b"photo", known).digests.items() if name in known}
    store = rig.store()
    [result] = store.put([Blob("a.jpg", b"phota", None, digests)])
    assert isinstance(result, Corrupt)
    assert rig.content() == {}
    assert stored(store.put([Blob("a.jpg", b"photo", None, digests)]))[0].path == "a.jpg"
    assert rig.content() == {"Photos/a.jpg": [b"photo"]}


@pytest.mark.parametrize("data", [b"\r\n--", b"--\r\n\r\n{}\r\n----\r\n", b"\nFrom me\n\r\r\n\x00", b""])
def test_bytes_that_look_like_the_parts_of_a_message_arrive(rig: Rig, store: DriveStore, data: bytes) -> None:
    put(store, "a.jpg", data)
    assert rig.content()["Photos/a.jpg"] == [data]


# Nothing twice


@pytest.mark.parametrize("reset", ["reply", "before", "body"])
@pytest.mark.row(37)
def test_a_repeated_create_makes_one_file(rig: Rig, store: DriveStore, reset: Any) -> None:
    put(store, "a/first.jpg", b"first")
    rig.emulator.faults.append(Fault("upload/files.create", reset=reset))
    with pytest.raises(Transient):
        store.put([blob("a/b.jpg", b"photo")])
    with rig.counting() as counted:
        kept = put(store, "a/b.jpg", b"photo")
    assert rig.content() == {"Photos/a/first.jpg": [b"first"], "Photos/a/b.jpg": [b"photo"]}
    assert kept.version == store.stat("a/b.jpg").version
    assert kept.digests["sha256"] == store.stat("a/b.jpg").digests["sha256"]
    # The id was in use already: what is there was looked at, and nothing else asked.
    assert counted.total() == (2 if reset == "reply" else 1)


def test_an_unknown_outcome_does_not_hide_from_other_bytes(rig: Rig, store: DriveStore) -> None:
    put(store, "a/first.jpg", b"first")
    rig.emulator.faults.append(Fault("upload/files.create", reset="reply"))
    with pytest.raises(Transient):
        store.put([blob("a/b.jpg", b"photo")])
    [result] = store.put([blob("a/b.jpg", b"edited")])
    assert isinstance(result, AlreadyExists)
    assert rig.content()["Photos/a/b.jpg"] == [b"photo"]


def test_an_outcome_that_was_none_frees_the_name(rig: Rig, store: DriveStore) -> None:
    put(store, "a/first.jpg", b"first")
    rig.emulator.faults.append(Fault("upload/files.create", status=500))
    with pytest.raises(Transient):
        store.put([blob("a/b.jpg", b"photo")])
    put(store, "a/b.jpg", b"edited")
    assert rig.content()["Photos/a/b.jpg"] == [b"edited"]


def test_folders_are_made_once_by_many_threads_and_tries(rig: Rig, store: DriveStore) -> None:
    rig.emulator.faults.append(Fault("files.create", count=6, reset="reply"))
    barrier = threading.Barrier(6)
    problems: list[Exception] = []

    def work(number: int) -> None:
        barrier.wait(30)
        for _ in range(30):
            try:
                put(store, f"x/y/z/{number}.jpg", b"%d" % number)
                return
            except Transient:
                continue
            except Exception as error:
                problems.append(error)
                return

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    folders = [item.name for item in rig.emulator.api.drive.items.values() if item.is_folder]
    assert sorted(folders) == sorted([rig.emulator.api.drive.root.name, "Photos", "x", "y", "z"])
    assert len(rig.content()) == 6


def test_ids_are_asked_for_by_the_thousand(rig: Rig, store: DriveStore) -> None:
    with rig.counting() as counted:
        for number in range(20):
            put(store, f"{number}.jpg", b"x")
    assert counted["files.generateIds"] == 1
    assert counted["upload/files.create"] == 20
    assert counted.total() <= 20 + 5, "one of them looks whether another machine made the folder, too"


@pytest.mark.row(46)
def test_a_searcher_that_lags_makes_no_second_file(rig: Rig, store: DriveStore) -> None:
    rig.emulator.faults.append(Fault("files.list", count=None, stale=50))
    put(store, "a/b.jpg", b"photo")
    assert store.stat("a/b.jpg").size == 5
    [result] = store.put([blob("a/b.jpg", b"other")])
    assert isinstance(result, AlreadyExists)
    put(store, "a/c.jpg", b"photo")
    head = store.replace_small(".photosync/HEAD", b"1", None)
    head = store.replace_small(".photosync/HEAD", b"2", head)
    assert store.read_small(".photosync/HEAD", 9) == (b"2", head)
    assert all(len(files) == 1 for files in rig.content().values())


def test_a_file_that_arrives_damaged_is_not_called_whole(rig: Rig, store: DriveStore) -> None:
    put(store, "a.jpg", b"first")
    rig.emulator.faults.append(Fault("upload/files.create", corrupt=1500))
    data = b"photo" * 1000
    kept = put(store, "b.jpg", data)
    assert kept.digests["sha256"] != blob("b.jpg", data).digests["sha256"]


def test_a_folder_in_the_trash_takes_nothing(rig: Rig, store: DriveStore) -> None:
    put(store, "a/b.jpg", b"photo")
    (folder,) = [item for item in rig.emulator.api.drive.items.values() if item.name == "a"]
    rig.emulator.trash(folder.id)
    with pytest.raises(Transient):
        store.put([blob("a/c.jpg", b"photo")])
    put(store, "a/c.jpg", b"photo")
    assert rig.content() == {"Photos/a/c.jpg": [b"photo"]}
    assert [entry.path for entry in store.list_folder("a")] == ["a/c.jpg"]


def test_a_folder_that_was_deleted_is_made_again(rig: Rig, store: DriveStore) -> None:
    put(store, "a/b.jpg", b"photo")
    (folder,) = [item for item in rig.emulator.api.drive.items.values() if item.name == "a"]
    rig.emulator.delete(folder.id)
    with pytest.raises(Transient):
        store.put([blob("a/c.jpg", b"photo")])
    put(store, "a/c.jpg", b"photo")
    assert rig.content() == {"Photos/a/c.jpg": [b"photo"]}


@pytest.mark.parametrize("how", ["trash", "delete"])
def test_a_tree_of_folders_that_goes_away(rig: Rig, store: DriveStore, how: str) -> None:
    put(store, "a/b/c/1.jpg", b"photo")
    (folder,) = [item for item in rig.emulator.api.drive.items.values() if item.name == "a"]
    getattr(rig.emulator, how)(folder.id)
    for path in ("a/b/c/2.jpg", "a/b/d/3.jpg"):
        for _ in range(4):
            try:
                put(store, path, b"photo")
                break
            except Transient:
                continue
    assert rig.content() == {f"Photos/{path}": [b"photo"] for path in ("a/b/c/2.jpg", "a/b/d/3.jpg")}
    upload = store.start_upload("a/v.mp4", 20 << 20, None)
    upload.abort()


def test_of_several_writers_of_one_name_one_wins(rig: Rig, store: DriveStore) -> None:
    put(store, "first.jpg", b"x")
    barrier = threading.Barrier(6)
    results: list[Stored | Exception] = []

    def work(number: int) -> None:
        barrier.wait(30)
        results.extend(store.put([blob("a.jpg", b"%d" % number)]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [type(result) for result in results].count(AlreadyExists) == 5
    assert len(rig.content()["Photos/a.jpg"]) == 1


def test_a_name_whose_file_was_deleted_can_be_used_again(rig: Rig, store: DriveStore) -> None:
    put(store, "a.jpg", b"photo")
    (file,) = rig.emulator.files()["Photos/a.jpg"]
    rig.emulator.delete(file.id)
    put(store, "a.jpg", b"other")
    assert rig.content() == {"Photos/a.jpg": [b"other"]}


def test_what_others_put_there_is_seen_before_the_first_file(rig: Rig, store: DriveStore) -> None:
    rig.emulator.put("Photos/a.jpg", b"theirs")
    [result] = store.put([blob("a.jpg", b"ours")])
    assert isinstance(result, AlreadyExists)
    assert rig.content() == {"Photos/a.jpg": [b"theirs"]}


# Copies that Drive makes by itself


@pytest.mark.parametrize("reset", ["reply", "before", "body"])
@pytest.mark.row(37)
def test_a_repeated_copy_makes_one_file(rig: Rig, store: DriveStore, reset: Any) -> None:
    put(store, "a.jpg", b"photo")
    original = store.stat("a.jpg")
    rig.emulator.faults.append(Fault("files.copy", reset=reset))
    with pytest.raises(Transient):
        store.copy_from(store, original, "new/b.jpg")
    with rig.counting() as counted:
        made = store.copy_from(store, original, "new/b.jpg")
    assert rig.content() == {"Photos/a.jpg": [b"photo"], "Photos/new/b.jpg": [b"photo"]}
    assert (made.digests, made.mtime_ns) == (original.digests, MTIME)
    assert made.version == store.stat("new/b.jpg").version != original.version
    assert counted["files.copy"] == 1
    assert counted.total() <= 2, "the lost copy is found by its id"


def test_a_copy_does_not_take_a_name_twice(rig: Rig, store: DriveStore) -> None:
    """Not that of a copy whose reply was lost either, though a search may miss it."""
    for path in ("a.jpg", "b.jpg"):
        put(store, path, path.encode())
    rig.emulator.faults += [Fault("files.copy", reset="reply"), Fault("files.list", stale=9, count=None)]
    with pytest.raises(Transient):
        store.copy_from(store, store.stat("a.jpg"), "c.jpg")
    with pytest.raises(AlreadyExists):
        store.copy_from(store, store.stat("b.jpg"), "c.jpg")
    assert rig.content()["Photos/c.jpg"] == [b"a.jpg"]


def test_a_copy_into_a_folder_that_goes_away(rig: Rig, store: DriveStore) -> None:
    put(store, "a.jpg", b"photo")
    put(store, "new/x.jpg", b"x")
    rig.emulator.delete(rig.emulator.mkdir("Photos/new"))
    with pytest.raises(Transient):
        store.copy_from(store, store.stat("a.jpg"), "new/b.jpg")
    store.copy_from(store, store.stat("a.jpg"), "new/b.jpg")
    assert rig.content() == {"Photos/a.jpg": [b"photo"], "Photos/new/b.jpg": [b"photo"]}


def test_a_file_that_may_not_be_copied(rig: Rig, store: DriveStore) -> None:
    id = rig.emulator.put("Photos/a.jpg", b"photo")
    rig.emulator.api.drive.items[id].copyable = False
    with pytest.raises(Unsupported):
        store.copy_from(store, store.stat("a.jpg"), "b.jpg")
    rig.emulator.api.drive.items[id].copyable = True
    store.copy_from(store, store.stat("a.jpg"), "b.jpg")
    assert rig.content()["Photos/b.jpg"] == [b"photo"]


def test_copies_between_drives_of_one_sign_in(rig: Rig) -> None:
    one, family = rig.credentials(), rig.emulator.add_drive("Family")
    mine = rig.sign_in(**one).store("Photos")
    shared = rig.sign_in(**one, shared_drive=family).store("Photos")
    put(mine, "a.jpg", b"photo")
    assert shared.reaches(mine)
    shared.copy_from(mine, mine.stat("a.jpg"), "a.jpg")
    assert [file.read() for file in rig.emulator.files(family)["Photos/a.jpg"]] == [b"photo"]
    assert not shared.reaches(rig.sign_in().store("Photos")), "who knows whose sign-in that is"


# Names, times, kinds


def test_names_that_are_paths_elsewhere() -> None:
    assert [shown(name) for name in ("a/b", "..", ".", "", "a\0b", "a%2Fb", "...")] == [
        "a%2Fb", "%2E.", "%2E", "%00", "a%00b", "a%2Fb", "...",
    ]  # fmt: skip


@pytest.mark.row(47)
def test_duplicates_have_names_of_their_own(rig: Rig, store: DriveStore) -> None:
    ids = [rig.emulator.put("Photos/a.jpg", data) for data in (b"one", b"two!", b"three")]
    slash = rig.emulator.put("Photos/x", b"slash")
    rig.emulator.api.drive.items[slash].name = "a/b.jpg"
    rig.emulator.put("Photos/a%2Fb.jpg", b"literal")
    rig.emulator.put("Photos/IMG_1~id-12345678.jpg", b"looks like one")
    entries = {entry.path: entry for entry in store.list_folder("")}
    assert len(entries) == 6
    assert {"a.jpg", "a%2Fb.jpg", "IMG_1~id-12345678.jpg"} < entries.keys()
    contents = set()
    for path, entry in entries.items():
        reader = store.open(path)
        contents.add(reader.read(100))
        reader.close()
        assert store.stat(path).version == entry.version
    assert contents == {b"one", b"two!", b"three", b"slash", b"literal", b"looks like one"}
    again = {entry.path: entry.version for entry in rig.sign_in().store("Photos").list_tree()}
    assert again == {path: entry.version for path, entry in entries.items()}
    assert len(ids) == 3


def test_an_alias_never_meets_a_name() -> None:
    from photosync.backends.drive_metadata import Item, alias

    def item(id: str, name: str) -> Item:
        return Item(id, "p", name, "image/jpeg", 1, None, f"2020-{id}", {}, False, {})

    twins = [item("1", "a.jpg"), item("2", "a.jpg")]
    squatter = item("3", alias(twins[1]))
    found = named([*twins, squatter])
    assert len(found) == 3
    assert found["a.jpg"] is twins[0]
    assert found[alias(twins[1])] is squatter
    for name, path in (("a.jpg", "b/a.jpg"), ("a", "a/c.jpg"), (".x", ".x"), ("a~.b~id-.c", "a~.b~id-.c")):
        shown = alias(item("2", name), digits=16)
        assert unshared(path.replace(name, shown)) == path, "who seeks a copy finds it under what it is shown"
        assert unshared(path) is None


@pytest.mark.parametrize("ns", [0, 1, 999_999, MTIME, -1, -86_400_000_000_000, 253_402_300_799_000_000_000])
def test_times_are_kept_to_the_millisecond(ns: int) -> None:
    kept = nanoseconds(times(ns)["modifiedTime"])
    assert 0 <= ns - kept < 1_000_000


def test_a_time_that_no_calendar_has_is_left_out() -> None:
    assert times(10**21) == {}
    assert times(None) == {}


def test_shortcuts_and_documents_are_skipped_with_a_word(rig: Rig, store: DriveStore) -> None:
    target = rig.emulator.put("Photos/a.jpg", b"photo")
    rig.emulator.put_document("Photos/letter")
    rig.emulator.put_shortcut("Photos/again", target)
    rig.emulator.trash(rig.emulator.put("Photos/old.jpg", b"old"))
    entries = {entry.path: entry for entry in store.list_folder("")}
    assert entries.keys() == {"a.jpg", "letter", "again"}
    assert {entries["letter"].kind, entries["again"].kind} == {Kind.SKIPPED}
    assert "Google document" in entries["letter"].note
    assert {entry.path: entry.kind for entry in store.list_tree()} == {
        path: entry.kind for path, entry in entries.items()
    }
    with pytest.raises(Permanent, match="Google document"):
        store.open("letter")
    [result] = store.put([blob("letter", b"x")])
    assert isinstance(result, AlreadyExists)
    with pytest.raises(FileNotFoundError):
        store.stat("old.jpg")


# photosync's own files


def test_two_writers_of_one_version(rig: Rig) -> None:
    ours, theirs = rig.store(), rig.sign_in().store("Photos")
    first = ours.replace_small(".photosync/HEAD", b"first", None)
    assert theirs.read_small(".photosync/HEAD", 99) == (b"first", first)
    second = theirs.replace_small(".photosync/HEAD", b"second", first)
    with pytest.raises(AlreadyExists):
        ours.replace_small(".photosync/HEAD", b"lost", first)
    assert ours.read_small(".photosync/HEAD", 99) == (b"second", second)
    assert rig.content() == {"Photos/.photosync/HEAD": [b"second"]}


def test_many_writers_of_one_version(rig: Rig) -> None:
    first = rig.store().replace_small(".photosync/HEAD", b"first", None)
    stores = [rig.sign_in().store("Photos") for _ in range(5)]
    barrier = threading.Barrier(len(stores))
    won: list[tuple[bytes, str | None]] = []
    lost: list[Exception] = []

    def work(number: int) -> None:
        data = b"by %d" % number
        barrier.wait(30)
        try:
            won.append((data, stores[number].replace_small(".photosync/HEAD", data, first)))
        except AlreadyExists as error:
            lost.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(won), len(lost)) == (1, 4)
    assert rig.sign_in().store("Photos").read_small(".photosync/HEAD", 99) == won[0]
    assert rig.content()["Photos/.photosync/HEAD"] == [won[0][0]]


@pytest.mark.parametrize("fault", ["create", "retire"])
def test_a_writer_that_is_cut_off(rig: Rig, fault: str) -> None:
    """At any point the file has one version for every reader, and the same call goes on."""
    store = rig.store()
    first = store.replace_small(".photosync/HEAD", b"first", None)
    route = "upload/files.create" if fault == "create" else "files.delete"
    rig.emulator.faults.append(Fault(route, reset="reply" if fault == "create" else "before"))
    if fault == "create":
        with pytest.raises(Transient):
            store.replace_small(".photosync/HEAD", b"second", first)
        assert rig.sign_in().store("Photos").read_small(".photosync/HEAD", 99)[0] == b"second"
        assert len(rig.content()["Photos/.photosync/HEAD"]) == 2
    second = store.replace_small(".photosync/HEAD", b"second", first)
    assert rig.sign_in().store("Photos").read_small(".photosync/HEAD", 99) == (b"second", second)
    third = store.replace_small(".photosync/HEAD", b"third", second)
    assert store.read_small(".photosync/HEAD", 99) == (b"third", third)
    assert rig.content() == {"Photos/.photosync/HEAD": [b"third"]}


def test_what_a_version_replaces_is_written_down(rig: Rig, store: DriveStore) -> None:
    first = store.replace_small(".photosync/HEAD", b"first", None)
    store.replace_small(".photosync/HEAD", b"second", first)
    (head,) = [item for item in rig.emulator.api.drive.items.values() if item.name == "HEAD"]
    assert head.properties == {REPLACES: first}


# What goes wrong, in words


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(status=403, reason="userRateLimitExceeded"), RateLimited, "too many"),
        (Fault(status=403, reason="rateLimitExceeded"), RateLimited, "too many"),
        (Fault(status=429, retry_after=7), RateLimited, "too many"),
        (Fault(status=503), Transient, "503"),
        (Fault(status=403, reason="storageQuotaExceeded"), DestinationFull, "no space"),
        (Fault(status=403, reason="dailyLimitExceeded"), Fatal, "tomorrow"),
        (Fault(status=403, reason="accessNotConfigured"), Fatal, "Drive API"),
        (Fault(reset="before"), Transient, "connection"),
    ],
    ids=str,
)
def test_refusals(rig: Rig, store: DriveStore, fault: Fault, kind: type[Exception], words: str) -> None:
    put(store, "a.jpg", b"photo")
    fault.seen = fault.hits = 0
    rig.emulator.faults.append(fault)
    with pytest.raises(kind, match=words) as caught:
        store.list_folder("")
    assert type(caught.value) is kind
    if fault.retry_after:
        assert getattr(caught.value, "retry_after", None) == 7


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (403, "insufficientPermissions", NotSignedIn),
        (403, "insufficientParentPermissions", ReadOnly),
        (403, "insufficientFilePermissions", PermissionError),
        (403, "appNotAuthorizedToFile", Permanent),
        (403, "numChildrenInNonRootLimitExceeded", Permanent),
        (404, "notFound", FileNotFoundError),
        (410, "", FileNotFoundError),
        (409, "fileIdInUse", IdTaken),
        (302, "", Permanent),
        (400, "badRequest", Refused),
        (403, "", Refused),
        (502, "", Transient),
    ],
)
def test_statuses_and_reasons(status: int, reason: str, kind: type[Exception]) -> None:
    body = json.dumps({"error": {"errors": [{"reason": reason}], "message": "m", "code": status}}).encode()
    for text in (body, b"<html>a proxy</html>") if not reason else (body,):
        assert type(status_error(status, {}, text, "doing", "a.jpg")) is kind


@pytest.mark.row(41)
def test_an_expired_token_is_renewed_once(rig: Rig) -> None:
    renewed: list[dict[str, Any]] = []
    fs = rig.sign_in(on_token=renewed.append)
    store = fs.store("Photos")
    put(store, "a.jpg", b"photo")
    rig.emulator.auth.expire()
    barrier = threading.Barrier(6)
    problems: list[Exception] = []

    def work(number: int) -> None:
        barrier.wait(30)
        try:
            put(store, f"{number}.jpg", b"x")
        except Exception as error:
            problems.append(error)

    with rig.counting() as counted:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not problems
    assert counted["oauth2/token"] == 1
    (token,) = renewed
    assert token["access_token"]
    assert token["refresh_token"]
    assert isinstance(token["expires_at"], float)


@pytest.mark.row(42)
def test_a_revoked_sign_in_says_what_to_do(rig: Rig, store: DriveStore) -> None:
    put(store, "a.jpg", b"photo")
    rig.emulator.auth.revoke()
    with pytest.raises(NotSignedIn, match="photosync connect"):
        store.list_folder("")


def test_no_sign_in(rig: Rig) -> None:
    from photosync.backends.drive import DriveBackend

    with pytest.raises(NotSignedIn, match="no sign-in"):
        DriveBackend().ls("")
    with pytest.raises(NotSignedIn, match="client_id"):
        DriveBackend(refresh_token="r").ls("")


@pytest.mark.row(50)
def test_a_download_that_is_cut_or_damaged(rig: Rig, store: DriveStore) -> None:
    data = bytes(range(256)) * 4000
    put(store, "a.jpg", data)
    for fault, kind in (
        (Fault("files.get_media", truncate=5000), Transient),
        (Fault("files.get_media", corrupt=99), Corrupt),
    ):
        rig.emulator.faults.append(fault)
        reader = store.open("a.jpg")
        with pytest.raises(kind):
            drain(reader)


def test_a_connection_is_not_shared_by_threads(rig: Rig, store: DriveStore) -> None:
    put(store, "a.jpg", b"photo")
    seen: set[int] = set()

    def work() -> None:
        with rig.fs._account.calling("x") as service:
            seen.add(id(service.http("x")))
        store.stat("a.jpg")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 3


def test_the_api_is_known_without_asking(rig: Rig, store: DriveStore) -> None:
    with rig.counting() as counted:
        put(store, "a.jpg", b"photo")
    assert not [route for route in counted if "discovery" in route]


@pytest.mark.row(87)
def test_secrets_stay_put(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    import pickle
    import traceback

    caplog.set_level(logging.DEBUG, "photosync")
    fs = rig.sign_in()
    token = fs._account._token
    upload = fs.store("Photos").start_upload("v.mp4", 20 << 20, None)
    rig.emulator.faults.append(Fault("upload/*", reset="before"))
    try:
        upload.send_part(0, b"x", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    except Transient as error:
        told = "".join(traceback.format_exception(error))
    assert "upload_id" not in told
    for text in (repr(fs), fs.to_json(), repr(pickle.dumps(fs)), told, caplog.text):
        for name in ("access_token", "refresh_token"):
            assert str(token[name]) not in text


def test_about(rig: Rig, store: DriveStore) -> None:
    put(store, "a.jpg", b"photo")
    usage = store.about()
    assert usage.total == 15 * 1024**3
    assert usage.used is not None
    assert usage.free == usage.total - usage.used
