"""move, delete, dedupe, cat and mkdir, as people and scripts use them."""

import json
import os
import sqlite3
from pathlib import Path

import pytest

from photosync.backends.local_store import LocalStore
from photosync.engine import spared
from tests.e2e.cli import Photosync, noise, photo, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Bucket, DriveFolder, DropboxFolder, LocalFolder, Where
from tests.servers.dropbox_emulator import DropboxEmulator

PHOTOS = {
    "DCIM/a.jpg": photo(100_000, "a"),
    "DCIM/b.jpg": photo(50_000, "b"),
    "DCIM/sub/c.jpg": photo(9 << 20, "c"),
    "notes.txt": b"not a photo",
}
PLACES = ["local", pytest.param("bucket", marks=pytest.mark.slow), "dropbox"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source", PHOTOS, mtime=1_700_000_000)


def trash(place: Where) -> list[str]:
    """What lies in the trash, without the folder named by the time."""
    found = [path.removeprefix(".photosync/trash/") for path in place.own() if "/trash/" in path]
    return sorted(path.partition("/")[2] for path in found if "." in path)


# move


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_move(machine: Photosync, source: Path, place: Where) -> None:
    plan = machine.run("move", source, place.text, "--dry-run").expect(0)
    assert "Nothing was changed" in plan.out
    assert tree(source) == PHOTOS
    done = machine.run("move", source, place.text, "--json").expect(0)
    assert done.report["verified"] == done.report["removed"] == len(PHOTOS)
    assert done.report["kept"] == 0
    assert place.files() == PHOTOS
    rows = machine.run("runs", "--json").expect(0).events
    assert [(row["status"], row["destination"]) for row in rows] == [
        ("ok", place.text),
        ("moved", place.text),
    ]
    assert "0 still at the source" in machine.run("runs").expect(0).out
    assert tree(source) == {}
    assert machine.run("move", source, place.text, "--json").expect(0).report["status"] == "nothing"
    machine.run("verify", place.text).expect(0)
    # A camera begins to count anew; the earlier photo of that name is not this one's copy.
    write(source, {"DCIM/a.jpg": photo(100_000, "another"), "again.jpg": PHOTOS["DCIM/b.jpg"]})
    done = machine.run("move", source, place.text, "--json")
    assert done.code == 1, "a conflict is told"
    assert tree(source) == {}
    files = place.files()
    assert {path: files[path] for path in PHOTOS} == PHOTOS
    assert files["again.jpg"] == PHOTOS["DCIM/b.jpg"]
    assert len(files) == len(PHOTOS) + 2
    machine.run("verify", place.text).expect(0)
    machine.run("manifest", "rebuild", place.text).expect(0)
    assert machine.run("manifest", "show", place.text, "--json").expect(0)
    machine.run("verify", place.text).expect(0)


def test_move_proves_what_was_copied_before(machine: Photosync, source: Path, local: LocalFolder) -> None:
    machine.copy(source, local.text).expect(0)
    os.utime(local.folder / "DCIM/a.jpg")
    (local.folder / "DCIM/b.jpg").write_bytes(photo(50_000, "damaged"))
    done = machine.run("move", source, local.text, "--json")
    assert done.report["verified"] + done.report["conflict"] == len(PHOTOS)
    assert tree(source) == {}
    kept = list(local.files().values())
    assert all(data in kept for data in PHOTOS.values())


def test_move_only_what_passes_the_filters(machine: Photosync, source: Path, local: LocalFolder) -> None:
    machine.run("move", source, local.text, "--include", "*.jpg").expect(0)
    assert tree(source) == {"notes.txt": b"not a photo"}


def test_move_takes_nothing_from_phones(
    machine: Photosync, plug: Plug, source: Path, local: LocalFolder
) -> None:
    phone, _ = plug(source)
    done = machine.run("move", phone, local.text).expect(2)
    assert "free-up" in done.err
    assert tree(source) == PHOTOS
    assert not local.folder.exists()


def test_move_wants_proof(machine: Photosync, source: Path, local: LocalFolder) -> None:
    assert "proven" in machine.run("move", source, local.text, "--verify", "none").expect(2).err
    assert tree(source) == PHOTOS


def test_move_keeps_what_could_not_be_stored(machine: Photosync, source: Path) -> None:
    with DropboxEmulator(quota=1 << 20) as account:
        DropboxFolder(account).admit(machine)
        done = machine.run("move", source, "dropbox:Photos", "--json").expect(7)
    assert done.report["removed"] == 0
    assert tree(source) == PHOTOS


def test_move_from_a_place_to_itself_by_another_way(machine: Photosync, source: Path, tmp_path: Path) -> None:
    """A bind mount, or a share that is mounted and reached directly as well."""
    machine.copy(source, tmp_path / "copy").expect(0)
    machine.config.write_text('[remotes.other]\ntype = "fsspec"\nprotocol = "pslocal"\n')
    done = machine.run("move", f"other:{tmp_path}/copy", tmp_path / "copy", "--json").expect(7)
    assert "one place" in done.report["error"]
    assert tree(tmp_path / "copy") == PHOTOS


@pytest.mark.parametrize("inner", [False, True])
def test_move_into_itself(machine: Photosync, source: Path, inner: bool) -> None:
    places = (source / "DCIM", source) if inner else (source, source / "DCIM")
    machine.run("move", *places).expect(2)
    assert tree(source) == PHOTOS


def test_move_from_one_service_to_another(machine: Photosync, bucket: Bucket, dropbox: DropboxFolder) -> None:
    bucket.admit(machine)
    dropbox.admit(machine)
    for path, data in PHOTOS.items():
        bucket.put(path, data)
    done = machine.run("move", bucket.text, dropbox.text, "--json").expect(0)
    assert done.report["removed"] == len(PHOTOS)
    assert dropbox.files() == PHOTOS
    assert bucket.files() == {}


# delete


@pytest.mark.parametrize("place", ["local", "dropbox"], indirect=True)
def test_delete_to_the_trash(machine: Photosync, source: Path, place: Where) -> None:
    machine.copy(source, place.text).expect(0)
    plan = machine.run("delete", place.text, "--include", "*.jpg", "--dry-run").expect(0)
    assert "would move to the trash 3 of 4 files" in plan.out
    asked = machine.run("delete", place.text, "--include", "*.jpg").expect(2)
    assert "--yes" in asked.err
    assert place.files() == PHOTOS
    done = machine.run("delete", place.text, "--include", "*.jpg", "--yes", "--json").expect(0)
    assert done.report["trashed"] == 3
    assert place.files() == {"notes.txt": b"not a photo"}
    assert trash(place) == ["DCIM/a.jpg", "DCIM/b.jpg", "DCIM/sub/c.jpg"]
    machine.run("verify", place.text).expect(0)
    assert machine.copy(source, place.text).expect(0).report["verified"] == 3


@pytest.mark.parametrize("place", ["bucket"], indirect=True)
def test_delete_permanently(machine: Photosync, source: Path, place: Where) -> None:
    machine.copy(source, place.text).expect(0)
    done = machine.run("delete", place.text, "--permanently", "--yes", "--include", "b.jpg", "--json").expect(
        0
    )
    assert [row["path"] for row in done.events if row["event"] == "remove"] == ["DCIM/b.jpg"]
    assert "DCIM/b.jpg" not in place.files()
    assert trash(place) == []
    machine.run("verify", place.text).expect(0)


def test_delete_where_there_is_no_trash(machine: Photosync, source: Path) -> None:
    assert "--permanently" in machine.run("delete", source, "--yes").expect(2).err
    assert tree(source) == PHOTOS
    machine.run("delete", source, "--yes", "--permanently", "--include", "*.txt").expect(0)
    assert "notes.txt" not in tree(source)
    assert not (source / ".photosync").exists(), "no manifest begins where there was none"


def test_delete_from_phones_and_from_nowhere(machine: Photosync, plug: Plug, source: Path) -> None:
    phone, _ = plug(source)
    assert "free-up" in machine.run("delete", phone, "--permanently", "--yes").expect(2).err
    machine.run("delete", source / "missing", "--permanently", "--yes").expect(3)
    assert "is a file" in machine.run("delete", source / "notes.txt", "--permanently", "--yes").expect(2).err
    assert tree(source) == PHOTOS


# dedupe


@pytest.mark.parametrize("place", ["local", "dropbox"], indirect=True)
def test_dedupe(machine: Photosync, source: Path, place: Where) -> None:
    more = {
        "DCIM/a (1).jpg": PHOTOS["DCIM/a.jpg"],
        "Other/a.jpg": PHOTOS["DCIM/a.jpg"],
        "like-b.jpg": photo(50_000, "of the size of b"),
        "empty": b"",
        "empty too": b"",
    }
    write(source, more, mtime=1_700_000_000)
    machine.copy(source, place.text).expect(0)
    rows = machine.run("dedupe", place.text, "--json").expect(0).events
    found = [(row["keep"], row["others"]) for row in rows if row["event"] == "duplicates"]
    assert found == [("DCIM/a.jpg", ["DCIM/a (1).jpg", "Other/a.jpg"])]
    assert rows[-1]["duplicates"] == 2
    assert place.files() == PHOTOS | more
    machine.run("dedupe", place.text, "--mode", "trash", "--dry-run").expect(0)
    assert place.files() == PHOTOS | more
    machine.run("dedupe", place.text, "--mode", "trash").expect(0)
    assert set(PHOTOS | more) - set(place.files()) == {"DCIM/a (1).jpg", "Other/a.jpg"}
    assert trash(place) == ["DCIM/a (1).jpg", "Other/a.jpg"]
    machine.run("verify", place.text).expect(0)


def test_dedupe_does_not_take_half_a_live_photo(machine: Photosync, tmp_path: Path) -> None:
    still, film, other = photo(9_000, "still"), noise(8_000, "film"), noise(8_000, "other")
    files = {"a/IMG_1.HEIC": still, "a/IMG_1.MOV": film, "bb/IMG_1.HEIC": still, "bb/IMG_1.MOV": other,
             "cc/IMG_1.HEIC": still, "cc/IMG_1.MOV": film}  # fmt: skip
    library = tmp_path / "library"
    machine.copy(write(tmp_path / "phone", files), library).expect(0)
    [group] = [
        row
        for row in machine.run("dedupe", library, "--json").expect(0).events
        if row["event"] == "duplicates" and row["keep"].endswith("HEIC")
    ]
    assert group["others"] == ["cc/IMG_1.HEIC"]
    assert "bb/IMG_1.MOV" in group["held"]["bb/IMG_1.HEIC"]
    # The other half stays also where it was not asked for.
    machine.run("dedupe", library, "--mode", "trash", "--include", "*.HEIC").expect(1)
    assert {path for path in tree(library) if not path.startswith(".photosync")} == set(files)
    done = machine.run("dedupe", library, "--mode", "trash", "--json").expect(1)
    assert [row["path"] for row in done.events if row.get("status") == "kept"] == ["bb/IMG_1.HEIC"]
    assert set(files) - set(tree(library)) == {"cc/IMG_1.HEIC", "cc/IMG_1.MOV"}


def test_dedupe_looks_before_it_believes(machine: Photosync, tmp_path: Path) -> None:
    """Of two copies that were equal when they were copied, the one that would stay has rotted without a
    trace: the good one is not removed for it."""
    data = photo(9_000, "one")
    library = tmp_path / "library"
    machine.copy(write(tmp_path / "phone", {"a.jpg": data, "long name.jpg": data}), library).expect(0)
    with (library / "a.jpg").open("r+b") as file:
        file.write(b"rot")
    # A disk that rots changes no version; the journal is told that this one is what it proved.
    [journal] = (machine.home / "state").rglob("*.sqlite")
    with sqlite3.connect(journal) as database:
        for path in ("a.jpg", "long name.jpg"):
            now = LocalStore(str(library)).stat(path)
            database.execute(
                "UPDATE deliveries SET stored_version = ? WHERE stored = ?", (now.version, path.encode())
            )
    listed = machine.run("dedupe", library, "--json").expect(0)
    assert listed.report["duplicates"] == 1, "as far as anybody knows"
    done = machine.run("dedupe", library, "--mode", "trash", "--json")
    assert (library / "long name.jpg").read_bytes() == data
    assert done.code == 1
    [row] = [row for row in done.events if row["event"] == "remove"]
    assert (row["path"], row["status"]) == ("long name.jpg", "kept")
    assert "verify --deep" in row["error"]


def test_dedupe_keeps_the_copy_that_is_known_to_be_the_last(machine: Photosync, tmp_path: Path) -> None:
    """Of equal files, ``sync`` spares only that whose original was freed. The others have originals that may
    go, and they with them."""
    data = photo(9_000, "one")
    phone, library = tmp_path / "phone", tmp_path / "library"
    machine.copy(write(phone, {"a.jpg": data, "long name.jpg": data, "b.jpg": photo(8_000, 2)}), library)
    (library / ".photosync/FREED").write_bytes(spared.encode(["long name.jpg"]))
    machine.run("dedupe", library, "--mode", "trash").expect(0)
    for path in ("a.jpg", "long name.jpg"):
        (phone / path).unlink()
    Photosync(tmp_path / "other").run("sync", phone, library).expect(0)
    assert (library / "long name.jpg").read_bytes() == data


# Google Drive: several files of one name


def twins(drive: DriveFolder, *contents: bytes) -> None:
    """Files of one name, as a tool that repeats an upload leaves them."""
    for number, data in enumerate(contents):
        id = drive.account.put("Photos/DCIM/a.jpg", data)
        drive.account.api.drive.items[id].created += number * 1000


def names(drive: DriveFolder) -> dict[str, list[bytes]]:
    files = drive.account.files()
    return {
        path: [file.read() for file in found] for path, found in files.items() if ".photosync" not in path
    }


def test_files_of_one_name_and_equal_content(machine: Photosync, drive: DriveFolder, source: Path) -> None:
    one = photo(5_000, "one")
    drive.admit(machine)
    machine.copy(write(source, {"x.jpg": one}), "drive:Photos", "--include", "x.jpg").expect(0)
    twins(drive, one, one, one)
    rows = machine.run("dedupe", drive.text, "--json").expect(0).events
    [group] = [row for row in rows if row["event"] == "duplicates"]
    assert (group["keep"], group["evidence"]) == ("x.jpg", "sha256")
    assert len(group["others"]) == 3, "under the name of its own that each is shown by"
    shown = sorted(row["path"] for row in rows if row["event"] == "same-name")
    assert len(shown) == 2
    assert all(row["name"] == "DCIM/a.jpg" for row in rows if row["event"] == "same-name")
    machine.run("dedupe", drive.text, "--mode", "trash", "--dry-run").expect(0)
    assert len(names(drive)["Photos/DCIM/a.jpg"]) == 3
    done = machine.run("dedupe", drive.text, "--mode", "trash", "--json").expect(0)
    assert done.report["trashed"] == 3, "also those whose plain name became free meanwhile"
    left = names(drive)
    assert left["Photos/x.jpg"] == [one]
    assert "Photos/DCIM/a.jpg" not in left
    assert len(trash(drive)) == 3
    machine.run("verify", drive.text).expect(0)


def test_files_of_one_name_and_other_content(machine: Photosync, drive: DriveFolder, source: Path) -> None:
    one, two, three = (photo(5_000, number) for number in ("one", "two", "three"))
    drive.admit(machine)
    machine.copy(source, "drive:Photos", "--include", "notes.txt").expect(0)
    twins(drive, one, two, three, one)
    warned = machine.copy(source, "drive:Photos", "--include", "notes.txt").expect(0)
    assert "photosync dedupe" in warned.out
    done = machine.run("dedupe", drive.text, "--mode", "trash", "--json").expect(0)
    assert done.report["trashed"] == 1
    assert sorted(names(drive)["Photos/DCIM/a.jpg"]) == sorted([one, two, three])
    listed = {row["path"] for row in machine.run("dedupe", drive.text, "--json").expect(0).events
              if row["event"] == "same-name"}  # fmt: skip
    plan = machine.run("dedupe", drive.text, "--mode", "rename", "--dry-run").expect(0)
    assert "--mode rename gives each its own" in plan.out
    assert len(names(drive)["Photos/DCIM/a.jpg"]) == 3
    done = machine.run("dedupe", drive.text, "--mode", "rename", "--json").expect(0)
    assert {row["path"] for row in done.events if row["event"] == "remove"} == listed
    assert done.report["renamed"] == 2
    left = names(drive)
    assert left["Photos/DCIM/a.jpg"] == [one], "the oldest keeps its name"
    assert {f"Photos/{path}" for path in listed} < left.keys()
    assert sorted(data for found in left.values() for data in found if data in (one, two, three)) == sorted(
        [one, two, three]
    )
    again = machine.run("dedupe", drive.text, "--json").expect(0)
    assert again.report["same_name"] == 0
    assert again.report["status"] == "ok"


def test_where_names_are_unique_there_is_nothing_to_rename(machine: Photosync, source: Path) -> None:
    assert "nothing to rename" in machine.run("dedupe", source, "--mode", "rename").expect(2).err


def test_dedupe_reads_what_nobody_knows(machine: Photosync, source: Path) -> None:
    write(source, {"copy.jpg": PHOTOS["DCIM/b.jpg"], "other.jpg": photo(50_000, "other")})
    rows = machine.run("dedupe", source, "--json").expect(0).events
    assert rows[-1]["unknown"] == 3
    assert rows[-1]["groups"] == 0
    rows = machine.run("dedupe", source, "--download", "--json").expect(0).events
    assert [(row["keep"], row["others"]) for row in rows[:-1]] == [("copy.jpg", ["DCIM/b.jpg"])]
    assert "--permanently" in machine.run("dedupe", source, "--mode", "trash").expect(2).err


@pytest.mark.parametrize("spelled", ["{}", "file://{}", "linked", "pslocal://{}", "blockcache::file://{}"])
def test_a_phone_is_not_written_through_its_mount_either(
    machine: Photosync, plug: Plug, source: Path, tmp_path: Path, spelled: str
) -> None:
    plug(source)
    (mount,) = tmp_path.glob("pixel-*")
    place = str(tmp_path / "linked") if spelled == "linked" else spelled.format(mount)
    (tmp_path / "linked").symlink_to(mount)
    others = write(tmp_path / "others", {"new.jpg": b"new"})
    library = machine.home / "library"
    machine.run("copy", source, library).expect(0)
    for command in (
        ("copy", others, place),
        ("sync", others, f"{place}/DCIM"),
        ("mirror", others, place, machine.home / "second"),
        ("move", place, machine.home / "third"),
        ("delete", place, "--permanently", "--yes"),
        ("mkdir", f"{place}/made"),
        ("restore", library, f"{place}/back"),
    ):
        assert "can only be read" in machine.run(*command).expect(2).err
    assert tree(source) == PHOTOS
    machine.run("copy", place, machine.home / "fourth").expect(0)
    assert tree(machine.home / "fourth") == PHOTOS


def test_what_could_not_begin_is_a_report_too(machine: Photosync, source: Path) -> None:
    for command in (("delete", "nosuch:"), ("dedupe", "nosuch:"), ("prune", "nosuch:"), ("free-up", source)):
        done = machine.run(*command, "--json").expect(2)
        assert (done.report["status"], bool(done.report["error"])) == ("failed", True)


# cat and mkdir


def test_cat_of_nothing_is_not_the_current_folder(machine: Photosync) -> None:
    done = machine.run("cat", "").expect(2)
    assert (done.out, "a place is missing" in done.err) == ("", True)


@pytest.mark.parametrize("place", ["dropbox"], indirect=True)
def test_cat(machine: Photosync, source: Path, place: Where) -> None:
    machine.copy(source, place.text).expect(0)
    text = f"{place.text}/notes.txt"
    for options, expected in (
        (["--head", "3"], "not"),
        (["--tail", "5"], "photo"),
        (["--offset", "-5", "--count", "2"], "ph"),
        (["--offset", "99"], ""),
    ):
        assert machine.run("cat", text, *options).expect(0).out == expected
    assert machine.run("cat", text, text, "--head", "1").expect(0).out == "nn"
    assert machine.run("cat", f"{place.text}/missing.txt").expect(4).out == ""
    machine.run("cat", text, "--head", "1", "--tail", "1").expect(2)


def test_cat_of_a_folder(machine: Photosync, tmp_path: Path) -> None:
    write(tmp_path / "x", {"b": b"2", "a": b"1", "c/d": b"3"})
    assert machine.run("cat", tmp_path / "x").expect(0).out == "123"


def test_mkdir(machine: Photosync, dropbox: DropboxFolder, bucket: Bucket, tmp_path: Path) -> None:
    dropbox.admit(machine)
    bucket.admit(machine)
    machine.run("mkdir", tmp_path / "a/b", "--dry-run").expect(0)
    assert not (tmp_path / "a").exists()
    for _ in range(2):
        machine.run("mkdir", tmp_path / "a/b").expect(0)
    assert (tmp_path / "a/b").is_dir()
    machine.run("mkdir", "dropbox:New/Folder").expect(0)
    machine.run("ls", "dropbox:New/Folder").expect(0)
    assert "need not be made" in machine.run("mkdir", bucket.text).expect(0).out
    (tmp_path / "file").write_bytes(b"")
    machine.run("mkdir", tmp_path / "file").expect(6)
    assert "can only be read" in machine.run("mkdir", "phone:New").expect(2).err


def test_about_as_json(machine: Photosync, tmp_path: Path) -> None:
    rows = json.loads(machine.run("about", tmp_path, "--json").expect(0).out)
    assert 0 < rows["free"] <= rows["total"]
