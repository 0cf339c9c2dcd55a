"""Dropbox's answers in the engine's words.

An endpoint's error is a union of unions, ``path/conflict/file`` for one. The endpoints share their parts, so
one table over the parts serves all of them. Source: the HTTP documentation's "Errors" and the descriptions
of the unions in the official SDK (LookupError, WriteError, RelocationError, UploadSessionLookupError).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from photosync.engine.errors import (
    AlreadyExists,
    DestinationFull,
    Fatal,
    NameRefused,
    NotSignedIn,
    Permanent,
    PhotosyncError,
    ReadOnly,
    Transient,
    Trouble,
)
from photosync.engine.names import printable

REMEDY = "Sign in again with `photosync connect NAME --type dropbox`."


class RouteRefused(Permanent):
    """Dropbox does not know this endpoint, or does not take these arguments."""


class JobForgotten(Permanent):
    """Dropbox does not know this job, or lost it."""


class CursorReset(Permanent):
    """The cursor is too old: list from the start."""


class WrongOffset(Permanent):
    """An upload session stands elsewhere.

    Args:
        message: what was being done, to which path.
        offset: bytes that the session holds.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class SessionClosed(Permanent):
    """The upload session takes no more data; after a lost reply it may be committed already."""


_FULL = "no space is left in this Dropbox. Free some or choose another destination, then run again."
_RETRY = "it was busy or the data arrived damaged."

_MEANINGS: dict[str, tuple[type[PhotosyncError], str]] = {
    "conflict": (AlreadyExists, "the name is taken; what has it was left as it is."),
    "file_ancestor": (AlreadyExists, "a file has the name of a folder it needs; it was left as it is."),
    "insufficient_space": (DestinationFull, _FULL),
    "insufficient_quota": (DestinationFull, _FULL),
    "team_folder_insufficient_space": (DestinationFull, _FULL),
    "member_folder_insufficient_space": (DestinationFull, _FULL),
    "team_folder_insufficient_quota": (DestinationFull, _FULL),
    "member_folder_insufficient_quota": (DestinationFull, _FULL),
    "upload_traffic_limit_reached": (Fatal, "this account's upload traffic is used up. Run again later."),
    "disallowed_name": (NameRefused, "Dropbox does not allow this name. Rename it at the source."),
    "malformed_path": (NameRefused, "Dropbox cannot hold this name. Rename it at the source."),
    "no_write_permission": (ReadOnly, "this account may not write there."),
    "access_restricted": (ReadOnly, "this account may not write there."),
    "team_folder": (ReadOnly, "a team folder cannot be changed so."),
    "operation_suppressed": (ReadOnly, "Dropbox does not allow this at this path."),
    "too_many_write_operations": (Transient, _RETRY),
    "internal_error": (Transient, _RETRY),
    "content_hash_mismatch": (Transient, _RETRY),
    "length_mismatch": (Transient, _RETRY),
    "reset": (CursorReset, "the cursor is too old."),
    "invalid_async_job_id": (JobForgotten, "the job is not known any more."),
    "closed": (SessionClosed, "the upload session is finished."),
}

_TROUBLES = {
    "too_many_write_operations": Trouble.THROTTLED,
    "internal_error": Trouble.SERVER,
    "content_hash_mismatch": Trouble.DAMAGED,
    "length_mismatch": Trouble.DAMAGED,
}

_OS_ERRORS: dict[str, tuple[type[OSError], int, str]] = {
    "not_found": (FileNotFoundError, errno.ENOENT, "Dropbox has nothing of that name"),
    "not_folder": (NotADirectoryError, errno.ENOTDIR, "not a folder at Dropbox"),
    "not_file": (IsADirectoryError, errno.EISDIR, "not a file at Dropbox"),
}


@contextmanager
def translated(doing: str, path: str = "") -> Iterator[None]:
    """Raises what the SDK and its libraries raise within as errors of the engine, or `OSError` subclasses.

    Args:
        doing: what is being done, for the message ("reading").
        path: to what, if to anything.
    """
    try:
        yield
    except Exception as error:
        found = _meaning(error, doing, path)
        if found is None:
            raise
        raise found from error


def entry_error(error: Any, doing: str, path: str) -> Exception:
    """What the error union of one entry of a batch means."""
    tags, detail = _walk(error)
    what = _subject(doing, path)
    for tag in reversed(tags):
        if tag in _MEANINGS:
            kind, text = _MEANINGS[tag]
            if kind is Transient:
                return Transient(f"{what}: {text}", trouble=_TROUBLES[tag])
            return kind(f"{what}: {text}")
        if tag in _OS_ERRORS:
            os_kind, number, text = _OS_ERRORS[tag]
            return os_kind(number, text, path)
        if tag == "incorrect_offset":
            offset = int(detail.correct_offset)
            return WrongOffset(f"{what}: the upload session stands at byte {offset}.", offset)
    return Permanent(f"{what}: refused ({'/'.join(tags) or type(error).__name__}).")


def _walk(error: Any) -> tuple[list[str], Any]:
    """The tags of a union from the outside in, and the innermost value."""
    tags: list[str] = []
    while True:
        if hasattr(error, "_tag"):
            tags.append(error._tag)
            error = error._value
        elif hasattr(error, "reason"):
            error = error.reason
        else:
            return tags, error


def _subject(doing: str, path: str) -> str:
    return f"Dropbox, {doing} {printable(path)!r}" if path else f"Dropbox, {doing}"


def _meaning(error: Exception, doing: str, path: str) -> Exception | None:
    """None for an error that is none of the SDK's."""
    import requests
    import urllib3
    from dropbox import exceptions
    from stone.backends.python_rsrc.stone_validators import ValidationError

    what = _subject(doing, path)
    if isinstance(error, PhotosyncError):
        return None
    if isinstance(error, exceptions.ApiError):
        return entry_error(error.error, doing, path)
    if isinstance(error, exceptions.DropboxException):
        return _http_meaning(error, what)
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return Permanent(f"{what}: the answer was a redirect to another address, which is never followed.")
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return Fatal(f"{what}: the proxy that HTTPS_PROXY names cannot be used. Correct or unset it.")
    if isinstance(error, (requests.exceptions.RequestException, urllib3.exceptions.HTTPError)):
        return _network_meaning(error, what)
    if isinstance(error, ValidationError):
        return RouteRefused(f"{what}: the request or its reply is not of the documented form.")
    if isinstance(error, (AssertionError, ValueError, TypeError, KeyError, AttributeError, RecursionError)):
        # The SDK's ways to say that a reply is no JSON, or not of the documented shape.
        return Transient(
            f"{what}: the reply could not be understood ({type(error).__name__}).", trouble=Trouble.NETWORK
        )
    return None


def _http_meaning(error: Any, what: str) -> Exception:
    from dropbox import exceptions

    if isinstance(error, exceptions.AuthError):
        return NotSignedIn(f"{what}: {_auth_problem(error.error)} {REMEDY}")
    if isinstance(error, exceptions.RateLimitError):
        wait = None if error.backoff is None else float(error.backoff)
        return Transient(f"{what}: too many requests.", wait, Trouble.THROTTLED)
    if isinstance(error, exceptions.PathRootError):
        return Fatal(
            f"{what}: this account cannot use the configured root namespace. Correct `root_namespace`, or "
            "remove it for the account's own folder."
        )
    if isinstance(error, exceptions.BadInputError):
        return RouteRefused(f"{what}: the request was refused: {str(error.message)[:300]}")
    status = getattr(error, "status_code", 0)
    if status >= 500 or status in (408, 425):
        wait = getattr(error, "retry_after", None)
        return Transient(f"{what}: Dropbox has trouble (HTTP {status}).", wait, Trouble.SERVER)
    return RouteRefused(f"{what}: unexpected answer (HTTP {status}).")


def _auth_problem(error: Any) -> str:
    tags, detail = _walk(error)
    tag = tags[0] if tags else ""
    if tag == "missing_scope":
        return (
            f"the app lacks the permission {detail.required_scope!r}. Tick it in the app's settings at "
            "dropbox.com/developers/apps."
        )
    problems = {
        "expired_access_token": "the sign-in has expired and cannot be renewed.",
        "invalid_access_token": "the sign-in is not valid any more: it was revoked or replaced.",
        "user_suspended": "the account is suspended.",
    }
    return problems.get(tag, f"the sign-in was refused ({tag or 'no reason given'}).")


def _network_meaning(error: Exception, what: str) -> Exception:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Fatal(
            f"{what}: the server's certificate is not trusted. Behind a proxy with an authority of its own, "
            "set SSL_CERT_FILE to that authority's PEM file."
        )
    return Transient(
        f"{what}: the connection failed ({type(error).__name__}). Check the network, and the proxy if one is "
        "set; then run again.",
        trouble=Trouble.NETWORK,
    )
