"""Listing a whole drive, the change feed, and what a run without changes costs."""

from collections.abc import Iterator, Sequence

import pytest

from photosync.backends.drive_store import DriveStore
from photosync.engine.capabilities import Changes
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import Transient
from tests.backends.drive_rig import Rig, blob, rigged, stored
from tests.servers.faults import Fault


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


@pytest.fixture
def store(rig: Rig) -> DriveStore:
    return rig.store()


def put(store: DriveStore, *paths: str) -> None:
    for path in paths:
        stored(store.put([blob(path, path.encode())]))


def item(rig: Rig, name: str) -> str:
    (found,) = [each.id for each in rig.emulator.api.drive.items.values() if each.name == name]
    return found


class Mirror:
    """What the journal would know."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.cursor: str | None = None

    def update(self, store: DriveStore) -> Changes:
        changes = store.changes(self.cursor)
        if changes.full:
            self.entries.clear()
        for path in changes.removed:
            for each in [each for each in self.entries if each == path or each.startswith(f"{path}/")]:
                del self.entries[each]
        self.entries |= {entry.path: entry for entry in changes.upserts if entry.kind is Kind.FILE}
        self.cursor = changes.cursor
        return changes

    def check(self, rig: Rig) -> None:
        """Compares with a listing made afresh."""
        listed = {each.path: each for each in rig.sign_in().store("Photos").list_tree()}
        assert self.entries == {path: each for path, each in listed.items() if each.is_file}


def test_what_is_elsewhere_is_left_out(rig: Rig, store: DriveStore) -> None:
    put(store, "a/b.jpg", "c.jpg")
    rig.emulator.put("Other/a/x.jpg", b"x")
    rig.emulator.put("y.jpg", b"y")
    rig.emulator.put("Photos2/z.jpg", b"z")
    assert sorted(entry.path for entry in store.list_tree()) == ["a/b.jpg", "c.jpg"]
    everything = sorted(entry.path for entry in rig.store("").list_tree())
    assert everything == ["Other/a/x.jpg", "Photos/a/b.jpg", "Photos/c.jpg", "Photos2/z.jpg", "y.jpg"]


def test_one_request_for_a_whole_drive(rig: Rig, store: DriveStore) -> None:
    put(store, *(f"{n}/a.jpg" for n in range(20)))
    fresh = rig.sign_in().store("Photos")
    with rig.counting() as counted:
        assert len(list(fresh.list_tree())) == 20
    assert dict(counted) == {"files.get": 1, "files.list": 1}


@pytest.mark.parametrize("others", [0, 40])
def test_no_change_costs_one_request(rig: Rig, store: DriveStore, others: int) -> None:
    put(store, *(f"{n}/a.jpg" for n in range(20)))
    mirror = Mirror()
    mirror.update(store)
    for number in range(others):
        rig.emulator.put(f"Elsewhere/{number}.jpg", b"x")
    fresh = rig.sign_in().store("Photos")
    with rig.counting() as counted:
        changes = mirror.update(fresh)
    assert (changes.full, list(changes.upserts), list(changes.removed)) == (False, [], [])
    assert dict(counted) == {"changes.list": 1}
    with rig.counting() as counted:
        mirror.update(fresh)
    assert dict(counted) == {"changes.list": 1}


def test_changes_of_every_kind(rig: Rig, store: DriveStore) -> None:
    put(store, "a/1.jpg", "a/2.jpg", "a/3.jpg", "b/4.jpg", "b/deep/5.jpg", "6.jpg")
    mirror = Mirror()
    mirror.update(store)
    drive = rig.emulator
    other = rig.sign_in().store("Photos")

    def see(full: bool) -> None:
        assert mirror.update(rig.sign_in().store("Photos")).full is full
        mirror.check(rig)

    drive.put("Photos/a/new.jpg", b"new")
    drive.trash(item(rig, "1.jpg"))
    drive.delete(item(rig, "6.jpg"))
    see(full=False)
    other.move("a/2.jpg", "b/moved.jpg")
    other.set_mtime("a/3.jpg", 1_500_000_000_000_000_000)
    see(full=False)
    drive.trash(item(rig, "deep"))
    see(full=False)
    drive.put("Photos/c/d/7.jpg", b"7")
    see(full=True)
    rig.sign_in().mv("Photos/c", "Photos/e")
    see(full=True)
    drive.trash(item(rig, "e"))
    see(full=False)
    rig.sign_in().mv("Photos", "Elsewhere")
    assert list(mirror.update(rig.sign_in().store("Photos")).upserts) == []
    assert mirror.entries == {}
    rig.sign_in().mv("Elsewhere", "Photos")
    see(full=True)
    assert mirror.entries


@pytest.mark.row(47)
def test_duplicates_come_and_go(rig: Rig, store: DriveStore) -> None:
    put(store, "a.jpg")
    mirror = Mirror()
    mirror.update(store)
    assert store.remarks() == ()
    second = rig.emulator.put("Photos/a.jpg", b"second")
    mirror.update(store)
    mirror.check(rig)
    assert len(mirror.entries) == 2
    assert "a.jpg" in store.remarks()[0]
    fresh = rig.sign_in().store("Photos")
    assert not mirror.update(fresh).full
    assert "a.jpg" in fresh.remarks()[0]
    rig.emulator.delete(second)
    mirror.update(store)
    mirror.check(rig)
    assert len(mirror.entries) == 1
    assert store.remarks() == ()


def test_folders_of_one_name_are_two(rig: Rig, store: DriveStore) -> None:
    put(store, "a/1.jpg")
    twin = rig.emulator.put("Photos/b/2.jpg", b"2")
    rig.emulator.api.drive.items[item(rig, "b")].name = "a"
    mirror = Mirror()
    mirror.update(store)
    mirror.check(rig)
    assert sorted(each.size for each in mirror.entries.values()) == [1, 7]
    (path,) = [path for path, each in mirror.entries.items() if each.version and twin in each.version]
    assert store.stat(path).size == 1


def test_what_this_run_wrote_is_no_news(rig: Rig, store: DriveStore) -> None:
    put(store, "first.jpg")
    mirror = Mirror()
    mirror.update(store)
    put(store, "new/folder/a.jpg", "new/b.jpg")
    with rig.counting() as counted:
        changes = mirror.update(store)
    assert not changes.full
    assert dict(counted) == {"changes.list": 1}
    mirror.check(rig)


def test_a_root_that_comes_into_being(rig: Rig) -> None:
    store = rig.store("Deep/er/Photos")
    first = store.changes(None)
    assert (first.full, list(first.upserts)) == (True, [])
    put(store, "a/b.jpg")
    second = store.changes(first.cursor)
    assert [entry.path for entry in second.upserts] == ["a/b.jpg"]
    elsewhere = rig.sign_in().store("Deep/er/Photos")
    again = elsewhere.changes(first.cursor)
    assert (again.full, [entry.path for entry in again.upserts]) == (True, ["a/b.jpg"])


@pytest.mark.parametrize("cursor", ["", "nonsense", "bm9uc2Vuc2U=", "eJyrVtJRykjNyclXKM8vyklRqgUAMVIF0A=="])
def test_a_cursor_that_is_none_lists_anew(rig: Rig, store: DriveStore, cursor: str) -> None:
    put(store, "a.jpg")
    assert store.changes(cursor).full


def test_a_cursor_of_another_place_or_too_old(rig: Rig, store: DriveStore) -> None:
    put(store, "a.jpg")
    first = store.changes(None)
    assert rig.store("Elsewhere").changes(first.cursor).full
    feed = store.changes(first.cursor)
    assert not feed.full
    from photosync.backends.drive_tree import Tree

    tree = Tree.unpacked(first.cursor, "//Photos")
    assert tree is not None
    tree.token = "no such token"
    assert store.changes(tree.packed("//Photos")).full


@pytest.mark.parametrize(
    "faults", [[Fault("files.list", nth=2, status=503)], [Fault("files.list", nth=3, reset="before")]]
)
def test_a_listing_goes_on_where_it_failed(rig: Rig, store: DriveStore, faults: Sequence[Fault]) -> None:
    put(store, *(f"{n}.jpg" for n in range(12)))
    rig.emulator.api.page_size = 3
    for fault in faults:
        fault.seen = fault.hits = 0
    fresh = rig.sign_in().store("Photos")
    rig.emulator.faults[:] = faults
    with pytest.raises(Transient):
        fresh.changes(None)
    with rig.counting() as counted:
        assert len(fresh.changes(None).upserts) == 12
    assert counted["files.list"] <= 4
    tree = fresh.list_tree()
    faults[0].seen = faults[0].hits = 0
    with pytest.raises(Transient):
        next(tree)
    assert len(list(tree)) == 12


@pytest.mark.row(45)
def test_pages_that_repeat_are_no_listing(
    rig: Rig, store: DriveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a.jpg")
    page = {"files": [], "nextPageToken": "again"}
    monkeypatch.setattr(rig.fs._account, "run", lambda *_args: page)
    with pytest.raises(Transient, match="repeat"):
        list(store.list_tree())


def test_changes_cut_short_are_asked_for_again(
    rig: Rig, store: DriveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a.jpg")
    cursor = store.changes(None).cursor
    with monkeypatch.context() as patched:
        patched.setattr(rig.fs._account, "run", lambda *_args: {"changes": []})
        with pytest.raises(Transient, match="cut short"):
            store.changes(cursor)
    rig.emulator.put("Photos/b.jpg", b"b")
    assert [entry.path for entry in rig.store().changes(cursor).upserts] == ["b.jpg"]


def test_shared_drives_are_told_apart(rig: Rig) -> None:
    drive = rig.emulator.add_drive("Family")
    rig.emulator.put("Photos/mine.jpg", b"mine")
    rig.emulator.put("Photos/ours.jpg", b"ours", drive=drive)
    shared = rig.sign_in(shared_drive=drive).store("Photos")
    first = shared.changes(None)
    assert [entry.path for entry in first.upserts] == ["ours.jpg"]
    assert [entry.path for entry in rig.store().list_tree()] == ["mine.jpg"]
    rig.emulator.put("Photos/more.jpg", b"more", drive=drive)
    rig.emulator.put("Photos/other.jpg", b"other")
    assert [entry.path for entry in shared.changes(first.cursor).upserts] == ["more.jpg"]
    assert shared.about().total is None
