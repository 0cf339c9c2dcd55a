"""A pack: snapshot records and nodes as concatenated zstd frames of JSON lines.

The first frame holds snapshot records, a line each; every further frame is one node. ``zstdcat`` shows all
of it, and a frame can be read alone. Frames declare their content size, so a reader knows what it will
allocate before it decompresses anything.
"""

from collections.abc import Iterable, Iterator

from photosync.engine.nodes import MAX_NODE, Damaged

_LEVEL = 1  # digests don't compress and paths compress at any level: higher levels cost time only


def pack(frames: Iterable[bytes]) -> bytes:
    """The frames, each compressed with its size and a checksum, one after another."""
    # Here and below, because a run that finds everything there opens no pack.
    import zstandard

    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
    return b"".join([compressor.compress(frame) for frame in frames])


def unpack(data: bytes, what: str) -> Iterator[bytes]:
    """The content of each frame in turn.

    Args:
        what: what is unpacked, for messages.

    Raises:
        Damaged: not a sequence of whole frames, or a frame that would not fit into `MAX_NODE`.
    """
    import zstandard

    decompressor = zstandard.ZstdDecompressor()
    start = 0
    while start < len(data):
        try:
            end = _frame_end(data, start)
            frame = decompressor.decompress(memoryview(data)[start:end], allow_extra_data=False)
        except (zstandard.ZstdError, ValueError, IndexError) as error:
            raise Damaged(f"{what} cannot be decompressed at byte {start}: {error}") from error
        yield frame
        start = end


def _frame_end(data: bytes, start: int) -> int:
    """Where the frame that begins at ``start`` ends, by walking its block headers (RFC 8878, 3.1.1)."""
    import zstandard

    head = data[start : start + 18]
    parameters = zstandard.get_frame_parameters(head)
    # an absent size is reported as a number far above the bound
    if parameters.content_size > MAX_NODE or parameters.dict_id:
        raise ValueError(f"a frame of {parameters.content_size} bytes, dictionary {parameters.dict_id}")
    at = start + zstandard.frame_header_size(head)
    last = False
    while not last:
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else size)  # an RLE block stores one byte, whatever its size
        if at > len(data):
            raise ValueError("it ends within a frame")
    at += 4 if parameters.has_checksum else 0
    if at > len(data):
        raise ValueError("it ends within a frame")
    return at
