"""``dedupe``: equal content under several names, and several files under one."""

from collections.abc import Callable, Mapping, Sequence

from photosync.engine import duplicates, removal, spared, verify
from photosync.engine.assets import Kind, family, kind_of
from photosync.engine.capabilities import SharesNames
from photosync.engine.duplicates import SAME_NAME, Duplicates, Hashes
from photosync.engine.entry import Entry
from photosync.engine.errors import Fatal, PhotosyncError, Transient, classify
from photosync.engine.filters import Filter
from photosync.engine.names import printable
from photosync.engine.removal import Fate, Removal
from photosync.engine.report import Exit
from photosync.engine.sizes import human_size
from photosync.engine.workers import each
from photosync.managing import Open, need_trash, opened, stamp, told, write_manifest
from photosync.output import json_line
from photosync.places import PlaceError
from photosync.session import Session

MODES = ("list", "trash", "rename")


def dedupe(
    session: Session,
    text: str,
    wanted: Filter | None,
    *,
    mode: str,
    download: bool,
    dry_run: bool,
    as_json: bool,
    verbosity: int,
) -> Exit:
    """Finds equal content under several names, and several files under one name.

    Args:
        text: the place.
        wanted: which files; None: all.
        mode: "list" only tells; "trash" moves all but one of equal files to the trash; "rename" gives files
            that share their name, at a service that allows it, names of their own.
        download: read files of equal size whose hash nobody knows.
        dry_run: only tell.

    Raises:
        FileNotFoundError: the place is not there.
        PlaceError: it has no trash, cannot have two files of one name, or can only be read.
        PhotosyncError: it could not be listed, or it cannot be told which copies are the last.
    """
    with opened(session, text, to_write=mode != "list") as at:
        store = at.place.store
        entries = [
            entry
            for entry in at.listing.entries
            if wanted is None or wanted.wants(entry.path, entry.size, entry.mtime_ns)
        ]
        if mode == "rename" and not isinstance(store, SharesNames):
            raise PlaceError(f"{text}: no two files have one name there, so there is nothing to rename")
        if mode == "trash":
            need_trash(at, text)
        known, read = _known(at), dict[str, Hashes]()
        stay = spared.guarded(at.place.identity, at.journal, at.target)
        stay |= frozenset(at.journal.untold(at.place.identity))
        groups, unknown = duplicates.find(entries, known, stay)
        if download and unknown:
            read = _all(at, unknown, lambda entry: _read(at, entry))
            known = _either(read, known)
            groups, unknown = duplicates.find(entries, known, stay)
        doubted: list[Removal] = []
        if mode == "trash" and not dry_run:
            candidates = _candidates(groups, at.listing.entries)
            fresh = _all(at, candidates, lambda entry: read.get(entry.path) or _fresh(at, entry))
            believed, known = groups, _either(fresh, lambda _entry: {})
            groups, _ = duplicates.find(entries, known, stay)
            doubted = _doubted(believed, groups)
        groups = duplicates.whole(groups, at.listing.entries, known)
        shared = _sharing(at, entries)
        if mode == "list" or dry_run:
            return _listed(groups, unknown, shared, text, as_json=as_json)
        if mode == "rename":
            removals = each(at.workers, store.capabilities.write_concurrency, list(shared),
                            lambda path: _rename(at, path), "rename")  # fmt: skip
            return told(removals, text, None, as_json=as_json, verbosity=verbosity)
        extra = [entry for group in groups if group.evidence != SAME_NAME for entry in group.spare]
        held = [
            Removal(entry.path, Fate.KEPT, entry.size, error=group.held[entry.path])
            for group in groups
            for entry in group.others
            if entry.path in group.held
        ]
        removals = removal.at_destination(
            at.target, at.journal, at.place.identity, extra, at.workers, stamp()
        )
        problem = write_manifest(session, at)
        return told([*removals, *held, *doubted], text, problem, as_json=as_json, verbosity=verbosity)


def _known(at: Open) -> Callable[[Entry], Hashes]:
    """What the listing tells of a file's content, and what an earlier run proved."""
    proven = at.journal.known_contents(at.place.identity)

    def hashes(entry: Entry) -> Hashes:
        found = dict(entry.digests)
        size, version, content = proven.get(entry.path, (-1, None, ""))
        if version is not None and (size, version) == (entry.size, entry.version) and ":" not in content:
            found["blake3"] = content
        return found

    return hashes


def _either(found: Mapping[str, Hashes], other: Callable[[Entry], Hashes]) -> Callable[[Entry], Hashes]:
    return lambda entry: found.get(entry.path) or other(entry)


def _all(at: Open, entries: Sequence[Entry], hashes: Callable[[Entry], Hashes]) -> dict[str, Hashes]:
    threads = at.place.store.capabilities.read_concurrency
    return dict(each(at.workers, threads, entries, lambda entry: (entry.path, hashes(entry)), "read"))


def _candidates(groups: Sequence[Duplicates], entries: Sequence[Entry]) -> list[Entry]:
    """What may go or is to vouch for it, and the sidecars that may go with it."""
    found = {entry.path: entry for group in groups for entry in (group.keep, *group.others)}
    families = {family(path) for path in found}
    for entry in entries:
        if kind_of(entry.path) is Kind.SIDECAR and family(entry.path) in families:
            found[entry.path] = entry
    return list(found.values())


def _fresh(at: Open, entry: Entry) -> Hashes:
    """What the place itself says now of a file's content, else what reading it shows: what an earlier run
    proved may have rotted since. None of them: the file is not touched."""
    if entry.digests:
        return entry.digests
    try:
        now = at.target.look(entry.path)
        if now is None:
            return {}
        return now.digests or _read(at, entry)
    except Fatal:
        raise
    except (PhotosyncError, OSError):
        return {}


def _read(at: Open, entry: Entry) -> Hashes:
    found = at.target.call(
        lambda: verify.reread(at.place.store.open(entry.path), check=at.workers.check),
        f"reading {entry.path}",
    )
    return {"blake3": found.content}


def _doubted(believed: Sequence[Duplicates], groups: Sequence[Duplicates]) -> list[Removal]:
    """Files that an earlier run knew to be equal and that are not now, or could not be read."""
    equal = {entry.path for group in groups for entry in (group.keep, *group.others)}
    return [
        Removal(entry.path, Fate.KEPT, entry.size, error="it has other bytes than when it was copied, or "
                f"{printable(group.keep.path)} has, or one cannot be read: see photosync verify --deep")
        for group in believed
        for entry in group.others
        if entry.path not in equal and group.evidence != SAME_NAME
    ]  # fmt: skip


def _sharing(at: Open, entries: Sequence[Entry]) -> dict[str, str]:
    """What is shown under another name than its own, because something beside it has that: path → the path
    that both would have."""
    store = at.place.store
    if not isinstance(store, SharesNames):
        return {}
    wanted = {entry.path for entry in entries}
    folders = {path.rpartition("/")[0] for path in wanted}
    return {
        path: name
        for path, name in store.shared_names().items()
        if path != name and (path in wanted or any(f"{folder}/".startswith(f"{path}/") for folder in folders))
    }


def _rename(at: Open, path: str) -> Removal:
    store = at.place.store
    assert isinstance(store, SharesNames)
    try:
        stored = at.target.call(lambda: store.make_own(path), f"renaming {path}")
    except Fatal:
        raise
    except (PhotosyncError, OSError) as error:
        found = classify(error, f"renaming {path}")
        return Removal(path, Fate.FAILED, error=str(found), transient=isinstance(found, Transient))
    return Removal(path, Fate.RENAMED, stored.size, path)


def _listed(
    groups: Sequence[Duplicates],
    unknown: Sequence[Entry],
    shared: Mapping[str, str],
    text: str,
    *,
    as_json: bool,
) -> Exit:
    spare = sum(one.size for group in groups for one in group.spare)
    files = sum(len(group.spare) for group in groups)
    if as_json:
        for group in groups:
            json_line(
                {
                    "event": "duplicates",
                    "keep": group.keep.path,
                    "others": [one.path for one in group.spare],
                    "bytes": group.keep.size,
                    "evidence": group.evidence,
                    "held": dict(group.held),
                }
            )
        for path, name in shared.items():
            json_line({"event": "same-name", "path": path, "name": name})
        json_line(
            {
                "event": "report",
                "status": "ok",
                "place": text,
                "groups": len(groups),
                "duplicates": files,
                "bytes": spare,
                "unknown": len(unknown),
                "same_name": len(shared),
            }
        )
        return Exit.OK
    for group in groups:
        print(f"keep     {printable(group.keep.path)}  ({group.evidence})")  # noqa: T201
        for one in group.others:
            why = group.held.get(one.path)
            print(f"  equal  {printable(one.path)}{f'  stays: {why}' if why else ''}")  # noqa: T201
    for path, name in shared.items():
        print(f"one name {printable(path)}  is called {printable(name)}, as another is")  # noqa: T201
    found = f"{files} duplicate{'s' * (files != 1)} in {len(groups)} group{'s' * (len(groups) != 1)}"
    print(f"{text}: {found}, {human_size(spare)}.")  # noqa: T201
    if shared:
        print(f"{len(shared)} share their name with another: --mode rename gives each its own.")  # noqa: T201
    if unknown:
        print(  # noqa: T201
            f"{len(unknown)} files have the size of another, and nobody knows their hash: "
            "--download reads them."
        )
    return Exit.OK
