"""What this machine says about mounts, USB and volumes without touching any device.

The mount table, sysfs and /dev/disk are answered by the kernel at once, whatever state a device is in.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_MEDIA = ("/media", "/run/media", "/mnt", "/Volumes")
_APPLE_VENDOR = "05ac"
_STILL_IMAGE_CLASS = "06"
_HUB_CLASS = "09"
_ADB_INTERFACE = ("ff", "42", "01")
"""AOSP, adb/transport.h: ADB_CLASS, ADB_SUBCLASS, ADB_PROTOCOL."""

_PHONE_VENDORS = {
    "04e8", "05c6", "0bb4", "0e8d", "0fce", "1004", "12d1", "1782", "18d1", "19d2", "22b8", "22d9", "2717",
    "2a70", "2ae5", "2d95", "2e04",
}  # fmt: skip
"""USB ids under which phones come, computers don't: Samsung, Qualcomm, HTC, MediaTek, Sony, LG, Huawei,
Unisoc, Google, ZTE, Motorola, Oppo, Xiaomi, OnePlus, Fairphone, Vivo, HMD (usb.org's list of vendors)."""

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table.

    Attributes:
        source: device node or name of the daemon.
        target: absolute folder.
        fstype: as in /proc/self/mounts.
        token: changes when something else is mounted there; "" where the system has none.
    """

    source: str
    target: str
    fstype: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Usb:
    """A phone or camera on the USB.

    Attributes:
        serial: of the hardware; an iPhone's UDID.
        model: for people.
        apple: made by Apple.
        address: (bus number, device number).
        android: speaks MTP or ADB, as Android phones do and cameras do not.
        debugging: offers ADB: USB debugging is on.
        mtp: it speaks MTP or PTP at the moment.
    """

    serial: str
    model: str
    apple: bool
    address: tuple[int, int] = (0, 0)
    android: bool = False
    debugging: bool = False
    mtp: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What the machine says without touching any device.

    Attributes:
        mounts: the mount table.
        usb: phones and cameras on the USB.
        volume_ids: device node → volume id.
        media: folders below which removable media are mounted.
        patience: seconds that a mount may take to show its folders.
        usbmuxd: address of the daemon that iPhones are reached through; "" if there is none.
        network_camera: address of a camera that speaks PTP/IP; "" if there is none.
    """

    mounts: tuple[Mount, ...] = ()
    usb: tuple[Usb, ...] = ()
    volume_ids: Mapping[str, str] = field(default_factory=dict)
    media: tuple[str, ...] = _MEDIA
    patience: float = _PATIENCE
    usbmuxd: str = ""
    network_camera: str = ""


def gather_facts() -> Facts:
    """Reads the facts of this machine. Never blocks on a device, never raises for what can't be read."""
    if sys.platform == "darwin":
        mounts, usb, volumes = tuple(_mac_volumes()), (), {}
    else:
        mounts, usb, volumes = tuple(mount_table()), tuple(_usb_devices()), _volume_ids()
    return Facts(
        mounts,
        usb,
        volumes,
        usbmuxd=_usbmuxd(),
        network_camera=os.environ.get("PHOTOSYNC_NETWORK_CAMERA", ""),
    )


def mount_at(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that a path lies in."""
    holding = [m for m in mounts if path == m.target or path.startswith(m.target.rstrip("/") + "/")]
    # Of several on one target the last one mounted is the one seen.
    return max(enumerate(holding), key=lambda pair: (len(pair[1].target), pair[0]))[1] if holding else None


def mount_table() -> Iterator[Mount]:
    """Parses /proc/self/mountinfo (proc_pid_mountinfo(5)): /proc/self/mounts plus ids; nothing elsewhere."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(b" - ")
        mount_id, _, numbers, _, target = left.split()[:5]
        fstype, source = right.split(b" ")[:2]
        yield Mount(_text(source), _text(target), _text(fstype), f"{_text(mount_id)} {_text(numbers)}")


def _text(raw: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), raw))


def _mac_volumes() -> Iterator[Mount]:
    try:
        with os.scandir("/Volumes") as entries:
            volumes = [entry.name for entry in entries if not entry.is_symlink()]
    except OSError:
        return
    for name in volumes:
        yield Mount(name, f"/Volumes/{name}", "volume")


def _usb_devices(base: str = "/sys/bus/usb/devices") -> Iterator[Usb]:
    """Devices with a still-image (PTP, MTP) interface or one that calls itself MTP, and phones that only
    charge, from sysfs."""
    names = _names_or_none(base)
    for name in names:
        serial = _line(f"{base}/{name}/serial")
        if ":" in name or not re.search(r"\w", serial):
            continue
        inside = [f"{base}/{other}" for other in names if other.startswith(f"{name}:")]
        vendor = _line(f"{base}/{name}/idVendor")
        still = any(_line(f"{path}/bInterfaceClass") == _STILL_IMAGE_CLASS for path in inside)
        mtp = any("MTP" in _line(f"{path}/interface") for path in inside)
        debugging = any(_triple(path) == _ADB_INTERFACE for path in inside)
        charges = vendor in _PHONE_VENDORS and _line(f"{base}/{name}/bDeviceClass") != _HUB_CLASS
        if still or mtp or debugging or charges:
            address = (int(_line(f"{base}/{name}/busnum") or 0), int(_line(f"{base}/{name}/devnum") or 0))
            model = _line(f"{base}/{name}/product") or "phone"
            apple = vendor == _APPLE_VENDOR
            yield Usb(serial, model, apple, address, mtp or debugging, debugging, still or mtp)


def _triple(interface: str) -> tuple[str, ...]:
    return tuple(_line(f"{interface}/bInterface{part}") for part in ("Class", "SubClass", "Protocol"))


def _usbmuxd() -> str:
    """Where usbmuxd listens: libusbmuxd's own variable, else its own path (libusbmuxd 2.0.2)."""
    named = os.environ.get("USBMUXD_SOCKET_ADDRESS", "")
    return named or ("UNIX:/var/run/usbmuxd" if os.path.exists("/var/run/usbmuxd") else "")


def _volume_ids() -> dict[str, str]:
    folder = "/dev/disk/by-uuid"
    return {os.path.realpath(f"{folder}/{name}"): name for name in _names_or_none(folder)}


def _names_or_none(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
