"""What people meet with real servers: wrong passwords, shares that are not there, places that refuse."""

import contextlib
import ftplib
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from photosync.backends.anyfs import AnyStore
from photosync.backends.anyfs_errors import understood
from photosync.config import Config, Ftp, Remote, Sftp, Smb, Webdav
from photosync.engine.capabilities import Store
from photosync.engine.errors import (
    DestinationFull,
    Fatal,
    NotSignedIn,
    Permanent,
    PhotosyncError,
    ReadOnly,
    Transient,
)
from photosync.places import open_place, parse
from photosync.testing.helpers import attempt, blob, content, files, put, read
from tests.servers import ftpd, smbd, webdav
from tests.servers.ftpd import Ftpd
from tests.servers.smbd import Smbd
from tests.servers.sshd import Sshd
from tests.servers.webdav import Dav


class Keys:
    """One password for every remote."""

    def __init__(self, password: str) -> None:
        self.password = password

    def get(self, remote: str) -> Any:
        return {"password": self.password}

    def rotate(self, remote: str, new: Mapping[str, Any]) -> None: ...

    def redact(self, text: str) -> str:
        return text.replace(self.password, "***")


def place(remote: Remote, path: str, password: str) -> Store:
    """A place as the command line opens it."""
    return open_place(parse(f"nas:{path}", Config(remotes={"nas": remote})), Keys(password)).store


def smb(server: Smbd) -> Smb:
    return Smb(host="127.0.0.1", port=server.port, user=server.user)


def used(store: Store) -> None:
    """The first request, which may be what signs in."""
    with contextlib.closing(store), contextlib.suppress(FileNotFoundError):
        store.list_folder("")


@pytest.fixture
def own_smbd(tmp_path: Path) -> Iterator[Smbd]:
    """A server that this process has no session with."""
    if why := smbd.why_not():
        pytest.skip(why)
    with smbd.smbd(tmp_path) as server:
        yield server


def test_a_wrong_password(own_smbd: Smbd, wsgidav_server: Dav, ftp_server: Ftpd) -> None:
    remotes: list[Remote] = [
        smb(own_smbd),
        Webdav(url=wsgidav_server.url, user=webdav.USER),
        Ftp(host="127.0.0.1", port=ftp_server.port, user=ftpd.USER),
    ]
    for remote in remotes:
        with pytest.raises(NotSignedIn) as found:
            used(place(remote, "photos", "pa55-that-is-wrong"))
        assert "pa55" not in str(found.value)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    for remote in (
        Smb(host="127.0.0.1", port=1, user="u"),
        Webdav(url="http://127.0.0.1:1", user="u"),
        Ftp(host="127.0.0.1", port=1, user="u"),
    ):
        with pytest.raises(Transient):
            used(place(remote, "photos", "x"))


def test_another_host_key_than_before(sftp_server: Sshd, tmp_path: Path) -> None:
    """Somebody else answers in the server's place."""
    known = tmp_path / "known_hosts"
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    kind, key = other.with_suffix(".pub").read_text().split()[:2]
    known.write_text(f"[127.0.0.1]:{sftp_server.port} {kind} {key}\n")
    remote = Sftp(
        host="127.0.0.1",
        port=sftp_server.port,
        user=sftp_server.user,
        key_file=str(sftp_server.key),
        known_hosts=str(known),
    )
    with pytest.raises(Fatal, match="another host key than before"):
        place(remote, str(tmp_path), "x")


def test_a_share_that_is_not_there(smb_server: Smbd) -> None:
    with contextlib.closing(place(smb(smb_server), "holidays", smbd.PASSWORD)) as store:
        for call in (lambda: store.list_folder(""), lambda: put(store, "a.jpg")):
            with pytest.raises(Fatal, match="no share of that name"):
                call()


def test_places_that_may_not_be_written(smb_server: Smbd, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (smb_server.share / "a.jpg").write_bytes(b"photo")
    with contextlib.ExitStack() as stack:
        dav = stack.enter_context(webdav.wsgidav(tmp_path, read_only=True))
        ftp = stack.enter_context(ftpd.ftpd(tmp_path, read_only=True))
        for remote, path, password in (
            (smb(smb_server), "readonly", smbd.PASSWORD),
            (Webdav(url=dav.url, user=webdav.USER), "", webdav.PASSWORD),
            (Ftp(host="127.0.0.1", port=ftp.port, user=ftpd.USER), "/", ftpd.PASSWORD),
        ):
            with contextlib.closing(place(remote, path, password)) as store:
                assert read(store, "a.jpg") == b"photo"
                refused = attempt(store, blob(store, "b.jpg", b"x"))
                assert isinstance(refused, ReadOnly), (remote, refused)
                with pytest.raises(ReadOnly):
                    store.start_upload("c.mp4", 100 << 20, None)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk with no room for a photo of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_share_that_is_full(full: Path, tmp_path: Path) -> None:
    if why := smbd.why_not():
        pytest.skip(why)
    (tmp_path / "smbd").mkdir()
    with smbd.smbd(tmp_path / "smbd") as server, contextlib.ExitStack() as stack:
        subprocess.run(["mount", "--bind", full, server.share], check=True)
        stack.callback(subprocess.run, ["umount", "--lazy", server.share], check=True)
        with contextlib.closing(place(smb(server), "photos", smbd.PASSWORD)) as store:
            found = attempt(store, blob(store, "b.jpg", bytes(2 << 20)))
            assert isinstance(found, DestinationFull), found
            assert files(store) == {}


class HTTPError(Exception):
    """As webdav4 and smbprotocol raise them, without a server that can be brought to answer so."""

    def __init__(self, status_code: int, **headers: str) -> None:
        super().__init__(f"received {status_code}")
        self.status_code = status_code
        self.response = SimpleNamespace(headers={name.replace("_", "-"): v for name, v in headers.items()})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HTTPError(507), DestinationFull),
        (ftplib.error_temp("452 Insufficient storage space"), DestinationFull),
        (ftplib.error_perm("552 Quota exceeded"), DestinationFull),
        (ftplib.error_perm("550 No space left on device"), DestinationFull),
        (ftplib.error_perm("550 Not a plain file"), Permanent),
        (ftplib.error_temp("421 Too many connections"), Transient),
        (HTTPError(401), NotSignedIn),
        (HTTPError(404), Permanent),
        (HTTPError(423), Transient),
        (HTTPError(503), Transient),
    ],
)
def test_what_servers_say_in_numbers(error: Exception, kind: type[PhotosyncError]) -> None:
    found = understood(error, "storing a.jpg")
    assert type(found) is kind
    assert found.__cause__ is error


def test_how_long_a_server_asks_to_wait() -> None:
    found = understood(HTTPError(503, retry_after="17"), "storing a.jpg")
    assert isinstance(found, Transient)
    assert found.retry_after == 17.0


def test_smb_connects_anew_after_a_loss(smb_server: Smbd) -> None:
    from smbclient import _pool

    with contextlib.closing(place(smb(smb_server), "photos/lost", smbd.PASSWORD)) as store:
        put(store, "a.jpg")
        connection = _pool._SMB_CONNECTIONS[f"127.0.0.1:{smb_server.port}"]
        connection.transport._sock.shutdown(2)
        connection._t_worker.join(10)
        with pytest.raises(Transient):
            store.stat("a.jpg")
        assert content(store) == {"a.jpg": b"photo"}


def test_smb_has_credit_for_many_at_once(own_smbd: Smbd) -> None:
    with contextlib.closing(place(smb(own_smbd), "photos/many", smbd.PASSWORD)) as store:
        put(store, "first.jpg")
        problems: list[Exception] = []

        def work(number: int) -> None:
            for again in range(3):
                found = attempt(store, blob(store, f"{number}-{again}.jpg", bytes(4 << 20)))
                if isinstance(found, Exception):
                    problems.append(found)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        assert problems == []


def test_smb_tells_its_space(smb_server: Smbd) -> None:
    with contextlib.closing(place(smb(smb_server), "photos", smbd.PASSWORD)) as store:
        usage = store.about()
    assert usage.total is not None
    assert usage.free is not None
    assert 0 < usage.free <= usage.total


def test_smb_files_may_be_read_by_several(smb_server: Smbd) -> None:
    with contextlib.closing(place(smb(smb_server), "photos/shared", smbd.PASSWORD)) as store:
        put(store, "a.jpg", b"photo")
        readers = [store.open("a.jpg"), store.open("a.jpg")]
        assert [reader.read(10) for reader in readers] == [b"photo", b"photo"]
        for reader in readers:
            reader.close()


@pytest.mark.parametrize("server", ["wsgidav_server", "rclone_server"])
def test_webdav_renames_replace_nothing(server: str, request: pytest.FixtureRequest) -> None:
    """The server itself refuses, whatever the look before the rename saw."""
    dav: Dav = request.getfixturevalue(server)
    fs = fsspec.filesystem("webdav", **dav.options(), skip_instance_cache=True)
    store = AnyStore(fs, "renames")
    put(store, "a.jpg", b"one")
    put(store, "b.jpg", b"two")
    assert store._facts.rename is not None
    with pytest.raises(FileExistsError):
        store._facts.rename(fs, "renames/a.jpg", "renames/b.jpg")
    assert content(store) == {"a.jpg": b"one", "b.jpg": b"two"}


def test_smb_renames_replace_nothing(smb_server: Smbd) -> None:
    fs = fsspec.filesystem("smb", **smb_server.options())
    store = AnyStore(fs, "/photos/renames")
    put(store, "a.jpg", b"one")
    put(store, "b.jpg", b"two")
    with pytest.raises(OSError, match="exists"):
        fs.mv("/photos/renames/a.jpg", "/photos/renames/b.jpg")
    assert content(store) == {"a.jpg": b"one", "b.jpg": b"two"}


def test_webdav_uploads_that_are_aborted_send_nothing(wsgidav_server: Dav) -> None:
    fs = fsspec.filesystem("webdav", **wsgidav_server.options(), skip_instance_cache=True)
    store = AnyStore(fs, "aborted")
    upload = store.start_upload("a.mp4", 9 << 20, None)
    upload.send_part(0, bytes(8 << 20), "")
    seen: list[str] = []
    real = fs.client.upload_fileobj
    fs.client.upload_fileobj = lambda *args, **options: (seen.append("sent"), real(*args, **options))
    upload.abort()
    assert seen == []


def test_ftp_gives_each_thread_a_connection(ftp_server: Ftpd) -> None:
    remote = Ftp(host="127.0.0.1", port=ftp_server.port, user=ftpd.USER)
    with contextlib.closing(place(remote, "/threads", ftpd.PASSWORD)) as store:
        for number in range(4):
            put(store, f"{number}.jpg", b"%d" % number * 100_000)
        problems: list[object] = []

        def work(number: int) -> None:
            try:
                for _ in range(3):
                    assert read(store, f"{number}.jpg") == b"%d" % number * 100_000
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert problems == []


def test_ftp_large_files_are_read_while_others_are_asked_for(ftp_server: Ftpd) -> None:
    """A transfer keeps its connection busy, so it has one of its own."""
    remote = Ftp(host="127.0.0.1", port=ftp_server.port, user=ftpd.USER)
    data = bytes(range(256)) * 40_000
    (ftp_server.folder / "large").mkdir()
    (ftp_server.folder / "large/a.mp4").write_bytes(data)
    with contextlib.closing(place(remote, "/large", ftpd.PASSWORD)) as store:
        reader = store.open("a.mp4", 1000)
        first = reader.read(100)
        assert store.stat("a.mp4").size == len(data)
        rest = b"".join(iter(lambda: reader.read(1 << 20), b""))
        assert first + rest == data[1000:]
        reader.close()
        broken_off = store.open("a.mp4")
        broken_off.read(10)
        broken_off.close()
        assert read(store, "a.mp4") == data


def test_ftp_errors_do_not_mean_that_a_file_is_missing(ftp_server: Ftpd) -> None:
    """fsspec's own says so of every error."""
    fs = fsspec.filesystem("ftp", **ftp_server.options())
    store = AnyStore(fs, "/errors")
    store.replace_small(".photosync/HEAD", b"one", None)
    fs.ftp.sock.shutdown(2)
    with pytest.raises(PhotosyncError):
        store.read_small(".photosync/HEAD", 100)


def test_an_archive_is_a_source(tmp_path: Path) -> None:
    """A Google Takeout, say."""
    with zipfile.ZipFile(tmp_path / "takeout.zip", "w") as archive:
        archive.writestr("Takeout/Google Photos/2024/a.jpg", b"photo")
        archive.writestr("Takeout/Google Photos/2024/b.jpg", b"x" * 100_000)
    spec = parse(f"zip::file://{tmp_path}/takeout.zip", Config())
    store = open_place(spec, Keys("x")).store
    assert not store.capabilities.writable
    assert content(store) == {
        "Takeout/Google Photos/2024/a.jpg": b"photo",
        "Takeout/Google Photos/2024/b.jpg": b"x" * 100_000,
    }
