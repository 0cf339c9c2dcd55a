"""What can go wrong, sorted by what a caller should do about it.

    PhotosyncError
    ├── Transient(retry_after)   may work if tried again: network, rate limit, server trouble
    │   ├── SourceChanged        the file moved under the reader: discard the attempt, read it anew
    │   └── RateLimited          the place wants fewer requests a second
    ├── Permanent                this one item will not work however often it is tried
    │   ├── NameRefused          no destination name can stand for it
    │   ├── AlreadyExists        the final name is taken by an object that is not ours to replace
    │   └── Unsupported          the store has no safe way to do what was asked
    ├── Deferred                 not now: the source has others to read first
    ├── Corrupt                  bytes differ from what they were proven to be
    └── Fatal                    nothing further in this run can work
        ├── NotSignedIn          token missing, expired for good or revoked
        ├── DeviceGone           unplugged, unmounted, or another device under the same path
        ├── DestinationFull      no space or quota left
        ├── ReadOnly             the place may be read but not written
        ├── Unreachable          the place does not answer any more; another run may find it again
        └── SafetyGuard          going on could lose photos: empty or shrunken source, too many deletions

Backends raise these, or the builtin ``OSError`` subclasses where fsspec's contract asks for them
(``FileNotFoundError``, ``PermissionError`` …); `classify` turns the latter into the former.
"""

import errno
from enum import StrEnum


class Trouble(StrEnum):
    """Why something had to be tried again, as reports count it."""

    NETWORK = "network"
    """No connection, one that broke, or no answer in time."""
    THROTTLED = "throttled"
    """The place asked to go more slowly."""
    SERVER = "server"
    """The place had trouble of its own."""
    DAMAGED = "damaged"
    """Bytes arrived, or came back, other than they were sent."""
    CHANGED = "changed"
    """The source file changed while it was read, or the place forgot what was sent of it."""
    OTHER = "other"


class PhotosyncError(Exception):
    """Base of everything photosync raises on purpose; its text says what to do next."""


class Transient(PhotosyncError):
    """May work if tried again.

    Args:
        message: what happened, to which path.
        retry_after: seconds that the server asked to wait, or None.
        trouble: what kind of trouble it is, for the report.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, trouble: Trouble = Trouble.OTHER
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.trouble = trouble


class SourceChanged(Transient):
    """The source file grew, shrank or was replaced while it was read."""

    def __init__(self, message: str) -> None:
        super().__init__(message, trouble=Trouble.CHANGED)


class RateLimited(Transient):
    """The place wants fewer requests a second; `photosync.engine.limits.Gate` slows every caller down."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after, Trouble.THROTTLED)


class Permanent(PhotosyncError):
    """Trying again will not help this item; others are not affected."""


class NameRefused(Permanent):
    """The name cannot be represented, or tries to leave its root."""


class AlreadyExists(Permanent):
    """The final name holds an object already; it was left as it is."""


class Unsupported(Permanent):
    """The store offers no safe way to do this."""


class Deferred(PhotosyncError):
    """Not now: another file comes first; to be tried again when those are done."""


class Corrupt(PhotosyncError):
    """Bytes are not what they were proven to be."""


class Fatal(PhotosyncError):
    """The run cannot go on against this place."""


class NotSignedIn(Fatal):
    """Credentials are missing, expired for good, or revoked."""


class DeviceGone(Fatal):
    """The device was unplugged or unmounted, or another one stands at its path."""


class DestinationFull(Fatal):
    """No space or quota is left at the destination."""


class ReadOnly(Fatal):
    """The place refuses writes."""


class Unreachable(Fatal):
    """The place does not answer any more."""


class SafetyGuard(Fatal):
    """Going on could lose photos."""


_FULL = {errno.ENOSPC, errno.EDQUOT}
_GONE = {errno.ENODEV, errno.ENOTCONN, errno.ENXIO, errno.ESHUTDOWN}
_AGAIN = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


def classify(error: Exception, doing: str) -> PhotosyncError:
    """The member of the tree that a foreign exception stands for, chained to it.

    Args:
        error: whatever a filesystem or SDK raised.
        doing: what was being done and to which path, for the message ("reading DCIM/a.jpg").

    Returns:
        ``error`` itself if it is a `PhotosyncError`, else a new one whose ``__cause__`` it is.
        Unknown exceptions are `Permanent`: retrying a bug hides it.
    """
    if isinstance(error, PhotosyncError):
        return error
    found: PhotosyncError
    text = f"{doing}: {describe(error)}"
    code = error.errno if isinstance(error, OSError) else None
    if code in _FULL:
        found = DestinationFull(f"{text}. Free some space or choose another destination, then run again.")
    elif code in _GONE:
        found = DeviceGone(f"{text}. Plug the device in again, unlock it, then run again.")
    elif code == errno.EROFS:
        found = ReadOnly(f"{text}. The place is mounted read-only: remount it writable, or choose another.")
    elif isinstance(error, FileExistsError):
        found = AlreadyExists(text)
    elif isinstance(error, (ConnectionError, TimeoutError)) or code in _AGAIN:
        found = Transient(text, trouble=Trouble.NETWORK)
    else:
        found = Permanent(text)
    found.__cause__ = error
    return found


def describe(error: BaseException) -> str:
    """One line for a person: the operating system's words if it has them, else type and text."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip()
    return text if isinstance(error, PhotosyncError) and text else f"{type(error).__name__}: {text}"
