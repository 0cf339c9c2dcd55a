"""OAuth and injected faults of the emulator, by the official SDK and bare requests."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import dropbox
import pytest
import requests
from dropbox.content_hash import content_hash
from dropbox.exceptions import ApiError, AuthError, InternalServerError, RateLimitError
from dropbox.files import CommitInfo, UploadSessionCursor, UploadSessionFinishArg

from .dropbox_emulator import DropboxEmulator
from .dropbox_sdk import failure, listed, sdk_client
from .faults import Fault, Faults

GONE = requests.exceptions.ConnectionError


def signed_in(emulator: DropboxEmulator, **flow_options: object) -> dropbox.oauth.OAuth2FlowNoRedirectResult:
    flow = dropbox.DropboxOAuth2FlowNoRedirect("app", ca_certs=str(emulator.ca_file), **flow_options)
    page = requests.get(flow.start(), timeout=5)
    return flow.finish(page.text.split('value="')[1].split('"')[0])


def test_sign_in_with_pkce_then_refresh(emulator: DropboxEmulator) -> None:
    result = signed_in(emulator, use_pkce=True, token_access_type="offline")
    client = sdk_client(emulator, oauth2_refresh_token=result.refresh_token, app_key="app")
    assert client.users_get_current_account().name.display_name
    emulator.auth.expire()
    assert client.users_get_space_usage().used == 0
    assert emulator.requests["oauth2/token"] == 3


def test_online_tokens_end_after_four_hours(emulator: DropboxEmulator) -> None:
    result = signed_in(emulator, consumer_secret="secret", token_access_type="online")
    assert not result.refresh_token
    client = sdk_client(emulator, oauth2_access_token=result.access_token)
    client.users_get_current_account()
    emulator.advance(4 * 3600)
    with pytest.raises(AuthError) as caught:
        client.users_get_current_account()
    assert caught.value.error.is_expired_access_token()


def test_authorize_redirects_with_the_state(emulator: DropboxEmulator) -> None:
    query = "client_id=app&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%3A53682%2F&state=s1"
    url = f"https://www.dropbox.com/oauth2/authorize?{query}"
    answer = requests.get(url, timeout=5, allow_redirects=False)
    target = urlsplit(answer.headers["Location"])
    assert (answer.status_code, target.netloc) == (302, "localhost:53682")
    assert parse_qs(target.query)["state"] == ["s1"]
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(target.query)["code"][0],
        "redirect_uri": "http://localhost:53682/",
    }
    for status in (200, 400):  # a code works once
        answer = requests.post(
            "https://api.dropboxapi.com/oauth2/token", data=form, auth=("app", "secret"), timeout=5
        )
        assert answer.status_code == status


@pytest.mark.parametrize("verifier", [None, "wrong"])
def test_pkce_is_checked(emulator: DropboxEmulator, verifier: str | None) -> None:
    flow = dropbox.DropboxOAuth2FlowNoRedirect("app", use_pkce=True, ca_certs=str(emulator.ca_file))
    code = requests.get(flow.start(), timeout=5).text.split('value="')[1].split('"')[0]
    form = {"grant_type": "authorization_code", "code": code, "client_id": "app", "code_verifier": verifier}
    answer = requests.post("https://api.dropboxapi.com/oauth2/token", data=form, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_only_known_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    with DropboxEmulator(app_keys=frozenset({"app"})) as emulator:
        form = {"grant_type": "refresh_token", "refresh_token": emulator.token()["refresh_token"]}
        for app, status in (("app", 200), ("other", 400)):
            answer = requests.post(
                "https://api.dropboxapi.com/oauth2/token",
                data=form | {"client_id": app},
                proxies={"https": emulator.env()["HTTPS_PROXY"]},
                verify=str(emulator.ca_file),
                timeout=5,
            )
            assert answer.status_code == status


def test_revoked_and_made_up_tokens(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    token = emulator.token()
    other = sdk_client(emulator, oauth2_access_token=token["access_token"])
    other.auth_token_revoke()
    made_up = sdk_client(emulator, oauth2_access_token="made-up")
    for refused in (other, made_up):
        with pytest.raises(AuthError) as caught:
            refused.users_get_current_account()
        assert caught.value.error.is_invalid_access_token()
    refreshing = sdk_client(emulator, oauth2_refresh_token=token["refresh_token"], app_key="app")
    with pytest.raises(AuthError):
        refreshing.users_get_current_account()
    client.users_get_current_account()


def test_expired_token_fault(emulator: DropboxEmulator) -> None:
    token = emulator.token()
    client = sdk_client(
        emulator,
        oauth2_access_token=token["access_token"],
        oauth2_access_token_expiration=datetime(2100, 1, 1),
        oauth2_refresh_token=token["refresh_token"],
        app_key="app",
    )
    emulator.faults.append(Fault("files/upload", expire_token=True))
    assert client.files_upload(b"x", "/f").size == 1
    assert (emulator.requests["files/upload"], emulator.requests["oauth2/token"]) == (2, 1)


def test_rate_limits(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.faults += [
        Fault("files/get_metadata", status=429, retry_after=7),
        Fault("files/get_metadata", nth=2, status=429, reason="too_many_write_operations", retry_after=3),
        Fault("files/get_metadata", nth=3, status=429),
    ]
    client.files_upload(b"", "/f")
    waits = []
    for _ in range(3):
        with pytest.raises(RateLimitError) as caught:
            client.files_get_metadata("/f")
        waits.append((caught.value.backoff, getattr(caught.value.error, "reason", None)))
    assert [wait for wait, _ in waits] == [7, 3, None]
    assert waits[0][1].is_too_many_requests()
    assert waits[1][1].is_too_many_write_operations()
    assert client.files_get_metadata("/f").name == "f"


def test_server_errors_happen_before_the_work(emulator: DropboxEmulator) -> None:
    client = sdk_client(emulator, max_retries_on_error=0)
    emulator.faults.append(Fault("files/upload", status=503))
    data = bytes(5_000_000)  # more than the sockets' buffers hold, so that an early reply would be lost
    with pytest.raises(InternalServerError):
        client.files_upload(data, "/f")
    assert emulator.files() == {}
    client.files_upload(data, "/f")
    assert emulator.connections == 1


@pytest.mark.parametrize(("moment", "stored"), [("before", False), ("body", False), ("reply", True)])
def test_resets(emulator: DropboxEmulator, client: dropbox.Dropbox, moment: str, stored: bool) -> None:
    emulator.faults.append(Fault("files/upload", reset=moment))
    with pytest.raises(GONE):
        client.files_upload(bytes(3_000_000), "/f")
    assert ("/f" in emulator.files()) is stored
    client.files_upload(bytes(3_000_000), "/f")
    assert emulator.requests["files/upload"] == 2


def test_lost_reply_of_a_batch(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.faults.append(Fault("files/upload_session/finish_batch_v2", reset="reply"))
    session_id = client.files_upload_session_start(b"x", close=True).session_id
    entry = UploadSessionFinishArg(UploadSessionCursor(session_id, 1), CommitInfo("/f"))
    with pytest.raises(GONE):
        client.files_upload_session_finish_batch_v2([entry])
    [again] = client.files_upload_session_finish_batch_v2([entry]).entries
    assert again.get_failure().get_lookup_failed().is_closed()
    assert client.files_get_metadata("/f").size == 1


def test_damaged_downloads(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    data = bytes(1_000_000)
    emulator.put("/f", data)
    emulator.faults.append(Fault("files/download", corrupt=600_000))
    spoilt = client.files_download("/f")[1].content
    assert [index for index, byte in enumerate(spoilt) if byte] == [600_000]

    emulator.faults[:] = [Fault("files/download", truncate=700_000)]
    _, response = client.files_download("/f")
    assert len(response.raw.read(800_000)) == 700_000
    emulator.faults[:] = [Fault("files/download", reset="body")]
    _, response = client.files_download("/f")
    with pytest.raises((GONE, requests.exceptions.ChunkedEncodingError)):
        _ = response.content
    assert client.files_download("/f")[1].content == data


def test_damaged_upload(emulator: DropboxEmulator) -> None:
    client = sdk_client(emulator, auto_content_hash=False)
    emulator.faults.append(Fault("files/upload", count=2, corrupt=3))
    assert failure(client.files_upload, b"photo", "/f", content_hash=content_hash(b"photo")) == (
        "content_hash_mismatch"
    )
    client.files_upload(b"photo", "/f")
    assert emulator.files()["/f"].read() == b"phouo"


def test_latency_and_bandwidth(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    client.users_get_current_account()
    emulator.faults.append(Fault("files/*", latency=0.2, bandwidth=1_000_000))
    answers = requests.Session()
    answer = answers.post(
        "https://content.dropboxapi.com/2/files/upload",
        data=bytes(200_000),
        headers={
            "Authorization": f"Bearer {emulator.token()['access_token']}",
            "Content-Type": "application/octet-stream",
            "Dropbox-API-Arg": '{"path": "/f"}',
        },
        timeout=5,
    )
    assert answer.ok
    assert 0.4 <= answer.elapsed.total_seconds() < 2


def test_stale_listing(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.put("/a", b"")
    emulator.put("/b", b"")
    emulator.faults.append(Fault("files/list_folder", stale=1))
    told, cursor = listed(client)
    assert told == ["/a"]
    assert [entry.name for entry in client.files_list_folder_continue(cursor).entries] == ["b"]
    assert listed(client)[0] == ["/a", "/b"]


def test_cursor_reset(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    _, cursor = listed(client)
    emulator.faults.append(Fault("files/list_folder/continue", error={".tag": "reset"}))
    with pytest.raises(ApiError) as caught:
        client.files_list_folder_continue(cursor)
    assert caught.value.error.is_reset()


def test_contention(emulator: DropboxEmulator, client: dropbox.Dropbox) -> None:
    emulator.api.write_seconds = 0.05
    barrier = threading.Barrier(4)

    def upload(number: int) -> str:
        barrier.wait()
        try:
            return client.files_upload(b"", f"/{number}").name
        except RateLimitError as error:
            return error.error.reason._tag

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(upload, range(4))) == {"0", "1", "2", "3"}
        assert emulator.peak > 1
        emulator.api.contention = True
        outcomes = list(pool.map(upload, range(4, 8)))
    assert outcomes.count("too_many_write_operations") == 8 - len(emulator.files()) > 0


def test_faults_by_number_and_chance() -> None:
    assert [bool(Faults([Fault("a/*", nth=2)]).hitting("a/b"))] == [False]
    faults = Faults([Fault("a/*", nth=2, count=2)])
    assert [len(faults.hitting(route)) for route in ("a/b", "c", "a/b", "a/c", "a/b")] == [0, 0, 1, 1, 0]

    def draws(seed: int) -> list[int]:
        chance = Faults([Fault(probability=0.3, count=None)], seed)
        return [len(chance.hitting("x")) for _ in range(200)]

    assert draws(1) == draws(1) != draws(2)
    assert 40 < sum(draws(1)) < 80
