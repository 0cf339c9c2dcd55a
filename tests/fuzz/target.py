"""What is fuzzed: a reader, inputs that it understands, and what must hold whatever it is given."""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOUND = Path(__file__).parent / "found"
"""Inputs that broke something once, by target."""


@dataclass(frozen=True)
class Target:
    """A reader under attack.

    Attributes:
        name: of the target, and of its folder below `FOUND`.
        run: reads an input; whatever it raises is a finding.
        seeds: inputs that are understood, to be damaged.
        words: pieces that steer the reader.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()

    def found(self) -> list[Path]:
        """Inputs that broke it once."""
        return sorted((FOUND / self.name).glob("*"))


_HOSTILE: Sequence[Any] = (
    None, True, [], {}, "", 0, -1, 1 << 63, 1 << 70, 1.5, 1e308, "..", "../../x", "/", "a/../b", "a\0b",
    "\ud800", "\x1b[2J", "x" * 300, [[]], [None], {"": None}, "1969-12-31T23:59:59Z", "9999-99-99T99:99:99Z",
    "-0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "NaN", "inf",
    "-1", "99999999999999999999", ".photosync/HEAD", "\u202ea",
)  # fmt: skip
_BYTES: Sequence[bytes] = (
    b"", b"\0", b"\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\n", b"/",
    b"..", b"../", b'"', b"{", b"}", b"[", b"]", b"-", b"9" * 25, b"1e999", b"\xed\xa0\x80", b"\xc3\x28",
    b"%2e%2e%2f", b"\r\n", b"=", b"\x1b[2J",
)  # fmt: skip


def damaged(data: bytes, target: Target, dice: random.Random) -> bytes:
    """An input like ``data``, of which one to eight things are another way."""
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        kind = dice.random()
        if kind < 0.5 and (other := _another_value(data, dice)) is not None:
            data = other
        else:
            data = _other_bytes(data, target, dice)
    return data


def _other_bytes(data: bytes, target: Target, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    end = min(len(data), at + dice.choice((0, 1, 1, 2, 4, 8, dice.randrange(1 + len(data)))))
    kind = dice.randrange(6)
    if kind == 0:
        return data[:at] + data[end:]
    if kind == 1:
        return data[:end] + data[at:end] * dice.choice((1, 2, 20)) + data[end:]
    if kind == 2:
        return data[:at] + bytes(byte ^ 1 << dice.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]
    if kind == 3 and (numbers := list(re.finditer(rb"\d+", data))):
        number = dice.choice(numbers)
        other = str(dice.choice((0, -1, 1, 255, 65536, 1 << 31, 1 << 63, 10**30))).encode()
        return data[: number.start()] + other + data[number.end() :]
    if kind == 4:
        other = dice.choice(target.seeds)
        start = dice.randrange(len(other) + 1)
        return data[:at] + other[start : start + dice.randrange(64)] + data[end:]
    return data[:at] + dice.choice((*_BYTES, *target.words)) + data[end:]


def _another_value(data: bytes, dice: random.Random) -> bytes | None:
    """One value of one line of JSON exchanged; None if there is none."""
    lines = data.split(b"\n")
    at = dice.randrange(len(lines))
    try:
        tree = json.loads(lines[at])
    except (ValueError, RecursionError):
        return None
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        inside = waiting.pop()
        keys = inside if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        for key in keys:
            places.append((inside, key))
            waiting.append(inside[key])
    if not places:
        tree = dice.choice(_HOSTILE)
    else:
        inside, key = dice.choice(places)
        other = dice.choice(places)
        kind = dice.randrange(4)
        if kind == 0 and isinstance(inside, dict):
            del inside[key]
        elif kind == 1:
            value = other[0].get(other[1]) if isinstance(other[0], dict) else None
            inside[key] = json.loads(json.dumps(value))
        else:
            inside[key] = dice.choice(_HOSTILE)
    lines[at] = json.dumps(tree, separators=(",", ":")).encode()
    return b"\n".join(lines)
