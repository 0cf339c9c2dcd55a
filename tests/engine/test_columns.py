"""Files in columns are the files that went in, and are found among them as in a dictionary."""

from array import array
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from photosync.engine.columns import Columns
from photosync.engine.entry import LARGEST, Entry, Files, Kind, PackedFiles
from photosync.engine.journal import key
from photosync.engine.names import ANY, DRIVE, DROPBOX, POSIX, S3, NameRules, decode, match_key
from photosync.engine.there import Claims, There

names = st.sampled_from(
    ["a", "A", "b.jpg", "é", "e\u0301", "É", "\udcff", "x-y", "%41", "~", "straße", "STRASSE", "\u200bb.jpg"]
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
files = st.builds(
    Entry,
    paths,
    st.integers(0, LARGEST),
    st.none() | st.integers(-LARGEST, LARGEST),
    st.dictionaries(st.sampled_from(["sha256", "md5"]), st.sampled_from(["00", "ff"]), max_size=2),
    st.none() | st.sampled_from(["", "=", "v", "\udcff", "\ud800", "a\0b"]),
    note=st.sampled_from(["", "", "", "told"]),
)
listings = st.lists(files, max_size=40, unique_by=lambda entry: entry.path)
unhurried = settings(deadline=None)


@given(listings)
@unhurried
def test_what_went_in_comes_out_in_order(entries: list[Entry]) -> None:
    expected = sorted(entries, key=lambda entry: key(entry.path))
    packed = Columns(entries).sorted()
    assert list(packed) == [packed[row] for row in range(len(packed))] == expected
    assert packed == expected
    assert packed[1:-1] == expected[1:-1]
    assert list(packed.paths()) == [entry.path for entry in expected]
    seen = [(entry.path, entry.size, entry.mtime_ns, entry.version) for entry in expected]
    assert list(packed.rows()) == seen
    assert Columns.of(packed) is packed
    assert packed != expected[1:] or not expected


@given(st.lists(files, max_size=40))
@unhurried
def test_of_a_path_that_is_there_twice_the_later_one_counts(entries: list[Entry]) -> None:
    last = {entry.path: entry for entry in entries}
    expected = sorted(last.values(), key=lambda entry: key(entry.path))
    assert list(Columns(entries).sorted()) == list(Columns.of(entries)) == expected


plain = st.builds(
    Entry,
    st.lists(st.sampled_from(["a", "b.jpg", "x-y", "~"]), min_size=1, max_size=3).map("/".join),
    st.integers(0, LARGEST),
    st.integers(-LARGEST, LARGEST),
    version=st.sampled_from(["", "=", "v", "\ud800", "a\0b"]),
)


def of_one_folder(entries: list[Entry]) -> list[tuple[str, Entry]]:
    """They have names of one folder, in order."""
    return sorted({f"b.jpg/{entry.path.replace('/', '-')}": entry for entry in entries}.items())


def packed_files(entries: list[Entry]) -> PackedFiles:
    paths, versions = ([getattr(e, name).encode() for e in entries] for name in ("path", "version"))
    return PackedFiles(
        b"".join(path + b"\0" for path in paths),
        array("q", [len(path) + 1 for path in paths]),
        array("q", [entry.size for entry in entries]),
        array("q", [entry.mtime_ns or 0 for entry in entries]),
        b"".join(b"=" + version for version in versions),
        array("q", [len(version) + 1 for version in versions]),
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["times", "none", "packed", "one by one"]), st.lists(plain | files, max_size=6)
        )
    )
)
@unhurried
def test_columns_are_appended_as_their_rows_are(pages: list[tuple[str, list[Entry]]]) -> None:
    packed, singly = Columns(), Columns()
    for how, entries in pages:
        of = [
            e for e in entries if e.path.isascii() and e.version is not None and not e.digests and not e.note
        ]
        if how in ("times", "packed"):
            of = [entry for entry in of if entry.mtime_ns is not None]
        if how == "one by one" or not of:
            for entry in entries:
                packed.append(entry)
                singly.append(entry)
            continue
        if how == "packed":
            of = [Entry(path, e.size, e.mtime_ns, version=str(e.size)) for path, e in of_one_folder(of)]
            together = packed_files(of)
            assert list(together.entries()) == of
            packed.extend_packed(together)
            for entry in of:
                singly.append(entry)
            continue
        times = [entry.mtime_ns for entry in of if entry.mtime_ns is not None] if how == "times" else None
        made = Files([e.path for e in of], [e.size for e in of], times, [e.version or "" for e in of])
        packed.extend(made, "\0".join(made.paths))
        for entry in made.entries():
            singly.append(entry)
    assert list(packed) == list(singly)
    assert list(packed.rows()) == list(singly.rows())
    assert list(packed.sorted()) == list(singly.sorted())
    last = {entry.path: entry for entry in singly}
    assert list(packed.sorted()) == sorted(last.values(), key=lambda entry: key(entry.path))


def test_more_rows_than_are_made_together() -> None:
    entries = [
        Entry(f"{n // 900:02d}/{n:05d}", n, n % 7 or None, version="v" if n % 5 == 4 else None)
        for n in range(3000)
    ]
    packed = Columns(entries)
    assert list(packed) == entries
    assert [row[3] for row in packed.rows()] == [entry.version for entry in entries]
    assert list(packed.paths(1020, 2060)) == [entry.path for entry in entries[1020:2060]]
    assert [(run.start, run.stop, run.folder) for run in packed.runs()] == [
        (0, 900, "00"), (900, 1800, "01"), (1800, 2700, "02"), (2700, 3000, "03"),
    ]  # fmt: skip


def test_another_kind_stays_what_it_is() -> None:
    link = Entry("b", kind=Kind.OTHER, note="a symbolic link")
    packed = Columns([Entry("a"), link])
    assert [packed[1], *packed] == [link, Entry("a"), link]


@given(listings)
@unhurried
def test_runs_are_the_files_of_one_folder(entries: list[Entry]) -> None:
    packed = Columns(entries).sorted()
    runs = packed.runs()
    assert [row for run in runs for row in range(run.start, run.stop)] == list(range(len(packed)))
    for run in runs:
        assert {path.rpartition("/")[0] for path in packed.paths(run.start, run.stop)} == {run.folder}
    for before, after in pairwise(runs):
        assert before.folder != after.folder


@given(listings, st.sampled_from([ANY, DROPBOX, POSIX, S3, DRIVE]), st.sets(paths))
@unhurried
def test_files_are_found_as_in_a_dictionary(entries: list[Entry], rules: NameRules, claims: set[str]) -> None:
    expected = sorted(entries, key=lambda entry: key(entry.path))
    known = {match_key(entry.path, rules): entry for entry in expected}
    there = There(entries, rules)
    assert len(there) == len(known)
    assert list(there.items()) == list(known.items())
    for place in [*known, "nothing", "a/nothing"]:
        assert there.get(place) == known.get(place)
        assert (place in there) == (place in known)
        path = known[place].path if place in known else ""
        assert there.own_name(place) == (path if path.isascii() and path and decode(path) == path else None)
    last = {place: row for row, place in enumerate(there.place(entry.path) for entry in expected)}
    assert there.shadowed() == set(range(len(expected))) - set(last.values())
    told = dict(there.names())
    folders = {path.rpartition("/")[0] for path in told.values()}
    for place, entry in known.items():
        assert told.get(place, entry.path) == entry.path
        assert place in told or (there.own_name(place) == entry.path)
        assert entry.path.rpartition("/")[0] in folders

    claimed = Claims(there)
    for number, path in enumerate(sorted(claims, key=key)):
        row = there.row(there.place(path))
        if number % 2 and row is not None:
            claimed.settle(row)
        else:
            claimed.add(there.place(path))
    taken = {there.place(path) for path in claims}
    assert {place for place in [*known, *taken] if place in claimed} == taken
    assert list(claimed.free()) == [pair for pair in known.items() if pair[0] not in taken]
    assert list(claimed.free("~")) == [
        pair for pair in known.items() if pair[0] not in taken and "~" in pair[1].path
    ]
