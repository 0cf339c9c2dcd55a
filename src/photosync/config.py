"""The configuration: remotes, defaults and jobs, in one TOML file.

    [remotes.nas]
    type = "sftp"
    host = "nas.lan"
    root = "/photos"

    [defaults]
    transfers = 8

    [jobs.everything]
    source = "phone:"
    destinations = ["dropbox:Phone", "nas:phone"]
    on_plug_in = true

It never holds a secret: one found in it is an error that names its line (`photosync.secrets` keeps those). A
key that photosync doesn't know is an error too, because a misspelt option that is silently ignored is worse
than a message. Edits keep the user's comments and order.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec

from photosync import paths, private_file, toml_text

T = TypeVar("T", bound=msgspec.Struct)

LIMIT = 1 << 20
"""Bytes a configuration may have."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1024)]
Filled = Annotated[str, msgspec.Meta(min_length=1)]


class ConfigError(ValueError):
    """The configuration cannot be used; the text names file, line and key, and what to do."""


class _Remote(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="type",
):
    """A place with a name.

    Attributes:
        root: where the remote begins: a folder, or "bucket/prefix". Paths after ``NAME:`` start there.
    """

    root: str = ""


class Dropbox(_Remote, frozen=True, kw_only=True, tag="dropbox"):
    """
    Attributes:
        app_key: of the user's own Dropbox app (public); needed to renew the sign-in.
        account: Dropbox's id of the account signed in to ("dbid:…").
    """

    app_key: str = ""
    account: str = ""


class S3(_Remote, frozen=True, kw_only=True, tag="s3"):
    """
    Attributes:
        endpoint: URL of a service other than AWS.
        region: as the service names it.
        profile: section of ~/.aws to sign in with, in place of keys of this remote's own.
        addressing_style: whether the bucket stands in the path or in the host name.
        provider: the service's name as rclone spells it; a note for people.
        storage_class: of photos, as the service names it ("STANDARD_IA", "GLACIER_IR" …).
        sse: encryption by the service.
        sse_kms_key_id: for the kinds with "kms".
        object_lock_mode: keeps everybody from deleting what is written; the bucket must allow it.
        object_lock_days: for how long, counted from the beginning of the run.
        requester_pays: the bucket is somebody else's, who lets others pay for their requests.
    """

    endpoint: str = ""
    region: str = ""
    profile: str = ""
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    provider: str = ""
    storage_class: str = ""
    sse: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = ""
    sse_kms_key_id: str = ""
    object_lock_mode: Literal["", "GOVERNANCE", "COMPLIANCE"] = ""
    object_lock_days: Annotated[int, msgspec.Meta(ge=0, le=36500)] = 0
    requester_pays: bool = False

    def __post_init__(self) -> None:
        if bool(self.object_lock_mode) != bool(self.object_lock_days):
            raise ValueError("Object_lock_mode and object_lock_days belong together: give both or neither")
        if self.sse_kms_key_id and "kms" not in self.sse:
            raise ValueError('Sse_kms_key_id needs sse = "aws:kms" or "aws:kms:dsse"')


class Drive(_Remote, frozen=True, kw_only=True, tag="drive"):
    """
    Attributes:
        client_id: of the user's own OAuth client (public).
        scope: what the sign-in was given, as rclone abbreviates it ("drive", "drive.file" …).
        root_folder_id: id of the folder that is the root.
        shared_drive: id of a shared drive.
        service_account_file: path of a service account's key file.
        account: Google's id of the account signed in to.
    """

    client_id: str = ""
    scope: str = ""
    root_folder_id: str = ""
    shared_drive: str = ""
    service_account_file: str = ""
    account: str = ""


class Local(_Remote, frozen=True, kw_only=True, tag="local"):
    """A folder of this machine."""


class Sftp(_Remote, frozen=True, kw_only=True, tag="sftp"):
    """
    Attributes:
        host: name or address.
        port: of the SSH server.
        user: empty: the user who runs photosync.
        key_file: private key; empty: the SSH agent's and the usual files.
        known_hosts: file of host keys to trust; empty: the user's and photosync's own.
    """

    host: Filled
    port: Port = 22
    user: str = ""
    key_file: str = ""
    known_hosts: str = ""


class Webdav(_Remote, frozen=True, kw_only=True, tag="webdav"):
    """
    Attributes:
        url: of the folder that the server offers.
        user: to sign in as; empty: no sign-in, or a bearer token.
    """

    url: Filled
    user: str = ""


class Ftp(_Remote, frozen=True, kw_only=True, tag="ftp"):
    """
    Attributes:
        host: name or address.
        port: of the FTP server.
        user: empty: anonymous.
        tls: sign in and transfer over TLS (AUTH TLS).
    """

    host: Filled
    port: Port = 21
    user: str = ""
    tls: bool = False


class Smb(_Remote, frozen=True, kw_only=True, tag="smb"):
    """
    Attributes:
        host: name or address. The share is the first name of ``root`` or of the path.
        port: of the SMB server.
        user: to sign in as; "DOMAIN\\user" for a domain.
    """

    host: Filled
    port: Port = 445
    user: str = ""


class Fsspec(_Remote, frozen=True, kw_only=True, tag="fsspec"):
    """
    Attributes:
        protocol: any that fsspec knows.
        options: the filesystem's own arguments; secrets among them are kept apart.
    """

    protocol: Filled
    options: dict[str, Any] = {}


Remote = Dropbox | S3 | Drive | Local | Sftp | Webdav | Ftp | Smb | Fsspec
TYPES: Mapping[str, type[Remote]] = {str(each.__struct_config__.tag): each for each in get_args(Remote)}


class Defaults(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What ``photosync copy`` does unless the command line says otherwise; None leaves it to the program.

    The names are those of the command line's options, and so are the forms of their values.
    """

    transfers: Count | None = None
    bwlimit: str | None = None
    include: list[str] = []
    exclude: list[str] = []
    filter_from: list[str] = []
    min_age: str | None = None
    max_age: str | None = None
    checksum: bool | None = None
    layout: str | None = None
    log_file: str | None = None


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What ``photosync run NAME`` does.

    Attributes:
        source, destinations: places, as on the command line.
        include, exclude, filter_from, ignore_case, min_size, max_size, min_age, max_age, transfers, tpslimit,
        bwlimit, memory, checksum, verify: as the options of ``mirror``.
        stage, stage_size, unplug_early: likewise.
        layout: how names at the destinations are made; empty: as at the source.
        schedule: see `photosync.schedule`; empty: never by itself.
        on_plug_in: runs when its phone is plugged in.
        min_copies: destinations that must hold every file; fewer are warned about.
        notify: tell the desktop when it has ended.
        webhook: URL to which the report is posted then.
        apprise: a configuration file of Apprise, which tells others.
    """

    source: Filled
    destinations: Annotated[list[Filled], msgspec.Meta(min_length=1)]
    include: list[str] = []
    exclude: list[str] = []
    filter_from: list[str] = []
    ignore_case: bool = False
    min_size: str | None = None
    max_size: str | None = None
    min_age: str | None = None
    max_age: str | None = None
    transfers: Count | None = None
    tpslimit: float | None = None
    bwlimit: str | None = None
    memory: str = "128M"
    checksum: bool = False
    verify: Literal["auto", "reread", "none"] = "auto"
    stage: str | None = None
    stage_size: str | None = None
    unplug_early: bool = False
    layout: str = ""
    schedule: str = ""
    on_plug_in: bool = False
    min_copies: Count = 1
    notify: bool = False
    webhook: str = ""
    apprise: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole configuration. Values are not to be changed in place."""

    remotes: dict[str, Remote] = {}
    defaults: Defaults = Defaults()
    jobs: dict[str, JobSpec] = {}


def unknown_remote(name: str, config: Config) -> ConfigError:
    """That no remote has the name, and which there are."""
    names = ", ".join(sorted(config.remotes))
    known = f"Configured are: {names}" if names else "None is configured yet"
    return ConfigError(f"there is no remote called {name!r}. {known}")


def type_of(remote: Remote) -> str:
    """The word after ``type =``."""
    return str(remote.__struct_config__.tag)


def load(path: Path | None = None) -> Config:
    """Reads the configuration.

    Args:
        path: the file; None: the one that `photosync.paths.config_file` names. A missing file is an empty
            configuration.

    Raises:
        ConfigError: it cannot be read, is no TOML, holds a secret, or says what photosync doesn't understand.
    """
    path = path or paths.config_file()
    return parse(_read(path) or "", str(path))


def parse(text: str, name: str) -> Config:
    """The configuration that ``text`` says; ``name`` stands for the file in errors."""
    try:
        return _parse(text, name)
    except RecursionError:
        raise ConfigError(f"{name}: has tables in tables in tables, more than photosync follows") from None


def _parse(text: str, name: str) -> Config:
    document = _Document(text, name)
    tree = document.tree
    for key, value in tree.items():
        if key not in ("remotes", "defaults", "jobs") or not isinstance(value, dict):
            hint = "Tables are [remotes.NAME], [defaults] and [jobs.NAME]."
            raise document.error((key,), f"{key!r} is not a table that photosync knows. {hint}")
    remotes: dict[str, Remote] = {}
    for remote, table in tree.get("remotes", {}).items():
        if not isinstance(table, dict):
            raise document.error(("remotes", remote), 'is not a table; write [remotes.NAME] and type = "…"')
        if why := refuse_name(remote):
            raise document.error(("remotes", remote), why)
        remotes[remote] = document.remote(remote, table)
    defaults = document.convert(("defaults",), tree.get("defaults", {}), Defaults)
    jobs = {job: document.job(job, table) for job, table in tree.get("jobs", {}).items()}
    return Config(remotes=remotes, defaults=defaults, jobs=jobs)


def refuse_name(name: str) -> str | None:
    """Why a remote can't have this name, or None if it can."""
    if not re.fullmatch(r"[\w.+@][\w.+@ -]*(?<! )", name):
        return f"{name!r} is no name for a remote: use letters, digits, and _ . + @ - (no colon, no slash)"
    if name == "phone" or name.startswith("phone@"):
        return f"the name {name!r} is taken: it stands for the phone that is plugged in"
    return None


def update(path: Path | None, change: Callable[[Config], Config]) -> Config:
    """Changes the configuration in place, alone among threads and processes.

    Args:
        path: as for `load`.
        change: gets what the file says now, gives what it shall say; an exception leaves the file alone.

    Returns:
        The new configuration, already on disk: the file is replaced whole, with mode 0600, comments kept.

    Raises:
        ConfigError: as `load`; or the file could not be written.
    """
    path = (path or paths.config_file()).resolve()
    try:
        with private_file.locked(path):
            text = _read(path) or ""
            old = parse(text, str(path))
            new = change(old)
            if new != old:
                private_file.replace(path, _rewritten(text, old, new, str(path)).encode())
            return new
    except OSError as error:
        raise ConfigError(f"{path}: could not be written: {error.strerror or error}") from None


def _rewritten(text: str, old: Config, new: Config, name: str) -> str:
    import tomlkit

    # Says what is wrong with the new configuration itself, a secret say, before the layout is to blame.
    parse(tomlkit.dumps(_plain(new)), f"{name} as it would be")
    try:
        written = toml_text.edited(text, _plain(old), _plain(new))
        if parse(written, name) == new:
            return written
    except (toml_text.CannotEdit, ConfigError):
        pass
    raise ConfigError(f"{name}: is laid out in a way that can't be changed in place; make the change by hand")


def _plain(config: Config) -> dict[str, Any]:
    return {key: table for key, table in msgspec.to_builtins(config).items() if table}


def save(config: Config, path: Path | None = None) -> None:
    """Makes the file say ``config``; see `update`."""
    update(path, lambda _: config)


def render(config: Config) -> str:
    """The configuration as TOML, for people to look at. Whatever looks like a secret is masked."""
    import tomlkit

    return tomlkit.dumps(_masked(_plain(config)))


_SECRET = re.compile(
    r"(^|_|-)(pass|passphrase|passwd|pem|sas|key|access_key_id|credentials?|bearer)$"
    r"|secret|token|password|authorization|cookie|private_key|api_?key|access_key|account_key|connection_string",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(^|_)(app_key|key_file|key_filename)$|_(file|path|url)$", re.IGNORECASE)


def is_secret(key: str, value: object) -> bool:
    """Whether an option would be a secret in the configuration: by its name, or as a URL with a password."""
    if value in ("", None) or isinstance(value, (bool, dict)):
        return False
    if _SECRET.search(key) and not _NO_SECRET.search(key):
        return True
    return isinstance(value, str) and has_password(value)


def has_password(url: str) -> bool:
    """Whether a URL carries a password ("scheme://user:password@host")."""
    try:
        return "://" in url and bool(urlsplit(url).password)
    except ValueError:
        return "@" in url


def _masked(value: Any, key: str = "") -> Any:
    if is_secret(key, value):
        return "***"
    if key == "webhook" and value:
        # Chat services' addresses are all that is needed to post there: the secret is their path.
        return f"{'/'.join(value.split('/')[:3]).rpartition('@')[2]}/***"
    if isinstance(value, dict):
        return {name: _masked(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, key) for each in value]
    return value


def _read(path: Path) -> str | None:
    try:
        # People keep their configuration in a dotfiles folder and link to it.
        data = private_file.read(path, LIMIT, follow=True, private=False)
    except OSError as error:
        raise ConfigError(f"{path}: could not be read: {error.strerror or error}") from None
    except private_file.Untrusted as error:
        raise ConfigError(str(error)) from None
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    raise ConfigError(f"{path}, line {line}: is not UTF-8 text. Save it as UTF-8.")


class _Document:
    """One text, and where in it each key stands."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        try:
            self.tree: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            why = str(error)
        except RecursionError:
            why = "it is nested too deeply"
        else:
            return
        found = re.search(r"\(at line (\d+), column (\d+)\)", why)
        line = int(found[1]) if found else max(1, len(text.splitlines()))
        column = f", column {found[2]}" if found else ""
        why = re.sub(r" \(at .*\)$", "", why)
        twice = "overwrite" in why or "twice" in why
        hint = "It is set twice." if twice else 'Text needs quotation marks: key = "text".'
        raise ConfigError(f"{name}, line {line}{column}: is not valid TOML: {why}. {hint}")

    def error(self, key: tuple[str, ...], why: str) -> ConfigError:
        line = toml_text.line_of(self._text, key)
        return ConfigError(f"{self._name}, line {line}, {'.'.join(key)}: {why}")

    def remote(self, name: str, table: dict[str, Any]) -> Remote:
        at = ("remotes", name)
        kind = table.get("type")
        if kind is None:
            raise self.error(at, f'add type = "…", one of: {", ".join(TYPES)}')
        if not isinstance(kind, str) or kind not in TYPES:
            close = difflib.get_close_matches(str(kind), TYPES, 1)
            hint = f'Did you mean "{close[0]}"?' if close else f"Types are: {', '.join(TYPES)}."
            raise self.error((*at, "type"), f"is not a type of remote that photosync knows. {hint}")
        for key in secrets_in(table):
            raise self.error(
                (*at, *key),
                f"a secret doesn't belong in this file. Remove the line, then run: photosync connect {name}",
            )
        return self.convert(at, table, TYPES[kind])

    def job(self, name: str, table: Any) -> JobSpec:
        from photosync.schedule import Schedule, ScheduleError

        at = ("jobs", name)
        if not isinstance(table, dict):
            raise self.error(at, "is not a table; write [jobs.NAME]")
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
            raise self.error(at, "is no name for a job: use letters, digits, and _ . -")
        for key in secrets_in(table):
            raise self.error((*at, *key), "a secret doesn't belong in this file. Remove the line.")
        job = self.convert(at, table, JobSpec)
        try:
            if job.schedule:
                Schedule.parse(job.schedule)
        except ScheduleError as error:
            raise self.error((*at, "schedule"), str(error)) from None
        if job.min_copies > len(job.destinations):
            raise self.error((*at, "min_copies"), "is more than there are destinations. Change the value.")
        return job

    def convert(self, at: tuple[str, ...], table: dict[str, Any], kind: type[T]) -> T:
        known = [each.encode_name for each in msgspec.structs.fields(kind)]
        for key in table.keys() - {*known, "type"}:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(known)}."
            raise self.error((*at, key), f"is not an option here. {hint}")
        try:
            return msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            why, _, place = str(error).partition(" - at `")
        if missing := re.search(r"missing required field `(\w+)`", why):
            raise self.error(at, f'add {missing[1]} = "…"')
        option = re.findall(r"\w+", place)[:1]
        raise self.error((*at, *option), f"{why[:1].lower()}{why[1:]}. Change the value.")


def secrets_in(table: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The keys of a remote's table, or of tables in it, whose values would be secrets."""
    for key, value in table.items():
        if is_secret(key, value):
            yield (key,)
        elif isinstance(value, dict):
            yield from ((key, *rest) for rest in secrets_in(value))
