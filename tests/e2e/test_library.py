"""What a copy is kept for: proving it again, mending it, getting everything back, and its history."""

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from photosync.sample import build_library, build_sample
from tests.e2e.cli import Done, Photosync, noise, photo, tree, write
from tests.e2e.conftest import Plug
from tests.e2e.places import Bucket, DropboxFolder, LocalFolder, Where

MIB = 1 << 20
CHUNK = 4 * MIB
EVERYWHERE = pytest.mark.parametrize("place", ["local", "bucket", "dropbox"], indirect=True)


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    folder = tmp_path / "phone"
    write(folder, {f"DCIM/IMG_{number}.JPG": noise(3000 + number, number) for number in range(8)}, 1.6e9)
    write(folder, {"DCIM/VID_1.MP4": noise(9 * MIB, "film")}, 1.65e9)
    return folder


def times(folder: Path) -> dict[str, int]:
    return {path: int((folder / path).stat().st_mtime) for path in tree(folder)}


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def results(done: Done) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What an audit found wrong: path → result and chunks."""
    return {
        path: (row["result"], tuple(row["chunks"]))
        for path, row in done.files().items()
        if row["result"] != "match"
    }


# restore


@EVERYWHERE
def test_a_new_machine_gets_everything_back(machine: Photosync, place: Where, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    build_sample(phone, photos=6)
    machine.copy(phone, place.text).expect(0)
    machine.lose_state()
    report = machine.run("restore", place.text, tmp_path / "back", "--json").expect(0).report
    assert report["status"] == "ok"
    assert report["source_bytes_read"] == sum(map(len, tree(phone).values()))
    assert tree(tmp_path / "back") == tree(phone)
    if not isinstance(place, Bucket | DropboxFolder):
        assert times(tmp_path / "back") == times(phone)
    again = machine.run("restore", place.text, tmp_path / "back", "--json").expect(0).report
    assert (again["status"], again["source_bytes_read"]) == ("nothing", 0)


@EVERYWHERE
def test_times_come_back(machine: Photosync, phone: Path, place: Where, tmp_path: Path) -> None:
    machine.copy(phone, place.text).expect(0)
    machine.run("restore", place.text, tmp_path / "back").expect(0)
    assert times(tmp_path / "back") == times(phone)


@EVERYWHERE
def test_as_it_was(machine: Photosync, phone: Path, place: Where, tmp_path: Path) -> None:
    before = tree(phone)
    machine.run("sync", phone, place.text).expect(0)
    write(phone, {"DCIM/IMG_1.JPG": b"edited", "DCIM/VID_1.MP4": noise(9 * MIB, "another film")})
    (phone / "DCIM/IMG_2.JPG").unlink()
    (phone / "DCIM/IMG_3.JPG").rename(phone / "DCIM/IMG_33.JPG")
    machine.run("sync", phone, place.text).expect(0)
    machine.lose_state()
    machine.run("restore", place.text, tmp_path / "old", "--as-of", "1").expect(0)
    assert tree(tmp_path / "old") == before
    machine.run("restore", place.text, tmp_path / "now").expect(0)
    assert tree(tmp_path / "now") == tree(phone)


def test_as_of_a_date(machine: Photosync, phone: Path, local: LocalFolder, tmp_path: Path) -> None:
    machine.copy(phone, local.text).expect(0)
    today = time.strftime("%Y-%m-%d")
    machine.run("restore", local.text, tmp_path / "a", "--as-of", today).expect(0)
    assert tree(tmp_path / "a") == tree(phone)
    done = machine.run("restore", local.text, tmp_path / "b", "--as-of", "2001-01-01").expect(6)
    assert "the first snapshot" in done.err
    done = machine.run("restore", local.text, tmp_path / "b", "--as-of", "9").expect(6)
    assert "no snapshot 9" in done.err
    machine.run("restore", local.text, tmp_path / "b", "--as-of", "yesterday").expect(2)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (["DCIM/IMG_1.JPG"], {"DCIM/IMG_1.JPG"}),
        (["DCIM/", "no such"], None),
        (["*_[12].*"], {"DCIM/IMG_1.JPG", "DCIM/IMG_2.JPG", "DCIM/VID_1.MP4"}),
    ],
)
def test_a_part_of_it(
    machine: Photosync,
    phone: Path,
    local: LocalFolder,
    tmp_path: Path,
    patterns: Sequence[str],
    wanted: set[str] | None,
) -> None:
    machine.copy(phone, local.text).expect(0)
    *rows, totals = machine.run("restore", local.text, tmp_path / "back", *patterns, "-n", "--json").events
    plan = {row["path"] for row in rows if row["event"] == "plan"}
    assert plan == (set(tree(phone)) if wanted is None else wanted)
    assert (totals["event"], totals["actions"]) == ("plan-totals", len(plan))
    assert not (tmp_path / "back").exists()
    machine.run("restore", local.text, tmp_path / "back", *patterns).expect(0)
    assert set(tree(tmp_path / "back")) == (set(tree(phone)) if wanted is None else wanted)


LIVE = "DCIM/100APPLE/IMG_0006"


@pytest.mark.parametrize("pattern", [f"{LIVE}.HEIC", f"{LIVE}.MOV", "IMG_0006.H*"])
def test_the_files_of_a_photo_are_restored_together(
    machine: Photosync, local: LocalFolder, tmp_path: Path, pattern: str
) -> None:
    build_sample(tmp_path / "phone", photos=6)
    write(tmp_path / "phone", {f"{LIVE}.AAE": b"<plist/>", "DCIM/100APPLE/IMG_0006.txt": b"a note"})
    machine.copy(tmp_path / "phone", local.text).expect(0)
    done = machine.run("restore", local.text, tmp_path / "back", pattern).expect(0)
    assert "3 files" in done.err and "2 of them the other files of the same photos" in done.err
    files = tree(tmp_path / "phone")
    assert tree(tmp_path / "back") == {
        f"{LIVE}.{kind}": files[f"{LIVE}.{kind}"] for kind in ("HEIC", "MOV", "AAE")
    }


def test_a_photo_is_restored_beside_another_as_one(
    machine: Photosync, local: LocalFolder, tmp_path: Path
) -> None:
    build_sample(tmp_path / "phone", photos=6)
    machine.copy(tmp_path / "phone", local.text).expect(0)
    back = write(tmp_path / "back", {f"{LIVE}.MOV": b"another film"})
    machine.lose_state()
    done = machine.run("restore", local.text, back, f"{LIVE}.HEIC").expect(1)
    assert "kept" in done.out + done.err
    there, files = tree(back), tree(tmp_path / "phone")
    assert there.pop(f"{LIVE}.MOV") == b"another film"
    stems = {path.rpartition(".")[0] for path in there}
    assert len(stems) == 1 and stems.pop().startswith(f"{LIVE}~"), "its halves still have one name"
    assert sorted(there.values()) == sorted(files[f"{LIVE}.{kind}"] for kind in ("HEIC", "MOV"))
    assert machine.run("restore", local.text, back, f"{LIVE}.HEIC").code == 0
    assert len(tree(back)) == 3


def test_nothing_like_it(machine: Photosync, phone: Path, local: LocalFolder, tmp_path: Path) -> None:
    machine.copy(phone, local.text).expect(0)
    done = machine.run("restore", local.text, tmp_path / "back", "DCIM/IMG_77.JPG")
    assert done.code in (3, 4)
    assert "nothing like it" in done.err
    done = machine.run("restore", phone, tmp_path / "back").expect(3)
    assert "photosync copy" in done.err
    assert not (tmp_path / "back").exists()


def test_what_is_at_the_target_stays(
    machine: Photosync, phone: Path, local: LocalFolder, tmp_path: Path
) -> None:
    machine.copy(phone, local.text).expect(0)
    back = write(tmp_path / "back", {"DCIM/IMG_1.JPG": b"mine", "DCIM/IMG_2.JPG": noise(3002, 2)})
    report = machine.run("restore", local.text, back, "--json").expect(1).report
    assert report["conflict"] == 1
    there = tree(back)
    assert there.pop("DCIM/IMG_1.JPG") == b"mine"
    assert sorted(there.values()) == sorted(tree(phone).values())


@pytest.mark.row(90)
def test_no_link_leads_out(machine: Photosync, phone: Path, local: LocalFolder, tmp_path: Path) -> None:
    machine.copy(phone, local.text).expect(0)
    outside = tmp_path / "outside"
    outside.mkdir()
    back = tmp_path / "back"
    back.mkdir()
    (back / "DCIM").symlink_to(outside)
    done = machine.run("restore", local.text, back).expect(6)
    assert "symbolic link" in done.err
    assert list(outside.iterdir()) == []


def test_killed_and_gone_on_with(machine: Photosync, tmp_path: Path, local: LocalFolder) -> None:
    phone = tmp_path / "phone"
    write(phone, {f"{number}.JPG": noise(50_000, number) for number in range(40)})
    write(phone, {"film.MP4": noise(40 * MIB, "film")})
    machine.copy(phone, local.text).expect(0)
    back = tmp_path / "back"
    whole = tree(phone)
    for seconds in (0.3, 0.6, 0.9):
        with machine.start("restore", local.text, back) as process:
            time.sleep(seconds)
            process.kill()
        assert all(whole[path] == data for path, data in tree(back).items() if ".part" not in path)
    machine.run("restore", local.text, back).expect(0)
    assert tree(back) == whole


def test_a_damaged_copy_gives_back_what_is_whole(
    machine: Photosync, phone: Path, local: LocalFolder, tmp_path: Path
) -> None:
    machine.copy(phone, local.text).expect(0)
    machine.copy(phone, tmp_path / "second").expect(0)
    whole = tree(phone)
    film = "DCIM/VID_1.MP4"
    local.put(film, flipped(whole[film], 5 * MIB))
    local.delete("DCIM/IMG_1.JPG")
    done = machine.run("restore", local.text, tmp_path / "back", "--json").expect(6)
    assert done.report["failed"] == 2
    assert set(done.files("failed")) == {film, "DCIM/IMG_1.JPG"}
    assert "--from" in done.files("failed")[film]["error"]
    left = {path: data for path, data in whole.items() if path not in done.files("failed")}
    assert tree(tmp_path / "back") == left
    machine.run("restore", local.text, tmp_path / "back", "--from", tmp_path / "second").expect(0)
    assert tree(tmp_path / "back") == whole


def test_one_copy_dies_on_the_way(
    machine: Photosync, phone: Path, dropbox: DropboxFolder, tmp_path: Path
) -> None:
    dropbox.admit(machine)
    machine.copy(phone, dropbox.text).expect(0)
    machine.copy(phone, tmp_path / "second").expect(0)
    for path in tree(tmp_path / "second"):
        if path.endswith("JPG"):
            (tmp_path / "second" / path).unlink()
    machine.run("restore", tmp_path / "second", tmp_path / "back", "--from", dropbox.text).expect(0)
    assert tree(tmp_path / "back") == tree(phone)


# verify and heal


@EVERYWHERE
@pytest.mark.row(67)
def test_damage_is_found_to_the_chunk_and_mended(machine: Photosync, place: Where, tmp_path: Path) -> None:
    phone = tmp_path / "phone"
    files = {f"DCIM/IMG_{number:03}.JPG": noise(2000 + number, number) for number in range(16)}
    files |= {f"DCIM/VID_{number}.MP4": noise(9 * MIB + number, f"film {number}") for number in range(2)}
    write(phone, files)
    machine.copy(phone, place.text).expect(0)
    machine.copy(phone, tmp_path / "second").expect(0)
    rng = random.Random(place.name)
    names = sorted(files)
    rng.shuffle(names)
    bad, short, gone = names[:11], names[11:14], names[14:17]
    wrong: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path in bad:
        at = rng.randrange(len(files[path]))
        place.put(path, flipped(files[path], at))
        wrong[path] = ("differ", (at // CHUNK,))
    for path in short:
        place.put(path, files[path][:-100])
        wrong[path] = ("differ", ((len(files[path]) - 1) // CHUNK,))
    for path in gone:
        place.delete(path)
        wrong[path] = ("missing", ())
    extra = {f"DCIM/extra-{number}.JPG": noise(500, f"extra {number}") for number in range(5)}
    for path, data in extra.items():
        place.put(path, data)
        wrong[path] = ("extra", ())

    assert results(machine.run("verify", place.text, "--deep", "--json").expect(1)) == wrong
    plan = machine.run("heal", place.text, "--deep", "--from", tmp_path / "second", "-n", "--json").expect(0)
    assert {row["path"] for row in plan.events[:-1]} == {*bad, *short, *gone}
    assert (plan.events[-1]["event"], plan.events[-1]["actions"]) == ("plan-totals", 17)
    done = machine.run("heal", place.text, "--deep", "--from", tmp_path / "second", "--json").expect(0)
    assert set(done.files("verified")) == {*bad, *short, *gone}
    assert place.files() == files | extra
    assert results(machine.run("verify", place.text, "--deep", "--json").expect(0)) == dict.fromkeys(
        extra, ("extra", ())
    )
    trash = [path for path in place.own() if path.startswith(".photosync/trash/") and path.endswith("G")]
    assert len(trash) <= len(bad) + len(short), "what was damaged is kept aside"


@pytest.mark.row(67)
def test_a_mirror_mends_itself(
    machine: Photosync, local: LocalFolder, wire: Bucket, dropbox: DropboxFolder, tmp_path: Path
) -> None:
    """Three destinations of one mirror, each damaged elsewhere: all of it is named, and each is mended from
    the other two, which are read for the damaged chunks alone."""
    phone = tmp_path / "phone"
    films = {f"DCIM/VID_{number}.MP4": noise(9 * MIB + number, f"film {number}") for number in range(4)}
    files = {f"DCIM/IMG_{number:03}.JPG": noise(2000 + number, number) for number in range(60)} | films
    write(phone, files)
    places: dict[str, Where] = {place.text: place for place in (local, wire, dropbox)}
    for place in places.values():
        place.admit(machine)
    machine.run("mirror", phone, *places).expect(0)
    rng = random.Random("mirror")
    photos = sorted(set(files) - set(films))
    rng.shuffle(photos)
    bad, short, gone = [*list(films)[:3], *photos[:47]], [list(films)[3], *photos[47:51]], photos[51:56]
    wrong: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {text: {} for text in places}
    needed = dict.fromkeys(places, 0)
    for number, path in enumerate([*bad, *short, *gone]):
        data, text = files[path], list(places)[number % 3]
        at = rng.randrange(len(data)) if path in bad else len(data) - 1
        needed[text] += len(data) if path in gone else len(data[at // CHUNK * CHUNK :][:CHUNK])
        wrong[text][path] = ("missing", ()) if path in gone else ("differ", (at // CHUNK,))
        if path in gone:
            places[text].delete(path)
        else:
            places[text].put(path, flipped(data, at) if path in bad else data[:-100])
    extra = {f"DCIM/extra-{number}.JPG": noise(500, f"extra {number}") for number in range(5)}
    added: dict[str, dict[str, bytes]] = {text: {} for text in places}
    for number, (path, data) in enumerate(extra.items()):
        text = list(places)[number % 3]
        places[text].put(path, data)
        added[text][path] = data
    for text in places:
        done = machine.run("verify", text, "--deep", "--json").expect(1)
        assert results(done) == wrong[text] | dict.fromkeys(added[text], ("extra", ()))

    def sent() -> dict[str, int]:
        assert wire.line is not None
        return {
            wire.text: wire.line.down,
            dropbox.text: dropbox.account.sent["files/download"],
            local.text: 0,
        }

    for text, first in ((local.text, wire.text), (wire.text, dropbox.text), (dropbox.text, wire.text)):
        (other,) = set(places) - {text, first}
        before = sent()
        done = machine.run("heal", text, "--deep", "--from", first, "--from", other, "--json").expect(0)
        assert set(done.files("verified")) == set(wrong[text])
        assert places[text].files() == files | added[text]
        # A kilobyte or so of every answer is no content.
        assert needed[text] <= sent()[first] - before[first] <= needed[text] + 2000 * (len(wrong[text]) + 9)
        assert sent()[other] - before[other] < 20_000
    for text in places:
        done = machine.run("verify", text, "--deep", "--json").expect(0)
        assert results(done) == dict.fromkeys(added[text], ("extra", ()))


def test_only_damaged_chunks_are_fetched(
    machine: Photosync, local: LocalFolder, bucket: Bucket, wire: Bucket, tmp_path: Path
) -> None:
    phone = tmp_path / "phone"
    film = noise(40 * MIB, "film")
    write(phone, {"film.MP4": film})
    machine.copy(phone, local.text).expect(0)
    wire.admit(machine)
    machine.copy(phone, wire.text).expect(0)
    local.put("film.MP4", flipped(flipped(film, 5 * MIB), 33 * MIB))
    assert wire.line is not None
    before = wire.line.down
    machine.run("heal", local.text, "--from", wire.text).expect(0)
    assert local.files() == {"film.MP4": film}
    assert 8 * MIB < wire.line.down - before < 8 * MIB + 50_000


def test_what_was_mended_or_found_again_was_not_copied(
    machine: Photosync, phone: Path, local: LocalFolder, tmp_path: Path
) -> None:
    """Nothing was sent for it, so nobody is told that it was copied."""
    machine.copy(phone, tmp_path / "second").expect(0)
    count = len(tree(phone))
    assert f"{count}  copied and verified" in machine.run("copy", phone, local.text).expect(0).out
    local.put("DCIM/VID_1.MP4", flipped(tree(phone)["DCIM/VID_1.MP4"], 5))
    machine.run("heal", local.text, "--deep", "--from", tmp_path / "second").expect(0)
    told = machine.run("sync", phone, local.text).expect(0).out
    assert "1  there already, proven now" in told
    assert "0 B  sent" in told
    first = phone / "DCIM/VID_1.MP4"
    first.rename(phone / "DCIM/film.MP4")
    assert "1  there already, proven now" in machine.run("sync", phone, local.text).expect(0).out
    (phone / "DCIM/film.MP4").rename(first)
    machine.lose_state()
    write(phone, {"DCIM/new.JPG": photo(3000, "new")})
    told = machine.run("copy", phone, local.text).expect(0).out
    assert f"{count - 1}  there already, proven now" in told
    assert "2  copied and verified" in told, "what was renamed is new to who forgot it"


def test_what_nobody_has_whole_is_said(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    machine.copy(phone, local.text).expect(0)
    data = tree(phone)["DCIM/VID_1.MP4"]
    local.put("DCIM/VID_1.MP4", flipped(data, 1))
    done = machine.run("heal", local.text, "--json").expect(6)
    assert "nowhere to be had" in done.files("failed")["DCIM/VID_1.MP4"]["error"]
    assert local.files()["DCIM/VID_1.MP4"] == flipped(data, 1), "what could not be mended was left alone"


@pytest.mark.row(67)
def test_rot_elsewhere_is_not_spread(
    machine: Photosync, phone: Path, local: LocalFolder, tmp_path: Path
) -> None:
    machine.copy(phone, local.text).expect(0)
    second = LocalFolder(tmp_path / "second")
    machine.copy(phone, second.text).expect(0)
    data = tree(phone)["DCIM/VID_1.MP4"]
    local.put("DCIM/VID_1.MP4", flipped(data, 1))
    second.put("DCIM/VID_1.MP4", flipped(data, 2))
    machine.run("heal", local.text, "--from", second.text).expect(6)
    second.put("DCIM/VID_1.MP4", flipped(data, 8 * MIB))
    machine.run("heal", local.text, "--from", second.text).expect(0)
    assert local.files()["DCIM/VID_1.MP4"] == data, "each had a chunk that the other had not"


@pytest.mark.parametrize(
    "words",
    [
        ("verify",),
        ("verify", "--deep"),
        ("log",),
        ("diff",),
        ("manifest", "show"),
        ("check", "PHONE"),
        ("heal",),
    ],
)
def test_a_wrong_place_is_reported(machine: Photosync, phone: Path, words: tuple[str, ...]) -> None:
    """Scripts get a last line that says what went wrong."""
    asked = [str(phone) if word == "PHONE" else word for word in words]
    done = machine.run(*asked, "nosuch:Photos", "--json")
    assert done.code == 2
    assert done.report["status"] == "failed"
    assert "nosuch" in done.report["error"]


def test_a_share_of_it_at_a_time(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    machine.copy(phone, local.text).expect(0)
    seen: set[str] = set()
    for _ in range(3):
        done = machine.run("verify", local.text, "--deep", "--sample", "34%", "--json").expect(0)
        assert len(done.files()) == 4
        seen |= set(done.files())
        time.sleep(0.01)
    assert seen == set(tree(phone)), "what was looked at least recently comes first"
    done = machine.run("verify", local.text, "--since", "1h", "--json").expect(0)
    assert not done.files()
    assert done.report["not_due"] == 9
    assert len(machine.run("verify", local.text, "--since", "-1h", "--json").expect(0).files()) == 9
    machine.run("verify", local.text, "--sample", "0").expect(2)
    local.put("DCIM/IMG_1.JPG", b"other")
    assert results(machine.run("verify", local.text, "--json").expect(1)) == {
        "DCIM/IMG_1.JPG": ("differ", (0,))
    }
    done = machine.run("verify", local.text, "--since", "1h", "--json").expect(1)
    assert set(done.files()) == {"DCIM/IMG_1.JPG"}, "what proved wrong is not proven"


@pytest.mark.row(68)
def test_rot_at_the_source(machine: Photosync, plug: Plug, phone: Path, local: LocalFolder) -> None:
    name, _ = plug(phone)
    machine.copy(name, local.text).expect(0)
    good = local.files()
    path = next(iter(good))
    file = phone / path
    found = file.stat()
    file.write_bytes(flipped(file.read_bytes(), 7))
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    for command in ("sync", "copy"):
        done = machine.run(command, name, local.text, "--checksum", "--json")
        if command == "sync":
            done.expect(1)
            assert any("rotting" in row.get("text", "") for row in done.events)
        assert local.files().items() >= good.items(), "the good copy stays"
        assert file.read_bytes() in local.files().values(), "and what the source says now is kept, too"
    assert not any("/trash/" in name for name in local.own())


def test_history_between_any_two(machine: Photosync, local: LocalFolder, tmp_path: Path) -> None:
    for number in range(2):
        machine.copy(write(tmp_path / "phone", {f"{number}.JPG": b"%d" % number}), local.text).expect(0)
    for numbers, expected in ((("2", "1"), "- 1.JPG"), (("0", "2"), "+ 0.JPG\n+ 1.JPG")):
        assert machine.run("diff", local.text, *numbers).expect(0).out.strip() == expected
    done = machine.run("diff", local.text, "1", "9", "--json").expect(6)
    assert "no snapshot 9" in done.report["error"]
    machine.run("prune", local.text, "--keep", "soon").expect(2)


# trash


def test_the_trash_is_emptied_only_when_told(machine: Photosync, phone: Path, local: LocalFolder) -> None:
    machine.run("sync", phone, local.text).expect(0)
    (phone / "DCIM/IMG_1.JPG").unlink()
    machine.run("sync", phone, local.text).expect(0)

    def trash() -> list[str]:
        return [name for name in local.own() if name.endswith("IMG_1.JPG")]

    assert len(trash()) == 1
    for options in ([], ["--yes"], ["--keep", "0s"], ["--keep-last", "1", "--yes"]):
        machine.run("prune", local.text, *options).expect(0)
        assert len(trash()) == 1, options
    shown = machine.run("prune", local.text, "--keep", "0s").expect(0)
    assert "--yes" in shown.out
    done = machine.run("prune", local.text, "--keep", "0s", "--yes", "--json").expect(0)
    assert json.loads(done.out.splitlines()[-1])["deleted"] == 1
    assert trash() == []
    assert set(local.files()) == set(tree(phone))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("place", ["local", "bucket", "dropbox", "drive"], indirect=True)
def test_a_library_of_2000_files_comes_back(machine: Photosync, place: Where, tmp_path: Path) -> None:
    """With nothing but the remote's credentials."""
    phone = tmp_path / "phone"
    build_library(phone, files=2000)
    build_sample(phone / "odd", photos=3)
    machine.copy(phone, place.text, timeout=900).expect(0)
    bare = Photosync(tmp_path / "new machine")
    place.admit(bare)
    report = bare.run("restore", place.text, tmp_path / "back", "--json", timeout=900).expect(0).report
    assert report["verified"] == len(tree(phone))
    assert tree(tmp_path / "back") == tree(phone)
    assert times(tmp_path / "back") == times(phone)
