"""Signing in to Google Drive and out again, against the emulator's sign-in pages."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from photosync import handover
from photosync.backends.tokens import WrongState
from photosync.config import Drive, Dropbox, Remote, load, render
from photosync.connect import check, connect, disconnect, who
from photosync.engine.errors import Fatal, NotSignedIn, Transient
from photosync.google_client import Client, ClientError, read_client
from photosync.oauth import Begin, Token, answer_in, by_hand, in_browser
from photosync.places import Place, open_place, parse
from photosync.secrets import Secrets
from photosync.sign_in import ConnectError, SignIn, with_answers, with_person, with_token
from tests.servers.drive_emulator import DriveEmulator
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.faults import Fault

SECRET = "cAnArY-app"
NOWHERE = "http://127.0.0.1:9/"
CANARY = "cAnArY-9a8b"


def keep(name: str, sign_in: SignIn) -> bool:
    return connect(name, sign_in, config_path=None, secrets=Secrets())


def leave(name: str) -> tuple[str, ...]:
    return disconnect(name, config_path=None, secrets=Secrets())


def opened(text: str) -> Place:
    return open_place(parse(text, load()), Secrets())


def agree(url: str) -> str:
    """A person who agrees, and copies the address that the browser was sent to."""
    answer = requests.get(url, timeout=30, allow_redirects=False)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def pasting(ask: Callable[[str], str] = agree) -> Callable[[Begin], Token]:
    return lambda begin: by_hand(begin, ask, NOWHERE)


def browsing(visit: Callable[[str], Any], host: str = "127.0.0.1") -> Callable[[Begin], Token]:
    """A browser beside the program that waits for it."""

    def meet(begin: Begin) -> Token:
        threads: list[threading.Thread] = []

        def show(url: str) -> None:
            threads.append(threading.Thread(target=visit, args=(url,)))
            threads[0].start()

        try:
            return in_browser(begin, show, host=host)
        finally:
            for thread in threads:
                thread.join()

    return meet


def signed_in(remote: Drive | None = None) -> SignIn:
    return with_person(remote or Drive(client_id="app"), pasting(), SECRET)


def test_a_browser_comes_back_by_itself(drive: DriveEmulator) -> None:
    pages: list[requests.Response] = []
    seen: list[str] = []

    def visit(url: str) -> None:
        seen.append(url)
        pages.append(requests.get(url, timeout=30))

    sign_in = with_person(Drive(client_id="app", root="Photos"), browsing(visit), SECRET)
    for part in ("code_challenge_method=S256", "redirect_uri=http%3A%2F%2F127.0.0.1%3A", "drive.file&state="):
        assert part in seen[0]
    assert SECRET not in seen[0]
    assert load().remotes == {}
    assert keep("gd", sign_in)
    assert load().remotes["gd"] == Drive(
        client_id="app", scope="drive.file", account="0123456789", root="Photos"
    )
    kept = Secrets().get("gd")
    assert kept is not None
    assert set(kept) == {"access_token", "refresh_token", "expires_at", "client_secret"}
    assert "Signed in" in pages[0].text
    place = opened("gd:")
    assert who(place, Secrets()) == "Test Person <me@example.com>"
    drive.advance(2 * 3600)
    assert place.store.about().free == drive.api.drive.quota
    for value in (kept["access_token"], kept["refresh_token"], SECRET):
        assert value not in render(load()) + repr(sign_in)


@pytest.mark.row(89)
def test_what_is_no_answer_to_this_sign_in_is_turned_away_and_waited_past(drive: DriveEmulator) -> None:
    statuses = []

    def visit(url: str) -> None:
        address = agree(url)
        base, _, query = address.partition("?")
        others = (
            f"{base}favicon.ico",
            base,
            f"{base}?code=theirs&state=wrong",
            f"{base}?code=theirs",
            f"{base}?error=access_denied&state=wrong",
        )
        statuses.extend(requests.get(other, timeout=30).status_code for other in others)
        statuses.append(requests.get(f"{base}?{query}", timeout=30).status_code)

    assert with_person(Drive(client_id="app"), browsing(visit), SECRET).credentials
    assert statuses == [404, 404, 400, 404, 400, 200]


def test_a_person_brings_the_address_from_another_machine(drive: DriveEmulator) -> None:
    assert keep("gd", signed_in())
    check(opened("gd:"))


@pytest.mark.row(89)
def test_an_address_of_another_sign_in_is_refused(drive: DriveEmulator) -> None:
    def other(url: str) -> str:
        return agree(url).replace("state=", "state=x")

    with pytest.raises(WrongState):
        with_person(Drive(client_id="app"), pasting(other), SECRET)


@pytest.mark.parametrize(
    ("pasted", "answer"),
    [
        (" 4/abc \n", {"code": "4/abc"}),
        ("http://127.0.0.1:1/?state=s&code=4%2Fabc", {"state": "s", "code": "4/abc"}),
        ("'http://127.0.0.1:1/?code=a&state=s'", {"state": "s", "code": "a"}),
        ("code=a&state=s", {"state": "s", "code": "a"}),
        ("http://127.0.0.1:1/?error=access_denied&state=s", {"error": "access_denied", "state": "s"}),
    ],
)
def test_what_people_paste(pasted: str, answer: dict[str, str]) -> None:
    assert answer_in(pasted) == answer


def test_people_who_do_not_agree(drive: DriveEmulator) -> None:
    drive.auth.denying = True
    with pytest.raises(NotSignedIn, match="not allowed"):
        signed_in()
    drive.auth.denying, drive.auth.unticked = False, True
    with pytest.raises(NotSignedIn, match="unticked"):
        signed_in()
    assert load().remotes == {}


@pytest.mark.parametrize(
    ("client", "secret", "code", "words"),
    [
        ("app", SECRET, "wrong", "did not accept the code"),
        ("app", "wrong", "", "its secret is another one"),
    ],
)
def test_what_google_refuses(drive: DriveEmulator, client: str, secret: str, code: str, words: str) -> None:
    with pytest.raises(NotSignedIn, match=words) as caught:
        with_person(Drive(client_id=client), pasting(lambda url: code or agree(url)), secret)
    assert secret not in str(caught.value) or secret == "wrong"


def test_google_out_of_reach(drive: DriveEmulator) -> None:
    drive.faults.append(Fault("oauth2/token", reset="before", count=None))
    with pytest.raises(Transient):
        signed_in()


def test_drive_needs_a_client_of_ones_own() -> None:
    for remote, secret in ((Drive(), ""), (Drive(client_id="app"), "")):
        with pytest.raises(ConnectError, match=r"docs/connect\.md"):
            with_person(remote, pasting(), secret)


def test_the_wide_scope_is_for_the_asking(drive: DriveEmulator) -> None:
    drive.put("theirs.jpg", b"1")
    keep("own", signed_in())
    keep("all", signed_in(Drive(client_id="app", scope="drive")))
    assert [entry.path for entry in opened("own:").store.list_folder("")] == []
    assert [entry.path for entry in opened("all:").store.list_folder("")] == ["theirs.jpg"]


def test_who_agreed_before_is_asked_again(drive: DriveEmulator) -> None:
    """Else Google gives no refresh token, and the sign-in would end after an hour."""
    for name in ("one", "two"):
        keep(name, signed_in())
        assert "refresh_token" in (Secrets().get(name) or {})


# On from here


def test_signing_out_revokes(drive: DriveEmulator) -> None:
    keep("gd", signed_in())
    kept = Secrets().get("gd")
    assert kept is not None
    assert leave("gd") == ()
    assert drive.auth.find(kept["access_token"]) is None
    assert load().remotes == {}
    assert Secrets().get("gd") is None


def test_signing_out_of_what_has_ended(drive: DriveEmulator) -> None:
    keep("gd", signed_in())
    drive.auth.revoke()
    assert leave("gd") == ()


def test_signing_out_while_google_is_away_says_what_is_left_to_do(drive: DriveEmulator) -> None:
    keep("gd", signed_in())
    drive.faults.append(Fault("oauth2/revoke", status=503, count=None))
    (note,) = leave("gd")
    assert "https://myaccount.google.com/connections" in note
    assert load().remotes == {}


def test_signing_out_of_one_remote_leaves_the_other_of_the_account(drive: DriveEmulator) -> None:
    keep("one", signed_in())
    keep("two", signed_in(Drive(client_id="app", scope="drive")))
    (note,) = leave("one")
    assert "'two'" in note
    check(opened("two:"))
    kept = Secrets().get("two") or {}
    assert leave("two") == ()
    assert drive.auth.find(kept["access_token"]) is None


def test_a_sign_in_that_has_ended_says_what_to_do(drive: DriveEmulator) -> None:
    keep("gd", signed_in())
    drive.auth.revoke()
    with pytest.raises(NotSignedIn, match="photosync connect"):
        check(opened("gd:"))


@pytest.mark.row(41)
def test_one_renewal_for_many_threads(drive: DriveEmulator) -> None:
    keep("gd", signed_in())
    place = opened("gd:")
    drive.advance(2 * 3600)
    drive.auth.expire()
    before = drive.requests["oauth2/token"]
    threads = [threading.Thread(target=place.store.about) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drive.requests["oauth2/token"] == before + 1
    assert drive.requests["about.get"] >= 8


@pytest.mark.row(43)
def test_a_renewed_refresh_token_is_kept_before_it_is_used(
    drive: DriveEmulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may end the old token as it gives a new one; a kill right after that loses nothing."""
    keep("gd", signed_in())
    old = (Secrets().get("gd") or {})["refresh_token"]
    drive.auth.rotating = True
    drive.auth.expire()
    # The next request after the renewal never gets an answer: there the process is killed.
    drive.faults.append(Fault("about.get", nth=2, latency=3))
    code = "import sys; from photosync.cli import main; sys.argv = ['photosync', 'about', 'gd:']; main()"
    with subprocess.Popen([sys.executable, "-c", code], cwd=home, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not drive.faults[0].hits and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert drive.faults[0].hits == 1
    drive.faults.clear()
    kept = (Secrets().get("gd") or {})["refresh_token"]
    assert kept != old
    drive.auth.expire()
    opened("gd:").store.about()
    assert (Secrets().get("gd") or {})["refresh_token"] not in (old, kept)


def test_a_service_account_signs_in_without_a_person(drive: DriveEmulator, home: Path) -> None:
    (home / "key.json").write_text(json.dumps(drive.auth.service_account()))
    remote = Drive(service_account_file="~/key.json", scope="drive")
    assert keep("robot", with_answers(remote, {}))
    assert Secrets().get("robot") is None
    drive.advance(2 * 3600)
    check(opened("robot:"))
    assert leave("robot") == ()
    (home / "key.json").write_text(json.dumps(drive.auth.service_account() | {"client_email": "x@y"}))
    with pytest.raises(NotSignedIn):
        keep("robot", with_answers(remote, {}))
    (home / "key.json").write_text("{}")
    with pytest.raises(NotSignedIn):
        keep("robot", with_answers(remote, {}))
    (home / "key.json").unlink()
    with pytest.raises(Fatal, match=r"key\.json"):
        keep("robot", with_answers(remote, {}))
    assert load().remotes == {}


# Other machines


def test_a_sign_in_is_handed_to_another_machine(drive: DriveEmulator) -> None:
    made = signed_in()
    assert isinstance(made.remote, Drive)
    text = handover.printed(made.remote, made.credentials or {})
    assert "\n" not in text
    there = with_token(Drive(root="Photos"), f"Here it is:\n{text}\n")
    assert there.warnings == ()
    assert keep("gd", there)
    assert load().remotes["gd"] == Drive(
        client_id="app", scope="drive.file", account="0123456789", root="Photos"
    )
    drive.advance(2 * 3600)
    check(opened("gd:"))
    # It is photosync's own, so signing out ends it.
    assert leave("gd") == ()
    assert drive.auth.find((made.credentials or {})["access_token"]) is None


def test_a_handed_over_sign_in_is_for_one_service(drive: DriveEmulator) -> None:
    text = handover.printed(Drive(client_id="app"), {"access_token": CANARY})
    with pytest.raises(ConnectError, match="for type drive, not dropbox") as caught:
        with_token(Dropbox(), text)
    assert CANARY not in str(caught.value)


def test_rclones_token(drive: DriveEmulator) -> None:
    token = drive.token("drive.file") | {"client_secret": SECRET}
    assert keep("gd", with_token(Drive(client_id="app", scope="drive.file"), json.dumps(token)))
    drive.advance(2 * 3600)
    check(opened("gd:"))
    assert "another program" in leave("gd")[0]
    short = with_token(Drive(), json.dumps(drive.token("drive.file")))
    assert short.warnings
    assert "refresh_token" not in (short.credentials or {})


@pytest.mark.parametrize(
    ("remote", "text", "words"),
    [
        (Drive(), f'{{"refresh_token": "{CANARY}"}}', "--client-file"),
        (Drive(client_id="app"), f'{{"refresh_token": "{CANARY}"}}', "--client-file"),
        (Drive(), f"two {CANARY}", "neither"),
        (Drive(), f'{{"installed": {{"client_secret": "{CANARY}"}}}}', "no token"),
    ],
)
def test_what_is_no_sign_in_is_explained_and_not_repeated(remote: Remote, text: str, words: str) -> None:
    with pytest.raises(ConnectError, match=words) as caught:
        with_token(remote, text)
    assert CANARY not in str(caught.value)


# The client's file


def test_the_file_of_googles_console() -> None:
    made = {
        "client_id": "1-a.apps.googleusercontent.com",
        "client_secret": CANARY,
        "token_uri": "http://evil/",
    }
    client = read_client(json.dumps({"installed": made}))
    assert client == Client("1-a.apps.googleusercontent.com", CANARY)
    assert CANARY not in repr(client)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Download JSON"),
        ("[1]", "Download JSON"),
        (f"{{{CANARY}", "Download JSON"),
        ('{"web": {"client_id": "a", "client_secret": "b"}}', "Desktop app"),
        (f'{{"type": "service_account", "private_key": "{CANARY}"}}', "service_account_file"),
        (f'{{"installed": {{"client_secret": "{CANARY}"}}}}', "client_id"),
        ('{"installed": {"client_id": "a", "client_secret": 3}}', "client_secret"),
        ('{"installed": []}', "client_id"),
        ("[" * 100_000, "Download JSON"),
    ],
)
def test_other_files_are_explained(text: str, words: str) -> None:
    with pytest.raises(ClientError, match=words) as caught:
        read_client(text)
    assert CANARY not in str(caught.value)


# Dropbox, by the same flow


def test_dropbox_comes_back_to_this_machine_too(emulator: DropboxEmulator) -> None:
    def visit(url: str) -> None:
        assert "redirect_uri=http%3A%2F%2Flocalhost%3A" in url
        pages.append(requests.get(url, timeout=30).text)

    pages: list[str] = []

    meet = browsing(visit, "localhost")
    assert keep("dropbox", with_person(Dropbox(app_key="k"), meet))
    assert who(opened("dropbox:"), Secrets())
    assert "Signed in" in pages[0]
    emulator.auth.denying = True
    with pytest.raises(NotSignedIn, match="not allowed"):
        with_person(Dropbox(app_key="k"), meet)
    assert "not allowed" in pages[1]


def test_a_dropbox_sign_in_is_handed_to_another_machine(emulator: DropboxEmulator) -> None:
    def code(url: str) -> str:
        return requests.get(url, timeout=30).text.split('value="')[1].split('"')[0]

    made = with_person(Dropbox(app_key="k"), lambda begin: by_hand(begin, code, ""))
    assert isinstance(made.remote, Dropbox)
    assert keep("dropbox", with_token(Dropbox(), handover.printed(made.remote, made.credentials or {})))
    emulator.advance(5 * 3600)
    check(opened("dropbox:"))
    assert leave("dropbox") == ()


@pytest.mark.row(89)
def test_a_port_that_is_taken(emulator: DropboxEmulator) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            in_browser(lambda uri: None, lambda url: None, taken.getsockname()[1])  # type: ignore[arg-type,return-value]
