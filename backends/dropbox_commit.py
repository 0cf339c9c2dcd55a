"""Committing upload sessions, many names by one request.

``finish_batch_v2`` answers when it is done. Where it is refused, its predecessor does the same: it may answer
at once, or with the id of a job that goes on at Dropbox and that is asked for until it ends. Of an account,
one such job may run at a time. Source: the descriptions of these endpoints.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_errors import JobForgotten, RouteRefused
from photosync.engine.errors import Transient, Trouble

LONGEST = 30.0
"""Seconds between two questions how far a job is; the first one follows after one."""

Key = tuple[tuple[str, str], ...]
"""What a job commits: path and content hash of each file."""


class JobRunning(Transient):
    """The commit goes on at Dropbox; the same call, later, asks how it ended."""


@dataclass(slots=True)
class _Job:
    id: str
    asked: int = 0
    answers: Sequence[Any] | None = None


class Committer:
    """Commits batches for one store. May be used by several threads."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._at_once = True
        self._lock = threading.Lock()
        self._jobs: dict[Key, _Job] = {}

    def commit(self, entries: Sequence[Any], key: Key) -> Sequence[Any]:
        """One answer for each entry.

        Args:
            entries: UploadSessionFinishArg.
            key: names what is committed: called again with it, a job that was begun is asked for.

        Raises:
            JobRunning: not done yet.
            Transient: what became of it is unknown.
        """
        doing = f"committing {len(entries)} files"
        if self._at_once:
            try:
                with self._account.writing(doing) as sdk:
                    answers: Sequence[Any] = sdk.files_upload_session_finish_batch_v2(entries).entries
                    return answers
            except RouteRefused:
                self._at_once = False
        with self._lock:
            for other, job in list(self._jobs.items()):
                if other != key and job.answers is None:
                    self._ask(other, job)
            mine = self._jobs.get(key)
            if mine is None:
                with self._account.writing(doing) as sdk:
                    launched = sdk.files_upload_session_finish_batch(entries)
                    if launched.is_complete():
                        mine = _Job("", answers=launched.get_complete().entries)
                    else:
                        mine = _Job(launched.get_async_job_id())
                self._jobs[key] = mine
            if mine.answers is None:
                self._ask(key, mine)
            del self._jobs[key]
            assert mine.answers is not None, "else it is still running"
            return mine.answers

    def _ask(self, key: Key, job: _Job) -> None:
        job.asked += 1
        try:
            with self._account.calling("asking how a commit ended") as sdk:
                status = sdk.files_upload_session_finish_batch_check(job.id)
        except (JobForgotten, Transient) as error:
            if isinstance(error, Transient) and not _has_failed(error):
                raise JobRunning(str(error), error.retry_after, error.trouble) from error
            del self._jobs[key]
            text = f"{error} Which of its files are there is looked up."
            raise Transient(text, trouble=Trouble.SERVER) from None
        if not status.is_complete():
            wait = min(2.0 ** (job.asked - 1), LONGEST)
            raise JobRunning(f"Dropbox is still committing {len(key)} files.", wait, Trouble.SERVER)
        job.answers = status.get_complete().entries


def _has_failed(error: Transient) -> bool:
    """Whether it is the job that went wrong at Dropbox, not the question."""
    told = getattr(error.__cause__, "error", None)
    return bool(getattr(told, "is_internal_error", lambda: False)())
