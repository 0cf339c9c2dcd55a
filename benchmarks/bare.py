"""The work alone: ``python bare.py disk|unread|clone|s3 SOURCE TARGET [THREADS]``.

Does to every byte what photosync promises of it, on all processors at once, and nothing else: no plan,
journal, manifest, names, retries, progress, no looking at what is there. It is no program that anybody should
use, but a bound: what keeps these promises on this machine takes at least about as long, in whatever
language, since nearly all of the time is the kernel's and that of digests written in C, Rust and assembly.

* ``disk``: read once, BLAKE3, SHA-256 and XXH3; written under another name, synced, renamed; folders synced;
  dropped from the page cache and read back from the disk for BLAKE3.
* ``unread``: the same, not read back.
* ``clone``: blocks shared with the source, synced, renamed; the clone read once for the digests.
* ``s3``: read once, BLAKE3, SHA-256 and XXH3; one PUT, or parts of 8 MiB, that only creates, with a SHA-256
  that the service checks (obstore).
"""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from multiprocessing import Process
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from blake3 import blake3
from xxhash import xxh3_128

Copy: TypeAlias = Callable[[str], None]
BLOCK = 1 << 20
PART = 8 << 20
TOGETHER = 64
"""Files whose folder is synced once, as photosync does."""
FICLONE = 0x40049409
"""ioctl_ficlone(2)."""


def _digested(path: str) -> Iterator[bytes]:
    digests = blake3(), sha256(), xxh3_128()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            for digest in digests:
                digest.update(block)
            yield block
    for digest in digests:
        digest.hexdigest()


def _read_back(path: str) -> None:
    again = blake3()
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(BLOCK):
            again.update(block)
    again.hexdigest()


def _to_disk(source: str, target: str, path: str, clone: bool) -> None:
    to = os.path.join(target, path)
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(f"{to}.part", "xb", buffering=0) as file:
        if clone:
            with open(os.path.join(source, path), "rb") as whole:
                fcntl.ioctl(file.fileno(), FICLONE, whole.fileno())
        else:
            for block in _digested(os.path.join(source, path)):
                file.write(block)
        os.fsync(file.fileno())
    os.rename(f"{to}.part", to)


def _disk(way: str, source: str, target: str, paths: Sequence[str]) -> None:
    for start in range(0, len(paths), TOGETHER):
        some = paths[start : start + TOGETHER]
        for path in some:
            _to_disk(source, target, path, way == "clone")
        for folder in {os.path.dirname(path) for path in some}:
            fd = os.open(os.path.join(target, folder), os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(fd)
            os.close(fd)
        for path in some:
            if way == "disk":
                _read_back(os.path.join(target, path))
            elif way == "clone":
                for _ in _digested(os.path.join(target, path)):
                    pass


def _s3(source: str, target: str, paths: Sequence[str], threads: int) -> None:
    import obstore
    from obstore.store import S3Store

    url = urlsplit(target)
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    store = S3Store(
        url.netloc,
        prefix=url.path.strip("/"),
        endpoint=endpoint,
        virtual_hosted_style_request=False,
        checksum_algorithm="SHA256",
        client_options={"allow_http": True},
    )

    def put(path: str) -> None:
        whole = os.path.join(source, path)
        if os.path.getsize(whole) > PART:
            obstore.put(store, path, _digested(whole), chunk_size=PART, max_concurrency=4)
        else:
            obstore.put(store, path, b"".join(_digested(whole)), mode="create", use_multipart=False)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(put, paths):
            pass


def main(way: str, source: str, target: str, threads: str = "4") -> None:
    paths = sorted(path.relative_to(source).as_posix() for path in Path(source).rglob("*") if path.is_file())
    count = os.cpu_count() or 1

    def share(number: int) -> None:
        own = paths[number::count]
        if way == "s3":
            _s3(source, target, own, int(threads))
        else:
            _disk(way, source, target, own)

    processes = [Process(target=share, args=(number,)) for number in range(min(count, len(paths)))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit("a process failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
