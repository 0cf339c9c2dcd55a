"""Takes remotes over from rclone's configuration.

What the options mean: rclone's documentation of each backend, and what ``rclone config`` writes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from photosync.config import (
    S3,
    Config,
    Drive,
    Dropbox,
    Ftp,
    Local,
    Remote,
    Sftp,
    Smb,
    Webdav,
    has_password,
    refuse_name,
    update,
)
from photosync.rclone_file import Unusable, default_path, read, read_token, reveal
from photosync.secrets import Secrets

_VIRTUAL_HOSTS = frozenset(
    [
        "Alibaba",
        "Cubbit",
        "DigitalOcean",
        "Dreamhost",
        "GCS",
        "Hetzner",
        "HuaweiOBS",
        "ImpossibleCloud",
        "Intercolo",
        "Leviia",
        "Linode",
        "LyveCloud",
        "Netease",
        "OVHcloud",
        "Petabox",
        "Rabata",
        "RackCorp",
        "Scaleway",
        "Selectel",
        "Servercore",
        "Storj",
        "Synology",
        "TencentCOS",
        "US3",
        "Wasabi",
        "Zata",
    ]
)
"""Providers that rclone 1.75 addresses as bucket.host; AWS is left to boto3, others get host/bucket."""


@dataclass(frozen=True, slots=True)
class ImportedRemote:
    """A section that is a remote now.

    Attributes:
        name: as in rclone.
        remote: as in the configuration.
        warnings: what a person should know about it.
    """

    name: str
    remote: Remote
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A section that was left alone, and why."""

    name: str
    reason: str


def import_rclone(
    path: Path | None, names: Collection[str] | None, config_path: Path | None, secrets: Secrets
) -> list[ImportedRemote | Skipped]:
    """Makes remotes of sections of rclone's configuration.

    A name that is configured already is left as it is. Credentials go to ``secrets``, before the remote
    appears in the configuration.

    Args:
        path: rclone's file; also a pipe, as in ``<(rclone config show)``; None: `default_path`.
        names: of the sections wanted; None: all.
        config_path: photosync's configuration, as for `photosync.config.load`.
        secrets: where credentials go.

    Returns:
        One result for each section or name, in the file's order; names that it lacks come last.

    Raises:
        RcloneError: the file is missing, encrypted or malformed.
        photosync.config.ConfigError: photosync's own configuration can't be read or written.
        photosync.secrets.SecretsError: credentials can't be kept.
    """
    sections = read(path or default_path())
    wanted = [name for name in sections if names is None or name in names]
    results: list[ImportedRemote | Skipped] = []

    def take(config: Config) -> Config:
        remotes = dict(config.remotes)
        for name in wanted:
            if name in remotes:
                results.append(
                    Skipped(name, "a remote of this name is configured already; it was left as it is")
                )
                continue
            try:
                found = _translate(name, sections[name])
            except Unusable as error:
                results.append(Skipped(name, str(error)))
                continue
            if found.secrets:
                secrets.set(name, found.secrets)
            remotes[name] = found.remote
            results.append(ImportedRemote(name, found.remote, tuple(found.warnings)))
        return msgspec.structs.replace(config, remotes=remotes)

    update(config_path, take)
    missing = [name for name in names or () if name not in sections]
    return results + [Skipped(name, "rclone's configuration has no section of this name") for name in missing]


@dataclass(slots=True)
class _Found:
    remote: Remote
    secrets: dict[str, Any] = field(default_factory=dict, repr=False)
    warnings: list[str] = field(default_factory=list)


class _Section:
    """One section's options, and which of them were used."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = {name: value for name, value in options.items() if value}
        self._used = {"type", "description", "encoding"}

    def get(self, name: str) -> str:
        self._used.add(name)
        return self._options.get(name, "")

    def true(self, name: str) -> bool:
        return self.get(name).lower() in ("true", "1", "t", "yes")

    def port(self, name: str, usual: int) -> int:
        value = self.get(name) or str(usual)
        if not (value.isascii() and value.isdecimal() and 0 < int(value) < 65536):
            raise Unusable(f"its {name} is no number of a port")
        return int(value)

    def needed(self, name: str) -> str:
        return self.get(name) or self._lack(name)

    def _lack(self, name: str) -> str:
        raise Unusable(f"it has no {name}")

    def refuse(self, *names: str) -> None:
        """Options without which the remote would be another place than in rclone."""
        for name in names:
            if self.get(name).lower() not in ("", "false"):
                raise Unusable(f"its option {name} has no counterpart here")

    def left(self) -> list[str]:
        """Options that nothing here has asked for."""
        return sorted(name for name in self._options if name not in self._used)


def _translate(name: str, options: Mapping[str, str]) -> _Found:
    if why := refuse_name(name):
        raise Unusable(why)
    section = _Section(options)
    kind = options.get("type", "")
    translate = _TYPES.get(kind)
    if translate is None:
        raise Unusable(f"photosync has no remotes of type {kind!r}" if kind else "it has no type")
    found = translate(section)
    if left := section.left():
        found.warnings.append(f"options of rclone's without effect here: {', '.join(left)}")
    return found


def _dropbox(section: _Section) -> _Found:
    section.refuse("impersonate", "shared_files", "shared_folders", "root_namespace", "client_credentials")
    return _with_token(section, Dropbox(app_key=section.get("client_id")), "app_secret")


def _drive(section: _Section) -> _Found:
    section.refuse("impersonate", "shared_with_me", "trashed_only", "starred_only", "client_credentials")
    remote = Drive(
        client_id=section.get("client_id"),
        scope=section.get("scope") or "drive",
        root_folder_id=section.get("root_folder_id"),
        shared_drive=section.get("team_drive"),
        service_account_file=section.get("service_account_file"),
    )
    account = section.get("service_account_credentials")
    if account or remote.service_account_file:
        return _Found(remote, {"service_account": account} if account else {})
    return _with_token(section, remote, "client_secret")


def _with_token(section: _Section, remote: Dropbox | Drive, secret_name: str) -> _Found:
    own_app = remote.app_key if isinstance(remote, Dropbox) else remote.client_id
    token = section.get("token")
    secret = section.get("client_secret")
    if not token:
        raise Unusable("it has no token. Sign in with: rclone config reconnect")
    # rclone goes on using it, so signing out here must not revoke it.
    found = _Found(remote, {**read_token(token), "shared": True})
    if own_app and secret:
        found.secrets[secret_name] = secret
    elif not own_app:
        # Only rclone can renew what was given to rclone's own app.
        found.secrets.pop("refresh_token", None)
        if "access_token" not in found.secrets:
            raise Unusable("its token was given to rclone's own app and can't be used here")
        found.warnings.append(
            "it is signed in with rclone's own app, so it works until that token expires (some hours). "
            "For longer use run: photosync connect"
        )
    return found


def _s3(section: _Section) -> _Found:
    section.refuse("role_arn", "v2_auth", "sse_customer_key", "sse_customer_key_base64", "ibm_api_key")
    provider = section.get("provider")
    endpoint = section.get("endpoint").rstrip("/")
    if endpoint and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    found = _Found(
        S3(
            endpoint=_plain_url(endpoint),
            region=section.get("region"),
            profile=section.get("profile"),
            addressing_style=_addressing(section.get("force_path_style").lower(), provider, endpoint),
            provider=provider,
            storage_class=section.get("storage_class"),
            sse=_sse(section.get("server_side_encryption")),
            sse_kms_key_id=section.get("sse_kms_key_id"),
            requester_pays=section.true("requester_pays"),
        )
    )
    keys = {name: section.get(name) for name in ("access_key_id", "secret_access_key", "session_token")}
    if keys["access_key_id"] and keys["secret_access_key"]:
        found.secrets |= {name: value for name, value in keys.items() if value}
    elif section.true("env_auth"):
        section.refuse("shared_credentials_file")
        found.warnings.append(
            "it signs in as AWS's own tools do: environment, ~/.aws, instance role (env_auth)"
        )
    else:
        raise Unusable("it has no keys, and photos can't be kept anonymously")
    section.get("env_auth")
    return found


def _sse(said: str) -> Literal["", "AES256", "aws:kms", "aws:kms:dsse"]:
    kinds: tuple[Literal["AES256", "aws:kms", "aws:kms:dsse"], ...] = ("AES256", "aws:kms", "aws:kms:dsse")
    found = [kind for kind in kinds if kind == said]
    if said and not found:
        raise Unusable(f"server_side_encryption {said!r} is not one that photosync knows")
    return found[0] if found else ""


def _addressing(path_style: str, provider: str, endpoint: str) -> Literal["auto", "path", "virtual"]:
    if path_style == "false" or provider in _VIRTUAL_HOSTS:
        return "virtual"
    return "path" if path_style or (endpoint and provider != "AWS") else "auto"


def _local(_: _Section) -> _Found:
    return _Found(Local())


def _alias(section: _Section) -> _Found:
    target = section.needed("remote")
    if ":" in target or not target.startswith("/"):
        raise Unusable("it stands for a place of another remote. Write that place instead")
    return _Found(Local(root=target))


def _sftp(section: _Section) -> _Found:
    section.refuse("ssh", "socks_proxy", "http_proxy")
    remote = Sftp(
        host=section.needed("host"),
        port=section.port("port", 22),
        user=section.get("user"),
        key_file=section.get("key_file"),
        known_hosts=section.get("known_hosts_file"),
    )
    found = _Found(remote, _passwords(section, {"pass": "password", "key_file_pass": "key_passphrase"}))
    if pem := section.get("key_pem"):
        found.secrets["key_pem"] = pem.replace("\\n", "\n")
    return found


def _webdav(section: _Section) -> _Found:
    section.refuse("bearer_token_command", "unix_socket", "headers")
    section.get("vendor")
    found = _Found(
        Webdav(url=_plain_url(section.needed("url")), user=section.get("user")),
        _passwords(section, {"pass": "password"}),
    )
    if token := section.get("bearer_token"):
        found.secrets["bearer_token"] = token
    return found


def _ftp(section: _Section) -> _Found:
    # Implicit TLS, on a port of its own, is what ftplib doesn't speak.
    section.refuse("tls", "socks_proxy", "http_proxy")
    remote = Ftp(
        host=section.needed("host"),
        port=section.port("port", 21),
        user=section.get("user"),
        tls=section.true("explicit_tls"),
    )
    return _Found(remote, _passwords(section, {"pass": "password"}))


def _smb(section: _Section) -> _Found:
    section.refuse("use_kerberos")
    user, domain = section.get("user"), section.get("domain")
    if domain and domain != "WORKGROUP":
        user = f"{domain}\\{user}"
    remote = Smb(host=section.needed("host"), port=section.port("port", 445), user=user)
    return _Found(remote, _passwords(section, {"pass": "password"}))


def _passwords(section: _Section, names: Mapping[str, str]) -> dict[str, Any]:
    return {ours: reveal(hidden) for theirs, ours in names.items() if (hidden := section.get(theirs))}


def _plain_url(url: str) -> str:
    if has_password(url):
        raise Unusable("its address holds a password. Move it to user and pass with: rclone config")
    return url


_TYPES = {
    "dropbox": _dropbox,
    "drive": _drive,
    "s3": _s3,
    "local": _local,
    "alias": _alias,
    "sftp": _sftp,
    "webdav": _webdav,
    "ftp": _ftp,
    "smb": _smb,
}
