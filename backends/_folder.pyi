Listing = tuple[bytes, bytes, bytes, bytes, bytes, bytes, list[tuple[bytes, int]]]
"""The regular files, as in `photosync.engine.entry.PackedFiles` but in any encoding, the numbers as bytes of
an ``array("q")``; names and modes of whatever else there is, in the order of their bytes."""

def listing(fd: int, inside: bytes, change_times: bool, /) -> Listing | None:
    """What is in a folder, links not followed; what vanishes meanwhile is left out.

    Args:
        fd: descriptor of the folder, at its start; it stays open, and is at the start again afterwards.
        inside: what comes before each name to make a path.
        change_times: whether a file's version is its change time; else the modification time.

    Returns:
        None if columns can't hold it: a size below 0, a time that 64 bits don't hold, a name that is no
        component or is told twice.

    Raises:
        OSError: as `os.scandir` and `os.DirEntry.stat` do.
    """
