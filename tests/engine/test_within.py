"""Copies that the service makes by itself: proven by what it says of both objects, or read after all."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from photosync.engine.capabilities import Store, Stored
from photosync.engine.entry import Entry
from photosync.engine.errors import AlreadyExists, SafetyGuard
from photosync.engine.plan import Policy
from photosync.engine.report import Exit
from photosync.engine.verify import Verify
from tests.engine.rig import Rig
from tests.sim.store import SimStore

Say = Callable[[str, bytes], Mapping[str, str]]


def honest(_path: str, data: bytes) -> Mapping[str, str]:
    return {"etag-like": data.hex()}


def nothing(_path: str, _data: bytes) -> Mapping[str, str]:
    return {}


class Service:
    """Two stores of one service.

    Args:
        rig: whose worlds they are.
        of_source, of_copy: what the service says of an original, and of a copy that it made.
        arrives: what a copy holds.
    """

    def __init__(
        self, rig: Rig, of_source: Say, of_copy: Say, arrives: Callable[[bytes], bytes] = lambda data: data
    ) -> None:
        self.rig, self.of_source, self.of_copy, self.arrives = rig, of_source, of_copy, arrives
        self.copied: list[str] = []
        self.same: set[str] = set()
        self.before_copy: Callable[[str], None] = lambda _to: None
        self.tells = False
        rig.source_setup = self._source
        rig.setup = self._destination

    def _source(self, store: SimStore) -> None:
        real = store.stat

        def stat(path: str) -> Entry:
            return replace(real(path), digests=self.of_source(path, self.rig.phone.things[path].data))

        store.stat = stat  # type: ignore[method-assign]

    def _destination(self, store: SimStore) -> None:
        real = store.stat

        def stat(path: str) -> Entry:
            found = real(path)
            return replace(found, digests=self.of_copy(path, self.rig.there.things[path].data))

        if self.tells:
            store.stat = stat  # type: ignore[method-assign]

        def reaches(_source: Store) -> bool:
            return True

        def copy_from(_source: Store, original: Entry, to: str) -> Stored:
            path = original.path
            self.copied.append(path)
            data = self.arrives(self.rig.phone.things[path].data)
            self.before_copy(to)
            if to in self.rig.there.things:
                raise AlreadyExists(to)
            self.rig.there.set(to, data, 1)
            found = store.stat(to)
            return Stored(to, found.size, found.version, self.of_copy(to, data), found.mtime_ns)

        def is_one(_source: Store, _original: Entry, there: Entry) -> bool:
            return there.path in self.same

        store.reaches = reaches  # type: ignore[attr-defined]
        store.is_one = is_one  # type: ignore[attr-defined]
        store.copy_from = copy_from  # type: ignore[attr-defined]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.photo("a", b"one")
    rig.photo("b", b"two")
    return rig


def test_nothing_is_read_where_the_service_proves_it(rig: Rig) -> None:
    service = Service(rig, honest, honest)
    report = rig.run()
    assert report.exit_code is Exit.OK
    assert report.source_bytes == 0
    assert rig.statuses() == {"a": "verified", "b": "verified"}
    assert {outcome.evidence for outcome in rig.outcomes.values()} == {"server-hash:etag-like"}
    assert any("manifest does not list them" in text for text in rig.notices)
    assert sorted(service.copied) == ["a", "b"]
    assert report.tally.adopted == 0, "copied, though not by this machine"
    assert rig.run().status == "nothing"


def test_a_copy_that_differs_is_set_aside_and_read(rig: Rig) -> None:
    Service(rig, honest, honest, arrives=lambda data: data[::-1])
    report = rig.run()
    assert report.exit_code is Exit.OK
    assert rig.files() == {"a": b"one", "b": b"two"}
    assert sorted(rig.quarantine().values()) == [b"eno", b"owt"]
    assert report.source_bytes == 6


def test_a_copy_that_is_short_is_set_aside_and_read(rig: Rig) -> None:
    Service(rig, honest, nothing, arrives=lambda data: data[:1])
    assert rig.run().exit_code is Exit.OK
    assert rig.files() == {"a": b"one", "b": b"two"}
    assert sorted(rig.quarantine().values()) == [b"o", b"t"]


def test_what_the_service_says_nothing_of_is_read(rig: Rig) -> None:
    service = Service(rig, nothing, honest)
    report = rig.run()
    assert report.exit_code is Exit.OK
    assert report.source_bytes == 6
    assert service.copied == []
    assert rig.files() == {"a": b"one", "b": b"two"}


def test_a_copy_that_nobody_can_prove_is_read(rig: Rig) -> None:
    Service(rig, honest, nothing)
    report = rig.run()
    assert report.exit_code is Exit.OK
    assert report.source_bytes == 6
    assert {outcome.evidence for outcome in rig.outcomes.values()} == {"reread"}
    assert rig.files() == {"a": b"one", "b": b"two"}


def test_a_name_that_is_taken(rig: Rig) -> None:
    rig.there.set("a", b"theirs", 1)
    rig.there.set("b", b"two", 1)
    Service(rig, honest, honest)
    rig.run()
    assert rig.statuses() == {"a": "conflict", "b": "verified"}
    files = rig.files()
    assert files["a"] == b"theirs"
    assert sorted(files.values()) == [b"one", b"theirs", b"two"]


def test_a_name_that_is_taken_meanwhile(rig: Rig) -> None:
    """By somebody else, or by an earlier try whose answer was lost."""
    service = Service(rig, honest, honest)
    service.before_copy = lambda to: rig.there.set(to, {"a": b"theirs", "b": b"two"}[to], 1)
    rig.run()
    assert rig.statuses() == {"a": "conflict", "b": "verified"}
    assert sorted(rig.files().values()) == [b"one", b"theirs", b"two"]


def test_what_has_to_be_read_is_not_copied_within(rig: Rig) -> None:
    """The manifest lists what was read; ``move`` leaves nothing to be read later."""
    service = Service(rig, honest, honest)
    assert rig.run(policy=Policy(checksum=True, stamp="run1")).clean
    assert service.copied == []
    assert rig.files() == {"a": b"one", "b": b"two"}


ANEW = Policy(anew=True, stamp="run")
"""As ``move`` asks."""


def test_moved_files_are_proven_by_what_the_service_says(rig: Rig) -> None:
    """Of those that an earlier run copied, too; one that somebody damaged there is not called equal."""
    service = Service(rig, honest, honest)
    rig.run(policy=ANEW)
    assert sorted(service.copied) == ["a", "b"]
    service.tells = True
    report = rig.run(policy=ANEW)
    assert report.source_bytes == 0
    assert {outcome.evidence for outcome in rig.outcomes.values()} == {"server-hash:etag-like"}
    assert rig.statuses() == {"a": "verified", "b": "verified"}
    rig.there.set("b", b"TWO", 9)
    assert rig.run(policy=ANEW).source_bytes > 0
    assert rig.statuses() == {"a": "verified", "b": "conflict"}
    assert sorted(rig.files().values()) == [b"TWO", b"one", b"two"]


def test_what_was_read_before_stays_in_the_manifest(rig: Rig) -> None:
    rig.run()
    with rig.journal() as journal:
        before = {each.path: each.content for each in journal.deliveries("phone", "there")}
    service = Service(rig, honest, honest)
    service.tells = True
    report = rig.run(policy=ANEW)
    assert report.source_bytes == 0
    assert report.tally.adopted == 2, "nothing was copied"
    assert not any("does not list" in text for text in rig.notices)
    with rig.journal() as journal:
        assert {each.path: each.content for each in journal.deliveries("phone", "there")} == before


@pytest.mark.parametrize(
    ("asked", "how"),
    [
        (ANEW, Verify.AUTO),
        (ANEW, Verify.REREAD),
        (Policy(checksum=True, anew=True, stamp="run"), Verify.AUTO),
    ],
    ids=["by the service", "read back", "read"],
)
def test_a_file_is_no_copy_of_itself(rig: Rig, asked: Policy, how: Verify) -> None:
    rig.there.set("a", b"one", 1)
    service = Service(rig, honest, honest)
    service.tells, service.same = True, {"a"}
    report = rig.run(policy=asked, how=how)
    assert isinstance(report.fatal, SafetyGuard)
    assert "one file" in str(report.fatal)
    assert "a" not in rig.outcomes or rig.statuses()["a"] != "verified"


def test_a_journal_that_the_service_contradicts_is_not_believed(rig: Rig) -> None:
    """What was read before, under the same size, time and version, is not what the service has now."""
    rig.run()
    rig.there.drop("a")
    with rig.journal() as journal:
        entry = next(e for e in [Entry("a", 3, 1)] if journal.content("phone", e))
        assert entry is not None
    Service(rig, lambda path, data: {"sha256": "00"} if path == "a" else honest(path, data), honest)
    rig.run()
    assert rig.statuses() == {"a": "verified"}
    assert rig.outcomes["a"].evidence == "reread"


def test_reading_back_is_more_than_what_the_service_says(rig: Rig) -> None:
    service = Service(rig, honest, honest)
    assert rig.run(how=Verify.REREAD).clean
    assert service.copied == []
    assert {outcome.evidence for outcome in rig.outcomes.values()} == {"reread"}
