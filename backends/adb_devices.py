"""Which Android phones can be read by ADB, and what hinders the others."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from photosync.backends.adb_client import AdbPhone
from photosync.backends.adb_listing import parse, script
from photosync.backends.adb_store import PRIMARY, storage_path
from photosync.backends.device_facts import Facts, Usb
from photosync.backends.devices import UNLOCK, Device, Storage, photo_folders, serial_identity
from photosync.engine.errors import PhotosyncError

_PATIENCE = 20.0
_CONNECT_SECONDS = 2.0

_LOOK = b"""\
for name in ro.product.manufacturer ro.product.model ro.serialno; do printf '%s\\0' "$(getprop $name)"; done
for folder in /storage/*-*; do [ -d "$folder" ] && printf '%s\\0' "${folder#/storage/}"; done
true
"""

DEBUGGING_OFF = (
    "USB debugging is off. On the phone: Settings > About phone, tap the build number seven times; then "
    "Settings > System > Developer options > USB debugging. Or open the phone in the file manager."
)
HINTS = {
    "unauthorized": "The phone does not know this computer yet. Unlock it and allow USB debugging when it "
    "asks; tick the box, so that it asks once only.",
    "authorizing": "The phone is asking whether this computer may read it. Unlock it and allow it.",
    "connecting": "It is just being connected. Run again in a moment.",
    "offline": "ADB cannot reach it. Unplug it and plug it in again; if that does not help, switch USB "
    "debugging off and on again on the phone.",
    "no permissions": "This user may not open it. Install android-sdk-platform-tools-common (Debian, Ubuntu) "
    "or android-udev (Arch), plug the phone in again; if it stays so, run: adb kill-server.",
}
_ELSE = "It is not running Android as usual ({state}). Start it normally, then run again."


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of ``adb devices -l``."""

    serial: str
    state: str
    model: str
    is_usb: bool


def find_adb(facts: Facts) -> list[Device]:
    """Phones that ADB knows of, those on a cable first, and Android phones on the USB that it can't know of.

    Args:
        facts: of the machine.
    """
    phones = [usb for usb in facts.usb if usb.android and not usb.apple]
    if find_spec("adbutils") is None:
        hint = "Reading it by ADB needs a package. Run: pip install 'photosync-engine[adb]'"
        return [_hindered(usb, hint if usb.debugging else DEBUGGING_OFF) for usb in phones]
    found: dict[str, Device] = {}
    for row in _rows(phones):
        device = _judged(row)
        if device.identity not in found or found[device.identity].hint is not None:
            found[device.identity] = device
    for usb in phones:
        if not usb.debugging:
            found.setdefault(serial_identity(usb.serial), _hindered(usb, DEBUGGING_OFF))
    return list(found.values())


def _hindered(usb: Usb, hint: str) -> Device:
    return Device("", "adb", usb.serial, serial_identity(usb.serial), usb.model, hint)


def _rows(phones: list[Usb]) -> list[_Row]:
    """What the adb server knows. It is started only where a phone may be waiting for it."""
    from adbutils import AdbClient, AdbError

    client = AdbClient()
    # Linux tells which interfaces are on the USB; elsewhere only adb knows.
    wanted = any(usb.debugging for usb in phones) or not sys.platform.startswith("linux")
    if not (wanted or _is_running(client)):
        return []
    try:
        text = _devices(client)
    except (AdbError, OSError, EOFError):
        return []
    rows = [_row(line) for line in text.splitlines() if line.strip()]
    return sorted(rows, key=lambda row: not row.is_usb)


def _is_running(client: Any) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((client.host, client.port), _CONNECT_SECONDS).close()
        return True
    return False


def _devices(client: Any) -> str:
    connection = client.make_connection(_PATIENCE)
    with contextlib.closing(connection.conn):
        connection.send_command("host:devices-l")
        connection.check_okay()
        return str(connection.read_string_block())


def _row(line: str) -> _Row:
    """Parses "SERIAL  STATE key:value …"; the state may be a sentence ("no permissions (…); see [http…]")."""
    serial, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    state = "no permissions" if rest.startswith("no permissions") else rest.partition(" ")[0]
    values = dict(re.findall(r"(\w+):(\S+)", rest))
    model = values.get("model", "").replace("_", " ") or "Android phone"
    return _Row(serial, state, model, "usb" in values)


def _judged(row: _Row) -> Device:
    identity = serial_identity(row.serial) if row.is_usb else f"mount:adb:{row.serial}"
    device = Device("", "adb", row.serial, identity, row.model)
    if row.state != "device":
        return replace(device, hint=HINTS.get(row.state) or _ELSE.format(state=row.state))
    try:
        phone = AdbPhone(row.serial, _PATIENCE)
        answer = phone.shell(_LOOK, f"looking at {row.serial}")
        maker, model, serial, *cards = os.fsdecode(answer.out).split("\0")[:-1]
        device = replace(
            device,
            model=_full_name(maker, model) or row.model,
            identity=serial_identity(serial) if re.search(r"\w", serial) else identity,
        )
        storages = tuple(_storages(phone, [PRIMARY, *cards]))
    except (PhotosyncError, OSError, ValueError) as error:
        return replace(device, hint=f"It can't be read: {error}")
    return replace(device, storages=storages, hint=None if storages else UNLOCK)


def _storages(phone: AdbPhone, names: list[str]) -> Iterator[Storage]:
    for name in names:
        top = storage_path(name)
        tree = parse(phone.shell(script(top, deep=False), f"looking at {top}"), top, deep=False)
        for error in tree.failed.values():
            raise error
        if folders := photo_folders(tree.folders[top]):
            yield Storage(name, folders)


def _full_name(maker: str, model: str) -> str:
    return model if model.casefold().startswith(maker.casefold()) else f"{maker} {model}".strip()
