def whole(root: bytes, path: bytes, most: int, /) -> tuple[int, bytes, int, int, int, int] | None:
    """A regular file below a root, no link below which is followed.

    Args:
        path: checked already.
        most: bytes that it may have.

    Returns:
        The root's device, the contents, and the modification and change time that it had before and after, in
        seconds and the nanoseconds beyond them. None if there is any trouble, or it is no such file.
    """
