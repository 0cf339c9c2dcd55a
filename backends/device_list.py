"""Every phone, camera and card at hand, each once, with all its routes; and which of them ``phone:`` means.

One thing that is reached in several ways is known by its identity. The best route that is ready is taken
(`photosync.backends.devices.BEST_FIRST`); the others are kept beside it, with what hinders them.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from photosync.backends.adb_devices import find_adb
from photosync.backends.afc import find_afc, unreached
from photosync.backends.device_facts import Facts, Usb, gather_facts
from photosync.backends.devices import BEST_FIRST, Device, find_mounted, serial_identity
from photosync.backends.ptp_devices import find_ptp
from photosync.engine.errors import DeviceGone, Fatal

NOT_MOUNTED = (
    "It is plugged in, but nothing here reads it. Unlock it, choose File transfer, then open it in the file "
    "manager or mount it with jmtpfs."
)
ONLY_CHARGES = (
    'It only charges. Unlock it, open the notification "Charging this device via USB" and choose File '
    "transfer."
)

_MERITS = {
    "adb": "the fastest: several files at once, true sizes and times",
    "gvfs-mtp": "mounted by the desktop",
    "gvfs-afc": "mounted by the desktop; gives originals",
    "kio-mtp": "mounted by the desktop",
    "kio-afc": "mounted by the desktop; gives originals",
    "ifuse": "mounted; gives originals",
    "afc": "needs no mount; gives originals",
    "pymobiledevice3": "needs no mount; gives originals; libimobiledevice is faster",
    "ptp": "needs no mount; as a camera, it may convert or hide files",
    "gvfs-gphoto2": "as a camera, it may convert or hide files",
    "kio-camera": "as a camera, it may convert or hide files",
    "gphotofs": "as a camera, it may convert or hide files",
    "volume": "a memory card",
}

_SILENT = ("ifuse", "kio-afc")


def find_devices(facts: Facts | None = None) -> list[Device]:
    """Every device at hand, each by its best route, ready ones first.

    Args:
        facts: of the machine; None: `gather_facts`, and the servers of ADB and PTP are asked too.
    """
    everywhere = facts is None
    facts = facts or gather_facts()
    iphones = find_afc(facts)
    found = [*_known_by(iphones, find_mounted(facts)), *iphones]
    if everywhere:
        found += find_adb(facts)
        found += find_ptp(facts, {device.identity for device in found if device.hint is None})
    found += _unreached(facts, found)
    found.sort(key=lambda device: (device.hint is not None, BEST_FIRST.index(device.route), device.path))
    return _named(_once_each(found))


def select(devices: Sequence[Device], name: str | None) -> Device:
    """The device that ``phone:`` or ``phone@NAME:`` means.

    Args:
        devices: as found.
        name: NAME in any case, or a serial number or volume id; None: the only phone, or, if there is no
            phone at all, the only memory card.

    Raises:
        DeviceGone: there is none, none of that name, or it is not ready; the text says what to do.
        Fatal: there are several to choose from.
    """
    if name is not None:
        wanted = name.casefold()
        pool = [d for d in devices if wanted in (d.name.casefold(), d.identity.partition(":")[2].casefold())]
        if not pool:
            raise DeviceGone(f"There is no device called {name!r}. {_choices(devices) or how_to_appear()}")
    else:
        # Who says "phone:" with a locked phone and a camera card in the machine means the phone.
        pool = [d for d in devices if d.is_phone] or list(devices)
    ready = [device for device in pool if device.hint is None]
    if len(ready) == 1:
        return ready[0]
    if ready:
        raise Fatal(f"There are several devices. {_choices(ready)}")
    if pool:
        raise DeviceGone("\n".join(f"{device.model}: {device.hint}" for device in pool))
    raise DeviceGone(f"No phone, camera or memory card is plugged in. {how_to_appear()}")


def why(device: Device) -> str:
    """Why a route was chosen, for people."""
    merit = _MERITS.get(device.route, "mounted")
    ready = [other.route for other in device.others if other.hint is None]
    return f"{merit}; before {', '.join(ready)}" if ready else merit


def how_to_appear() -> str:
    """What to do so that a phone shows up, on this platform."""
    first = "Plug the phone in with a cable that carries data, unlock it and allow file transfer"
    if sys.platform == "darwin":
        return f"{first}. macOS mounts memory cards but no phones: use USB debugging (ADB) for Android."
    if sys.platform == "win32":
        return f"{first}. Windows mounts memory cards but no phones: use USB debugging (ADB) for Android."
    return (
        f"{first}; then open it in the file manager, or mount it with jmtpfs (Android) or ifuse (iPhone). "
        "Run photosync as the same user, without sudo."
    )


def _known_by(iphones: Sequence[Device], mounted: Sequence[Device]) -> list[Device]:
    """Mounted iPhones under the name that their owner gave them, which only AFC tells.

    ifuse and kio do not say whose mount it is: certainly the only iPhone's, while there is just one.
    """
    silent = [d for d in mounted if d.route in _SILENT and d.identity.startswith("mount:")]
    if len(iphones) == len(silent) == 1:
        (whose,) = silent
        mounted = [replace(d, identity=iphones[0].identity) if d is whose else d for d in mounted]
    models = {iphone.identity: iphone.model for iphone in iphones}
    return [replace(device, model=models.get(device.identity, device.model)) for device in mounted]


def _unreached(facts: Facts, found: Iterable[Device]) -> list[Device]:
    """What is on the USB, and no route leads there."""
    known = {device.identity for device in found}
    # A mount that does not say whose it is may be any of them.
    unsure = any(identity.startswith("mount:") for identity in known)
    return [
        Device("", "usb", "", serial_identity(usb.serial), usb.model, _hindrance(usb, facts))
        for usb in facts.usb
        if serial_identity(usb.serial) not in known and not unsure
    ]


def _hindrance(usb: Usb, facts: Facts) -> str:
    if usb.apple:
        return unreached(facts)
    return NOT_MOUNTED if usb.mtp else ONLY_CHARGES


def _once_each(devices: Iterable[Device]) -> list[Device]:
    """One device for each identity; the first route found leads, the rest follow it."""
    routes: dict[str, list[Device]] = {}
    for device in devices:
        weak = device.identity.startswith("mount:")
        routes.setdefault(device.path if weak else device.identity, []).append(device)
    return [replace(first, others=tuple(rest)) for first, *rest in routes.values()]


def _named(devices: Sequence[Device]) -> list[Device]:
    slugs = [re.sub(r"[^\w.]+", "-", device.model).strip("-").lower() or "phone" for device in devices]
    often = Counter(slugs)
    names: list[str] = []
    for slug, device in zip(slugs, devices, strict=True):
        name = slug
        if often[slug] > 1 and not device.identity.startswith("mount:"):
            name = f"{slug}-{device.identity[-4:].lower()}"
        number = 2
        while name in names:
            name, number = f"{slug}-{number}", number + 1
        names.append(name)
    return [replace(device, name=name) for name, device in zip(names, devices, strict=True)]


def _choices(devices: Sequence[Device]) -> str:
    offers = ", ".join(f"phone@{d.name}: ({d.model}, {d.route} at {d.path})" for d in devices)
    return f"Choose one of: {offers}." if offers else ""
