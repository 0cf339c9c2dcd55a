"""Many small files in few requests, and one file in one.

1,000 files cost a ``start_batch``, an ``append_batch`` for each 80 of them, whose body is their contents one
after another, and a ``finish_batch_v2``: fifteen requests. Only the last one writes names, so contents may be
on their way from several threads while one commits. Source: the Performance guide of the HTTP documentation
and the descriptions of these endpoints.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_errors import RouteRefused, entry_error
from photosync.backends.dropbox_metadata import commit_info, content_hash, full_path, stored_of
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.errors import Corrupt, DestinationFull, NameRefused, Permanent

APPENDED = 80
"""Files in one append_batch. The service takes 500, but their list travels in a header, of which proxies
commonly pass 16 KiB."""

WHOLE = 1 << 20
"""Single files up to this size go by files/upload, which holds the write lock while content is sent."""

_Session = tuple[str, int]
"""A closed upload session: its id, and the bytes it holds."""


class Putter:
    """`Store.put` of the Dropbox store.

    Args:
        root: the store's.
    """

    def __init__(self, account: Account, root: str) -> None:
        self._account = account
        self._root = root
        self._batching = True

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
        together = [index for index in paths if len(paths) > 1 or len(blobs[index].data) > WHOLE]
        # A session of no bytes is nothing the batch endpoints' documentation provides for.
        together = [index for index in together if len(blobs[index].data)]
        for index in paths.keys() - set(together):
            results[index] = self._put_whole(blobs[index], paths[index])
        if together:
            chosen = [(blobs[index], paths[index]) for index in together]
            results.update(zip(together, self._put_together(chosen), strict=True))
        return [results[index] for index in range(len(blobs))]

    def _put_whole(self, blob: Blob, path: str) -> Stored | Exception:
        commit = commit_info(path, blob.mtime_ns)
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
            return stored_of(metadata, blob.path, path)
        except (Permanent, DestinationFull) as error:
            return error

    def _put_together(self, chosen: list[tuple[Blob, str]]) -> list[Stored | Exception]:
        try:
            return self._commit(chosen, self._send(chosen))
        except Permanent as error:
            return [error] * len(chosen)

    def _commit(
        self, chosen: list[tuple[Blob, str]], sessions: list[_Session | Exception]
    ) -> list[Stored | Exception]:
        ready = [number for number, session in enumerate(sessions) if not isinstance(session, Exception)]
        results: list[Any] = list(sessions)
        if ready:
            entries = [_finish_arg(sessions[number], *chosen[number]) for number in ready]
            with self._account.writing(f"committing {len(ready)} files") as sdk:
                answers = sdk.files_upload_session_finish_batch_v2(entries).entries
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
        with self._account.calling(f"starting {len(chosen)} uploads") as sdk:
            ids = sdk.files_upload_session_start_batch(len(chosen)).session_ids
        sent: list[_Session | Exception] = []
        for start in range(0, len(chosen), APPENDED):
            group = chosen[start : start + APPENDED]
            sent += self._append(group, ids[start : start + APPENDED])
        return sent

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
                yield session, len(blob.data)
            else:
                yield entry_error(answer.get_failure() if answer.is_failure() else answer, "sending", path)

    def _send_one(self, blob: Blob, path: str) -> _Session:
        with self._account.calling("sending", path) as sdk:
            started = sdk.files_upload_session_start(
                bytes(blob.data), close=True, content_hash=_content_hash(blob)
            )
        return started.session_id, len(blob.data)


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
        return entry_error(answer.get_failure() if answer.is_failure() else answer, "writing", path)
    try:
        return stored_of(answer.get_success(), blob.path, path)
    except Permanent as error:
        return error
