"""Many small files in few requests, and one file in one.

1,000 files cost a ``start_batch``, an ``append_batch`` for each 100 of them or so, whose body is their
contents one after another, and a ``finish_batch_v2``. Only the last one writes names, so contents may be on
their way from several threads while one commits. Source: the Performance guide of the HTTP documentation
and the descriptions of these endpoints.

What a request that failed had nothing to do with is not done again: contents that arrived stay in their
sessions until the same files are put again, and names whose commit got no answer are looked up first.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_commit import Committer, JobRunning
from photosync.backends.dropbox_errors import RouteRefused, SessionClosed, WrongOffset, entry_error
from photosync.backends.dropbox_metadata import commit_info, content_hash, full_path, stored_of
from photosync.backends.dropbox_published import published
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.errors import (
    Corrupt,
    DestinationFull,
    NameRefused,
    Permanent,
    Transient,
    Trouble,
)

HEADER = 15_000
"""Characters of the list of files of one append_batch: it travels in a header, of which proxies commonly pass
16 KiB."""
ENTRY = 80
"""Of these, what one file takes beside its session's id."""
BODY = 12 << 20
"""Bytes of one append_batch, so that one that is lost costs seconds; the service would take 150 MiB."""

STARTED = 1000
"""Sessions that one start_batch may start. One that is never used holds nothing and goes after 7 days."""
MANY = 100
"""With more files than this at once, further ones are likely, and their sessions are started along."""

WHOLE = 1 << 20
"""Single files up to this size go by files/upload, which holds the write lock while content is sent."""

_Session = tuple[str, int]
"""A closed upload session: its id, and the bytes it holds."""
_Key = tuple[str, str]
"""A file to be put: its full path, and the hash of its content."""


class Putter:
    """`Store.put` of the Dropbox store.

    Args:
        root: the store's.
    """

    def __init__(self, account: Account, root: str) -> None:
        self._account = account
        self._root = root
        self._committer = Committer(account)
        self._batching = True
        self._lock = threading.Lock()
        self._arrived: dict[_Key, _Session] = {}
        self._unsure: set[_Key] = set()
        self._starting = threading.Lock()
        self._fresh: list[str] = []

    def put(self, blobs: Sequence[Blob]) -> list[Stored | Exception]:
        """See `photosync.engine.capabilities.Store.put`."""
        results: dict[int, Stored | Exception] = {}
        paths: dict[int, str] = {}
        for index, blob in enumerate(blobs):
            try:
                paths[index] = full_path(self._root, blob.path)
                _check(blob)
            except (NameRefused, Corrupt) as error:
                paths.pop(index, None)
                results[index] = error
        for index, stored in self._look(blobs, paths):
            paths.pop(index)
            results[index] = stored
        together = [index for index in paths if len(paths) > 1 or len(blobs[index].data) > WHOLE]
        # A session of no bytes is nothing the batch endpoints' documentation provides for.
        together = [index for index in together if len(blobs[index].data)]
        if together:
            chosen = [(blobs[index], paths[index]) for index in together]
            results.update(zip(together, self._put_together(chosen), strict=True))
        for index in sorted(paths.keys() - set(together)):
            try:
                results[index] = self._put_whole(blobs[index], paths[index])
            except Transient as error:
                if len(blobs) == 1:
                    raise
                results[index] = error
        return [results[index] for index in range(len(blobs))]

    def _look(self, blobs: Sequence[Blob], paths: dict[int, str]) -> list[tuple[int, Stored]]:
        """Those whose commit got no answer earlier, and that are there."""
        with self._lock:
            unsure = [index for index, path in paths.items() if _key(blobs[index], path) in self._unsure]
        if not unsure:
            return []
        there = published(self._account, [paths[index] for index in unsure])
        found: list[tuple[int, Stored]] = []
        for index in unsure:
            path, blob = paths[index], blobs[index]
            metadata = there.get(path)
            if metadata is not None and metadata.content_hash == _hash_of(blob):
                found.append((index, stored_of(metadata, blob.path, path)))
                self._settled([_key(blob, path)])
        return found

    def _doubt(self, keys: Sequence[_Key], error: Transient) -> None:
        """Notes that these may be committed, or may not be."""
        if error.trouble is not Trouble.THROTTLED:
            with self._lock:
                self._unsure.update(keys)

    def _settled(self, keys: Sequence[_Key]) -> None:
        with self._lock:
            self._unsure.difference_update(keys)
            for key in keys:
                self._arrived.pop(key, None)

    def _put_whole(self, blob: Blob, path: str) -> Stored | Exception:
        commit = commit_info(path, blob.mtime_ns)
        key = _key(blob, path)
        try:
            with self._account.writing("writing", path) as sdk:
                metadata = sdk.files_upload(
                    bytes(blob.data),
                    path,
                    mode=commit.mode,
                    autorename=commit.autorename,
                    client_modified=commit.client_modified,
                    mute=commit.mute,
                    strict_conflict=commit.strict_conflict,
                    content_hash=_content_hash(blob),
                )
            self._settled([key])
            return stored_of(metadata, blob.path, path)
        except Transient as error:
            self._doubt([key], error)
            raise
        except (Permanent, DestinationFull) as error:
            self._settled([key])
            return error

    def _put_together(self, chosen: list[tuple[Blob, str]]) -> list[Stored | Exception]:
        try:
            with self._lock:
                held = [self._arrived.get(_key(*each)) for each in chosen]
            sessions: list[_Session | Exception | None] = list(held)
            missing = [number for number, session in enumerate(held) if session is None]
            sent = self._send([chosen[number] for number in missing]) if missing else []
            for number, session in zip(missing, sent, strict=True):
                sessions[number] = session
            return self._commit(chosen, sessions)
        except Permanent as error:
            return [error] * len(chosen)

    def _commit(
        self, chosen: list[tuple[Blob, str]], sessions: Sequence[_Session | Exception | None]
    ) -> list[Stored | Exception]:
        results: list[Any] = list(sessions)
        ready = [number for number, session in enumerate(sessions) if not isinstance(session, Exception)]
        if ready:
            entries = [_finish_arg(sessions[number], *chosen[number]) for number in ready]
            keys = [_key(*chosen[number]) for number in ready]
            try:
                answers = self._committer.commit(entries, tuple(keys))
            except JobRunning:
                raise
            except Transient as error:
                self._doubt(keys, error)
                raise
            self._settled(keys)
            for number, answer in zip(ready, answers, strict=True):
                results[number] = _committed(answer, *chosen[number])
        return results

    def _send(self, chosen: list[tuple[Blob, str]]) -> list[_Session | Exception]:
        if len(chosen) > 1 and self._batching:
            try:
                return self._send_batch(chosen)
            except RouteRefused:
                # An account or a proxy that takes no batches takes none for the rest of the run.
                self._batching = False
        return [self._send_one(blob, path) for blob, path in chosen]

    def _send_batch(self, chosen: list[tuple[Blob, str]]) -> list[_Session | Exception]:
        ids = self._sessions(len(chosen))
        sent: list[_Session | Exception] = []
        for start, stop in _groups([len(blob.data) for blob, _ in chosen], ids):
            sent += self._append(chosen[start:stop], ids[start:stop])
        return sent

    def _sessions(self, count: int) -> list[str]:
        """Ids of open sessions that hold nothing."""
        with self._starting:
            if len(self._fresh) < count:
                asked = STARTED if count > MANY else count
                with self._account.calling(f"starting {count} uploads") as sdk:
                    self._fresh = list(sdk.files_upload_session_start_batch(asked).session_ids)
            ids, self._fresh = self._fresh[:count], self._fresh[count:]
            return ids

    def _append(self, group: list[tuple[Blob, str]], ids: Sequence[str]) -> Iterator[_Session | Exception]:
        from dropbox.files import UploadSessionAppendBatchArgEntry, UploadSessionCursor

        entries = [
            UploadSessionAppendBatchArgEntry(
                cursor=UploadSessionCursor(session, 0), length=len(blob.data), close=True
            )
            for (blob, _), session in zip(group, ids, strict=True)
        ]
        body = b"".join(blob.data for blob, _ in group)
        with self._account.calling(f"sending {len(group)} files") as sdk:
            answers = sdk.files_upload_session_append_batch(body, entries, content_hash(body)).entries
        for (blob, path), session, answer in zip(group, ids, answers, strict=True):
            if answer.is_success():
                yield self._has_arrived(blob, path, session)
            else:
                failure = answer.get_failure() if answer.is_failure() else answer
                yield _again_if_gone(entry_error(failure, "sending", path))

    def _send_one(self, blob: Blob, path: str) -> _Session:
        with self._account.calling("sending", path) as sdk:
            started = sdk.files_upload_session_start(
                bytes(blob.data), close=True, content_hash=_content_hash(blob)
            )
        return self._has_arrived(blob, path, started.session_id)

    def _has_arrived(self, blob: Blob, path: str, session: str) -> _Session:
        with self._lock:
            self._arrived[_key(blob, path)] = session, len(blob.data)
        return session, len(blob.data)


def _groups(sizes: Sequence[int], ids: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(start, stop) of what goes into one append_batch each."""
    start = body = header = 0
    for index, (size, session) in enumerate(zip(sizes, ids, strict=True)):
        if index > start and (body + size > BODY or header + len(session) + ENTRY > HEADER):
            yield start, index
            start, body, header = index, 0, 0
        body += size
        header += len(session) + ENTRY
    yield start, len(sizes)


def _key(blob: Blob, path: str) -> _Key:
    return path, _hash_of(blob)


def _hash_of(blob: Blob) -> str:
    return _content_hash(blob) or content_hash(blob.data)


def _again_if_gone(error: Exception) -> Exception:
    """A session of ours that is gone or finished is no fault of the file: a new one will do."""
    if isinstance(error, SessionClosed | WrongOffset | FileNotFoundError):
        return Transient(f"{error} It is sent anew.", trouble=Trouble.CHANGED)
    return error


def _check(blob: Blob) -> None:
    """Raises Corrupt for bytes that are not those that were read. After this, a mismatch that the service
    reports came about on the way, and sending again helps."""
    expected = _content_hash(blob)
    if expected is not None and content_hash(blob.data) != expected:
        raise Corrupt(
            f"{blob.path!r} changed in memory after it was read. Run again; test this machine's memory."
        )


def _content_hash(blob: Blob) -> str | None:
    """As computed from the source; the SDK computes it anew for None."""
    return blob.digests.get("dropbox")


def _finish_arg(session: Any, blob: Blob, path: str) -> Any:
    from dropbox.files import UploadSessionCursor, UploadSessionFinishArg

    return UploadSessionFinishArg(
        cursor=UploadSessionCursor(*session), commit=commit_info(path, blob.mtime_ns)
    )


def _committed(answer: Any, blob: Blob, path: str) -> Stored | Exception:
    if not answer.is_success():
        failure = answer.get_failure() if answer.is_failure() else answer
        return _again_if_gone(entry_error(failure, "writing", path))
    try:
        return stored_of(answer.get_success(), blob.path, path)
    except Permanent as error:
        return error
