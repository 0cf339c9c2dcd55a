"""What stands at the destination: looking, proving, renaming, setting aside. Never overwriting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from photosync.engine import retry, verify
from photosync.engine.capabilities import Store, Stored, Upload
from photosync.engine.entry import Entry
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    Fatal,
    Permanent,
    PhotosyncError,
    Transient,
    Unreachable,
    classify,
)
from photosync.engine.hashing import Fingerprint
from photosync.engine.limits import Gate
from photosync.engine.names import OURS
from photosync.engine.retry import RetryPolicy
from photosync.engine.verify import Verify
from photosync.engine.workers import Workers

T = TypeVar("T")

QUARANTINE = f"{OURS}/quarantine"
GIVE_UP = 4
"""Calls in a row, each with all its retries, after which a place that says nothing counts as gone."""


class Target:
    """Where photos go.

    Args:
        store: the place.
        workers: scope whose cancellation ends waiting and reading back.
        gate: the place's gate.
        retries: how stubborn to be.
        how: how hard to look after a copy.
    """

    def __init__(self, store: Store, workers: Workers, gate: Gate, retries: RetryPolicy, how: Verify) -> None:
        self.store = store
        self.gate = gate
        self.retries = retries
        self._workers = workers
        self._how = how
        self._at_least_told = Verify.AUTO if how is Verify.NONE else how
        self._in_vain = 0

    def call(self, run: Callable[[], T], doing: str) -> T:
        """One call with retries, see `photosync.engine.retry.call`.

        Raises:
            Unreachable: several calls in a row were in vain, and the place does not answer a plain question
                either: the other files need not be tried one by one.
        """
        try:
            result = retry.call(run, doing, self._workers, self.gate, self.retries)
        except Transient as error:
            self._in_vain += 1
            if self._in_vain >= GIVE_UP and not self._answers():
                text = f"{error}. The destination does not answer any more; run again later."
                raise Unreachable(text) from error
            raise
        self._in_vain = 0
        return result

    def _answers(self) -> bool:
        try:
            self.store.stat(f"{OURS}/HEAD")
        except FileNotFoundError:
            pass
        except Exception as error:
            return not isinstance(classify(error, "asking the destination"), Transient)
        self._in_vain = 0
        return True

    def give_way(self, attempt: int) -> None:
        """Waits after try number ``attempt`` (from 1) of something in which another machine was first: all
        of them together would only lose again."""
        self._workers.sleep(self.retries.pause(attempt, self._workers.seam.random()))

    def look(self, path: str) -> Entry | None:
        """What has that name, or None."""
        try:
            return self.call(lambda: self.store.stat(path), f"looking at {path}")
        except FileNotFoundError:
            return None

    def prove(self, stored: Stored, found: Fingerprint, aside: str) -> str:
        """Proves what was just stored.

        Args:
            stored: as the store reported it.
            found: what was read at the source.
            aside: name under which damaged bytes are kept for inspection.

        Returns:
            The evidence.

        Raises:
            Corrupt: it arrived damaged; it no longer has its final name.
            Permanent: it arrived damaged and could not be renamed.
        """
        with self._set_aside_if_corrupt(stored, aside):
            if stored.size != found.size:
                raise Corrupt(f"the destination holds {stored.size} bytes, expected {found.size}")
            return self._evidence(stored.path, stored, found, self._how)

    def prove_alike(self, stored: Stored, source: Entry, aside: str) -> str | None:
        """Proves a copy that the service made by itself, by what it says of both objects.

        Args:
            stored: as the store reported it.
            source: the original, with the hashes that the service has of it.
            aside: name under which damaged bytes are kept for inspection.

        Returns:
            Name of a hash that both have; None: there is none in common, so nothing is proven.

        Raises:
            Corrupt: the copy differs; it no longer has its final name.
            Permanent: it differs and could not be renamed.
        """
        with self._set_aside_if_corrupt(stored, aside):
            if stored.size != source.size:
                raise Corrupt(f"the copy has {stored.size} bytes, the original {source.size}")
            name = None
            for candidate, value in stored.digests.items():
                if (original := source.digests.get(candidate)) is None:
                    continue
                if original != value:
                    raise Corrupt(f"the copy has other bytes: {candidate} {value}, the original {original}")
                name = candidate
            return name

    @contextmanager
    def _set_aside_if_corrupt(self, stored: Stored, aside: str) -> Iterator[None]:
        try:
            yield
        except Corrupt as error:
            away = f"{QUARANTINE}/{aside}/{stored.path}"
            try:
                self.set_aside(stored.path, away)
            except (PhotosyncError, OSError) as failure:
                if isinstance(failure, Fatal):
                    raise
                raise Permanent(
                    f"{stored.path} arrived damaged ({error}) and could not be set aside ({failure}): "
                    "remove it at the destination, then run again"
                ) from failure
            raise Corrupt(f"{stored.path} arrived damaged and was set aside as {away}: {error}") from error

    def same(self, existing: Entry, found: Fingerprint) -> str | None:
        """Evidence that an object has these bytes; None if it has others."""
        if existing.size != found.size or not existing.is_file:
            return None
        try:
            return self._evidence(existing.path, existing, found, self._at_least_told)
        except Corrupt:
            return None

    def same_as_listed(self, listed: Entry, found: Fingerprint) -> str | None:
        """Evidence, from the hash that a listing of this run told, that an object has these bytes.

        What somebody did to the object since is not known, as it is not with an answer about it alone: only
        the time in between is longer. The next listing shows it.

        Returns:
            None: nothing can be said by that; the object must be looked at.
        """
        if not self.store.capabilities.hashes_listed or listed.size != found.size or not listed.is_file:
            return None
        try:
            return verify.told(listed.digests, found, self._at_least_told)
        except Corrupt:
            return None

    def _evidence(self, path: str, reported: Stored | Entry, found: Fingerprint, how: Verify) -> str:
        if (evidence := verify.told(reported.digests, found, how)) is not None:
            return evidence
        return self.call(
            lambda: verify.prove(self.store, path, reported.digests, found, how, self._workers.check),
            f"verifying {path}",
        )

    def keep_time(self, existing: Entry, mtime_ns: int | None) -> Stored:
        """Gives an adopted object the source's time, where the store can do that."""
        can = self.store.capabilities
        if (
            can.set_mtime
            and can.mtime_precision_ns is not None
            and mtime_ns is not None
            and (existing.mtime_ns is None or abs(existing.mtime_ns - mtime_ns) >= can.mtime_precision_ns)
        ):
            try:
                return self.call(
                    lambda: self.store.set_mtime(existing.path, mtime_ns),
                    f"setting the time of {existing.path}",
                )
            except Fatal:
                raise
            except (PhotosyncError, OSError):
                # The bytes are proven; times are advisory, and the object may be somebody else's.
                return as_stored(existing)
        return as_stored(existing)

    def set_aside(self, path: str, to: str) -> None:
        """Gives an object another name, out of the way. One that is gone by itself is out of the way, too."""
        self.call(self._mover(path, to), f"moving {path} to {to}")

    def remove(self, path: str) -> None:
        """Deletes one of photosync's own files for good. One that is gone by itself is gone."""
        try:
            self.call(lambda: self.store.delete(path), f"removing {path}")
        except FileNotFoundError:
            return

    def rename(self, path: str, to: str) -> Stored | None:
        """Renames; None if the old object is gone or the new name is taken."""
        try:
            return self.call(self._mover(path, to), f"renaming {path} to {to}")
        except AlreadyExists:
            return None

    def _mover(self, path: str, to: str) -> Callable[[], Stored | None]:
        """A move that may be repeated: an earlier try may have succeeded though its answer was lost.

        Only then is what has the new name the object that was moved; None: there was nothing to move.
        """
        tries = 0

        def move() -> Stored | None:
            nonlocal tries
            tries += 1
            try:
                return self.store.move(path, to)
            except FileNotFoundError:
                if tries == 1:
                    return None
            try:
                return as_stored(self.store.stat(to))
            except FileNotFoundError:
                return None

        return move

    def commit(self, upload: Upload, path: str, found: Fingerprint) -> Stored:
        """Publishes an upload; where the outcome is unknown, looks before the call is repeated.

        Raises:
            AlreadyExists: the name is taken by other bytes.
            FileNotFoundError: the store has forgotten the upload.
        """

        def attempt() -> Stored:
            try:
                return upload.commit(found.digests)
            except (Transient, FileNotFoundError) as error:
                try:
                    there = self.store.stat(path)
                except FileNotFoundError:
                    pass
                else:
                    if there.size == found.size and _agrees(there, found):
                        # It arrived; only the answer was lost.
                        if isinstance(error, Transient):
                            self.gate.note(error.trouble)
                        return as_stored(there)
                raise

        return self.call(attempt, f"storing {path}")


def _agrees(there: Entry, found: Fingerprint) -> bool:
    try:
        return verify.agreed(there.digests, found) is not None
    except Corrupt:
        return False


def as_stored(entry: Entry) -> Stored:
    return Stored(entry.path, entry.size, entry.version, entry.digests, entry.mtime_ns)
