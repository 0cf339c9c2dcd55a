"""Upload sessions of the Dropbox emulator, sequential and concurrent.

Rules: the descriptions of upload_session/start, append_v2, append_batch, finish and finish_batch_v2 and of
their error unions in the HTTP documentation and in the official SDK.
"""

import itertools
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .dropbox_content import BLOCK, Content
from .dropbox_errors import EndpointError, Tagged, tag

LIFETIME = 7 * 24 * 3600
MAX_FILE = 2**41 - 2**22


@dataclass(slots=True)
class Session:
    """One upload session. `blocks` are the indices of the 4 MiB blocks present, of a concurrent session."""

    id: str
    concurrent: bool
    started: float
    content: Content = field(default_factory=Content)
    closed: bool = False
    committed: bool = False
    blocks: set[int] = field(default_factory=set)
    digest: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Uploads:
    """All sessions. Failures raise `EndpointError` whose error is the UploadSessionLookupError alone (for
    appends: the members it shares with UploadSessionAppendError)."""

    def __init__(self, now: Callable[[], float]):
        self._now = now
        self._sessions: dict[str, Session] = {}
        self._numbers = itertools.count(1)

    def start(self, concurrent: bool, data: bytes | memoryview = b"", close: bool = False) -> Session:
        """Opens a session, sequential ones optionally with their first bytes and closed at once."""
        if concurrent and len(data):
            raise EndpointError(tag("concurrent_session_data_not_allowed"))
        if concurrent and close:
            raise EndpointError(tag("concurrent_session_close_not_allowed"))
        # As long as the service's own, which matters to whoever packs many into a header.
        name = f"pid_upload_session:{next(self._numbers)}{secrets.token_urlsafe(35)}"
        session = Session(name, concurrent, self._now(), Content(data), closed=close)
        self._sessions[name] = session
        return session

    def keep(self, content: Content) -> Session:
        """A closed session that holds what could not be committed, for a later finish."""
        session = self.start(concurrent=False, close=True)
        session.content = content
        return session

    def get(self, session_id: str) -> Session:
        """The session, or `not_found` if it is unknown or older than 7 days."""
        session = self._sessions.get(session_id)
        if session is None or self._now() - session.started > LIFETIME:
            raise EndpointError(tag("not_found"))
        return session

    def append(self, session_id: str, offset: int, data: bytes | memoryview, close: bool) -> None:
        """Adds `data` at `offset` bytes; concurrent sessions take their pieces in any order."""
        session = self.get(session_id)
        with session.lock:
            if session.closed:
                raise EndpointError(tag("closed"))
            if offset + len(data) > MAX_FILE:
                raise EndpointError(tag("too_large"))
            if session.concurrent:
                _check_alignment(offset, len(data), close)
                session.blocks.update(range(offset // BLOCK, -(-(offset + len(data)) // BLOCK)))
            elif offset != session.content.size:
                raise EndpointError(_incorrect_offset(session))
            session.content.write(offset, data)
            session.closed = close

    def ready(self, session_id: str, offset: int, data: bytes | memoryview, batch: bool) -> Session:
        """Takes the last bytes of a finish call and returns the session, whole and ready to be committed.

        Raises an UploadSessionFinishError.
        """
        try:
            session = self.get(session_id)
        except EndpointError as failure:
            raise _lookup_failed(failure.error) from None
        with session.lock:
            if session.committed:
                raise _lookup_failed(tag("closed"))
            if session.concurrent:
                _check_whole(session, len(data))
            elif batch and not session.closed:
                raise _lookup_failed(tag("not_closed"))
            if offset != session.content.size:
                raise _lookup_failed(_incorrect_offset(session))
            if len(data):
                if session.closed:
                    raise _lookup_failed(tag("closed"))
                session.content.write(offset, data)
            if session.digest is None or not session.closed:
                session.digest = session.content.hash()
        return session


def _check_alignment(offset: int, length: int, close: bool) -> None:
    if offset % BLOCK:
        raise EndpointError(tag("concurrent_session_invalid_offset"))
    if length % BLOCK and not close:
        raise EndpointError(tag("concurrent_session_invalid_data_size"))


def _check_whole(session: Session, sent: int) -> None:
    if sent:
        raise EndpointError(tag("concurrent_session_data_not_allowed"))
    if not session.closed:
        raise EndpointError(tag("concurrent_session_not_closed"))
    if len(session.blocks) * BLOCK < session.content.size:
        raise EndpointError(tag("concurrent_session_missing_data"))


def _incorrect_offset(session: Session) -> Tagged:
    return tag("incorrect_offset", correct_offset=session.content.size)


def _lookup_failed(reason: Tagged) -> EndpointError:
    return EndpointError(tag("lookup_failed", reason))
