"""One signed-in Dropbox account, shared by every thread and store that works with it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from photosync.backends.dropbox_errors import REMEDY, translated
from photosync.backends.lazy_imports import lazily
from photosync.engine.errors import NotSignedIn

SECRETS = ("access_token", "refresh_token", "app_secret")
_TEAMS = ("dropbox.team", "dropbox.team_log")
"""What the SDK has for administrators: two thirds of the time that it takes to load."""


class Account:
    """Gives out the SDK's client, loaded and connected at the first use.

    Args:
        token: what is known of access_token, refresh_token, expires_at (seconds since the epoch), app_key
            and app_secret. A refresh token needs the app_key; one from PKCE needs no app_secret.
        on_token: called with a new token (the same keys) whenever it was refreshed, for the caller to keep;
            it runs under the lock of the refresh and may not use the account.
        root_namespace: id of the namespace that paths start from; None: the account's own folder.
        connections: calls worth having in flight at once.
    """

    def __init__(
        self,
        token: Mapping[str, str | float | None],
        on_token: Callable[[dict[str, str | float | None]], None] | None = None,
        root_namespace: str | None = None,
        connections: int = 8,
    ) -> None:
        self._token = dict(token)
        self._on_token = on_token
        self._root_namespace = root_namespace
        self._connections = connections
        self._opening = threading.Lock()
        self._client: Any = None
        self.committing = threading.Lock()
        """Held by every call that writes names: a namespace has one write lock, and whoever finds it taken is
        refused (too_many_write_operations)."""
        self.requests: Counter[str] = Counter()
        """Requests so far, by endpoint: "files/list_folder" …"""

    def is_same(self, other: "Account") -> bool:
        """Whether both are signed in as the same user, as far as their tokens tell."""
        if self is other:
            return True
        names = ("refresh_token",) if self._token.get("refresh_token") else ("access_token",)
        mine, theirs = (
            (*(each._token.get(name) for name in names), each._root_namespace) for each in (self, other)
        )
        return mine == theirs

    @property
    def server_date(self) -> str | None:
        """``Date`` header of Dropbox's newest answer."""
        date: str | None = getattr(self._client, "server_date", None)
        return date

    @contextmanager
    def calling(self, doing: str, path: str = "") -> Iterator[Any]:
        """The SDK's client, its errors `translated`.

        Raises:
            NotSignedIn: there is no usable token.
        """
        with translated(doing, path):
            yield self._open()

    @contextmanager
    def writing(self, doing: str, path: str = "") -> Iterator[Any]:
        """`calling` for what changes names, one at a time."""
        with self.committing, self.calling(doing, path) as sdk:
            yield sdk

    def close(self) -> None:
        """Closes idle connections; the next call opens new ones."""
        with self._opening:
            if self._client is not None:
                self._client.close()

    def _open(self) -> Any:
        with self._opening:
            if self._client is None:
                self._check_token()
                with lazily(*_TEAMS):
                    from photosync.backends.dropbox_sdk import Client

                self._client = Client(
                    self._token, self._on_token, self._root_namespace, self._connections, self.requests
                )
            return self._client

    def _check_token(self) -> None:
        if not self._token.get("access_token") and not self._token.get("refresh_token"):
            raise NotSignedIn(f"There is no sign-in for this Dropbox. {REMEDY}")
        if self._token.get("refresh_token") and not self._token.get("app_key"):
            raise NotSignedIn(f"A Dropbox refresh token needs the app_key it was made for. {REMEDY}")
