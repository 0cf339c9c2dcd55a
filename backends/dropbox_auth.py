"""Signing in to Dropbox: OAuth 2 with PKCE, for an app that has no secret.

    request = begin(app_key)                # the person opens request.url, agrees, and is shown a code
    token = request.finish({"code": code})  # keep it: it is what `photosync.backends.dropbox` wants

Sources: RFC 7636, and Dropbox's OAuth guide.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_errors import translated
from photosync.backends.tokens import Identity, WrongState
from photosync.engine.errors import NotSignedIn

SCOPES = ("account_info.read", "files.metadata.read", "files.content.read", "files.content.write")
"""What photosync needs, and no more."""

Token = dict[str, str | float | None]

_STATE = "state"


class SignInRequest:
    """A sign-in that a person was not asked about yet; see `begin`.

    Attributes:
        url: to open in a browser.
    """

    def __init__(self, app_key: str, redirect_uri: str) -> None:
        from dropbox.oauth import DropboxOAuth2Flow, DropboxOAuth2FlowNoRedirect

        from photosync.backends.session import TIMEOUT, Session

        options: dict[str, Any] = {
            "use_pkce": True,
            "token_access_type": "offline",
            "scope": list(SCOPES),
            "timeout": TIMEOUT,
        }
        self._flow: Any
        self._returning = bool(redirect_uri)
        if redirect_uri:
            self._flow = DropboxOAuth2Flow(app_key, redirect_uri, {}, _STATE, **options)
        else:
            self._flow = DropboxOAuth2FlowNoRedirect(app_key, **options)
        # The flow's own session has other ideas of certificates, redirects and .netrc.
        self._flow.requests_session = Session(1)
        self.url = str(self._flow.start())

    def finish(self, answer: Mapping[str, str]) -> Token:
        """Ends a sign-in.

        Args:
            answer: the query that Dropbox sent the browser back with, or only the ``code`` that it showed.

        Returns:
            access_token, refresh_token, expires_at (seconds since the epoch), app_key, account_id, scope.

        Raises:
            WrongState: the answer belongs to another sign-in.
            NotSignedIn: the code is wrong, used or too old, or the person did not agree.
            Transient: Dropbox could not be reached.
        """
        import requests
        from dropbox.oauth import BadStateException, CsrfException, NotApprovedException, ProviderException

        with translated("signing in"):
            try:
                result = self._flow.finish(self._told(answer))
            except (CsrfException, BadStateException):
                raise WrongState("Dropbox answered another sign-in than this one. Start again.") from None
            except NotApprovedException:
                raise NotSignedIn("Access to Dropbox was not allowed, so nothing was kept.") from None
            except ProviderException:
                raise NotSignedIn("Dropbox ended the sign-in with an error. Start it again.") from None
            except requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                if status not in (400, 401):
                    raise
                raise NotSignedIn(
                    "Dropbox did not accept the code: it is mistyped, used already or older than a few "
                    "minutes. Start the sign-in again."
                ) from None
        return {
            "access_token": result.access_token,
            "refresh_token": result.refresh_token,
            "expires_at": None
            if result.expires_at is None
            else result.expires_at.replace(tzinfo=UTC).timestamp(),
            "app_key": self._flow.consumer_key,
            "account_id": result.account_id,
            "scope": result.scope,
        }

    def _told(self, answer: Mapping[str, str]) -> Any:
        if not self._returning:
            return answer.get("code", "").strip()
        if "state" not in answer:
            raise WrongState("The answer does not say which sign-in it is for. Start again.")
        return dict(answer)


def begin(app_key: str, redirect_uri: str = "") -> SignInRequest:
    """Begins a sign-in.

    Args:
        app_key: of the person's own app at dropbox.com/developers/apps.
        redirect_uri: where the browser shall be sent with the code; "": Dropbox shows the code.
    """
    return SignInRequest(app_key, redirect_uri)


def identify(account: Account) -> Identity:
    """Whose account it is, in one request.

    Raises:
        NotSignedIn: the sign-in is not valid any more.
        Transient: Dropbox could not be reached.
    """
    with account.calling("asking who is signed in") as sdk:
        found = sdk.users_get_current_account()
    return Identity(str(found.account_id), f"{found.name.display_name} <{found.email}>")


def revoke(token: Mapping[str, str | float | None]) -> None:
    """Ends a sign-in at Dropbox: the access token, its refresh token and every relative.

    A token that is not valid any more is no error.

    Args:
        token: from `SignInRequest.finish`.
    """
    account = Account(token)
    try:
        with account.calling("signing out") as sdk:
            sdk.auth_token_revoke()
    except NotSignedIn:
        pass
    finally:
        account.close()
