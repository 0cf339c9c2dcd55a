"""Signed manifests at a destination that is against us."""

import json
from pathlib import Path

import pytest

from photosync.engine.errors import Fatal
from photosync.engine.manifest import RolledBack
from photosync.engine.nodes import name_of
from photosync.engine.signing import Signer, Trust, Untrusted, is_public_key, new_key
from photosync.engine.snapshots import HEAD, Snapshots
from tests.engine.test_snapshots import Device, MemorySnapshotFiles, entry


class State:
    """What one machine remembers."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}

    def fact(self, name: str) -> str | None:
        return self.facts.get(name)

    def set_fact(self, name: str, value: str) -> None:
        self.facts[name] = value


class Machine(Device):
    """A device with a memory for keys."""

    def __init__(self, files: MemorySnapshotFiles, key: Path | None = None) -> None:
        super().__init__(files)
        self.files, self.state = files, State()
        if key is not None:
            self.trust.sign_with(key)
        self.again()

    @property
    def trust(self) -> Trust:
        return Trust(self.state, "place")

    def again(self) -> None:
        """The next run."""
        self.snapshots = Snapshots(self.files, self.cache, self.trust)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


@pytest.fixture
def files() -> MemorySnapshotFiles:
    return MemorySnapshotFiles()


def forged(files: MemorySnapshotFiles, **changes: object) -> bytes:
    """HEAD with other values, and the right hash over them."""
    head = json.loads(files.files[HEAD]) | changes
    del head["blake3"]
    body = json.dumps({name: value for name, value in head.items() if value is not None}, sort_keys=True,
                      separators=(",", ":"), ensure_ascii=False).encode()  # fmt: skip
    return json.dumps({"blake3": name_of(body)} | json.loads(body), indent=2, sort_keys=True).encode() + b"\n"


def test_a_key_is_its_owners_alone_and_never_replaced(tmp_path: Path, key: Path) -> None:
    assert key.stat().st_mode & 0o777 == 0o600
    assert is_public_key(Signer(key).public)
    with pytest.raises(FileExistsError):
        new_key(key)
    for text in ("", "no key"):
        (tmp_path / "other").write_text(text)
        with pytest.raises(Fatal, match="key new"):
            Signer(tmp_path / "other")


@pytest.mark.row(62, 63)
def test_what_is_signed_is_read_by_whoever_believes_the_key(files: MemorySnapshotFiles, key: Path) -> None:
    writer = Machine(files, key)
    written = writer.put(entry("a.jpg"))
    for reader in (Machine(files, key), Machine(files)):
        assert reader.head() == written
        assert reader.trust.keys == [Signer(key).public]
    plain = Device(files)
    assert plain.head() == written


@pytest.mark.row(62)
def test_without_the_key_nothing_that_is_forged_is_believed(
    files: MemorySnapshotFiles, key: Path, tmp_path: Path
) -> None:
    """Hashes that fit do not help: every HEAD that differs from what was signed is refused."""
    owner = Machine(files, key)
    owner.put(entry("a.jpg"), entry("b.jpg"))
    signed = dict(files.files)
    snapshot = json.loads(signed[HEAD])["snapshot"]
    reader = Machine(files)
    reader.trust.believe(Signer(key).public)
    new_key(tmp_path / "theirs")
    theirs = Machine(MemorySnapshotFiles(), tmp_path / "theirs")
    theirs.put(entry("a.jpg", 7))
    attacks = [
        forged(files, ed25519=None),
        forged(files, snapshot=snapshot | {"device": "another"}),
        forged(files, snapshot=snapshot | {"time": "2031-01-31T12:00:00Z"}),
        forged(files, ed25519={"key": Signer(key).public, "signature": "00" * 64}),
        forged(files, ed25519={"key": Signer(tmp_path / "theirs").public, "signature": "00" * 64}),
        theirs.files.files[HEAD],
    ]
    for attack in attacks:
        files.files[HEAD] = attack
        for machine in (reader, owner):
            machine.again()
            with pytest.raises(Untrusted):
                machine.head()
            with pytest.raises(Untrusted):
                machine.snapshots.write(snapshot["root"], device="d", time=snapshot["time"], known=None)
    files.files = signed
    reader.again()
    assert reader.head() is not None


@pytest.mark.row(63)
def test_an_older_signed_head_is_refused_where_a_newer_was_seen(
    files: MemorySnapshotFiles, key: Path
) -> None:
    owner = Machine(files, key)
    owner.put(entry("a.jpg"))
    old = dict(files.files)
    owner.put(entry("b.jpg"))
    reader = Machine(files)
    reader.head()
    for there in (old, {}):
        files.files = dict(there)
        for machine in (owner, reader):
            machine.again()
            with pytest.raises(RolledBack):
                machine.head()
    files.files = dict(old)
    # Said in docs and THREATS: who has seen nothing cannot tell.
    assert Machine(files).head() is not None


@pytest.mark.row(63)
def test_two_histories_of_one_key_are_told_apart(files: MemorySnapshotFiles, key: Path) -> None:
    owner = Machine(files, key)
    owner.put(entry("a.jpg"))
    other = MemorySnapshotFiles()
    Machine(other, key).put(entry("b.jpg"))
    files.files = other.files
    owner.again()
    with pytest.raises(RolledBack, match="not the one"):
        owner.head()


def test_a_manifest_of_earlier_is_signed_as_it_is(files: MemorySnapshotFiles, key: Path) -> None:
    plain = Device(files)
    before = plain.put(entry("a.jpg"))
    owner = Machine(files, key)
    assert owner.head() == before
    owner.snapshots.sign()
    owner.again()
    assert owner.head() == before
    assert not owner.trust.unsigned_yet
    reader = Machine(files)
    reader.trust.believe(Signer(key).public)
    assert reader.head() == before


def test_who_was_told_the_key_signs_nothing_of_somebody_elses(files: MemorySnapshotFiles, key: Path) -> None:
    """Signing on a new machine, too, must not turn a manifest that lost its signature into a signed one."""
    Machine(files, key).put(entry("a.jpg"))
    files.files[HEAD] = forged(files, ed25519=None)
    machine = Machine(files)
    machine.trust.believe(Signer(key).public)
    machine.trust.sign_with(key)
    machine.again()
    with pytest.raises(Untrusted, match="key trust DESTINATION none"):
        machine.head()
    machine.trust.believe(None)
    machine.trust.sign_with(key)
    machine.again()
    assert machine.head() is not None, "said on purpose"


def test_who_has_no_key_leaves_a_signed_manifest_alone(files: MemorySnapshotFiles, key: Path) -> None:
    Machine(files, key).put(entry("a.jpg"))
    before = dict(files.files)
    with pytest.raises(Untrusted, match="--sign"):
        Machine(files).put(entry("b.jpg"))
    assert files.files[HEAD] == before[HEAD]


def test_a_key_that_was_believed_at_first_sight_is_told_once(files: MemorySnapshotFiles, key: Path) -> None:
    Machine(files, key).put(entry("a.jpg"))
    reader = Machine(files)
    assert not reader.trust.news()
    reader.head()
    assert Signer(key).public in reader.trust.news()
    assert not reader.trust.news()


def test_another_key_is_not_slipped_in(files: MemorySnapshotFiles, key: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "theirs")
    owner = Machine(files, key)
    with pytest.raises(Untrusted):
        owner.trust.sign_with(tmp_path / "theirs")
    owner.trust.believe(None)
    owner.trust.sign_with(tmp_path / "theirs")
