"""The HTTP side of the Drive emulator: hosts, authorization, parameters, uploads and replies."""

import json
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any
from urllib.parse import parse_qsl, unquote

from .api_connection import ApiConnection, HttpReply
from .drive_auth import Caller
from .drive_discovery import ANYWHERE, DISCOVERY, Method, method_at
from .drive_errors import bad_request, insufficient_scope, invalid, limited, refusal
from .drive_fields import parse_fields, select
from .drive_files import check_new, check_update
from .drive_routes import ENDPOINTS, WRITES, Call, Download
from .drive_state import revision_of
from .drive_uploads import Session
from .dropbox_content import Content
from .tls_proxy import ResetConnection

HOSTS = {
    "api": "www.googleapis.com",
    "token": "oauth2.googleapis.com",
    "accounts": "accounts.google.com",
}
_API, _UPLOAD, _RESUMABLE = "/drive/v3/", "/upload/drive/v3/", "/resumable/upload/drive/v3/"
_DISCOVERY = ("/discovery/v1/apis/drive/v3/rest", "/$discovery/rest")
_OAUTH = {
    (HOSTS["accounts"], "/o/oauth2/auth"): "authorize",
    (HOSTS["accounts"], "/o/oauth2/v2/auth"): "authorize",
    (HOSTS["token"], "/token"): "token",
    (HOSTS["accounts"], "/o/oauth2/token"): "token",
    (HOSTS["token"], "/revoke"): "revoke",
    (HOSTS["accounts"], "/o/oauth2/revoke"): "revoke",
}
_DEFAULT_FILE = "kind,id,name,mimeType,driveId,teamDriveId,resourceKey"
_DEFAULTS = {
    "File": _DEFAULT_FILE,
    "FileList": f"kind,incompleteSearch,nextPageToken,files({_DEFAULT_FILE})",
    "ChangeList": "kind,nextPageToken,newStartPageToken,"
    f"changes(kind,type,changeType,time,removed,fileId,file({_DEFAULT_FILE}))",
    "Drive": "kind,id,name",
    "DriveList": "kind,nextPageToken,drives(kind,id,name)",
    "Permission": "kind,id,type,role,allowFileDiscovery",
    "PermissionList": "kind,nextPageToken,permissions(kind,id,type,role,allowFileDiscovery)",
}


class Connection(ApiConnection):
    """Serves the requests of one decrypted connection to an emulated Google."""

    # Which request it is

    def _route_of(self, path: str) -> str:
        """Names a request: "files.list", "files.get_media" for bytes; "upload/files.create" (in one request),
        "upload/start", "upload/chunk", "upload/status", "upload/cancel"; "oauth2/token" …"""
        path = path if path.startswith("/$") else unquote(path)
        self._called: tuple[Method, dict[str, str]] | None = None
        if name := _OAUTH.get((self._host, path)):
            return f"oauth2/{name}"
        if self._host != HOSTS["api"]:
            return path.strip("/")
        if path in _DISCOVERY:
            return "discovery"
        uploading = path.startswith((_UPLOAD, _RESUMABLE))
        if uploading and "upload_id" in self._query:
            asking = (self.headers["Content-Range"] or "").startswith("bytes */") and not self._length()
            put = "status" if asking else "chunk"
            return "upload/cancel" if self.command == "DELETE" else f"upload/{put}"
        for prefix in (_API, _UPLOAD, _RESUMABLE):
            if path.startswith(prefix):
                self._called = method_at(self.command, path.removeprefix(prefix))
        if self._called is None:
            return path.strip("/")
        name = self._called[0].name
        if uploading:
            return "upload/start" if self._query.get("uploadType") == "resumable" else f"upload/{name}"
        return "files.get_media" if name == "files.get" and self._query.get("alt") == "media" else name

    # Taking it

    def _answer(self) -> Any:
        kind, _, name = self._route.partition("/")
        if kind == "oauth2":
            return self._oauth(name)
        if self._route == "discovery":
            self._apply_faults()
            return DISCOVERY
        if kind == "upload" and self._called is None:
            return self._session(name)
        if self._called is None or self._route.removeprefix("upload/") not in (*ENDPOINTS, "start"):
            raise HttpReply(404, "Not Found")
        return self._call(*self._called)

    def _oauth(self, name: str) -> Any:
        self._apply_faults()
        auth = self._service.auth
        if name == "authorize":
            raise auth.authorize(self._query)
        form = self._query | dict(parse_qsl(self._body().decode()))
        if self.command != "POST":
            raise HttpReply(405, {"error": "invalid_request", "error_description": "Use POST."})
        if name == "revoke":
            return auth.end(form.get("token", ""))
        return auth.exchange(form, self.headers["Authorization"])

    def _call(self, method: Method, in_path: dict[str, str]) -> Any:
        caller = self._authorize()
        if not caller.scopes & method.scopes:
            raise insufficient_scope()
        self._apply_faults()
        parameters = _checked(method, self._query) | in_path
        self._mask(method)
        writing = method.name in WRITES
        if writing:
            self._service.api.spend_write()
        if self._route == "upload/start":
            return self._start(method, parameters, caller)
        if self._route.startswith("upload/"):
            call = self._one_request(parameters, caller)
        else:
            stale = max((fault.stale for fault in self._faults), default=0)
            call = Call(caller, parameters, self._json(), stale=stale)
        name = "files.get_media" if self._route == "files.get_media" else method.name
        with self._service.api.drive.lock:
            answer = ENDPOINTS[name](self._service.api, call)
        return self._masked(method, answer)

    def _mask(self, method: Method, fields: str | None = None) -> Any:
        fields = fields if fields is not None else self._query.get("fields")
        if not fields:
            if method.name == "about.get":
                raise refusal(
                    400, "required", "The 'fields' parameter is required for this method.", "fields"
                )
            fields = _DEFAULTS.get(method.answers or "", "*")
        return parse_fields(fields, method.answers) if method.answers else {}

    def _masked(self, method: Method, answer: Any, fields: str | None = None) -> Any:
        if isinstance(answer, Download) or answer is None:
            return answer
        return select(answer, self._mask(method, fields))

    def _authorize(self) -> Caller:
        auth, header = self._service.auth, self.headers["Authorization"]
        if header is None and "access_token" in self._query:
            header = f"Bearer {self._query['access_token']}"
        token = (header or "").partition(" ")[2]
        if any(fault.expire_token for fault in self._faults):
            auth.check(header)
            auth.expire(token)
        if any(fault.revoke_token for fault in self._faults):
            auth.revoke(token)
        found: Caller = auth.check(header)
        return found

    def _apply_faults(self) -> None:
        for fault in self._faults:
            if fault.status is not None:
                raise limited(fault.status, fault.reason, fault.retry_after)

    def _json(self) -> dict[str, Any]:
        text = self._body()
        return _json(text) if text.strip() else {}

    # Uploads

    def _one_request(self, parameters: dict[str, Any], caller: Caller) -> Call:
        kind = self.headers["Content-Type"] or ""
        if self._query.get("uploadType") == "media":
            return Call(caller, parameters, {}, revision_of(Content(self._body())), kind)
        if self._query.get("uploadType") != "multipart" or not kind.startswith("multipart/"):
            raise bad_request("Malformed multipart body.")
        # A mail's parser would take line ends apart, so the parts are cut by hand.
        message = Message()
        message["Content-Type"] = kind
        boundary = b"--" + str(message.get_boundary("")).encode()
        pieces = (b"\r\n" + self._body()).split(b"\r\n" + boundary)
        if len(pieces) != 4 or not pieces[3].startswith(b"--"):
            pieces = b"".join((b"\n", self._arrived)).split(b"\n" + boundary)
        if len(pieces) != 4 or not pieces[3].startswith(b"--"):
            raise bad_request("Missing end boundary in multipart body.")
        (_, metadata), (media_type, media) = (_part(each) for each in pieces[1:3])
        return Call(caller, parameters, _json(metadata), revision_of(Content(media)), media_type)

    def _start(self, method: Method, parameters: dict[str, Any], caller: Caller) -> Any:
        call = Call(caller, parameters, self._json())
        with self._service.api.drive.lock:
            (check_new if method.name == "files.create" else check_update)(self._service.api, call)
        length = self.headers["X-Upload-Content-Length"]
        session = self._service.api.uploads.open(
            method=method,
            query=parameters | {"fields": self._query.get("fields", "")},
            body=call.body,
            media_type=self.headers["X-Upload-Content-Type"] or "",
            total=None if length is None else int(length),
            file_id=parameters.get("fileId"),
            caller=caller,
        )
        raise HttpReply(200, "", {"Location": session.uri, "X-GUploader-UploadID": session.id})

    def _session(self, kind: str) -> Any:
        uploads = self._service.api.uploads
        if self.headers["Authorization"] is not None:
            # The address alone is enough; a token that is sent along must be good.
            self._authorize()
        self._apply_faults()
        if kind == "cancel":
            raise uploads.cancel(self._query["upload_id"])
        session = uploads.get(self._query["upload_id"])
        with session.lock:
            if session.answer is None:
                self._receive(session)
            else:
                self._body()
        return session.answer

    def _receive(self, session: Session) -> None:
        uploads = self._service.api.uploads
        header = self.headers["Content-Range"]
        try:
            data = self._body()
        except (ResetConnection, OSError):
            # What has arrived of a request that broke off is kept, as far as it fills whole units.
            start = int((header or "bytes 0-").removeprefix("bytes ").partition("-")[0])
            total = session.total
            session.total = None
            uploads.keep(session, start, bytes(self._arrived))
            session.total = total
            raise
        most = min((fault.truncate for fault in self._faults if fault.truncate is not None), default=None)
        uploads.take(session, header, data, most)
        revision = revision_of(session.content)
        call = Call(session.caller, session.query, session.body, revision, session.media_type)
        with self._service.api.drive.lock:
            answer = ENDPOINTS[session.method.name](self._service.api, call)
        session.answer = self._masked(session.method, answer, session.query["fields"])

    # Sending the reply

    def _send(self, reply: Any) -> None:
        if isinstance(reply, Download):
            self._send_content(reply.content, {"Content-Type": reply.mime})
        elif reply is None:
            self._send_head(204, 0, {})
        else:
            self._send_bytes(200, json.dumps(reply).encode(), "application/json; charset=UTF-8", {})

    def _unsatisfiable(self, size: int) -> HttpReply:
        found = refusal(
            416, "requestedRangeNotSatisfiable", "Request range not satisfiable", "Range", kind="header"
        )
        found.headers["Content-Range"] = f"bytes */{size}"
        return found


def _part(piece: bytes) -> tuple[str, bytes]:
    """The content type and the body of a part of a multipart message."""
    for blank in (b"\r\n\r\n", b"\n\n"):
        head, found, body = piece.partition(blank)
        if found:
            message = BytesHeaderParser().parsebytes(head.strip() + b"\n\n")
            return message.get("Content-Type", ""), body
    raise bad_request("Malformed multipart body.")


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise refusal(400, "parseError", "Parse Error")
    return found


def _checked(method: Method, query: dict[str, str]) -> dict[str, Any]:
    """A query's parameters by the description's types; what it does not know is refused."""
    found: dict[str, Any] = {}
    for name, text in query.items():
        if name in ANYWHERE:
            continue
        described = method.parameters.get(name)
        if described is None or described["location"] != "query":
            raise refusal(400, "invalidParameter", f"Unknown parameter: {name}", name)
        if described["type"] == "boolean":
            if text not in ("true", "false"):
                raise invalid(name, f"Invalid boolean value: '{text}'.", "invalidParameter")
            found[name] = text == "true"
        elif described["type"] == "integer":
            if not text.lstrip("-").isdigit():
                raise invalid(name, f"Invalid integer value: '{text}'.", "invalidParameter")
            found[name] = int(text)
        else:
            found[name] = text
    return found
