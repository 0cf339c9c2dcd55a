"""A small file is read at once by C, or piece by piece by Python, and both give and refuse the same."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from photosync.backends import local_tree
from photosync.backends.local_store import LocalReader, LocalStore, SmallReader
from photosync.engine.entry import LARGEST, Entry
from photosync.engine.errors import DeviceGone, PhotosyncError
from tests.servers.fuse_phone import FuseLibrary, fuse_phone, why_not

_file = pytest.importorskip(
    "photosync.backends._file", reason="it is not compiled: install gcc, libc6-dev and python3-dev"
)
NO_FUSE = why_not()
MOST = 256 << 10


@pytest.fixture
def library(tmp_path: Path) -> Iterator[FuseLibrary]:
    """A mount of tmp_path/behind that does what it is told."""
    if NO_FUSE:
        pytest.skip(NO_FUSE)
    (tmp_path / "behind").mkdir()
    (tmp_path / "mount").mkdir()
    with fuse_phone(tmp_path / "behind", tmp_path / "mount") as found:
        yield found


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def in_python(call: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_tree, "_whole", None)
        return call()


def read(root: Path, path: str, change_times: bool = True) -> tuple[type, Entry | None, list[bytes]]:
    """A file as a copy reads it: what kind of reader it is, what it looked like, its pieces."""
    store = LocalStore(str(root))
    store._tree._change_times = change_times
    # Which device it is on is known from a listing.
    with suppress(FileNotFoundError):
        store.list_folder("")
    reader = store.open(path)
    try:
        seen = reader.stat()
        pieces = list(iter(lambda: reader.read(100_000), b""))
        assert reader.read(1) == b""
        assert reader.stat() == seen
    finally:
        reader.close()
    return type(reader), seen, pieces


def check_both(root: Path, path: str, small: bool = True) -> None:
    for change_times in (True, False):
        kind, *found = read(root, path, change_times)
        assert kind is (SmallReader if small else LocalReader)
        assert in_python(lambda: read(root, path, change_times)) == (LocalReader, *found)  # noqa: B023


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000, 100_001, MOST])
def test_a_small_file(tmp_path: Path, size: int) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(os.urandom(size))
    check_both(tmp_path, "a/b/file")


def test_a_larger_one_is_not_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(MOST + 1))
    check_both(tmp_path, "file", small=False)


def test_from_an_offset_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    store = LocalStore(str(tmp_path))
    store.list_folder("")
    reader = store.open("file", 7)
    assert reader.read(100) == b"789"
    reader.close()


@pytest.mark.parametrize("name", [b"\xff.jpg", "\u00e9".encode(), b"a\nb", b"n" * 255, b".photosync"])
def test_odd_names(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    (folder / os.fsdecode(name)).write_bytes(b"photo")
    check_both(tmp_path, f"{os.fsdecode(name)}/{os.fsdecode(name)}")


@pytest.mark.parametrize("time", [-1, -(10**9), -LARGEST, 0, 10**18, LARGEST, LARGEST + 1, 10**19])
def test_times(time: int) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm: a file system in memory holds any time")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        (folder / "file").write_bytes(b"photo")
        os.utime(folder / "file", ns=(time, time))
        check_both(folder, "file")


def failure(root: Path, path: str) -> tuple[type[Exception], str]:
    with pytest.raises((OSError, PhotosyncError)) as failed:
        read(root, path)
    return failed.type, str(failed.value)


@pytest.mark.parametrize(
    "path",
    ["link", "linked/file", "pipe", "folder", "none", "none/file", "file/inner", "n" * 256, "n" * 256 + "/a"],
)
def test_what_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"photo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(b"photo")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "linked").symlink_to("folder")
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    assert failure(tmp_path, path) == in_python(lambda: failure(tmp_path, path))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("path", ["../file", "/etc/passwd", "a//b", "a\0b", "", "."])
def test_no_way_leads_out(tmp_path: Path, path: str) -> None:
    assert failure(tmp_path, path) == in_python(lambda: failure(tmp_path, path))


@pytest.mark.parametrize(
    "faults",
    [
        {"size_told": {"file": 4}}, {"size_told": {"file": 6}}, {"size_told": {"file": 0}},
        {"size_told": {"file": 1 << 40}}, {"size_told": {"file": 1 << 63}}, {"ends_at": {"file": 3}},
        {"bad_from": {"file": 0}}, {"bad_open": frozenset({"file"})},
    ],
)  # fmt: skip
def test_what_a_mount_tells_wrong(library: FuseLibrary, tmp_path: Path, faults: dict[str, Any]) -> None:
    """It is for the Python code to find out how, as it was before."""
    (tmp_path / "behind/file").write_bytes(b"photo")
    library.set(**faults)
    fd_count = len(os.listdir("/proc/self/fd"))
    assert _file.whole(os.fsencode(library.mount), b"file", MOST) is None
    assert len(os.listdir("/proc/self/fd")) == fd_count


def test_what_ends_too_early_is_not_kept(library: FuseLibrary, tmp_path: Path) -> None:
    (tmp_path / "behind/file").write_bytes(bytes(MOST))
    library.set(ends_at={"file": MOST - 1})

    def used(times: int) -> int:
        for _ in range(times):
            assert _file.whole(os.fsencode(library.mount), b"file", MOST) is None
        return memory()

    before = used(5)
    assert used(60) - before < 10 << 20


@pytest.mark.parametrize("how", ["grow", "shrink", "rewrite", "vanish"])
def test_what_changes_while_it_is_read(library: FuseLibrary, tmp_path: Path, how: str) -> None:
    (tmp_path / "behind/file").write_bytes(b"photo" * 1000)
    library.set(changes={"file": (0, how)})
    found = _file.whole(os.fsencode(library.mount), b"file", MOST)
    # What looked the same before and after is what it was then.
    assert found is None or found[1] == b"photo" * 1000
    assert (how == "vanish") >= (found is not None)


def test_another_device_than_before_is_for_opening_to_say(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"photo")
    store = LocalStore(str(tmp_path))
    assert isinstance(store.open("file"), LocalReader), "the first one says which it is"
    assert isinstance(store.open("file"), SmallReader)
    assert store._tree._device is not None
    store._tree._device += 1
    with pytest.raises(DeviceGone, match="another device"):
        store.open("file")


def test_nothing_stays_open_or_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(bytes(MOST))
    os.mkfifo(tmp_path / "a/pipe")
    open_before = len(os.listdir("/proc/self/fd"))

    def used(times: int) -> int:
        for _ in range(times):
            found = _file.whole(os.fsencode(tmp_path), b"a/file", MOST)
            assert found is not None
            assert len(found[1]) == MOST
            for path, most in ((b"a/file", 10), (b"a/pipe", MOST), (b"a/none", MOST), (b"b/c", MOST)):
                assert _file.whole(os.fsencode(tmp_path), path, most) is None
        return memory()

    before = used(20)
    assert used(200) - before < 10 << 20
    assert len(os.listdir("/proc/self/fd")) == open_before
