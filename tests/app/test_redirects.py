"""No service can send photosync, or what it holds, to another host."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from photosync.backends import drive_auth, dropbox_auth
from photosync.backends.drive_client import Account as Google
from photosync.backends.dropbox_client import Account as Dropbox
from photosync.config import S3, Config, Remote, Webdav
from photosync.engine.capabilities import Blob, Store
from photosync.engine.errors import PhotosyncError
from photosync.engine.hashing import fingerprint
from photosync.places import open_place, parse
from photosync.secrets import Secrets
from tests.servers.tls_proxy import TlsProxy

SECRET = "sEcReT-0b5e55ed"
MOVED = (301, 302, 307, 308)


@contextmanager
def server(status: int, location: str) -> Iterator[tuple[str, list[str]]]:
    """Answers everything alike; gives its address, and what it was asked, with headers and body."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(f"{self.command} {self.path}\n{self.headers}\n{body!r}")
            self.send_response(status)
            if location:
                self.send_header("Location", location + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PROPFIND = do_MKCOL = do_OPTIONS = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}", asked
        finally:
            listening.shutdown()
            thread.join()


def everything(store: Store) -> None:
    """Each kind of request that a run makes; all of them fail."""
    data = b"photo" * 30
    blob = Blob("a.jpg", data, None, fingerprint(data, ["sha256", "md5"]).digests)
    for ask in (
        lambda: store.list_folder(""),
        lambda: store.stat("a.jpg"),
        lambda: store.open("a.jpg").read(1),
        lambda: store.read_small("a.jpg", 100),
        lambda: store.replace_small("b.json", data, None),
        lambda: store.delete("a.jpg"),
    ):
        with pytest.raises((PhotosyncError, OSError)):
            ask()
    with suppress(PhotosyncError):
        assert all(isinstance(result, Exception) for result in store.put([blob]))


@pytest.mark.row(52)
@pytest.mark.parametrize("status", MOVED)
@pytest.mark.parametrize("kind", ["s3", "webdav"])
def test_another_host_hears_nothing(kind: str, status: int, home: Path) -> None:
    with server(200, "") as (elsewhere, heard), server(status, elsewhere) as (url, asked):
        remote: Remote = (
            S3(endpoint=url, root="bucket", region="r") if kind == "s3" else Webdav(url=url, user="u")
        )
        keys = {"access_key_id": "AK", "secret_access_key": SECRET, "session_token": SECRET}
        secrets = Secrets(home / "secrets.json")
        secrets.set("r", keys if kind == "s3" else {"password": SECRET})
        place = open_place(parse("r:x", Config(remotes={"r": remote})), secrets)
        everything(place.store)
        if kind == "webdav":
            with pytest.raises(PhotosyncError, match="another host"):
                place.store.stat("a.jpg")
        place.store.close()
    assert len(asked) >= 5
    assert heard == []


@pytest.mark.row(52)
def test_the_fast_lane_to_s3_follows_nothing(home: Path) -> None:
    """It is another client than the one that the rest goes through."""
    from photosync.backends.s3 import S3Backend
    from photosync.backends.s3_lane import Lane

    with server(200, "") as (elsewhere, heard), server(307, elsewhere) as (url, asked):
        fs = S3Backend(key="AK", secret=SECRET, endpoint_url=url, region_name="r", skip_instance_cache=True)
        lane = Lane(fs.store("bucket")._service.client, "bucket", None)  # type: ignore[attr-defined]
        with pytest.raises(Exception):  # noqa: B017 - whatever its library raises is classified elsewhere
            lane.create("a.jpg", b"photo", {})
    assert asked
    assert heard == []


@pytest.mark.row(52)
@pytest.mark.parametrize("doing", ["dropbox code", "google code", "dropbox renewal", "google renewal"])
def test_sign_ins_are_not_carried_elsewhere(doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes, refresh tokens and clients' secrets go to the service's own address or nowhere."""
    seen: list[str] = []

    def redirect(tls: object, host: str) -> None:
        seen.append(host)
        tls.recv(65536)  # type: ignore[attr-defined]
        tls.sendall(  # type: ignore[attr-defined]
            b"HTTP/1.1 307 Moved\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n"
            b"Connection: close\r\n\r\n"
        )

    token = {"refresh_token": SECRET, "app_key": "k", "client_id": "k", "client_secret": SECRET}
    tries = {
        "dropbox code": lambda: dropbox_auth.begin("key").finish({"code": SECRET}),
        "google code": lambda: drive_auth.begin("id", SECRET, redirect_uri="http://127.0.0.1").finish(
            {"code": SECRET}
        ),
        "dropbox renewal": lambda: list(_used(Dropbox(token))),
        "google renewal": lambda: Google(token).run(lambda api: api.about.get(fields="user"), "looking"),
    }
    hosts = ("api.dropboxapi.com", "oauth2.googleapis.com", "www.googleapis.com", "elsewhere.test")
    with TlsProxy(dict.fromkeys(hosts, redirect)) as proxy:
        for name, value in proxy.env().items():
            monkeypatch.setenv(name, value)
        with pytest.raises(PhotosyncError) as caught:
            tries[doing]()
    assert seen == ["api.dropboxapi.com" if "dropbox" in doing else "oauth2.googleapis.com"]
    assert SECRET not in repr(caught.value)


def _used(account: Dropbox) -> Iterator[object]:
    with account.calling("looking") as sdk:
        yield sdk.users_get_current_account()
