"""The emulator by the official SDK: whatever it decodes without complaint has the documented shape."""

import hashlib
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import dropbox
import pytest
from dropbox import files
from dropbox.content_hash import content_hash as sdk_hash
from dropbox.exceptions import ApiError, BadInputError
from dropbox.files import CommitInfo, UploadSessionAppendBatchArgEntry, UploadSessionCursor, WriteMode

from .dropbox_content import SPILL, Content
from .dropbox_emulator import DropboxEmulator
from .dropbox_sdk import failure, raw_call, tags_of

BLOCK = 4 * 1024 * 1024


def finish_arg(session_id: str, offset: int, path: str, **commit: Any) -> files.UploadSessionFinishArg:
    return files.UploadSessionFinishArg(UploadSessionCursor(session_id, offset), CommitInfo(path, **commit))


@pytest.mark.parametrize("start", [0, SPILL - 2])
def test_content_takes_writes_at_any_offset(start: int) -> None:
    content = Content()
    for offset, data in ((4, b"ef"), (0, b"abcd"), (1, b"B")):
        content.write(start + offset, data)
    expected = bytes(start) + b"aBcdef"
    assert (content.size, content.read(), content.hash()) == (len(expected), expected, sdk_hash(expected))
    assert content.read(start + 1, start + 3) == b"Bc"
    assert b"".join(content.pieces(1, len(expected) - 1)) == expected[1:-1]


# Uploads


def test_upload_keeps_bytes_times_and_hash(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    data = os.urandom(2 * BLOCK + 5)
    modified = datetime(2021, 3, 4, 5, 6, 7)
    told = client.files_upload(data, "/Camera/IMG.jpg", client_modified=modified)
    _, response = client.files_download("/camera/img.JPG")

    assert response.content == data
    assert told.content_hash == sdk_hash(data) == emulator.files()["/Camera/IMG.jpg"].content_hash
    assert (told.client_modified, told.size, told.name) == (modified, len(data), "IMG.jpg")
    assert client.files_get_metadata(told.id).path_display == "/Camera/IMG.jpg"
    assert client.files_get_metadata("/CAMERA").name == "Camera"
    assert client.users_get_space_usage().used == len(data)
    assert emulator.requests["files/upload"] == 1
    assert emulator.received["files/upload"] == len(data)


def test_empty_file(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    told = client.files_upload(b"", "/empty")
    assert told.content_hash == hashlib.sha256(b"").hexdigest() == sdk_hash(b"")
    assert client.files_download("/empty")[1].content == b""


@pytest.mark.parametrize(
    ("mode", "strict", "content", "outcome"),
    [
        ("add", False, b"same", "kept"),
        ("add", True, b"same", "path/conflict/file"),
        ("add", False, b"other", "path/conflict/file"),
        ("add", True, b"other", "path/conflict/file"),
        ("overwrite", False, b"same", "kept"),
        ("overwrite", True, b"same", "written"),
        ("overwrite", False, b"other", "written"),
        ("this rev", False, b"other", "written"),
        ("this rev", True, b"other", "written"),
        ("other rev", False, b"same", "kept"),
        ("other rev", True, b"same", "path/conflict/file"),
        ("other rev", False, b"other", "path/conflict/file"),
    ],
)
def test_write_modes_on_an_existing_file(
    client: dropbox.Dropbox, mode: str, strict: bool, content: bytes, outcome: str
) -> None:
    first = client.files_upload(b"same", "/f", client_modified=datetime(2020, 1, 1))
    revs = {"this rev": first.rev, "other rev": "0123456789"}
    chosen = WriteMode.update(revs[mode]) if mode in revs else getattr(WriteMode, mode)
    options = {"mode": chosen, "strict_conflict": strict, "client_modified": datetime(2022, 2, 2)}
    if "conflict" in outcome:
        assert failure(client.files_upload, content, "/F", **options) == outcome
    else:
        again = client.files_upload(content, "/F", **options)
        assert again.path_display == "/f"
        assert (again.rev == first.rev) == (outcome == "kept")
        assert again.client_modified.year == (2020 if outcome == "kept" else 2022)
    assert client.files_get_metadata("/f").size == (len(content) if outcome == "written" else len(b"same"))


def test_update_of_a_deleted_file_is_a_conflict_only_when_strict(client: dropbox.Dropbox) -> None:
    rev = client.files_upload(b"1", "/f").rev
    client.files_delete_v2("/f")
    mode = WriteMode.update(rev)
    assert failure(client.files_upload, b"2", "/f", mode=mode, strict_conflict=True) == "path/conflict/file"
    assert client.files_upload(b"2", "/f", mode=mode).size == 1


def test_autorename(client: dropbox.Dropbox) -> None:
    rev = client.files_upload(b"0", "/a.txt").rev
    client.files_create_folder_v2("/d.x")
    names = [
        client.files_upload(b"1", "/a.txt", autorename=True).name,
        client.files_upload(b"2", "/a.txt", autorename=True).name,
        client.files_upload(b"3", "/a.txt", mode=WriteMode.update(rev + "0"), autorename=True).name,
        client.files_upload(b"4", "/d.x", mode=WriteMode.overwrite, autorename=True).name,
    ]
    assert names == ["a (1).txt", "a (2).txt", "a (conflicted copy).txt", "d (1).x"]


def test_conflicts_with_folders(client: dropbox.Dropbox) -> None:
    client.files_upload(b"1", "/d/f")
    overwrite = {"mode": WriteMode.overwrite}
    assert failure(client.files_upload, b"2", "/D", **overwrite) == "path/conflict/folder"
    assert failure(client.files_upload, b"2", "/d/f/g", **overwrite) == "path/conflict/file_ancestor"
    assert failure(client.files_create_folder_v2, "/d") == "path/conflict/folder"
    assert failure(client.files_create_folder_v2, "/d/f") == "path/conflict/file"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/a//b", "malformed_path"),
        ("/a/", "malformed_path"),
        ("/a/../b", "malformed_path"),
        ("/back\\slash", "malformed_path"),
        ("/trailing ", "malformed_path"),
        ("/" + "n" * 256, "malformed_path"),
        ("/x/Desktop.INI", "disallowed_name"),
        ("/Thumbs.db", "disallowed_name"),
        ("/.DS_Store", "disallowed_name"),
        ("/.dropbox", "disallowed_name"),
        ("/~$letter.docx", "disallowed_name"),
        ("/.~lock", "disallowed_name"),
    ],
)
def test_refused_names(client: dropbox.Dropbox, path: str, reason: str) -> None:
    assert failure(client.files_upload, b"", path) == f"path/{reason}"


def test_names_that_are_fine(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    names = [
        "/" + "n" * 255,
        "/.hidden",
        "/dot.",
        "/a:b*?<>|",
        "/\N{SNOWMAN} \N{CAMERA WITH FLASH}.jpg",
        "/Ω'\"&",
    ]
    for name in names:
        client.files_upload(name.encode(), name)
        assert client.files_download(name)[1].content == name.encode()
    assert set(emulator.files()) == set(names)


def test_names_are_stored_in_form_c_and_looked_up_as_they_come(client: dropbox.Dropbox) -> None:
    decomposed = unicodedata.normalize("NFD", "/Café")
    assert client.files_upload(b"", decomposed).path_display == "/Café"
    assert failure(client.files_get_metadata, decomposed) == "path/not_found"
    assert client.files_get_metadata("/CAFÉ").path_lower == "/café"


def test_quota(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.api.account.quota = 100
    client.files_upload(b"x" * 60, "/f")
    assert failure(client.files_upload, b"y" * 41, "/g") == "path/insufficient_space"
    assert failure(client.files_copy_v2, "/f", "/g") == "insufficient_quota"
    assert client.files_upload(b"y" * 100, "/f", mode=WriteMode.overwrite).size == 100
    assert client.users_get_space_usage().used == 100


def test_an_upload_that_cannot_be_committed_waits_in_a_session(client: dropbox.Dropbox) -> None:
    client.files_upload(b"1", "/f")
    with pytest.raises(ApiError) as caught:
        client.files_upload(b"two", "/f")
    session_id = caught.value.error.get_path().upload_session_id
    [result] = client.files_upload_session_finish_batch_v2([finish_arg(session_id, 3, "/g")]).entries
    assert result.get_success().size == 3


def test_damaged_uploads_are_refused(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    wrong = {"content_hash": sdk_hash(b"something else")}
    cursor = UploadSessionCursor(client.files_upload_session_start(b"").session_id, 0)
    entry = UploadSessionAppendBatchArgEntry(cursor, 4)
    for work, args in [
        (client.files_upload, (b"data", "/f")),
        (client.files_upload_session_start, (b"data",)),
        (client.files_upload_session_append_v2, (b"data", cursor)),
        (client.files_upload_session_append_batch, (b"data", [entry])),
        (client.files_upload_session_finish, (b"data", cursor, CommitInfo("/f"))),
    ]:
        assert failure(work, *args, **wrong) == "content_hash_mismatch"
    assert emulator.files() == {}
    client.files_upload_session_finish(b"data", cursor, CommitInfo("/f"))


def test_requests_that_are_too_large(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    assert emulator.api.max_request == 150 * 1024 * 1024
    emulator.api.max_request = 1000
    assert failure(client.files_upload, bytes(1001), "/f") == "payload_too_large"
    assert failure(client.files_upload_session_start, bytes(1001)) == "payload_too_large"
    assert client.files_upload(bytes(1000), "/f").size == 1000


# Upload sessions


def test_sequential_session(client: dropbox.Dropbox) -> None:
    session_id = client.files_upload_session_start(b"one").session_id
    client.files_upload_session_append_v2(b"two", UploadSessionCursor(session_id, 3))
    with pytest.raises(ApiError) as caught:
        client.files_upload_session_append_v2(b"two", UploadSessionCursor(session_id, 3))
    assert caught.value.error.get_incorrect_offset().correct_offset == 6
    told = client.files_upload_session_finish(b"3", UploadSessionCursor(session_id, 6), CommitInfo("/f"))
    assert told.content_hash == sdk_hash(b"onetwo3")

    cursor = UploadSessionCursor(session_id, 7)
    assert failure(client.files_upload_session_append_v2, b"4", cursor) == "closed"
    again = CommitInfo("/again")
    assert failure(client.files_upload_session_finish, b"", cursor, again) == "lookup_failed/closed"


def test_finish_that_fails_can_be_tried_again_without_data(client: dropbox.Dropbox) -> None:
    client.files_upload(b"in the way", "/f")
    session_id = client.files_upload_session_start(b"one").session_id
    args = UploadSessionCursor(session_id, 3), CommitInfo("/f")
    assert failure(client.files_upload_session_finish, b"two", *args) == "path/conflict/file"
    assert failure(client.files_upload_session_finish, b"two", *args) == "lookup_failed/incorrect_offset"
    cursor = UploadSessionCursor(session_id, 6)
    assert client.files_upload_session_finish(b"", cursor, CommitInfo("/g")).size == 6


def test_sessions_live_for_seven_days(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    cursor = UploadSessionCursor(client.files_upload_session_start(b"").session_id, 0)
    emulator.advance(7 * 24 * 3600 - 60)
    fresh = client.clone(oauth2_access_token=emulator.token()["access_token"])
    fresh.files_upload_session_append_v2(b"", cursor)
    emulator.advance(120)
    assert failure(fresh.files_upload_session_append_v2, b"", cursor) == "not_found"
    args = cursor, CommitInfo("/f")
    assert failure(fresh.files_upload_session_finish, b"", *args) == "lookup_failed/not_found"


def test_concurrent_session_takes_pieces_in_any_order(client: dropbox.Dropbox) -> None:
    kind = files.UploadSessionType.concurrent
    assert failure(client.files_upload_session_start, b"x", session_type=kind) == (
        "concurrent_session_data_not_allowed"
    )
    assert failure(client.files_upload_session_start, b"", close=True, session_type=kind) == (
        "concurrent_session_close_not_allowed"
    )
    session_id = client.files_upload_session_start(b"", session_type=kind).session_id
    data = os.urandom(5 * BLOCK + 17)

    def append(start: int, length: int, close: bool = False) -> None:
        cursor = UploadSessionCursor(session_id, start)
        client.files_upload_session_append_v2(data[start : start + length], cursor, close=close)

    assert failure(append, 1, BLOCK) == "concurrent_session_invalid_offset"
    assert failure(append, 0, BLOCK - 1) == "concurrent_session_invalid_data_size"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, (4 * BLOCK, 0, 3 * BLOCK), (BLOCK,) * 3))
    end = UploadSessionCursor(session_id, len(data)), CommitInfo("/f")
    assert failure(client.files_upload_session_finish, b"", *end) == "concurrent_session_not_closed"
    append(5 * BLOCK, BLOCK, close=True)
    assert failure(client.files_upload_session_finish, b"", *end) == "concurrent_session_missing_data"


def test_concurrent_session_is_finished_whole(client: dropbox.Dropbox) -> None:
    kind = files.UploadSessionType.concurrent
    [session_id] = client.files_upload_session_start_batch(1, kind).session_ids
    data = os.urandom(2 * BLOCK + 17)
    for start in (BLOCK, 0):
        piece = data[start : start + BLOCK]
        client.files_upload_session_append_v2(piece, UploadSessionCursor(session_id, start))
    cursor = UploadSessionCursor(session_id, 2 * BLOCK)
    client.files_upload_session_append_v2(data[2 * BLOCK :], cursor, close=True)
    end = UploadSessionCursor(session_id, len(data))
    assert failure(client.files_upload_session_finish, b"x", end, CommitInfo("/f")) == (
        "concurrent_session_data_not_allowed"
    )
    assert client.files_upload_session_finish(b"", end, CommitInfo("/f")).content_hash == sdk_hash(data)
    assert client.files_download("/f")[1].content == data


def test_append_batch_splits_the_body(client: dropbox.Dropbox) -> None:
    ids = client.files_upload_session_start_batch(4).session_ids
    lengths = (3, 0, 5, 2)
    entries = [
        UploadSessionAppendBatchArgEntry(UploadSessionCursor(name, 0), length, close=True)
        for name, length in zip(ids, lengths, strict=True)
    ]
    entries[3].cursor = UploadSessionCursor(ids[3], 9)
    assert failure(client.files_upload_session_append_batch, b"too short", entries) == "length_mismatch"
    results = client.files_upload_session_append_batch(b"aaaccccc--", entries).entries
    assert [result._tag for result in results] == ["success", "success", "success", "failure"]
    assert results[3].get_failure().get_incorrect_offset().correct_offset == 0

    finish = [finish_arg(name, length, f"/{length}") for name, length in zip(ids, lengths, strict=True)]
    results = client.files_upload_session_finish_batch_v2(finish).entries
    assert [result._tag for result in results] == ["success", "success", "success", "failure"]
    assert tags_of(results[3].get_failure()) == "lookup_failed/not_closed"
    assert [client.files_download(f"/{length}")[1].content for length in (3, 0, 5)] == [b"aaa", b"", b"ccccc"]
    [result] = client.files_upload_session_append_batch(b"", [entries[1]]).entries
    assert result.get_failure().is_closed()


def test_finish_batch_reports_each_entry(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    client.files_upload(b"in the way", "/1")
    ids = [client.files_upload_session_start(b"x", close=True).session_id for _ in range(3)]
    finish = [finish_arg(name, 1, f"/{number}") for number, name in enumerate(ids)]
    results = client.files_upload_session_finish_batch_v2([*finish, finish_arg("gone", 0, "/9")]).entries
    assert [entry._tag for entry in results] == ["success", "failure", "success", "failure"]
    assert tags_of(results[1].get_failure()) == "path/conflict/file"
    assert tags_of(results[3].get_failure()) == "lookup_failed/not_found"
    assert sorted(emulator.files()) == ["/0", "/1", "/2"]
    entry = {"cursor": {"session_id": "s", "offset": 0}, "commit": {"path": "/f"}}
    with pytest.raises(BadInputError):
        raw_call(client, "files/upload_session/finish_batch_v2", {"entries": [entry] * 1001})
