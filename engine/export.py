"""A manifest in forms that other programs read."""

from collections.abc import Callable, Iterable, Iterator

from photosync.engine.nodes import ManifestEntry, encode_entry

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def sha256sums(
    entries: Iterable[ManifestEntry], name_at_destination: Callable[[ManifestEntry], str]
) -> Iterator[str]:
    """The lines of a file for ``sha256sum -c``, run in the destination's root, each with its end.

    A name with a backslash, line feed or carriage return is escaped, and its line begins with a backslash,
    as GNU coreutils write it. Write the lines with ``errors="surrogateescape"``.

    Args:
        name_at_destination: the path at which an entry lies there.
    """
    for entry in entries:
        name = name_at_destination(entry)
        escaped = name.translate(_ESCAPES)
        yield f"{'' if escaped == name else chr(92)}{entry.sha256}  {escaped}\n"


def json_lines(entries: Iterable[ManifestEntry]) -> Iterator[str]:
    """The entries as they stand in the manifest's nodes, a JSON object a line, each with its end."""
    for entry in entries:
        yield encode_entry(entry).decode() + "\n"
