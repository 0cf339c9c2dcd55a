"""OAuth of the Google emulator: the consent page, codes with PKCE for desktop apps, tokens and revocation.

Rules: RFC 6749, RFC 7636, and "OAuth 2.0 for iOS & Desktop Apps" in Google's documentation.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from .api_connection import HttpReply
from .drive_errors import unauthorized
from .oauth_server import Grant, Refused, Tokens, basic_of, redirect

ACCESS_SECONDS = 3599
SCOPE = "https://www.googleapis.com/auth/"
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/.*)?")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: an app, with the last parts of the scopes it was given ("drive.file" …)."""

    app: str
    scopes: frozenset[str]

    @property
    def everything(self) -> bool:
        """Whether it sees files that it did not make."""
        return bool(self.scopes & {"drive", "drive.readonly", "drive.metadata", "drive.metadata.readonly"})

    @property
    def writes(self) -> bool:
        return bool(self.scopes & {"drive", "drive.file"})


class GoogleAuth(Tokens):
    """Sign-ins of one account. `clients` are OAuth clients' ids and secrets; None knows every one, whatever
    its secret.

    Knobs: `denying` (the person says no), `unticked` (they leave the boxes of the scopes empty),
    `refresh_seconds` (life of refresh tokens: 7 days for an app "in testing").
    """

    def __init__(self, now: Callable[[], float], clients: Mapping[str, str] | None = None):
        super().__init__(now, ACCESS_SECONDS, ("ya29.", "1//"))
        self._clients = clients
        self._consented: set[str] = set()
        self._born: dict[str, float] = {}
        self._service_accounts: dict[str, bytes] = {}
        self.denying = False
        self.unticked = False
        self.refresh_seconds: float | None = None

    def token(self, scope: str = "drive", client_id: str = "app") -> dict[str, str]:
        """A fresh pair of tokens, in the form rclone keeps in its configuration."""
        return self.stored(Grant(client_id, SCOPE + scope))

    def service_account(self, name: str = "robot") -> dict[str, str]:
        """The key file of a new service account, as Google's console offers it for download."""
        key = rsa.generate_private_key(65537, 2048)
        email = f"{name}@project.iam.gserviceaccount.com"
        plain, pem = serialization.NoEncryption(), serialization.Encoding.PEM
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._service_accounts[email] = public
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "1",
            "private_key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain).decode(),
            "client_email": email,
            "client_id": "100000000000000000001",
            "token_uri": "https://oauth2.googleapis.com/token",
        }

    def check(self, header: str | None) -> Caller:
        """Who an Authorization header stands for. Raises 401."""
        kind, _, token = (header or "").partition(" ")
        access = self.find(token)
        if kind.lower() != "bearer" or access is None or access.expires <= self._now():
            raise unauthorized()
        scopes = frozenset(each.removeprefix(SCOPE) for each in access.grant.scope.split())
        return Caller(access.grant.client_id, scopes)

    def authorize(self, query: Mapping[str, str]) -> HttpReply:
        """The answer of the consent page, where the person decides at once: a redirect, or an error page."""
        client_id, uri = query.get("client_id", ""), query.get("redirect_uri", "")
        for name in ("client_id", "redirect_uri", "response_type", "scope"):
            if not query.get(name):
                return _page("invalid_request", f"Missing required parameter: {name}")
        if self._clients is not None and client_id not in self._clients:
            return HttpReply(401, "Error 401: invalid_client. The OAuth client was not found.")
        if uri.startswith("urn:ietf:wg:oauth:2.0:oob"):
            return _page("invalid_request", "The out-of-band (OOB) flow has been blocked")
        if not _LOOPBACK.fullmatch(uri):
            return _page("redirect_uri_mismatch", "The redirect URI in the request does not match")
        if query["response_type"] != "code":
            return _page("unsupported_response_type", f"Invalid response_type: {query['response_type']}")
        if query.get("code_challenge_method", "plain") not in ("S256", "plain"):
            return _page("invalid_request", "Invalid code_challenge_method")
        if self.denying:
            return _back(redirect(uri, {"error": "access_denied"}, query))
        scope = "openid" if self.unticked else query["scope"]
        # Documented: a refresh token comes with the first consent only, unless consent is prompted for anew.
        again = client_id in self._consented and "consent" not in query.get("prompt", "").split()
        self._consented.add(client_id)
        offline = query.get("access_type") == "offline" and not again
        code = self.code(Grant(client_id, scope, offline), query)
        return _back(redirect(uri, {"code": code, "scope": scope}, query))

    def exchange(self, form: Mapping[str, str], basic: str | None) -> dict[str, Any]:
        """The reply of the token endpoint to a form, with the client in it or in a Basic header."""
        if form.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return self._asserted(form.get("assertion", ""))
        client_id, secret = basic_of(basic)
        client_id, secret = form.get("client_id", client_id), form.get("client_secret", secret)
        if not client_id:
            raise _refused("invalid_request", "Could not determine client ID from request.")
        if self._clients is not None and client_id not in self._clients:
            raise _refused("invalid_client", "The OAuth client was not found.", 401)
        if not secret:
            raise _refused("invalid_request", "client_secret is missing.")
        if self._clients is not None and secret != self._clients[client_id]:
            raise _refused("invalid_client", "Unauthorized", 401)
        if form.get("grant_type") == "refresh_token":
            return self._renewed(form.get("refresh_token", ""), client_id)
        if form.get("grant_type") == "authorization_code":
            return self._redeemed(form, client_id)
        raise _refused("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")

    def end(self, token: str) -> dict[str, Any]:
        """The reply of the revocation endpoint."""
        if not self.revoke(token):
            raise _refused("invalid_token", "Token expired or revoked")
        return {}

    def revoke(self, token: str | None = None) -> bool:
        """As in `Tokens`, with every other token of the app: what ends is the person's consent."""
        if token is None:
            self._consented.clear()
            return super().revoke()
        grant = self.grant_of(token)
        if grant is not None:
            self._consented.discard(grant.client_id)
            self.revoke_app(grant.client_id)
        return grant is not None

    def _asserted(self, assertion: str) -> dict[str, Any]:
        """A token for a service account, which signs what it asks for (RFC 7523)."""
        try:
            email = jwt.decode(assertion, verify=False)["iss"]
            claims = jwt.decode(
                assertion, self._service_accounts[email], audience="https://oauth2.googleapis.com/token"
            )
        except (ValueError, KeyError):
            raise _refused("invalid_grant", "Invalid JWT Signature.") from None
        grant = Grant(email, claims["scope"], offline=False)
        access, _ = self.issue(grant)
        return self._told(access, None, grant)

    def _renewed(self, refresh: str, client_id: str) -> dict[str, Any]:
        born = self._born.get(refresh)
        old = self.refresh_seconds is not None and born is not None
        if old and self._now() >= born + self.refresh_seconds:  # type: ignore[operator]
            self.revoke(refresh)
        renewed = self.renew(refresh, client_id)
        if renewed is None:
            raise _refused("invalid_grant", "Token has been expired or revoked.")
        access, turned, grant = renewed
        return self._told(access, turned, grant)

    def _redeemed(self, form: Mapping[str, str], client_id: str) -> dict[str, Any]:
        try:
            grant = self.redeem(form, client_id)
        except Refused as refused:
            words = {"no verifier": "Missing code verifier.", "verifier": "Invalid code verifier."}
            name = "redirect_uri_mismatch" if refused.what == "redirect_uri" else "invalid_grant"
            raise _refused(name, words.get(refused.what, "Bad Request")) from None
        access, refresh = self.issue(grant)
        return self._told(access, refresh, grant)

    def _told(self, access: str, refresh: str | None, grant: Grant) -> dict[str, Any]:
        reply = {
            "access_token": access,
            "expires_in": ACCESS_SECONDS,
            "scope": grant.scope,
            "token_type": "Bearer",
        }
        if refresh is None:
            return reply
        self._born[refresh] = self._now()
        limit = (
            {} if self.refresh_seconds is None else {"refresh_token_expires_in": int(self.refresh_seconds)}
        )
        return reply | {"refresh_token": refresh} | limit


def _refused(error: str, description: str, status: int = 400) -> HttpReply:
    return HttpReply(status, {"error": error, "error_description": description})


def _page(error: str, text: str) -> HttpReply:
    return HttpReply(400, f"Access blocked: authorization error. Error 400: {error}. {text}")


def _back(location: str) -> HttpReply:
    return HttpReply(302, "", {"Location": location})
