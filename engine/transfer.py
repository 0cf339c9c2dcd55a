"""Carries out a plan against one destination.

Readers take actions in order and read each source file once, sequentially, hashing as they go; a phone has
one reader. Senders do everything that talks to the destination: batches of small objects, parts of large
ones (`photosync.engine.large`), commits, proofs. Between them lie a byte budget, which bounds memory
whatever the sizes, and a channel of tasks. So a slow upload never idles the phone, and chunks of one file
travel in parallel where the service allows it.

Every action ends in exactly one `Outcome`; what was not reached ends as pending.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from photosync.engine import together, verify, within
from photosync.engine.beside import beside
from photosync.engine.capabilities import Blob, Readable, ServerCopies, Store, Stored
from photosync.engine.entry import Entry
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    Deferred,
    Fatal,
    NameRefused,
    Permanent,
    PhotosyncError,
    RateLimited,
    SourceChanged,
    Transient,
    Trouble,
    classify,
)
from photosync.engine.events import Event, Finished, Moved, Notice, Outcome, Status
from photosync.engine.fidelity import lost_place, suspicion
from photosync.engine.hashing import Fingerprint, fingerprint
from photosync.engine.journal import Delivery, Journal
from photosync.engine.large import Large
from photosync.engine.limits import Gate, Pace
from photosync.engine.media import NOTHING, Facts, look
from photosync.engine.names import printable
from photosync.engine.plan import Compare, Copy, Move, Plan, Refuse, Trash
from photosync.engine.retry import RetryPolicy
from photosync.engine.source import Source, SourceGone
from photosync.engine.taken import taken
from photosync.engine.target import Target, as_stored
from photosync.engine.trash import TRASH
from photosync.engine.views import Glimpse, Memory, Passed
from photosync.engine.workers import ByteBudget, Channel, Workers

ITEM_ATTEMPTS = 3
"""Times a file is read anew because it changed under the reader or arrived damaged."""
LINGER = 5.0
"""Seconds after which a batch of small files is sent though it is not full: a slow phone should not hold
back what has been read."""
OVERHEAD = 4096
"""Bytes that a file in flight costs beside its content."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One source and one destination.

    Attributes:
        source, destination: the stores.
        source_id, destination_id: what the journal calls them.
        name: what people call the destination.
    """

    source: Readable
    destination: Store
    source_id: str
    destination_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How to transfer.

    Attributes:
        how: see `photosync.engine.verify.Verify`.
        memory: bytes of all chunks in flight together.
        transfers: most files read, and most calls to the destination, at once; None: as the stores like it.
        stamp: names this run's folder in the trash.
        retries: how stubborn.
        reads_all: every file passes through this machine, even where the service could copy it by itself.
    """

    how: verify.Verify = verify.Verify.AUTO
    memory: int = 128 << 20
    transfers: int | None = None
    stamp: str = "now"
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    reads_all: bool = False


@dataclass(slots=True)
class Item:
    """An action under way.

    Attributes:
        action: what the plan says; replaced when the file turns out to be another case.
        number: its place in the plan.
        to: final path, as far as it is known.
        beside: it is kept beside another file of its name.
        content: content id that ``to`` shows, for ``beside``.
        displaces: object to be moved to the trash before this one is published.
        attempt: reads so far.
        sent: bytes sent.
        within: copying it within the service, where that is possible, was not tried yet.
        followers: other files of its photo, whose names are decided with its own.
        marker: content id of the file that its photo is known by, to be shown instead of its own.
        facts: what it says of itself, once it was read.
        suspicion: why it may have been damaged before, or None.
    """

    action: Copy | Compare | Move | Trash
    number: int
    to: str
    beside: bool = False
    content: str | None = None
    displaces: str | None = None
    attempt: int = 1
    sent: int = 0
    within: bool = True
    followers: "tuple[Item, ...]" = ()
    marker: str | None = None
    facts: Facts | None = None
    suspicion: str | None = None

    @property
    def source(self) -> Entry:
        return self.action.entry if isinstance(self.action, Trash) else self.action.source

    def saw(self, source: Entry) -> None:
        """Notes what the file looked like when it was opened."""
        if not isinstance(self.action, Trash) and self.action.source is not source:
            self.action = replace(self.action, source=source)

    @property
    def asset(self) -> str | None:
        return None if isinstance(self.action, Trash) else self.action.asset

    def as_copy(self) -> Copy:
        """What sends the file after all."""
        assert not isinstance(self.action, Trash)
        return Copy(self.source, self.action.to, self.action.reason, asset=self.action.asset)

    def becomes(self, action: Copy) -> None:
        self.action, self.to = action, action.to
        self.beside, self.displaces = action.beside, action.displaces


@dataclass(slots=True)
class _Package:
    """A small file in memory, on its way."""

    item: Item
    data: bytes
    found: Fingerprint

    @property
    def cost(self) -> int:
        return len(self.data) + OVERHEAD


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
        self._workers = workers
        self._queue: Channel[Item] = Channel(workers)
        self._tasks: Channel[Callable[[], None]] = Channel(workers)
        self._open_items = 0
        self._ended: set[int] = set()
        self._batch: list[_Package] = []
        self._batch_bytes = 0
        self._batch_since = 0.0
        self._pace = Pace(min(self.can.batch.bytes, settings.memory // 2))
        self._taking_small = 0

    def run(self, plan: Plan) -> None:
        """Carries out the plan.

        Raises:
            Fatal: the destination cannot be used any further; what was not reached is pending.
        """
        items: list[Item] = []
        for number, action in enumerate(plan.actions):
            if isinstance(action, Refuse):
                outcome = Outcome(
                    action.source.path, Status.REFUSED, bytes=action.source.size, error=action.reason
                )
                self.emit(Finished(self.pair.name, outcome))
            elif isinstance(action, Copy):
                items.append(Item(action, number, action.to, action.beside, None, action.displaces))
            else:
                items.append(Item(action, number, action.to))
        self._open_items = len(items)
        reading = [item for item in items if not isinstance(item.action, Trash)]
        wanted = [item.source for item in reading if self._known(item) is None]
        self.source.expect([item.source for item in reading], wanted)
        try:
            if items:
                for item in together.lead(items):
                    self._queue.put(item)
                most = self.settings.transfers or len(items)
                for number in range(min(most, self.source.store.capabilities.read_concurrency, len(items))):
                    self._workers.start(self._read_all, f"read-{number}")
                calls = self.settings.transfers or sum(map(self._calls, items))
                for number in range(min(calls, self.can.write_concurrency)):
                    self._workers.start(self._send_all, f"send-{number}")
                self._workers.join()
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
                        self._flush_if(lambda: True)
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
            self.flush_if_stale()

    def _still_there(self, item: Item) -> bool:
        """Whether a file can be read though the source is gone. Nothing is deleted either then: what the
        source would say by now is not known."""
        return not isinstance(item.action, Trash) and self.source.holds(item.source)

    def _send_all(self) -> None:
        for task in self._tasks:
            task()

    def send(self, item: Item, run: Callable[[], None]) -> None:
        """Queues work on an item for the senders; whatever it raises ends or repeats the item."""

        def task() -> None:
            try:
                run()
            except Fatal:
                raise
            except Exception as error:
                self.problem(item, classify(error, f"storing {item.to}"))

        self._tasks.put(task)

    def _read_some(self, path: str, size: int) -> None:
        with self.state:
            self.source_bytes += size
        self.emit(Moved(self.pair.name, path, read=size))

    def sent(self, item: Item, size: int) -> None:
        """Counts bytes that arrived."""
        with self.state:
            item.sent += size
        self.emit(Moved(self.pair.name, item.source.path, sent=size))

    # how items end

    def _close(self, item: Item, outcome: Outcome) -> None:
        with self.state:
            if item.number in self._ended:
                return
            self._ended.add(item.number)
            self._open_items -= 1
            last = self._open_items == 0
        if last:
            self._queue.close()
            self._tasks.close()
        self.emit(Finished(self.pair.name, outcome))
        self._let_go(item)

    def _outcome(self, item: Item, status: Status, evidence: str, stored: str | None) -> Outcome:
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
        )

    def _pending(self, item: Item, error: PhotosyncError | None) -> None:
        outcome = self._outcome(item, Status.PENDING, verify.NONE, None)
        self._close(item, replace(outcome, error=str(error) if error else None, transient=True))

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
        outcome = self._outcome(item, status, verify.NONE, None)
        transient = isinstance(error, Transient | _Exhausted)
        self._close(item, replace(outcome, error=str(error), transient=transient))

    def delivered(self, item: Item, found: Fingerprint, stored: Stored, evidence: str) -> None:
        """Writes down a copy that is there, and ends its item."""
        pair, entry = self.pair, item.source
        if isinstance(item.action, Move):
            self.journal.forget_delivery(pair.source_id, pair.destination_id, item.action.origin.path)
        self.journal.set_content(pair.source_id, entry, found)
        if item.facts is not None:
            self.journal.set_facts(pair.source_id, entry, item.facts, item.suspicion)
        self.journal.set_delivery(
            pair.source_id,
            pair.destination_id,
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
        self._close(item, self._outcome(item, status, evidence, stored.path))

    # reading

    def _take(self, item: Item) -> None:
        """Reads what an action needs and hands it to the senders."""
        if item.followers:
            self._decide(item)
        action = item.action
        if isinstance(action, Trash):
            self.send(item, lambda: self._trash(item, action))
            return
        if isinstance(action, Compare) and (known := self._known(item)) is not None:
            self.send(item, lambda: self._compare(item, action, known, None))
            return
        if self.within is not None and item.within and not item.beside and not isinstance(action, Move):
            item.within, store = False, self.within
            self.send(item, lambda: self._within(item, action, store))
        elif item.source.size <= self.can.small_limit:
            with self.state:
                self._taking_small += 1
            try:
                self._take_small(item)
            finally:
                with self.state:
                    self._taking_small -= 1
        elif isinstance(action, Copy):
            if item.beside and item.content is None:
                self._name_beside(item, self.hash(item))
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
        found, entry, glimpse = self.source.hash(item.source, self.can.hashes)
        item.saw(entry)
        self._looked(item, glimpse)
        return found

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
                done = within.compare(self, item, action, store)
            if not done:
                self._queue.put(item)
        except SourceGone as gone:
            error = gone.__cause__
            assert isinstance(error, PhotosyncError)
            self.source_gone = error
            self._pending(item, error)

    def copied_within(self, item: Item, stored: Stored, evidence: str) -> None:
        """Ends an item that the service proved by itself and whose bytes nobody here has seen."""
        with self.state:
            self.unread += 1
        self._close(item, self._outcome(item, Status.VERIFIED, evidence, stored.path))

    def _known(self, item: Item) -> Fingerprint | None:
        """What an earlier reading said of a file that need not be read for it again."""
        action = item.action
        if isinstance(action, Compare) and not action.reread and item.attempt == 1:
            return self.journal.content(self.pair.source_id, action.source)
        return None

    def _take_small(self, item: Item) -> None:
        cost = item.source.size + OVERHEAD
        self.acquire(cost)
        package = None
        try:
            file = self.source.open(item.source)
            item.saw(file.entry)
            if file.entry.size > self.can.small_limit:
                file.reader.close()
                raise SourceChanged(f"{item.source.path} has grown since it was listed")
            data = b"".join(self.source.blocks(file))
            found = fingerprint(data, self.can.hashes)
            self._looked(item, Memory(data))
            if item.beside:
                self._name_beside(item, found)
            package = _Package(item, data, found)
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
            self._add(package)

    def _hashed(self, item: Item, found: Fingerprint, package: _Package | None) -> None:
        action = item.action
        if isinstance(action, Compare):
            self.send(item, lambda: self._compare(item, action, found, package))
        elif isinstance(action, Move):
            self.send(item, lambda: self._move(item, action, found, package))

    def _take_large(self, item: Item) -> None:
        file = self.source.open(item.source)
        try:
            item.saw(file.entry)
            if file.entry.size <= self.can.small_limit:
                raise SourceChanged(f"{item.source.path} has shrunk since it was listed")
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
            raise
        except Exception as error:
            large.give_up(error)

    def acquire(self, size: int) -> None:
        """Takes bytes from the budget; what waits in a batch must not be what is waited for."""
        if not self.budget.try_acquire(size):
            self._flush_if(lambda: bool(self._batch))
            self.budget.acquire(size)

    # small files

    def _add(self, package: _Package) -> None:
        most = self.target.gate.together(self._pace.limit)
        self._flush_if(lambda: self._batch_bytes + len(package.data) > most)
        with self.state:
            if not self._batch:
                self._batch_since = self._workers.seam.monotonic()
            self._batch.append(package)
            self._batch_bytes += len(package.data)
        self._flush_if(lambda: len(self._batch) >= self.can.batch.count or self._batch_bytes >= most)

    def flush_if_stale(self) -> None:
        """Sends a batch that waited long enough, or to which nothing more will come soon."""
        if self._batch:
            self._flush_if(
                lambda: (
                    (self._queue.empty() and not self._taking_small)
                    or self._workers.seam.monotonic() - self._batch_since >= LINGER
                )
            )

    def _flush_if(self, due: Callable[[], bool]) -> None:
        with self.state:
            if not self._batch or not due():
                return
            packages, self._batch, self._batch_bytes = self._batch, [], 0
        for batch in _split(packages, self.can.batch.count, self.can.batch.bytes):
            self._tasks.put(lambda batch=batch: self._send_batch(batch))  # type: ignore[misc]

    def _send_batch(self, packages: list[_Package]) -> None:
        """Stores small files together; each ends, or is tried again, on its own."""
        try:
            self._store(packages)
        finally:
            self.budget.release(sum(package.cost for package in packages))

    def _store(self, packages: list[_Package]) -> None:
        waiting, tries = [package for package in packages if self._displaced(package)], 0
        while waiting:
            tries += 1
            again: list[_Package] = []
            wait = 0.0
            results = list(zip(waiting, self._put(waiting), strict=True))
            # What arrived is written down before an error may end the run.
            results.sort(key=lambda pair: not isinstance(pair[1], Stored))
            for package, result in results:
                if isinstance(result, Transient) and tries < self.settings.retries.attempts:
                    jitter = self._workers.seam.random()
                    wait = max(wait, self.settings.retries.wait(tries, result, jitter))
                    self.target.gate.note(result.trouble)
                    if isinstance(result, RateLimited):
                        self.target.gate.slow_down()
                    again.append(package)
                else:
                    self._settle(package, result)
            if again:
                self.target.gate.hold(wait)
            waiting = again

    def _displaced(self, package: _Package) -> bool:
        """Clears the way for a small file; False if that failed, which ends it."""
        try:
            self.displace(package.item)
        except Fatal:
            raise
        except Exception as error:
            self.problem(package.item, classify(error, f"storing {package.item.to}"))
            return False
        return True

    def _put(self, packages: list[_Package]) -> list[Stored | Exception]:
        blobs = [
            Blob(package.item.to, package.data, package.item.source.mtime_ns, package.found.digests)
            for package in packages
        ]
        size = sum(len(blob.data) for blob in blobs)
        self.target.gate.spend(size)

        def put() -> list[Stored | Exception]:
            began = self._workers.seam.monotonic()
            try:
                results = self.target.store.put(blobs)
            except Transient:
                with self.state:
                    self._pace.lost()
                raise
            with self.state:
                self._pace.took(size, self._workers.seam.monotonic() - began)
            return results

        try:
            results = self.target.call(put, f"storing {blobs[0].path}")
        except Fatal:
            raise
        except Exception as error:
            failure = classify(error, f"storing {blobs[0].path}")
            # The call as a whole was tried often enough; its files are not tried once more each.
            spent = Permanent if not isinstance(failure, Transient) else _Exhausted
            return [spent(str(failure)) for _ in blobs]
        for package, result in zip(packages, results, strict=True):
            if isinstance(result, Stored):
                self.sent(package.item, len(package.data))
        return results

    def _settle(self, package: _Package, result: Stored | Exception) -> None:
        item = package.item
        try:
            if isinstance(result, Stored):
                self.prove(item, package.found, result)
            elif isinstance(result, AlreadyExists | FileExistsError):
                self.taken(item, package.found, package)
            else:
                raise result
        except Fatal:
            raise
        except Exception as error:
            self.problem(item, classify(error, f"storing {item.to}"))

    # what stands at the destination

    def prove(self, item: Item, found: Fingerprint, stored: Stored) -> None:
        """Proves what was just stored and ends its item."""
        evidence = self.target.prove(
            stored, found, f"{found.content[:16]}-{self.settings.stamp}-{item.attempt}"
        )
        self.delivered(item, found, stored, evidence)

    def taken(self, item: Item, found: Fingerprint, package: _Package | None) -> None:
        """The final name is taken: adopts what is there if it is equal, else keeps both."""
        existing = self.target.look(item.to)
        if existing is None:
            raise Transient(f"{item.to} was there a moment ago and is gone now; run again")
        evidence = self.target.same(existing, found)
        if evidence is None:
            self._keep_both(item, found, package)
        else:
            self._adopt(item, found, existing, evidence)

    def _adopt(self, item: Item, found: Fingerprint, existing: Entry, evidence: str) -> None:
        self.delivered(item, found, self.dated(item, existing), evidence)

    def dated(self, item: Item, existing: Entry) -> Stored:
        """Gives what was there already the source's time, where that can be."""
        if self.journal.is_shared(self.pair.destination_id, existing.path, item.source.path):
            # Two files of equal content that took turns in dating one copy would do so at every run.
            return as_stored(existing)
        return self.target.keep_time(existing, item.source.mtime_ns)

    def _name_beside(self, item: Item, found: Fingerprint) -> None:
        item.beside, item.content = True, found.content
        item.to = beside(item.action.to, item.marker or found.content, self.can.names)

    def _keep_both(self, item: Item, found: Fingerprint, package: _Package | None) -> None:
        occupied = item.to
        self._name_beside(item, found)
        if item.to == occupied and item.marker is not None:
            item.marker = None
            self._name_beside(item, found)
        if item.to == occupied:
            raise Permanent(
                f"{occupied} is taken by other bytes although its name shows this content; rename that file"
            )
        self._again(item, replace(item.as_copy(), beside=True), package)

    def _again(self, item: Item, copy: Copy, package: _Package | None) -> None:
        """Sends a file after all: from memory if it is there, else by reading it again."""
        to, content = item.to, item.content
        item.becomes(copy)
        if copy.beside:
            item.to, item.content = to, content
        if package is None:
            self._queue.put(item)
        else:
            self._store([package])

    def displace(self, item: Item) -> None:
        """``sync``: the object in the way goes to the trash before the new one is published."""
        if item.displaces is not None:
            self.target.set_aside(item.displaces, f"{TRASH}/{self.settings.stamp}/{item.displaces}")
            item.displaces = None

    def _compare(self, item: Item, action: Compare, found: Fingerprint, package: _Package | None) -> None:
        try:
            existing, evidence = None, None
            for candidate in (action.existing, *action.also):
                existing = self.target.look(candidate.path)
                evidence = None if existing is None else self.target.same(existing, found)
                if evidence is not None:
                    break
            if existing is None and not action.elsewhere:
                self._again(item, replace(item.as_copy(), reason="gone from the destination"), package)
            elif existing is not None and evidence is not None:
                self._adopt(item, found, existing, evidence)
            elif action.beside:
                self._keep_both(item, found, package)
            elif action.elsewhere or existing is None:
                self._again(item, replace(item.as_copy(), reason="new"), package)
            elif self._rotten(item, found):
                self.emit(Notice("error", _ROT.format(path=printable(item.source.path))))
                self._keep_both(item, found, package)
            elif action.replace:
                self._again(item, replace(item.as_copy(), displaces=existing.path), package)
            else:
                self._keep_both(item, found, package)
        finally:
            if package is not None:
                self.budget.release(package.cost)

    def _rotten(self, item: Item, found: Fingerprint) -> bool:
        """Whether a source file that looks as it did when it was copied has other bytes now."""
        known = self.journal.content(self.pair.source_id, item.source)
        return known is not None and known.content != found.content

    def _move(self, item: Item, action: Move, found: Fingerprint, package: _Package | None) -> None:
        try:
            stored = None
            if found.content == action.origin.content and self.can.server_move:
                stored = self.target.rename(action.origin.stored, action.to)
            if stored is None:
                self._again(item, replace(item.as_copy(), reason="new"), package)
                return
            self.journal.set_withdrawn(self.pair.destination_id, action.origin.stored)
            self.prove(item, found, stored)
        finally:
            if package is not None:
                self.budget.release(package.cost)

    def _trash(self, item: Item, action: Trash) -> None:
        self.target.set_aside(action.entry.path, action.to)
        self.journal.set_withdrawn(self.pair.destination_id, action.entry.path)
        self._close(item, self._outcome(item, Status.TRASHED, verify.NONE, action.to))


_ROT = (
    "{path} has other bytes at the source than when it was copied, though its size and times are the same: "
    "it may be rotting there. The good copy stays as it is; what the source says now is kept beside it."
)


class _Exhausted(Permanent):
    """Worth another run, not another try in this one."""


def _split(packages: list[_Package], count: int, size: int) -> Iterator[list[_Package]]:
    batch: list[_Package] = []
    total = 0
    for package in packages:
        if batch and (len(batch) >= count or total + len(package.data) > size):
            yield batch
            batch, total = [], 0
        batch.append(package)
        total += len(package.data)
    if batch:
        yield batch
