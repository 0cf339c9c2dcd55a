"""A POSIX disk in memory that tells what it shows from what it keeps.

Everything that is written shows at once; only ``fsync`` of a file moves its bytes, and only ``fsync`` of a
folder its names, to what is kept. A power cut leaves any state that a file system may leave: of what was not
synced any part is there, in any order, and single blocks of a write without the others ("All File Systems
Are Not Created Equal", Pillai et al., OSDI 2014).
"""

import errno
import os
import random
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

BLOCK = 16
"""Bytes that reach the medium together; small, so that small photos are torn, too."""

TICK = 4_000_000


@dataclass(frozen=True)
class Traits:
    """What a kind of file system does.

    Attributes:
        kind: its name in ``/proc/self/mountinfo``.
        fold_case, fold_unicode: names that differ in that only are one.
        decomposes: names come back decomposed, as HFS+ keeps them.
        precision_ns: of modification times.
        links: it has hard links.
        flags: it knows ``RENAME_NOREPLACE``.
    """

    kind: str = "ext4"
    fold_case: bool = False
    fold_unicode: bool = False
    decomposes: bool = False
    precision_ns: int = 1
    links: bool = True
    flags: bool = True


KINDS = {
    "ext4": Traits(),
    "nfs": Traits("nfs4", flags=False),
    "vfat": Traits("vfat", fold_case=True, precision_ns=2_000_000_000, links=False),
    "exfat-fuse": Traits("fuseblk", fold_case=True, precision_ns=2_000_000_000, links=False, flags=False),
    "hfs": Traits("hfsplus", fold_case=True, fold_unicode=True, decomposes=True, precision_ns=1_000_000_000),
}


@dataclass(eq=False)
class File:
    """Attributes:
    born: the folder it was made in.
    shown: its bytes for whoever reads it.
    kept: its bytes on the medium.
    pending: what was written since, as (offset, bytes).
    lock: descriptor that holds a lock on it.
    """

    born: str
    number: int
    shown: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    mtime_ns: int = 0
    kept_mtime_ns: int = 0
    ctime_ns: int = 0
    links: int = 0
    lock: int | None = None

    def write(self, offset: int, data: bytes) -> None:
        _put(self.shown, offset, data)
        self.pending.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.pending:
            _put(self.kept, offset, data)
        self.pending.clear()
        self.kept_mtime_ns = self.mtime_ns

    def lose(self, keeps: Callable[[], bool], dice: random.Random) -> None:
        """What was not synced reaches the medium in part."""
        for offset, data in self.pending:
            if keeps():
                _put(self.kept, offset, data)
                continue
            for at in range(0, len(data), BLOCK):
                if dice.random() < 0.3:
                    _put(self.kept, offset + at, data[at : at + BLOCK])
            if dice.random() < 0.3:
                # The length is there before the bytes are.
                _put(self.kept, max(offset + len(data), len(self.kept)), b"")
        self.pending.clear()


@dataclass(eq=False)
class Folder:
    """``shown`` and ``kept`` map what a name is looked up by to the name and what has it."""

    number: int
    name: str = ""
    parent: "Folder | None" = None
    shown: "dict[str, tuple[str, File | Folder]]" = field(default_factory=dict)
    kept: "dict[str, tuple[str, File | Folder]]" = field(default_factory=dict)
    ctime_ns: int = 0

    @property
    def path(self) -> str:
        if self.parent is None:
            return ""
        return f"{self.parent.path}/{self.name}" if self.parent.path else self.name


@dataclass(eq=False)
class Change:
    """What becomes of names of one folder, at once or not at all.

    Attributes:
        edits: what a name is looked up by, and what has it now (None: nothing).
        after: a change that this one never reaches the medium before.
    """

    folder: Folder
    edits: "list[tuple[str, tuple[str, File | Folder] | None]]"
    after: "Change | None" = None


class SimDisk:
    """See the module's text.

    Args:
        traits: what kind it is.
        watch: told the path of whatever gets a name.
    """

    def __init__(self, traits: Traits, watch: Callable[[str], None]) -> None:
        self.traits, self.watch = traits, watch
        self._serial = 0
        self.root = Folder(self.tick())
        self.pending: list[Change] = []
        self.shift_ns = 0

    def tick(self) -> int:
        self._serial += 1
        return self._serial

    def stamp(self) -> int:
        return 1_700_000_000_000_000_000 + self.tick() * TICK

    # names

    def key(self, name: str) -> str:
        if self.traits.fold_unicode:
            name = unicodedata.normalize("NFC", name)
        if self.traits.fold_case:
            name = "".join(c.upper() if len(c.upper()) == 1 else c for c in name)
        return name

    def spelt(self, name: str) -> str:
        return unicodedata.normalize("NFD", name) if self.traits.decomposes else name

    def find(self, folder: Folder, name: str) -> "File | Folder":
        found = folder.shown.get(self.key(name))
        if found is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return found[1]

    def walk(self, path: str) -> "File | Folder":
        """What has a path below the root."""
        node: File | Folder = self.root
        for name in filter(None, path.split("/")):
            if isinstance(node, File):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            node = self.find(node, name)
        return node

    def add(self, folder: Folder, name: str, node: "File | Folder", replaces: bool = False) -> Change:
        if not replaces and self.key(name) in folder.shown:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        return self._change(folder, [(name, node)])

    def remove(self, folder: Folder, name: str) -> None:
        node = self.find(folder, name)
        self._change(folder, [(name, None)])
        if isinstance(node, File):
            node.links -= 1

    def rename(self, folder: Folder, name: str, to: Folder, to_name: str, replaces: bool) -> None:
        node = self.find(folder, name)
        taken = to.shown.get(self.key(to_name))
        if taken is not None and not replaces:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), to_name)
        if taken is not None and isinstance(taken[1], File):
            taken[1].links -= 1
        if folder is to:
            self._change(folder, [(name, None), (to_name, node)])
        else:
            added = self._change(to, [(to_name, node)])
            self._change(folder, [(name, None)], after=added)
        if isinstance(node, File):
            node.ctime_ns = self.stamp()

    def _change(
        self,
        folder: Folder,
        edits: "list[tuple[str, File | Folder | None]]",
        after: Change | None = None,
    ) -> Change:
        change = Change(
            folder,
            [(self.key(n), None if node is None else (self.spelt(n), node)) for n, node in edits],
            after,
        )
        _apply(folder.shown, change)
        self.pending.append(change)
        for _, edit in change.edits:
            if edit is not None and isinstance(edit[1], Folder):
                edit[1].name, edit[1].parent = edit[0], folder
            elif edit is not None:
                self.watch(f"{folder.path}/{edit[0]}".lstrip("/"))
        return change

    # what is kept

    def sync(self, node: "File | Folder") -> None:
        if isinstance(node, File):
            node.sync()
            return
        for change in list(self.pending):
            if change.folder is node and change in self.pending:
                self._keep(change)

    def sync_all(self) -> None:
        while self.pending:
            self._keep(self.pending[0])
        for file in self.files().values():
            file.sync()

    def _keep(self, change: Change) -> None:
        if change.after is not None and change.after in self.pending:
            self._keep(change.after)
        _apply(change.folder.kept, change)
        self.pending.remove(change)

    def safe(self) -> dict[str, bytes]:
        """Files that are on the medium, whatever happens: what they hold, by the name that it has there; a
        rename that is not synced may replace that, or not."""
        leaving = {
            (change.folder.path, key)
            for change in self.pending
            if change.after is None
            for key, found in change.edits
            if found is None and len(change.edits) == 1
        }
        return {
            path: bytes(file.kept)
            for path, file in _files(self.root, shown=False)
            if not file.pending and _split(path, self.key) not in leaving
        }

    def cut(self, dice: random.Random) -> None:
        """The power fails; what shows afterwards is some state that may have been kept."""
        chance = dice.choice([0.0, 0.2, 0.5, 0.8, 1.0])

        def keeps() -> bool:
            return dice.random() < chance

        kept: set[int] = set()
        for change in self.pending:
            if keeps() and (
                change.after is None or change.after not in self.pending or id(change.after) in kept
            ):
                _apply(change.folder.kept, change)
                kept.add(id(change))
        self.pending.clear()
        self._restart(self.root, keeps, dice, {})

    def _restart(
        self, folder: Folder, keeps: Callable[[], bool], dice: random.Random, met: dict[int, File]
    ) -> None:
        folder.shown = dict(folder.kept)
        for name, node in folder.kept.values():
            if isinstance(node, Folder):
                node.name, node.parent = name, folder
                self._restart(node, keeps, dice, met)
                continue
            if node.number not in met:
                node.lose(keeps, dice)
                node.shown = bytearray(node.kept)
                node.mtime_ns, node.links = node.kept_mtime_ns, 0
                met[node.number] = node
            node.links += 1

    def close_all(self) -> None:
        """The process is dead: its locks are gone."""
        for _, file in _files(self.root, shown=True):
            file.lock = None

    # looking, for the oracle and for whoever else uses the disk

    def files(self) -> dict[str, File]:
        return dict(_files(self.root, shown=True))

    def stat(self, node: "File | Folder", device: int) -> os.stat_result:
        folder = isinstance(node, Folder)
        size = 0 if isinstance(node, Folder) else len(node.shown)
        mtime = 0 if isinstance(node, Folder) else node.mtime_ns
        mtime -= mtime % self.traits.precision_ns
        mtime, ctime = mtime + self.shift_ns, node.ctime_ns + self.shift_ns
        links = 1 if isinstance(node, Folder) else node.links
        kind = stat.S_IFDIR | 0o755 if folder else stat.S_IFREG | 0o644
        plain = (kind, node.number, device, links, 0, 0, size, mtime // 10**9, mtime // 10**9, ctime // 10**9)
        return os.stat_result(plain, {"st_atime_ns": mtime, "st_mtime_ns": mtime, "st_ctime_ns": ctime})


def _split(path: str, key: Callable[[str], str]) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, key(name)


def _put(into: bytearray, offset: int, data: bytes) -> None:
    if len(into) < offset:
        into.extend(bytes(offset - len(into)))
    into[offset : offset + len(data)] = data


def _apply(names: "dict[str, tuple[str, File | Folder]]", change: Change) -> None:
    for key, found in change.edits:
        if found is None:
            names.pop(key, None)
        else:
            names[key] = found


def _files(folder: Folder, shown: bool, prefix: str = "") -> Iterator[tuple[str, File]]:
    for name, node in (folder.shown if shown else folder.kept).values():
        if isinstance(node, File):
            yield prefix + name, node
        else:
            yield from _files(node, shown, f"{prefix}{name}/")
