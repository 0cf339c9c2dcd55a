"""Remotes taken over from files that the real rclone wrote."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photosync import rclone_file
from photosync.config import (
    S3,
    Config,
    ConfigError,
    Drive,
    Dropbox,
    Ftp,
    JobSpec,
    Local,
    Sftp,
    Smb,
    Webdav,
    load,
    save,
)
from photosync.places import open_place, parse
from photosync.rclone_file import RcloneError, Unusable, read, read_token, reveal
from photosync.rclone_import import ImportedRemote, Skipped, import_rclone
from photosync.secrets import Secrets
from tests.app.serving import PASSWORD, USER, rclone, serving
from tests.servers.dropbox_emulator import DropboxEmulator

CANARY = "cAnArY-hunter2"


def run(*arguments: str) -> str:
    done = subprocess.run([rclone(), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def theirs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """rclone's own configuration, to be filled by `create`."""
    path = home / "rclone.conf"
    path.touch()
    monkeypatch.setenv("RCLONE_CONFIG", str(path))
    return path


def create(name: str, kind: str, **options: str) -> None:
    run("config", "create", name, kind, *(f"{key}={value}" for key, value in options.items()),
        "--obscure", "--non-interactive")  # fmt: skip


def imported(names: list[str] | None = None) -> dict[str, ImportedRemote | Skipped]:
    return {result.name: result for result in import_rclone(None, names, None, Secrets())}


def reason(name: str) -> str:
    result = imported()[name]
    assert isinstance(result, Skipped)
    return result.reason


def token(**more: str) -> str:
    known = {"access_token": f"sl.{CANARY}", "token_type": "bearer", "refresh_token": f"r-{CANARY}"}
    return json.dumps({**known, "expiry": "2026-12-01T10:00:00.123456789+01:00", **more})


# Whole remotes


def test_remotes_of_every_type(theirs: Path) -> None:
    create("db", "dropbox", client_id="ck", client_secret=CANARY, token=token())
    create(
        "gd", "drive", client_id="cid", client_secret=CANARY, token=token(), scope="drive", team_drive="T1"
    )
    create(
        "s",
        "s3",
        provider="Minio",
        access_key_id="AK",
        secret_access_key=CANARY,
        endpoint="h:9000/",
        region="r",
    )
    create(
        "sf", "sftp", host="h", user="u", port="2022", key_file="/k", key_file_pass=CANARY, **{"pass": CANARY}
    )
    create("w", "webdav", url="https://x/dav", vendor="nextcloud", user="u", **{"pass": CANARY})
    create("f", "ftp", host="h", user="u", explicit_tls="true", **{"pass": CANARY})
    create("m", "smb", host="h", user="u", domain="D", **{"pass": CANARY})
    create("l", "local")
    create("al", "alias", remote="/srv/photos")
    before = theirs.read_bytes()

    results = imported()

    assert {
        name: result.remote for name, result in results.items() if isinstance(result, ImportedRemote)
    } == {
        "db": Dropbox(app_key="ck"),
        "gd": Drive(client_id="cid", scope="drive", shared_drive="T1"),
        "s": S3(endpoint="https://h:9000", region="r", addressing_style="path", provider="Minio"),
        "sf": Sftp(host="h", user="u", port=2022, key_file="/k"),
        "w": Webdav(url="https://x/dav", user="u"),
        "f": Ftp(host="h", user="u", tls=True),
        "m": Smb(host="h", user="D\\u"),
        "l": Local(),
        "al": Local(root="/srv/photos"),
    }
    secrets = Secrets()
    oauth = {
        "access_token": f"sl.{CANARY}",
        "refresh_token": f"r-{CANARY}",
        "expires_at": 1796115600.123456,
        "shared": True,
    }
    assert {name: secrets.get(name) for name in results} == {
        "db": {**oauth, "app_secret": CANARY},
        "gd": {**oauth, "client_secret": CANARY},
        "s": {"access_key_id": "AK", "secret_access_key": CANARY},
        "sf": {"password": CANARY, "key_passphrase": CANARY},
        "w": {"password": CANARY},
        "f": {"password": CANARY},
        "m": {"password": CANARY},
        "l": None,
        "al": None,
    }
    assert set(load().remotes) == set(results)
    assert theirs.read_bytes() == before, "rclone's file is never changed"
    assert CANARY not in repr(results)
    assert CANARY not in Path(os.environ["XDG_CONFIG_HOME"], "photosync", "config.toml").read_text()
    assert getattr(results["gd"], "warnings", None) == ()


def test_only_what_was_asked_for(theirs: Path) -> None:
    create("a", "local")
    create("b", "local")
    results = imported(["b", "none"])
    assert isinstance(results["b"], ImportedRemote)
    assert results["none"] == Skipped("none", "rclone's configuration has no section of this name")
    assert set(load().remotes) == {"b"}


def test_the_rest_of_the_configuration_is_left_as_it_is(theirs: Path) -> None:
    theirs.write_text("[disk]\ntype = local\n")
    save(Config(jobs={"all": JobSpec(source="phone:", destinations=["disk:"])}))
    jobs = load().jobs
    assert isinstance(imported()["disk"], ImportedRemote)
    assert load() == Config(remotes={"disk": Local()}, jobs=jobs)


def test_a_name_that_is_taken_is_left_as_it_is(theirs: Path) -> None:
    create("nas", "sftp", host="new", **{"pass": CANARY})
    save(Config(remotes={"nas": Sftp(host="old")}))
    assert "configured already" in reason("nas")
    assert load().remotes == {"nas": Sftp(host="old")}
    assert Secrets().get("nas") is None


def test_a_sign_in_with_rclones_own_app_works_until_it_expires(
    theirs: Path, emulator: DropboxEmulator
) -> None:
    emulator.put("/a.jpg", b"1")
    theirs.write_text(emulator.rclone_config("db"))
    result = imported()["db"]
    assert isinstance(result, ImportedRemote)
    assert "photosync connect" in result.warnings[0]
    assert "refresh_token" not in (Secrets().get("db") or {})
    place = open_place(parse("db:", load()), Secrets())
    assert place.store.about().used == 1
    assert [entry.path for entry in place.store.list_folder("")] == ["a.jpg"]


@pytest.mark.parametrize("protocol", ["sftp", "webdav", "ftp"])
def test_an_imported_server_lets_us_in(protocol: str, theirs: Path, home: Path) -> None:
    if protocol == "webdav":
        pytest.importorskip("webdav4", reason="pip install 'webdav4[fsspec]'")
    (home / "srv").mkdir()
    (home / "srv" / "a.jpg").write_bytes(b"1")
    with serving(protocol, home / "srv") as port:
        at = (
            {"url": f"http://127.0.0.1:{port}"}
            if protocol == "webdav"
            else {"host": "127.0.0.1", "port": str(port)}
        )
        create("srv", protocol, user=USER, **at, **{"pass": PASSWORD})
        assert run("lsf", "srv:").split() == ["a.jpg"]
        imported()
        place = open_place(parse("srv:", load()), Secrets())
        assert [entry.path for entry in place.store.list_folder("")] == ["a.jpg"]
        place.store.close()


# Single options


@pytest.mark.parametrize(
    ("options", "style"),
    [
        ({"provider": "AWS"}, "auto"),
        ({"provider": "AWS", "force_path_style": "false"}, "virtual"),
        ({"provider": "Wasabi", "endpoint": "s3.wasabisys.com"}, "virtual"),
        ({"provider": "Alibaba", "endpoint": "oss.example"}, "virtual"),
        ({"provider": "SeaweedFS", "endpoint": "http://h:1"}, "path"),
        ({"provider": "Other", "endpoint": "http://h:1"}, "path"),
        ({"provider": "Other", "endpoint": "http://h:1", "force_path_style": "false"}, "virtual"),
        ({"provider": "Brand New", "endpoint": "http://h:1", "force_path_style": "true"}, "path"),
    ],
)
def test_where_the_bucket_stands(options: Mapping[str, str], style: str, theirs: Path) -> None:
    create("s", "s3", access_key_id="AK", secret_access_key=CANARY, **options)
    imported()
    remote = load().remotes["s"]
    assert isinstance(remote, S3)
    assert remote.addressing_style == style


def test_how_s3_keeps_objects(theirs: Path) -> None:
    keys = {"access_key_id": "AK", "secret_access_key": CANARY}
    create(
        "s",
        "s3",
        provider="AWS",
        storage_class="GLACIER_IR",
        server_side_encryption="aws:kms",
        sse_kms_key_id="k",
        requester_pays="true",
        **keys,
    )
    create("odd", "s3", provider="AWS", server_side_encryption="rot13", **keys)
    results = imported()
    remote = load().remotes["s"]
    assert isinstance(remote, S3)
    assert (remote.storage_class, remote.sse, remote.sse_kms_key_id) == ("GLACIER_IR", "aws:kms", "k")
    assert remote.requester_pays
    assert not isinstance(results["odd"], ImportedRemote)


def test_s3_with_the_environments_keys(theirs: Path) -> None:
    create("s", "s3", provider="AWS", env_auth="true", profile="work")
    result = imported()["s"]
    assert isinstance(result, ImportedRemote)
    assert result.remote == S3(profile="work", provider="AWS")
    assert "env_auth" in result.warnings[0]
    assert Secrets().get("s") is None


def test_options_without_effect_are_named(theirs: Path) -> None:
    create("l", "local", copy_links="true", nounc="true")
    result = imported()["l"]
    assert isinstance(result, ImportedRemote)
    assert result.warnings == ("options of rclone's without effect here: copy_links, nounc",)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("type = crypt\nremote = db:x", "'crypt'"),
        ("host = x", "no type"),
        ("type = s3\nprovider = AWS", "no keys"),
        ("type = s3\naccess_key_id = a\nsecret_access_key = b\nrole_arn = arn", "role_arn"),
        ("type = sftp", "no host"),
        (f"type = sftp\nhost = h\nport = {CANARY}", "port"),
        (f"type = sftp\nhost = h\npass = {CANARY}", "obscured"),
        ("type = sftp\nhost = h\nssh = ssh -x", "ssh"),
        ("type = dropbox", "no token"),
        (f"type = dropbox\ntoken = {CANARY}", "damaged"),
        (f'type = dropbox\nimpersonate = x\ntoken = {{"access_token": "{CANARY}"}}', "impersonate"),
        (f'type = dropbox\ntoken = {{"refresh_token": "{CANARY}"}}', "rclone's own app"),
        ("type = drive\nshared_with_me = true\ntoken = {}", "shared_with_me"),
        ("type = alias\nremote = db:Photos", "another remote"),
        (f"type = webdav\nurl = https://u:{CANARY}@h/x", "password"),
        (f"type = s3\naccess_key_id = a\nsecret_access_key = b\nendpoint = u:{CANARY}@h", "password"),
        ("type = ftp\nhost = h\ntls = true", "tls"),
    ],
)
def test_what_cannot_be_a_remote_says_why(section: str, words: str, theirs: Path) -> None:
    theirs.write_text(f"[x]\n{section}\n[ok]\ntype = local\n")
    assert words in reason("x")
    assert CANARY not in reason("x")
    assert set(load().remotes) == {"ok"}


def test_a_name_we_cannot_use_is_skipped(theirs: Path) -> None:
    theirs.write_text("[phone]\ntype = local\n")
    assert "plugged in" in reason("phone")


# The file


def test_values_are_read_as_rclone_reads_them(theirs: Path) -> None:
    create("odd", "webdav", url="https://x/dav?a=b#c;d", user=' sp "q" `b` %x = y ', **{"pass": "x"})
    create("ü n.i-c_o+d@e", "local", description='\'single\' """ = [x]', encoding="Slash,`,\\n")
    theirs.write_text(
        theirs.read_text() + "\n[loose]\n  type  =  local \n# note\n;note\nempty =\nlast = `a b`\n"
    )
    assert read(theirs) == json.loads(run("config", "dump"))


word = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc", "Zl", "Zp"]), max_size=12
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(word, min_size=1, max_size=20))
def test_any_value_is_read_as_rclone_reads_it(theirs: Path, values: list[str]) -> None:
    theirs.write_text("")
    run(
        "config",
        "create",
        "r",
        "local",
        *(f"opt{n}={value}" for n, value in enumerate(values)),
        "--non-interactive",
    )
    assert read(theirs) == json.loads(run("config", "dump"))


@settings(max_examples=6, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_what_rclone_obscures_is_revealed(secret: str) -> None:
    hidden = subprocess.run(
        [rclone(), "obscure", "-"], input=secret, capture_output=True, text=True, check=True
    )
    # rclone takes the first line; other characters that Python takes for the end of one are part of it.
    line = secret.partition("\n")[0]
    assert reveal(hidden.stdout.strip()) in (line, line.rstrip("\r"), line.strip())


@pytest.mark.parametrize("hidden", ["", "abc", "!!!", "ä", "A" * 21, "x" * 1000])
def test_what_is_not_obscured_is_said_so(hidden: str) -> None:
    with pytest.raises(Unusable, match="not obscured"):
        reveal(hidden)


def test_an_encrypted_file_is_refused_with_a_way_out(theirs: Path, home: Path) -> None:
    create("l", "local")
    run("config", "encryption", "set", "--password-command", "echo pw")
    with pytest.raises(RcloneError, match=r"encrypted.*rclone config show"):
        imported()
    shown = run("config", "show", "--password-command", "echo pw")
    reading, writing = os.pipe()
    os.write(writing, shown.encode())
    os.close(writing)
    results = import_rclone(Path(f"/dev/fd/{reading}"), None, None, Secrets())
    os.close(reading)
    assert [result.name for result in results] == ["l"]


@pytest.mark.parametrize(
    ("text", "line"),
    [(f"pass = {CANARY}\n", 1), (f"[a]\ntype = local\n{CANARY}\n", 3), (f"[a]\n\n= {CANARY}\n", 3)],
)
def test_a_malformed_file_names_its_line_and_nothing_of_it(text: str, line: int, theirs: Path) -> None:
    theirs.write_text(text)
    with pytest.raises(RcloneError, match=f"line {line}") as caught:
        imported()
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in repr(error) + str(vars(error))
        error = error.__cause__


def test_a_missing_file_is_explained(home: Path) -> None:
    with pytest.raises(RcloneError, match="no such file"):
        imported()
    with pytest.raises(ConfigError, match="could not be read"):
        import_rclone(home, None, None, Secrets())


def test_the_file_is_found_where_rclone_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> Path:
        return Path(run("config", "file").splitlines()[-1])

    assert rclone_file.default_path() == told()
    (home / ".rclone.conf").write_text("[a]\ntype = local\n")
    assert rclone_file.default_path() == told() == home / ".rclone.conf"
    (home / ".config" / "rclone").mkdir(parents=True, exist_ok=True)
    (home / ".config" / "rclone" / "rclone.conf").write_text("")
    assert rclone_file.default_path() == told() == home / ".config" / "rclone" / "rclone.conf"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    (home / "xdg" / "rclone").mkdir(parents=True, exist_ok=True)
    (home / "xdg" / "rclone" / "rclone.conf").write_text("")
    assert rclone_file.default_path() == told() == home / "xdg" / "rclone" / "rclone.conf"
    monkeypatch.setenv("RCLONE_CONFIG", str(home / "c"))
    assert rclone_file.default_path() == told() == home / "c"


def test_tokens() -> None:
    assert read_token('{"access_token": "a", "expiry": "0001-01-01T00:00:00Z"}') == {"access_token": "a"}
    assert read_token('{"refresh_token": "r", "expires_at": 5}') == {"refresh_token": "r", "expires_at": 5.0}
    for text in ("{}", "[]", "", "{" * 99_999, '{"access_token": 3}'):
        with pytest.raises(Unusable):
            read_token(text)
