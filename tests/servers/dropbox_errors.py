"""Replies of the Dropbox API that are not successes, as its HTTP documentation words them."""

from typing import Any

from .api_connection import HttpReply

Tagged = dict[str, Any]
"""A member of a tagged union in JSON, `{".tag": name, ...}`."""


def tag(name: str, value: Any = None, /, **fields: Any) -> Tagged:
    """The union member `name`: bare, holding another union or value, or with a struct's fields beside it."""
    held = {} if value is None else {name: value}
    return {".tag": name, **held, **fields}


def tags(*names: str) -> Tagged:
    """Nested bare members: `tags("path", "conflict", "file")`."""
    first, *rest = names
    return tag(first, tags(*rest) if rest else None)


def summary(error: Tagged) -> str:
    """The `error_summary` of an error: its tags joined by slashes.

    The service ends it in a changing number of dots, so that nobody parses it.
    """
    parts: list[str] = []
    node: Any = error
    while isinstance(node, dict) and (".tag" in node or "reason" in node):
        if ".tag" in node:
            parts.append(node[".tag"])
        node = node.get("reason", node.get(node.get(".tag", "")))
    return "/".join(parts) + "/" + "." * (sum(map(len, parts)) % 4)


class EndpointError(Exception):
    """HTTP 409 whose JSON body names what the endpoint could not do."""

    def __init__(self, error: Tagged):
        super().__init__(summary(error))
        self.error = error


def auth_error(name: str) -> HttpReply:
    """401 with a member of the documented AuthError union."""
    error = tag(name)
    return HttpReply(401, {"error_summary": summary(error), "error": error})


def rate_limited(reason: str, retry_after: int | None) -> HttpReply:
    """429 for `too_many_requests` or `too_many_write_operations`; without a wait it is plain text, which
    the documentation equates with the former."""
    if retry_after is None:
        return HttpReply(429, "too_many_requests")
    error = {"reason": tag(reason), "retry_after": retry_after}
    body = {"error_summary": summary(error), "error": error}
    return HttpReply(429, body, {"Retry-After": str(retry_after)})
