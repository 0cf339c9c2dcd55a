"""What people write for a place, and what opens."""

import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photosync import places
from photosync.backends import device_facts
from photosync.backends.s3_options import Keeping
from photosync.config import S3, Config, Drive, Dropbox, Fsspec, Ftp, Local, Remote, Sftp, Smb, Webdav
from photosync.engine.capabilities import Store
from photosync.engine.errors import DeviceGone, NotSignedIn, Permanent
from photosync.places import Kind, Place, PlaceError, PlaceSpec, open_place, parse
from photosync.secrets import Secrets
from tests.app.serving import PASSWORD, USER, serving
from tests.servers.dropbox_emulator import DropboxEmulator

CANARY = "cAnArY-4711"
CONFIG = Config(remotes={"db": Dropbox(app_key="k"), "nas box": Sftp(host="h"), "C": Local(root="/c")})


@pytest.mark.parametrize(
    ("text", "kind", "name", "path"),
    [
        (".", Kind.LOCAL, ".", "."),
        ("/a/b:c", Kind.LOCAL, "/a/b:c", "/a/b:c"),
        ("./db:x", Kind.LOCAL, "./db:x", "./db:x"),
        ("~/Photos", Kind.LOCAL, "~/Photos", "~/Photos"),
        ("C:\\x", Kind.LOCAL, "C:\\x", "C:\\x"),
        ("file:///a%20b/c", Kind.LOCAL, "file:///a%20b/c", "/a b/c"),
        ("file://localhost/a", Kind.LOCAL, "file://localhost/a", "/a"),
        ("db:", Kind.REMOTE, "db", ""),
        ("db:Photos/2026 a:b", Kind.REMOTE, "db", "Photos/2026 a:b"),
        ("nas box:/srv", Kind.REMOTE, "nas box", "/srv"),
        ("C:/x", Kind.REMOTE, "C", "/x"),
        ("phone:", Kind.PHONE, "phone", ""),
        ("phone:/DCIM/", Kind.PHONE, "phone", "/DCIM/"),
        ("phone@My Pixel:DCIM", Kind.PHONE, "phone@My Pixel", "DCIM"),
        ("s3://bucket/p/q", Kind.URL, "s3", "bucket/p/q"),
        ("memory://p", Kind.URL, "memory", "memory://p"),
        ("sftp://ann@h:2022/p%20q", Kind.URL, "sftp", "/p%20q"),
        ("simplecache::memory://p", Kind.URL, "simplecache", "simplecache::memory://p"),
    ],
)
def test_what_words_mean(text: str, kind: Kind, name: str, path: str) -> None:
    found = parse(text, CONFIG)
    assert (found.text, found.kind, found.name, found.path) == (text, kind, name, path)


@pytest.mark.parametrize("text", ["db", "nas box", "phone", "phone@Pixel"])
def test_a_forgotten_colon(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlaceError, match=rf"Did you mean {text}: .*write \./{text}"):
        parse(text, CONFIG)
    assert parse(f"./{text}", CONFIG).kind is Kind.LOCAL
    (tmp_path / text).mkdir()
    assert parse(text, CONFIG).kind is Kind.LOCAL


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("sftp://ann@h:2022/p", Sftp(host="h", port=2022, user="ann")),
        ("ssh://h/p", Sftp(host="h")),
        ("ftp://h/p", Ftp(host="h")),
        ("smb://a%40b@h/share", Smb(host="h", user="a@b")),
        ("s3://bucket", S3()),
        ("db:", Dropbox(app_key="k")),
        ("x", Local()),
        ("memory://x", None),
        ("phone:", None),
    ],
)
def test_how_a_place_is_reached(text: str, remote: Remote | None) -> None:
    assert parse(text, CONFIG).remote == remote


@pytest.mark.parametrize(
    ("text", "instead"), [("psadb:///sdcard", "phone:"), ("webdav://h/x", "--type webdav")]
)
def test_an_address_that_does_not_say_enough(text: str, instead: str, tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match=instead):
        open_place(parse(text, CONFIG), Secrets(tmp_path / "secrets.json"))


def test_drive_letters_are_paths_on_windows() -> None:
    assert [places._is_drive(text, windows=True) for text in ("C:/x", "c:x", "C:", "db:x")] == [True] * 3 + [
        False
    ]
    assert [places._is_drive(text, windows=False) for text in ("C:/x", "c:x", "C:\\x")] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["missing"]),
        ("a\0b", ["NUL"]),
        (":x", ["./"]),
        ("dropbox:", ["photosync connect dropbox --type dropbox"]),
        ("s3:bucket", ["photosync connect s3 --type s3"]),
        ("dbb:x", ["'dbb'", "Did you mean db:?", "db, nas box", "photosync connect"]),
        ("phon:x", ["phone:"]),
        ("ann@host:/srv", ["sftp://ann@host/"]),
        ("sftp:///p", ["sftp://user@host"]),
        ("sftp://h:port/p", ["sftp://user@host"]),
    ],
)
def test_what_names_no_place_is_explained(text: str, words: list[str]) -> None:
    with pytest.raises(PlaceError) as caught:
        parse(text, CONFIG)
    for word in words:
        assert word in str(caught.value)


def test_without_remotes_the_error_says_so() -> None:
    with pytest.raises(PlaceError, match="None is configured yet"):
        parse("nas:x", Config())


@pytest.mark.parametrize(
    "text", [f"sftp://u:{CANARY}@h/p", f"s3://k:{CANARY}@b", f"zip://a::ftp://u:{CANARY}@h/p"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(PlaceError, match="photosync connect") as caught:
        parse(text, CONFIG)
    assert CANARY not in repr(caught.value)


@given(st.text(max_size=30) | st.text("db:/\\@.~phone s3C%[]", max_size=12))
def test_any_words_are_a_place_or_explained(text: str) -> None:
    try:
        assert parse(text, CONFIG).text == text
    except PlaceError:
        pass


# Opening


def spec(remote: Remote, path: str = "", name: str = "r") -> PlaceSpec:
    return PlaceSpec(f"{name}:{path}", Kind.REMOTE, name, path, remote)


class NoKeys:
    """For places that must not ask for credentials."""

    def get(self, remote: str) -> None:
        raise AssertionError(f"asked for the credentials of {remote}")

    def rotate(self, remote: str, new: Mapping[str, Any]) -> None:
        raise AssertionError

    def redact(self, text: str) -> str:
        return text


def opened(text: str, config: Config = CONFIG) -> Place:
    return open_place(parse(text, config), NoKeys())


def test_a_folder_of_this_machine(home: Path) -> None:
    (home / "real").mkdir()
    (home / "real" / "a.jpg").write_bytes(b"1")
    (home / "link").symlink_to("real")
    for text in ("real", "./real/", "~/real", f"file://{home}/real", "link", str(home / "real")):
        place = opened(text)
        assert isinstance(place.store, Store)
        assert [entry.path for entry in place.store.list_folder("")] == ["a.jpg"]
        assert place.identity == os.path.realpath(home / "real")


def test_a_named_folder_confines_its_paths(home: Path) -> None:
    (home / "real" / "sub").mkdir(parents=True)
    config = Config(remotes={"disk": Local(root="~/real")})
    assert opened("disk:/sub/", config).identity == os.path.realpath(home / "real" / "sub")
    with pytest.raises(PlaceError, match=r"'\.\.'"):
        opened("disk:../..", config)


def test_dropbox_renews_its_token_and_keeps_it(
    emulator: DropboxEmulator, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.put("/Photos/a.jpg", b"1")
    token = emulator.token()
    secrets = Secrets()
    secrets.set("db", {"access_token": token["access_token"], "refresh_token": token["refresh_token"]})
    emulator.advance(5 * 3600)
    config = Config(remotes={"db": Dropbox(app_key="k", root="Photos", account="dbid:1")})
    place = open_place(parse("db:", config), secrets)
    place.store.about()
    assert [entry.path for entry in place.store.list_folder("")] == ["a.jpg"]
    kept = Secrets().get("db")
    assert kept is not None
    assert kept["access_token"] != token["access_token"]
    assert kept["refresh_token"] == token["refresh_token"]
    assert set(kept) == {"access_token", "refresh_token", "expires_at"}
    assert place.identity == "dropbox:dbid:1/photos"

    # The state folder is full or gone: the run goes on with its token.
    secrets_file = home / "state" / "secrets.json"
    secrets_file.unlink()
    secrets_file.symlink_to("nowhere")
    emulator.advance(5 * 3600)
    with caplog.at_level(logging.WARNING):
        place.store.about()
    assert "could not be kept" in caplog.text
    assert token["refresh_token"] not in caplog.text


def test_a_token_of_an_unknown_app_is_used_as_long_as_it_lasts(emulator: DropboxEmulator) -> None:
    token = emulator.token()
    secrets = Secrets()
    secrets.set("db", {"access_token": token["access_token"], "refresh_token": token["refresh_token"]})
    place = open_place(spec(Dropbox(), name="db"), secrets)
    place.store.about()
    emulator.advance(5 * 3600)
    with pytest.raises(NotSignedIn, match="photosync connect"):
        place.store.about()


@pytest.mark.parametrize("record", [None, {}, {"refresh_token": CANARY}])
def test_dropbox_without_a_usable_token_says_how_to_sign_in(record: dict[str, str] | None) -> None:
    secrets = Secrets()
    if record is not None:
        secrets.set("db", record)
    with pytest.raises(NotSignedIn, match="photosync connect db"):
        open_place(spec(Dropbox(), name="db"), secrets)


def test_s3_takes_its_own_keys_and_its_endpoint_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = Secrets()
    secrets.set("r", {"access_key_id": "AK", "secret_access_key": CANARY})
    remote = S3(endpoint="http://127.0.0.1:9", region="r1", root="bucket", addressing_style="path")
    place = open_place(spec(remote, "/a//b/"), secrets)
    assert place.identity == "s3://127.0.0.1:9/bucket/a/b"
    account = place.store._service._account
    assert (account.key, account.secret, account.endpoint_url) == ("AK", CANARY, "http://127.0.0.1:9")
    assert opened("s3://bucket/a").identity == "s3://aws/bucket/a"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example/")
    assert opened("s3://bucket").identity == "s3://s3.example/bucket"


def test_s3_is_told_how_to_keep_objects() -> None:
    remote = S3(
        root="bucket",
        storage_class="STANDARD_IA",
        sse="aws:kms",
        sse_kms_key_id="k",
        object_lock_mode="GOVERNANCE",
        object_lock_days=30,
        requester_pays=True,
    )
    keeping = open_place(spec(remote), Secrets()).store._service._account.keeping
    assert (keeping.storage_class, keeping.sse, keeping.sse_kms_key_id) == ("STANDARD_IA", "aws:kms", "k")
    assert (keeping.object_lock_mode, keeping.requester_pays) == ("GOVERNANCE", True)
    assert 29 <= (keeping.object_lock_until - datetime.now(UTC)).days <= 30
    assert open_place(spec(S3(root="bucket")), Secrets()).store._service._account.keeping == Keeping()


def test_s3_addresses_honour_fsspecs_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    conf = {"key": "AK", "secret": CANARY, "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"}}
    monkeypatch.setitem(fsspec.config.conf, "s3", conf)
    place = opened("s3://bucket/x")
    assert place.identity == "s3://127.0.0.1:9/bucket/x"
    assert place.store._service._account.secret == CANARY


def test_s3_without_a_bucket_is_explained() -> None:
    with pytest.raises(PlaceError, match="bucket"):
        open_place(spec(S3()), Secrets())


def test_any_filesystem_of_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").pipe("/p/q/a.jpg", b"1")
    place = opened("memory://p/q")
    assert [entry.path for entry in place.store.list_folder("")] == ["a.jpg"]
    assert place.identity == "memory://p/q"
    named = Config(remotes={"m": Fsspec(protocol="memory", root="p")})
    place = open_place(parse("m:q", named), Secrets())
    assert [entry.path for entry in place.store.list_folder("")] == ["a.jpg"]


def test_photosyncs_own_filesystems_open_as_what_they_are(home: Path) -> None:
    assert type(opened(f"pslocal://{home}").store).__name__ == "LocalStore"


@pytest.mark.parametrize("protocol", ["sftp", "ftp", "webdav"])
def test_servers(protocol: str, home: Path) -> None:
    if protocol == "webdav":
        pytest.importorskip("webdav4", reason="pip install 'webdav4[fsspec]'")
    (home / "srv" / "photos" / "x").mkdir(parents=True)
    (home / "srv" / "photos" / "x" / "a.jpg").write_bytes(b"1")
    secrets = Secrets()
    secrets.set("r", {"password": PASSWORD})
    with serving(protocol, home / "srv") as port:
        at = {"root": "photos", "user": USER}
        remote: Remote = {
            "sftp": lambda: Sftp(host="127.0.0.1", port=port, **at),
            "ftp": lambda: Ftp(host="127.0.0.1", port=port, **at),
            "webdav": lambda: Webdav(url=f"http://127.0.0.1:{port}", **at),
        }[protocol]()
        place = open_place(spec(remote, "x"), secrets)
        assert [(entry.path, entry.size) for entry in place.store.list_folder("")] == [("a.jpg", 1)]
        assert place.identity.endswith(f"{USER}@127.0.0.1:{port}/photos/x") or protocol == "webdav"
        assert PASSWORD not in repr(place) + place.identity
        place.store.close()


def test_a_wrong_password_shows_nowhere(home: Path) -> None:
    secrets = Secrets()
    secrets.set("r", {"password": CANARY})
    with serving("ftp", home) as port, pytest.raises(NotSignedIn) as caught:
        open_place(spec(Ftp(host="127.0.0.1", port=port, user=USER)), secrets)
    assert CANARY not in repr(caught.value)


def test_what_a_library_says_is_redacted() -> None:
    class Telling(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "telling"

        def __init__(self, **options: Any) -> None:
            raise RuntimeError(f"bad options: {options}")

    fsspec.register_implementation("telling", Telling, clobber=True)
    secrets = Secrets()
    secrets.set("r", {"apikey": CANARY})
    with pytest.raises(Permanent, match=r"bad options: .*\*\*\*") as caught:
        open_place(spec(Fsspec(protocol="telling")), secrets)
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in repr(error)
        error = error.__cause__ or error.__context__


def test_an_unknown_protocol_is_explained() -> None:
    with pytest.raises(PlaceError, match="memory://"):
        opened("memry://x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gcs://b", "pip install 'gcsfs'"),
        ("abfs://b", "pip install 'adlfs'"),
        ("dropbox://x", "photosync connect dropbox"),
    ],
)
def test_a_missing_package_is_named(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(protocol: str, *_: object, **__: object) -> None:
        raise ImportError(protocol)

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(PlaceError) as caught:
        opened(text)
    assert words in str(caught.value)


def test_drive_needs_a_sign_in() -> None:
    with pytest.raises(NotSignedIn, match="photosync connect"):
        open_place(spec(Drive()), Secrets())
    with pytest.raises(PlaceError, match="--type drive"):
        opened("gdrive://folder")


def test_no_phone_is_plugged_in() -> None:
    with pytest.raises(DeviceGone):
        opened("phone@No such device:")


def test_opening_is_lazy() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from photosync import places, config, connect, secrets, rclone_import;"
        "places.parse('s3://b', config.load());"
        "print([m for m in ('boto3', 'botocore', 'dropbox', 'paramiko', 'keyring', 'fsspec', 'tomlkit',"
        " 'cryptography', 'requests') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


@pytest.mark.parametrize(
    ("protocol", "options", "root"),
    [
        ("file", {}, "{phone}/DCIM"),
        ("dir", {"path": "{phone}", "target_protocol": "file"}, "DCIM"),
        ("dir", {"path": "{phone}/..", "target_protocol": "file"}, "pixel/DCIM"),
        ("dir", {"path": "DCIM", "fs": "{phone}"}, ""),
        ("pslocal", {}, "{phone}/DCIM"),
    ],
)
def test_a_phones_mount_is_only_read_whatever_it_is_wrapped_in(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    options: dict[str, Any],
    root: str,
) -> None:
    phone = tmp_path / "pixel"
    (phone / "DCIM").mkdir(parents=True)
    mounts = [device_facts.Mount("jmtpfs", str(phone), "fuse.jmtpfs")]
    monkeypatch.setattr(device_facts, "mount_table", lambda: iter(mounts))
    options = {name: value.format(phone=phone) for name, value in options.items()}
    if "fs" in options:  # a folder of a folder
        options["fs"] = fsspec.filesystem("dir", path=options["fs"], target_protocol="file")
    remote = Fsspec(protocol=protocol, options=options, root=root.format(phone=phone))
    spec, keys = parse("p:", Config(remotes={"p": remote})), Secrets(tmp_path / "secrets.json")
    assert not open_place(spec, keys).store.capabilities.writable
    mounts[0] = device_facts.Mount("ext4", str(phone), "ext4")
    assert open_place(spec, keys).store.capabilities.writable
