"""Which phones, cameras and memory cards are plugged into this machine, and what hinders reading them.

Nothing here opens a photo. The mount table, sysfs and /dev/disk are read in this process: the kernel answers
those at once. The mounts themselves are touched only by helper processes with a time limit
(`photosync.backends.mount_worker`), because listing a dead mount may take for ever.

Where the routes show up (Linux):

==================  ==========================================================================================
gvfs                ``/run/user/UID/gvfs/{mtp,afc,gphoto2}:host=HOST``; HOST is the UDID of an iPhone, else
                    udev's ID_SERIAL ``VENDOR_MODEL_SERIAL`` or, in old versions, ``[usb:BUS,DEVICE]``
kio-fuse            ``/run/user/UID/kio-fuse-*/{mtp,afc,camera}/NAME``
ifuse, jmtpfs,      mount type ``fuse.NAME``
simple-mtpfs …
go-mtpfs            mount type ``fuse.deviceFS(MODEL)``
memory cards        a block device mounted below /media, /run/media, /mnt or /Volumes with a DCIM at its root
no mount            `photosync.backends.adb_devices` and `photosync.backends.ptp_devices`
==================  ==========================================================================================

A disk with photosync's own records at its root is a destination and never taken for a camera card. A disk
that only holds a DCIM somewhere deeper is most likely somebody's backup; it can always be named by its path.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from photosync.backends.device_facts import Facts, Mount, Usb, gather_facts, mount_at
from photosync.backends.mount_worker import NoAnswer, ask_all
from photosync.engine.errors import DeviceGone, Fatal
from photosync.engine.names import OURS

PHOTO_FOLDERS = ("DCIM", "Pictures", "Movies")
"""Where cameras (DCF, JEITA CP-3461) and Android's media store put photos and videos; any case."""

BEST_FIRST = (
    "adb",
    "gvfs-mtp",
    "gvfs-afc",
    "kio-mtp",
    "kio-afc",
    "ifuse",
    "go-mtpfs",
    "jmtpfs",
    "simple-mtpfs",
    "aft-mtp-mount",
    "mtpfs",
    "ptp",
    "gvfs-gphoto2",
    "kio-camera",
    "gphotofs",
    "volume",
)
"""Routes to a device, the one to prefer first. PTP comes late: it transcodes HEIC and hides files."""

_WITHOUT_MOUNT = ("adb", "ptp")
_FUSE_ROUTES = {
    f"fuse.{name}": name
    for name in BEST_FIRST
    if name not in _WITHOUT_MOUNT and ("-" not in name or "mtp" in name.split("-", 1)[1])
}
_GO_MTPFS = re.compile(r"fuse\.devicefs\((?P<model>.*)\)", re.IGNORECASE)
_DESKTOP_TYPES = {"fuse.gvfsd-fuse": "gvfs", "fuse.kio-fuse": "kio"}
_GVFS_NAME = re.compile(r"(?P<scheme>mtp|afc|gphoto2):host=(?P<host>[^,]+)$")
_KIO_SCHEMES = ("mtp", "afc", "camera")
_UDID = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{8}-?[0-9a-fA-F]{16}")
_MAX_STORAGES = 64


@dataclass(frozen=True, slots=True)
class Storage:
    """One memory of a device that holds photos.

    Attributes:
        name: its folder below the device's path; "" if the device's path is the storage itself.
        folders: those of `PHOTO_FOLDERS` that it has, as spelled there.
    """

    name: str
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A phone, camera or memory card that is plugged in.

    Attributes:
        name: what follows ``phone@``; unique among the devices found together.
        route: one of `BEST_FIRST`.
        path: the folder it is mounted at, absolute; by ADB what ``adb -s`` takes, by PTP libgphoto2's port.
        identity: what tells it from others, by its prefix:
            ``serial:`` (USB serial number or UDID; strong: belongs to the hardware),
            ``uuid:`` (volume id; strong: belongs to one formatting of one card; 32 bits on FAT),
            ``mount:`` (type and source of the mount, or the name it is shown under; weak: the same for any
            two phones of one kind, so that only the mount itself is watched).
        model: for people.
        hint: None if it is ready, else what hinders and what to do about it.
        storages: those that hold photos.
    """

    name: str
    route: str
    path: str
    identity: str
    model: str
    hint: str | None = None
    storages: tuple[Storage, ...] = ()

    @property
    def is_phone(self) -> bool:
        """Whether it was reached as a phone or camera, rather than as a disk."""
        return self.route != "volume"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a device showed when it was looked at: its folder is empty, or these storages hold photos."""

    empty: bool
    ours: bool
    storages: tuple[Storage, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    route: str
    path: str
    identity: str
    model: str


def find_devices(facts: Facts | None = None) -> list[Device]:
    """Every device that is plugged in, each by its best route, ready ones first.

    Args:
        facts: of the machine; None: `gather_facts`, and the routes without a mount are asked too.
    """
    everywhere = facts is None
    facts = facts or gather_facts()
    found = [*_own_mounts(facts), *_desktop_mounts(facts)]
    seen = _ask({item.path: ("look", item.path) for item in found}, facts)
    devices = [device for item in found if (device := _judge(item, seen[item.path]))]
    if everywhere:
        devices += _without_mount(facts, devices)
    devices.sort(key=lambda device: (device.hint is not None, BEST_FIRST.index(device.route), device.path))
    return _named(_once_each(devices))


def _without_mount(facts: Facts, mounted: Sequence[Device]) -> list[Device]:
    from photosync.backends.adb_devices import find_adb
    from photosync.backends.ptp_devices import find_ptp

    found = find_adb(facts)
    ready = {device.identity for device in [*mounted, *found] if device.hint is None}
    return found + find_ptp(facts, ready)


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
    raise DeviceGone(f"No phone, camera or memory card is mounted. {how_to_appear()}")


def is_plugged_in(device: Device, facts: Facts) -> bool | None:
    """Whether the machine still sees the very same device; None if it can't tell."""
    kind, _, value = device.identity.partition(":")
    if kind == "serial" and facts.usb:
        return any(plain(usb.serial) == value for usb in facts.usb)
    if kind == "uuid" and (mount := mount_at(device.path, facts.mounts)):
        return facts.volume_ids.get(mount.source) == value
    return None


def trouble(error: Exception, path: str) -> str:
    """What a person should do about a mount that can't be looked at."""
    again = "Unplug the device, plug it in again and unlock it"
    if isinstance(error, NoAnswer):
        return f"{path} is stuck ({error}). {again}; if it stays stuck, unmount it with `fusermount3 -uz`."
    if isinstance(error, PermissionError):
        return f"{path} belongs to another user. Run photosync as the user who mounted it, without sudo."
    if isinstance(error, FileNotFoundError):
        return f"{path} is no longer there. {again}, and mount it again."
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return f"The mount at {path} is dead ({reason}). {again}, unmount it with `fusermount3 -u`, mount anew."


UNLOCK = "It shows no files. Unlock the phone and allow file transfer (iPhone: Trust this computer)."


# ---- inside the helper process -----------------------------------------------------------------------------


def operations() -> dict[str, Callable[[str], object]]:
    """What a helper process does for `find_devices`."""
    return {"look": look, "names": _folder_names}


def look(path: str) -> Seen:
    """Which storages below a folder hold photos.

    Raises:
        OSError: as the mount raises it. A storage that can't be listed is an error too: half a phone must
            not pass for a whole one.
    """
    with os.scandir(path) as entries:
        names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    ours = any(name.casefold() == OURS for name, _ in names)
    inside = [name for name, is_folder in names if is_folder and not name.startswith(".")]
    if here := photo_folders(inside):
        return Seen(False, ours, (Storage("", here),))
    storages = []
    empty = True
    for name in inside[:_MAX_STORAGES]:
        try:
            below = os.listdir(os.path.join(path, name))
        except PermissionError:
            continue
        empty = empty and not below
        if folders := photo_folders(below):
            storages.append(Storage(name, folders))
    return Seen(empty and len(inside) == len(names), ours, tuple(storages))


def photo_folders(names: Iterable[str]) -> tuple[str, ...]:
    """Those of `PHOTO_FOLDERS` that are among a storage's names, in that order, as spelled there."""
    order = [known.casefold() for known in PHOTO_FOLDERS]
    return tuple(sorted((n for n in names if n.casefold() in order), key=lambda n: order.index(n.casefold())))


def _folder_names(path: str) -> list[str]:
    return sorted(os.listdir(path))


# ---- candidates --------------------------------------------------------------------------------------------


def _own_mounts(facts: Facts) -> Iterator[_Candidate]:
    """Mounts that are a device each."""
    for mount in facts.mounts:
        go = _GO_MTPFS.fullmatch(mount.fstype)
        route = "go-mtpfs" if go else _FUSE_ROUTES.get(mount.fstype)
        if route:
            udid = _UDID.search(mount.source) if route == "ifuse" else None
            usb = _only_usb(facts, apple=route == "ifuse")
            identity = serial_identity(udid[0]) if udid else _identity(usb, f"{mount.fstype}:{mount.source}")
            model = go["model"] if go else usb.model if usb else os.path.basename(mount.target)
            yield _Candidate(route, mount.target, identity, model)
        elif _is_removable(mount, facts):
            label = os.path.basename(mount.target)
            volume = facts.volume_ids.get(mount.source)
            yield _Candidate("volume", mount.target, f"uuid:{volume}" if volume else f"mount:{label}", label)


def _is_removable(mount: Mount, facts: Facts) -> bool:
    below = any(mount.target.startswith(f"{folder}/") for folder in facts.media)
    return below and (mount.source.startswith("/dev/") or mount.fstype == "volume")


def _desktop_mounts(facts: Facts) -> Iterator[_Candidate]:
    """Devices inside the one mount in which a desktop shows everything it is connected to."""
    folders: dict[str, str] = {}
    for mount in facts.mounts:
        kind = _DESKTOP_TYPES.get(mount.fstype)
        if kind == "gvfs":
            folders[mount.target] = kind
        elif kind == "kio":
            folders |= {f"{mount.target}/{scheme}": f"kio-{scheme}" for scheme in _KIO_SCHEMES}
    listed = _ask({folder: ("names", folder) for folder in folders}, facts)
    for folder, kind in folders.items():
        names = listed[folder]
        # A desktop that can't be asked says nothing about phones: most often it is another user's.
        for name in names if isinstance(names, list) else ():
            path = f"{folder}/{name}"
            if kind != "gvfs":
                usb = _only_usb(facts, apple=kind == "kio-afc")
                yield _Candidate(kind, path, _identity(usb, f"{kind}:{name}"), name)
            elif match := _GVFS_NAME.fullmatch(name):
                yield _gvfs(match["scheme"], unquote(match["host"]), path, facts)


def _gvfs(scheme: str, host: str, path: str, facts: Facts) -> _Candidate:
    route = f"gvfs-{scheme}"
    if address := re.fullmatch(r"\[usb:(\d+),(\d+)\]", host):
        place = (int(address[1]), int(address[2]))
        usb = next((usb for usb in facts.usb if usb.address == place), None)
        # A bus address names a socket, not a phone.
        return _Candidate(route, path, _identity(usb, host), usb.model if usb else "phone")
    usb = next((usb for usb in facts.usb if serial_identity(host).endswith(plain(usb.serial))), None)
    model, _, serial = host.rpartition("_")
    model = usb.model if usb else model.replace("_", " ") or ("iPhone" if scheme == "afc" else "phone")
    return _Candidate(route, path, serial_identity(usb.serial if usb else serial), model)


def _only_usb(facts: Facts, apple: bool) -> Usb | None:
    """The phone behind a mount that does not say: certain only while there is just one."""
    fitting = [usb for usb in facts.usb if usb.apple == apple]
    return fitting[0] if len(fitting) == 1 else None


def _identity(usb: Usb | None, weak: str) -> str:
    return serial_identity(usb.serial) if usb else f"mount:{weak}"


def serial_identity(serial: str) -> str:
    """The identity of hardware by its serial number."""
    return f"serial:{plain(serial)}"


def plain(serial: str) -> str:
    """A serial number as every route agrees on: udev replaces odd characters, newer UDIDs lose their dash."""
    return re.sub(r"[^0-9A-Z]", "", serial.upper())


# ---- judging -----------------------------------------------------------------------------------------------


def _ask(questions: Mapping[str, Sequence[object]], facts: Facts) -> dict[str, object | Exception]:
    return ask_all(f"{__name__}:operations", questions, facts.patience)


def _judge(item: _Candidate, seen: object) -> Device | None:
    device = Device("", item.route, item.path, item.identity, item.model)
    if isinstance(seen, Seen):
        if device.is_phone:
            return replace(device, storages=seen.storages, hint=UNLOCK if seen.empty else None)
        card = [s for s in seen.storages if s.name == "" and s.folders[0].casefold() == "dcim"]
        return replace(device, storages=tuple(card)) if card and not seen.ours else None
    if isinstance(seen, FileNotFoundError) or not device.is_phone:
        return None  # a disk that can't be read is not known to be a camera card
    return replace(device, hint=trouble(seen, item.path)) if isinstance(seen, Exception) else None


def _once_each(devices: Iterable[Device]) -> list[Device]:
    kept: dict[str, Device] = {}
    for device in devices:
        weak = device.identity.startswith("mount:")
        kept.setdefault(device.path if weak else device.identity, device)
    return list(kept.values())


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
