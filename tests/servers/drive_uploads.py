"""Resumable uploads of the Drive emulator.

Rules: "Upload file data" in the Drive API's documentation, and what the live service does: pieces are kept in
whole multiples of 256 KiB, a piece that begins beyond what is kept is refused, one that begins before it
continues where the kept bytes end.
"""

import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .api_connection import HttpReply
from .drive_discovery import Method
from .dropbox_content import Content

UNIT = 256 * 1024
LIFETIME = 7 * 24 * 3600
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(slots=True)
class Session:
    """One session: what it was opened for, what has arrived, and the reply once it is complete."""

    id: str
    method: Method
    query: Mapping[str, str]
    body: dict[str, Any]
    media_type: str
    total: int | None
    started: float
    file_id: str | None
    caller: Any
    content: Content = field(default_factory=Content)
    answer: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def uri(self) -> str:
        target = "" if self.file_id is None else f"/{self.file_id}"
        return (
            f"https://www.googleapis.com/upload/drive/v3/files{target}"
            f"?uploadType=resumable&upload_id={self.id}"
        )


class Uploads:
    """All sessions. `expired_status` is what an unknown or old one answers: 404, or 410 as seen at times."""

    def __init__(self, now: Callable[[], float]):
        self._now = now
        self._sessions: dict[str, Session] = {}
        self.expired_status = 404

    def open(self, **opened: Any) -> Session:
        """A new session."""
        session = Session(id=secrets.token_urlsafe(60), started=self._now(), **opened)
        self._sessions[session.id] = session
        return session

    def get(self, upload_id: str) -> Session:
        """The session, if it is not older than a week."""
        session = self._sessions.get(upload_id)
        if session is None or self._now() - session.started > LIFETIME:
            raise HttpReply(self.expired_status, "Not Found" if self.expired_status == 404 else "Gone")
        return session

    def cancel(self, upload_id: str) -> HttpReply:
        """Forgets a session; 499 is the documented answer."""
        self._sessions.pop(self.get(upload_id).id)
        return HttpReply(499, "")

    def take(self, session: Session, header: str | None, data: bytes, most: int | None = None) -> bool:
        """Adds a request's bytes; returns whether all have arrived. Call under the session's lock.

        Args:
            session: from `get`.
            header: the request's Content-Range; None: the body is the whole file.
            data: the body.
            most: bytes to keep of it at most.

        Raises:
            HttpReply: 308 while bytes are missing, 400 or 503 for a range that makes no sense.
        """
        start, end, total = self._parse(session, header, len(data))
        if total is not None:
            session.total = total
        if end - start != len(data):
            raise HttpReply(
                400, "Invalid request.  The number of bytes uploaded is required to be equal to the range."
            )
        kept = session.content.size
        if start > kept:
            raise HttpReply(
                503,
                "Invalid request.  According to the Content-Range header, the upload offset is "
                f"{start} byte(s), which exceeds already uploaded size of {kept} byte(s).",
            )
        self.keep(session, start, data, most)
        if session.total is None or session.content.size < session.total:
            raise incomplete(session)
        return True

    @staticmethod
    def keep(session: Session, start: int, data: bytes, most: int | None = None) -> None:
        """Keeps what has arrived: all of it at the end of the file, else whole units only."""
        kept = session.content.size
        end = start + len(data) if most is None else min(start + len(data), start + most)
        if session.total is None or end < session.total:
            end -= end % UNIT
        if end > kept >= start:
            session.content.write(kept, data[kept - start : end - start])

    @staticmethod
    def _parse(session: Session, header: str | None, length: int) -> tuple[int, int, int | None]:
        if header is None:
            if session.total is not None and session.total != length:
                raise _other_size(length, session.total)
            return 0, length, length
        match = _CONTENT_RANGE.fullmatch(header.strip())
        if match is None:
            raise HttpReply(400, "Failed to parse Content-Range header.")
        total = None if match[3] == "*" else int(match[3])
        if total is not None and session.total is not None and total != session.total:
            raise _other_size(total, session.total)
        if match[1] is None:
            return session.content.size, session.content.size, total
        return int(match[1]), int(match[2]) + 1, total


def incomplete(session: Session) -> HttpReply:
    """308 with what has arrived; without a Range if that is nothing."""
    kept = session.content.size
    return HttpReply(308, "", {"Range": f"bytes=0-{kept - 1}"} if kept else {})


def _other_size(told: int, expected: int) -> HttpReply:
    return HttpReply(
        400,
        f"Invalid request.  According to the Content-Range header, the final size of the upload is {told} "
        f"byte(s). This does not match the expected size of {expected} byte(s), which was specified in an "
        "earlier request.",
    )
