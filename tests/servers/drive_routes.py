"""The methods of the Drive emulator, by their names in Google's description of the API.

Each takes a `Call` and returns the reply's whole resource; what it refuses it raises.
"""

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .drive_auth import Caller
from .drive_discovery import DISCOVERY
from .drive_errors import (
    bad_request,
    forbidden,
    insufficient_scope,
    invalid,
    limited,
    not_authorized,
    not_found,
    refusal,
)
from .drive_resource import EXPORTS, USER, drive_resource, file_resource, sees
from .drive_state import APPS, FOLDER, SHORTCUT, Drive, Item
from .drive_times import parse_time
from .drive_uploads import Uploads
from .dropbox_content import Content

MAX_IDS = 1000
MAX_PROPERTY = 124
"""Bytes that name and value of a property may have together, in UTF-8."""
MAX_PROPERTIES = 30
_UPDATABLE = frozenset({
    "appProperties", "contentHints", "contentRestrictions", "copyRequiresWriterPermission", "description",
    "folderColorRgb", "kind", "mimeType", "modifiedTime", "name", "originalFilename", "parents", "properties",
    "starred", "trashed", "viewedByMeTime", "viewersCanCopyContent", "writersCanShare",
})  # fmt: skip
_WRITABLE = _UPDATABLE | {"id", "createdTime", "shortcutDetails"}


class Api:
    """What the methods share: one account, its upload sessions and its pages.

    `write_rate` bounds the writes a second that one user sustains (None: no bound; the service's is about
    3), after a burst of `write_burst`. `page_size` bounds a page, which may be shorter than asked for.
    """

    def __init__(self, now: Callable[[], float], quota: int):
        self.now = now
        self.drive = Drive(quota, now)
        self.uploads = Uploads(now)
        self.page_size = 1000
        self.write_rate: float | None = None
        self.write_burst = 10.0
        self._budget = (0.0, self.write_burst)
        self._budgeting = threading.Lock()
        self._pages: dict[str, tuple[str, list[Any]]] = {}
        self._page_numbers = itertools.count(1)

    def spend_write(self) -> None:
        """Accounts for a write. Raises 403 userRateLimitExceeded when they come too fast."""
        if self.write_rate is None:
            return
        with self._budgeting:
            then, left = self._budget
            now = self.now()
            left = min(self.write_burst, left + (now - then) * self.write_rate)
            self._budget = (now, left - 1 if left >= 1 else left)
            if left < 1:
                raise limited(403, "userRateLimitExceeded")

    def page(
        self, key: str, token: str | None, size: int, find: Callable[[], list[Any]]
    ) -> tuple[list[Any], Any]:
        """A page of results and the token of the next one; tokens are good for the same request only."""
        if token is None:
            found = find()
        else:
            asked, found = self._pages.get(token, ("", []))
            if asked != key:
                raise invalid("pageToken")
        size = min(size, self.page_size)
        rest = found[size:]
        if not rest:
            return found[:size], None
        following = f"~!!~{next(self._page_numbers)}"
        self._pages[following] = (key, rest)
        return found[:size], following


@dataclass(frozen=True, slots=True)
class Call:
    """A request: who makes it, its parameters (of the path and the query, checked), its JSON body, the bytes
    that are uploaded with it, and how many of the latest changes a listing shall miss."""

    caller: Caller
    parameters: Mapping[str, Any]
    body: dict[str, Any] = field(default_factory=dict)
    media: Content | None = None
    media_type: str = ""
    stale: int = 0

    def flag(self, name: str) -> bool:
        return bool(self.parameters.get(name, False))

    @property
    def all_drives(self) -> bool:
        return self.flag("supportsAllDrives") or self.flag("supportsTeamDrives")


@dataclass(frozen=True, slots=True)
class Download:
    """A reply that is the bytes of a file, or of a document's export."""

    content: Content
    mime: str


Endpoint = Callable[[Api, Call], Any]
ENDPOINTS: dict[str, Endpoint] = {}
WRITES = frozenset(f"files.{name}" for name in ("create", "update", "copy", "delete", "emptyTrash")) | {
    "permissions.create",
    "permissions.delete",
    "drives.create",
}


def endpoint(name: str) -> Callable[[Endpoint], Endpoint]:
    """Registers a function as a method."""

    def register(function: Endpoint) -> Endpoint:
        ENDPOINTS[name] = function
        return function

    return register


# Finding


def find(api: Api, call: Call, file_id: str, location: str = "fileId", everywhere: bool = False) -> Item:
    """The item that an id stands for, as far as this app may know of it."""
    item = api.drive.root if file_id == "root" else api.drive.items.get(file_id)
    if item is None or not sees(call.caller, item):
        raise not_found(file_id, location)
    if item.drive is not None and not (everywhere or call.all_drives):
        raise not_found(file_id, location)
    return item


def _folder(api: Api, call: Call, file_id: str) -> Item:
    """The folder that shall hold something. The root takes what an app makes, even if it cannot be seen."""
    root = file_id in ("root", api.drive.root.id)
    item = api.drive.root if root else find(api, call, file_id)
    if not item.is_folder:
        raise forbidden("parentNotAFolder", "The specified parent is not a folder.")
    return item


def _changeable(api: Api, call: Call, file_id: str) -> Item:
    item = find(api, call, file_id)
    if not call.caller.writes:
        raise insufficient_scope()
    if not call.caller.everything and item.app != call.caller.app and call.caller.app not in item.opened_by:
        raise not_authorized(call.caller.app, "write", item.id)
    if item.above is None:
        raise forbidden(
            "insufficientFilePermissions", "The user does not have sufficient permissions for this file."
        )
    return item


# Files


@endpoint("files.generateIds")
def _generate(api: Api, call: Call) -> Any:
    count = call.parameters.get("count", 10)
    if not 1 <= count <= MAX_IDS:
        raise invalid(
            "count",
            f"Invalid value '{count}'. Values must be within the range: [1, {MAX_IDS}]",
            "invalidParameter",
        )
    ids = api.drive.generate(count)
    return {"kind": "drive#generatedIds", "space": call.parameters.get("space", "drive"), "ids": ids}


@endpoint("files.get")
def _get(api: Api, call: Call) -> Any:
    return file_resource(api.drive, find(api, call, call.parameters["fileId"]), call.caller)


@endpoint("files.get_media")
def _get_media(api: Api, call: Call) -> Any:
    # Bytes need no supportsAllDrives: rclone, for one, never sends it with them.
    item = find(api, call, call.parameters["fileId"], everywhere=True)
    if item.revision is None:
        raise refusal(
            403,
            "fileNotDownloadable",
            "Only files with binary content can be downloaded. Use Export with Docs Editors files.",
            "alt",
        )
    return Download(item.revision.content, item.mime)


@endpoint("files.export")
def _export(api: Api, call: Call) -> Any:
    item = find(api, call, call.parameters["fileId"])
    if item.revision is not None or item.mime in (FOLDER, SHORTCUT):
        raise forbidden("fileNotExportable", "Export only supports Docs Editors files.")
    kind = call.parameters.get("mimeType", "")
    if kind not in EXPORTS:
        raise bad_request("The requested conversion is not supported.")
    return Download(Content(EXPORTS[kind]), kind)


def check_new(api: Api, call: Call) -> None:
    """What a create refuses before any byte is sent."""
    _check_fields(call.body, _WRITABLE)
    _check_properties(call.body)
    mime = call.body.get("mimeType", "")
    if (file_id := call.body.get("id")) is not None:
        if file_id in api.drive.items or file_id in api.drive.gone:
            raise refusal(409, "fileIdInUse", "A file already exists with the provided ID.")
        if mime.startswith(APPS) and mime not in (FOLDER, SHORTCUT):
            raise forbidden(
                "insufficientFilePermissions", "Generated IDs are not supported for Docs Editors formats."
            )
        if file_id not in api.drive.generated or mime == SHORTCUT:
            raise refusal(400, "invalid", "The provided file ID is not usable.", "file.id", kind="other")
    parents = call.body.get("parents", [])
    if len(parents) > 1:
        raise forbidden(
            "multipleParentsInsertNotPermitted", "A file cannot be created in more than one folder."
        )
    for parent in parents:
        _folder(api, call, parent)


@endpoint("files.create")
def _create(api: Api, call: Call) -> Any:
    check_new(api, call)
    body, drive = call.body, api.drive
    above = _folder(api, call, (body.get("parents") or ["root"])[0])
    now = drive.now()
    mime = body.get("mimeType") or call.media_type or "application/octet-stream"
    item = Item(
        body.get("id") or drive.new_id(),
        body.get("name") or "Untitled",
        mime,
        above,
        _time(body, "createdTime", now),
        _time(body, "modifiedTime", now),
        app=call.caller.app,
    )
    if mime == SHORTCUT:
        target = (body.get("shortcutDetails") or {}).get("targetId", "")
        find(api, call, target, "shortcutDetails.targetId")
        item.target = target
    elif call.media is not None and mime.startswith(APPS):
        pass
    elif not mime.startswith(APPS):
        item.revision = drive.revision(call.media or Content())
    _apply(api, call, item)
    drive.generated.discard(item.id)
    return file_resource(drive, drive.add(item), call.caller)


@endpoint("files.update")
def _update(api: Api, call: Call) -> Any:
    check_update(api, call)
    item = _changeable(api, call, call.parameters["fileId"])
    added = _listed(call, "addParents")
    removed = [api.drive.root.id if each == "root" else each for each in _listed(call, "removeParents")]
    if added:
        above = _folder(api, call, added[0])
        if len(added) > 1 or item.parent not in (*removed, above.id):
            raise forbidden("cannotAddParent", "Increasing the number of parents is not allowed")
        if any(each is above for each in item.tree()):
            raise bad_request("The specified parent would create a cycle.")
        api.drive.move(item, above)
    elif removed:
        raise forbidden("cannotRemoveParent", "A file must have a parent.")
    if call.media is not None:
        if item.mime.startswith(APPS):
            raise bad_request("This file has no content of its own.")
        api.drive.replace(item, api.drive.revision(call.media))
        item.modified = api.drive.now()
    if "name" in call.body:
        item.name = call.body["name"] or "Untitled"
    if "mimeType" in call.body and not item.mime.startswith(APPS):
        item.mime = call.body["mimeType"]
    if "trashed" in call.body:
        item.explicitly_trashed = bool(call.body["trashed"])
        item.trashed_time = api.drive.now()
    item.modified = _time(call.body, "modifiedTime", item.modified)
    _apply(api, call, item)
    api.drive.record(item)
    return file_resource(api.drive, item, call.caller)


def check_update(api: Api, call: Call) -> None:
    """What an update refuses before any byte is sent."""
    if "parents" in call.body:
        raise forbidden(
            "fieldNotWritable",
            "The parents field is not directly writable in update requests. Use the addParents and "
            "removeParents parameters instead.",
        )
    _check_fields(call.body, _UPDATABLE)
    _check_properties(call.body)
    _changeable(api, call, call.parameters["fileId"])


@endpoint("files.copy")
def _copy(api: Api, call: Call) -> Any:
    source = find(api, call, call.parameters["fileId"])
    if source.is_folder:
        raise forbidden("cannotCopyFile", "This file cannot be copied by the user.")
    check_new(api, call)
    body, drive = call.body, api.drive
    parent = (body.get("parents") or [source.parent or "root"])[0]
    now = drive.now()
    item = Item(
        body.get("id") or drive.new_id(),
        body.get("name") or f"Copy of {source.name}",
        body.get("mimeType") or source.mime,
        _folder(api, call, parent),
        _time(body, "createdTime", now),
        _time(body, "modifiedTime", now),
        app=call.caller.app,
        revision=source.revision,
        target=source.target,
        description=source.description,
        properties=dict(source.properties),
        app_properties={app: dict(values) for app, values in source.app_properties.items()},
    )
    _apply(api, call, item)
    drive.generated.discard(item.id)
    return file_resource(drive, drive.add(item), call.caller)


@endpoint("files.delete")
def _delete(api: Api, call: Call) -> Any:
    api.drive.delete(_changeable(api, call, call.parameters["fileId"]))


@endpoint("files.emptyTrash")
def _empty_trash(api: Api, call: Call) -> Any:
    wanted = call.parameters.get("driveId")
    for item in list(api.drive.items.values()):
        if item.explicitly_trashed and item.drive == wanted and item.id in api.drive.items:
            api.drive.delete(item)


def _listed(call: Call, name: str) -> list[str]:
    return [each for each in call.parameters.get(name, "").split(",") if each]


def _time(body: Mapping[str, Any], name: str, otherwise: int) -> int:
    if name not in body:
        return otherwise
    try:
        return parse_time(body[name])
    except (ValueError, TypeError):
        raise invalid(name, f'Invalid value for: Invalid format: "{body[name]}"') from None


def _apply(api: Api, call: Call, item: Item) -> None:
    body = call.body
    item.description = body.get("description", item.description)
    item.starred = bool(body.get("starred", item.starred))
    item.original_name = body.get("originalFilename", item.original_name)
    for name, kept in (
        ("properties", item.properties),
        ("appProperties", item.app_properties.setdefault(call.caller.app, {})),
    ):
        for key, value in (body.get(name) or {}).items():
            if value is None:
                kept.pop(key, None)
            else:
                kept[key] = value
        if len(kept) > MAX_PROPERTIES:
            raise forbidden("propertyLimitExceeded", "The property limit for this file has been exceeded.")


def _check_fields(body: Mapping[str, Any], writable: frozenset[str]) -> None:
    for name in body:
        if name not in DISCOVERY["schemas"]["File"]["properties"]:
            raise bad_request(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
        if name not in writable:
            raise forbidden(
                "fieldNotWritable", "The resource body includes fields which are not directly writable."
            )


def _check_properties(body: Mapping[str, Any]) -> None:
    for name in ("properties", "appProperties"):
        for key, value in (body.get(name) or {}).items():
            if value is not None and len(f"{key}{value}".encode()) > MAX_PROPERTY:
                raise bad_request("The property's key and value together are longer than 124 bytes.")


# About, drives, permissions


@endpoint("about.get")
def _about(api: Api, call: Call) -> Any:
    drive = api.drive
    binned = sum(item.size for item in drive.items.values() if item.trashed and item.drive is None)
    return {
        "kind": "drive#about",
        "user": USER,
        "storageQuota": {
            "limit": str(drive.quota),
            "usage": str(drive.used),
            "usageInDrive": str(drive.used),
            "usageInDriveTrash": str(binned),
        },
        "importFormats": {},
        "exportFormats": {f"{APPS}document": list(EXPORTS)},
        "maxUploadSize": str(5120 * 1024**3),
        "appInstalled": False,
        "canCreateDrives": True,
        "canCreateTeamDrives": True,
        "folderColorPalette": [],
        "driveThemes": [],
        "maxImportSizes": {},
    }


@endpoint("drives.list")
def _drives(api: Api, call: Call) -> Any:
    size = call.parameters.get("pageSize", 10)
    found, following = api.page(
        "drives", call.parameters.get("pageToken"), min(size, 100), lambda: list(api.drive.drives.values())
    )
    reply: dict[str, Any] = {"kind": "drive#driveList", "drives": [drive_resource(top) for top in found]}
    return reply | ({"nextPageToken": following} if following else {})


@endpoint("drives.get")
def _one_drive(api: Api, call: Call) -> Any:
    return drive_resource(shared_drive(api, call.parameters["driveId"]))


@endpoint("drives.create")
def _new_drive(api: Api, call: Call) -> Any:
    if not call.parameters.get("requestId"):
        raise refusal(400, "required", "Required parameter: requestId", "requestId")
    return drive_resource(api.drive.add_drive(call.body.get("name", "Untitled")))


def shared_drive(api: Api, drive_id: str) -> Item:
    """The top folder of a shared drive. Raises 404."""
    if drive_id not in api.drive.drives:
        raise refusal(404, "notFound", f"Shared drive not found: {drive_id}", "driveId")
    return api.drive.drives[drive_id]


@endpoint("permissions.list")
def _permissions(api: Api, call: Call) -> Any:
    item = find(api, call, call.parameters["fileId"])
    found = file_resource(api.drive, item, call.caller).get("permissions", [])
    return {"kind": "drive#permissionList", "permissions": found}


@endpoint("permissions.create")
def _permit(api: Api, call: Call) -> Any:
    item = _changeable(api, call, call.parameters["fileId"])
    kind, role = call.body.get("type"), call.body.get("role")
    if kind not in ("user", "group", "domain", "anyone") or not role:
        raise refusal(400, "required", "The permission type and role fields are required.")
    permission_id = "anyoneWithLink" if kind == "anyone" else api.drive.new_id("0")[:20]
    item.permissions[permission_id] = {
        "kind": "drive#permission", "id": permission_id, "type": kind, "role": role,
        "allowFileDiscovery": False,
    }  # fmt: skip
    api.drive.record(item)
    return item.permissions[permission_id]


@endpoint("permissions.get")
def _permission(api: Api, call: Call) -> Any:
    for found in _permissions(api, call)["permissions"]:
        if found["id"] == call.parameters["permissionId"]:
            return found
    raise refusal(
        404, "notFound", f"Permission not found: {call.parameters['permissionId']}.", "permissionId"
    )


@endpoint("permissions.delete")
def _forbid(api: Api, call: Call) -> Any:
    item = _changeable(api, call, call.parameters["fileId"])
    if item.permissions.pop(call.parameters["permissionId"], None) is None:
        raise refusal(
            404, "notFound", f"Permission not found: {call.parameters['permissionId']}.", "permissionId"
        )
    api.drive.record(item)
