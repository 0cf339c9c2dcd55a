"""Lists a whole tree of an Android phone in one exchange, and believes it only if it was told twice.

The script uses what every Android since 6 has, toybox's find, xargs and stat: find tells the names, each
ended by a zero byte; a second find gives its names to stat, which tells type, size and time of each. Two
traps decide how its answer is read (toybox, lib/dirtree.c, dirtree_recurse; toys/other/stat.c):

* find takes a folder that stops answering half-way for one that ends there, without an error. So a name that
  only one of the two passes told makes the listing invalid.
* stat ends its lines by a newline, which names may contain. The names are known from the first pass, so lines
  are compared, not split.

A folder that could not be opened is told on stderr; only its own listing fails. What stderr says and nobody
understands makes the whole listing fail. What can't be seen: a folder that was opened and both times stopped
at the same name, as on storage that is breaking. No program on a phone tells that.
"""

import errno
import os
import re
import stat
from dataclasses import dataclass, field

from photosync.backends.adb_client import Answer, Told, failure, quote
from photosync.backends.phone_paths import housekeeping
from photosync.engine.errors import Transient

_SCRIPT = b"""\
list() { find %s %s; }
export TZ=UTC0 LC_ALL=C
list; code=$?
printf '\\0'
list | xargs -0 stat -c '%%f %%s %%Y %%n'
exit $code
"""
_ALL = b"-print0"
_PRUNED = (
    rb"\( -name .thumbnails -o -path '*/Android/data' -o -path '*/Android/obb' \) -prune -print0 -o -print0"
)
"""What `photosync.backends.phone_paths.housekeeping` would leave out, and may be large."""

_LINE = re.compile(rb"([0-9a-f]{1,8}) (\d{1,20}) (-?\d{1,20}) ")
_COMPLAINT = re.compile(rb"(?:find|stat): '?(?P<path>/.*?)'?: (?P<words>[^:]+)")


@dataclass(slots=True)
class Tree:
    """What is below a folder of the phone.

    Attributes:
        folders: absolute path of each folder → name of each child → what was told about it.
        failed: folders that could not be listed → why.
        vanished: whether names were gone before they could be asked about.
    """

    folders: dict[str, dict[str, Told]] = field(default_factory=dict)
    failed: dict[str, OSError] = field(default_factory=dict)
    vanished: bool = False


def script(folder: str, *, deep: bool) -> bytes:
    """What the phone's shell is to run.

    Args:
        folder: absolute path; a link to a folder is followed.
        deep: with everything below; else its children only.
    """
    folder = folder.rstrip("/")
    below = _ALL if housekeeping(folder) else _PRUNED
    return _SCRIPT % (quote(f"{folder}/"), below if deep else b"-maxdepth 1 " + _ALL)


def parse(answer: Answer, folder: str, deep: bool) -> Tree:
    """Reads what the script printed.

    Args:
        answer: of the shell.
        folder, deep: as for `script`.

    Raises:
        Transient: the two passes told different things: something changed meanwhile, or a part is missing;
            or something that does not lie in the folder.
        OSError: the folder itself can't be listed.
    """
    names, separator, lines = answer.out.partition(b"\0\0")
    if not separator:
        raise _unfinished(answer, folder)
    top = folder.rstrip("/") or "/"
    tree = Tree({top: {}})
    at = 0
    for name in names.split(b"\0"):
        line = _LINE.match(lines, at)
        end = line.end() + len(name) if line else 0
        if line is None or lines[line.end() : end + 1] != name + b"\n":
            raise _unfinished(answer, folder)
        at = end + 1
        mtime = int(line[3])
        # toybox prints times as unsigned numbers: those before 1970 come out as huge ones.
        told = Told(int(line[1], 16), int(line[2]), mtime - (1 << 64) if mtime >> 63 else mtime)
        path = _path(name)
        if path != top:
            if not path.startswith(top if top == "/" else f"{top}/") or path == "/":
                raise _unfinished(answer, folder)
            parent, _, child = path.rpartition("/")
            tree.folders.setdefault(parent or "/", {})[child] = told
            if deep and stat.S_ISDIR(told.mode) and not housekeeping(path):
                tree.folders.setdefault(path, {})
    if at != len(lines):
        raise _unfinished(answer, folder)
    _complaints(answer, tree, folder)
    return tree


def _path(name: bytes) -> str:
    # find was given a trailing slash and, in some versions, adds its own.
    return re.sub("//+", "/", os.fsdecode(name)).rstrip("/") or "/"


def _complaints(answer: Answer, tree: Tree, folder: str) -> None:
    lines = answer.err.splitlines()
    if answer.code and not lines:
        raise _unfinished(answer, folder)
    for line in lines:
        found = _COMPLAINT.fullmatch(line)
        path = _path(found["path"]) if found else ""
        place = path if path in tree.folders else path.rpartition("/")[0]
        if found is None or place not in tree.folders:
            raise _unfinished(answer, folder)
        error = failure(found["words"], path)
        if error.errno == errno.ENOENT and place != path:
            tree.vanished = True
        else:
            tree.failed[place] = error


def _unfinished(answer: Answer, folder: str) -> Exception:
    said = answer.err.decode("utf-8", "replace").strip()
    if not answer.out.strip(b"\0") and (first := _COMPLAINT.match(answer.err.partition(b"\n")[0])):
        return failure(first["words"], folder)
    return Transient(
        f"listing {folder}: the phone told two different things, or did not finish. "
        f"{said[-500:] or 'Do not take photos while it is listed, then run again.'}"
    )
