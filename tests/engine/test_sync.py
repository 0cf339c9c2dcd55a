"""A whole run: guards, listings, and what the report says of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from photosync.engine.capabilities import Changes
from photosync.engine.entry import Entry
from photosync.engine.errors import Permanent, SafetyGuard, Transient
from photosync.engine.filters import Filter
from photosync.engine.layout import Layout
from photosync.engine.names import WINDOWS
from photosync.engine.plan import Mode, Policy
from photosync.engine.report import Exit
from tests.engine.rig import Rig
from tests.sim.drive import DriveWorld
from tests.sim.store import Faults, SimStore


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.row(2)
def test_an_empty_source_is_an_error(tmp_path: Path, mode: Mode) -> None:
    rig = Rig(tmp_path)
    rig.photo("a", b"1")
    rig.run(mode)
    rig.phone.things.clear()
    report = rig.run(mode)
    assert isinstance(report.fatal, SafetyGuard)
    assert "--allow-empty" in str(report.fatal)
    assert report.exit_code == Exit.FATAL
    assert rig.files() == {"a": b"1"}
    assert rig.run(mode, allow_empty=True, allow_shrunken=True).fatal is None


def test_a_filter_that_nothing_passes_does_not_empty_the_destination(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a.jpg", b"1")
    rig.run(Mode.SYNC)
    rig.phone.things.clear()
    rig.photo("b.txt", b"2")
    photos = Filter.parse(include=["*.jpg"], now_ns=0)
    report = rig.run(Mode.SYNC, filter=photos)
    assert isinstance(report.fatal, SafetyGuard)
    assert rig.files() == {"a.jpg": b"1"}
    assert rig.run(Mode.COPY, filter=photos).fatal is None


@pytest.mark.parametrize(("before", "after", "believed"), [(20, 9, False), (20, 10, True), (19, 1, True)])
def test_a_sharply_shrunken_source_is_an_error(
    tmp_path: Path, before: int, after: int, believed: bool
) -> None:
    rig = Rig(tmp_path)
    for number in range(before):
        rig.photo(f"{number}", b"x")
    rig.run()
    for number in range(after, before):
        rig.phone.drop(f"{number}")
    report = rig.run()
    assert (report.fatal is None) is believed
    if not believed:
        assert "--allow-shrunken" in str(report.fatal)
        assert rig.run(allow_shrunken=True).fatal is None
        assert rig.run().fatal is None


@pytest.mark.row(3)
def test_a_folder_that_cannot_be_listed_is_told_and_the_rest_is_copied(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("good/a", b"1")
    rig.photo("bad/b", b"2")
    rig.run()
    rig.photo("good/c", b"3")

    def setup(store: SimStore) -> None:
        real = store.list_folder

        def list_folder(path: str) -> list[Entry]:
            if path == "bad":
                raise OSError(5, "Input/output error", path)
            return real(path)

        store.list_folder = list_folder  # type: ignore[method-assign]

    rig.source_setup = setup
    report = rig.run()
    assert rig.statuses() == {"good/c": "verified"}
    assert [error.path for error in report.listing_errors] == ["bad"]
    assert report.exit_code == Exit.RETRY
    assert any("bad could not be listed" in text for text in rig.notices)
    synced = rig.run(Mode.SYNC)
    assert isinstance(synced.fatal, SafetyGuard)
    assert set(rig.files()) == {"good/a", "good/c", "bad/b"}


@pytest.mark.parametrize("personality", ["disk", "objects", "feed"])
def test_listing_the_destination_is_tried_again(tmp_path: Path, personality: str) -> None:
    """Folder by folder, if need be: one that is busy does not fail the run."""
    rig = Rig(tmp_path, personality)
    for number in range(4):
        rig.photo(f"{number}/a", b"1")
    rig.run()
    for seed in range(6):
        assert rig.run(seed=seed, faults=Faults(before=0.2), attempts=20).status == "nothing"


@pytest.mark.parametrize(
    ("error", "code"), [(Transient("503"), Exit.RETRY), (Permanent("odd"), Exit.NO_RETRY)]
)
def test_a_destination_that_cannot_be_listed_is_not_taken_for_empty(
    tmp_path: Path, error: Exception, code: Exit
) -> None:
    rig = Rig(tmp_path)
    rig.photo("d/a", b"1")
    rig.run()

    def fail(_path: str) -> list[Entry]:
        raise error

    rig.setup = lambda store: setattr(store, "list_folder", fail)
    report = rig.run(Mode.SYNC)
    assert report.fatal is not None
    assert report.exit_code == code
    assert rig.outcomes == {}


def test_what_the_filters_leave_out_stays_where_it_is(tmp_path: Path) -> None:
    """A file that grew out of the filter is still at the source: its copy is not taken for an orphan."""
    rig = Rig(tmp_path)
    rig.photo("a.jpg", b"1")
    rig.photo("b.jpg", b"2")
    rig.photo("c.mov", b"3")
    rig.run(Mode.SYNC)
    rig.photo("b.jpg", b"2" * 100, 2)
    small = Filter.parse(include=["*.jpg"], max_size="50B", now_ns=0)
    report = rig.run(Mode.SYNC, filter=small)
    assert report.status == "nothing"
    assert rig.files() == {"a.jpg": b"1", "b.jpg": b"2", "c.mov": b"3"}


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    def missing(path: str) -> list[Entry]:
        raise FileNotFoundError(2, "No such file or directory", "/media/phone")

    rig = Rig(tmp_path, source_setup=lambda store: setattr(store, "list_folder", missing))
    with pytest.raises(FileNotFoundError, match="/media/phone"):
        rig.run()


@pytest.mark.parametrize("personality", ["disk", "objects", "feed"])
def test_both_sides_are_listed_at_once(tmp_path: Path, personality: str) -> None:
    rig = Rig(tmp_path, personality)
    for number in range(5):
        rig.photo(f"{number}/a", b"1")
    rig.run()
    rig.setup = rig.source_setup = lambda store: _slow(rig, store, 10)
    report = rig.run()
    assert report.status == "nothing"
    # Six folders of the source, and of a disk two more; one side after the other would be 130 seconds there.
    assert 60 <= report.seconds <= 80


def test_nothing_is_asked_of_the_destination_before_the_source_is_there(tmp_path: Path) -> None:
    asked: list[str] = []

    def missing(path: str) -> list[Entry]:
        raise FileNotFoundError(2, "No such file or directory", "/media/phone")

    def listed(path: str) -> list[Entry]:
        asked.append(path)
        return []

    rig = Rig(tmp_path, setup=lambda store: setattr(store, "list_folder", listed))
    rig.source_setup = lambda store: setattr(store, "list_folder", missing)
    with pytest.raises(FileNotFoundError, match="/media/phone"):
        rig.run()
    assert asked == []


@pytest.mark.parametrize("seed", range(10))
def test_a_destination_that_cannot_be_listed_ends_the_listing_of_the_source(
    tmp_path: Path, seed: int
) -> None:
    rig = Rig(tmp_path)
    for number in range(100):
        rig.photo(f"{number}/a", b"1")

    def fail(_path: str) -> list[Entry]:
        raise Permanent("odd")

    rig.source_setup = lambda store: _slow(rig, store, 10)
    rig.setup = lambda store: setattr(store, "list_folder", fail)
    report = rig.run(seed=seed)
    assert str(report.fatal).startswith("odd")
    assert report.seconds <= 30


@pytest.mark.parametrize("seed", range(10))
def test_a_source_that_is_not_believed_ends_the_listing_of_the_destination(tmp_path: Path, seed: int) -> None:
    rig = _emptied(tmp_path)
    rig.setup = lambda store: _slow(rig, store, 10)
    report = rig.run(seed=seed)
    assert isinstance(report.fatal, SafetyGuard)
    assert report.seconds <= 30


@pytest.mark.parametrize("seed", range(10))
def test_a_source_that_is_not_believed_does_not_wait_until_the_destination_may_be_asked_again(
    tmp_path: Path, seed: int
) -> None:
    rig = _emptied(tmp_path)

    def later(_path: str) -> list[Entry]:
        raise Transient("busy", retry_after=100)

    rig.source_setup = lambda store: _slow(rig, store, 1)
    rig.setup = lambda store: setattr(store, "list_folder", later)
    report = rig.run(seed=seed)
    assert isinstance(report.fatal, SafetyGuard)
    assert report.seconds <= 5


def _emptied(folder: Path) -> Rig:
    """A phone that has nothing left of what was copied from it."""
    rig = Rig(folder)
    for number in range(100):
        rig.photo(f"{number}/a", b"1")
    rig.run()
    rig.phone.things.clear()
    return rig


def _slow(rig: Rig, store: SimStore, seconds: float) -> None:
    """Makes each of a store's listings take time."""
    flat, folder, changes = store.list_tree, store.list_folder, store.changes

    def wait() -> None:
        scheduler = rig.scheduler
        until = scheduler.monotonic() + seconds
        while scheduler.monotonic() < until:
            scheduler.park(until - scheduler.monotonic())

    def list_tree() -> Iterator[Entry]:
        wait()
        return flat()

    def list_folder(path: str) -> list[Entry]:
        wait()
        return folder(path)

    def changed(cursor: str | None) -> Changes:
        wait()
        return changes(cursor)

    store.list_tree, store.list_folder, store.changes = list_tree, list_folder, changed  # type: ignore[method-assign]


@pytest.mark.row(27)
def test_a_disk_that_is_not_mounted_is_not_filled(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "disk")
    rig.photo("a.jpg", b"photo")
    assert rig.run().clean
    rig.there.things.clear()
    report = rig.run()
    assert isinstance(report.fatal, SafetyGuard)
    assert "mount it" in str(report.fatal)
    assert not rig.there.things
    again = rig.run(allow_empty=True)
    assert again.clean
    assert again.snapshot == 1


def test_the_only_copy_of_what_was_freed_outlives_the_next_photo_of_its_name(tmp_path: Path) -> None:
    """A camera counts from IMG_0001 again, and ``sync`` has no reason to take the first one away."""
    rig = Rig(tmp_path)
    rig.photo("IMG_1.JPG", b"first")
    rig.run()
    rig.free("IMG_1.JPG")
    rig.photo("IMG_1.JPG", b"second!", 2)
    for _ in range(3):
        rig.run(Mode.SYNC)
        assert sorted(rig.files().values()) == [b"first", b"second!"]
    rig.free("IMG_1.JPG")
    rig.photo("IMG_1.JPG", b"the third", 3)
    for _ in range(3):
        rig.run(Mode.SYNC)
        assert sorted(rig.files().values()) == [b"first", b"second!", b"the third"]
    assert rig.trash() == {}


@pytest.mark.parametrize("freed", ["A/IMG_1.JPG", "B/IMG_1.JPG"])
def test_a_copy_that_freed_and_deleted_photos_share_stays(tmp_path: Path, freed: str) -> None:
    rig = Rig(tmp_path)
    policy = Policy(mode=Mode.SYNC, stamp="s", layout=Layout.parse("all/{name}"))
    rig.photo("A/IMG_1.JPG", b"same")
    rig.run(policy=replace(policy, mode=Mode.COPY))
    rig.photo("B/IMG_1.JPG", b"same")
    rig.run(policy=replace(policy, mode=Mode.COPY))
    assert rig.files() == {"all/IMG_1.JPG": b"same"}
    rig.photo("C/IMG_2.JPG", b"other")
    rig.free(freed)
    for path in ("A/IMG_1.JPG", "B/IMG_1.JPG"):
        rig.phone.things.pop(path, None)
    rig.run(policy=policy, allow_shrunken=True)
    assert rig.files() == {"all/IMG_1.JPG": b"same", "all/IMG_2.JPG": b"other"}


@pytest.mark.parametrize("moved", [False, True])
def test_a_copy_that_two_files_share_is_not_replaced_for_one_of_them(tmp_path: Path, moved: bool) -> None:
    """The other one's only copy would go to the trash, and the run say that all is there."""
    rig = Rig(tmp_path)
    policy = Policy(stamp="s", layout=Layout.parse("all/{name}"))
    for path in ("A/IMG_1.JPG", "B/IMG_1.JPG"):
        rig.photo(path, b"same")
        rig.run(policy=policy)
    assert rig.files() == {"all/IMG_1.JPG": b"same"}
    if moved:
        with rig.journal() as journal:
            journal.retire("phone", "there", "B/IMG_1.JPG", "s")
        rig.phone.drop("B/IMG_1.JPG")
    rig.photo("A/IMG_1.JPG", b"edited", 2)
    for _ in range(3):
        rig.run(policy=replace(policy, mode=Mode.SYNC))
        assert sorted(rig.files().values()) == [b"edited", b"same"]


@pytest.mark.parametrize("mode", list(Mode))
def test_what_was_freed_is_not_taken_for_renamed(tmp_path: Path, mode: Mode) -> None:
    """Fetched back to be shown to somebody and deleted again, a freed photo is still where it was."""
    rig = Rig(tmp_path)
    rig.photo("DCIM/IMG_1.JPG", b"freed")
    rig.photo("DCIM/IMG_2.JPG", b"other")
    rig.run()
    rig.free("DCIM/IMG_1.JPG")
    rig.photo("Download/IMG_1.JPG", b"freed", 2)
    rig.run(mode)
    assert rig.files()["DCIM/IMG_1.JPG"] == b"freed"
    rig.phone.drop("Download/IMG_1.JPG")
    rig.run(Mode.SYNC)
    assert rig.files() == {"DCIM/IMG_1.JPG": b"freed", "DCIM/IMG_2.JPG": b"other"}


@pytest.mark.parametrize("seed", range(5))
def test_sync_trashes_no_copy_that_it_adopts(tmp_path: Path, seed: int) -> None:
    """A photo is kept beside another of its name, and the note of that was lost."""
    rig = Rig(tmp_path)
    rig.photo("a.jpg", b"old")
    rig.photo("b.jpg", b"other")
    rig.run(Mode.SYNC)
    rig.free("a.jpg")
    rig.photo("a.jpg", b"new one", mtime_ns=2)
    rig.run(Mode.SYNC)
    assert sorted(rig.files().values()) == [b"new one", b"old", b"other"]
    with rig.journal() as journal:
        journal.forget_delivery("phone", "there", "a.jpg")
    rig.there.set("left.jpg", b"left", 1)
    rig.run(Mode.SYNC, seed=seed)
    assert sorted(rig.files().values()) == [b"new one", b"old", b"other"]
    assert rig.run(Mode.SYNC).status == "nothing"


@pytest.mark.parametrize("older", [b"another one", b"its size"])
@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("freed", [False, True])
@pytest.mark.row(47)
def test_sync_trashes_no_copy_that_an_older_file_of_its_name_hides(
    tmp_path: Path, older: bytes, forgotten: bool, freed: bool
) -> None:
    """At Google Drive names are shared, and the file that was created first is shown under theirs."""
    rig = Rig(tmp_path, "drive")
    rig.photo("a.jpg", b"my photo", mtime_ns=5)
    rig.photo("b.jpg", b"b")
    rig.run(Mode.SYNC)
    if freed:
        rig.free("a.jpg")
        rig.run(Mode.SYNC)
    if forgotten:
        (tmp_path / "journal.sqlite").unlink()
    assert isinstance(rig.there, DriveWorld)
    rig.there.add("a.jpg", older, 0)
    assert rig.files()["a.jpg"] == older
    for _ in range(3):
        rig.run(Mode.SYNC)
        assert b"my photo" in rig.files().values()
    assert rig.run(Mode.SYNC).status == "nothing"


@pytest.mark.parametrize("personality", ["disk", "s3", "dropbox"])
@pytest.mark.parametrize(("mode", "renamed"), [(Mode.SYNC, False), (Mode.SYNC, True), (Mode.COPY, True)])
def test_nothing_is_adopted_that_another_file_of_the_run_replaces_or_renames(
    tmp_path: Path, personality: str, mode: Mode, renamed: bool
) -> None:
    """Two photos of one name, one of them kept beside the other; that one is edited or renamed, and a third
    of that name has its old bytes. Whoever comes first, what is told in the end is there."""
    for seed in range(8):
        folder = tmp_path / str(seed)
        folder.mkdir()
        rig = Rig(folder, personality)
        policy = Policy(mode=mode, stamp="s", layout=Layout.parse("all/{name}"))
        rig.photo("a/1.jpg", b"first")
        rig.run(policy=policy)
        rig.photo("b/1.jpg", b"second")
        rig.run(policy=policy)
        if renamed:
            rig.phone.drop("b/1.jpg")
            rig.photo("b/2.jpg", b"second")
        else:
            rig.photo("b/1.jpg", b"second, edited", mtime_ns=2)
        rig.photo("c/1.jpg", b"second", mtime_ns=3)
        rig.run(policy=policy, seed=seed)
        for path, thing in rig.phone.things.items():
            outcome = rig.outcomes.get(path)
            assert outcome is None or rig.files()[outcome.stored or ""] == thing.data, outcome
        assert rig.run(policy=policy).status == "nothing"


@pytest.mark.parametrize("mode", list(Mode))
def test_what_is_not_the_photo_that_was_renamed_is_sought_elsewhere(tmp_path: Path, mode: Mode) -> None:
    """A photo of its size vanished; its own copy lies where a layout had put it before the state was lost."""
    rig = Rig(tmp_path)
    policy = Policy(mode=mode, stamp="s", layout=Layout.parse("{taken:%Y}/{name}"))
    rig.photo("A/IMG_1.JPG", b"first", mtime_ns=10**18)
    rig.photo("A/IMG_2.JPG", b"other", mtime_ns=10**18)
    rig.run(policy=policy)
    (tmp_path / "journal.sqlite").unlink()
    second = rig.phone.things["A/IMG_2.JPG"].data
    rig.phone.drop("A/IMG_2.JPG")
    rig.run(policy=replace(policy, mode=Mode.COPY))
    rig.phone.drop("A/IMG_1.JPG")
    rig.photo("A/IMG_2.JPG", second, mtime_ns=11 * 10**17)
    rig.run(policy=policy)
    assert list(rig.files().values()).count(b"other") == 1
    rig.run(policy=policy)
    assert (b"first" in rig.files().values()) is (mode is Mode.COPY)


@pytest.mark.parametrize("personality", ["disk", "feed"])
@pytest.mark.parametrize("other", [b"other", b"longer!"])
def test_a_photo_whose_new_name_another_one_has_is_sought_where_a_layout_had_put_it(
    tmp_path: Path, personality: str, other: bytes
) -> None:
    """The phone changed its times, and the state was lost: by today's times it goes where a copy of a photo
    lies that the phone does not have any more."""
    rig = Rig(tmp_path, personality)
    policy = Policy(stamp="s", layout=Layout.parse("{taken:%Y}/{name}"))
    rig.photo("A/IMG_1.JPG", b"first", mtime_ns=10**18)
    rig.photo("B/IMG_1.JPG", other, mtime_ns=11 * 10**17)
    rig.run(policy=policy)
    (tmp_path / "journal.sqlite").unlink()
    rig.phone.drop("B/IMG_1.JPG")
    rig.photo("A/IMG_1.JPG", b"first", mtime_ns=11 * 10**17)
    assert rig.run(policy=policy).clean
    assert sorted(rig.files().values()) == sorted([b"first", other])
    assert rig.run(policy=policy).status == "nothing"


@pytest.mark.parametrize("mode", list(Mode))
def test_what_the_rules_take_for_another_name_is_looked_at_once(tmp_path: Path, mode: Mode) -> None:
    """Somebody stored a file whose name is the same by the rules, though the place tells them apart."""
    rig = Rig(tmp_path, can={"names": WINDOWS})
    rig.photo("a/1SS.jpg", b"mine")
    rig.photo("a/2.jpg", b"else")
    rig.run(mode)
    rig.there.set("a/1ß.jpg", b"theirs", 2)
    rig.run(mode)
    assert rig.run(mode).status == "nothing"
    assert rig.files() == {"a/1SS.jpg": b"mine", "a/1ß.jpg": b"theirs", "a/2.jpg": b"else"}


def test_few_files_of_its_own_are_for_the_next_run_to_hear_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photosync.engine.sync.FEW", 2)
    asked = []
    rig = Rig(tmp_path, "feed")
    for count in (3, 5, 8, 8):
        for number in range(count):
            rig.photo(f"{number}", b"%d" % number)
        asked.append(rig.run().requests["changes"])
    assert asked == [2, 1, 2, 1]
    assert rig.files() == {f"{number}": b"%d" % number for number in range(8)}
