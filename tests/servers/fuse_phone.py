"""A phone as a FUSE mount shows it: a real mount over a folder, with faults that can be set while it runs.

The file system runs in a process of its own and is told about faults through a pipe; when the pipe closes,
however the test process ended, it unmounts itself and exits.

    with fuse_phone(folder, mount, subtype="jmtpfs") as phone:
        phone.set(bytes_per_second=40_000_000, unplug_after=1_000_000, unplug_as="enotconn")
        ...
        phone.plug_in()
        assert phone.counters()["longest_read"] >= 1 << 20
"""

import contextlib
import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

UNPLUGGED = {"eio": errno.EIO, "enotconn": errno.ENOTCONN, "enodev": errno.ENODEV}


@dataclass(frozen=True)
class Faults:
    """What goes wrong. Paths are relative to the mount, without a leading slash.

    Attributes:
        bytes_per_second: throughput of all reads together; 0: unlimited.
        latency: seconds added to every operation.
        serialised: one operation at a time, as MTP does it.
        unplugged: the cable is out now.
        unplug_after: the cable comes out once so many bytes were read.
        unplug_as: what everything answers then: "eio", "enotconn", "enodev", "empty" (only an empty root is
            left) or "hang" (until it is plugged in again).
        bad_open: paths that can't be opened (EIO).
        bad_from: path → offset from which reading raises EIO.
        ends_at: path → offset at which reading ends although the size told is greater.
        size_told: path → size told instead of the true one.
        transcoded: path → bytes that come instead of the true ones, so many as told here; sizes are told as
            ever. Phones convert HEIC to JPEG that way.
        size_modulo: sizes are told modulo this, say 2**32; 0: not.
        mtime_step: times are told in multiples of so many nanoseconds.
        mtime_shift: nanoseconds added to the times told.
        bad_folders: folders whose listing raises EIO.
        hidden: paths left out of listings (and found when asked for).
        twice: paths told twice by listings.
        stale: listings stay as they were when this was first set.
        changes: path → (offset, what happens to the file once a read reaches it): "grow", "shrink" to that
            offset, "rewrite" (other content, same size), "vanish".
        spoils_writing: the first byte of every file written is another one.
        keeps_times: a file's time can be set.
        free: bytes told to be free instead of the true number.
    """

    bytes_per_second: float = 0
    latency: float = 0
    serialised: bool = False
    unplugged: bool = False
    unplug_after: int | None = None
    unplug_as: str = "enotconn"
    bad_open: frozenset[str] = frozenset()
    bad_from: dict[str, int] = field(default_factory=dict)
    ends_at: dict[str, int] = field(default_factory=dict)
    size_told: dict[str, int] = field(default_factory=dict)
    transcoded: dict[str, int] = field(default_factory=dict)
    size_modulo: int = 0
    mtime_step: int = 1
    mtime_shift: int = 0
    bad_folders: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    twice: frozenset[str] = frozenset()
    stale: bool = False
    changes: dict[str, tuple[int, str]] = field(default_factory=dict)
    spoils_writing: bool = False
    keeps_times: bool = True
    free: int | None = None


def why_not() -> str | None:
    """Why no such mount can be made here, or None."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no access to /dev/fuse (needs root or the fuse group)"
    if shutil.which("fusermount3") is None:
        return "fusermount3 is missing (install fuse3)"
    found = subprocess.run([sys.executable, "-c", "import mfusepy"], env=_environment(), capture_output=True)
    return None if found.returncode == 0 else "mfusepy or libfuse 3 is missing"


def _environment() -> dict[str, str]:
    return {**os.environ, "FUSE_LIBRARY_NAME": "fuse3"}  # it prefers libfuse 2 where there is one


class FuseLibrary:
    """A running mount.

    Attributes:
        mount: where it is.
        pid: of the process that serves it.
    """

    def __init__(self, mount: Path, process: "subprocess.Popen[bytes]", pipe: connection.Connection) -> None:
        self.mount = mount
        self.pid = process.pid
        self._pipe = pipe
        self._faults = Faults()

    def set(self, **faults: Any) -> None:
        """Changes the faults named, keeps the others."""
        self._faults = replace(self._faults, **faults)
        self._ask("set", faults)

    def unplug(self, how: str) -> None:
        """Pulls the cable now; ``how`` as in `Faults.unplug_as`."""
        self.set(unplugged=True, unplug_as=how)

    def plug_in(self) -> None:
        """Puts the cable back; an unplugging still to come is called off."""
        self.set(unplugged=False, unplug_after=None)

    def counters(self) -> dict[str, int]:
        """Since the start: bytes, reads, jumps (reads that did not go on where the last one of that handle
        ended), longest_read, together (reads at once at most), opens, lists, stats, written (bytes),
        replaced (files that a rename took the place of)."""
        return dict(self._ask("counters", None))

    def bitten(self) -> frozenset[str]:
        """Faults that someone has met since the start: names of `Faults`, and for changes and unplugging how,
        as in "changes: grow" and "unplugged: hang"."""
        return frozenset(self._ask("bitten", None))

    def _ask(self, what: str, value: object) -> Any:
        self._pipe.send((what, value))
        if not self._pipe.poll(10):
            raise TimeoutError("the FUSE process does not answer")
        return self._pipe.recv()


@contextlib.contextmanager
def fuse_phone(
    source: Path,
    mount: Path,
    subtype: str = "jmtpfs",
    direct_io: bool = True,
    read_only: bool = True,
    **faults: Any,
) -> Iterator[FuseLibrary]:
    """Mounts a folder as a phone and unmounts it at the end, whatever happened.

    Args:
        source: what is on the phone.
        mount: an existing empty folder.
        subtype: the mount's type is ``fuse.<subtype>``.
        direct_io: past the page cache, so that every fault reaches the reader as it is.
        read_only: deleting and writing raise EROFS.
        faults: as in `Faults`.
    """
    flags = [str(int(direct_io)), str(int(read_only))]
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), *map(str, (source, mount, subtype)), *flags],
            pass_fds=[theirs.fileno()],
            env=_environment(),
            start_new_session=True,
        )
    pipe = connection.Connection(ours.detach())
    try:
        if not pipe.poll(20) or pipe.recv() != "ready":
            raise RuntimeError("the FUSE mount did not come up")
        library = FuseLibrary(mount, process, pipe)
        library.set(**faults)
        yield library
    finally:
        pipe.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        _unmount(str(mount))


def _unmount(mount: str) -> None:
    subprocess.run(["fusermount3", "-uzq", mount], capture_output=True, check=False)


# ---- the process that serves the mount ---------------------------------------------------------------------


def _serve(descriptor: int, source: str, mount: str, subtype: str, direct_io: bool, read_only: bool) -> None:
    import mfusepy

    pipe = connection.Connection(descriptor)
    phone = _phone_operations(mfusepy, source, read_only, lambda: pipe.send("ready"))
    threading.Thread(target=_obey, args=(pipe, phone, mount), daemon=True).start()
    mfusepy.FUSE(
        phone,
        mount,
        foreground=True,
        fsname=subtype,
        subtype=subtype,
        direct_io=direct_io,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        **({"ro": True} if read_only else {}),
    )
    os._exit(0)


def _obey(pipe: connection.Connection, phone: Any, mount: str) -> None:
    while True:
        try:
            what, value = pipe.recv()
        except (EOFError, OSError):
            phone.set({"unplugged": False})  # lets go whoever hangs, or the unmounting would hang too
            _unmount(mount)
            time.sleep(0.2)
            os._exit(0)
        if what == "set":
            phone.set(value)
            pipe.send(None)
        else:
            pipe.send(getattr(phone, what))


def _phone_operations(mfusepy: Any, source: str, read_only: bool, ready: Any) -> Any:
    class Phone(mfusepy.Operations):  # type: ignore[misc]
        use_ns = True

        def __init__(self) -> None:
            self.faults = Faults()
            self.counters = dict.fromkeys(
                (
                    "bytes", "reads", "jumps", "longest_read", "together", "opens", "lists", "stats",
                    "written", "replaced",
                ),
                0,
            )  # fmt: skip
            self.bitten: set[str] = set()
            self._state = threading.Condition()
            self._bus = threading.Lock()
            self._reading = 0
            self._listings: dict[str, list[str]] = {}
            self._next: dict[int, int] = {}

        def set(self, faults: dict[str, Any]) -> None:
            with self._state:
                self.faults = replace(self.faults, **faults)
                self._state.notify_all()

        def bites(self, fault: str, has: bool = True) -> bool:
            if has:
                self.bitten.add(fault)
            return has

        @contextlib.contextmanager
        def operation(self, path: str, seconds: float = 0) -> Iterator[str]:
            """One exchange with the phone; gives the real path."""
            faults = self.faults
            with self._bus if faults.serialised or faults.bytes_per_second else contextlib.nullcontext():
                self.bites("serialised", faults.serialised)
                self.bites("latency", bool(faults.latency))
                self.bites("bytes_per_second", bool(seconds))
                if faults.latency or seconds:
                    time.sleep(faults.latency + seconds)
                self.alive(path)
                yield source + path.rstrip("/")
                self.alive(path)

        def alive(self, path: str) -> None:
            faults = self.faults
            if not faults.unplugged:
                return
            self.bites(f"unplugged: {faults.unplug_as}")
            if faults.unplug_as == "hang":
                with self._state:
                    self._state.wait_for(lambda: not self.faults.unplugged)
            elif faults.unplug_as == "empty":
                if path != "/":
                    raise mfusepy.FuseOSError(errno.ENOENT)
            else:
                raise mfusepy.FuseOSError(UNPLUGGED[faults.unplug_as])

        def init(self, path: str) -> None:
            ready()

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            with self.operation(path) as real:
                self.counters["stats"] += 1
                found = os.lstat(real)
            faults, name = self.faults, path[1:]
            size = found.st_size
            if stat.S_ISREG(found.st_mode):
                size = faults.size_told.get(name, size)
                self.bites("size_told", size != found.st_size)
                if faults.size_modulo and self.bites("size_modulo", size >= faults.size_modulo):
                    size %= faults.size_modulo
            self.bites("mtime_shift", bool(faults.mtime_shift))
            self.bites("mtime_step", bool(found.st_mtime_ns % faults.mtime_step))
            mtime = found.st_mtime_ns // faults.mtime_step * faults.mtime_step + faults.mtime_shift
            return {
                "st_mode": found.st_mode,
                "st_nlink": found.st_nlink,
                "st_size": size,
                "st_uid": found.st_uid,
                "st_gid": found.st_gid,
                "st_mtime": mtime,
                "st_atime": mtime,
                "st_ctime": mtime,
            }

        def readdir(self, path: str, fh: int) -> list[str]:
            with self.operation(path) as real:
                self.counters["lists"] += 1
                faults = self.faults
                if faults.unplugged:
                    return [".", ".."]
                if self.bites("bad_folders", path[1:] in faults.bad_folders):
                    raise mfusepy.FuseOSError(errno.EIO)
                names = os.listdir(real)
                if faults.stale:
                    now, names = names, self._listings.setdefault(path, names)
                    self.bites("stale", set(now) != set(names))
                else:
                    self._listings[path] = names
                inside = path[1:] + "/" if path != "/" else ""
                shown = [name for name in names if inside + name not in faults.hidden]
                self.bites("hidden", len(shown) < len(names))
                again = [name for name in shown if inside + name in faults.twice]
                self.bites("twice", bool(again))
                return [".", "..", *shown, *again]

        def readlink(self, path: str) -> str:
            with self.operation(path) as real:
                return os.readlink(real)

        def open(self, path: str, flags: int) -> int:
            with self.operation(path) as real:
                self.counters["opens"] += 1
                if self.bites("bad_open", path[1:] in self.faults.bad_open):
                    raise mfusepy.FuseOSError(errno.EIO)
                handle = os.open(real, os.O_RDONLY)
                self._next[handle] = 0
                return handle

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            with self._state:
                self._reading += 1
                self.counters["together"] = max(self.counters["together"], self._reading)
            try:
                return self._read(path, size, offset, fh)
            finally:
                with self._state:
                    self._reading -= 1

        def _read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            faults, name, counters = self.faults, path[1:], self.counters
            speed = faults.bytes_per_second
            with self.operation(path, size / speed if speed else 0):
                faults = self.faults  # as they are now: this read may have hung for long
                if name in faults.changes and offset + size > faults.changes[name][0]:
                    self._change(name, *faults.changes[name])
                if name in faults.bad_from and offset + size > faults.bad_from[name]:
                    self.bites("bad_from")
                    raise mfusepy.FuseOSError(errno.EIO)
                if self.bites("transcoded", name in faults.transcoded):
                    data = b"J" * max(0, min(size, faults.transcoded[name] - offset))
                else:
                    end = faults.ends_at.get(name)
                    self.bites("ends_at", end is not None and offset + size > end)
                    data = os.pread(fh, size if end is None else max(0, min(size, end - offset)), offset)
            counters["reads"] += 1
            counters["jumps"] += offset != self._next[fh]
            counters["bytes"] += len(data)
            counters["longest_read"] = max(counters["longest_read"], size)
            self._next[fh] = offset + len(data)
            limit = self.faults.unplug_after
            if limit is not None and counters["bytes"] >= limit:
                self.set({"unplugged": True})
            return data

        def _change(self, name: str, offset: int, how: str) -> None:
            left = {path: change for path, change in self.faults.changes.items() if path != name}
            self.set({"changes": left})
            self.bites(f"changes: {how}")
            real = os.path.join(source, name)
            size = os.path.getsize(real)
            if how == "vanish":
                os.unlink(real)
            elif how == "shrink":
                os.truncate(real, offset)
            else:
                with open(real, "r+b") as file:
                    file.seek(size if how == "grow" else 0)
                    file.write(b"\x55" * (1000 if how == "grow" else size))

        def release(self, path: str, fh: int) -> int:
            # First: once it is closed, another file may be given the same number.
            self._next.pop(fh, None)
            os.close(fh)
            return 0

        def statfs(self, path: str) -> dict[str, int]:
            with self.operation(path) as real:
                found = os.statvfs(real)
            names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_namemax")
            told = {name: getattr(found, name) for name in names}
            if self.bites("free", self.faults.free is not None):
                told["f_bfree"] = told["f_bavail"] = (self.faults.free or 0) // found.f_frsize
            return told

        def changing(self, path: str) -> contextlib.AbstractContextManager[str]:
            if read_only:
                raise mfusepy.FuseOSError(errno.EROFS)
            return self.operation(path)

        def unlink(self, path: str) -> int:
            with self.changing(path) as real:
                os.unlink(real)
            return 0

        def mkdir(self, path: str, mode: int) -> int:
            with self.changing(path) as real:
                os.mkdir(real, mode)
            return 0

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            with self.changing(path) as real:
                handle = os.open(real, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
                self._next[handle] = 0
                return handle

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            with self.changing(path):
                self.counters["written"] += len(data)
                if self.faults.spoils_writing and not offset:
                    data = bytes([data[0] ^ 1]) + data[1:]
                return os.pwrite(fh, data, offset)

        def rename(self, path: str, to: str) -> int:
            with self.changing(path) as real:
                if os.path.lexists(source + to):
                    self.counters["replaced"] += 1
                os.rename(real, source + to)
            return 0

        def utimens(self, path: str, times: Any = None) -> int:
            if not self.faults.keeps_times:
                raise mfusepy.FuseOSError(errno.ENOSYS)
            with self.changing(path) as real:
                os.utime(real, ns=times)
            return 0

    return Phone()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), *sys.argv[2:5], *(bool(int(flag)) for flag in sys.argv[5:7]))
