"""Credentials of remotes: kept by the desktop's keyring, or in a file that only the user can read.

One record a remote: names → values (``access_token``, ``refresh_token``, ``password`` …), never in the
configuration, a command line, a message or a repr. Where they are kept, in this order:

1. the file named by ``PHOTOSYNC_SECRETS_FILE``, and nothing else, if it is set;
2. the keyring (`keyring` picks the desktop's own), if there is one;
3. ``secrets.json`` in the state folder (a machine without a desktop).

A record is replaced whole under a lock among processes: a kill while a token is renewed leaves the old record
or the new one.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from photosync import paths, private_file
from photosync.engine.errors import Fatal

SERVICE = "photosync"
"""Name of photosync's entries in the keyring; the remote's name is the user."""

LIMIT = 1 << 20
MASK = "***"


class SecretsError(Fatal):
    """Credentials could not be read or kept; the text says where and what to do."""


class Credentials(dict[str, Any]):
    """One remote's record. Prints its names, never its values."""

    def __repr__(self) -> str:
        return f"Credentials({', '.join(f'{name}={MASK}' for name in self)})"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("credentials are not pickled: a worker loads its own, by the remote's name")


def redact(text: str, values: Iterable[str]) -> str:
    """``text`` with every one of ``values`` masked, also as JSON, URLs and reprs would spell it."""
    spellings = set()
    for value in values:
        spellings |= {value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]}
    # The longest first: one secret may be the start of another.
    for spelling in sorted(filter(None, spellings), key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return text


class _Keeper(Protocol):
    place: str
    lock: Path

    def get(self, remote: str) -> dict[str, Any] | None: ...
    def put(self, remote: str, record: Mapping[str, Any] | None) -> None:
        """Replaces the record; None removes it."""
        ...


class Secrets:
    """Every remote's credentials, wherever they are kept.

    All methods raise `SecretsError` if the keeper cannot be read or written. Safe to use from any thread.

    Args:
        file: the only place to look; None: as the module's text says.
    """

    def __init__(self, file: Path | None = None) -> None:
        file = file or paths.secrets_file()
        fallback = _File(paths.fallback_secrets_file())
        self._only: _Keeper | None = _File(file) if file else None
        self._fallback = fallback
        self._found: list[_Keeper] | None = None
        self._seen: set[str] = set()

    def __repr__(self) -> str:
        return "Secrets()"

    def where(self) -> str:
        """Where credentials are kept on this machine, for messages."""
        return self._keepers()[0].place

    def get(self, remote: str) -> Credentials | None:
        """A remote's record, or None."""
        for keeper in self._keepers():
            with _explained(keeper, remote):
                record = keeper.get(remote)
            if record is not None:
                return self._remember(record)
        return None

    def set(self, remote: str, record: Mapping[str, Any]) -> None:
        """Replaces a remote's record by ``record``; values are strings or numbers."""
        self._remember(record)
        with self._writing(remote):
            self._put(remote, record)

    def rotate(self, remote: str, new: Mapping[str, Any]) -> None:
        """Merges renewed values into a remote's record; values that are absent or None stay as they are.

        A record deleted meanwhile stays deleted: signing out wins over a run that is still going on.
        """
        fresh = {name: value for name, value in new.items() if value is not None}
        self._remember(fresh)
        with self._writing(remote):
            old = self.get(remote)
            if old is not None:
                self._put(remote, {**old, **fresh})

    def delete(self, remote: str) -> None:
        """Forgets a remote's record; nothing happens if there is none."""
        with self._writing(remote):
            for keeper in self._keepers():
                with _explained(keeper, remote):
                    keeper.put(remote, None)

    def redact(self, text: str) -> str:
        """``text`` without any of the values that went through this object."""
        return redact(text, self._seen)

    def _put(self, remote: str, record: Mapping[str, Any]) -> None:
        first, *others = self._keepers()
        with _explained(first, remote):
            first.put(remote, record)
        # An older record elsewhere would come back to life on the day the first keeper is not there.
        for keeper in others:
            with _explained(keeper, remote):
                keeper.put(remote, None)

    def _keepers(self) -> list[_Keeper]:
        if self._found is None:
            if self._only is not None:
                self._found = [self._only]
            else:
                keyring = _Keyring.of_this_desktop()
                self._found = [keyring, self._fallback] if keyring else [self._fallback]
        return self._found

    @contextlib.contextmanager
    def _writing(self, remote: str) -> Iterator[None]:
        keeper = self._keepers()[0]
        with contextlib.ExitStack() as stack:
            with _explained(keeper, remote):
                stack.enter_context(private_file.locked(keeper.lock))
            yield

    def _remember(self, record: Mapping[str, Any]) -> Credentials:
        self._seen |= {value for value in record.values() if isinstance(value, str) and value}
        return Credentials(record)


class _File:
    def __init__(self, path: Path) -> None:
        self._path = self.lock = path
        self.place = f"the file {path}"

    def get(self, remote: str) -> dict[str, Any] | None:
        return self._load().get(remote)

    def put(self, remote: str, record: Mapping[str, Any] | None) -> None:
        records = self._load()
        if record is None:
            if records.pop(remote, None) is None:
                return
        else:
            records[remote] = dict(record)
        private_file.replace(self._path, json.dumps(records, indent=1).encode())

    def _load(self) -> dict[str, dict[str, Any]]:
        data = private_file.read(self._path, LIMIT, follow=False, private=True)
        if not data:
            return {}
        try:
            records = json.loads(data)
        except (ValueError, RecursionError):
            records = None
        if not isinstance(records, dict) or not all(isinstance(each, dict) for each in records.values()):
            # Raised outside the handler: a JSON error carries the whole document along.
            raise SecretsError(
                f"{self._path} is damaged: it is not the JSON that photosync keeps credentials in. "
                "Move it away, then sign in again with: photosync connect NAME"
            )
        return records


class _Keyring:
    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.lock = paths.state_dir() / "keyring"
        self.place = "this desktop's keyring"

    @classmethod
    def of_this_desktop(cls) -> "_Keyring | None":
        """None if there is no keyring, or only one that forgets what it is given."""
        import keyring
        import keyring.backends.fail
        import keyring.backends.null

        backend = keyring.get_keyring()
        if isinstance(backend, (keyring.backends.fail.Keyring, keyring.backends.null.Keyring)):
            return None
        return cls(backend)

    def get(self, remote: str) -> dict[str, Any] | None:
        text = self._call(lambda: self._backend.get_password(SERVICE, remote))
        if text is None:
            return None
        try:
            record = json.loads(text)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise SecretsError(
                f"the keyring's entry for remote {remote!r} is damaged. "
                f"Sign in again with: photosync connect {remote}"
            )
        return record

    def put(self, remote: str, record: Mapping[str, Any] | None) -> None:
        if record is not None:
            self._call(lambda: self._backend.set_password(SERVICE, remote, json.dumps(dict(record))))
        elif self._call(lambda: self._backend.get_password(SERVICE, remote)) is not None:
            self._call(lambda: self._backend.delete_password(SERVICE, remote))

    def _call(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - each desktop's keyring raises what its own library does
            kind = type(error).__name__
        raise SecretsError(
            f"{self.place} refused ({kind}). Unlock it and try again, or keep credentials in a file: "
            "set PHOTOSYNC_SECRETS_FILE to a path of your own."
        )


@contextlib.contextmanager
def _explained(keeper: _Keeper, remote: str) -> Iterator[None]:
    try:
        yield
    except SecretsError:
        raise
    except (OSError, private_file.Untrusted) as error:
        raise SecretsError(f"credentials of remote {remote!r} in {keeper.place}: {error}") from None
