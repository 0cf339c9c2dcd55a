"""Every test here has a home of its own: no configuration, no keyring, no environment of the user's."""

from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backends.fail
import pytest

from tests.servers.drive_emulator import DriveEmulator
from tests.servers.dropbox_emulator import DropboxEmulator


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, which is the current folder too."""
    home = tmp_path_factory.mktemp("home")
    for name in (
        "RCLONE_CONFIG", "APPDATA", "PHOTOSYNC_CONFIG", "PHOTOSYNC_SECRETS_FILE", "PHOTOSYNC_CACHE_DIR",
        "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "SSH_AUTH_SOCK",
        "AWS_SECRET_ACCESS_KEY",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("PHOTOSYNC_STATE_DIR", str(home / "state"))
    monkeypatch.chdir(home)
    monkeypatch.setattr(keyring.core, "_keyring_backend", keyring.backends.fail.Keyring())
    return home


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[DropboxEmulator]:
    """A Dropbox account, with the environment that leads clients to it."""
    with DropboxEmulator() as emulator:
        for name, value in emulator.env().items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Iterator[DriveEmulator]:
    """A Google account, with the environment that leads clients to it."""
    with DriveEmulator(clients={"app": "cAnArY-app"}) as drive:
        for name, value in drive.env().items():
            monkeypatch.setenv(name, value)
        yield drive
