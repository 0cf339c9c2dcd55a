"""Apple's file service AFC, spoken by the program pymobiledevice3, where there is no libimobiledevice.

It is licensed under the GPL, so it is only ever run, as a process of its own, with nothing of ours inside:
``pymobiledevice3 afc shell`` reads commands from one pipe and writes what was asked for into another. What
it says on stderr tells how each command ended. The shell's commands are those of its version 11.45.

A file's bytes come from its start, and a shell does one thing at a time. So a second one is started if
something is asked while a file is being read; one whose file was not read to its end is given up.
"""

import calendar
import contextlib
import errno
import json
import os
import re
import select
import shutil
import stat
import subprocess
import sys
import time
from functools import cache
from itertools import count
from pathlib import Path

from photosync.backends.afc_library import ASKING, DENIED, LOCKED, UNTRUSTED, check
from photosync.backends.posix import told
from photosync.engine.errors import DeviceGone, Permanent
from photosync.paths import cache_dir

NAME = "pymobiledevice3"
GONE = "It is not plugged in. Plug it in, unlock it, then run again."

_REFUSALS = (
    ("password protected", LOCKED),
    ("refused to trust", DENIED),
    ("waiting user pairing dialog", ASKING),
    ("not paired", UNTRUSTED),
    ("no device matching", GONE),
    ("usbmuxd", "usbmuxd, through which iPhones are reached, does not answer. Plug the iPhone in again."),
)
"""What it says when it can't open a phone → what a person should do."""

_STATUS = re.compile(r"status:? (\d+|[A-Z_]+)")
_NUMBERS = {
    "INVALID_ARG": 7,
    "OBJECT_NOT_FOUND": 8,
    "OBJECT_IS_DIR": 9,
    "PERM_DENIED": 10,
    "SERVICE_NOT_CONNECTED": 11,
    "OP_TIMEOUT": 12,
    "OP_NOT_SUPPORTED": 15,
    "OBJECT_BUSY": 17,
    "MUX_ERROR": 30,
    "NOT_ENOUGH_DATA": 32,
}
_IO_ERROR = 20
_CUT = 11

_LINE = re.compile(
    r"(?P<kind>[-dl])\S* +\d+ \S+ \S+ +(?P<size>\d+) "
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+ (?:[+-]\d{4})? (?P<name>.+)"
)
"""``ls -l --time-style=full-iso``; its time zone is empty."""
_UNSEEN = re.compile(r"ls: cannot access '(?P<path>.*)': ")
_KINDS = {"-": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK}
_LONG_KINDS = {"S_IFREG": stat.S_IFREG, "S_IFDIR": stat.S_IFDIR, "S_IFLNK": stat.S_IFLNK}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SPECIAL = re.compile(r"""([\s'"\\|&;<>])""")
_PIECE = 1 << 20
_PASTED = b"\x1b[200~%b\x1b[201~\n"
"""As a terminal sends what is pasted (xterm's bracketed paste): typed, each letter costs 0.3 ms."""


@cache
def program() -> str | None:
    """Where the program is: beside this Python, or on the PATH; None if it is not installed."""
    beside = os.path.join(os.path.dirname(sys.executable), NAME)
    return beside if os.access(beside, os.X_OK) else shutil.which(NAME)


def udids() -> list[str]:
    """Of the devices on the USB; those known by Wi-Fi alone are too slow to read."""
    return [str(each) for each in _listed("--simple")]


def _listed(*options: str) -> list[object]:
    command = [_needed(), "usbmux", "list", "--usb", *options]
    done = subprocess.run(command, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return []  # usbmuxd is not running
    return found if isinstance(found, list) else []


def _needed() -> str:
    found = program()
    if found is None:
        raise DeviceGone(f"{NAME} is no longer installed. Run: pip install 'photosync-engine[ios]'")
    return found


def _environment() -> dict[str, str]:
    """Its own home, so that it leaves the user's as it is; times in UTC; no options of the user's."""
    home = cache_dir() / NAME
    usual = home / ".local/share" / NAME
    usual.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # Every command of a shell would be kept there.
        Path(usual, "afc_shell_history").symlink_to(os.devnull)
    dropped = ("PYMOBILEDEVICE3_", "USBMUXD_", "XDG_", "SUDO_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    if address := os.environ.get("USBMUXD_SOCKET_ADDRESS"):
        kept["PYMOBILEDEVICE3_USBMUX"] = address.removeprefix("UNIX:")
    return kept | {"HOME": str(home), "TZ": "UTC", "TERM": "xterm", "NO_COLOR": "1", "PYTHONUTF8": "1"}


class Phone:
    """The files of one iPhone; see `photosync.backends.afc_library.Phone`, which it stands in for.

    Args:
        udid: as `udids` gives it.

    Raises:
        DeviceGone: it is not there, locked, or does not trust this computer; the text is the remedy.
    """

    def __init__(self, udid: str) -> None:
        self._udid = udid
        self._idle = [_Shell(udid)]
        self._reading: dict[int, tuple[_Shell, bytearray, str]] = {}
        self._numbers = count()

    @property
    def name(self) -> str:
        """That its owner gave it."""
        for each in _listed():
            if isinstance(each, dict) and each.get("UniqueDeviceID") == self._udid:
                return str(each.get("DeviceName") or "iPhone")
        return "iPhone"

    def names(self, path: str) -> list[str]:
        """In a folder; paths start at the service's root and have no leading slash."""
        return [name for name, _ in self.children(path)[0]]

    def children(self, path: str) -> tuple[list[tuple[str, os.stat_result]], int]:
        """What is in a folder, and how many names vanished meanwhile."""
        text = self._answer("ls -lANU --time-style=full-iso", path)
        found, vanished = [], 0
        for line in text.split("\n")[:-1]:
            if match := _LINE.fullmatch(line):
                # A link's name is followed by where it leads.
                name = match["name"].split(" -> ")[0] if match["kind"] == "l" else match["name"]
                found.append((name, _told(_KINDS[match["kind"]], match["size"], match["time"])))
            elif unseen := _UNSEEN.match(line):
                number = _number(line)
                if unseen["path"] == f"/{path}" or number != _NUMBERS["OBJECT_NOT_FOUND"]:
                    check(_CUT if number is None else number, path)
                vanished += 1
            elif not re.fullmatch(r"total \d+", line):
                raise Permanent(f"{path or '/'} can't be listed by {NAME}, which says: {line[:200]!r}")
        return found, vanished

    def stat(self, path: str) -> os.stat_result:
        """Kind, size and time, in whole seconds."""
        known = self._pairs("stat", path)
        kind = _LONG_KINDS.get(known.get("st_ifmt", ""), stat.S_IFCHR)
        return _told(kind, known.get("st_size", "0"), known.get("st_mtime", "1970-01-01 00:00:00")[:19])

    def usage(self) -> tuple[int, int]:
        """Bytes of the phone's memory: all, free."""
        known = self._pairs("info", None)
        return int(known.get("FSTotalBytes", 0)), int(known.get("FSFreeBytes", 0))

    def open(self, path: str, offset: int) -> int:
        """A handle, to be read from ``offset`` on; what is before that is fetched and dropped."""
        shell = self._shell()
        shell.begin(f"pull {_word(path)} {shell.path}", path)
        number = next(self._numbers)
        self._reading[number] = shell, bytearray(), path
        try:
            left = offset
            while left and (dropped := self.read(number, min(left, _PIECE))):
                left -= len(dropped)
            self._fill(number, 1)  # a file that can't be opened shows now
        except BaseException:
            self.close_file(number)
            raise
        return number

    def read(self, handle: int, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the end of the file."""
        self._fill(handle, size)
        ahead = self._reading[handle][1]
        piece = bytes(ahead[:size])
        del ahead[:size]
        return piece

    def _fill(self, handle: int, size: int) -> None:
        shell, ahead, _ = self._reading[handle]
        while len(ahead) < size and (piece := shell.read()):
            ahead += piece

    def close_file(self, handle: int) -> None:
        shell, _, _ = self._reading.pop(handle)
        self._done_with(shell)

    def _shell(self) -> "_Shell":
        return self._idle.pop() if self._idle else _Shell(self._udid)

    def _done_with(self, shell: "_Shell") -> None:
        if shell.rests:
            self._idle.append(shell)
        else:
            shell.end()

    def _answer(self, command: str, path: str | None) -> str:
        shell = self._shell()
        try:
            asked = command if path is None else f"{command} {_word(path)}"
            shell.begin(f"{asked} > {shell.path}", path or "")
            return b"".join(iter(shell.read, b"")).decode("utf-8", "surrogateescape")
        finally:
            self._done_with(shell)

    def _pairs(self, command: str, path: str | None) -> dict[str, str]:
        lines = (line.partition(": ") for line in self._answer(command, path).splitlines())
        return {key: value for key, _, value in lines}


class _Shell:
    """One process of the program with a connection to the phone.

    Attributes:
        path: where it finds the pipe that its answers go into.
        rests: whether it can be asked; not while it answers, nor once the connection is lost.
    """

    def __init__(self, udid: str) -> None:
        self._data, theirs = os.pipe()
        self.path = f"/dev/fd/{theirs}"
        self.rests = True
        self._numbers = count()
        self._heard = ""
        self._about = ""
        try:
            self._process = subprocess.Popen(
                [_needed(), "--no-color", "afc", "shell", "--udid", udid],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs],
                env=_environment(),
                cwd="/",
            )
        finally:
            os.close(theirs)
        os.set_blocking(self._data, False)
        try:
            self.begin(f"pwd > {self.path}", "")
            while self.read():
                pass
        except BaseException:
            self.end()
            raise

    def begin(self, command: str, about: str) -> None:
        """Has a command run whose answer `read` gives."""
        assert self._process.stdin is not None
        self.rests = False
        self._about = about
        number = next(self._numbers)
        # Two commands that do not exist: that it misses them tells where it is, and nothing else does.
        self._well, self._end = f"photosync-well-{number}: ", f"photosync-end-{number}: "
        line = f"{command} && {self._well[:-2]}; {self._end[:-2]}"
        with contextlib.suppress(BrokenPipeError):  # its last words say more
            self._process.stdin.write(_PASTED % line.encode("utf-8", "surrogateescape"))
            self._process.stdin.flush()

    def read(self) -> bytes:
        """The next bytes of the answer; empty at its end.

        Raises:
            OSError: as the phone's error would be a mount's; ENODEV: the connection is lost.
            DeviceGone: the phone could not be opened.
        """
        assert self._process.stderr is not None
        words = self._process.stderr.fileno()
        while True:
            ended = self.rests or self._end in self._heard
            ready, _, _ = select.select([self._data, words], [], [], 0 if ended else None)
            if self._data in ready and (piece := os.read(self._data, _PIECE)):
                return piece
            if ended:
                self._judge()
                return b""
            if words in ready:
                said = os.read(words, 1 << 16)
                self._heard += said.decode("utf-8", "replace")
                if not said or "waiting user pairing dialog" in self._heard:
                    raise self._lost()

    def _judge(self) -> None:
        """Ends the command: as it went, or with the phone's error."""
        heard, _, self._heard = self._heard.partition(self._end)
        if self.rests or self._well in heard:
            self.rests = True
            return
        number = _number(heard)
        if number is None and self.path in heard:
            # It can't date a pipe on every system, which it tries at the end; the size tells if all came.
            self.rests = True
        elif number is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), self._about)
        else:
            self.rests = True
            check(number, self._about)

    def _lost(self) -> Exception:
        said = self._heard.lower()
        for words, remedy in _REFUSALS:
            if words in said:
                return DeviceGone(remedy)
        return OSError(errno.ENODEV, os.strerror(errno.ENODEV), self._about)

    def end(self) -> None:
        """Ends the process; what the phone keeps for it is given back as the connection ends."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        os.close(self._data)


def _word(path: str) -> str:
    """A path as one word of the shell.

    Raises:
        Permanent: it has a character that the shell would take for a key.
    """
    if _CONTROL.search(path):
        raise Permanent(f"{path!r} has a control character in its name, which {NAME} can't be asked for")
    return "/" + _SPECIAL.sub(r"\\\1", path)


def _told(kind: int, size: str, when: str) -> os.stat_result:
    return told(kind, int(size), calendar.timegm(time.strptime(when, "%Y-%m-%d %H:%M:%S")))


def _number(words: str) -> int | None:
    """AFC's number of an error in what was said; None if it is no error of AFC's."""
    found = _STATUS.findall(words)
    if not found:
        return None
    return int(found[-1]) if found[-1].isdigit() else _NUMBERS.get(found[-1], _IO_ERROR)
