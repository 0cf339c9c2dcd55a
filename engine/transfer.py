"""Carries out a plan against one destination.

Readers take actions in order and read each source file once, sequentially, hashing as they go; a phone has
one reader. Senders do everything that talks to the destination: batches of small objects, parts of large
ones (`photosync.engine.large`), commits, proofs. Between them lie a byte budget, which bounds memory
whatever the sizes, and a channel of tasks. So a slow upload never idles the phone, and chunks of one file
travel in parallel where the service allows it.

Every action ends in exactly one `Outcome`; what was not reached ends as pending.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from photosync.engine import standing, together, verify, within
from photosync.engine.actions import Compare, Copy, Move, Plan, Refuse, Trash
from photosync.engine.batches import Batches, Exhausted
from photosync.engine.capabilities import ServerCopies, SharesNames, Stored
from photosync.engine.entry import Entry
from photosync.engine.errors import (
    Corrupt,
    Deferred,
    Fatal,
    NameRefused,
    PhotosyncError,
    SourceChanged,
    Transient,
    Trouble,
    classify,
)
from photosync.engine.events import Event, Finished, Moved, Notice, Outcome, Status
from photosync.engine.fidelity import lost_place, suspicion
from photosync.engine.hashing import Fingerprint, fingerprint, worthwhile
from photosync.engine.item import OVERHEAD, Item, Package, Pair, Settings
from photosync.engine.journal import Delivery, Journal
from photosync.engine.large import Large
from photosync.engine.limits import Gate
from photosync.engine.media import NOTHING, look
from photosync.engine.names import match_key
from photosync.engine.senders import Senders
from photosync.engine.source import Source, SourceGone
from photosync.engine.taken import taken
from photosync.engine.target import Target
from photosync.engine.views import Glimpse, Memory, Passed
from photosync.engine.width import Width
from photosync.engine.workers import ByteBudget, Channel, Workers

ITEM_ATTEMPTS = 3
"""Times a file is read anew because it changed under the reader or arrived damaged."""


class Transfer:
    """One plan, one destination.

    Args:
        pair: where from and where to.
        journal: remembers deliveries, hashes and uploads begun.
        workers: scope for the threads.
        gates: of the source and of the destination.
        settings: how.
        emit: told of progress and outcomes, from any thread.

    Attributes:
        source_gone: why the source could not be read to the end, or None.
        source_bytes: bytes read at the source.
        within: the destination, while its service can copy from the source by itself and prove it.
        unread: files that the service proved by itself, so that no manifest can list them yet.
        leaving: see `photosync.engine.standing.leaving`.
    """

    def __init__(
        self,
        pair: Pair,
        journal: Journal,
        workers: Workers,
        gates: tuple[Gate, Gate],
        settings: Settings,
        emit: Callable[[Event], None],
    ) -> None:
        self.pair, self.journal, self.settings, self.emit = pair, journal, settings, emit
        self.can = pair.destination.capabilities
        self.source = Source(pair.source, workers, gates[0], settings.retries, self._read_some)
        self.target = Target(pair.destination, workers, gates[1], settings.retries, settings.how)
        self.budget = ByteBudget(workers, settings.memory)
        self.state = workers.monitor()
        self.source_gone: PhotosyncError | None = None
        self.source_bytes = 0
        self.unread = 0
        self.within = None if settings.reads_all else within.reach(pair.source, pair.destination)
        self.workers = workers
        self._queue: Channel[Item] = Channel(workers)
        most = self.can.write_concurrency
        self.target.gate.width = Width(min(most, settings.transfers or most))
        self.senders = Senders(workers, self.target.gate.width)
        self._open_items = 0
        self._ended: set[int] = set()
        self._items: list[Item] = []
        self._last: list[Item] = []
        self._copies: set[str] = set()
        self._versions: set[str] = set()
        self.leaving: Mapping[str, int] = {}
        self._failed = 0
        self._refused: set[int] = set()
        self.small = Batches(self)

    def run(self, plan: Plan) -> None:
        """Carries out the plan.

        Raises:
            Fatal: the destination cannot be used any further; what was not reached is pending.
        """
        items = self._items
        for number, action in enumerate(plan.actions):
            if isinstance(action, Refuse):
                outcome = Outcome(
                    action.source.path, Status.REFUSED, bytes=action.source.size, error=action.reason
                )
                self.emit(Finished(self.pair.name, outcome))
                if action.source.is_file:
                    self._refused.add(action.source.size)
            elif isinstance(action, Copy):
                items.append(Item(action, number, action.to, action.beside, None, action.displaces))
            else:
                items.append(Item(action, number, action.to))
        self._open_items = len(items)
        self.leaving = standing.leaving(items, self.can.names)
        reading = [item for item in items if not isinstance(item.action, Trash)]
        self._last = [item for item in items if isinstance(item.action, Trash)]
        wanted = [item.source for item in reading if self._known(item) is None]
        self.source.expect([item.source for item in reading], wanted)
        try:
            if items:
                for item in together.lead(reading):
                    self._queue.put(item)
                if not reading:
                    self._release_last()
                most = self.settings.transfers or len(items)
                for number in range(min(most, self.source.store.capabilities.read_concurrency, len(items))):
                    self.workers.start(self._read_all, f"read-{number}")
                self.senders.start(sum(map(self._calls, items)))
                self.workers.join()
        finally:
            for item in items:
                item.followers = ()
                if item.number not in self._ended:
                    self._pending(item, None)

    def _calls(self, item: Item) -> int:
        """Calls that an item may keep busy at once: the parts of a large file travel side by side."""
        size = item.source.size
        return -(-size // self.can.part_size) if size > self.can.small_limit else 1

    def _read_all(self) -> None:
        for item in self._queue:
            try:
                if self.source_gone is not None and not self._still_there(item):
                    self._pending(item, self.source_gone)
                else:
                    if not self.source.ready(item.source):
                        self.small.flush()
                    self._take(item)
            except SourceGone as gone:
                error = gone.__cause__
                assert isinstance(error, PhotosyncError)
                self.source_gone = error
                self._pending(item, error)
            except Fatal:
                raise
            except Exception as error:
                self.problem(item, classify(error, f"reading {item.source.path}"))
            self.small.flush_if_stale()

    def _still_there(self, item: Item) -> bool:
        """Whether a file can be read though the source is gone. Nothing is deleted either then: what the
        source would say by now is not known."""
        return not isinstance(item.action, Trash) and self.source.holds(item.source)

    def send(self, item: Item, run: Callable[[], None]) -> None:
        """Queues work on an item for the senders; whatever it raises ends or repeats the item."""

        def task() -> None:
            try:
                run()
            except Fatal:
                raise
            except Exception as error:
                self.problem(item, classify(error, f"storing {item.to}"))

        self.put_task(task)

    def put_task(self, task: Callable[[], None]) -> None:
        """Queues work that ends its items by itself."""
        self.senders.tasks.put(task)

    def repeat(self, item: Item) -> None:
        """Has an item read once more."""
        self._queue.put(item)

    def idle(self) -> bool:
        """Whether no item waits to be read."""
        return self._queue.empty()

    def _read_some(self, path: str, size: int) -> None:
        with self.state:
            self.source_bytes += size
        self.emit(Moved(self.pair.name, path, read=size))

    def sent(self, item: Item, size: int) -> None:
        """Counts bytes that arrived."""
        with self.state:
            item.sent += size
        self.senders.arrived(size)
        self.emit(Moved(self.pair.name, item.source.path, sent=size))

    # how items end

    def close(self, item: Item, outcome: Outcome | None) -> None:
        """Ends an item, unless it has ended already; without a word if there is no outcome."""
        with self.state:
            if item.number in self._ended:
                return
            self._ended.add(item.number)
            self._open_items -= 1
            self._note_missing(item, outcome)
            last = self._open_items == 0
            only_last = self._open_items == len(self._last)
        if last:
            self._queue.close()
            self.senders.tasks.close()
        elif only_last:
            self._release_last()
        if outcome is not None:
            self.emit(Finished(self.pair.name, outcome))
        self._let_go(item)

    def _note_missing(self, item: Item, outcome: Outcome | None) -> None:
        if outcome is None or isinstance(item.action, Trash):
            return
        if outcome.status is Status.REFUSED:
            self._refused.add(item.source.size)
        elif outcome.status in (Status.FAILED, Status.PENDING):
            self._failed += 1

    def _release_last(self) -> None:
        """What nobody needs goes to the trash when all else has ended: until then it may turn out to be the
        copy of a file whose note was lost, or all there is of one that was renamed and got no new copy."""
        with self.state:
            items, self._last = self._last, []
        if items and self._failed and self.source_gone is None:
            text = (
                f"{len(items)} files that the source does not have any more stay at {self.pair.name}: "
                f"{self._failed} others have no copy yet, and may be the same photos under new names. The "
                "next run that copies everything moves them to the trash."
            )
            self.emit(Notice("warning", text))
            for item in items:
                self.close(item, None)
            return
        for item in items:
            self._queue.put(item)

    def trash_last(self, action: Trash) -> None:
        """Adds something that goes to the trash when all else has ended, an item under way included."""
        with self.state:
            item = Item(action, -len(self._items), action.to)
            self._items.append(item)
            self._last.append(item)
            self._open_items += 1

    def needs(self, entry: Entry) -> bool:
        """Whether something at the destination is the copy of a file of this run, or may be all there is of
        one that cannot be stored under its name."""
        if entry.version in self._versions:
            return True
        return match_key(entry.path, self.can.names) in self._copies or entry.size in self._refused

    def _need(self, stored: Stored) -> None:
        """Notes a copy of this run. Where names are shared, it may have been listed under another one: what
        it shared its own with was moved away since."""
        if self._last:
            with self.state:
                self._copies.add(match_key(stored.path, self.can.names))
                if stored.version is not None and isinstance(self.pair.destination, SharesNames):
                    self._versions.add(stored.version)

    def outcome(self, item: Item, status: Status, evidence: str, stored: str | None) -> Outcome:
        """How an item ended."""
        entry = item.source
        return Outcome(
            entry.path,
            status,
            evidence,
            entry.size,
            item.sent,
            stored,
            item.action.reason,
            asset=item.asset,
            taken=None if item.facts is None else taken(entry.path, entry.mtime_ns, item.facts),
            suspicious=item.suspicion,
            adopted=item.adopted and status is Status.VERIFIED,
        )

    def _pending(self, item: Item, error: PhotosyncError | None) -> None:
        outcome = self.outcome(item, Status.PENDING, verify.NONE, None)
        self.close(item, replace(outcome, error=str(error) if error else None, transient=True))

    def problem(self, item: Item, error: PhotosyncError) -> None:
        """Ends an item that failed, or has it read anew if that may help."""
        if isinstance(error, Deferred):
            self._queue.put(item)
            return
        if isinstance(error, SourceChanged | Corrupt):
            if self.source_gone is not None and not self._still_there(item):
                self._pending(item, error)
                return
            if item.attempt < ITEM_ATTEMPTS:
                item.attempt += 1
                damaged = isinstance(error, Corrupt)
                self.target.gate.note(Trouble.DAMAGED if damaged else Trouble.CHANGED)
                item.to, item.content = item.action.to, None
                self._queue.put(item)
                return
        status = Status.REFUSED if isinstance(error, NameRefused) else Status.FAILED
        outcome = self.outcome(item, status, verify.NONE, None)
        transient = isinstance(error, Transient | Exhausted)
        self.close(item, replace(outcome, error=str(error), transient=transient))

    def delivered(self, item: Item, found: Fingerprint, stored: Stored, evidence: str) -> None:
        """Writes down a copy that is there, and ends its item."""
        pair, entry = self.pair, item.source
        self._need(stored)
        if isinstance(item.action, Move):
            self.journal.forget_delivery(pair.source_id, pair.destination_id, item.action.origin.path)
        self.journal.set_copied(
            pair.source_id,
            pair.destination_id,
            entry,
            found,
            None if item.facts is None else (item.facts, item.suspicion),
            Delivery(
                entry.path,
                entry.size,
                entry.mtime_ns,
                entry.version,
                found.content,
                stored.path,
                stored.version,
                evidence,
            ),
        )
        self.journal.forget_upload(pair.source_id, pair.destination_id, entry.path)
        if item.beside:
            status = Status.CONFLICT
        else:
            status = Status.WRITTEN if evidence == verify.NONE else Status.VERIFIED
        self.close(item, self.outcome(item, status, evidence, stored.path))

    # reading

    def _take(self, item: Item) -> None:
        """Reads what an action needs and hands it to the senders."""
        if item.followers:
            self._decide(item)
        action = item.action
        if isinstance(action, Trash):
            self.send(item, lambda: standing.trash(self, item, action))
            return
        if isinstance(action, Compare) and (known := self._known(item)) is not None:
            self.send(item, lambda: standing.compare_remembered(self, item, action, known))
            return
        if self.within is not None and item.within and not item.beside and not isinstance(action, Move):
            item.within, store = False, self.within
            self.send(item, lambda: self._within(item, action, store))
        elif item.source.size <= self.can.small_limit:
            self._take_small(item)
        elif isinstance(action, Copy):
            if item.beside and item.content is None:
                found = self.hash(item)
                if not isinstance(item.action, Copy):
                    self._hashed(item, found, None)
                    return
                standing.name_beside(self, item, found)
            self._take_large(item)
        else:
            self._hashed(item, self.hash(item), None)

    def _decide(self, leader: Item) -> None:
        together.decide(self, leader)
        self._let_go(leader)

    def _let_go(self, leader: Item) -> None:
        """What followed an item goes its own way, now that its name is decided, or never will be."""
        followers, leader.followers = leader.followers, ()
        for item in followers:
            self._queue.put(item)

    def hash(self, item: Item) -> Fingerprint:
        """Reads a file without keeping it."""
        found, entry, glimpse = self.source.hash(item.source, self.hashes(item))
        item.saw(entry)
        self._looked(item, glimpse)
        return found

    def hashes(self, item: Item) -> tuple[str, ...]:
        """Hashes that the destination needs of a file; what it tells of those that may be its copy counts."""
        action = item.action
        there: tuple[Entry, ...] = ()
        if isinstance(action, Compare):
            there = (action.existing, *action.also)
        elif isinstance(action, Move):
            there = action.also
        return worthwhile(self.can.hashes, *(entry.digests for entry in there))

    def _looked(self, item: Item, view: Passed) -> None:
        """Notes what a file that was read whole says of itself, and whether it is to be trusted."""
        item.facts = look(view)
        item.suspicion = suspicion(item.source.path, view, item.facts)
        if item.suspicion is None and item.facts.taken and not item.facts.place:
            place, path = self.pair.source_id, item.source.path
            before = self.journal.earlier_facts(place, path) or NOTHING
            item.suspicion = lost_place(before, item.facts, self.journal.earlier_suspicion(place, path))

    def _within(self, item: Item, action: Copy | Compare, store: ServerCopies) -> None:
        try:
            if isinstance(action, Copy):
                done = within.copy(self, item, store)
            else:
                done = within.compare(self, item, action)
            if not done:
                self._queue.put(item)
        except SourceGone as gone:
            error = gone.__cause__
            assert isinstance(error, PhotosyncError)
            self.source_gone = error
            self._pending(item, error)

    def copied_within(self, item: Item, stored: Stored, evidence: str) -> None:
        """Ends an item that the service proved by itself and whose bytes nobody here has seen."""
        self._need(stored)
        with self.state:
            self.unread += 1
        self.close(item, self.outcome(item, Status.VERIFIED, evidence, stored.path))

    def _known(self, item: Item) -> Fingerprint | None:
        """What an earlier reading said of a file that need not be read for it again."""
        action = item.action
        if isinstance(action, Compare) and not action.reread and item.attempt == 1:
            known = self.journal.content(self.pair.source_id, action.source)
            told = [entry.digests for entry in (action.existing, *action.also) if entry.digests]
            # Without a hash in common, the destination's objects would have to be read back.
            if known is not None and all(any(map(known.digest, digests)) for digests in told):
                return known
        return None

    def _take_small(self, item: Item) -> None:
        cost = item.source.size + OVERHEAD
        self.acquire(cost)
        with self.small.taking():
            self._read_small(item, cost)

    def _read_small(self, item: Item, cost: int) -> None:
        package = None
        try:
            file = self.source.open(item.source)
            item.saw(file.entry)
            if file.entry.size > self.can.small_limit:
                file.reader.close()
                raise SourceChanged(f"{item.source.path} has grown since it was listed")
            data = b"".join(self.source.blocks(file))
            found = fingerprint(data, self.hashes(item))
            self._looked(item, Memory(data))
            if item.beside and isinstance(item.action, Copy):
                standing.name_beside(self, item, found)
            package = Package(item, data, found)
        finally:
            # The file may have another size now than when it was listed.
            if package is None:
                self.budget.release(cost)
            elif package.cost < cost:
                self.budget.release(cost - package.cost)
            elif package.cost > cost:
                self.budget.exceed(package.cost - cost)
        if not isinstance(item.action, Copy):
            self._hashed(item, package.found, package)
        else:
            self.small.add(package)

    def _hashed(self, item: Item, found: Fingerprint, package: Package | None) -> None:
        action = item.action
        if isinstance(action, Compare):
            self.send(item, lambda: standing.compare(self, item, action, found, package))
        elif isinstance(action, Move):
            self.send(item, lambda: standing.move(self, item, action, found, package))

    def _take_large(self, item: Item) -> None:
        file = self.source.open(item.source)
        try:
            item.saw(file.entry)
            if file.entry.size <= self.can.small_limit:
                raise SourceChanged(f"{item.source.path} has shrunk since it was listed")
            if not isinstance(item.action, Copy):
                raise SourceChanged(f"{item.source.path} has another size than it was listed with")
            large, glimpse = Large(self, item), Glimpse(file.entry.size)
        except BaseException:
            file.reader.close()
            raise
        try:
            for block in self.source.blocks(file):
                glimpse.feed(block)
                large.feed(block)
            self._looked(item, glimpse)
            large.read_to_end()
        except SourceGone:
            large.let_go()
            raise
        except Exception as error:
            large.give_up(error)

    def acquire(self, size: int) -> None:
        """Takes bytes from the budget; what waits in a batch must not be what is waited for. But while other
        batches are on their way it may fill up: a call costs the same for one file as for many."""
        if not self.budget.acquire_while(size, lambda: self.small.under_way > 0):
            self.small.flush()
            self.budget.acquire(size)

    def prove(self, item: Item, found: Fingerprint, stored: Stored) -> None:
        """Proves what was just stored and ends its item."""
        evidence = self.target.prove(
            stored, found, f"{found.content[:16]}-{self.settings.stamp}-{item.attempt}"
        )
        self.delivered(item, found, stored, evidence)
