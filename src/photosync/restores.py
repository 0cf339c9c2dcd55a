"""``restore``: files of a snapshot brought back, from one copy or the fastest of several."""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime

from photosync.engine import manifest, sync
from photosync.engine.assets import family, pair
from photosync.engine.errors import Permanent
from photosync.engine.events import Notice
from photosync.engine.filters import Filter, moment
from photosync.engine.item import Pair, Settings
from photosync.engine.manifest import RolledBack
from photosync.engine.nodes import ManifestEntry, NodeStore
from photosync.engine.plan import Policy
from photosync.engine.replica import ManifestSource, Replica, find_places, listed
from photosync.engine.report import Exit, Report, Tally
from photosync.engine.sizes import human_size
from photosync.engine.snapshots import Snapshot
from photosync.engine.sync import Job
from photosync.jobs import refuse_overlap, show_plan
from photosync.libraries import Library, open_library
from photosync.output import Json, Output
from photosync.phone_restores import PhoneRestore, is_phone, show_going
from photosync.places import Place, PlaceError
from photosync.session import Session

_DAY_NS = 86_400_000_000_000
_WILD = re.compile(r"[*?\[{]")


def restore_place(
    session: Session,
    destination: str,
    target: str,
    patterns: Sequence[str],
    output: Output,
    *,
    as_of: str | None,
    others: Sequence[str],
    dry_run: bool,
    settings: Settings,
    confirm: Callable[[str], bool],
) -> Exit:
    """Brings files back and shows the end.

    Args:
        destination: holds the manifest that says what there is to restore.
        target: where the files go, under their original names.
        patterns: rclone's, or plain paths of files and folders; none: everything. What they take of a photo
            of several files brings the others along.
        as_of: number of a snapshot, or a date or age; None: the newest.
        others: further copies of the library to read from.
        confirm: asked before anything is written to a phone; says whether to go on.

    Raises:
        FileNotFoundError: no manifest, or nothing in the snapshot matches.
        PlaceError, FilterError: something was written wrongly.
        PhotosyncError: a place could not be used.
    """
    with ExitStack() as stack:
        library = stack.enter_context(open_library(session, destination))
        further = [stack.enter_context(open_library(session, other)) for other in others]
        where = stack.enter_context(session.open(target))
        refuse_overlap(library.place, where, "copy")
        if not where.store.capabilities.writable and not is_phone(where):
            raise PlaceError(f"{target} can only be read. Name another place.")
        _tell_rollback(library, output)
        library.snapshots.load(library.head)
        snapshot = choose_snapshot(library, as_of, session.seam.wall_ns())
        entries, besides = _chosen(snapshot.root, library.journal, _filter(patterns))
        if not entries:
            what = " ".join(patterns) or "any file"
            raise FileNotFoundError(
                2, f"snapshot {snapshot.number} at {destination} has nothing like it", what
            )
        total = human_size(sum(entry.size for entry in entries))
        with_them = f", {besides} of them the other files of the same photos" if besides else ""
        output(
            Notice(
                "info",
                f"snapshot {snapshot.number} of {snapshot.time}: {len(entries)} files, {total}{with_them}",
            )
        )
        replicas = [replica_of(library, entries, trash=True)]
        for each in further:
            each.snapshots.load(each.head)
            replicas.append(replica_of(each, entries, trash=False))
        source = ManifestSource(entries, replicas, session.seam)
        if is_phone(where):
            return _to_phone(session, where, source, entries, output, confirm, dry_run=dry_run)
        pair = Pair(source, where.store, f"restore:{library.place.identity}", where.identity, where.text)
        job = Job(
            pair, Policy(plain_names=True), settings, allow_empty=True, allow_shrunken=True, snapshot=False
        )
        with session.journal(where) as journal:
            if dry_run:
                prepared = sync.prepare(job, journal, session.seam, lambda _event: None)
                if isinstance(output, Json):
                    show_plan(prepared, where, as_json=True)
                else:
                    _show(prepared, replicas)
                return Exit.OK
            report = sync.run(job, journal, session.seam, output)
    output.report(report)
    return report.exit_code


def _to_phone(
    session: Session,
    where: Place,
    source: ManifestSource,
    entries: Sequence[ManifestEntry],
    output: Output,
    confirm: Callable[[str], bool],
    *,
    dry_run: bool,
) -> Exit:
    with session.locked_journal(where.identity, where.text):
        restore = PhoneRestore(where, source, session.seam, output)
        going = restore.plan(entries)
        if dry_run:
            show_going(going, as_json=isinstance(output, Json))
            return Exit.OK
        size = human_size(sum(entry.size for entry in entries))
        if not confirm(f"Write {len(entries)} files ({size}) to {where.text}?"):
            output.report(Report(where.text, Tally()))
            return Exit.OK
        report = restore.run(going)
    output.report(report)
    return report.exit_code


def _tell_rollback(library: Library, output: Output) -> None:
    """A manifest that went back in time still restores, but its user should know."""
    try:
        library.snapshots.refuse_rollback(library.journal.head(library.place.identity))
    except RolledBack as error:
        output(Notice("warning", f"{error} What follows is restored from the older state."))


def choose_snapshot(library: Library, as_of: str | None, now_ns: int) -> Snapshot:
    """The snapshot that a number, a date or an age means; the library's manifest must be loaded.

    Raises:
        FilterError: it means nothing.
        Permanent: there is no such snapshot.
    """
    if as_of is None:
        return library.head
    if as_of.isdigit():
        return library.snapshots.at(int(as_of))
    until = moment(as_of, now_ns, "--as-of")
    if until is None:
        return library.head
    if re.fullmatch(r"\d{4}-\d\d-\d\d", as_of):
        until += _DAY_NS
    history = library.snapshots.history()
    fitting = [each for each in history if _written_ns(each) <= until]
    if not fitting:
        raise Permanent(
            f"the first snapshot at {library.place.text} is of {history[0].time}, after --as-of {as_of}"
        )
    return fitting[-1]


def _written_ns(snapshot: Snapshot) -> int:
    return round(datetime.fromisoformat(snapshot.time).timestamp() * 1_000_000) * 1000


def _chosen(root: str, nodes: NodeStore, wanted: Filter | None) -> tuple[list[ManifestEntry], int]:
    """Entries that a filter wants, each photo with all of its files, and how many came only because of that.

    A manifest does not know identifiers, so names tell what belongs together: the worst of a wrong guess is a
    file more.
    """
    if wanted is None:
        return list(manifest.entries(root, nodes)), 0
    named = {
        entry.path
        for entry in manifest.entries(root, nodes)
        if wanted.wants(entry.path, entry.size, entry.mtime_ns)
    }
    families = {family(path) for path in named}
    near = {e.path: e for e in manifest.entries(root, nodes) if family(e.path) in families}
    photos = pair(map(listed, near.values()), {})
    paths = {
        member.path
        for photo in photos
        if any(member.path in named for member in photo.members)
        for member in photo.members
    }
    return [entry for path, entry in near.items() if path in paths], len(paths) - len(named)


def _filter(patterns: Sequence[str]) -> Filter | None:
    """A path without wildcards is that file, or everything in that folder."""
    include: list[str] = []
    for pattern in patterns:
        if _WILD.search(pattern):
            include.append(pattern)
        else:
            path = pattern.strip("/")
            include += [f"/{path}", f"/{path}/**"]
    return Filter.parse(include=include, now_ns=0) if include else None


def replica_of(library: Library, entries: Sequence[ManifestEntry], *, trash: bool) -> Replica:
    """A library as a place to read entries from.

    Args:
        trash: look there, too, for what lies nowhere else.
    """
    listing = library.listing()
    places = find_places(entries, library.holdings(listing, []), library.journal)
    if trash and not all(places.values()):
        places = find_places(entries, library.holdings(listing, library.trash()), library.journal)
    return Replica(library.place.text, library.place.store, places)


def _show(prepared: sync.Prepared, replicas: Sequence[Replica]) -> None:
    from photosync.engine.names import printable

    for row in prepared.plan.describe():
        print(f"{row['action']:<8} {printable(str(row['path']))}  ({row['reason']})")  # noqa: T201
    names = " and ".join(replica.name for replica in replicas)
    print(  # noqa: T201
        f"{len(prepared.plan.actions)} to restore from {names} ({human_size(prepared.plan.bytes)}), "
        f"{prepared.plan.unchanged} there already. Nothing was changed."
    )
