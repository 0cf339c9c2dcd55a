"""What a local disk must survive beyond the contract: links, devices, full disks, crashes, unplugging."""

import errno
import fcntl
import gc
import hashlib
import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from photosync.backends import posix
from photosync.backends.local import LocalBackend
from photosync.backends.local_store import LocalStore
from photosync.backends.local_upload import PARTIAL
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.entry import Kind
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    DestinationFull,
    DeviceGone,
    NameRefused,
    Permanent,
    ReadOnly,
    Transient,
    Unsupported,
)
from photosync.engine.hashing import fingerprint
from photosync.engine.names import ANY, POSIX, WINDOWS
from tests.backends.mounts import mounted

PART = 8 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalBackend().store(str(root))


def blob(path: str, data: bytes = b"photo") -> Blob:
    return Blob(path, data, 1_600_000_000_000_000_000, fingerprint(data).digests)


def names(folder: Path) -> list[str]:
    """Everything below a folder, as paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def send(store: LocalStore, path: str, data: bytes, indexes: list[int]) -> str:
    upload = store.start_upload(path, len(data), None)
    for index in indexes:
        piece = data[index * PART : (index + 1) * PART]
        upload.send_part(index, piece, hashlib.sha256(piece).hexdigest())
    return upload.token


# confinement


@pytest.mark.usefixtures("listing")
@pytest.mark.row(28)
def test_a_linked_folder_is_never_followed(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    (root / "inside.jpg").write_bytes(b"photo")
    (root / "link").symlink_to(outside)
    calls: list[Callable[[], object]] = [
        lambda: store.list_folder("link"),
        lambda: store.stat("link/secret.jpg"),
        lambda: store.open("link/secret.jpg"),
        lambda: store.read_small("link/secret.jpg", 100),
        lambda: store.delete("link/secret.jpg"),
        lambda: store.move("link/secret.jpg", "here.jpg"),
        lambda: store.move("inside.jpg", "link/there.jpg"),
        lambda: store.copy("inside.jpg", "link/there.jpg"),
        lambda: store.start_upload("link/there.mp4", PART, None),
        lambda: store.replace_small("link/HEAD", b"x", None),
        lambda: store.set_mtime("link/secret.jpg", 0),
    ]
    for call in calls:
        with pytest.raises(NameRefused, match="symbolic link"):
            call()
    [result] = store.put([blob("link/there.jpg")])
    assert isinstance(result, NameRefused)
    assert names(outside) == ["secret.jpg"]
    assert (outside / "secret.jpg").read_bytes() == b"secret"


@pytest.mark.row(28)
def test_a_linked_file_is_never_opened(store: LocalStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "dangling.jpg").symlink_to(tmp_path / "to be made")
    for path in ("link.jpg", "dangling.jpg"):
        entry = store.stat(path)
        assert (entry.kind, "link" in entry.note) == (Kind.OTHER, True)
        with pytest.raises(NameRefused):
            store.open(path)
        [result] = store.put([blob(path)])
        assert isinstance(result, AlreadyExists)
        with pytest.raises(AlreadyExists):
            store.replace_small(path, b"x", None)
    assert names(tmp_path) == ["disk", "disk/dangling.jpg", "disk/link.jpg", "secret.jpg"]


@pytest.mark.usefixtures("listing")
@pytest.mark.row(19)
def test_pipes_sockets_and_devices_are_listed_and_never_opened(store: LocalStore, root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        # An absolute path may be too long for a socket's name.
        with Chdir(root):
            listener.bind("socket")
        if os.getuid() == 0:
            os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        for entry in store.list_folder(""):
            assert entry.kind is Kind.OTHER
            assert entry.note
            with pytest.raises(NameRefused):
                store.open(entry.path)
            with pytest.raises(NameRefused):
                store.move(entry.path, "moved")


class Chdir:
    def __init__(self, to: Path) -> None:
        self._to = to
        self._back = Path.cwd()

    def __enter__(self) -> None:
        os.chdir(self._to)

    def __exit__(self, *_: object) -> None:
        os.chdir(self._back)


@pytest.mark.usefixtures("listing")
@pytest.mark.row(79)
def test_names_that_are_no_unicode(store: LocalStore, root: Path) -> None:
    (root / os.fsdecode(b"\xff.jpg")).write_bytes(b"photo")
    [entry] = store.list_folder("")
    assert entry.path == "\udcff.jpg"
    assert store.open(entry.path).read(10) == b"photo"


# versions and times


def test_version_tells_a_change_that_size_and_time_hide(store: LocalStore, root: Path) -> None:
    store.put([blob("a.jpg", b"one")])
    before = store.stat("a.jpg")
    (root / "a.jpg").write_bytes(b"two")
    os.utime(root / "a.jpg", ns=(before.mtime_ns or 0, before.mtime_ns or 0))
    after = store.stat("a.jpg")
    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns)
    assert after.version != before.version


def test_a_time_that_no_disk_can_keep_does_not_hinder(store: LocalStore) -> None:
    [result] = store.put([Blob("a.jpg", b"photo", 10**30, {})])
    assert isinstance(result, Stored)
    with pytest.raises(Unsupported):
        store.set_mtime("a.jpg", 10**30)


def test_mode_follows_the_umask(store: LocalStore, root: Path) -> None:
    before = os.umask(0o027)
    try:
        store.put([blob("DCIM/a.jpg")])
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "DCIM/a.jpg").stat().st_mode) == 0o640


# failures


@pytest.mark.row(22)
def test_a_failed_fsync_is_final(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fail_second(fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            synced.append(fd)
            if len(synced) == 2:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fsync", fail_second)
    results = store.put([blob("a.jpg"), blob("b.jpg"), blob("c.jpg")])
    assert [type(result) for result in results] == [Stored, Permanent, Stored]
    assert len(synced) == 3
    assert names(root) == ["a.jpg", "c.jpg"]


@pytest.mark.row(22)
def test_a_failed_fsync_ends_an_upload(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.start_upload("a.mp4", 5, None)
    upload.send_part(0, b"video", hashlib.sha256(b"video").hexdigest())

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Permanent):
        upload.commit({})
    assert names(root) == [".photosync", PARTIAL]
    with pytest.raises(FileNotFoundError):
        upload.commit({})


def test_a_folder_that_cannot_be_synced_is_said(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fail(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fsync", fail)
    [result] = store.put([blob("a.jpg")])
    assert isinstance(result, Permanent)


def test_what_others_left_is_made_durable(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    real = posix.sync_filesystem
    monkeypatch.setattr(posix, "sync_filesystem", lambda fd: (synced.append(os.fstat(fd).st_ino), real(fd)))
    store.settle()
    assert synced == [root.stat().st_ino]
    root.rmdir()
    LocalBackend().store(str(root)).settle()
    assert len(synced) == 1


def test_a_folder_that_is_there_is_synced_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "DCIM").mkdir()
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), real(fd))[1])
    store = LocalBackend().store(str(root))
    for number in range(3):
        assert isinstance(store.put([blob(f"DCIM/{number}.jpg")])[0], Stored)
    assert synced.count(root.stat().st_ino) == 1
    assert synced.count(root.parent.stat().st_ino) == 1


@pytest.mark.root
@pytest.mark.row(20)
def test_a_full_disk(tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path / "full", "size=1m") as root:
        store = LocalBackend().store(str(root))
        small, large, last = store.put([blob("a.jpg"), blob("b.jpg", bytes(2 << 20)), blob("c.jpg")])
        assert isinstance(small, Stored)
        assert isinstance(large, DestinationFull)
        assert isinstance(last, Stored)
        upload = store.start_upload("d.mp4", PART, None)
        with pytest.raises(DestinationFull):
            upload.send_part(0, bytes(PART), "")
        upload.abort()
        assert names(root) == [".photosync", PARTIAL, "a.jpg", "c.jpg"]
        usage = store.about()
        assert usage.total == 1 << 20
        assert usage.used is not None
        assert 0 < usage.used < 1 << 20


@pytest.mark.row(15)
def test_a_file_system_that_does_not_tell_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(str(tmp_path))
    assert store.room() == store.about().free

    def refused(_path: str) -> os.statvfs_result:
        raise OSError(errno.EPERM, "not told")

    monkeypatch.setattr(os, "statvfs", refused)
    assert store.room() is None


@pytest.mark.parametrize("kind", ["fuse.fusefat", "fuse.rclone", ""])
def test_room_that_may_be_made_up_is_not_believed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(str(tmp_path))
    monkeypatch.setattr(posix, "filesystem_type", lambda _path: kind)
    assert store.room() is None
    monkeypatch.setattr(posix, "filesystem_type", lambda _path: "fuseblk")
    assert store.room() == store.about().free


@pytest.mark.root
@pytest.mark.row(21)
def test_a_read_only_disk(tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path / "ro", "ro") as root:
        [result] = LocalBackend().store(str(root)).put([blob("a.jpg")])
        assert isinstance(result, ReadOnly)


@pytest.mark.usefixtures("listing")
@pytest.mark.root
@pytest.mark.row(4, 27)
def test_another_device_under_the_same_path(tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path / "stick", "size=1m") as root:
        store = LocalBackend().store(str(root))
        store.put([blob("DCIM/a.jpg")])
    # Unmounted: the empty mount point is on the disk below.
    calls: list[Callable[[], object]] = [
        lambda: store.list_folder(""),
        lambda: store.open("DCIM/a.jpg"),
        lambda: store.start_upload("b.mp4", PART, None),
    ]
    for call in calls:
        with pytest.raises(DeviceGone):
            call()
    [result] = store.put([blob("b.jpg")])
    assert isinstance(result, DeviceGone)
    assert names(root) == []


@pytest.mark.usefixtures("listing")
def test_a_root_that_vanishes(store: LocalStore, root: Path) -> None:
    store.put([blob("DCIM/a.jpg")])
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError):
        store.list_folder("")
    with pytest.raises(DeviceGone):
        store.stat("DCIM/a.jpg")
    [result] = store.put([blob("b.jpg")])
    assert isinstance(result, DeviceGone)
    assert not root.exists()


def test_two_threads_make_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One finds no root; before it goes on, the other has made it and stored a file there."""
    root = tmp_path / "new"
    store = LocalBackend().store(str(root))
    really, races = os.open, [False, True]

    def opened(path: str, *arguments: int, **options: int) -> int:
        try:
            return really(path, *arguments, **options)
        except FileNotFoundError:
            if path == str(root) and races.pop():
                assert isinstance(store.put([blob("a.jpg")])[0], Stored)
            raise

    monkeypatch.setattr(os, "open", opened)
    store.start_upload("b.mp4", PART, None)
    assert races == []
    assert "a.jpg" in names(root)


@pytest.mark.row(24)
def test_killed_at_every_step(store: LocalStore, root: Path) -> None:
    """After a kill at any system call a final name holds nothing or all; the next run converges."""
    data = b"x" * 100_000
    steps = 0
    killed = True
    while killed:
        steps += 1
        shutil.rmtree(root)
        root.mkdir()
        pid = os.fork()
        if pid == 0:
            _die_at(steps)
            store.put([blob("DCIM/a.jpg", data), blob("DCIM/b.jpg", data)])
            os._exit(0)
        killed = os.waitpid(pid, 0)[1] != 0
        for path in root.rglob("*.jpg"):
            assert path.read_bytes() == data
        again = LocalBackend().store(str(root)).put([blob("DCIM/a.jpg", data), blob("DCIM/b.jpg", data)])
        assert all(isinstance(result, (Stored, AlreadyExists)) for result in again)
        assert {path.name for path in root.rglob("*.jpg")} == {"a.jpg", "b.jpg"}
    assert steps > 15


def _die_at(step: int) -> None:
    """Kills this process at the ``step``-th call that changes something."""
    left = step

    def deadly(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)
            return call(*args, **options)

        return wrapped

    for name in ("open", "pwrite", "utime", "fsync", "mkdir", "link", "unlink", "close"):
        setattr(os, name, deadly(getattr(os, name)))
    posix.rename_exclusive = deadly(posix.rename_exclusive)  # type: ignore[assignment]


# ways to publish


@pytest.mark.row(32)
def test_publishing_by_hard_link(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix, "_renameat2", lambda: None)
    first = store.put([blob("a.jpg", b"one"), blob("a.jpg", b"two")])
    assert [type(result) for result in first] == [Stored, AlreadyExists]
    assert isinstance(first[0], Stored)
    assert first[0].version == store.stat("a.jpg").version
    assert names(root) == ["a.jpg"]
    assert (root / "a.jpg").stat().st_nlink == 1


@pytest.mark.row(32)
def test_publishing_with_neither_links_nor_flags(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on exfat-fuse."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(posix, "_renameat2", lambda: None)
    monkeypatch.setattr(os, "link", refuse)
    results = store.put([blob("a.jpg", b"one"), blob("a.jpg", b"two")])
    assert [type(result) for result in results] == [Stored, AlreadyExists]
    assert (root / "a.jpg").read_bytes() == b"one"
    store.move("a.jpg", "b.jpg")
    store.put([blob("a.jpg", b"three")])
    with pytest.raises(AlreadyExists):
        store.move("a.jpg", "b.jpg")
    assert names(root) == [".photosync", ".photosync/lock", "a.jpg", "b.jpg"]


@pytest.mark.row(31)
def test_somebody_elses_partial_files_stay(store: LocalStore, root: Path) -> None:
    (root / "a.jpg.part").write_bytes(b"theirs")
    (root / ".photosync-0123456789abcdef.part").write_bytes(b"theirs")
    store.put([blob("a.jpg")])
    assert names(root) == [".photosync-0123456789abcdef.part", "a.jpg", "a.jpg.part"]


def test_what_was_stored_is_read_from_the_medium(store: LocalStore, root: Path) -> None:
    """Verification would otherwise compare the page cache with itself."""
    fincore = shutil.which("fincore")
    if fincore is None or posix.filesystem_type(str(root)) not in {"ext4", "xfs", "btrfs"}:
        pytest.skip("needs util-linux' fincore, and a disk below the temporary folder")

    def pages(path: str) -> str:
        command = [fincore, "--noheadings", "--output", "PAGES", path]
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    data = os.urandom(PART)
    store.put([blob("a.jpg", data)])
    assert pages("a.jpg") == "0"
    store.copy("a.jpg", "b.jpg")
    assert pages("a.jpg") != "0"
    assert pages("b.jpg") == "0"
    upload = store.start_upload("c.mp4", PART, None)
    upload.send_part(0, data, hashlib.sha256(data).hexdigest())
    upload.commit({})
    assert pages("c.mp4") == "0"


def test_copy_of_a_file_that_is_written_to(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put([blob("a.jpg", b"one")])
    real = posix.copy_all

    def copy_and_write(source: int, target: int) -> None:
        real(source, target)
        (root / "a.jpg").write_bytes(b"longer than before")

    monkeypatch.setattr(posix, "copy_all", copy_and_write)
    with pytest.raises(Transient):
        store.copy("a.jpg", "b.jpg")
    assert names(root) == ["a.jpg"]


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP])
def test_copy_where_the_kernel_cannot(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    store.put([blob("a.jpg", b"photo" * 100_000)])
    assert store.copy("a.jpg", "b.jpg").mtime_ns == 1_600_000_000_000_000_000
    assert (root / "b.jpg").read_bytes() == b"photo" * 100_000


# uploads


def test_resuming_believes_only_what_it_reads(store: LocalStore, root: Path) -> None:
    data = os.urandom(3 * PART)
    token = send(store, "DCIM/a.mp4", data, [0, 2])
    [partial] = (root / "DCIM").iterdir()
    notes = root / PARTIAL / token
    with notes.open("ab") as file:
        file.write(b'{"part": 1, "bytes": 8388608, "sha256": "00"}\nnot json\n{"part": 2, "by')
    with partial.open("r+b") as file:
        file.seek(PART - 1)
        file.write(bytes([data[PART - 1] ^ 1]))
    again = LocalBackend().store(str(root)).resume_upload(token)
    assert again.parts_held() == {2: PART}
    with pytest.raises(Corrupt, match="were not stored"):
        again.commit({})
    for index in (0, 1):
        piece = data[index * PART : (index + 1) * PART]
        again.send_part(index, piece, hashlib.sha256(piece).hexdigest())
    again.commit({})
    assert (root / "DCIM/a.mp4").read_bytes() == data
    assert names(root / "DCIM") == ["a.mp4"]
    assert names(root / PARTIAL) == []


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b"[]",
        b'{"path": "../../outside.jpg", "size": 5, "mtime_ns": null, "part_size": 8388608}',
        b'{"path": "a.jpg", "size": -1, "mtime_ns": null, "part_size": 8388608}',
        b'{"path": "a.jpg", "size": 5, "mtime_ns": "now", "part_size": 8388608}',
        b'{"path": "a.jpg", "size": 5, "mtime_ns": null, "part_size": 0}',
        b'{"path": 7, "size": 5, "mtime_ns": null, "part_size": 8388608}',
        b'{"path": "elsewhere/a.jpg", "size": 5, "mtime_ns": null, "part_size": 8388608}',
    ],
)
def test_damaged_notes_start_anew(store: LocalStore, root: Path, head: bytes) -> None:
    token = send(store, "a.mp4", b"video", [0])
    (root / PARTIAL / token).write_bytes(head + b"\n")
    with pytest.raises(FileNotFoundError):
        store.resume_upload(token)


@pytest.mark.parametrize("token", ["", "../../a", "0" * 31, "0" * 32, "G" * 32])
def test_tokens_are_not_paths(store: LocalStore, root: Path, token: str) -> None:
    (root / "a").write_bytes(b"{}")
    with pytest.raises(FileNotFoundError):
        store.resume_upload(token)


def test_parts_of_a_wrong_length_are_refused(store: LocalStore) -> None:
    upload = store.start_upload("a.mp4", PART + 5, None)
    for index, size in ((0, 5), (1, PART), (2, 5), (-1, 5), (1, 0)):
        with pytest.raises(Corrupt):
            upload.send_part(index, bytes(size), "")
    upload.abort()


def test_an_upload_left_behind_keeps_no_file_open(store: LocalStore) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    send(store, "a.mp4", b"video", [0])
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.usefixtures("listing")
def test_nothing_stays_open(store: LocalStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    store.put([blob("a/b/c.jpg"), blob("a/b/c.jpg"), blob("a/d.jpg"), blob("../x")])
    store.list_folder("a/b")
    store.move("a/d.jpg", "e.jpg")
    store.copy("e.jpg", "f.jpg")
    store.set_mtime("f.jpg", 0)
    store.replace_small(".photosync/HEAD", b"x", None)
    store.replace_small(".photosync/HEAD", b"y", hashlib.sha256(b"x").hexdigest())
    store.open("f.jpg").close()
    with pytest.raises(FileNotFoundError):
        store.open("missing/g.jpg")
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_of_several_replacers_wins(store: LocalStore, root: Path) -> None:
    version = store.replace_small(".photosync/HEAD", b"0", None)
    barrier = threading.Barrier(6)
    won: list[int] = []

    def work(number: int) -> None:
        mine = LocalBackend().store(str(root))
        barrier.wait(10)
        try:
            mine.replace_small(".photosync/HEAD", b"%d" % number, version)
        except AlreadyExists:
            return
        won.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1
    assert (root / ".photosync/HEAD").read_bytes() == b"%d" % won[0]


# what kind of disk it is


@pytest.mark.parametrize(
    ("kind", "rules", "precision", "exclusive"),
    [
        ("ext4", POSIX, 1, True),
        ("ext3", POSIX, 10**9, True),
        ("vfat", WINDOWS, 2 * 10**9, True),
        ("exfat", WINDOWS, 10**7, True),
        ("cifs", WINDOWS, 100, True),
        ("fuseblk", WINDOWS, 2 * 10**9, False),
        ("fuse.jmtpfs", ANY, 2 * 10**9, False),
        ("", ANY, 2 * 10**9, False),
    ],
)
@pytest.mark.row(33)
def test_what_kinds_of_disks_declare(
    monkeypatch: pytest.MonkeyPatch, kind: str, rules: object, precision: int, exclusive: bool
) -> None:
    monkeypatch.setattr(posix, "filesystem_type", lambda _path: kind)
    can = LocalBackend().store("/anywhere").capabilities
    assert (can.names, can.mtime_precision_ns, can.exclusive) == (rules, precision, exclusive)


def test_file_system_type() -> None:
    assert posix.filesystem_type("/proc") == "proc"
    assert posix.filesystem_type("/proc/does not/exist") == "proc"


@pytest.mark.root
def test_file_system_type_of_an_odd_mount_point(tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path / "my stick ü", "size=1m") as root:
        assert posix.filesystem_type(str(root / "photos")) == "tmpfs"


# the fsspec filesystem


@pytest.mark.parametrize("mode", ["wb", "w", "xb", "x"])
def test_an_exception_publishes_nothing(root: Path, mode: str) -> None:
    def write() -> None:
        with LocalBackend().open(f"{root}/a", mode) as file:
            file.write("x" * 100_000 if "b" not in mode else b"x" * 100_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert names(root) == []


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_a_forgotten_file_publishes_nothing(root: Path, mode: str) -> None:
    file = LocalBackend().open(f"{root}/a", mode)
    file.write("x" if mode == "w" else b"x")
    del file
    gc.collect()
    assert names(root) == []


def test_open_replaces_at_once_and_whole(root: Path) -> None:
    fs = LocalBackend()
    (root / "a").write_bytes(b"old")
    with fs.open(f"{root}/a", "wb") as file:
        file.write(b"new")
        file.flush()
        assert (root / "a").read_bytes() == b"old"
    assert (root / "a").read_bytes() == b"new"
    with fs.open(f"{root}/b", "w", encoding="utf-16") as text:
        text.write("é")
    assert (root / "b").read_text(encoding="utf-16") == "é"
    with pytest.raises(FileExistsError):
        fs.open(f"{root}/b", "xb")
    with pytest.raises(Unsupported):
        fs.open(f"{root}/b.gz", "wb", compression="gzip")
    assert names(root) == ["a", "b"]


def test_exclusive_open_that_loses_a_race(root: Path) -> None:
    file = LocalBackend().open(f"{root}/a", "xb")
    file.write(b"mine")
    (root / "a").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        file.close()
    assert names(root) == ["a"]
    assert (root / "a").read_bytes() == b"theirs"


def test_transactions(root: Path) -> None:
    fs = LocalBackend()
    with fs.transaction:
        fs.pipe_file(f"{root}/a", b"one")
        assert not (root / "a").exists()
    assert names(root) == ["a"]

    def fail() -> None:
        with fs.transaction:
            fs.pipe_file(f"{root}/b", b"two")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(root) == ["a"]


def test_a_copy_that_fails_publishes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a").write_bytes(b"photo")

    def fail(_source: object, target: object) -> None:
        target.write(b"pho")  # type: ignore[attr-defined]
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(OSError, match="Input/output"):
        LocalBackend().put_file(f"{root}/a", f"{root}/b")
    assert names(root) == ["a"]


@pytest.mark.row(31)
def test_leftovers_of_a_dead_process_are_swept_and_nothing_else(tmp_path: Path) -> None:
    store = LocalBackend().store(str(tmp_path))
    store.put([Blob("a/kept.jpg", b"photo", None, fingerprint(b"photo").digests)])
    upload = store.start_upload("a/large.mp4", 9, None)
    (large,) = (path for path in (tmp_path / "a").iterdir() if path.name.endswith(".part"))
    left = tmp_path / "a" / ".photosync-0123456789abcdef.part"
    left.write_bytes(b"half a pho")
    alive = tmp_path / "a" / ".photosync-fedcba9876543210.part"
    foreign = tmp_path / "a" / ".photosync-notes.part"
    foreign.write_bytes(b"somebody's")
    with alive.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        names = [str(path.relative_to(tmp_path)) for path in (tmp_path / "a").iterdir()]
        assert store.sweep(names) == 1
    assert sorted((tmp_path / "a").iterdir()) == sorted([tmp_path / "a" / "kept.jpg", large, alive, foreign])
    upload.abort()


@pytest.mark.row(24)
def test_notes_that_a_kill_left_beside_a_published_file_are_swept(store: LocalStore, root: Path) -> None:
    done, under_way = (store.start_upload(name, 5, None) for name in ("a/done.mp4", "b.mp4"))
    notes = (root / PARTIAL / done.token).read_bytes()
    done.send_part(0, b"video", hashlib.sha256(b"video").hexdigest())
    done.commit({})
    (root / PARTIAL / done.token).write_bytes(notes)
    (root / PARTIAL / ("0" * 32)).write_bytes(b"")
    (root / PARTIAL / "somebody's").write_bytes(b"")
    assert store.sweep([]) == 1
    assert sorted(os.listdir(root / PARTIAL)) == sorted(["0" * 32, "somebody's", under_way.token])
    under_way.send_part(0, b"video", hashlib.sha256(b"video").hexdigest())
    under_way.commit({})


def test_a_file_that_grows_while_it_is_read(root: Path, store: LocalStore) -> None:
    (root / "photo").write_bytes(b"1234")
    reader = store.open("photo")
    before = reader.stat()
    assert reader.read(2) == b"12"
    with (root / "photo").open("ab") as file:
        file.write(b"5678")
    assert b"".join(iter(lambda: reader.read(1 << 20), b"")) == b"345678"
    after = reader.stat()
    assert before is not None and after is not None and (before.size, after.size) == (4, 8)
    reader.close()


def test_a_read_asks_for_no_more_than_there_is(
    root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of memory for each small file, and another call to learn that nothing follows, add up."""
    (root / "photo").write_bytes(b"1234")
    asked: list[int] = []
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: asked.append(size) or read(fd, size))
    reader = store.open("photo", 1)
    assert [reader.read(1 << 20), reader.read(1 << 20), asked] == [b"234", b"", [4]]
    reader.close()


def test_a_short_read_is_not_the_end(root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FUSE programs and network disks may answer."""
    (root / "photo").write_bytes(b"1234")
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: read(fd, min(size, 3)))
    reader = store.open("photo")
    assert [reader.read(1 << 20) for _ in range(3)] == [b"123", b"4", b""]
    reader.close()


@pytest.mark.parametrize(("processors", "threads"), [(1, 2), (2, 2), (3, 3), (64, 4)])
def test_no_more_threads_than_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: int, threads: int
) -> None:
    monkeypatch.setattr(posix, "filesystem_type", lambda _root: "ext4")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(processors)))
    can = LocalStore(str(tmp_path)).capabilities
    assert (can.read_concurrency, can.write_concurrency) == (threads, threads)


def test_a_network_is_waited_for_by_more_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix, "filesystem_type", lambda _root: "nfs4")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})
    can = LocalStore(str(tmp_path)).capabilities
    assert (can.read_concurrency, can.write_concurrency) == (4, 4)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="no /proc")
def test_a_file_that_says_it_is_empty_is_read_in_large_pieces() -> None:
    """As some FUSE mounts do of all their files; the engine then refuses what is longer than was said."""
    with closing(LocalStore("/proc").open("version")) as reader:
        told = reader.stat()
        assert told is not None and told.size == 0
        assert reader.read(1 << 20) == Path("/proc/version").read_bytes()
        assert reader.read(1 << 20) == b""
