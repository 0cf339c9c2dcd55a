"""Signing in to Dropbox: OAuth 2 with PKCE, for an app that has no secret and no address to come back to.

    url, flow = start(app_key)      # the person opens url, agrees, and is shown a code
    token = finish(flow, code)      # keep it: it is what `photosync.backends.dropbox` wants

Sources: RFC 7636, and Dropbox's OAuth guide.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_errors import translated
from photosync.engine.errors import NotSignedIn

SCOPES = ("account_info.read", "files.metadata.read", "files.content.read", "files.content.write")
"""What photosync needs, and no more."""

Token = dict[str, str | float | None]


def start(app_key: str) -> tuple[str, Any]:
    """Begins a sign-in.

    Args:
        app_key: of the person's own app at dropbox.com/developers/apps.

    Returns:
        The address to open in a browser, and what `finish` needs.
    """
    from dropbox.oauth import DropboxOAuth2FlowNoRedirect

    from photosync.backends.session import TIMEOUT, open_session

    flow = DropboxOAuth2FlowNoRedirect(
        app_key, use_pkce=True, token_access_type="offline", scope=list(SCOPES), timeout=TIMEOUT
    )
    # The flow's own session has other ideas of certificates, redirects and .netrc.
    flow.requests_session = open_session(1)
    return str(flow.start()), flow


def finish(flow: Any, code: str) -> Token:
    """Ends a sign-in.

    Args:
        flow: from `start`.
        code: as the person was shown it.

    Returns:
        access_token, refresh_token, expires_at (seconds since the epoch), app_key, account_id, scope.

    Raises:
        NotSignedIn: the code is wrong, used or too old.
        Transient: Dropbox could not be reached.
    """
    import requests

    with translated("signing in"):
        try:
            result = flow.finish(code.strip())
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status not in (400, 401):
                raise
            raise NotSignedIn(
                "Dropbox did not accept the code: it is mistyped, used already or older than a few minutes. "
                "Start the sign-in again."
            ) from None
    return {
        "access_token": result.access_token,
        "refresh_token": result.refresh_token,
        "expires_at": None
        if result.expires_at is None
        else result.expires_at.replace(tzinfo=UTC).timestamp(),
        "app_key": flow.consumer_key,
        "account_id": result.account_id,
        "scope": result.scope,
    }


def revoke(token: Mapping[str, str | float | None]) -> None:
    """Ends a sign-in at Dropbox: the access token, its refresh token and every relative.

    A token that is not valid any more is no error.

    Args:
        token: from `finish`.
    """
    account = Account(token)
    try:
        with account.calling("signing out") as sdk:
            sdk.auth_token_revoke()
    except NotSignedIn:
        pass
    finally:
        account.close()
