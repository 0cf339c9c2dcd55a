"""A Dropbox account on this machine, for tests: the documented API v2 at its real host names.

    with DropboxEmulator() as dropbox:
        subprocess.run([...], env=os.environ | dropbox.env())   # a real client with dropbox.token()
        assert dropbox.files() == {...}

The clients reach it through an HTTPS proxy with a CA of its own, which is all that `env()` sets. Arguments
are checked against the official SDK's description of each endpoint, so that what the service would refuse
with HTTP 400 is refused here. Not emulated: sharing, search, thumbnails, team accounts.

    python -m tests.servers.dropbox_emulator --port 8443 --ca-file ca.pem

prints the variables for a shell, then serves until it is interrupted.
"""

import argparse
import json
import shlex
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .api_emulator import ApiEmulator
from .dropbox_auth import Auth
from .dropbox_content import Content
from .dropbox_http import HOSTS, Connection
from .dropbox_routes import Api
from .dropbox_state import Commit


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A live file: its bytes on demand, size in bytes, hash, times (UTC, whole seconds) and rev."""

    content: Content
    size: int
    content_hash: str
    client_modified: float
    rev: str

    def read(self) -> bytes:
        return self.content.read()


class DropboxEmulator(ApiEmulator):
    """An account with `quota` bytes behind a proxy on `port` (0: any free one).

    Knobs: those of `ApiEmulator`, and on `api`: page_size, max_request, async_polls, contention,
    write_seconds, max_longpoll. Routes are such as "files/upload".
    """

    def __init__(
        self,
        *,
        quota: int = 2 * 1024**3,
        app_keys: frozenset[str] | None = None,
        seed: int = 0,
        port: int = 0,
        ca_file: Path | None = None,
    ):
        super().__init__(HOSTS.values(), Connection, seed=seed, port=port, ca_file=ca_file)
        self.auth = Auth(self.now, app_keys)
        self.api = Api(self.now, quota)

    def token(self) -> dict[str, str]:
        """A fresh token with access_token, token_type, refresh_token and expiry, as rclone stores it."""
        return self.auth.token()

    def rclone_config(self, name: str = "dropbox") -> str:
        """A section of rclone.conf for this account."""
        return f"[{name}]\ntype = dropbox\ntoken = {json.dumps(self.token())}\n"

    def files(self) -> dict[str, StoredFile]:
        """Every live file by its path as displayed, such as "/Camera/IMG_0001.JPG"."""
        return {
            path: StoredFile(
                revision.content,
                revision.content.size,
                revision.content_hash,
                revision.client_modified.timestamp(),
                revision.rev,
            )
            for path, revision in self.api.account.files().items()
        }

    def put(self, path: str, data: bytes) -> None:
        """Writes a file as another device would, past HTTP and accounting."""
        content = Content(data)
        self.api.account.commit(Commit(path, mode="overwrite"), content, content.hash())

    def delete(self, path: str) -> None:
        """Removes a file or folder as another device would."""
        self.api.account.delete(self.api.account.lookup(path))

    def close(self) -> None:
        """Ends all connections. Raises what went wrong inside the emulator."""
        with self.api.account.lock:
            self.api.closing = True
            self.api.account.changed.notify_all()
        super().close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: prints `export` lines, a token and `ready`, then serves until a signal ends it."""
    parser = argparse.ArgumentParser(description="A Dropbox account on this machine, for tests.")
    parser.add_argument("--port", type=int, default=0, help="port of the proxy; default: any free one")
    parser.add_argument("--ca-file", type=Path, help="where to write the CA's certificate")
    parser.add_argument("--quota", type=int, default=100 * 1024**3, help="bytes the account may hold")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with DropboxEmulator(port=options.port, ca_file=options.ca_file, quota=options.quota) as emulator:
        for name, value in emulator.env().items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"export DROPBOX_TOKEN={shlex.quote(json.dumps(emulator.token()))}")
        print("ready", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
