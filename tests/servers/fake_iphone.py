"""An iPhone as its host tools see it: usbmuxd, lockdownd and AFC on a Unix socket, over a folder.

The device's side only; the clients are real ones: libimobiledevice's tools and library, ifuse, gvfs. They
find it through ``USBMUXD_SOCKET_ADDRESS=UNIX:<socket>``. A session is encrypted with the pairing record's
certificates, as a real iPhone's is, unless ``tls=False``.

    with fake_iphone(folder, tmp_path / "usbmuxd") as phone:
        subprocess.run(["idevice_id", "-l"], env={**os.environ, **phone.env})
        phone.set(unplug_after=1_000_000)
        ...
        phone.plug_in()

The folder is AFC's root, the phone's /var/mobile/Media; photos are in DCIM/100APPLE and so on. Formats as in
libimobiledevice 1.3.0 (src/afc.h, src/lockdown.c) and libusbmuxd 2.0.2 (src/usbmuxd-proto.h).
"""

import contextlib
import datetime
import errno
import os
import plistlib
import shutil
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

UDID = "00008110-000A1B2C3D4E801E"
LOCKDOWN_PORT = 62078
SERVICES = {"com.apple.afc": 50001, "com.apple.mobile.notification_proxy": 50002}
_HOST_ID = "6E1F5A6C-3C2B-4F55-9E1D-7B0C52F7E001"
_BUID = "1B0A7F6E-22D4-4B4C-8A63-94E1C1D50002"

_BAD_DEVICE, _REFUSED = 2, 3
_OK, _UNKNOWN, _NOT_FOUND, _IS_FOLDER, _DENIED, _IO_ERROR = 0, 1, 8, 9, 10, 20
_MAGIC = b"CFA6LPAA"
_MOST = 4 << 20


@dataclass(frozen=True)
class Conduct:
    """How the phone behaves. Paths are relative to the folder, without a leading slash.

    Attributes:
        locked: the passcode is wanted; nothing else is answered.
        trust: "yes"; "asked": the dialog is on the screen and unanswered; "no": it was answered with no.
        bytes_per_second: throughput of a read; 0: unlimited.
        latency: seconds before each answer.
        unplug_after: the cable comes out once so many bytes were read.
        placeholders: files that are listed and can't be opened: their content is in iCloud only.
        bad_from: path → offset from which reading fails.
        bad_folders: folders that can't be listed.
        hidden: paths left out of listings.
    """

    locked: bool = False
    trust: str = "yes"
    bytes_per_second: float = 0
    latency: float = 0
    unplug_after: int | None = None
    placeholders: frozenset[str] = frozenset()
    bad_from: dict[str, int] = field(default_factory=dict)
    bad_folders: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()


def why_not(*programs: str) -> str | None:
    """Which of the programs is missing, or None."""
    missing = [name for name in programs if shutil.which(name) is None]
    return f"{', '.join(missing)} missing (install libimobiledevice-utils, ifuse)" if missing else None


_ALONE = FileLock(Path(tempfile.gettempdir(), "photosync-test-iphone.lock"), timeout=280)


@contextlib.contextmanager
def fake_iphone(
    folder: Path, path: Path | None = None, udid: str = UDID, tls: bool = True, **conduct: Any
) -> Iterator["FakeIphone"]:
    """Plugs an iPhone in; at the end every connection is cut.

    One process of the test run at a time: what is mounted by ifuse or gvfs is seen by all, and would be one
    more route to the phone of the same identity that another process has plugged in.

    Args:
        folder: what is on it.
        path: of the socket; at most 107 bytes. None: a new one.
        udid: its identity.
        tls: sessions are encrypted.
        conduct: as in `Conduct`.
    """
    with _ALONE, tempfile.TemporaryDirectory(prefix="iphone-") as scratch:
        phone = FakeIphone(folder, path or Path(scratch) / "usbmuxd", udid, _Pairing(tls), Conduct(**conduct))
        try:
            yield phone
        finally:
            phone.end()


class _Gone(Exception):
    """The other side hung up, or the cable is out."""


class FakeIphone:
    """See `fake_iphone`.

    Attributes:
        env: what makes the real clients find it.
        counters: requests by AFC operation, "bytes" read and AFC "connections".
        changed: whether any client tried to write, rename or delete.
    """

    def __init__(self, folder: Path, path: Path, udid: str, pairing: "_Pairing", conduct: Conduct) -> None:
        self.folder = os.path.realpath(folder)
        self.udid = udid
        self.env = {"USBMUXD_SOCKET_ADDRESS": f"UNIX:{path}"}
        self.counters: Counter[str] = Counter()
        self.changed = False
        self.conduct = conduct
        self.pairing = pairing
        self._plugged = True
        self._lock = threading.Lock()
        self._lines: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def set(self, **conduct: Any) -> None:
        """Changes the conduct named, keeps the rest."""
        self.conduct = replace(self.conduct, **conduct)

    def unplug(self) -> None:
        """Pulls the cable: every connection to the phone is cut, and it leaves the list."""
        with self._lock:
            self._plugged = False
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def plug_in(self) -> None:
        """Puts the cable back; an unplugging still to come is called off."""
        self.set(unplug_after=None)
        self._plugged = True

    def end(self) -> None:
        self.unplug()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    # ---- usbmuxd -----------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            with line:
                self._mux(line)
        except (_Gone, OSError, ValueError):
            pass  # the client hung up, or the cable came out
        finally:
            with self._lock:
                self._lines.discard(line)

    def _mux(self, line: socket.socket) -> None:
        while True:
            length, _, _, tag = struct.unpack("<IIII", _take(line, 16))
            asked = plistlib.loads(_take(line, length - 16))
            kind = asked.get("MessageType")
            if kind == "Connect":
                if self._connect(line, tag, socket.ntohs(asked["PortNumber"])):
                    return
            elif kind == "ListDevices":
                _say(line, tag, {"DeviceList": [self._attached()] if self._plugged else []})
            elif kind == "ReadBUID":
                _say(line, tag, {"BUID": _BUID})
            elif kind == "ReadPairRecord" and (record := self.pairing.record) is not None:
                _say(line, tag, {"PairRecordData": record})
            elif kind == "ReadPairRecord":
                _say(line, tag, {"MessageType": "Result", "Number": _BAD_DEVICE})
            else:
                if kind == "SavePairRecord":
                    self.pairing.record = asked["PairRecordData"]
                elif kind == "DeletePairRecord":
                    self.pairing.record = None
                _say(line, tag, {"MessageType": "Result", "Number": 0})
                if kind == "Listen" and self._plugged:
                    _say(line, 0, self._attached())

    def _attached(self) -> dict[str, Any]:
        properties = {
            "ConnectionType": "USB",
            "ConnectionSpeed": 480_000_000,
            "DeviceID": 1,
            "LocationID": 0x100000,
            "ProductID": 0x12A8,
            "SerialNumber": self.udid,
        }
        return {"MessageType": "Attached", "DeviceID": 1, "Properties": properties}

    def _connect(self, line: socket.socket, tag: int, port: int) -> bool:
        with self._lock:
            plugged = self._plugged
            if plugged:
                self._lines.add(line)
        known = port == LOCKDOWN_PORT or port in SERVICES.values()
        number = _BAD_DEVICE if not plugged else 0 if known else _REFUSED
        _say(line, tag, {"MessageType": "Result", "Number": number})
        if number:
            return False
        if port == LOCKDOWN_PORT:
            self._lockdown(line)
        elif port == SERVICES["com.apple.afc"]:
            self.counters["connections"] += 1
            _Afc(self, self.pairing.wrap(line)).serve()
        else:
            _take(line, 1)
        return True

    # ---- lockdownd ---------------------------------------------------------------------------------------

    def _lockdown(self, line: socket.socket) -> None:
        plain = line
        while True:
            asked = plistlib.loads(_take(line, struct.unpack(">I", _take(line, 4))[0]))
            request = asked.get("Request")
            answer: dict[str, Any] = {"Request": request}
            error = self._answer(asked, answer)
            answer["Error" if error else "Result"] = error or "Success"
            body = plistlib.dumps(answer)
            line.sendall(struct.pack(">I", len(body)) + body)
            if request == "StartSession" and not error:
                line = self.pairing.wrap(plain)
            elif request == "StopSession":
                line = plain

    def _answer(self, asked: dict[str, Any], answer: dict[str, Any]) -> str | None:
        """Fills in an answer; gives lockdownd's name for what is wrong."""
        match asked.get("Request"):
            case "QueryType":
                answer["Type"] = "com.apple.mobile.lockdown"
            case "GetValue":
                values = self._values()
                key = asked.get("Key")
                if key is not None and key not in values:
                    return "MissingValue"
                answer["Value"] = values[key] if key is not None else values
            case "Pair":
                if refused := self._unwilling():
                    return refused
                self.pairing.accept(asked["PairRecord"])
                answer["EscrowBag"] = b"\0" * 32
            case "ValidatePair" | "StartSession":
                # A phone that was told not to trust has forgotten the computer's certificates.
                if self.conduct.trust != "yes" or not self.pairing.knows(asked):
                    return "InvalidHostID"
                if asked["Request"] == "StartSession":
                    answer |= {"SessionID": "1", "EnableSessionSSL": self.pairing.tls}
            case "StartService":
                if self.conduct.locked:
                    return "PasswordProtected"
                port = SERVICES.get(asked.get("Service", ""))
                if port is None:
                    return "InvalidService"
                answer |= {"Service": asked["Service"], "Port": port, "EnableServiceSSL": self.pairing.tls}
        return None

    def _unwilling(self) -> str | None:
        if self.conduct.locked:
            return "PasswordProtected"
        return {"asked": "PairingDialogResponsePending", "no": "UserDeniedPairing"}.get(self.conduct.trust)

    def _values(self) -> dict[str, Any]:
        return {
            "DeviceName": "Iris' iPhone",
            "ProductType": "iPhone14,5",
            "ProductName": "iPhone OS",
            "ProductVersion": "17.5.1",
            "DeviceClass": "iPhone",
            "UniqueDeviceID": self.udid,
            "WiFiAddress": "02:00:00:00:00:01",
            "DevicePublicKey": self.pairing.public_key,
        }

    # ---- what AFC needs of the phone ---------------------------------------------------------------------

    def served(self, count: int) -> None:
        """Counts bytes, and pulls the cable when its time has come."""
        with self._lock:
            self.counters["bytes"] += count
            limit = self.conduct.unplug_after
            out = limit is not None and self.counters["bytes"] >= limit
        if out:
            self.set(unplug_after=None)
            self.unplug()
            raise _Gone


class _Pairing:
    """What phone and computer know of each other: one certificate authority, kept by the computer."""

    def __init__(self, tls: bool) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        self.tls = tls
        key = rsa.generate_private_key(65537, 2048)
        self.public_key = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.PKCS1
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=3650))
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )
        self._host_id = _HOST_ID
        record = {
            "HostID": _HOST_ID,
            "SystemBUID": _BUID,
            "WiFiMACAddress": "02:00:00:00:00:01",
            "EscrowBag": b"\0" * 32,
        }
        record |= {f"{owner}Certificate": certificate for owner in ("Host", "Root", "Device")}
        record |= {f"{owner}PrivateKey": private for owner in ("Host", "Root")}
        self.record: bytes | None = plistlib.dumps(record)
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(private + certificate)
            pem.flush()
            self._server.load_cert_chain(pem.name)

    def accept(self, record: dict[str, Any]) -> None:
        self._host_id = record["HostID"]

    def knows(self, asked: dict[str, Any]) -> bool:
        host = asked.get("HostID") or asked.get("PairRecord", {}).get("HostID")
        return self.record is not None and host == self._host_id

    def wrap(self, line: socket.socket) -> socket.socket:
        if not self.tls:
            return line
        # The plain socket stays open: a session can be stopped, and a cut reaches it through its shutdown.
        return self._server.wrap_socket(line.dup(), server_side=True)


class _Afc:
    """One connection to the file service."""

    def __init__(self, phone: FakeIphone, line: socket.socket) -> None:
        self.phone = phone
        self.line = line
        self._files: dict[int, tuple[int, str]] = {}
        self._operations: dict[int, tuple[str, Callable[[bytes], None]]] = {
            0x03: ("list", self._list),
            0x0A: ("stat", self._stat),
            0x0B: ("device", self._device),
            0x0D: ("open", self._open),
            0x0F: ("read", self._read),
            0x11: ("seek", self._seek),
            0x12: ("tell", self._tell),
            0x14: ("close", self._close),
        }

    def serve(self) -> None:
        try:
            with self.line:
                while True:
                    self._one()
        finally:
            for descriptor, _ in self._files.values():
                os.close(descriptor)

    def _one(self) -> None:
        _, total, here, self._number, operation = struct.unpack("<8sQQQQ", _take(self.line, 40))
        head = _take(self.line, here - 40)
        _take(self.line, total - here)
        if self.phone.conduct.latency:
            time.sleep(self.phone.conduct.latency)
        name, run = self._operations.get(operation, ("change", self._refuse))
        self.phone.counters[name] += 1
        try:
            run(head)
        except OSError as error:
            if isinstance(error, (ConnectionError, ssl.SSLError)):
                raise
            codes = {
                errno.ENOENT: _NOT_FOUND,
                errno.EISDIR: _IS_FOLDER,
                errno.EPERM: _DENIED,
                errno.EIO: _IO_ERROR,
            }
            self._status(codes.get(error.errno or 0, _UNKNOWN))

    def _send(self, kind: int, head: bytes = b"", data: bytes = b"", more: int = 0) -> None:
        size = 40 + len(head)
        header = struct.pack("<8sQQQQ", _MAGIC, size + len(data) + more, size, self._number, kind)
        self.line.sendall(header + head + data)

    def _status(self, code: int) -> None:
        self._send(0x01, struct.pack("<Q", code))

    def _words(self, *words: object) -> None:
        self._send(0x02, b"", b"".join(os.fsencode(str(word)) + b"\0" for word in words))

    def _name(self, raw: bytes) -> str:
        name = os.path.normpath("/" + os.fsdecode(raw.split(b"\0")[0]))[1:]
        return "" if name == "." else name.lstrip("/")

    def _real(self, name: str) -> str:
        return os.path.join(self.phone.folder, name)

    def _list(self, head: bytes) -> None:
        name, conduct = self._name(head), self.phone.conduct
        if name in conduct.bad_folders:
            raise OSError(errno.EIO, "folder")
        inside = f"{name}/" if name else ""
        names = [each for each in os.listdir(self._real(name)) if inside + each not in conduct.hidden]
        self._words(".", "..", *names)

    def _stat(self, head: bytes) -> None:
        found = os.lstat(self._real(self._name(head)))
        kind = {0o040000: "S_IFDIR", 0o120000: "S_IFLNK"}.get(found.st_mode & 0o170000, "S_IFREG")
        link = ("LinkTarget", os.readlink(self._real(self._name(head)))) if kind == "S_IFLNK" else ()
        self._words(
            "st_size", found.st_size, "st_blocks", found.st_blocks, "st_nlink", found.st_nlink,
            "st_ifmt", kind, "st_mtime", found.st_mtime_ns, "st_birthtime", found.st_mtime_ns, *link,
        )  # fmt: skip

    def _device(self, head: bytes) -> None:
        found = os.statvfs(self.phone.folder)
        self._words(
            "Model", "iPhone14,5", "FSTotalBytes", found.f_blocks * found.f_frsize,
            "FSFreeBytes", found.f_bavail * found.f_frsize, "FSBlockSize", 4096,
        )  # fmt: skip

    def _open(self, head: bytes) -> None:
        name = self._name(head[8:])
        if struct.unpack("<Q", head[:8])[0] != 1:
            self.phone.changed = True
            raise OSError(errno.EPERM, name)
        if name in self.phone.conduct.placeholders:
            raise OSError(errno.EIO, name)
        descriptor = os.open(self._real(name), os.O_RDONLY)
        if os.path.isdir(self._real(name)):
            os.close(descriptor)
            raise OSError(errno.EISDIR, name)
        self._files[descriptor] = (descriptor, name)
        self._send(0x0E, struct.pack("<Q", descriptor))

    def _file(self, head: bytes) -> tuple[int, str]:
        found = self._files.get(struct.unpack("<Q", head[:8])[0])
        if found is None:
            raise OSError(errno.EBADF, "no such handle")
        return found

    def _read(self, head: bytes) -> None:
        descriptor, name = self._file(head)
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        wanted = min(struct.unpack("<Q", head[8:16])[0], _MOST)
        bad = self.phone.conduct.bad_from.get(name)
        if bad is not None and at + wanted > bad:
            raise OSError(errno.EIO, name)
        data = os.read(descriptor, wanted)
        self.phone.served(len(data))
        if self.phone.conduct.bytes_per_second:
            time.sleep(len(data) / self.phone.conduct.bytes_per_second)
        self._send(0x02, more=len(data))
        self.line.sendall(data)

    def _seek(self, head: bytes) -> None:
        descriptor, _ = self._file(head)
        whence, offset = struct.unpack("<Qq", head[8:24])
        os.lseek(descriptor, offset, whence)
        self._status(_OK)

    def _tell(self, head: bytes) -> None:
        self._send(0x13, struct.pack("<Q", os.lseek(self._file(head)[0], 0, os.SEEK_CUR)))

    def _close(self, head: bytes) -> None:
        descriptor, _ = self._file(head)
        del self._files[descriptor]
        os.close(descriptor)
        self._status(_OK)

    def _refuse(self, head: bytes) -> None:
        self.phone.changed = True
        self._status(_DENIED)


def _take(line: socket.socket, size: int) -> bytes:
    taken = bytearray()
    while len(taken) < size:
        if not (piece := line.recv(min(size - len(taken), 1 << 20))):
            raise _Gone
        taken += piece
    return bytes(taken)


def _say(line: socket.socket, tag: int, message: dict[str, Any]) -> None:
    body = plistlib.dumps(message)
    line.sendall(struct.pack("<IIII", 16 + len(body), 1, 8, tag) + body)
