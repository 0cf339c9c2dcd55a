"""From a place's words to its store: one function a type of remote.

Backends and their SDKs are loaded here, when a place is opened and not before.
"""

import hashlib
import json
import logging
import os
import posixpath
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from photosync import paths
from photosync.config import S3, TYPES, Drive, Dropbox, Fsspec, Ftp, Local, Remote, Sftp, Smb, Webdav, type_of
from photosync.engine.capabilities import Store
from photosync.engine.errors import Fatal, NotSignedIn, Permanent
from photosync.places import Keys, Kind, Place, PlaceError, PlaceSpec
from photosync.secrets import Credentials, SecretsError

if TYPE_CHECKING:
    from photosync.backends.devices import Device

_log = logging.getLogger("photosync")

PATIENCE = 30.0
"""Seconds for connecting, and between two signs of life."""
ANSWER = 120.0
"""Seconds that a server may take for one answer."""
_RENEWED = ("access_token", "refresh_token", "expires_at")


def open_spec(spec: PlaceSpec, keys: Keys) -> Place:
    """What `photosync.places.open_place` does, foreign exceptions and all."""
    match spec.remote:
        case None:
            return _open_phone(spec) if spec.kind is Kind.PHONE else _open_url(spec)
        case Local() as remote:
            return _open_local(spec, remote)
        case Drive() as remote:
            return _open_drive(spec, remote, keys)
        case Dropbox() as remote:
            return _open_dropbox(spec, remote, keys)
        case S3() as remote:
            return _open_s3(spec, remote, keys)
        case Sftp() as remote:
            return _open_sftp(spec, remote, keys)
        case Ftp() as remote:
            return _open_ftp(spec, remote, keys)
        case Smb() as remote:
            return _open_smb(spec, remote, keys)
        case Webdav() as remote:
            return _open_webdav(spec, remote, keys)
        case Fsspec() as remote:
            return _open_fsspec(spec, remote, keys)


def _parts(path: str, text: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PlaceError(f"{text}: '..' would leave the place; write the path without it")
    return parts


def _below(spec: PlaceSpec, root: str) -> str:
    """``root`` and the place's path, joined and tidied, without a leading slash."""
    return "/".join([*_parts(root, spec.text), *_parts(spec.path, spec.text)])


def _absolute(spec: PlaceSpec, root: str, home: Callable[[], str]) -> str:
    """The same for servers that tell "/a" from "a", which is relative to ``home()``."""
    inner = _below(spec, root)
    start = root or spec.path
    return f"/{inner}" if start.startswith("/") else posixpath.join(home(), inner).rstrip("/") or "/"


def _record(spec: PlaceSpec, keys: Keys) -> Credentials:
    """The kept credentials of a configured remote; empty if there are none, or it is no configured one."""
    return (keys.get(spec.name) if spec.kind is Kind.REMOTE else None) or Credentials()


def _open_local(spec: PlaceSpec, remote: Local) -> Place:
    from photosync.backends.local_store import LocalStore

    path = spec.path
    if remote.root:
        path = os.path.join(remote.root, *_parts(spec.path, spec.text))
    root = os.path.abspath(os.path.expanduser(path))
    identity = os.path.realpath(root)
    store = _sparing_phones(LocalStore(root), identity)
    return Place(spec.name, store, None, spec.text, identity, remote, root=root)


def _sparing_phones(store: Store, path: str) -> Store:
    """A store of files of this machine, only to be read if they are a mounted phone's."""
    from photosync.backends.device_facts import mount_table
    from photosync.backends.devices import leads_to_phone

    if leads_to_phone(path, mount_table()):
        store.capabilities = replace(store.capabilities, writable=False)
    return store


def _open_dropbox(spec: PlaceSpec, remote: Dropbox, keys: Keys) -> Place:
    from photosync.backends.dropbox import DropboxBackend

    record = _record(spec, keys)
    # A refresh token is of no use without the app that it was given to.
    refresh = record.get("refresh_token") if remote.app_key else None
    if not (refresh or record.get("access_token")):
        raise _nobody(spec)
    root = _below(spec, remote.root)
    fs = DropboxBackend(
        access_token=record.get("access_token"),
        refresh_token=refresh,
        app_key=remote.app_key or None,
        app_secret=record.get("app_secret"),
        expires_at=record.get("expires_at"),
        on_token=_keeping(spec, keys),
        skip_instance_cache=True,
    )
    identity = f"dropbox:{remote.account or spec.name}/{root.casefold()}"
    return Place(spec.name, fs.store(root), fs, spec.text, identity, remote, root=root)


def _nobody(spec: PlaceSpec) -> NotSignedIn:
    return NotSignedIn(
        f"nobody is signed in to {spec.name!r}: no token is kept for it. Run: photosync connect {spec.name}"
    )


def _keeping(spec: PlaceSpec, keys: Keys) -> Callable[[Mapping[str, Any]], None]:
    """What keeps a renewed token. A backend calls it before it uses the token, so that a kill in between
    leaves one that works: the service may have ended the old one."""

    def keep(token: Mapping[str, Any]) -> None:
        try:
            keys.rotate(spec.name, {name: token.get(name) for name in _RENEWED})
        except (SecretsError, OSError) as error:
            # The run has its token; that the next one may have to ask is no reason to end this one.
            _log.warning("the renewed sign-in to %s could not be kept: %s", spec.name, error)

    return keep


def _open_drive(spec: PlaceSpec, remote: Drive, keys: Keys) -> Place:
    from photosync.backends.drive import DriveBackend

    record = _record(spec, keys)
    account = record.get("service_account") or _key_of(spec, remote)
    # A refresh token is of no use without the client that it was given to.
    refresh = record.get("refresh_token") if remote.client_id else None
    if not (account or refresh or record.get("access_token")):
        raise _nobody(spec)
    root = _below(spec, remote.root)
    fs = DriveBackend(
        access_token=record.get("access_token"),
        refresh_token=refresh,
        client_id=remote.client_id or None,
        client_secret=record.get("client_secret"),
        expires_at=record.get("expires_at"),
        service_account=account,
        # A service account signs its own requests for tokens, and has nothing to lose.
        on_token=None if account else _keeping(spec, keys),
        scope=remote.scope,
        shared_drive=remote.shared_drive,
        root_folder_id=remote.root_folder_id,
        skip_instance_cache=True,
    )
    top = remote.root_folder_id or remote.shared_drive or f"{remote.account or spec.name}"
    return Place(spec.name, fs.store(root), fs, spec.text, f"drive:{top}/{root}", remote, root=root)


def _key_of(spec: PlaceSpec, remote: Drive) -> str | None:
    """The JSON of the service account's key file, if the remote names one."""
    if not remote.service_account_file:
        return None
    path = os.path.expanduser(remote.service_account_file)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"{spec.text}: the service account's key file {path} cannot be read ({error})") from None


def buckets(spec: PlaceSpec, remote: S3, keys: Keys) -> list[str]:
    """The buckets of the account that is signed in.

    Raises:
        NotSignedIn: the keys are not accepted.
        Permanent: they may not list buckets, which says nothing about what they may do in one.
    """
    from photosync.backends.s3 import S3Backend

    fs = S3Backend(**_s3_options(spec, remote, keys), skip_instance_cache=True)
    try:
        return [str(name) for name in fs.ls("", detail=False)]
    finally:
        fs.store("any").close()


def _open_s3(spec: PlaceSpec, remote: S3, keys: Keys) -> Place:
    if not (root := _below(spec, remote.root)):
        raise PlaceError(f"{spec.text}: a bucket is missing after it: BUCKET/folder")
    from photosync.backends.s3_options import Keeping
    from photosync.backends.s3_service import Account
    from photosync.backends.s3_store import open_store

    options = _s3_options(spec, remote, keys)
    keeping = Keeping(
        remote.storage_class or None,
        remote.sse or None,
        remote.sse_kms_key_id or None,
        remote.object_lock_mode or None,
        _days_from_now(remote.object_lock_days),
        remote.requester_pays,
    )
    endpoint = (
        options["endpoint_url"] or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    host = endpoint.partition("://")[2].strip("/") if endpoint else "aws"
    store = open_store(Account(**options, keeping=keeping), root)
    return Place(spec.name, store, None, spec.text, f"s3://{host}/{root}", remote, root=root)


def _s3_options(spec: PlaceSpec, remote: S3, keys: Keys) -> dict[str, Any]:
    """How to reach and sign in to the service, in the words of both `Account` and `S3Backend`."""
    record = _record(spec, keys)
    options: dict[str, Any] = {
        "key": record.get("access_key_id"),
        "secret": record.get("secret_access_key"),
        "token": record.get("session_token"),
        "profile": remote.profile or None,
        "endpoint_url": remote.endpoint or None,
        "region_name": remote.region or None,
        "addressing_style": remote.addressing_style,
    }
    return options | _s3_settings() if spec.kind is Kind.URL else options


def _days_from_now(days: int) -> datetime | None:
    return datetime.now(UTC) + timedelta(days=days) if days else None


def _s3_settings() -> dict[str, Any]:
    """What fsspec.config says about ``s3://``, in s3fs's words; the rest comes from AWS's own settings."""
    folder = os.environ.get("FSSPEC_CONFIG_DIR") or os.path.expanduser("~/.config/fsspec")
    told = os.path.isdir(folder) or any(name.startswith("FSSPEC_") for name in os.environ)
    if not told and "fsspec" not in sys.modules:
        # Loading it only to find nothing would take a twentieth of a second.
        return {}
    from fsspec.config import conf

    settings = conf.get("s3", {})
    merged = {**(settings.get("client_kwargs") or {}), **settings}
    known = ("key", "secret", "token", "profile", "endpoint_url", "region_name")
    return {name: merged[name] for name in known if merged.get(name)}


def _open_sftp(spec: PlaceSpec, remote: Sftp, keys: Keys) -> Place:
    from photosync.pinned_fs import PinnedSFTP

    record = _record(spec, keys)
    fs = PinnedSFTP(
        remote.host,
        remember=str(paths.known_hosts_file()),
        known_hosts=os.path.expanduser(remote.known_hosts) or None,
        key_pem=record.get("key_pem"),
        key_passphrase=record.get("key_passphrase"),
        port=remote.port,
        username=remote.user or None,
        password=record.get("password"),
        key_filename=os.path.expanduser(remote.key_file) or None,
    )
    root = _absolute(spec, remote.root, lambda: str(fs.ftp.normalize(".")))
    return _any(spec, remote, fs, root, f"sftp://{_server(remote)}{root}")


def _open_ftp(spec: PlaceSpec, remote: Ftp, keys: Keys) -> Place:
    from fsspec.implementations.ftp import FTPFileSystem

    kind = FTPFileSystem
    if remote.tls:
        from photosync.pinned_fs import VerifiedFTP

        kind = VerifiedFTP
    password = _record(spec, keys).get("password")
    fs = kind(remote.host, port=remote.port, username=remote.user or None, password=password)
    root = _absolute(spec, remote.root, lambda: str(fs.ftp.pwd()))
    return _any(spec, remote, fs, root, f"ftp://{_server(remote)}{root}")


def _open_smb(spec: PlaceSpec, remote: Smb, keys: Keys) -> Place:
    import fsspec

    root = "/" + _below(spec, remote.root)
    if root == "/":
        raise PlaceError(f"{spec.text}: name a share: the first name of the path")
    password = _record(spec, keys).get("password")
    # Twice this long without any answer, and smbprotocol gives the connection up.
    os.environ.setdefault("SMB_EXPERIMENTAL_TRANSPORT_RECEIVE_TIMEOUT", str(int(PATIENCE)))
    fs = fsspec.filesystem(
        "smb",
        host=remote.host,
        port=remote.port,
        username=remote.user or None,
        password=password,
        timeout=int(PATIENCE),
        # Else what one thread reads is locked for all others.
        share_access="r",
        register_session_retries=0,
    )
    return _any(spec, remote, fs, root, f"smb://{_server(remote)}{root}")


def _open_webdav(spec: PlaceSpec, remote: Webdav, keys: Keys) -> Place:
    import ssl

    import fsspec
    import httpx

    from photosync.backends.tls import ca_bundle

    record = _record(spec, keys)
    options: dict[str, Any] = {
        "verify": ssl.create_default_context(cafile=ca_bundle()),
        # A server may take its time after the last byte of a large file.
        "timeout": httpx.Timeout(PATIENCE, read=ANSWER, write=ANSWER),
        "event_hooks": {"response": [_stay_there]},
    }
    if remote.user:
        options["auth"] = (remote.user, record.get("password") or "")
    elif token := record.get("bearer_token"):
        options["headers"] = {"Authorization": f"Bearer {token}"}
    fs = fsspec.filesystem("webdav", base_url=remote.url, **options)
    root = _below(spec, remote.root)
    user = f"{remote.user}@" if remote.user else ""
    return _any(spec, remote, fs, root, f"webdav:{user}{remote.url.rstrip('/')}/{root}")


def _stay_there(response: Any) -> None:
    """httpx's hook: the client follows redirects, and what another host says is not the server's word."""
    if not response.has_redirect_location:
        return
    here, there = response.url, response.url.join(response.headers["location"])
    same = (there.scheme, there.port) == (here.scheme, here.port) or there.scheme == "https"
    if there.host != here.host or not same:
        raise Permanent("the WebDAV server sends its visitors to another host, which is never followed")


def _open_fsspec(spec: PlaceSpec, remote: Fsspec, keys: Keys) -> Place:
    import fsspec

    known = _known(remote.protocol)
    fs = fsspec.filesystem(known, **{**remote.options, **_record(spec, keys)})
    root = _below(spec, remote.root)
    if (remote.root or spec.path).startswith("/"):
        root = f"/{root}"
    options = json.dumps(remote.options, sort_keys=True, default=str)
    kept = hashlib.sha256(options.encode()).hexdigest()[:12] if remote.options else ""
    return _any(spec, remote, fs, root, f"{known}:{kept}/{root.strip('/')}")


def _open_url(spec: PlaceSpec) -> Place:
    import fsspec

    _known(spec.name)
    try:
        fs, path = fsspec.url_to_fs(spec.path)
    except TypeError as error:
        if "required" not in str(error):
            raise
        kind = spec.name if spec.name in TYPES else "fsspec"
        keep = f"keep it with: photosync connect NAME --type {kind}"
        instead = "write phone: instead" if spec.name == "psadb" else keep
        raise PlaceError(
            f"{spec.text}: an address alone does not say all that {spec.name}:// needs; {instead}"
        ) from None
    # What follows the "?" of a web address may be what gives access to it.
    identity = spec.path.partition("?")[0] if spec.name in ("http", "https") else spec.path
    return _any(spec, None, fs, path, identity.rstrip("/"))


def device_store(device: "Device", subpath: str) -> Store:
    """The store of a device by the route that it was found by.

    Raises:
        DeviceGone: it is not there any more, or shows no photos.
        FileNotFoundError: it has no folder ``subpath``.
    """
    if device.route == "adb":
        from photosync.backends.adb_store import adb_store

        return adb_store(device, subpath)
    from photosync.backends.phone import phone_store

    return phone_store(device, subpath)


def _open_phone(spec: PlaceSpec) -> Place:
    from photosync.backends.device_list import find_devices, select

    device = select(find_devices(), spec.name.partition("@")[2] or None)
    store = device_store(device, spec.path)
    identity = f"phone:{device.identity}/{spec.path}"
    return Place(spec.name, store, None, spec.text, identity, device=device.identity)


def _any(spec: PlaceSpec, remote: Remote | None, fs: Any, root: str, identity: str) -> Place:
    # fsspec's memory filesystem has a "store" too: a dict.
    if callable(getattr(fs, "store", None)):
        store = fs.store(root)
    else:
        from photosync.backends.anyfs import AnyStore

        store = AnyStore(fs, root)
    where, layer = root, fs
    while layer is not None:
        if getattr(layer, "local_file", False):
            store = _sparing_phones(store, os.path.realpath(where))
        # A "dir" filesystem is a folder of another, in whose words its paths begin with that folder.
        where = layer._join(where) if isinstance(getattr(layer, "path", None), str) else where
        layer = getattr(layer, "fs", None)
    return Place(spec.name, store, fs, spec.text, identity, remote, root=root)


def _server(remote: Sftp | Ftp | Smb) -> str:
    return f"{remote.user}@{remote.host}:{remote.port}" if remote.user else f"{remote.host}:{remote.port}"


def _known(protocol: str) -> str:
    """``protocol``, if fsspec knows it."""
    import fsspec

    known = {*fsspec.available_protocols(), *fsspec.registry}
    if protocol in known:
        return protocol
    if protocol == "drive":
        raise PlaceError(_TO_DRIVE)
    import difflib

    close = difflib.get_close_matches(protocol, known, 3)
    raise PlaceError(
        f"{protocol}:// is no protocol that fsspec knows here. "
        + (f"Did you mean {' or '.join(f'{each}://' for each in close)}? " if close else "")
        + "If a package provides it, install that package beside photosync."
    )


_TO_DRIVE = "sign in to Google Drive with: photosync connect drive --type drive, then write drive:folder"

_PACKAGES = {
    "webdav": "webdav4[fsspec]",
    "smb": "smbprotocol",
    "sftp": "paramiko",
    "http": "aiohttp requests",
    "https": "aiohttp requests",
}


def missing_package(spec: PlaceSpec, error: ImportError) -> str:
    """What to install so that a place can be opened."""
    from fsspec.registry import known_implementations

    protocol = spec.name
    if spec.remote is not None:
        protocol = spec.remote.protocol if isinstance(spec.remote, Fsspec) else type_of(spec.remote)
    if protocol == "gdrive":
        return _TO_DRIVE
    if protocol == "dropbox":
        return "sign in to Dropbox with: photosync connect dropbox --type dropbox, then write dropbox:folder"
    hint = known_implementations.get(protocol, {})
    package = _PACKAGES.get(protocol) or str(hint.get("class", error.name or protocol)).partition(".")[0]
    if package in ("fsspec", "photosync"):
        return f"a package is missing. {hint.get('err', error)}"
    return f"{protocol} needs a package that is not installed. Run: pip install '{package}'"
