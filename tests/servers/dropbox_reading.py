"""The endpoints of the Dropbox emulator that read: metadata, listings, downloads, revisions, the account."""

import secrets
import time
from dataclasses import dataclass, replace
from typing import Any

from . import dropbox_listing as listing
from .api_connection import HttpReply
from .dropbox_auth import ACCOUNT_ID
from .dropbox_content import Content
from .dropbox_errors import EndpointError, tag
from .dropbox_listing import Cursor
from .dropbox_names import split
from .dropbox_routes import Api, Call, endpoint
from .dropbox_state import Node, Revision, metadata, revision_fields, timestamp

ROOT_NAMESPACE = "1"


@dataclass(frozen=True, slots=True)
class Download:
    """A reply whose body is a file's content."""

    metadata: dict[str, Any]
    content: Content
    rev: str


def _lookup(api: Api, path: str) -> Node:
    try:
        return api.account.lookup(path)
    except EndpointError as failure:
        raise EndpointError(tag("path", failure.error)) from None


def _file(api: Api, path: str) -> tuple[Node, Revision]:
    node = _lookup(api, path)
    if node.revision is None:
        raise EndpointError(tag("path", tag("not_file")))
    return node, node.revision


def _at_revision(api: Api, node_path: str, revision: Revision) -> dict[str, Any]:
    return {
        "name": split(revision.display)[1],
        "path_lower": api.account.key_of(revision.display),
        "path_display": revision.display,
        "id": revision.id,
    } | revision_fields(revision)


@endpoint("files/get_metadata")
def _get_metadata(api: Api, arg: Any, call: Call) -> Any:
    key = api.account.key_of(arg.path)
    gone = api.account.deleted.get(key)
    if arg.include_deleted and gone is not None and api.account.find(key) is None:
        return {".tag": "deleted", "name": split(gone[0])[1], "path_lower": key, "path_display": gone[0]}
    return metadata(api.account, _lookup(api, arg.path))


@endpoint("files/download")
def _download(api: Api, arg: Any, call: Call) -> Any:
    rev = arg.rev or (arg.path.removeprefix("rev:") if arg.path.startswith("rev:") else None)
    if rev is not None:
        revision = api.account.revision(rev)
        if revision is None:
            raise EndpointError(tag("path", tag("not_found")))
        return Download(_at_revision(api, arg.path, revision), revision.content, rev)
    node, revision = _file(api, arg.path)
    return Download(metadata(api.account, node, tagged=False), revision.content, revision.rev)


@endpoint("files/list_folder")
def _list_folder(api: Api, arg: Any, call: Call) -> Any:
    return _page(api, _start(api, arg, call), call)


@endpoint("files/list_folder/get_latest_cursor")
def _latest_cursor(api: Api, arg: Any, call: Call) -> Any:
    start = replace(_start(api, arg, call), after=None)
    return {"cursor": start.encode()}


@endpoint("files/list_folder/continue")
def _continue(api: Api, arg: Any, call: Call) -> Any:
    return _page(api, _cursor("files/list_folder/continue", arg.cursor), call)


def _start(api: Api, arg: Any, call: Call) -> Cursor:
    if arg.path == "/":
        text = 'Specify the root folder as an empty string rather than as "/".'
        raise HttpReply(400, f'Error in call to API function "files/list_folder": request body: path: {text}')
    limit = min(arg.limit or api.page_size, api.page_size)
    try:
        return listing.start(api.account, arg.path, arg.recursive, arg.include_deleted, limit, call.stale)
    except EndpointError as failure:
        raise EndpointError(tag("path", failure.error)) from None


def _page(api: Api, cursor: Cursor, call: Call) -> dict[str, Any]:
    try:
        return listing.page(api.account, cursor, call.stale)
    except EndpointError as failure:
        raise EndpointError(tag("path", failure.error)) from None


def _cursor(route: str, text: str) -> Cursor:
    try:
        return Cursor.decode(text)
    except ValueError as error:
        raise HttpReply(400, f'Error in call to API function "{route}": {error}') from None


@endpoint("files/list_folder/longpoll")
def _longpoll(api: Api, arg: Any, call: Call) -> Any:
    cursor = _cursor("files/list_folder/longpoll", arg.cursor)
    deadline = time.monotonic() + min(arg.timeout, api.max_longpoll)
    with api.account.lock:
        while not (changes := listing.has_changes(api.account, cursor)) and not api.closing:
            if not api.account.changed.wait(max(0.0, deadline - time.monotonic())):
                break
    return {"changes": changes}


@endpoint("files/list_revisions")
def _list_revisions(api: Api, arg: Any, call: Call) -> Any:
    with api.account.lock:
        key = api.account.key_of(arg.path)
        revisions = list(api.account.history.get(key, ()))
        if arg.mode.is_id() and revisions:
            same = revisions[-1].id
            everything = (item for items in api.account.history.values() for item in items)
            revisions = sorted((item for item in everything if item.id == same), key=lambda item: item.rev)
        node = api.account.find(key)
        if not revisions:
            raise EndpointError(tag("path", tag("not_file" if node else "not_found")))
        if arg.before_rev is not None:
            names = [item.rev for item in revisions]
            if arg.before_rev not in names:
                raise EndpointError(tag("invalid_before_rev"))
            revisions = revisions[: names.index(arg.before_rev)]
        shown = revisions[::-1][: arg.limit]
        result = {
            "is_deleted": node is None,
            "entries": [_at_revision(api, arg.path, item) for item in shown],
            "has_more": len(revisions) > arg.limit,
        }
        if node is None:
            result["server_deleted"] = timestamp(api.account.deleted[key][1])
        return result


@endpoint("files/restore")
def _restore(api: Api, arg: Any, call: Call) -> Any:
    revision = api.account.revision(arg.rev)
    if revision is None:
        raise EndpointError(tag("invalid_revision"))
    with api.writing():
        try:
            return metadata(api.account, api.account.restore(arg.path, revision), tagged=False)
        except EndpointError as failure:
            raise EndpointError(tag("path_write", failure.error)) from None


@endpoint("files/get_temporary_link")
def _temporary_link(api: Api, arg: Any, call: Call) -> Any:
    node, _ = _file(api, arg.path)
    token = secrets.token_urlsafe(16)
    api.links[token] = node.id
    link = f"https://dl.dropboxusercontent.com/apitl/1/{token}"
    return {"metadata": metadata(api.account, node, tagged=False), "link": link}


@endpoint("users/get_current_account")
def _current_account(api: Api, arg: Any, call: Call) -> Any:
    return {
        "account_id": ACCOUNT_ID,
        "name": {
            "given_name": "Test",
            "surname": "Account",
            "familiar_name": "Test",
            "display_name": "Test Account",
            "abbreviated_name": "TA",
        },
        "email": "test@example.org",
        "email_verified": True,
        "disabled": False,
        "locale": "en",
        "referral_link": "https://example.org/",
        "is_paired": False,
        "account_type": {".tag": "basic"},
        "root_info": {
            ".tag": "user",
            "root_namespace_id": ROOT_NAMESPACE,
            "home_namespace_id": ROOT_NAMESPACE,
        },
    }


@endpoint("users/get_space_usage")
def _space_usage(api: Api, arg: Any, call: Call) -> Any:
    return {
        "used": api.account.used,
        "allocation": {".tag": "individual", "allocated": api.account.quota},
    }
