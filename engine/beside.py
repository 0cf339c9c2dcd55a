"""Names under which files are kept when another has theirs: the content id shows in them."""

import re

from photosync.engine.names import NameRules, encode, shortened

DIGITS, MORE_DIGITS = 8, 16
"""Of the content id, in a name; and where the name with fewer is taken by other bytes."""
_SHOWS_CONTENT = re.compile(rf"~([0-9a-f]{{{DIGITS}}}(?:[0-9a-f]{{{MORE_DIGITS - DIGITS}}})?)\Z")
_SHOWS_ID = re.compile(r"~id-[0-9a-f]{8}[0-9a-f-]*\Z")
_SHOWS_STAMP = re.compile(r"~\d{8}T\d{6}Z\Z")


def _split(path: str) -> tuple[str, str, str]:
    """What comes before the stem, the stem, and the extension with its dot."""
    folder, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    return (folder + slash, stem, dot + extension) if stem else (folder + slash, name, "")


def beside(path: str, content: str, rules: NameRules, digits: int = DIGITS) -> str:
    """The name under which a file is kept when another has its own.

    "a/IMG_1.jpg" with content 3f9a2b7c… becomes "a/IMG_1~3f9a2b7c.jpg".

    Args:
        path: destination path that is taken.
        content: content id of the file to be kept beside it, or of the one that its photo is known by.
        rules: the destination's names; a name too long for them is shortened.
        digits: of the content id.
    """
    folder, stem, extension = _split(path)
    made = f"{folder}{_SHOWS_CONTENT.sub('', stem)}~{content[:digits]}{extension}"
    fits = len(f"{stem}{extension}".encode("utf-8", "surrogateescape")) + 1 + digits <= rules.max_component
    return made if fits else encode(made, rules)


def waiting(path: str, stamp: str, rules: NameRules) -> str:
    """The name under which an object that was replaced waits for the end of the run.

    "a/IMG_1.jpg" becomes "a/IMG_1~20261125T081500Z.jpg".

    Args:
        path: where it was.
        stamp: of the run.
        rules: as for `beside`.
    """
    folder, stem, extension = _split(shortened(path, rules, 1 + len(stamp)))
    return f"{folder}{stem}~{stamp}{extension}"


def waited(stored: str) -> str | None:
    """Where an object was that has such a name as `waiting` gives, as far as that shows; None if it has
    another."""
    if "~" not in stored:
        return None
    folder, stem, extension = _split(stored)
    plain = _SHOWS_STAMP.sub("", stem)
    return None if plain == stem else f"{folder}{plain}{extension}"


def marker(source: str, stored: str) -> str | None:
    """What `beside` put into the name of a file that is stored, or None if it has its own name."""
    shown = _SHOWS_CONTENT.search(_split(stored)[1])
    own = _SHOWS_CONTENT.search(_split(source)[1])
    return shown[1] if shown is not None and (own is None or own[1] != shown[1]) else None


def unmarked(stored: str) -> str | None:
    """The name beside which a file of this name may be kept, or None if it shows no content id."""
    folder, stem, extension = _split(stored)
    plain = _SHOWS_CONTENT.sub("", stem)
    return None if plain == stem else f"{folder}{plain}{extension}"


def unshared(stored: str) -> str | None:
    """The path that an object would have if it, or a folder that it is in, did not share its name with
    another one, see `photosync.engine.capabilities.SharesNames`; None if all of them have their own."""
    if "~id-" not in stored:
        return None
    plain = "/".join(map(_unshared, stored.split("/")))
    return None if plain == stored else plain


def _unshared(name: str) -> str:
    _, stem, extension = _split(name)
    return f"{_SHOWS_ID.sub('', stem)}{extension}"
