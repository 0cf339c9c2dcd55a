"""What local disks can do beyond Python's `os`: renaming without replacing, and knowing one's file system."""

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable
from functools import cache

from photosync.engine.capabilities import Buffer
from photosync.engine.entry import NO_DIGESTS, Entry, Kind

NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE = 1
_UNABLE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}
_COPY_BLOCK = 8 << 20


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """The C library's wrapper (Linux; glibc 2.28), or None."""
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    call.restype = ctypes.c_int
    return call  # type: ignore[no-any-return]


def rename_exclusive(folder: int, name: str, to_folder: int, to_name: str) -> bool:
    """Renames in one step if nothing has the new name.

    ``RENAME_NOREPLACE`` comes first because FAT and exFAT know it but no hard links; a hard link second,
    because NFS knows links but no rename flags.

    Args:
        folder, to_folder: descriptors of open folders.
        name, to_name: one component each.

    Returns:
        False if the file system can do neither; nothing was changed.

    Raises:
        FileExistsError: something has the new name.
        OSError: as for `os.rename`.
    """
    rename = _renameat2()
    if rename is not None:
        if rename(folder, os.fsencode(name), to_folder, os.fsencode(to_name), _RENAME_NOREPLACE) == 0:
            return True
        code = ctypes.get_errno()
        if code not in _UNABLE:
            raise OSError(code, os.strerror(code), name, None, to_name)
    try:
        os.link(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder, follow_symlinks=False)
    except OSError as error:
        # Linux's vfat answers EPERM for hard links, FUSE without a link call ENOSYS.
        if error.errno in _UNABLE or error.errno == errno.EPERM:
            return False
        raise
    os.unlink(name, dir_fd=folder)
    return True


@cache
def _syncfs() -> Callable[[int], int] | None:
    """The C library's wrapper (Linux; glibc 2.14), or None."""
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return None
    call.argtypes = (ctypes.c_int,)
    call.restype = ctypes.c_int
    return call  # type: ignore[no-any-return]


def sync_filesystem(fd: int) -> None:
    """Waits until everything on the file system of an open file is on its medium, whoever wrote it."""
    sync = _syncfs()
    if sync is None:
        os.sync()
    elif sync(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def write_all(fd: int, data: Buffer, offset: int) -> None:
    """Writes all of ``data`` at an offset; the kernel may take it in several pieces."""
    left = memoryview(data)
    while left:
        done = os.pwrite(fd, left, offset)
        offset += done
        left = left[done:]


def copy_all(source: int, target: int) -> None:
    """Copies a whole file between descriptors, inside the kernel where it can.

    ``copy_file_range`` shares the blocks instead where the file system can (Btrfs, XFS).
    """
    offset = 0
    try:
        while done := os.copy_file_range(source, target, _COPY_BLOCK, offset, offset):
            offset += done
    except (OSError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno not in _UNABLE | {errno.EXDEV, errno.EPERM}:
            raise
    # Some FUSE file systems answer 0 at once: reading decides what the end is.
    while data := os.pread(source, _COPY_BLOCK, offset):
        write_all(target, data, offset)
        offset += len(data)


def drop_cache(fd: int) -> None:
    """Starts writing dirty pages out, and forgets the clean ones, so that the next read asks the medium.

    Linux's ``POSIX_FADV_DONTNEED`` does both (mm/fadvise.c). Systems without it keep their cache.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def keep_mtime(fd: int, mtime_ns: int) -> bool:
    """Sets a modification time; False where the file system keeps none (gvfs, some FUSE) or not this one."""
    try:
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    except OverflowError:
        return False
    except OSError as error:
        if error.errno in _UNABLE or error.errno == errno.EPERM:
            return False
        raise
    return True


def entry_of(path: str, found: os.stat_result, change_times: bool = True) -> Entry:
    """What a ``stat`` that follows no link says.

    The version is the inode's change time: any program can set the modification time back, none the change
    time.

    Args:
        change_times: whether there are any; else the version is the modification time.
    """
    if stat.S_ISREG(found.st_mode):
        changed = found.st_ctime_ns if change_times else found.st_mtime_ns
        return Entry(path, found.st_size, found.st_mtime_ns, NO_DIGESTS, str(changed))
    return entry_of_no_file(path, found.st_mode)


def entry_of_no_file(path: str, mode: int) -> Entry:
    """A folder, or what is there but can't be copied.

    Args:
        mode: as in ``st_mode``.
    """
    if stat.S_ISDIR(mode):
        return Entry(path, kind=Kind.FOLDER)
    return Entry(path, kind=Kind.OTHER, note=_NOTES.get(stat.S_IFMT(mode), "not a regular file"))


def told(kind: int, size: int, seconds: int) -> os.stat_result:
    """What a device says of a file, in stat's words.

    Args:
        kind: `stat.S_IFREG`, `stat.S_IFDIR` …
        size: bytes.
        seconds: modification time since the epoch.
    """
    plain = (kind | 0o444, 0, 0, 1, 0, 0, size, seconds, seconds, seconds)
    # Left out, the times in nanoseconds would be None.
    return os.stat_result(plain, {f"st_{each}time_ns": seconds * 10**9 for each in "amc"})


_NOTES = {
    stat.S_IFLNK: "symbolic link; links are not followed",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def filesystem_type(path: str) -> str:
    """What ``/proc/self/mountinfo`` calls the file system of a path ("ext4", "fuse.sshfs"); "" if unknown.

    Args:
        path: need not exist; its nearest existing parent counts.
    """
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                # Spaces and the like are written as three octal digits (proc(5)).
                point = os.fsdecode(
                    os.fsencode(left.split(" ")[4]).decode("unicode_escape").encode("latin-1")
                )
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, right.split(" ", 1)[0]
    except OSError:
        return ""
    return kind
