"""Reversible encoding of names that a destination can't hold, and names that would meet there.

A *logical* path is what the source calls a file; a *stored* path is what the destination calls it. They are
equal whenever that is possible. Where it is not, single characters become ``%XX`` of their UTF-8 bytes, so
that any person, and `decode`, can read the logical name back without any database:

=====================  =======================================================================================
``IMG:1.jpg``          ``IMG%3A1.jpg`` where ``:`` is forbidden
``CON.jpg``            ``%43ON.jpg`` where Windows' device names are reserved
``notes ``             ``notes%20`` where a trailing space would be cut off
``b"\\xff.jpg"``        ``%FF.jpg`` where names are UTF-8
``.photosync``         ``%2Ephotosync`` everywhere: that prefix is ours
``%41.jpg``            ``%2541.jpg`` everywhere, because it would be read back as ``A.jpg``
``img.jpg``            ``%69mg.jpg`` beside an ``IMG.JPG`` where case is folded
=====================  =======================================================================================

Only names too long for the destination can't be read back: they end in ``%~`` and a hash of the logical path
(`is_shortened`), and the manifest alone knows what they stand for.

Folders are named by the same rule as files: a folder ``a`` beside a folder ``A`` becomes ``%61`` where case
is folded. Letting both share one folder would look nicer, but then a bare listing shows one spelling for
both, the files ``A/x`` and ``a/x`` need telling apart all the same, and a restore without the manifest would
put files into a folder they never were in. Two folders lose nothing and need no second rule.
"""

import re
import unicodedata
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from blake3 import blake3

from photosync.engine.entry import join
from photosync.engine.errors import NameRefused

OURS = ".photosync"
"""Names that begin so, at any depth, are kept for photosync's own files: a source's are escaped."""

_CONTROL = frozenset(map(chr, (*range(32), 127)))


@dataclass(frozen=True, slots=True)
class NameRules:
    """What names a destination can hold.

    Attributes:
        forbidden: characters that may not occur. ``/`` and NUL need not be listed.
        reserved: Windows' device names (CON, COM1 …) can't be used.
        leading: characters that may not begin a component.
        trailing: characters that may not end a component.
        disallowed: components refused for what they are; matched from their first character, which is the
            one that gets escaped.
        fold_case: names that differ in case only are the same there.
        fold_unicode: names that differ in Unicode normal form only are the same there.
        max_component: longest component, in ``unit``.
        max_path: longest path below the root, in ``unit``.
        unit: "bytes" of UTF-8, or "utf16" code units.
        utf8_only: bytes that are not UTF-8 can't be stored.
        flat: there are no real folders, so a file ``a`` may stand beside a file ``a/b``.
        plain: names will not be read back by `decode`: only what the destination can't hold is escaped.
    """

    forbidden: frozenset[str] = frozenset()
    reserved: bool = False
    leading: str = ""
    trailing: str = ""
    disallowed: re.Pattern[str] | None = None
    fold_case: bool = False
    fold_unicode: bool = False
    max_component: int = 255
    max_path: int = 4096
    unit: Literal["bytes", "utf16"] = "bytes"
    utf8_only: bool = True
    flat: bool = False
    plain: bool = False


POSIX = NameRules(utf8_only=False, max_path=3840)
"""Linux and other Unix file systems: all but ``/`` and NUL. PATH_MAX is 4096 with the root's own path."""

WINDOWS = NameRules(
    forbidden=_CONTROL | frozenset('<>:"\\|?*'),
    reserved=True,
    trailing=". ",
    fold_case=True,
    max_path=32_000,
    unit="utf16",
)
"""NTFS, exFAT, FAT32 and shares of them. Source: "Naming Files, Paths, and Namespaces", Microsoft."""

S3 = NameRules(
    forbidden=_CONTROL | frozenset("\ufffe\uffff"),
    max_path=1024,
    flat=True,
)
"""Object stores. Keys are 1,024 bytes of UTF-8 ("Naming Amazon S3 objects", AWS); characters that XML 1.0
can't carry break listings, and MinIO among others keeps a component to 255 bytes."""

DROPBOX = NameRules(
    forbidden=_CONTROL | frozenset("\\"),
    trailing=". ",
    disallowed=re.compile(
        r"(?:desktop\.ini|thumbs\.db|\.ds_store|\.dropbox(?:\.attr|\.cache)?)\Z|~\$|\.~|~.*\.tmp\Z",
        re.IGNORECASE | re.DOTALL,
    ),
    fold_case=True,
    fold_unicode=True,
    unit="utf16",
)
"""Dropbox. Sources: its help pages "Naming Dropbox files and folders" (as of October 2025, when characters
beyond the Basic Multilingual Plane became allowed, counting twice) and "Files not syncing"."""

DRIVE = NameRules(max_component=1000, max_path=32_000, unit="utf16")
"""Google Drive, where a name is any text, ``/`` included: no character is forbidden, nothing is folded."""

ANY = NameRules(
    forbidden=_CONTROL,
    leading=" ",
    trailing=" ",
    fold_case=True,
    fold_unicode=True,
    max_path=3840,
)
"""For file systems nobody has described. They may fold names, which must then be kept apart, and protocols
made of text lines (FTP) lose control characters and outer spaces."""

_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|\Z)", re.IGNORECASE)
_BAD_PART = re.compile(r"(?:\A|/)\.{0,2}(?=/|\Z)|\0")
_ESCAPE = re.compile(rb"%(?!2[Ff]|00)([0-9A-Fa-f]{2})")
# A per cent sign that could be taken for the start of an escape, also after non-ASCII characters that fold to
# hex digits (U+FB00 folds to "ff") have been folded.
_PERCENT = r"%(?=[0-9A-Fa-f]{2}|[0-9A-Fa-f]?[^\x00-\x7f]|~)"
_PIECES = re.compile("%[0-9A-Fa-f]{2}|.", re.DOTALL)
_DIGITS = 20
_SHORTENED = re.compile(rf"%~[0-9a-f]{{{_DIGITS}}}(?:\.[0-9A-Za-z]{{1,8}})?(?=/|\Z)", re.IGNORECASE)
_TEMPORARY = re.compile(re.escape(OURS) + r"-[0-9a-f]+\.part\Z")
_EXTENSION = re.compile(r"(?<=.)\.[0-9A-Za-z]{1,8}\Z", re.DOTALL)
_MIN_ROOM = 2 + _DIGITS + 9
# Unicode's Default_Ignorable_Code_Point: HFS+ and the case-folding folders of ext4 and f2fs skip them.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def check_relative(path: str) -> str:
    """Returns ``path`` if it is a logical path that stays below its root.

    Args:
        path: POSIX path as `os.fsdecode` gives it, from a listing, a manifest or another untrusted place.

    Raises:
        NameRefused: it is empty or absolute, has an empty, ``.`` or ``..`` component, holds NUL, or holds
            surrogates that stand for no bytes.
    """
    if bad := _BAD_PART.search(path):
        if bad[0] == "\0":
            problem = "contains NUL"
        elif path.startswith("/"):
            problem = "is absolute"
        else:
            problem = f"has the component {bad[0].lstrip('/')!r}"
    elif path.isascii() or _canonical(path):
        return path
    else:
        problem = "is not valid Unicode"
    raise NameRefused(
        f"refused the name {printable(path)!r}: it {problem}. Rename it where it comes from, then run again."
    )


def all_plain(paths: str) -> bool:
    """Whether many paths, NUL between them, are ASCII alone and such as `check_relative` lets pass.

    A NUL in a path is for the caller to find: there are more paths then than there should be.
    """
    # Three searches for a few letters take a fifth of the time of one for a pattern.
    framed = f"/{paths}/".replace("\0", "/")
    return paths.isascii() and not any(bad in framed for bad in ("//", "/./", "/../"))


def _canonical(path: str) -> bool:
    try:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == path
    except UnicodeEncodeError:
        return False


def printable(path: str) -> str:
    """``path`` for logs and terminals: nothing in it moves the cursor, hides or reorders text.

    Control, format and line-separating characters and surrogates are shown as ``\\x1b``, ``\\u202e`` …
    The joiners that emoji and Indic scripts are built with stay.
    """
    return path if path.isprintable() else "".join(map(_printable, path))


def _printable(char: str) -> str:
    code = ord(char)
    if char in "\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return char
    if code in range(0xDC80, 0xDD00):
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def is_ours(path: str) -> bool:
    """Whether a component of the stored path begins with `OURS`, however it is spelled."""
    if path.isascii():
        lowered = path.lower()
        return OURS in lowered and (lowered.startswith(OURS) or f"/{OURS}" in lowered)
    return any(map(_begins_ours, path.split("/")))


def _begins_ours(name: str) -> bool:
    if name.isascii() and not name.startswith("."):
        return False
    return unicodedata.normalize("NFD", match_key(name, ANY)).startswith(OURS)


def is_ours_among_plain(path: str) -> bool:
    """As `is_ours` where names are `NameRules.plain`: the folder at the root, and files not complete yet."""
    return path.partition("/")[0] == OURS or _TEMPORARY.search(path) is not None


def is_shortened(stored: str) -> bool:
    """Whether a component was too long for the destination: `decode` can't tell its logical name."""
    return "%~" in stored and _SHORTENED.search(stored) is not None


def match_key(stored: str, rules: NameRules) -> str:
    """Equal for stored paths that are the same object at the destination.

    It is coarser than any one service (full case folding, so that ``ß`` meets ``SS``, and upper-casing, so
    that ``ı`` meets ``I``): a pair wrongly thought equal costs an escaped letter, a missed one costs a photo.
    """
    if stored.isascii():
        return stored.lower() if rules.fold_case else stored
    if rules.fold_unicode:
        stored = unicodedata.normalize("NFD", _IGNORABLE.sub("", stored))
    if rules.fold_case:
        stored = stored.upper().casefold()
    return unicodedata.normalize("NFC", stored) if rules.fold_unicode else stored


def encode(path: str, rules: NameRules) -> str:
    """The stored path of a logical path that meets no other. `decode` is its inverse.

    Raises:
        NameRefused: see `check_relative`.
    """
    return Names(rules).assign(path)


def shortened(stored: str, rules: NameRules, room: int) -> str:
    """A stored path cut to make room for more, as `encode` cuts what is too long; the deepest of its folders
    are left out if need be.

    Args:
        stored: any path at the destination, escapes and all.
        rules: the destination's.
        room: to be left in the name and in the path, in the rules' unit.
    """
    folder, _, name = stored.rpartition("/")
    while folder and rules.max_path - room - _length(folder, rules) - 1 < _MIN_ROOM:
        folder = folder.rpartition("/")[0]
    left = min(rules.max_component, rules.max_path - _length(join(folder, ""), rules)) - room
    if _length(name, rules) > left or join(folder, name) != stored:
        name = _shortened(_PIECES.findall(name), stored, name, rules, left)
    return join(folder, name)


def decode(stored: str) -> str:
    """The logical path of a stored path, also of one that somebody else wrote.

    It never leaves the root: escapes of ``/`` and NUL, which `encode` does not write, stay as they are, and
    so does a component that would become ``.`` or ``..``.
    """
    if "%" not in stored:
        return stored
    return "/".join(map(_decode, stored.split("/")))


def _decode(name: str) -> str:
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name
    plain = _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), raw)
    logical = plain.decode("utf-8", "surrogateescape")
    return name if logical in {".", ".."} else logical


class Names:
    """Gives every logical path a stored path of its own; remembers what is taken.

    The first to come gets its plain name. A later one that the destination would take for the same gets a
    form with more characters escaped, which still decodes to its own logical path. Feed paths in a fixed
    order (sorted) for results that don't depend on the listing's.

    Args:
        rules: the destination's.
        taken: `match_key` of a stored path → its logical path, for what is at the destination: the logical
            path from its manifest or the journal where they know, else `decode` of the stored one. Logical
            paths found here keep their stored paths.
        own_name: `match_key` of a stored path → that path if it is at the destination and is its own logical
            path, as most are: so that not all of them need be in ``taken``, but one of each folder.
    """

    def __init__(
        self,
        rules: NameRules,
        taken: Mapping[str, str] | None = None,
        own_name: Callable[[str], str | None] | None = None,
    ) -> None:
        self._rules = rules
        self._own_name = own_name
        self._always = _always(rules)
        # Folders are held and kept under their path with a slash at the end.
        self._holders: dict[str, str] = dict(taken or {})
        self._kept: dict[str, str] = {}
        self._folders: dict[str, str] = {"": ""}
        for place, logical in (taken or {}).items():
            self._keep(place, logical)

    def assign(self, path: str) -> str:
        """The stored path of ``path``; the same one whenever it is asked again.

        Raises:
            NameRefused: see `check_relative`; or every name that could stand for it is taken.
        """
        check_relative(path)
        parent, _, name = path.rpartition("/")
        folder, whole = self._folder(parent)
        return self._place(path, folder, name, shorten=not whole)

    def _keep(self, place: str, logical: str) -> None:
        # Two places may stand for one logical path if somebody else wrote one of them: prefer the plain one.
        if logical not in self._kept or place == match_key(logical, self._rules):
            self._kept[logical] = place
        depth = place.count("/")
        if depth != logical.count("/") and not is_shortened(place):
            return
        # A path too deep is stored under the first of its folders only.
        place, logical = place.rpartition("/")[0], "/".join(logical.split("/")[:depth])
        while place and logical and f"{logical}/" not in self._kept:
            folder = self._folder_key(place)
            self._kept[f"{logical}/"] = folder
            if self._own_name is None or self._own_name(folder) is None:
                self._holders.setdefault(folder, f"{logical}/")
            place, logical = place.rpartition("/")[0], logical.rpartition("/")[0]

    def _folder_key(self, key: str) -> str:
        return f"{key}/" if self._rules.flat else key

    def _folder(self, logical: str) -> tuple[str, bool]:
        """Stored path of a folder, and True; or of its deepest ancestor that fits, and False."""
        known = self._folders.get(logical)
        if known is not None:
            return known, True
        here = folder = ""
        for name in logical.split("/"):
            here = join(here, name)
            inner = self._folders.get(here)
            if inner is None:
                inner = self._place(f"{here}/", folder, name, shorten=False)
                if self._rules.max_path - _length(inner, self._rules) - 1 < _MIN_ROOM:
                    return folder, False
                self._folders[here] = inner
            folder = inner
        return folder, True

    def _place(self, identity: str, folder: str, name: str, shorten: bool) -> str:
        """Claims the kept, else the first free, stored path.

        Args:
            identity: logical path, of a folder with a slash at the end.
            folder: stored path of the folder it goes to.
            name: its last logical component.
            shorten: ``folder`` is not the logical one, so only a hash of the path can tell it from others.
        """
        is_folder = identity.endswith("/")
        room = self._rules.max_component
        if not is_folder:
            room = min(room, self._rules.max_path - _length(folder, self._rules) - 1)
        kept = self._kept.get(identity)
        if self._own_name is not None and not is_folder:
            place = match_key(identity, self._rules)
            if self._own_name(place) == identity and self._holders.get(place, identity) == identity:
                kept = place
        chosen = None
        needed = _needed(name, self._rules, self._always)
        for form in _forms(identity, name, needed, self._rules, room, shorten):
            stored = join(folder, form)
            key = match_key(stored, self._rules)
            if is_folder:
                key = self._folder_key(key)
            holder = self._holders.get(key)
            if holder is None and self._own_name is not None:
                holder = self._own_name(key)
            if holder is not None and holder != identity:
                continue
            if chosen is None or key == kept:
                chosen = key, stored
            if kept is None or key == kept:
                break
        if chosen is None:
            raise NameRefused(
                f"no free name for {printable(identity)!r} at the destination: every spelling of it is "
                "taken. Rename it at the source, then run again."
            )
        key, stored = chosen
        self._holders[key] = identity
        return stored


def _forms(
    identity: str, name: str, needed: set[int], rules: NameRules, room: int, shorten: bool
) -> Iterator[str]:
    """Stored forms of one component, from the plain one to the one with everything escaped, then shortened.

    What is ``needed`` is escaped in all of them.
    With everything escaped, two forms have the same match key only if they decode to the same name.
    """
    if not shorten:
        plain = "".join(_escaped(name, needed)) if needed else name
        if _length(plain, rules) <= room:
            yield plain
        # Where the service composes characters, what it would change goes first: the listing then decodes
        # to the very name.
        changed = [i for i, char in enumerate(name) if rules.fold_unicode and _composes(char)]
        order = sorted(
            range(len(name)),
            key=lambda i: (i not in changed, name[i].isascii() and not name[i].isalpha()),
        )
        count = max(1, len(changed))
        while count < 2 * len(order):
            form = "".join(_escaped(name, needed.union(order[:count])))
            if _length(form, rules) > room:
                break
            yield form
            count *= 2
    yield _shortened(_escaped(name, needed), identity, name, rules, room)


def _composes(char: str) -> bool:
    """Whether normal form C may change a character, or join it to the one before it."""
    return unicodedata.combining(char) > 0 or unicodedata.normalize("NFC", char) != char


def _shortened(pieces: list[str], identity: str, name: str, rules: NameRules, room: int) -> str:
    found = _EXTENSION.search(name)
    extension = found[0] if found else ""
    digest = blake3(identity.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    tail = f"%~{digest}{extension}"
    left = room - len(tail)
    head = []
    for piece in pieces[: len(pieces) - len(extension)]:
        left -= _length(piece, rules)
        if left < 0:
            break
        head.append(piece)
    return "".join(head) + tail


def _needed(name: str, rules: NameRules, always: re.Pattern[str]) -> set[int]:
    """Indexes of the characters that can't be stored as they are; ``always``: those that never can."""
    needed = {found.start() for found in always.finditer(name)} if always.search(name) else set()
    if (
        name[0] in rules.leading
        or (rules.reserved and _DEVICE.match(name))
        or (rules.disallowed is not None and rules.disallowed.match(name))
        or (name == OURS if rules.plain else _begins_ours(name))
    ):
        needed.add(0)
    if name[-1] in rules.trailing:
        needed.add(len(name) - 1)
    return needed


def _escaped(name: str, which: Container[int]) -> list[str]:
    """Each character as it is stored: those at the indexes in ``which`` as escapes."""
    return [_percent(char) if index in which else char for index, char in enumerate(name)]


@lru_cache(maxsize=64)
def _always(rules: NameRules) -> re.Pattern[str]:
    surrogates = "\udc80-\udcff" if rules.utf8_only else ""
    chars = "".join(map(re.escape, sorted(rules.forbidden))) + surrogates
    if rules.plain:
        return re.compile(f"[{chars}]" if chars else r"(?!)")
    return re.compile(f"[{chars}]|{_PERCENT}" if chars else _PERCENT)


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def _length(text: str, rules: NameRules) -> int:
    if text.isascii():
        return len(text)
    if rules.unit == "bytes":
        return len(text.encode("utf-8", "surrogateescape"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
