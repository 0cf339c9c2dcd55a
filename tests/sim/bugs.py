"""Bugs that are planted in the real code, one at a time: what the simulation must see, to be believed.

`BUGS` says within how many seeds each must be found. Those of a mirror's stage are in
`tests.sim.test_mirror`.
"""

import hashlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from photosync.backends import local_store, local_tree, posix
from photosync.engine import (
    audit,
    freeup,
    journal_rows,
    plan,
    record,
    renames,
    replica,
    scan,
    source,
    sync,
    target,
    transfer,
    verify,
)
from photosync.engine.assets import Asset
from photosync.engine.capabilities import Sweeps
from photosync.engine.entry import Entry
from photosync.engine.errors import PhotosyncError, SourceChanged, Transient
from photosync.engine.hashing import Fingerprint
from photosync.engine.journal import Journal, key
from photosync.engine.large import Large
from photosync.engine.scan import Listing
from photosync.engine.workers import ByteBudget
from tests.sim import household
from tests.sim.disk import File, Folder
from tests.sim.household import Household, scratch
from tests.sim.kernel import Kernel
from tests.sim.life import draw
from tests.sim.model import SLIP

Plant = Callable[[pytest.MonkeyPatch], None]


# what is proven


def ignore_hashes(patch: pytest.MonkeyPatch) -> None:
    """What the service reports about its bytes is believed to agree."""
    patch.setattr(verify, "agreed", lambda reported, _found: next(iter(reported), None))


def etag_trusted(patch: pytest.MonkeyPatch) -> None:
    """That a service tells some hash, such as an ETag, is taken for proof."""
    real = verify.told
    patch.setattr(
        verify,
        "told",
        lambda digests, found, how: "server-hash:etag" if digests else real(digests, found, how),
    )


def claim_without_proof(patch: pytest.MonkeyPatch) -> None:
    """Copies are claimed without proof."""
    patch.setattr(verify, "prove", lambda *_args, **_kwargs: verify.REREAD)


def adopt_by_size(patch: pytest.MonkeyPatch) -> None:
    """An object of the same size counts as the same."""

    def same(_self: target.Target, existing: object, found: Fingerprint) -> str | None:
        return "server-hash:size" if getattr(existing, "size", None) == found.size else None

    patch.setattr(target.Target, "same", same)


def size_trusted(patch: pytest.MonkeyPatch) -> None:
    """A file of the same size counts as unchanged, whatever its time."""
    patch.setattr(journal_rows, "same_state", lambda one, other: one.size == other.size)


def believe_short_reads(patch: pytest.MonkeyPatch) -> None:
    """The end of the bytes is the end of the file, whatever its size."""

    def blocks(self: source.Source, file: source.OpenFile, size: int = source.BLOCK) -> Iterator[bytes]:
        while block := file.reader.read(size):
            yield block

    patch.setattr(source.Source, "blocks", blocks)


def resume_on_changed_source(patch: pytest.MonkeyPatch) -> None:
    """An upload goes on whatever the file holds now; parts that were sent once are not compared."""
    upload, part = Journal.upload, Large._part

    def found(self: Journal, source_id: str, destination: str, now: Entry) -> Any:
        rows = self._rows("SELECT size, mtime_ns, version FROM uploads WHERE path = ?", key(now.path))
        if not rows:
            return None
        size, mtime_ns, version = rows[0]
        return upload(
            self, source_id, destination, replace(now, size=size, mtime_ns=mtime_ns, version=version)
        )

    def held(self: Large) -> None:
        data = self._gathered.getvalue()
        if self._held.get(self._next) == len(data):
            self._noted[self._next] = hashlib.sha256(data).hexdigest()
        part(self)

    patch.setattr(Journal, "upload", found)
    patch.setattr(Large, "_part", held)


# what is durable


def no_folder_sync(patch: pytest.MonkeyPatch) -> None:
    """Folders are not synced after files got their names."""
    patch.setattr(local_store, "_sync_folder", lambda *_args: None)


def no_file_sync(patch: pytest.MonkeyPatch) -> None:
    """Files get their names without a sync of their bytes."""
    real = Kernel.fsync

    def fsync(self: Kernel, fd: int) -> None:
        if isinstance(self._of(fd).node, Folder):
            real(self, fd)

    patch.setattr(Kernel, "fsync", fsync)


def found_folders_not_synced(patch: pytest.MonkeyPatch) -> None:
    """Folders that are there already count as durable: a killed process may have made them."""
    real = local_tree.Tree.__init__

    class Everything(set[str]):
        def __contains__(self, _path: object) -> bool:
            return True

    def init(self: local_tree.Tree, root: str, change_times: bool = True) -> None:
        real(self, root, change_times)
        self._durable = Everything()

    patch.setattr(local_tree.Tree, "__init__", init)


def published_before_written(patch: pytest.MonkeyPatch) -> None:
    """A file has its final name while it is being written."""
    real = posix.write_all

    def write_all(fd: int, data: Any, offset: int) -> None:
        kernel = local_store.os
        file = kernel._of(fd).node  # type: ignore[attr-defined]
        assert isinstance(file, File)
        real(fd, bytes(data)[: len(data) // 2], offset)
        late.append((fd, bytes(data)[len(data) // 2 :], offset + len(data) // 2))

    late: list[tuple[int, bytes, int]] = []
    rename = posix.rename_exclusive

    def rename_exclusive(*args: Any) -> bool:
        done = rename(*args)
        while late:
            real(*late.pop())
        return done

    patch.setattr(posix, "write_all", write_all)
    patch.setattr(posix, "rename_exclusive", rename_exclusive)


def leftovers_not_synced(patch: pytest.MonkeyPatch) -> None:
    """What a killed process left is adopted, and counts as durable."""
    patch.setattr(local_store.LocalStore, "settle", lambda _self: None)


def overwrite(patch: pytest.MonkeyPatch) -> None:
    """Files get their names by a rename that replaces."""

    def rename(folder: int, name: str, to_folder: int, to_name: str) -> bool:
        posix.os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)
        return True

    patch.setattr(posix, "rename_exclusive", rename)


def temporary_names_collide(patch: pytest.MonkeyPatch) -> None:
    """Every unfinished file of a folder has one name, and whoever comes second goes on with it."""
    patch.setattr(local_store, "temporary", lambda _token: ".photosync-0.part")
    patch.setattr(local_store.posix, "NEW_FILE", posix.NEW_FILE & ~posix.os.O_EXCL)
    patch.setattr(local_store, "_lock", lambda *_args, **_kwargs: True)


# what is deleted


def omit_listing_errors(patch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed counts as empty."""
    real = scan.walk

    def walk(*args: object, **kwargs: object) -> Listing:
        listing = real(*args, **kwargs)  # type: ignore[arg-type]
        return Listing(listing.entries, listing.others, (), listing.own)

    patch.setattr(scan, "walk", walk)


def incomplete_listing_trashes(patch: pytest.MonkeyPatch) -> None:
    """``sync`` trashes what an incomplete listing does not show."""
    real = Listing.complete
    assert real
    patch.setattr(Listing, "complete", property(lambda _self: True))


def trash_skipped(patch: pytest.MonkeyPatch) -> None:
    """What goes to the trash is deleted."""
    patch.setattr(target.Target, "set_aside", lambda self, path, _to: self.remove(path))


def freed_unasked(patch: pytest.MonkeyPatch) -> None:
    """Free-up believes the receipts, and does not ask again whether the copies are there."""
    patch.setattr(freeup.FreeUp, "_prove", lambda *_args: {"somewhere": "receipt"})


def freed_unread(patch: pytest.MonkeyPatch) -> None:
    """Free-up believes the receipts, and does not read the photo on the phone again."""

    def read(self: freeup.FreeUp, now: Entry) -> Fingerprint:
        for journal, _ in self._witnesses:
            found = journal.content(self._source_id, now)
            if found is not None:
                return found
        raise Transient("unknown")

    patch.setattr(freeup.FreeUp, "_read", read)


def half_an_asset(patch: pytest.MonkeyPatch) -> None:
    """The files of a photo are freed one by one."""
    real = household.pair

    def pair(entries: Any, facts: Any) -> list[Asset]:
        return [replace(photo, members=(each,)) for photo in real(entries, facts) for each in photo.members]

    patch.setattr(household, "pair", pair)


def no_intent(patch: pytest.MonkeyPatch) -> None:
    """Photos are deleted before anything is written down."""
    patch.setattr(freeup.FreeUp, "_intend", lambda *_args: None)


def intent_not_settled(patch: pytest.MonkeyPatch) -> None:
    """What is about to be deleted is written down, but may be lost with the power."""
    patch.setattr(Journal, "settle", Journal.flush)


# what is kept apart, and comes to an end


def keep_both_always(patch: pytest.MonkeyPatch) -> None:
    """A name that is taken is never looked at: what a lost reply left behind is stored again."""
    patch.setattr(target.Target, "same", lambda *_args: None)


def names_merge(patch: pytest.MonkeyPatch) -> None:
    """Names that differ in case or Unicode form only are taken for different everywhere."""
    real = plan._Planner.__init__

    def init(self: Any, one: Any, two: Any, policy: Any, rules: Any, *rest: Any) -> None:
        real(self, one, two, policy, replace(rules, fold_case=False, fold_unicode=False), *rest)

    patch.setattr(plan._Planner, "__init__", init)


def head_overwritten(patch: pytest.MonkeyPatch) -> None:
    """A snapshot replaces whatever HEAD there is now."""
    real = record.TargetFiles.write

    def write(self: record.TargetFiles, name: str, data: bytes, replaces: str | None) -> str:
        if replaces is not None:
            replaces = self.read(name)[1]
        return real(self, name, data, replaces)

    patch.setattr(record.TargetFiles, "write", write)


def respelt_names_not_found(patch: pytest.MonkeyPatch) -> None:
    """A name that a disk gives back decomposed is not found when it is restored."""
    patch.setattr(audit.Located, "_compose", lambda *_args: None)
    patch.setattr(audit.Located, "alike", lambda *_args: ())
    patch.setattr(replica, "_strange", lambda _listing, _held, _located: ())


def sweeping_ends_the_run(patch: pytest.MonkeyPatch) -> None:
    """An error while leftovers are swept ends the run without a report."""

    def sweep(self: sync._Run, destination: Listing) -> None:
        if destination.own and isinstance(self.pair.destination, Sweeps):
            self.pair.destination.sweep([each.path for each in destination.own])

    patch.setattr(sync._Run, "_sweep", sweep)


def leak_budget(patch: pytest.MonkeyPatch) -> None:
    """Memory is never given back."""
    patch.setattr(ByteBudget, "release", lambda _self, _size: None)


def lose_items(patch: pytest.MonkeyPatch) -> None:
    """A file that changed under the reader is dropped without a word."""
    real = transfer.Transfer.problem

    def problem(self: transfer.Transfer, item: Any, error: Exception) -> None:
        if isinstance(error, SourceChanged):
            self._open_items -= 1
            self._ended.add(item.number)
            if not self._open_items:
                self._queue.close()
                self.senders.tasks.close()
            return
        real(self, item, error)  # type: ignore[arg-type]

    patch.setattr(transfer.Transfer, "problem", problem)


def leave_followers_behind(patch: pytest.MonkeyPatch) -> None:
    """Files of a photo whose first file failed are never taken up."""

    def let_go(self: transfer.Transfer, leader: Any) -> None:
        for item in leader.followers if leader.number not in self._ended else ():
            self._queue.put(item)
        leader.followers = ()

    patch.setattr(transfer.Transfer, "_let_go", let_go)


def forget_where_it_lies(patch: pytest.MonkeyPatch) -> None:
    """A library that was laid out is not found again once the state is lost."""
    patch.setattr(renames.Elsewhere, "match", lambda *_args: [])


def tell_addresses(patch: pytest.MonkeyPatch) -> None:
    """What is said of a file that failed shows where its upload could go on."""
    real = transfer.Transfer.problem

    def problem(self: transfer.Transfer, item: Any, error: PhotosyncError) -> None:
        tokens = [token for _, token in self.journal.uploads(self.pair.destination_id)]
        real(self, item, type(error)(f"{error} {tokens}"))

    patch.setattr(transfer.Transfer, "problem", problem)


BUGS: dict[Plant, int] = {
    ignore_hashes: 20,
    etag_trusted: 20,
    claim_without_proof: 30,
    adopt_by_size: 20,
    size_trusted: 30,
    believe_short_reads: 20,
    resume_on_changed_source: 200,
    no_folder_sync: 10,
    no_file_sync: 10,
    found_folders_not_synced: 10,
    published_before_written: 10,
    leftovers_not_synced: 120,
    overwrite: 100,
    temporary_names_collide: 20,
    omit_listing_errors: 60,
    incomplete_listing_trashes: 200,
    trash_skipped: 20,
    freed_unasked: 40,
    freed_unread: 40,
    half_an_asset: 40,
    no_intent: 30,
    intent_not_settled: 30,
    keep_both_always: 20,
    names_merge: 60,
    head_overwritten: 120,
    leak_budget: 20,
    lose_items: 20,
    leave_followers_behind: 30,
    forget_where_it_lies: 40,
    tell_addresses: 20,
    respelt_names_not_found: 60,
    sweeping_ends_the_run: 600,
}


def seeds_needed(plant: Plant | None, most: int, first: int = 0) -> tuple[int, str] | None:
    """How many seeds it takes until a promise is seen to be broken, and how; None: more than ``most``.

    Raises:
        BaseException: what is planted does not run as it should, so that it would be noticed for that.
    """
    with pytest.MonkeyPatch.context() as patch:
        if plant is not None:
            plant(patch)
        for seed in range(first, first + most):
            with scratch() as folder:
                try:
                    Household(draw(seed), Path(folder)).live()
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    if SLIP in "".join(traceback.format_exception(error)):
                        raise
                    return seed - first + 1, f"{type(error).__name__}: {error}"
    return None
