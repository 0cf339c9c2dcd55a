"""list_folder of the Dropbox emulator: a listing first, then the log of changes since it began.

A cursor is a value of its own, so continuing twice from the same one gives the same page, and a change made
while a listing is under way is told again by the pages after it.
"""

import base64
import itertools
import json
from dataclasses import astuple, dataclass, replace
from typing import Any

from .dropbox_errors import EndpointError, tag
from .dropbox_names import split
from .dropbox_state import Account, metadata


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a listing stands: `seen` lines of the change log are told; `after` is the last key of the first
    listing that is, or None once that is over."""

    key: str
    recursive: bool
    deleted: bool
    limit: int
    seen: int
    after: str | None

    def encode(self) -> str:
        return "AA" + base64.urlsafe_b64encode(json.dumps(astuple(self)).encode()).decode()

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Raises ValueError for a text that no emulator issued."""
        try:
            return cls(*json.loads(base64.urlsafe_b64decode(text.removeprefix("AA"))))
        except (ValueError, TypeError) as error:
            raise ValueError('Invalid "cursor" parameter') from error

    def covers(self, key: str) -> bool:
        """Whether a change at `key` belongs to this listing."""
        if self.recursive:
            return key == self.key or key.startswith(self.key + "/")
        return split(key)[0] == self.key


def start(account: Account, path: str, recursive: bool, deleted: bool, limit: int, stale: int) -> Cursor:
    """The cursor before a listing's first page; the last `stale` changes are not in that listing."""
    with account.lock:
        node = account.lookup(path) if path else account.find("")
        assert node is not None
        if node.revision is not None:
            raise EndpointError(tag("not_folder"))
        return Cursor(account.key_of(path), recursive, deleted, limit, _horizon(account, stale), "")


def page(account: Account, cursor: Cursor, stale: int = 0) -> dict[str, Any]:
    """The ListFolderResult from `cursor` on, silent about the last `stale` changes; deletions among these
    have happened all the same. Raises LookupError `not_found` when the folder is gone."""
    with account.lock:
        if account.find(cursor.key) is None:
            raise EndpointError(tag("not_found"))
        end = _horizon(account, stale)
        entries, after = _first_listing(account, cursor) if cursor.after is not None else ([], cursor)
        if after.after is None and len(entries) < cursor.limit:
            more, after = _changes(account, after, cursor.limit - len(entries), end)
            entries += more
        has_more = after.after is not None or _has_changes(account, after, end)
        return {"entries": entries, "cursor": after.encode(), "has_more": has_more}


def has_changes(account: Account, cursor: Cursor) -> bool:
    """Whether anything happened in a cursor's folder since. Call under the account's lock."""
    return _has_changes(account, cursor, len(account.log))


def _has_changes(account: Account, cursor: Cursor, end: int) -> bool:
    return any(cursor.covers(change.key) for change in itertools.islice(account.log, cursor.seen, end))


def _horizon(account: Account, stale: int) -> int:
    return max(0, len(account.log) - stale)


def _first_listing(account: Account, cursor: Cursor) -> tuple[list[dict[str, Any]], Cursor]:
    after = cursor.after or ""
    nodes = account.below(cursor.key, cursor.recursive, after)
    # What changed after the listing began is told by the changes.
    live = ((key, node) for key, node in nodes if node.changed <= cursor.seen)
    found = [(key, metadata(account, node)) for key, node in itertools.islice(live, cursor.limit + 1)]
    if cursor.deleted:
        gone = ((key, display) for key, (display, _) in account.deleted.items() if cursor.covers(key))
        found += [(key, _deleted(key, display)) for key, display in gone if key > after]
        found.sort(key=lambda item: item[0])
    shown = found[: cursor.limit]
    return [entry for _, entry in shown], replace(
        cursor, after=shown[-1][0] if len(found) > cursor.limit else None
    )


def _changes(account: Account, cursor: Cursor, limit: int, end: int) -> tuple[list[dict[str, Any]], Cursor]:
    entries: list[dict[str, Any]] = []
    seen = cursor.seen
    for change in itertools.islice(account.log, cursor.seen, end):
        if len(entries) == limit:
            break
        seen += 1
        if not cursor.covers(change.key):
            continue
        node = account.find(change.key)
        if change.gone:
            entries.append(_deleted(change.key, change.display))
        elif node is not None and node.changed == seen:
            entries.append(metadata(account, node))
    return entries, replace(cursor, seen=seen)


def _deleted(key: str, display: str) -> dict[str, Any]:
    return {".tag": "deleted", "name": split(display)[1], "path_lower": key, "path_display": display}
