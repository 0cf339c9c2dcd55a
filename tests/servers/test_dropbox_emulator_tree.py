"""Listings, cursors, moves, batches and revisions of the emulator, by the official SDK."""

import threading
import time

import dropbox
import pytest
import requests
from dropbox.exceptions import BadInputError, PathRootError
from dropbox.files import DeleteArg, ListRevisionsMode, RelocationPath, WriteMode

from .dropbox_emulator import DropboxEmulator
from .dropbox_sdk import drained, failure, listed, raw_call, tags_of


def test_listing_pages_and_order(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    for number in range(7):
        emulator.put(f"/d/{number}", b"")
    emulator.put("/d/sub/deep", b"")
    emulator.put("/d.txt", b"")
    emulator.put("/e", b"")
    children = [f"/d/{number}" for number in range(7)] + ["/d/sub"]

    assert listed(client, "/D")[0] == children
    assert listed(client, "/d", recursive=True)[0] == ["/d", *children, "/d/sub/deep"]
    assert listed(client)[0] == ["/d", "/d.txt", "/e"]
    everything = {"/d", *children, "/d/sub/deep", "/d.txt", "/e"}
    assert set(listed(client, recursive=True)[0]) == everything
    emulator.api.page_size = 3
    emulator.requests.clear()
    assert set(listed(client, recursive=True)[0]) == everything
    assert emulator.requests["files/list_folder/continue"] == 3
    assert len(client.files_list_folder("/d", limit=2).entries) == 2


def test_listing_failures(client: dropbox.Dropbox) -> None:
    client.files_upload(b"", "/f")
    assert failure(client.files_list_folder, "/none") == "path/not_found"
    assert failure(client.files_list_folder, "/f") == "path/not_folder"
    with pytest.raises(BadInputError, match="as an empty string"):
        client.files_list_folder("/")
    with pytest.raises(BadInputError):
        client.files_list_folder_continue("made up")


def test_cursor_tells_changes_since(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.put("/d/old", b"")
    emulator.put("/d/sub/x", b"")
    _, cursor = listed(client, "/d", recursive=True)
    latest = client.files_list_folder_get_latest_cursor("/d", recursive=True).cursor
    for start in (cursor, latest):
        assert drained(client, client.files_list_folder_continue(start))[0] == []

    emulator.put("/d/new", b"1")
    emulator.put("/d/new", b"2")
    emulator.delete("/d/sub")
    emulator.put("/d/sub/y", b"")
    emulator.delete("/d/old")
    emulator.put("/elsewhere", b"")
    for start in (cursor, latest):
        told, later = drained(client, client.files_list_folder_continue(start))
        assert told == ["/d/new", "-/d/sub", "/d/sub", "/d/sub/y", "-/d/old"]
        assert drained(client, client.files_list_folder_continue(later))[0] == []
    emulator.api.page_size = 2
    assert drained(client, client.files_list_folder_continue(cursor))[0] == told
    emulator.delete("/d")
    assert failure(client.files_list_folder_continue, cursor) == "path/not_found"


def test_changes_while_a_listing_is_under_way(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    for name in "abcd":
        emulator.put(f"/{name}", b"1")
    emulator.api.page_size = 2
    first = client.files_list_folder("")
    emulator.delete("/a")
    emulator.put("/d", b"22")
    emulator.put("/0", b"3")
    assert drained(client, first)[0] == ["/a", "/b", "/c", "-/a", "/d", "/0"]


def test_non_recursive_cursor_ignores_what_is_deeper(
    emulator: DropboxEmulator, client: dropbox.Dropbox
) -> None:
    emulator.put("/sub/x", b"")
    _, cursor = listed(client)
    emulator.put("/sub/y", b"")
    assert drained(client, client.files_list_folder_continue(cursor))[0] == []


def test_include_deleted(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.put("/a", b"")
    emulator.put("/b", b"")
    emulator.delete("/a")
    assert listed(client)[0] == ["/b"]
    assert listed(client, include_deleted=True)[0] == ["-/a", "/b"]
    assert failure(client.files_get_metadata, "/a") == "path/not_found"
    assert client.files_get_metadata("/a", include_deleted=True).name == "a"


def test_longpoll(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.api.max_longpoll = 0.05
    cursor = client.files_list_folder_get_latest_cursor("").cursor
    assert not client.files_list_folder_longpoll(cursor).changes
    emulator.api.max_longpoll = 30
    writer = threading.Timer(0.1, emulator.put, ("/f", b""))
    started = time.monotonic()
    writer.start()
    assert client.files_list_folder_longpoll(cursor).changes
    assert time.monotonic() - started < 10
    writer.join()


def test_download_by_range_rev_and_link(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    old = client.files_upload(b"0123456789", "/f").rev
    client.files_upload(b"new", "/f", mode=WriteMode.overwrite)
    assert client.files_download("/f")[1].content == b"new"
    assert client.files_download(f"rev:{old}")[1].content == b"0123456789"
    for wanted, content in [("2-4", b"234"), ("7-", b"789"), ("-3", b"789"), ("8-99", b"89")]:
        headers = {"Range": f"bytes={wanted}"}
        _, response = client.files_download(f"rev:{old}", extra_headers=headers)
        assert (response.status_code, response.content) == (206, content)
    with pytest.raises(dropbox.exceptions.HttpError) as caught:
        client.files_download("/f", extra_headers={"Range": "bytes=3-"})
    assert caught.value.status_code == 416
    assert failure(client.files_download, "/none") == "path/not_found"
    client.files_create_folder_v2("/d")
    assert failure(client.files_download, "/d") == "path/not_file"
    link = client.files_get_temporary_link("/f").link
    assert requests.get(link, timeout=5).content == b"new"
    emulator.delete("/f")
    assert requests.get(link, timeout=5).status_code == 410


def test_delete(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    told = client.files_upload(b"12", "/d/f")
    emulator.put("/d/sub/g", b"3")
    assert failure(client.files_delete_v2, "/none") == "path_lookup/not_found"
    assert failure(client.files_delete_v2, "/d/f", parent_rev="0123456789") == "path_write/conflict/file"
    assert client.files_delete_v2("/d/f", parent_rev=told.rev).metadata.rev == told.rev
    assert client.files_delete_v2("/D").metadata.path_display == "/d"
    assert (emulator.files(), client.users_get_space_usage().used) == ({}, 0)
    assert failure(client.files_get_metadata, "/d/sub/g") == "path/not_found"


def test_move_and_copy(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    first = client.files_upload(b"12", "/d/f")
    emulator.put("/d/sub/g", b"345")
    copied = client.files_copy_v2("/d", "/new/C").metadata
    assert copied.path_display == "/new/C"
    assert client.files_get_metadata("/new/c/f").content_hash == first.content_hash
    assert client.files_get_metadata("/new/c/f").id != first.id
    assert client.users_get_space_usage().used == 10

    client.files_move_v2("/d", "/e")
    moved = client.files_get_metadata("/e/f")
    assert moved.id == first.id
    assert client.files_get_metadata(first.id).path_display == "/e/f"
    assert sorted(emulator.files()) == ["/e/f", "/e/sub/g", "/new/C/f", "/new/C/sub/g"]
    assert client.users_get_space_usage().used == 10

    assert failure(client.files_move_v2, "/none", "/x") == "from_lookup/not_found"
    assert failure(client.files_move_v2, "/e/f", "/new/c/F") == "to/conflict/file"
    assert failure(client.files_move_v2, "/e", "/e/sub/e") == "cant_move_folder_into_itself"
    assert failure(client.files_move_v2, "/e/f", "/e/F") == "to/conflict/file"
    assert failure(client.files_copy_v2, "/e/f", "/thumbs.db") == "to/disallowed_name"
    assert client.files_copy_v2("/e/f", "/new/C/f", autorename=True).metadata.name == "f (1)"


def test_batches_are_jobs(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.api.async_polls = 2
    emulator.put("/a", b"")
    emulator.put("/b", b"")

    job = client.files_move_batch_v2([RelocationPath("/a", "/c"), RelocationPath("/none", "/d")])
    polls = [client.files_move_batch_check_v2(job.get_async_job_id()) for _ in range(3)]
    assert [poll._tag for poll in polls] == ["in_progress", "in_progress", "complete"]
    done, failed = polls[2].get_complete().entries
    assert done.get_success().path_display == "/c"
    assert tags_of(failed.get_failure()) == "relocation_error/from_lookup/not_found"

    emulator.api.async_polls = 0
    job = client.files_copy_batch_v2([RelocationPath("/b", "/copy")])
    assert client.files_copy_batch_check_v2(job.get_async_job_id()).is_complete()
    job = client.files_delete_batch([DeleteArg("/b"), DeleteArg("/b")])
    entries = client.files_delete_batch_check(job.get_async_job_id()).get_complete().entries
    assert [entry._tag for entry in entries] == ["success", "failure"]
    entries = client.files_create_folder_batch(["/x/y", "/c"]).get_complete().entries
    assert tags_of(entries[1].get_failure()) == "path/conflict/file"
    job = client.files_create_folder_batch(["/z"], force_async=True)
    assert client.files_create_folder_batch_check(job.get_async_job_id()).is_complete()
    assert listed(client)[0] == ["/c", "/copy", "/x", "/z"]
    assert failure(client.files_delete_batch_check, "dbjid:none") == "invalid_async_job_id"


def test_revisions_and_restore(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    revs = [client.files_upload(text, "/f", mode=WriteMode.overwrite).rev for text in (b"1", b"22", b"333")]
    emulator.delete("/f")
    told = client.files_list_revisions("/f", limit=2)
    assert told.is_deleted
    assert [entry.rev for entry in told.entries] == revs[:0:-1]
    earlier = client.files_list_revisions("/f", before_rev=revs[1]).entries
    assert [entry.rev for entry in earlier] == revs[:1]
    restored = client.files_restore("/f", revs[1])
    assert restored.size == 2
    assert client.files_download("/f")[1].content == b"22"
    moved = client.files_move_v2("/f", "/g").metadata
    by_id = client.files_list_revisions("/g", mode=ListRevisionsMode.id).entries
    assert [entry.rev for entry in by_id] == [moved.rev, restored.rev]
    assert [entry.rev for entry in client.files_list_revisions("/g").entries] == [moved.rev]
    assert failure(client.files_restore, "/f", "0123456789") == "invalid_revision"
    client.files_create_folder_v2("/d")
    assert failure(client.files_restore, "/d", revs[0]) == "path_write/conflict/folder"
    assert failure(client.files_list_revisions, "/none") == "path/not_found"


def test_bad_input_is_plain_400(client: dropbox.Dropbox) -> None:
    for route, arg in [
        ("files/get_metadata", {"path": "no slash"}),
        ("files/get_metadata", {"path": "/f", "surprise": 1}),
        ("files/get_metadata", {}),
        ("files/list_folder", {"path": "", "limit": 2001}),
        ("files/upload_session/start_batch", {"num_sessions": 1001}),
        ("files/no_such_function", {}),
        ("files/upload", {"path": "/f"}),
    ]:
        with pytest.raises(BadInputError, match=route):
            raw_call(client, route, arg)
    # The connection survived all of that.
    assert client.users_get_current_account().account_id.startswith("dbid:")


def test_path_root_header(client: dropbox.Dropbox) -> None:
    client.files_upload(b"", "/f")
    info = client.users_get_current_account().root_info
    for root in (dropbox.common.PathRoot.home, dropbox.common.PathRoot.root(info.root_namespace_id)):
        assert client.with_path_root(root).files_get_metadata("/f").name == "f"
    with pytest.raises(PathRootError):
        client.with_path_root(dropbox.common.PathRoot.root("99")).files_get_metadata("/f")
