"""Refusals of the Google Drive API, as "Resolve errors" in its documentation and the service word them."""

from typing import Any

from .api_connection import HttpReply

_LIMIT = (
    "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota, you may consider "
    "re-evaluating expected per-user traffic to the API and adjust project quota limits accordingly. You may "
    "monitor aggregate quota usage and adjust limits in the API Console: "
    "https://console.developers.google.com/apis/api/drive.googleapis.com/quotas?project=1"
)
_MESSAGES = {
    "userRateLimitExceeded": ("usageLimits", _LIMIT),
    "rateLimitExceeded": ("usageLimits", "Rate Limit Exceeded"),
    "accessNotConfigured": (
        "usageLimits",
        (
            "Access Not Configured. Google Drive API has not been used in project 1 before or it is "
            "disabled. Enable it by visiting https://console.developers.google.com/apis/api/drive.googleapis.com/overview"
        ),
    ),
    "dailyLimitExceeded": ("usageLimits", "Daily Limit Exceeded"),
    "storageQuotaExceeded": ("global", "The user's Drive storage quota has been exceeded."),
    "teamDriveFileLimitExceeded": ("global", "The file limit for this shared drive has been exceeded."),
    "numChildrenInNonRootLimitExceeded": (
        "global",
        "The limit for this folder's number of children (files and folders) has been exceeded.",
    ),
    "backendError": ("global", "Backend Error"),
    "internalError": ("global", "Internal Error"),
}


def refusal(
    status: int,
    reason: str,
    message: str,
    location: str = "",
    *,
    domain: str = "global",
    kind: str = "parameter",
    headers: dict[str, str] | None = None,
) -> HttpReply:
    """An error in the API's form: one entry of `errors`, its code and message repeated beside it."""
    entry: dict[str, Any] = {"domain": domain, "reason": reason, "message": message}
    if location:
        entry |= {"locationType": kind, "location": location}
    return HttpReply(status, {"error": {"errors": [entry], "code": status, "message": message}}, headers)


def limited(status: int, reason: str | None, retry_after: int | None = None) -> HttpReply:
    """A rate limit, a quota or a fault of the service's."""
    reason = reason or ("rateLimitExceeded" if status < 500 else "backendError")
    domain, message = _MESSAGES[reason]
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return refusal(status, reason, message, domain=domain, headers=headers)


def not_found(file_id: str, location: str = "fileId") -> HttpReply:
    """404 for what is not there, or not to be seen by this app."""
    return refusal(404, "notFound", f"File not found: {file_id}.", location)


def invalid(location: str, message: str = "Invalid Value", reason: str = "invalid") -> HttpReply:
    """400 for a parameter."""
    return refusal(400, reason, message, location)


def bad_request(message: str = "Bad Request") -> HttpReply:
    return refusal(400, "badRequest", message)


def forbidden(reason: str, message: str) -> HttpReply:
    return refusal(403, reason, message)


def not_authorized(app: str, verb: str, file_id: str) -> HttpReply:
    """403 for a file that the app may know of and not change."""
    message = f"The user has not granted the app {app} {verb} access to the file {file_id}."
    return refusal(403, "appNotAuthorizedToFile", message, "Authorization", kind="header")


def unauthorized() -> HttpReply:
    """401 for an access token that is missing, expired or revoked."""
    found = refusal(401, "authError", "Invalid Credentials", "Authorization", kind="header")
    found.headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return found


def insufficient_scope() -> HttpReply:
    return refusal(
        403,
        "insufficientPermissions",
        "Insufficient Permission: Request had insufficient authentication scopes.",
    )
