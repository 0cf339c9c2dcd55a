"""Checking two places against each other, and a destination against its manifest, over real folders."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from photosync.backends.local import LocalBackend
from photosync.engine import audit, manifest, scan
from photosync.engine.audit import Finding, Result
from photosync.engine.entry import Entry
from photosync.engine.errors import DeviceGone
from photosync.engine.hashing import CHUNK
from photosync.engine.item import Pair
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.names import DROPBOX, POSIX, NameRules
from photosync.engine.nodes import ManifestEntry
from photosync.engine.plan import Policy
from photosync.engine.retry import RetryPolicy
from photosync.engine.source import Source
from photosync.engine.sync import Job, run
from photosync.engine.target import Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Threads, Workers

FILES = {"a.jpg": b"first", "d/b.jpg": b"second", "empty": b"", "big.mov": b"0123456789abcdef" * (CHUNK // 8)}


class Library:
    """A folder, its copy and the journal between them."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there = folder / "here", folder / "there"
        for name, data in FILES.items():
            path = self.here / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.there.mkdir()
        self.source = LocalBackend().store(str(self.here))
        self.destination = LocalBackend().store(str(self.there))
        self.journal = Journal(folder / "journal")
        pair = Pair(self.source, self.destination, "here", "there", "there")
        self.report = run(Job(pair, Policy()), self.journal, Threads(), lambda _event: None)
        assert self.report.status == "ok"

    @contextmanager
    def places(self, how: Verify) -> Iterator[tuple[Source, Target, Workers]]:
        with Workers(Threads()) as workers:
            gate = Gate(workers)
            source = Source(self.source, workers, gate, RetryPolicy(attempts=1), lambda *_: None)
            yield source, Target(self.destination, workers, gate, RetryPolicy(attempts=1), how), workers

    def check(self, *, one_way: bool = False, reread: bool = True) -> dict[str, Finding]:
        with self.places(Verify.AUTO) as (source, target, workers):
            listings = (
                scan.walk(self.source, check=workers.check, is_source=True),
                scan.walk(self.destination, check=workers.check),
            )
            found = audit.check(
                source,
                target,
                self.journal,
                ("here", "there"),
                listings,
                workers,
                one_way=one_way,
                reread=reread,
            )
            return {finding.path: finding for finding in found}

    def audit(self, *, deep: bool = True) -> dict[str, Finding]:
        with self.places(Verify.REREAD) as (_, target, workers):
            root = self.report.root
            assert root is not None
            entries = list(manifest.entries(root, self.journal))
            listing = scan.walk(self.destination, check=workers.check)
            found = audit.audit(target, "there", self.journal, entries, listing, workers, deep=deep)
            return {finding.path: finding for finding in found}


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(tmp_path)
    yield made
    made.journal.close()


def results(found: dict[str, Finding]) -> dict[str, str]:
    return {path: str(finding.result) for path, finding in found.items()}


ALL_MATCH = dict.fromkeys(FILES, "match")


def test_equal_places(library: Library) -> None:
    assert results(library.check()) == ALL_MATCH
    assert results(library.audit()) == ALL_MATCH
    assert {finding.evidence for finding in library.audit().values()} == {"reread"}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_other_bytes_of_the_same_size(library: Library) -> None:
    flip(library.there / "a.jpg", 2)
    expected = {**ALL_MATCH, "a.jpg": "differ"}
    assert results(library.check()) == expected
    assert results(library.audit()) == expected
    assert results(library.audit(deep=False)) == expected


def test_missing_and_extra(library: Library) -> None:
    (library.there / "a.jpg").unlink()
    (library.there / "theirs.txt").write_bytes(b"x")
    expected = {**ALL_MATCH, "a.jpg": "missing", "theirs.txt": "extra"}
    assert results(library.check()) == expected
    assert results(library.audit()) == expected
    assert "theirs.txt" not in library.check(one_way=True)


@pytest.mark.parametrize(("at", "chunk"), [(0, 0), (CHUNK - 1, 0), (CHUNK, 1), (2 * CHUNK - 1, 1)])
@pytest.mark.row(67)
def test_damage_is_located(library: Library, at: int, chunk: int) -> None:
    flip(library.there / "big.mov", at)
    found = library.audit()["big.mov"]
    assert (found.result, found.chunks) == (Result.DIFFER, (chunk,))
    assert f"chunk {chunk}" in found.detail


def test_a_file_cut_short(library: Library) -> None:
    with open(library.there / "big.mov", "r+b") as file:
        file.truncate(CHUNK)
    found = library.audit()["big.mov"]
    assert (found.result, found.chunks) == (Result.DIFFER, (1,))
    assert found.detail == f"cut short: {CHUNK} of {2 * CHUNK} bytes"
    assert library.check()["big.mov"].result is Result.DIFFER


def test_a_file_with_something_after_its_end(library: Library) -> None:
    with open(library.there / "big.mov", "ab") as file:
        file.write(b"!")
    found = library.audit()["big.mov"]
    assert (found.result, found.chunks) == (Result.DIFFER, ())
    assert found.detail.startswith("too long")


def test_a_change_at_the_source_is_found_by_reading_it(library: Library) -> None:
    flip(library.here / "a.jpg", 0)
    assert library.check()["a.jpg"].result is Result.DIFFER


def test_what_vanishes_while_it_is_looked_at_is_missing(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: str, offset: int = 0) -> object:
        raise FileNotFoundError(2, "none", path)

    monkeypatch.setattr(library.destination, "open", gone)
    assert set(results(library.audit()).values()) == {"missing"}


def test_what_cannot_be_read_is_not_known(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str, offset: int = 0) -> object:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(library.destination, "open", broken)
    found = library.audit()
    assert set(results(found).values()) == {"unreadable"}
    assert "Input/output error" in found["a.jpg"].detail
    assert {finding.evidence for finding in found.values()} == {"none"}


def test_a_source_that_is_gone_ends_the_check(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: str, offset: int = 0) -> object:
        raise OSError(19, "No such device", path)

    monkeypatch.setattr(library.source, "open", gone)
    with pytest.raises((DeviceGone, BaseExceptionGroup)) as told:
        library.check()
    assert told.group_contains(DeviceGone) if isinstance(told.value, BaseExceptionGroup) else True


def test_looking_changes_nothing(library: Library) -> None:
    def state() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in library.there.rglob("*"))

    before = state()
    library.check()
    library.audit()
    assert state() == before


# finding what a manifest's entries stand for

NFC, NFD = "Caf\u00e9.jpg", "Cafe\u0301.jpg"


def entry_of(path: str, stored: str | None = None) -> ManifestEntry:
    return ManifestEntry(path, 1, 0, "c" * 64, "s" * 64, ("x" * 32,), stored)


def located(rules: NameRules, *there: str, held: tuple[str, ...]) -> dict[str, str | None]:
    entries = [entry_of(path) for path in held]
    found = audit.Located(scan.Listing([Entry(path) for path in there]), entries, rules)
    return {each.path: place.path if (place := found.find(each)) else None for each in entries}


@pytest.mark.parametrize(
    ("there", "held", "expected"),
    [
        ((NFC,), (NFD,), {NFD: NFC}),
        ((NFC,), (NFC,), {NFC: NFC}),
        ((NFC, "%43af\u00e9.jpg"), (NFD, NFC), {NFD: NFC, NFC: "%43af\u00e9.jpg"}),
        ((NFC, "Cafe%CC%81.jpg"), (NFD, NFC), {NFD: "Cafe%CC%81.jpg", NFC: NFC}),
        (("%43af\u00e9.jpg",), (NFD, NFC), {NFD: None, NFC: "%43af\u00e9.jpg"}),
        ((), (NFD, NFC), {NFD: None, NFC: None}),
    ],
)
def test_a_service_that_composes_names(
    there: tuple[str, ...], held: tuple[str, ...], expected: dict[str, str | None]
) -> None:
    assert located(DROPBOX, *there, held=held) == expected


def test_a_name_whose_accents_are_escaped_is_alike_too() -> None:
    """Two machines may have escaped different ones of two names that differ in their normal form only."""
    twins = NFD, "Cafe%CC%81.jpg"
    found = audit.Located(scan.Listing([Entry(path) for path in twins]), [entry_of(NFD)], DROPBOX)
    assert {entry.path for entry in found.alike(entry_of(NFD))} == set(twins)


def test_a_disk_that_composes_nothing() -> None:
    assert located(POSIX, NFC, held=(NFD, NFC)) == {NFD: None, NFC: NFC}
    assert located(POSIX, NFC, NFD, held=(NFD, NFC)) == {NFD: NFD, NFC: NFC}


def test_escaped_and_shortened_names() -> None:
    assert located(DROPBOX, "%74win.jpg", "TWIN.JPG", held=("twin.jpg", "TWIN.JPG")) == {
        "twin.jpg": "%74win.jpg",
        "TWIN.JPG": "TWIN.JPG",
    }
    short = entry_of("l" * 300, stored="lll%~0123")
    found = audit.Located(scan.Listing([Entry("lll%~0123")]), [short], POSIX)
    assert found.find(short) == Entry("lll%~0123")
