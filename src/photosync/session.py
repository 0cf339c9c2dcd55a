"""One use of photosync: its configuration, its credentials, the places it opens, the state it keeps.

State is one journal for each destination, with a lock beside it that dies with its process: two runs may go
on at once if they write to different places, and never if they write to the same one.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from photosync import paths
from photosync.config import Config, Local, load
from photosync.engine.capabilities import Probes
from photosync.engine.errors import Fatal, Transient
from photosync.engine.journal import Journal, Known, peek
from photosync.engine.limits import Gate
from photosync.engine.nodes import ManifestError
from photosync.engine.retry import RetryPolicy
from photosync.engine.signing import Trust
from photosync.engine.snapshots import Snapshots
from photosync.engine.target import Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Threads, Workers
from photosync.places import Place, open_place, parse
from photosync.secrets import Secrets

_WAS_UNSIGNED = (
    "the manifest there was signed by nobody; it is signed now, as it was. If it had been signed before, "
    "somebody took that away: find out who, and see what it says with photosync log."
)


class Session:
    """Configuration and credentials, read when they are first needed.

    Args:
        config_path: from ``--config``; None: as `photosync.paths.config_file` finds it.
    """

    def __init__(self, config_path: Path | None = None) -> None:
        self.config_path = config_path
        self._config: Config | None = None
        self._secrets: Secrets | None = None
        self.seam = Threads()
        self.sign: Path | None = None
        """Private key from ``--sign``, for the destinations of this session."""

    @property
    def config(self) -> Config:
        if self._config is None:
            self._config = load(self.config_path)
        return self._config

    @property
    def secrets(self) -> Secrets:
        if self._secrets is None:
            _leave_no_core()
            self._secrets = Secrets(paths.secrets_file())
        return self._secrets

    def redact(self, text: str) -> str:
        """The text without any credential that was read in this session."""
        return text if self._secrets is None else self._secrets.redact(text)

    @contextmanager
    def open(self, text: str) -> Iterator[Place]:
        """Opens a place for as long as the context lasts. Raises as `photosync.places.open_place`."""
        place = open_place(parse(text, self.config), self.secrets)
        try:
            yield place
        finally:
            place.store.close()

    @contextmanager
    def journal(self, place: Place, *, believing: bool = True) -> Iterator[Journal]:
        """The journal of a destination, locked.

        Args:
            place: the destination.
            believing: its manifest has to be signed as it should be, if it should.

        Raises:
            ManifestError: it is not.
            Exception: as `locked_journal`.
        """
        with self.locked_journal(place.identity, place.text) as journal, _probes(place, journal):
            text = place.identity if isinstance(place.remote, Local) and not place.remote.root else place.text
            if journal.fact("place") != text:
                journal.set_fact("place", text)
            if believing:
                self.check_signature(place, journal)
            yield journal
            if news := Trust(journal, place.identity).news():
                sys.stderr.write(f"{place.text}: {news}.\n")

    @contextmanager
    def locked_journal(self, identity: str, text: str) -> Iterator[Journal]:
        """The journal of a destination that need not be reachable, locked.

        Args:
            identity: of the destination.
            text: what people call it.

        Raises:
            Transient: another run is using it.
            JournalError: it cannot be used.
            Fatal: the state folder cannot be written.
        """
        path = journal_path(identity)
        busy = f"another photosync is working with {text} at the moment; run again when it has ended"
        with locked(path.with_suffix(".lock"), busy), Journal(path, self.seam) as journal:
            yield journal

    def destinations_of(self, source: str) -> list[Known]:
        """Every destination that this machine delivered something to from a source.

        Args:
            source: its identity.
        """
        found = [peek(path, source) for path in sorted((paths.state_dir() / "journals").glob("*.sqlite"))]
        return [known for known in found if known is not None]

    @contextmanager
    def target(self, place: Place) -> Iterator[Target]:
        """A destination to be looked at, with retries."""
        with Workers(self.seam) as workers:
            yield Target(place.store, workers, Gate(workers), RetryPolicy(), Verify.AUTO)

    @contextmanager
    def snapshots(self, place: Place) -> Iterator[tuple[Snapshots, Journal]]:
        """The snapshots at a destination, and the journal that caches their nodes."""
        with self.journal(place) as journal, self.target(place) as target:
            yield _snapshots(place, journal, target)[0], journal

    def check_signature(self, place: Place, journal: Journal) -> None:
        """Looks at HEAD where keys are believed, before anything is done with the place.

        Raises:
            ManifestError: HEAD is not to be believed.
        """
        from photosync.engine import spared

        if self.sign is not None:
            Trust(journal, place.identity).sign_with(self.sign)
        if not Trust(journal, place.identity).keys:
            return
        with self.target(place) as target:
            snapshots, trust = _snapshots(place, journal, target)
            snapshots.refuse_rollback(journal.head(place.identity))
            if trust.unsigned_yet:
                with suppress(ManifestError):  # A damaged FREED is told by whoever needs it.
                    spared.renew(place.identity, journal, target)
                if snapshots.sign():
                    sys.stderr.write(f"{place.text}: {_WAS_UNSIGNED}\n")


def _leave_no_core() -> None:
    """Credentials are in memory from now on: should the process crash, its memory is not to be a file."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Holds a lock that dies with its process.

    Args:
        path: the lock's file.
        busy: what to say if somebody else holds it.

    Raises:
        Transient: somebody else does.
        Fatal: its folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout:
        raise Transient(busy) from None
    except OSError as error:
        raise Fatal(
            f"the folder {path.parent} cannot be used ({error.strerror}). "
            "Mend that, or set PHOTOSYNC_STATE_DIR or PHOTOSYNC_CACHE_DIR to another one."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _probes(place: Place, journal: Journal) -> Iterator[None]:
    """What a service was once found to check need not be found out again."""
    store = place.store
    if not isinstance(store, Probes):
        yield
        return
    name = f"probed {place.identity}"
    remembered = journal.fact(name)
    if remembered is not None:
        store.probed = json.loads(remembered)
    try:
        yield
    finally:
        if store.probed is not None:
            journal.set_fact(name, json.dumps(store.probed))


def _snapshots(place: Place, journal: Journal, target: Target) -> tuple[Snapshots, Trust]:
    from photosync.engine.record import TargetFiles

    trust = Trust(journal, place.identity)
    return Snapshots(TargetFiles(target), journal, trust), trust


def journal_path(identity: str) -> Path:
    """Where the journal of a destination lives: a readable name and a digest that tells it from others."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", identity).strip("-")[-40:]
    digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return paths.state_dir() / "journals" / f"{readable}-{digest}.sqlite"
