"""The configuration: what it may say, how its errors point, and that edits and kills keep it whole."""

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photosync import config as configuration
from photosync.config import (
    S3,
    Config,
    ConfigError,
    Defaults,
    Dropbox,
    Fsspec,
    JobSpec,
    Local,
    Sftp,
    load,
    parse,
    render,
    save,
    update,
)

FULL = """\
# my remotes
[remotes.db]
type = "dropbox"    # mine
app_key = "k"
root = "Photos"

[remotes."my nas"]
host = "nas.lan"
type = "sftp"
port = 2022

[remotes.gcs]
type = "fsspec"
protocol = "gcs"
options = { project = "p", requester_pays = true }

[defaults]
transfers = 8
bwlimit = "08:00,512k 12:00,10M"
include = ["*.jpg"]
"""


def write(text: str) -> Path:
    path = Path("config.toml")
    path.write_text(text)
    return path


def test_a_missing_file_is_an_empty_configuration() -> None:
    assert load() == Config()
    assert load(Path("nothing")) == Config()


def test_a_whole_one_is_read() -> None:
    assert load(write(FULL)) == Config(
        remotes={
            "db": Dropbox(app_key="k", root="Photos"),
            "my nas": Sftp(host="nas.lan", port=2022),
            "gcs": Fsspec(protocol="gcs", options={"project": "p", "requester_pays": True}),
        },
        defaults=Defaults(transfers=8, bwlimit="08:00,512k 12:00,10M", include=["*.jpg"]),
    )


def test_the_environment_names_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOSYNC_CONFIG", str(write(FULL).resolve()))
    assert set(load().remotes) == {"db", "my nas", "gcs"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[remotes.a]\ntype = \n", ["line 2", "not valid TOML"]),
        ("x = 1\n", ["line 1", "x", "[remotes.NAME]"]),
        ('\n\n[remotes.a]\ntype = "dropbix"', ["line 4, remotes.a.type", '"dropbox"']),
        ("[remotes.a]\nroot = 'x'", ["line 1, remotes.a", "add type"]),
        ('[remotes.a]\ntype = "sftp"\n# x\n\nport = "x"\nhost = "h"', ["line 5, remotes.a.port", "`int`"]),
        ('[remotes.a]\ntype = "sftp"\nhost = "h"\nport = 0', ["line 4, remotes.a.port", ">= 1"]),
        ('[remotes.a]\ntype = "sftp"\n', ["line 1, remotes.a", 'add host = "…"']),
        ('[remotes.a]\ntype="s3"\nend_point = "x"', ["line 3, remotes.a.end_point", "'endpoint'"]),
        ('[remotes.a]\ntype="s3"\naddressing_style = "odd"', ["line 3, remotes.a.addressing_style"]),
        ('[remotes.a]\ntype="s3"\nobject_lock_days = 3', ["line 1, remotes.a", "object_lock_mode", "both"]),
        ('[remotes.a]\ntype="s3"\nobject_lock_mode = "COMPLIANCE"', ["line 1, remotes.a", "both"]),
        ('[remotes.a]\ntype="s3"\nsse = "aes"', ["line 3, remotes.a.sse"]),
        ('[remotes.a]\ntype="s3"\nsse_kms_key_id = "k"', ["line 1, remotes.a", "aws:kms"]),
        ('remotes.a.type = "s3"\nremotes.a.regio = "x"', ["line 2, remotes.a.regio", "'region'"]),
        ('[remotes]\na = { type = "s3", regio = "x" }', ["line 2, remotes.a.regio", "'region'"]),
        ('[remotes."a b"]\ntype = "s3"\nregio = "x"', ["line 3, remotes.a b.regio"]),
        ("[defaults]\ntransfers = 0", ["line 2, defaults.transfers", ">= 1"]),
        ("[defaults]\ntransfer = 1", ["line 2, defaults.transfer", "'transfers'"]),
        ("[defaults]\ninclude = [1]", ["line 2, defaults.include"]),
        ("remotes = 3", ["line 1, remotes"]),
        ("[remotes]\na = 3", ["line 2, remotes.a", "[remotes.NAME]"]),
        ('[remotes.phone]\ntype = "local"', ["line 1, remotes.phone", "plugged in"]),
        ('[remotes."a:b"]\ntype = "local"', ["line 1", "no colon"]),
        ('[remotes."-a"]\ntype = "local"', ["line 1", "no name"]),
        ("a = " + "[" * 5000, ["nested"]),
        ('[remotes.a]\ntype = 3\n', ["line 2, remotes.a.type"]),
        ('a = "1"\na = "2"', ["line 2"]),
    ],
)  # fmt: skip
@pytest.mark.row(72)
def test_an_error_names_file_line_and_key(text: str, words: list[str]) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_an_error_in_the_middle_of_a_long_file_names_its_line() -> None:
    tables = [f'[remotes.r{n}]\ntype = "sftp"\nhost = "h"\nport = 22\n' for n in range(50)]
    tables[30] = tables[30].replace("22", '"22"')
    with pytest.raises(ConfigError, match=r"line 124, remotes\.r30\.port"):
        load(write("".join(tables)))


def test_unreadable_files_are_explained(home: Path) -> None:
    with pytest.raises(ConfigError, match="could not be read"):
        load(home)
    binary = home / "binary"
    binary.write_bytes(b"[defaults]\n\n# \xff\xfe")
    with pytest.raises(ConfigError, match=r"binary, line 3.*UTF-8"):
        load(binary)
    with open(home / "huge", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="longer"):
        load(home / "huge")


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from([*FULL.splitlines(), "[", "]", "x.y = 1", "[[remotes.db]]", "[remotes]"]))
        .map("\n".join),
    )
)  # fmt: skip
@pytest.mark.row(72)
def test_any_text_is_a_configuration_or_a_located_error(text: str) -> None:
    told = "F"
    try:
        parse(text, "F")
    except ConfigError as error:
        told = str(error)
    assert told.startswith("F")


# Secrets

CANARY = "cAnArY-9d1f"


@pytest.mark.parametrize(
    "table",
    [
        f'type = "dropbox"\naccess_token = "{CANARY}"',
        f'type = "dropbox"\ntoken = "{CANARY}"',
        f'type = "dropbox"\ntoken = {{ access_token = "{CANARY}" }}',
        f'type = "dropbox"\napp_secret = "{CANARY}"',
        f'type = "s3"\nsecret_access_key = "{CANARY}"',
        f'type = "s3"\naccess_key_id = "{CANARY}"',
        f'type = "sftp"\nhost = "h"\npassword = "{CANARY}"',
        f'type = "sftp"\nhost = "h"\npass = "{CANARY}"',
        f'type = "webdav"\nurl = "https://u:{CANARY}@host/x"',
        f'type = "s3"\nendpoint = "https://u:{CANARY}@host/x"',
        f'type = "fsspec"\nprotocol = "s3"\noptions = {{ key = "k", secret = "{CANARY}" }}',
        f'type = "fsspec"\nprotocol = "abfs"\n[remotes.x.options]\naccount_key = "{CANARY}"',
        f'type = "fsspec"\nprotocol = "x"\n[remotes.x.options.deep]\nsas_token = "{CANARY}"',
        f'type = "fsspec"\nprotocol = "x"\n[remotes.x.options.headers]\nAuthorization = "Bearer {CANARY}"',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(table: str) -> None:
    path = write(f"[remotes.x]\n{table}\n")
    with pytest.raises(ConfigError, match=r"line [2-5], remotes\.x.*photosync connect x") as caught:
        load(path)
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in repr(error) + str(error) + str(vars(error))
        error = error.__cause__ or error.__context__


def test_what_only_sounds_like_a_secret_is_no_secret() -> None:
    remotes = load(
        write(
            '[remotes.a]\ntype = "dropbox"\napp_key = "k"\n'
            '[remotes.b]\ntype = "sftp"\nhost = "h"\nkey_file = "~/.ssh/id"\n'
            '[remotes.c]\ntype = "fsspec"\nprotocol = "x"\noptions = { token_url = "https://x" }\n'
        )
    ).remotes
    assert len(remotes) == 3


def test_saving_refuses_secrets_too() -> None:
    with pytest.raises(ConfigError, match="photosync connect a"):
        save(Config(remotes={"a": Fsspec(protocol="x", options={"password": CANARY})}), Path("c.toml"))
    assert not Path("c.toml").exists()


def test_rendering_masks_what_looks_like_a_secret() -> None:
    shown = render(
        Config(
            remotes={
                "a": Fsspec(
                    protocol="x", options={"password": CANARY, "deep": {"sas_token": CANARY}, "port": 3}
                ),
                "b": S3(endpoint=f"https://u:{CANARY}@host", region="r1"),
            },
            jobs={"j": JobSpec(source="/a", destinations=["/b"], webhook=f"https://chat.example/{CANARY}")},
        )
    )
    assert "https://chat.example/***" in shown
    assert CANARY not in shown
    assert 'region = "r1"' in shown
    assert "port = 3" in shown


def test_rendering_can_be_read_again() -> None:
    config = load(write(FULL))
    assert parse(render(config), "shown") == config


# Writing


def test_a_new_file_is_private_and_says_the_same() -> None:
    path = Path("new") / "config.toml"
    config = load(write(FULL))
    save(config, path)
    assert load(path) == config
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_edit_keeps_comments_and_order() -> None:
    path = write(FULL)

    def change(config: Config) -> Config:
        remotes = {**config.remotes, "db": Dropbox(app_key="k2", root="Photos"), "disk": Local(root="/mnt")}
        del remotes["gcs"]
        return Config(remotes=remotes, defaults=config.defaults)

    after = update(path, change)
    assert load(path) == after
    text = path.read_text()
    assert text.startswith(
        '# my remotes\n[remotes.db]\ntype = "dropbox"    # mine\napp_key = "k2"\nroot = "Photos"\n'
    )
    assert "gcs" not in text
    assert text.index('"my nas"') < text.index("disk")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_remote_that_changes_its_type_keeps_nothing_of_the_old_table() -> None:
    path = write('[remotes.a]\ntype = "sftp"\nhost = "h"\nport = 22\n')
    save(Config(remotes={"a": Local(root="/x")}), path)
    assert load(path).remotes == {"a": Local(root="/x")}


@pytest.mark.parametrize(
    "text", ['[remotes]\na = { type = "local", root = "/x" }\n', "[defaults]\n# none yet\n", "# nothing\n"]
)
def test_unusual_layouts_can_be_edited(text: str) -> None:
    path = write(text)
    before = load(path)
    new = {**before.remotes, "b": S3(endpoint="http://h:1", addressing_style="path")}
    save(Config(remotes=new), path)
    assert load(path).remotes == new
    new = {**new, "b": S3(region="r")}
    save(Config(remotes=new), path)
    assert load(path).remotes == new
    save(Config(), path)
    assert load(path) == Config()


def test_a_layout_that_cannot_be_edited_is_left_alone() -> None:
    text = 'remotes.a.type = "local"\nremotes.a.root = "/x"\n'
    path = write(text)
    with pytest.raises(ConfigError, match="by hand"):
        update(path, lambda old: Config(remotes={**old.remotes, "b": Local()}))
    assert path.read_text() == text


names = st.text("ab c.+@-_é0", min_size=1, max_size=4).filter(
    lambda name: not configuration.refuse_name(name)
)
remotes = st.one_of(
    st.builds(Local, root=st.text(max_size=5)),
    st.builds(Dropbox, app_key=st.text("xyz", max_size=3)),
    st.builds(Sftp, host=st.just("h"), port=st.integers(1, 65535), user=st.text(max_size=3)),
    st.builds(
        Fsspec,
        protocol=st.just("x"),
        options=st.dictionaries(
            st.text("abc. ", min_size=1, max_size=3),
            st.recursive(
                st.integers(-5, 5) | st.booleans() | st.text(max_size=3),
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
                max_leaves=4,
            ),
            max_size=3,
        ),
    ),
)  # fmt: skip
configs = st.builds(
    Config,
    remotes=st.dictionaries(names, remotes, max_size=4),
    defaults=st.builds(
        Defaults, transfers=st.none() | st.integers(1, 9), exclude=st.lists(st.text(max_size=3))
    ),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(configs, min_size=1, max_size=3))
def test_whatever_is_saved_comes_back(
    tmp_path_factory: pytest.TempPathFactory, versions: list[Config]
) -> None:
    path = tmp_path_factory.mktemp("c") / "config.toml"
    for version in versions:
        save(version, path)
        assert load(path) == version


@pytest.mark.row(73)
def test_two_writers_lose_nothing() -> None:
    path = Path("config.toml")

    def add(first: int) -> None:
        for n in range(first, first + 8):
            update(path, lambda old, n=n: Config(remotes={**old.remotes, f"r{n}": Local()}))  # type: ignore[misc]

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 8, 16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load(path).remotes) == 24


def test_a_failing_change_leaves_the_file_alone() -> None:
    path = write(FULL)

    def fail(_: Config) -> Config:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        update(path, fail)
    assert path.read_text() == FULL


def test_a_broken_file_is_never_overwritten() -> None:
    path = write("[remotes.a\n")
    with pytest.raises(ConfigError, match="line 1"):
        save(Config(), path)
    assert path.read_text() == "[remotes.a\n"


def test_a_link_into_a_dotfiles_folder_stays_a_link(home: Path) -> None:
    (home / "dotfiles").mkdir()
    real = home / "dotfiles" / "photosync.toml"
    real.write_text(FULL)
    link = home / "config.toml"
    link.symlink_to(real)
    save(Config(), link)
    assert link.is_symlink()
    assert load(real) == Config()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused() -> None:
    path = write(FULL)
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="another user"):
        load(path)
