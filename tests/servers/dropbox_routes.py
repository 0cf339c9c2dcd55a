"""The endpoints of the Dropbox emulator that write: uploads, folders, deletions, moves and copies.

Each takes its decoded argument (a struct of the official SDK, which carries the documented defaults) and the
call it came with, and returns the result as JSON; what it can't do is an `EndpointError`.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from .dropbox_content import Content, content_hash
from .dropbox_errors import EndpointError, Tagged, rate_limited, tag
from .dropbox_state import Account, Commit, Node, metadata
from .dropbox_uploads import Session, Uploads

MiB = 1024 * 1024


class Api:
    """What the endpoints share: one account, its upload sessions and its batch jobs.

    `page_size` bounds the entries of a listing's page, `max_request` the bytes of a body, `max_longpoll` the
    seconds that a longpoll waits. `async_polls` is how often a batch job reports in_progress before it is
    complete. With `contention` on, a write that comes while another one takes place, or while a commit goes
    on as a job, is refused as too_many_write_operations; `write_seconds` stretches each write so that they
    do meet. `links` are temporary links' tokens and the ids they lead to.
    """

    def __init__(self, now: Callable[[], float], quota: int):
        self.now = now
        self.account = Account(quota, now)
        self.uploads = Uploads(now)
        self.page_size = 2000
        self.max_request = 150 * MiB
        self.max_longpoll = 30.0
        self.async_polls = 1
        self.contention = False
        self.write_seconds = 0.0
        self.links: dict[str, str] = {}
        self.closing = False
        self._writing = threading.Lock()
        self._jobs: dict[str, list[Any]] = {}
        self._job_numbers = itertools.count(1)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """The namespace's write lock. Raises 429 under contention."""
        busy = self.contention and any(polls > 0 for polls, _ in self._jobs.values())
        if busy or not self._writing.acquire(blocking=not self.contention):
            raise rate_limited("too_many_write_operations", 1)
        try:
            if self.write_seconds:
                time.sleep(self.write_seconds)
            yield
        finally:
            self._writing.release()

    def check_body(self, body: bytes, digest: str | None) -> None:
        """The refusals that every data-carrying endpoint shares."""
        if len(body) > self.max_request:
            raise EndpointError(tag("payload_too_large"))
        if digest is not None and digest != content_hash(body):
            raise EndpointError(tag("content_hash_mismatch"))

    def launch(self, result: dict[str, Any]) -> Tagged:
        """An asynchronous launch of work that is done already; with `async_polls` below 0 it says so."""
        if self.async_polls < 0:
            return tag("complete", **result)
        name = f"dbjid:{next(self._job_numbers):08d}"
        self._jobs[name] = [self.async_polls, result]
        return tag("async_job_id", name)

    def poll(self, job_id: str) -> Tagged:
        """The job's status: in_progress so many times, then complete."""
        job = self._jobs.get(job_id)
        if job is None:
            raise EndpointError(tag("invalid_async_job_id"))
        if job[0] > 0:
            job[0] -= 1
            return tag("in_progress")
        return tag("complete", **job[1])


@dataclass(frozen=True, slots=True)
class Call:
    """What a request brings beside its argument: its body, and a fault that endpoints must see to themselves
    (`stale`, the number of latest changes that a listing shall miss)."""

    body: bytes = b""
    stale: int = 0


Endpoint = Callable[[Api, Any, Call], Any]
ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(*names: str) -> Callable[[Endpoint], Endpoint]:
    """Registers a function as the endpoint of each name."""

    def register(function: Endpoint) -> Endpoint:
        ENDPOINTS.update(dict.fromkeys(names, function))
        return function

    return register


# Uploads


def _commit_info(arg: Any) -> Commit:
    modified = arg.client_modified
    return Commit(
        path=arg.path,
        mode=arg.mode._tag,
        rev=arg.mode.get_update() if arg.mode.is_update() else None,
        autorename=arg.autorename,
        client_modified=modified.replace(microsecond=0, tzinfo=UTC) if modified else None,
        strict_conflict=arg.strict_conflict,
    )


@endpoint("files/upload")
def _upload(api: Api, arg: Any, call: Call) -> Any:
    api.check_body(call.body, arg.content_hash)
    content = Content(call.body)
    try:
        with api.writing():
            node = api.account.commit(_commit_info(arg), content, content.hash())
    except EndpointError as failure:
        session = api.uploads.keep(content)
        raise EndpointError(tag("path", reason=failure.error, upload_session_id=session.id)) from None
    return metadata(api.account, node, tagged=False)


@endpoint("files/upload_session/start")
def _start(api: Api, arg: Any, call: Call) -> Any:
    api.check_body(call.body, arg.content_hash)
    return {"session_id": api.uploads.start(_is_concurrent(arg), call.body, arg.close).id}


@endpoint("files/upload_session/start_batch")
def _start_batch(api: Api, arg: Any, call: Call) -> Any:
    concurrent = _is_concurrent(arg)
    return {"session_ids": [api.uploads.start(concurrent).id for _ in range(arg.num_sessions)]}


def _is_concurrent(arg: Any) -> bool:
    return arg.session_type is not None and arg.session_type.is_concurrent()


@endpoint("files/upload_session/append_v2")
def _append(api: Api, arg: Any, call: Call) -> Any:
    api.check_body(call.body, arg.content_hash)
    api.uploads.append(arg.cursor.session_id, arg.cursor.offset, call.body, arg.close)


@endpoint("files/upload_session/append_batch")
def _append_batch(api: Api, arg: Any, call: Call) -> Any:
    if len(call.body) <= api.max_request and sum(entry.length for entry in arg.entries) != len(call.body):
        raise EndpointError(tag("length_mismatch"))
    api.check_body(call.body, arg.content_hash)
    view, results, start = memoryview(call.body), [], 0
    for entry in arg.entries:
        piece, start = view[start : start + entry.length], start + entry.length
        try:
            api.uploads.append(entry.cursor.session_id, entry.cursor.offset, piece, entry.close)
        except EndpointError as failure:
            results.append(tag("failure", failure.error))
        else:
            results.append(tag("success"))
    return {"entries": results}


@endpoint("files/upload_session/finish")
def _finish(api: Api, arg: Any, call: Call) -> Any:
    api.check_body(call.body, arg.content_hash)
    session = api.uploads.ready(arg.cursor.session_id, arg.cursor.offset, call.body, batch=False)
    with api.writing():
        return metadata(api.account, _commit_session(api, session, arg.commit), tagged=False)


def _commit_session(api: Api, session: Session, commit: Any) -> Node:
    assert session.digest is not None
    try:
        node = api.account.commit(_commit_info(commit), session.content, session.digest)
    except EndpointError as failure:
        raise EndpointError(tag("path", failure.error)) from None
    session.committed = session.closed = True
    return node


def _finish_entries(api: Api, arg: Any) -> dict[str, Any]:
    results = []
    with api.writing():
        for entry in arg.entries:
            try:
                session = api.uploads.ready(entry.cursor.session_id, entry.cursor.offset, b"", batch=True)
                node = _commit_session(api, session, entry.commit)
            except EndpointError as failure:
                results.append(tag("failure", failure.error))
            else:
                results.append(tag("success", **metadata(api.account, node, tagged=False)))
    return {"entries": results}


@endpoint("files/upload_session/finish_batch_v2")
def _finish_batch_v2(api: Api, arg: Any, call: Call) -> Any:
    return _finish_entries(api, arg)


@endpoint("files/upload_session/finish_batch")
def _finish_batch(api: Api, arg: Any, call: Call) -> Any:
    return api.launch(_finish_entries(api, arg))


# Folders, deletions, moves and copies


@endpoint("files/create_folder_v2")
def _create_folder(api: Api, arg: Any, call: Call) -> Any:
    with api.writing():
        return {"metadata": _new_folder(api, arg.path, arg.autorename)}


def _new_folder(api: Api, path: str, autorename: bool) -> dict[str, Any]:
    try:
        return metadata(api.account, api.account.create_folder(path, autorename), tagged=False)
    except EndpointError as failure:
        raise EndpointError(tag("path", failure.error)) from None


@endpoint("files/create_folder_batch")
def _create_folder_batch(api: Api, arg: Any, call: Call) -> Any:
    def create(path: str) -> dict[str, Any]:
        return {"metadata": _new_folder(api, path, arg.autorename)}

    with api.writing():
        result = {"entries": [_entry(create, path) for path in arg.paths]}
    return api.launch(result) if arg.force_async else tag("complete", **result)


def _entry(work: Callable[[Any], dict[str, Any]], arg: Any) -> Tagged:
    try:
        return tag("success", **work(arg))
    except EndpointError as failure:
        return tag("failure", failure.error)


@endpoint("files/delete_v2")
def _delete(api: Api, arg: Any, call: Call) -> Any:
    with api.writing():
        return _deleted(api, arg)


def _deleted(api: Api, arg: Any) -> dict[str, Any]:
    with api.account.lock:
        node = _found(api, arg.path, "path_lookup")
        if arg.parent_rev is not None and (node.revision is None or node.revision.rev != arg.parent_rev):
            raise EndpointError(tag("path_write", tag("conflict", tag("file"))))
        result = {"metadata": metadata(api.account, node)}
        api.account.delete(node)
    return result


def _found(api: Api, path: str, role: str) -> Node:
    try:
        return api.account.lookup(path)
    except EndpointError as failure:
        raise EndpointError(tag(role, failure.error)) from None


@endpoint("files/delete_batch")
def _delete_batch(api: Api, arg: Any, call: Call) -> Any:
    with api.writing():
        return api.launch({"entries": [_entry(lambda each: _deleted(api, each), one) for one in arg.entries]})


@endpoint("files/move_v2")
def _move(api: Api, arg: Any, call: Call) -> Any:
    with api.writing():
        return {"metadata": _relocated(api, api.account.move, arg, arg.autorename)}


@endpoint("files/copy_v2")
def _copy(api: Api, arg: Any, call: Call) -> Any:
    with api.writing():
        return {"metadata": _relocated(api, api.account.copy, arg, arg.autorename)}


def _relocated(
    api: Api, work: Callable[[Node, str, bool], Node], arg: Any, autorename: bool
) -> dict[str, Any]:
    with api.account.lock:
        source = _found(api, arg.from_path, "from_lookup")
        try:
            return metadata(api.account, work(source, arg.to_path, autorename))
        except EndpointError as failure:
            own = _RELOCATION_ERRORS.get(failure.error[".tag"])
            raise EndpointError(tag(own) if own else tag("to", failure.error)) from None


_RELOCATION_ERRORS = {
    "cant_move_folder_into_itself": "cant_move_folder_into_itself",
    "insufficient_space": "insufficient_quota",
}


@endpoint("files/move_batch_v2")
def _move_batch(api: Api, arg: Any, call: Call) -> Any:
    return _relocate_all(api, api.account.move, arg)


@endpoint("files/copy_batch_v2")
def _copy_batch(api: Api, arg: Any, call: Call) -> Any:
    return _relocate_all(api, api.account.copy, arg)


def _relocate_all(api: Api, work: Callable[[Node, str, bool], Node], arg: Any) -> Tagged:
    results = []
    with api.writing():
        for entry in arg.entries:
            try:
                done = _relocated(api, work, entry, arg.autorename)
            except EndpointError as failure:
                results.append(tag("failure", tag("relocation_error", failure.error)))
            else:
                results.append(tag("success", done))
    return api.launch({"entries": results})


@endpoint(
    "files/upload_session/finish_batch/check",
    "files/create_folder_batch/check",
    "files/delete_batch/check",
    "files/move_batch/check_v2",
    "files/copy_batch/check_v2",
)
def _check(api: Api, arg: Any, call: Call) -> Any:
    return api.poll(arg.async_job_id)
