"""Which files may be removed, which are duplicates, and which bytes a range means: pure decisions."""

from collections.abc import Callable
from typing import Any

import pytest

from photosync.engine import duplicates, ranges
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import SourceChanged, Transient
from photosync.engine.removal import why_kept

SEEN = Entry("a.jpg", 5, 1_000, version="v1")


@pytest.mark.parametrize(
    ("seen", "now", "word"),
    [
        (SEEN, SEEN, None),
        (SEEN, Entry("a.jpg", 5, None, version="v1"), None),
        (SEEN, None, "gone"),
        (SEEN, Entry("a.jpg", 6, 1_000, version="v1"), "changed"),
        (SEEN, Entry("a.jpg", 5, 1_000, version="v2"), "changed"),
        (SEEN, Entry("a.jpg", 5, 2_000, version="v1"), "changed"),
        (SEEN, Entry("a.jpg", 5, 1_000), "changed"),
        (SEEN, Entry("a.jpg", 5, 1_000, version="v1", kind=Kind.OTHER), "no regular file"),
        (Entry("a.jpg", 5, 1_000), Entry("a.jpg", 5, 1_000), None),
        (Entry("a.jpg", 5, 1_000), Entry("a.jpg", 5, 1_001), "changed"),
        (Entry("a.jpg", 5), Entry("a.jpg", 5), "does not tell"),
    ],
)
def test_only_what_is_as_it_was_goes(seen: Entry, now: Entry | None, word: str | None) -> None:
    why = why_kept(seen, now)
    if word is None:
        assert why is None
    else:
        assert why is not None
        assert word in why


def of(**digests: str) -> dict[str, str]:
    return digests


def test_duplicates() -> None:
    known = {
        "b/long name.jpg": of(sha256="1"),
        "b/a.jpg": of(sha256="1", blake3="x"),
        "c/a.jpg": of(blake3="x"),
        "other.jpg": of(sha256="2", blake3="y"),
        "untold.jpg": of(),
        "size.jpg": of(sha256="1"),
    }
    entries = [Entry(path, 7 if path == "size.jpg" else 5) for path in known]
    groups, unknown = duplicates.find(entries, lambda entry: known[entry.path])
    assert [(g.keep.path, [e.path for e in g.others], g.evidence) for g in groups] == [
        ("b/a.jpg", ["b/long name.jpg"], "sha256")
    ]
    assert [entry.path for entry in unknown] == ["c/a.jpg", "other.jpg", "untold.jpg"]


def test_nothing_is_a_duplicate_for_its_size_alone() -> None:
    entries = [Entry("a", 5), Entry("b", 5), Entry("empty", 0), Entry("empty too", 0)]
    groups, unknown = duplicates.find(entries, lambda _entry: {})
    assert groups == []
    assert [entry.path for entry in unknown] == ["a", "b"]


def test_a_weak_hash_does_not_outvote_a_strong_one() -> None:
    known = {"a": of(md5="1", sha256="x"), "b": of(md5="1", sha256="y"), "c": of(md5="2"), "d": of(md5="2")}
    groups, _ = duplicates.find([Entry(path, 5) for path in known], lambda entry: known[entry.path])
    assert [(group.keep.path, group.evidence) for group in groups] == [("c", "md5")]


def test_an_edit_belongs_to_its_photo() -> None:
    entries = [Entry(path, 5) for path in ("IMG_1.AAE", "IMG_2.AAE", "IMG_1.JPG.xmp", "IMG_2.JPG.xmp")]
    assert duplicates.find(entries, lambda _entry: of(sha256="1")) == ([], [])


LIVE = {"HEIC": "h", "MOV": "m", "AAE": "e"}


def alike(*folders: str, **other: str) -> dict[str, str]:
    """Path → content of the same Live Photo in several folders; ``other``: of the last one's files."""
    found = {f"{folder}/IMG_1.{kind}": content for folder in folders for kind, content in LIVE.items()}
    return found | {f"{folders[-1]}/IMG_1.{kind}": content for kind, content in other.items()}


def spare(contents: dict[str, str]) -> set[str]:
    entries = [Entry(path, 5) for path in contents]

    def hashes(entry: Entry) -> dict[str, str]:
        return of(sha256=contents[entry.path])

    groups, _ = duplicates.find(entries, hashes)
    found = duplicates.whole(groups, entries, hashes)
    assert all(set(group.held) <= {entry.path for entry in group.others} for group in found)
    return {entry.path for group in found for entry in group.spare}


def test_a_photo_goes_whole_or_stays_whole() -> None:
    assert spare(alike("a", "bb")) == {"bb/IMG_1.HEIC", "bb/IMG_1.MOV", "bb/IMG_1.AAE"}
    for kind in LIVE:
        assert spare(alike("a", "bb", **{kind: "another"})) == set(), kind


def test_one_half_alone_is_no_reason_to_keep_another() -> None:
    contents = alike("a", "bb") | {"cc/IMG_1 (1).HEIC": "h"}
    assert spare(contents) == {"bb/IMG_1.HEIC", "bb/IMG_1.MOV", "bb/IMG_1.AAE", "cc/IMG_1 (1).HEIC"}


def test_halves_that_are_equal_to_halves_of_two_photos_stay() -> None:
    contents = {"a/IMG_1.HEIC": "h", "a/IMG_1.MOV": "1", "b/IMG_2.HEIC": "2", "b/IMG_2.MOV": "m"}
    assert spare(contents | {"cc/IMG_3.HEIC": "h", "cc/IMG_3.MOV": "m"}) == set()


def test_one_name_several_times() -> None:
    """As Google Drive allows."""
    groups, _ = duplicates.find([Entry("a", 5), Entry("a", 6)], lambda _entry: {})
    assert [(group.keep.path, group.evidence) for group in groups] == [("a", "name")]


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        (0, None, (0, 10)),
        (3, None, (3, 7)),
        (-3, None, (7, 3)),
        (-30, None, (0, 10)),
        (30, None, (10, 0)),
        (2, 4, (2, 4)),
        (8, 4, (8, 2)),
        (-4, 2, (6, 2)),
        (0, 0, (0, 0)),
    ],
)
def test_ranges(offset: int, count: int | None, expected: tuple[int, int]) -> None:
    assert ranges.span(10, offset, count) == expected


class Broken:
    """A store whose line breaks after every three bytes."""

    data = b"0123456789" * 5
    version = "v1"

    def open(self, path: str, offset: int = 0) -> "Broken":
        self.at, self.left = offset, 3
        return self

    def read(self, size: int) -> bytes:
        if not self.left:
            raise Transient("broken")
        found = self.data[self.at : self.at + min(size, self.left)]
        self.at, self.left = self.at + len(found), self.left - len(found)
        return found

    def stat(self) -> Entry:
        return Entry("a", len(self.data), version=self.version)

    def close(self) -> None: ...


def call(run: Callable[[], Any], _doing: str) -> Any:
    return run()


def test_a_range_is_read_though_the_line_breaks() -> None:
    store: Any = Broken()
    found = b"".join(ranges.read(store, Entry("a", 50, version="v1"), 2, 47, call))
    assert found == store.data[2:49], "breaks count only while nothing arrives between them"


def test_a_range_of_a_file_that_changes_or_ends() -> None:
    store: Any = Broken()
    with pytest.raises(SourceChanged):
        list(ranges.read(store, Entry("a", 50, version="v0"), 0, 50, call))
    store.stat = lambda: None
    with pytest.raises(SourceChanged):
        list(ranges.read(store, Entry("a", 52, version="v1"), 0, 52, call))


def test_a_range_that_cannot_be_read_is_given_up() -> None:
    store: Any = Broken()
    store.read = lambda _size: (_ for _ in ()).throw(Transient("broken"))
    with pytest.raises(Transient):
        list(ranges.read(store, Entry("a", 50, version="v1"), 0, 50, call))
