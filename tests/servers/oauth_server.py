"""What OAuth servers have in common: codes with PKCE, access tokens that expire, refresh tokens, revocation.

Rules: RFC 6749 and RFC 7636. How a refusal is worded is each service's own.
"""

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

CODE_SECONDS = 600

Wrong = Literal["code", "redirect_uri", "no verifier", "verifier"]


class Refused(Exception):
    """A code can't be redeemed; `what` says which part of the request is wrong."""

    def __init__(self, what: Wrong):
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person allowed an app: `scope` as the app asked for it, `offline` to renew it without them."""

    client_id: str
    scope: str = ""
    offline: bool = True


@dataclass(frozen=True, slots=True)
class _Code:
    grant: Grant
    redirect_uri: str | None
    challenge: str | None
    expires: float


@dataclass(slots=True)
class Access:
    """An access token's grant, end of life (seconds since the epoch) and the refresh token it came from."""

    grant: Grant
    expires: float
    refresh: str | None


class Tokens:
    """The tokens of one account. Access tokens live for `seconds`; `prefixes` begin the two kinds.

    With `rotating` on, each renewal gives a new refresh token and ends the one it was asked with (RFC 9700,
    section 4.14).
    """

    def __init__(self, now: Callable[[], float], seconds: int, prefixes: tuple[str, str]):
        self._now = now
        self._seconds = seconds
        self._prefixes = prefixes
        self._codes: dict[str, _Code] = {}
        self._access: dict[str, Access] = {}
        self._refresh: dict[str, Grant] = {}
        self._lock = threading.Lock()
        self.rotating = False

    @property
    def seconds(self) -> int:
        return self._seconds

    def code(self, grant: Grant, query: Mapping[str, str]) -> str:
        """A code for an authorization request that was allowed."""
        challenge = query.get("code_challenge")
        if challenge and query.get("code_challenge_method", "plain") == "plain":
            challenge = challenge_of(challenge)
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes[code] = _Code(grant, query.get("redirect_uri"), challenge, self._now() + CODE_SECONDS)
        return code

    def redeem(self, form: Mapping[str, str], client_id: str) -> Grant:
        """The grant behind the code of a token request; a code is spent by the attempt. Raises `Refused`."""
        with self._lock:
            code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.grant.client_id != client_id or code.expires <= self._now():
            raise Refused("code")
        if form.get("redirect_uri") != code.redirect_uri:
            raise Refused("redirect_uri")
        verifier = form.get("code_verifier")
        if (code.challenge is None) != (verifier is None):
            raise Refused("no verifier")
        if verifier is not None and challenge_of(verifier) != code.challenge:
            raise Refused("verifier")
        return code.grant

    def issue(self, grant: Grant, refresh: str | None = None) -> tuple[str, str | None]:
        """An access token and the refresh token that goes with it: `refresh`, or a new one if the grant is
        for offline use."""
        if refresh is None and grant.offline:
            refresh = self._prefixes[1] + secrets.token_urlsafe(24)
        access = self._prefixes[0] + secrets.token_urlsafe(32)
        with self._lock:
            if refresh is not None:
                self._refresh[refresh] = grant
            self._access[access] = Access(grant, self._now() + self._seconds, refresh)
        return access, refresh

    def renew(self, refresh: str, client_id: str) -> tuple[str, str | None, Grant] | None:
        """A new access token, the new refresh token if they rotate, and their grant; None if the refresh
        token is not valid for this app."""
        with self._lock:
            grant = self._refresh.get(refresh)
            if grant is None or (grant.client_id and grant.client_id != client_id):
                return None
            if self.rotating:
                del self._refresh[refresh]
        access, kept = self.issue(grant, None if self.rotating else refresh)
        return access, kept if self.rotating else None, grant

    def find(self, access: str) -> Access | None:
        """What is known of an access token, expired or not."""
        with self._lock:
            return self._access.get(access)

    def expire(self, token: str | None = None) -> None:
        """Lets an access token expire now; None: all of them."""
        with self._lock:
            for access in self._access.values() if token is None else [self._access[token]]:
                access.expires = self._now()

    def revoke(self, token: str | None = None) -> bool:
        """Ends an access or refresh token with all its relatives; None: all. Returns whether it was known."""
        with self._lock:
            if token is None:
                self._refresh.clear()
                self._access.clear()
                return True
            access = self._access.pop(token, None)
            refresh = access.refresh if access else token
            known = access is not None or token in self._refresh
            if refresh is not None:
                self._refresh.pop(refresh, None)
                self._access = {name: item for name, item in self._access.items() if item.refresh != refresh}
            return known

    def revoke_app(self, client_id: str) -> None:
        """Ends every token of an app."""
        with self._lock:
            self._refresh = {
                name: each for name, each in self._refresh.items() if each.client_id != client_id
            }
            self._access = {
                name: each for name, each in self._access.items() if each.grant.client_id != client_id
            }

    def grant_of(self, token: str) -> Grant | None:
        """What an access or refresh token stands for."""
        with self._lock:
            access = self._access.get(token)
            return access.grant if access else self._refresh.get(token)

    def stored(self, grant: Grant) -> dict[str, str]:
        """A fresh pair of tokens, in the form rclone keeps in its configuration."""
        access, refresh = self.issue(grant)
        expiry = datetime.fromtimestamp(self._now() + self._seconds, UTC).isoformat()
        return {
            "access_token": access,
            "token_type": "bearer",
            "refresh_token": refresh or "",
            "expiry": expiry.replace("+00:00", "Z"),
        }


def challenge_of(verifier: str) -> str:
    """The S256 challenge of RFC 7636, section 4.2."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def basic_of(header: str | None) -> tuple[str, str]:
    """Client id and secret of a Basic header; empty if it is none."""
    kind, _, value = (header or "").partition(" ")
    user, _, password = base64.b64decode(value if kind == "Basic" else "").decode("latin-1").partition(":")
    return user, password


def redirect(uri: str, answer: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Where the browser is sent: `uri` with the answer and the request's state."""
    told = {**answer} | ({"state": query["state"]} if "state" in query else {})
    return uri + ("&" if "?" in uri else "?") + urlencode(told)
