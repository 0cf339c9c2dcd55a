"""Sign-ins as text: what ``photosync authorize`` prints on one machine and ``--token-file`` reads on another.

The same reader takes rclone's tokens, what ``rclone authorize`` prints, a service's own answer, or a bare
access token.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from photosync.config import Drive, Dropbox
from photosync.rclone_file import Unusable, read_token
from photosync.secrets import Credentials

LIMIT = 1 << 16
"""Characters that such a text may have."""

MARK = "photosync"
"""The key by which a sign-in that photosync made itself is told from another program's."""


class HandoverError(ValueError):
    """The text holds no sign-in; what is raised never repeats it."""


def printed(remote: Dropbox | Drive, record: Mapping[str, Any]) -> str:
    """One line that `taken` makes the same sign-in of.

    Args:
        remote: with its app, scope and account.
        record: access_token, refresh_token, expires_at, and the app's secret if it has one.
    """
    said = msgspec.to_builtins(remote)
    said.pop("root", None)
    return json.dumps({MARK: 1, **said, **record})


def taken(
    remote: Dropbox | Drive, text: str, client_secret: str = ""
) -> tuple[Dropbox | Drive, Credentials, bool]:
    """The sign-in that a text holds.

    Args:
        remote: what is known of the remote already; it wins over what the text says.
        text: as above, with anything around the JSON.
        client_secret: of the Google client, if the text does not have it.

    Returns:
        The remote with its app and account, the record to keep, and whether it can be renewed.

    Raises:
        HandoverError: it is no sign-in, or one for another type of remote.
    """
    body = braced(text)
    if not body:
        if any(character.isspace() for character in text.strip()):
            raise HandoverError("holds neither JSON nor a single token")
        return remote, Credentials(access_token=text.strip(), shared=True), False
    given = parsed(body)
    kind = "dropbox" if isinstance(remote, Dropbox) else "drive"
    if given.get("type", kind) != kind:
        raise HandoverError(f"holds a sign-in for type {given['type']}, not {kind}")
    try:
        record = read_token(body)
    except Unusable as error:
        raise HandoverError(f"can't be used: {error}") from None
    remote = _completed(remote, given)
    app = remote.app_key if isinstance(remote, Dropbox) else remote.client_id
    if app and (secret := given.get("app_secret") or given.get("client_secret") or client_secret):
        record["app_secret" if isinstance(remote, Dropbox) else "client_secret"] = secret
    renewable = "refresh_token" in record
    # Only the app that a token was given to can renew it; Google's tokens want the client's secret too.
    if not app or (isinstance(remote, Drive) and "client_secret" not in record):
        record.pop("refresh_token", None)
        renewable = False
        if "access_token" not in record:
            raise HandoverError(_NO_APP[kind])
    if MARK not in given:
        record["shared"] = True
    return remote, record, renewable


_NO_APP = {
    "dropbox": "has a refresh token, which needs the app key that it was given to: add --app-key KEY",
    "drive": "has a refresh token, which needs the OAuth client that it was given to: add --client-file FILE",
}


def _completed(remote: Dropbox | Drive, given: Mapping[str, Any]) -> Dropbox | Drive:
    """The remote, with what it does not say itself taken from the text."""
    spellings = (
        {"app_key": ("app_key", "client_id"), "account": ("account", "account_id")}
        if isinstance(remote, Dropbox)
        else {"client_id": ("client_id",), "scope": ("scope",), "account": ("account",)}
    )
    found = {}
    for name, keys in spellings.items():
        value = next((given[key] for key in keys if isinstance(given.get(key), str)), "")
        if value and not getattr(remote, name):
            found[name] = value.rpartition("/")[2] if name == "scope" else value
    return msgspec.structs.replace(remote, **found)


def braced(text: str) -> str:
    """From the first brace to the last; empty if there are none."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else ""


def parsed(body: str) -> dict[str, Any]:
    """JSON that must be an object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HandoverError("holds something that looks like JSON and is not")
    return found
