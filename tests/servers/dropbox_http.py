"""The HTTP side of the Dropbox emulator: hosts, authorization, arguments and replies."""

import json
import time
from typing import Any
from urllib.parse import parse_qsl

from dropbox import common, files, users
from stone.backends.python_rsrc import stone_serializers
from stone.backends.python_rsrc.stone_validators import ValidationError

from .api_connection import ApiConnection, HttpReply
from .dropbox_errors import EndpointError, rate_limited, summary, tag
from .dropbox_reading import ROOT_NAMESPACE, Download
from .dropbox_routes import ENDPOINTS, Call

HOSTS = {
    "api": "api.dropboxapi.com",
    "content": "content.dropboxapi.com",
    "notify": "notify.dropboxapi.com",
    "www": "www.dropbox.com",
    "link": "dl.dropboxusercontent.com",
}


def _specifications() -> dict[str, Any]:
    """The official SDK's description of each endpoint here: argument type, host, style and authorization."""
    described = {}
    for namespace, module in (("files", files), ("users", users)):
        for route in module.ROUTES.values():
            version = f"_v{route.version}" if route.version > 1 else ""
            described[f"{namespace}/{route.name}{version}"] = route
    return {name: described[name] for name in ENDPOINTS}


SPECIFICATIONS = _specifications()


class Connection(ApiConnection):
    """Serves the requests of one decrypted connection to an emulated Dropbox."""

    def _route_of(self, path: str) -> str:
        return path.strip("/").removeprefix("2/")

    def _answer(self) -> Any:
        try:
            return self._result()
        except EndpointError as failure:
            raise HttpReply(409, {"error_summary": summary(failure.error), "error": failure.error}) from None

    def _result(self) -> Any:
        if self.command == "GET" and self._host == HOSTS["www"] and self._route == "oauth2/authorize":
            raise self._service.auth.authorize(self._query)
        if self.command == "GET" and self._host == HOSTS["link"]:
            return self._temporary_link()
        if self.command != "POST":
            raise HttpReply(405, "Use POST.")
        if self._host == HOSTS["api"] and self._route == "oauth2/token":
            self._apply_faults()
            form = dict(parse_qsl(self._body().decode()))
            return self._service.auth.exchange(form, self.headers["Authorization"])
        if self._host == HOSTS["api"] and self._route == "auth/token/revoke":
            self._body()
            self._service.auth.revoke(self._service.auth.check(self.headers["Authorization"]))
            return None
        return self._call()

    def _call(self) -> Any:
        specification = SPECIFICATIONS.get(self._route)
        if specification is None or self._host != HOSTS[specification.attrs["host"]]:
            raise HttpReply(400, f'Unknown API function: "{self._route}" at {self._host}')
        if "user" in specification.attrs["auth"].replace(" ", "").split(","):
            self._authorize()
        self._apply_faults()
        if specification.attrs["style"] == "rpc":
            arg = self._decode(specification, "request body", self._body())
            call = Call(stale=max((fault.stale for fault in self._faults), default=0))
        else:
            # Documented is JSON in ASCII, but rclone sends UTF-8 and the service takes it.
            header = (self.headers["Dropbox-API-Arg"] or "").encode("latin-1")
            text = header or self._query.get("arg", "").encode()
            arg = self._decode(specification, 'HTTP header "Dropbox-API-Arg"', text)
            self._check_content_type(specification.attrs["style"])
            call = Call(self._body())
        return ENDPOINTS[self._route](self._service.api, arg, call)

    def _authorize(self) -> None:
        header = self.headers["Authorization"]
        if any(fault.expire_token for fault in self._faults):
            self._service.auth.expire(self._service.auth.check(header))
        self._service.auth.check(header)
        root = self.headers["Dropbox-API-Path-Root"]
        if root is not None:
            _check_path_root(root)

    def _apply_faults(self) -> None:
        for fault in self._faults:
            if fault.status == 429:
                raise rate_limited(fault.reason or "too_many_requests", fault.retry_after)
            if fault.status is not None:
                retry = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                raise HttpReply(fault.status, "An error occurred on the server.", retry)
            if fault.error is not None:
                raise EndpointError(fault.error)

    def _decode(self, specification: Any, where: str, text: bytes) -> Any:
        try:
            value = json.loads(text) if text else None
            return stone_serializers.json_compat_obj_decode(specification.arg_type, value, strict=True)
        except (ValueError, ValidationError) as error:
            raise HttpReply(400, f'Error in call to API function "{self._route}": {where}: {error}') from None

    def _check_content_type(self, style: str) -> None:
        kind = self.headers.get_content_type() if self.headers["Content-Type"] else None
        if style == "upload" and kind != "application/octet-stream":
            raise HttpReply(
                400,
                f'Error in call to API function "{self._route}": Bad HTTP "Content-Type" header: "{kind}". '
                'Expecting "application/octet-stream".',
            )

    def _body_limit(self) -> int:
        return int(self._service.api.max_request)

    def _own_headers(self) -> dict[str, str]:
        return {"X-Dropbox-Request-Id": f"{time.monotonic_ns():032x}"}

    def _send(self, reply: Any) -> None:
        if not isinstance(reply, Download):
            super()._send(reply)
            return
        headers = {"Dropbox-API-Result": json.dumps(reply.metadata), "ETag": f'W/"{reply.rev}"'}
        self._send_content(reply.content, headers)

    def _temporary_link(self) -> Download:
        node_id = self._service.api.links.get(self._route.rpartition("/")[2])
        node = self._service.api.account.find(node_id) if node_id else None
        if node is None or node.revision is None:
            raise HttpReply(410, "The link has expired.")
        return Download({}, node.revision.content, node.revision.rev)


def _check_path_root(header: str) -> None:
    try:
        root = stone_serializers.json_decode(common.PathRoot_validator, header, strict=True)
    except (ValueError, ValidationError) as error:
        raise HttpReply(400, f'Error in HTTP header "Dropbox-API-Path-Root": {error}') from None
    if root.is_root() and root.get_root() != ROOT_NAMESPACE:
        info = {".tag": "user", "root_namespace_id": ROOT_NAMESPACE, "home_namespace_id": ROOT_NAMESPACE}
        refusal = tag("invalid_root", info)
    elif root.is_namespace_id() and root.get_namespace_id() != ROOT_NAMESPACE:
        refusal = tag("no_permission")
    else:
        return
    raise HttpReply(422, {"error_summary": summary(refusal), "error": refusal})
