"""Sample phones: every file is what its name says, by the word of programs that did not make it."""

import hashlib
import json
import os
import plistlib
import shutil
import subprocess
import sys
import time
import warnings
import zlib
from datetime import datetime
from pathlib import Path

import pytest

from photosync.sample import ODD_NAMES, SampleSummary, build_library, build_sample
from photosync.sample_media import MissingExtra, free_box

pil = pytest.importorskip("PIL.Image", reason="the extra 'samples' is not installed")
heif = pytest.importorskip("pillow_heif", reason="the extra 'samples' is not installed")
pytest.importorskip("av", reason="the extra 'samples' is not installed")

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
needs_ffprobe = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
IMAGES = {".jpg", ".heic", ".png", ".dng"}


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleSummary]:
    root = tmp_path_factory.mktemp("phone")
    return root, build_sample(root, photos=6)


def digests(root: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def exiftool(root: Path, *options: str) -> dict[str, dict[str, object]]:
    done = subprocess.run(
        ["exiftool", "-json", "-r", "-fast0", "-charset", "filename=utf8", *options, "."],
        cwd=root,
        capture_output=True,
        timeout=120,
    )
    # Its exit status is 1 as soon as one file is empty.
    return {
        str(row["SourceFile"]).removeprefix("./"): row
        for row in json.loads(done.stdout.decode(errors="replace"))
    }


def ffprobe(path: Path) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [
            "ffprobe",
            "-v",
            "error",
            "-show_format",
            "-count_frames",
            "-show_streams",
            "-of",
            "json",
            str(path),
        ],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    probed = json.loads(done.stdout)
    return {"format": probed["format"], "stream": probed["streams"][0]}


def decodes(path: Path) -> None:
    heif.register_heif_opener()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pil.open(path) as image:
            image.load()
            assert min(image.size) > 50


def test_the_summary_counts_what_is_there(phone: tuple[Path, SampleSummary]) -> None:
    root, summary = phone
    files = [path for path in root.rglob("*") if path.is_file()]
    assert summary.files == len(files)
    assert summary.bytes == sum(path.stat().st_size for path in files)
    assert summary.folders == len({path.parent for path in files})


def test_the_same_seed_gives_the_same_phone(phone: tuple[Path, SampleSummary], tmp_path: Path) -> None:
    root, summary = phone
    assert build_sample(tmp_path / "again", photos=6) == summary
    assert digests(tmp_path / "again") == digests(root)
    build_sample(tmp_path / "other", photos=6, seed=2)
    assert digests(tmp_path / "other") != digests(root)


def test_every_picture_opens(phone: tuple[Path, SampleSummary]) -> None:
    opened = 0
    for path in phone[0].rglob("*"):
        if path.suffix.lower() in IMAGES and path.stat().st_size:
            decodes(path)
            opened += 1
    assert opened > 40


@needs_ffprobe
def test_every_video_plays(phone: tuple[Path, SampleSummary]) -> None:
    videos = [path for path in phone[0].rglob("*") if path.suffix.lower() in {".mov", ".mp4"}]
    assert len(videos) >= 4
    for path in videos:
        assert ffprobe(path)["stream"]["nb_read_frames"] == "12"


@needs_exiftool
def test_nothing_is_malformed(phone: tuple[Path, SampleSummary]) -> None:
    rows = exiftool(phone[0], "-Error", "-Warning", "-FileType", "-FileSize#")
    kinds = set()
    for path, row in rows.items():
        kinds.add(row.get("FileType"))
        if row["FileSize"]:
            assert "Warning" not in row, path
            assert "Error" not in row or path.endswith(".AAE"), path
    assert {"HEIC", "JPEG", "PNG", "MOV", "MP4", "DNG"} <= kinds


@needs_exiftool
def test_capture_times_are_in_the_files_and_on_them(phone: tuple[Path, SampleSummary]) -> None:
    rows = exiftool(
        phone[0], "-SubSecDateTimeOriginal", "-GPSPosition", "-Make", "-d", "%Y-%m-%dT%H:%M:%S%f%z"
    )
    checked = 0
    for path, row in rows.items():
        if "SubSecDateTimeOriginal" in row and "/Odd/" not in path:
            taken = datetime.fromisoformat(str(row["SubSecDateTimeOriginal"]))
            mtime = (phone[0] / path).stat().st_mtime_ns
            assert abs(int(taken.timestamp() * 1000) - mtime // 10**6) <= 1, path
            assert row["Make"] in {"Apple", "Google", "samsung"}
            checked += 1
    assert checked > 15
    assert sum("GPSPosition" in row for row in rows.values()) > 10


@needs_exiftool
def test_live_photos_are_pairs(phone: tuple[Path, SampleSummary]) -> None:
    folder = phone[0] / "DCIM/100APPLE"
    rows = exiftool(folder, "-MediaGroupUUID", "-ContentIdentifier", "-CreationDate")
    movies = {row["ContentIdentifier"]: path for path, row in rows.items() if "ContentIdentifier" in row}
    stills = {row["MediaGroupUUID"]: path for path, row in rows.items() if "MediaGroupUUID" in row}
    pairs = {(Path(movies[key]).stem, Path(stills[key]).suffix) for key in movies}
    assert pairs == {("IMG_0001", ".HEIC"), ("IMG_0006", ".HEIC"), ("IMG_0007", ".JPG")}
    for key, movie in movies.items():
        assert Path(stills[key]).stem.replace("IMG_E", "IMG_") == Path(movie).stem
    for path in movies.values():
        assert str(rows[path]["CreationDate"]).endswith("+02:00")
    assert (
        plistlib.loads((folder / "IMG_0007.AAE").read_bytes())["adjustmentFormatIdentifier"]
        == "com.apple.photo"
    )


@needs_exiftool
def test_motion_photos_hold_their_videos(phone: tuple[Path, SampleSummary]) -> None:
    camera = phone[0] / "DCIM/Camera"
    (movie,) = [path.read_bytes() for path in camera.glob("VID_*.mp4")]
    (google,) = camera.glob("*.MP.jpg")
    tags = exiftool(camera, "-XMP:all", "-DirectoryItemLength", "-EmbeddedVideoFile")
    assert tags[google.name]["MotionPhoto"] == 1
    length = str(tags[google.name]["DirectoryItemLength"])
    assert google.read_bytes()[-int(length.split(",")[-1].strip(" []")) :] == movie
    (samsung,) = camera.glob("2024*.jpg")
    found = subprocess.run(
        ["exiftool", "-b", "-EmbeddedVideoFile", str(samsung)], capture_output=True, check=True, timeout=60
    )
    assert found.stdout == movie


def test_raw_and_burst_and_empty(phone: tuple[Path, SampleSummary]) -> None:
    apple, camera = phone[0] / "DCIM/100APPLE", phone[0] / "DCIM/Camera"
    with pil.open(apple / "IMG_0008.DNG") as raw:
        assert bytes(raw.tag_v2[0xC612]) == b"\1\4\0\0"
    assert (apple / "IMG_0008.JPG").stat().st_size
    assert (apple / "IMG_0009.JPG").stat().st_size == 0
    assert len(list(camera.glob("*_BURST*.jpg"))) == 5
    assert len(list(camera.glob("*_BURST*_COVER.jpg"))) == 1


def test_odd_names_are_written_or_reported(phone: tuple[Path, SampleSummary]) -> None:
    root, summary = phone
    written = set(os.listdir(root / "DCIM/Odd"))
    refused = {path.rpartition("/")[2] for path in summary.refused}
    assert written | refused == set(ODD_NAMES)
    assert not written & refused
    if sys.platform == "linux":
        assert b"latin1-\xe9.jpg" in os.listdir(os.fsencode(root / "DCIM/Odd"))


def test_nothing_is_replaced(phone: tuple[Path, SampleSummary]) -> None:
    before = digests(phone[0])
    with pytest.raises(FileExistsError):
        build_sample(phone[0], photos=1, seed=3)
    assert digests(phone[0]) == before


def test_a_library_is_quick_distinct_and_real(tmp_path: Path) -> None:
    began = time.monotonic()
    size = 3_000_000
    summary = build_library(tmp_path, files=1000, seed=5, big=(size, 40_000))
    assert time.monotonic() - began < 20
    assert summary.files == 1002
    held = digests(tmp_path)
    assert len({digest for digest, _ in held.values()}) == 1001, "all distinct but two empty ones"
    assert (tmp_path / "DCIM/Big/VID_0000.MP4").stat().st_size == size
    for path in sorted((tmp_path / "DCIM/100APPLE").iterdir())[:80]:
        if path.suffix.lower() in IMAGES and path.stat().st_size:
            decodes(path)
    if shutil.which("ffprobe"):
        for path in [*sorted(tmp_path.rglob("*.MOV"))[:4], *(tmp_path / "DCIM/Big").iterdir()]:
            assert int(ffprobe(path)["stream"]["nb_read_frames"]) >= 6
    again = tmp_path.with_name(f"{tmp_path.name}-again")
    assert build_library(again, files=1000, seed=5, big=(size, 40_000)) == summary
    assert digests(again) == held


def test_big_files_neither_compress_nor_repeat(tmp_path: Path) -> None:
    size = 9 << 20
    build_library(tmp_path, files=0, big=(size,))
    data = (tmp_path / "DCIM/Big/VID_0000.MP4").read_bytes()
    assert len(data) == size
    assert len(zlib.compress(data[: 2 << 20], 1)) > 0.99 * (2 << 20)
    blocks = {hashlib.sha256(data[at : at + 4096]).digest() for at in range(0, size, 4096)}
    assert len(blocks) == size // 4096


@pytest.mark.parametrize("size", [(1 << 32) + 4096, (1 << 32) + 12_000])
def test_boxes_beyond_four_gigabytes(size: int) -> None:
    header = free_box(size)
    assert len(header) == 16
    assert header[:8] == b"\0\0\0\1free"
    assert int.from_bytes(header[8:], "big") == size


def test_a_big_file_too_small_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        build_library(tmp_path, files=0, big=(10,))


def test_a_missing_encoder_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtra, match=r"pillow_heif.*pip install 'photosync-engine\[samples\]'"):
        build_sample(tmp_path, photos=1)


def test_importing_costs_no_encoder() -> None:
    code = (
        "import sys, photosync.sample; print([m for m in ('PIL', 'av', 'pillow_heif') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == b"[]"
