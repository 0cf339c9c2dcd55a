"""The Dropbox filesystem by itself, as any program uses it through fsspec."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import fsspec
import pytest

from photosync.backends.dropbox import DropboxBackend
from photosync.engine.errors import Corrupt, Permanent, Transient
from tests.backends.dropbox_rig import Rig, noise, rigged
from tests.servers.faults import Fault

PART = 8 << 20


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


@pytest.fixture
def fs(rig: Rig) -> DropboxBackend:
    return rig.fs


def sign_in(rig: Rig) -> dict[str, Any]:
    return {"refresh_token": rig.fs._account._token["refresh_token"], "app_key": "app"}


def test_fsspec_finds_it(rig: Rig) -> None:
    assert fsspec.get_filesystem_class("psdropbox") is DropboxBackend
    assert fsspec.filesystem("psdropbox", access_token="a")._strip_protocol("psdropbox:///a/b/") == "a/b"


def test_importing_it_loads_no_sdk() -> None:
    import subprocess
    import sys

    code = "import sys, photosync.backends.dropbox as d; d.DropboxBackend(); print('dropbox' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_looking(rig: Rig, fs: DropboxBackend) -> None:
    rig.emulator.put("/Photos/Camera/a.jpg", b"12345")
    rig.emulator.put("/b", b"1")
    assert fs.ls("", detail=False) == ["Photos", "b"]
    assert fs.ls("/Photos/Camera/", detail=False) == ["Photos/Camera/a.jpg"]
    (info,) = fs.ls("psdropbox://Photos/Camera")
    assert info == fs.info("Photos/Camera/a.jpg") == fs.ls("Photos/Camera/a.jpg")[0]
    assert (info["name"], info["size"], info["type"]) == ("Photos/Camera/a.jpg", 5, "file")
    assert fs.info("")["type"] == "directory"
    assert fs.find("") == ["Photos/Camera/a.jpg", "b"]
    assert (fs.isdir("Photos"), fs.isfile("Photos"), fs.exists("gone"), fs.isfile("gone")) == (1, 0, 0, 0)
    with pytest.raises(FileNotFoundError):
        fs.info("gone")
    with pytest.raises(FileNotFoundError):
        fs.ls("gone")
    assert abs((fs.created("b") - datetime.now(UTC)).total_seconds()) < 60
    assert fs.modified("b").tzinfo is UTC
    before = fs.ukey("b")
    rig.emulator.put("/b", b"2")
    assert fs.ukey("b") != before


def test_looking_does_not_hide_trouble(rig: Rig, fs: DropboxBackend) -> None:
    rig.emulator.faults.append(Fault("files/get_metadata", status=503, count=3))
    for look in (fs.exists, fs.isdir, fs.isfile):
        with pytest.raises(Transient):
            look("a")


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, 2 * PART + 5])
def test_writing_and_reading(rig: Rig, fs: DropboxBackend, size: int) -> None:
    data = noise(size)
    with fs.open("a/b", "wb") as file:
        for at in range(0, size, 3_000_000):
            file.write(data[at : at + 3_000_000])
        assert file.tell() == size
        assert rig.content() == {}
    assert rig.content() == {"/a/b": data}
    assert fs.cat_file("a/b") == data
    with rig.counting() as counted, fs.open("a/b") as file:
        assert file.read() == data
    assert dict(counted) == {"files/download": 1}


class Oops(Exception):
    pass


def fail_halfway(opened: Any, half: str | bytes) -> None:
    with opened as file:
        file.write(half)
        raise Oops


def test_an_exception_publishes_nothing(rig: Rig, fs: DropboxBackend) -> None:
    with pytest.raises(Oops):
        fail_halfway(fs.open("a", "wb"), noise(PART + 5))
    assert rig.content() == {}


@pytest.mark.parametrize("wrapper", ["text", "fsspec.open", "gzip"])
def test_an_exception_publishes_nothing_through_wrappers(rig: Rig, fs: DropboxBackend, wrapper: str) -> None:
    if wrapper == "text":
        opened: Any = fs.open("a", "w")
    else:
        compression = "gzip" if wrapper == "gzip" else None
        opened = fsspec.open("psdropbox://a", "wt", compression=compression, **sign_in(rig))
    with pytest.warns(UserWarning, match="not published"):  # noqa: SIM117
        with pytest.raises(Oops):
            fail_halfway(opened, "half")
    assert rig.content() == {}


def test_a_file_left_open_publishes_nothing(rig: Rig, fs: DropboxBackend) -> None:
    file = fs.open("a", "wb")
    file.write(b"half")
    with pytest.warns(ResourceWarning):
        del file
    assert rig.content() == {}


def test_a_file_written_while_an_exception_is_handled_is_published(rig: Rig, fs: DropboxBackend) -> None:
    try:
        raise KeyError
    except KeyError:
        with fs.open("a", "wb") as file:
            file.write(b"whole")
        with fs.open("b", "w") as text:
            text.write("whole")
    assert rig.content() == {"/a": b"whole", "/b": b"whole"}


def test_a_failed_close_publishes_nothing_and_says_so(rig: Rig, fs: DropboxBackend) -> None:
    rig.emulator.faults.append(Fault("files/upload", status=503))
    file = fs.open("a", "wb")
    file.write(b"1")
    with pytest.raises(Transient):
        file.close()
    assert file.closed
    file.close()
    assert rig.content() == {}


def test_compressed_and_text(rig: Rig, fs: DropboxBackend) -> None:
    with fsspec.open("psdropbox://a.gz", "wt", compression="gzip", **sign_in(rig)) as file:
        file.write("text")
    with fs.open("a.gz", "rt", compression="gzip") as file:
        assert file.read() == "text"
    with pytest.raises(ValueError, match=r"fsspec\.open"):
        fs.open("b.gz", "wb", compression="gzip")


def test_writing_replaces_unless_asked_not_to(rig: Rig, fs: DropboxBackend) -> None:
    fs.pipe_file("a", b"1")
    fs.pipe_file("a", b"2")
    assert fs.cat_file("a") == b"2"
    for write in (lambda: fs.pipe_file("A", b"3", mode="create"), lambda: fs.open("A", "xb").close()):
        with pytest.raises(FileExistsError):
            write()
    with pytest.raises(ValueError, match="mode"):
        fs.open("a", "ab")
    assert rig.content() == {"/a": b"2"}


def test_a_transaction_publishes_all_or_nothing(rig: Rig, fs: DropboxBackend) -> None:
    def fail() -> None:
        with fs.transaction:
            fs.pipe_file("a", b"1")
            raise Oops

    with pytest.raises(Oops):
        fail()
    assert rig.content() == {}
    with fs.transaction:
        with fs.open("a", "wb") as file:
            file.write(noise(PART + 5))
        with fs.open("b", "wb") as file:
            file.write(b"2")
        assert rig.content() == {}
    assert set(rig.content()) == {"/a", "/b"}


def test_reading_here_and_there(rig: Rig, fs: DropboxBackend) -> None:
    data = noise(3_000_000)
    rig.emulator.put("/a", data)
    with fs.open("a") as file:
        assert file.read(10) == data[:10]
        file.seek(2_000_000)
        assert file.read(100) == data[2_000_000:2_000_100]
        file.seek(-5, 2)
        assert file.read() == data[-5:]
        assert file.read() == b""
        file.seek(0)
        rig.emulator.put("/a", b"another")
        assert file.read() == data, "one revision, whatever happens meanwhile"


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 10), (5, None), (None, 7), (-7, None), (-7, -2), (90, 200), (100, None), (50, 40), (99, 100)],
)
def test_parts_of_a_file(rig: Rig, fs: DropboxBackend, start: int | None, end: int | None) -> None:
    data = noise(100)
    rig.emulator.put("/a", data)
    assert fs.cat_file("a", start, end) == data[slice(start, end)]


@pytest.mark.row(50)
def test_damage_is_not_hidden(rig: Rig, fs: DropboxBackend) -> None:
    rig.emulator.put("/a", noise(100_000))
    for read in (lambda: fs.cat_file("a"), lambda: fs.open("a").read()):
        rig.emulator.faults.append(Fault("files/download", corrupt=99_999))
        with pytest.raises(Corrupt):
            read()


def test_changing_the_tree(rig: Rig, fs: DropboxBackend) -> None:
    fs.mkdir("a/b")
    fs.makedirs("a/b", exist_ok=True)
    for make in (fs.mkdir, fs.makedirs):
        with pytest.raises(FileExistsError):
            make("A/B")
    fs.pipe_file("a/b/c", b"1")
    with pytest.raises(FileExistsError):
        fs.makedirs("a/b/c", exist_ok=True)
    fs.cp_file("a/b/c", "a/d")
    with pytest.raises(FileExistsError):
        fs.cp_file("a/b/c", "a/d")
    fs.copy("a", "copy", recursive=True)
    assert set(rig.content()) == {"/a/b/c", "/a/d", "/copy/b/c", "/copy/d"}
    fs.mv("a", "moved")
    with pytest.raises(FileExistsError):
        fs.mv("copy/d", "moved/d")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("moved")
    with pytest.raises(IsADirectoryError):
        fs.rm("moved")
    with pytest.raises(FileNotFoundError):
        fs.rm_file("gone")
    fs.rm(["moved/d", "copy/d"])
    fs.rm("copy", recursive=True)
    with pytest.raises(ValueError, match="root"):
        fs.rm("", recursive=True)
    assert set(rig.content()) == {"/moved/b/c"}
    fs.rm_file("moved/b/c")
    fs.rmdir("moved/b")
    assert fs.ls("moved") == []


def test_one_instance_serves_many_threads(rig: Rig, fs: DropboxBackend) -> None:
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                data = noise(20_000, number * 100 + turn)
                fs.pipe_file(f"{number}/{turn}", data)
                assert fs.cat_file(f"{number}/{turn}") == data
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rig.content()) == 40
    assert rig.emulator.connections <= 16


def test_paths_that_leave_the_root(fs: DropboxBackend) -> None:
    for path in ("../a", "a/../b"):
        with pytest.raises(Permanent):
            fs.cat_file(path)
