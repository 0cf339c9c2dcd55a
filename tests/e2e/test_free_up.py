"""Freeing a phone, with the real command: nothing goes that is not proven to be in two other places now."""

import os
import time
from pathlib import Path

import pytest

from photosync.sample import build_sample
from tests.e2e.cli import Photosync, noise, photo, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Bucket, DropboxFolder, LocalFolder
from tests.engine import media_files
from tests.servers.fuse_phone import FuseLibrary

OLD = 1_600_000_000


class Case:
    """A phone whose photos are on a disk and in a bucket."""

    def __init__(
        self, machine: Photosync, source: Path, plug: Plug, local: LocalFolder, bucket: Bucket
    ) -> None:
        self.machine, self.source, self.local, self.bucket = machine, source, local, bucket
        self.phone, self.rig = plug(source, read_only=False)
        bucket.admit(machine)
        for place in (local, bucket):
            machine.copy(self.phone, place.text).expect(0)

    def free(self, *options: str, code: int = 0) -> dict[str, object]:
        return self.machine.run("free-up", self.phone, "--yes", "--json", *options).expect(code).report


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {f"DCIM/IMG_{number}.JPG": photo(3000 + number, number) for number in range(6)}
    return write(tmp_path / "content", files, OLD)


@pytest.fixture
def case(machine: Photosync, source: Path, plug: Plug, local: LocalFolder, bucket: Bucket) -> Case:
    return Case(machine, source, plug, local, bucket)


def test_freed_and_safe(case: Case) -> None:
    before = tree(case.source)
    report = case.free()
    assert (report["status"], report["deleted"]) == ("ok", 6)
    assert report["bytes_freed"] == sum(map(len, before.values()))
    assert tree(case.source) == {}
    assert case.local.files() == case.bucket.files() == before
    new = photo(99, "new")
    write(case.source, {"DCIM/IMG_9.JPG": new}, OLD)
    # An emptied phone is no reason for anything to go, and the next run knows that it was emptied on purpose.
    for command in ("copy", "sync"):
        for place in (case.local, case.bucket):
            case.machine.run(command, case.phone, place.text).expect(0)
            assert place.files() == before | {"DCIM/IMG_9.JPG": new}
    assert case.free()["deleted"] == 1


@pytest.mark.parametrize("who", ["lost its state", "another machine"])
@pytest.mark.row(61)
def test_what_was_freed_stays_without_the_state(case: Case, tmp_path: Path, who: str) -> None:
    before = tree(case.source)
    case.free("--exclude", "*_5.JPG")
    (case.source / "DCIM/IMG_5.JPG").rename(case.source / "DCIM/IMG_6.JPG")
    if who == "lost its state":
        case.machine.lose_state()
        machine = case.machine
    else:
        machine = Photosync(tmp_path / "second")
        case.bucket.admit(machine)
    for place in (case.local, case.bucket):
        for command in ("sync", "copy"):
            machine.run(command, case.phone, place.text).expect(0)
            there = place.files()
            assert there.items() >= {n: d for n, d in before.items() if n != "DCIM/IMG_5.JPG"}.items()
            assert set(there.values()) == set(before.values())
    left = machine.run("free-up", case.phone, "--yes", "--json").expect(0).report
    assert left["deleted"] == 1
    machine.run("sync", case.phone, case.local.text, "--allow-empty").expect(0)
    assert set(case.local.files().values()) == set(before.values())


@pytest.mark.row(8)
def test_a_name_used_again_after_it_was_freed(case: Case) -> None:
    before = tree(case.source)
    case.free()
    again = {"DCIM/IMG_0.JPG": noise(3000, "other"), "DCIM/IMG_1.JPG": b"short"}
    write(case.source, again, OLD + 5)
    case.machine.run("sync", case.phone, case.local.text).expect(1)
    case.machine.copy(case.phone, case.bucket.text).expect(1)
    for place in (case.local, case.bucket):
        there = place.files()
        assert there.items() >= before.items()
        assert set(again.values()) <= set(there.values())


def test_asked_first(case: Case) -> None:
    done = case.machine.run("free-up", case.phone).expect(0)
    assert "6 photos" in done.out
    assert "--yes" in done.err
    assert "Nothing was deleted" in done.out
    done = case.machine.run("free-up", case.phone, "-n", "--yes").expect(0)
    assert "Nothing was deleted" in done.out
    assert len(tree(case.source)) == 6


def test_whole_photos_and_nothing_suspicious(
    machine: Photosync, tmp_path: Path, plug: Plug, local: LocalFolder, bucket: Bucket
) -> None:
    live = {
        "DCIM/IMG_1.HEIC": media_files.heic(media_files.exif(pair="11111111-AAAA")),
        "DCIM/IMG_1.MOV": media_files.movie("11111111-AAAA"),
        "DCIM/IMG_1.AAE": b"<plist/>",
    }
    cut = {"DCIM/IMG_2.JPG": photo(3000)[:-99]}
    case = Case(machine, write(tmp_path / "content", live | cut, OLD), plug, local, bucket)
    case.free("--include", "*.{HEIC,JPG}")
    assert tree(case.source) == live | cut
    local.delete("DCIM/IMG_1.AAE")
    case.free(code=1)
    assert tree(case.source) == live | cut
    machine.copy(case.phone, local.text).expect(0)
    done = machine.run("free-up", case.phone, "--yes", "-v").expect(0)
    assert "the end of the JPEG is missing" in done.out
    assert tree(case.source) == cut


@pytest.mark.parametrize("least", ["0", "-1", "two"])
def test_never_without_a_copy(case: Case, least: str) -> None:
    case.machine.run("free-up", case.phone, "--yes", "--min-copies", least).expect(2)
    assert len(tree(case.source)) == 6


def test_three_copies_asked_for(case: Case) -> None:
    assert case.free("--min-copies", "3")["deleted"] == 0
    assert len(tree(case.source)) == 6


def test_two_folders_of_one_disk_are_one_place(
    machine: Photosync, source: Path, plug: Plug, local: LocalFolder, tmp_path: Path
) -> None:
    phone, _ = plug(source, read_only=False)
    for folder in (local.folder, tmp_path / "second"):
        machine.copy(phone, folder).expect(0)
    assert machine.run("free-up", phone, "--yes", "--json").expect(0).report["deleted"] == 0
    assert (
        machine.run("free-up", phone, "--yes", "--min-copies", "1", "--json").expect(0).report["deleted"] == 6
    )


@pytest.mark.parametrize("which", ["local", "bucket"])
@pytest.mark.parametrize("how", ["deleted", "damaged"])
@pytest.mark.row(55)
def test_a_copy_that_is_not_there_any_more(case: Case, which: str, how: str) -> None:
    place = case.local if which == "local" else case.bucket
    data = place.files()["DCIM/IMG_3.JPG"]
    if how == "deleted":
        place.delete("DCIM/IMG_3.JPG")
    else:
        place.put("DCIM/IMG_3.JPG", bytes([data[0] ^ 1]) + data[1:])
    done = case.machine.run("free-up", case.phone, "--yes", "--json").expect(1)
    assert done.report["deleted"] == 5
    assert set(tree(case.source)) == {"DCIM/IMG_3.JPG"}
    (row,) = [row for row in done.events if row["event"] == "freed" and row["error"]]
    assert "1 of 2" in row["error"]


@pytest.mark.row(7)
def test_other_bytes_under_the_same_looks(case: Case) -> None:
    file = case.source / "DCIM/IMG_3.JPG"
    file.write_bytes(noise(3003, "swapped"))
    os.utime(file, (OLD, OLD))
    assert case.free(code=1)["deleted"] == 5
    assert set(tree(case.source)) == {"DCIM/IMG_3.JPG"}


def test_a_place_that_cannot_be_reached(
    machine: Photosync, source: Path, plug: Plug, local: LocalFolder, dropbox: DropboxFolder
) -> None:
    phone, _ = plug(source, read_only=False)
    dropbox.admit(machine)
    for place in (local, dropbox):
        machine.copy(phone, place.text).expect(0)
    local.folder.rename(local.folder.with_name("elsewhere"))
    report = machine.run("free-up", phone, "--yes", "--json").expect(1).report
    assert report["deleted"] == 0
    assert len(tree(source)) == 6


def test_unproven_copies_do_not_count(
    machine: Photosync, source: Path, plug: Plug, local: LocalFolder, bucket: Bucket
) -> None:
    phone, _ = plug(source, read_only=False)
    bucket.admit(machine)
    machine.copy(phone, bucket.text).expect(0)
    machine.copy(phone, local.text, "--verify", "none").expect(0)
    assert machine.run("free-up", phone, "--yes", "--json").expect(0).report["deleted"] == 0
    assert len(tree(source)) == 6


def test_a_part_of_it(case: Case) -> None:
    write(case.source, {"DCIM/IMG_7.JPG": noise(4000, 7)}, time.time() - 60)
    write(case.source, {"DCIM/empty.JPG": b""}, OLD)
    for place in (case.local, case.bucket):
        case.machine.copy(case.phone, place.text).expect(0)
    assert case.free("--include", "*_2.JPG")["deleted"] == 1
    assert case.free("--older-than", "30d")["deleted"] == 5
    assert set(tree(case.source)) == {"DCIM/IMG_7.JPG", "DCIM/empty.JPG"}


@pytest.mark.row(3)
def test_a_phone_that_does_not_show_everything(case: Case) -> None:
    case.rig.set(bad_folders=frozenset({"DCIM"}))
    case.machine.run("free-up", case.phone, "--yes").expect(7)
    case.rig.set(bad_folders=frozenset())
    assert len(tree(case.source)) == 6


def test_nothing_copied_yet(machine: Photosync, source: Path, plug: Plug) -> None:
    phone, _ = plug(source, read_only=False)
    done = machine.run("free-up", phone, "--yes").expect(0)
    assert "photosync copy" in done.out
    assert len(tree(source)) == 6
    done = machine.run("free-up", source, "--yes").expect(2)
    assert "no phone" in done.err


def test_a_phone_that_may_only_be_read(
    machine: Photosync, source: Path, plug: Plug, local: LocalFolder, bucket: Bucket
) -> None:
    phone, _ = plug(source, read_only=True)
    bucket.admit(machine)
    for place in (local, bucket):
        machine.copy(phone, place.text).expect(0)
    done = machine.run("free-up", phone, "--yes").expect(7)
    assert "does not allow it" in done.err
    assert len(tree(source)) == 6


@pytest.mark.slow
@pytest.mark.row(59, 60)
def test_killed_again_and_again(
    machine: Photosync, plug: Plug, local: LocalFolder, bucket: Bucket, tmp_path: Path
) -> None:
    source = tmp_path / "content"
    build_sample(source, photos=12)
    case = Case(machine, source, plug, local, bucket)
    before = dict(case.local.files())
    left = len(tree(source))
    for seconds in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        with machine.start("free-up", case.phone, "--yes") as process:
            time.sleep(seconds)
            process.kill()
        now = len(tree(source))
        assert now <= left
        left = now
        assert case.local.files() == before
    machine.run("free-up", case.phone, "--yes").expect(0)
    machine.run("sync", case.phone, case.local.text, "--allow-empty")
    assert case.local.files() == before
    assert case.bucket.files().keys()
    rest = tree(source)
    assert all(not data or ".thumbnails" in path for path, data in rest.items()), sorted(rest)


def test_an_iphone_is_only_listed(
    machine: Photosync, tmp_path: Path, plug: Plug, source: Path, local: LocalFolder, bucket: Bucket
) -> None:
    phone, rig = plug(source, subtype="ifuse", read_only=False)
    assert isinstance(rig, FuseLibrary)
    bucket.admit(machine)
    for place in (local, bucket):
        machine.copy(phone, place.text).expect(0)
    done = machine.run("free-up", phone, "--yes").expect(0)
    assert "Photos app" in done.out
    assert "DCIM/IMG_0.JPG" in done.out
    assert len(tree(source)) == 6
