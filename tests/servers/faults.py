"""Faults that the emulators inject into chosen requests."""

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal


@dataclass(slots=True)
class Fault:
    """What happens to requests whose route matches `route` (a shell pattern, `*` for all of them).

    It begins with the `nth` matching request (from 1) and hits `count` of them (None: for ever), each with
    `probability`. Several effects may be combined, and several faults may hit one request.
    """

    route: str = "*"
    nth: int = 1
    count: int | None = 1
    probability: float = 1.0

    latency: float = 0.0
    """Seconds to wait before anything else."""
    bandwidth: float | None = None
    """Bytes a second at which bodies move, in either direction."""
    status: int | None = None
    """Answer with this status instead of doing the work: 403, 429, or 500 and up."""
    retry_after: int | None = None
    """Seconds for 429's Retry-After; None leaves the header out."""
    reason: str | None = None
    """Why, as the service words it: Dropbox's too_many_requests (the default) or too_many_write_operations,
    Google's userRateLimitExceeded, rateLimitExceeded, storageQuotaExceeded …"""
    error: dict[str, Any] | None = None
    """Answer 409 with this error union instead of doing the work."""
    expire_token: bool = False
    """Let the request's access token expire first."""
    revoke_token: bool = False
    """Let the person end the sign-in first: its access tokens and its refresh token."""
    reset: Literal["before", "body", "reply"] | None = None
    """Reset the connection: before the work, in the middle of a body (the request's if it has one, else
    the reply's), or with the work done but its reply unsent."""
    truncate: int | None = None
    """Send only so many bytes of a download, then end the connection in an orderly way. Of a chunk of a
    Google upload: keep only so many bytes, as the service may."""
    corrupt: int | None = None
    """Flip the lowest bit of the byte at this offset of the request's body, or of a download."""
    stale: int = 0
    """Let a listing miss what this number of latest changes brought; a later page tells it."""

    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)


class Faults(list[Fault]):
    """The faults in force, in order. Equal seeds give equal decisions for equal sequences of requests."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0):
        super().__init__(faults)
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def hitting(self, route: str) -> list[Fault]:
        """The faults that hit this request; each counts it."""
        with self._lock:
            return [fault for fault in self if fnmatchcase(route, fault.route) and self._hits(fault)]

    def _hits(self, fault: Fault) -> bool:
        fault.seen += 1
        spent = fault.count is not None and fault.hits >= fault.count
        if fault.seen < fault.nth or spent or self._random.random() >= fault.probability:
            return False
        fault.hits += 1
        return True
