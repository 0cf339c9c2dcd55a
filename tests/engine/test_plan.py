"""The planner: every row of its table, renames, guards, names. Pure, so plain values go in and come out."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import Literal
from unicodedata import normalize

import pytest

from photosync.engine.actions import Compare, Copy, Move, Plan, Refuse, Trash
from photosync.engine.capabilities import Capabilities
from photosync.engine.columns import Columns
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import Permanent, SafetyGuard
from photosync.engine.journal import Delivery, key
from photosync.engine.layout import Layout
from photosync.engine.names import DROPBOX, POSIX, decode, match_key
from photosync.engine.plan import Mode, Policy, make_plan
from photosync.engine.scan import Listing, ListingError
from tests.engine.rig import entry

DISK = Capabilities(names=POSIX)
CLOUD = Capabilities(names=DROPBOX)
COPY = Policy()
SYNC = Policy(mode=Mode.SYNC, stamp="s")


def delivered(path: str, size: int = 10, mtime_ns: int | None = 1, stored: str | None = None) -> Delivery:
    return Delivery(path, size, mtime_ns, None, "c" * 64, stored or path, "v1", "reread")


def there(path: str, size: int = 10, version: str = "v1") -> Entry:
    return Entry(path, size, 1, version=version)


def listing(*entries: Entry, **more: object) -> Listing:
    return Listing(sorted(entries, key=lambda e: key(e.path)), **more)  # type: ignore[arg-type]


def plan(
    source: Listing,
    destination: Listing,
    known: list[Delivery],
    policy: Policy = COPY,
    can: Capabilities = DISK,
) -> Plan:
    return make_plan(source, destination, sorted(known, key=lambda d: key(d.path)), policy, can)


def only(made: Plan) -> object:
    assert len(made.actions) == 1, made.actions
    return made.actions[0]


def listed(path: str, digest: str, size: int = 10) -> Entry:
    return Entry(path, size, 1, {"dropbox": digest}, "v1")


# the table


@pytest.mark.parametrize("policy", [Policy(), SYNC])
def test_as_delivered_on_both_sides_is_nothing(policy: Policy) -> None:
    made = plan(listing(entry("a")), listing(there("a")), [delivered("a")], policy)
    assert (made.actions, made.unchanged) == ([], 1)


@pytest.mark.parametrize("policy", [Policy(), SYNC])
def test_gone_from_the_destination_is_copied_again(policy: Policy) -> None:
    action = only(plan(listing(entry("a")), listing(), [delivered("a")], policy))
    assert isinstance(action, Copy)
    assert (action.to, action.reason, action.beside, action.displaces) == (
        "a", "gone from the destination", False, None,
    )  # fmt: skip


@pytest.mark.parametrize("size", [10, 11])
def test_changed_at_the_destination_is_compared(size: int) -> None:
    made = plan(listing(entry("a")), listing(there("a", size, "v2")), [delivered("a")])
    action = only(made)
    assert isinstance(action, Compare)
    assert (action.existing.path, action.replace, action.reread) == ("a", False, False)


def test_changed_at_the_destination_is_replaced_by_sync_if_it_differs() -> None:
    action = only(plan(listing(entry("a")), listing(there("a", version="v2")), [delivered("a")], SYNC))
    assert isinstance(action, Compare)
    assert action.replace


def test_modified_to_another_size_is_kept_beside_by_copy() -> None:
    action = only(plan(listing(entry("a", 12)), listing(there("a")), [delivered("a")]))
    assert isinstance(action, Copy)
    assert action.beside
    assert action.displaces is None


def test_modified_to_another_size_is_put_in_its_place_by_sync() -> None:
    action = only(plan(listing(entry("a", 12)), listing(there("a")), [delivered("a")], SYNC))
    assert isinstance(action, Copy)
    assert not action.beside
    assert action.displaces == "a"


@pytest.mark.parametrize("policy", [Policy(), SYNC])
def test_another_time_is_compared(policy: Policy) -> None:
    action = only(plan(listing(entry("a", mtime_ns=2)), listing(there("a")), [delivered("a")], policy))
    assert isinstance(action, Compare)
    assert action.replace is (policy is SYNC)


@pytest.mark.parametrize("policy", [Policy(), SYNC])
def test_new_is_copied(policy: Policy) -> None:
    action = only(plan(listing(entry("a")), listing(), [], policy))
    assert isinstance(action, Copy)
    assert (action.to, action.reason) == ("a", "new")


@pytest.mark.parametrize("policy", [Policy(), SYNC])
def test_new_with_a_file_of_that_size_there_is_compared(policy: Policy) -> None:
    action = only(plan(listing(entry("a")), listing(there("a")), [], policy))
    assert isinstance(action, Compare)
    assert action.replace is (policy is SYNC)


def test_new_with_another_size_there_is_kept_beside_or_takes_its_place() -> None:
    beside = only(plan(listing(entry("a", 12)), listing(there("a")), []))
    instead = only(plan(listing(entry("a", 12)), listing(there("a")), [], SYNC))
    assert isinstance(beside, Copy)
    assert isinstance(instead, Copy)
    assert (beside.beside, beside.displaces) == (True, None)
    assert (instead.beside, instead.displaces) == (False, "a")


def test_checksum_compares_what_looks_unchanged() -> None:
    action = only(plan(listing(entry("a")), listing(there("a")), [delivered("a")], Policy(checksum=True)))
    assert isinstance(action, Compare)
    assert action.reread


def test_a_version_alone_marks_a_change_of_the_source() -> None:
    made = plan(listing(entry("a", version="ctime2")), listing(there("a")), [delivered("a")])
    assert isinstance(only(made), Compare)


def test_what_is_no_file_is_refused_and_what_nobody_misses_is_not() -> None:
    others = [
        Entry("link", kind=Kind.OTHER, note="a symbolic link"),
        Entry(".thumbnails", kind=Kind.SKIPPED, note="previews"),
    ]
    action = only(plan(listing(others=others), listing(), []))
    assert isinstance(action, Refuse)
    assert (action.source.path, action.reason) == ("link", "a symbolic link")


def test_a_file_under_a_kept_name_goes_back_to_that_name() -> None:
    known = [delivered("IMG.jpg", stored="IMG~aaaa1111.jpg")]
    action = only(plan(listing(entry("IMG.jpg")), listing(there("IMG.jpg", 99)), known))
    assert isinstance(action, Copy)
    assert action.to == "IMG~aaaa1111.jpg"


# renames


def test_a_vanished_file_of_same_size_and_time_is_moved() -> None:
    made = plan(listing(entry("new.jpg")), listing(there("old.jpg")), [delivered("old.jpg")])
    action = only(made)
    assert isinstance(action, Move)
    assert (action.to, action.origin.stored, action.reason) == ("new.jpg", "old.jpg", "renamed from old.jpg")


def test_a_rename_that_changed_the_time_is_found_by_size() -> None:
    source = listing(entry("new.jpg", mtime_ns=77))
    assert isinstance(only(plan(source, listing(there("old.jpg")), [delivered("old.jpg")])), Move)


def test_same_time_is_preferred_to_same_size_alone() -> None:
    known = [delivered("a", mtime_ns=5), delivered("b", mtime_ns=7)]
    action = only(plan(listing(entry("c", mtime_ns=7)), listing(there("a"), there("b")), known))
    assert isinstance(action, Move)
    assert action.origin.path == "b"


def test_a_moved_folder_moves_each_file_under_its_name() -> None:
    names = [f"IMG_{number}.jpg" for number in (3, 1, 2)]
    known = [delivered(f"DCIM/{name}") for name in names]
    source = listing(*[entry(f"Trip/{name}") for name in names])
    made = plan(source, listing(*[there(f"DCIM/{name}") for name in names]), known)
    moves = {action.origin.path: action.to for action in made.actions if isinstance(action, Move)}
    assert moves == {f"DCIM/{name}": f"Trip/{name}" for name in names}


def test_each_vanished_file_is_used_once() -> None:
    made = plan(listing(entry("x"), entry("y")), listing(there("old")), [delivered("old")])
    assert sorted(type(action).__name__ for action in made.actions) == ["Copy", "Move"]


def test_a_swap_of_two_names_is_compared_not_moved() -> None:
    source = listing(entry("a", mtime_ns=2), entry("b", mtime_ns=1))
    known = [delivered("a", mtime_ns=1), delivered("b", mtime_ns=2)]
    made = plan(source, listing(there("a"), there("b")), known)
    assert [type(action) for action in made.actions] == [Compare, Compare]


def test_a_chain_of_renames_moves_only_what_vanished() -> None:
    """a → b, b → c: only the name a vanished; the transfer proves or disproves that c has its bytes."""
    source = listing(entry("b", mtime_ns=1), entry("c", mtime_ns=2))
    known = [delivered("a", mtime_ns=1), delivered("b", mtime_ns=2)]
    made = plan(source, listing(there("a"), there("b")), known)
    move, compare = made.actions
    assert isinstance(move, Move)
    assert isinstance(compare, Compare)
    assert (move.to, move.origin.path, compare.source.path) == ("c", "a", "b")


def test_an_incomplete_listing_renames_nothing() -> None:
    errors = [ListingError("DCIM", Permanent("EIO"))]
    made = plan(listing(entry("new"), errors=errors), listing(there("old")), [delivered("old")])
    assert isinstance(only(made), Copy)


def test_what_the_filters_leave_out_is_neither_vanished_nor_trashed() -> None:
    """The file is still there, though today's filter does not show it: by its name, its age or its size."""
    source = listing(entry("new"), declined=["old"])
    known = [delivered("old")]
    assert isinstance(only(plan(source, listing(there("old")), known)), Copy)
    assert isinstance(only(plan(source, listing(there("old")), known, SYNC)), Copy)
    assert isinstance(only(plan(source, listing(there("old")), [], SYNC)), Copy)


def test_filters_ask_about_the_name_at_the_source() -> None:
    asked = []

    def in_scope(path: str, size: int, mtime_ns: int | None) -> bool:
        asked.append((path, mtime_ns))
        return False

    known = [delivered("IMG:1.jpg", mtime_ns=5, stored="IMG%3A1.jpg")]
    destination = listing(there("IMG%3A1.jpg"), there("IMG%3A2.jpg"))
    made = plan(listing(entry("z", 3)), destination, known, replace(SYNC, in_scope=in_scope))
    assert isinstance(only(made), Copy)
    assert ("IMG:1.jpg", 5) in asked
    assert ("IMG:2.jpg", 1) in asked


def test_a_copy_that_somebody_changed_is_not_moved() -> None:
    made = plan(listing(entry("new")), listing(there("old", version="v2")), [delivered("old")])
    assert isinstance(only(made), Copy)


def test_empty_files_are_not_taken_for_renamed() -> None:
    made = plan(listing(entry("new", 0)), listing(there("old", 0)), [delivered("old", 0)])
    assert isinstance(only(made), Copy)


def test_an_object_that_another_file_lives_in_is_not_moved() -> None:
    known = [delivered("old", stored="shared"), delivered("lives", stored="shared")]
    source = listing(entry("lives"), entry("new"))
    assert isinstance(only(plan(source, listing(there("shared")), known)), Copy)


def test_sync_does_not_trash_what_it_moves() -> None:
    made = plan(listing(entry("new")), listing(there("old")), [delivered("old")], SYNC)
    assert isinstance(only(made), Move)


def test_thousands_of_renames_of_one_size_are_paired_quickly() -> None:
    many = range(20_000)
    known = [delivered(f"a/{number:05}") for number in many]
    source = listing(*[entry(f"b/{number:05}", mtime_ns=2) for number in many])
    made = plan(source, listing(*[there(f"a/{number:05}") for number in many]), known)
    assert all(isinstance(a, Move) and a.to[1:] == a.origin.path[1:] for a in made.actions)
    assert len(made.actions) == len(many)


# sync's guards


def test_copy_never_trashes() -> None:
    assert plan(listing(entry("a")), listing(there("a"), there("b")), [delivered("a")]).actions == []


def test_sync_trashes_what_the_source_lacks() -> None:
    made = plan(listing(entry("a")), listing(there("a"), there("d/b")), [delivered("a")], SYNC)
    assert made.actions == [Trash(there("d/b"), ".photosync/trash/s/d/b", "not at the source any more")]


@pytest.mark.parametrize("order", [("a", "a", "b"), ("b", "a", "a"), ("a", "b", "a")])
def test_sync_does_not_trash_what_is_listed_twice(order: tuple[str, ...]) -> None:
    destination = Columns(map(there, order)).sorted()
    made = plan(listing(entry("a")), Listing(destination), [delivered("a")], SYNC)
    action = only(made)
    assert isinstance(action, Trash)
    assert action.entry.path == "b"
    assert made.unchanged == 1


def test_what_the_source_lists_twice_is_one_file() -> None:
    twice = Listing([entry("a"), entry("a"), entry("b"), entry("b")])
    made = plan(twice, listing(there("a")), [delivered("a")], SYNC)
    action = only(made)
    assert isinstance(action, Copy)
    assert (action.to, made.unchanged) == ("b", 1)


def test_sync_says_what_has_the_bytes_of_that_which_it_trashes() -> None:
    """Then the listing may lag, and show both names of a copy that somebody has renamed."""
    at = listing(
        listed("a", "one"),
        listed("b", "two"),
        listed("c", "one"),
        listed("a.renamed", "one"),
        listed("d", "3"),
    )
    source = listing(entry("a"), entry("b"), entry("c", mtime_ns=2))
    made = plan(source, at, [delivered(name) for name in "abc"], SYNC)
    found = {action.entry.path: action.alike for action in made.actions if isinstance(action, Trash)}
    # What becomes of "c" is decided in this run.
    assert found == {"a.renamed": (listed("a", "one"),), "d": ()}


def test_what_has_the_bytes_of_thousands_of_one_size_is_found_quickly() -> None:
    many = range(5_000)
    at = listing(
        *[listed(f"a/{number:05}", f"kept {number}") for number in many],
        *[listed(f"b/{number:05}", f"kept {number}" if number % 2 else "other") for number in many],
    )
    source = listing(*[entry(f"a/{number:05}") for number in many])
    known = [delivered(f"a/{number:05}") for number in many]
    made = plan(source, at, known, replace(SYNC, max_delete=len(many)))
    found = {action.entry.path: len(action.alike) for action in made.actions if isinstance(action, Trash)}
    assert found == {f"b/{number:05}": number % 2 for number in many}


def test_sync_lets_wait_what_may_be_the_copy_of_another_file() -> None:
    at = listing(there("a", 10), there("b", 20), there("c", 30), there("e", 50))
    known = [delivered("a", 10), delivered("b", 20), delivered("c", 30), delivered("e", 50)]
    source = listing(entry("a", 11), entry("b", 21), entry("c", 30, 2), entry("e", 50), entry("new", 10))
    made = plan(source, at, known, SYNC)
    waits = {
        action.source.path: action.waits for action in made.actions if isinstance(action, Copy | Compare)
    }
    assert waits == {"a": True, "b": False, "c": False, "new": False}


@pytest.mark.parametrize("size", [10, 11])
def test_sync_does_not_replace_what_another_file_may_adopt(size: int) -> None:
    """The journal is lost, and the layout puts the first file elsewhere than it lies."""
    policy = replace(SYNC, layout=Layout.parse("x/{name}"))
    source = listing(entry("a.jpg"), entry("b.jpg", size, 2))
    made = plan(source, listing(there("x/b.jpg")), [], policy)
    found = {action.source.path: action for action in made.actions if isinstance(action, Copy | Compare)}
    first, second = found["a.jpg"], found["b.jpg"]
    assert isinstance(first, Compare)
    assert first.existing.path == "x/b.jpg"
    assert second.beside if isinstance(second, Copy) else not second.replace


@pytest.mark.parametrize("size", [10, 11])
def test_sync_does_not_replace_what_a_renamed_file_may_adopt(size: int) -> None:
    """The file may be kept beside another already, under the very name that a new file has."""
    beside = "a~0123456789abcdef.jpg"
    source = listing(entry("a.jpg"), entry(beside, size, 2))
    made = plan(source, listing(there("old.jpg"), there(beside)), [delivered("old.jpg")], SYNC)
    found = {action.source.path: action for action in made.actions if not isinstance(action, Trash)}
    first, second = found["a.jpg"], found[beside]
    assert isinstance(first, Move)
    assert [each.path for each in first.also] == [beside]
    assert second.beside if isinstance(second, Copy) else isinstance(second, Compare) and not second.replace


@pytest.mark.parametrize("size", [10, 11])
def test_a_modified_file_keeps_its_name_as_it_is_recorded(size: int) -> None:
    """Whatever the destination makes of it: else the manifest had the file under both."""
    composed, decomposed = "caf\u00e9.jpg", "cafe\u0301.jpg"
    source = listing(entry(composed, size, 2))
    made = plan(source, listing(there(decomposed)), [delivered(composed)], SYNC, CLOUD)
    assert stored_names(made) == [composed]


@pytest.mark.parametrize(
    ("limit", "extra", "allowed"), [(2, 2, True), (2, 3, False), (None, 10, True), (None, 11, False)]
)
def test_max_delete(limit: int | None, extra: int, allowed: bool) -> None:
    destination = listing(there("a"), *[there(f"x{number}") for number in range(extra)])
    policy = replace(SYNC, max_delete=limit)
    if allowed:
        assert len(plan(listing(entry("a")), destination, [delivered("a")], policy).actions) == extra
        return
    with pytest.raises(SafetyGuard, match=f"--max-delete {extra}"):
        plan(listing(entry("a")), destination, [delivered("a")], policy)


def test_sync_refuses_an_incomplete_source() -> None:
    errors = [ListingError("DCIM", Permanent("Input/output error"))]
    with pytest.raises(SafetyGuard, match=r"DCIM: Input/output error.*nothing was changed"):
        plan(listing(entry("a"), errors=errors), listing(there("a")), [delivered("a")], SYNC)


def test_moves_come_first_and_trash_last() -> None:
    source = listing(entry("new"), entry("c", 3), others=[Entry("l", kind=Kind.OTHER)])
    made = plan(source, listing(there("old"), there("extra", 4)), [delivered("old")], SYNC)
    assert [type(action) for action in made.actions] == [Move, Copy, Refuse, Trash]


# names


def stored_names(made: Plan) -> list[str]:
    return [action.to for action in made.actions if isinstance(action, Copy | Move | Compare)]


@pytest.mark.parametrize(
    "twins",
    [("IMG.jpg", "img.jpg"), ("caf\u00e9.jpg", "cafe\u0301.jpg"), ("stra\u00dfe", "STRASSE"), ("A/x", "a/x")],
)
def test_names_that_meet_at_the_destination_are_kept_apart(twins: tuple[str, str]) -> None:
    made = plan(listing(*map(entry, twins)), listing(), [], can=CLOUD)
    names = stored_names(made)
    assert len({match_key(name, DROPBOX) for name in names}) == 2
    assert stored_names(plan(listing(*map(entry, twins)), listing(), [])) == sorted(twins, key=key)


@pytest.mark.parametrize("folder", ["", "Caf\u00e9/"])
@pytest.mark.parametrize("policy", [COPY, SYNC])
def test_twins_in_other_normal_forms_are_known_again_without_a_journal(folder: str, policy: Policy) -> None:
    composed, decomposed = f"{folder}caf\u00e9.jpg", f"{folder}cafe\u0301.jpg"
    source = listing(entry(composed, 11), entry(decomposed, 12))
    first = {a.source.path: a.to for a in plan(source, listing(), [], can=CLOUD).actions}  # type: ignore[union-attr]
    assert first[decomposed] == decomposed
    # The service composes what it lists.
    at = listing(there(composed, 12), there(first[composed], 11))
    for action in plan(source, at, [], policy, CLOUD).actions:
        assert isinstance(action, Compare)
        assert action.existing.size == action.source.size


@pytest.mark.parametrize("size", [11, 12])
@pytest.mark.parametrize("escaped", ["cafe%CC%81.jpg", "%63afe\u0301.jpg"])
def test_a_twin_is_sought_under_names_that_can_stand_for_it(escaped: str, size: int) -> None:
    """Where names come back decomposed, these are the other twin's, or this one's."""
    composed, decomposed = "caf\u00e9.jpg", "cafe\u0301.jpg"
    source = listing(entry(decomposed, 11), entry(composed, 11))
    at = listing(there(decomposed, 11), there(escaped, size))
    looked = 0
    for action in plan(source, at, [], COPY, CLOUD).actions:
        found = [action.existing, *action.also] if isinstance(action, Compare) else []
        looked += len(found)
        assert all(decode(each.path) == action.source.path for each in found)  # type: ignore[union-attr]
        assert all(each.size == 11 for each in found[1:])
    assert looked == {("cafe%CC%81.jpg", 11): 3, ("%63afe\u0301.jpg", 11): 4}.get((escaped, size), looked)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("policy", [COPY, SYNC])
@pytest.mark.parametrize("twins", [False, True])
def test_a_name_that_a_disk_gives_back_in_another_normal_form_is_known_again(
    form: Literal["NFC", "NFD"], policy: Policy, twins: bool
) -> None:
    """Without a journal, too; HFS+ decomposes what it lists."""
    paths = ["\u00dcber/caf\u00e9.jpg", "\u00dcber/Caf\u00e9.jpg"][: 1 + twins]
    source = listing(
        *sorted((entry(path, 11 + at) for at, path in enumerate(paths)), key=lambda e: key(e.path))
    )
    first = {a.source.path: a.to for a in plan(source, listing(), [], can=CLOUD).actions}  # type: ignore[union-attr]
    at = listing(*(there(normalize(form, first[e.path]), e.size) for e in source.entries))
    made = plan(source, at, [], policy, CLOUD)
    assert len(made.actions) == len(paths)
    for action in made.actions:
        assert isinstance(action, Compare)
        assert action.existing.size == action.source.size
        # What the manifest calls it is decoded from this.
        assert action.existing.path == action.to == first[action.source.path]


def test_a_twin_of_what_is_delivered_gets_its_own_name() -> None:
    known = [delivered("IMG.jpg")]
    source = listing(entry("IMG.jpg"), entry("img.jpg", 11))
    action = only(plan(source, listing(there("IMG.jpg")), known, can=CLOUD))
    assert isinstance(action, Copy)
    assert match_key(action.to, DROPBOX) != match_key("IMG.jpg", DROPBOX)
    assert not action.beside


def test_a_listing_in_another_case_is_the_same_object() -> None:
    known = [delivered("DCIM/a.jpg")]
    made = plan(listing(entry("DCIM/a.jpg")), listing(there("dcim/A.JPG")), known, can=CLOUD)
    assert made.unchanged == 1


def test_a_file_and_a_folder_of_one_name_are_kept_apart() -> None:
    file_first = only(plan(listing(entry("a/b")), listing(there("a")), []))
    folder_first = only(plan(listing(entry("a")), listing(there("a/b")), []))
    assert isinstance(file_first, Copy)
    assert isinstance(folder_first, Copy)
    assert file_first.to == "%61/b"
    assert folder_first.to == "%61"


def test_our_own_names_are_escaped() -> None:
    action = only(plan(listing(entry(".photosync/HEAD")), listing(), []))
    assert isinstance(action, Copy)
    assert action.to == "%2Ephotosync/HEAD"


def test_the_plan_prints_as_json_objects() -> None:
    source = listing(entry("c", 3), entry("new"), others=[Entry("l", kind=Kind.OTHER)])
    made = plan(source, listing(there("old"), there("extra", 4)), [delivered("old")], SYNC)
    assert list(made.describe()) == [
        {
            "action": "move",
            "path": "new",
            "bytes": 10,
            "reason": "renamed from old",
            "to": "new",
            "taken": "1970-01-01T00:00:00",
            "taken_from": "mtime",
            "asset": None,
            "from": "old",
        },
        {
            "action": "copy",
            "path": "c",
            "bytes": 3,
            "reason": "new",
            "to": "c",
            "taken": "1970-01-01T00:00:00",
            "taken_from": "mtime",
            "asset": None,
        },
        {"action": "refuse", "path": "l", "bytes": 0, "reason": "not a regular file"},
        {
            "action": "trash",
            "path": "extra",
            "to": ".photosync/trash/s/extra",
            "bytes": 4,
            "reason": "not at the source any more",
        },
    ]
    assert made.bytes == 13


LARGE = """
import pathlib, re, sys, time
from photosync.engine.capabilities import Capabilities
from photosync.engine.entry import Entry
from photosync.engine.journal import Delivery, Journal
from photosync.engine.names import DROPBOX
from photosync.engine.plan import Policy, make_plan
from photosync.engine.scan import Listing

def name(number):
    return f"DCIM/Camera/IMG_{number:08d}.jpg"

many = 200_000
journal = Journal(pathlib.Path(sys.argv[1]))
for i in range(many):
    one = Delivery(name(i), i, i * 10**9, f"v{i}", f"{i:064x}", name(i), f"r{i}", "server-hash:dropbox")
    journal.set_delivery("phone", "there", one)
source = Listing([Entry(name(i), i, i * 10**9, version=f"v{i}") for i in range(many + 100)])
there = Listing([Entry(name(i), i, i * 10**9, {"dropbox": f"{i:064x}"}, f"r{i}") for i in range(many)])
began = time.monotonic()
plan = make_plan(source, there, journal.deliveries("phone", "there"), Policy(), Capabilities(names=DROPBOX))
seconds = time.monotonic() - began
# Not ru_maxrss: it begins with what the parent had when this process was forked.
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
print(plan.unchanged, len(plan.actions), peak, f"{seconds:.1f}")
"""


def test_200000_files_are_planned_within_300_megabytes(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LARGE), f"{tmp_path}/journal.sqlite"],
        capture_output=True, text=True, check=True, timeout=250,
    )  # fmt: skip
    unchanged, actions, kibibytes, seconds = done.stdout.split()
    print(f"200,000 files planned in {seconds} s, {int(kibibytes) >> 10} MiB")
    assert (int(unchanged), int(actions)) == (200_000, 100)
    assert int(kibibytes) < 300 << 10
