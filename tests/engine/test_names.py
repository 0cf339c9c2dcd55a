"""Promises 9 and 10: names are injective and reversible, and nothing leaves its root."""

import os
import pickle
import random
import re
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from photosync.engine import names
from photosync.engine.errors import NameRefused, Permanent
from photosync.engine.names import (
    ANY,
    DROPBOX,
    POSIX,
    S3,
    WINDOWS,
    NameRules,
    Names,
    check_relative,
    decode,
    encode,
    is_ours,
    is_shortened,
    match_key,
    printable,
)

RULES = {"posix": POSIX, "windows": WINDOWS, "s3": S3, "dropbox": DROPBOX, "any": ANY}
SMALL = {f"{name}-small": replace(rules, max_component=40, max_path=90) for name, rules in RULES.items()}
all_rules = pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
all_and_small = pytest.mark.parametrize("rules", [*RULES.values(), *SMALL.values()], ids=[*RULES, *SMALL])

# Few characters, chosen to meet each other: case pairs, characters that fold to several, to ASCII or to hex
# digits, marks that compose, ignorables, escapes, everything that some destination forbids.
_CHARS = (
    "aAsSkKfFiI\u0131\u0130\u017f\u212a\u00df\u1e9e\ufb00\u00e9\u00c9\u0301\u0345\u03b9\u037e;"
    "1%%40.~$ :\\*\x1b\n\x7f\u200d\u202e\U0001f600\udcff"
)
_WORDS = [
    "CON",
    "com1",
    "aux.jpg",
    ".photosync",
    ".PhotoSync-1",
    "desktop.ini",
    "%41",
    "%2F",
    "%~",
    "~$x",
    ".ds_store",
]


def _is_name(text: str) -> bool:
    raw = text.encode("utf-8", "surrogateescape")
    return text not in {"", ".", ".."} and raw.decode("utf-8", "surrogateescape") == text


nasty = st.one_of(
    st.text(_CHARS, min_size=1, max_size=6),
    st.tuples(st.sampled_from(_WORDS), st.text(_CHARS, max_size=2)).map("".join),
    st.integers(30, 260).map(lambda size: "aé" * (size // 2) + ".jpg"),
).filter(_is_name)
any_bytes = (
    st.binary(min_size=1, max_size=40)
    .map(lambda raw: raw.replace(b"/", b"").replace(b"\0", b"").decode("utf-8", "surrogateescape"))
    .filter(_is_name)
)
component = st.one_of(nasty, any_bytes)
paths = st.lists(component, min_size=1, max_size=4).map("/".join)


def faults(stored: str, rules: NameRules) -> list[str]:
    """What is wrong with a stored path, said without the module under test."""
    unit: Callable[[str], int] = (
        (lambda text: len(os.fsencode(text)))
        if rules.unit == "bytes"
        else (lambda text: len(text.encode("utf-16-le", "surrogatepass")) // 2)
    )
    found = []
    if unit(stored) > rules.max_path:
        found.append("path too long")
    if any("\udc80" <= char <= "\udcff" for char in stored) and rules.utf8_only:
        found.append("not UTF-8")
    for name in stored.split("/"):
        if name in {"", ".", ".."} or "\0" in name:
            found.append(f"{name!r} is no name")
            continue
        if unit(name) > rules.max_component:
            found.append("component too long")
        found += [f"{char!r}" for char in name if char in rules.forbidden]
        stem = name.split(".")[0].rstrip(" ").upper()
        if rules.reserved and (
            stem in {"CON", "PRN", "AUX", "NUL"} or re.fullmatch("(COM|LPT)[0-9¹²³]", stem)
        ):
            found.append("a device")
        if name[-1] in rules.trailing or name[0] in rules.leading:
            found.append("begins or ends badly")
        if rules is DROPBOX and (
            name.lower()
            in {"desktop.ini", "thumbs.db", ".ds_store", ".dropbox", ".dropbox.attr", ".dropbox.cache"}
            or name.startswith(("~$", ".~"))
            or (name.startswith("~") and name.lower().endswith(".tmp"))
        ):
            found.append("disallowed")
        if name.casefold().startswith(".photosync"):
            found.append("ours")
    return found


@pytest.mark.parametrize(
    ("rules", "path", "stored"),
    [
        (POSIX, "DCIM/100APPLE/IMG_0001.JPG", "DCIM/100APPLE/IMG_0001.JPG"),
        (POSIX, "2024-01-01 10:11:12.jpg", "2024-01-01 10:11:12.jpg"),
        (POSIX, "\udcff.jpg", "\udcff.jpg"),
        (POSIX, "%41.jpg", "%2541.jpg"),
        (POSIX, "100%.jpg", "100%.jpg"),
        (POSIX, "100%~x", "100%25~x"),
        (POSIX, ".photosync/HEAD", "%2Ephotosync/HEAD"),
        (POSIX, "a/.PhotoSync-part", "a/%2EPhotoSync-part"),
        (POSIX, "photosync", "photosync"),
        (WINDOWS, "2024-01-01 10:11:12.jpg", "2024-01-01 10%3A11%3A12.jpg"),
        (WINDOWS, "CON.jpg", "%43ON.jpg"),
        (WINDOWS, "com1", "%63om1"),
        (WINDOWS, "nul .txt", "%6Eul .txt"),
        (WINDOWS, "CONSOLE.jpg", "CONSOLE.jpg"),
        (WINDOWS, "dots...", "dots..%2E"),
        (WINDOWS, "notes /x", "notes%20/x"),
        (WINDOWS, "a\nb", "a%0Ab"),
        (S3, "\udcff.jpg", "%FF.jpg"),
        (S3, "a\x1b[2J", "a%1B[2J"),
        (S3, "2024-01-01 10:11:12.jpg", "2024-01-01 10:11:12.jpg"),
        (DROPBOX, "a\\b", "a%5Cb"),
        (DROPBOX, "Thumbs.db", "%54humbs.db"),
        (DROPBOX, ".~lock", "%2E~lock"),
        (DROPBOX, "\U0001f600.jpg", "\U0001f600.jpg"),
        (ANY, " x ", "%20x%20"),
    ],
)
@pytest.mark.row(76)
def test_names_are_escaped_only_where_they_must_be(rules: NameRules, path: str, stored: str) -> None:
    assert encode(path, rules) == stored
    assert decode(stored) == path


@all_and_small
@settings(max_examples=100)
@given(path=paths)
@example(path="CON")
@example(path="\u200b.photosync")
@pytest.mark.row(76)
def test_encoding_is_legal_and_reversible(rules: NameRules, path: str) -> None:
    stored = encode(path, rules)
    assert not faults(stored, rules)
    assert not is_ours(stored)
    if not is_shortened(stored):
        assert decode(stored) == path


@all_and_small
@settings(max_examples=100)
@given(wanted=st.lists(paths, min_size=2, max_size=8), seed=st.integers(0, 1 << 30))
@example(wanted=["%\ufb00", "%\udcff"[1:], "\udcff"], seed=0)
@example(wanted=[";", "\u037e"], seed=0)
@example(wanted=["a", "A/b", "a/c", "A"], seed=0)
@pytest.mark.row(78)
def test_no_two_paths_share_a_name(rules: NameRules, wanted: list[str], seed: int) -> None:
    assigned = Names(rules)
    stored = {path: assigned.assign(path) for path in wanted}
    assert len({match_key(name, rules) for name in stored.values()}) == len(stored)
    # Only a flat source has a file and a folder of one name; they compete for its spellings.
    twofold = any(folder.startswith(f"{path}/") for path in wanted for folder in wanted)
    for path, name in stored.items():
        assert not faults(name, rules)
        assert is_shortened(name) or decode(name) == path
        roomy = 3 * len(os.fsencode(path)) <= min(rules.max_component, rules.max_path - 40)
        assert twofold or not roomy or not is_shortened(name), "there is room to escape everything"
        assert assigned.assign(path) == name, "asked again, it answers the same"

    # Another run, which meets the paths in another order and with new ones among them.
    later = Names(rules, {match_key(name, rules): path for path, name in stored.items()})
    shuffled = [*stored, *(path.swapcase() for path in stored if _is_name(path.swapcase()))]
    random.Random(seed).shuffle(shuffled)
    again = {path: later.assign(path) for path in shuffled}
    for path, name in stored.items():
        assert match_key(again[path], rules) == match_key(name, rules), "what is there keeps its place"
    assert len({match_key(name, rules) for name in again.values()}) == len(again)


_FOLDS: list[Callable[[str], str]] = [
    str.lower,
    str.upper,
    str.casefold,
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold()),
    lambda text: unicodedata.normalize("NFC", text.lower()),
    lambda text: unicodedata.normalize("NFC", text.upper()),
]


@pytest.mark.parametrize("fold", _FOLDS)
@pytest.mark.parametrize("rules", [DROPBOX, ANY], ids=["dropbox", "any"])
@settings(max_examples=60)
@given(wanted=st.lists(paths, min_size=2, max_size=8, unique=True))
@pytest.mark.row(78)
def test_twins_survive_on_whatever_folds(
    rules: NameRules, fold: Callable[[str], str], wanted: list[str]
) -> None:
    assigned = Names(rules)
    disk: dict[str, str] = {}
    for path in wanted:
        place = fold(assigned.assign(path))
        assert place not in disk, f"{path!r} would replace {disk.get(place)!r}"
        disk[place] = path


@pytest.mark.row(78)
def test_every_character_meets_its_folded_forms() -> None:
    case_only = replace(WINDOWS, fold_unicode=False)
    for code in range(1, sys.maxunicode + 1):
        char = chr(code)
        if 0xD800 <= code < 0xE000 or all(fold(char) == char for fold in _FOLDS[:5]):
            continue
        key, cased = match_key(char, ANY), match_key(char, case_only)
        for fold in _FOLDS:
            assert match_key(fold(char), ANY) == key, hex(code)
        for fold in (str.lower, str.upper, str.casefold):
            assert match_key(fold(char), case_only) == cased, hex(code)


def test_twins_keep_readable_names() -> None:
    assigned = Names(DROPBOX)
    wanted = [
        "IMG_1.JPG",
        "img_1.jpg",
        "Img_1.jpg",
        "stra\u00dfe",
        "STRASSE",
        "A/x",
        "a/y",
        "Caf\u00e9",
        "Cafe\u0301",
    ]
    assert [assigned.assign(path) for path in wanted] == [
        "IMG_1.JPG",
        "%69mg_1.jpg",
        "%49mg_1.jpg",
        "stra\u00dfe",
        "%53TRASSE",
        "A/x",
        "%61/y",
        "Caf\u00e9",
        "Cafe%CC%81",
    ]


def test_what_does_not_fold_is_left_alone() -> None:
    for rules in (POSIX, S3):
        assigned = Names(rules)
        for path in ("IMG.JPG", "img.jpg", "A/x", "a/x", "Caf\u00e9", "Cafe\u0301"):
            assert assigned.assign(path) == path


def test_a_file_and_a_folder_of_one_name_need_two_names_unless_the_store_is_flat() -> None:
    assert [Names(S3).assign(path) for path in ("a", "a/b")] == ["a", "a/b"]
    flat = Names(S3)
    assert [flat.assign("a"), flat.assign("a/b")] == ["a", "a/b"]
    real = Names(POSIX)
    assert [real.assign("a"), real.assign("a/b")] == ["a", "%61/b"]


def test_a_twin_keeps_its_name_after_the_first_one_has_gone() -> None:
    taken = {"%69mg.jpg": "img.jpg", "%61/x": "a/x"}
    later = Names(DROPBOX, taken)
    assert later.assign("img.jpg") == "%69mg.jpg"
    assert later.assign("a/y") == "%61/y", "new files join the folder that is there"
    assert later.assign("A/y") == "A/y"


def test_a_stranger_at_the_destination_is_not_replaced() -> None:
    later = Names(DROPBOX, {"img.jpg": "IMG.jpg", "other.jpg": "something else"})
    assert later.assign("img.jpg") == "%69mg.jpg"
    assert later.assign("other.jpg") == "%6Fther.jpg"


def test_of_two_strangers_that_decode_alike_the_plain_one_counts() -> None:
    for taken in ({"a.jpg": "a.jpg", "%61.jpg": "a.jpg"}, {"%61.jpg": "a.jpg", "a.jpg": "a.jpg"}):
        assert Names(DROPBOX, taken).assign("a.jpg") == "a.jpg"


@all_rules
@pytest.mark.row(75)
def test_long_names_are_shortened_and_told_apart(rules: NameRules) -> None:
    stem = "\u7bb1" * 300
    first, second = f"d/{stem}1.jpeg", f"d/{stem}2.jpeg"
    stored = [Names(rules).assign(path) for path in (first, second)]
    assert stored[0] != stored[1]
    for name in stored:
        assert is_shortened(name)
        assert name.endswith(".jpeg")
        assert name.startswith("d/\u7bb1\u7bb1")
        assert not faults(name, rules)
    assert not is_shortened(encode("x%~0123456789abcdef0123.jpg", rules)), "a source can't forge the mark"


@all_rules
@pytest.mark.row(75)
def test_paths_too_deep_move_up_and_stay_apart(rules: NameRules) -> None:
    deep = "/".join(["folder"] * 6000)
    assigned = Names(rules)
    stored = [
        assigned.assign(path)
        for path in (f"{deep}/a.jpg", f"{deep}/b/a.jpg", f"{deep}/a.JPG", "folder/a.jpg")
    ]
    assert len({match_key(name, rules) for name in stored}) == 4
    assert stored[3] == "folder/a.jpg"
    for name in stored[:3]:
        assert is_shortened(name)
        assert not faults(name, rules)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        ".",
        "./a",
        "a/./b",
        "a//b",
        "a/",
        "a\0b",
        "\ud800",
        "\udcc3\udca9",
    ],
)
@pytest.mark.row(74)
def test_hostile_paths_are_refused(path: str) -> None:
    with pytest.raises(NameRefused) as caught:
        check_relative(path)
    assert isinstance(caught.value, Permanent)
    assert str(caught.value).isprintable()
    with pytest.raises(NameRefused):
        encode(path, ANY)


@pytest.mark.parametrize(
    "path", ["a", "...", "a/.b", "..a", "a..", "a/...", "a\nb", "..\n", "C:\\x", "\udcff"]
)
def test_odd_paths_are_accepted(path: str) -> None:
    assert check_relative(path) == path


@settings(max_examples=200)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["%2F", "%2f", "%2E", "%2e", ".", "%00", "%", "a", "/"])).map("".join),
    )
)
@pytest.mark.row(74)
def test_decoding_never_leaves_the_root(stored: str) -> None:
    try:
        check_relative(stored)
    except NameRefused:
        decode(stored)
    else:
        assert check_relative(decode(stored)).count("/") == stored.count("/")


@pytest.mark.row(79)
def test_bytes_that_are_no_utf8_come_back() -> None:
    for byte in range(0x80, 0x100):
        path = os.fsdecode(b"IMG_" + bytes([byte]) + b".jpg")
        assert encode(path, S3) == f"IMG_%{byte:02X}.jpg"
        assert decode(encode(path, S3)) == path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("DCIM/IMG 1.JPG", "DCIM/IMG 1.JPG"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\x7f\x9b", "a\\x0ab\\x7f\\x9b"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("a\u2066b\u200b\ufeff\u2028", "a\\u2066b\\u200b\\ufeff\\u2028"),
        ("\udcff\ud800", "\\xff\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\u05e9\u05dc\u05d5\u05dd caf\u00e9 \u7bb1", "\u05e9\u05dc\u05d5\u05dd caf\u00e9 \u7bb1"),
        ("\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f467"),
    ],
)
@pytest.mark.row(77)
def test_printable(path: str, shown: str) -> None:
    assert printable(path) == shown


@settings(max_examples=200)
@given(st.text(st.characters()))
@pytest.mark.row(74)
def test_nothing_printable_disturbs_a_terminal(path: str) -> None:
    allowed = {"\u200c", "\u200d"}
    for char in set(printable(path)) - allowed:
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.row(80)
def test_names_of_our_own() -> None:
    assert is_ours(".photosync")
    assert is_ours(".PHOTOSYNC/HEAD")
    assert is_ours("a/.photosync-1234.part")
    assert not is_ours("photosync/a.jpg")
    assert not is_ours("%2Ephotosync/a.jpg")


def test_rules_travel_to_other_processes() -> None:
    for rules in RULES.values():
        assert pickle.loads(pickle.dumps(rules)) == rules
    assert hash(DROPBOX) != hash(ANY)


def test_a_destination_that_claims_every_spelling_is_told() -> None:
    taken = {match_key(form, WINDOWS): "x" for form in ("a", "%61", encode("a" * 300, WINDOWS))}
    forms = list(names._forms("a", "a", set(), WINDOWS, 255, False))
    with pytest.raises(NameRefused, match="no free name"):
        Names(WINDOWS, taken | {match_key(form, WINDOWS): "x" for form in forms}).assign("a")
