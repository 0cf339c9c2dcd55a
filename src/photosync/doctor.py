"""``doctor``: looks at the whole set-up and says what hinders a copy, with the remedy.

Only what is configured is contacted. What is found is a stream of `Finding`, so that it can be shown while
slower questions are still being asked.
"""

import datetime
import email.utils
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from photosync import mirrors, paths
from photosync.config import S3, Config, ConfigError, Local, Remote, Smb, type_of
from photosync.engine.capabilities import Dated
from photosync.engine.sizes import human_size
from photosync.places import Kind, PlaceSpec, open_place
from photosync.secrets import Credentials
from photosync.session import Session

DISTRIBUTION = "photosync-engine"
LITTLE, TOO_LITTLE = 1 << 30, 64 << 20
"""Bytes free below which a folder is worth a word, and below which nothing works."""

SKEWED, REFUSED = 60.0, 900.0
"""Seconds that a clock may be wrong: certificates and schedules suffer; S3 refuses (RequestTimeTooSkewed)."""

_OLDEST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_SOON = 7 * 86400


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: "versions", "configuration", "secrets", "folders", "devices", "remotes" or "clock".
        subject: what in that area.
        level: how it is.
        text: what was found, in a sentence.
        remedy: what to do about it; "" if nothing needs to be done, or ``text`` says it.
    """

    area: str
    subject: str
    level: Level
    text: str
    remedy: str = ""


def examine(session: Session) -> Iterator[Finding]:
    """Looks at everything, the quick things first. Raises nothing that a set-up could cause."""
    yield from _versions()
    yield from _own_files(session)
    try:
        config = session.config
    except ConfigError as error:
        yield Finding("configuration", "file", Level.PROBLEM, str(error))
        config = Config()
    yield from _folders(config)
    yield from _stages()
    yield from _clock()
    yield from _devices()
    for name, remote in sorted(config.remotes.items()):
        for finding in _remote(session, name, remote):
            yield Finding(
                finding.area, finding.subject, finding.level, session.redact(finding.text), finding.remedy
            )


# ---- this program ------------------------------------------------------------------------------------------

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?(?:>=(?P<least>[\d.]+))?[^;]*(?:;(?P<marker>.*))?")
_NOT_FOR_USERS = ("samples",)
_COMPILED = "disks are listed by compiled code"
_NOT_COMPILED = (
    "disks are listed by Python code, which takes nearly twice as long; to have it compiled, install a C "
    "compiler and Python's headers (Debian: gcc, libc6-dev, python3-dev), then photosync again"
)
_EXTRA = re.compile(r"extra == [\"']([\w-]+)[\"']")


def _versions() -> Iterator[Finding]:
    from photosync.backends import afc_library, local_tree

    ours = f"photosync {metadata.version(DISTRIBUTION)}, Python {'.'.join(map(str, sys.version_info[:3]))}"
    yield Finding("versions", "photosync", Level.OK, ours)
    yield Finding("versions", "disks", Level.OK, _COMPILED if local_tree.compiled() else _NOT_COMPILED)
    extras: dict[str, bool] = {}
    for text in metadata.requires(DISTRIBUTION) or ():
        found = _REQUIREMENT.match(text)
        if found is None:
            continue
        extra = _EXTRA.search(found["marker"] or "")
        installed = _version(found["name"])
        if extra and extra[1] not in _NOT_FOR_USERS:
            extras[extra[1]] = extras.get(extra[1], True) and installed is not None
        elif extra:
            continue
        elif installed is None or (found["least"] and _numbers(installed) < _numbers(found["least"])):
            have = f"{found['name']} {installed} is too old" if installed else f"{found['name']} is missing"
            upgrade = f"pip install --upgrade {DISTRIBUTION}"
            yield Finding("versions", found["name"], Level.PROBLEM, have, upgrade)
    if not extras.get("ios") and afc_library.installed():
        extras.pop("ios", None)  # iPhones are read without it, and better
    have = ", ".join(sorted(extra for extra, there in extras.items() if there)) or "none"
    lacking = ",".join(sorted(extra for extra, there in extras.items() if not there))
    text = f"optional parts installed: {have}"
    if lacking:
        text += f"; for the others: pip install '{DISTRIBUTION}[{lacking}]'"
    yield Finding("versions", "optional", Level.OK, text)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


# ---- its own files -----------------------------------------------------------------------------------------


def _own_files(session: Session) -> Iterator[Finding]:
    config = paths.config_file(session.config_path)
    if config.exists():
        yield _permissions("configuration", config, 0o022, "changed")
    else:
        yield Finding("configuration", "file", Level.OK, f"none yet ({config}); phone: and folders need none")
    for kept in {paths.secrets_file() or paths.fallback_secrets_file(), paths.fallback_secrets_file()}:
        if kept.exists():
            yield _permissions("secrets", kept, 0o077, "read")
    try:
        yield Finding("secrets", "keeper", Level.OK, f"sign-ins are kept in {session.secrets.where()}")
    except Exception as error:  # noqa: BLE001 - desktops' keyrings raise what they like
        text = f"sign-ins cannot be kept ({type(error).__name__})"
        remedy = "unlock the keyring, or set PHOTOSYNC_SECRETS_FILE to a file of your own"
        yield Finding("secrets", "keeper", Level.PROBLEM, text, remedy)


def _permissions(area: str, path: Path, excess: int, done: str) -> Finding:
    try:
        found = path.stat()
    except OSError as error:
        return Finding(area, str(path), Level.PROBLEM, f"{path}: {error.strerror}")
    if found.st_uid not in (os.geteuid(), 0):
        text = f"{path} belongs to another user (uid {found.st_uid})"
        return Finding(area, str(path), Level.PROBLEM, text, f"take it over: chown {os.geteuid()} {path}")
    if stat.S_IMODE(found.st_mode) & excess:
        text = f"{path} can be {done} by other users of this machine"
        return Finding(area, str(path), Level.PROBLEM, text, f"chmod 600 {path}")
    return Finding(area, str(path), Level.OK, f"{path} is yours alone")


def _folders(config: Config) -> Iterator[Finding]:
    yield _folder("state", paths.state_dir(), "set PHOTOSYNC_STATE_DIR to another folder")
    yield _folder("cache", paths.cache_dir(), "set PHOTOSYNC_CACHE_DIR to another folder")
    for name, remote in sorted(config.remotes.items()):
        if isinstance(remote, Local) and remote.root:
            root = Path(remote.root).expanduser()
            if root.is_dir():
                yield _folder(f"{name}:", root, "choose another folder")
            else:
                text, remedy = f"{root} is not there", "if it is a disk, mount it"
                yield Finding("folders", f"{name}:", Level.WARNING, text, remedy)


def _folder(subject: str, path: Path, otherwise: str) -> Finding:
    from photosync.engine.sizes import human_size

    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        text = f"{path} cannot be written" if there == path else f"{path} cannot be made"
        return Finding("folders", subject, Level.PROBLEM, text, f"mend its permissions, or {otherwise}")
    free = shutil.disk_usage(there).free
    text = f"{path} has {human_size(free)} free"
    if free < LITTLE:
        level = Level.PROBLEM if free < TOO_LITTLE else Level.WARNING
        return Finding("folders", subject, level, text, f"make room, or {otherwise}")
    if subject in ("state", "cache") and there == path and stat.S_IMODE(path.stat().st_mode) & 0o022:
        text = f"{path} can be changed by other users"
        return Finding("folders", subject, Level.WARNING, text, f"chmod 700 {path}")
    return Finding("folders", subject, Level.OK, text)


# ---- what is plugged in ------------------------------------------------------------------------------------


def _stages() -> Iterator[Finding]:
    """What mirrors that failed left staged. Nothing sweeps it by itself: a photo that is not on the phone any
    more may be there alone."""
    for folder in sorted(mirrors.stages()):
        files = [path.stat() for path in folder.glob("files/*") if path.is_file()]
        if files:
            size = human_size(sum(found.st_size for found in files))
            day = _day(max(found.st_mtime for found in files))
            yield Finding(
                "folders",
                str(folder),
                Level.WARNING,
                f"{len(files)} files ({size}) are staged and not delivered, the newest since {day}",
                f"run again, which needs no phone for them: photosync mirror {mirrors.named(folder)}. "
                "If they are of no use, remove the folder",
            )


def _devices() -> Iterator[Finding]:
    from photosync.backends.device_list import find_devices, how_to_appear, why

    devices = find_devices()
    if not devices:
        text = "no phone, camera or card is plugged in"
        yield Finding("devices", "phone:", Level.WARNING, text, how_to_appear())
    for device in devices:
        subject = f"phone@{device.name}:"
        if device.hint is None:
            text = f"{device.model} is ready by {device.route} ({why(device)})"
            yield Finding("devices", subject, Level.OK, text)
        else:
            yield Finding("devices", subject, Level.PROBLEM, f"{device.model} is not ready", device.hint)
        for other in device.others:
            if other.hint is not None and device.hint is None:
                text = f"{device.model} by {other.route}, too, if you like"
                yield Finding("devices", subject, Level.OK, text, other.hint)


# ---- places ------------------------------------------------------------------------------------------------


def _remote(session: Session, name: str, remote: Remote) -> Iterator[Finding]:
    from photosync import connect as signing
    from photosync.failures import explain

    def found(level: Level, text: str, remedy: str = "") -> Finding:
        return Finding("remotes", f"{name}:", level, text, remedy)

    if isinstance(remote, Local):
        return  # its folder was looked at
    try:
        record = session.secrets.get(name) or Credentials()
    except Exception as error:  # noqa: BLE001 - as above
        said = explain(error)
        yield found(
            Level.PROBLEM, said[1] if said else f"its sign-in cannot be read ({type(error).__name__})"
        )
        return
    if aged := _age(name, record):
        yield found(*aged)
        if aged[0] is Level.PROBLEM:
            return
    if isinstance(remote, (S3, Smb)) and not remote.root:
        yield found(Level.OK, f"{type_of(remote)}; not asked, since it names no bucket or share of its own")
        return
    store: Any = None
    try:
        place = open_place(PlaceSpec(f"{name}:", Kind.REMOTE, name, "", remote), session.secrets)
        store = place.store
        signing.check(place)
        yield found(Level.OK, f"{type_of(remote)} answers, and the sign-in is good")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other remotes are still to be looked at
        said = explain(error)
        yield found(Level.PROBLEM, said[1] if said else f"{type(error).__name__}: {error}")
    finally:
        if store is not None:
            store.close()
    if isinstance(store, Dated) and store.server_date:
        yield _compared(name, store.server_date, time.time())


def _age(name: str, record: Credentials) -> tuple[Level, str, str] | None:
    """What is to be said about a token that cannot be renewed, or that is old."""
    again = f"photosync connect {name}"
    expires = record.get("expires_at")
    if "access_token" in record and not record.get("refresh_token") and isinstance(expires, (int, float)):
        if expires < time.time():
            return Level.PROBLEM, f"its token ended {_day(expires)} and cannot be renewed", again
        level = Level.WARNING if expires - time.time() < _SOON else Level.OK
        return level, f"its token ends {_day(expires)} and cannot be renewed", again
    if record.get("session_token"):
        return Level.WARNING, "its keys are temporary ones, which end without a word", again
    if isinstance(since := record.get("signed_in"), (int, float)):
        return Level.OK, f"signed in since {_day(since)}; the token renews itself", ""
    return None


def _day(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M} UTC"


# ---- time --------------------------------------------------------------------------------------------------

_SET_CLOCK = "set the clock, or let the system do it: timedatectl set-ntp true"


def _clock() -> Iterator[Finding]:
    now = datetime.datetime.now(datetime.UTC)
    if now < _OLDEST:
        text = f"this machine's clock says {now:%Y-%m-%d}, which is long past"
        yield Finding("clock", "this machine", Level.PROBLEM, text, _SET_CLOCK)


def _compared(name: str, date: str, now: float) -> Finding:
    """This machine's clock beside the Date header of an answer (RFC 9110, 6.6.1; whole seconds)."""
    try:
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Finding("clock", f"{name}:", Level.OK, "the server tells no time that makes sense")
    off = now - theirs
    if abs(off) <= SKEWED:
        return Finding("clock", f"{name}:", Level.OK, "this machine's clock agrees with the server's")
    level = Level.PROBLEM if abs(off) > REFUSED else Level.WARNING
    text = f"this machine's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the server's"
    return Finding("clock", f"{name}:", level, text, _SET_CLOCK)
