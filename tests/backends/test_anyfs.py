"""Strictness towards filesystems that are not strict: listings, swallowed errors, threads, connections."""

import contextlib
import errno
import importlib
import os
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from photosync.backends import anyfs_facts, anyfs_session
from photosync.backends.anyfs import AnyStore
from photosync.backends.anyfs_facts import facts_of
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.entry import Kind
from photosync.engine.errors import AlreadyExists, Corrupt, NameRefused, Permanent, Transient, Unsupported
from photosync.engine.hashing import fingerprint
from photosync.engine.names import is_ours
from tests.servers import sshd

SECOND = 1_000_000_000


class Odd(MemoryFileSystem):
    """A filesystem in memory that tests make misbehave; see the fixture `fs`."""

    protocol = "odd"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(global_store=False, **options)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self.store[self._strip_protocol(path2)] = self.store.pop(self._strip_protocol(path1))


@pytest.fixture
def fs(monkeypatch: pytest.MonkeyPatch) -> Odd:
    """A filesystem that nobody knows."""
    monkeypatch.delitem(anyfs_facts._TABLE, MemoryFileSystem.__module__)  # type: ignore[attr-defined]
    return Odd()


@pytest.fixture
def store(fs: Odd) -> AnyStore:
    return AnyStore(fs, "/photos")


def blob(path: str, data: bytes = b"photo") -> Blob:
    return Blob(path, data, 1_600_000_000 * SECOND, fingerprint(data).digests)


def put(store: AnyStore, path: str, data: bytes = b"photo") -> Stored:
    [result] = store.put([blob(path, data)])
    if isinstance(result, Exception):
        raise result
    return result


# listings


def test_an_unknown_filesystem_declares_nothing(store: AnyStore) -> None:
    can = store.capabilities
    assert not (can.hashes or can.exclusive or can.server_copy or can.server_move or can.resumable)
    assert (can.read_concurrency, can.write_concurrency) == (1, 1)
    assert can.mtime_precision_ns is None


@pytest.mark.row(74)
def test_names_that_lead_elsewhere(fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [
        {"name": "/photos/good.jpg", "size": 1, "type": "file"},
        {"name": "/photos/../evil.jpg", "size": 1, "type": "file"},
        {"name": "/photos/a/b.jpg", "size": 1, "type": "file"},
        {"name": "/photos/.", "size": 0, "type": "directory"},
        {"name": "/photos/..", "size": 0, "type": "directory"},
        {"name": "/photos/", "size": 0, "type": "directory"},
    ]
    monkeypatch.setattr(fs, "ls", lambda *_, **__: infos)
    assert [(entry.path, entry.kind) for entry in store.list_folder("")] == [
        ("good.jpg", Kind.FILE),
        ("../evil.jpg", Kind.OTHER),
        ("a/b.jpg", Kind.OTHER),
    ]
    infos.append({"name": "/etc/passwd", "size": 1, "type": "file"})
    with pytest.raises(NameRefused, match="elsewhere"):
        store.list_folder("")


def test_what_is_no_file_is_said_and_never_opened(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a.jpg")
    for info in ({"type": "link"}, {"type": "other"}, {"type": "file", "islink": True}, {"type": "file"}):
        entry_info = {"name": "/photos/a.jpg", "size": None, **info}
        monkeypatch.setattr(fs, "ls", lambda *_, info=entry_info, **__: [info, dict(info, name="/photos/b")])
        monkeypatch.setattr(fs, "info", lambda *_, info=entry_info, **__: info)
        entry = store.list_folder("")[0]
        assert entry.kind is Kind.OTHER
        assert entry.note
        with pytest.raises(NameRefused):
            store.open("a.jpg")


def test_a_size_that_the_listing_lacks_is_asked_for(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a.jpg")
    put(store, "b.jpg")
    real = fs.ls
    monkeypatch.setattr(fs, "ls", lambda *args, **_: [{**info, "size": None} for info in real(*args)])
    assert {(entry.path, entry.size) for entry in store.list_folder("") if entry.is_file} == {
        ("a.jpg", 5),
        ("b.jpg", 5),
    }


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), PermissionError("no"), RuntimeError("what")])
def test_a_folder_that_cannot_be_listed_is_an_error(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    put(store, "DCIM/a.jpg")

    def fail(*_: object, **__: object) -> list[object]:
        raise error

    monkeypatch.setattr(fs, "ls", fail)
    with pytest.raises(Permanent):
        store.list_folder("DCIM")


def test_an_error_never_means_that_the_name_is_free(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a.jpg", b"one")

    def fail(*_: object, **__: object) -> object:
        raise TimeoutError("slow")

    # fsspec's own exists() says False here.
    with monkeypatch.context() as patch:
        patch.setattr(fs, "info", fail)
        assert not fs.exists("/photos/a.jpg")
        [result] = store.put([blob("a.jpg", b"two")])
    assert isinstance(result, Transient)
    assert fs.cat_file("/photos/a.jpg") == b"one"


def test_a_stale_cache_is_not_believed(fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[object] = []
    monkeypatch.setattr(fs, "invalidate_cache", lambda path=None: forgotten.append(path))
    put(store, "a.jpg")
    forgotten.clear()
    store.list_folder("")
    store.stat("a.jpg")
    assert len(forgotten) == 2


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, None),
        ({"mtime": None, "created": 5}, 5 * SECOND),
        ({"mtime": 1.5}, 1_500_000_000),
        ({"mtime": datetime(1970, 1, 1, 0, 0, 1, 234567, UTC)}, 1_234_567_000),
        ({"modified": datetime(1970, 1, 1, 1, 0, 1, tzinfo=timezone(timedelta(hours=1)))}, SECOND),
        ({"LastModified": datetime(1970, 1, 1, 0, 0, 1)}, SECOND),
        ({"updated": "1970-01-01T00:00:01.5Z"}, 1_500_000_000),
        ({"modified": "Thu, 01 Jan 1970 00:00:01 GMT"}, SECOND),
        ({"modify": "19700101000001"}, SECOND),
        ({"modify": "19700101000001.250"}, SECOND),
        ({"mtime": "yesterday"}, None),
        ({"mtime": ""}, None),
        ({"mtime": True}, None),
    ],
)
def test_times_in_every_shape(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch, info: dict[str, object], expected: int | None
) -> None:
    monkeypatch.setattr(fs, "info", lambda *_, **__: {"name": "/photos/a", "type": "file", "size": 1, **info})
    assert store.stat("a").mtime_ns == expected


# writing


def test_nothing_is_seen_half_written(fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def break_off(path: str, value: bytes, **_: object) -> None:
        MemoryFileSystem.pipe_file(fs, path, value[:2])
        seen.extend(fs.store)
        raise ConnectionResetError("gone")

    monkeypatch.setattr(fs, "pipe_file", break_off)
    [result] = store.put([blob("a.jpg")])
    assert isinstance(result, Transient)
    assert all(is_ours(path) for path in seen)
    assert list(fs.store) == []


@pytest.mark.row(6)
def test_a_file_that_arrives_short_is_never_published(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shorten(path: str, value: bytes, **_: object) -> None:
        MemoryFileSystem.pipe_file(fs, path, value[:2])

    monkeypatch.setattr(fs, "pipe_file", shorten)
    [result] = store.put([blob("a.jpg")])
    assert isinstance(result, Corrupt)
    with pytest.raises(Corrupt):
        store.replace_small(".photosync/HEAD", b"whole", None)
    assert list(fs.store) == []


@pytest.mark.row(32)
def test_a_filesystem_without_rename_is_refused(fs: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's default mv copies to the final name, where a kill leaves half a photo."""
    monkeypatch.setattr(Odd, "mv", MemoryFileSystem.mv)
    for wrapped in (fs, DirFileSystem("/", fs)):
        [result] = AnyStore(wrapped, "/photos").put([blob("a.jpg")])
        assert isinstance(result, Unsupported)
        assert list(fs.store) == []


def test_a_filesystem_that_cannot_write_is_refused(monkeypatch: pytest.MonkeyPatch, fs: Odd) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(fs, "pipe_file", cannot)
    [result] = AnyStore(fs, "/photos").put([blob("a.jpg")])
    assert isinstance(result, Unsupported)


def test_names_that_look_like_patterns() -> None:
    memory, root = fsspec.filesystem("memory"), f"/{uuid.uuid4()}"
    store = AnyStore(memory, root)
    put(store, "1.jpg", b"one")
    put(store, "[1].jpg", b"two")
    put(store, "*.jpg", b"three")
    store.move("[1].jpg", "moved/[2].jpg")
    store.delete("*.jpg")
    assert memory.cat_file(f"{root}/moved/[2].jpg") == b"two"
    assert {entry.path for entry in store.list_folder("") if entry.is_file} == {"1.jpg"}


def test_a_staging_folder_that_somebody_removes(fs: Odd, store: AnyStore, tmp_path: Path) -> None:
    put(store, "a.jpg")

    def vanish(*_: object, **__: object) -> None:
        raise FileNotFoundError("no such folder")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fs, "pipe_file", vanish)
        [result] = store.put([blob("b.jpg")])
    assert isinstance(result, Transient)
    put(store, "b.jpg")


@pytest.mark.row(39)
def test_an_upload_that_lost_a_part_is_started_anew(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.start_upload("a.mp4", 10, None)
    upload.send_part(0, b"12345", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            upload._file, "write", lambda _data: (_ for _ in ()).throw(ConnectionResetError("gone"))
        )
        with pytest.raises(Transient):
            upload.send_part(1, b"67890", "")
    with pytest.raises(FileNotFoundError):
        upload.send_part(1, b"67890", "")
    upload.abort()
    assert list(fs.store) == []


def test_where_rename_never_replaces_small_files_still_are(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on SMB and WebDAV."""

    def careful(path1: str, path2: str, **_: object) -> None:
        if path2 in fs.store:
            raise FileExistsError(path2)
        Odd.mv(fs, path1, path2)

    version = store.replace_small(".photosync/HEAD", b"one", None)
    monkeypatch.setattr(fs, "mv", careful)
    store.replace_small(".photosync/HEAD", b"two", version)
    assert store.read_small(".photosync/HEAD", 10)[0] == b"two"
    put(store, "a.jpg")
    with pytest.raises(AlreadyExists):
        store.move(".photosync/HEAD", "a.jpg")


def test_a_name_taken_between_looking_and_renaming(
    fs: Odd, store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename that refuses is told from one that failed."""

    def taken(path1: str, path2: str, **_: object) -> None:
        MemoryFileSystem.pipe_file(fs, path2, b"theirs")
        raise OSError("Failure")

    monkeypatch.setattr(fs, "mv", taken)
    [result] = store.put([blob("a.jpg")])
    assert isinstance(result, AlreadyExists)
    assert fs.cat_file("/photos/a.jpg") == b"theirs"


# SFTP


@pytest.fixture
def remote(sftp_server: sshd.Sshd) -> Iterator[Any]:
    fs = fsspec.filesystem("sftp", **sftp_server.options(), skip_instance_cache=True)
    yield fs
    fs.client.close()


def test_sftp_gives_each_thread_a_connection(
    remote: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(AnyStore, "_fresh", _recording(AnyStore._fresh, made))
    with contextlib.closing(AnyStore(remote, str(tmp_path))) as store:
        put(store, "a.jpg")
        assert made == []
        threads = [threading.Thread(target=store.stat, args=("a.jpg",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(made) == 2
        assert len({id(session.fs) for session in made} | {id(remote)}) == 3
    assert not any(session.fs.client.get_transport() for session in made)
    assert remote.client.get_transport().is_active()


def _recording(real: Any, made: list[Any]) -> Any:
    def fresh(self: AnyStore) -> Any:
        made.append(real(self))
        return made[-1]

    return fresh


def test_sftp_connects_anew_after_a_loss(remote: Any, tmp_path: Path) -> None:
    with contextlib.closing(AnyStore(remote, str(tmp_path))) as store:
        put(store, "a.jpg")
        remote.client.get_transport().sock.shutdown(2)
        with pytest.raises(Transient):
            store.stat("a.jpg")
        assert store.stat("a.jpg").size == 5


def test_sftp_renames_replace_nothing(remote: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the look before the rename saw nothing."""
    with contextlib.closing(AnyStore(remote, str(tmp_path))) as store:
        put(store, "a.jpg", b"one")
        real, blind = anyfs_session.Session.find, [True]

        def find(self: anyfs_session.Session, path: str) -> Any:
            return None if path == "a.jpg" and blind.pop() else real(self, path)

        blind[:] = [False, True, True]
        monkeypatch.setattr(anyfs_session.Session, "find", find)
        [result] = store.put([blob("a.jpg", b"two")])
    assert isinstance(result, AlreadyExists)
    assert (tmp_path / "a.jpg").read_bytes() == b"one"


def test_sftp_links_are_not_followed(remote: Any, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "photos/link").symlink_to(tmp_path / "secret")
    (tmp_path / "photos/folder").symlink_to(tmp_path)
    with contextlib.closing(AnyStore(remote, str(tmp_path / "photos"))) as store:
        assert {(entry.path, entry.kind) for entry in store.list_folder("")} == {
            ("link", Kind.OTHER),
            ("folder", Kind.OTHER),
        }


def test_sftp_times(remote: Any, tmp_path: Path) -> None:
    with contextlib.closing(AnyStore(remote, str(tmp_path))) as store:
        kept = put(store, "a.jpg")
        assert kept.mtime_ns == 1_600_000_000 * SECOND
        assert os.stat(tmp_path / "a.jpg").st_mtime_ns == 1_600_000_000 * SECOND
        with pytest.raises(Unsupported):
            store.set_mtime("a.jpg", -5 * SECOND)


def test_facts_are_about_implementations_that_exist() -> None:
    """A renamed module would silently turn a known filesystem into an unknown one."""
    known = {name for name in anyfs_facts._TABLE if name.startswith("fsspec.")}
    names = ("ftp", "libarchive", "memory", "sftp", "smb", "tar", "zip")
    assert known == {f"fsspec.implementations.{name}" for name in names}
    for name in known - {"fsspec.implementations.libarchive"}:
        assert any(
            kind.__module__ == name
            for kind in vars(importlib.import_module(name)).values()
            if isinstance(kind, type) and issubclass(kind, fsspec.AbstractFileSystem)
        )


def test_ftp_folders_are_not_empty_only_because_listing_failed() -> None:
    confirm = anyfs_facts._TABLE["fsspec.implementations.ftp"].confirm_empty

    class Ftp:
        lines: tuple[str, ...] = ("total 0", "drwxr-xr-x 2 u g 4096 Nov 23 15:01 .", "")

        def retrlines(self, command: str, callback: Any) -> None:
            assert command == "LIST /photos"
            for line in self.lines:
                callback(line)

    class Filesystem:
        ftp = Ftp()

    confirm(Filesystem(), "/photos")
    Ftp.lines = ("-rw-r--r-- 1 u g 5 Nov 23 15:01 a.jpg",)
    with pytest.raises(Transient):
        confirm(Filesystem(), "/photos")


def test_facts_hold_for_subclasses() -> None:
    assert facts_of(Odd()).copies_whole
