"""Small files in memory, gathered into batches that the destination stores with one call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from photosync.engine import standing
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.errors import AlreadyExists, Fatal, Permanent, RateLimited, Transient, classify
from photosync.engine.item import Package
from photosync.engine.limits import Pace

if TYPE_CHECKING:
    from photosync.engine.transfer import Transfer

LINGER = 5.0
"""Seconds after which a batch of small files is sent though it is not full: a slow phone should not hold
back what has been read."""

QUICK = 0.005
"""Seconds: a destination that answers sooner is sent to by the readers themselves."""


class Batches:
    """The small files of one transfer.

    Args:
        transfer: what they belong to.

    Attributes:
        under_way: batches that were handed to the senders and have not ended.
    """

    def __init__(self, transfer: "Transfer") -> None:
        self._transfer = transfer
        self._batch: list[Package] = []
        self._batch_bytes = 0
        self._batch_since = 0.0
        self._pace = Pace(min(transfer.can.batch.bytes, transfer.settings.memory // 2))
        self._taking = 0
        self.under_way = 0
        reads = transfer.source.store.capabilities
        self._alone = transfer.can.batch.count == 1 and reads.read_concurrency > 1 and not reads.slow_read
        self._answer = QUICK

    @contextmanager
    def taking(self) -> Iterator[None]:
        """While a small file is being read; what waits for company waits for it."""
        with self._transfer.state:
            self._taking += 1
        try:
            yield
        finally:
            with self._transfer.state:
                self._taking -= 1

    def add(self, package: Package) -> None:
        """Puts a file into the batch; sends the batch when it is full.

        Where the destination takes files one by one and answers at once, whoever has read a file sends it,
        too: handing it over would cost as much as sending it. Only a slow source's one reader never waits.
        """
        if self._alone and self._answer < QUICK:
            self._send_alone(package)
            return
        most = self._transfer.target.gate.together(self._pace.limit)
        self._flush_if(lambda: self._batch_bytes + len(package.data) > most)
        with self._transfer.state:
            if not self._batch:
                self._batch_since = self._transfer.workers.seam.monotonic()
            self._batch.append(package)
            self._batch_bytes += len(package.data)
        self._flush_if(
            lambda: len(self._batch) >= self._transfer.can.batch.count or self._batch_bytes >= most
        )

    def flush(self) -> None:
        """Sends what has been gathered."""
        self._flush_if(lambda: True)

    def flush_if_stale(self) -> None:
        """Sends a batch that waited long enough, or to which nothing more will come soon."""
        if self._batch:
            self._flush_if(
                lambda: (
                    (self._transfer.idle() and not self._taking)
                    or self._transfer.workers.seam.monotonic() - self._batch_since >= LINGER
                )
            )

    def _flush_if(self, due: Callable[[], bool]) -> None:
        with self._transfer.state:
            if not self._batch or not due():
                return
            packages, self._batch, self._batch_bytes = self._batch, [], 0
            batches = list(_split(packages, self._transfer.can.batch.count, self._transfer.can.batch.bytes))
            self.under_way += len(batches)
        for batch in batches:
            self._transfer.put_task(lambda batch=batch: self._send_batch(batch))  # type: ignore[misc]

    def _send_alone(self, package: Package) -> None:
        try:
            with self._transfer.senders.calling():
                self.store([package])
        finally:
            self._transfer.budget.release(package.cost)

    def _send_batch(self, packages: list[Package]) -> None:
        """Stores small files together; each ends, or is tried again, on its own."""
        try:
            self.store(packages)
        finally:
            with self._transfer.state:
                self.under_way -= 1
            self._transfer.budget.release(sum(package.cost for package in packages))

    def store(self, packages: list[Package]) -> None:
        """Stores files now; each ends on its own."""
        waiting, tries = [package for package in packages if self._displaced(package)], 0
        while waiting:
            tries += 1
            again: list[Package] = []
            wait = 0.0
            results = list(zip(waiting, self._put(waiting), strict=True))
            # What arrived is written down before an error may end the run.
            results.sort(key=lambda pair: not isinstance(pair[1], Stored))
            for package, result in results:
                if isinstance(result, Transient) and tries < self._transfer.settings.retries.attempts:
                    jitter = self._transfer.workers.seam.random()
                    wait = max(wait, self._transfer.settings.retries.wait(tries, result, jitter))
                    self._transfer.target.gate.note(result.trouble)
                    if isinstance(result, RateLimited):
                        self._transfer.target.gate.slow_down()
                    again.append(package)
                else:
                    self._settle(package, result)
            if again:
                self._transfer.target.gate.hold(wait)
            waiting = again

    def _displaced(self, package: Package) -> bool:
        """Clears the way for a small file; False if that failed, which ends it."""
        try:
            standing.displace(self._transfer, package.item)
        except Fatal:
            raise
        except Exception as error:
            self._transfer.problem(package.item, classify(error, f"storing {package.item.to}"))
            return False
        return True

    def _put(self, packages: list[Package]) -> list[Stored | Exception]:
        blobs = [
            Blob(package.item.to, package.data, package.item.source.mtime_ns, package.found.digests)
            for package in packages
        ]
        size = sum(len(blob.data) for blob in blobs)
        self._transfer.target.gate.spend(size)

        def put() -> list[Stored | Exception]:
            began = self._transfer.workers.seam.monotonic()
            try:
                results = self._transfer.target.store.put(blobs)
            except Transient:
                with self._transfer.state:
                    self._pace.lost()
                raise
            took = self._transfer.workers.seam.monotonic() - began
            with self._transfer.state:
                self._pace.took(size, took)
                self._answer += (took - self._answer) / 8
            return results

        try:
            results = self._transfer.target.call(put, f"storing {blobs[0].path}")
        except Fatal:
            raise
        except Exception as error:
            failure = classify(error, f"storing {blobs[0].path}")
            # The call as a whole was tried often enough; its files are not tried once more each.
            spent = Permanent if not isinstance(failure, Transient) else Exhausted
            return [spent(str(failure)) for _ in blobs]
        for package, result in zip(packages, results, strict=True):
            if isinstance(result, Stored):
                self._transfer.sent(package.item, len(package.data))
        return results

    def _settle(self, package: Package, result: Stored | Exception) -> None:
        item = package.item
        try:
            if isinstance(result, Stored):
                self._transfer.prove(item, package.found, result)
            elif isinstance(result, AlreadyExists | FileExistsError):
                standing.taken(self._transfer, item, package.found, package)
            else:
                raise result
        except Fatal:
            raise
        except Exception as error:
            self._transfer.problem(item, classify(error, f"storing {item.to}"))


class Exhausted(Permanent):
    """Worth another run, not another try in this one."""


def _split(packages: list[Package], count: int, size: int) -> Iterator[list[Package]]:
    batch: list[Package] = []
    total = 0
    for package in packages:
        if batch and (len(batch) >= count or total + len(package.data) > size):
            yield batch
            batch, total = [], 0
        batch.append(package)
        total += len(package.data)
    if batch:
        yield batch
