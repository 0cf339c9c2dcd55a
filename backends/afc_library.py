"""Apple's file service AFC, spoken by libimobiledevice; runs inside a helper process.

The library (LGPL 2.1) is the one that ifuse, gvfs and every Linux desktop talk to iPhones with. It is loaded
from the system when it is first needed, so that the pairing, its certificates and its TLS are all the
library's business, and a crash in it ends a helper and nothing else. Names and numbers are those of its
headers (libimobiledevice 1.3.0: libimobiledevice.h, lockdown.h, afc.h).
"""

import ctypes
import ctypes.util
import errno
import os
import stat
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from photosync.backends.posix import told
from photosync.engine.errors import DeviceGone

_LABEL = b"photosync"
_SERVICE = b"com.apple.afc"
_OVER_USB = 1
_READ_ONLY = 1

LOCKED = "It is locked. Unlock it with its passcode, keep it unlocked, then try again."
UNTRUSTED = "It does not trust this computer. Unlock it and tap Trust on its screen, then try again."
ASKING = "It is asking whether to trust this computer. Tap Trust on its screen, then try again."
DENIED = (
    "It was told not to trust this computer. Plug it in again and tap Trust; if it does not ask, choose "
    '"Reset Location & Privacy" in its settings (General, Transfer or Reset, Reset).'
)
_INSTALL = {"darwin": "brew install libimobiledevice"}.get(
    sys.platform, "apt install libimobiledevice6 usbmuxd"
)
MISSING = (
    f"libimobiledevice is not installed. Run: {_INSTALL} (or mount the iPhone with ifuse, or run: "
    "pip install 'photosync-engine[ios]')."
)

_NOT_PAIRED = -21
_LOCKDOWN = {-17: LOCKED, -18: DENIED, -19: ASKING, _NOT_PAIRED: UNTRUSTED, -20: UNTRUSTED, -4: UNTRUSTED}

_ERRNO = {
    7: errno.EINVAL,
    8: errno.ENOENT,
    9: errno.EISDIR,
    10: errno.EACCES,
    15: errno.ENOTSUP,
    17: errno.EBUSY,
}
# Not connected, time-out, the three of the multiplexer, and answers that stop in their middle.
_CUT = {11, 12, 30, 32, 2}
_KINDS = {"S_IFREG": stat.S_IFREG, "S_IFDIR": stat.S_IFDIR, "S_IFLNK": stat.S_IFLNK}


class _Info(ctypes.Structure):
    _fields_ = (
        ("udid", ctypes.c_char_p),
        ("connection", ctypes.c_int),
        ("data", ctypes.c_void_p),
    )


def installed() -> bool:
    """Whether the library is on this machine; loads nothing."""
    return _file_name() is not None


@cache
def _file_name() -> str | None:
    return ctypes.util.find_library("imobiledevice-1.0") or ctypes.util.find_library("imobiledevice")


@cache
def _library() -> Any:
    name = _file_name()
    if name is None:
        raise DeviceGone(MISSING)
    library = ctypes.CDLL(name)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64
    arguments: dict[str, tuple[Any, ...]] = {
        "idevice_get_device_list_extended": (pointer, pointer),
        "idevice_device_list_extended_free": (pointer,),
        "idevice_new": (pointer, text),
        "idevice_free": (pointer,),
        "lockdownd_client_new_with_handshake": (pointer, pointer, text),
        "lockdownd_client_new": (pointer, pointer, text),
        "lockdownd_pair": (pointer, pointer),
        "lockdownd_get_device_name": (pointer, pointer),
        "lockdownd_start_service": (pointer, text, pointer),
        "lockdownd_service_descriptor_free": (pointer,),
        "lockdownd_client_free": (pointer,),
        "afc_client_new": (pointer, pointer, pointer),
        "afc_client_free": (pointer,),
        "afc_read_directory": (pointer, text, pointer),
        "afc_get_file_info": (pointer, text, pointer),
        "afc_get_device_info": (pointer, pointer),
        "afc_dictionary_free": (pointer,),
        "afc_file_open": (pointer, text, ctypes.c_int, pointer),
        "afc_file_close": (pointer, number),
        "afc_file_read": (pointer, number, pointer, ctypes.c_uint32, pointer),
        "afc_file_seek": (pointer, number, ctypes.c_int64, ctypes.c_int),
    }
    for function, types in arguments.items():
        getattr(library, function).argtypes = types
    return library


def udids() -> list[str]:
    """Of the devices on the USB; those known by Wi-Fi alone are too slow to read."""
    library = _library()
    devices, count = ctypes.POINTER(ctypes.POINTER(_Info))(), ctypes.c_int()
    if library.idevice_get_device_list_extended(ctypes.byref(devices), ctypes.byref(count)):
        return []  # usbmuxd knows of none, or is not running
    try:
        found = [devices[index].contents for index in range(count.value)]
        return [(info.udid or b"").decode() for info in found if info.connection == _OVER_USB]
    finally:
        library.idevice_device_list_extended_free(devices)


class Phone:
    """A connection to the file service of one iPhone.

    Args:
        udid: as `udids` gives it.

    Attributes:
        name: that its owner gave it.

    Raises:
        DeviceGone: it is not there, locked, or does not trust this computer; the text is the remedy.
    """

    def __init__(self, udid: str) -> None:
        self._library = library = _library()
        self._device, self._client = ctypes.c_void_p(), ctypes.c_void_p()
        lockdown, service = ctypes.c_void_p(), ctypes.c_void_p()
        if library.idevice_new(ctypes.byref(self._device), udid.encode()):
            raise DeviceGone("It is not plugged in. Plug it in, unlock it, then run again.")
        try:
            _agree(self._shake_hands(lockdown))
            self.name = self._owner_name(lockdown)
            _agree(library.lockdownd_start_service(lockdown, _SERVICE, ctypes.byref(service)))
            if code := library.afc_client_new(self._device, service, ctypes.byref(self._client)):
                raise DeviceGone(f"It does not open its file service (error {code}). Plug it in again.")
        except BaseException:
            library.idevice_free(self._device)
            raise
        finally:
            if service:
                library.lockdownd_service_descriptor_free(service)
            if lockdown:
                library.lockdownd_client_free(lockdown)

    def _shake_hands(self, lockdown: ctypes.c_void_p) -> int:
        library = self._library
        shake = library.lockdownd_client_new_with_handshake
        code: int = shake(self._device, ctypes.byref(lockdown), _LABEL)
        if code != _NOT_PAIRED:
            return code
        # It has forgotten this computer since they were paired: asked anew, it shows its question.
        asking = ctypes.c_void_p()
        if library.lockdownd_client_new(self._device, ctypes.byref(asking), _LABEL):
            return code
        code = library.lockdownd_pair(asking, None)
        library.lockdownd_client_free(asking)
        return code or int(shake(self._device, ctypes.byref(lockdown), _LABEL))

    def _owner_name(self, lockdown: ctypes.c_void_p) -> str:
        name = ctypes.c_void_p()
        if self._library.lockdownd_get_device_name(lockdown, ctypes.byref(name)) or not name.value:
            return "iPhone"
        try:
            return ctypes.string_at(name.value).decode("utf-8", "replace")
        finally:
            free = ctypes.CDLL(None).free
            free.argtypes = (ctypes.c_void_p,)
            free(name)

    def close(self) -> None:
        self._library.afc_client_free(self._client)
        self._library.idevice_free(self._device)

    def names(self, path: str) -> list[str]:
        """In a folder; paths start at the service's root and have no leading slash."""
        words = self._words(self._library.afc_read_directory, path)
        return [name for name in words if name not in (".", "..", "")]

    def children(self, path: str) -> tuple[list[tuple[str, os.stat_result]], int]:
        """What is in a folder, and how many names vanished meanwhile."""
        found, vanished = [], 0
        for name in self.names(path):
            try:
                found.append((name, self.stat(f"{path}/{name}" if path else name)))
            except FileNotFoundError:
                vanished += 1
        return found, vanished

    def stat(self, path: str) -> os.stat_result:
        """Kind, size and time, in whole seconds."""
        words = self._words(self._library.afc_get_file_info, path)
        known = dict(zip(words[::2], words[1::2], strict=False))
        kind = _KINDS.get(known.get("st_ifmt", ""), stat.S_IFCHR)
        return told(kind, int(known.get("st_size", 0)), int(known.get("st_mtime", 0)) // 10**9)

    def usage(self) -> tuple[int, int]:
        """Bytes of the phone's memory: all, free."""
        words = self._words(lambda client, _path, out: self._library.afc_get_device_info(client, out), "")
        known = dict(zip(words[::2], words[1::2], strict=False))
        return int(known.get("FSTotalBytes", 0)), int(known.get("FSFreeBytes", 0))

    def open(self, path: str, offset: int) -> int:
        """A handle, to be read from ``offset`` on."""
        handle = ctypes.c_uint64()
        library = self._library
        check(library.afc_file_open(self._client, _raw(path), _READ_ONLY, ctypes.byref(handle)), path)
        if offset:
            code = library.afc_file_seek(self._client, handle, offset, os.SEEK_SET)
            if code:
                self.close_file(handle.value)
                check(code, path)
        return handle.value

    def read(self, handle: int, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the end of the file."""
        buffer, got = ctypes.create_string_buffer(size), ctypes.c_uint32()
        code = self._library.afc_file_read(self._client, handle, buffer, size, ctypes.byref(got))
        check(code, "the file")
        return ctypes.string_at(buffer, min(got.value, size))

    def close_file(self, handle: int) -> None:
        self._library.afc_file_close(self._client, handle)

    def _words(self, ask: Callable[..., int], path: str) -> list[str]:
        listed = ctypes.POINTER(ctypes.c_char_p)()
        check(ask(self._client, _raw(path), ctypes.byref(listed)), path)
        words: list[str] = []
        try:
            while (word := listed[len(words)]) is not None:
                words.append(os.fsdecode(word))
        finally:
            self._library.afc_dictionary_free(listed)
        return words


def _raw(path: str) -> bytes:
    return b"/" + os.fsencode(path)


def _agree(code: int) -> None:
    """Raises what a person should do about lockdownd's refusal."""
    if code:
        again = f"It does not answer (error {code}). Unplug it, plug it in again and unlock it."
        raise DeviceGone(_LOCKDOWN.get(code, again))


def check(code: int, path: str) -> None:
    """Raises AFC's error as a file system would tell it."""
    if code:
        number = errno.ENODEV if code in _CUT else _ERRNO.get(code, errno.EIO)
        raise OSError(number, os.strerror(number), path)
