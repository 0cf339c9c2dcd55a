"""The methods of the Drive emulator, by their names in Google's description of the API.

Each takes a `Call` and returns the reply's whole resource; what it refuses it raises.
"""

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .drive_auth import Caller
from .drive_errors import (
    forbidden,
    insufficient_scope,
    invalid,
    limited,
    not_authorized,
    not_found,
    refusal,
)
from .drive_resource import EXPORTS, USER, drive_resource, file_resource, sees
from .drive_state import APPS, Drive, Item, Revision
from .drive_uploads import Uploads
from .dropbox_content import Content


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
        self._budget: tuple[float, float] | None = None
        self._budgeting = threading.Lock()
        self._pages: dict[str, tuple[str, list[Any]]] = {}
        self._page_numbers = itertools.count(1)

    def spend_write(self) -> None:
        """Accounts for a write. Raises 403 userRateLimitExceeded when they come too fast."""
        if self.write_rate is None:
            return
        with self._budgeting:
            now = self.now()
            then, left = self._budget or (now, self.write_burst)
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
    """A request: who makes it, its parameters (of the path and the query, checked), its JSON body, what the
    bytes uploaded with it make, and how many of the latest changes a listing shall miss."""

    caller: Caller
    parameters: Mapping[str, Any]
    body: dict[str, Any] = field(default_factory=dict)
    media: Revision | None = None
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


def changeable(api: Api, call: Call, file_id: str) -> Item:
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
    item = changeable(api, call, call.parameters["fileId"])
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
    item = changeable(api, call, call.parameters["fileId"])
    if item.permissions.pop(call.parameters["permissionId"], None) is None:
        raise refusal(
            404, "notFound", f"Permission not found: {call.parameters['permissionId']}.", "permissionId"
        )
    api.drive.record(item)
