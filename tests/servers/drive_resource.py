"""How items look to an app: the File resource, and which items an app sees at all."""

from typing import Any

from .drive_auth import Caller
from .drive_state import FOLDER, SHORTCUT, Drive, Item
from .drive_times import format_time

USER = {
    "kind": "drive#user",
    "displayName": "Test Person",
    "me": True,
    "permissionId": "0123456789",
    "emailAddress": "me@example.com",
}


def sees(caller: Caller, item: Item) -> bool:
    """Whether an app sees an item: with `drive.file` only what it made or was given by the person."""
    return caller.everything or item.app == caller.app or caller.app in item.opened_by


def file_resource(drive: Drive, item: Item, caller: Caller) -> dict[str, Any]:
    """The whole File resource."""
    mine = item.drive is None and item.owner == USER["emailAddress"]
    found: dict[str, Any] = {
        "kind": "drive#file",
        "id": item.id,
        "name": item.name,
        "mimeType": item.mime,
        "starred": item.starred,
        "trashed": item.trashed,
        "explicitlyTrashed": item.explicitly_trashed,
        "spaces": ["drive"],
        "version": str(item.version),
        "createdTime": format_time(item.created),
        "modifiedTime": format_time(item.modified),
        "modifiedByMe": True,
        "modifiedByMeTime": format_time(item.modified),
        "viewedByMe": False,
        "shared": bool(item.permissions) or item.drive is not None,
        "ownedByMe": mine,
        "isAppAuthorized": item.app == caller.app,
        "properties": dict(item.properties),
        "appProperties": dict(item.app_properties.get(caller.app, {})),
        "writersCanShare": True,
        "viewersCanCopyContent": True,
        "copyRequiresWriterPermission": not item.copyable,
        "quotaBytesUsed": str(item.size),
        "webViewLink": f"https://drive.google.com/file/d/{item.id}/view?usp=drivesdk",
        "capabilities": _capabilities(item),
    }
    if not found["properties"]:
        del found["properties"]
    if not found["appProperties"]:
        del found["appProperties"]
    if item.description:
        found["description"] = item.description
    # A parent that the app does not see is not told; the root's id is.
    if item.above is not None and (item.above.above is None or sees(caller, item.above)):
        found["parents"] = [item.above.id]
    if item.trashed and item.explicitly_trashed:
        found["trashedTime"] = format_time(item.trashed_time)
    if item.drive is not None:
        found |= {"driveId": item.drive, "teamDriveId": item.drive, "hasAugmentedPermissions": False}
    else:
        found["owners"] = [USER if mine else {**USER, "me": False, "emailAddress": item.owner}]
        found["permissions"] = [_own_permission(item), *item.permissions.values()]
        found["permissionIds"] = [each["id"] for each in found["permissions"]]
    if item.target is not None:
        target = drive.items.get(item.target)
        details = {"targetId": item.target, "targetMimeType": target.mime if target else ""}
        found["shortcutDetails"] = details
    if item.revision is not None:
        found |= {
            "size": str(item.revision.content.size),
            "md5Checksum": item.revision.md5,
            "sha1Checksum": item.revision.sha1,
            "sha256Checksum": item.revision.sha256,
            "headRevisionId": item.revision.id,
            "originalFilename": item.original_name or item.name,
            "fileExtension": item.name.rpartition(".")[2] if "." in item.name else "",
            "fullFileExtension": item.name.partition(".")[2],
            "webContentLink": f"https://drive.google.com/uc?id={item.id}&export=download",
        }
    elif item.mime not in (FOLDER, SHORTCUT):
        found["exportLinks"] = {
            kind: f"https://docs.google.com/feeds/download/export?id={item.id}&mime={kind}"
            for kind in EXPORTS
        }
        # Documents of Google's own report a size that is none of any download.
        found["size"] = "1024"
    return found


EXPORTS = {
    "application/pdf": b"%PDF-1.4 exported",
    "text/plain": b"exported",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": b"PK exported",
}
"""What a Google document can be exported as, and the bytes that come out."""


def drive_resource(top: Item) -> dict[str, Any]:
    """The Drive resource of a shared drive."""
    return {
        "kind": "drive#drive",
        "id": top.id,
        "name": top.name,
        "createdTime": format_time(top.created),
        "hidden": False,
        "capabilities": {"canAddChildren": True, "canEdit": True, "canListChildren": True},
    }


def _own_permission(item: Item) -> dict[str, Any]:
    return {
        "kind": "drive#permission",
        "id": USER["permissionId"],
        "type": "user",
        "role": "owner",
        "emailAddress": item.owner,
        "displayName": USER["displayName"],
    }


def _capabilities(item: Item) -> dict[str, bool]:
    return {
        "canEdit": True,
        "canRename": True,
        "canTrash": item.above is not None,
        "canDelete": item.above is not None,
        "canAddChildren": item.is_folder,
        "canListChildren": item.is_folder,
        "canDownload": item.revision is not None,
        "canCopy": item.copyable and not item.is_folder,
    }
