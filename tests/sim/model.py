"""A destination under the eyes of an oracle that checks the promises, whatever its own code says."""

import json
import random
import re
from collections import Counter
from pathlib import Path

from photosync.engine.events import Event, Finished, Status
from photosync.engine.hashing import fingerprint
from photosync.engine.journal import Journal
from photosync.engine.report import Report
from tests.sim.phone import Phone
from tests.sim.places import DiskWorld, make, stays
from tests.sim.store import CANARY

MEMORY = 40_000
SLIP = "an error that nobody planned"
_SLIPS = re.compile(r"\b(AttributeError|NameError|TypeError)\b")
HEAD = ".photosync/HEAD"


class Model:
    """One destination.

    Args:
        phone: whose photos go there.
        personality: what kind of place it is.
        name: what reports and journals call it.

    Attributes:
        kept: bytes that stood there under a name that is not ours, or in the trash.
        promised: bytes that somebody was told are verified there.
        foreign: bytes that other programs put there.
        freed: bytes that were removed from the phone because they are here.
        extra: how many more copies than the phone ever had are somebody else's doing.
        damaged: its medium flips bits.
        meddled: other programs worked there.
        shared: several machines copy to it.
    """

    def __init__(self, phone: Phone, personality: str, name: str = "there") -> None:
        self.phone, self.personality, self.name = phone, personality, name
        self.kept: set[bytes] = set()
        self.promised: set[bytes] = set()
        self.foreign: set[bytes] = set()
        self.freed: set[bytes] = set()
        self.extra: Counter[bytes] = Counter()
        self.damaged = self.meddled = self.shared = False
        self._broken: list[str] = []
        self._head: dict[str, object] = {}
        self.there = make(personality, name, self._stored)

    def _stored(self, path: str) -> None:
        """Promise 1, at every instant: whatever gets a final name is whole."""
        if path == HEAD:
            self._followed()
        if not stays(path):
            return
        data = self.there.read(path)
        self.kept.add(data)
        if not self._whole(data):
            self._broken.append(f"{path} held bytes that no photo ever had: {data[:40]!r}")

    def _snapshot(self) -> dict[str, object]:
        """Of the newest snapshot, what tells it from others; nothing where there is none that can be read."""
        try:
            told = json.loads(self.there.read(HEAD))["snapshot"]
        except (FileNotFoundError, KeyError, ValueError):
            return {}
        return {name: told[name] for name in ("number", "root", "parent")}

    def _followed(self) -> None:
        """Promise 14: a snapshot follows the one that it replaces, whoever wrote that."""
        before, self._head = self._head, self._snapshot()
        after = self._head
        if before and after and before != after and after["parent"] != before["root"]:
            self._broken.append(f"snapshot {after} replaced {before}, on which it is not built")

    def _whole(self, data: bytes) -> bool:
        return self.damaged or data in self.phone.ever or data in self.foreign

    def check_whole(self) -> None:
        """Promise 1: whatever stands under a final name was once a whole file of the source."""
        assert not self._broken, self._broken
        for path, data in self.there.visible().items():
            assert self._whole(data), f"{path} holds bytes that no photo ever had: {data[:40]!r}"

    def check_still_shown(self, before: dict[str, bytes]) -> None:
        """Promise 7: what the phone still has, under whatever name, does not even go to the trash.

        Args:
            before: what was there before a run.
        """
        has = {thing.data for thing in self.phone.honest().values() if len(thing.data) > 1}
        now = set(self.there.visible().values())
        for path, data in before.items():
            assert data not in has or data in now, f"still on the phone, and removed from {self.name}: {path}"

    def check_kept(self) -> None:
        """Promises 2, 7 and 8: bytes that stood at the destination still stand there, under some name."""
        now = {thing.data for thing in self.there.things.values()}
        lost = self.kept - now
        assert not lost, f"the destination lost {sorted(lost)[:3]!r}"
        gone = self.freed - set(self.there.visible().values())
        assert not gone, f"freed on the phone, and no longer at {self.name}: {sorted(gone)[:3]!r}"

    def heard(self, event: Event) -> None:
        """Promises 3 and 19, at every word that is said."""
        assert CANARY not in repr(event), f"a secret was told: {event}"
        if isinstance(event, Finished):
            said = str(event.outcome.error or "")
            assert not _SLIPS.search(said), f"{SLIP}: {said}"
            self._claimed(event)

    def _claimed(self, event: Finished) -> None:
        """Promise 3: verified means that the destination has the bytes that the source has or had."""
        outcome = event.outcome
        if outcome.status in (Status.VERIFIED, Status.CONFLICT):
            assert outcome.stored is not None
            if outcome.adopted and outcome.stored in self.there.hidden:
                # A listed hash counts though somebody may have edited the file since: the next listing tells.
                return
            try:
                alike = self.there.called(outcome.stored)
            except FileNotFoundError:
                # Another machine may have renamed it since, as the phone had.
                assert self.shared, f"{outcome.path} claimed as {outcome.status} is not there"
                return
            shown = self.phone.world.shown.get(outcome.path, set())
            data = next((each for each in alike if each in shown), alike[0])
            assert data in self.phone.ever, f"{outcome.path} claimed as {outcome.status} holds {data[:40]!r}"
            assert data in shown, f"{outcome.path} is not what is stored as {outcome.stored}"
            assert outcome.evidence != "none"
            self.promised.add(data)

    def accounted(
        self, report: Report, outcomes: list[Finished], listed: set[str], still: bool = True
    ) -> None:
        """Promise 11: every entry has one outcome; success is claimed only if all are there.

        Args:
            listed: files that the source showed.
            still: nobody edited the source's files meanwhile.
        """
        # What goes to the trash, or could not be moved there, is no file of the source.
        names = [
            event.outcome.path for event in outcomes if event.outcome.reason != "not at the source any more"
        ]
        assert len(names) == len(set(names)), f"more than one outcome: {names}"
        planned = len(names) + report.count(Status.UNCHANGED)
        if report.fatal is None and not report.listing_errors and not report.interrupted:
            assert planned == len(listed), f"{len(listed)} files, {planned} outcomes"
        assert report.clean is (report.exit_code == 0)
        assert CANARY not in repr(report.record())
        if report.clean:
            self.check_complete(still)

    def check_complete(self, still: bool = True) -> None:
        """Every file of the source is at the destination; unless it is ``still``, as it was at some time."""
        there = set(self.there.visible().values())
        for path, thing in self.phone.honest().items():
            wanted = {thing.data} if still else self.phone.world.shown[path]
            assert wanted & there, f"{path} is missing at the destination"

    def check_no_duplicates(self) -> None:
        """Promise 12: nothing is stored more often than the source ever had it.

        Bytes that a store damaged, and a kill kept from being looked at, count as somebody else's file.
        """
        there = list(self.there.visible().values())
        for data in set(there) & self.phone.ever:
            had = sum(data in contents for contents in self.phone.world.shown.values()) + self.extra[data]
            assert there.count(data) <= had, (
                f"{there.count(data)} copies of {data[:40]!r}, the source had {had}"
            )

    def contents(self) -> set[str]:
        """Content ids of all that is there."""
        return {fingerprint(thing.data, ()).content for thing in self.there.things.values()}

    def lose_power(self, dice: random.Random, journals: list[Path]) -> None:
        """The power fails: what a disk was not made to keep may be gone, but nothing that was promised."""
        if isinstance(self.there, DiskWorld):
            before = self.contents()
            self.kept &= self.there.safe_in_place()
            self.there.cut(dice)
            self._head = self._snapshot()
            self.kept |= {thing.data for path, thing in self.there.things.items() if stays(path)}
            self.check_recorded(journals, before)

    def check_recorded(self, journals: list[Path], before: set[str]) -> None:
        """Promise 3 after a power cut: what a journal calls verified is still there.

        Args:
            before: content ids of what was there when the power failed.
        """
        lost = self.promised - {thing.data for thing in self.there.things.values()}
        assert not lost, f"said to be verified at {self.name}, and lost: {sorted(lost)[:3]!r}"
        now = self.contents()
        # Of what others removed, and somebody sent again, a journal may still know the first copy.
        for path in [] if self.meddled else journals:
            with Journal(path) as journal:
                for delivery in journal.deliveries("phone", self.name):
                    gone = delivery.content in before and delivery.content not in now
                    assert not gone or delivery.evidence == "none", (
                        f"recorded as verified at {self.name}, and lost: {delivery.path}"
                    )
