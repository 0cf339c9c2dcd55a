"""The S3 store against a real server (SeaweedFS), and against answers that it does not give."""

import contextlib
import email.utils
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from photosync.backends.s3 import S3Backend
from photosync.backends.s3_objects import mtime_of, mtime_text, part_size_for
from photosync.backends.s3_store import S3Store
from photosync.engine.capabilities import Blob, Dated, Store, Stored
from photosync.engine.entry import Kind
from photosync.engine.errors import AlreadyExists, Corrupt, NameRefused, Permanent, Transient
from photosync.engine.hashing import fingerprint
from photosync.engine.names import S3, encode
from tests.backends.canned_s3 import Answer, Careless, Request, canned
from tests.servers.seaweed import Seaweed


def blob(path: str, data: bytes, mtime_ns: int | None = None) -> Blob:
    return Blob(path, data, mtime_ns, fingerprint(data).digests)


def put(store: Store, path: str, data: bytes, mtime_ns: int | None = None) -> Stored:
    (result,) = store.put([blob(path, data, mtime_ns)])
    if isinstance(result, Exception):
        raise result
    return result


def content(store: Store, path: str, offset: int = 0) -> bytes:
    reader = store.open(path, offset)
    try:
        return b"".join(iter(lambda: reader.read(100_000), b""))
    finally:
        reader.close()


def test_is_a_store(s3_store: S3Store) -> None:
    assert isinstance(s3_store, Store)


def test_put_is_checked_by_the_server_and_kept_with_its_time(s3_store: S3Store) -> None:
    time = 1_700_000_000_123_456_780
    stored = put(s3_store, "DCIM/a.jpg", b"photo", time)
    assert stored.digests == {"sha256": hashlib.sha256(b"photo").hexdigest()}
    assert stored.mtime_ns == time
    found = s3_store.stat("DCIM/a.jpg")
    assert (found.size, found.mtime_ns, found.version) == (5, time, stored.version)
    assert found.digests == stored.digests
    assert content(s3_store, "DCIM/a.jpg") == b"photo"


@pytest.mark.row(49)
def test_an_etag_is_never_a_hash(s3_store: S3Store, s3_server: Seaweed, bucket: str) -> None:
    """Not even where it happens to be the MD5: under KMS, or of parts, it looks the same and is none."""
    md5 = hashlib.md5(b"photo", usedforsecurity=False).hexdigest()
    stored = s3_server.client().put_object(Bucket=bucket, Key="phone/backup/a.jpg", Body=b"photo")
    assert stored["ETag"].strip('"') == md5, "the server says what most do"
    for entry in (s3_store.stat("a.jpg"), *s3_store.list_tree()):
        assert "md5" not in entry.digests
        assert md5 not in entry.digests.values()
    assert "md5" not in s3_store.capabilities.hashes


def test_memoryviews_and_empty_objects_are_stored(s3_store: S3Store) -> None:
    put(s3_store, "empty.jpg", b"")
    view = memoryview(bytearray(b"xxviewxx"))[2:6]
    (result,) = s3_store.put([Blob("view.jpg", view, None, fingerprint(view).digests)])
    assert isinstance(result, Stored)
    assert content(s3_store, "view.jpg") == b"view"
    assert content(s3_store, "empty.jpg") == b""


def test_damaged_body_is_refused_and_leaves_nothing(s3_store: S3Store) -> None:
    (result,) = s3_store.put([Blob("a.jpg", b"damaged", None, fingerprint(b"original").digests)])
    assert isinstance(result, Corrupt)
    with pytest.raises(FileNotFoundError):
        s3_store.stat("a.jpg")


def test_mtime_is_readable_for_rclone(s3_store: S3Store, s3_server: Seaweed, bucket: str) -> None:
    put(s3_store, "a.jpg", b"x", 1_354_040_105_120_000_000)
    head = s3_server.client().head_object(Bucket=bucket, Key="phone/backup/a.jpg")
    assert head["Metadata"] == {"mtime": "1354040105.12"}


@pytest.mark.parametrize("ns", [0, 1, -1, 10**9, -1_500_000_000, 1_700_000_000_123_456_789])
def test_mtime_text_round_trips(ns: int) -> None:
    assert mtime_of({"mtime": mtime_text(ns)}) == ns


@pytest.mark.parametrize("text", ["", "soon", "NaN", "Infinity", "1e999999999", "-1e30"])
def test_mtime_of_somebody_elses_metadata_is_none(text: str) -> None:
    assert mtime_of({"mtime": text}) is None


def test_part_size_keeps_within_ten_thousand_parts() -> None:
    assert part_size_for(1) == 8 << 20
    for size in (80 << 30, (80 << 30) + 1, 5 << 40):
        part = part_size_for(size)
        assert part % (4 << 20) == 0
        assert -(-size // part) <= 10_000


# Never replace


def test_existing_object_is_never_replaced(s3_store: S3Store) -> None:
    put(s3_store, "a.jpg", b"first")
    with pytest.raises(AlreadyExists):
        put(s3_store, "a.jpg", b"second")
    assert content(s3_store, "a.jpg") == b"first"
    assert s3_store.capabilities.exclusive


def test_of_many_writers_of_one_name_exactly_one_wins(s3: S3Backend, bucket: str) -> None:
    stores = [s3.store(bucket) for _ in range(8)]
    stores[0].probe()
    for store in stores:
        store.probed = stores[0].probed
    begin = threading.Barrier(len(stores))
    won: list[bytes] = []

    def write(number: int) -> None:
        data = b"%d" % number * 1000
        begin.wait()
        try:
            put(stores[number], "same.jpg", data)
        except (AlreadyExists, Transient):
            return
        won.append(data)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [content(stores[0], "same.jpg")]


def test_what_the_service_enforces_is_asked_once_and_leaves_nothing(
    s3_store: S3Store, s3_server: Seaweed, bucket: str
) -> None:
    assert s3_store.probed is None
    assert not s3_store.capabilities.exclusive
    put(s3_store, "a.jpg", b"1")
    assert s3_store.probed == {"checksum": True, "if_none_match": True, "if_match": True}
    assert s3_store.requests == {"PutObject": 5, "DeleteObject": 1}
    put(s3_store, "b.jpg", b"2")
    assert s3_store.requests == {"PutObject": 6, "DeleteObject": 1}
    listed = s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Key"] for item in listed] == ["phone/backup/a.jpg", "phone/backup/b.jpg"]


def test_answers_of_an_earlier_run_are_taken(s3: S3Backend, bucket: str) -> None:
    store = s3.store(bucket)
    store.probed = {"checksum": True, "if_none_match": True, "if_match": True}
    assert store.capabilities.exclusive
    put(store, "a.jpg", b"1")
    assert store.requests == {"PutObject": 1}


def test_nothing_is_claimed_of_a_careless_service() -> None:
    service = Careless()
    with canned(service) as backend:
        store = backend.store("bucket/album")
        stored = put(store, "a.jpg", b"first")
        assert store.probed == {"checksum": False, "if_none_match": False, "if_match": False}
        assert stored.digests == {}
        assert not store.capabilities.exclusive
        assert store.capabilities.hashes == ()
        with pytest.raises(AlreadyExists):
            put(store, "a.jpg", b"second")
        assert store.replace_small("HEAD", b"1", None) is not None
        with pytest.raises(AlreadyExists):
            store.replace_small("HEAD", b"2", "another version")
        with pytest.raises(AlreadyExists):
            store.replace_small("HEAD", b"2", None)
    assert service.objects == {"/bucket/album/a.jpg": b"first", "/bucket/album/HEAD": b"1"}


def test_headers_that_a_service_refuses_are_not_sent_to_it() -> None:
    careless = Careless()

    def answer(request: Request) -> Answer:
        if "x-amz-checksum-sha256" in request.headers:
            return Answer(400, b"<Error><Code>InvalidArgument</Code></Error>")
        if "if-none-match" in request.headers or "if-match" in request.headers:
            return Answer(501, b"<Error><Code>NotImplemented</Code></Error>")
        return careless(request)

    with canned(answer) as backend:
        put(backend.store("bucket"), "a.jpg", b"data")
    assert careless.objects == {"/bucket/a.jpg": b"data"}


# Names


ODD_NAMES = [
    "a b+c&d=e.jpg",
    "100% %41 %.jpg",
    "Cafe\u0301 nfd.jpg",
    "Caf\u00e9 nfc.jpg",
    "\U0001f4f7 \u65e5\u672c/IMG (1).HEIC",
    "q?r#s;t:u.jpg",
    "quote'\"<&>.jpg",
    "~tilde/.hidden",
    "trailing dot./space /x.jpg",
]


@pytest.mark.row(77)
def test_odd_names_survive(s3_store: S3Store) -> None:
    for name in ODD_NAMES:
        put(s3_store, name, name.encode())
    assert sorted(entry.path for entry in s3_store.list_tree()) == sorted(ODD_NAMES)
    for name in ODD_NAMES:
        assert content(s3_store, name) == name.encode()
        s3_store.move(name, f"moved/{name}")
        assert content(s3_store, f"moved/{name}") == name.encode()


def test_newlines_in_keys_of_others_are_listed_and_read(
    s3_store: S3Store, s3_server: Seaweed, bucket: str
) -> None:
    s3_server.client().put_object(Bucket=bucket, Key="phone/backup/a\nb\x01.jpg", Body=b"x")
    assert [entry.path for entry in s3_store.list_tree()] == ["a\nb\x01.jpg"]
    assert content(s3_store, "a\nb\x01.jpg") == b"x"


def test_declared_names_are_what_the_server_keeps(s3_store: S3Store) -> None:
    rules = s3_store.capabilities.names
    assert rules.max_path == S3.max_path - len("phone/backup/")
    names = [encode(name, rules) for name in ("back\\slash.jpg", "bell\x07.jpg", "x" * 300, ".photosync")]
    for name in names:
        put(s3_store, name, b"x")
    assert sorted(entry.path for entry in s3_store.list_tree()) == sorted(names)


@pytest.mark.parametrize("name", ["../escape", "/absolute", "a//b", "", "\udcff.jpg"])
def test_names_that_leave_the_root_or_are_no_text_are_refused(s3_store: S3Store, name: str) -> None:
    s3_store.probe()
    (result,) = s3_store.put([blob(name, b"x")])
    assert isinstance(result, NameRefused)
    with pytest.raises(NameRefused):
        s3_store.open(name)


# Listing


def listed(
    *keys: tuple[str, int], more: str = "", tier: str = "STANDARD", prefixes: tuple[str, ...] = ()
) -> Answer:
    items = "".join(
        f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;t&quot;</ETag>"
        f"<LastModified>2026-11-23T12:00:00.000Z</LastModified><StorageClass>{tier}</StorageClass></Contents>"
        for key, size in keys
    )
    items += "".join(f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in prefixes)
    items += f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    items += f"<NextContinuationToken>{more}</NextContinuationToken>"
    return Answer(200, f"<ListBucketResult>{items}</ListBucketResult>".encode())


def test_thousands_are_listed_a_thousand_a_request(s3: S3Backend, s3_server: Seaweed, bucket: str) -> None:
    client = s3_server.client()
    names = [f"DCIM/{number:05}.jpg" for number in range(1010)]

    def fill(part: list[str]) -> None:
        for name in part:
            client.put_object(Bucket=bucket, Key=f"root/{name}")

    threads = [threading.Thread(target=fill, args=(names[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = s3.store(f"{bucket}/root")
    entries = list(store.list_tree())
    assert [entry.path for entry in entries] == names
    assert store.requests == {"ListObjectsV2": 2}
    assert {(entry.size, entry.mtime_ns, entry.kind) for entry in entries} == {(0, None, Kind.FILE)}
    assert entries[0].version == store.stat(names[0]).version
    assert len(store.list_folder("DCIM")) == 1010


def test_listing_streams_and_goes_on_after_a_failed_page() -> None:
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        token = request.query.get("continuation-token", "")
        asked.append(token)
        if asked.count("2") == 1 and token == "2":
            return Answer(503, b"<Error><Code>SlowDown</Code></Error>")
        return listed((f"file{token}", 1), more={"": "1", "1": "2", "2": ""}[token])

    with canned(answer) as backend:
        entries = backend.store("bucket").list_tree()
        assert next(entries).path == "file"
        assert asked == [""]
        assert next(entries).path == "file1"
        with pytest.raises(Transient):
            next(entries)
        assert [entry.path for entry in entries] == ["file2"]


@pytest.mark.parametrize("more", ["same", ""])
@pytest.mark.row(45)
def test_listing_cut_or_looping_is_an_error(more: str) -> None:
    def answer(_: Request) -> Answer:
        page = listed(("a", 1), more=more)
        return Answer(200, page.body.replace(b"false", b"true"))

    with canned(answer) as backend, pytest.raises(Transient, match="broke its listing off"):
        list(backend.store("bucket").list_tree())


def test_keys_that_can_be_no_file_are_told_never_skipped() -> None:
    keys = (("a//b", 1), ("x/../y", 1), ("./z", 1), ("/lead", 1), ("mark/", 0), ("full/", 3), ("ok", 1))
    with canned(lambda _: listed(*keys)) as backend:
        found = {entry.path: entry for entry in backend.store("bucket").list_tree()}
    assert {path for path, entry in found.items() if entry.kind is Kind.FILE} == {"ok"}
    others = {path: entry for path, entry in found.items() if entry.kind is Kind.OTHER}
    assert len(others) == 5
    for path, entry in others.items():
        assert not {"", ".", ".."} & set(path.split("/"))
        assert "component" in entry.note


def test_folder_listing_tells_odd_prefixes_and_hides_its_own_marker() -> None:
    answer = listed(("p/", 0), ("p/a.jpg", 2), prefixes=("p/sub/", "p//", "p/../"))
    with canned(lambda _: answer) as backend:
        found = backend.store("bucket").list_folder("p")
    assert [(entry.path, entry.kind) for entry in found] == [
        ("p/a.jpg", Kind.FILE),
        ("p/sub", Kind.FOLDER),
        ("p/%2F", Kind.OTHER),
        ("p/%2E%2E", Kind.OTHER),
    ]


def test_folders_are_prefixes_or_markers(s3_store: S3Store, s3: S3Backend, bucket: str) -> None:
    put(s3_store, "a/b/c.jpg", b"1")
    put(s3_store, "a/d.jpg", b"2")
    s3.mkdir(f"{bucket}/phone/backup/empty")
    s3.mkdir(
        f"{bucket}/phone/backup/.photosync/kept"
    )  # what is left of the probe's folder differs by service
    assert {(e.path, e.kind) for e in s3_store.list_folder("")} == {
        (".photosync", Kind.FOLDER),
        ("a", Kind.FOLDER),
        ("empty", Kind.FOLDER),
    }
    assert {(e.path, e.kind) for e in s3_store.list_folder("a")} == {
        ("a/b", Kind.FOLDER),
        ("a/d.jpg", Kind.FILE),
    }
    assert s3_store.list_folder("empty") == []
    assert s3_store.stat("a/b").kind is Kind.FOLDER
    assert sorted(entry.path for entry in s3_store.list_tree()) == ["a/b/c.jpg", "a/d.jpg"]


def test_absent_folders_raise_and_an_absent_root_lists_nothing(s3: S3Backend, bucket: str) -> None:
    store = s3.store(f"{bucket}/absent")
    assert list(store.list_tree()) == []
    for call in (store.list_folder, store.stat, store.open):
        with pytest.raises(FileNotFoundError):
            call("nothing")  # type: ignore[operator]
    with pytest.raises(FileNotFoundError):
        store.list_folder("")
    assert s3.store(bucket).list_folder("") == []


@pytest.mark.row(56)
def test_archived_objects_are_noted_and_say_why_they_cannot_be_read() -> None:
    def answer(request: Request) -> Answer:
        if "list-type" in request.query:
            return listed(("old.jpg", 5), tier="DEEP_ARCHIVE")
        return Answer(403, b"<Error><Code>InvalidObjectState</Code></Error>")

    with canned(answer) as backend:
        store = backend.store("bucket")
        (entry,) = store.list_tree()
        assert entry.kind is Kind.FILE
        assert "DEEP_ARCHIVE" in entry.note
        with pytest.raises(Permanent, match="archive tier"):
            store.open("old.jpg")


# Reading


def test_reads_from_any_offset(s3_store: S3Store) -> None:
    data = bytes(range(256)) * 1000
    put(s3_store, "a.jpg", data)
    for offset in (0, 1, 255_000, len(data) - 1, len(data)):
        assert content(s3_store, "a.jpg", offset) == data[offset:]
    reader = s3_store.open("a.jpg", 7)
    entry = reader.stat()
    reader.close()
    assert (entry.size, entry.version) == (len(data), s3_store.stat("a.jpg").version)


def test_a_body_that_ends_early_is_an_error() -> None:
    cut = {"Content-Length": "1000", "Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT", "Connection": "close"}
    with (
        canned(lambda _: Answer(200, b"only this", cut)) as backend,
        pytest.raises(Transient, match=r"reading bucket/a\.jpg"),
    ):
        content(backend.store("bucket"), "a.jpg")


def test_small_files_are_replaced_only_by_who_knows_them(s3_store: S3Store) -> None:
    first = s3_store.replace_small(".photosync/HEAD", b"one", None)
    assert s3_store.read_small(".photosync/HEAD", 3) == (b"one", first)
    with pytest.raises(AlreadyExists):
        s3_store.replace_small(".photosync/HEAD", b"two", None)
    second = s3_store.replace_small(".photosync/HEAD", b"two", first)
    with pytest.raises(AlreadyExists):
        s3_store.replace_small(".photosync/HEAD", b"three", first)
    assert s3_store.read_small(".photosync/HEAD", 100) == (b"two", second)
    with pytest.raises(Corrupt):
        s3_store.read_small(".photosync/HEAD", 2)
    s3_store.delete(".photosync/HEAD")
    with pytest.raises(FileNotFoundError):
        s3_store.read_small(".photosync/HEAD", 100)
    with pytest.raises(AlreadyExists):
        s3_store.replace_small(".photosync/HEAD", b"four", second)


# Within the service


@pytest.mark.parametrize("limit", [5 << 30, 6 << 20])
def test_copy_and_move_keep_content_and_time(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("photosync.backends.s3_copy.WHOLE_LIMIT", limit)
    monkeypatch.setattr("photosync.backends.s3_copy._PART", 5 << 20)
    data = bytes(7 << 20)
    put(s3_store, "a.jpg", data, 5_000_000_001)
    copied = s3_store.copy("a.jpg", "b/c.jpg")
    assert (copied.path, copied.size, copied.mtime_ns) == ("b/c.jpg", len(data), 5_000_000_001)
    moved = s3_store.move("a.jpg", "d.jpg")
    assert s3_store.stat("d.jpg").version == moved.version
    assert s3_store.stat("d.jpg").mtime_ns == 5_000_000_001
    assert content(s3_store, "d.jpg") == content(s3_store, "b/c.jpg") == data
    with pytest.raises(FileNotFoundError):
        s3_store.stat("a.jpg")


@pytest.mark.parametrize("act", [S3Store.copy, S3Store.move])
def test_copy_and_move_replace_nothing(s3_store: S3Store, act: Callable[..., Any]) -> None:
    put(s3_store, "a.jpg", b"a")
    put(s3_store, "b.jpg", b"b")
    for target in ("b.jpg", "a.jpg"):
        with pytest.raises(AlreadyExists):
            act(s3_store, "a.jpg", target)
    with pytest.raises(FileNotFoundError):
        act(s3_store, "absent.jpg", "c.jpg")
    assert (content(s3_store, "a.jpg"), content(s3_store, "b.jpg")) == (b"a", b"b")


def test_the_service_tells_the_time(s3_store: S3Store) -> None:
    assert s3_store.server_date is None
    with contextlib.suppress(FileNotFoundError):
        s3_store.list_folder("")
    assert isinstance(s3_store, Dated)
    told = email.utils.parsedate_to_datetime(s3_store.server_date or "")
    assert abs(told.timestamp() - time.time()) < 60
