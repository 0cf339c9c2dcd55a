from collections.abc import Iterator

import dropbox
import pytest

from .drive_emulator import DriveEmulator
from .dropbox_emulator import DropboxEmulator
from .dropbox_sdk import sdk_client


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[DropboxEmulator]:
    """A Dropbox account, with the environment that leads clients to it."""
    with DropboxEmulator() as emulator:
        for name, value in emulator.env().items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def client(emulator: DropboxEmulator) -> Iterator[dropbox.Dropbox]:
    """The official SDK, signed in."""
    with sdk_client(emulator) as client:
        yield client


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Iterator[DriveEmulator]:
    """A Google account, with the environment that leads clients to it."""
    with DriveEmulator() as drive:
        for name, value in drive.env().items():
            monkeypatch.setenv(name, value)
        yield drive
