"""Lists and reads the files of a camera through libgphoto2; runs inside the helper process of `PhoneStore`.

One process, one thread, one camera: libgphoto2 answers a second thread with "I/O in progress" (-110), and
what a driver of its crashes is this process alone. The operations are those of
`photosync.backends.phone_files`, with libgphoto2's port in the place of the mount.

A file is fetched whole into an unlinked temporary file when it is opened: most cameras know no partial reads,
and a transfer that waits for a slow destination runs into the camera's time limit. libgphoto2 remembers what
it was told about a file; only opening the camera anew asks it again.

PTP has 32 bits for sizes (ISO 15740, ObjectInfo; 0xFFFFFFFF means "4 GiB or more"); what a device tells in
64 bits beside them, libgphoto2 asks for where it knows how. There are devices that tell a larger file's size
modulo 2**32 and send as much, so size and length agree and the video is cut. What shows it is the video
itself: the boxes of MP4 and QuickTime (ISO/IEC 14496-12) tell their lengths.
"""

import contextlib
import errno
import locale
import os
import re
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from typing import IO, Any, cast

from photosync.backends.devices import NETWORK, Seen, Storage, photo_folders
from photosync.backends.mount_worker import ask_all
from photosync.engine.errors import DeviceGone, Permanent, Transient

BUSY = (
    "Busy: another program holds it, most often the file manager. Eject it there, or run "
    "`gio mount -s gphoto2` and `gio mount -s mtp`; then run again."
)
_REPLUG = "Unplug it, plug it in again, switch it on and unlock it; then run again."
_REJOIN = (
    "Switch it and its network on, end other programs that talk to it, and see that PHOTOSYNC_NETWORK_CAMERA "
    "is its IPv4 address; then run again."
)
_ELSEWHERE = "Copy it by another route: memory card, file manager or USB debugging."
_UNKNOWN_SIZE = 0xFFFFFFFF
_SPARE = 64 << 20
_PATIENCE = 60.0
_VIDEOS = (".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".qt", ".heic", ".heif", ".crm")


def operations() -> dict[str, Callable[..., object]]:
    """The operations by name; ``port`` is always the same."""
    files = _Files()
    return {
        "detect": _detect,
        "describe": _describe,
        "look": _look,
        "list": _list,
        "stat": _stat,
        "usage": _usage,
        "open": files.open,
        "read": files.read,
        "told": files.told,
        "close": files.close,
    }


def _detect() -> list[tuple[str, str]]:
    """Models and ports of the cameras on the USB."""
    import gphoto2 as gp

    found = gp.Camera.autodetect()
    pairs = [(found.get_name(number), found.get_value(number)) for number in range(found.count())]
    return [(model, port) for model, port in pairs if port.startswith("usb:")]


def _describe(port: str) -> tuple[str, str, Seen]:
    """The serial number and the model that a camera tells, or "", and what it shows."""
    with _words(port):
        summary = str(_asked(_camera(port).get_summary))
        serial = re.search(r"^\s*Serial Number: *(\S+)", summary, re.MULTILINE)
        model = re.search(r"^\s*Model: *(\S.*)", summary, re.MULTILINE)
        return (serial[1] if serial else ""), (model[1].strip() if model else ""), _seen(port)


def _look(port: str) -> Seen:
    """Has a process of its own open the camera: this one's libgphoto2 would answer from memory."""
    _forget()
    answer = ask_all(f"{__name__}:operations", {port: ("describe", port)}, _PATIENCE)[port]
    if isinstance(answer, Exception):
        raise (
            answer
            if isinstance(answer, DeviceGone)
            else DeviceGone(f"It can't be read ({answer}). {_remedy(port)}")
        )
    return cast(tuple[str, str, Seen], answer)[2]


def _forget() -> None:
    """Gives the camera free, and what libgphoto2 remembers of it, which may be half."""
    for camera in _cameras.values():
        with contextlib.suppress(Exception):  # the line may be dead
            camera.exit()
    _cameras.clear()
    _listed.clear()


def _remedy(port: str) -> str:
    return _REJOIN if port.startswith(NETWORK) else _REPLUG


@contextlib.contextmanager
def _words(port: str) -> Iterator[None]:
    """What a person should do about a camera that can't be asked at all."""
    try:
        yield
    except OSError as error:
        raise DeviceGone(f"It can't be read ({error.strerror}). {_remedy(port)}") from error


def _seen(port: str) -> Seen:
    tops = _names(_camera(port).folder_list_folders, "/")
    below = {name: _names(_camera(port).folder_list_folders, f"/{name}") for name in tops}
    storages = [Storage(name, folders) for name in tops if (folders := photo_folders(below[name]))]
    return Seen(not any(below.values()), False, tuple(storages))


_cameras: dict[str, Any] = {}
"""The one that is open, by its port."""

_listed: set[str] = set()
"""Folders that were listed without an error. Asked about a file in another one, libgphoto2 lists that folder
by itself, keeps an error to itself, and takes what it got for the whole."""


def _camera(port: str) -> Any:
    if port not in _cameras:
        _cameras[port] = _opened(port)
    return _cameras[port]


def _opened(port: str) -> Any:
    import gphoto2 as gp

    # It tells names in the locale's encoding: on a machine without any, é would become a question mark.
    if locale.nl_langinfo(locale.CODESET) != "UTF-8":
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    ports = gp.PortInfoList()
    ports.load()
    camera = gp.Camera()
    camera.set_port_info(ports[_asked(ports.lookup_path, port)])
    if port.startswith(NETWORK):  # libgphoto2 looks for models on the USB only
        models = gp.CameraAbilitiesList()
        models.load()
        camera.set_abilities(models[_asked(models.lookup_model, "PTP/IP Camera")])
    _asked(camera.init)
    return camera


def _asked(call: Callable[..., Any], *arguments: object, path: str = "") -> Any:
    """What a call of libgphoto2 answers; its errors as an operating system would tell them."""
    import gphoto2 as gp

    try:
        return call(*arguments)
    except gp.GPhoto2Error as error:
        if error.code in (gp.GP_ERROR_IO_USB_CLAIM, gp.GP_ERROR_IO_LOCK):
            raise DeviceGone(BUSY) from error
        if error.code == gp.GP_ERROR_CAMERA_BUSY:
            raise Transient("The device is busy with something else, such as writing a photo") from error
        if error.code == gp.GP_ERROR_FILE_EXISTS:
            _forget()  # asked again, it would tell the files before the second one
            raise _alike(path) from error
        if error.code in (gp.GP_ERROR_FILE_NOT_FOUND, gp.GP_ERROR_DIRECTORY_NOT_FOUND):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        if error.code in (gp.GP_ERROR_MODEL_NOT_FOUND, gp.GP_ERROR_IO_USB_FIND, gp.GP_ERROR_UNKNOWN_PORT):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), path) from error
        if error.code == gp.GP_ERROR_NOT_SUPPORTED:
            raise Permanent(
                f"{path} is of a kind that the device does not give out by PTP. {_ELSEWHERE}"
            ) from error
        raise OSError(errno.EIO, f"{error.string} (libgphoto2 {error.code})", path) from error


def _alike(folder: str) -> Permanent:
    return Permanent(
        f"{folder or 'A folder'} holds two files or folders that libgphoto2 gives the same name, as it does "
        f"with emoji. Rename one of them on the device. {_ELSEWHERE}"
    )


def _names(call: Callable[[str], Any], folder: str) -> list[str]:
    found = _asked(call, folder, path=folder)
    return [found.get_name(number) for number in range(found.count())]


def _list(port: str, path: str) -> tuple[list[tuple[str, os.stat_result]], int]:
    """Children of a folder; none of them vanishes from libgphoto2's memory."""
    _check_way(port, path)
    folder = f"/{path}"
    names = dict.fromkeys(_names(_camera(port).folder_list_folders, folder))
    found = [(name, _folder()) for name in names]
    return found + [(name, _told(port, folder, name)) for name in _files(port, folder)], 0


def _check_way(port: str, path: str) -> None:
    """Refuses what is below one of two folders of the same name: libgphoto2 shows the first one for both."""
    folder = "/"
    for name in path.split("/"):
        if _names(_camera(port).folder_list_folders, folder).count(name) > 1:
            raise _alike(folder)
        folder = f"{folder.rstrip('/')}/{name}"


def _files(port: str, folder: str) -> list[str]:
    names = _names(_camera(port).folder_list_files, folder)
    # It leaves out what it got no answer about, and says nothing (ptp2, generic_list_func).
    _asked(_camera(port).get_storageinfo, path=folder)
    _listed.add(folder)
    return names


def _stat(port: str, path: str) -> os.stat_result:
    if not path:
        return _folder()
    _check_way(port, path)
    parent, _, name = f"/{path}".rpartition("/")
    if name in _names(_camera(port).folder_list_folders, parent or "/"):
        return _folder()
    return _told(port, parent or "/", name)


def _folder() -> os.stat_result:
    return os.stat_result((stat.S_IFDIR | 0o555, 0, 0, 0, 0, 0, 0, 0, 0, 0))


def _told(port: str, folder: str, name: str) -> os.stat_result:
    import gphoto2 as gp

    if folder not in _listed:
        _files(port, folder)
    told = _asked(_camera(port).file_get_info, folder, name, path=f"{folder}/{name}").file
    if not told.fields & gp.GP_FILE_INFO_SIZE:
        raise Permanent(
            f"{folder}/{name} has no size that the camera tells, so nothing could show that it came whole"
        )
    # 0: the device tells no date.
    seconds = told.mtime if told.fields & gp.GP_FILE_INFO_MTIME and told.mtime > 0 else None
    fields = (stat.S_IFREG | 0o444, 0, 0, 0, 0, 0, told.size, 0, seconds or 0, 0)
    return os.stat_result(fields, {"st_mtime_ns": None if seconds is None else seconds * 1_000_000_000})


def _usage(port: str) -> tuple[int, int]:
    told = _asked(_camera(port).get_storageinfo)
    return sum(each.capacitykbytes for each in told) << 10, sum(each.freekbytes for each in told) << 10


class _Files:
    """The files that were fetched, by a number that the other process knows them by."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[IO[bytes], os.stat_result]] = {}
        self._numbers = count()

    def open(self, port: str, path: str, offset: int) -> tuple[int, os.stat_result]:
        told = _stat(port, path)
        if not stat.S_ISREG(told.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if told.st_size == _UNKNOWN_SIZE:
            raise _too_large(path)
        file = _fetched(port, path, told.st_size)
        file.seek(offset)
        number = next(self._numbers)
        self._open[number] = file, told
        return number, told

    def read(self, number: int, size: int) -> bytes:
        return self._open[number][0].read(size)

    def told(self, number: int) -> os.stat_result:
        return self._open[number][1]

    def close(self, number: int) -> None:
        self._open.pop(number)[0].close()


def _fetched(port: str, path: str, size: int) -> IO[bytes]:
    import gphoto2 as gp

    place = _spool()
    if shutil.disk_usage(place).free < size + _SPARE:
        raise Permanent(
            f"{path} has {size} bytes, and a camera's file is fetched whole to {place} first: free as much "
            "space there, or set TMPDIR to a folder that has it"
        )
    folder, _, name = f"/{path}".rpartition("/")
    file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115  # lives as long as the reader
    try:
        # It closes its descriptor. And it must outlive the call: the data would go with it.
        target = gp.CameraFile(os.dup(file.fileno()))
        _asked(_camera(port).file_get, folder, name, gp.GP_FILE_TYPE_NORMAL, target, path=path)
        del target
        file.seek(0)
        if name.lower().endswith(_VIDEOS) and _is_cut_at_4_gib(file):
            raise _too_large(path)
    except BaseException:
        file.close()
        raise
    return file


def _spool() -> str:
    # Many systems keep /tmp in memory, which a video may not fit into.
    on_disk = "/var/tmp"  # noqa: S108  # nothing in it has a name
    return os.environ.get("TMPDIR") or (on_disk if os.path.isdir(on_disk) else tempfile.gettempdir())


def _is_cut_at_4_gib(file: IO[bytes]) -> bool:
    """Whether a video's boxes need more bytes than there are, and 4 GiB of them at least."""
    size = os.fstat(file.fileno()).st_size
    at = 0
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if not re.fullmatch(rb"[ -~]{4}", header[4:8]) or length == 0:
            return False
        if length == 1 and len(header) == struct.calcsize(">IIQ"):
            length = int.from_bytes(header[8:], "big")
        if length < 8:
            return False
        at += length
    file.seek(0)
    return at > size and at >= 1 << 32


def _too_large(path: str) -> Permanent:
    return Permanent(
        f"{path} has 4 GiB or more, and the device cuts such files by PTP: nothing was stored. {_ELSEWHERE}"
    )
