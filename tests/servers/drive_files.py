"""The methods of the Drive emulator on files: making, changing, reading, copying and deleting them."""

from collections.abc import Mapping
from typing import Any

from .drive_discovery import DISCOVERY
from .drive_errors import bad_request, forbidden, invalid, refusal
from .drive_resource import EXPORTS, file_resource
from .drive_routes import Api, Call, Download, changeable, endpoint, find
from .drive_state import APPS, FOLDER, SHORTCUT, Item, revision_of
from .drive_times import parse_time
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


def _folder(api: Api, call: Call, file_id: str) -> Item:
    """The folder that shall hold something. The root takes what an app makes, even if it cannot be seen."""
    root = file_id in ("root", api.drive.root.id)
    item = api.drive.root if root else find(api, call, file_id)
    if not item.is_folder:
        raise forbidden("parentNotAFolder", "The specified parent is not a folder.")
    return item


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
        item.revision = call.media or revision_of(Content())
    _apply(api, call, item)
    drive.generated.discard(item.id)
    return file_resource(drive, drive.add(item), call.caller)


@endpoint("files.update")
def _update(api: Api, call: Call) -> Any:
    check_update(api, call)
    item = changeable(api, call, call.parameters["fileId"])
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
        api.drive.replace(item, call.media)
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
    changeable(api, call, call.parameters["fileId"])


@endpoint("files.copy")
def _copy(api: Api, call: Call) -> Any:
    source = find(api, call, call.parameters["fileId"])
    if source.is_folder or not source.copyable:
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
    api.drive.delete(changeable(api, call, call.parameters["fileId"]))


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
