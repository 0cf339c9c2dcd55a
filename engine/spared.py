"""Which copies at a destination stay whatever a source shows, because photosync itself removed the original.

The journal knows that, too; this file, ``.photosync/FREED``, is for whoever does not have that journal:
another machine, or this one after it lost its state. It is written before anything is removed, so it may name
a copy whose original is still there, but never misses one whose original is gone. docs/manifest-format.md has
the format.

Where HEAD is signed, this file is, too: else who writes the destination could take names away, and have the
owner's next ``sync`` remove the only copies (`photosync.engine.signing`).
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from photosync.engine.errors import SafetyGuard
from photosync.engine.journal import Journal, key
from photosync.engine.journal_rows import path_of
from photosync.engine.manifest import RolledBack
from photosync.engine.nodes import FORMAT, UNDECODABLE, Damaged, ManifestError, name_of, refuse_newer
from photosync.engine.record import TRIES, TargetFiles, set_manifest_aside
from photosync.engine.signing import FREED_CONTEXT, FreedUntrusted, Mark, Signature, Trust, Untrusted
from photosync.engine.snapshots import Changed, HeadMoved, Snapshots
from photosync.engine.target import Target
from photosync.engine.workers import Seam

FILE = "FREED"
_WHAT = f".photosync/{FILE}"
_ENCODER = msgspec.json.Encoder(order="sorted")


class FreedDamaged(Damaged):
    """Nobody can tell which copies are the only ones."""

    remedy = (
        "It says which copies photosync removed the originals of, and sync removes nothing without it. "
        "`photosync copy` never deletes; `photosync manifest rebuild DESTINATION` keeps the file aside and "
        "writes what this machine knows."
    )


@dataclass(frozen=True, slots=True)
class _Freed:
    format: int
    paths: tuple[str, ...] = ()
    paths_hex: tuple[str, ...] = ()
    ed25519: Signature | msgspec.UnsetType = msgspec.UNSET
    library: str | msgspec.UnsetType = msgspec.UNSET
    number: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def names(self) -> frozenset[str]:
        """Destination paths. Raises ValueError: one is no hexadecimal."""
        raw = [path.encode() for path in self.paths] + [bytes.fromhex(each) for each in self.paths_hex]
        return frozenset(path_of(name) for name in raw)

    @property
    def signature(self) -> Signature | None:
        return self.ed25519 if isinstance(self.ed25519, Signature) else None

    @property
    def mark(self) -> Mark | None:
        if isinstance(self.library, msgspec.UnsetType) or isinstance(self.number, msgspec.UnsetType):
            return None
        return Mark(name_of(self.body()), self.library, self.number)

    def body(self) -> bytes:
        """What is signed."""
        return _ENCODER.encode(replace(self, ed25519=msgspec.UNSET))

    def encoded(self) -> bytes:
        body = _ENCODER.encode(self)
        hashed = b'{"blake3":"' + name_of(body).encode() + b'",' + body[1:]
        return msgspec.json.format(hashed, indent=2) + b"\n"


def _unsigned(paths: Iterable[str]) -> _Freed:
    text: list[str] = []
    undecodable: list[str] = []
    for name in sorted({key(path) for path in paths}):
        try:
            text.append(name.decode())
        except UnicodeDecodeError:
            undecodable.append(name.hex())
    return _Freed(FORMAT, tuple(text), tuple(undecodable))


def _parse(data: bytes) -> _Freed:
    refuse_newer(data, _WHAT)
    try:
        found = msgspec.json.decode(data, type=_Freed)
        plain = _unsigned(found.names)
        canonical = replace(
            plain, ed25519=found.ed25519, library=found.library, number=found.number
        ).encoded()
    except UNDECODABLE as error:
        raise FreedDamaged(f"{_WHAT} cannot be decoded: {error}") from error
    if canonical != data:
        raise FreedDamaged(f"{_WHAT} does not have the bytes that were written")
    # All three or none: whoever takes the signature away cannot keep the number.
    given = {each is msgspec.UNSET for each in (found.ed25519, found.library, found.number)}
    if len(given) > 1 or (found.mark is not None and not found.mark.sound):
        raise FreedDamaged(f"{_WHAT} contradicts itself")
    return found


def encode(paths: Iterable[str]) -> bytes:
    """The bytes of an unsigned file."""
    return _unsigned(paths).encoded()


def decode(data: bytes) -> frozenset[str]:
    """Destination paths, whoever signed them.

    Raises:
        NewerFormat: written by a newer photosync.
        FreedDamaged: not what was written.
    """
    return _parse(data).names


def read(destination: str, journal: Journal, target: Target) -> frozenset[str]:
    """Destination paths of copies that stay; none where nothing was ever freed.

    Args:
        destination: what the journal calls the place.
        journal: knows whose word is believed there.
        target: the place.

    Raises:
        ManifestError: the file is damaged, of a newer format, or not signed as it must be.
    """
    return _read(target, Trust(journal, destination))[0]


def _read(target: Target, trust: Trust) -> tuple[frozenset[str], str | None]:
    """What is named, and the version of the file that names it."""
    try:
        data, token = TargetFiles(target).read(FILE)
    except FileNotFoundError:
        trust.missing_freed()
        return frozenset(), None
    found = _parse(data)
    trust.accept_freed(found.body(), found.signature, found.mark)
    return found.names, token


def guarded(destination: str, journal: Journal, target: Target) -> frozenset[str]:
    """As `read`, for a run that deletes.

    Raises:
        SafetyGuard: it cannot be told what stays.
    """
    try:
        _meet(destination, journal, target)
        return read(destination, journal, target)
    except ManifestError as error:
        raise SafetyGuard(f"{error} Nothing was changed.") from error


def _meet(destination: str, journal: Journal, target: Target) -> None:
    """A machine that was never here looks at HEAD before it believes FREED, or that there is none."""
    trust = Trust(journal, destination)
    if trust.keys or journal.head(destination) is not None:
        return
    try:
        Snapshots(TargetFiles(target), journal, trust).head()
    except (Untrusted, RolledBack):
        raise
    except ManifestError:
        # What is wrong with an unsigned manifest is told by whoever writes the next one.
        return


def edit(
    destination: str, journal: Journal, target: Target, add: Iterable[str], remove: Iterable[str] = ()
) -> frozenset[str]:
    """Adds and takes away destination paths, whoever else does so at the same time. Where it is signed, HEAD
    then tells of it.

    Args:
        destination, journal, target: as for `read`.
        add, remove: destination paths.

    Returns:
        What it did not name before.

    Raises:
        ManifestError: the file is damaged, of a newer format, or not signed as it must be; it was left as
            it is.
        HeadMoved: others wrote it, or HEAD, again and again.
    """
    trust = Trust(journal, destination)
    added, removed = frozenset(add), frozenset(remove)
    for attempt in range(1, TRIES + 1):
        before, token = _read(target, trust)
        after = (before - removed) | added
        if after == before or _write(target, trust, after, token):
            vouch(destination, journal, target)
            return added - before
        if attempt < TRIES:
            target.give_way(attempt)
    raise HeadMoved(f"others write {_WHAT} all the time")


def _write(target: Target, trust: Trust, paths: Iterable[str], token: str | None) -> bool:
    """Writes the file, signed where it has to be; whether it still was the version that was read."""
    new = _unsigned(paths)
    if trust.keys:
        seen = trust.freed
        library, number = (seen.library, seen.number + 1) if seen else (secrets.token_hex(16), 1)
        new = replace(new, library=library, number=number)
        new = replace(new, ed25519=trust.sign(new.body(), FREED_CONTEXT) or msgspec.UNSET)
    try:
        TargetFiles(target).write(FILE, new.encoded(), token)
    except (Changed, FileExistsError):
        return False
    if new.mark is not None:
        trust.wrote_freed(new.mark)
    return True


def vouch(destination: str, journal: Journal, target: Target) -> None:
    """Has a signed HEAD tell of the newest FREED that was seen: a machine that never saw it can miss it.

    Raises:
        ManifestError: HEAD is not as it must be.
        HeadMoved: others wrote it again and again.
    """
    if Trust(journal, destination).freed is None:
        return
    for attempt in range(1, TRIES + 1):
        try:
            Snapshots(TargetFiles(target), journal, Trust(journal, destination)).sign()
            return
        except HeadMoved:
            if attempt == TRIES:
                raise
            target.give_way(attempt)


def renew(destination: str, journal: Journal, target: Target) -> tuple[frozenset[str], frozenset[str]]:
    """Writes the file anew, whoever wrote it last: what it names and all that the journal knows; signed where
    a key is believed.

    Returns:
        What it names now, and what of that the journal knows. Nothing: no file is there, none was written.

    Raises:
        ManifestError: the file is damaged or of a newer format; it was left as it is.
        Untrusted: this machine has no key.
        HeadMoved: others wrote it again and again.
    """
    trust = Trust(journal, destination)
    journal.tell_again(destination)
    known = frozenset(journal.untold(destination))
    for attempt in range(1, TRIES + 1):
        names, token = known, None
        try:
            data, token = TargetFiles(target).read(FILE)
            found = _parse(data)
            names |= found.names
            if trust.keys:
                trust.accept_freed(found.body(), found.signature, found.mark)
        except FileNotFoundError:
            if not names:
                return names, known
        except FreedUntrusted:
            # Its number is not believed; one after the newest that was seen will be.
            pass
        if _write(target, trust, names, token):
            journal.set_told(destination, known)
            journal.flush()
            return names, known
        if attempt < TRIES:
            target.give_way(attempt)
    raise HeadMoved(f"others write {_WHAT} all the time")


def tell(destination: str, journal: Journal, target: Target, but: Iterable[str] = ()) -> None:
    """Brings the file up to date with what the journal knows and has not told yet.

    Args:
        destination: what the journal calls the place.
        journal: knows which copies stay.
        target: the place.
        but: paths to take away, because nothing was removed after all.

    Raises:
        ManifestError: the file is damaged or of a newer format; it was left as it is.
    """
    untold, wrong = journal.untold(destination), frozenset(but)
    if untold or wrong:
        edit(destination, journal, target, untold, wrong)
        journal.set_told(destination, untold)
        journal.flush()


def rebuild(destination: str, journal: Journal, target: Target, seam: Seam) -> str | None:
    """Writes what the journal knows; a damaged file is kept under another name. Where no key is believed,
    what is there is not signed any more: else its key would be believed at first sight.

    Returns:
        That name, or None.
    """
    trust, aside = Trust(journal, destination), None
    try:
        if trust.keys:
            read(destination, journal, target)
        else:
            renew(destination, journal, target)
    except (Damaged, FreedUntrusted) as error:
        if isinstance(error, Damaged):
            aside = set_manifest_aside(target, seam, FILE)
        if trust.keys and not renew(destination, journal, target)[0]:
            trust.forget_freed()
    tell(destination, journal, target)
    return aside
