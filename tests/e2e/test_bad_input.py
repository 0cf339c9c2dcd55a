"""What people get wrong, and what devices do to them: each has its exit code and a message with a remedy."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, finish, noise, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Bucket, DropboxFolder, LocalFolder, arrived, wait_until

MIB = 1 << 20


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    return write(tmp_path / "phone", {f"DCIM/IMG_{n:04}.JPG": noise(3000 + n, n) for n in range(30)})


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[None]:
    """A small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "e2e", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


# what is written on the command line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["copy", "{phone}", "nowhere:photos"], "nowhere"),
        (["copy", "nowhere:", "{tmp}/copy"], "nowhere"),
        (["copy", "{phone}", "nosuch://host/x"], "nosuch"),
        (["copy", "{phone}", "{phone}"], "same place"),
        (["copy", "{phone}", "{phone}/DCIM"], "inside"),
        (["sync", "{phone}/DCIM", "{phone}"], "inside"),
        (["copy", "{phone}", "{tmp}/copy", "--verify", "sometimes"], "sometimes"),
        (["copy", "{phone}", "{tmp}/copy", "--memory", "1k"], "--memory"),
        (["copy", "{phone}", "{tmp}/copy", "--bwlimit", "fast"], "fast"),
        (["copy", "{phone}", "{tmp}/copy", "--max-age", "soon"], "soon"),
        (["copy", "{phone}", "{tmp}/copy", "--min-size", "big"], "big"),
        (["copy", "{phone}", "{tmp}/copy", "--include", "[a"], "[a"),
        (["copy", "{phone}", "{tmp}/copy", "--transfers", "0"], "--transfers"),
        (["copy", "{phone}", "{tmp}/copy", "--no-such-flag"], "--no-such-flag"),
        (["copy", "{phone}"], "destination"),
        (["nonsense"], "nonsense"),
        (["copy", "{phone}", ""], "place is missing"),
        (["copy", "{phone}", "sftp://ann:hunter2@host/x"], "password"),
        (["manifest", "export", "{phone}", "--format", "xml"], "sha256sum"),
    ],
)
def test_wrong_words(
    machine: Photosync, phone: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    filled = [each.format(phone=phone, tmp=tmp_path) for each in arguments]
    before = tree(phone)
    done = machine.run(*filled).expect(2)
    assert words in done.err
    assert "Traceback" not in done.err
    assert "hunter2" not in done.out + done.err
    assert not (tmp_path / "copy").exists()
    assert tree(phone) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[remotes.nas\n", "line 1"),
        ('[remotes.nas]\ntype = "sftp"\nhost = "nas"\nprot = 22\n', "prot"),
        ('[remotes.nas]\ntype = "sftp"\nhost = "nas"\nport = "many"\n', "port"),
        ('[remotes.nas]\ntype = "floppy"\n', "remotes.nas.type"),
        ('[remotes.nas]\ntype = "webdav"\nurl = "https://x"\npassword = "cAnArY-1"\n', "password"),
        ('[defaults]\ntransfer = 8\n', "transfer"),
        ("[remotes.phone]\ntype = \"local\"\n", "phone"),
    ],
)  # fmt: skip
@pytest.mark.row(72)
def test_malformed_configuration(
    machine: Photosync, phone: Path, local: LocalFolder, text: str, words: str
) -> None:
    machine.config.write_text(text)
    done = machine.run("copy", phone, local.text).expect(2)
    assert str(machine.config) in done.err
    assert words in done.err
    assert "line" in done.err, "which line"
    assert "cAnArY" not in done.err
    assert not local.folder.exists()
    assert machine.config.read_text() == text


def test_unreadable_configuration(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    machine.config.mkdir()
    done = machine.run("copy", phone, local.text).expect(2)
    assert str(machine.config) in done.err
    assert not local.folder.exists()


def test_state_that_cannot_be_written(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    machine.state.write_text("a file where the folder should be")
    done = machine.copy(phone, local.text).expect(7)
    assert "PHOTOSYNC_STATE_DIR" in done.report["error"]
    assert not local.folder.exists()


@pytest.mark.row(42)
def test_no_token_and_a_revoked_one(machine: Photosync, phone: Path, dropbox: DropboxFolder) -> None:
    machine.config.write_text('[remotes.dropbox]\ntype = "dropbox"\n')
    machine.env |= dropbox.account.env()
    done = machine.copy(phone, dropbox.text).expect(7)
    assert "photosync connect dropbox" in done.report["error"]

    machine.config.unlink()
    dropbox.admit(machine)
    machine.copy(phone, dropbox.text).expect(0)
    dropbox.account.auth.revoke()
    write(phone, {"DCIM/new.JPG": b"new"})
    done = machine.copy(phone, dropbox.text).expect(7)
    assert "photosync connect" in done.report["error"]
    assert "DCIM/new.JPG" not in dropbox.files()


# sources that are not what they were


def test_a_source_that_is_not_there(machine: Photosync, tmp_path: Path, local: LocalFolder) -> None:
    done = machine.copy(tmp_path / "nobody", local.text).expect(3)
    assert done.report["status"] == "failed"
    assert "nobody" in done.report["error"]
    assert not local.folder.exists()


def test_no_phone(machine: Photosync, local: LocalFolder) -> None:
    done = machine.copy("phone@nobody-has-this-one:", local.text).expect(7)
    # Another test may have a phone mounted at this moment; then its name is what helps.
    assert re.search(r"unlock|phone@(?!nobody)", done.report["error"]), "what to do, or which there are"
    assert not local.folder.exists()


def test_an_empty_source(machine: Photosync, tmp_path: Path, local: LocalFolder) -> None:
    (tmp_path / "empty").mkdir()
    done = machine.copy(tmp_path / "empty", local.text).expect(7)
    assert "--allow-empty" in done.report["error"]
    machine.copy(tmp_path / "empty", local.text, "--allow-empty").expect(0)


def test_a_source_that_vanished_or_shrank(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    machine.copy(phone, local.text).expect(0)
    held = local.files()
    for photo in sorted(phone.glob("DCIM/*"))[10:]:
        photo.unlink()
    for command in ("copy", "sync"):
        done = machine.run(command, phone, local.text, "--json").expect(7)
        assert "--allow-shrunken" in done.report["error"]
    phone.rename(phone.with_name("elsewhere"))
    machine.copy(phone, local.text).expect(3)
    machine.run("sync", phone, local.text).expect(3)
    assert local.files() == held
    machine.copy(phone.with_name("elsewhere"), local.text).expect(0)
    phone.with_name("elsewhere").rename(phone)
    machine.copy(phone, local.text, "--allow-shrunken").expect(0)
    assert local.files() == held


@pytest.mark.row(18, 19)
def test_what_is_no_file(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    """Pipes would block whoever opens them, links lead anywhere."""
    os.mkfifo(phone / "DCIM/pipe.JPG")
    (phone / "DCIM/link.JPG").symlink_to("/etc/passwd")
    (phone / "DCIM/loop").symlink_to("..")
    done = machine.copy(phone, local.text, timeout=60).expect(6)
    assert set(done.files("refused")) == {"DCIM/pipe.JPG", "DCIM/link.JPG", "DCIM/loop"}
    assert all(row["error"] for row in done.files("refused").values())
    assert done.report["verified"] == len(local.files()) == 30


@pytest.mark.parametrize("how", ["grow", "shrink", "rewrite"])
@pytest.mark.row(5, 6)
def test_a_file_that_changes_while_it_is_read(
    machine: Photosync, plug: Plug, local: LocalFolder, tmp_path: Path, how: str
) -> None:
    names = {"DCIM/big.MP4": 12 * MIB, "DCIM/small.JPG": 2 * MIB}
    source = write(tmp_path / "content", {name: noise(size, name) for name, size in names.items()})
    before = tree(source)
    phone, _ = plug(source, changes={name: (size // 2, how) for name, size in names.items()})
    done = machine.copy(phone, local.text).expect(0)
    assert set(done.files("verified")) == set(names)
    assert tree(source) != before
    assert local.files() == tree(source), "what is there at last, and no mixture"


@pytest.mark.row(6)
def test_a_file_that_is_cut_short_or_vanishes(
    machine: Photosync, plug: Plug, local: LocalFolder, tmp_path: Path
) -> None:
    names = {
        "DCIM/gone.JPG": 3 * MIB,
        "DCIM/long.MP4": 12 * MIB,
        "DCIM/short.JPG": 2 * MIB,
        "DCIM/good.JPG": 5,
    }
    source = write(tmp_path / "content", {name: noise(size, name) for name, size in names.items()})
    phone, _ = plug(
        source,
        ends_at={"DCIM/long.MP4": 9 * MIB, "DCIM/short.JPG": MIB},
        changes={"DCIM/gone.JPG": (MIB, "vanish")},
    )
    done = machine.copy(phone, local.text)
    assert done.code in (5, 6)
    assert set(done.files("failed")) >= {"DCIM/long.MP4", "DCIM/short.JPG"}
    assert set(local.files()) <= {"DCIM/good.JPG", "DCIM/gone.JPG"}
    assert local.files()["DCIM/good.JPG"] == noise(5, "DCIM/good.JPG")
    assert "DCIM/short.JPG" in done.files("failed")["DCIM/short.JPG"]["error"]


# destinations that cannot take it


@pytest.mark.row(21)
def test_a_destination_that_is_read_only(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    with tmpfs(local.folder, "ro"):
        done = machine.copy(phone, local.text).expect(7)
        assert "read-only" in done.report["error"]
        assert done.seconds < 60
        remount(local.folder, "rw")
        machine.copy(phone, local.text).expect(0)
        assert len(local.files()) == 30


def test_a_destination_that_belongs_to_another(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    if os.geteuid() == 0:
        pytest.skip("not applicable: root may write everywhere")
    local.folder.mkdir(mode=0o555)
    machine.copy(phone, local.text).expect(6)


@pytest.mark.row(20)
def test_a_destination_that_is_full(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    big = {"DCIM/VID_1.MP4": noise(9 * MIB, 1), "DCIM/VID_2.MP4": noise(9 * MIB, 2)}
    files = tree(write(phone, big))
    with tmpfs(local.folder, "size=12m"):
        done = machine.copy(phone, local.text).expect(7)
        assert "space" in done.report["error"]
        assert done.report["pending"] + done.report["failed"] > 0
        for path, data in local.files().items():
            assert data == files[path], f"{path} is no whole file"
        remount(local.folder, "size=40m")
        machine.copy(phone, local.text).expect(0)
        assert local.files() == files


def test_a_dropbox_that_is_full(machine: Photosync, phone: Path, dropbox: DropboxFolder) -> None:
    dropbox.admit(machine)
    dropbox.account.api.account.quota = 40_000
    done = machine.copy(phone, dropbox.text).expect(7)
    assert "space" in done.report["error"]
    dropbox.account.api.account.quota = 1 << 30
    machine.copy(phone, dropbox.text).expect(0)
    assert len(dropbox.files()) == 30


def test_a_bucket_that_is_not_there(machine: Photosync, phone: Path, bucket: Bucket) -> None:
    bucket.admit(machine)
    done = machine.copy(phone, "s3://no-such-bucket/x")
    assert done.code in (3, 7), done
    assert "no-such-bucket" in done.report["error"]
    machine.env["AWS_SECRET_ACCESS_KEY"] = "wrong-" + "0" * 34
    done = machine.copy(phone, bucket.text).expect(7)
    assert "wrong-" not in done.out + done.err


@pytest.mark.row(57)
def test_only_one_run_at_a_time(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    write(phone, {"DCIM/VID_1.MP4": noise(20 * MIB, 1)})
    with machine.start("copy", phone, local.text, "--bwlimit", "1M") as first:
        wait_until(lambda: (local.folder / ".photosync").exists())
        done = machine.copy(phone, local.text).expect(5)
        assert "another photosync" in done.report["error"]
        first.kill()
    time.sleep(0.1)
    machine.copy(phone, local.text).expect(0)  # the lock died with its process
    assert len(local.files()) == 31


# secrets


@pytest.mark.row(87)
def test_no_secret_is_ever_told(
    machine: Photosync, phone: Path, dropbox: DropboxFolder, bucket: Bucket, tmp_path: Path
) -> None:
    dropbox.admit(machine)
    records = (machine.home / "secrets.json").read_text()
    token = dropbox.account.token()
    secrets = [token["access_token"][:12], bucket.server.secret]
    secrets += [part for part in records.split('"') if len(part) > 20]
    assert len(secrets) > 3
    log = tmp_path / "log"
    loud = ("-v", "-v", "--log-file", log)
    outputs = []

    def note(*arguments: str | Path, env: dict[str, str] | None = None) -> None:
        done = machine.run(*arguments, env=env)
        outputs.append(done.out + done.err)

    note("copy", phone, dropbox.text, *loud, "--json")
    note("copy", phone, bucket.text, *loud, env=bucket.env())
    note("copy", phone, bucket.text, *loud, env={**bucket.env(), "AWS_ACCESS_KEY_ID": "NOBODY"})
    for command in (
        ["config", "show"],
        ["about", "dropbox:"],
        ["connect", "dropbox", "--check"],
        ["doctor"],
        ["doctor", "--json"],
        ["runs"],
        ["lsjson", dropbox.text],
    ):
        note(*command)
    dropbox.account.auth.expire()
    note("copy", phone, dropbox.text, *loud)
    dropbox.account.auth.revoke()
    note("copy", phone, dropbox.text, *loud, "--json")
    note("copy", phone, dropbox.text, *loud, env={"HTTPS_PROXY": "http://127.0.0.1:9"})
    note("connect", "dropbox", "--check")
    assert any("connect" in text for text in outputs), "the last ones failed"

    kept = [file for file in machine.state.rglob("*") if file.is_file()]
    assert kept
    texts = [*outputs, log.read_text(), machine.config.read_text()]
    texts += [file.read_bytes().decode("latin-1") for file in kept]
    for secret in secrets:
        assert not [text for text in texts if secret in text]
    assert (machine.home / "secrets.json").stat().st_mode & 0o077 == 0


def processes_of(session: int) -> list[Path]:
    """Where /proc tells of the processes of a session."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(int(folder.name)) == session:
                found.append(folder)
    return found


@pytest.mark.row(87)
def test_other_users_see_no_secret(machine: Photosync, phone: Path, dropbox: DropboxFolder) -> None:
    """Not in ``ps``, and not in what is kept between runs, whatever the umask."""
    dropbox.admit(machine)
    records = (machine.home / "secrets.json").read_text()
    secrets = [part for part in records.split('"') if len(part) > 20]
    assert secrets
    before = os.umask(0)
    try:
        process = machine.start("copy", phone, dropbox.text, "--json", "--bwlimit", "100k")
    finally:
        os.umask(before)
    with process:
        wait_until(lambda: arrived(dropbox) > 0 or process.poll() is not None)
        assert process.poll() is None, finish(process)
        seen = [
            (each / name).read_bytes()
            for each in processes_of(process.pid)
            for name in ("cmdline", "environ")
        ]
        process.kill()
    assert seen
    for secret in secrets:
        assert not [text for text in seen if secret.encode() in text]
    kept = [file for file in machine.state.rglob("*") if file.is_file()]
    assert any(file.suffix == ".sqlite" for file in kept)
    readable = [file for file in kept if file.stat().st_mode & 0o077 and not hidden(file, machine.state)]
    assert not readable


@pytest.mark.row(87)
def test_a_crash_leaves_no_memory_behind(machine: Photosync, phone: Path, dropbox: DropboxFolder) -> None:
    """However large core files may be here: what has read credentials makes none."""
    dropbox.admit(machine)
    endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    process = machine.start(
        "copy", phone, dropbox.text, "--json", "--bwlimit", "100k",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, endless),
    )  # fmt: skip
    with process:
        wait_until(lambda: arrived(dropbox) > 0 or process.poll() is not None)
        assert process.poll() is None, finish(process)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.send_signal(signal.SIGABRT)
        assert process.wait(60) == -signal.SIGABRT
    (line,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4] == "0"
    assert not [path for path in machine.home.rglob("core*") if path.is_file()]


def hidden(file: Path, below: Path) -> bool:
    """Whether a folder that only its user may enter is above a file."""
    return any(folder.stat().st_mode & 0o077 == 0 for folder in file.parents if folder.is_relative_to(below))


@pytest.mark.parametrize("command", ["copy", "sync", "mirror", "move"])
def test_a_file_where_a_folder_is_meant(machine: Photosync, tmp_path: Path, command: str) -> None:
    source = write(tmp_path / "one", {"a.jpg": b"photo"})
    done = machine.run(command, source / "a.jpg", tmp_path / "copy").expect(2)
    assert "a.jpg is a file: name its folder" in done.err
    assert not (tmp_path / "copy").exists()
    assert tree(source) == {"a.jpg": b"photo"}
