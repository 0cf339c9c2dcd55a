"""OAuth of the Dropbox emulator: the authorize page, codes with PKCE, refreshing, expiry and revocation.

Rules: RFC 6749, RFC 7636 and Dropbox's OAuth guide.
"""

import html
from collections.abc import Callable, Mapping
from typing import Any

from .api_connection import HttpReply
from .dropbox_errors import auth_error
from .oauth_server import Grant, Refused, Tokens, Wrong, basic_of, redirect

ACCESS_SECONDS = 4 * 3600
ACCOUNT_ID = "dbid:" + "A" * 35
"""The account's id: the API's type is a string of exactly 40 characters."""


class Auth(Tokens):
    """Tokens of one account, for any app: `app_keys` restricts the client ids, None allows every one."""

    def __init__(self, now: Callable[[], float], app_keys: frozenset[str] | None = None):
        super().__init__(now, ACCESS_SECONDS, ("sl.", "refresh-"))
        self._app_keys = app_keys
        self.denying = False
        """The person does not allow it."""

    def token(self) -> dict[str, str]:
        """A fresh pair of tokens, in the form rclone keeps in its configuration."""
        return self.stored(Grant(""))

    def check(self, header: str | None) -> str:
        """The access token of an Authorization header. Raises 401 as the API does, 400 if malformed."""
        kind, _, token = (header or "").partition(" ")
        if kind != "Bearer" or not token:
            raise HttpReply(400, 'Invalid authorization value in HTTP header "Authorization".')
        access = self.find(token)
        if access is None:
            raise auth_error("invalid_access_token")
        if access.expires <= self._now():
            raise auth_error("expired_access_token")
        return token

    def authorize(self, query: Mapping[str, str]) -> HttpReply:
        """The answer of the authorize page, which approves at once: a redirect, or a page with the code."""
        client_id, redirect_uri = query.get("client_id", ""), query.get("redirect_uri")
        if query.get("response_type") != "code" or not self._knows(client_id):
            return HttpReply(400, "Invalid client_id or response_type.")
        if query.get("code_challenge") and query.get("code_challenge_method") not in ("S256", "plain"):
            return HttpReply(400, "Invalid code_challenge_method.")
        if self.denying and redirect_uri is not None:
            denied = {
                "error": "access_denied",
                "error_description": "The user chose not to give your app access",
            }
            return HttpReply(302, "", {"Location": redirect(redirect_uri, denied, query)})
        code = self.code(Grant(client_id, offline=query.get("token_access_type") == "offline"), query)
        if redirect_uri is None:
            page = f'<title>Access code</title><input id="code" readonly value="{html.escape(code)}">'
            return HttpReply(200, page, {"Content-Type": "text/html; charset=utf-8"})
        return HttpReply(302, "", {"Location": redirect(redirect_uri, {"code": code}, query)})

    def exchange(self, form: Mapping[str, str], basic: str | None) -> dict[str, Any]:
        """The reply of /oauth2/token to a form, with the app's credentials in it or in a Basic header."""
        client_id = form.get("client_id") or basic_of(basic)[0]
        if not self._knows(client_id):
            raise _refused("invalid_client: Invalid client_id or client_secret")
        if form.get("grant_type") == "refresh_token":
            renewed = self.renew(form.get("refresh_token", ""), client_id)
            if renewed is None:
                raise _refused("invalid_grant: refresh token is invalid or revoked")
            return self._told(renewed[0], renewed[1])
        if form.get("grant_type") == "authorization_code":
            return self._redeemed(form, client_id)
        raise _refused("unsupported_grant_type: grant_type is not supported")

    def _redeemed(self, form: Mapping[str, str], client_id: str) -> dict[str, Any]:
        try:
            grant = self.redeem(form, client_id)
        except Refused as refused:
            raise _refused(f"invalid_grant: {_WORDS[refused.what]}") from None
        access, refresh = self.issue(grant)
        scope = "account_info.read files.content.read files.content.write files.metadata.read"
        return self._told(access, refresh) | {"scope": scope, "uid": "1", "account_id": ACCOUNT_ID}

    def _told(self, access: str, refresh: str | None) -> dict[str, Any]:
        reply = {"access_token": access, "token_type": "bearer", "expires_in": ACCESS_SECONDS}
        return reply | ({"refresh_token": refresh} if refresh else {})

    def _knows(self, client_id: str) -> bool:
        return bool(client_id) and (self._app_keys is None or client_id in self._app_keys)


_WORDS: Mapping[Wrong, str] = {
    "code": "code doesn't exist or has expired",
    "redirect_uri": "redirect_uri mismatch",
    "no verifier": "code_verifier does not belong to this code",
    "verifier": "invalid code verifier",
}


def _refused(text: str) -> HttpReply:
    error, _, description = text.partition(": ")
    return HttpReply(400, {"error": error, "error_description": description})
