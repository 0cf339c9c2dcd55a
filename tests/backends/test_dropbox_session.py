"""Signing in to Dropbox, renewing the sign-in, and the way there: proxies, certificates, slow lines."""

import json
import pickle
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from photosync.backends import dropbox_auth
from photosync.backends.dropbox import DropboxBackend
from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_store import DropboxStore
from photosync.engine.errors import Fatal, NotSignedIn, Permanent, PhotosyncError, Transient
from tests.backends.dropbox_rig import Rig, blob, noise, rigged, stored
from tests.servers.faults import Fault
from tests.servers.tls_proxy import TlsProxy

REMEDY = "photosync connect NAME --type dropbox"


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


@contextmanager
def answering(monkeypatch: pytest.MonkeyPatch, reply: bytes) -> Iterator[None]:
    """A server in the place of Dropbox's that answers anything with ``reply``."""

    def answer(tls: ssl.SSLSocket, host: str) -> None:
        tls.recv(65536)
        tls.sendall(reply)

    with TlsProxy({"api.dropboxapi.com": answer}) as proxy:
        for name, value in proxy.env().items():
            monkeypatch.setenv(name, value)
        yield


# Tokens


@pytest.mark.parametrize("known", [True, False], ids=["known to be", "found to be"])
@pytest.mark.row(41)
def test_an_expired_token_is_renewed_once_by_many_threads(rig: Rig, known: bool) -> None:
    rig.emulator.put("/Photos/a", b"1")
    told: list[dict[str, Any]] = []
    fs = rig.sign_in(on_token=told.append, **({"expires_at": time.time()} if known else {}))
    store = fs.store("Photos")
    rig.emulator.auth.expire()
    # All requests are on their way with the old token before the first refusal is there.
    rig.emulator.faults.append(Fault("files/get_metadata", count=8, latency=0.3))
    errors: list[BaseException] = []

    def look() -> None:
        try:
            store.stat("a")
        except PhotosyncError as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(8)]
    with rig.counting() as counted:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert counted["oauth2/token"] == 1
    assert counted["files/get_metadata"] == (8 if known else 16)
    (token,) = told
    assert set(token) == {"access_token", "refresh_token", "app_key", "app_secret", "expires_at"}
    assert token["expires_at"] == pytest.approx(time.time() + 4 * 3600, abs=60)
    assert DropboxBackend(**token).exists("Photos/a")
    with rig.counting() as counted:
        store.stat("a")
    assert dict(counted) == {"files/get_metadata": 1}


def test_a_token_is_renewed_again_when_it_expires_again(rig: Rig) -> None:
    rig.emulator.put("/a", b"1")
    store = rig.store("")
    for _ in range(3):
        assert store.stat("a").size == 1
        rig.emulator.auth.expire()
    assert store.stat("a").size == 1
    assert store.requests["oauth2/token"] == 3


def test_a_refresh_token_alone_is_enough(rig: Rig) -> None:
    fs = rig.sign_in(access_token=None, expires_at=None)
    assert fs.exists("a") is False


def revoked(rig: Rig) -> DropboxBackend:
    rig.emulator.auth.revoke()
    return rig.fs


def expired_for_good(rig: Rig) -> DropboxBackend:
    rig.emulator.auth.expire()
    return rig.sign_in(refresh_token=None, access_token=rig.fs._account._token["access_token"])


def wrong_refresh_token(rig: Rig) -> DropboxBackend:
    return rig.sign_in(refresh_token="wrong", access_token=None)


def nothing(rig: Rig) -> DropboxBackend:
    return DropboxBackend()


def no_app(rig: Rig) -> DropboxBackend:
    return rig.sign_in(app_key=None)


@pytest.mark.parametrize("case", [revoked, expired_for_good, wrong_refresh_token, nothing, no_app])
def test_a_sign_in_that_is_not_valid_says_how_to_sign_in(rig: Rig, case: Any) -> None:
    fs = case(rig)
    with pytest.raises(NotSignedIn, match=re.escape(REMEDY)) as caught:
        fs.store("").stat("a")
    for secret in ("sl.", "refresh-"):
        assert secret not in str(caught.value)


def test_an_app_that_dropbox_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    with rigged(monkeypatch, app_keys=frozenset({"ours"})) as rig:
        with pytest.raises(NotSignedIn):
            rig.sign_in(access_token=None).exists("a")
        assert rig.sign_in(access_token=None, app_key="ours").exists("a") is False


def test_trouble_while_renewing_is_transient(rig: Rig) -> None:
    fs = rig.sign_in(access_token=None)
    rig.emulator.faults.append(Fault("oauth2/token", status=503))
    with pytest.raises(Transient):
        fs.exists("a")
    assert fs.exists("a") is False


def test_a_namespace_that_is_not_ours(rig: Rig) -> None:
    assert rig.sign_in(root_namespace="1").exists("a") is False
    with pytest.raises(Fatal, match="root_namespace"):
        rig.sign_in(root_namespace="2").exists("a")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({".tag": "missing_scope", "required_scope": "files.metadata.read"}, r"files\.metadata\.read"),
        ({".tag": "user_suspended"}, "suspended"),
        ({".tag": "other"}, "refused"),
        ({".tag": "something_new"}, "refused"),
    ],
    ids=lambda value: value[".tag"] if isinstance(value, dict) else "",
)
def test_a_refusal_says_why(monkeypatch: pytest.MonkeyPatch, error: dict[str, str], words: str) -> None:
    body = json.dumps({"error_summary": "", "error": error}).encode()
    head = f"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with answering(monkeypatch, head.encode() + body), pytest.raises(NotSignedIn, match=words):
        DropboxStore(Account({"access_token": "secret"}), "").stat("a")


# Secrets


def secrets_of(fs: DropboxBackend) -> list[str]:
    return [str(fs._account._token[name]) for name in ("access_token", "refresh_token")]


def test_no_secret_leaves_the_instance(rig: Rig) -> None:
    fs = rig.sign_in(app_secret="app-secret", root_namespace="1", on_token=print)
    shown = [
        repr(fs),
        str(fs),
        fs.to_json(),
        json.dumps(fs.to_dict()),
        str(fs.storage_options),
        str(vars(fs)),
    ]
    shown.append(pickle.dumps(fs).decode("latin-1"))
    for secret in [*secrets_of(fs), "app-secret"]:
        assert not [text for text in shown if secret in text]
    assert fs.storage_options == {"app_key": "app", "root_namespace": "1"}


def test_a_copy_signs_in_by_the_configuration_of_its_process(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.config import conf

    copy = pickle.loads(pickle.dumps(rig.fs))
    with pytest.raises(NotSignedIn):
        copy.exists("a")
    monkeypatch.setitem(conf, "psdropbox", {"refresh_token": secrets_of(rig.fs)[1]})
    copy = pickle.loads(pickle.dumps(rig.fs))
    assert copy.exists("a") is False
    assert "refresh" not in copy.to_json()
    assert DropboxBackend.from_json(rig.fs.to_json()).exists("a") is False


@pytest.mark.row(87)
def test_errors_and_their_causes_hold_no_secret(rig: Rig) -> None:
    import traceback

    def trouble() -> Iterator[PhotosyncError]:
        for fault in (Fault(status=503), Fault(reset="before"), Fault(status=400), Fault(status=429)):
            rig.emulator.faults.append(fault)
            with pytest.raises(PhotosyncError) as caught:
                rig.store("").list_folder("")
            yield caught.value

    for error in trouble():
        text = "".join(traceback.format_exception(error))
        assert not [secret for secret in secrets_of(rig.fs) if secret in text]


# Signing in


def agree(rig: Rig, url: str) -> str:
    """The code that the person is shown."""
    context = ssl.create_default_context(cafile=str(rig.emulator.ca_file))
    proxy = urllib.request.ProxyHandler({"https": f"http://127.0.0.1:{rig.emulator.proxy.port}"})
    opener = urllib.request.build_opener(proxy, urllib.request.HTTPSHandler(context=context))
    with opener.open(url) as page:
        found = re.search(r'value="([^"]+)"', page.read().decode())
    assert found
    return found[1]


def test_signing_in_and_out(rig: Rig) -> None:
    request = dropbox_auth.begin("app")
    assert "code_challenge=" in request.url
    assert "token_access_type=offline" in request.url
    token = request.finish({"code": f" {agree(rig, request.url)}\n"})
    assert token["app_key"] == "app"
    json.dumps(token)
    fs = DropboxBackend(**{name: token[name] for name in ("refresh_token", "app_key")})
    assert fs.exists("a") is False
    dropbox_auth.revoke(token)
    with pytest.raises(NotSignedIn):
        DropboxBackend(refresh_token=token["refresh_token"], app_key="app").exists("a")
    dropbox_auth.revoke(token)


def test_a_code_that_is_wrong(rig: Rig) -> None:
    request = dropbox_auth.begin("app")
    agree(rig, request.url)
    with pytest.raises(NotSignedIn, match="Start the sign-in again"):
        request.finish({"code": "wrong"})
    rig.emulator.faults.append(Fault("oauth2/token", status=503))
    with pytest.raises(Transient):
        request.finish({"code": "wrong"})


# The way there


def test_only_the_environment_leads_through_the_proxy(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE")
    assert rig.sign_in().exists("a") is False
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(rig.emulator.ca_file))
    monkeypatch.delenv("SSL_CERT_FILE")
    assert rig.sign_in().exists("a") is False
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(Fatal, match="SSL_CERT_FILE"):
        rig.sign_in().store("").list_folder("")


def test_a_netrc_does_not_replace_the_token(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert rig.sign_in().exists("a") is False


def test_connections_are_kept(rig: Rig) -> None:
    store = rig.store("")
    for _ in range(10):
        store.list_folder("")
    assert rig.emulator.connections == 1


@pytest.mark.row(52)
def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def redirect(tls: ssl.SSLSocket, host: str) -> None:
        seen.append(host)
        tls.recv(65536)
        tls.sendall(
            b"HTTP/1.1 307 Moved\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n"
            b"Connection: close\r\n\r\n"
        )

    with TlsProxy(dict.fromkeys(("api.dropboxapi.com", "elsewhere.test"), redirect)) as proxy:
        for name, value in proxy.env().items():
            monkeypatch.setenv(name, value)
        with pytest.raises(Permanent, match="redirect"):
            DropboxStore(Account({"access_token": "secret"}), "").stat("a")
    assert seen == ["api.dropboxapi.com"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", Transient),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{", Transient),
        (b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", Permanent),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", Transient),
        (b"HTTP/1.1 401 No\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", Transient),
        (b"nonsense\r\n\r\n", Transient),
        (b"", Transient),
    ],
    ids=["html", "no json", "403", "429", "401", "no http", "nothing"],
)
def test_what_is_no_reply_of_dropbox(
    monkeypatch: pytest.MonkeyPatch, reply: bytes, error: type[Exception]
) -> None:
    with answering(monkeypatch, reply), pytest.raises(error):
        DropboxStore(Account({"access_token": "secret"}), "").stat("a")


def test_a_slow_line_does_not_time_out_while_it_moves(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from photosync.backends import dropbox_sdk

    monkeypatch.setattr(dropbox_sdk, "TIMEOUT", (0.5, 100.0))
    rig.emulator.faults.append(Fault("files/upload_session/start", bandwidth=6 << 20))
    data = noise(8 << 20)
    stored(rig.sign_in().store("Photos").put([blob("a", data)]))
    assert rig.content() == {"/Photos/a": data}


def test_a_server_that_says_nothing_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from photosync.backends import dropbox_sdk

    monkeypatch.setattr(dropbox_sdk, "TIMEOUT", (1.0, 0.2))
    rig.emulator.faults.append(Fault("files/get_metadata", latency=1.0))
    with pytest.raises(Transient):
        rig.sign_in().store("").stat("a")


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(Transient):
        DropboxStore(Account({"access_token": "secret"}), "").stat("a")
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://user:hidden@127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "nonsense://user:hidden@127.0.0.1:9")
    with pytest.raises(PhotosyncError) as caught:
        DropboxStore(Account({"access_token": "secret"}), "").stat("a")
    assert "hidden" not in str(caught.value)
