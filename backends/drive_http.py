"""The official client's transport: httplib2's shape over requests. Import it lazily: it loads both.

httplib2, which the client brings along, ignores ``HTTPS_PROXY`` unless a further package is there, reads CA
variables of its own, holds every reply in memory and may not be shared by threads. Here requests does the
work, as for the other services (`photosync.backends.session`), and the client gets what it asks of an
``httplib2.Http``: `Http.request`. There is one `Http` for each thread; the sign-in is shared.
"""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import google.auth.transport.requests
import httplib2
import requests
from googleapiclient.discovery import build

from photosync.backends.drive_body import beginning
from photosync.backends.drive_errors import REMEDY
from photosync.backends.session import Session
from photosync.engine.errors import NotSignedIn, Permanent, Transient

LARGEST = 64 << 20
"""Bytes of a reply held in memory, unpacked; a page of a listing has about half a megabyte."""

TOKEN_URI = "https://oauth2.googleapis.com/token"

Token = dict[str, str | float | None]


class SignIn:
    """The credentials, renewed by one thread while the others wait.

    Args:
        token: access_token, refresh_token, expires_at (seconds since the epoch), client_id, client_secret,
            service_account (its key file's JSON).
        scopes: that a service account asks for.
        on_token: told the token anew, with the same keys, each time it was renewed.
        count: called with the name of each request.
    """

    def __init__(
        self,
        token: Token,
        scopes: list[str],
        on_token: Callable[[Token], None] | None,
        count: Callable[[str], None],
    ) -> None:
        self._token = token
        self._on_token = on_token
        self._count = count
        self._renewing = threading.Lock()
        self._renewable = bool(token.get("refresh_token") or token.get("service_account"))
        self._credentials = _credentials(token, scopes)
        self._session = Session(1)

    def token(self) -> str:
        """An access token that is not known to have expired."""
        with self._renewing:
            if self._renewable and (not self._credentials.token or self._credentials.expired):
                self._renew()
            return str(self._credentials.token)

    def renewed(self, used: str) -> str:
        """Another access token than ``used``, which was refused; the same one if there is no other."""
        with self._renewing:
            if self._renewable and self._credentials.token == used:
                self._renew()
            return str(self._credentials.token)

    def close(self) -> None:
        self._session.close()

    def _renew(self) -> None:
        self._count("oauth2/token")
        self._credentials.refresh(google.auth.transport.requests.Request(self._session))
        expiry = self._credentials.expiry
        self._token = self._token | {
            "access_token": self._credentials.token,
            "refresh_token": getattr(self._credentials, "refresh_token", None),
            "expires_at": None if expiry is None else expiry.replace(tzinfo=UTC).timestamp(),
        }
        if self._on_token is not None:
            self._on_token(dict(self._token))


def _credentials(token: Token, scopes: list[str]) -> Any:
    if account := token.get("service_account"):
        from google.oauth2 import service_account

        try:
            made: Any = service_account.Credentials
            return made.from_service_account_info(json.loads(str(account)), scopes=scopes)
        except ValueError:
            raise NotSignedIn(f"The service account's key is none that Google made. {REMEDY}") from None
    from google.oauth2.credentials import Credentials

    expires = token.get("expires_at")
    person: Any = Credentials
    return person(
        token.get("access_token"),
        refresh_token=token.get("refresh_token"),
        token_uri=TOKEN_URI,
        client_id=token.get("client_id"),
        client_secret=token.get("client_secret") or "",
        expiry=None if expires is None else datetime.fromtimestamp(float(expires), UTC).replace(tzinfo=None),
    )


class Http:
    """What the client takes for an ``httplib2.Http``; for one thread.

    Attributes:
        doing: the operation's name, by which requests are counted.
    """

    def __init__(self, sign_in: SignIn, count: Callable[[str], None]) -> None:
        self._sign_in = sign_in
        self._count = count
        # A download goes on while its thread asks for something else.
        self._session = Session(2)
        self.doing = ""

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        redirections: int = 0,
        connection_type: Any = None,
    ) -> tuple[httplib2.Response, bytes]:
        """One exchange, as ``httplib2.Http.request``; redirects are not followed.

        Raises:
            requests.RequestException: no reply.
            google.auth.exceptions.GoogleAuthError: the sign-in could not be renewed.
        """
        reply = self.open(uri, method, body, headers)
        try:
            content = bytearray()
            for piece in reply.iter_content(64 << 10):
                content += piece
                if len(content) > LARGEST:
                    raise Permanent(f"the reply to {self.doing} is larger than any that Google documents")
        finally:
            reply.close()
        info = httplib2.Response({name.lower(): value for name, value in reply.headers.items()})
        info.status = reply.status_code
        info["status"] = str(reply.status_code)
        info.reason = reply.reason or ""
        return info, bytes(content)

    def open(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """The same with the body still to be read; close it."""
        token = self._sign_in.token()
        reply = self._send(uri, method, body, headers, token)
        if reply.status_code == 401:
            again = self._sign_in.renewed(token)
            if again != token:
                reply.close()
                reply = self._send(uri, method, body, headers, again)
                if reply.status_code == 401:
                    # A sign-in that has ended cannot be renewed, and this one was.
                    reply.close()
                    raise Transient("Google Drive refused a sign-in that it had just renewed")
        return reply

    def close(self) -> None:
        self._session.close()

    def _send(
        self, uri: str, method: str, body: Any, headers: Mapping[str, str] | None, token: str
    ) -> requests.Response:
        self._count(self.doing)
        body = body.encode() if isinstance(body, str) else body
        return self._session.exchange(
            method, uri, body, {**(headers or {}), "Authorization": f"Bearer {token}"}
        )


class Service:
    """The official client, from the description of the API that comes with it; shared by all threads.

    Attributes:
        files, changes, about: the API's collections.
        creation: a request that begins an upload, of nothing yet; see `photosync.backends.drive_body`.
    """

    def __init__(self, sign_in: SignIn, count: Callable[[str], None]) -> None:
        self._sign_in = sign_in
        self._count = count
        self._threads = threading.local()
        self._opening = threading.Lock()
        self._all: list[Http] = []
        # No request is sent through this one: each is given the transport of its thread.
        unused = Http(sign_in, count)
        api = build("drive", "v3", http=unused, static_discovery=True, cache_discovery=False)
        # Making a collection makes its methods anew each time.
        self.files = api.files()
        self.changes = api.changes()
        self.about = api.about()
        self.creation = beginning(self, {})

    def http(self, doing: str) -> Http:
        """The calling thread's transport."""
        http: Http | None = getattr(self._threads, "http", None)
        if http is None:
            http = self._threads.http = Http(self._sign_in, self._count)
            with self._opening:
                self._all.append(http)
        http.doing = doing
        return http

    def close(self) -> None:
        """Closes idle connections."""
        with self._opening:
            everyone = list(self._all)
        for http in everyone:
            http.close()
        self._sign_in.close()
