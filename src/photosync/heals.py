"""``heal``: what ``verify`` finds damaged or missing, mended from copies that have it whole."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from photosync.audits import distrust, look
from photosync.engine import manifest, sync
from photosync.engine.actions import Plan, Refuse
from photosync.engine.audit import Finding, Result
from photosync.engine.entry import Entry
from photosync.engine.events import Notice
from photosync.engine.heal import Healing, Wound, plan_of, wound_of
from photosync.engine.item import Pair, Settings
from photosync.engine.names import Names, decode, match_key, printable
from photosync.engine.replica import Replica, find_places
from photosync.engine.report import Exit
from photosync.engine.scan import Listing
from photosync.engine.sizes import human_size
from photosync.engine.sync import Job
from photosync.engine.verify import Verify
from photosync.libraries import Library, open_library
from photosync.output import Json, Output, json_line
from photosync.restores import replica_of
from photosync.session import Session


def heal_place(
    session: Session,
    destination: str,
    others: Sequence[str],
    output: Output,
    *,
    deep: bool,
    dry_run: bool,
    settings: Settings,
    device: str,
) -> Exit:
    """Finds what is wrong with a destination, mends it, and shows the end.

    Args:
        others: copies of the library to take good chunks and missing files from.
        deep: find damage by reading everything back.

    Raises:
        ManifestError: what should be there is itself in doubt: damaged, forged, rolled back or newer.
        PhotosyncError: a place could not be used.
    """
    with ExitStack() as stack:
        how = Verify.REREAD if deep else Verify.AUTO
        library = stack.enter_context(open_library(session, destination, how))
        further = [stack.enter_context(open_library(session, other)) for other in others]
        findings = look(library, deep=deep)
        distrust(findings, library)
        listing = library.listing()
        wounds, unknown = _wounds(findings, library, listing)
        if not wounds and not unknown:
            return _nothing(library, len(findings), output)
        entries = [wound.entry for wound in wounds]
        places = find_places(entries, library.holdings(listing, library.trash()), library.journal)
        own = Replica(library.place.text, library.place.store, places)
        copies: list[Replica] = []
        for each in further:
            each.snapshots.load(each.head)
            copies.append(replica_of(each, entries, trash=False))
        if dry_run:
            return _show(wounds, unknown, isinstance(output, Json), library)
        healing = Healing(wounds, own, copies, session.seam)
        place = library.place
        pair = Pair(healing, place.store, f"heal:{place.identity}", place.identity, place.text)
        job = Job(pair, settings=replace(settings, how=how), device=device)
        plan = plan_of(wounds)
        report = sync.carry_out(
            job, Plan([*plan.actions, *unknown], 0), library.journal, session.seam, output
        )
        if copies:
            fetched = human_size(healing.fetched)
            output(Notice("info", f"{fetched} read from {' and '.join(copy.name for copy in copies)}"))
    output.report(report)
    return report.exit_code


def _wounds(
    findings: Sequence[Finding], library: Library, listing: Listing
) -> tuple[list[Wound], list[Refuse]]:
    """What can be mended, and what is not known to be wrong or right."""
    rules = library.place.store.capabilities.names
    names = Names(rules, {match_key(entry.path, rules): decode(entry.path) for entry in listing.entries})
    wounds: list[Wound] = []
    unknown: list[Refuse] = []
    for finding in sorted(findings, key=lambda found: found.path):
        if finding.result is Result.UNREADABLE:
            unknown.append(Refuse(Entry(finding.path, finding.bytes), finding.detail))
        elif finding.result in (Result.MISSING, Result.DIFFER):
            entry = manifest.find(library.head.root, finding.path, library.journal)
            assert entry is not None, "an audit tells of what is in the manifest"
            wounds.append(wound_of(entry, finding, entry.stored or names.assign(entry.path)))
    return wounds, unknown


def _nothing(library: Library, files: int, output: Output) -> Exit:
    if isinstance(output, Json):
        json_line({"event": "report", "status": "nothing", "verified": files, "failed": 0})
    else:
        print(f"Nothing to heal: all {files} files at {library.place.text} are as they should be.")  # noqa: T201
    return Exit.OK


def _show(wounds: Sequence[Wound], unknown: Sequence[Refuse], as_json: bool, library: Library) -> Exit:
    for wound in wounds:
        what = "missing" if wound.stored is None else "damaged"
        if as_json:
            json_line(
                {
                    "event": "plan",
                    "action": "heal",
                    "path": wound.entry.path,
                    "to": wound.to,
                    "bytes": wound.entry.size,
                    "reason": what,
                    "chunks": sorted(wound.bad),
                }
            )
        else:
            print(f"heal     {printable(wound.entry.path)}  ({what})")  # noqa: T201
    for each in unknown:
        if as_json:
            row = {"event": "plan", "action": "refuse", "path": each.source.path, "bytes": each.source.size}
            json_line({**row, "reason": each.reason})
        else:
            print(f"unknown  {printable(each.source.path)}  ({each.reason})")  # noqa: T201
    if as_json:
        json_line(
            {
                "event": "plan-totals",
                "destination": library.place.text,
                "actions": len(wounds) + len(unknown),
                "bytes": sum(wound.entry.size for wound in wounds),
            }
        )
    else:
        print(f"{len(wounds)} to heal at {library.place.text}. Nothing was changed.")  # noqa: T201
    return Exit.OK
