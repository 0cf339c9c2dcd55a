"""The methods of the Drive emulator that list: files.list and the change feed."""

import re
from collections.abc import Callable
from typing import Any

from .drive_errors import invalid, refusal
from .drive_query import Query
from .drive_resource import file_resource, sees
from .drive_routes import Api, Call, endpoint, shared_drive
from .drive_state import Change, Item
from .drive_times import format_time

_ORDERS: dict[str, Callable[[Item], Any]] = {
    "createdTime": lambda item: item.created,
    "folder": lambda item: not item.is_folder,
    "modifiedByMeTime": lambda item: item.modified,
    "modifiedTime": lambda item: item.modified,
    "name": lambda item: item.name.casefold(),
    "name_natural": lambda item: [
        int(part) if part.isdigit() else part for part in re.split(r"(\d+)", item.name.casefold())
    ],
    "quotaBytesUsed": lambda item: item.size,
    "recency": lambda item: item.modified,
    "sharedWithMeTime": lambda item: item.created,
    "starred": lambda item: not item.starred,
    "viewedByMeTime": lambda item: item.modified,
}


@endpoint("files.list")
def _list(api: Api, call: Call) -> Any:
    given = call.parameters
    in_scope = _scope(api, call)
    key = repr(
        sorted((name, value) for name, value in given.items() if name not in ("pageToken", "pageSize"))
    )

    def search() -> list[Any]:
        query = Query(given.get("q", ""), lambda parent: _parent(api, call, parent), _properties(call))
        horizon = len(api.drive.log) - call.stale
        found = [
            item
            for item in api.drive.items.values()
            if item.above is not None
            and in_scope(item)
            and (not call.stale or item.born <= horizon)
            and sees(call.caller, item)
            and query.test(item)
        ]
        for order in reversed([each.split() for each in given.get("orderBy", "").split(",") if each.strip()]):
            if order[0] not in _ORDERS or order[1:] not in ([], ["desc"]):
                raise invalid("orderBy")
            found.sort(key=_ORDERS[order[0]], reverse=order[1:] == ["desc"])
        return [item.id for item in found]

    size = min(given.get("pageSize", 100), 1000)
    if size < 1:
        raise invalid(
            "pageSize",
            f"Invalid value '{size}'. Values must be within the range: [1, 1000]",
            "invalidParameter",
        )
    ids, following = api.page(key, given.get("pageToken"), size, search)
    items = [api.drive.items[each] for each in ids if each in api.drive.items]
    reply: dict[str, Any] = {
        "kind": "drive#fileList",
        "incompleteSearch": False,
        "files": [file_resource(api.drive, item, call.caller) for item in items],
    }
    return reply | ({"nextPageToken": following} if following else {})


def _scope(api: Api, call: Call) -> Callable[[Item], bool]:
    """Which drives a listing looks at, by corpora and driveId."""
    drive_id = call.parameters.get("driveId") or call.parameters.get("teamDriveId")
    corpora = call.parameters.get("corpora", "drive" if drive_id else "user")
    everywhere = call.flag("includeItemsFromAllDrives") or call.flag("includeTeamDriveItems")
    if corpora not in ("user", "domain", "drive", "allDrives"):
        raise invalid("corpora")
    if (corpora == "drive") != (drive_id is not None):
        raise invalid(
            "driveId", "The driveId parameter must be specified if and only if corpora is set to drive."
        )
    if everywhere and not call.all_drives:
        raise invalid(
            "includeItemsFromAllDrives",
            "The supportsAllDrives parameter must be set to true if includeItemsFromAllDrives is "
            "set to true.",
        )
    if corpora in ("drive", "allDrives") and not everywhere:
        raise invalid(
            "includeItemsFromAllDrives",
            f"The includeItemsFromAllDrives parameter must be set to true when corpora is set to {corpora}.",
        )
    if drive_id is not None:
        shared_drive(api, drive_id)
        return lambda item: item.drive == drive_id
    return lambda item: everywhere or item.drive is None


def _parent(api: Api, call: Call, parent: str) -> str | None:
    if parent in ("root", api.drive.root.id):
        return api.drive.root.id
    item = api.drive.items.get(parent)
    # The top of a shared drive is nobody's making, and every app may list what it has there.
    known = item is not None and (item.above is None or sees(call.caller, item))
    return parent if known else None


def _properties(call: Call) -> Callable[[Item, str], dict[str, str]]:
    def of(item: Item, name: str) -> dict[str, str]:
        return item.properties if name == "properties" else item.app_properties.get(call.caller.app, {})

    return of


# Changes


@endpoint("changes.getStartPageToken")
def _start(api: Api, call: Call) -> Any:
    if drive_id := call.parameters.get("driveId"):
        shared_drive(api, drive_id)
    return {"kind": "drive#startPageToken", "startPageToken": str(len(api.drive.log) + 1)}


@endpoint("changes.list")
def _changes(api: Api, call: Call) -> Any:
    given, log = call.parameters, api.drive.log
    token = given.get("pageToken")
    if token is None:
        raise refusal(400, "required", "Required parameter: pageToken", "pageToken")
    if not re.fullmatch(r"\d{1,18}", token) or not 1 <= int(token) <= len(log) + 1:
        raise invalid("pageToken")
    at, size = int(token) - 1, min(given.get("pageSize", 100), 1000, api.page_size)
    horizon = max(at, len(log) - call.stale)
    latest = {change.id: index for index, change in enumerate(log)}
    found: list[Change] = []
    while at < horizon and len(found) < size:
        change = log[at]
        # An item is told once, where it was changed last.
        if latest[change.id] == at and _concerns(api, call, change):
            found.append(change)
        at += 1
    reply: dict[str, Any] = {
        "kind": "drive#changeList",
        "changes": [_told(api, call, change) for change in found],
    }
    return reply | {"newStartPageToken" if at >= horizon else "nextPageToken": str(at + 1)}


def _concerns(api: Api, call: Call, change: Change) -> bool:
    drive_id = call.parameters.get("driveId") or call.parameters.get("teamDriveId")
    everywhere = call.flag("includeItemsFromAllDrives") or call.flag("includeTeamDriveItems")
    if drive_id is not None:
        if change.drive != drive_id:
            return False
    elif change.drive is not None and (call.flag("restrictToMyDrive") or not everywhere):
        return False
    if change.removed and not call.parameters.get("includeRemoved", True):
        return False
    item = api.drive.items.get(change.id)
    return (
        call.caller.everything
        or change.app == call.caller.app
        or (item is not None and sees(call.caller, item))
    )


def _told(api: Api, call: Call, change: Change) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": "drive#change",
        "type": "file",
        "changeType": "file",
        "time": format_time(change.time),
        "removed": change.removed,
        "fileId": change.id,
    }
    item = api.drive.items.get(change.id)
    return told | ({} if item is None else {"file": file_resource(api.drive, item, call.caller)})
