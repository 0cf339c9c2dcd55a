"""Sign-in and injected faults of the Drive emulator, by Google's own libraries and bare requests."""

import hashlib
import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials
from google_auth_oauthlib.flow import InstalledAppFlow

from .drive_emulator import DriveEmulator
from .drive_sdk import API, UPLOAD, Caller, reason_of
from .faults import Fault, Faults

GONE = requests.exceptions.ConnectionError
SCOPE = "https://www.googleapis.com/auth/drive.file"
TOKEN = "https://oauth2.googleapis.com/token"
UNIT = 256 * 1024


def flow() -> InstalledAppFlow:
    installed = {
        "client_id": "app",
        "client_secret": "secret",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": TOKEN,
        "redirect_uris": ["http://localhost"],
    }
    made = InstalledAppFlow.from_client_config(
        {"installed": installed}, [SCOPE], autogenerate_code_verifier=True
    )
    made.redirect_uri = "http://127.0.0.1:9/"
    return made


def consent(url: str) -> dict[str, list[str]]:
    """What the redirect brings, after a person agreed."""
    answer = requests.get(url, timeout=5, allow_redirects=False)
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["Location"]).query)


def signed_in(**options: str) -> Credentials:
    made = flow()
    url, state = made.authorization_url(access_type="offline", **options)
    told = consent(url)
    assert told["state"] == [state]
    made.fetch_token(code=told["code"][0])
    return made.credentials


def test_googles_own_library_signs_in_renews_and_revokes(drive: DriveEmulator) -> None:
    credentials = signed_in()
    assert credentials.refresh_token.startswith("1//")
    assert credentials.granted_scopes == [SCOPE]
    drive.advance(3600)
    assert Caller(drive).call("GET", "files")["files"] == []
    credentials.refresh(Request())
    header = {"Authorization": f"Bearer {credentials.token}"}
    assert requests.get(f"{API}files", headers=header, timeout=5).ok
    for status in (200, 400):
        form = {"token": credentials.refresh_token}
        assert (
            requests.post("https://oauth2.googleapis.com/revoke", data=form, timeout=5).status_code == status
        )
    assert reason_of(requests.get(f"{API}files", headers=header, timeout=5)) == (401, "authError")
    with pytest.raises(RefreshError, match="invalid_grant: Token has been expired or revoked"):
        credentials.refresh(Request())


def test_a_refresh_token_comes_with_the_first_consent_or_a_new_one(drive: DriveEmulator) -> None:
    assert signed_in().refresh_token
    assert not signed_in().refresh_token
    assert signed_in(prompt="consent").refresh_token


def test_a_sign_in_of_an_app_in_testing_ends_after_a_week(drive: DriveEmulator) -> None:
    drive.auth.refresh_seconds = 7 * 24 * 3600
    credentials = signed_in()
    credentials.refresh(Request())
    drive.advance(7 * 24 * 3600)
    with pytest.raises(RefreshError, match="invalid_grant"):
        credentials.refresh(Request())


def test_rotating_refresh_tokens_work_once(drive: DriveEmulator) -> None:
    drive.auth.rotating = True
    old = signed_in()
    first = old.refresh_token
    old.refresh(Request())
    assert old.refresh_token != first
    old.refresh(Request())
    with pytest.raises(RefreshError):
        Credentials(None, refresh_token=first, token_uri=TOKEN, client_id="app", client_secret="x").refresh(
            Request()
        )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code": "wrong"}, "invalid_grant"),
        ({"code_verifier": "wrong"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:1/"}, "redirect_uri_mismatch"),
        ({"client_secret": None}, "invalid_request"),
        ({"client_id": None}, "invalid_request"),
        ({"grant_type": "x"}, "unsupported_grant_type"),
    ],
)
def test_a_token_request_is_checked(drive: DriveEmulator, change: dict[str, Any], error: str) -> None:
    made = flow()
    code = consent(made.authorization_url()[0])["code"][0]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": "app",
        "client_secret": "s",
        "redirect_uri": made.redirect_uri,
        "code_verifier": made.code_verifier,
    }
    answer = requests.post(TOKEN, data=form | change, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "urn:ietf:wg:oauth:2.0:oob"},
        {"redirect_uri": "https://evil.example/"},
        {"scope": None},
        {"response_type": "token"},
        {"client_id": None},
    ],
)
def test_the_consent_page_is_strict(drive: DriveEmulator, change: dict[str, Any]) -> None:
    query = {"client_id": "a", "redirect_uri": "http://127.0.0.1:9/", "response_type": "code", "scope": SCOPE}
    url = "https://accounts.google.com/o/oauth2/v2/auth"
    assert requests.get(url, params=query, timeout=5, allow_redirects=False).status_code == 302
    assert requests.get(url, params=query | change, timeout=5, allow_redirects=False).status_code == 400


def test_known_clients_only() -> None:
    with DriveEmulator(clients={"app": "secret"}) as drive:
        form = {"grant_type": "refresh_token", "refresh_token": drive.token()["refresh_token"]}
        for client, secret, status in (("app", "secret", 200), ("app", "wrong", 401), ("other", "x", 401)):
            answer = requests.post(
                TOKEN,
                data=form | {"client_id": client, "client_secret": secret},
                proxies={"https": drive.env()["HTTPS_PROXY"]},
                verify=str(drive.ca_file),
                timeout=5,
            )
            assert answer.status_code == status


def test_no_and_unticked_boxes(drive: DriveEmulator) -> None:
    drive.auth.unticked = True
    assert signed_in_scope(drive) == "openid"
    drive.auth.denying = True
    assert consent(flow().authorization_url()[0])["error"] == ["access_denied"]


def signed_in_scope(drive: DriveEmulator) -> str:
    return consent(flow().authorization_url()[0])["scope"][0]


# Faults


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault(status=403, reason="userRateLimitExceeded"), (403, "userRateLimitExceeded")),
        (Fault(status=403, reason="rateLimitExceeded"), (403, "rateLimitExceeded")),
        (Fault(status=403, reason="storageQuotaExceeded"), (403, "storageQuotaExceeded")),
        (Fault(status=429, retry_after=7), (429, "rateLimitExceeded")),
        (Fault(status=429), (429, "rateLimitExceeded")),
        (Fault(status=500), (500, "backendError")),
        (Fault(status=503), (503, "backendError")),
        (Fault(expire_token=True), (401, "authError")),
        (Fault(revoke_token=True), (401, "authError")),
    ],
)
def test_refusals(drive: DriveEmulator, fault: Fault, outcome: tuple[int, str]) -> None:
    drive.faults.append(fault)
    app = Caller(drive)
    answer = app.raw("GET", "files")
    assert reason_of(answer) == outcome
    assert answer.headers.get("Retry-After") == (None if fault.retry_after is None else "7")
    again = app.raw("GET", "files").status_code
    assert again == (401 if outcome[0] == 401 else 200)


@pytest.mark.parametrize(("reset", "made"), [("before", 0), ("body", 0), ("reply", 1)])
def test_resets_around_a_create(drive: DriveEmulator, reset: Any, made: int) -> None:
    app = Caller(drive)
    drive.faults.append(Fault("upload/files.create", reset=reset))
    with pytest.raises(GONE):
        app.create("a", os.urandom(1000))
    assert len(drive.files()) == made


def test_what_a_broken_piece_brought_is_kept(drive: DriveEmulator) -> None:
    app = Caller(drive)
    data = os.urandom(8 * UNIT)
    uri = app.start(len(data), name="a")
    drive.faults.append(Fault("upload/chunk", reset="body"))
    with pytest.raises(GONE):
        app.raw("PUT", uri, data=data, headers={"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"})
    status = app.raw("PUT", uri, headers={"Content-Range": f"bytes */{len(data)}"})
    kept = int(status.headers["Range"].partition("-")[2]) + 1
    assert 0 < kept < len(data)
    assert kept % UNIT == 0
    rest = {"Content-Range": f"bytes {kept}-{len(data) - 1}/{len(data)}"}
    assert app.raw("PUT", uri, data=data[kept:], headers=rest).status_code == 200
    assert drive.files()["a"][0].read() == data


def test_a_piece_may_be_kept_in_part(drive: DriveEmulator) -> None:
    app = Caller(drive)
    data = os.urandom(2 * UNIT)
    uri = app.start(len(data), name="a")
    drive.faults.append(Fault("upload/chunk", truncate=UNIT + 1))
    headers = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
    answer = app.raw("PUT", uri, data=data, headers=headers)
    assert (answer.status_code, answer.headers["Range"]) == (308, f"bytes=0-{UNIT - 1}")


def test_a_lost_reply_at_the_end_of_an_upload(drive: DriveEmulator) -> None:
    app = Caller(drive)
    uri = app.start(3, name="a")
    drive.faults.append(Fault("upload/chunk", reset="reply"))
    with pytest.raises(GONE):
        app.raw("PUT", uri, data=b"abc")
    status = app.raw("PUT", uri, headers={"Content-Range": "bytes */3"})
    assert (status.status_code, status.json()["name"]) == (200, "a")
    assert len(drive.files()["a"]) == 1


def test_downloads_are_damaged_and_cut(drive: DriveEmulator) -> None:
    app = Caller(drive)
    data = os.urandom(1000)
    file_id = app.create("a", data)["id"]
    drive.faults += [
        Fault("files.get_media", corrupt=3),
        Fault("files.get_media", nth=2, truncate=10),
        Fault("files.get_media", nth=3, reset="body"),
    ]
    damaged = app.raw("GET", f"files/{file_id}", params={"alt": "media"}).content
    assert damaged != data
    assert len(damaged) == len(data)
    for _ in range(2):
        with pytest.raises(requests.exceptions.RequestException):
            app.raw("GET", f"files/{file_id}", params={"alt": "media"})
    assert app.raw("GET", f"files/{file_id}", params={"alt": "media"}).content == data


def test_damage_on_the_way_up_shows_in_the_checksum(drive: DriveEmulator) -> None:
    app = Caller(drive)
    drive.faults.append(Fault("upload/files.create", corrupt=0))
    answer = app.raw("POST", UPLOAD, params={"uploadType": "media", "fields": "md5Checksum"}, data=b"abc")
    assert answer.json()["md5Checksum"] != hashlib.md5(b"abc").hexdigest()


def test_stale_listings(drive: DriveEmulator) -> None:
    app = Caller(drive)
    start = app.call("GET", "changes/startPageToken")["startPageToken"]
    app.create("a")
    app.create("b")
    drive.faults += [Fault("files.list", stale=1), Fault("changes.list", stale=1)]
    assert [each["name"] for each in app.call("GET", "files")["files"]] == ["a"]
    late = app.call("GET", "changes", pageToken=start)
    assert [each["file"]["name"] for each in late["changes"]] == ["a"]
    rest = app.call("GET", "changes", pageToken=late["newStartPageToken"])
    assert [each["file"]["name"] for each in rest["changes"]] == ["b"]
    assert len(app.call("GET", "files")["files"]) == 2


def test_a_mixed_load_is_the_same_for_the_same_seed() -> None:
    decisions = []
    for _ in range(2):
        faults = Faults([Fault("files.*", count=None, probability=0.3, status=500)], seed=4)
        decisions.append([bool(faults.hitting("files.list")) for _ in range(50)])
    assert decisions[0] == decisions[1]
    assert 5 < sum(decisions[0]) < 30
