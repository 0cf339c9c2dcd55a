"""iPhones that are plugged in and reached by AFC, without a mount."""

from dataclasses import replace

from photosync.backends import afc_program
from photosync.backends.afc_library import MISSING, installed
from photosync.backends.device_facts import Facts
from photosync.backends.devices import UNLOCK, Device, Seen, serial_identity, trouble
from photosync.backends.mount_worker import ask_all

OPERATIONS = {
    "afc": "photosync.backends.afc_files:operations",
    "pymobiledevice3": "photosync.backends.afc_files:operations_by_program",
}
"""Who answers by each of the two routes; the second is taken where the first is not installed."""

_SCHEME = "afc://"

NO_DAEMON = (
    "It is plugged in, but usbmuxd, through which iPhones are reached, is not running. Install usbmuxd, then "
    "plug the iPhone in again."
)


def find_afc(facts: Facts) -> list[Device]:
    """Every iPhone and iPad that usbmuxd knows on the USB; without names.

    Asking one that does not trust this computer makes it show its question.
    """
    route = _route()
    if not facts.usbmuxd or route is None:
        return []
    udids = ask_all(OPERATIONS[route], {"all": ("udids", "")}, facts.patience)["all"]
    if not isinstance(udids, list):
        return []
    seen = ask_all(
        OPERATIONS[route], {udid: ("look", _SCHEME + udid, True) for udid in udids}, facts.patience
    )
    return [_judge(route, udid, seen[udid]) for udid in udids]


def unreached(facts: Facts) -> str:
    """Why an iPhone on the USB is not found by AFC, and what to do."""
    if _route() is None:
        return MISSING
    if not facts.usbmuxd:
        return NO_DAEMON
    return "It is plugged in, but does not answer. Unlock it, tap Trust if it asks, or plug it in again."


def _route() -> str | None:
    return "afc" if installed() else "pymobiledevice3" if afc_program.program() else None


def _judge(route: str, udid: str, seen: object) -> Device:
    device = Device("", route, _SCHEME + udid, serial_identity(udid), "iPhone")
    if isinstance(seen, Seen):
        hint = UNLOCK if seen.empty else None
        return replace(device, model=seen.name or "iPhone", storages=seen.storages, hint=hint)
    return replace(device, hint=trouble(seen, device.path) if isinstance(seen, Exception) else UNLOCK)
