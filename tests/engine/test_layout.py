"""Templates: what they make, what they refuse, and that nothing leads out of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photosync.engine.layout import FIELDS, Layout, LayoutError
from photosync.engine.media import Facts
from photosync.engine.names import check_relative
from photosync.engine.taken import taken

NAMES = st.text(max_size=20).filter(lambda name: "/" not in name and name.strip("."))
FACTS = Facts("jpeg", "2024-05-01T10:11:12", "exif", "Apple", "iPhone 15 Pro")
PATH = "DCIM/100APPLE/IMG_0001.HEIC"


def path(template: str, facts: Facts = FACTS, source: str = PATH, device: str = "My Phone") -> str:
    return Layout.parse(template, device).path(
        source, taken(source, None, facts), facts, "0123456789abcdef" * 4
    )


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{taken:%Y/%Y-%m}/{name}", "2024/2024-05/IMG_0001.HEIC"),
        ("{camera}/{name}", "iPhone 15 Pro/IMG_0001.HEIC"),
        ("{make}/{album}/{name}", "Apple/100APPLE/IMG_0001.HEIC"),
        ("{device}/{folder}/{name}", "My Phone/DCIM/100APPLE/IMG_0001.HEIC"),
        ("{type}s/{taken:%Y%m%d_%H%M%S}-{stem}.{ext}", "photos/20240501_101112-IMG_0001.HEIC"),
        ("{id:8}/{name}", "01234567/IMG_0001.HEIC"),
        ("{id}.{ext}", "0123456789abcdef.HEIC"),
        ("Photos {{all}}/{name}", "Photos {all}/IMG_0001.HEIC"),
        ("{name}", "IMG_0001.HEIC"),
    ],
)
def test_templates(template: str, made: str) -> None:
    assert path(template) == made


def test_what_is_not_known_has_a_name_too() -> None:
    assert (
        path("{taken:%Y/%m}/{camera}/{album}/{name}", Facts(), "x.jpg", "") == "undated/unknown/unknown/x.jpg"
    )
    assert path("{stem}.{ext}", source="a/README") == "README"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{foo}/{name}", "there is no field {foo}"),
        ("{0}/{name}", "there is no field {0}"),
        ("{name.__class__}/{name}", "there is no field"),
        ("{taken}/{name}", "needs a format of dates"),
        ("{taken:%Q}/{name}", "needs a format of dates"),
        ("{taken:%Y/../%m}/{name}", "needs a format of dates"),
        ("{taken:/%Y}/{name}", "needs a format of dates"),
        ("{camera:>9}/{name}", "takes no format"),
        ("{id:x}/{name}", "takes no format but 4 to 64"),
        ("{id:99}/{name}", "takes no format but 4 to 64"),
        ("../{name}", "path below the destination"),
        ("/{name}", "path below the destination"),
        ("a//{name}", "path below the destination"),
        ("{taken:%Y}", "has to end in {name} or {ext}"),
        ("{name}/", "path below the destination"),
        ("{name}/x", "has to end in {name} or {ext}"),
        ("", "path below the destination"),
        ("{name", "For a brace itself write two"),
    ],
)
def test_what_is_refused_and_why(template: str, words: str) -> None:
    with pytest.raises(LayoutError) as caught:
        Layout.parse(template)
    assert words in str(caught.value)


@given(st.text(max_size=120), st.text(max_size=20), NAMES)
def test_what_a_camera_calls_itself_stays_one_component(model: str, device: str, name: str) -> None:
    facts = Facts(make=model, model=model)
    made = path("{device}/{camera}/{make}/x{name}", facts, f"a/{name}", device)
    assert len(made.split("/")) == 4
    if "\0" not in name and name.isprintable():
        assert check_relative(made) == made


@pytest.mark.parametrize(
    "model", ["../../etc", "..", ".", "", "/", "a/b\\c", "x" * 500, "\0\x1b[31m", ".hidden"]
)
def test_hostile_models(model: str) -> None:
    made = path("{camera}/{name}", Facts(model=model))
    folder, _, name = made.partition("/")
    assert name == "IMG_0001.HEIC"
    assert folder
    assert folder.isprintable()
    assert not folder.startswith(".")
    assert len(folder) <= 80


def test_all_fields_are_told() -> None:
    with pytest.raises(LayoutError) as caught:
        Layout.parse("{x}/{name}")
    assert all(f"{{{name}}}" in str(caught.value) for name in FIELDS)
    assert Layout.parse("{id}.{ext}").needs_content
    assert Layout.parse("{camera}/{name}").needs_facts
    assert not Layout.parse("{album}/{name}").needs_facts
