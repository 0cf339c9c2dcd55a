"""The only copies of what was freed, at a folder whose owner wants them gone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from photosync.engine import spared
from tests.e2e.cli import Photosync, photo, tree, write
from tests.e2e.conftest import Plug

OLD = 1_600_000_000


@pytest.mark.row(62, 63)
def test_sync_refuses_a_list_of_what_was_freed_that_was_tampered_with(
    machine: Photosync, tmp_path: Path, plug: Plug
) -> None:
    photos = {f"DCIM/IMG_{number}.JPG": photo(3000 + number, number) for number in range(4)}
    content = write(tmp_path / "content", photos, OLD)
    phone, _ = plug(content, read_only=False)
    copy, key = tmp_path / "copy", tmp_path / "key.pem"
    file = copy / ".photosync/FREED"
    public = machine.run("key", "new", key).expect(0).out.strip()
    machine.run("copy", phone, copy, "--sign", key).expect(0)
    free = ("free-up", phone, "--yes", "--min-copies", "1")
    machine.run(*free, "--include", "*_0.JPG").expect(0)
    older = file.read_bytes()
    machine.run(*free, "--include", "*_[12].JPG").expect(0)
    newest = file.read_bytes()
    assert spared.decode(newest) == set(photos) - {"DCIM/IMG_3.JPG"}
    assert set(tree(content)) == {"DCIM/IMG_3.JPG"}

    def other(name: str) -> Photosync:
        found = Photosync(tmp_path / name)
        found.run("key", "trust", copy, public).expect(0)
        return found

    attacks: dict[str, Callable[[], object]] = {
        "dropped": lambda: file.write_bytes(spared.encode(["DCIM/IMG_0.JPG"])),
        "older": lambda: file.write_bytes(older),
        "gone": file.unlink,
    }
    for name, attack in attacks.items():
        attack()
        who = {"dropped": machine, "older": other("told"), "gone": Photosync(tmp_path / "blind")}[name]
        done = who.run("sync", phone, copy)
        assert done.code == 7, (name, done)
        assert "manifest sign" in done.out + done.err
        assert tree(copy) == photos
        done = machine.run("manifest", "sign", copy).expect(0)
        assert "3 files, 3 of them" in done.out
        assert spared.decode(file.read_bytes()) == spared.decode(newest)
        who.run("sync", phone, copy).expect(0)
        assert tree(copy) == photos
    assert not (copy / ".photosync/trash").exists()


def test_a_list_of_before_the_library_was_signed(machine: Photosync, tmp_path: Path, plug: Plug) -> None:
    photos = {f"DCIM/IMG_{number}.JPG": photo(3000 + number, number) for number in range(2)}
    content = write(tmp_path / "content", photos, OLD)
    phone, _ = plug(content, read_only=False)
    copy, key = tmp_path / "copy", tmp_path / "key.pem"
    file = copy / ".photosync/FREED"
    machine.run("key", "new", key).expect(0)
    machine.copy(phone, copy).expect(0)
    machine.run("free-up", phone, "--yes", "--min-copies", "1", "--include", "*_0.JPG").expect(0)
    assert machine.run("manifest", "sign", copy).code == 7, "nothing is signed there"
    assert "number" not in json.loads(file.read_bytes())
    machine.run("copy", phone, copy, "--sign", key).expect(0)
    signed = json.loads(file.read_bytes())
    assert signed["number"] == 1
    assert json.loads((copy / ".photosync/HEAD").read_bytes())["freed"]["library"] == signed["library"]
    machine.run("manifest", "rebuild", copy).expect(0)
    assert json.loads((copy / ".photosync/HEAD").read_bytes())["freed"]["library"] == signed["library"]
    machine.lose_state()
    machine.run("sync", phone, copy, "--sign", key).expect(0)
    assert tree(copy) == photos


@pytest.mark.row(63)
def test_two_machines_that_wrote_it_at_once(machine: Photosync, tmp_path: Path, plug: Plug) -> None:
    """As on a share of a network, where no lock is everybody's: the manifest tells of the list that went."""
    photos = {f"DCIM/IMG_{number}.JPG": photo(3000 + number, number) for number in range(3)}
    content = write(tmp_path / "content", photos, OLD)
    phone, _ = plug(content, read_only=False)
    copy, key = tmp_path / "copy", tmp_path / "key.pem"
    file, head = copy / ".photosync/FREED", copy / ".photosync/HEAD"
    machine.run("key", "new", key).expect(0)
    machine.run("copy", phone, copy, "--sign", key).expect(0)
    free = ("free-up", phone, "--yes", "--min-copies", "1")
    machine.run(*free, "--include", "*_0.JPG").expect(0)
    other = Photosync(tmp_path / "other")
    other.run("copy", phone, copy, "--sign", key).expect(0)
    before = file.read_bytes(), head.read_bytes()
    other.run(*free, "--include", "*_1.JPG").expect(0)
    theirs = head.read_bytes()
    file.write_bytes(before[0])
    head.write_bytes(before[1])
    machine.run(*free, "--include", "*_2.JPG").expect(0)
    head.write_bytes(theirs)
    assert "manifest sign" in machine.run("copy", phone, copy).expect(1).err
    machine.run("manifest", "sign", copy).expect(0)
    assert spared.decode(file.read_bytes()) == {"DCIM/IMG_0.JPG", "DCIM/IMG_2.JPG"}
    other.run("manifest", "sign", copy).expect(0)
    assert spared.decode(file.read_bytes()) == set(photos)
    machine.run("copy", phone, copy, "--allow-empty").expect(0)


def test_who_stops_signing_begins_anew(machine: Photosync, tmp_path: Path, plug: Plug) -> None:
    """The key is gone: everything is as with a library that never was signed, and what was freed stays."""
    photos = {f"DCIM/IMG_{number}.JPG": photo(3000 + number, number) for number in range(2)}
    phone, _ = plug(write(tmp_path / "content", photos, OLD), read_only=False)
    copy, key = tmp_path / "copy", tmp_path / "key.pem"
    machine.run("key", "new", key).expect(0)
    machine.run("copy", phone, copy, "--sign", key).expect(0)
    machine.run("free-up", phone, "--yes", "--min-copies", "1", "--include", "*_0.JPG").expect(0)
    key.unlink()
    machine.run("key", "trust", copy, "none").expect(0)
    machine.run("manifest", "rebuild", copy).expect(0)
    for name in ("HEAD", "FREED"):
        assert "ed25519" not in json.loads((copy / ".photosync" / name).read_bytes())
    Photosync(tmp_path / "blind").run("sync", phone, copy).expect(0)
    assert tree(copy) == photos
