"""The benchmarks, much smaller: they run, a wrong copy voids its row, and their endpoint is no liar."""

import base64
import contextlib
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import peers
from benchmarks.__main__ import measure
from benchmarks.bench import Bench, Round, go
from benchmarks.chart import chart
from benchmarks.discard import KEY, SECRET, discard
from benchmarks.discard import missing as no_compiler
from benchmarks.peers import Peer
from benchmarks.places import at_folder
from benchmarks.result import Measured, Result
from benchmarks.rounds import Go, Goal, Row, judge
from benchmarks.table import page, terminal
from benchmarks.trees import Files
from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parent.parent
NAMES = ["photos", "big", "manifest", "start"]
needs_compiler = pytest.mark.skipif(no_compiler() is not None, reason=str(no_compiler()))

HONEST = Peer("honest", "cp", lambda place: ("-r", "source", place.plain))
LIARS = {
    "changes a byte": "cp -r source {0} && printf x | dd of={0}/{1} conv=notrunc status=none",
    "leaves a file out": "cp -r source {0} && rm {0}/{1}",
    "adds a file": "cp -r source {0} && touch {0}/more",
    "fails": "cp -r source {0} && exit 3",
}
FIRST = "DCIM/100CANON/IMG_000000.JPG"


def workload(*contestants: Peer, goal: Goal) -> Workload:
    """Three files into folders."""

    @contextlib.contextmanager
    def opened(here: Bench) -> Iterator[Round]:
        source = here.source(Files(3, 1000))

        def turns(_number: int) -> Iterator[Go]:
            for peer in contestants:
                place = at_folder(here.folder / "to")
                yield go(peer, place, here.folder / "state", source, "first run")
                place.empty()

        yield turns

    return Workload("three", "three files", "into folders", ("cp", "no-such-program"), 1, (goal,), opened)


def measured(folder: Path, *contestants: Peer, goal: Goal, runs: int = 1) -> Measured:
    with contextlib.ExitStack() as stack:
        return measure(workload(*contestants, goal=goal), Bench(folder, False, stack), runs)


@pytest.mark.parametrize("how", LIARS)
def test_a_wrong_copy_voids_its_row(tmp_path: Path, how: str) -> None:
    liar = Peer("liar", "sh", lambda place: ("-c", LIARS[how].format(place.plain, FIRST)))
    beside = Goal("beside the honest one", "first run", 0.0, ("honest",), own="liar")
    found = measured(tmp_path, HONEST, liar, goal=beside)
    rows = {row.peer: row for row in found.rows}
    assert rows["honest"].wrong is None
    assert rows["liar"].wrong
    assert not found.is_sound
    assert found.verdicts[0].met is None
    assert "void" in terminal(found)
    assert f"| first run | liar | void: {rows['liar'].wrong}" in page(Result({}, (found,)))


def test_one_wrong_round_of_several_voids_the_row(tmp_path: Path) -> None:
    once = Peer("once", "sh", lambda place: (
        "-c", f"cp -r source {place.plain}; test -e ../once || {{ touch ../once; rm {place.plain}/{FIRST}; }}"
    ))  # fmt: skip
    found = measured(tmp_path, once, goal=Goal("", "first run", 1, (), "seconds", "once"), runs=3)
    assert len(found.rows[0].wall) == 3
    assert found.rows[0].wrong == f"1 files missing or different, 0 too many, the first {FIRST}"


def test_an_honest_copy_counts_and_what_is_missing_is_named(tmp_path: Path) -> None:
    found = measured(tmp_path, HONEST, goal=Goal("", "first run", 60, (), "seconds", "honest"), runs=2)
    (row,) = found.rows
    assert found.is_sound
    assert found.verdicts[0].met is True
    assert len(row.wall) == len(row.cpu) == len(row.peak) == 2
    assert min(row.read) >= 3000
    assert max(row.peak) < 32 << 20, "a small program's memory is its own, not that of who started it"
    assert found.missing == ("no-such-program",)
    assert "missing: no-such-program" in terminal(found)
    assert "60 s" in chart(Result({}, (found,)))
    assert "Not installed, so missing: no-such-program." in page(Result({}, (found,)))


def test_goals_are_held_to_the_fastest_sound_peer() -> None:
    def row(peer: str, *wall: float, wrong: str | None = None) -> Row:
        return Row("w", "first run", peer, "", list(wall), peak=[5_000_000], wrong=wrong)

    rows = {
        ("w", "first run", each.peer): each
        for each in (
            row("photosync", 2.0, 1.0, 2.0),
            row("slow", 9.0, 9.0, 9.0),
            row("fast", 4.0, 3.0, 5.0),
            row("void", 0.1, 0.1, 0.1, wrong="left a file out"),
            row("bare", 1.0, 1.5, 0.5),
        )
    }
    goal = Goal("", "first run", 2.0, ("slow", "fast", "void"))
    verdict = judge(goal, "w", rows)
    assert (verdict.peer, verdict.values, verdict.value, verdict.met) == ("fast", (2.0, 3.0, 2.5), 2.5, True)
    assert judge(replace(goal, limit=2.6), "w", rows).met is False
    assert judge(replace(goal, kind="times", limit=0.4), "w", rows).met is True
    assert judge(replace(goal, kind="times", limit=0.39), "w", rows).met is False
    assert judge(replace(goal, kind="MB", limit=4.0), "w", rows).met is False
    assert judge(replace(goal, against=("void",)), "w", rows).met is None
    assert judge(replace(goal, own="absent"), "w", rows).met is None
    assert judge(replace(goal, alone="bare"), "w", rows).alone == (4.0, 2.0, 10.0)
    assert judge(replace(goal, alone="void"), "w", rows).alone == ()


@pytest.mark.parametrize("bare", [peers.ALONE_LOCAL, peers.ALONE_LOCAL_UNREAD], ids=lambda peer: peer.name)
def test_the_work_alone_leaves_a_whole_copy(tmp_path: Path, bare: Peer) -> None:
    found = measured(tmp_path, bare, HONEST, goal=Goal("", "first run", 0, ("honest",), own=bare.name))
    assert found.is_sound, found.rows


@needs_compiler
def test_a_quick_pass(tmp_path: Path) -> None:
    files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "svg", "markdown")}
    options = [text for kind, file in files.items() for text in (f"--{kind}", str(file))]
    done = bench(*NAMES, "--quick", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    result = Result.read(files["json"])
    assert [each.name for each in result.workloads] == NAMES
    for each in result.workloads:
        assert each.is_sound
        assert each.quick
        assert not each.verdicts, "goals are not for small trees"
        assert set(each.missing) == {name for name in by_name(each.name).programs if not peers.found(name)}
    photos = {row.peer: row for row in result.workloads[0].rows}
    assert photos["photosync"].sent["sha256"] >= 200
    assert photos["photosync"].requests["PUT"] >= 200
    assert photos["rclone"].sent == {"md5": 200, "unsigned": 200}
    assert photos["rclone"].requests["PUT"] == 200
    assert {row.step for row in result.workloads[2].rows} == {"build", "edit", "diff"}
    assert ElementTree.parse(files["svg"]).getroot().tag.endswith("svg")
    text = files["markdown"].read_text()
    assert all(f"\n## {name}\n" in text for name in NAMES)
    # Told again from the figures alone, and one workload measured anew among the others.
    files["markdown"].unlink()
    assert bench("--no-run", *options).returncode == 0
    assert files["markdown"].read_text() == text
    assert bench("start", "--quick", "--json", str(files["json"])).returncode == 0
    assert [each.name for each in Result.read(files["json"]).workloads] == NAMES


def by_name(name: str) -> Workload:
    return next(each for each in WORKLOADS if each.name == name)


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_unknown_name_is_refused() -> None:
    done = bench("fotos")
    assert done.returncode == 2
    assert "no such workload: fotos. There are: photos, mid, big" in done.stderr


def client(endpoint: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


@needs_compiler
def test_the_endpoint_keeps_count_and_refuses_what_differs(tmp_path: Path) -> None:
    from botocore.exceptions import ClientError

    right, wrong = _sha256(b"hallo"), _sha256(b"hello")
    with discard(tmp_path) as endpoint:
        s3 = client(endpoint.endpoint)
        place = {"Bucket": "b", "Key": "photos/.photosync/part"}
        with pytest.raises(ClientError, match="BadDigest"):
            s3.put_object(**place, Body=b"hallo", ChecksumSHA256=wrong)
        upload = s3.create_multipart_upload(**place, ChecksumAlgorithm="SHA256")["UploadId"]
        part = {**place, "UploadId": upload, "PartNumber": 1, "Body": b"hallo"}
        with pytest.raises(ClientError, match="BadDigest"):
            s3.upload_part(**part, ChecksumSHA256=wrong)
        tag = s3.upload_part(**part, ChecksumSHA256=right)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": tag, "ChecksumSHA256": right}]}
        made = {**place, "UploadId": upload, "MultipartUpload": parts}
        s3.put_object(**place, Body=b"other")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.complete_multipart_upload(**made, IfNoneMatch="*")
        done = s3.complete_multipart_upload(**made)
        assert done["ChecksumSHA256"].endswith("-1")
        assert s3.get_object(**place)["Body"].read() == b"hallo"
        s3.put_object(Bucket="b", Key="photos/a.jpg", Body=b"thrown away")
        assert endpoint.tree("b", "photos") == {"a.jpg": (11, "")}
        endpoint.copy("b", "c")
        endpoint.forget("b/")
        assert endpoint.tree("b", "photos") == {}
        assert endpoint.tree("c", "photos") == {"a.jpg": (11, "")}


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@needs_compiler
def test_the_endpoint_can_be_far_away(tmp_path: Path) -> None:
    with discard(tmp_path, milliseconds=50) as endpoint:
        s3 = client(endpoint.endpoint)
        began = time.monotonic()
        for number in range(4):
            s3.put_object(Bucket="b", Key=f"photos/{number}", Body=b"x")
        assert time.monotonic() - began >= 0.2
        assert len(endpoint.tree("b", "photos")) == 4


def test_every_workload_says_what_it_takes() -> None:
    assert len({each.name for each in WORKLOADS}) == len(WORKLOADS)
    assert sum(each.seconds for each in WORKLOADS) <= 30 * 60, "an evening is not what it should take"
    for each in WORKLOADS:
        assert all(goal.own.startswith("photosync") for goal in each.goals)
