"""The list of what was freed, at a destination that is against us and whose manifest is signed."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from photosync.backends.local import LocalBackend
from photosync.engine import manifest, spared
from photosync.engine.errors import SafetyGuard
from photosync.engine.journal import Journal
from photosync.engine.limits import Gate
from photosync.engine.manifest import RolledBack
from photosync.engine.nodes import Inconsistent
from photosync.engine.record import TargetFiles
from photosync.engine.signing import CONTEXT, Mark, Signer, Trust, Untrusted, new_key
from photosync.engine.snapshots import Snapshots
from photosync.engine.spared import FreedDamaged, FreedUntrusted
from photosync.engine.target import Target
from photosync.engine.verify import Verify
from photosync.engine.workers import Threads, Workers
from tests.engine.rig import Rig as Run
from tests.engine.test_freeup import ONCE
from tests.engine.test_snapshots import TIME, entry

PLACE = "the disk"


class Machine:
    """One that looks at the disk with a state of its own."""

    def __init__(self, disk: Path, state: Path, stack: ExitStack, signs: Path | None = None) -> None:
        workers = stack.enter_context(Workers(Threads()))
        self.journal = stack.enter_context(Journal(state))
        store = LocalBackend().store(str(disk))
        self.target = Target(store, workers, Gate(workers), ONCE, Verify.AUTO)
        self.place = PLACE, self.journal, self.target
        if signs is not None:
            self.trust.sign_with(signs)

    @property
    def trust(self) -> Trust:
        return Trust(self.journal, PLACE)

    @property
    def snapshots(self) -> Snapshots:
        return Snapshots(TargetFiles(self.target), self.journal, self.trust)

    def snapshot(self, name: str) -> None:
        """Writes a snapshot with one file more."""
        snapshots = self.snapshots
        head = snapshots.head()
        if head is not None:
            snapshots.load(head)
        base = head.root if head is not None else manifest.build([], self.journal)
        root = manifest.edit(base, [entry(name)], [], self.journal)
        snapshots.write(root, device="d", time=TIME, known=None)

    def freed(self, *paths: str) -> None:
        spared.edit(*self.place, paths)

    def deletes(self) -> frozenset[str]:
        """What a run that deletes spares. Where a key is believed, each command looks at HEAD first."""
        if self.trust.keys:
            self.snapshots.head()
        return spared.guarded(*self.place)


class Rig:
    """A disk, and machines that come to it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack, self.count = folder, stack, 0
        self.disk, self.key = folder / "disk", folder / "key"
        self.disk.mkdir()
        new_key(self.key)

    @property
    def file(self) -> Path:
        return self.disk / ".photosync/FREED"

    @property
    def head(self) -> Path:
        return self.disk / ".photosync/HEAD"

    def machine(self, signs: Path | None = None, disk: Path | None = None) -> Machine:
        self.count += 1
        return Machine(disk or self.disk, self.folder / f"state-{self.count}", self.stack, signs)

    def told_the_key(self) -> Machine:
        machine = self.machine()
        machine.trust.believe(Signer(self.key).public)
        return machine

    def signed(self) -> Machine:
        """The owner's, after two files were freed, one after the other."""
        owner = self.machine(self.key)
        owner.snapshot("a.jpg")
        owner.freed("a.jpg")
        self.first = self.file.read_bytes()
        owner.freed("b.jpg")
        return owner

    def number(self) -> int:
        return int(json.loads(self.file.read_bytes())["number"])


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path, stack)


def resigned(data: bytes, key: Path, context: bytes, **changes: object) -> bytes:
    """The file with other values, signed by a key, under a context."""
    found = replace(spared._parse(data), **changes)  # type: ignore[arg-type]
    return replace(found, ed25519=Signer(key).sign(found.body(), context)).encoded()


def test_what_is_signed_is_read_by_whoever_believes_the_key(rig: Rig) -> None:
    rig.signed()
    for machine in (rig.machine(rig.key), rig.told_the_key(), rig.machine()):
        assert machine.deletes() == {"a.jpg", "b.jpg"}
        assert machine.trust.keys == [Signer(rig.key).public]
    assert rig.number() == 2


def test_an_unsigned_library_has_an_unsigned_list(rig: Rig) -> None:
    machine = rig.machine()
    machine.snapshot("a.jpg")
    machine.freed("a.jpg")
    assert rig.file.read_bytes() == spared.encode(["a.jpg"])
    assert "freed" not in json.loads(rig.head.read_bytes())
    rig.file.unlink()
    assert machine.deletes() == frozenset()


@pytest.mark.row(63)
@pytest.mark.parametrize("attack", ["names dropped", "older", "gone"])
@pytest.mark.parametrize("who", ["owner", "told the key", "knows nothing"])
def test_nothing_is_deleted_on_a_list_that_was_tampered_with(rig: Rig, attack: str, who: str) -> None:
    """A machine that never saw it, too: HEAD says which one there is at least."""
    owner = rig.signed()
    good = rig.file.read_bytes()
    if attack == "gone":
        rig.file.unlink()
    else:
        rig.file.write_bytes(rig.first if attack == "older" else spared.encode(["a.jpg"]))
    machine = {"owner": lambda: owner, "told the key": rig.told_the_key, "knows nothing": rig.machine}[who]()
    with pytest.raises(SafetyGuard, match="manifest sign DESTINATION"):
        machine.deletes()
    with pytest.raises(FreedUntrusted):
        machine.freed("c.jpg")
    rig.file.write_bytes(good)
    assert machine.deletes() == {"a.jpg", "b.jpg"}


@pytest.mark.row(62)
def test_signatures_that_were_made_for_something_else(rig: Rig, tmp_path: Path) -> None:
    rig.signed()
    good = rig.file.read_bytes()
    new_key(tmp_path / "theirs")
    body = spared._parse(good)
    attacks = [
        resigned(good, tmp_path / "theirs", b"photosync FREED 1\n"),
        resigned(good, rig.key, CONTEXT),
        replace(body, paths=("a.jpg",)).encoded(),
        replace(body, number=3).encoded(),
        replace(body, library="0" * 32).encoded(),
    ]
    for attack in attacks:
        rig.file.write_bytes(attack)
        with pytest.raises(SafetyGuard, match=r"not made for it|not believed"):
            rig.told_the_key().deletes()


def test_head_does_not_pass_for_what_freed_was_signed_as(rig: Rig) -> None:
    rig.signed()
    signature = json.loads(rig.file.read_bytes())["ed25519"]
    rig.head.write_bytes(rig.file.read_bytes())
    with pytest.raises(manifest.ManifestError):
        rig.told_the_key().snapshots.head()
    body = spared._parse(rig.file.read_bytes()).body()
    found = spared._parse(rig.file.read_bytes()).signature
    assert found is not None
    assert found.signature == signature["signature"]
    with pytest.raises(Untrusted, match="not made for it"):
        rig.told_the_key().trust.accept(body, found, 1, "0" * 64)


@pytest.mark.row(63)
def test_the_list_of_another_library_of_the_same_owner(rig: Rig, tmp_path: Path) -> None:
    owner = rig.signed()
    (tmp_path / "other").mkdir()
    other = rig.machine(rig.key, tmp_path / "other")
    other.snapshot("x.jpg")
    for name in "xyz":
        other.freed(name)
    rig.file.write_bytes((tmp_path / "other/.photosync/FREED").read_bytes())
    for machine in (owner, rig.told_the_key()):
        with pytest.raises(SafetyGuard, match="not the one"):
            machine.deletes()
    # With its HEAD, too, for those who know this library.
    other.snapshot("y.jpg")
    rig.head.write_bytes((tmp_path / "other/.photosync/HEAD").read_bytes())
    with pytest.raises(RolledBack, match="another library"):
        owner.snapshots.head()


def test_two_lists_of_one_number_are_told_apart(rig: Rig) -> None:
    """Signed by a machine to which something else was shown at the same time."""
    owner = rig.signed()
    rig.file.write_bytes(
        resigned(rig.file.read_bytes(), rig.key, b"photosync FREED 1\n", paths=("a.jpg", "c.jpg"))
    )
    for machine in (owner, rig.told_the_key()):
        with pytest.raises(SafetyGuard, match="not the one"):
            machine.deletes()


def test_a_newer_list_than_head_tells_of_is_right(rig: Rig) -> None:
    """As after a kill between the two."""
    rig.signed()
    before = rig.head.read_bytes()
    other = rig.machine(rig.key)
    other.snapshots.head()
    other.freed("c.jpg")
    assert rig.head.read_bytes() != before, "HEAD tells of it before anything is removed from a phone"
    rig.head.write_bytes(before)
    reader = rig.told_the_key()
    assert reader.deletes() == {"a.jpg", "b.jpg", "c.jpg"}
    other.snapshot("c.jpg")
    assert json.loads(rig.head.read_bytes())["freed"]["number"] == 3
    rig.file.write_bytes(rig.first)
    with pytest.raises(SafetyGuard, match="number 1"):
        rig.told_the_key().deletes()


def test_a_snapshot_of_who_saw_no_newer_list_tells_of_what_head_told(rig: Rig) -> None:
    rig.signed()
    other = rig.machine(rig.key)
    other.snapshot("c.jpg")
    assert json.loads(rig.head.read_bytes())["freed"]["number"] == 2


def test_two_machines_write_at_once(rig: Rig) -> None:
    owner, other = rig.signed(), rig.machine(rig.key)
    other.snapshots.head()
    store = owner.target.store
    real, raced = store.replace_small, []

    def replace_small(path: str, data: bytes, replaces: str | None) -> str | None:
        if path not in raced:
            raced.append(path)
            if path.endswith("FREED"):
                other.freed("theirs")
            else:
                other.snapshot("theirs")
        return real(path, data, replaces)

    store.replace_small = replace_small  # type: ignore[method-assign]
    owner.freed("ours")
    assert raced == [".photosync/FREED", ".photosync/HEAD"]
    for machine in (owner, other, rig.told_the_key()):
        assert machine.deletes() == {"a.jpg", "b.jpg", "ours", "theirs"}
    assert rig.number() == json.loads(rig.head.read_bytes())["freed"]["number"] == 4


def test_a_list_of_before_is_signed_on_purpose(rig: Rig) -> None:
    """In a library that has been signed all along, nobody can tell it from one that was forged."""
    owner = rig.machine(rig.key)
    owner.snapshot("a.jpg")
    rig.file.write_bytes(spared.encode(["a.jpg"]))
    with pytest.raises(SafetyGuard, match="has to be signed"):
        owner.deletes()
    assert spared.renew(*owner.place) == ({"a.jpg"}, frozenset())
    spared.vouch(*owner.place)
    assert owner.deletes() == {"a.jpg"}
    assert rig.told_the_key().deletes() == {"a.jpg"}


@pytest.mark.parametrize(
    "attack", [lambda rig: rig.file.unlink(), lambda rig: rig.file.write_bytes(rig.first)]
)
def test_signed_anew_it_names_all_that_is_known_and_is_the_newest(
    rig: Rig, attack: Callable[[Rig], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, reader = rig.signed(), rig.told_the_key()
    reader.deletes()
    attack(rig)
    monkeypatch.setattr(owner.journal, "untold", lambda _place: ["b.jpg"])
    names, known = spared.renew(*owner.place)
    assert known == {"b.jpg"} <= names
    spared.vouch(*owner.place)
    assert rig.number() == 3
    assert reader.deletes() == owner.deletes() == names


def test_who_knows_of_nothing_signs_nothing(rig: Rig) -> None:
    owner = rig.signed()
    rig.file.unlink()
    assert spared.renew(*owner.place) == (frozenset(), frozenset())
    assert not rig.file.exists()
    with pytest.raises(SafetyGuard):
        owner.deletes()


@pytest.mark.parametrize("harm", ["gone", "damaged", "forged"])
def test_rebuilt_it_is_signed(rig: Rig, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = rig.signed()
    data = {"damaged": b"{}", "forged": spared.encode(["a.jpg"])}.get(harm)
    rig.file.unlink() if data is None else rig.file.write_bytes(data)
    monkeypatch.setattr(owner.journal, "untold", lambda _place: ["b.jpg"])
    aside = spared.rebuild(*owner.place, Threads())
    assert (aside is not None) == (harm == "damaged")
    assert owner.deletes() == ({"a.jpg", "b.jpg"} if harm == "forged" else {"b.jpg"})
    assert rig.number() == 3


def test_rebuilt_from_nothing_there_is_none(rig: Rig) -> None:
    owner = rig.signed()
    rig.file.unlink()
    rig.head.unlink()
    owner.trust.forget_seen()
    assert spared.rebuild(*owner.place, Threads()) is None
    owner.snapshot("z.jpg")
    assert owner.deletes() == frozenset()


def test_believed_anew_nothing_was_seen(rig: Rig) -> None:
    owner = rig.signed()
    rig.file.unlink()
    rig.head.unlink()
    owner.trust.believe(Signer(rig.key).public)
    assert owner.deletes() == frozenset()


def test_a_key_that_signed_freed_is_believed_at_first_sight(rig: Rig) -> None:
    rig.signed()
    rig.head.unlink()
    machine = rig.machine()
    assert machine.deletes() == {"a.jpg", "b.jpg"}
    assert machine.trust.keys == [Signer(rig.key).public]
    assert machine.trust.news()


def test_who_has_no_key_writes_nothing(rig: Rig) -> None:
    rig.signed()
    before = rig.file.read_bytes()
    with pytest.raises(Untrusted, match="--sign"):
        rig.told_the_key().freed("c.jpg")
    assert rig.file.read_bytes() == before


def test_half_a_signature_is_none(rig: Rig) -> None:
    rig.signed()
    found = spared._parse(rig.file.read_bytes())
    unset = spared.msgspec.UNSET
    for changes in (
        {"ed25519": unset},
        {"number": unset},
        {"library": unset},
        {"number": 0},
        {"library": "x"},
    ):
        rig.file.write_bytes(replace(found, **changes).encoded())  # type: ignore[arg-type]
        with pytest.raises(FreedDamaged):
            spared.read(*rig.machine().place)


def test_head_without_signature_tells_of_no_list(rig: Rig) -> None:
    machine = rig.machine()
    machine.snapshot("a.jpg")
    head = Snapshots(TargetFiles(machine.target), machine.journal)
    head.head()
    assert head._read is not None
    forged = replace(head._read.head, freed=Mark("0" * 64, "0" * 32, 1)).encoded()
    rig.head.write_bytes(forged)
    with pytest.raises(Inconsistent):
        machine.snapshots.head()


@pytest.mark.row(63)
def test_two_machines_that_wrote_at_once_where_nobody_compares(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was overwritten is told, and either of them can sign it anew."""
    one, other = rig.signed(), rig.machine(rig.key)
    other.deletes()
    before, head = rig.file.read_bytes(), rig.head.read_bytes()
    one.freed("one.jpg")
    theirs = rig.head.read_bytes()
    rig.file.write_bytes(before)
    rig.head.write_bytes(head)
    other.freed("other.jpg")
    with pytest.raises(SafetyGuard, match="not the one"):
        spared.guarded(*one.place)
    rig.head.write_bytes(theirs)
    with pytest.raises(FreedUntrusted, match="manifest sign"):
        other.snapshots.head()
    with pytest.raises(SafetyGuard, match="manifest sign"):
        spared.guarded(*one.place)
    monkeypatch.setattr(one.journal, "untold", lambda _place: ["one.jpg"])
    for machine in (other, one):
        spared.renew(*machine.place)
        spared.vouch(*machine.place)
    for machine in (one, other):
        assert machine.deletes() >= {"a.jpg", "b.jpg", "one.jpg", "other.jpg"}


def test_what_a_list_that_is_not_believed_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To be signed anew; the manifest is as it should be."""

    def refuse(*_: object) -> None:
        raise FreedUntrusted("it is not signed")

    monkeypatch.setattr(spared, "tell", refuse)
    run = Run(tmp_path)
    run.photo("a.jpg", b"a" * 100)
    report = run.run()
    assert isinstance(report.manifest_error, FreedUntrusted)
    [text] = run.notices
    assert "manifest sign" in text
    assert "manifest rebuild" not in text
