"""Signing in to Google: OAuth 2 with PKCE for desktop apps, by google-auth-oauthlib.

    request = begin(client_id, client_secret, "drive.file", "http://127.0.0.1:53682/")
    token = request.finish(query)    # of the address that the browser was sent back to

Sources: RFC 7636, RFC 8252, and "OAuth 2.0 for iOS & Desktop Apps" in Google's documentation.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from photosync.backends.drive_client import DEFAULT_SCOPE, SCOPE, Account, given
from photosync.backends.drive_errors import translated
from photosync.backends.tokens import Identity, WrongState
from photosync.engine.errors import NotSignedIn

SCOPES = ("drive.file", "drive")
"""What a person can be asked for: what photosync made, or everything."""

AUTH_URI = "https://accounts.google.com/o/oauth2/v2/auth"
TOKEN_URI = "https://oauth2.googleapis.com/token"
REVOKE_URI = "https://oauth2.googleapis.com/revoke"

Token = dict[str, str | float | None]


class SignInRequest:
    """A sign-in that a person was not asked about yet; see `begin`.

    Attributes:
        url: to open in a browser.
    """

    def __init__(self, client_id: str, client_secret: str, scope: str, redirect_uri: str) -> None:
        from google_auth_oauthlib.flow import Flow

        from photosync.backends.session import Session

        # Where to sign in is not for a file to say that came from somewhere.
        client = {"client_id": client_id, "client_secret": client_secret}
        places = {"auth_uri": AUTH_URI, "token_uri": TOKEN_URI}
        self._client = client
        self._scope = SCOPE + scope
        self._flow = Flow.from_client_config(
            {"installed": client | places},
            [self._scope],
            redirect_uri=redirect_uri,
            autogenerate_code_verifier=True,
        )
        ours = Session(1)
        session = self._flow.oauth2session
        session.mount("https://", ours.get_adapter(TOKEN_URI))
        session.auth, session.max_redirects = ours.auth, 0
        # Without a prompt for consent a person who agreed before gets no refresh token.
        self.url, self._state = self._flow.authorization_url(access_type="offline", prompt="consent")

    def finish(self, answer: Mapping[str, str]) -> Token:
        """Ends a sign-in.

        Args:
            answer: the query that Google sent the browser back with (code, state, scope, error), or only the
                ``code`` out of it.

        Returns:
            access_token, refresh_token, expires_at (seconds since the epoch), client_id, client_secret.

        Raises:
            WrongState: the answer belongs to another sign-in.
            NotSignedIn: the code or the client is not accepted, or the person did not agree.
            Transient: Google could not be reached.
        """
        bare = answer.keys() <= {"code"}
        if not bare and not secrets.compare_digest(answer.get("state", "").encode(), self._state.encode()):
            raise WrongState("Google answered another sign-in than this one. Start again.")
        if error := answer.get("error"):
            raise NotSignedIn(
                _DENIED if error == "access_denied" else "Google ended the sign-in. Start again."
            )
        with translated("signing in"):
            token = self._exchange(answer.get("code", "").strip())
        if self._scope not in token.get("scope", [self._scope]):
            raise NotSignedIn(
                "The box that lets photosync use your Drive was left unticked. Sign in again and tick it."
            )
        return {
            "access_token": token["access_token"],
            "refresh_token": token.get("refresh_token"),
            "expires_at": token.get("expires_at"),
            **self._client,
        }

    def _exchange(self, code: str) -> Any:
        from oauthlib.oauth2 import OAuth2Error

        from photosync.backends.session import TIMEOUT

        try:
            return self._flow.fetch_token(code=code, timeout=TIMEOUT)
        except Warning as changed:
            # oauthlib warns, by raising, that the person allowed something else than was asked for.
            return changed.token  # type: ignore[attr-defined]
        except OAuth2Error as error:
            refused = _REFUSED.get(error.error, _REFUSED["invalid_grant"])
        raise NotSignedIn(refused)


_DENIED = "Access to Google Drive was not allowed, so nothing was kept."
_REFUSED = {
    "invalid_grant": (
        "Google did not accept the code: it is mistyped, used already or older than a few minutes. Start the "
        "sign-in again."
    ),
    "invalid_client": (
        "Google does not know this OAuth client, or its secret is another one. Download the client's JSON "
        "file again, and name it with --client-file."
    ),
    "redirect_uri_mismatch": (
        "The OAuth client is not of the type Desktop app. Make one of that type: see docs/connect.md."
    ),
    "invalid_request": (
        "Google did not accept the OAuth client: its secret is missing. Name its file with --client-file."
    ),
}


def begin(
    client_id: str, client_secret: str, scope: str = DEFAULT_SCOPE, redirect_uri: str = ""
) -> SignInRequest:
    """Begins a sign-in.

    Args:
        client_id: of the person's own OAuth client, of the type Desktop app.
        client_secret: of that client; Google asks for it, though a desktop app can't keep one.
        scope: the last part of its address: "drive.file" (what photosync made) or "drive" (everything).
        redirect_uri: where the browser shall be sent with the code, at 127.0.0.1.
    """
    return SignInRequest(client_id, client_secret, scope or DEFAULT_SCOPE, redirect_uri)


def identify(account: Account) -> Identity:
    """Whose account it is, in one request.

    Raises:
        NotSignedIn: the sign-in is not valid any more.
        Transient: Google could not be reached.
    """
    fields = "user(displayName,emailAddress,permissionId)"
    user = given(
        account.run(lambda api: api.about.get(fields=fields), "asking who is signed in"), "user", dict
    )
    id, name, address = (given(user, each, str) for each in ("permissionId", "displayName", "emailAddress"))
    return Identity(id, f"{name} <{address}>")


def revoke(token: Mapping[str, str | float | None]) -> None:
    """Ends a sign-in at Google: the refresh token and the access tokens that came from it.

    A token that is not valid any more is no error.

    Args:
        token: from `SignInRequest.finish`.

    Raises:
        Transient: Google could not be reached.
    """
    from photosync.backends.session import TIMEOUT, Session

    with translated("signing out"), Session(1) as session:
        form = {"token": token.get("refresh_token") or token.get("access_token")}
        reply = session.post(REVOKE_URI, data=form, timeout=TIMEOUT)
        if reply.status_code != 400:
            reply.raise_for_status()
