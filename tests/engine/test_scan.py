"""Listing strictly: over real folders, and over stores that misbehave."""

import os
from pathlib import Path
from typing import Any

import pytest

from photosync.backends.local import LocalBackend
from photosync.engine import scan
from photosync.engine.capabilities import Changes
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import DeviceGone, Transient
from photosync.engine.journal import Journal, key
from tests.engine.rig import entry


def go_on() -> None:
    pass


class Folders:
    """A store that lists what a dictionary says; an exception there is raised."""

    def __init__(self, folders: dict[str, list[Entry] | Exception]) -> None:
        self.folders = folders
        self.listed: list[str] = []

    def list_folder(self, path: str) -> list[Entry]:
        self.listed.append(path)
        assert len(self.listed) < 100, "the walk goes round in circles"
        found = self.folders.get(path, FileNotFoundError(2, "none", path))
        if isinstance(found, Exception):
            raise found
        return found


def folder(path: str) -> Entry:
    return Entry(path, kind=Kind.FOLDER)


def walk(folders: dict[str, list[Entry] | Exception], **more: Any) -> scan.Listing:
    return scan.walk(Folders(folders), check=go_on, **more)  # type: ignore[arg-type]


def test_a_real_folder_sorted_by_bytes(tmp_path: Path) -> None:
    for name in ["b.jpg", "a/z.jpg", "a.jpg", "a b.jpg", "é.jpg", "a/\udcff"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    os.symlink("b.jpg", tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    listing = scan.walk(LocalBackend().store(str(tmp_path)), check=go_on, is_source=True)
    names = [found.path for found in listing.entries]
    assert names == sorted(names, key=key)
    assert len(names) == 6
    assert sorted(found.path for found in listing.others) == ["link", "pipe"]
    assert listing.complete


@pytest.mark.skipif(os.geteuid() == 0, reason="not applicable: root may list every folder")
def test_a_folder_without_permission_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    listing = scan.walk(LocalBackend().store(str(tmp_path)), check=go_on)
    assert [error.path for error in listing.errors] == ["closed"]


def test_a_folder_that_fails_is_said_and_the_others_are_listed() -> None:
    listing = walk({"": [folder("a"), folder("b"), entry("c")], "a": OSError(5, "EIO"), "b": [entry("b/1")]})
    assert [found.path for found in listing.entries] == ["b/1", "c"]
    assert [error.path for error in listing.errors] == ["a"]
    assert "listing a" in str(listing.errors[0].error)
    assert not listing.complete


def test_a_folder_that_vanished_meanwhile_is_worth_another_try() -> None:
    listing = walk({"": [folder("a")]})
    assert isinstance(listing.errors[0].error, Transient)


def test_a_root_that_fails_to_list_is_not_empty() -> None:
    listing = walk({"": OSError(5, "EIO")})
    assert not listing.complete


def test_a_missing_root_is_missing() -> None:
    with pytest.raises(FileNotFoundError):
        walk({})


def test_a_place_that_is_gone_ends_the_walk() -> None:
    with pytest.raises(DeviceGone):
        walk({"": [folder("a")], "a": OSError(19, "No such device")})


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a//b", "a/../b", "", "x\0y", "./a"])
@pytest.mark.row(74)
def test_names_that_cannot_be_trusted_are_refused_not_dropped(path: str) -> None:
    listing = walk({"": [entry(path), entry("good")]}, is_source=True)
    assert [found.path for found in listing.entries] == ["good"]
    assert [(found.path, found.kind) for found in listing.others] == [(path, Kind.OTHER)]
    assert listing.others[0].note


@pytest.mark.parametrize("path", ["", "..", "/", "a/../..", "elsewhere/b"])
def test_a_folder_that_claims_to_lie_elsewhere_is_not_entered(path: str) -> None:
    store = Folders({"": [folder("a")], "a": [folder(path), folder("a"), entry("a/1")]})
    listing = scan.walk(store, check=go_on, is_source=True)  # type: ignore[arg-type]
    assert store.listed == ["", "a"]
    assert [found.path for found in listing.entries] == ["a/1"]
    assert path in [found.path for found in listing.others]


@pytest.mark.parametrize("size", [-1, 1 << 63])
def test_a_size_that_no_file_has_is_told_and_never_counted(size: int) -> None:
    listing = walk({"": [Entry("a.jpg", size), entry("good")]})
    assert [found.path for found in listing.entries] == ["good"]
    (other,) = listing.others
    assert (other.path, other.size, other.kind) == ("a.jpg", 0, Kind.OTHER)
    assert str(size) in other.note


def test_folders_in_folders_without_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "DEEPEST", 5)

    class Endless:
        def list_folder(self, path: str) -> list[Entry]:
            assert path.count("/") <= 5, "the walk never ends"
            return [folder(f"{path}/a".lstrip("/"))]

    listing = scan.walk(Endless(), check=go_on)  # type: ignore[arg-type]
    assert "without end" in str(listing.errors[0].error)


def test_own_files_are_told_apart_at_a_destination_at_any_depth() -> None:
    there: dict[str, list[Entry] | Exception] = {
        "": [folder(".photosync"), entry(".photosync-tmp1"), folder("d")],
        ".photosync": [entry(".photosync/HEAD"), folder(".photosync/trash")],
        "d": [entry("d/.photosync-tmp2"), entry("d/1")],
    }
    listing = walk(there)
    assert [found.path for found in listing.entries] == ["d/1"]
    assert sorted(found.path for found in listing.own) == [
        ".photosync-tmp1",
        ".photosync/HEAD",
        "d/.photosync-tmp2",
    ]


@pytest.mark.row(80)
def test_a_source_keeps_its_files_whatever_they_are_called_but_for_the_manifest() -> None:
    here: dict[str, list[Entry] | Exception] = {
        "": [folder(".photosync"), entry(".photosync-notes.txt"), folder("d")],
        "d": [folder("d/.photosync")],
        "d/.photosync": [entry("d/.photosync/x")],
    }
    listing = walk(here, is_source=True)
    assert [found.path for found in listing.entries] == [".photosync-notes.txt", "d/.photosync/x"]
    assert [(found.path, found.kind) for found in listing.others] == [(".photosync", Kind.SKIPPED)]


def test_filters_decline_files_and_folders() -> None:
    store = Folders({"": [folder("a"), folder("b"), entry("c"), entry("d")], "a": [entry("a/1")]})
    listing = scan.walk(
        store,  # type: ignore[arg-type]
        check=go_on,
        wants=lambda found: found.path != "c",
        enters=lambda path: path != "b",
    )
    assert [found.path for found in listing.entries] == ["a/1", "d"]
    assert listing.declined == ["c"]
    assert "b" not in store.listed


def test_a_walk_can_be_stopped_between_folders() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan.walk(Folders({"": [folder("a")], "a": []}), check=check)  # type: ignore[arg-type]


class Feed:
    def __init__(self, *answers: Changes) -> None:
        self.answers = list(answers)
        self.asked: list[str | None] = []

    def changes(self, cursor: str | None) -> Changes:
        self.asked.append(cursor)
        return self.answers.pop(0)


def test_a_change_feed_is_followed_from_its_cursor() -> None:
    feed = Feed(
        Changes([entry("a"), entry("d/b"), entry(".photosync/HEAD")], [], "c1", full=True),
        Changes([entry("n"), folder("new")], ["d"], "c2", full=False),
        Changes([entry("only")], [], "c3", full=True),
    )
    with Journal(None) as journal:
        first = scan.fed(feed, journal, "there")  # type: ignore[arg-type]
        second = scan.fed(feed, journal, "there")  # type: ignore[arg-type]
        third = scan.fed(feed, journal, "there")  # type: ignore[arg-type]
    assert feed.asked == [None, "c1", "c2"]
    assert [found.path for found in first.entries] == ["a", "d/b"]
    assert [found.path for found in first.own] == [".photosync/HEAD"]
    assert [found.path for found in second.entries] == ["a", "n"]
    assert [found.path for found in third.entries] == ["only"]
