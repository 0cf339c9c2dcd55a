"""rclone's configuration file as it stands: its sections, its obscured passwords, its tokens. Only ever read.

Passwords in it are *obscured*, which is no encryption: AES-CTR under a key that rclone publishes
(fs/config/obscure), so that anyone can reveal them.
"""

import base64
import binascii
import configparser
import json
import os
from datetime import datetime
from pathlib import Path

from photosync.config import ConfigError
from photosync.secrets import Credentials

LIMIT = 4 << 20

_KEY = bytes.fromhex("9c935b48730a554d6bfd7c63c886a92bd390198eb8128afbf4de162b8b95f638")


class RcloneError(ConfigError):
    """rclone's configuration cannot be read; the text says what to do."""


class Unusable(Exception):
    """One section can't become a remote; the text is the reason."""


def default_path() -> Path:
    """The file that rclone itself would use: RCLONE_CONFIG, else the first that exists of its usual ones."""
    if chosen := os.environ.get("RCLONE_CONFIG"):
        return Path(chosen).expanduser()
    variables = ("APPDATA", "XDG_CONFIG_HOME") if os.name == "nt" else ("XDG_CONFIG_HOME",)
    folders = [Path(folder) for name in variables if (folder := os.environ.get(name))]
    usual = [folder / "rclone" / "rclone.conf" for folder in (*folders, Path.home() / ".config")]
    for path in (*usual, Path.home() / ".rclone.conf"):
        if path.exists():
            return path
    return usual[0]


def read(path: Path) -> dict[str, dict[str, str]]:
    """The sections of a configuration of rclone's: name → option → value, passwords still obscured."""
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT + 1)
    except FileNotFoundError:
        raise RcloneError(
            f"{path}: there is no such file. Name it: photosync config import-rclone FILE"
        ) from None
    except OSError as error:
        raise RcloneError(f"{path}: could not be read: {error.strerror}") from None
    if len(data) > LIMIT:
        raise RcloneError(f"{path} is longer than {LIMIT} bytes; that is no configuration of rclone's")
    text = data.decode("utf-8-sig", "replace")
    if any(line.startswith("RCLONE_ENCRYPT_V") for line in text.splitlines()[:20]):
        raise RcloneError(
            f"{path} is encrypted. Let rclone decrypt it, without a copy on disk: "
            "photosync config import-rclone <(rclone config show)"
        )
    parser = configparser.RawConfigParser(
        delimiters=("=",),
        comment_prefixes=("#", ";"),
        strict=False,
        empty_lines_in_values=False,
        default_section="\0",
        interpolation=None,
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        # rclone's values are single lines; a leading blank is no continuation.
        parser.read_string("\n".join(line.strip() for line in text.splitlines()))
        line = None
    except configparser.MissingSectionHeaderError as error:
        line = error.lineno
    except configparser.ParsingError as error:
        line = error.errors[0][0]
    if line is not None:
        # The parser's own words would repeat the line, and with it perhaps a password.
        raise RcloneError(f"{path}, line {line}: is neither [section] nor option = value")
    return {name: {key: _unquoted(value) for key, value in parser.items(name)} for name in parser.sections()}


def _unquoted(value: str) -> str:
    for quote in ('"""', "`"):
        if len(value) >= 2 * len(quote) and value.startswith(quote) and value.endswith(quote):
            return value[len(quote) : -len(quote)]
    return value


def reveal(obscured: str) -> str:
    """What `rclone obscure` hid: URL-safe base64 of a 16-byte counter block and the text under AES-CTR.

    Raises:
        Unusable: it is not of that form, or the package cryptography is missing.
    """
    try:
        raw = base64.urlsafe_b64decode(obscured + "=" * (-len(obscured) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) < 16:
        raise Unusable("its password is not obscured as rclone does it. Run: rclone config password")
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError:
        raise Unusable("revealing its password needs a package. Run: pip install cryptography") from None
    decryptor = Cipher(algorithms.AES(_KEY), modes.CTR(raw[:16])).decryptor()
    try:
        return (decryptor.update(raw[16:]) + decryptor.finalize()).decode()
    except UnicodeDecodeError:
        pass
    raise Unusable("its password is not obscured as rclone does it. Run: rclone config password")


def read_token(text: str) -> Credentials:
    """A token as rclone keeps or prints it: JSON with access_token, refresh_token, expiry (RFC 3339).

    Returns:
        access_token, refresh_token, expires_at (seconds since the epoch): those that it has.

    Raises:
        Unusable: it has no token.
    """
    try:
        token = json.loads(text)
    except (ValueError, RecursionError):
        token = None
    if not isinstance(token, dict):
        raise Unusable("its token is damaged: it is not JSON")
    found = Credentials()
    for name in ("access_token", "refresh_token"):
        if isinstance(value := token.get(name), str) and value:
            found[name] = value
    if not found:
        raise Unusable("it has no token. Sign in with: rclone config reconnect")
    expires = token.get("expires_at") or _seconds(token.get("expiry"))
    if isinstance(expires, (int, float)) and expires > 0:
        found["expires_at"] = float(expires)
    return found


def _seconds(expiry: object) -> float | None:
    """Seconds since the epoch of what Go prints; its zero time means "never"."""
    try:
        return datetime.fromisoformat(str(expiry)).timestamp()
    except (ValueError, OverflowError):
        return None
