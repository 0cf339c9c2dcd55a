"""Signing in to a remote, and out again.

    sign_in = with_code(Dropbox(app_key="…"), ask)        # or with_token, with_answers
    connect("dropbox", sign_in, config_path=None, secrets=Secrets())

Nothing here prompts: questions are asked through what the caller passes in. Nothing is kept before a request
to the service has proven it, so a failed sign-in leaves everything as it was.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from photosync.config import (
    S3,
    Config,
    ConfigError,
    Drive,
    Dropbox,
    Fsspec,
    Ftp,
    Remote,
    Sftp,
    Smb,
    Webdav,
    refuse_name,
    secrets_in,
    type_of,
    update,
)
from photosync.engine.errors import PhotosyncError
from photosync.engine.names import OURS
from photosync.places import Kind, Place, PlaceSpec, open_place
from photosync.rclone_file import Unusable, read_token
from photosync.secrets import Credentials, Secrets, redact

LIMIT = 1 << 16

CONNECTED_APPS = "https://www.dropbox.com/account/connected_apps"


class ConnectError(ValueError):
    """What was given is no sign-in; the text says what would be."""


@dataclass(frozen=True, slots=True)
class Question:
    """A credential that a type of remote may need.

    Attributes:
        name: its key in the kept record.
        prompt: to show to a person.
        hidden: not to be shown while it is typed.
    """

    name: str
    prompt: str
    hidden: bool = True


_QUESTIONS: Mapping[type, tuple[Question, ...]] = {
    S3: (
        Question("access_key_id", "Access key id", hidden=False),
        Question("secret_access_key", "Secret access key"),
        Question("session_token", "Session token (of temporary keys)"),
    ),
    Sftp: (
        Question("password", "Password (empty: key file or SSH agent)"),
        Question("key_passphrase", "Passphrase of the private key"),
        Question("key_pem", "Private key"),
    ),
    Webdav: (Question("password", "Password or app password"), Question("bearer_token", "Bearer token")),
    Ftp: (Question("password", "Password"),),
    Smb: (Question("password", "Password"),),
}


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in that was made but not kept yet.

    Attributes:
        remote: how to reach the place, for the configuration.
        credentials: for the keyring; None: those that are kept already.
        warnings: what a person should know about it.
    """

    remote: Remote
    credentials: Credentials | None
    warnings: tuple[str, ...] = ()


def questions(remote: Remote) -> tuple[Question, ...]:
    """The credentials that this type of remote may need; each may be left empty."""
    return _QUESTIONS.get(type(remote), ())


def with_code(remote: Dropbox, ask: Callable[[str], str]) -> SignIn:
    """Signs in to Dropbox in a browser, on this machine or another (OAuth 2 with PKCE; no app secret).

    Args:
        remote: with the key of the user's own Dropbox app.
        ask: shows the address it is given, and returns the code that Dropbox shows there.

    Raises:
        ConnectError: there is no app key.
        NotSignedIn: Dropbox does not accept the code.
        Transient: Dropbox could not be reached.
    """
    if not remote.app_key:
        raise ConnectError(
            "Dropbox needs the app key of an app of your own (five minutes, free): see docs/connect.md. "
            "Then run: photosync connect NAME --type dropbox --app-key KEY"
        )
    from photosync.backends.dropbox_auth import finish, start

    url, flow = start(remote.app_key)
    token = finish(flow, ask(url))
    record = {name: token.get(name) for name in ("access_token", "refresh_token", "expires_at")}
    account = str(token.get("account_id") or "")
    return SignIn(
        msgspec.structs.replace(remote, account=account),
        Credentials({name: value for name, value in record.items() if value is not None}),
    )


def with_token(remote: Remote, text: str) -> SignIn:
    """Signs in with what a file holds (``--token-file``), for machines without a browser or a terminal.

    Args:
        remote: how to reach the place.
        text: of the file. For Dropbox and Drive: JSON with access_token and what goes with it (rclone's
            token, the output of ``rclone authorize``, or the service's own answer), or a bare access token.
            For other types: JSON with names as in `questions`, or the bare password.

    Raises:
        ConnectError: it is neither; the text never repeats what the file holds.
    """
    text = text.strip()
    if not text or len(text) > LIMIT:
        raise ConnectError(
            "the token file is empty" if not text else "the token file is too long for a token"
        )
    start, end = text.find("{"), text.rfind("}")
    body = text[start : end + 1] if 0 <= start < end else ""
    if isinstance(remote, (Dropbox, Drive)):
        return _with_oauth_token(remote, text, body)
    asked = questions(remote)
    if body:
        return with_answers(remote, _json(body))
    if not asked or isinstance(remote, S3) or "\n" in text:
        names = ", ".join(question.name for question in asked) or "the filesystem's own options"
        raise ConnectError(f"the token file must hold JSON with: {names}")
    name = "password" if not isinstance(remote, Webdav) or remote.user else "bearer_token"
    return with_answers(remote, {name: text})


def with_answers(remote: Remote, answers: Mapping[str, Any]) -> SignIn:
    """Signs in with credentials as they are; empty ones are left out.

    Args:
        remote: how to reach the place.
        answers: to `questions`, by name; for type fsspec, any options of the filesystem.

    Raises:
        ConnectError: one of them is not known for this type, or its partner is missing.
    """
    given = Credentials({name: value for name, value in answers.items() if value not in ("", None)})
    known = [question.name for question in questions(remote)]
    unknown = [] if isinstance(remote, Fsspec) else [name for name in given if name not in known]
    if unknown:
        raise ConnectError(f"a remote of type {type_of(remote)} takes {', '.join(known) or 'no credentials'}")
    if isinstance(remote, S3) and ("access_key_id" in given) != ("secret_access_key" in given):
        raise ConnectError("an access key id and its secret access key go together: give both, or a profile")
    return SignIn(remote, given)


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
        Whether it was proven. False: the remote names no bucket or share yet, so there is nothing to ask for.

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
    # Drive's turn comes with the version that has it; until then its remote is only kept.
    proven = not rootless and not isinstance(remote, Drive)

    def put(config: Config) -> Config:
        old = config.remotes.get(name)
        if old is not None and type_of(old) != type_of(remote):
            raise ConfigError(
                f"{name!r} is a remote of type {type_of(old)} already. Choose another name, or first run: "
                f"photosync disconnect {name}"
            )
        return Config(remotes={**config.remotes, name: remote}, defaults=config.defaults)

    def refuse_early(config: Config) -> Config:
        put(config)
        return config

    update(config_path, refuse_early)
    if proven:
        place = open_place(PlaceSpec(f"{name}:{path}", Kind.REMOTE, name, path, remote), fresh)
        try:
            (test or check)(place)
        finally:
            place.store.close()
    if sign_in.credentials is not None:
        if proven and isinstance(remote, (Dropbox, Drive)):
            fresh.record["signed_in"] = int(time.time())
        if fresh.record:
            secrets.set(name, fresh.record)
        else:
            secrets.delete(name)
    update(config_path, put)
    return proven


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
            names = ", ".join(sorted(config.remotes)) or "none"
            raise ConfigError(f"there is no remote called {name!r}. Configured are: {names}")
        gone.append(config.remotes[name])
        rest = {each: remote for each, remote in config.remotes.items() if each != name}
        return Config(remotes=rest, defaults=config.defaults)

    record = secrets.get(name)
    update(config_path, drop)
    secrets.delete(name)
    remote = gone[0]
    if not isinstance(remote, Dropbox) or not record:
        return ()
    if record.get("shared"):
        return ("its token came from another program, where it stays valid",)
    from photosync.backends.dropbox_auth import revoke

    token = {key: record.get(key) for key in ("access_token", "refresh_token", "expires_at", "app_secret")}
    try:
        revoke({**token, "app_key": remote.app_key or None})
    except PhotosyncError as error:
        why = secrets.redact(str(error))
        return (f"Dropbox could not be told ({why}). End the sign-in at {CONNECTED_APPS}",)
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


def _with_oauth_token(remote: Dropbox | Drive, text: str, body: str) -> SignIn:
    if not body:
        if any(character.isspace() for character in text):
            raise ConnectError("the token file holds neither JSON nor a single token")
        return SignIn(remote, Credentials(access_token=text, shared=True), _SHORT)
    try:
        record = read_token(body)
    except Unusable as error:
        raise ConnectError(f"the token file can't be used: {error}") from None
    given = _json(body)
    key_name = "app_key" if isinstance(remote, Dropbox) else "client_id"
    app = getattr(remote, key_name) or next(
        (given[key] for key in ("app_key", "client_id") if isinstance(given.get(key), str)), ""
    )
    secret = next((given[key] for key in ("app_secret", "client_secret") if given.get(key)), None)
    if secret and app:
        record["app_secret" if isinstance(remote, Dropbox) else "client_secret"] = secret
    warnings: tuple[str, ...] = ()
    if not app or "refresh_token" not in record:
        # Only the app that a token was given to can renew it.
        record.pop("refresh_token", None)
        warnings = _SHORT
        if "access_token" not in record:
            raise ConnectError("a refresh token needs the app key that it was given to: add --app-key KEY")
    record["shared"] = True
    return SignIn(msgspec.structs.replace(remote, **{key_name: app}), record, warnings)


_SHORT = ("this token can't be renewed, so it works until it expires; then sign in with an app key",)


def _json(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConnectError("the token file holds something that looks like JSON and is not")
    return found
