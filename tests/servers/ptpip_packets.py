"""The packets of PTP/IP (CIPA DC-005): a length, a type, and what belongs to the type; all little-endian."""

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

PORT = 15740
VERSION = 0x00010000
LONGEST_REQUEST = 1 << 16
"""No camera takes more in one packet from an initiator that sends no files."""


class Kind(IntEnum):
    INIT_COMMAND_REQUEST = 1
    INIT_COMMAND_ACK = 2
    INIT_EVENT_REQUEST = 3
    INIT_EVENT_ACK = 4
    INIT_FAIL = 5
    OPERATION_REQUEST = 6
    OPERATION_RESPONSE = 7
    EVENT = 8
    START_DATA = 9
    DATA = 10
    CANCEL = 11
    END_DATA = 12
    PROBE_REQUEST = 13
    PROBE_RESPONSE = 14


BUSY = 2
"""Init_Fail: another initiator has the camera."""


class Violation(Exception):
    """The initiator broke a rule of the protocol."""


@dataclass(frozen=True, slots=True)
class Request:
    """An Operation_Request packet."""

    code: int
    transaction: int
    parameters: tuple[int, ...]

    def parameter(self, number: int) -> int:
        """That parameter from 1; those that are left out are 0 (ISO 15740, 9.3.4)."""
        return self.parameters[number - 1] if number <= len(self.parameters) else 0


def packet(kind: Kind, payload: bytes = b"") -> bytes:
    return struct.pack("<II", 8 + len(payload), kind) + payload


def receive(connection: socket.socket) -> tuple[Kind, bytes]:
    """The next packet.

    Raises:
        EOFError: the other side has ended the connection.
        Violation: it is none.
    """
    length, number = struct.unpack("<II", _exactly(connection, 8))
    if not 8 <= length <= LONGEST_REQUEST:
        raise Violation(f"a packet of {length} bytes")
    try:
        kind = Kind(number)
    except ValueError as error:
        raise Violation(f"a packet of type {number}") from error
    return kind, _exactly(connection, length - 8)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def check_init(payload: bytes) -> None:
    """Init_Command_Request: 16 bytes GUID, a name in UCS-2 that ends with 0, the version."""
    name, version = payload[16:-4], payload[-4:]
    if len(payload) < 22 or len(name) % 2 or name[-2:] != b"\0\0" or not any(payload[:16]):
        raise Violation("an Init_Command_Request without a name or a GUID")
    if struct.unpack("<I", version) != (VERSION,):
        raise Violation(f"version {version.hex()}")


def operation(payload: bytes) -> Request:
    """Operation_Request; only operations without data or with data towards the initiator."""
    if len(payload) not in range(10, 31, 4):
        raise Violation(f"an Operation_Request of {len(payload)} bytes")
    phase, code, transaction = struct.unpack_from("<IHI", payload)
    if phase not in (1, 3):
        raise Violation(f"data phase {phase} for operation {code:#06x}")
    return Request(code, transaction, struct.unpack(f"<{(len(payload) - 10) // 4}I", payload[10:]))
