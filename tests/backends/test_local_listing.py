"""A disk is listed by C or by Python, and both tell the same of whatever lies there."""

import contextlib
import errno
import os
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photosync.backends import local_tree
from photosync.backends.local_store import LocalStore
from photosync.backends.local_tree import Tree
from photosync.engine.entry import LARGEST, Files, PackedFiles
from photosync.engine.scan import Listing, walk
from tests.servers.fuse_phone import FuseLibrary, fuse_phone, why_not

NO_FUSE = why_not()


_folder = pytest.importorskip(
    "photosync.backends._folder", reason="it is not compiled: install gcc, libc6-dev and python3-dev"
)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[FuseLibrary]:
    """A mount of tmp_path/behind that does what it is told."""
    if NO_FUSE:
        pytest.skip(NO_FUSE)
    (tmp_path / "behind").mkdir()
    (tmp_path / "mount").mkdir()
    with fuse_phone(tmp_path / "behind", tmp_path / "mount") as found:
        yield found


def in_python(call: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_tree, "_listing", None)
        return call()


def listed(root: Path) -> Listing:
    return walk(LocalStore(str(root)), check=lambda: None, is_source=True)


def told(listing: Listing) -> list[tuple[str, str]]:
    return [(error.path, str(error.error)) for error in listing.errors]


def check_both(root: Path, packed: bool | None = None) -> None:
    """Compares everything below a folder, and itself entry by entry.

    Args:
        packed: whether the folder's own files come in columns; None: no matter.
    """
    for change_times in (True, False):
        tree = Tree(str(root), change_times)
        one, other = tree.files(""), in_python(lambda tree=tree: tree.files(""))  # type: ignore[misc]
        assert isinstance(other, Files)
        assert list(one.entries()) == list(other.entries())
        assert one.others == other.others
        if packed is not None:
            assert isinstance(one, PackedFiles) is packed
    for is_source in (True, False):
        one, other = (
            run(lambda is_source=is_source: walk(  # type: ignore[misc]
                LocalStore(str(root)), check=lambda: None, is_source=is_source
            ))
            for run in (lambda call: call(), in_python)
        )  # fmt: skip
        assert list(one.entries) == list(other.entries)
        assert list(one.entries.rows()) == list(other.entries.rows())
        assert one.own == other.own
        assert told(one) == told(other)
        assert one.others == other.others


def make(folder: Path, *names: str | bytes) -> None:
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        with open(path, "wb") as file:
            file.write(b"x" * number)
        os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number))


def test_an_empty_folder(tmp_path: Path) -> None:
    check_both(tmp_path, packed=True)
    assert list(listed(tmp_path).entries) == []


def test_plain_names(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a.JPG", "A.JPG", "...", "..a", ".hidden", "~", "a b", "x=y", "a", "n" * 255)
    (tmp_path / "DCIM/100").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    make(tmp_path / "DCIM", "z", "1")
    make(tmp_path / "DCIM/100", "IMG_2.JPG", "IMG_1.JPG")
    check_both(tmp_path, packed=True)
    assert [entry.path for entry in listed(tmp_path).entries][:4] == ["...", "..a", ".hidden", "A.JPG"]


@pytest.mark.parametrize(
    "name",
    [
        b"\xff.jpg", b"\xe2\x82", "caf\u00e9".encode(), "cafe\u0301".encode(), "\U0001f4f7\uffee".encode(),
        b"\xed\xa0\x80", b"\xc3\xa9" * 127,
    ],
)  # fmt: skip
def test_names_beyond_ascii(tmp_path: Path, name: bytes) -> None:
    make(tmp_path, "z", name, "a")
    check_both(tmp_path, packed=False)
    folder = tmp_path / os.fsdecode(name[:200])
    (folder if not folder.exists() else tmp_path / (folder.name + "-")).mkdir()
    for found in tmp_path.iterdir():
        if found.is_dir():
            make(found, "2", "1")
    check_both(tmp_path)


@pytest.mark.parametrize("name", ["a\nb", "\x01", "\x7f", "\\", ".photosync-x", ".PHOTOSYNC", "x.photosync"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    make(tmp_path, "z", name, "a")
    check_both(tmp_path, packed=True)


names_of_files = st.binary(min_size=1, max_size=4).filter(
    lambda name: not {0, ord("/")} & {*name} and name.strip(b".") != b""
)


@given(st.sets(names_of_files, max_size=6))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names(tmp_path_factory: pytest.TempPathFactory, names: set[bytes]) -> None:
    folder = tmp_path_factory.mktemp("any")
    make(folder, *names)
    check_both(folder)


def test_what_is_no_file(tmp_path: Path) -> None:
    make(tmp_path, "a", "file", "z")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / os.fsdecode(b"\xff")).symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as listener:
        # An absolute path may be too long for a socket's name.
        listener.bind("socket")
    if os.getuid() == 0:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    check_both(tmp_path, packed=True)
    assert {entry.path for entry in listed(tmp_path).others} >= {"link", "dangling", "loop", "pipe", "socket"}


@pytest.mark.parametrize(
    "time", [-1, -(10**9), -1_234_567_890_123_456_789, 0, 1, 10**9 - 1, LARGEST - 2 * 10**9]
)
def test_times_that_64_bits_hold(tmp_path: Path, time: int) -> None:
    make(tmp_path, "a", "b", "c")
    os.utime(tmp_path / "b", ns=(time, time))
    check_both(tmp_path, packed=True)
    assert listed(tmp_path).entries[1].mtime_ns == os.stat(tmp_path / "b").st_mtime_ns


@pytest.mark.parametrize("time", [LARGEST, LARGEST + 1, 10**19, -LARGEST, -(10**19)])
def test_times_beyond_64_bits(time: int) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm: a file system in memory holds any time")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        make(folder, "a", "b", "c")
        os.utime(folder / "b", ns=(time, time))
        assert os.stat(folder / "b").st_mtime_ns == time
        check_both(folder, packed=False)
        assert listed(folder).entries[1].mtime_ns == max(-LARGEST, min(time, LARGEST))


def test_very_many_names(tmp_path: Path) -> None:
    """Buffers grow, and more is looked at than in one turn."""
    make(tmp_path, "first")
    for number in range(7_000):
        os.link(tmp_path / "first", tmp_path / f"{number * 7919 % 7_000:05d}-{'n' * (number % 90)}.JPG")
    check_both(tmp_path, packed=True)
    assert len(listed(tmp_path).entries) == 7_001


def failures(root: Path, *paths: str) -> list[tuple[type[BaseException], int, object]]:
    found = []
    for path in paths:
        with pytest.raises(OSError) as failed:
            Tree(str(root)).files(path)
        name = failed.value.filename
        # A number is the descriptor's.
        found.append((failed.type, failed.value.errno, int if isinstance(name, int) else name))
    return found


def test_what_a_mount_refuses(library: FuseLibrary, tmp_path: Path) -> None:
    for folder in ("bad", "odd", "good"):
        (tmp_path / "behind" / folder).mkdir()
        make(tmp_path / "behind" / folder, "a", "b", "c")
    # No kernel believes in such a size.
    library.set(bad_folders=frozenset({"bad"}), size_told={"odd/b": 1 << 63})
    found = failures(library.mount, "bad", "odd")
    assert found == [(OSError, errno.EIO, int), (OSError, errno.EIO, "b")]
    assert in_python(lambda: failures(library.mount, "bad", "odd")) == found
    assert [error.path for error in listed(library.mount).errors] == ["bad", "odd"]
    check_both(library.mount)


def test_what_vanishes_meanwhile_is_not_there(library: FuseLibrary, tmp_path: Path) -> None:
    make(tmp_path / "behind", "a", "b", "c", "d")
    library.set(stale=True)
    assert len(os.listdir(library.mount)) == 4
    (tmp_path / "behind/b").unlink()
    (tmp_path / "behind/d").unlink()
    check_both(library.mount, packed=True)
    assert [entry.path for entry in listed(library.mount).entries] == ["a", "c"]


def test_what_a_mount_tells_twice(library: FuseLibrary, tmp_path: Path) -> None:
    make(tmp_path / "behind", "a", "b", "c")
    library.set(twice=frozenset({"b"}))
    assert sorted(os.listdir(library.mount)) == ["a", "b", "b", "c"]
    check_both(library.mount, packed=False)
    assert [entry.path for entry in listed(library.mount).entries] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["closed", "file"])
def test_what_is_no_folder(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    if kind == "closed":
        os.close(fd)
    with pytest.raises(OSError, match=r"Bad file|Not a dir") as one:
        _folder.listing(fd, b"", True)
    with pytest.raises(OSError, match=r"Bad file|Not a dir") as other:
        os.scandir(fd)
    assert repr(one.value) == repr(other.value)
    assert one.value.filename == other.value.filename
    if kind == "file":
        os.close(fd)


def test_the_descriptor_stays_as_it_was(tmp_path: Path) -> None:
    make(tmp_path, *map(str, range(300)))
    before = len(os.listdir("/proc/self/fd"))
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        first = _folder.listing(fd, b"in/", True)
        assert first is not None
        assert first == _folder.listing(fd, b"in/", True)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
        assert len(os.listdir(fd)) == first[0].count(b"in/") == 300
    finally:
        os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before


def test_memory_is_given_back(tmp_path: Path) -> None:
    make(tmp_path, *map(str, range(3_000)))
    (tmp_path / "link").symlink_to("0")
    fds = [os.open(tmp_path, os.O_RDONLY), os.open(tmp_path / "0", os.O_RDONLY)]

    def used() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def repeat(times: int) -> int:
        for _ in range(times):
            assert _folder.listing(fds[0], b"DCIM/", True)
            with contextlib.suppress(NotADirectoryError):
                _folder.listing(fds[1], b"", True)
        return used()

    before = repeat(20)
    # A listing takes some 300 KB.
    assert repeat(150) - before < 10 << 20
    for fd in fds:
        os.close(fd)


def test_other_threads_go_on(library: FuseLibrary, tmp_path: Path) -> None:
    """Another one sees how far a listing is, with some files looked at and some not."""
    make(tmp_path / "behind", *"abcdefgh")
    library.set(latency=0.05)
    fd = os.open(library.mount, os.O_RDONLY)
    seen: set[int] = set()
    before, done = library.counters()["stats"], threading.Event()

    def look() -> None:
        while not done.wait(0.001):
            seen.add(library.counters()["stats"])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert _folder.listing(fd, b"", True)
    finally:
        done.set()
        thread.join()
        os.close(fd)
    # The folder itself, looked at while it is opened, is one.
    assert len(seen & set(range(before + 1, library.counters()["stats"]))) > 2


def test_ctrl_c_is_heard(library: FuseLibrary, tmp_path: Path) -> None:
    make(tmp_path / "behind", *map(str, range(1000)))
    library.set(latency=0.02)
    fd = os.open(library.mount, os.O_RDONLY)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            _folder.listing(fd, b"", True)
        # From within, after the next few files: by its return, 20 seconds later at least, Python asks anyway.
        assert time.monotonic() - began < 15
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(fd)
