"""Listings, page by page."""

from collections.abc import Callable
from typing import Any

from photosync.backends.drive_client import Account, given
from photosync.backends.drive_metadata import FIELDS, Item, item_of, quoted
from photosync.engine.errors import Transient

PAGE = 1000
"""The most that files.list and changes.list give at once."""


class Pages:
    """Pages of one listing, a request each. A page that failed is asked for again by the next call.

    Args:
        build: makes the SDK's request out of its client and a page token.
        doing: for messages.
        path: for messages.
        token: where to begin; None: at the start.
    """

    def __init__(
        self,
        account: Account,
        build: Callable[[Any, str | None], Any],
        doing: str,
        path: str = "",
        token: str | None = None,
    ) -> None:
        self._account = account
        self._build = build
        self._doing = doing
        self._path = path
        self._token = token
        self._seen = {token}
        self.done = False

    def next(self) -> dict[str, Any]:
        """The next reply.

        Raises:
            Transient: the listing was cut short, or goes round in circles.
        """
        reply = self._account.run(lambda api: self._build(api, self._token), self._doing, self._path)
        if reply.get("incompleteSearch"):
            raise Transient(f"Google Drive, {self._doing} {self._path!r}: not everything was searched.")
        following = given(reply, "nextPageToken", str) if "nextPageToken" in reply else None
        if following is not None and following in self._seen:
            raise Transient(f"Google Drive, {self._doing} {self._path!r}: the pages repeat themselves.")
        self._token = following
        self._seen.add(following)
        self.done = following is None
        return reply


def search(account: Account, query: str, doing: str, path: str = "") -> Pages:
    """Files that match a query, in the drive that is worked in."""
    corpora = "drive" if account.shared_drive else "user"
    return Pages(
        account,
        lambda api, token: api.files.list(
            q=query,
            corpora=corpora,
            spaces="drive",
            pageSize=PAGE,
            pageToken=token,
            fields=f"nextPageToken,incompleteSearch,files({FIELDS})",
            **account.everywhere(),
        ),
        doing,
        path,
    )


def items_of(reply: dict[str, Any]) -> list[Item]:
    """What one page of a search holds."""
    return [item_of(file) for file in given({"files": [], **reply}, "files", list)]


def children(account: Account, folder: str, path: str) -> list[Item]:
    """What is directly in a folder.

    Args:
        folder: its id.
        path: the same for messages.
    """
    pages = search(account, f"{quoted(folder)} in parents and trashed = false", "listing", path or "/")
    found: list[Item] = []
    while not pages.done:
        found += items_of(pages.next())
    return found


def of_name(account: Account, folder: str, name: str, path: str) -> list[Item]:
    """What is in a folder under exactly one name, first things first.

    Args:
        folder: its id.
        name: as Drive has it.
        path: the same for messages.
    """
    query = f"{quoted(folder)} in parents and name = {quoted(name)} and trashed = false"
    pages = search(account, query, "looking for", path)
    found: list[Item] = []
    while not pages.done:
        # The service compares names without regard to case.
        found += [item for item in items_of(pages.next()) if item.name == name]
    return sorted(found, key=Item.order)
