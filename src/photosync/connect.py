"""Signing in to a remote, and out again.

    sign_in = with_person(Dropbox(app_key="…"), meet)     # or with_token, with_answers
    connect("dropbox", sign_in, config_path=None, secrets=Secrets())

Nothing here prompts: questions are asked through what the caller passes in. Nothing is kept before a request
to the service has proven it, so a failed sign-in leaves everything as it was.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from photosync import handover
from photosync.backends.tokens import Signed
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
from photosync.engine.errors import Permanent, PhotosyncError
from photosync.engine.names import OURS
from photosync.oauth import Begin, Token
from photosync.places import Keys, Kind, Place, PlaceSpec, open_place
from photosync.secrets import Credentials, Secrets, redact

_PAGES = {
    "dropbox": ("Dropbox", "https://www.dropbox.com/account/connected_apps"),
    "drive": ("Google", "https://myaccount.google.com/connections"),
}
"""Where a person ends a sign-in by hand."""


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
        who: whose account it is, if the service was asked.
    """

    remote: Remote
    credentials: Credentials | None
    warnings: tuple[str, ...] = ()
    who: str = ""


def questions(remote: Remote) -> tuple[Question, ...]:
    """The credentials that this type of remote may need; each may be left empty."""
    return _QUESTIONS.get(type(remote), ())


def with_person(remote: Dropbox | Drive, meet: Callable[[Begin], Token], client_secret: str = "") -> SignIn:
    """Signs in by a person's consent in a browser (OAuth 2 with PKCE).

    Args:
        remote: with the key of the user's own Dropbox app, or the id of their own Google client.
        meet: brings request and person together, as `photosync.oauth.in_browser` and ``by_hand`` do.
        client_secret: of the Google client.

    Raises:
        ConnectError: there is no app of the user's own.
        NotSignedIn: the person or the service did not agree.
        Transient: the service could not be reached.
    """
    if isinstance(remote, Dropbox):
        return _with_dropbox(remote, meet)
    return _with_google(remote, meet, client_secret)


def _with_dropbox(remote: Dropbox, meet: Callable[[Begin], Token]) -> SignIn:
    if not remote.app_key:
        raise ConnectError(
            "Dropbox needs the app key of an app of your own (five minutes, free): see docs/connect.md. "
            "Then run: photosync connect NAME --type dropbox --app-key KEY"
        )
    from photosync.backends.dropbox_auth import begin, identify
    from photosync.backends.dropbox_client import Account

    token = meet(lambda uri: begin(remote.app_key, uri))
    account = Account(token)
    try:
        who = identify(account)
    finally:
        account.close()
    return SignIn(msgspec.structs.replace(remote, account=who.id), _kept(token, _RENEWABLE), who=who.text)


def _with_google(remote: Drive, meet: Callable[[Begin], Token], client_secret: str) -> SignIn:
    if not (remote.client_id and client_secret):
        raise ConnectError(
            "Google Drive needs an OAuth client of your own (ten minutes, free): see docs/connect.md. "
            "Then run: photosync connect NAME --type drive --client-file client_secret_….json"
        )
    from photosync.backends.drive_auth import SCOPES, begin, identify
    from photosync.backends.drive_client import DEFAULT_SCOPE, Account

    scope = remote.scope or DEFAULT_SCOPE
    if scope not in SCOPES:
        raise ConnectError(f"scope {scope!r}: choose drive.file (what photosync makes) or drive (everything)")
    token = meet(lambda uri: begin(remote.client_id, client_secret, scope, uri))
    account = Account(token)
    try:
        who = identify(account)
    finally:
        account.close()
    return SignIn(
        msgspec.structs.replace(remote, scope=scope, account=who.id),
        _kept(token, (*_RENEWABLE, "client_secret")),
        who=who.text,
    )


_RENEWABLE = ("access_token", "refresh_token", "expires_at")


def _kept(token: Token, names: Iterable[str]) -> Credentials:
    return Credentials({name: token[name] for name in names if token.get(name) is not None})


def with_token(remote: Remote, text: str, client_secret: str = "") -> SignIn:
    """Signs in with what a file holds (``--token-file``), for machines without a browser or a terminal.

    Args:
        remote: how to reach the place.
        text: of the file. For Dropbox and Drive: what ``photosync authorize`` printed, and what else
            `photosync.handover` reads.
            For other types: JSON with names as in `questions`, or the bare password.
        client_secret: of the Google client, if the text does not have it.

    Raises:
        ConnectError: it is neither; the text never repeats what the file holds.
    """
    text = text.strip()
    if not text or len(text) > handover.LIMIT:
        raise ConnectError(
            "the token file is empty" if not text else "the token file is too long for a token"
        )
    try:
        if isinstance(remote, (Dropbox, Drive)):
            found, record, renewable = handover.taken(remote, text, client_secret)
            return SignIn(found, record, () if renewable else _SHORT)
        body = handover.braced(text)
        answers = handover.parsed(body) if body else {}
    except handover.HandoverError as error:
        raise ConnectError(f"the token file {error}") from None
    asked = questions(remote)
    if body:
        return with_answers(remote, answers)
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
        return Config(remotes={**config.remotes, name: remote}, defaults=config.defaults)

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
            names = ", ".join(sorted(config.remotes)) or "none"
            raise ConfigError(f"there is no remote called {name!r}. Configured are: {names}")
        gone.append(config.remotes[name])
        rest = {each: remote for each, remote in config.remotes.items() if each != name}
        return Config(remotes=rest, defaults=config.defaults)

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

            dropbox_auth.revoke({**_kept(record, (*_RENEWABLE, "app_secret")), "app_key": remote.app_key})
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


_SHORT = ("this token can't be renewed, so it works until it expires; then sign in with an app of your own",)
