"""``check`` and ``verify``: looking at places and telling what was found."""

import math
from collections.abc import Callable, Iterable

from photosync.engine import audit, manifest, retry, scan, sync
from photosync.engine.audit import Finding, Result
from photosync.engine.entry import Entry, Listed
from photosync.engine.filters import Filter
from photosync.engine.limits import Gate
from photosync.engine.names import printable
from photosync.engine.nodes import ManifestEntry
from photosync.engine.record import name_there
from photosync.engine.report import Exit
from photosync.engine.retry import RetryPolicy
from photosync.engine.source import Source
from photosync.engine.target import Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Workers
from photosync.libraries import Library, open_library
from photosync.output import json_line
from photosync.places import Place
from photosync.session import Session


def check_places(
    session: Session,
    source: str,
    destination: str,
    wanted: Filter | None,
    *,
    one_way: bool,
    download: bool,
    as_json: bool,
    verbosity: int,
) -> Exit:
    """Compares two places by content and prints what differs.

    Raises:
        FileNotFoundError: the source is not there.
        PhotosyncError: a place could not be listed.
    """
    retries = RetryPolicy()
    with (
        session.open(source) as origin,
        session.open(destination) as place,
        session.journal(place) as journal,
        Workers(session.seam) as workers,
    ):
        gates = Gate(workers), Gate(workers)
        target = Target(place.store, workers, gates[1], retries, Verify.REREAD if download else Verify.AUTO)
        reader = Source(origin.store, workers, gates[0], retries, lambda _path, _size: None)

        def wants(entry: Entry) -> bool:
            return wanted is not None and wanted.wants(entry.path, entry.size, entry.mtime_ns)

        def retried(run: Callable[[], Listed], doing: str) -> Listed:
            return retry.call(run, doing, workers, gates[0], retries)

        here = scan.walk(
            origin.store,
            check=workers.check,
            is_source=True,
            wants=wants if wanted is not None else scan.everything,
            enters=wanted.enters if wanted else scan.every_folder,
            retry=retried,
        )
        there = sync.list_place(place.store, place.identity, journal, workers, gates[1], retries)
        if wanted is not None:
            there = scan.Listing([entry for entry in there.entries if wants(entry)], errors=there.errors)
        for error in [*here.errors, *there.errors]:
            raise error.error
        findings = audit.check(
            reader,
            target,
            journal,
            (origin.identity, place.identity),
            (here, there),
            workers,
            one_way=one_way,
            reread=download,
        )
        return _tell(findings, place, as_json=as_json, verbosity=verbosity, extra_counts=True)


def verify_place(
    session: Session,
    destination: str,
    *,
    deep: bool,
    sample: float | None,
    since_ns: int | None,
    as_json: bool,
    verbosity: int,
) -> Exit:
    """Compares a destination with its manifest and prints what is wrong.

    What proves wrong is no longer counted as copied: the next ``copy`` looks at it again.

    Args:
        deep: read everything back.
        sample: share of the files to look at, those first whose proof is oldest; None: all.
        since_ns: only files that were not proven since then, nanoseconds since the epoch; None: all.

    Raises:
        ManifestError: the manifest itself is damaged, forged, rolled back, or of a newer format.
        PhotosyncError: the place could not be listed.
    """
    with open_library(session, destination, Verify.REREAD if deep else Verify.AUTO) as library:
        began = session.seam.wall_ns()
        due = _due(library, sample, since_ns)
        findings = look(library, deep=deep, due=due)
        distrust(findings, library)
        head = library.head
        looked = sum(finding.result is not Result.EXTRA for finding in findings)
        extra: dict[str, object] = {
            "root": head.root,
            "snapshot": head.number,
            "not_due": head.files - looked,
        }
        code = _tell(
            findings, library.place, as_json=as_json, verbosity=verbosity, extra_counts=False, also=extra
        )
        kind = "verify --deep" if deep else "verify"
        ended = {"destination": library.place.text, "status": "ok" if code is Exit.OK else "failed"}
        library.journal.add_run(kind, library.place.identity, began, looked, ended)
        library.journal.flush()
    return code


def _due(library: Library, sample: float | None, since_ns: int | None) -> Callable[[ManifestEntry], bool]:
    """Which files are to be looked at."""
    if sample is None and since_ns is None:
        return lambda _entry: True
    proofs = library.journal.proofs(library.place.identity)
    names, stored = library.place.store.capabilities.names, library.stored_names()

    def proven_ns(entry: ManifestEntry) -> int:
        return proofs.get((name_there(entry, names, stored), entry.content), ("", 0))[1]

    ages = [(proven_ns(entry), entry.path) for entry in manifest.entries(library.head.root, library.journal)]
    chosen = sorted(age for age in ages if since_ns is None or age[0] < since_ns)
    if sample is not None:
        chosen = chosen[: math.ceil(len(ages) * sample)]
    paths = {path for _, path in chosen}
    return lambda entry: entry.path in paths


def look(
    library: Library, *, deep: bool, due: Callable[[ManifestEntry], bool] = lambda _entry: True
) -> list[Finding]:
    """Compares a library with its manifest, and remembers what was proven.

    Args:
        due: which files to look at.

    Raises:
        ManifestError: the manifest is damaged, forged, rolled back, or of a newer format.
        PhotosyncError: the place could not be listed.
    """
    place, journal = library.place, library.journal
    library.snapshots.refuse_rollback(journal.head(place.identity))
    library.snapshots.load(library.head, afresh=True)
    findings = list(
        audit.audit(
            library.target,
            place.identity,
            journal,
            manifest.entries(library.head.root, journal),
            library.listing(),
            library.workers,
            deep=deep,
            due=due,
        )
    )
    for finding in findings:
        if finding.result is Result.MATCH and finding.stored is not None:
            journal.set_proof(place.identity, finding.stored, finding.content, finding.evidence)
    return findings


def distrust(findings: Iterable[Finding], library: Library) -> None:
    """What proved wrong does not count as copied any more."""
    for finding in findings:
        if finding.result is Result.DIFFER and finding.stored is not None:
            library.journal.distrust(library.place.identity, finding.stored)


def _tell(
    findings: Iterable[Finding],
    place: Place,
    *,
    as_json: bool,
    verbosity: int,
    extra_counts: bool,
    also: dict[str, object] | None = None,
) -> Exit:
    counts = dict.fromkeys(Result, 0)
    transient = False
    for finding in sorted(findings, key=lambda found: found.path):
        counts[finding.result] += 1
        transient = transient or finding.transient
        if as_json:
            json_line(_record(finding, place))
        elif (finding.result is not Result.MATCH and verbosity >= 0) or verbosity > 0:
            print(f"{finding.result:<10} {printable(finding.path)}  {_detail(finding)}")  # noqa: T201
    bad = counts[Result.DIFFER] + counts[Result.MISSING] + counts[Result.UNREADABLE]
    if extra_counts:
        bad += counts[Result.EXTRA]
    status = "ok" if not bad else "partial" if counts[Result.MATCH] else "failed"
    if as_json:
        numbers = {result.value: count for result, count in counts.items()}
        json_line(
            {
                "event": "report",
                "status": status,
                "verified": counts[Result.MATCH],
                "failed": bad,
                **numbers,
                "requests": {place.text: dict(place.store.requests)},
                **(also or {}),
            }
        )
    elif verbosity >= 0:
        skipped = (also or {}).get("not_due")
        words = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
        rest = f", {skipped} not looked at" if skipped else ""
        print(f"{place.text}: {words or 'no files'}{rest}.")  # noqa: T201
    if not bad:
        return Exit.OK
    return Exit.RETRY if transient and bad == counts[Result.UNREADABLE] else Exit.OTHER


def _record(finding: Finding, place: Place) -> dict[str, object]:
    matches = finding.result is Result.MATCH
    return {
        "event": "file",
        "path": finding.path,
        "destination": place.text,
        "status": "verified" if matches else "failed" if finding.result is not Result.EXTRA else "extra",
        "result": finding.result.value,
        "evidence": finding.evidence,
        "bytes": finding.bytes,
        "stored": finding.stored,
        "chunks": list(finding.chunks),
        "error": finding.detail or None,
    }


def _detail(finding: Finding) -> str:
    return finding.detail or finding.evidence
