"""What the manifest's tree is made of: entries, nodes, their canonical bytes and their names.

A node is a header line and one JSON line an item, items sorted by key. The key of an entry is its path as
bytes; the key of a child is the first key below it. A node's name is the BLAKE3-256 of its bytes, so a name
proves what it names, down to the last entry. docs/manifest-format.md is the contract; this file is strict
about it: bytes that decode but are not the canonical bytes of what they decode to are refused, because two
spellings of one set of files would give two roots.

Where a node ends is decided by keys alone (`height`), never by values, positions or history: the tree is the
history-independent "Merkle search tree" of Auvolat and Taïani (SRDS 2019), with the boundaries of Noms'
prolly trees, where the boundary key *begins* the node on its right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, cast

import msgspec
from blake3 import blake3

from photosync.engine.errors import Corrupt
from photosync.engine.hashing import CHUNK

FORMAT = 1
"""Version of nodes, snapshot records and HEAD."""

MAX_NODE = 128 << 20
"""Bytes of the largest node that is written or accepted: a bound on memory, far above real nodes."""

MAX_LEVEL = 32
"""A BLAKE3-256 digest has no more leading zero bytes than this."""

_INT64 = 1 << 63
_HEX = b"0123456789abcdef"


class ManifestError(Corrupt):
    """A manifest does not prove what it should; what it describes counts as unverified."""

    remedy = (
        "The copies are as they were, but this manifest proves nothing: "
        "`photosync manifest rebuild DESTINATION` keeps it aside and starts a new one."
    )

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}. {self.remedy}")


class Damaged(ManifestError):
    """Truncated, altered, undecodable or not there."""


class MissingNode(Damaged):
    """A node that the tree refers to is not in the store."""


class Inconsistent(ManifestError):
    """Every hash fits, yet the claims contradict each other: forged, or written by a faulty program."""


class UnsafePath(Inconsistent):
    """A path that would leave its root, or that no two programs would read alike."""


class NewerFormat(ManifestError):
    """Written by a newer photosync: not to be read on a guess, and never to be written over."""

    remedy = "Update photosync; until then this destination is left as it is."


class ManifestEntry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One file, as one read of its bytes showed it.

    A struct rather than a dataclass: a million of them are made, encoded and decoded in about a second each.

    Attributes:
        path: relative POSIX path on the source; undecodable bytes are surrogate-escaped.
        size: bytes.
        mtime_ns: modification time, nanoseconds since the epoch, may be negative.
        content: BLAKE3-256 of the whole, lowercase hex: the content id.
        sha256: SHA-256 of the whole, lowercase hex.
        chunks: XXH3-128 of each 4 MiB chunk, lowercase hex; none for an empty file.
        stored: path at the destination where it cannot be derived from ``path``, else None.
    """

    path: str
    size: int
    mtime_ns: int
    content: str
    sha256: str
    chunks: tuple[str, ...]
    stored: str | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """What a parent says about a node.

    Attributes:
        level: of the node itself; 0 holds entries.
        first: smallest key below it.
        last: largest key below it.
        name: BLAKE3-256 of its bytes, hex.
        entries: number of entries below it.
        size: bytes of all files below it.
    """

    level: int
    first: bytes
    last: bytes
    name: str
    entries: int
    size: int


Item = ManifestEntry | Child


@dataclass(frozen=True, slots=True)
class Node:
    """A decoded node: ``entries`` at level 0, ``children`` above; ``keys`` are those of its items."""

    level: int
    keys: Sequence[bytes]
    entries: Sequence[ManifestEntry] = ()
    children: Sequence[Child] = ()

    @classmethod
    def of(cls, level: int, keys: Sequence[bytes], items: Sequence[Item]) -> "Node":
        if level == 0:
            return cls(level, keys, entries=cast("Sequence[ManifestEntry]", items))
        return cls(level, keys, children=cast("Sequence[Child]", items))

    @property
    def items(self) -> Sequence[Item]:
        return self.children or self.entries

    def described(self, name: str) -> Child:
        """What its parent has to say about it."""
        if not self.keys:
            return Child(self.level, b"", b"", name, 0, 0)
        if self.level == 0:
            size = sum([entry.size for entry in self.entries])
            return Child(0, self.keys[0], self.keys[-1], name, len(self.entries), size)
        entries = sum([child.entries for child in self.children])
        size = sum([child.size for child in self.children])
        return Child(self.level, self.keys[0], self.children[-1].last, name, entries, size)


class NodeStore(Protocol):
    """Where nodes are kept, by name."""

    def get(self, name: str, /) -> bytes:
        """The bytes put under that name.

        Raises:
            KeyError: there are none.
        """

    def put(self, name: str, data: bytes, /) -> None:
        """Keep bytes under their BLAKE3 name; putting them again changes nothing."""


class MemoryNodes:
    """A `NodeStore` in memory."""

    def __init__(self) -> None:
        self._nodes: dict[str, bytes] = {}

    def get(self, name: str, /) -> bytes:
        return self._nodes[name]

    def put(self, name: str, data: bytes, /) -> None:
        self._nodes[name] = data


def name_of(data: bytes) -> str:
    """BLAKE3-256, lowercase hex."""
    return blake3(data).hexdigest()


def path_key(path: str) -> bytes:
    """The bytes by which a path is sorted and hashed: what the file system gave.

    Raises:
        UnsafePath: lone surrogates that stand for no bytes.
    """
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UnsafePath(f"the path {path!r} stands for no sequence of bytes") from None


def height(key: bytes) -> int:
    """Number of leading zero bytes of BLAKE3-256(key): a node of a level below it ends before that key.

    One key in 256 has a height of 1 or more, one in 65,536 of 2 or more, and so on.
    """
    digest = blake3(key).digest()
    return 0 if digest[0] else len(digest) - len(digest.lstrip(b"\0"))


# the lines


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    count: int
    format: int
    level: int


class _AnyFormat(msgspec.Struct):
    format: int


class _HexEntry(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An entry of which a path is not valid UTF-8: its bytes stand in hex under another key."""

    size: int
    mtime_ns: int
    content: str
    sha256: str
    chunks: tuple[str, ...]
    path: str | None = None
    path_hex: str | None = None
    stored: str | None = None
    stored_hex: str | None = None


class _ChildLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    bytes: int
    count: int
    name: str
    first: str | None = None
    first_hex: str | None = None
    last: str | None = None
    last_hex: str | None = None


_ENCODER = msgspec.json.Encoder(order="sorted")
_ENTRIES = msgspec.json.Decoder(ManifestEntry)
_HEX_ENTRY = msgspec.json.Decoder(_HexEntry)
_CHILDREN = msgspec.json.Decoder(_ChildLine)
_HEADER = msgspec.json.Decoder(_Header)
_ANY_FORMAT = msgspec.json.Decoder(_AnyFormat)
UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding foreign JSON may raise."""


def refuse_newer(data: bytes, what: str) -> None:
    """Raise `NewerFormat` if a JSON object says that it is one, before anything else is asked of it."""
    try:
        version = _ANY_FORMAT.decode(data).format
    except UNDECODABLE:
        return
    if version > FORMAT:
        raise NewerFormat(f"{what} has format {version}, this photosync knows {FORMAT}")


def _text_or_hex(key: bytes) -> tuple[str | None, str | None]:
    try:
        return key.decode(), None
    except UnicodeDecodeError:
        return None, key.hex()


def _key_from(text: str | None, digits: str | None) -> bytes:
    if (text is None) == (digits is None):
        raise ValueError("a path must be given once, as text or as hex")
    return bytes.fromhex(digits) if text is None and digits is not None else (text or "").encode()


def encode_entry(entry: ManifestEntry) -> bytes:
    """The canonical line of an entry, without the line's end.

    Raises:
        UnsafePath: a path is spelled with escapes for bytes that are valid UTF-8.
    """
    try:
        return _ENCODER.encode(entry)
    except UnicodeEncodeError:
        path = _text_or_hex(path_key(entry.path))
        stored = (None, None) if entry.stored is None else _text_or_hex(path_key(entry.stored))
        for given, (text, _) in ((entry.path, path), (entry.stored, stored)):
            if text is not None and text != given:
                raise UnsafePath(f"the path {given!r} escapes bytes that are valid UTF-8") from None
        line = _HexEntry(
            entry.size, entry.mtime_ns, entry.content, entry.sha256, entry.chunks, *path, *stored
        )
        return _ENCODER.encode(line)


def _decode_entry(line: bytes) -> ManifestEntry:
    wire = _HEX_ENTRY.decode(line)
    path = _key_from(wire.path, wire.path_hex).decode("utf-8", "surrogateescape")
    stored = None
    if wire.stored is not None or wire.stored_hex is not None:
        stored = _key_from(wire.stored, wire.stored_hex).decode("utf-8", "surrogateescape")
    return ManifestEntry(path, wire.size, wire.mtime_ns, wire.content, wire.sha256, wire.chunks, stored)


def _child_line(child: Child) -> _ChildLine:
    return _ChildLine(
        child.size, child.entries, child.name, *_text_or_hex(child.first), *_text_or_hex(child.last)
    )


def _decode_child(line: _ChildLine, level: int) -> Child:
    first, last = _key_from(line.first, line.first_hex), _key_from(line.last, line.last_hex)
    return Child(level, first, last, line.name, line.count, line.bytes)


# whole nodes


def header_line(level: int, count: int) -> bytes:
    """The canonical first line of a node with so many items."""
    return _ENCODER.encode(_Header(count, FORMAT, level)) + b"\n"


def encode(node: Node) -> bytes:
    """The canonical bytes of a node.

    Raises:
        Inconsistent: its entries are not what entries must be (`UnsafePath` if it is a path).
    """
    header = header_line(node.level, len(node.keys))
    if node.level:
        body = _ENCODER.encode_lines([_child_line(child) for child in node.children])
    else:
        _require_sound_entries(node.entries)
        try:
            body = _ENCODER.encode_lines(node.entries)
        except UnicodeEncodeError:
            body = b"".join([encode_entry(entry) + b"\n" for entry in node.entries])
    if len(header) + len(body) > MAX_NODE:
        raise Inconsistent(f"the node that begins with {node.keys[0]!r} is larger than {MAX_NODE} bytes")
    return header + body


def decode(data: bytes) -> Node:
    """A node from its bytes, with every rule checked that needs no other node.

    Raises:
        NewerFormat: its header names a format after `FORMAT`.
        Damaged: no node.
        Inconsistent: a node whose claims contradict the format (`UnsafePath` if it is a path).
    """
    head, _, body = data.partition(b"\n")
    refuse_newer(head, "a manifest node")
    try:
        header = _HEADER.decode(head)
        if header.format != FORMAT or not 0 <= header.level <= MAX_LEVEL:
            raise ValueError(f"format {header.format}, level {header.level}")
        node = _decode_entries(body) if header.level == 0 else _decode_children(body, header.level)
    except UNDECODABLE as error:
        raise Damaged(f"a manifest node cannot be decoded: {error}") from error
    _require_sound_keys(node)
    if node.level:
        _require_sound_children(node.children)
    if encode(node) != data:
        raise Inconsistent("a manifest node is not written in canonical form")
    return node


def _decode_entries(body: bytes) -> Node:
    try:
        entries = _ENTRIES.decode_lines(body)
    except msgspec.ValidationError:
        entries = [_decode_entry(line) for line in body.splitlines()]
    return Node(0, [path_key(entry.path) for entry in entries], entries=entries)


def _decode_children(body: bytes, level: int) -> Node:
    children = [_decode_child(line, level - 1) for line in _CHILDREN.decode_lines(body)]
    return Node(level, [child.first for child in children], children=children)


def _require_sound_keys(node: Node) -> None:
    keys = node.keys
    for before, key in pairwise(keys):
        if before >= key:
            raise Inconsistent(f"a manifest node has {key!r} after {before!r}")
        if height(key) != node.level:
            raise Inconsistent(f"a manifest node of level {node.level} is not cut where {key!r} says")


def _require_sound_children(children: Sequence[Child]) -> None:
    if not children:
        raise Inconsistent("a manifest node above the leaves has no children")
    ends = [child.first for child in children[1:]]
    for child, end in zip(children, [*ends, None], strict=True):
        inside = child.first <= child.last and (end is None or child.last < end)
        counted = child.entries >= 1 and (child.entries == 1) == (child.first == child.last)
        if not inside or not counted or child.size < 0:
            raise Inconsistent(f"a manifest node contradicts itself about its child at {child.first!r}")
        if len(child.name) != 64 or not _is_hex(child.name):
            raise Inconsistent(f"a manifest node gives {child.name!r} as the name of a node")


def _is_hex(digits: str) -> bool:
    return not digits.encode("ascii", "replace").translate(None, _HEX)


def _unsafe(paths: Sequence[str]) -> bool:
    # one search over all of them: a search each would cost more than encoding them
    joined = f"/{'/'.join(paths)}/"
    return "//" in joined or "\0" in joined or "/./" in joined or "/../" in joined


def _require_sound_entries(entries: Sequence[ManifestEntry]) -> None:
    paths = [entry.path for entry in entries]
    paths += [entry.stored for entry in entries if entry.stored is not None]
    if paths and _unsafe(paths):
        wrong = next(path for path in paths if _unsafe([path]))
        raise UnsafePath(f"the path {wrong!r} is absolute, has an empty, '.' or '..' component, or a NUL")
    for entry in entries:
        if (
            not 0 <= entry.size < _INT64
            or not -_INT64 <= entry.mtime_ns < _INT64
            or len(entry.chunks) != -(-entry.size // CHUNK)
        ):
            raise Inconsistent(f"size, time or number of chunks of {entry.path!r} cannot be right")
    digests = [entry.content for entry in entries] + [entry.sha256 for entry in entries]
    chunks = [chunk for entry in entries for chunk in entry.chunks]
    lengths_fit = set(map(len, digests)) <= {64} and set(map(len, chunks)) <= {32}
    if not lengths_fit or not _is_hex("".join(digests)) or not _is_hex("".join(chunks)):
        where = f"between {paths[0]!r} and {entries[-1].path!r}"
        raise Inconsistent(f"a digest {where} is not lowercase hex of its length")


# reading from a store


def fetch(nodes: NodeStore, name: str) -> bytes:
    """A node's bytes, proven to be those that the name stands for.

    Raises:
        MissingNode: the store lacks it.
        Damaged: the store holds other bytes under that name.
    """
    try:
        data = nodes.get(name)
    except KeyError:
        raise MissingNode(f"manifest node {name} is missing") from None
    if name_of(data) != name:
        raise Damaged(f"manifest node {name} does not have the bytes that its name stands for")
    return data


def fetch_child(nodes: NodeStore, child: Child) -> Node:
    """The node that a parent describes, proven to be as described.

    Raises:
        ManifestError: see `fetch`, `decode`; Inconsistent if parent and child disagree.
    """
    return accept_child(fetch(nodes, child.name), child)


def accept_child(data: bytes, child: Child) -> Node:
    """Decode bytes that bear the child's name, and compare with what the parent says."""
    node = decode(data)
    if node.described(child.name) != child:
        raise Inconsistent(f"manifest node {child.name} is not what its parent says it is")
    return node


def fetch_root(nodes: NodeStore, root: str) -> Node:
    """The top node of a tree.

    Raises:
        ManifestError: see `fetch`, `decode`; Inconsistent if it cannot be a top node.
    """
    return accept_root(fetch(nodes, root), root)


def accept_root(data: bytes, root: str) -> Node:
    """Decode bytes that bear the root's name; the tree may not be taller than it needs to be."""
    node = decode(data)
    if node.level and len(node.children) < 2:
        raise Inconsistent(f"manifest root {root} is a level too high")
    return node
