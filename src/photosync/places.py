"""What people write where a place is wanted, and the store that it means.

===========================  ================================================================================
``NAME:path``                a configured remote
``phone:path``               the phone that is plugged in; ``phone@NAME:path`` chooses among several
``s3://bucket/path``         S3, signed in to as AWS's own tools are (environment, ~/.aws)
``sftp://user@host:port/p``  SFTP with the SSH agent's keys; likewise ``ftp://`` and ``smb://``
``PROTOCOL://…``             whatever else fsspec knows, with the settings of ``fsspec.config``
anything else                a folder of this machine; ``./a:b`` for one with a colon in its name
===========================  ================================================================================

A drive letter is a path: ``C:\\x`` anywhere, ``C:x`` and ``C:/x`` on Windows.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from photosync.config import S3, TYPES, Config, Ftp, Local, Remote, Sftp, Smb, has_password, type_of
from photosync.engine.capabilities import Store
from photosync.engine.errors import PhotosyncError
from photosync.secrets import Credentials

ONE_FILE = "name its folder, and choose it there with --include NAME"
"""What to do who names a file where a folder is meant."""


class PlaceError(ValueError):
    """The words don't name a place; the text says what would."""


class Kind(StrEnum):
    """How a place was named."""

    LOCAL = "local"
    REMOTE = "remote"
    PHONE = "phone"
    URL = "url"


@dataclass(frozen=True, slots=True)
class PlaceSpec:
    """A place, named but not opened yet.

    Attributes:
        text: as the user wrote it.
        kind: how it was named.
        name: the remote's name, ``phone`` or ``phone@NAME``, the URL's scheme, or the path.
        path: below the remote's root; of a URL that only fsspec understands, the whole URL.
        remote: how to reach it; None for a phone and for a URL that only fsspec understands.
    """

    text: str
    kind: Kind
    name: str
    path: str
    remote: Remote | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place, opened.

    Attributes:
        name: as `PlaceSpec.name`.
        store: what the engine works with.
        fs: the fsspec filesystem behind it; None for a phone, a folder of this machine, and S3.
        text: as the user wrote it.
        identity: the same for the same place however it was written, for keys of kept state; no secrets.
        remote: as `PlaceSpec.remote`.
        device: identity of the phone; "" for other places.
        root: path of the place within ``fs``, or on this machine.
    """

    name: str
    store: Store = field(repr=False)
    fs: Any = field(repr=False)
    text: str
    identity: str
    remote: Remote | None = None
    device: str = ""
    root: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self.remote, Local)


class Keys(Protocol):
    """Where credentials come from, and where renewed ones go: `photosync.secrets.Secrets`."""

    def get(self, remote: str) -> Credentials | None: ...
    def rotate(self, remote: str, new: Mapping[str, Any]) -> None: ...
    def redact(self, text: str) -> str: ...


_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)(?:::[^/]*)?://")
_PHONE = re.compile(r"phone(?:@(?P<device>[^:/\\]+))?:(?P<path>.*)", re.DOTALL)
_REMOTE = re.compile(r"(?P<name>[^:/\\]*):(?P<path>.*)", re.DOTALL)


def parse(text: str, config: Config) -> PlaceSpec:
    """What a place's words mean; opens nothing.

    A photo must not go to a new folder called "dropbox" because of a missing colon.

    Args:
        text: as on a command line.
        config: whose remotes are known.

    Raises:
        PlaceError: there is no such remote, or the words make no sense.
    """
    if not text:
        raise PlaceError('a place is missing: "" names none; write . for the current folder')
    if "\0" in text:
        raise PlaceError("a place can't have a NUL character in its name")
    if found := _URL.match(text):
        return _parse_url(text, found["scheme"].lower())
    if _is_drive(text, os.name == "nt"):
        return PlaceSpec(text, Kind.LOCAL, text, text, Local())
    if found := _PHONE.fullmatch(text):
        name = text[: found.start("path") - 1]
        return PlaceSpec(text, Kind.PHONE, name, found["path"])
    if found := _REMOTE.fullmatch(text):
        name = found["name"]
        if name not in config.remotes:
            raise PlaceError(_unknown(name, config))
        return PlaceSpec(text, Kind.REMOTE, name, found["path"], config.remotes[name])
    if (text in config.remotes or _PHONE.fullmatch(f"{text}:")) and not os.path.lexists(text):
        raise PlaceError(
            f"there is no file or folder called {text!r} here. Did you mean {text}: with a colon? For a new "
            f"folder of that name write ./{text}"
        )
    return PlaceSpec(text, Kind.LOCAL, text, text, Local())


def parent(text: str) -> tuple[str, str]:
    """A place's words as those of the folder around it, and the last name; "" if there is none.

    "dropbox:a/b.jpg" is ("dropbox:a", "b.jpg"), "b.jpg" is (".", "b.jpg"), "dropbox:" is ("dropbox:", "").
    """
    found = _URL.match(text) or (None if _is_drive(text, os.name == "nt") else _REMOTE.match(text))
    head = ""
    if found is not None:
        head = text[: found.end()] if "://" in found[0] else text[: text.index(":") + 1]
    rest = text[len(head) :].rstrip("/")
    folder, slash, name = rest.rpartition("/")
    if "://" in head and not slash:
        # The first name of an address is the bucket or the server.
        return text, ""
    if head:
        return head + (folder or slash), name
    if not rest:
        return text or ".", ""
    return folder or slash or ".", name


def open_place(spec: PlaceSpec, keys: Keys) -> Place:
    """Opens a place; the first request may still find that a sign-in has ended.

    Args:
        spec: from `parse`.
        keys: of configured remotes; asked for those alone.

    Raises:
        PlaceError: fsspec doesn't know the protocol, or a package for it is missing.
        FileNotFoundError: the phone has no such folder, or a key file is missing.
        NotSignedIn: no credentials are kept for the remote.
        PhotosyncError: the server or the phone could not be reached.
    """
    from photosync import openers

    try:
        return openers.open_spec(spec, keys)
    except (PhotosyncError, PlaceError, FileNotFoundError):
        raise
    except ImportError as error:
        raise PlaceError(f"{spec.text}: {openers.missing_package(spec, error)}") from None
    except Exception as error:  # noqa: BLE001 - filesystems and their SDKs raise what they like
        from photosync.backends.anyfs_errors import understood

        found = understood(error, f"opening {spec.text.removesuffix(':')}")
    # Without its cause: what a foreign library puts into an exception may hold what it was given.
    raise type(found)(keys.redact(str(found)))


def _is_drive(text: str, windows: bool) -> bool:
    return bool(re.match(r"[A-Za-z]:" if windows else r"[A-Za-z]:\\", text))


def _parse_url(text: str, scheme: str) -> PlaceSpec:
    if any(has_password(link) for link in text.split("::")):
        # Not repeated here: it would end up in terminals and logs.
        raise PlaceError(
            f"a password doesn't belong in a {scheme}:// address, where other users and logs can see it. "
            f"Keep it apart with: photosync connect NAME --type {scheme if scheme in TYPES else 'fsspec'}"
        )
    if "::" in text:
        return PlaceSpec(text, Kind.URL, scheme, text)
    rest = text[text.index("://") + 3 :]
    if scheme in ("file", "local"):
        path = unquote(rest.removeprefix("localhost")) if rest.startswith("localhost/") else unquote(rest)
        return PlaceSpec(text, Kind.LOCAL, text, path, Local())
    if scheme in ("s3", "s3a"):
        return PlaceSpec(text, Kind.URL, "s3", rest, S3())
    if scheme not in ("sftp", "ssh", "ftp", "smb"):
        return PlaceSpec(text, Kind.URL, scheme, text)
    try:
        url = urlsplit(text)
        host, port, user = url.hostname, url.port, unquote(url.username or "")
    except ValueError:
        host = None
    if not host:
        raise PlaceError(f"{text}: an address looks like {scheme}://user@host:port/folder")
    kind: Callable[..., Remote] = {"ftp": Ftp, "smb": Smb}.get(scheme, Sftp)
    at = {"port": port} if port else {}
    remote = kind(host=host, user=user, **at)
    return PlaceSpec(text, Kind.URL, type_of(remote), "/" + rest.partition("/")[2], remote)


def _unknown(name: str, config: Config) -> str:
    if not name:
        return "a remote's name is missing before the colon; for a file of that name write ./ before it"
    if name in TYPES:
        return f"there is no remote called {name!r} yet. Sign in with: photosync connect {name} --type {name}"
    if "@" in name:
        return f"there is no remote called {name!r}. Over SSH that is: sftp://{name}/folder"
    names = sorted(config.remotes)
    close = difflib.get_close_matches(name, [*names, "phone"], 3)
    return (
        f"there is no remote called {name!r}. "
        + (f"Did you mean {' or '.join(f'{each}:' for each in close)}? " if close else "")
        + (f"Configured are: {', '.join(names)}. " if names else "None is configured yet. ")
        + "Add one with: photosync connect NAME --type TYPE. "
        + "For a file with a colon in its name write ./ before it."
    )
