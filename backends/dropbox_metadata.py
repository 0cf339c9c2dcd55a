"""Between Dropbox's metadata and the engine's records: paths, times, hashes."""

import unicodedata
from datetime import UTC, datetime
from typing import Any

from photosync.engine.capabilities import Buffer, Stored
from photosync.engine.entry import Entry, Kind, join
from photosync.engine.errors import NameRefused, Permanent
from photosync.engine.hashing import new
from photosync.engine.names import DROPBOX, check_relative, match_key, printable

SECOND = 1_000_000_000


def full_path(root: str, path: str) -> str:
    """What Dropbox calls ``path`` below ``root``.

    Names are kept in NFC there but looked up as they are given, so they are given in NFC.

    Raises:
        NameRefused: the path leaves its root, or holds bytes that are not UTF-8.
    """
    whole = join(root, check_relative(path))
    if any("\ud800" <= char <= "\udfff" for char in whole):
        raise NameRefused(
            f"refused the name {printable(path)!r}: Dropbox holds UTF-8 only. Rename it where it comes from."
        )
    return "/" + unicodedata.normalize("NFC", whole)


def folder_path(root: str, path: str) -> str:
    """`full_path` of a folder, which may be the root ("") itself; "" is Dropbox's own."""
    if path:
        return full_path(root, path)
    return full_path("", root) if root else ""


def entry_of(metadata: Any, path: str) -> Entry:
    """The entry of a FileMetadata or FolderMetadata that stands at ``path``."""
    if not hasattr(metadata, "rev"):
        return Entry(path, kind=Kind.FOLDER)
    note = ""
    if metadata.symlink_info is not None:
        note = f"a symbolic link to {printable(metadata.symlink_info.target)!r}"
    elif not metadata.is_downloadable:
        note = "a document that exists only inside Dropbox and cannot be downloaded"
    return Entry(
        path,
        size=metadata.size,
        mtime_ns=nanoseconds(metadata.client_modified),
        digests=digests_of(metadata),
        version=metadata.rev,
        kind=Kind.OTHER if note else Kind.FILE,
        note=note,
    )


def stored_of(metadata: Any, path: str, full: str) -> Stored:
    """What the service says it holds at ``path``, which it calls ``full``.

    Raises:
        Permanent: it stored the file under another name.
    """
    at = metadata.path_lower
    if at is not None and match_key(at, DROPBOX) != match_key(full, DROPBOX):
        raise Permanent(
            f"Dropbox stored {printable(path)!r} under another name, {printable(at)!r}. Remove it there."
        )
    return Stored(
        path,
        size=metadata.size,
        version=metadata.rev,
        digests=digests_of(metadata),
        mtime_ns=nanoseconds(metadata.client_modified),
    )


def digests_of(metadata: Any) -> dict[str, str]:
    """The content hash that the service computed."""
    return {"dropbox": metadata.content_hash} if metadata.content_hash else {}


def content_hash(data: Buffer) -> str:
    """Dropbox's hash of some bytes, hex."""
    digest = new("dropbox")
    digest.update(data)
    return digest.hexdigest()


def nanoseconds(time: datetime) -> int:
    """Since the epoch; the SDK's times are naive UTC."""
    return int(time.replace(tzinfo=UTC).timestamp()) * SECOND


def commit_info(path: str, mtime_ns: int | None, mode: Any = None) -> Any:
    """How a file is to be committed: never renamed, never over anything unless ``mode`` says so.

    Args:
        path: from `full_path`.
        mtime_ns: kept in whole seconds; times before 1970 or after 9999 are left to the service.
        mode: a WriteMode of the SDK; None adds.
    """
    from dropbox.files import CommitInfo, WriteMode

    return CommitInfo(
        path=path,
        mode=WriteMode.add if mode is None else mode,
        autorename=False,
        client_modified=_client_modified(mtime_ns),
        mute=True,
        strict_conflict=True,
    )


def _client_modified(mtime_ns: int | None) -> datetime | None:
    # One time that the service refuses would fail a whole batch of commits.
    if mtime_ns is None or mtime_ns < 0:
        return None
    try:
        return datetime.fromtimestamp(mtime_ns // SECOND, UTC).replace(tzinfo=None)
    except (OverflowError, ValueError):
        return None
