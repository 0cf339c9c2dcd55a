"""Two machines, one destination: in whatever order they write, its manifest tells both libraries."""

from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, finish, noise, write
from tests.e2e.places import Where

ROUNDS = 3


@pytest.mark.parametrize("place", ["local", "bucket", "dropbox"], indirect=True)
@pytest.mark.row(58)
def test_neither_loses_what_it_recorded(machine: Photosync, place: Where, tmp_path: Path) -> None:
    machines = [machine, Photosync(tmp_path / "other")]
    place.admit(machines[1])
    expected: dict[str, bytes] = {}
    for turn in range(ROUNDS):
        for number in range(2):
            files = {f"{number}/{turn}-{each}.jpg": noise(5_000, (number, turn, each)) for each in range(4)}
            # Both have this one, and neither knows it of the other.
            files |= {f"both/{turn}.jpg": noise(6_000, turn)}
            write(tmp_path / f"source-{number}", files, mtime=1_700_000_000 + turn)
            expected |= files
        running = [
            each.start("copy", tmp_path / f"source-{number}", place.text, "--json")
            for number, each in enumerate(machines)
        ]
        for process in running:
            with process:
                done = finish(process).expect(0)
                assert done.report["status"] == "ok", done
    assert place.files() == expected, "nothing is stored twice, and nothing is lost"
    third = Photosync(tmp_path / "third")
    place.admit(third)
    sums = tmp_path / "SHA256SUMS"
    third.run("manifest", "export", place.text, "--output", sums).expect(0)
    assert {line.split("  ", 1)[1] for line in sums.read_text().splitlines()} == set(expected)
    third.run("verify", place.text, "--deep").expect(0)
