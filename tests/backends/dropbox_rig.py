"""An emulated Dropbox account and the backend signed in to it, for the tests beside this file."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from photosync.backends.dropbox import DropboxBackend
from photosync.backends.dropbox_store import DropboxStore
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.hashing import fingerprint
from tests.servers.dropbox_emulator import DropboxEmulator

SECOND = 1_000_000_000
MTIME = 1_700_000_000 * SECOND


class Rig:
    """The emulator, and filesystems signed in to it."""

    def __init__(self, emulator: DropboxEmulator) -> None:
        self.emulator = emulator
        self._token = emulator.token()
        self.fs = self.again()

    def sign_in(self, **options: Any) -> DropboxBackend:
        """Another instance, with a token of its own."""
        return self._made(self.emulator.token(), options)

    def again(self) -> DropboxBackend:
        """Another instance with the sign-in of the first, as a second process has it."""
        return self._made(self._token, {})

    def _made(self, token: dict[str, str], options: dict[str, Any]) -> DropboxBackend:
        given = {
            "access_token": token["access_token"],
            "refresh_token": token["refresh_token"],
            "app_key": "app",
            "expires_at": datetime.fromisoformat(token["expiry"]).timestamp(),
        }
        return DropboxBackend(**(given | options))

    def store(self, root: str = "Photos") -> DropboxStore:
        return self.fs.store(root)

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Fills a counter with the requests that the emulator sees within."""
        before, counted = Counter(self.emulator.requests), Counter[str]()
        yield counted
        counted.update(self.emulator.requests - before)

    def content(self) -> dict[str, bytes]:
        """What the account holds."""
        return {path: file.read() for path, file in self.emulator.files().items()}


@contextmanager
def rigged(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Iterator[Rig]:
    """A `Rig` that only the environment leads to, as it leads anyone behind a corporate proxy."""
    with DropboxEmulator(**options) as emulator:
        for name, value in emulator.env().items():
            monkeypatch.setenv(name, value)
        yield Rig(emulator)


def blob(path: str, data: bytes, mtime_ns: int | None = MTIME) -> Blob:
    return Blob(path, data, mtime_ns, fingerprint(data, ["dropbox"]).digests)


def dropbox_hash(data: bytes) -> str:
    """By the "Content hash" page, written out once more."""
    blocks = [hashlib.sha256(data[at : at + (4 << 20)]).digest() for at in range(0, len(data), 4 << 20)]
    return hashlib.sha256(b"".join(blocks)).hexdigest()


def stored(results: list[Stored | Exception]) -> list[Stored]:
    """The results of a `put` in which nothing failed."""
    for result in results:
        if isinstance(result, Exception):
            raise result
    return [result for result in results if isinstance(result, Stored)]


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from block to block."""
    return hashlib.shake_128(str(seed).encode()).digest(size)
