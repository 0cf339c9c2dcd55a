"""A camera or phone that speaks PTP/IP, with the faults of a bad cable.

with PtpIpCamera(Device(NIKON, {"card": folder})) as camera:
    ...                          # libgphoto2's port camera.address
    camera.unplug_after(5 << 20)
    camera.plug_in()
    assert not camera.violations

libgphoto2 speaks to it with the driver (ptp2) that it uses on the USB; only the transport is another one. It
reads the length of data as 32 bits there (2.5.34, ptpip.c), so that no GetObject beyond 4 GiB comes through.
"""

import contextlib
import os
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from tests.servers.cut_proxy import hang_up
from tests.servers.ptp_operations import Answer, Device, Stretch
from tests.servers.ptpip_packets import (
    BUSY,
    VERSION,
    Kind,
    Request,
    Violation,
    check_init,
    operation,
    packet,
    receive,
)

_BLOCK = 1 << 20
_GUID = bytes(range(1, 17))


class PtpIpCamera:
    """One initiator at a time, as the standard has it.

    Attributes:
        device: what it is and holds; to be changed only between two runs.
        sent: bytes of data that went out, since the start.
        violations: what initiators did against the rules.
        asked: how often each operation was asked for, by its code.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.sent = 0
        self.violations: list[str] = []
        self.asked: dict[int, int] = {}
        self._unplug_at: int | None = None
        self._hang_at: int | None = None
        self._out = threading.Event()
        self._requests_left: int | None = None
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._numbers = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._listen()

    @property
    def address(self) -> str:
        """For libgphoto2, after "ptpip:": host, port of the commands, port of the events."""
        return f"127.0.0.1:{self.port}:{self.port}"

    def unplug(self) -> None:
        """Ends every connection and takes no new one."""
        with self._lock:
            self._unplug_at = self._requests_left = self._hang_at = None
            connections, self._connections = self._connections, set()
        self._out.set()
        hang_up(self._listener, *connections)
        self._listener.close()

    def unplug_after(self, size: int) -> None:
        """Unplugs once so many more bytes of data went out."""
        with self._lock:
            self._unplug_at = self.sent + size

    def unplug_after_requests(self, number: int) -> None:
        """Unplugs instead of an answer once so many more operations were answered."""
        with self._lock:
            self._requests_left = number

    def hang_after(self, size: int) -> None:
        """Says nothing more once so many more bytes of data went out, until it is unplugged."""
        with self._lock:
            self._hang_at = self.sent + size

    def plug_in(self) -> None:
        self._out.clear()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), name="ptpip", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            try:
                self._hang()
                self._first(connection, *receive(connection))
            except Violation as violation:
                self.violations.append(str(violation))
        with self._lock:
            self._connections.discard(connection)

    def _first(self, connection: socket.socket, kind: Kind, payload: bytes) -> None:
        """What the first packet says decides what the connection is for."""
        if kind is Kind.INIT_COMMAND_REQUEST:
            check_init(payload)
            self._commands(connection)
        elif kind is Kind.INIT_EVENT_REQUEST:
            self._events(connection, payload)
        else:
            raise Violation(f"{kind.name} before anything else")

    # ---- the two connections -----------------------------------------------------------------------------

    def _commands(self, connection: socket.socket) -> None:
        with self._lock:
            taken = self._held is not None and not _has_ended(self._held)
            if not taken:
                self._held = connection
                self._numbers += 1
                number = self._numbers
                self.device.session = 0
        if taken:
            connection.sendall(packet(Kind.INIT_FAIL, struct.pack("<I", BUSY)))
            return
        try:
            name = self.device.model.name.encode("utf-16-le") + b"\0\0"
            ready = struct.pack("<I", number) + _GUID + name + struct.pack("<I", VERSION)
            connection.sendall(packet(Kind.INIT_COMMAND_ACK, ready))
            while True:
                kind, payload = receive(connection)
                if kind is not Kind.OPERATION_REQUEST:
                    raise Violation(f"{kind.name} between two operations")
                request = operation(payload)
                self._count_request(request)
                self._reply(connection, request, self.device.answer(request))
        finally:
            with self._lock:
                if self._held is connection:
                    self._held = None

    def _events(self, connection: socket.socket, payload: bytes) -> None:
        if payload != struct.pack("<I", self._numbers):
            raise Violation(f"an event connection for {payload.hex()}")
        connection.sendall(packet(Kind.INIT_EVENT_ACK))
        while True:
            kind, _ = receive(connection)
            if kind is not Kind.PROBE_REQUEST:
                raise Violation(f"{kind.name} on the event connection")
            connection.sendall(packet(Kind.PROBE_RESPONSE))

    # ---- answers -----------------------------------------------------------------------------------------

    def _reply(self, connection: socket.socket, request: Request, answer: Answer) -> None:
        number = struct.pack("<I", request.transaction)
        if answer.data is not None:
            size = answer.data.size if isinstance(answer.data, Stretch) else len(answer.data)
            connection.sendall(packet(Kind.START_DATA, number + struct.pack("<Q", size)))
            if isinstance(answer.data, Stretch):
                self._send_file(connection, number, answer.data)
            else:
                connection.sendall(packet(Kind.END_DATA, number + answer.data))
        told = struct.pack(
            f"<HI{len(answer.parameters)}I", answer.code, request.transaction, *answer.parameters
        )
        connection.sendall(packet(Kind.OPERATION_RESPONSE, told))

    def _send_file(self, connection: socket.socket, number: bytes, stretch: Stretch) -> None:
        left = stretch.size
        with stretch.path.open("rb") as file:
            while True:
                block = min(_BLOCK, left)
                left -= block
                kind = Kind.DATA if left else Kind.END_DATA
                connection.sendall(struct.pack("<II", 12 + block, kind) + number)
                self._count(block)
                done = 0
                while done < block:
                    offset = stretch.offset + stretch.size - left - block + done
                    step = os.sendfile(connection.fileno(), file.fileno(), offset, block - done)
                    if not step:
                        raise EOFError  # the file was cut on disk
                    done += step
                if not left:
                    return

    def _count_request(self, request: Request) -> None:
        self.asked[request.code] = self.asked.get(request.code, 0) + 1
        with self._lock:
            if self._requests_left is None:
                return
            self._requests_left -= 1
            over = self._requests_left < 0
        if over:
            self.unplug()
            raise EOFError

    def _count(self, size: int) -> None:
        with self._lock:
            self.sent += size
            over = self._unplug_at is not None and self.sent >= self._unplug_at
        if over:
            self.unplug()
            raise EOFError
        self._hang()

    def _hang(self) -> None:
        with self._lock:
            silent = self._hang_at is not None and self.sent >= self._hang_at
        if silent:
            self._out.wait()


def _has_ended(connection: socket.socket) -> bool:
    """Whether its initiator is gone, though the thread that serves it does not know yet."""
    if connection.fileno() < 0:
        return True
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
