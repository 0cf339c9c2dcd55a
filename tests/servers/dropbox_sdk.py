"""The official Dropbox SDK as tests use it against the emulator."""

import json
from typing import Any

import dropbox
import pytest
from dropbox import files
from dropbox.exceptions import ApiError

from .dropbox_emulator import DropboxEmulator


def sdk_client(emulator: DropboxEmulator, **options: Any) -> dropbox.Dropbox:
    """A client with a fresh access token that trusts the emulator's CA; `options` are the SDK's own. The
    proxy comes from the environment, see `DropboxEmulator.env`."""
    session = dropbox.create_session(ca_certs=str(emulator.ca_file))
    if "oauth2_refresh_token" not in options:
        options = {"oauth2_access_token": emulator.token()["access_token"]} | options
    return dropbox.Dropbox(session=session, **{"max_retries_on_rate_limit": 0} | options)


def raw_call(client: dropbox.Dropbox, route: str, arg: Any) -> Any:
    """An RPC on the api host with any JSON at all, past the SDK's own checks; returns the reply's JSON."""
    result = client.request_json_string_with_retry("api", route, "rpc", json.dumps(arg), "user", None)
    return json.loads(result.obj_result)


def failure(work: Any, *args: Any, **options: Any) -> str:
    """The tags of the ApiError that a call ends in, joined by slashes."""
    with pytest.raises(ApiError) as caught:
        work(*args, **options)
    return tags_of(caught.value.error)


def tags_of(error: Any) -> str:
    """The tags of an error union and of what it holds, joined by slashes."""
    names = []
    while error is not None:
        error = getattr(error, "reason", error)
        names.append(error._tag)
        value = error._value
        error = value if hasattr(value, "_tag") or hasattr(value, "reason") else None
    return "/".join(names)


def listed(client: dropbox.Dropbox, path: str = "", **options: Any) -> tuple[list[str], str]:
    """What a whole listing tells, deletions with a minus before them, and its last cursor."""
    result = client.files_list_folder(path, **options)
    return drained(client, result)


def drained(client: dropbox.Dropbox, result: Any) -> tuple[list[str], str]:
    """The same from a first result on."""
    entries = list(result.entries)
    while result.has_more:
        result = client.files_list_folder_continue(result.cursor)
        entries += result.entries
    return [
        ("-" if isinstance(entry, files.DeletedMetadata) else "") + entry.path_display for entry in entries
    ], result.cursor
