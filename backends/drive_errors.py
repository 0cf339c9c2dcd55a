"""Google Drive's answers in the engine's words.

An error's body names a reason, ``userRateLimitExceeded`` for one; the HTTP status alone does not tell a full
Drive from one that is asked too often (both 403). Source: "Resolve errors" of the Drive API's guides.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from photosync.engine.errors import (
    AlreadyExists,
    DestinationFull,
    Fatal,
    NotSignedIn,
    Permanent,
    PhotosyncError,
    RateLimited,
    ReadOnly,
    Transient,
    Trouble,
    Unsupported,
)
from photosync.engine.names import printable

REMEDY = "Sign in again with `photosync connect NAME --type drive`."


class IdTaken(AlreadyExists):
    """A file with this id exists: an earlier try of the same request arrived."""


class Refused(Permanent):
    """Drive does not take these arguments."""


class CursorReset(Permanent):
    """The cursor is not valid any more: list from the start."""


_FULL = "no space is left in this Drive. Free some or choose another destination, then run again."
_LIMITED = "too many requests."
_REDIRECT = "the answer was a redirect to another address, which is never followed."

_REASONS: dict[str, tuple[type[PhotosyncError], str]] = {
    "storageQuotaExceeded": (DestinationFull, _FULL),
    "quotaExceeded": (DestinationFull, _FULL),
    "teamDriveFileLimitExceeded": (DestinationFull, "the shared drive holds as many files as it may."),
    "numChildrenInNonRootLimitExceeded": (Permanent, "the folder holds as many files as it may."),
    "teamDriveHierarchyTooDeep": (Permanent, "the folders are nested deeper than Drive allows."),
    "userRateLimitExceeded": (RateLimited, _LIMITED),
    "rateLimitExceeded": (RateLimited, _LIMITED),
    "dailyLimitExceeded": (
        Fatal,
        "the OAuth client has used up its requests for today. Run again tomorrow, or raise its quota.",
    ),
    "accessNotConfigured": (
        Fatal,
        "the OAuth client's project lacks the Drive API. Enable it in the project's API library.",
    ),
    "domainPolicy": (Fatal, "the administrator of this account does not allow it."),
    "insufficientPermissions": (
        NotSignedIn,
        f"the sign-in does not allow that (its scope is too narrow). {REMEDY}",
    ),
    "insufficientParentPermissions": (ReadOnly, "this account may not write to that folder."),
    "teamDrivesParentLimit": (ReadOnly, "a shared drive does not allow that."),
    "appNotAuthorizedToFile": (
        Permanent,
        "the sign-in may only see what photosync made (drive.file). Sign in with --scope drive.",
    ),
    "cannotDownloadAbusiveFile": (Permanent, "Google holds it for malware and does not give it out."),
    "cannotCopyFile": (Unsupported, "Google does not copy this file by itself."),
    "fileNotDownloadable": (Permanent, "it has no bytes to download."),
}


@contextmanager
def translated(doing: str, path: str = "") -> Iterator[None]:
    """Raises what the SDK and its libraries raise within as errors of the engine, or `OSError` subclasses.

    What is raised has no cause and no context to print: requests puts addresses into its exceptions, and the
    address of an upload is a secret.

    Args:
        doing: what is being done, for the message ("reading").
        path: to what, if to anything.
    """
    try:
        yield
        return
    except PhotosyncError:
        raise
    except Exception as error:
        found = _meaning(error, doing, path)
        if found is error:
            raise
    raise found from None


def status_error(status: int, headers: Any, body: bytes, doing: str, path: str) -> Exception:
    """What a reply that is no success means.

    Args:
        status: of HTTP.
        headers: a mapping that has lower-case names.
        body: as JSON, if Google sent it; a proxy's is anything.
    """
    what = _subject(doing, path)
    reason, message = _reason(body)
    wait = headers.get("retry-after", "")
    retry_after = float(wait) if wait.isascii() and wait.isdecimal() else None
    if reason in _REASONS:
        kind, text = _REASONS[reason]
        if issubclass(kind, Transient):
            return kind(f"{what}: {text}", retry_after=retry_after)
        return kind(f"{what}: {text}")
    if status == 401:
        return NotSignedIn(f"{what}: the sign-in is not valid any more: it expired or was revoked. {REMEDY}")
    if status in (404, 410):
        return FileNotFoundError(errno.ENOENT, "Google Drive has nothing of that name or id", path)
    if status == 409:
        return IdTaken(f"{what}: the id is in use.")
    if status == 429:
        return RateLimited(f"{what}: {_LIMITED}", retry_after=retry_after)
    if status >= 500 or status in (408, 425):
        return Transient(f"{what}: Google has trouble (HTTP {status}).", retry_after, Trouble.SERVER)
    if status == 403 and reason:
        return PermissionError(errno.EACCES, f"not allowed at Google Drive ({reason})", path)
    if 300 <= status < 400:
        return Permanent(f"{what}: {_REDIRECT}")
    return Refused(f"{what}: refused (HTTP {status}{f', {message}' if message else ''}).")


def _subject(doing: str, path: str) -> str:
    return f"Google Drive, {doing} {printable(path)!r}" if path else f"Google Drive, {doing}"


def _reason(body: bytes) -> tuple[str, str]:
    """The reason and the message of an error's body; empty for what is not Google's."""
    try:
        error = json.loads(body)["error"]
        first = (error.get("errors") or [{}])[0]
        return str(first.get("reason", "")), str(error.get("message", ""))[:300]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return "", ""


def _meaning(error: Exception, doing: str, path: str) -> Exception:
    """``error`` itself if it is none of the SDK's."""
    import requests
    import urllib3
    from google.auth import exceptions
    from googleapiclient.errors import Error, HttpError

    what = _subject(doing, path)
    if isinstance(error, HttpError):
        return status_error(int(error.resp.status), error.resp, error.content, doing, path)
    if isinstance(error, exceptions.TransportError):
        text = f"{what}: the sign-in could not be renewed: no connection to Google."
        return Transient(text, trouble=Trouble.NETWORK)
    if isinstance(error, exceptions.GoogleAuthError):
        return _sign_in_meaning(error, what)
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return Permanent(f"{what}: {_REDIRECT}")
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return Fatal(f"{what}: the proxy that HTTPS_PROXY names cannot be used. Correct or unset it.")
    if isinstance(error, (requests.exceptions.RequestException, urllib3.exceptions.HTTPError)):
        return _network_meaning(error, what)
    if isinstance(error, (Error, ValueError, TypeError, KeyError, AttributeError, RecursionError)):
        text = f"{what}: the reply could not be understood ({type(error).__name__})."
        return Transient(text, trouble=Trouble.NETWORK)
    return error


def _sign_in_meaning(error: Any, what: str) -> Exception:
    if getattr(error, "retryable", False):
        return Transient(f"{what}: the sign-in could not be renewed now.", trouble=Trouble.SERVER)
    answer = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], dict) else {}
    code = str(answer.get("error", ""))
    problems = {
        "invalid_grant": "the sign-in has ended: it was revoked, or not used for six months. (Of an OAuth "
        "client in testing, sign-ins end after seven days.)",
        "invalid_client": "Google does not know this OAuth client, or its secret is another one.",
        "unauthorized_client": "this OAuth client may not renew the sign-in.",
    }
    return NotSignedIn(f"{what}: {problems.get(code, 'the sign-in cannot be renewed.')} {REMEDY}")


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
