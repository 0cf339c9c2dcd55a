"""Photos on a camera or phone that speaks PTP, without a mount, as a store that is only ever read.

What ``phone:…`` means is told in `photosync.backends.phone_paths`. Storages have the names that gvfs shows
them under (``store_00010001``), so the paths are the same by both routes. Times are the camera's own clock,
taken as this machine's zone.
"""

import errno

from photosync.backends.device_facts import gather_facts
from photosync.backends.devices import Device
from photosync.backends.mount_worker import NoAnswer
from photosync.backends.phone import PhoneStore

OPERATIONS = "photosync.backends.ptp_files:operations"
_PATIENCE = 120.0


def ptp_store(device: Device, subpath: str = "", *, patience: float = _PATIENCE) -> "PtpStore":
    """Opens a camera for reading.

    Args:
        device: as found.
        subpath: what stands behind ``phone:``.
        patience: seconds as for `photosync.backends.phone.phone_store`.

    Raises:
        DeviceGone: the camera is not there, is held by another program, or shows no photo folder.
        FileNotFoundError: there is no folder ``subpath`` on it.
        NameRefused: ``subpath`` tries to leave the camera.
    """
    return PtpStore.opened(device, subpath, gather_facts, patience)


class PtpStore(PhoneStore):
    """See `ptp_store`, which makes it."""

    operations = OPERATIONS

    def _trouble(self, error: Exception) -> str:
        return trouble(error)


def trouble(error: Exception) -> str:
    """What a person should do about a camera that can't be asked."""
    again = "Unplug it, plug it in again, switch it on and unlock it; then run again."
    if isinstance(error, NoAnswer):
        return f"It does not answer ({error}). {again}"
    if isinstance(error, OSError) and error.errno == errno.ENODEV:
        return f"It is no longer there. {again}"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"It can't be read ({reason}). {again}"
