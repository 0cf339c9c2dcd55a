"""Proving and keeping a sign-in, trying it, and signing out.

    connect("dropbox", sign_in, config_path=None, secrets=Secrets())     # `photosync.sign_in` makes them

Nothing is kept before a request to the service has proven it: a failed sign-in leaves everything as it was.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from photosync.backends.tokens import Signed
from photosync.config import (
    S3,
    Config,
    ConfigError,
    Drive,
    Dropbox,
    Ftp,
    Remote,
    Sftp,
    Smb,
    Webdav,
    refuse_name,
    secrets_in,
    type_of,
    unknown_remote,
    update,
)
from photosync.engine.errors import Permanent, PhotosyncError
from photosync.engine.names import OURS
from photosync.places import Keys, Kind, Place, PlaceSpec, open_place
from photosync.secrets import Credentials, Secrets, redact
from photosync.sign_in import RENEWABLE, ConnectError, SignIn, kept

_PAGES = {
    "dropbox": ("Dropbox", "https://www.dropbox.com/account/connected_apps"),
    "drive": ("Google", "https://myaccount.google.com/connections"),
}
"""Where a person ends a sign-in by hand."""


def connect(
    name: str,
    sign_in: SignIn,
    *,
    config_path: Path | None,
    secrets: Secrets,
    path: str = "",
    test: Callable[[Place], None] | None = None,
) -> bool:
    """Proves a sign-in and keeps it: credentials first, then the configuration.

    Args:
        name: of the remote. One of the same type and name is replaced.
        sign_in: from one of the functions above.
        config_path: as for `photosync.config.load`.
        secrets: where credentials go.
        path: below the remote's root, to prove it with.
        test: makes the request that proves it; None: `check`.

    Returns:
        Whether it was proven. False: the remote names no bucket or share yet, so there is nothing to ask for,
        and its keys may not list buckets.

    Raises:
        ConfigError: the name can't be used, or is taken by a remote of another type.
        ConnectError: an option is a secret.
        PhotosyncError: the service refused, or could not be reached; nothing was kept.
    """
    remote = sign_in.remote
    if why := refuse_name(name):
        raise ConfigError(why)
    for key in secrets_in(msgspec.to_builtins(remote)):
        raise ConnectError(f"{'.'.join(key)} is a secret: give it in a file (--token-file), not as an option")
    record = secrets.get(name) if sign_in.credentials is None else sign_in.credentials
    fresh = _Fresh(record or Credentials())
    rootless = isinstance(remote, (S3, Smb)) and not (remote.root or path)
    spec = PlaceSpec(f"{name}:{path}", Kind.REMOTE, name, path, remote)

    def put(config: Config) -> Config:
        old = config.remotes.get(name)
        if old is not None and type_of(old) != type_of(remote):
            raise ConfigError(
                f"{name!r} is a remote of type {type_of(old)} already. Choose another name, or first run: "
                f"photosync disconnect {name}"
            )
        return msgspec.structs.replace(config, remotes={**config.remotes, name: remote})

    def refuse_early(config: Config) -> Config:
        put(config)
        return config

    update(config_path, refuse_early)
    if rootless:
        proven = buckets(spec, fresh) is not None
    else:
        proven = True
        place = open_place(spec, fresh)
        try:
            (test or check)(place)
        finally:
            place.store.close()
    if sign_in.credentials is not None:
        if proven and isinstance(remote, Dropbox):
            fresh.record["signed_in"] = int(time.time())
        if fresh.record:
            secrets.set(name, fresh.record)
        else:
            secrets.delete(name)
    update(config_path, put)
    return proven


def buckets(spec: PlaceSpec, keys: Keys) -> list[str] | None:
    """The buckets that an S3 remote's keys give access to; None if they may not be listed, or it is another
    type of remote.

    Raises:
        NotSignedIn: the keys are not accepted.
        Transient: the service could not be reached.
    """
    if not isinstance(spec.remote, S3):
        return None
    from photosync.openers import buckets as listed

    try:
        return listed(spec, spec.remote, keys)
    except Permanent:
        return None


def who(place: Place, keys: Keys) -> str:
    """Who is signed in: by the service's word where it has one, else by what is configured; may be empty.

    Raises:
        NotSignedIn, Transient: see `photosync.backends.tokens.Signed.who`.
    """
    if isinstance(place.store, Signed):
        return place.store.who().text
    match place.remote:
        case S3() as remote:
            if remote.profile:
                return f"profile {remote.profile}"
            key = (keys.get(place.name) or Credentials()).get("access_key_id")
            return f"access key {key}" if key else ""
        case Sftp() | Ftp() | Smb() as remote:
            return f"{remote.user or 'no user'} at {remote.host}"
        case Webdav() as remote:
            return f"{remote.user or 'no user'} at {remote.url}"
    return ""


def check(place: Place) -> None:
    """Makes one cheap request that only a valid sign-in lets through; the place's folder need not exist.

    Raises:
        NotSignedIn: the service refuses the credentials.
        PhotosyncError: it can't be reached, or has no such bucket.
    """
    try:
        place.store.list_folder(OURS)
    except FileNotFoundError as error:
        # A bucket that is missing is both; a folder that is missing is the usual case.
        if isinstance(error, PhotosyncError):
            raise


def disconnect(name: str, *, config_path: Path | None, secrets: Secrets) -> tuple[str, ...]:
    """Signs out: revokes the sign-in at the service where that is possible, then forgets it.

    A token that came from another program stays valid there, and is only forgotten here.

    Args:
        name: of the remote.
        config_path: as for `photosync.config.load`.
        secrets: where its credentials are.

    Returns:
        What a person should know, such as that the service could not be told.

    Raises:
        ConfigError: there is no such remote.
    """
    gone: list[Remote] = []

    def drop(config: Config) -> Config:
        if name not in config.remotes:
            raise unknown_remote(name, config)
        gone.append(config.remotes[name])
        rest = {each: remote for each, remote in config.remotes.items() if each != name}
        return msgspec.structs.replace(config, remotes=rest)

    record = secrets.get(name)
    rest = update(config_path, drop).remotes
    secrets.delete(name)
    remote = gone[0]
    if isinstance(remote, Drive) and remote.account:
        for other, each in rest.items():
            if isinstance(each, Drive) and (each.client_id, each.account) == (
                remote.client_id,
                remote.account,
            ):
                # Google ends all sign-ins of a client and an account at once.
                return (f"it goes on at Google, because {other!r} is the same account and OAuth client",)
    return _revoke(remote, record or Credentials(), secrets)


def _revoke(remote: Remote, record: Credentials, secrets: Secrets) -> tuple[str, ...]:
    if not isinstance(remote, (Dropbox, Drive)) or not ({"access_token", "refresh_token"} & record.keys()):
        return ()
    if record.get("shared"):
        return ("its token came from another program, where it stays valid",)
    try:
        if isinstance(remote, Dropbox):
            from photosync.backends import dropbox_auth

            dropbox_auth.revoke({**kept(record, (*RENEWABLE, "app_secret")), "app_key": remote.app_key})
        else:
            from photosync.backends import drive_auth

            drive_auth.revoke(record)
    except PhotosyncError as error:
        service, page = _PAGES[type_of(remote)]
        return (f"{service} could not be told ({secrets.redact(str(error))}). End the sign-in at {page}",)
    return ()


class _Fresh:
    """Credentials that are not kept yet; a token renewed while they are tried is not lost."""

    def __init__(self, record: Credentials) -> None:
        self.record = record

    def get(self, remote: str) -> Credentials | None:
        return self.record

    def rotate(self, remote: str, new: Mapping[str, Any]) -> None:
        self.record = Credentials(
            {**self.record, **{name: value for name, value in new.items() if value is not None}}
        )

    def redact(self, text: str) -> str:
        return redact(text, [value for value in self.record.values() if isinstance(value, str)])
