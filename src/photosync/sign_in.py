"""A sign-in before it is proven and kept: by a person in a browser, a text, or answers to questions.

    sign_in = with_person(Dropbox(app_key="…"), meet)     # or with_token, with_answers

Nothing here prompts: questions are asked through what the caller passes in.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from photosync import handover
from photosync.config import S3, Drive, Dropbox, Fsspec, Ftp, Remote, Sftp, Smb, Webdav, type_of
from photosync.oauth import Begin, Token
from photosync.secrets import Credentials


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
    return SignIn(msgspec.structs.replace(remote, account=who.id), kept(token, RENEWABLE), who=who.text)


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
        kept(token, (*RENEWABLE, "client_secret")),
        who=who.text,
    )


RENEWABLE = ("access_token", "refresh_token", "expires_at")


def kept(token: Mapping[str, Any], names: Iterable[str]) -> Credentials:
    """What a record keeps of a token: those of the names that it has."""
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


_SHORT = ("this token can't be renewed, so it works until it expires; then sign in with an app of your own",)
