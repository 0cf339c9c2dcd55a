"""TOML as people wrote it: on which line a key stands, and how to change one without touching the rest."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any


class CannotEdit(Exception):
    """The text is valid TOML, but changing it in place failed."""


_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[\w-]+|"[^"\n]*"|'[^'\n]*'))*)\s*=""")


def line_of(text: str, key: tuple[str, ...]) -> int:
    """The line (from 1) on which ``key`` is set, or else the nearest table around it is."""
    best, depth = 1, 0
    header: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            here = header = _spelled(line.split("#")[0] + "\n")
        elif found := _KEY.match(line):
            here = header + _spelled(f"{found[1]} = 0")
        else:
            continue
        common = min(len(here), len(key))
        if common > depth and here[:common] == key[:common]:
            best, depth = number, common
    return best


def _spelled(line: str) -> tuple[str, ...]:
    """The dotted key that a line of TOML opens or sets."""
    try:
        tree: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    parts = []
    while isinstance(tree, (dict, list)) and tree:
        if isinstance(tree, list):
            tree = tree[0]
            continue
        ((part, tree),) = tree.items()
        parts.append(part)
    return tuple(parts)


def edited(text: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """``text`` changed to say ``after`` instead of ``before``; what did not change keeps its very bytes.

    Raises:
        CannotEdit: the text is laid out in a way that was not understood.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
        if "remotes" in after and "remotes" not in document:
            document["remotes"] = tomlkit.table(is_super_table=True)
        _merge(document, before, after)
        return tomlkit.dumps(document)
    except TOMLKitError:
        raise CannotEdit from None


def _merge(table: Any, before: Any, after: Any) -> None:
    for key in before.keys() - after.keys():
        del table[key]
    for key, value in after.items():
        old = before.get(key)
        if old == value:
            continue
        there = table.get(key)
        tables = isinstance(value, dict) and isinstance(old, dict) and isinstance(there, dict)
        # Another type of remote knows other keys, so nothing of the old table may stay.
        if tables and old.get("type") == value.get("type"):
            _merge(there, old, value)
        else:
            table[key] = value
