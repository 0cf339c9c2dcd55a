"""Which cameras and phones can be read by PTP, and what hinders the others."""

import os
import re
import sys
from collections.abc import Collection
from dataclasses import replace
from importlib.util import find_spec
from typing import cast

from photosync.backends.device_facts import Facts, Usb
from photosync.backends.devices import NETWORK, UNLOCK, Device, Seen, plain, serial_identity, trouble
from photosync.backends.mount_worker import ask_all

_OPERATIONS = "photosync.backends.ptp_files:operations"
_NO_PACKAGE = "Reading it by PTP needs a package. Run: pip install 'photosync-engine[ptp]'"


def find_ptp(facts: Facts, ready: Collection[str] = ()) -> list[Device]:
    """Cameras and phones that libgphoto2 finds on the USB, and the one on the network.

    Args:
        facts: of the machine.
        ready: identities of devices that can be read by another route; they are left alone, because opening
            a device by PTP takes it away from other programs.
    """
    waiting = [usb for usb in facts.usb if serial_identity(usb.serial) not in ready]
    network = [f"{NETWORK}{facts.network_camera}"] if facts.network_camera else []
    if find_spec("gphoto2") is None:
        return [
            Device("", "ptp", _port(usb), serial_identity(usb.serial), usb.model, _NO_PACKAGE)
            for usb in waiting
        ] + [Device("", "ptp", port, f"mount:ptp:{port}", "camera", _NO_PACKAGE) for port in network]
    # Linux tells what is on the USB; elsewhere only libgphoto2 knows. VCAMERADIR is its camera without USB.
    usb = waiting or not sys.platform.startswith("linux") or "VCAMERADIR" in os.environ
    detected = ask_all(_OPERATIONS, {"": ("detect",)}, facts.patience)[""] if usb else []
    known = {_port(usb): usb for usb in facts.usb}
    asked = {
        port: model
        for model, port in (detected if isinstance(detected, list) else [])
        if port not in known or serial_identity(known[port].serial) not in ready
    }
    asked |= dict.fromkeys(network, "camera")
    answers = ask_all(_OPERATIONS, {port: ("describe", port) for port in asked}, facts.patience)
    return [_judged(model, port, known.get(port), answers[port]) for port, model in asked.items()]


def _port(usb: Usb) -> str:
    """As libgphoto2 names it."""
    return "usb:{:03},{:03}".format(*usb.address)


def _judged(model: str, port: str, usb: Usb | None, answer: object) -> Device:
    identity = serial_identity(usb.serial) if usb else f"mount:ptp:{port}"
    device = Device("", "ptp", port, identity, usb.model if usb else model)
    if isinstance(answer, Exception):
        return replace(device, hint=trouble(answer, port))
    serial, told_model, seen = cast(tuple[str, str, Seen], answer)
    if port.startswith(NETWORK):
        device = replace(device, model=told_model or model)
    if usb is None and re.search("[1-9A-Z]", plain(serial)):
        device = replace(device, identity=serial_identity(serial))
    return replace(device, storages=seen.storages, hint=None if seen.storages else UNLOCK)
