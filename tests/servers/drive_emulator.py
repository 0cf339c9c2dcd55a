"""A Google Drive on this machine, for tests: the documented API v3 and sign-in at their real host names.

    with DriveEmulator() as drive:
        subprocess.run([...], env=os.environ | drive.env())   # a real client with drive.token()
        assert drive.files() == {...}

The clients reach it through an HTTPS proxy with a CA of its own, which is all that `env()` sets. Methods,
parameters, fields and scopes are checked against Google's own description of the API. Not emulated: comments,
revisions, labels, watching, full-text search, conversion of documents.

    python -m tests.servers.drive_emulator --port 8443 --ca-file ca.pem

prints the variables for a shell, then serves until it is interrupted.
"""

import argparse
import json
import shlex
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import drive_listing
from .api_emulator import ApiEmulator
from .drive_auth import GoogleAuth
from .drive_http import HOSTS, Connection
from .drive_routes import Api
from .drive_state import APPS, FOLDER, SHORTCUT, Item, revision_of
from .dropbox_content import Content

OTHER_APP = "another-app"

assert drive_listing  # it registers the methods that list


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A live file: its bytes on demand, id, size in bytes, checksums (hexadecimal) and times (seconds)."""

    content: Content
    id: str
    size: int
    md5: str
    sha256: str
    modified: float
    created: float

    def read(self) -> bytes:
        return self.content.read()


class DriveEmulator(ApiEmulator):
    """An account with `quota` bytes behind a proxy on `port` (0: any free one).

    Knobs: those of `ApiEmulator`, of `auth` (see `GoogleAuth`), and on `api`: write_rate, write_burst,
    page_size, uploads.expired_status. Routes are the API's names ("files.list"), see `Connection`.
    """

    def __init__(
        self,
        *,
        quota: int = 15 * 1024**3,
        clients: Mapping[str, str] | None = None,
        seed: int = 0,
        port: int = 0,
        ca_file: Path | None = None,
    ):
        super().__init__(HOSTS.values(), Connection, seed=seed, port=port, ca_file=ca_file)
        self.auth = GoogleAuth(self.now, clients)
        self.api = Api(self.now, quota)

    def token(self, scope: str = "drive", client_id: str = "app") -> dict[str, str]:
        """A fresh token with access_token, token_type, refresh_token and expiry, as rclone stores it."""
        return self.auth.token(scope, client_id)

    def rclone_config(self, name: str = "drive", scope: str = "drive", **options: str) -> str:
        """A section of rclone.conf for this account."""
        told = {"type": "drive", "client_id": "app", "client_secret": "secret", "scope": scope}
        told |= {"token": json.dumps(self.token(scope))} | options
        return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in told.items())

    def files(self, drive: str | None = None) -> dict[str, list[StoredFile]]:
        """Every live file of My Drive, or of a shared one, by its path: a list, as names may occur twice."""
        found: dict[str, list[StoredFile]] = {}
        with self.api.drive.lock:
            for item in self.api.drive.items.values():
                if item.revision is None or item.trashed or item.drive != drive:
                    continue
                held = item.revision
                stored = StoredFile(
                    held.content,
                    item.id,
                    item.size,
                    held.md5,
                    held.sha256,
                    item.modified / 1000,
                    item.created / 1000,
                )
                found.setdefault(self.api.drive.path(item), []).append(stored)
        return found

    def put(self, path: str, data: bytes, *, app: str = OTHER_APP, drive: str | None = None) -> str:
        """Makes a file as another app would (`app`: its client id), past HTTP and accounting. Missing folders
        are made, a file of that name is not replaced. Returns its id."""
        revision = revision_of(Content(data))
        with self.api.drive.lock:
            folder, _, name = path.strip("/").rpartition("/")
            item = self._item(name, "image/jpeg", self._folder(folder, app, drive), app)
            item.revision = revision
            return self.api.drive.add(item).id

    def mkdir(self, path: str, *, app: str = OTHER_APP, drive: str | None = None) -> str:
        """The id of a folder, made if it is missing, as another app would."""
        with self.api.drive.lock:
            return self._folder(path, app, drive).id

    def put_document(self, path: str, kind: str = "document", *, app: str = OTHER_APP) -> str:
        """Makes one of Google's own documents; `kind` as in "application/vnd.google-apps.document"."""
        with self.api.drive.lock:
            folder, _, name = path.strip("/").rpartition("/")
            return self.api.drive.add(self._item(name, APPS + kind, self._folder(folder, app, None), app)).id

    def put_shortcut(self, path: str, target: str, *, app: str = OTHER_APP) -> str:
        """Makes a shortcut to the item with the id `target`."""
        with self.api.drive.lock:
            folder, _, name = path.strip("/").rpartition("/")
            item = self._item(name, SHORTCUT, self._folder(folder, app, None), app)
            item.target = target
            return self.api.drive.add(item).id

    def trash(self, file_id: str) -> None:
        """Puts an item into the bin, as a person would."""
        with self.api.drive.lock:
            item = self.api.drive.items[file_id]
            item.explicitly_trashed, item.trashed_time = True, self.api.drive.now()
            self.api.drive.record(item)

    def delete(self, file_id: str) -> None:
        """Removes an item for good, as another device would."""
        with self.api.drive.lock:
            self.api.drive.delete(self.api.drive.items[file_id])

    def add_drive(self, name: str) -> str:
        """The id of a new shared drive."""
        with self.api.drive.lock:
            return self.api.drive.add_drive(name).id

    def _folder(self, path: str, app: str, drive: str | None) -> Item:
        state = self.api.drive
        above = state.root if drive is None else state.drives[drive]
        for name in filter(None, path.split("/")):
            found = [each for each in above.below.values() if each.name == name and each.is_folder]
            above = found[0] if found else state.add(self._item(name, FOLDER, above, app))
        return above

    def _item(self, name: str, mime: str, above: Item, app: str) -> Item:
        now = self.api.drive.now()
        return Item(self.api.drive.new_id(), name, mime, above, now, now, app)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: prints `export` lines, a token and `ready`, then serves until a signal ends it."""
    parser = argparse.ArgumentParser(description="A Google Drive on this machine, for tests.")
    parser.add_argument("--port", type=int, default=0, help="port of the proxy; default: any free one")
    parser.add_argument("--ca-file", type=Path, help="where to write the CA's certificate")
    parser.add_argument("--quota", type=int, default=100 * 1024**3, help="bytes the account may hold")
    parser.add_argument("--scope", default="drive", help="scope of the token that is printed")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with DriveEmulator(port=options.port, ca_file=options.ca_file, quota=options.quota) as emulator:
        for name, value in emulator.env().items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"export DRIVE_TOKEN={shlex.quote(json.dumps(emulator.token(options.scope)))}")
        print("ready", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
