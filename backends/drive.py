"""Google Drive as an fsspec filesystem: ``fsspec.filesystem("psgdrive", refresh_token=…, client_id=…)``.

Nothing here tries again: what may work later raises `photosync.engine.errors.Transient`. The engine does not
use the filesystem's methods but those of its `DriveBackend.store`.
"""

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from photosync.backends.drive_client import SECRETS, Account
from photosync.backends.drive_download import Download, download
from photosync.backends.drive_files import SpooledWriter, os_errors
from photosync.backends.drive_folders import Folders
from photosync.backends.drive_metadata import Item, checked, entry_of, named, split
from photosync.backends.drive_pages import children
from photosync.backends.drive_put import Mover
from photosync.backends.drive_store import DriveStore
from photosync.backends.remote_files import BUFFER, RemoteReader
from photosync.backends.service_filesystem import ServiceFileSystem
from photosync.engine.entry import join


class DriveBackend(ServiceFileSystem):
    """My Drive, a shared drive, or a folder of either. Paths have no leading slash; "" is the root.

    Drive lets several files have one name; the oldest keeps it, others are shown as ``name~id-3f9a2b7c.jpg``.
    A name with a slash in it is shown with ``%2F``.

    An instance may be used from many threads. It keeps its secrets to itself: they are in no repr, JSON or
    pickle, so a copy in another process is not signed in. It signs in by what fsspec's configuration says
    there (``FSSPEC_PSGDRIVE_REFRESH_TOKEN``, ``…_CLIENT_ID`` and ``…_CLIENT_SECRET`` in the environment, or
    ``fsspec.config.conf["psgdrive"]``), or the process makes an instance of its own.

    Args:
        access_token: lives about an hour.
        refresh_token: gives new access tokens; needs ``client_id`` and ``client_secret``.
        client_id: of the OAuth client that the tokens are for.
        client_secret: of that client.
        expires_at: when ``access_token`` ends, seconds since the epoch.
        service_account: the JSON of a service account's key file, instead of tokens.
        on_token: called with a new token, a dict of the above as far as they are known, whenever it was
            renewed. It may not use this filesystem.
        scope: what a service account asks for ("drive", "drive.file").
        shared_drive: id of a shared drive to work in.
        root_folder_id: id of the folder that is the root.
        storage_options: fsspec's own.
    """

    _store: DriveStore
    SERVICE = "Google Drive"
    UNSHARED = frozenset((*SECRETS, "expires_at", "on_token"))
    protocol = "psgdrive"
    root_marker = ""
    cachable = False

    def __init__(
        self,
        *,
        access_token: str | None = None,
        refresh_token: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        expires_at: float | None = None,
        service_account: str | None = None,
        on_token: Callable[[dict[str, str | float | None]], None] | None = None,
        scope: str = "",
        shared_drive: str = "",
        root_folder_id: str = "",
        **storage_options: Any,
    ) -> None:
        super().__init__(**storage_options)
        token: dict[str, str | float | None] = {
            "access_token": access_token,
            "refresh_token": refresh_token,
            "client_id": client_id,
            "client_secret": client_secret,
            "expires_at": expires_at,
            "service_account": service_account,
        }
        self._account = Account(token, on_token, scope, shared_drive, root_folder_id)
        self._folders = Folders(self._account)
        self._mover = Mover(self._account, self._folders)
        self._store = self.store("")

    def store(self, root: str) -> DriveStore:
        """A folder as the engine's store. It need not exist.

        Args:
            root: path of the folder.
        """
        return DriveStore(self._account, self._folders, self._strip_protocol(root))

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests so far, by the API's name of the method: "files.list" …"""
        return self._account.requests

    # Looking

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Entries of a folder, or the one of a file.

        Raises:
            FileNotFoundError: nothing has that name.
        """
        path = self._strip_protocol(path)
        try:
            folder = self._folders.folder(path)
        except NotADirectoryError:
            found = [self.info(path)]
        else:
            inside = named(children(self._account, folder.id, path))
            if not inside and path:
                # A folder that is gone lists nothing, too.
                self.info(path)
            found = [_info(item, join(path, name)) for name, item in inside.items()]
        return found if detail else sorted(each["name"] for each in found)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """``name``, ``type``, ``size``; of a file also ``id``, hashes, ``created`` and ``modified``.

        Raises:
            FileNotFoundError: nothing has that name.
        """
        path = self._strip_protocol(path)
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        return _info(self._folders.find(path), path)

    def ukey(self, path: str) -> str:
        """The file's id and content hash."""
        return str(self.info(path).get("version", ""))

    # Reading and writing

    def _open(self, path: str, mode: str = "rb", autocommit: bool = True, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)
        if mode == "rb":
            item = self._folders.find(path)

            def open_at(offset: int, _version: str | None) -> Download:
                return download(self._account, item, path, offset)

            return io.BufferedReader(RemoteReader(open_at, path), BUFFER)
        if mode not in ("wb", "xb"):
            raise ValueError(f"mode {mode!r} is not possible at Google Drive; use rb, wb or xb")
        return SpooledWriter(self._account, self._folders, path, mode == "xb", autocommit)

    # Changing the tree

    def rm_file(self, path: str) -> None:
        """Puts one file into the trash.

        Raises:
            IsADirectoryError: it is a folder.
        """
        path = self._strip_protocol(path)
        if self._folders.find(path).is_folder:
            raise IsADirectoryError(f"{path!r} at Google Drive is a folder")
        self._remove(path)

    def _remove(self, path: str) -> None:
        item = self._folders.find(path)
        with os_errors(path):
            self._account.run(
                lambda api: api.files.update(
                    fileId=item.id, body={"trashed": True}, fields="id", supportsAllDrives=True
                ),
                "removing",
                path,
            )
        self._folders.forget(path)
        self._folders.release(self._folders.parent(path), split(path)[1], item.id)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copies a file at the server; of a folder, the folder alone.

        Raises:
            FileExistsError: ``path2`` is taken.
        """
        source, to = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(source):
            self.makedirs(to, exist_ok=True)
            return
        with os_errors(to):
            self._mover.copy(checked(source), checked(to))

    def mv(
        self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """Moves a file, or a folder with all that is in it, at the server.

        Raises:
            FileExistsError: ``path2`` is taken.
        """
        source, to = self._strip_protocol(path1), self._strip_protocol(path2)
        with os_errors(to):
            self._mover.move(checked(source), checked(to))

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Makes a folder, and its parents.

        Raises:
            FileExistsError: the name is taken.
        """
        path = self._strip_protocol(path)
        if not path or self.exists(path):
            raise FileExistsError(f"{path!r} exists at Google Drive")
        with os_errors(path):
            self._folders.ensure(path)


def _info(item: Item, path: str) -> dict[str, Any]:
    if item.is_folder:
        return {"name": path, "size": 0, "type": "directory"}
    info: dict[str, Any] = {
        "name": path,
        "size": item.size,
        "type": "file" if entry_of(item, path).is_file else "other",
        "id": item.id,
        "version": item.version,
        **item.digests,
    }
    if item.created:
        info["created"] = datetime.fromisoformat(item.created)
    if item.mtime_ns is not None:
        info["modified"] = datetime.fromtimestamp(item.mtime_ns / 1e9, UTC)
    return info
