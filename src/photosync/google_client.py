"""The OAuth client that a person made at Google, from the file that Google's console offers for download."""

import json
from dataclasses import dataclass, field

LIMIT = 1 << 16


class ClientError(ValueError):
    """The file is no OAuth client for a desktop app; the text says what to do and never repeats it."""


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client. Google hands out a secret for desktop apps too, and asks for it."""

    id: str
    secret: str = field(repr=False)


def read_client(text: str) -> Client:
    """The client of a ``client_secret_….json``.

    Args:
        text: of the file: ``{"installed": {"client_id": …, "client_secret": …}}``.

    Raises:
        ClientError: it is something else.
    """
    try:
        found = json.loads(text) if len(text) <= LIMIT else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ClientError(f"is not the JSON file of an OAuth client. {_WHERE}")
    if "web" in found:
        raise ClientError(
            f"is a client of the type Web application; make one of the type Desktop app. {_WHERE}"
        )
    if found.get("type") == "service_account":
        raise ClientError(
            "is the key of a service account, not an OAuth client. For one, use: "
            "--option service_account_file=FILE"
        )
    made = found.get("installed")
    names = ("client_id", "client_secret")
    if not isinstance(made, dict) or not all(
        isinstance(made.get(name), str) and made[name] for name in names
    ):
        raise ClientError(f"names no client_id and client_secret of a desktop app. {_WHERE}")
    return Client(made["client_id"], made["client_secret"])


_WHERE = "In Google's console: Clients, your client, Download JSON; see docs/connect.md."
