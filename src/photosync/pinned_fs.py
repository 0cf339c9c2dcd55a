"""fsspec's sftp and ftp filesystems, with the server's identity checked before a password is sent.

fsspec's own take any SSH host key, each time anew, and any TLS certificate. Here a host key has to be the one
in the user's or photosync's known_hosts; a host met for the first time is remembered (what OpenSSH calls
``StrictHostKeyChecking=accept-new``), a changed key is refused. FTP over TLS verifies certificate and name.
"""

import io
import ssl
from ftplib import FTP_TLS
from pathlib import Path
from typing import Any

import paramiko
from fsspec.implementations.ftp import FTPFileSystem
from fsspec.implementations.sftp import SFTPFileSystem

from photosync.backends.tls import ca_bundle
from photosync.engine.errors import Fatal, NotSignedIn, Transient

PATIENCE = 30.0
"""Seconds for each step of connecting."""
ANSWER = 120.0
"""Seconds that a server may take for one answer."""


class PinnedSFTP(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's SFTP filesystem to a server whose host key is checked.

    Args:
        host: name or address.
        remember: file of host keys that photosync has met; a new host's key is added to it.
        known_hosts: file of the only host keys to trust; None: the user's own and ``remember``.
        key_pem: private key itself, PEM or OpenSSH format.
        key_passphrase: of ``key_pem`` or of the key file.
        ssh_kwargs: of paramiko's ``SSHClient.connect``: port, username, password, key_filename …

    Raises:
        NotSignedIn: the server refuses every key and password.
        Fatal: the host key is another one than before.
    """

    def __init__(
        self,
        host: str,
        remember: str,
        known_hosts: str | None = None,
        key_pem: str | None = None,
        key_passphrase: str | None = None,
        **ssh_kwargs: Any,
    ) -> None:
        if self._cached:
            return
        self._remember = Path(remember)
        self._known_hosts = known_hosts
        if key_pem is not None:
            ssh_kwargs["pkey"] = _private_key(key_pem, key_passphrase, host)
        elif key_passphrase is not None:
            ssh_kwargs["passphrase"] = key_passphrase
        super().__init__(host, **ssh_kwargs)

    def _connect(self) -> None:
        self.client = paramiko.SSHClient()
        if self._known_hosts:
            self.client.load_host_keys(self._known_hosts)
            self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        else:
            self.client.load_system_host_keys()
            self.client.set_missing_host_key_policy(_Remember(self._remember))
            if self._remember.exists():
                self.client.load_host_keys(str(self._remember))
        steps = {f"{step}timeout": PATIENCE for step in ("", "banner_", "auth_", "channel_")}
        try:
            self.client.connect(self.host, **steps, **self.ssh_kwargs)
            self.ftp = self.client.open_sftp()
            # paramiko would wait for an answer for ever.
            if (channel := self.ftp.get_channel()) is not None:
                channel.settimeout(ANSWER)
        except paramiko.BadHostKeyException:
            self.client.close()
            raise Fatal(
                f"{self.host} shows another host key than before: it was set up anew, or somebody else "
                "answers in its place. If you know why, remove its line from "
                f"{self._known_hosts or f'~/.ssh/known_hosts or {self._remember}'}, then run again."
            ) from None
        except (paramiko.AuthenticationException, paramiko.PasswordRequiredException) as error:
            self.client.close()
            raise NotSignedIn(
                f"{self.host} refused the sign-in ({type(error).__name__}). Check user, key and password, "
                "and run: photosync connect"
            ) from None
        except paramiko.SSHException as error:
            self.client.close()
            if "not found in known_hosts" in str(error):
                raise Fatal(
                    f"{self.host} has no host key in {self._known_hosts}. Add it, then run again."
                ) from None
            raise Transient(f"connecting to {self.host}: {error}") from error


class _Remember(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Adds the key of a host met for the first time to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One short append, so that threads which meet a host at once can't tear each other's lines.
        with open(self._file, "ab", buffering=0) as file:
            file.write(f"{hostname} {key.get_name()} {key.get_base64()}\n".encode())


def _private_key(pem: str, passphrase: str | None, host: str) -> paramiko.PKey:
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(pem), passphrase)
        except (paramiko.SSHException, ValueError):
            continue
    raise NotSignedIn(
        f"the private key kept for {host} can't be used: its kind is unknown or its passphrase is wrong. "
        "Run: photosync connect"
    )


class VerifiedFTP(FTPFileSystem):  # type: ignore[misc]
    """fsspec's FTP filesystem over TLS (AUTH TLS), certificate and host name verified."""

    def _connect(self) -> None:
        context = ssl.create_default_context(cafile=ca_bundle())
        self.ftp = FTP_TLS(timeout=self.timeout, encoding=self.encoding, context=context)
        self.ftp.connect(self.host, self.port)
        self.ftp.login(*self.cred)
        self.ftp.prot_p()
