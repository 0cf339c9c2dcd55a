"""A whole run: guards, listings, and what the report says of them."""

from pathlib import Path

import pytest

from photosync.engine.entry import Entry
from photosync.engine.errors import Permanent, SafetyGuard, Transient
from photosync.engine.filters import Filter
from photosync.engine.plan import Mode
from photosync.engine.report import Exit
from tests.engine.rig import Rig
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
