"""One signed-in Google account, shared by every thread and store that works with it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from photosync.backends.drive_errors import REMEDY, translated
from photosync.backends.drive_ids import Ids
from photosync.engine.errors import NotSignedIn, Transient, Trouble

SECRETS = ("access_token", "refresh_token", "client_secret", "service_account")

SCOPE = "https://www.googleapis.com/auth/"
DEFAULT_SCOPE = "drive.file"


T = TypeVar("T")


def given(reply: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A field that Google documents a reply to have.

    Raises:
        Transient: it has none, or one of another kind.
    """
    found = reply.get(name)
    if not isinstance(found, kind):
        raise misunderstood(name)
    return found


def misunderstood(what: str) -> Transient:
    """That a reply is not of the documented form."""
    return Transient(f"Google Drive: a reply could not be understood ({what}).", trouble=Trouble.NETWORK)


class Account:
    """Gives out the SDK's client, loaded at the first use.

    Args:
        token: what is known of access_token, refresh_token, expires_at (seconds since the epoch), client_id,
            client_secret and service_account (the JSON of its key file). A refresh token needs the client's
            id and secret.
        on_token: called with a new token (the same keys) whenever it was renewed, for the caller to keep; it
            runs under the lock of the renewal and may not use the account.
        scope: what a service account asks for, without the address before it ("drive"); the scope of a
            person's sign-in is fixed.
        shared_drive: id of the shared drive to work in; "" is My Drive.
        root_folder_id: id of the folder that paths start from; "" is the root of that drive.
    """

    def __init__(
        self,
        token: Mapping[str, str | float | None],
        on_token: Callable[[dict[str, str | float | None]], None] | None = None,
        scope: str = "",
        shared_drive: str = "",
        root_folder_id: str = "",
    ) -> None:
        self._token = dict(token)
        self._on_token = on_token
        self._scope = scope or DEFAULT_SCOPE
        self._opening = threading.Lock()
        self._counting = threading.Lock()
        self._service: Any = None
        self.shared_drive = shared_drive
        self.root_folder_id = root_folder_id
        self.requests: Counter[str] = Counter()
        """Requests so far, by the API's name of the method: "files.list" …"""
        self.ids = Ids(self._generate)

    def is_same(self, other: "Account") -> bool:
        """Whether both are signed in alike, as far as their tokens tell; ids mean the same to both then."""
        for name in ("service_account", "refresh_token", "access_token"):
            mine, theirs = self._token.get(name), other._token.get(name)
            if mine or theirs:
                return mine == theirs
        return self is other

    def run(self, build: Callable[[Any], Any], doing: str, path: str = "") -> dict[str, Any]:
        """One call of the API.

        Args:
            build: makes the SDK's request out of its client.
            doing: what is being done, for messages ("listing").
            path: to what.

        Returns:
            The reply; empty if there is none.
        """
        with self.calling(doing, path) as service:
            request = build(service)
            reply = request.execute(http=service.http(request.methodId.removeprefix("drive.")))
        reply = reply or {}
        if not isinstance(reply, dict):
            raise misunderstood(doing)
        return reply

    @contextmanager
    def calling(self, doing: str, path: str = "") -> Iterator[Any]:
        """The SDK's client, its errors `translated`.

        Raises:
            NotSignedIn: there is no usable token.
        """
        with translated(doing, path):
            yield self._open()

    def everywhere(self) -> dict[str, Any]:
        """Arguments with which lists and feeds cover the drive that is worked in."""
        shared = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}
        return shared | ({"driveId": self.shared_drive} if self.shared_drive else {})

    def close(self) -> None:
        """Closes idle connections; the next call opens new ones."""
        with self._opening:
            if self._service is not None:
                self._service.close()

    def _generate(self, count: int) -> list[str]:
        reply = self.run(
            lambda api: api.files.generateIds(count=count, space="drive", type="files"), "asking for ids"
        )
        return [str(id) for id in given(reply, "ids", list)]

    def _count(self, name: str) -> None:
        with self._counting:
            self.requests[name] += 1

    def _open(self) -> Any:
        with self._opening:
            if self._service is None:
                self._check_token()
                from photosync.backends.drive_http import Service, SignIn

                scopes = [SCOPE + scope.strip() for scope in self._scope.split(",")]
                sign_in = SignIn(self._token, scopes, self._on_token, self._count)
                self._service = Service(sign_in, self._count)
            return self._service

    def _check_token(self) -> None:
        token = self._token
        if not any(token.get(name) for name in ("access_token", "refresh_token", "service_account")):
            raise NotSignedIn(f"There is no sign-in for this Google Drive. {REMEDY}")
        if token.get("refresh_token") and not token.get("client_id"):
            raise NotSignedIn(f"A Google refresh token needs the client_id it was made for. {REMEDY}")
