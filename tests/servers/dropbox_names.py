"""The Dropbox emulator's rules for names.

Names compare without case and in Unicode form C, as the service keeps them: `path_lower` is form C with each
character lowered on its own, and lookups don't normalise what the client sends (described by the authors of
the Maestral client in samschott/maestral#409 and #678). What is malformed or disallowed: Dropbox's help page
on files that don't sync, and answers of its API team in dropbox/dropbox-sdk-java#229.
"""

import re

MAX_NAME = 255
"""Characters in one component of a path."""

_IGNORED = re.compile(
    r"(desktop\.ini|thumbs\.db|\.ds_store|icon\r|\.dropbox|\.dropbox\.attr)|(~\$|\.~).*", re.DOTALL
)


def lowered(path: str) -> str:
    """The key under which the service looks `path` up."""
    if path.isascii():
        return path.lower()
    return "".join(low if len(low := char.lower()) == 1 else char for char in path)


def split(path: str) -> tuple[str, str]:
    """(parent, name) of a path; the root is the empty string."""
    parent, _, name = path.rpartition("/")
    return parent, name


def is_malformed(path: str) -> bool:
    """Whether a path can't be anybody's."""
    return not path.startswith("/") or any(
        part in ("", ".", "..")
        or len(part) > MAX_NAME
        or part.endswith(" ")
        or any(char in "\\\0\x7f" for char in part)
        for part in path.split("/")[1:]
    )


def is_disallowed(path: str) -> bool:
    """Whether the service won't save something under this path because of a name in it."""
    return any(_IGNORED.fullmatch(part) for part in lowered(path).split("/"))
