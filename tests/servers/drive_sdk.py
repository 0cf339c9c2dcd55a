"""Google's Python client, and bare requests, as tests use them against the emulator."""

import json
from typing import Any

import httplib2
import requests
from googleapiclient.discovery import build

from .drive_emulator import DriveEmulator

API = "https://www.googleapis.com/drive/v3/"
UPLOAD = "https://www.googleapis.com/upload/drive/v3/files"


class Caller:
    """Bare requests with a fresh token. The proxy comes from the environment, see `DriveEmulator.env`."""

    def __init__(self, drive: DriveEmulator, scope: str = "drive", client_id: str = "app"):
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {drive.token(scope, client_id)['access_token']}"

    def call(self, verb: str, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON of a reply that must be a success."""
        answer = self.raw(verb, path, json=body, params=query)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def refused(self, verb: str, path: str, body: Any = None, **query: Any) -> tuple[int, str]:
        """Status and reason of a refusal, whose body must have the documented form."""
        return reason_of(self.raw(verb, path, json=body, params=query))

    def raw(self, verb: str, path: str, **options: Any) -> requests.Response:
        url = path if path.startswith("https:") else API + path
        if "params" in options:
            told = {
                name: str(value).lower() if value in (True, False) else value
                for name, value in options["params"].items()
            }
            options["params"] = told
        return self.session.request(verb, url, timeout=60, **options)

    def create(self, name: str, data: bytes = b"", **body: Any) -> dict[str, Any]:
        """Makes a file in one request and returns its whole resource."""
        files = {
            "metadata": (None, json.dumps({"name": name, **body}), "application/json"),
            "media": (None, data, "image/jpeg"),
        }
        prepared = requests.Request("POST", UPLOAD, files=files).prepare()
        kind = str(prepared.headers["Content-Type"]).replace("multipart/form-data", "multipart/related")
        answer = self.raw(
            "POST",
            UPLOAD,
            params={"uploadType": "multipart", "fields": "*"},
            data=prepared.body,
            headers={"Content-Type": kind},
        )
        assert answer.ok, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def start(self, size: int | None = None, **body: Any) -> str:
        """Opens a resumable upload and returns its address."""
        headers = {} if size is None else {"X-Upload-Content-Length": str(size)}
        answer = self.raw("POST", UPLOAD, params={"uploadType": "resumable"}, json=body, headers=headers)
        assert answer.ok, answer.text
        return answer.headers["Location"]


def reason_of(answer: requests.Response) -> tuple[int, str]:
    """Status and reason of a refusal, whose body must have the documented form."""
    error = answer.json()["error"]
    (entry,) = error["errors"]
    assert (error["code"], error["message"]) == (answer.status_code, entry["message"])
    return answer.status_code, entry["reason"]


class RequestsHttp:
    """What Google's client asks of an http object, by requests (with the environment's proxy)."""

    def __init__(self, caller: Caller):
        self._caller = caller

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Any = None, **_: Any
    ) -> tuple[httplib2.Response, bytes]:
        answer = self._caller.session.request(
            method, uri, data=body, headers=headers, timeout=60, allow_redirects=False
        )
        told = {name.lower(): value for name, value in answer.headers.items()}
        return httplib2.Response({**told, "status": str(answer.status_code)}), answer.content


def sdk_client(drive: DriveEmulator, scope: str = "drive") -> Any:
    """Google's own client, signed in."""
    return build("drive", "v3", http=RequestsHttp(Caller(drive, scope)), static_discovery=True)
