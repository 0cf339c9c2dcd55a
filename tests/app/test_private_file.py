"""Private files: whole after any kill, one writer at a time, nobody else's eyes."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from photosync import private_file

OLD, NEW = b"o" * 3_000_000, b"n" * 3_000_000

LOOP = """
import sys
from pathlib import Path
from photosync import private_file
path = Path(sys.argv[1])
print("ready", flush=True)
for _ in range(10_000):
    for byte in (b"n", b"o"):
        with private_file.locked(path):
            private_file.replace(path, byte * 3_000_000)
"""


@pytest.mark.row(43, 73)
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(OLD)
    path.chmod(0o600)
    seen = set()
    for attempt in range(8):
        with subprocess.Popen([sys.executable, "-c", LOOP, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.01 + 0.007 * attempt)
            writer.send_signal(signal.SIGKILL)
        data = path.read_bytes()
        assert data in (OLD, NEW)
        seen.add(data[:1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with private_file.locked(path):
        private_file.replace(path, b"end")
    left = {name for name in os.listdir(tmp_path) if name.endswith(".new")}
    assert not left, "what a killed writer left behind holds secrets too"


@pytest.mark.row(73)
def test_writers_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    path = tmp_path / "counter"

    def count() -> None:
        for _ in range(20):
            with private_file.locked(path):
                now = private_file.read(path, 100, follow=False, private=True) or b"0"
                private_file.replace(path, b"%d" % (int(now) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == b"80"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def refuse(descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="full"), private_file.locked(path):
        private_file.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == [".f.lock", "f"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666])
@pytest.mark.row(88)
def test_a_readable_private_file_is_repaired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    path.chmod(mode)
    assert private_file.read(path, 9, follow=False, private=True) == b"x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(path) in caplog.text


def test_a_file_that_is_not_private_may_be_readable_but_not_writable_for_others(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    path.chmod(0o644)
    private_file.read(path, 9, follow=True, private=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o664)
    private_file.read(path, 9, follow=True, private=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.row(88)
def test_links_are_refused_where_they_are_not_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"x")
    link.symlink_to(real)
    with pytest.raises(private_file.Untrusted, match="symbolic link"):
        private_file.read(link, 9, follow=False, private=True)
    assert private_file.read(link, 9, follow=True, private=False) == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    os.chown(path, 12345, -1)
    for private in (True, False):
        with pytest.raises(private_file.Untrusted, match="another user"):
            private_file.read(path, 9, follow=False, private=private)


def test_what_is_no_file_or_too_long_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"1234567890")
    with pytest.raises(OSError, match="regular"):
        private_file.read(tmp_path / "pipe", 9, follow=True, private=False)
    with pytest.raises(OSError, match="longer"):
        private_file.read(tmp_path / "long", 9, follow=True, private=False)
    assert private_file.read(tmp_path / "none", 9, follow=True, private=False) is None


def test_a_busy_lock_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_file, "PATIENCE", 0.05)
    path = tmp_path / "f"
    with (
        private_file.locked(path),
        pytest.raises(TimeoutError, match=str(path)),
        private_file.locked(path),
    ):
        pass
