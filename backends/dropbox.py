"""Dropbox as an fsspec filesystem: ``fsspec.filesystem("psdropbox", refresh_token=…, app_key=…)``.

Nothing here tries again: what may work later raises `photosync.engine.errors.Transient`. The engine does not
use the filesystem's methods but those of its `DropboxBackend.store`.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from typing import Any

from photosync.backends.dropbox_client import SECRETS, Account
from photosync.backends.dropbox_download import Download, download
from photosync.backends.dropbox_files import SessionWriter, os_errors
from photosync.backends.dropbox_metadata import folder_path, full_path
from photosync.backends.dropbox_store import CONCURRENCY, DropboxStore
from photosync.backends.remote_files import BUFFER, RemoteReader
from photosync.backends.service_filesystem import ServiceFileSystem
from photosync.engine.entry import join


class DropboxBackend(ServiceFileSystem):
    """An account, or one namespace of it. Paths have no leading slash; "" is the root.

    An instance may be used from many threads. It keeps its secrets to itself: they are in no repr, JSON or
    pickle, so a copy in another process is not signed in. It signs in by what fsspec's configuration says
    there (``FSSPEC_PSDROPBOX_REFRESH_TOKEN`` and ``FSSPEC_PSDROPBOX_APP_KEY`` in the environment, or
    ``fsspec.config.conf["psdropbox"]``), or the process makes an instance of its own.

    Args:
        access_token: lives about four hours.
        refresh_token: gives new access tokens; needs ``app_key``.
        app_key: of the app that the tokens are for.
        app_secret: of that app; not needed for tokens from PKCE.
        expires_at: when ``access_token`` ends, seconds since the epoch; with a refresh token and without
            this, a new access token is fetched first.
        on_token: called with a new token, a dict of the five above as far as they are known, whenever it was
            refreshed. It may not use this filesystem.
        root_namespace: id of the namespace that paths start from, for team spaces.
        storage_options: fsspec's own.
    """

    _store: DropboxStore
    SERVICE = "Dropbox"
    UNSHARED = frozenset((*SECRETS, "expires_at", "on_token"))
    protocol = "psdropbox"
    root_marker = ""
    cachable = False

    def __init__(
        self,
        *,
        access_token: str | None = None,
        refresh_token: str | None = None,
        app_key: str | None = None,
        app_secret: str | None = None,
        expires_at: float | None = None,
        on_token: Callable[[dict[str, str | float | None]], None] | None = None,
        root_namespace: str | None = None,
        **storage_options: Any,
    ) -> None:
        super().__init__(**storage_options)
        token: dict[str, str | float | None] = {
            "access_token": access_token,
            "refresh_token": refresh_token,
            "app_key": app_key,
            "app_secret": app_secret,
            "expires_at": expires_at,
        }
        # One connection more than calls: a long listing or download goes on beside them.
        self._account = Account(token, on_token, root_namespace, CONCURRENCY + 1)
        self._store = self.store("")

    def store(self, root: str) -> DropboxStore:
        """A folder as the engine's store. It need not exist.

        Args:
            root: path of the folder.
        """
        return DropboxStore(self._account, self._strip_protocol(root))

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests so far, by endpoint: "files/list_folder" …"""
        return self._account.requests

    # Looking

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Entries of a folder, or the one of a file.

        Raises:
            FileNotFoundError: nothing has that name.
        """
        path = self._strip_protocol(path)
        try:
            found = list(self._listed(path))
        except NotADirectoryError:
            found = [self.info(path)]
        return found if detail else sorted(each["name"] for each in found)

    def _listed(self, path: str) -> Iterator[dict[str, Any]]:
        from photosync.backends.dropbox_listing import Pages

        pages = Pages(self._account, folder_path("", path), recursive=False)
        while not pages.done:
            yield from (_info(each, join(path, each.name)) for each in pages.next())

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """``name``, ``type``, ``size`` and, of a file, ``rev``, ``content_hash``, ``created`` (when this
        revision came to Dropbox), ``modified``.

        Raises:
            FileNotFoundError: nothing has that name.
        """
        path = self._strip_protocol(path)
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        with self._account.calling("looking for", path) as sdk:
            metadata = sdk.files_get_metadata(full_path("", path))
        return _info(metadata, join(path.rpartition("/")[0], metadata.name))

    def ukey(self, path: str) -> str:
        """The file's revision."""
        return str(self.info(path).get("rev", ""))

    # Reading and writing

    def _open(self, path: str, mode: str = "rb", autocommit: bool = True, **kwargs: Any) -> Any:
        full = full_path("", path)
        if mode == "rb":

            def open_at(offset: int, version: str | None) -> Download:
                return download(self._account, full, path, offset, version)

            return io.BufferedReader(RemoteReader(open_at, path), BUFFER)
        if mode not in ("wb", "xb"):
            raise ValueError(f"mode {mode!r} is not possible at Dropbox; use rb, wb or xb")
        return SessionWriter(self._account, full, path, exclusive=mode == "xb", autocommit=autocommit)

    # Changing the tree

    def rm_file(self, path: str) -> None:
        """Removes one file.

        Raises:
            IsADirectoryError: it is a folder.
        """
        self._store.delete(self._strip_protocol(path))

    def _remove(self, path: str) -> None:
        with os_errors(path), self._account.writing("removing", path) as sdk:
            sdk.files_delete_v2(full_path("", path))

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
            self._store.copy(source, to)

    def mv(
        self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """Moves a file, or a folder with all that is in it, at the server.

        Raises:
            FileExistsError: ``path2`` is taken.
        """
        source, to = self._strip_protocol(path1), self._strip_protocol(path2)
        with os_errors(to), self._account.writing("moving", source) as sdk:
            sdk.files_move_v2(full_path("", source), full_path("", to), autorename=False)

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Makes a folder; Dropbox always makes its parents.

        Raises:
            FileExistsError: the name is taken.
        """
        path = self._strip_protocol(path)
        if not path:
            raise FileExistsError("the root of a Dropbox is always there")
        with os_errors(path), self._account.writing("making the folder", path) as sdk:
            sdk.files_create_folder_v2(full_path("", path), autorename=False)


def _info(metadata: Any, name: str) -> dict[str, Any]:
    if not hasattr(metadata, "rev"):
        return {"name": name, "size": 0, "type": "directory"}
    return {
        "name": name,
        "size": metadata.size,
        "type": "file" if metadata.is_downloadable and metadata.symlink_info is None else "other",
        "rev": metadata.rev,
        "content_hash": metadata.content_hash,
        "created": metadata.server_modified.replace(tzinfo=UTC),
        "modified": metadata.client_modified.replace(tzinfo=UTC),
    }
