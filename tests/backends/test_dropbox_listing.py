"""Listings and the change feed of the Dropbox store against the emulator."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from dropbox.files import DeletedMetadata, FileMetadata, FolderMetadata, SymlinkInfo

from photosync.backends.dropbox_listing import Feed, Pages
from photosync.engine.capabilities import Changes
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import NameRefused, Permanent, Transient
from tests.backends.dropbox_rig import MTIME, Rig, blob, dropbox_hash, rigged, stored
from tests.servers.faults import Fault

LIST = "files/list_folder"
CONTINUE = "files/list_folder/continue"


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


def paths(changes: Changes) -> list[str]:
    return sorted(entry.path for entry in changes.upserts)


def fill(rig: Rig, count: int) -> None:
    for number in range(count):
        rig.emulator.put(f"/Photos/Camera/{number:03}.jpg", str(number).encode())


# Listings


def test_a_tree_is_listed_in_few_requests_with_hashes(rig: Rig) -> None:
    fill(rig, 30)
    stored(rig.store().put([blob("2026/a", b"data")]))
    rig.emulator.put("/Elsewhere/x", b"not below the root")
    with rig.counting() as counted:
        entries = {entry.path: entry for entry in rig.store().list_tree()}
    assert dict(counted) == {LIST: 1}
    assert len(entries) == 31
    version = rig.emulator.files()["/Photos/2026/a"].rev
    assert entries["2026/a"] == Entry("2026/a", 4, MTIME, {"dropbox": dropbox_hash(b"data")}, version)


def test_a_listing_goes_on_after_trouble(rig: Rig) -> None:
    fill(rig, 30)
    rig.emulator.api.page_size = 10
    rig.emulator.faults += [Fault(LIST, status=503), Fault(CONTINUE, nth=2, status=503)]
    listing, found, troubles = rig.store().list_tree(), [], 0
    with rig.counting() as counted:
        while True:
            try:
                found.append(next(listing).path)
            except Transient:
                troubles += 1
            except StopIteration:
                break
    assert troubles == 2
    assert found == [f"Camera/{number:03}.jpg" for number in range(30)]
    assert counted[LIST] == 2, "a page that came is not asked for again"


def test_the_account_itself_is_a_root_too(rig: Rig) -> None:
    rig.emulator.put("/a/B/c", b"1")
    assert [entry.path for entry in rig.store("").list_tree()] == ["a/B/c"]
    assert [entry.path for entry in rig.store("").list_folder("")] == ["a"]
    assert paths(rig.store("").changes(None)) == ["a/B/c"]


def test_folders_are_listed_one_by_one(rig: Rig) -> None:
    fill(rig, 3)
    rig.emulator.put("/Photos/b.jpg", b"1")
    rig.emulator.api.page_size = 2
    store = rig.store()
    assert {(entry.path, entry.kind) for entry in store.list_folder("")} == {
        ("Camera", Kind.FOLDER),
        ("b.jpg", Kind.FILE),
    }
    assert [entry.path for entry in store.list_folder("Camera")] == [f"Camera/{n:03}.jpg" for n in range(3)]
    with pytest.raises(FileNotFoundError):
        store.list_folder("gone")
    with pytest.raises(NotADirectoryError):
        store.list_folder("b.jpg")
    with pytest.raises(NameRefused):
        store.list_folder("../Elsewhere")


def test_a_root_that_is_not_there_lists_nothing(rig: Rig) -> None:
    store = rig.store("new")
    assert list(store.list_tree()) == []
    first = store.changes(None)
    assert first == Changes((), (), "", full=True)
    with pytest.raises(FileNotFoundError):
        store.list_folder("")
    stored(store.put([blob("a", b"1")]))
    second = store.changes(first.cursor)
    assert (paths(second), second.full) == (["a"], True)
    assert store.changes(second.cursor).full is False


@pytest.mark.row(45)
def test_a_listing_that_fails_does_not_look_empty(rig: Rig) -> None:
    fill(rig, 4)
    rig.emulator.api.page_size = 2
    refused = {".tag": "path", "path": {".tag": "not_found"}}
    rig.emulator.faults.append(Fault(CONTINUE, error=refused))
    with pytest.raises(FileNotFoundError):
        list(rig.store().list_tree())
    rig.emulator.faults.append(Fault(LIST, status=400))
    with pytest.raises(Permanent, match="refused"):
        rig.store().changes(None)


# The change feed


def test_no_change_costs_one_request_in_another_process_too(rig: Rig) -> None:
    fill(rig, 5)
    cursor = rig.store().changes(None).cursor
    store = rig.sign_in().store("Photos")
    with rig.counting() as counted:
        changes = store.changes(cursor)
    assert dict(counted) == {CONTINUE: 1}
    assert (changes.upserts, changes.removed, changes.full) == ([], [], False)


def test_a_delta_tells_what_came_changed_and_went(rig: Rig) -> None:
    fill(rig, 4)
    rig.emulator.put("/Photos/Trip/a", b"1")
    rig.emulator.put("/Photos/Trip/Day 1/b", b"2")
    store = rig.store()
    cursor = store.changes(None).cursor
    rig.emulator.put("/Photos/New/x.jpg", b"new")
    rig.emulator.put("/Photos/Camera/000.jpg", b"changed")
    rig.emulator.delete("/Photos/Camera/001.jpg")
    rig.emulator.delete("/Photos/Trip")
    changes = store.changes(cursor)
    assert paths(changes) == ["Camera/000.jpg", "New/x.jpg"]
    assert set(changes.removed) >= {"Camera/001.jpg", "Trip"}
    # A new folder may stand where a file was.
    assert set(changes.removed) <= {"Camera/001.jpg", "Trip", "New"}
    assert not changes.full
    assert store.changes(changes.cursor).upserts == []


def test_a_rename_is_a_removal_and_an_arrival(rig: Rig) -> None:
    fill(rig, 2)
    rig.emulator.put("/Photos/Old/Deep/a", b"1")
    store = rig.store()
    cursor = store.changes(None).cursor
    store.move("Camera/000.jpg", "Camera/first.jpg")
    rig.fs.mv("Photos/Old", "Photos/Renamed")
    changes = store.changes(cursor)
    assert paths(changes) == ["Camera/first.jpg", "Renamed/Deep/a"]
    assert {"Camera/000.jpg", "Old"} <= set(changes.removed)


def test_what_came_back_is_there(rig: Rig) -> None:
    rig.emulator.put("/Photos/Folder/a", b"1")
    rig.emulator.put("/Photos/b", b"1")
    rig.emulator.put("/Photos/c", b"1")
    store = rig.store()
    cursor = store.changes(None).cursor
    rig.emulator.delete("/Photos/b")
    rig.emulator.put("/Photos/b", b"2")
    rig.emulator.delete("/Photos/c")
    rig.emulator.put("/Photos/C", b"2")
    rig.emulator.delete("/Photos/Folder")
    rig.emulator.put("/Photos/Folder/c", b"2")
    changes = store.changes(cursor)
    assert paths(changes) == ["C", "Folder/c", "b"]
    assert set(changes.removed) == {"Folder", "c"}


def test_a_delta_of_many_pages_goes_on_after_trouble(rig: Rig) -> None:
    rig.emulator.api.page_size = 10
    store = rig.store()
    fill(rig, 1)
    cursor = store.changes(None).cursor
    fill(rig, 30)
    rig.emulator.faults.append(Fault(CONTINUE, nth=3, status=503))
    before = rig.emulator.requests[CONTINUE]
    with pytest.raises(Transient):
        store.changes(cursor)
    reached = rig.emulator.requests[CONTINUE]
    changes = store.changes(cursor)
    assert paths(changes) == [f"Camera/{number:03}.jpg" for number in range(1, 30)]
    assert reached - before == 3
    assert rig.emulator.requests[CONTINUE] - reached <= 2, "pages that came are not asked for again"


def test_an_old_cursor_leads_to_a_full_listing(rig: Rig) -> None:
    fill(rig, 3)
    store = rig.store()
    cursor = store.changes(None).cursor
    rig.emulator.faults.append(Fault(CONTINUE, error={".tag": "reset"}))
    changes = store.changes(cursor)
    assert changes.full
    assert len(changes.upserts) == 3
    assert not store.changes(changes.cursor).full


def test_a_cursor_that_is_reset_for_ever_is_an_error(rig: Rig) -> None:
    fill(rig, 6)
    rig.emulator.api.page_size = 2
    store = rig.store()
    cursor = store.changes(None).cursor
    rig.emulator.faults.append(Fault(CONTINUE, error={".tag": "reset"}, count=None))
    with pytest.raises(Permanent, match="cursor"):
        store.changes(cursor)


@pytest.mark.parametrize("cursor", ["nonsense", "bm9uc2Vuc2U=", "other root"])
def test_a_cursor_of_something_else_leads_to_a_full_listing(rig: Rig, cursor: str) -> None:
    fill(rig, 3)
    if cursor == "other root":
        rig.emulator.put("/Other/x", b"1")
        cursor = rig.store("Other").changes(None).cursor
    changes = rig.store().changes(cursor)
    assert changes.full
    assert len(changes.upserts) == 3


def test_a_root_that_went_away_is_empty_and_may_come_back(rig: Rig) -> None:
    fill(rig, 3)
    store = rig.store()
    cursor = store.changes(None).cursor
    rig.emulator.delete("/Photos")
    gone = store.changes(cursor)
    assert (list(gone.upserts), gone.full) == ([], True)
    fill(rig, 1)
    assert paths(store.changes(gone.cursor)) == ["Camera/000.jpg"]


# Case, and what is no file: the service shows these only in rare cases, so its replies are written out here.


def folder(path_lower: str, name: str) -> FolderMetadata:
    return FolderMetadata(name=name, id="id:a", path_lower=path_lower, path_display=path_lower)


def file(path_lower: str, name: str, display: str, **more: Any) -> FileMetadata:
    time = datetime(2026, 1, 1)
    return FileMetadata(
        name=name,
        id="id:b",
        client_modified=time,
        server_modified=time,
        rev="0123456789abc",
        size=1,
        path_lower=path_lower,
        path_display=display,
        **more,
    )


def gone(path_lower: str, name: str) -> DeletedMetadata:
    return DeletedMetadata(name=name, path_lower=path_lower, path_display=path_lower)


class Page:
    def __init__(self, entries: list[Any], cursor: str, has_more: bool) -> None:
        self.entries, self.cursor, self.has_more = entries, cursor, has_more


@pytest.fixture
def replies(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[Page]:
    """Pages that the service gives next."""
    pages: list[Page] = []
    client = rig.fs._account._open()
    monkeypatch.setattr(client, "files_list_folder", lambda *_, **__: pages.pop(0))
    monkeypatch.setattr(client, "files_list_folder_continue", lambda *_: pages.pop(0))
    return pages


DCIM = [folder("/photos", "Photos"), folder("/photos/dcim", "DCIM"), folder("/photos/dcim/trip", "Trip")]


def test_parents_are_shown_as_their_folders_are_called(rig: Rig, replies: list[Page]) -> None:
    written = file("/photos/dcim/trip/a.jpg", "A.JPG", "/photos/Dcim/TRIP/A.JPG")
    # A file may come before its folders.
    replies += [Page([DCIM[0], written], "1", True), Page(DCIM[1:], "2", False)] * 2
    assert [entry.path for entry in rig.store().list_tree()] == ["DCIM/Trip/A.JPG"]
    assert paths(rig.store().changes(None)) == ["DCIM/Trip/A.JPG"]


def test_a_delta_uses_the_names_of_the_listing_before_it(rig: Rig, replies: list[Page]) -> None:
    replies += [
        Page(DCIM, "1", False),
        Page([file("/photos/dcim/trip/b", "B", "/x/dcim/trip/B")], "2", False),
    ]
    cursor = rig.store().changes(None).cursor
    changes = rig.store().changes(cursor)
    assert paths(changes) == ["DCIM/Trip/B"]
    replies.append(Page([gone("/photos/dcim/trip/b", "B"), gone("/photos/dcim/trip", "trip")], "3", False))
    assert rig.store().changes(changes.cursor).removed == ["DCIM/Trip/B", "DCIM/Trip"]


def test_parents_nobody_named_are_shown_as_the_file_has_them(rig: Rig, replies: list[Page]) -> None:
    replies.append(Page([file("/photos/dcim/x/c", "c", "/Photos/Dcim/X/c"), DCIM[1]], "1", False))
    assert [entry.path for entry in rig.store().list_tree()] == ["DCIM/X/c"]


def test_a_file_in_the_place_of_a_folder_and_the_reverse(rig: Rig, replies: list[Page]) -> None:
    listed = [*DCIM, file("/photos/dcim/trip/a", "a", "a"), file("/photos/b", "b", "b")]
    now = [file("/photos/dcim/trip", "Trip", "Trip"), folder("/photos/b", "b"), file("/photos/b/c", "c", "c")]
    replies += [Page(listed, "1", False), Page(now, "2", False)]
    changes = rig.store().changes(rig.store().changes(None).cursor)
    assert paths(changes) == ["DCIM/Trip", "b/c"]
    assert sorted(changes.removed) == ["DCIM/Trip", "b"]


def test_what_went_away_while_it_was_listed_is_not_there(rig: Rig, replies: list[Page]) -> None:
    listed = [*DCIM, file("/photos/dcim/trip/a", "a", "a"), file("/photos/b", "b", "b")]
    replies += [Page(listed, "1", True), Page([gone("/photos/dcim", "DCIM")], "2", False)]
    assert paths(rig.store().changes(None)) == ["b"]


def test_documents_and_links_are_reported_and_not_opened(rig: Rig, replies: list[Page]) -> None:
    found = [
        file("/photos/doc.paper", "Doc.paper", "x", is_downloadable=False),
        file("/photos/link", "link", "x", symlink_info=SymlinkInfo(target="/etc/\x1b[2Jpasswd")),
    ]
    replies.append(Page(found, "1", False))
    paper, link = rig.store().list_tree()
    assert (paper.kind, link.kind) == (Kind.OTHER, Kind.OTHER)
    assert "cannot be downloaded" in paper.note
    assert re.search(r"symbolic link to .*\\x1b\[2Jpasswd", link.note)


def test_very_deep_paths(rig: Rig, replies: list[Page]) -> None:
    deep = "/photos" + "/d" * 3000
    replies.append(Page([file(f"{deep}/a", "a", f"{deep}/a")], "1", False))
    (entry,) = rig.store().list_tree()
    assert entry.path == "d/" * 3000 + "a"


def test_pages_and_feeds_belong_to_one_folder(rig: Rig) -> None:
    fill(rig, 2)
    pages = Pages(rig.fs._account, "/Photos/Camera", recursive=False)
    assert len(pages.next()) == 2
    assert pages.done
    assert len(Feed(rig.fs._account, "Photos", "/Photos", None).run().upserts) == 2
