"""One emulated Dropbox account: its tree, the revisions of its files and the log of its changes."""

import bisect
import hashlib
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from .dropbox_content import Content
from .dropbox_errors import EndpointError, Tagged, tag, tags
from .dropbox_names import is_disallowed, is_malformed, lowered, split


@dataclass(frozen=True, slots=True)
class Revision:
    """What a file held from one commit to the next. Times are whole seconds in UTC."""

    rev: str
    id: str
    display: str
    content: Content
    content_hash: str
    client_modified: datetime
    server_modified: datetime


@dataclass(slots=True)
class Node:
    """A live file (`revision` is set) or folder. `display` is the path as first written."""

    display: str
    id: str
    revision: Revision | None = None
    children: dict[str, "Node"] = field(default_factory=dict)
    changed: int = 0
    """Length of the change log after this node's latest change."""

    @property
    def name(self) -> str:
        return split(self.display)[1]


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the log: something appeared or changed at a path, or went away."""

    key: str
    display: str
    gone: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """How to write a file; `mode` is `add`, `overwrite`, or `update` with the `rev` it expects."""

    path: str
    mode: str = "add"
    rev: str | None = None
    autorename: bool = False
    client_modified: datetime | None = None
    strict_conflict: bool = False


class Account:
    """The tree. Every method is safe to call from several threads; failures raise `EndpointError` whose
    error is the WriteError or LookupError alone, for the endpoint to wrap."""

    def __init__(self, quota: int, now: Callable[[], float]):
        self.quota = quota
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.log: list[Change] = []
        self.history: dict[str, list[Revision]] = {}
        self.deleted: dict[str, tuple[str, datetime]] = {}
        self.used = 0
        self._now = now
        self._counter = 0
        self._root = Node("", "id:root")
        self._nodes: dict[str, Node] = {"": self._root}
        self._sorted: list[str] = []
        self._ids: dict[str, str] = {}
        self._revisions: dict[str, Revision] = {}

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self._now()), UTC)

    # Reading

    def find(self, path: str) -> Node | None:
        """The node at a path, `id:…`, `rev:…` or `ns:…`; None when there is nothing."""
        with self.lock:
            return self._nodes.get(self.key_of(path))

    def key_of(self, path: str) -> str:
        """The lookup key of a path in any of the documented forms."""
        if path.startswith("id:"):
            return self._ids.get(path, path)
        if path.startswith("rev:"):
            found = self.revision(path.removeprefix("rev:"))
            return lowered(found.display) if found else path
        return lowered(re.sub(r"^ns:\d+", "", path))

    def lookup(self, path: str) -> Node:
        """The node at `path`, or LookupError `not_found` or `malformed_path`."""
        if path.startswith("/") and is_malformed(path):
            raise EndpointError(tag("malformed_path"))
        node = self.find(path)
        if node is None:
            raise EndpointError(tag("not_found"))
        return node

    def revision(self, rev: str) -> Revision | None:
        """A revision by its name, live or not."""
        return self._revisions.get(rev)

    def below(self, key: str, recursive: bool, after: str = "") -> Iterator[tuple[str, Node]]:
        """(key, node) in order of keys, from behind `after`; recursive walks start with the folder itself,
        as the service's do. Call under `lock`."""
        if not recursive:
            children = sorted(self._nodes[key].children)
            yield from ((item, self._nodes[item]) for item in children if item > after)
            return
        if key and key > after:
            yield key, self._nodes[key]
        at = bisect.bisect_right(self._sorted, max(after, key + "/"))
        # "0" is the character after "/", so that this is the first key behind the folder's.
        end = bisect.bisect_left(self._sorted, key + "0") if key else len(self._sorted)
        yield from ((item, self._nodes[item]) for item in self._sorted[at:end])

    def files(self) -> dict[str, Revision]:
        """Every live file's latest revision, by its path as displayed."""
        with self.lock:
            return {node.display: node.revision for node in self._nodes.values() if node.revision}

    # Writing

    def commit(self, how: Commit, content: Content, digest: str) -> Node:
        """Writes a file by the rules of WriteMode. `digest` is the content's hash."""
        with self.lock:
            path = self._writable(how.path)
            existing = self._nodes.get(lowered(path))
            self._check_ancestors(path)
            if existing is None:
                if how.mode == "update" and how.strict_conflict:
                    raise EndpointError(tags("conflict", "file"))
            else:
                if self._identical(existing, digest) and not how.strict_conflict:
                    return existing
                conflict = self._conflict(existing, how)
                if conflict is not None:
                    if not how.autorename:
                        raise EndpointError(conflict)
                    path, existing = self._free_name(path, copy=how.mode == "update"), None
            freed = existing.revision.content.size if existing and existing.revision else 0
            if self.used - freed + content.size > self.quota:
                raise EndpointError(tag("insufficient_space"))
            return self._write(path, existing, content, digest, how.client_modified)

    def create_folder(self, path: str, autorename: bool = False) -> Node:
        """Makes a folder and its missing parents; anything there already is a conflict."""
        with self.lock:
            path = self._writable(path)
            self._check_ancestors(path)
            existing = self._nodes.get(lowered(path))
            if existing is not None:
                if not autorename:
                    raise EndpointError(tags("conflict", "file" if existing.revision else "folder"))
                path = self._free_name(path)
            return self._make_folder(path)

    def delete(self, node: Node) -> None:
        """Removes a file, or a folder with everything below it."""
        with self.lock:
            key = lowered(node.display)
            self._forget(key)
            del self._nodes[lowered(split(node.display)[0])].children[key]
            self._record(Change(key, node.display, gone=True))

    def copy(self, source: Node, path: str, autorename: bool) -> Node:
        """Copies a file or a whole folder to `path`. Files keep client_modified, and get new ids and revs."""
        with self.lock:
            path = self._target(source, path, autorename)
            if self.used + self._size(source) > self.quota:
                raise EndpointError(tag("insufficient_space"))
            return self._graft(source, path, keep_ids=False)

    def move(self, source: Node, path: str, autorename: bool) -> Node:
        """Moves a file or a whole folder to `path`. Ids stay, files get new revs."""
        with self.lock:
            path = self._target(source, path, autorename)
            self.delete(source)
            return self._graft(source, path, keep_ids=True)

    def restore(self, path: str, revision: Revision) -> Node:
        """Makes `revision` the latest one at `path`."""
        with self.lock:
            path = self._writable(path)
            self._check_ancestors(path)
            existing = self._nodes.get(lowered(path))
            if existing is not None and existing.revision is None:
                raise EndpointError(tags("conflict", "folder"))
            return self._write(
                path, existing, revision.content, revision.content_hash, revision.client_modified
            )

    # The rules

    def _writable(self, path: str) -> str:
        if path.startswith("id:"):
            return self.lookup(path).display
        path = unicodedata.normalize("NFC", re.sub(r"^ns:\d+", "", path))
        if is_malformed(path):
            raise EndpointError(tag("malformed_path"))
        if is_disallowed(path):
            raise EndpointError(tag("disallowed_name"))
        return path

    def _check_ancestors(self, path: str) -> None:
        parent, _ = split(path)
        while parent:
            node = self._nodes.get(lowered(parent))
            if node is not None and node.revision is not None:
                raise EndpointError(tags("conflict", "file_ancestor"))
            parent, _ = split(parent)

    @staticmethod
    def _identical(node: Node, digest: str) -> bool:
        return node.revision is not None and node.revision.content_hash == digest

    @staticmethod
    def _conflict(existing: Node, how: Commit) -> Tagged | None:
        if existing.revision is None:
            return tags("conflict", "folder")
        if how.mode == "overwrite" or (how.mode == "update" and how.rev == existing.revision.rev):
            return None
        return tags("conflict", "file")

    def _free_name(self, path: str, copy: bool = False) -> str:
        parent, name = split(path)
        stem, dot, suffix = name.rpartition(".")
        if not stem:
            stem, dot, suffix = name, "", ""
        number = 0
        while lowered(path) in self._nodes:
            number += 1
            label = str(number) if not copy else "conflicted copy" + (f" {number}" if number > 1 else "")
            path = f"{parent}/{stem} ({label}){dot}{suffix}"
        return path

    def _target(self, source: Node, path: str, autorename: bool) -> str:
        path = self._writable(path)
        old, new = lowered(source.display), lowered(path)
        if source.revision is None and new.startswith(old + "/"):
            raise EndpointError(tag("cant_move_folder_into_itself"))
        self._check_ancestors(path)
        existing = self._nodes.get(new)
        if existing is None:
            return path
        if not autorename:
            raise EndpointError(tags("conflict", "file" if existing.revision else "folder"))
        return self._free_name(path)

    # The tree

    def _size(self, node: Node) -> int:
        own = node.revision.content.size if node.revision else 0
        return own + sum(self._size(child) for child in node.children.values())

    def _serial(self) -> str:
        self._counter += 1
        return f"{self._counter:08x}{0x5D0000000:x}"

    def _new_id(self) -> str:
        return "id:" + hashlib.sha256(self._serial().encode()).hexdigest()[:22]

    def _record(self, change: Change) -> None:
        self.log.append(change)
        if change.gone:
            self.deleted[change.key] = (change.display, self.now())
        else:
            self.deleted.pop(change.key, None)
            self._nodes[change.key].changed = len(self.log)
        self.changed.notify_all()

    def _attach(self, path: str, node: Node) -> Node:
        parent_path, _ = split(path)
        parent = self._nodes.get(lowered(parent_path)) or self._make_folder(parent_path)
        # The folder's own spelling wins over the one in this request.
        node.display = f"{parent.display}/{split(path)[1]}"
        key = lowered(node.display)
        parent.children[key] = self._nodes[key] = node
        self._ids[node.id] = key
        bisect.insort(self._sorted, key)
        return node

    def _make_folder(self, path: str) -> Node:
        node = self._attach(path, Node(path, self._new_id()))
        self._record(Change(lowered(path), node.display, gone=False))
        return node

    def _write(
        self, path: str, existing: Node | None, content: Content, digest: str, modified: datetime | None
    ) -> Node:
        node = existing or self._attach(path, Node(path, self._new_id()))
        freed = node.revision.content.size if node.revision else 0
        now = self.now()
        self._revise(
            node, Revision(self._serial(), node.id, node.display, content, digest, modified or now, now)
        )
        self.used += content.size - freed
        return node

    def _revise(self, node: Node, revision: Revision) -> None:
        key = lowered(node.display)
        node.revision = revision
        self.history.setdefault(key, []).append(revision)
        self._revisions[revision.rev] = revision
        self._record(Change(key, node.display, gone=False))

    def _forget(self, key: str) -> None:
        node = self._nodes.pop(key)
        for child in node.children:
            self._forget(child)
        self.deleted[key] = (node.display, self.now())
        if node.revision is not None:
            self.used -= node.revision.content.size
        del self._sorted[bisect.bisect_left(self._sorted, key)]
        self._ids.pop(node.id, None)

    def _graft(self, source: Node, path: str, keep_ids: bool) -> Node:
        node = self._attach(path, Node(path, source.id if keep_ids else self._new_id()))
        if source.revision is None:
            self._record(Change(lowered(node.display), node.display, gone=False))
        else:
            moved = replace(
                source.revision,
                rev=self._serial(),
                id=node.id,
                display=node.display,
                server_modified=source.revision.server_modified if keep_ids else self.now(),
            )
            self._revise(node, moved)
            self.used += moved.content.size
        for child in list(source.children.values()):
            self._graft(child, f"{node.display}/{child.name}", keep_ids)
        return node


def metadata(account: Account, node: Node, tagged: bool = True) -> dict[str, Any]:
    """The FileMetadata or FolderMetadata of a live node."""
    base: dict[str, Any] = {
        "name": node.name,
        "path_lower": lowered(node.display),
        "path_display": node.display,
        "id": node.id,
    }
    if node.revision is None:
        return {".tag": "folder", **base} if tagged else base
    return ({".tag": "file"} if tagged else {}) | base | revision_fields(node.revision)


def revision_fields(revision: Revision) -> dict[str, Any]:
    """The fields of a FileMetadata that a revision determines."""
    return {
        "client_modified": timestamp(revision.client_modified),
        "server_modified": timestamp(revision.server_modified),
        "rev": revision.rev,
        "size": revision.content.size,
        "is_downloadable": True,
        "content_hash": revision.content_hash,
    }


def timestamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
