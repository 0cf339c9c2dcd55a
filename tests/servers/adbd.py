"""A real Android debug daemon, AOSP's adbd from Debian's sources, for as long as a ``with`` block lasts.

It is built once and kept in the user's cache folder; ``python3 tests/servers/adbd.py`` builds it ahead of
the tests. It speaks ``sync:`` and ``shell,v2`` as a phone does, with Debian's toybox as its shell's programs
and a stub for ``getprop``. Each daemon has a mount namespace of its own, where /sdcard is the folder that the
test names; on this machine /sdcard and /storage are empty folders. An adb server of the test's own, the one
that adbutils carries, connects to it.

    with adbd(folder, home) as phone:
        run("photosync", "devices", env=phone.env())
        phone.unplug()
        phone.plug_in()

What differs from a phone: no USB, no authorisation; dash in the place of mksh, and coreutils' dd in the
place of toybox's, which Debian leaves out.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCE = "android-platform-tools"
VERSION = "29.0.6"
PACKAGES = (
    "clang", "dpkg-dev", "toybox", "libcap-dev", "android-libbase-dev", "android-libcutils-dev",
    "android-liblog-dev", "android-platform-system-core-headers", "android-libboringssl-dev",
    "libusb-1.0-0-dev",
)  # fmt: skip
START_SECONDS = 30.0
SHELL = 2000
"""Android's user id for adb's shell (AOSP, android_filesystem_config.h)."""

_ADB = "system/core/adb"
_UNITS = [
    *(f"{_ADB}/{name}.cpp" for name in (  # noqa: SIM905  # forty quotes would hide the names
        "adb adb_io adb_listeners adb_trace adb_unique_fd adb_utils fdevent/fdevent fdevent/fdevent_poll "
        "fdevent/fdevent_epoll services sockets socket_spec sysdeps/errno transport transport_fd "
        "transport_local transport_usb types sysdeps_unix sysdeps/posix/network daemon/auth "
        "daemon/jdwp_service daemon/usb_dummy daemon/file_sync_service daemon/services "
        "daemon/shell_service shell_service_protocol daemon/main adbconnection/adbconnection_server"
    ).split()),
    "system/core/diagnose_usb/diagnose_usb.cpp",
    "frameworks/native/libs/adbd_auth/adbd_auth.cpp",
    "system/core/libcrypto_utils/android_pubkey.c",
]  # fmt: skip
_FLAGS = [
    "-w", "-O0", "-D_GNU_SOURCE", "-DADB_HOST=0", '-DADB_VERSION="test"',
    f'-DPLATFORM_TOOLS_VERSION="{VERSION}"', "-DALLOW_ADBD_NO_AUTH=1", "-DALLOW_ADBD_ROOT=1",
    "-I/usr/include/android",
    *(f"-I{folder}" for folder in (
        _ADB, f"{_ADB}/daemon/include", f"{_ADB}/adbconnection/include", "system/core/base/include",
        "system/core/include", "system/core/libcutils/include", "system/core/liblog/include",
        "system/core/diagnose_usb/include", "system/core/libcrypto_utils/include",
        "frameworks/native/libs/adbd_auth/include", "system/core/libasyncio/include",
    )),
]  # fmt: skip
_PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 8",
    "ro.build.version.sdk": "34",
}
_NAMESPACE = """\
mount --bind "$1" /sdcard && mount -t tmpfs none /storage && mkdir /storage/.phone || exit 1
mount --bind "$2" /storage/.phone && user=$3 && shift 3 || exit 1
while [ "$1" != -- ]; do mkdir "/storage/$1" && mount --bind "$2" "/storage/$1" && shift 2 || exit 1; done
shift; exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
"""


def why_not() -> str | None:
    """Why there can be no such daemon here, or None."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "a mount namespace for /sdcard needs root and unshare"
    if _binary().exists():
        return None
    missing = [name for name in ("apt-get", "clang++", "dpkg-source", "toybox") if shutil.which(name) is None]
    return (
        f"adbd can't be built without {', '.join(missing)} (install {' '.join(PACKAGES)})"
        if missing
        else None
    )


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    recipe = hashlib.sha256(repr((_UNITS, _FLAGS)).encode()).hexdigest()[:8]
    return Path(base) / "photosync-tests" / f"adbd-{VERSION}-{recipe}"


def _binary() -> Path:
    return _cache() / "adbd"


def build() -> Path:
    """The daemon's program; built if it was not yet. Waits while another process builds it."""
    folder = _cache()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _binary().exists():
            work = folder / "work"
            shutil.rmtree(work, ignore_errors=True)
            _compile(_sources(work), work)
            os.rename(work / "adbd", _binary())
            shutil.rmtree(work)
    return _binary()


def _run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-3000:]}")
    return str(done.stdout)


def _sources(work: Path) -> Path:
    """Fetches the source package with lists of apt's own that name sources, beside the machine's."""
    lists = work / "apt"
    (lists / "lists/partial").mkdir(parents=True)
    (lists / "parts").mkdir()
    parts = Path("/etc/apt/sources.list.d")
    for number, file in enumerate([Path("/etc/apt/sources.list"), *parts.glob("*")]):
        if not file.is_file():
            continue
        text = file.read_text()
        if file.suffix == ".sources":
            (lists / f"parts/{number}.sources").write_text(re.sub(r"(?m)^Types:.*$", "Types: deb-src", text))
        elif file.suffix == ".list":
            (lists / f"parts/{number}.list").write_text(re.sub(r"(?m)^deb\s", "deb-src ", text))
    options = ["-qq", f"-oDir::Etc::sourceparts={lists}/parts", "-oDir::Etc::sourcelist=/dev/null",
               f"-oDir::State::lists={lists}/lists", f"-oDir::Cache={lists}"]  # fmt: skip
    _run("apt-get", *options, "update")
    _run("apt-get", *options, "source", SOURCE, cwd=work)
    (found,) = work.glob(f"{SOURCE}-*/")
    return found


def _compile(source: Path, work: Path) -> None:
    spec = source / _ADB / "socket_spec.cpp"
    text = spec.read_text()
    everywhere = "network_inaddr_any_server(port, SOCK_STREAM, error)"
    assert everywhere in text, "the daemon's way to listen has changed"
    spec.write_text(text.replace(everywhere, "network_loopback_server(port, SOCK_STREAM, error, true)"))
    (source / "mdns.cpp").write_text("void init_mdns_transport_discovery(void) {}")
    commands = []
    for number, unit in enumerate([*_UNITS, "mdns.cpp"]):
        plus = ["clang++", "-std=gnu++2a", "-include", "atomic", "-include", "optional", "-include", "string"]
        compiler = ["clang"] if unit.endswith(".c") else plus
        commands.append([*compiler, "-c", "-o", str(work / f"{number}.o"), unit, *_FLAGS])
    running: list[subprocess.Popen[bytes]] = []
    for command in commands:
        if len(running) >= (os.cpu_count() or 1):
            _finish(running.pop(0))
        running.append(subprocess.Popen(command, cwd=source, stderr=subprocess.PIPE))
    for process in running:
        _finish(process)
    libraries = Path("/usr/lib") / _run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip() / "android"
    _run("clang++", "-o", work / "adbd", *work.glob("*.o"), f"-L{libraries}", f"-Wl,-rpath={libraries}",
         "-lbase", "-lcutils", "-llog", "-l:libcrypto.so.0", "-lresolv", "-lpthread", "-lutil")  # fmt: skip


def _finish(process: "subprocess.Popen[bytes]") -> None:
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"adbd could not be built: {said.decode(errors='replace')[-3000:]}")


@dataclass
class AdbdPhone:
    """A running daemon and the adb server that knows it.

    Attributes:
        folder: what /sdcard is.
        port: of the daemon, on 127.0.0.1.
        server_port: of the adb server.
        home: folder of both.
        cards, timezone, user: as for `adbd`.
    """

    folder: Path
    port: int
    server_port: int
    home: Path
    cards: Mapping[str, Path]
    timezone: str
    user: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def serial(self) -> str:
        """What ``adb -s`` takes."""
        return f"127.0.0.1:{self.port}"

    @property
    def hardware(self) -> str:
        """The serial number that the phone itself tells; another one for each daemon."""
        return f"TEST{self.port}"

    def env(self) -> dict[str, str]:
        """For programs that are to find the phone."""
        return {"ANDROID_ADB_SERVER_PORT": str(self.server_port)}

    def adb(self, *arguments: str) -> str:
        """adb's own client."""
        from adbutils import adb_path

        return _run(adb_path(), "-P", str(self.server_port), *arguments, env=self._environment(), timeout=60)

    def tell(self, hardware: str) -> None:
        """Sets the serial number that the phone tells."""
        properties = {**_PROPERTIES, "ro.serialno": hardware}
        lines = [f"{name}) echo '{value}';;" for name, value in properties.items()]
        (self.home / "bin/getprop").write_text("\n".join(["#!/bin/sh", "case $1 in", *lines, "esac", ""]))
        (self.home / "bin/getprop").chmod(0o755)

    def plug_in(self) -> None:
        """Starts the daemon and waits until adb calls it ready."""
        assert self._process is None
        cards = [word for name, folder in self.cards.items() for word in (name, str(folder))]
        home = "/storage/.phone"
        inside = ["env", "-i", f"PATH={home}/bin", f"HOME={home}", f"TMPDIR={home}", f"TZ={self.timezone}",
                  "EXTERNAL_STORAGE=/sdcard", f"ADBD_PORT={self.port}", f"{home}/adbd"]  # fmt: skip
        apart = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _NAMESPACE, "sh"]
        command = [*apart, str(self.folder), str(self.home), str(self.user), *cards, "--", *inside]
        with open(self.home / "adbd.log", "ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(RuntimeError):
                self.adb("connect", self.serial)
                if self.adb("-s", self.serial, "get-state").strip() == "device":
                    return
            time.sleep(0.05)
        raise RuntimeError(f"adbd did not start: {(self.home / 'adbd.log').read_text()[-2000:]}")

    def unplug(self) -> None:
        """Kills the daemon: to adb, the phone is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.home), "ANDROID_USER_HOME": str(self.home), "ADB_MDNS": "0"}


@contextlib.contextmanager
def adbd(
    folder: Path,
    home: Path,
    cards: Mapping[str, Path] | None = None,
    timezone: str = "UTC0",
    user: int = SHELL,
) -> Iterator[AdbdPhone]:
    """Starts a phone and an adb server that knows it, and kills both at the end.

    Args:
        folder: what /sdcard is; may be a mount with faults.
        home: an empty folder for logs and keys.
        cards: volume id → folder, as /storage shows memory cards.
        timezone: of the phone, as in TZ.
        user: whom the daemon runs as; a FUSE mount lets nobody in but its own.
    """
    from adbutils import adb_path

    _programs(home)
    shutil.copy(build(), home / "adbd")
    home.chmod(0o777)
    for name in ("/sdcard", "/storage"):
        Path(name).mkdir(exist_ok=True)
    port, server_port = _free_ports(2)
    phone = AdbdPhone(folder, port, server_port, home, cards or {}, timezone, user)
    phone.tell(phone.hardware)
    with open(home / "server.log", "wb") as log:
        server = subprocess.Popen(
            [adb_path(), "-L", f"tcp:127.0.0.1:{server_port}", "nodaemon", "server"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=phone._environment(),
        )  # fmt: skip
    try:
        phone.plug_in()
        yield phone
    finally:
        phone.unplug()
        server.kill()
        server.wait()


def _programs(home: Path) -> None:
    """The programs that a phone's shell finds."""
    programs = home / "bin"
    programs.mkdir(parents=True)
    toybox = shutil.which("toybox")
    assert toybox is not None
    for name in _run(toybox).split():
        (programs / name).symlink_to(toybox)
    for name in ("sh", "dd"):
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(os.path.realpath(shutil.which(name) or f"/bin/{name}"))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    began = time.monotonic()
    sys.stdout.write(f"{build()} ({time.monotonic() - began:.0f} s)\n")
