"""What ``devices`` shows: each phone, camera and card, its routes, its space, and what hinders it."""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from photosync.backends.afc import OPERATIONS
from photosync.backends.device_list import find_devices, why
from photosync.backends.devices import Device
from photosync.backends.mount_worker import ask_all
from photosync.engine.errors import PhotosyncError
from photosync.openers import device_store

_MOUNTED = "photosync.backends.phone_files:operations"
_BY_STORE = ("adb", "ptp")

_COUNTED = ("afc", "ifuse", "gvfs-afc", "volume")
"""Where names come at a few a millisecond; MTP needs minutes to tell how many there are."""

_PATIENCE = 10.0


def device_rows() -> list[dict[str, Any]]:
    """Every device at hand, ready ones first, as JSON-able rows (docs/json.md)."""
    devices = find_devices()
    details = _details([device for device in devices if device.hint is None])
    return [_row(device, details.get(device.path)) for device in devices]


def _details(devices: Sequence[Device]) -> Mapping[str, object]:
    """Bytes in all, bytes free, and how many files DCIM has, by the devices' paths."""
    answers: dict[str, object] = {}
    for operations in {OPERATIONS.get(device.route, _MOUNTED) for device in devices}:
        questions = {
            device.path: ("details", device.path, device.route in _COUNTED)
            for device in devices
            if OPERATIONS.get(device.route, _MOUNTED) == operations and device.route not in _BY_STORE
        }
        answers |= ask_all(operations, questions, _PATIENCE)
    for device in devices:
        if device.route in _BY_STORE:
            # What it does not tell is left out of the list; a copy will say why.
            with suppress(PhotosyncError, OSError), closing(device_store(device, "")) as store:
                usage = store.about()
                answers[device.path] = (usage.total, usage.free, None)
    return answers


def _row(device: Device, details: object) -> dict[str, Any]:
    total, free, photos = details if isinstance(details, tuple) else (None, None, None)
    return {
        "name": device.name,
        "model": device.model,
        "route": device.route,
        "path": device.path,
        "identity": device.identity,
        "hint": device.hint,
        "why": why(device) if device.hint is None else None,
        "storages": [{"name": each.name, "folders": list(each.folders)} for each in device.storages],
        "total": total or None,
        "free": free if total else None,
        "photos": photos,
        "routes": [
            {"route": each.route, "path": each.path, "hint": each.hint} for each in (device, *device.others)
        ],
    }


def people(row: Mapping[str, Any]) -> list[str]:
    """A row in lines for a terminal."""
    from photosync.engine.sizes import human_size

    kind, _, identity = row["identity"].partition(":")
    known = {"serial": f", serial {identity}", "uuid": f", volume {identity}"}.get(kind, "")
    lines = [f"phone@{row['name']}:  {row['model']}{known}"]
    if row["hint"] is not None:
        lines.append(f"  not ready ({row['route']}): {row['hint']}")
    else:
        at = f" at {row['path']}" if row["path"].startswith("/") else ""
        lines.append(f"  by {row['route']}{at} ({row['why']})")
    for storage in row["storages"]:
        folders = ", ".join(storage["folders"])
        lines.append(f"  holds {storage['name']}: {folders}" if storage["name"] else f"  holds {folders}")
    if row["photos"] is not None:
        lines.append(f"  {row['photos']} files in DCIM")
    if row["total"]:
        lines.append(f"  {human_size(row['free'])} free of {human_size(row['total'])}")
    return lines + [f"  also {each['route']}: {each['hint'] or 'ready'}" for each in row["routes"][1:]]
