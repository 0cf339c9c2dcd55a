"""What may be freed, and that dying anywhere on the way loses nothing."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from photosync.backends.local import LocalBackend
from photosync.engine import scan, spared
from photosync.engine.capabilities import Store
from photosync.engine.entry import Entry
from photosync.engine.errors import SourceChanged, Transient
from photosync.engine.freeup import Candidate, Copies, FreeUp, choose, recover
from photosync.engine.item import Pair
from photosync.engine.journal import Delivery, Journal
from photosync.engine.limits import Gate
from photosync.engine.plan import Mode, Policy
from photosync.engine.retry import RetryPolicy
from photosync.engine.source import Source
from photosync.engine.sync import Job, run
from photosync.engine.target import Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Threads, Workers

FILES = {"IMG_1.HEIC": b"picture", "IMG_1.MOV": b"moving picture", "IMG_2.JPG": b"another"}
LIVE = ("IMG_1.HEIC", "IMG_1.MOV")
ONCE = RetryPolicy(attempts=1)


class Killed(BaseException):
    """The process dies here."""


class Deleting:
    """Deletes in a folder; dies at a given call, before or after it did."""

    def __init__(self, folder: Path, dies_before: int = -1, dies_after: int = -1) -> None:
        self.folder, self.dies_before, self.dies_after = folder, dies_before, dies_after
        self.calls = 0

    def remove(self, entry: Entry) -> None:
        self.calls += 1
        if self.calls == self.dies_before:
            raise Killed
        (self.folder / entry.path).unlink()
        if self.calls == self.dies_after:
            raise Killed


class Phone:
    """A phone that was copied to two disks, and everything that free-up needs."""

    def __init__(self, folder: Path, stack: ExitStack, copies: int = 2) -> None:
        self.folder = folder / "phone"
        self.disks = [folder / f"disk-{number}" for number in range(copies)]
        for name, data in FILES.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.store: Store = LocalBackend().store(str(self.folder))
        self.journals = []
        for number, disk in enumerate(self.disks):
            disk.mkdir(exist_ok=True)
            journal = stack.enter_context(Journal(folder / f"journal-{number}"))
            self.journals.append(journal)
            pair = Pair(self.store, LocalBackend().store(str(disk)), "phone", f"disk-{number}", disk.name)
            assert run(Job(pair, Policy()), journal, Threads(), lambda _event: None).status == "ok"
        self.workers = stack.enter_context(Workers(Threads()))
        self.ledger = stack.enter_context(Journal(folder / "ledger"))

    def copies(self) -> list[Copies]:
        return [
            Copies(
                disk.name,
                disk.name,
                Target(LocalBackend().store(str(disk)), self.workers, Gate(self.workers), ONCE, Verify.AUTO),
                journal,
                disk.name,
                {each.path: each for each in journal.deliveries("phone", disk.name)},
            )
            for disk, journal in zip(self.disks, self.journals, strict=True)
        ]

    def listed(self) -> dict[str, Entry]:
        found = scan.walk(self.store, check=lambda: None, is_source=True)
        return {entry.path: entry for entry in found.entries}

    def candidates(self) -> list[Candidate]:
        there = self.listed()
        live = tuple(there[name] for name in LIVE if name in there)
        others = [(entry,) for name, entry in there.items() if name not in LIVE]
        return choose([members for members in (live, *others) if members], self.copies(), 2)[0]

    def free(self, remover: Deleting | None = None) -> FreeUp:
        source = Source(self.store, self.workers, Gate(self.workers), ONCE, lambda _path, _size: None)
        witnesses = [(journal, disk.name) for journal, disk in zip(self.journals, self.disks, strict=True)]
        return FreeUp(source, remover or Deleting(self.folder), self.ledger, witnesses, "phone", 2)

    def told(self) -> list[set[str]]:
        """What each disk itself says is to stay."""
        return [set(spared.read(each.identity, each.journal, each.target)) for each in self.copies()]

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def phone(tmp_path: Path, stack: ExitStack) -> Phone:
    return Phone(tmp_path, stack)


def test_what_is_proven_twice_is_freed(phone: Phone) -> None:
    done = list(phone.free().run(phone.candidates()))
    assert [freed.reason for freed in done] == ["", ""]
    assert phone.names() == set()
    assert done[0].evidence == {"disk-0": "reread", "disk-1": "reread"}
    assert phone.ledger.intended("phone") == []
    for journal, disk in zip(phone.journals, phone.disks, strict=True):
        assert journal.kept("phone", disk.name) == set(FILES)


def test_each_place_is_told_before_anything_goes(phone: Phone) -> None:
    class Looking(Deleting):
        def remove(self, entry: Entry) -> None:
            assert all(entry.path in told for told in phone.told())
            super().remove(entry)

    remover = Looking(phone.folder)
    list(phone.free(remover).run(phone.candidates()))
    assert remover.calls == 3
    assert phone.told() == [set(FILES), set(FILES)]


@pytest.mark.row(8, 61)
def test_sync_without_the_journal_keeps_what_was_freed(phone: Phone, tmp_path: Path) -> None:
    list(phone.free().run(phone.candidates()))
    (phone.folder / "IMG_2.JPG").write_bytes(b"the name is used again")
    (phone.disks[0] / "extra").write_bytes(b"nobody's")
    for number, disk in enumerate(phone.disks):
        pair = Pair(phone.store, LocalBackend().store(str(disk)), "phone", disk.name, disk.name)
        with Journal(tmp_path / f"new-{number}") as journal:
            run(Job(pair, Policy(Mode.SYNC)), journal, Threads(), lambda _event: None)
        there = {path.name: path.read_bytes() for path in disk.iterdir() if path.is_file()}
        assert there.items() >= FILES.items()
        assert b"the name is used again" in there.values()
        assert "extra" not in there


def test_sync_keeps_a_freed_photo_that_was_renamed_where_it_is(phone: Phone) -> None:
    list(phone.free().run(phone.candidates()))
    (phone.folder / "IMG_9.JPG").write_bytes(b"new, so that it is not empty")
    for journal, disk in zip(phone.journals, phone.disks, strict=True):
        (disk / "IMG_2.JPG").rename(disk / "the best.jpg")
        (disk / "extra").write_bytes(b"nobody's, of another size")
        pair = Pair(phone.store, LocalBackend().store(str(disk)), "phone", disk.name, disk.name)
        run(Job(pair, Policy(Mode.SYNC), allow_shrunken=True), journal, Threads(), lambda _event: None)
        there = {path.name for path in disk.iterdir() if path.is_file()}
        assert there == {*LIVE, "the best.jpg", "IMG_9.JPG"}


@pytest.mark.row(61)
def test_what_stays_is_unreadable(phone: Phone, tmp_path: Path) -> None:
    list(phone.free().run(phone.candidates()))
    file = phone.disks[0] / ".photosync" / "FREED"
    good = file.read_bytes()
    (phone.folder / "IMG_9.JPG").write_bytes(b"new")
    pair = Pair(phone.store, LocalBackend().store(str(phone.disks[0])), "phone", "disk-0", "disk-0")
    for wrong in (good[:-3], b"", good.replace(b"IMG_1", b"IMG_7"), good.replace(b": 1", b": 2")):
        file.write_bytes(wrong)
        with Journal(tmp_path / f"new-{len(wrong)}") as journal:
            report = run(Job(pair, Policy(Mode.SYNC)), journal, Threads(), lambda _event: None)
        assert "FREED" in str(report.fatal)
        assert (phone.disks[0] / "IMG_1.HEIC").exists()
        assert file.read_bytes() == wrong


def test_the_documented_example_is_true() -> None:
    document = Path(__file__).parents[2] / "docs" / "manifest-format.md"
    (example,) = re.findall(r"```freed\n(.*?)```", document.read_text(), re.S)
    paths = {"DCIM/IMG_0264.JPG", "DCIM/IMG_0265.JPG", "DCIM/\udcff"}
    assert spared.encode(paths) == example.encode()
    assert spared.decode(example.encode()) == paths


def test_two_machines_tell_one_place(phone: Phone) -> None:
    """One writes between the other's look and its write."""
    here, other = phone.copies()[0], phone.copies()[0]
    place = here.identity, here.journal, here.target
    store = here.target.store
    real, told = store.replace_small, []

    def replace_small(path: str, data: bytes, replaces: str | None) -> str | None:
        if not told:
            told.append(spared.edit(other.identity, other.journal, other.target, {"theirs"}))
        return real(path, data, replaces)

    store.replace_small = replace_small  # type: ignore[method-assign]
    assert spared.edit(*place, {"ours"}) == {"ours"}
    assert told == [{"theirs"}]
    assert spared.read(*place) == {"ours", "theirs"}


def test_a_place_that_cannot_be_told_does_not_count(phone: Phone) -> None:
    file = phone.disks[1] / ".photosync" / "FREED"
    file.write_bytes(b"{}")
    done = list(phone.free().run(phone.candidates()))
    assert phone.names() == set(FILES)
    assert all("cannot be told" in freed.reason for freed in done)
    file.unlink()
    assert phone.told() == [set(), set()]


def test_what_others_freed_is_never_taken_back(phone: Phone) -> None:
    for each in phone.copies():
        spared.edit(each.identity, each.journal, each.target, {"IMG_1.MOV", "theirs"})
    candidates = phone.candidates()
    (phone.disks[1] / "IMG_1.MOV").write_bytes(b"damaged")
    list(phone.free().run(candidates))
    assert phone.told() == [{"IMG_1.MOV", "theirs", "IMG_2.JPG"}] * 2


def test_a_place_out_of_reach_is_told_later(phone: Phone) -> None:
    away = phone.copies()[1]
    phone.journals[1].set_kept("phone", "disk-1", "IMG_2.JPG")
    (phone.folder / "IMG_2.JPG").unlink()
    pair = Pair(phone.store, LocalBackend().store(str(phone.disks[1])), "phone", "disk-1", "disk-1")
    run(Job(pair, Policy()), phone.journals[1], Threads(), lambda _event: None)
    assert spared.read(away.identity, away.journal, away.target) == {"IMG_2.JPG"}
    assert phone.journals[1].untold("disk-1") == []


@pytest.mark.row(17, 55)
def test_a_copy_that_is_gone_keeps_the_whole_photo(phone: Phone) -> None:
    candidates = phone.candidates()
    (phone.disks[1] / "IMG_1.MOV").unlink()
    done = list(phone.free().run(candidates))
    assert phone.names() == set(LIVE)
    assert "IMG_1.MOV is gone" in done[0].reason
    assert done[0].deleted == ()
    for journal, disk in zip(phone.journals, phone.disks, strict=True):
        assert journal.kept("phone", disk.name) == {"IMG_2.JPG"}


def test_a_copy_with_other_bytes_keeps_it(phone: Phone) -> None:
    candidates = phone.candidates()
    (phone.disks[0] / "IMG_2.JPG").write_bytes(b"ANOTHER")
    list(phone.free().run(candidates))
    assert phone.names() == {"IMG_2.JPG"}


@pytest.mark.row(7, 13)
def test_other_bytes_on_the_phone_keep_it(phone: Phone) -> None:
    candidates = phone.candidates()
    (phone.folder / "IMG_2.JPG").write_bytes(b"ANOTHER")
    # A phone's mount has no change times: all that was listed looks as before.
    now = phone.listed()["IMG_2.JPG"]
    seen = [
        replace(each, members=tuple(now if entry.path == now.path else entry for entry in each.members))
        for each in candidates
    ]
    done = list(phone.free().run(seen))
    assert phone.names() == {"IMG_2.JPG"}
    assert "other bytes on the phone" in done[1].reason


def test_a_file_that_changed_since_it_was_listed_stays(phone: Phone) -> None:
    candidates = phone.candidates()
    (phone.folder / "IMG_1.MOV").write_bytes(b"longer than before, and later")
    done = list(phone.free().run(candidates))
    assert phone.names() == set(LIVE)
    assert "changed" in done[0].reason


def test_a_remover_that_refuses_half_way_is_told(phone: Phone) -> None:
    class Refusing(Deleting):
        def remove(self, entry: Entry) -> None:
            if entry.path == "IMG_1.MOV":
                raise SourceChanged("IMG_1.MOV changed")
            super().remove(entry)

    done = list(phone.free(Refusing(phone.folder)).run(phone.candidates()))
    assert [entry.path for entry in done[0].deleted] == ["IMG_1.HEIC"]
    assert done[0].reason
    assert phone.names() == {"IMG_1.MOV"}
    assert phone.journals[0].kept("phone", "disk-0") == {"IMG_1.HEIC", "IMG_2.JPG"}


@pytest.mark.parametrize("lost", [Transient("no answer"), OSError(5, "EIO"), FileNotFoundError(2, "gone")])
@pytest.mark.row(60)
def test_a_deletion_whose_answer_was_lost(phone: Phone, lost: Exception) -> None:
    class Losing(Deleting):
        def remove(self, entry: Entry) -> None:
            super().remove(entry)
            if entry.path == "IMG_1.HEIC":
                raise lost

    done = list(phone.free(Losing(phone.folder)).run(phone.candidates()))
    assert phone.names() == {"IMG_1.MOV"}
    assert done[0].deleted == ()
    assert "shows the next run" in done[0].reason
    for journal, disk in zip(phone.journals, phone.disks, strict=True):
        assert journal.kept("phone", disk.name) == {"IMG_1.HEIC", "IMG_2.JPG"}
    assert phone.told() == [{"IMG_1.HEIC", "IMG_2.JPG"}] * 2
    assert recover(phone.ledger, "phone", phone.listed()) == ["IMG_1.HEIC"]


def entry(path: str, size: int = 5, mtime_ns: int | None = 1000) -> Entry:
    return Entry(path, size, mtime_ns)


def place(name: str, *entries: Entry, domain: str = "", evidence: str = "reread") -> Copies:
    delivered = {
        each.path: Delivery(each.path, each.size, each.mtime_ns, None, "c", each.path, None, evidence)
        for each in entries
    }
    return Copies(name, domain or name, None, None, name, delivered)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("copies", "reason"),
    [
        ([], "0 of 2"),
        ([place("a", entry("p"))], "1 of 2"),
        ([place("a", entry("p"), domain="disk"), place("b", entry("p"), domain="disk")], "1 of 2"),
        ([place("a", entry("p")), place("b", entry("p"), evidence="none")], "1 of 2"),
        ([place("a", entry("p")), place("b", entry("p", size=6))], "1 of 2"),
        ([place("a", entry("p")), place("b", entry("p", mtime_ns=7))], "1 of 2"),
        ([place("a", entry("p")), place("b", entry("other"))], "1 of 2"),
    ],
)
def test_receipts_that_do_not_suffice(copies: list[Copies], reason: str) -> None:
    candidates, kept = choose([(entry("p"),)], copies, 2)
    assert not candidates
    assert reason in kept[0].reason


@pytest.mark.row(17)
def test_all_files_of_a_photo_or_none() -> None:
    copies = [place("a", entry("p"), entry("q")), place("b", entry("p"), entry("q")), place("c", entry("p"))]
    candidates, kept = choose([(entry("p"), entry("q"))], copies, 3)
    assert not candidates
    assert "2 of 3" in kept[0].reason
    candidates, _ = choose([(entry("p"), entry("q"))], copies, 2)
    assert [each.name for each in candidates[0].copies] == ["a", "b"]


@pytest.mark.row(14)
def test_what_never_goes() -> None:
    copies = [place("a", entry("p", 0), entry("q")), place("b", entry("p", 0), entry("q"))]
    assert "empty" in choose([(entry("p", 0),)], copies, 2)[1][0].reason
    assert "young" in choose([(entry("q"),)], copies, 2, older_than_ns=1000)[1][0].reason
    assert choose([(entry("q"),)], copies, 2, older_than_ns=1001)[0]
    assert (
        choose([(entry("q"),)], copies, 2, suspicious=lambda _entry: "cut short")[1][0].reason == "cut short"
    )
    for too_few in (0, -1):
        with pytest.raises(ValueError, match="without a copy"):
            choose([(entry("q"),)], copies, too_few)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.row(59, 60)
def test_dying_at_each_deletion(tmp_path: Path, number: int, when: str) -> None:
    with ExitStack() as stack:
        phone = Phone(tmp_path, stack)
        remover = Deleting(phone.folder, **{f"dies_{when}": number})
        with pytest.raises(Killed):
            list(phone.free(remover).run(phone.candidates()))
        left = phone.names()
        # Nothing that a later sync could take for a wish to delete the copies.
        for journal, disk in zip(phone.journals, phone.disks, strict=True):
            assert journal.kept("phone", disk.name) >= set(FILES) - left
        free = phone.free()
        gone = set(recover(phone.ledger, "phone", phone.listed()))
        assert gone == ({"IMG_1.HEIC", "IMG_1.MOV", "IMG_2.JPG"} - left if when == "after" else set()) & gone
        assert not gone & left
        assert phone.ledger.intended("phone") == []
        list(free.run(phone.candidates()))
        assert phone.names() == set()
        for disk in phone.disks:
            assert {path.name: path.read_bytes() for path in disk.iterdir() if path.is_file()} == FILES


@pytest.mark.row(59)
def test_what_is_about_to_go_is_written_down_first(phone: Phone) -> None:
    class Looking(Deleting):
        def remove(self, entry: Entry) -> None:
            for file, table in (("ledger", "frees"), ("journal-0", "kept")):
                with contextlib.closing(sqlite3.connect(phone.folder.parent / file)) as other:
                    written = [bytes(path).decode() for (path,) in other.execute(f"SELECT path FROM {table}")]
                assert entry.path in written
            super().remove(entry)

    remover = Looking(phone.folder)
    list(phone.free(remover).run(phone.candidates()))
    assert remover.calls == 3
