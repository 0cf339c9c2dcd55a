"""Jobs as a user has them: run by name, by plugging in, one at a time, told to others, remembered."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli import Photosync, tree, write
from tests.e2e.conftest import Plug


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web server that keeps what is posted to it."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def configure(machine: Photosync, source: str | Path, *lines: str) -> None:
    machine.config.write_text(
        f'[jobs.all]\nsource = "{source}"\ndestinations = ["{machine.home}/one", "{machine.home}/two"]\n'
        + "\n".join(lines)
    )


def test_a_job_is_run_told_and_remembered(
    machine: Photosync, hook: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, got = hook
    photos = write(tmp_path / "photos", {"a.jpg": b"1", "b.txt": b"2"})
    configure(machine, photos, f'webhook = "{url}"', 'include = ["*.jpg"]', "min_copies = 2")
    done = machine.run("run", "all", "--json").expect(0)
    assert done.report["destinations"][f"{machine.home}/one"]["status"] == "ok"
    assert tree(machine.home / "one") == tree(machine.home / "two") == {"a.jpg": b"1"}
    assert (got[0]["job"], got[0]["status"], got[0]["exit_code"]) == ("all", "ok", 0)

    (machine.home / "two").rename(machine.home / "gone")
    (machine.home / "two").write_bytes(b"")
    write(photos, {"c.jpg": b"3"})
    done = machine.run("run", "all", "--json")
    assert done.code != 0
    assert any("wants 2" in row["text"] for row in done.events if row["event"] == "notice")
    assert (got[1]["status"], got[1]["destinations"][f"{machine.home}/one"]["status"]) == ("partial", "ok")

    rows = machine.run("runs", "--json").expect(0).events
    assert [row["status"] for row in rows if row["destination"].endswith("/one")] == ["ok", "ok"]
    assert machine.run("runs", "--last", "1").expect(0).out.count("\n") == 1
    (job,) = machine.run("jobs", "--json").expect(0).events
    assert (job["name"], job["min_copies"]) == ("all", 2)
    assert job["last"] is not None
    assert "by hand" in machine.run("jobs").expect(0).out


def test_what_goes_wrong(machine: Photosync, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": b"1"})
    # Nobody listens there: the job is done nevertheless.
    configure(machine, photos, 'webhook = "http://127.0.0.1:9/"')
    assert "did you mean 'all'" in machine.run("run", "al", "--json").expect(2).report["error"]
    machine.run("run", "all", "--dry-run").expect(0)
    assert not (machine.home / "one").exists()
    machine.run("run", "all").expect(0)
    machine.run("runs").expect(0)


def test_a_job_runs_once_at_a_time(machine: Photosync, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"film.mp4": bytes(40 << 20)})
    configure(machine, photos, 'bwlimit = "1M"')
    with machine.start("run", "all", "--json") as process:
        while not (machine.home / "one").exists():
            assert process.poll() is None
        done = machine.run("run", "all", "--json").expect(5)
        assert "running at the moment" in done.report["error"]
        process.kill()
    configure(machine, photos)
    machine.run("run", "all").expect(0)


def test_plugging_in_runs_the_job(machine: Photosync, plug: Plug, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"DCIM/a.jpg": b"1"})
    phone, _ = plug(photos)
    configure(machine, phone, "on_plug_in = true")
    machine.run("watch", "--once").expect(0)
    assert tree(machine.home / "one") == tree(machine.home / "two") == {"DCIM/a.jpg": b"1"}
