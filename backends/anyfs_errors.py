"""What other people's filesystems raise, sorted into the engine's errors.

Exceptions are known by name, so that nothing needs importing to ask: paramiko's, ftplib's, httpx's and
webdav4's, aiohttp's, smbprotocol's.
"""

import errno
import re

from photosync.engine.errors import (
    DestinationFull,
    Fatal,
    NotSignedIn,
    PhotosyncError,
    ReadOnly,
    Transient,
    Trouble,
    Unsupported,
    classify,
    describe,
)

_SIGN_IN = {
    "AuthenticationException",
    "BadHostKeyException",
    "NoCredentialsError",
    "RefreshError",
    "SMBAuthenticationError",
}
_AGAIN = {
    "BadGatewayError",
    "ClientConnectionError",
    "EOFError",
    "ResourceLocked",
    "ServerTimeoutError",
    "SMBConnectionClosed",
    "SSHException",
    "TransportError",
    # ftplib: question and answer are out of step, so the connection is of no use any more.
    "error_proto",
    "error_reply",
    "error_temp",
}

_UNREACHABLE = {
    "ConnectError",
    "ConnectTimeout",
    "ConnectionRefusedError",
    "NoValidConnectionsError",
    "gaierror",
}
"""What httpx, the operating system, paramiko and the resolver of names say where nobody answers."""
_NO_WAY = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH}

# Windows' status codes (MS-ERREF, 2.3.1).
_SMB_DENIED = {0xC0000022, 0xC00000CA}
_SMB_READ_ONLY = {0xC00000A2}
_SMB_FULL = {0xC0000044, 0xC000007F}
_SMB_SIGN_IN = {
    0xC000006A,
    0xC000006D,
    0xC000006E,
    0xC0000071,
    0xC0000072,
    0xC0000193,
    0xC0000224,
    0xC0000234,
}
_SMB_NO_SHARE = {0xC00000CC}
_SMB_AGAIN = {
    *(0xC0000043, 0xC0000054, 0xC0000056, 0xC000009A, 0xC00000B5, 0xC00000C9),
    *(0xC0000203, 0xC000020C, 0xC000020D, 0xC000035C),
}

_NO_SPACE = re.compile(r"no space left|quota exceeded|disk full|insufficient (?:disk|storage)", re.IGNORECASE)


def absent(error: BaseException) -> bool:
    """Whether it says that nothing has the name, or that a folder on the way to it is missing."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return True
    if isinstance(error, OSError):
        return error.errno in (errno.ENOENT, errno.ENOTDIR) and _smb_status(error) not in _SMB_NO_SHARE
    return bool(_names(error) & {"ResourceConflict", "SFTPNoSuchFile", "SFTPNoSuchPath"})


def refused(error: BaseException) -> bool:
    """Whether the place does not let this user write."""
    if (status := _smb_status(error)) is not None:
        return status in _SMB_DENIED or status in _SMB_READ_ONLY
    if isinstance(error, OSError):
        return isinstance(error, PermissionError) or error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    names = _names(error)
    if "error_perm" in names:
        return str(error)[:3] in ("532", "550", "553") and not _NO_SPACE.search(str(error))
    return "ForbiddenOperation" in names or _http_status(error) in (403, 405)


def understood(error: Exception, doing: str) -> PhotosyncError:
    """As `photosync.engine.errors.classify`, for what network filesystems raise as well."""
    found = _understood(error, f"{doing}: {describe(error)}")
    if found is None:
        return classify(error, doing)
    found.__cause__ = error
    return found


def _understood(error: Exception, text: str) -> PhotosyncError | None:
    names = _names(error)
    if (status := _smb_status(error)) is not None:
        return _smb(status, text)
    if (code := _http_status(error)) is not None:
        return _http(code, text, _retry_after(error))
    if names & _UNREACHABLE or getattr(error, "errno", None) in _NO_WAY:
        hint = "Check that the server is up, its name and port, and the network; then run again."
        return Transient(f"{text}. {hint}", trouble=Trouble.NETWORK)
    if isinstance(error, OSError):
        return None
    if names & _SIGN_IN or ("error_perm" in names and str(error).startswith("530")):
        return NotSignedIn(f"{text}. Check the sign-in to this place, then run again.")
    if "InsufficientStorage" in names or (
        names & {"error_perm", "error_temp"} and (str(error)[:3] in ("452", "552") or _NO_SPACE.search(text))
    ):
        return DestinationFull(f"{text}. Free some space or choose another destination, then run again.")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return Fatal(
            f"{text}. The server's certificate is not trusted: name the authority that signed it in "
            "SSL_CERT_FILE."
        )
    # smbprotocol, when too much is under way at once.
    if names & _AGAIN or "credits are available" in text:
        return Transient(text)
    if isinstance(error, ValueError) and isinstance(error.__cause__, OSError):
        # smbprotocol, of a server that cannot be reached.
        return _understood(error.__cause__, text) or classify(error.__cause__, text)
    if isinstance(error, NotImplementedError):
        return Unsupported(f"{text.partition(':')[0]}: this filesystem cannot do that")
    return None


def _smb(status: int, text: str) -> PhotosyncError | None:
    if status in _SMB_SIGN_IN:
        return NotSignedIn(f"{text}. Check user and password of this place, then run again.")
    if status in _SMB_NO_SHARE:
        return Fatal(f"{text}. The server has no share of that name: it is the first name of the path.")
    if status in _SMB_FULL:
        return DestinationFull(f"{text}. Free some space or choose another destination, then run again.")
    if status in _SMB_READ_ONLY:
        return ReadOnly(f"{text}. The share is read-only: choose another.")
    return Transient(text) if status in _SMB_AGAIN else None


def _http(code: int, text: str, retry_after: float | None) -> PhotosyncError | None:
    if code == 401:
        return NotSignedIn(f"{text}. Check user and password of this place, then run again.")
    if code == 507:
        return DestinationFull(f"{text}. Free some space or choose another destination, then run again.")
    return Transient(text, retry_after) if code in (408, 423, 425, 429) or code >= 500 else None


def _names(error: BaseException) -> set[str]:
    return {each.__name__ for each in type(error).__mro__}


def _smb_status(error: BaseException) -> int | None:
    """The code; of a share that is missing the first one, before smbclient asked who else might have it."""
    found: int | None = None
    each: BaseException | None = error
    while each is not None:
        code = getattr(each, "ntstatus", None)
        if code is None and "SMBResponseException" in _names(each):
            code = getattr(each, "status", None)
        if isinstance(code, int) and (found is None or code in _SMB_NO_SHARE):
            found = code
        each = each.__cause__ or each.__context__
    return found


def _http_status(error: BaseException) -> int | None:
    code = getattr(error, "status_code", None)
    return code if isinstance(code, int) else None


def _retry_after(error: BaseException) -> float | None:
    """Seconds (RFC 9110, 10.2.3); a date there is left to the engine's own backoff."""
    value = getattr(getattr(error, "response", None), "headers", {}).get("retry-after", "")
    return float(value) if value.isdecimal() else None
