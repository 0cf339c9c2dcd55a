"""Where credentials are kept, and that they show nowhere."""

import json
import os
import pickle
import stat
import threading
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from photosync.secrets import Credentials, Secrets, SecretsError, redact

CANARY = "cAnArY/+=%s\"'\\ü-0123456789"


class MemoryKeyring(KeyringBackend):
    """A desktop's keyring."""

    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked(f"locked: {CANARY}")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise KeyringLocked("locked")
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch) -> MemoryKeyring:
    ring = MemoryKeyring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", ring)
    return ring


@pytest.fixture
def file(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PHOTOSYNC_SECRETS_FILE", str(home / "own" / "s.json"))
    return home / "own" / "s.json"


def test_a_record_comes_back(file: Path) -> None:
    secrets = Secrets()
    assert secrets.get("nas") is None
    secrets.set("nas", {"password": CANARY, "expires_at": 5.5})
    secrets.set("db", {"access_token": "t"})
    assert Secrets().get("nas") == {"password": CANARY, "expires_at": 5.5}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    secrets.delete("nas")
    secrets.delete("nas")
    assert Secrets().get("nas") is None
    assert Secrets().get("db") == {"access_token": "t"}


def test_the_named_file_is_used_instead_of_a_keyring(file: Path, desktop: MemoryKeyring) -> None:
    Secrets().set("nas", {"password": "p"})
    assert not desktop.entries
    assert json.loads(file.read_text()) == {"nas": {"password": "p"}}


def test_a_desktop_keeps_them_in_its_keyring(home: Path, desktop: MemoryKeyring) -> None:
    secrets = Secrets()
    secrets.set("nas", {"password": "p"})
    assert json.loads(desktop.entries["photosync", "nas"]) == {"password": "p"}
    assert not (home / "state" / "secrets.json").exists()
    assert secrets.get("nas") == {"password": "p"}
    secrets.delete("nas")
    assert not desktop.entries
    assert "keyring" in secrets.where()


def test_without_a_keyring_they_go_to_a_private_file(home: Path) -> None:
    Secrets().set("nas", {"password": "p"})
    kept = home / "state" / "secrets.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert str(kept) in Secrets().where()


def test_what_was_kept_without_a_keyring_is_found_with_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Secrets().set("nas", {"password": "old"})
    ring = MemoryKeyring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", ring)
    secrets = Secrets()
    assert secrets.get("nas") == {"password": "old"}
    secrets.set("nas", {"password": "new"})
    assert "old" not in (home / "state" / "secrets.json").read_text()


def test_a_renewed_token_is_merged(file: Path) -> None:
    secrets = Secrets()
    secrets.set("db", {"access_token": "a1", "refresh_token": "r", "expires_at": 1.0})
    secrets.rotate("db", {"access_token": "a2", "expires_at": 2.0, "refresh_token": None})
    assert Secrets().get("db") == {"access_token": "a2", "refresh_token": "r", "expires_at": 2.0}


def test_a_renewed_token_does_not_undo_a_sign_out(file: Path) -> None:
    secrets = Secrets()
    secrets.set("db", {"access_token": "a1"})
    secrets.delete("db")
    secrets.rotate("db", {"access_token": "a2"})
    assert secrets.get("db") is None


@pytest.mark.row(41)
def test_many_threads_renew_at_once(file: Path) -> None:
    for name in "abcd":
        Secrets().set(name, {"n": 0})

    def renew(name: str) -> None:
        secrets = Secrets()
        for n in range(10):
            secrets.rotate(name, {"n": n})

    threads = [threading.Thread(target=renew, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(file.read_text()) == {name: {"n": 9} for name in "abcd"}


@pytest.mark.row(88)
def test_a_link_is_refused(file: Path) -> None:
    file.parent.mkdir()
    (file.parent / "elsewhere").write_text("{}")
    file.symlink_to("elsewhere")
    for attempt in (lambda: Secrets().get("nas"), lambda: Secrets().set("nas", {"password": CANARY})):
        with pytest.raises(SecretsError, match="symbolic link") as caught:
            attempt()
        assert "cAnArY" not in repr(caught.value)
    assert (file.parent / "elsewhere").read_text() == "{}"


@pytest.mark.row(88)
def test_a_readable_file_is_repaired(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    Secrets().set("nas", {"password": "p"})
    file.chmod(0o644)
    assert Secrets().get("nas") == {"password": "p"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "0600" in caplog.text


@pytest.mark.parametrize(
    "damage", [f'{{"nas": {{"password": "{CANARY}', f'["{CANARY}"]', '{"nas": "x"}', "[" * 9**5]
)
def test_a_damaged_file_is_an_error_that_shows_nothing_of_it(file: Path, damage: str) -> None:
    file.parent.mkdir()
    file.write_text(damage)
    file.chmod(0o600)
    with pytest.raises(SecretsError, match=r"damaged.*photosync connect") as caught:
        Secrets().get("nas")
    error: BaseException | None = caught.value
    while error is not None:
        assert "cAnArY" not in repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__


def test_a_locked_keyring_is_explained(desktop: MemoryKeyring) -> None:
    secrets = Secrets()
    desktop.locked = True
    with pytest.raises(SecretsError, match="PHOTOSYNC_SECRETS_FILE") as caught:
        secrets.get("nas")
    assert "cAnArY" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_unwritable_folder_is_explained(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(SecretsError, match="'nas'"):
        Secrets(home / "file" / "s.json").set("nas", {"password": "p"})


def test_no_repr_shows_a_value(file: Path) -> None:
    secrets = Secrets()
    secrets.set("nas", {"password": CANARY})
    record = secrets.get("nas")
    assert isinstance(record, Credentials)
    for shown in (repr(record), str(record), f"{record}", repr(secrets), repr([record])):
        assert "cAnArY" not in shown
    assert "password" in repr(record)
    with pytest.raises(TypeError):
        pickle.dumps(record)


def test_texts_are_redacted(file: Path) -> None:
    secrets = Secrets()
    secrets.set("nas", {"password": CANARY, "other": CANARY[:8], "port": 22})
    from urllib.parse import quote

    text = f"a {CANARY} b {quote(CANARY)} c {quote(CANARY, safe='')} d {json.dumps(CANARY)} e {CANARY!r} f"
    assert secrets.redact(text) == "a *** b *** c *** d \"***\" e '***' f"
    assert redact("nothing here", ["", "x1"]) == "nothing here"


def test_the_environment_cannot_be_seen_through_leftovers(file: Path) -> None:
    Secrets().set("nas", {"password": CANARY})
    names = sorted(os.listdir(file.parent))
    assert names == [".s.json.lock", "s.json"]
    assert not (file.parent / ".s.json.lock").read_bytes()
