"""An emulated Google Drive and the backend signed in to it, for the tests beside this file."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from photosync.backends.drive import DriveBackend
from photosync.backends.drive_store import DriveStore
from photosync.engine.capabilities import Blob, Stored
from photosync.engine.hashing import fingerprint
from tests.servers.drive_emulator import DriveEmulator

SECOND = 1_000_000_000
MTIME = 1_700_000_000 * SECOND + 123_000_000


class Rig:
    """The emulator, and filesystems signed in to it."""

    def __init__(self, emulator: DriveEmulator, scope: str = "drive") -> None:
        self.emulator = emulator
        self.scope = scope
        self.fs = self.sign_in()

    def sign_in(self, **options: Any) -> DriveBackend:
        """Another instance, with a token of its own, as another machine would have it."""
        return DriveBackend(**(self.credentials() | options))

    def credentials(self) -> dict[str, Any]:
        """A new sign-in, in the filesystem's words."""
        token = self.emulator.token(self.scope)
        return {
            "access_token": token["access_token"],
            "refresh_token": token["refresh_token"],
            "client_id": "app",
            "client_secret": "secret",
            "expires_at": datetime.fromisoformat(token["expiry"]).timestamp(),
        }

    def store(self, root: str = "Photos") -> DriveStore:
        return self.fs.store(root)

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Fills a counter with the requests that the emulator sees within."""
        before, counted = Counter(self.emulator.requests), Counter[str]()
        yield counted
        counted.update(self.emulator.requests - before)

    def content(self) -> dict[str, list[bytes]]:
        """What My Drive holds; several files may have one name."""
        return {path: [file.read() for file in files] for path, files in self.emulator.files().items()}


@contextmanager
def rigged(monkeypatch: pytest.MonkeyPatch, scope: str = "drive", **options: Any) -> Iterator[Rig]:
    """A `Rig` that only the environment leads to, as it leads anyone behind a corporate proxy."""
    with DriveEmulator(**options) as emulator:
        for name, value in emulator.env().items():
            monkeypatch.setenv(name, value)
        yield Rig(emulator, scope)


def blob(path: str, data: bytes, mtime_ns: int | None = MTIME) -> Blob:
    return Blob(path, data, mtime_ns, fingerprint(data, ["sha256", "md5"]).digests)


def stored(results: list[Stored | Exception]) -> list[Stored]:
    """The results of a `put` in which nothing failed."""
    for result in results:
        if isinstance(result, Exception):
            raise result
    return [result for result in results if isinstance(result, Stored)]
