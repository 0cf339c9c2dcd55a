"""The `fields` parameter: partial responses, checked against the schema of what is answered.

Rules: "Return specific fields" in the Drive API's documentation: names separated by commas, `a/b` and
`a(b,c)` for what is inside, `*` for everything.
"""

import re
from typing import Any

from .drive_discovery import DISCOVERY
from .drive_errors import invalid

Mask = dict[str, Any]
"""Names to the masks of what is inside; an empty one stands for everything."""

_TOKEN = re.compile(r"[\w*]+|[,/()]")


def parse_fields(text: str, schema: str) -> Mask:
    """The mask that `text` says, for a resource of the discovery document's `schema`. Raises 400."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text.replace(" ", ""):
        raise _wrong(text)
    parser = _Parser(tokens, text)
    mask = parser.selection()
    if parser.at != len(tokens):
        raise _wrong(text)
    _check(mask, {"$ref": schema}, "")
    return mask


def select(value: Any, mask: Mask) -> Any:
    """What of `value` the mask lets through."""
    if isinstance(value, list):
        return [select(each, mask) for each in value]
    if not isinstance(value, dict) or not mask or "*" in mask:
        return value
    return {name: select(value[name], inner) for name, inner in mask.items() if name in value}


class _Parser:
    def __init__(self, tokens: list[str], text: str):
        self._tokens, self._text, self.at = tokens, text, 0

    def selection(self) -> Mask:
        mask: Mask = {}
        while True:
            name = self._next()
            if name in ",/()":
                raise _wrong(self._text)
            inner = mask.setdefault(name, {})
            while self._peek() == "/":
                self.at += 1
                inner = inner.setdefault(self._next(), {})
            if self._peek() == "(":
                self.at += 1
                for key, value in self.selection().items():
                    inner.setdefault(key, {}).update(value)
                if self._next() != ")":
                    raise _wrong(self._text)
            if self._peek() != ",":
                return mask
            self.at += 1

    def _peek(self) -> str:
        return self._tokens[self.at] if self.at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise _wrong(self._text)
        self.at += 1
        return token


def _check(mask: Mask, schema: dict[str, Any], above: str) -> None:
    while "$ref" in schema or schema.get("type") == "array":
        schema = DISCOVERY["schemas"][schema["$ref"]] if "$ref" in schema else schema["items"]
    known = schema.get("properties")
    if known is None:
        return
    for name, inner in mask.items():
        if name != "*" and name not in known:
            raise _wrong(above + name)
        _check(inner, known.get(name, {}), f"{above}{name}/")


def _wrong(what: str) -> Exception:
    return invalid("fields", f"Invalid field selection {what}", "invalidParameter")
