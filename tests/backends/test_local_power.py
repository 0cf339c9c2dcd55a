"""Power cuts on a real ext4: what was reported as stored is there afterwards, whole."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from photosync.backends.local import LocalBackend
from photosync.backends.local_store import LocalStore
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.names import is_ours
from tests.backends.mounts import mounted

# linux/fs/ext4/ext4.h: _IOR('X', 125, __u32); 2 stops at once, without flushing the journal.
_EXT4_IOC_SHUTDOWN = 0x8004587D
_NOLOGFLUSH = 2
PHOTO = os.urandom(100_000)


class Disk:
    """An ext4 in a file, the power of which can be cut."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        self._at = folder / "disk"
        with self._image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", self._image], check=True)

    @contextlib.contextmanager
    def power(self) -> Iterator[Path]:
        """Mounts it, and cuts the power at the end."""
        with mounted("ext4", self._at, "loop", self._image) as root:
            yield root
            fd = os.open(root, os.O_RDONLY)
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
            os.close(fd)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    if os.getuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4")
    return Disk(tmp_path)


def store_of(root: Path) -> LocalStore:
    return LocalBackend().store(str(root / "backup" / "photos"))


def put(store: LocalStore, path: str, data: bytes = PHOTO) -> None:
    [result] = store.put([Blob(path, data, None, {})])
    assert isinstance(result, Stored)


def read(store: LocalStore, path: str) -> bytes:
    with contextlib.closing(store.open(path)) as reader:
        return reader.read(1 << 20)


def send(store: LocalStore, path: str, data: bytes) -> None:
    upload = store.start_upload(path, len(data), None)
    upload.send_part(0, data, hashlib.sha256(data).hexdigest())
    upload.commit({})


@pytest.mark.root
@pytest.mark.row(25)
def test_what_was_stored_survives(disk: Disk) -> None:
    with disk.power() as root:
        store = store_of(root)
        results = store.put([Blob(f"DCIM/{n % 3}/{n}.jpg", PHOTO, None, {}) for n in range(20)])
        assert all(isinstance(result, Stored) for result in results)
    with disk.power() as root:
        store = store_of(root)
        for number in range(20):
            assert read(store, f"DCIM/{number % 3}/{number}.jpg") == PHOTO
        send(store, "new/folder/video.mp4", PHOTO)
    with disk.power() as root:
        store = store_of(root)
        assert read(store, "new/folder/video.mp4") == PHOTO
        store.move("new/folder/video.mp4", "moved/video.mp4")
    with disk.power() as root:
        store = store_of(root)
        assert read(store, "moved/video.mp4") == PHOTO
        store.copy("moved/video.mp4", "copied/video.mp4")
    with disk.power() as root:
        store = store_of(root)
        assert read(store, "copied/video.mp4") == PHOTO
        version = store.replace_small(".photosync/HEAD", b"one", None)
        store.replace_small(".photosync/HEAD", b"two", version)
    with disk.power() as root:
        store = store_of(root)
        assert store.read_small(".photosync/HEAD", 10)[0] == b"two"
        with LocalBackend().open(f"{root}/plain", "wb") as file:
            file.write(PHOTO)
    with disk.power() as root:
        assert (root / "plain").read_bytes() == PHOTO


@pytest.mark.root
@pytest.mark.row(25)
def test_an_upload_cut_short_believes_nothing_unread(disk: Disk) -> None:
    token = ""
    with disk.power() as root:
        store = store_of(root)
        put(store, "a.jpg")
        upload = store.start_upload("video.mp4", (8 << 20) + 5, None)
        token = upload.token
        upload.send_part(0, bytes(8 << 20), hashlib.sha256(bytes(8 << 20)).hexdigest())
        del upload
    with disk.power() as root:
        store = store_of(root)
        names = [entry.path for entry in store.list_folder("") if entry.is_file]
        assert [name for name in names if not is_ours(name)] == ["a.jpg"]
        with contextlib.suppress(FileNotFoundError):
            assert dict(store.resume_upload(token).parts_held()) in ({}, {0: 8 << 20})
