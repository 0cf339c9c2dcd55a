"""Signed manifests from the command line, at a folder that somebody else writes to."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, photo, write


@pytest.mark.row(62, 63)
def test_a_signed_library_is_refused_once_it_was_tampered_with(tmp_path: Path) -> None:
    machine = Photosync(tmp_path / "machine")
    phone = write(tmp_path / "phone", {"DCIM/IMG_1.JPG": photo(2001, 1), "DCIM/IMG_2.JPG": photo(2002, 2)})
    copy, key = tmp_path / "copy", tmp_path / "key.pem"
    public = machine.run("key", "new", key).expect(0).out.strip()
    assert machine.run("key", "show", key).expect(0).out.strip() == public
    assert machine.run("key", "new", key).code == 2
    # A library that was there before is signed from the run on that says so, and without saying ever after.
    machine.copy(phone, copy).expect(0)
    assert public not in (copy / ".photosync/HEAD").read_text()
    assert "signed by nobody" in machine.run("copy", phone, copy, "--sign", key).expect(0).err
    assert "signed by nobody" not in machine.run("copy", phone, copy, "--sign", key).expect(0).err
    assert public in (copy / ".photosync/HEAD").read_text()
    older = tmp_path / "older"
    shutil.copytree(copy / ".photosync", older)
    write(phone, {"DCIM/IMG_3.JPG": photo(2003, 3)})
    machine.copy(phone, copy).expect(0)
    machine.run("verify", copy).expect(0)

    # Another machine, which was told the key.
    other = Photosync(tmp_path / "other")
    assert "believed" in other.run("verify", copy).expect(0).err
    assert "believed" not in other.run("verify", copy).expect(0).err
    third = Photosync(tmp_path / "third")
    third.run("key", "trust", copy, public).expect(0)
    third.run("restore", copy, tmp_path / "back").expect(0)
    assert third.copy(phone, copy).code == 0, "nothing new to tell, nothing to sign"
    write(phone, {"DCIM/IMG_4.JPG": photo(2004, 4)})
    assert "--sign" in third.copy(phone, copy).out
    head = (copy / ".photosync/HEAD").read_bytes()
    assert "--sign" in third.run("manifest", "rebuild", copy).expect(1).err
    assert (copy / ".photosync/HEAD").read_bytes() == head, "who cannot write a new one leaves the old one"

    # The owner of the disk puts an older state back, then writes one of his own.
    newest = tmp_path / "newest"
    shutil.copytree(copy / ".photosync", newest)
    attacker = Photosync(tmp_path / "attacker")
    forged = tmp_path / "forged"
    attacker.copy(write(tmp_path / "theirs", {"DCIM/IMG_1.JPG": photo(2009, 9)}), forged).expect(0)
    commands = [
        ("verify", copy), ("copy", phone, copy), ("sync", phone, copy), ("heal", copy),
        ("restore", copy, tmp_path / "again"),
    ]  # fmt: skip
    for there, some in ((older, commands[:2]), (forged / ".photosync", commands)):
        shutil.rmtree(copy / ".photosync")
        shutil.copytree(there, copy / ".photosync")
        for words in some:
            assert machine.run(*words).code == 1, words
        assert other.run("verify", copy).code == 1
    assert not (tmp_path / "again").exists()
    shutil.rmtree(copy / ".photosync")
    shutil.copytree(newest, copy / ".photosync")
    machine.run("verify", copy).expect(0)

    # On purpose: the manifest is begun anew, signed again.
    machine.run("manifest", "rebuild", copy).expect(0)
    machine.run("verify", copy).expect(0)
    assert other.run("verify", copy).code == 1
    other.run("key", "trust", copy, public).expect(0)
    other.run("verify", copy).expect(0)
