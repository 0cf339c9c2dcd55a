"""Where photosync keeps its own files on this machine.

`platformdirs` names the folders; an environment variable replaces each:

====================== ============================================ =====================
variable               what it names                                default below
====================== ============================================ =====================
PHOTOSYNC_CONFIG       the configuration, a TOML file               the user's config folder
PHOTOSYNC_STATE_DIR    journal, host keys, credentials if no keyring the user's state folder
PHOTOSYNC_CACHE_DIR    staged copies; may be emptied at any time    the user's cache folder
PHOTOSYNC_SECRETS_FILE credentials, a file used instead of a keyring (no file)
====================== ============================================ =====================

Nothing is created by asking; a variable that is set but empty counts as not set.
"""

import os
from pathlib import Path

import platformdirs

APP = "photosync"


def config_file(chosen: Path | None = None) -> Path:
    """The configuration file: ``chosen`` (``--config``), else the environment's, else the user's own."""
    if chosen is not None:
        return chosen.expanduser()
    return _named("PHOTOSYNC_CONFIG") or platformdirs.user_config_path(APP, appauthor=False) / "config.toml"


def state_dir() -> Path:
    return _named("PHOTOSYNC_STATE_DIR") or platformdirs.user_state_path(APP, appauthor=False)


def cache_dir() -> Path:
    return _named("PHOTOSYNC_CACHE_DIR") or platformdirs.user_cache_path(APP, appauthor=False)


def secrets_file() -> Path | None:
    """The file that replaces the keyring, or None."""
    return _named("PHOTOSYNC_SECRETS_FILE")


def fallback_secrets_file() -> Path:
    """Where credentials go on a machine without a keyring."""
    return state_dir() / "secrets.json"


def known_hosts_file() -> Path:
    """SSH host keys that photosync has met, in OpenSSH's format."""
    return state_dir() / "known_hosts"


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else None
