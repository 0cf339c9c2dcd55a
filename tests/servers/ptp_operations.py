"""What a PTP device does with the operations that an initiator asks for (ISO 15740, section 10)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from enum import IntEnum
from pathlib import Path

from tests.servers.ptp_datasets import Model, array, device_info, object_info, storage_info
from tests.servers.ptp_objects import ANY_STORAGE, ROOT, Objects, Thing
from tests.servers.ptpip_packets import Request

CAPACITY, FREE = 128 << 30, 32 << 30
FIRST_STORAGE, STORAGE_STEP = 0x00010001, 0x00010000


class Code(IntEnum):
    """Operations, with those that Nikon's cameras have for files beyond 32 bits (libgphoto2, ptp.h)."""

    GET_DEVICE_INFO = 0x1001
    OPEN_SESSION = 0x1002
    CLOSE_SESSION = 0x1003
    GET_STORAGE_IDS = 0x1004
    GET_STORAGE_INFO = 0x1005
    GET_NUM_OBJECTS = 0x1006
    GET_OBJECT_HANDLES = 0x1007
    GET_OBJECT_INFO = 0x1008
    GET_OBJECT = 0x1009
    GET_PARTIAL_OBJECT = 0x101B
    NIKON_GET_OBJECT_SIZE = 0x9421
    NIKON_GET_PARTIAL_OBJECT_EX = 0x9431


class Response(IntEnum):
    OK = 0x2001
    SESSION_NOT_OPEN = 0x2003
    INVALID_TRANSACTION_ID = 0x2004
    OPERATION_NOT_SUPPORTED = 0x2005
    INVALID_STORAGE_ID = 0x2008
    INVALID_OBJECT_HANDLE = 0x2009
    SPECIFICATION_BY_FORMAT_UNSUPPORTED = 0x2014
    DEVICE_BUSY = 0x2019
    INVALID_PARENT_OBJECT = 0x201A
    INVALID_PARAMETER = 0x201D
    SESSION_ALREADY_OPEN = 0x201E


_STANDARD = tuple(code for code in Code if code < 0x9000)

NIKON = Model("Nikon Corporation", "NIKON Z 8", 10, "", tuple(Code))
ANDROID = Model("Google", "Pixel 8", 6, "microsoft.com: 1.0; android.com: 1.0;", _STANDARD)
"""Tells a size beyond 32 bits as 0xFFFFFFFF. The MTP properties, which libgphoto2 does not ask for by PTP/IP,
are left out."""
GALAXY = Model("SAMSUNG", "Galaxy S7", 6, "microsoft.com: 1.0; android.com: 1.0;", _STANDARD, wide=True)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a file."""

    path: Path
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and the data that goes before it."""

    code: Response = Response.OK
    data: bytes | Stretch | None = None
    parameters: tuple[int, ...] = ()


class Refused(Exception):
    """The operation's response code, where it is not OK."""

    def __init__(self, code: Response, *parameters: int) -> None:
        self.code, self.parameters = code, parameters


@dataclass
class Device:
    """A camera or phone, whatever it is connected by.

    Attributes:
        storages: name → folder.
        zone: its clock's.
        says_zone: DateTime with "Z" or the difference to UTC after it (ISO 15740, 5.3.5), else without.
        locked: it shows no storage.
        busy: so many of the next reads are answered with Device_Busy.
        session: the id of the session that is open; 0: none.
    """

    model: Model
    storages: Mapping[str, Path]
    serial: str = "7004711"
    zone: tzinfo | None = None
    says_zone: bool = False
    says_date: bool = True
    locked: bool = False
    busy: int = 0
    session: int = 0
    _next: int = 0
    objects: Objects = field(init=False)

    def __post_init__(self) -> None:
        self._ids = {FIRST_STORAGE + n * STORAGE_STEP: name for n, name in enumerate(self.storages)}
        self.objects = Objects({number: self.storages[name] for number, name in self._ids.items()})
        self._operations: dict[int, Callable[[Request], Answer]] = {
            Code.GET_DEVICE_INFO: lambda request: Answer(data=device_info(self.model, self.serial)),
            Code.OPEN_SESSION: self._open_session,
            Code.CLOSE_SESSION: self._close_session,
            Code.GET_STORAGE_IDS: lambda request: Answer(data=array(() if self.locked else self._ids)),
            Code.GET_STORAGE_INFO: self._storage_info,
            Code.GET_NUM_OBJECTS: lambda request: Answer(parameters=(len(self._handles(request)),)),
            Code.GET_OBJECT_HANDLES: lambda request: Answer(data=array(self._handles(request))),
            Code.GET_OBJECT_INFO: self._object_info,
            Code.GET_OBJECT: lambda request: self._read(request, 0, self._file(request).size),
            Code.GET_PARTIAL_OBJECT: self._partial,
            Code.NIKON_GET_OBJECT_SIZE: self._size,
            Code.NIKON_GET_PARTIAL_OBJECT_EX: self._partial_wide,
        }

    def answer(self, request: Request) -> Answer:
        """Does what is asked for."""
        try:
            self._check_order(request)
            if request.code not in self.model.operations:
                raise Refused(Response.OPERATION_NOT_SUPPORTED)
            return self._operations[request.code](request)
        except Refused as refused:
            return Answer(refused.code, parameters=refused.parameters)

    def _check_order(self, request: Request) -> None:
        """9.3.1, 10.5.2: what needs a session, and that transactions are numbered in order from 1."""
        if request.code == Code.OPEN_SESSION:
            return
        if not self.session:
            if request.code != Code.GET_DEVICE_INFO:
                raise Refused(Response.SESSION_NOT_OPEN)
            return
        if request.transaction != self._next:
            raise Refused(Response.INVALID_TRANSACTION_ID)
        self._next += 1

    def _open_session(self, request: Request) -> Answer:
        if self.session:
            raise Refused(Response.SESSION_ALREADY_OPEN, self.session)
        if not request.parameter(1):
            raise Refused(Response.INVALID_PARAMETER)
        if request.transaction:
            raise Refused(Response.INVALID_TRANSACTION_ID)
        self.session, self._next = request.parameter(1), 1
        self.objects.scan()
        return Answer()

    def _close_session(self, request: Request) -> Answer:
        self.session = 0
        return Answer()

    def _storage_info(self, request: Request) -> Answer:
        name = self._ids.get(request.parameter(1))
        if name is None or self.locked:
            raise Refused(Response.INVALID_STORAGE_ID)
        return Answer(data=storage_info(name, CAPACITY, FREE))

    def _handles(self, request: Request) -> list[int]:
        storage, form, parent = (request.parameter(number) for number in (1, 2, 3))
        if storage != ANY_STORAGE and (storage not in self._ids or self.locked):
            raise Refused(Response.INVALID_STORAGE_ID)
        if form:
            raise Refused(Response.SPECIFICATION_BY_FORMAT_UNSUPPORTED)
        folder = self.objects.get(parent)
        if parent not in (0, ROOT) and (folder is None or not folder.is_folder):
            raise Refused(Response.INVALID_PARENT_OBJECT)
        return [] if self.locked else self.objects.below(storage, parent)

    def _thing(self, request: Request) -> Thing:
        thing = self.objects.get(request.parameter(1))
        if thing is None or self.locked:
            raise Refused(Response.INVALID_OBJECT_HANDLE)
        return thing

    def _file(self, request: Request) -> Thing:
        thing = self._thing(request)
        if thing.is_folder:
            raise Refused(Response.INVALID_OBJECT_HANDLE)
        return thing

    def _object_info(self, request: Request) -> Answer:
        it = self._thing(request)
        when = datetime.fromtimestamp(it.mtime, self.zone)
        date = when.strftime("%Y%m%dT%H%M%S") if self.says_date else ""
        if self.says_zone:
            date += "Z" if not when.utcoffset() else when.strftime("%z")
        told = object_info(it.storage, it.format, it.size, it.parent, it.path.name, date, self.model.wide)
        return Answer(data=told)

    def _size(self, request: Request) -> Answer:
        return Answer(data=self._file(request).size.to_bytes(8, "little"))

    def _partial(self, request: Request) -> Answer:
        return self._read(request, request.parameter(2), request.parameter(3))

    def _partial_wide(self, request: Request) -> Answer:
        offset = request.parameter(2) | request.parameter(3) << 32
        return self._read(request, offset, request.parameter(4) | request.parameter(5) << 32)

    def _read(self, request: Request, offset: int, most: int) -> Answer:
        if self.busy:
            self.busy -= 1
            raise Refused(Response.DEVICE_BUSY)
        file = self._file(request)
        if offset > file.size:
            raise Refused(Response.INVALID_PARAMETER)
        size = min(most, file.size - offset)
        told = () if request.code == Code.GET_OBJECT else (size & 0xFFFFFFFF,)
        return Answer(data=Stretch(file.path, offset, size), parameters=told)
