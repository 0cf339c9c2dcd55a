"""Files that belong together, and files that only seem to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photosync.engine.assets import Kind, kind_of, pair
from photosync.engine.entry import Entry
from photosync.engine.media import Facts


def groups(*names: str, **pairs: str) -> list[list[str]]:
    """Names of each photo's files; ``pairs``: identifiers, by name with _ for dots and slashes."""
    facts = {name: Facts(pair=pairs[plain]) for name in names if (plain := name.replace(".", "_")) in pairs}
    return [[entry.path for entry in photo.members] for photo in pair([Entry(name) for name in names], facts)]


@pytest.mark.parametrize(
    "names",
    [
        ["IMG_1.HEIC", "IMG_1.MOV"],
        ["IMG_1.JPG", "IMG_1.mov"],
        ["IMG_0001.HEIC", "IMG_0001.MOV", "IMG_E0001.HEIC", "IMG_E0001.MOV", "IMG_0001.AAE", "IMG_O0001.AAE"],
        ["DSC_1.JPG", "DSC_1.DNG"],
        ["DSC_1.JPG", "DSC_1.NEF", "DSC_1.xmp", "DSC_1.NEF.xmp"],
        ["DSC_1.CR3", "DSC_1.XMP"],
        ["VID_1.MP4", "VID_1.THM"],
        ["IMG_1_BURST02_COVER.jpg", "IMG_1_BURST01.jpg", "IMG_1_BURST03.jpg"],
        ["00001IMG_00001_BURST20240504224444397_COVER.jpg", "00000IMG_00000_BURST20240504224444397.jpg"],
        ["PXL_20240501_101112345.BURST-01.COVER.jpg"],
        ["a/IMG_1~3f9a2b7c.HEIC", "a/IMG_1~3f9a2b7c.MOV"],
    ],
)
def test_these_belong_together(names: list[str]) -> None:
    for found in (groups(*names), groups(*reversed(names))):
        assert [sorted(each) for each in found] == [sorted(names)]
        assert found[0][0] == names[0]


@pytest.mark.parametrize(
    "names",
    [
        ["IMG_1.HEIC", "IMG_2.MOV"],
        ["a/IMG_1.HEIC", "b/IMG_1.MOV"],
        ["IMG_1.HEIC", "IMG_1.mp4"],
        ["IMG_1.PNG", "IMG_1.MOV"],
        ["IMG_1.HEIC", "IMG_1.txt"],
        ["IMG_1.HEIC", "IMG_1.PNG"],
        ["IMG_1.HEIC", "IMG_1~3f9a2b7c.MOV"],
        ["BURST.jpg", "BURST2.jpg"],
        ["a.mp4", "a.mkv"],
    ],
)
def test_these_do_not(names: list[str]) -> None:
    assert groups(*names) == [[name] for name in names]


def test_identifiers_count_more_than_names() -> None:
    assert groups("I_1.HEIC", "I_1.MOV", I_1_HEIC="x", I_1_MOV="y") == [["I_1.HEIC"], ["I_1.MOV"]]
    assert groups("I_1.HEIC", "I_1.MOV", I_1_HEIC="x") == [["I_1.HEIC", "I_1.MOV"]]
    assert groups("I_1.HEIC", "I_9.MOV", I_1_HEIC="x", I_9_MOV="x") == [["I_1.HEIC", "I_9.MOV"]]
    assert groups("I_1.HEIC", "I_1.mp4", I_1_HEIC="x", I_1_mp4="x") == [["I_1.HEIC", "I_1.mp4"]]
    # Names crossed over, as a counter that wrapped leaves them.
    crossed = groups(
        "I_1.HEIC", "I_1.MOV", "I_2.HEIC", "I_2.MOV", I_1_HEIC="x", I_1_MOV="y", I_2_HEIC="y", I_2_MOV="x"
    )
    assert sorted(crossed) == [["I_1.HEIC", "I_2.MOV"], ["I_2.HEIC", "I_1.MOV"]]


def test_shots_of_one_burst_by_apples_identifier() -> None:
    facts = {name: Facts(burst="b") for name in ("1.HEIC", "2.HEIC")} | {"3.HEIC": Facts(burst="c")}
    found = pair([Entry(name) for name in ("1.HEIC", "2.HEIC", "3.HEIC")], facts)
    assert [len(photo.members) for photo in found] == [2, 1]


_NAME = st.builds(
    lambda folder, stem, extension: f"{folder}{stem}{extension}",
    st.sampled_from(["", "a/", "b/"]),
    st.sampled_from(
        ["IMG_0001", "IMG_E0001", "img_0001", "IMG_0002", "x_BURST001", "x_BURST002_COVER", ".", "x~12345678"]
    ),
    st.sampled_from(["", ".HEIC", ".JPG", ".MOV", ".mp4", ".DNG", ".AAE", ".xmp", ".JPG.xmp", ".txt"]),
)


@given(st.dictionaries(_NAME, st.sampled_from(["", "x", "y"]), max_size=12))
def test_every_file_is_in_exactly_one_photo(found: dict[str, str]) -> None:
    entries = [Entry(name) for name in found]
    facts = {name: Facts(pair=identifier) for name, identifier in found.items()}
    photos = pair(entries, facts)
    assert sorted(e.path for photo in photos for e in photo.members) == sorted(found)
    for photo in photos:
        assert len({e.path.rpartition("/")[0] for e in photo.members}) == 1
        kinds = {e.path: kind_of(e.path) for e in photo.members}
        films = {facts[path].pair for path, kind in kinds.items() if kind is Kind.VIDEO}
        stills = {facts[path].pair for path, kind in kinds.items() if path.endswith((".HEIC", ".JPG"))}
        if len(films - {""}) == len(stills - {""}) == 1 and "" not in films | stills:
            assert films == stills, f"paired by name against the identifiers: {kinds}"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("DCIM/100APPLE/IMG_1.HEIC", Kind.PHOTO),
        ("DCIM/100APPLE/IMG_1.PNG", Kind.SCREENSHOT),
        ("DCIM/Screenshots/x.jpg", Kind.SCREENSHOT),
        ("Pictures/Screenshot_20240501-101112.png", Kind.SCREENSHOT),
        ("Screenshot 2024-05-01 at 10.11.12.png", Kind.SCREENSHOT),
        ("Pictures/drawing.png", Kind.PHOTO),
        ("a.DNG", Kind.RAW),
        ("a.mov", Kind.VIDEO),
        ("a.AAE", Kind.SIDECAR),
        ("a.txt", Kind.OTHER),
        (".nomedia", Kind.OTHER),
    ],
)
def test_kinds(path: str, kind: Kind) -> None:
    assert kind_of(path) is kind
