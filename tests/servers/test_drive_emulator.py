"""The Drive emulator by Google's own client and bare requests: the documented rules."""

import hashlib
import os
import threading

import pytest
import requests
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaInMemoryUpload

from .drive_emulator import DriveEmulator
from .drive_sdk import API, UPLOAD, Caller, reason_of, sdk_client
from .drive_state import FOLDER, SHORTCUT

KiB = 1024
UNIT = 256 * KiB
EVERYTHING = {"Holiday.jpg", "hello world.jpg", "sub", "it's", "in sub"}


@pytest.fixture
def app(drive: DriveEmulator) -> Caller:
    """An app that sees everything."""
    return Caller(drive)


# By Google's own client


def test_the_official_client(drive: DriveEmulator) -> None:
    service = sdk_client(drive)
    data = os.urandom(3 * UNIT + 5)
    (file_id,) = service.files().generateIds(count=1).execute()["ids"]
    body = {"id": file_id, "name": "ü/☃.jpg", "modifiedTime": "2021-03-04T05:06:07.891Z"}
    media = MediaInMemoryUpload(data, "image/jpeg", chunksize=UNIT, resumable=True)
    done = service.files().create(body=body, media_body=media, fields="*").execute()
    assert (done["id"], done["name"], done["size"]) == (file_id, "ü/☃.jpg", str(len(data)))
    assert done["modifiedTime"] == "2021-03-04T05:06:07.891Z"
    assert done["md5Checksum"] == hashlib.md5(data).hexdigest()
    assert done["sha256Checksum"] == hashlib.sha256(data).hexdigest()
    assert service.files().get_media(fileId=file_id).execute() == data
    with pytest.raises(HttpError) as caught:
        service.files().create(body=body, media_body=MediaInMemoryUpload(b"x")).execute()
    assert (caught.value.status_code, caught.value.reason) == (
        409,
        "A file already exists with the provided ID.",
    )
    assert drive.requests["upload/chunk"] == 4
    assert service.about().get(fields="storageQuota(usage)").execute() == {
        "storageQuota": {"usage": str(len(data))}
    }
    assert requests.get("https://www.googleapis.com/discovery/v1/apis/drive/v3/rest", timeout=5).json()["id"]


# Ids, names, fields


def test_an_id_makes_one_file_and_is_never_free_again(app: Caller) -> None:
    (file_id,) = app.call("GET", "files/generateIds", count=1)["ids"]
    app.create("a", id=file_id)
    again = {"id": file_id, "name": "b"}
    assert app.refused("POST", "files", again) == (409, "fileIdInUse")
    answer = app.raw("POST", UPLOAD, params={"uploadType": "resumable"}, json=again)
    assert reason_of(answer) == (409, "fileIdInUse")
    app.call("DELETE", f"files/{file_id}")
    assert app.refused("POST", "files", again) == (409, "fileIdInUse")


def test_ids_are_the_services_to_make(app: Caller) -> None:
    (file_id,) = app.call("GET", "files/generateIds", count=1)["ids"]
    assert app.refused("POST", "files", {"id": "made-up"}) == (400, "invalid")
    document = {"id": file_id, "mimeType": "application/vnd.google-apps.document"}
    assert app.refused("POST", "files", document) == (403, "insufficientFilePermissions")
    assert app.refused("POST", "files", {"id": file_id, "mimeType": SHORTCUT}) == (400, "invalid")
    assert app.refused("GET", "files/generateIds", count=1001) == (400, "invalidParameter")
    assert app.call("POST", "files", {"id": file_id, "mimeType": FOLDER})["id"] == file_id


def test_two_sessions_for_one_id_make_one_file(drive: DriveEmulator, app: Caller) -> None:
    (file_id,) = app.call("GET", "files/generateIds", count=1)["ids"]
    first, second = (app.start(id=file_id, name="a") for _ in range(2))
    assert app.raw("PUT", first, data=b"1").status_code == 200
    assert reason_of(app.raw("PUT", second, data=b"1")) == (409, "fileIdInUse")
    assert len(drive.files()["a"]) == 1


def test_names_may_occur_twice_and_hold_anything(drive: DriveEmulator, app: Caller) -> None:
    names = ["a/b", "a/b", "..", "x" * 300, "é", "é"]
    for name in names:
        assert app.create(name)["name"] == name
    assert len(app.call("GET", "files")["files"]) == len(names)
    assert len(drive.files()["a/b"]) == 2


def test_masks_of_fields(app: Caller) -> None:
    file_id = app.create("a", b"1", appProperties={"k": "v"})["id"]
    path = f"files/{file_id}"
    assert set(app.call("GET", path)) == {"kind", "id", "name", "mimeType"}
    assert app.call("GET", path, fields="size,appProperties/k") == {"size": "1", "appProperties": {"k": "v"}}
    listed = app.call("GET", "files", fields="files(id,owners(displayName)),nextPageToken")
    assert listed == {"files": [{"id": file_id, "owners": [{"displayName": "Test Person"}]}]}
    assert app.call("GET", path, fields="*")["md5Checksum"] == hashlib.md5(b"1").hexdigest()
    for wrong in ("nothing", "files(", "owners/nothing", "a;b"):
        assert app.refused("GET", path, fields=wrong) == (400, "invalidParameter")
    assert app.refused("GET", "about") == (400, "required")
    assert app.refused("GET", "files", qq="x") == (400, "invalidParameter")


def test_what_may_be_written(app: Caller) -> None:
    file_id = app.create("a", createdTime="2020-01-01T00:00:00Z")["id"]
    path = f"files/{file_id}"
    assert app.refused("PATCH", path, {"size": "1"}) == (403, "fieldNotWritable")
    assert app.refused("PATCH", path, {"createdTime": "2020-01-01T00:00:00Z"}) == (403, "fieldNotWritable")
    assert app.refused("PATCH", path, {"parents": ["root"]}) == (403, "fieldNotWritable")
    assert app.refused("PATCH", path, {"title": "v2"}) == (400, "badRequest")
    assert app.refused("PATCH", path, {"appProperties": {"k": "v" * 124}}) == (400, "badRequest")
    assert app.refused("PATCH", path, {"modifiedTime": "yesterday"}) == (400, "invalid")
    app.call("PATCH", path, {"appProperties": {"k": "v" * 123}})
    app.call("PATCH", path, {"appProperties": {"k": None}})
    assert "appProperties" not in app.call("GET", path, fields="*")


# Searching


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", EVERYTHING),
        ("name = 'HOLIDAY.JPG'", {"Holiday.jpg"}),
        ("name contains 'wor'", {"hello world.jpg"}),
        ("name contains 'orld'", set()),
        ("name = 'it\\'s'", {"it's"}),
        ("name != 'it\\'s' and not name contains 'h'", {"sub", "in sub"}),
        ("mimeType = 'application/vnd.google-apps.folder' or name = 'in sub'", {"sub", "in sub"}),
        ("(name = 'sub' or name = 'in sub') and mimeType contains 'image/'", {"in sub"}),
        ("'root' in parents and trashed=false and mimeType!='x'", EVERYTHING - {"in sub"}),
        ("trashed = true", set()),
        ("modifiedTime > '2021-01-01T00:00:00'", {"Holiday.jpg"}),
        ("modifiedTime <= '2020-06-01T12:00:00+02:00' and createdTime > '2000-01-01'", {"it's"}),
        ("appProperties has { key='k' and value='v' }", {"in sub"}),
        ("'me' in owners and starred = false", EVERYTHING),
    ],
)  # fmt: skip
def test_searching(app: Caller, drive: DriveEmulator, query: str, found: set[str]) -> None:
    drive._offset = 1_600_000_000 - drive.now()
    folder = app.call("POST", "files", {"name": "sub", "mimeType": FOLDER})["id"]
    drive._offset = 0
    app.session.headers["Authorization"] = f"Bearer {drive.token()['access_token']}"
    old = {"modifiedTime": "2020-12-01T00:00:00Z"}
    app.create("Holiday.jpg", modifiedTime="2022-01-01T00:00:00Z")
    app.create("hello world.jpg", **old)
    app.create("it's", modifiedTime="2020-06-01T10:00:00Z")
    app.create("in sub", parents=[folder], appProperties={"k": "v"}, **old)
    assert {each["name"] for each in app.call("GET", "files", q=query)["files"]} == found


@pytest.mark.parametrize(
    "query",
    ["name", "name = x", "name = 'x", "nome = 'x'", "(name='x'", "name='x' name='y'", "trashed = 'true'"],
)
def test_queries_that_make_no_sense(app: Caller, query: str) -> None:
    assert app.refused("GET", "files", q=query) == (400, "invalid")


def test_an_unknown_parent_is_not_found(app: Caller) -> None:
    assert app.refused("GET", "files", q="'nobody' in parents") == (404, "notFound")
    assert app.refused("POST", "files", {"parents": ["nobody"]}) == (404, "notFound")


def test_pages_and_order(drive: DriveEmulator, app: Caller) -> None:
    names = [f"{number:02}" for number in range(7)]
    for name in reversed(names):
        app.create(name)
    seen, token, pages = [], None, 0
    while pages == 0 or token:
        options = {"pageToken": token} if token else {}
        page = app.call("GET", "files", pageSize=3, orderBy="name", **options)
        seen += [each["name"] for each in page["files"]]
        token, pages = page.get("nextPageToken"), pages + 1
        drive.put("late", b"")
    assert (seen, pages) == (names, 3)
    assert app.refused("GET", "files", pageToken="nothing") == (400, "invalid")
    first = app.call("GET", "files", pageSize=3)["nextPageToken"]
    assert app.refused("GET", "files", pageToken=first, q="trashed=false") == (400, "invalid")
    assert app.refused("GET", "files", orderBy="shoe size") == (400, "invalid")


def test_the_bin(app: Caller) -> None:
    folder = app.call("POST", "files", {"name": "d", "mimeType": FOLDER})["id"]
    inside = app.create("f", parents=[folder])["id"]
    app.call("PATCH", f"files/{folder}", {"trashed": True})
    told = app.call("GET", f"files/{inside}", fields="trashed,explicitlyTrashed")
    assert told == {"trashed": True, "explicitlyTrashed": False}
    assert app.call("GET", "files", q="trashed=false")["files"] == []
    assert len(app.call("GET", "files")["files"]) == 2
    app.call("DELETE", "files/trash")
    assert app.refused("GET", f"files/{inside}") == (404, "notFound")


# Changes


def test_the_change_feed_tells_each_item_once(drive: DriveEmulator, app: Caller) -> None:
    start = app.call("GET", "changes/startPageToken")["startPageToken"]
    nothing = app.call("GET", "changes", pageToken=start)
    assert (nothing["changes"], nothing["newStartPageToken"]) == ([], start)
    kept, gone = app.create("kept")["id"], app.create("gone")["id"]
    app.call("PATCH", f"files/{kept}", {"name": "renamed"})
    app.call("DELETE", f"files/{gone}")
    seen, token = [], start
    while token:
        page = app.call("GET", "changes", pageToken=token, pageSize=1)
        seen += [(each["fileId"], each["removed"]) for each in page["changes"]]
        token = page.get("nextPageToken")
    assert seen == [(kept, False), (gone, True)]
    assert app.call("GET", "changes", pageToken=page["newStartPageToken"])["changes"] == []
    assert app.refused("GET", "changes", pageToken="x") == (400, "invalid")
    assert app.refused("GET", "changes") == (400, "required")


# Resumable uploads


def put(app: Caller, uri: str, data: bytes, content_range: str | None) -> requests.Response:
    headers = {} if content_range is None else {"Content-Range": content_range}
    return app.raw("PUT", uri, data=data, headers=headers)


def test_pieces_and_the_status_query(drive: DriveEmulator, app: Caller) -> None:
    data = os.urandom(2 * UNIT + 7)
    uri = app.start(len(data), name="a")
    status = put(app, uri, b"", f"bytes */{len(data)}")
    assert (status.status_code, status.headers.get("Range")) == (308, None)
    # A piece that is no multiple of 256 KiB is kept as far as it fills some.
    answer = put(app, uri, data[: UNIT + 100], f"bytes 0-{UNIT + 99}/{len(data)}")
    assert (answer.status_code, answer.headers["Range"]) == (308, f"bytes=0-{UNIT - 1}")
    beyond = put(app, uri, data[UNIT + 100 :], f"bytes {UNIT + 100}-{len(data) - 1}/{len(data)}")
    assert beyond.status_code == 503
    assert f"exceeds already uploaded size of {UNIT} byte(s)" in beyond.text
    assert put(app, uri, b"", "bytes */5").status_code == 400
    assert put(app, uri, data, "nonsense").status_code == 400
    done = put(app, uri, data, f"bytes 0-{len(data) - 1}/{len(data)}")
    assert done.status_code == 200
    again = put(app, uri, b"", f"bytes */{len(data)}")
    assert (again.status_code, again.json()) == (200, done.json())
    assert [each.read() for each in drive.files()["a"]] == [data]


@pytest.mark.parametrize("length", [0, 1, UNIT, UNIT + 1])
def test_uploads_of_any_length_with_a_length_told_late(
    drive: DriveEmulator, app: Caller, length: int
) -> None:
    data = os.urandom(length)
    uri = app.start(name="a")
    for start in range(0, length, UNIT):
        piece = data[start : start + UNIT]
        answer = put(
            app, uri, piece, f"bytes {start}-{start + len(piece) - 1}/{'*' if len(piece) == UNIT else length}"
        )
        assert answer.status_code == (308 if len(piece) == UNIT else 200)
    if length % UNIT == 0:
        assert put(app, uri, b"", f"bytes */{length}").status_code == 200
    assert [each.read() for each in drive.files()["a"]] == [data]


def test_sessions_end_after_a_week_or_when_told(drive: DriveEmulator, app: Caller) -> None:
    one, two = app.start(name="a"), app.start(name="b")
    assert app.raw("DELETE", one).status_code == 499
    assert put(app, one, b"1", None).status_code == 404
    drive.advance(7 * 24 * 3600 + 1)
    assert requests.put(two, data=b"1", timeout=5).status_code == 404
    drive.api.uploads.expired_status = 410
    assert requests.put(two, data=b"1", timeout=5).status_code == 410
    assert drive.files() == {}


def test_the_address_of_a_session_is_enough(drive: DriveEmulator, app: Caller) -> None:
    uri = app.start(name="a")
    drive.auth.expire()
    assert app.raw("PUT", uri, data=b"1").status_code == 401
    assert requests.put(uri, data=b"1", timeout=5).status_code == 200


# Downloads, documents, shortcuts


def test_ranges(app: Caller) -> None:
    file_id = app.create("a", b"0123456789")["id"]
    for asked, told in (
        ("bytes=2-4", b"234"),
        ("bytes=7-", b"789"),
        ("bytes=-2", b"89"),
        ("bytes=5-99", b"56789"),
    ):
        answer = app.raw("GET", f"files/{file_id}", params={"alt": "media"}, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, told)
    answer = app.raw("GET", f"files/{file_id}", params={"alt": "media"}, headers={"Range": "bytes=10-"})
    assert reason_of(answer) == (416, "requestedRangeNotSatisfiable")


def test_what_has_no_bytes_is_not_downloaded(drive: DriveEmulator, app: Caller) -> None:
    document = drive.put_document("Notes")
    folder = drive.mkdir("d")
    for file_id in (document, folder):
        assert app.refused("GET", f"files/{file_id}", alt="media") == (403, "fileNotDownloadable")
        assert "md5Checksum" not in app.call("GET", f"files/{file_id}", fields="*")
    assert (
        app.raw("GET", f"files/{document}/export", params={"mimeType": "text/plain"}).content == b"exported"
    )
    target = app.create("real", b"1")["id"]
    body = {"name": "link", "mimeType": SHORTCUT, "shortcutDetails": {"targetId": target}}
    link = app.call("POST", "files", body, fields="shortcutDetails,size")
    assert link == {"shortcutDetails": {"targetId": target, "targetMimeType": "image/jpeg"}}


# Who sees what


def test_the_narrow_scope_shows_what_the_app_made(drive: DriveEmulator) -> None:
    folder = drive.mkdir("theirs")
    theirs = drive.put("theirs/private.jpg", b"1")
    app, other = Caller(drive, "drive.file"), Caller(drive, "drive.file", "other")
    own = app.create("mine")["id"]
    assert [each["id"] for each in app.call("GET", "files")["files"]] == [own]
    assert [each["id"] for each in app.call("GET", "files", q="'root' in parents")["files"]] == [own]
    for caller, file_id in ((app, theirs), (other, own), (app, "root")):
        assert caller.refused("GET", f"files/{file_id}") == (404, "notFound")
        assert caller.refused("DELETE", f"files/{file_id}") == (404, "notFound")
    assert app.refused("POST", "files", {"parents": [folder]}) == (404, "notFound")
    assert app.refused("GET", "files", q=f"'{folder}' in parents") == (404, "notFound")
    assert [each["fileId"] for each in app.call("GET", "changes", pageToken="1")["changes"]] == [own]
    assert Caller(drive, "drive.readonly").refused("POST", "files", {"name": "x"}) == (
        403,
        "insufficientPermissions",
    )


def test_shared_drives(drive: DriveEmulator, app: Caller) -> None:
    shared = drive.add_drive("Family")
    assert [each["name"] for each in app.call("GET", "drives")["drives"]] == ["Family"]
    assert app.refused("POST", "files", {"parents": [shared]}) == (404, "notFound")
    file_id = app.call(
        "POST", "files", {"parents": [shared], "name": "a"}, supportsAllDrives=True, fields="*"
    )["id"]
    assert app.refused("GET", f"files/{file_id}") == (404, "notFound")
    assert app.call("GET", "files")["files"] == []
    both = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}
    for corpora in ({"corpora": "drive", "driveId": shared}, {"corpora": "allDrives"}):
        assert [each["id"] for each in app.call("GET", "files", **corpora, **both)["files"]] == [file_id]
    assert app.refused("GET", "files", corpora="drive", **both) == (400, "invalid")
    assert app.refused("GET", "files", corpora="drive", driveId=shared) == (400, "invalid")
    changes = app.call("GET", "changes", pageToken="1", driveId=shared, **both)["changes"]
    assert [each["fileId"] for each in changes] == [file_id]
    assert drive.api.drive.used == 0


def test_moving(drive: DriveEmulator, app: Caller) -> None:
    outer = app.call("POST", "files", {"name": "outer", "mimeType": FOLDER})["id"]
    inner = app.call("POST", "files", {"name": "inner", "mimeType": FOLDER, "parents": [outer]})["id"]
    file_id = app.create("f", b"1", parents=[inner])["id"]
    assert app.refused("PATCH", f"files/{file_id}", {}, addParents="root") == (403, "cannotAddParent")
    app.call("PATCH", f"files/{file_id}", {}, addParents="root", removeParents=inner)
    assert list(drive.files()) == ["f"]
    assert app.refused("PATCH", f"files/{outer}", {}, addParents=inner, removeParents="root") == (
        400,
        "badRequest",
    )
    assert app.refused("PATCH", f"files/{inner}", {}, addParents=file_id, removeParents=outer) == (
        403,
        "parentNotAFolder",
    )


# Limits


def test_a_sustained_rate_of_writes(drive: DriveEmulator, app: Caller) -> None:
    drive.api.write_rate, drive.api.write_burst = 0.01, 5.0
    outcomes = [app.raw("POST", "files", json={"name": "x"}).status_code for _ in range(7)]
    assert outcomes == [200] * 5 + [403] * 2
    assert app.refused("POST", "files", {"name": "x"}) == (403, "userRateLimitExceeded")
    assert app.raw("GET", "files").status_code == 200
    drive.advance(100)
    assert app.raw("POST", "files", json={"name": "x"}).status_code == 200


def test_a_full_account(drive: DriveEmulator, app: Caller) -> None:
    drive.api.drive.quota = 10
    first = app.create("a", bytes(6))["id"]
    answer = app.raw("POST", UPLOAD, params={"uploadType": "media"}, data=bytes(5))
    assert reason_of(answer) == (403, "storageQuotaExceeded")
    app.call("PATCH", f"files/{first}", {"trashed": True})
    assert app.raw("POST", UPLOAD, params={"uploadType": "media"}, data=bytes(5)).status_code == 403
    app.call("DELETE", f"files/{first}")
    assert app.raw("POST", UPLOAD, params={"uploadType": "media"}, data=bytes(5)).status_code == 200


def test_concurrent_creates_of_one_name_make_two(drive: DriveEmulator) -> None:
    """Drive does not guard names, which is why ids are made beforehand."""

    def make() -> None:
        Caller(drive).call("POST", "files", {"name": "d", "mimeType": FOLDER})

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Caller(drive).call("GET", "files", q="name='d'")["files"]) == 4


def test_other_hosts_and_paths_are_not_there(app: Caller) -> None:
    assert app.raw("GET", "nothing").status_code == 404
    assert app.raw("GET", API.replace("v3", "v9")).status_code == 404
