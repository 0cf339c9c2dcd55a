"""The photo as people know it: one or several files that belong together.

==================  ==============================================================================
Live Photo          ``IMG_1.HEIC`` (or JPEG) and ``IMG_1.MOV`` with one ContentIdentifier
edits               ``IMG_1.AAE``, ``IMG_O1.AAE``, ``IMG_E1.JPG``, ``IMG_E1.MOV`` beside ``IMG_1``
raw and JPEG        ``DSC_1.DNG`` and ``DSC_1.JPG``
sidecars            ``DSC_1.xmp`` or ``DSC_1.JPG.xmp``
burst               files of one burst, by Apple's identifier or by the name (``…_BURST…``)
motion photo        one file, picture and film: it stays as it is
==================  ==============================================================================

Identifiers count where they are known; names are the fallback, and never join a picture and a film whose
identifiers differ. Only files of one folder belong together.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from photosync.engine.entry import Entry
from photosync.engine.media import NOTHING, Facts

_STILLS = (
    "heic", "heif", "hif", "jpg", "jpeg", "jpe", "avif", "png", "webp", "gif", "tif", "tiff", "bmp", "mpo",
)  # fmt: skip
_RAWS = frozenset({
    "dng", "arw", "cr2", "cr3", "crw", "nef", "nrw", "orf", "pef", "raf", "rw2", "rwl", "srw", "x3f", "dcr",
    "kdc", "mrw", "sr2", "srf", "erf", "3fr", "fff", "iiq",
})  # fmt: skip
_FILMS = frozenset({
    "mov", "mp4", "m4v", "3gp", "3g2", "qt", "avi", "mkv", "webm", "mts", "m2ts", "mpg", "mpeg", "wmv",
})  # fmt: skip
_SIDECARS = frozenset(("aae", "xmp", "thm"))
_LIVE_STILLS = frozenset(("heic", "heif", "hif", "jpg", "jpeg"))
_EDITED = re.compile(r"(img_)[eo](\d{4})(?=\D|\Z)")
_BURST = re.compile(r"(?:(?P<stem>.+?)[_-])?burst[_-]?(?P<number>\d+)(?P<cover>[_-]?cover)?\Z")
_SHOT = re.compile(r"\A\s*screen[ _-]?shots?\b|\A\s*screenshots?(?=[_\d])", re.IGNORECASE)
_APPLE_FOLDER = re.compile(r"(?:\A|/)\d{3}APPLE\Z")


class Kind(StrEnum):
    """What people would call a file."""

    PHOTO = "photo"
    RAW = "raw"
    SCREENSHOT = "screenshot"
    VIDEO = "video"
    SIDECAR = "sidecar"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Asset:
    """Files that belong together; the first is the one that the photo is known by."""

    members: tuple[Entry, ...]

    @property
    def primary(self) -> Entry:
        return self.members[0]


def kind_of(path: str, facts: Facts = NOTHING) -> Kind:
    """What a file is, by its name and what it says of itself."""
    folder, _, name = path.rpartition("/")
    extension = _split(name)[1]
    if extension in _FILMS or (not extension and facts.format == "film"):
        return Kind.SCREENSHOT if _shot(folder, name) else Kind.VIDEO
    if extension in _RAWS:
        return Kind.RAW
    if extension in _SIDECARS:
        return Kind.SIDECAR
    if extension not in _STILLS and facts.format in ("", "film"):
        return Kind.OTHER
    by_phone = extension == "png" and not facts.model and _APPLE_FOLDER.search(folder)
    return Kind.SCREENSHOT if facts.screenshot or by_phone or _shot(folder, name) else Kind.PHOTO


def _shot(folder: str, name: str) -> bool:
    return bool(_SHOT.match(name) or _SHOT.match(folder.rpartition("/")[2]))


def _split(name: str) -> tuple[str, str]:
    """Stem and extension, both folded."""
    stem, _, extension = name.casefold().rpartition(".")
    return (stem, extension) if stem else (extension, "")


def family(path: str) -> tuple[str, str]:
    """Equal for files that may belong together by their names: folder, and stem without its variations."""
    folder, _, name = path.rpartition("/")
    stem, extension = _split(name)
    if extension == "xmp" and _split(stem)[1] in _RAWS.union(_STILLS, _FILMS):
        stem = _split(stem)[0]
    # Asked in this way first, most names cost no search.
    burst = _BURST.search(stem) if "burst" in stem else None
    if burst is not None:
        return folder, f"burst {burst['stem'] if len(burst['number']) < 14 else burst['number']}"
    if "img_e" in stem or "img_o" in stem:
        stem = _EDITED.sub(r"\1\2", stem, count=1)
    return folder, stem


@dataclass(slots=True)
class _Draft:
    members: list[Entry]
    pair: str = ""
    films: int = 0
    takes_film: bool = False
    folder: str = field(default="")


def pair(entries: Iterable[Entry], facts: Mapping[str, Facts]) -> list[Asset]:
    """Sorts files into assets; every file is in exactly one.

    Args:
        entries: files.
        facts: what is known of them, by path; need not be complete.

    Returns:
        Assets, in the order of the first of their members.
    """
    order: dict[str, int] = {}
    families: dict[tuple[str, str], list[Entry]] = {}
    for number, entry in enumerate(entries):
        order[entry.path] = number
        families.setdefault(family(entry.path), []).append(entry)
    made: list[Asset] = []
    loose: list[_Draft] = []
    for (folder, _), members in families.items():
        if len(members) == 1 and not facts:
            made.append(Asset((members[0],)))
            continue
        for draft in _drafts(members, facts):
            draft.folder = folder
            loose.append(draft)
    made += [Asset(tuple(draft.members)) for draft in _by_identifier(loose, facts)]
    made.sort(key=lambda asset: min([order[entry.path] for entry in asset.members]))
    return made


def _drafts(members: Sequence[Entry], facts: Mapping[str, Facts]) -> list[_Draft]:
    sorts: dict[str, list[tuple[Entry, str]]] = {"still": [], "raw": [], "film": [], "edit": [], "side": []}
    burst = False
    for entry in sorted(members, key=lambda each: each.path):
        stem, extension = _split(entry.path.rpartition("/")[2])
        burst = burst or bool(_BURST.search(stem))
        edited = _EDITED.search(stem) is not None
        sort = "side"
        if extension not in _SIDECARS:
            still = "still" if extension in _STILLS else "edit"
            sort = "raw" if extension in _RAWS else "film" if extension in _FILMS else still
        sorts["edit" if edited and sort == "still" else sort].append((entry, extension))
    drafts = []
    if burst:
        films = {entry.path for entry, _ in sorts["film"]}
        shots = [entry for entry in members if entry.path not in films]
        drafts = [_burst(shots)] if shots else []
        sorts = {"film": sorts["film"]}
    for entry, extension in sorted(sorts.get("still", ()), key=lambda each: _STILLS.index(each[1])):
        known = facts.get(entry.path, NOTHING)
        drafts.append(_Draft([entry], known.pair, takes_film=extension in _LIVE_STILLS))
    for entry, _ in sorts.get("raw", ()):
        if drafts and drafts[0].takes_film:
            drafts[0].members.append(entry)
        else:
            drafts.insert(0, _Draft([entry]))
    for entry, extension in sorts["film"]:
        _add_film(drafts, entry, extension, facts.get(entry.path, NOTHING).pair)
    for entry, extension in sorts.get("edit", ()):
        # What is neither picture nor film, such as a text of the same name, is a file of its own.
        identifier = facts.get(entry.path, NOTHING).pair
        stranger = drafts and drafts[0].pair and identifier and drafts[0].pair != identifier
        if drafts and extension in _STILLS and not stranger:
            drafts[0].members.append(entry)
        else:
            drafts.append(_Draft([entry], identifier))
    for entry, extension in sorts.get("side", ()):
        if drafts and extension in _SIDECARS:
            _owner(drafts, entry).members.append(entry)
        else:
            drafts.insert(0, _Draft([entry]))
    return drafts


def _burst(members: Sequence[Entry]) -> _Draft:
    def rank(entry: Entry) -> tuple[bool, str]:
        found = _BURST.search(_split(entry.path.rpartition("/")[2])[0])
        return not (found and found["cover"]), entry.path

    return _Draft(sorted(members, key=rank))


def _add_film(drafts: list[_Draft], film: Entry, extension: str, identifier: str) -> None:
    edited = _EDITED.search(_split(film.path.rpartition("/")[2])[0]) is not None
    for draft in drafts:
        same = bool(identifier) and identifier == draft.pair
        differ = bool(identifier and draft.pair) and not same
        by_name = extension == "mov" and draft.takes_film and (not draft.films or edited)
        if not differ and (same or by_name):
            draft.members.append(film)
            draft.films += 1
            draft.pair = draft.pair or identifier
            return
    drafts.append(_Draft([film], identifier))


def _owner(drafts: list[_Draft], sidecar: Entry) -> _Draft:
    """Whose sidecar it is: the one whose whole name it bears (``a.jpg.xmp``), else the first."""
    whole = sidecar.path.rpartition(".")[0]
    return next((each for each in drafts if any(m.path == whole for m in each.members)), drafts[0])


def _by_identifier(drafts: list[_Draft], facts: Mapping[str, Facts]) -> list[_Draft]:
    """Joins what bears one identifier under different names: halves of a Live Photo, shots of a burst."""
    first: dict[tuple[str, str], _Draft] = {}
    # Pictures before films, so that a picture is what a Live Photo is known by.
    for draft in sorted(drafts, key=lambda each: kind_of(each.members[0].path) is Kind.VIDEO):
        burst = facts.get(draft.members[0].path, NOTHING).burst
        names = [(draft.folder, name) for name in (draft.pair, f"burst {burst}" if burst else "") if name]
        known = next((first[name] for name in names if name in first), None)
        if known is None:
            first.update(dict.fromkeys(names, draft))
        else:
            known.members += draft.members
            draft.members = []
    return [draft for draft in drafts if draft.members]
