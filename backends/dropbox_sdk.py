"""The official SDK's client, fit for threads, proxies and slow lines. Import it lazily: it loads the SDK.

What the SDK leaves to do:

* Its session has other ideas of certificates, timeouts and redirects than `photosync.backends.session`.
* Every thread that meets an expired token refreshes it. Here the first one does, the others wait.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dropbox
import requests
from dropbox.dropbox_client import PATH_ROOT_HEADER
from dropbox.exceptions import BadInputError, HttpError, InternalServerError

from photosync.backends.dropbox_errors import REMEDY
from photosync.backends.session import TIMEOUT, Session
from photosync.engine.errors import NotSignedIn

Token = dict[str, str | float | None]


class Client(dropbox.Dropbox):  # type: ignore[misc]
    """The SDK's client with counting, timeouts, no retries and single-flight refresh.

    Args:
        token: access_token, refresh_token, expires_at (seconds since the epoch), app_key, app_secret.
        on_token: told the token anew, with the same keys, each time it was refreshed.
        root_namespace: namespace that paths start from; None: the account's own folder.
        connections: kept open to one host.
        counts: where requests are counted, by endpoint.
    """

    def __init__(
        self,
        token: Token,
        on_token: Callable[[Token], None] | None,
        root_namespace: str | None,
        connections: int,
        counts: Counter[str],
    ) -> None:
        expires = token.get("expires_at")
        headers = None
        if root_namespace is not None:
            root = {".tag": "namespace_id", "namespace_id": root_namespace}
            headers = {PATH_ROOT_HEADER: json.dumps(root)}
        super().__init__(
            oauth2_access_token=token.get("access_token"),
            oauth2_refresh_token=token.get("refresh_token"),
            oauth2_access_token_expiration=None
            if expires is None
            else datetime.fromtimestamp(float(expires), UTC).replace(tzinfo=None),
            app_key=token.get("app_key"),
            app_secret=token.get("app_secret"),
            session=Session(connections),
            headers=headers,
            timeout=TIMEOUT,
            max_retries_on_error=0,
            max_retries_on_rate_limit=0,
            user_agent="photosync",
        )
        self.server_date: str | None = None
        self._session.hooks["response"].append(self._note_date)
        self._token = token
        self._on_token = on_token
        self._refreshing = threading.RLock()
        self._used = threading.local()
        self._counting = threading.Lock()
        self._counts = counts

    def _note_date(self, response: requests.Response, **_: Any) -> None:
        self.server_date = response.headers.get("date", self.server_date)

    def _count(self, route: str) -> None:
        with self._counting:
            self._counts[route] += 1

    def request_json_string(self, host: str, func_name: str, *args: Any, **options: Any) -> Any:
        """One HTTP request, as the SDK's own; counted, and its token remembered."""
        self._count(func_name)
        self._used.token = self._oauth2_access_token
        return super().request_json_string(host, func_name, *args, **options)

    def check_and_refresh_access_token(self) -> None:
        """Renews a token that is about to expire, before it is used."""
        with self._refreshing:
            self._used.token = self._oauth2_access_token
            super().check_and_refresh_access_token()

    def refresh_access_token(self, *args: Any, **options: Any) -> None:
        """Renews the token unless another thread has, since this one used it.

        Raises:
            NotSignedIn: the app's key or secret is not accepted.
        """
        with self._refreshing:
            if self._oauth2_access_token != getattr(self._used, "token", None):
                return
            if not (self._oauth2_refresh_token and self._app_key):
                return
            self._count("oauth2/token")
            try:
                super().refresh_access_token(*args, **options)
            except BadInputError as error:
                raise NotSignedIn(
                    f"Dropbox refused to renew the sign-in for this app key or refresh token. {REMEDY}"
                ) from error
            expires = self._oauth2_access_token_expiration.replace(tzinfo=UTC).timestamp()
            self._token = self._token | {"access_token": self._oauth2_access_token, "expires_at": expires}
            if self._on_token is not None:
                self._on_token(dict(self._token))

    def raise_dropbox_error_for_resp(self, res: requests.Response) -> None:
        """Raises for error replies. Unlike the SDK's own, it keeps a 503's Retry-After, and does not take a
        proxy's 403 or 404 for JSON."""
        try:
            super().raise_dropbox_error_for_resp(res)
        except InternalServerError as error:
            wait = res.headers.get("retry-after", "")
            error.retry_after = float(wait) if wait.isdecimal() else None
            raise
        is_json = "json" in res.headers.get("content-type", "")
        if res.status_code in (403, 404, 409) and not is_json:
            raise HttpError(res.headers.get("x-dropbox-request-id"), res.status_code, None)
