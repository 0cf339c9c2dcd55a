"""Speaks with one Android phone through the adb server: its shell, its files, and whether it is still there.

adbutils finds and starts the server and connects to it. What goes over a connection is read here, because its
own calls tell sizes modulo 2**32, take a missing file for an empty one, and know only names that are UTF-8.

Protocols (AOSP, packages/modules/adb): services in SERVICES.TXT and OVERVIEW.TXT; ``shell,v2`` in
shell_protocol.h, packets of one byte id, four bytes length, data; ``sync:`` in SYNC.TXT and
file_sync_protocol.h, of which ``LST2`` (lstat with 64-bit sizes, Android 8) and ``RECV`` are used. Nothing
here sends ``SEND``: no file gets written.
"""

import contextlib
import errno
import os
import struct
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from photosync.engine.errors import DeviceGone, Transient

_STDOUT, _STDERR, _EXIT = 1, 2, 3
_PACKET = struct.Struct("<BI")
_TOLD = struct.Struct("<IQQIIIIQqqq")
_MAX_FRAME = 1 << 20
"""Upstream sends 64 KiB at most; more than this means that the stream is out of step."""

_WHILE_OPENING = 20.0
_NEEDED = {"shell_v2", "stat_v2"}

TOO_OLD = (
    "Its Android is older than 8 and cannot tell sizes beyond 4 GiB by ADB. Mount it with the file manager "
    "or jmtpfs instead."
)
REPLUG = "Unlock the phone, unplug it and plug it in again, then run again."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a shell command left: both streams as bytes, and its exit code."""

    out: bytes
    err: bytes
    code: int


@dataclass(frozen=True, slots=True)
class Told:
    """What the phone says about one name: ``st_mode``, bytes, seconds since the epoch."""

    mode: int
    size: int
    mtime: int


class ShellFailed(OSError):
    """The phone's shell did not do what it was asked."""


class AdbPhone:
    """One phone as long as it stays plugged in. Safe to use from several threads: each call connects anew.

    Args:
        serial: what ``adb -s`` takes.
        patience: seconds that the phone may keep silent.
        client: an ``adbutils.AdbClient``; None: the server that ANDROID_ADB_SERVER_HOST and _PORT name.

    Raises:
        DeviceGone: it is not there, or not ready.
    """

    def __init__(self, serial: str, patience: float = 120.0, client: Any = None) -> None:
        if client is None:
            from adbutils import AdbClient

            client = AdbClient()
        self.serial = serial
        self.patience = patience
        self.requests = Counter[str]()
        self._client = client
        self._lock = threading.Lock()
        self._transport: bytes | None = None
        with self.errors("looking at the phone"), self._connected(_WHILE_OPENING) as link:
            self._transport = link.transport
        with self.errors("looking at the phone"), self._server(_WHILE_OPENING) as link:
            link.command(f"host-serial:{serial}:features".encode())
            features = set(link.block().decode("ascii", "replace").split(","))
        if not features >= _NEEDED:
            raise DeviceGone(TOO_OLD)

    def state(self) -> str:
        """As ``adb get-state`` says: "device" if it is ready; other words or "" if it is not."""
        from adbutils import AdbError

        try:
            with self._server(_WHILE_OPENING) as link:
                link.command(f"host-serial:{self.serial}:get-state".encode())
                return link.block().decode("ascii", "replace")
        except (AdbError, OSError, EOFError):
            return ""

    def hardware(self) -> str:
        """The serial number that the phone itself tells, or "".

        Raises:
            DeviceGone: it was unplugged, even if it is back by its cable.
        """
        return (
            self.shell(b"getprop ro.serialno", "looking for the phone").out.decode("ascii", "replace").strip()
        )

    def shell(self, script: bytes, doing: str, patience: float | None = None) -> Answer:
        """Runs a script in the phone's shell.

        Args:
            script: for ``sh -c``; names in it go through `quote`.
            doing: for messages, such as "listing DCIM".
            patience: seconds of silence; None: as usual.

        Raises:
            DeviceGone, Transient: the answer did not come whole.
        """
        out, err = bytearray(), bytearray()
        for kind, data in self._packets(script, doing, patience or self.patience):
            if kind == _EXIT:
                return Answer(bytes(out), bytes(err), data[0])
            (out if kind == _STDOUT else err).extend(data)
        raise AssertionError("unreachable: _packets ends with the exit code")

    def _packets(self, script: bytes, doing: str, patience: float) -> Iterator[tuple[int, bytes]]:
        with self.errors(doing), self._connected(patience) as link:
            self._count("shell")
            link.command(b"shell,v2,raw:" + script)
            kind = 0
            while kind != _EXIT:
                kind, size = _PACKET.unpack(link.exactly(_PACKET.size))
                data = link.exactly(_bounded(size))
                if kind in (_STDOUT, _STDERR, _EXIT):
                    yield kind, data

    def told(self, path: str) -> Told:
        """lstat of an absolute path on the phone.

        Raises:
            OSError: as the phone's own lstat.
        """
        doing = f"looking at {path}"
        with self.errors(doing), self.files(self.patience) as link:
            return link.told(path)

    @contextlib.contextmanager
    def files(self, patience: float) -> Iterator["FileLink"]:
        """A connection to the phone's file service."""
        with self._connected(patience) as link:
            self._count("sync")
            link.command(b"sync:")
            yield FileLink(link)

    def dumped(self, path: str, offset: int, doing: str) -> Generator[bytes]:
        """The bytes of a file from an offset on, which the file service cannot do."""
        block = 1 << 16
        script = b"dd if=%s bs=%d skip=%d" % (quote(path), block, offset // block)
        left, said = offset % block, bytearray()
        for kind, data in self._packets(script, doing, self.patience):
            if kind == _STDERR:
                said += data
            elif kind == _EXIT:
                if data[0]:
                    raise failure(bytes(said), path)
            else:
                yield data[left:]
                left = max(0, left - len(data))

    @contextlib.contextmanager
    def _connected(self, patience: float) -> Iterator["_Link"]:
        with self._server(patience) as link:
            # host:tport tells the number of the transport: a cable that was out has another one.
            link.command(f"host:tport:serial:{self.serial}".encode())
            link.transport = link.exactly(8)
            if self._transport not in (None, link.transport):
                raise DeviceGone(f"The phone {self.serial} was unplugged in between. Run again to go on.")
            yield link

    @contextlib.contextmanager
    def _server(self, patience: float) -> Iterator["_Link"]:
        connection = self._client.make_connection(patience)
        try:
            yield _Link(connection.conn)
        finally:
            connection.conn.close()

    @contextlib.contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """What a lost connection means depends on whether the phone is still there."""
        from adbutils import AdbError, AdbTimeout

        try:
            yield
        except (TimeoutError, AdbTimeout) as error:
            raise DeviceGone(f"{doing}: the phone does not answer. {REPLUG}") from error
        except (AdbError, EOFError, ConnectionError, struct.error) as error:
            state = self.state()
            if state != "device":
                raise DeviceGone(f"{doing}: the phone is {state or 'gone'}. {REPLUG}") from error
            raise Transient(f"{doing}: ADB lost the connection ({error})") from error

    def _count(self, operation: str) -> None:
        with self._lock:
            self.requests[operation] += 1


class _Link:
    """A connection to the adb server, past adbutils: whole reads, whole writes, errors said."""

    def __init__(self, connection: Any) -> None:
        self._socket = connection
        self.transport = b""

    def command(self, service: bytes) -> None:
        self.send(b"%04x%s" % (len(service), service))
        if (status := self.exactly(4)) != b"OKAY":
            from adbutils import AdbError

            raise AdbError(self.block().decode("utf-8", "replace") if status == b"FAIL" else repr(status))

    def block(self) -> bytes:
        """Four hex digits, and as many bytes."""
        return self.exactly(int(self.exactly(4), 16))

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def exactly(self, size: int) -> bytes:
        data = bytearray(size)
        with memoryview(data) as room:
            done = 0
            while done < size:
                got = self._socket.recv_into(room[done:])
                if not got:
                    raise EOFError("the connection was closed")
                done += got
        return bytes(data)


class FileLink:
    """The file service of a phone: lstat and reading, nothing else."""

    def __init__(self, link: _Link) -> None:
        self._link = link

    def told(self, path: str) -> Told:
        """As `AdbPhone.told`."""
        self._ask(b"LST2", path)
        if self._link.exactly(4) != b"LST2":
            raise EOFError("the file service is out of step")
        found = _TOLD.unpack(self._link.exactly(_TOLD.size))
        code, mode, size, mtime = found[0], found[3], found[7], found[9]
        if code:
            raise OSError(code, os.strerror(code), path)
        return Told(mode, size, mtime)

    def received(self, path: str) -> Generator[bytes]:
        """A file's bytes from the start.

        Raises:
            OSError: the phone could not read it.
        """
        self._ask(b"RECV", path)
        while True:
            kind, size = struct.unpack("<4sI", self._link.exactly(8))
            if kind == b"DONE":
                return
            data = self._link.exactly(_bounded(size))
            if kind == b"FAIL":
                raise failure(data, path)
            if kind != b"DATA":
                raise EOFError("the file service is out of step")
            yield data

    def _ask(self, what: bytes, path: str) -> None:
        name = raw(path)
        self._link.send(what + struct.pack("<I", len(name)) + name)


def failure(said: bytes, path: str) -> OSError:
    """The error that a program on the phone told in words."""
    text = said.decode("utf-8", "replace").strip()
    for code in (
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ENOTCONN,
        errno.ENODEV,
        errno.ENOTDIR,
        errno.ENOSPC,
        errno.EFBIG,
        errno.EROFS,
    ):
        if os.strerror(code) in text:
            return OSError(code, os.strerror(code), path)
    return ShellFailed(f"{path}: {text or 'the phone failed without a word'}")


def quote(path: str) -> bytes:
    """A path as one word of the phone's shell, whatever bytes it has."""
    return b"'" + raw(path).replace(b"'", b"'\\''") + b"'"


def raw(path: str) -> bytes:
    """A path's bytes on the phone."""
    return path.encode("utf-8", "surrogateescape")


def _bounded(size: int) -> int:
    if size > _MAX_FRAME:
        raise EOFError("the stream is out of step")
    return size
