"""Between Drive's metadata and the engine's records: names, times, hashes."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from photosync.engine.capabilities import Stored
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import NameRefused, Transient
from photosync.engine.names import check_relative, printable

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
GOOGLE = "application/vnd.google-apps."
BYTES = "application/octet-stream"

FIELDS = (
    "id,name,mimeType,parents,size,md5Checksum,sha256Checksum,modifiedTime,createdTime,trashed,properties"
)
"""What is asked of a file, so that a reply costs no second request."""

MILLISECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEX = {"md5": 32, "sha256": 64}


@dataclass(frozen=True, slots=True)
class Item:
    """A file or folder at Drive.

    Attributes:
        id: stays the same for as long as it exists.
        parent: id of its folder; "" for what is in none (shared by somebody else).
        name: as Drive has it.
        mime: type; `FOLDER` for a folder.
        size: bytes; 0 for what has none.
        mtime_ns: modification time.
        created: as Drive writes it, for an order among files of one name.
        digests: that Drive computed.
        trashed: it, or a folder it is in, is in the trash.
        properties: key-value pairs that photosync may have given it.
    """

    id: str
    parent: str
    name: str
    mime: str
    size: int
    mtime_ns: int | None
    created: str
    digests: Mapping[str, str]
    trashed: bool
    properties: Mapping[str, str]

    @property
    def is_folder(self) -> bool:
        return self.mime == FOLDER

    @property
    def version(self) -> str | None:
        """Names this very content of this very file; None for what is no file with bytes."""
        content = self.digests.get("md5") or self.digests.get("sha256")
        return f"{self.id}.{content}" if content else None

    def order(self) -> tuple[str, str]:
        """The first of several of one name keeps it."""
        return self.created, self.id


def item_of(file: Mapping[str, Any]) -> Item:
    """A file resource with `FIELDS`.

    Raises:
        Transient: it is not of the documented form.
    """
    try:
        names = {"md5": "md5Checksum", "sha256": "sha256Checksum"}
        return Item(
            id=str(file["id"]),
            parent=str((file.get("parents") or [""])[0]),
            name=str(file["name"]),
            mime=str(file.get("mimeType", "")),
            size=int(file.get("size", 0)),
            mtime_ns=nanoseconds(str(file["modifiedTime"])) if "modifiedTime" in file else None,
            created=str(file.get("createdTime", "")),
            digests={
                ours: str(file[theirs]).lower()
                for ours, theirs in names.items()
                if len(str(file.get(theirs, ""))) == _HEX[ours]
            },
            trashed=bool(file.get("trashed", False)),
            properties={str(name): str(value) for name, value in (file.get("properties") or {}).items()},
        )
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise Transient(f"Google Drive: a reply could not be understood ({type(error).__name__}).") from None


def entry_of(item: Item, path: str) -> Entry:
    """The entry of what stands at ``path``."""
    if item.is_folder:
        return Entry(path, kind=Kind.FOLDER)
    if item.mime == SHORTCUT:
        return Entry(path, kind=Kind.SKIPPED, note="a shortcut to a file that is elsewhere")
    if item.mime.startswith(GOOGLE):
        kind = item.mime.removeprefix(GOOGLE)
        return Entry(path, kind=Kind.SKIPPED, note=f"a Google {kind}, which has no bytes to copy")
    return Entry(path, item.size, item.mtime_ns, item.digests, item.version)


def stored_of(item: Item, path: str) -> Stored:
    """What the service says it holds at ``path``."""
    return Stored(path, item.size, item.version, item.digests, item.mtime_ns)


def id_in(version: str | None) -> str:
    """The id that a version names ("" in none), so that its file need not be looked for."""
    return (version or "").rpartition(".")[0]


def checked(path: str) -> str:
    """``path`` if Drive can hold it.

    Raises:
        NameRefused: it leaves its root, or holds bytes that are not UTF-8.
    """
    if any("\ud800" <= char <= "\udfff" for char in check_relative(path)):
        raise NameRefused(
            f"refused the name {printable(path)!r}: Google Drive holds Unicode only. Rename it where it "
            "comes from."
        )
    return path


def split(path: str) -> tuple[str, str]:
    """Folder ("" is the root) and last component."""
    folder, _, name = path.rpartition("/")
    return folder, name


def shown(name: str) -> str:
    """The component of a path that stands for a name at Drive, where any text is a name.

    ``a/b`` is shown as ``a%2Fb``. `photosync.engine.names` never writes that escape, so whoever asks for it
    means the slash; and it copies such a file under a name that decodes to what is shown.
    """
    if name in ("", ".", ".."):
        return {"": "%00", ".": "%2E", "..": "%2E."}[name]
    return name.replace("/", "%2F").replace("\0", "%00") if "/" in name or "\0" in name else name


def plain(component: str) -> bool:
    """Whether only a name that is spelled like it can be shown so."""
    return not any(escape in component for escape in ("%2F", "%00", "%2E", _ALIAS))


_ALIAS = "~id-"


def alias(item: Item, digits: int = 8) -> str:
    """How a file is shown beside another of the same name: "IMG_1~id-3f9a2b7c.jpg".

    Args:
        digits: of a hash of the file's id.
    """
    stem, dot, extension = shown(item.name).rpartition(".")
    if not stem:
        stem, dot, extension = shown(item.name), "", ""
    mark = hashlib.sha256(item.id.encode()).hexdigest()[:digits]
    more = f"-{digits}" if digits > len(mark) else ""
    return f"{stem}{_ALIAS}{mark}{more}{dot}{extension}"


def named(items: Iterable[Item]) -> dict[str, Item]:
    """Children of one folder by the component that stands for each; no two share one."""
    found: dict[str, Item] = {}
    ordered = sorted(items, key=Item.order)
    later = [item for item in ordered if found.setdefault(shown(item.name), item) is not item]
    for item in later:
        digits = 8
        while found.setdefault(alias(item, digits), item) is not item:
            digits += 8
    return found


def nanoseconds(time: str) -> int:
    """Since the epoch, of an RFC 3339 time."""
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1) * 1000


def times(mtime_ns: int | None, created: bool = False) -> dict[str, str]:
    """Arguments that keep a modification time, in milliseconds; none for times beyond the year 9999.

    Args:
        created: as the time of creation too: for a photo that is when it was taken, as far as anybody knows.
    """
    if mtime_ns is None:
        return {}
    try:
        moment = _EPOCH + timedelta(milliseconds=mtime_ns // MILLISECOND)
    except OverflowError:
        return {}
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"modifiedTime": text} | ({"createdTime": text} if created else {})


def quoted(text: str) -> str:
    """A string of the query language. Source: "Search for files and folders", Drive API guides."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
