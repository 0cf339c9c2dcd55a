"""Through the package sshfs to a real sshd: in processes of their own, as it takes over fsspec's ``sftp``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, noise, tree, write
from tests.servers import sshfs
from tests.servers.sshd import Sshd

PHOTOS = {
    "DCIM/a.jpg": noise(100_000, "a"),
    "DCIM/100% (1);b?#.jpg": noise(50_000, "b"),
    "DCIM/c.mp4": noise(9 << 20, "c"),
    "DCIM/empty.jpg": b"",
    "DCIM/IMG_1.JPG": b"upper",
    "DCIM/img_1.jpg": b"lower",
}


@pytest.fixture(scope="module")
def packages() -> Path:
    try:
        return sshfs.fetched()
    except RuntimeError as error:
        pytest.skip(str(error))


def options(server: Sshd) -> dict[str, object]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "username": server.user,
        "client_keys": [str(server.key)],
        "known_hosts": str(server.known_hosts),
    }


def test_it_keeps_what_every_store_promises(packages: Path, sftp_server: Sshd) -> None:
    suite = Path(__file__).with_name("sshfs_contract.py")
    environment = {
        **os.environ, "PYTHONPATH": str(packages), "SSHFS_OPTIONS": json.dumps(options(sftp_server)),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)],
        capture_output=True, text=True, env=environment, cwd=suite.parents[2], timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert "passed" in done.stdout


def test_photos_are_copied_and_proven(packages: Path, sftp_server: Sshd, tmp_path: Path) -> None:
    machine = Photosync(tmp_path / "machine", {"PYTHONPATH": str(packages)})
    there, source = tmp_path / "disk", write(tmp_path / "source", PHOTOS, mtime=1_700_000_000)
    there.mkdir()
    told = ", ".join(f"{name} = {json.dumps(value)}" for name, value in options(sftp_server).items())
    machine.config.write_text(
        f'[remotes.nas]\ntype = "fsspec"\nprotocol = "ssh"\nroot = "{there}"\noptions = {{ {told} }}\n'
    )
    first = machine.copy(source, "nas:Phone").expect(0)
    assert first.report["verified"] == len(PHOTOS)
    assert {row["evidence"] for row in first.files().values()} == {"reread"}
    copies = {path: data for path, data in tree(there / "Phone").items() if not path.startswith(".photosync")}
    assert sorted(copies.values()) == sorted(PHOTOS.values())
    assert machine.copy(source, "nas:Phone").expect(0).report["status"] == "nothing"
    machine.run("verify", "nas:Phone", "--deep").expect(0)
    (there / "Phone/DCIM/c.mp4").write_bytes(noise(9 << 20, "damaged"))
    machine.run("verify", "nas:Phone", "--deep").expect(1)
