"""Network places that fsspec reaches, as users set them up: signed in to, copied to, found unchanged."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, noise, tree, write
from tests.servers import ftpd, smbd, webdav

PHOTOS = {
    "DCIM/a.jpg": noise(100_000, "a"),
    "DCIM/100% (1);b?#.jpg": noise(50_000, "b"),
    "DCIM/sub/c.mp4": noise(9 << 20, "c"),
    "DCIM/empty.jpg": b"",
    "DCIM/IMG_1.JPG": b"upper",
    "DCIM/img_1.jpg": b"lower",
}


@dataclass
class Nas:
    """A server.

    Attributes:
        sign_in: arguments of ``photosync connect``.
        password: for it.
        folder: where copies arrive, past the server.
    """

    sign_in: list[str]
    password: str
    folder: Path


@pytest.fixture
def nas(request: pytest.FixtureRequest) -> Iterator[Nas]:
    with tempfile.TemporaryDirectory(prefix="nas-") as name:
        folder = Path(name)
        if request.param == "smb":
            if why := smbd.why_not():
                pytest.skip(why)
            with smbd.smbd(folder) as server:
                port, user = str(server.port), server.user
                sign_in = ["smb", "--host", "127.0.0.1", "--port", port, "--user", user, "--root", "photos"]
                yield Nas(sign_in, smbd.PASSWORD, server.share)
        elif request.param == "ftp":
            with ftpd.ftpd(folder) as ftp:
                sign_in = ["ftp", "--host", "127.0.0.1", "--port", str(ftp.port), "--user", ftpd.USER]
                yield Nas([*sign_in, "--root", "/"], ftpd.PASSWORD, folder)
        else:
            serve = {"wsgidav": webdav.wsgidav, "rclone": webdav.rclone_webdav}[request.param]
            with serve(folder) as dav:
                yield Nas(["webdav", "--url", dav.url, "--user", webdav.USER], webdav.PASSWORD, folder)


@pytest.mark.parametrize(
    "nas", ["smb", "ftp", "wsgidav", pytest.param("rclone", marks=pytest.mark.slow)], indirect=True
)
def test_a_nas(machine: Photosync, nas: Nas, tmp_path: Path) -> None:
    refused = machine.run("connect", "nas", "--type", *nas.sign_in, "--token-file", "-", text="wrong")
    assert refused.code == 7, refused.err
    machine.run("connect", "nas", "--type", *nas.sign_in, "--token-file", "-", text=nas.password).expect(0)
    source = write(tmp_path / "source", PHOTOS, mtime=1_700_000_000)
    first = machine.copy(source, "nas:Phone").expect(0)
    assert first.report["verified"] == len(PHOTOS)
    assert {row["evidence"] for row in first.files().values()} == {"reread"}
    assert sorted(tree(nas.folder / "Phone").values()) == sorted(PHOTOS.values())
    again = machine.copy(source, "nas:Phone").expect(0).report
    assert (again["status"], again["unchanged"], again["source_bytes_read"]) == ("nothing", len(PHOTOS), 0)
    machine.run("verify", "nas:Phone").expect(0)
    assert machine.run("cat", "nas:Phone/DCIM/a.jpg", "--head", "0").expect(0).out == ""
    # Back again, as from any place.
    back = machine.copy("nas:Phone", tmp_path / "back").expect(0).report
    assert back["source_bytes_read"] == sum(map(len, PHOTOS.values()))
    assert sorted(tree(tmp_path / "back").values()) == sorted(PHOTOS.values())
    assert machine.copy("nas:Phone", tmp_path / "back").expect(0).report["status"] == "nothing"
    # A photo that somebody damages on the server is noticed.
    next((nas.folder / "Phone").rglob("c.mp4")).write_bytes(noise(9 << 20, "damaged"))
    machine.run("verify", "nas:Phone", "--deep").expect(1)
