"""The emulated PTP/IP device holds its initiator to the rules: spoken to packet by packet."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.ptp_operations import ANDROID, NIKON, Code, Device, Response
from tests.servers.ptpip_camera import PtpIpCamera
from tests.servers.ptpip_packets import BUSY, VERSION, Kind, packet

STORAGE = 0x00010001
ROOT = 0xFFFFFFFF
HELLO = bytes(range(16)) + "x\0".encode("utf-16-le") + struct.pack("<I", VERSION)


class Initiator:
    """The command connection of a client that breaks rules if it is told to."""

    def __init__(self, camera: PtpIpCamera) -> None:
        self.line = socket.create_connection(("127.0.0.1", camera.port), timeout=30)

    def say(self, kind: Kind, payload: bytes) -> None:
        self.line.sendall(packet(kind, payload))

    def hear(self) -> tuple[Kind, bytes]:
        length, kind = struct.unpack("<II", self._exactly(8))
        return Kind(kind), self._exactly(length - 8)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.line.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def ask(self, code: int, transaction: int, *parameters: int) -> tuple[int, bytes | None, tuple[int, ...]]:
        """Response code, data, and the response's parameters."""
        self.say(
            Kind.OPERATION_REQUEST,
            struct.pack(f"<IHI{len(parameters)}I", 1, code, transaction, *parameters),
        )
        data = None
        while (said := self.hear())[0] is not Kind.OPERATION_RESPONSE:
            kind, payload = said
            assert struct.unpack_from("<I", payload) == (transaction,)
            if kind is Kind.START_DATA:
                (promised,), data = struct.unpack("<Q", payload[4:]), b""
            else:
                assert data is not None
                data += payload[4:]
            if kind is Kind.END_DATA:
                assert data is not None
                assert len(data) == promised
        response, told = struct.unpack_from("<HI", said[1])
        assert told == transaction
        return response, data, struct.unpack(f"<{(len(said[1]) - 6) // 4}I", said[1][6:])


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[PtpIpCamera]:
    (tmp_path / "DCIM").mkdir()
    (tmp_path / "DCIM/1.JPG").write_bytes(b"0123456789")
    with PtpIpCamera(Device(NIKON, {"card": tmp_path})) as running:
        yield running


@pytest.fixture
def client(camera: PtpIpCamera) -> Iterator[Initiator]:
    client = Initiator(camera)
    with contextlib.closing(client.line):
        client.say(Kind.INIT_COMMAND_REQUEST, HELLO)
        assert client.hear()[0] is Kind.INIT_COMMAND_ACK
        yield client


def test_a_session_first_and_transactions_in_order(client: Initiator) -> None:
    assert client.ask(Code.GET_DEVICE_INFO, 0)[0] == Response.OK
    assert client.ask(Code.GET_STORAGE_IDS, 1)[0] == Response.SESSION_NOT_OPEN
    assert client.ask(Code.OPEN_SESSION, 0, 0)[0] == Response.INVALID_PARAMETER
    assert client.ask(Code.OPEN_SESSION, 5, 1)[0] == Response.INVALID_TRANSACTION_ID
    assert client.ask(Code.OPEN_SESSION, 0, 7)[0] == Response.OK
    assert client.ask(Code.OPEN_SESSION, 0, 8) == (Response.SESSION_ALREADY_OPEN, None, (7,))
    assert client.ask(Code.GET_STORAGE_IDS, 2)[0] == Response.INVALID_TRANSACTION_ID
    assert client.ask(Code.GET_STORAGE_IDS, 1)[:2] == (Response.OK, struct.pack("<II", 1, STORAGE))
    assert client.ask(Code.CLOSE_SESSION, 2)[0] == Response.OK
    assert client.ask(Code.GET_STORAGE_IDS, 3)[0] == Response.SESSION_NOT_OPEN


def test_what_there_is_not(client: Initiator, camera: PtpIpCamera) -> None:
    client.ask(Code.OPEN_SESSION, 0, 1)
    at_root = client.ask(Code.GET_OBJECT_HANDLES, 1, STORAGE, 0, ROOT)
    assert at_root == (Response.OK, struct.pack("<II", 1, 1), ()), "DCIM alone"
    assert client.ask(Code.GET_OBJECT_HANDLES, 2, STORAGE)[1] == struct.pack("<III", 2, 1, 2), "at any depth"
    number = 2
    for code, parameters, expected in (
        (0x100B, (2,), Response.OPERATION_NOT_SUPPORTED),
        (Code.GET_OBJECT_HANDLES, (9, 0, ROOT), Response.INVALID_STORAGE_ID),
        (Code.GET_OBJECT_HANDLES, (STORAGE, 0x3801, ROOT), Response.SPECIFICATION_BY_FORMAT_UNSUPPORTED),
        (Code.GET_OBJECT_HANDLES, (STORAGE, 0, 2), Response.INVALID_PARENT_OBJECT),
        (Code.GET_STORAGE_INFO, (9,), Response.INVALID_STORAGE_ID),
        (Code.GET_OBJECT_INFO, (9,), Response.INVALID_OBJECT_HANDLE),
        (Code.GET_OBJECT, (1,), Response.INVALID_OBJECT_HANDLE),
        (Code.GET_PARTIAL_OBJECT, (2, 11, 1), Response.INVALID_PARAMETER),
    ):
        number += 1
        assert client.ask(code, number, *parameters) == (expected, None, ()), (code, parameters)
    assert camera.violations == []


def test_bytes_and_parts_of_them(client: Initiator, camera: PtpIpCamera) -> None:
    client.ask(Code.OPEN_SESSION, 0, 1)
    assert client.ask(Code.GET_OBJECT, 1, 2) == (Response.OK, b"0123456789", ())
    assert client.ask(Code.GET_PARTIAL_OBJECT, 2, 2, 4, 3) == (Response.OK, b"456", (3,))
    assert client.ask(Code.GET_PARTIAL_OBJECT, 3, 2, 8, 99) == (Response.OK, b"89", (2,))
    assert client.ask(Code.NIKON_GET_PARTIAL_OBJECT_EX, 4, 2, 4, 0, 3, 0) == (Response.OK, b"456", (3,))
    assert client.ask(Code.NIKON_GET_OBJECT_SIZE, 5, 2)[1] == struct.pack("<Q", 10)
    assert client.ask(Code.GET_NUM_OBJECTS, 6, STORAGE, 0, 1) == (Response.OK, None, (1,))
    assert camera.sent == 10 + 3 + 2 + 3


def test_one_initiator_at_a_time(client: Initiator, camera: PtpIpCamera) -> None:
    other = Initiator(camera)
    with contextlib.closing(other.line):
        other.say(Kind.INIT_COMMAND_REQUEST, HELLO)
        assert other.hear() == (Kind.INIT_FAIL, struct.pack("<I", BUSY))
    client.line.close()
    third = Initiator(camera)
    with contextlib.closing(third.line):
        third.say(Kind.INIT_COMMAND_REQUEST, HELLO)
        assert third.hear()[0] is Kind.INIT_COMMAND_ACK


def test_what_breaks_the_rules_ends_the_connection(camera: PtpIpCamera) -> None:
    request = struct.pack("<IHI", 2, Code.GET_DEVICE_INFO, 0)
    for said in (
        [(Kind.OPERATION_REQUEST, b"")],
        [(Kind.INIT_COMMAND_REQUEST, b"short")],
        [(Kind.INIT_EVENT_REQUEST, struct.pack("<I", 99))],
        [(Kind.INIT_COMMAND_REQUEST, HELLO), (Kind.OPERATION_REQUEST, request)],
        [(Kind.INIT_COMMAND_REQUEST, HELLO), (Kind.PROBE_RESPONSE, b"")],
    ):
        before = len(camera.violations)
        client = Initiator(camera)
        with contextlib.closing(client.line):
            for kind, payload in said:
                client.say(kind, payload)
            with contextlib.suppress(ConnectionResetError):
                while client.line.recv(1000):
                    pass
        assert len(camera.violations) == before + 1, said


def test_operations_are_those_of_the_model(tmp_path: Path) -> None:
    with PtpIpCamera(Device(ANDROID, {"card": tmp_path})) as camera:
        client = Initiator(camera)
        with contextlib.closing(client.line):
            client.say(Kind.INIT_COMMAND_REQUEST, HELLO)
            client.hear()
            client.ask(Code.OPEN_SESSION, 0, 1)
            assert client.ask(Code.NIKON_GET_OBJECT_SIZE, 1, 2)[0] == Response.OPERATION_NOT_SUPPORTED
