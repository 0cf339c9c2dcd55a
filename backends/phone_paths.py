"""What ``phone:…`` means in paths, whatever the route to the device.

=========================  ===================================================================================
``phone:``                 DCIM, Pictures and Movies, as many as there are, of every storage. Not what
                           messengers keep in Android/media, nor downloads: name those to have them.
``phone:DCIM/Camera``      what is in that folder, in every storage that has it
``phone:SD card/DCIM``     the same, in the storage of that name
``phone:/``                everything on the device; a leading slash starts at the device's own top folder,
                           where the storages are folders
=========================  ===================================================================================

Paths are as on the device and relative to the folder named, as with any other place: ``phone:`` gives
``Internal storage/DCIM/Camera/a.jpg``, ``phone:DCIM`` gives ``Camera/a.jpg``. So a memory card that is put in
later changes no path; only where a folder is named that several storages have, their names stand in front.

Names that Android's media store uses for what is not a finished photo (AOSP, MediaProvider, FileUtils:
``.trashed-EXPIRES-NAME``, ``.pending-EXPIRES-NAME``, ``.thumbnails``) are listed as skipped. Apps' private
folders, Android/data and Android/obb, hold no photos and are closed to MTP.
"""

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from photosync.backends.devices import Device, Storage
from photosync.engine.entry import Entry, Kind, join
from photosync.engine.errors import DeviceGone
from photosync.engine.names import OURS, check_relative

NOT_ASKED = "no photo folder; name it, as in phone:/FOLDER, to copy it too"


@dataclass(frozen=True, slots=True)
class _Root:
    """A folder of the device, and under which path it is shown."""

    shown: str
    real: str


class PhonePaths:
    """Which folders of a device are shown, and under which paths.

    Args:
        device: as found.
        subpath: what stands behind ``phone:``; see the module's text.
        is_folder: whether a path on the device is a folder.

    Raises:
        DeviceGone: the device shows no photo folder.
        FileNotFoundError: there is no folder ``subpath`` on it.
        NameRefused: ``subpath`` tries to leave the device.
    """

    def __init__(self, device: Device, subpath: str, is_folder: Callable[[str], bool]) -> None:
        parts = [part for part in subpath.split("/") if part]
        path = check_relative("/".join(parts)) if parts else ""
        storages = device.storages or (Storage("", ()),)
        several = len(storages) > 1
        if not path and not subpath.startswith("/"):
            self.roots = tuple(
                _Root(join(storage.name, folder), join(storage.name, folder))
                for storage in storages
                for folder in storage.folders
            )
            if not self.roots:
                raise DeviceGone(
                    f"{device.model} shows no DCIM, Pictures or Movies folder. Unlock it and allow file "
                    f"transfer, or name a folder, as in phone@{device.name}:/Folder"
                )
            return
        if subpath.startswith("/") or parts[0] in {storage.name for storage in storages}:
            found = [_Root("", path)]
        else:
            found = [_Root(storage.name if several else "", join(storage.name, path)) for storage in storages]
        found = [root for root in found if is_folder(root.real)]
        if not found:
            missing = "it has no such folder (of a file, name its folder and --include NAME)"
            raise FileNotFoundError(errno.ENOENT, missing, f"phone@{device.name}:{subpath}")
        self.roots = tuple(found) if len(found) > 1 else (_Root("", found[0].real),)

    @property
    def shown(self) -> tuple[str, ...]:
        """The folders that are listed, by the paths that they are shown under."""
        return tuple(root.shown for root in self.roots)

    def real(self, path: str) -> str | None:
        """The path on the device; None above all roots."""
        if path:
            check_relative(path)
        for root in self.roots:
            if not root.shown:
                return join(root.real, path) if path else root.real
            if path == root.shown or path.startswith(f"{root.shown}/"):
                return root.real + path[len(root.shown) :]
        return None

    def file(self, path: str) -> str:
        """The path on the device of what may be a file.

        Raises:
            FileNotFoundError: there are only folders above the roots.
        """
        real = self.real(path)
        if real is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return real

    def steps(self, path: str) -> list[str]:
        """Names that lead from a path above the roots down to them.

        Raises:
            FileNotFoundError: none do.
        """
        prefix = f"{path}/" if path else ""
        below = [root.shown[len(prefix) :] for root in self.roots if root.shown.startswith(prefix)]
        if not below:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return list(dict.fromkeys(rest.partition("/")[0] for rest in below))


def above(path: str, steps: Iterable[str], folders: Iterable[str]) -> list[Entry]:
    """What a folder above the roots lists.

    Args:
        path: of the folder.
        steps: as `PhonePaths.steps` gives them.
        folders: names of the folders that the device really has there; those beside the photo folders are
            told, because somebody may have expected them to be copied.
    """
    wanted = list(steps)
    others = sorted(name for name in folders if name not in wanted and not name.startswith("."))
    return [Entry(join(path, name), kind=Kind.FOLDER) for name in wanted] + [
        Entry(join(path, name), kind=Kind.SKIPPED, note=NOT_ASKED) for name in others
    ]


def housekeeping(real: str) -> str:
    """Why a path on a device is none of the owner's photos, or ""."""
    parent, _, name = real.rpartition("/")
    if name.startswith(".trashed-"):
        return "in the phone's trash"
    if name.startswith(".pending-"):
        return "not finished by the app that writes it"
    if name.startswith(f"{OURS}-restoring-"):
        return "left by a restore that was cut short; the next one takes it away"
    if name == ".thumbnails":
        return "previews that the phone makes itself"
    if name in ("data", "obb") and parent.rpartition("/")[2] == "Android":
        return "private to apps"
    return ""
