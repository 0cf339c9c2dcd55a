"""The `q` of files.list and drives.list: parsed, and turned into a test of one item.

Rules: "Search query terms and operators" in the Drive API's documentation. As on the service, names are
compared without regard to case, and `name contains` matches the beginnings of words only.
"""

import re
from collections.abc import Callable
from typing import Any

from .drive_errors import invalid, not_found
from .drive_times import parse_time

Test = Callable[[Any], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<word>[A-Za-z_][\w.]*)|(?P<sign><=|>=|!=|=|<|>|\(|\)|\{|\}))"
)
_EQUAL = ("=", "!=")
_ORDER = ("=", "!=", "<", "<=", ">", ">=")


class Query:
    """A parsed query, and the `test` of an item that it stands for.

    `resolve` gives the id of a parent (None: there is none that the caller sees), `properties_of` an item's
    "properties" or "appProperties" as the caller sees them. Raises 400, or 404 for an unknown parent.
    """

    def __init__(
        self, text: str, resolve: Callable[[str], str | None], properties_of: Callable[[Any, str], Any]
    ):
        self._resolve = resolve
        self._properties_of = properties_of
        self._tokens = _tokens(text)
        self._at = 0
        self.test: Test = (lambda _: True) if not self._tokens else self._either()
        if self._at != len(self._tokens):
            raise invalid("q")

    def _either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return lambda item: any(test(item) for test in tests)

    def _both(self) -> Test:
        tests = [self._single()]
        while self._take("and"):
            tests.append(self._single())
        return lambda item: all(test(item) for test in tests)

    def _single(self) -> Test:
        if self._take("not"):
            negated = self._single()
            return lambda item: not negated(item)
        if self._take("("):
            inner = self._either()
            self._need(")")
            return inner
        kind, value = self._next()
        if kind == "text":
            return self._membership(value)
        if kind != "word":
            raise invalid("q")
        return self._comparison(value)

    def _membership(self, value: str) -> Test:
        self._need("in")
        kind, term = self._next()
        if kind != "word" or term not in ("parents", "owners", "writers", "readers"):
            raise invalid("q")
        if term != "parents":
            return lambda item: value in ("me", item.owner)
        parent = self._resolve(value)
        if parent is None:
            raise not_found("")
        return lambda item: item.parent == parent

    def _comparison(self, term: str) -> Test:
        operator = self._next()[1]
        if term in ("properties", "appProperties"):
            if operator != "has":
                raise invalid("q")
            return self._property(term)
        kind, value = self._next()
        if term in ("trashed", "starred", "sharedWithMe"):
            if operator not in _EQUAL or kind != "word" or value not in ("true", "false"):
                raise invalid("q")
            wanted = (value == "true") == (operator == "=")
            attribute = {"sharedWithMe": "shared_with_me"}.get(term, term)
            return lambda item: getattr(item, attribute) == wanted
        if kind != "text":
            raise invalid("q")
        if term == "name":
            return _named(operator, value)
        if term == "mimeType":
            return _typed(operator, value)
        if term in ("modifiedTime", "createdTime", "viewedByMeTime"):
            return _timed(term, operator, value)
        if term == "shortcutDetails.targetId" and operator in _EQUAL:
            return lambda item: (item.target == value) == (operator == "=")
        if term == "visibility" and operator in _EQUAL:
            return lambda item: (value == "limited") == (operator == "=")
        raise invalid("q")

    def _property(self, term: str) -> Test:
        found: dict[str, str] = {}
        self._need("{")
        for index, name in enumerate(("key", "value")):
            if index:
                self._need("and")
            self._need(name)
            self._need("=")
            kind, value = self._next()
            if kind != "text":
                raise invalid("q")
            found[name] = value
        self._need("}")
        return lambda item: self._properties_of(item, term).get(found["key"]) == found["value"]

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise invalid("q")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, value: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] in (("word", value), ("sign", value)):
            self._at += 1
            return True
        return False

    def _need(self, value: str) -> None:
        if not self._take(value):
            raise invalid("q")


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise invalid("q")
        kind = str(match.lastgroup)
        value = match[kind]
        found.append((kind, re.sub(r"\\(.)", r"\1", value[1:-1]) if kind == "text" else value))
        at = match.end()
    return found


def _named(operator: str, value: str) -> Test:
    lowered = value.casefold()
    if operator in _EQUAL:
        return lambda item: (item.name.casefold() == lowered) == (operator == "=")
    if operator == "contains":
        pattern = re.compile(rf"(?<!\w){re.escape(lowered)}")
        return lambda item: pattern.search(item.name.casefold()) is not None
    raise invalid("q")


def _typed(operator: str, value: str) -> Test:
    if operator in _EQUAL:
        return lambda item: (item.mime == value) == (operator == "=")
    if operator == "contains":
        return lambda item: item.mime.startswith(value)
    raise invalid("q")


def _timed(term: str, operator: str, value: str) -> Test:
    if operator not in _ORDER:
        raise invalid("q")
    try:
        wanted = parse_time(value)
    except ValueError:
        raise invalid("q") from None
    attribute = {"modifiedTime": "modified", "createdTime": "created", "viewedByMeTime": "modified"}[term]
    compare: dict[str, Callable[[int, int], bool]] = {
        "=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    }  # fmt: skip
    return lambda item: compare[operator](getattr(item, attribute), wanted)
