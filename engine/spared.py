"""Which copies at a destination stay whatever a source shows, because photosync itself removed the original.

The journal knows that, too; this file, ``.photosync/FREED``, is for whoever does not have that journal:
another machine, or this one after it lost its state. It is written before anything is removed, so it may name
a copy whose original is still there, but never misses one whose original is gone. docs/manifest-format.md has
the format.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from photosync.engine.errors import SafetyGuard
from photosync.engine.journal import Journal, key
from photosync.engine.nodes import FORMAT, UNDECODABLE, Damaged, ManifestError, name_of, refuse_newer
from photosync.engine.record import TRIES, TargetFiles, set_manifest_aside
from photosync.engine.snapshots import Changed, HeadMoved
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

    def encoded(self) -> bytes:
        body = _ENCODER.encode(self)
        signed = b'{"blake3":"' + name_of(body).encode() + b'",' + body[1:]
        return msgspec.json.format(signed, indent=2) + b"\n"


def encode(paths: Iterable[str]) -> bytes:
    """The file's bytes."""
    text: list[str] = []
    undecodable: list[str] = []
    for name in sorted({key(path) for path in paths}):
        try:
            text.append(name.decode())
        except UnicodeDecodeError:
            undecodable.append(name.hex())
    return _Freed(FORMAT, tuple(text), tuple(undecodable)).encoded()


def decode(data: bytes) -> frozenset[str]:
    """Destination paths.

    Raises:
        NewerFormat: written by a newer photosync.
        FreedDamaged: not what was written.
    """
    refuse_newer(data, _WHAT)
    try:
        found = msgspec.json.decode(data, type=_Freed)
        names = [path.encode() for path in found.paths] + [bytes.fromhex(each) for each in found.paths_hex]
    except UNDECODABLE as error:
        raise FreedDamaged(f"{_WHAT} cannot be decoded: {error}") from error
    paths = frozenset(name.decode("utf-8", "surrogateescape") for name in names)
    if encode(paths) != data:
        raise FreedDamaged(f"{_WHAT} does not have the bytes that were written")
    return paths


def read(target: Target) -> frozenset[str]:
    """Destination paths of copies that stay; none where nothing was ever freed.

    Raises:
        ManifestError: the file is damaged or of a newer format.
    """
    try:
        return decode(TargetFiles(target).read(FILE)[0])
    except FileNotFoundError:
        return frozenset()


def guarded(target: Target) -> frozenset[str]:
    """As `read`, for a run that deletes.

    Raises:
        SafetyGuard: it cannot be told what stays.
    """
    try:
        return read(target)
    except ManifestError as error:
        raise SafetyGuard(f"{error} Nothing was changed.") from error


def edit(target: Target, add: Iterable[str], remove: Iterable[str] = ()) -> frozenset[str]:
    """Adds and takes away destination paths, whoever else does so at the same time.

    Returns:
        What it did not name before.

    Raises:
        ManifestError: the file is damaged or of a newer format; it was left as it is.
        HeadMoved: others wrote it again and again.
    """
    files = TargetFiles(target)
    added, removed = frozenset(add), frozenset(remove)
    for attempt in range(1, TRIES + 1):
        token: str | None = None
        before: frozenset[str] = frozenset()
        try:
            data, token = files.read(FILE)
            before = decode(data)
        except FileNotFoundError:
            pass
        after = (before - removed) | added
        if after == before:
            return frozenset()
        try:
            files.write(FILE, encode(after), token)
        except (Changed, FileExistsError):
            if attempt < TRIES:
                target.give_way(attempt)
            continue
        return added - before
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
        edit(target, untold, wrong)
        journal.set_told(destination, untold)
        journal.flush()


def rebuild(destination: str, journal: Journal, target: Target, seam: Seam) -> str | None:
    """Writes what the journal knows; a damaged file is kept under another name.

    Returns:
        That name, or None.
    """
    aside = None
    try:
        read(target)
    except Damaged:
        aside = set_manifest_aside(target, seam, FILE)
    tell(destination, journal, target)
    return aside
