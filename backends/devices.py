"""What a device is, and which phones, cameras and memory cards are mounted on this machine.

`photosync.backends.device_list` joins these with the devices that need no mount.

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
==================  ==========================================================================================

A disk with photosync's own records at its root is a destination and never taken for a camera card. A disk
that only holds a DCIM somewhere deeper is most likely somebody's backup; it can always be named by its path.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from photosync.backends.device_facts import Facts, Mount, Usb, mount_at
from photosync.engine.errors import PhotosyncError
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
    "afc",
    "pymobiledevice3",
    "go-mtpfs",
    "jmtpfs",
    "simple-mtpfs",
    "aft-mtp-mount",
    "mtpfs",
    "gvfs-gphoto2",
    "kio-camera",
    "gphotofs",
    "ptp",
    "volume",
    "usb",
)
"""Routes to a device, the one to prefer first. ADB reads several files at once and tells true sizes; PTP
comes late: it transcodes HEIC and hides files. ``usb`` is none: plugged in, but nothing leads there."""

NETWORK = "ptpip:"
"""What the paths of cameras begin with that are not on the USB, as libgphoto2 names them."""

_FUSE_ROUTES = {
    f"fuse.{name}": name for name in ("ifuse", "jmtpfs", "simple-mtpfs", "aft-mtp-mount", "mtpfs", "gphotofs")
}
_GO_MTPFS = re.compile(r"fuse\.devicefs\((?P<model>.*)\)", re.IGNORECASE)
_DESKTOP_TYPES = {"fuse.gvfsd-fuse": "gvfs", "fuse.kio-fuse": "kio"}
_GVFS_NAME = re.compile(r"(?P<scheme>mtp|afc|gphoto2):host=(?P<host>[^,]+)$")
_GVFS_SCHEMES = ("mtp", "afc", "gphoto2")
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
    """A phone, camera or memory card, and a route to it.

    Attributes:
        name: what follows ``phone@``; unique among the devices found together.
        route: one of `BEST_FIRST`.
        path: the folder it is mounted at, absolute; without a mount, what the route calls it; "" if nothing
            leads to it.
        identity: what tells it from others, by its prefix:
            ``serial:`` (USB serial number or UDID; strong: belongs to the hardware),
            ``uuid:`` (volume id; strong: belongs to one formatting of one card; 32 bits on FAT),
            ``mount:`` (type and source of the mount, or the name it is shown under; weak: the same for any
            two phones of one kind, so that only the mount itself is watched).
        model: for people.
        hint: None if it is ready, else what hinders and what to do about it.
        storages: those that hold photos.
        others: the same thing by its other routes, best first; each with a hint if that one is hindered.
    """

    name: str
    route: str
    path: str
    identity: str
    model: str
    hint: str | None = None
    storages: tuple[Storage, ...] = ()
    others: tuple["Device", ...] = ()

    @property
    def is_phone(self) -> bool:
        """Whether it was reached as a phone or camera, rather than as a disk."""
        return self.route != "volume"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a device showed when it was looked at: its folder is empty, or these storages hold photos.

    Attributes:
        name: that its owner gave it, where the route tells.
    """

    empty: bool
    ours: bool
    storages: tuple[Storage, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Candidate:
    route: str
    path: str
    identity: str
    model: str


def find_mounted(facts: Facts) -> list[Device]:
    """Every device that is mounted, once for each of its mounts; without names."""
    found = [*_own_mounts(facts), *_desktop_mounts(facts)]
    seen = _ask({item.path: ("look", item.path) for item in found}, facts)
    return [device for item in found if (device := _judge(item, seen[item.path]))]


def leads_to_phone(path: str, mounts: Iterable[Mount]) -> bool:
    """Whether a folder lies on a phone or camera; touches nothing. Cards and sticks are disks like others.

    Args:
        path: absolute, without links.
        mounts: the mount table.
    """
    mount = mount_at(path, mounts)
    if mount is None:
        return False
    name = path[len(mount.target) :].strip("/").partition("/")[0]
    match _DESKTOP_TYPES.get(mount.fstype):
        case "gvfs":
            return name.partition(":host=")[0] in _GVFS_SCHEMES
        case "kio":
            return name in _KIO_SCHEMES
    return mount.fstype in _FUSE_ROUTES or _GO_MTPFS.fullmatch(mount.fstype) is not None


def is_plugged_in(device: Device, facts: Facts) -> bool | None:
    """Whether the machine still sees the very same device; None if it can't tell."""
    kind, _, value = device.identity.partition(":")
    if device.path.startswith(NETWORK):
        return None
    if kind == "serial" and facts.usb:
        return any(plain(usb.serial) == value for usb in facts.usb)
    if kind == "uuid" and (mount := mount_at(device.path, facts.mounts)):
        return facts.volume_ids.get(mount.source) == value
    return None


def trouble(error: Exception, path: str) -> str:
    """What a person should do about a mount that can't be looked at."""
    from photosync.backends.mount_worker import NoAnswer

    again = "Unplug the device, plug it in again and unlock it"
    if isinstance(error, PhotosyncError) and not isinstance(error, NoAnswer):
        return str(error)  # the route's own words
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
    """Those of `PHOTO_FOLDERS` among some names, in that order."""
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
    fitting = [usb for usb in facts.usb if usb.mtp and usb.apple == apple]
    return fitting[0] if len(fitting) == 1 else None


def _identity(usb: Usb | None, weak: str) -> str:
    return serial_identity(usb.serial) if usb else f"mount:{weak}"


def serial_identity(serial: str) -> str:
    """The identity of the hardware with this serial number or UDID."""
    return f"serial:{plain(serial)}"


def plain(serial: str) -> str:
    """A serial number as every route agrees on: udev replaces odd characters, newer UDIDs lose their dash."""
    return re.sub(r"[^0-9A-Z]", "", serial.upper())


# ---- judging -----------------------------------------------------------------------------------------------


def _ask(questions: Mapping[str, Sequence[object]], facts: Facts) -> dict[str, object | Exception]:
    # Every run on this machine's folders asks whether they are a phone's; few look for phones.
    from photosync.backends.mount_worker import ask_all

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
