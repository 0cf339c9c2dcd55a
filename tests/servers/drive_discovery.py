"""Google's own description of the Drive API, as its Python client carries it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import googleapiclient.discovery_cache as cache

DISCOVERY: dict[str, Any] = json.loads(
    (Path(cache.__file__).parent / "documents" / "drive.v3.json").read_bytes()
)
_SCOPE = "https://www.googleapis.com/auth/"
ANYWHERE = frozenset(DISCOVERY["parameters"]) | {"upload_id"}
"""Query parameters that every method takes."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method by its name, such as "files.create"; `answers` is the schema of its reply, if it has one, and
    `scopes` are those of which a caller needs one."""

    name: str
    verb: str
    pattern: re.Pattern[str]
    parameters: dict[str, Any]
    answers: str | None
    scopes: frozenset[str]


def _methods() -> list[Method]:
    found = []
    for resource, described in DISCOVERY["resources"].items():
        for name, method in described.get("methods", {}).items():
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", method["path"])
            found.append(
                Method(
                    f"{resource}.{name}",
                    method["httpMethod"],
                    re.compile(pattern),
                    method.get("parameters", {}),
                    method.get("response", {}).get("$ref"),
                    frozenset(each.removeprefix(_SCOPE) for each in method.get("scopes", [])),
                )
            )
    # "files/generateIds" before "files/{fileId}".
    return sorted(found, key=lambda each: each.pattern.groups)


METHODS = _methods()


def method_at(verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """The method for a verb and a path below the service's, with the path's parameters."""
    for method in METHODS:
        if method.verb == verb and (match := method.pattern.fullmatch(path)):
            return method, match.groupdict()
    return None
