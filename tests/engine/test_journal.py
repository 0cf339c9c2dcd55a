"""The journal: what it remembers, what a crash costs, and what it says of files it cannot use."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from photosync.engine.capabilities import Changes
from photosync.engine.entry import Entry
from photosync.engine.errors import Fatal
from photosync.engine.hashing import CHUNK, fingerprint
from photosync.engine.journal import GROUP, INTERVAL, Delivery, Journal, JournalError, PendingUpload, key
from photosync.engine.scan import fed
from tests.engine.rig import entry, simulate


def delivery(path: str, stored: str | None = None, content: str = "c" * 64) -> Delivery:
    return Delivery(path, 10, 1, None, content, stored or path, "v1", "reread")


def others_see(path: Path) -> int:
    """Deliveries that a second connection sees, which is what would be left after a kill now."""
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT count(*) FROM deliveries").fetchone()[0])
    finally:
        db.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Tokens of uploads are in it."""
    before = os.umask(0o022)
    try:
        journal = Journal(tmp_path / "j")
        journal.set_upload("a", "b", entry("v.mp4"), PendingUpload("v.mp4", "token", {}))
        journal.flush()
    finally:
        os.umask(before)
    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == dict.fromkeys(
        [file.name for file in tmp_path.iterdir()], 0o600
    )
    assert len(list(tmp_path.iterdir())) > 1
    journal.close()


# groups


def test_writes_are_committed_in_groups(tmp_path: Path) -> None:
    path = tmp_path / "j"

    def body(seam: object) -> None:
        journal = Journal(path, seam)  # type: ignore[arg-type]
        journal.set_delivery("a", "b", delivery("first"))
        assert others_see(path) == 0
        for number in range(GROUP):
            journal.set_delivery("a", "b", delivery(str(number)))
        assert others_see(path) >= GROUP // 2
        journal.close()
        assert others_see(path) == GROUP + 1

    simulate(body)


def test_writes_are_committed_after_a_while(tmp_path: Path) -> None:
    def body(seam: object) -> None:
        journal = Journal(tmp_path / "j", seam)  # type: ignore[arg-type]
        journal.set_delivery("a", "b", delivery("first"))
        seam.now += INTERVAL  # type: ignore[attr-defined]
        journal.set_delivery("a", "b", delivery("second"))
        assert others_see(tmp_path / "j") >= 1
        journal.close()

    simulate(body)


def test_flush_and_uploads_outlive_the_process_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.set_delivery("a", "b", delivery("x"))
        journal.flush()
        assert others_see(tmp_path / "j") == 1
        journal.set_delivery("a", "b", delivery("y"))
        journal.set_upload("a", "b", entry("z"), PendingUpload("z", "token", {}))
        assert others_see(tmp_path / "j") == 2


def test_a_kill_loses_at_most_the_last_group(tmp_path: Path) -> None:
    child = """
import os, pathlib, sys
from photosync.engine.journal import Delivery, Journal
journal = Journal(pathlib.Path(sys.argv[1]))
for number in range(5000):
    name = f"{number:05}"
    journal.set_delivery("a", "b", Delivery(name, 10, 1, None, "c", name, None, "reread"))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", child, str(tmp_path / "j")], check=False)
    with Journal(tmp_path / "j") as journal:
        assert journal._rows("PRAGMA integrity_check") == [("ok",)]
        names = [found.path for found in journal.deliveries("a", "b")]
    assert names == [f"{number:05}" for number in range(len(names))]
    assert 5000 - GROUP <= len(names) <= 5000


# what it remembers


def test_deliveries_are_sorted_by_bytes_and_undecodable_names_survive(tmp_path: Path) -> None:
    names = ["b", "a/z", "a b", "\udcff.jpg", "é.jpg", "😀", "a"]
    with Journal(tmp_path / "j") as journal:
        for name in names:
            journal.set_delivery("a", "b", delivery(name, stored=f"x/{name}"))
        journal.set_delivery("a", "elsewhere", delivery("other"))
    with Journal(tmp_path / "j") as journal:
        found = list(journal.deliveries("a", "b"))
    assert [each.path for each in found] == sorted(names, key=key)
    assert [each.stored for each in found] == [f"x/{each.path}" for each in found]


def test_a_delivery_survives_unchanged(tmp_path: Path) -> None:
    one = Delivery("p", 10, None, "ctime", "c" * 64, "q", None, "server-hash:dropbox")
    with Journal(tmp_path / "j") as journal:
        journal.set_delivery("a", "b", one)
        assert list(journal.deliveries("a", "b")) == [one]
        assert journal.stored_names("b") == ["q"]
        journal.forget_delivery("a", "b", "p")
        assert list(journal.deliveries("a", "b")) == []


def test_the_hash_cache_answers_for_the_very_state_only() -> None:
    found = fingerprint(b"x" * (CHUNK + 1), ["dropbox"])
    seen = Entry("p", CHUNK + 1, 5, version="v")
    with Journal(None) as journal:
        journal.set_content("a", seen, found)
        assert journal.content("a", seen) == found
        assert journal.content("b", seen) is None
        for other in (
            Entry("p", CHUNK, 5, version="v"),
            Entry("p", CHUNK + 1, 6, version="v"),
            Entry("p", CHUNK + 1, 5),
        ):
            assert journal.content("a", other) is None


def test_uploads_are_found_for_the_very_state_only() -> None:
    with Journal(None) as journal:
        begun = PendingUpload("x/p", "token", {0: "aa", 3: "bb"})
        journal.set_upload("a", "b", entry("p"), begun)
        assert journal.upload("a", "b", entry("p")) == begun
        assert journal.upload("a", "b", entry("p", mtime_ns=2)) is None
        assert journal.uploads("b") == [("p", "token")]
        journal.forget_upload("a", "b", "p")
        assert journal.upload("a", "b", entry("p")) is None


def test_unrecorded_tells_copies_and_withdrawals_until_they_are_recorded() -> None:
    found = fingerprint(b"data")
    with Journal(None) as journal:
        source = Entry("p", 4, 1)
        one = Delivery("p", 4, 1, None, found.content, "p", None, "reread")
        journal.set_content("a", source, found)
        journal.set_delivery("a", "b", one)
        journal.set_withdrawn("b", "old")
        assert list(journal.unrecorded("b")) == [(one, found)]
        assert journal.withdrawn("b") == ["old"]
        journal.set_recorded("b", 1, "root")
        assert list(journal.unrecorded("b")) == []
        assert journal.withdrawn("b") == []
        assert journal.head("b") == (1, "root")
        journal.forget_head("b")
        assert list(journal.unrecorded("b")) == [(one, found)]
        assert journal.withdrawn("b") == []
        assert journal.head("b") is None


def test_what_is_stored_again_is_not_withdrawn() -> None:
    with Journal(None) as journal:
        journal.set_withdrawn("b", "p")
        journal.set_delivery("a", "b", delivery("p"))
        assert journal.withdrawn("b") == []


def test_distrust_forgets_by_the_name_at_the_destination() -> None:
    with Journal(None) as journal:
        journal.set_delivery("a", "b", delivery("p", stored="q"))
        journal.distrust("b", "q")
        assert list(journal.deliveries("a", "b")) == []


def test_last_count_is_of_the_newest_run() -> None:
    with Journal(None) as journal:
        assert journal.last_count("a", "b") is None
        journal.add_run("a", "b", 1, 100, {"status": "ok"})
        journal.add_run("a", "b", 2, 90, {"status": "partial"})
        journal.add_run("a", "b", 3, None, {"status": "failed"})
        assert journal.last_count("a", "b") == 90
        assert journal.last_count("a", "c") is None


# change feeds


def paths(journal: Journal) -> list[str]:
    return [found.path for found in journal.listed("b")]


def test_a_removed_folder_takes_along_what_is_below_it_and_nothing_else() -> None:
    with Journal(None) as journal:
        names = ["a", "a/1", "a/b/2", "a-1", "a0", "a.jpg", "b"]
        journal.set_listed("b", map(entry, names), [], "c1", full=True)
        journal.set_listed("b", [entry("a/new")], ["a"], "c2", full=False)
        assert paths(journal) == sorted(["a/new", "a-1", "a0", "a.jpg", "b"], key=key)
        assert journal.cursor("b") == "c2"


def test_a_full_answer_replaces_the_listing_of_that_place_only() -> None:
    with Journal(None) as journal:
        journal.set_listed("b", [entry("old")], [], "c1", full=True)
        journal.set_listed("other", [entry("theirs")], [], "c1", full=True)
        journal.set_listed("b", [entry("new", version="v")], [], "c2", full=True)
        assert list(journal.listed("b")) == [entry("new", version="v")]
        assert [found.path for found in journal.listed("other")] == ["theirs"]


def test_a_listing_is_handed_out_as_it_was_told() -> None:
    odd = [
        Entry("a", 1, 2, {"sha256": "00", "md5": "11"}, "v"),
        Entry("b", 0, -(1 << 62), {}, "v"),
        Entry("caf\u00e9", 1, 2, {"sha256": "00"}, "\u00fc"),
        Entry("raw\udcff", 1, 2, {"sha256": "00"}, "v"),
        Entry("timeless", 1, None, {"sha256": "00"}, "v"),
        Entry("versionless", 1, 2, {"sha256": "00"}, None),
        Entry(".photosync/HEAD", 1, 2, {"sha256": "00"}, "v"),
    ]
    plain = [Entry(f"p{n:04}", n, n, {"content_hash": f"{n:064x}"}, f"v{n}") for n in range(1200)]
    for told in ([], odd, plain, [*odd, *plain], *([one, *plain] for one in odd)):
        expected = sorted(told, key=lambda found: key(found.path))
        with Journal(None) as journal:
            journal.set_listed("b", told, [], "c1", full=True)
            assert list(journal.listed("b")) == expected
            listing = fed(Unchanged(), journal, "b")  # type: ignore[arg-type]
            assert [*listing.own, *listing.entries] == expected
            assert [listing.entries[at] for at in range(len(listing.entries))] == list(listing.entries)


class Unchanged:
    """A store at which nothing happened."""

    def changes(self, cursor: str | None) -> Changes:
        assert cursor == "c1"
        return Changes([], [], "c1", full=False)


def test_listing_and_cursor_change_together_or_not_at_all() -> None:
    def breaks() -> object:
        yield entry("half")
        raise ConnectionError("cut")

    with Journal(None) as journal:
        journal.set_listed("b", [entry("old")], [], "c1", full=True)
        with pytest.raises(ConnectionError):
            journal.set_listed("b", breaks(), ["old"], "c2", full=True)  # type: ignore[arg-type]
        assert (paths(journal), journal.cursor("b")) == (["old"], "c1")
        journal.set_delivery("a", "b", delivery("p"))


# files it cannot use


@pytest.mark.row(61)
def test_garbage_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"garbage" * 1000)
    with pytest.raises(JournalError, match=r"is damaged.*Nothing at your destinations is affected"):
        Journal(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == b"garbage" * 1000


@pytest.mark.row(61)
def test_a_damaged_page_is_told_when_it_is_met(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        for number in range(3000):
            journal.set_delivery("a", "b", delivery(f"{number:06}"))
    data = bytearray((tmp_path / "j").read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 + 100 : (page + 1) * 4096] = b"\xff" * 3996
    (tmp_path / "j").write_bytes(data)
    with pytest.raises(JournalError, match="move the file away"):  # noqa: PT012 - either may notice
        journal = Journal(tmp_path / "j")
        list(journal.deliveries("a", "b"))


@pytest.mark.row(65)
def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal._db.execute("PRAGMA user_version=99")
    with pytest.raises(JournalError, match="newer photosync"):
        Journal(tmp_path / "j")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="another program"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_foreign_database_with_our_version_number_is_no_state(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "j")
    db.execute("CREATE TABLE theirs (x)")
    db.execute("PRAGMA user_version=1")
    db.commit()
    db.close()
    with pytest.raises(JournalError, match="no state of photosync"):
        Journal(tmp_path / "j")


def test_a_missing_folder_is_not_called_damage(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"cannot be used.*PHOTOSYNC_STATE_DIR"):
        Journal(tmp_path / "none" / "j")


def test_a_journal_that_fails_ends_the_run() -> None:
    assert issubclass(JournalError, Fatal)


def test_writing_goes_on_after_a_statement_failed() -> None:
    with Journal(None) as journal:
        with pytest.raises(JournalError):
            journal._write("INSERT INTO nonsense VALUES (?)", (1,))
        journal.set_delivery("a", "b", delivery("p"))
        journal.flush()
        assert len(list(journal.deliveries("a", "b"))) == 1


# threads


def test_many_threads_may_write_and_read(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    with Journal(tmp_path / "j") as journal:

        def work(number: int) -> None:
            try:
                for turn in range(150):
                    journal.set_delivery(f"s{number % 3}", "b", delivery(f"{number}-{turn}"))
                    journal.set_content(f"s{number % 3}", entry(f"{number}-{turn}"), fingerprint(b"x"))
                    assert journal.content(f"s{number % 3}", entry(f"{number}-{turn}")) is not None
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sum(len(list(journal.deliveries(f"s{number}", "b"))) for number in range(3)) == 900


def test_a_time_that_only_one_side_knows_decides_nothing_beside_a_version() -> None:
    """S3 tells of times only when asked about one object."""
    found = fingerprint(b"photo")
    opened = Entry("p", 5, 1_000, version="v1")
    listed = Entry("p", 5, None, version="v1")
    with Journal(None) as journal:
        journal.set_content("a", opened, found)
        assert journal.content("a", listed) == found
        assert journal.content("a", Entry("p", 5, None)) is None
        assert journal.content("a", Entry("p", 5, 2_000, version="v1")) is None
    delivery = Delivery("p", 5, 1_000, "v1", found.content, "p", None, "reread")
    assert delivery.of(opened)
    assert delivery.of(listed)
    assert not delivery.of(Entry("p", 5, None, version="v2"))
    assert not delivery.of(Entry("p", 5, 2_000, version="v1"))
    assert not delivery.of(Entry("p", 5, None))


def test_what_was_retired_has_no_source_any_more() -> None:
    found = fingerprint(b"photo")
    with Journal(None) as journal:
        journal.set_content("a", Entry("p", 5, 1_000), found)
        journal.set_delivery("a", "d", Delivery("p", 5, 1_000, None, found.content, "p~1", "v", "reread"))
        journal.retire("a", "d", "p", "now")
        assert list(journal.deliveries("a", "d")) == []
        assert [(copy.stored, of) for copy, of in journal.unrecorded("d")] == [("p~1", found)]
        assert journal.known_contents("d") == {"p~1": (5, "v", found.content)}
        journal.set_delivery("a", "d", Delivery("p", 5, 2_000, None, found.content, "p", "v", "reread"))
        assert len(journal.known_contents("d")) == 2, "another file of that path is another copy"


def test_tables_that_came_later_are_added(tmp_path: Path) -> None:
    Journal(tmp_path / "j").close()
    db = sqlite3.connect(tmp_path / "j")
    db.execute("DROP TABLE proofs")
    db.close()
    with Journal(tmp_path / "j") as journal:
        journal.set_proof("there", "a.jpg", "c1", "reread")
        assert journal.proofs("there")["a.jpg", "c1"][0] == "reread"


@pytest.mark.parametrize(
    "earlier",
    [
        "INSERT INTO kept SELECT source, destination, path FROM deliveries; DROP TABLE spared",
        """ALTER TABLE spared DROP COLUMN told;
        INSERT INTO spared SELECT source, destination, path, stored FROM deliveries""",
    ],
)
def test_what_an_earlier_photosync_knew_of_freed_photos_is_taken_over(tmp_path: Path, earlier: str) -> None:
    path = tmp_path / "state.sqlite"
    with Journal(path) as journal:
        journal.set_delivery("phone", "cloud", Delivery("a", 1, 2, None, "c", "b", None, "reread"))
    db = sqlite3.connect(path)
    db.executescript(earlier)
    db.close()
    for _ in range(2):
        with Journal(path) as journal:
            assert journal.spared("phone", "cloud") == {"b"}
            assert journal.untold("cloud") == ["b"]
