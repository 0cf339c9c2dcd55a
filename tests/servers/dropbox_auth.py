"""OAuth of the Dropbox emulator: the authorize page, codes with PKCE, refreshing, expiry and revocation.

Rules: RFC 6749, RFC 7636 and Dropbox's OAuth guide.
"""

import base64
import hashlib
import html
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from .dropbox_errors import HttpReply, auth_error

ACCESS_SECONDS = 4 * 3600
CODE_SECONDS = 600
ACCOUNT_ID = "dbid:" + "A" * 35
"""The account's id: the API's type is a string of exactly 40 characters."""


@dataclass(frozen=True, slots=True)
class _Code:
    client_id: str
    redirect_uri: str | None
    challenge: str | None
    offline: bool
    expires: float


@dataclass(slots=True)
class _Access:
    expires: float
    refresh: str | None


class Auth:
    """Tokens of one account, for any app: `app_keys` restricts the client ids, None allows every one."""

    def __init__(self, now: Callable[[], float], app_keys: frozenset[str] | None = None):
        self._now = now
        self._app_keys = app_keys
        self._codes: dict[str, _Code] = {}
        self._access: dict[str, _Access] = {}
        self._refresh: set[str] = set()
        self._lock = threading.Lock()

    def token(self) -> dict[str, str]:
        """A fresh pair of tokens, in the form rclone keeps in its configuration."""
        refresh = self._new_refresh()
        access, seconds = self._new_access(refresh)
        expiry = datetime.fromtimestamp(self._now() + seconds, UTC).isoformat()
        return {
            "access_token": access,
            "token_type": "bearer",
            "refresh_token": refresh,
            "expiry": expiry.replace("+00:00", "Z"),
        }

    def check(self, header: str | None) -> str:
        """The access token of an Authorization header. Raises 401 as the API does, 400 if malformed."""
        kind, _, token = (header or "").partition(" ")
        if kind != "Bearer" or not token:
            raise HttpReply(400, 'Invalid authorization value in HTTP header "Authorization".')
        with self._lock:
            access = self._access.get(token)
            if access is None:
                raise auth_error("invalid_access_token")
            if access.expires <= self._now():
                raise auth_error("expired_access_token")
        return token

    def expire(self, token: str | None = None) -> None:
        """Lets an access token expire now; None: all of them."""
        with self._lock:
            for access in self._access.values() if token is None else [self._access[token]]:
                access.expires = self._now()

    def revoke(self, token: str | None = None) -> None:
        """Ends an access token and the refresh token it came from, with all their relatives; None: all."""
        with self._lock:
            if token is None:
                self._refresh.clear()
                self._access.clear()
            elif refresh := self._access.pop(token).refresh:
                self._refresh.discard(refresh)
                self._access = {name: item for name, item in self._access.items() if item.refresh != refresh}

    def authorize(self, query: Mapping[str, str]) -> HttpReply:
        """The answer of the authorize page, which approves at once: a redirect, or a page with the code."""
        client_id, redirect_uri = query.get("client_id", ""), query.get("redirect_uri")
        if query.get("response_type") != "code" or not self._knows(client_id):
            return HttpReply(400, "Invalid client_id or response_type.")
        if query.get("code_challenge") and query.get("code_challenge_method") not in ("S256", "plain"):
            return HttpReply(400, "Invalid code_challenge_method.")
        challenge = query.get("code_challenge")
        if challenge and query["code_challenge_method"] == "plain":
            challenge = _challenge(challenge)
        code = secrets.token_urlsafe(24)
        offline = query.get("token_access_type") == "offline"
        with self._lock:
            self._codes[code] = _Code(client_id, redirect_uri, challenge, offline, self._now() + CODE_SECONDS)
        if redirect_uri is None:
            page = f'<title>Access code</title><input id="code" readonly value="{html.escape(code)}">'
            return HttpReply(200, page, {"Content-Type": "text/html; charset=utf-8"})
        answer = {"code": code} | ({"state": query["state"]} if "state" in query else {})
        joint = "&" if "?" in redirect_uri else "?"
        return HttpReply(302, "", {"Location": redirect_uri + joint + urlencode(answer)})

    def exchange(self, form: Mapping[str, str], basic: str | None) -> dict[str, Any]:
        """The reply of /oauth2/token to a form, with the app's credentials in it or in a Basic header."""
        client_id = form.get("client_id") or _basic_user(basic)
        if not self._knows(client_id):
            raise _refused("invalid_client: Invalid client_id or client_secret")
        if form.get("grant_type") == "refresh_token":
            return self._refreshed(form.get("refresh_token", ""))
        if form.get("grant_type") == "authorization_code":
            return self._redeemed(form, client_id)
        raise _refused("unsupported_grant_type: grant_type is not supported")

    def _refreshed(self, refresh: str) -> dict[str, Any]:
        with self._lock:
            known = refresh in self._refresh
        if not known:
            raise _refused("invalid_grant: refresh token is invalid or revoked")
        access, seconds = self._new_access(refresh)
        return {"access_token": access, "token_type": "bearer", "expires_in": seconds}

    def _redeemed(self, form: Mapping[str, str], client_id: str) -> dict[str, Any]:
        with self._lock:
            code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.client_id != client_id or code.expires <= self._now():
            raise _refused("invalid_grant: code doesn't exist or has expired")
        if form.get("redirect_uri") != code.redirect_uri:
            raise _refused("invalid_grant: redirect_uri mismatch")
        verifier = form.get("code_verifier")
        if (code.challenge is None) != (verifier is None):
            raise _refused("invalid_grant: code_verifier does not belong to this code")
        if verifier is not None and _challenge(verifier) != code.challenge:
            raise _refused("invalid_grant: invalid code verifier")
        refresh = self._new_refresh() if code.offline else None
        access, seconds = self._new_access(refresh)
        reply = {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": seconds,
            "scope": "account_info.read files.content.read files.content.write files.metadata.read",
            "uid": "1",
            "account_id": ACCOUNT_ID,
        }
        return reply | ({"refresh_token": refresh} if refresh else {})

    def _knows(self, client_id: str) -> bool:
        return bool(client_id) and (self._app_keys is None or client_id in self._app_keys)

    def _new_refresh(self) -> str:
        refresh = "refresh-" + secrets.token_urlsafe(24)
        with self._lock:
            self._refresh.add(refresh)
        return refresh

    def _new_access(self, refresh: str | None) -> tuple[str, int]:
        access = "sl." + secrets.token_urlsafe(32)
        with self._lock:
            self._access[access] = _Access(self._now() + ACCESS_SECONDS, refresh)
        return access, ACCESS_SECONDS


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _basic_user(header: str | None) -> str:
    kind, _, value = (header or "").partition(" ")
    if kind != "Basic":
        return ""
    return base64.b64decode(value).decode("latin-1").partition(":")[0]


def _refused(text: str) -> HttpReply:
    error, _, description = text.partition(": ")
    return HttpReply(400, {"error": error, "error_description": description})
