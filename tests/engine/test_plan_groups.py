"""A plan is the same whether deliveries are looked at one by one or many at once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photosync.engine.actions import Plan
from photosync.engine.capabilities import Capabilities
from photosync.engine.entry import Entry
from photosync.engine.errors import SafetyGuard
from photosync.engine.journal import Delivered, Delivery, key
from photosync.engine.names import ANY, DROPBOX, POSIX, S3, NameRules, decode
from photosync.engine.plan import Mode, Policy, make_plan
from photosync.engine.scan import Listing

Known = tuple[Entry | None, Entry | None, Delivery | None]
"""A file at the source, at the destination, and its delivery."""

names = st.sampled_from(
    ["a.jpg", "A.jpg", "b.jpg", "é.jpg", "e\u0301.jpg", "\udcff", "%41", "x%2Ey", "c", "~"]
)
paths = st.lists(names, min_size=1, max_size=2).map("/".join)
tokens = st.sampled_from([None, "", "=", "v", "w", "é"])


@st.composite
def known(draw: st.DrawFn, path: str) -> Known:
    """Mostly a file as it was delivered; else different in one thing."""
    time, version, stored_version = draw(st.none() | st.integers(0, 3)), draw(tokens), draw(tokens)
    source = Entry(path, draw(st.integers(0, 3)), time, version=version)
    there = Entry(path, source.size, draw(st.none() | st.just(7)), version=stored_version)
    delivery = Delivery(path, source.size, time, version, "content", path, stored_version, "reread")
    match draw(
        st.sampled_from(
            [
                *["same"] * 12,
                "gone",
                "new",
                "no source",
                "only there",
                "size",
                "their size",
                "time",
                "version",
                "their version",
                "evidence",
                "stored",
            ]
        )
    ):
        case "gone":
            return source, None, delivery
        case "new":
            return source, None, None
        case "no source":
            return None, there, delivery
        case "only there":
            return None, there, None
        case "size":
            return replace(source, size=source.size + 1), there, delivery
        case "their size":
            return source, replace(there, size=there.size + 1), delivery
        case "time":
            return replace(source, mtime_ns=draw(st.none() | st.just(9))), there, delivery
        case "version":
            return replace(source, version="other"), there, delivery
        case "their version":
            return source, replace(there, version="other"), delivery
        case "evidence":
            return source, there, Delivery(*_row(delivery)[:5], path, stored_version, "none")
        case "stored":
            to = f"{path}~"
            return (
                source,
                replace(there, path=to),
                Delivery(*_row(delivery)[:5], to, stored_version, "reread"),
            )
    return source, there, delivery


def _row(delivery: Delivery) -> tuple[Any, ...]:
    return tuple(getattr(delivery, name) for name in Delivery.__struct_fields__)


def _raw(delivery: Delivery) -> tuple[Any, ...]:
    """As the journal has it."""
    path, size, mtime_ns, version, content, stored, *rest = _row(delivery)
    return key(path), size, mtime_ns, version, content, key(stored), *rest


def grouped(deliveries: Sequence[Delivery], size: int) -> Delivered:
    """As the journal gives them, but fewer at once."""

    def groups() -> Iterator[list[tuple[Any, ...]]]:
        for start in range(0, len(deliveries), size):
            yield [_raw(each) for each in deliveries[start : start + size]]

    return Delivered(groups)


def planned(
    source: list[Entry], there: list[Entry], known: Any, policy: Policy, rules: NameRules
) -> Plan | str:
    try:
        return make_plan(Listing(source), Listing(there), known, policy, Capabilities(names=rules))
    except SafetyGuard as refused:
        return str(refused)


@given(
    st.lists(paths, max_size=30, unique=True).flatmap(lambda found: st.tuples(*map(known, found))),
    st.sampled_from([1, 2, 3, 5, 100]),
    st.builds(
        Policy,
        mode=st.sampled_from(Mode),
        checksum=st.booleans() | st.just(False),
        anew=st.booleans() | st.just(False),
        prove=st.booleans(),
        kept=st.just(frozenset()) | st.frozensets(paths, max_size=3),
        spared=st.just(frozenset()) | st.frozensets(paths, max_size=3),
        shared=st.just(frozenset()) | st.frozensets(paths, max_size=3),
        plain_names=st.booleans(),
    ),
    st.sampled_from([ANY, DROPBOX, POSIX, S3]),
)
@settings(deadline=None)
def test_many_at_once_are_as_one_by_one(
    files: tuple[Known, ...], size: int, policy: Policy, rules: NameRules
) -> None:
    source = [here for here, _, _ in files if here is not None]
    there = list({each.path: each for _, each, _ in files if each is not None}.values())
    deliveries = sorted((each for _, _, each in files if each is not None), key=lambda each: key(each.path))
    one_by_one = planned(source, there, deliveries, policy, rules)
    assert planned(source, there, grouped(deliveries, size), policy, rules) == one_by_one


CHANGES: dict[str, tuple[int, dict[str, Any]]] = {
    "size": (0, {"size": 4}),
    "time": (0, {"mtime_ns": 9}),
    "version": (0, {"version": "w"}),
    "no version": (0, {"version": None}),
    "their size": (1, {"size": 4}),
    "their version": (1, {"version": "w"}),
    "their name": (1, {"path": "gone.jpg"}),
    "proof": (2, {"evidence": "none"}),
    "stored": (2, {"stored": "gone.jpg"}),
    "stored as another's": (2, {"stored": "1.jpg"}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("at", [0, 5, 9])
def test_one_change_among_many_is_seen(change: str, at: int) -> None:
    here, there = [[Entry(f"{n}.jpg", 3, 1, version=token) for n in range(10)] for token in ("v", "=v")]
    deliveries = [Delivery(f"{n}.jpg", 3, 1, "v", "c", f"{n}.jpg", "=v", "reread") for n in range(10)]
    plan = planned(here, there, grouped(deliveries, 100), Policy(), ANY)
    assert isinstance(plan, Plan)
    assert (plan.unchanged, plan.actions) == (10, [])
    side, changed = CHANGES[change]
    if side == 2:
        deliveries[at] = msgspec.structs.replace(deliveries[at], **changed)
    else:
        (here, there)[side][at] = replace((here, there)[side][at], **changed)
    one_by_one = planned(here, there, deliveries, Policy(), ANY)
    assert planned(here, there, grouped(deliveries, 100), Policy(), ANY) == one_by_one
    assert isinstance(one_by_one, Plan)
    assert change == "stored as another's" or (one_by_one.unchanged, len(one_by_one.actions)) == (9, 1)


def delivered(*paths: str) -> tuple[list[Entry], list[Delivery]]:
    """Files that were delivered and are as they were, on either side."""
    ordered = sorted(paths, key=key)
    files = [Entry(path, 3, 1, version="v") for path in ordered]
    return files, [Delivery(path, 3, 1, "v", "c", path, "v", "reread") for path in ordered]


def test_what_another_name_hides_is_no_unchanged_file() -> None:
    files, deliveries = delivered("A.jpg", "a.jpg", "b.jpg")
    one_by_one = planned(files, files, deliveries, Policy(), ANY)
    assert planned(files, files, grouped(deliveries, 3), Policy(), ANY) == one_by_one


ODD = ["e\u0301.jpg", "é.jpg", "e%CC%81.jpg", "a%3Ab", "a:b", "%41", "%2541", f"%41%~{'0' * 20}.jpg"]


@pytest.mark.parametrize("one", ODD)
@pytest.mark.parametrize("other", ODD)
def test_names_of_unchanged_files_that_are_not_plain_are_known(one: str, other: str) -> None:
    files, deliveries = delivered(*{one, other, "b.jpg"})
    for path in [*{*ODD, "É.jpg", "A", *map(decode, ODD)}.difference({one, other})]:
        new = [*files, Entry(path, 4, 1, version="w")]
        for rules in (ANY, POSIX):
            one_by_one = planned(new, files, deliveries, Policy(), rules)
            assert planned(new, files, grouped(deliveries, 3), Policy(), rules) == one_by_one
