"""A place that lists columns shows what it would show file by file, however hostile."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photosync.backends.s3_objects import entry_of, files_of, is_marker
from photosync.engine.capabilities import Capabilities, Reader
from photosync.engine.entry import LARGEST, Entry, Files
from photosync.engine.names import OURS, is_ours, is_ours_among_plain
from photosync.engine.scan import flat, walk

part = st.sampled_from(
    [
        "a",
        "b.jpg",
        ".",
        "..",
        "",
        "...",
        OURS,
        ".PhotoSync-x",
        f"{OURS}-0a.part",
        "\0",
        "\udcff",
        "\ud800",
        "\u00e9",
    ]
)
paths = st.lists(part, min_size=1, max_size=3).map("/".join)
sizes = st.sampled_from([0, 1, LARGEST, LARGEST + 1, -1])
times = st.sampled_from([0, LARGEST, -LARGEST - 1, LARGEST + 1])
rows = st.lists(st.tuples(paths | st.sampled_from(["c", "d"]), sizes, times), max_size=4)


class Singly:
    """A place that lists file by file."""

    capabilities = Capabilities()

    def __init__(self, files: Files) -> None:
        self.files = files

    def list_folder(self, path: str) -> list[Entry]:
        return list(self.files.entries())

    def list_tree(self) -> Iterator[Entry]:
        return self.files.entries()

    def open(self, path: str, offset: int = 0) -> Reader:
        raise NotImplementedError


class Together(Singly):
    """One that lists columns, too."""

    def list_folder_files(self, path: str) -> Files:
        return self.files

    def list_tree_files(self) -> Iterator[Files]:
        return iter([self.files])


@given(rows, st.booleans(), st.booleans())
@settings(deadline=None)
def test_columns_are_checked_as_files_are(
    listed: list[tuple[str, int, int]], is_source: bool, timed: bool
) -> None:
    files = Files(
        [path for path, _, _ in listed],
        [size for _, size, _ in listed],
        [time for _, _, time in listed] if timed else None,
        ["v"] * len(listed),
    )
    for own in (is_ours, is_ours_among_plain):
        one, other = (
            walk(store, check=lambda: None, is_source=is_source, own=own)
            for store in (Singly(files), Together(files))
        )
        assert one == other
        assert flat(Singly(files), check=lambda: None, own=own) == flat(  # type: ignore[arg-type]
            Together(files),  # type: ignore[arg-type]
            check=lambda: None,
            own=own,
        )


@pytest.mark.parametrize("is_source", [True, False])
@pytest.mark.parametrize(
    "odd",
    [
        ("caf\u00e9", 0, 0), ("\udcff", 0, 0), (chr(0xD800), 0, 0), ("a\0b", 0, 0), ("\0", 0, 0), ("", 0, 0),
        ("a/", 0, 0), ("a/../b", 0, 0), ("/a", 0, 0), (".", 0, 0), (f"{OURS}/x", 0, 0),
        (f"x/{OURS}-0a.part", 0, 0), (".PHOTOSYNC", 0, 0), ("x", -1, 0), ("x", LARGEST + 1, 0),
        ("x", 0, LARGEST + 1), ("x", 0, -LARGEST - 1),
    ],
)  # fmt: skip
def test_one_odd_file_among_plain_ones(odd: tuple[str, int, int], is_source: bool) -> None:
    for listed in ([odd], [("b", 1, 1), odd, ("d", 2, 2)]):
        files = Files(
            [path for path, _, _ in listed],
            [size for _, size, _ in listed],
            [time for _, _, time in listed],
            ["v"] * len(listed),
        )
        one, other = (
            walk(store, check=lambda: None, is_source=is_source) for store in (Singly(files), Together(files))
        )
        assert one == other
        assert [one.entries[at] for at in range(len(one.entries))] == [
            other.entries[at] for at in range(len(other.entries))
        ]


@pytest.mark.parametrize(
    "odd",
    [{"Key": "x/"}, {"Key": ""}, {"Key": "a//b"}, {"Key": "../b"}, {"StorageClass": "GLACIER"}, {"ETag": ""}],
)
def test_a_page_of_objects_is_what_its_objects_are(odd: dict[str, str]) -> None:
    objects = [{"Key": "a", "Size": 1, "ETag": '"1"'}, {"Key": "b", "Size": 0, "ETag": "2", **odd}]
    for page in (objects, objects[:1], []):
        files = files_of([str(found["Key"]) for found in page], page)
        expected = [entry_of(str(found["Key"]), found) for found in page if not is_marker(found)]
        assert [*files.entries(), *files.others] == expected
    assert not files_of(["a"], objects[:1]).others
