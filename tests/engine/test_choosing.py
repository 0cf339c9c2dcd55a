"""Choosing photos by kind, album, camera and time: whole ones, always."""

from typing import Any

import pytest

from photosync.engine.assets import pair
from photosync.engine.choosing import Choice
from photosync.engine.entry import Entry
from photosync.engine.filters import FilterError
from photosync.engine.media import Facts

DAY = 86_400 * 10**9
FACTS = {
    "DCIM/Camera/IMG_1.HEIC": Facts("heif", "2024-05-01T10:00:00", "exif", "Apple", "iPhone 15 Pro"),
    "DCIM/Camera/VID_20230101_000000.mp4": Facts(make="samsung", model="SM-S921B"),
}
NAMES = [
    "DCIM/Camera/IMG_1.HEIC",
    "DCIM/Camera/IMG_1.MOV",
    "DCIM/Camera/IMG_2.DNG",
    "DCIM/Camera/IMG_2.JPG",
    "DCIM/Camera/VID_20230101_000000.mp4",
    "DCIM/Screenshots/Screenshot_20240601-000000.png",
    "Pictures/a.txt",
]
LIVE, RAW, VIDEO, SHOT, TEXT = NAMES[:2], NAMES[2:4], NAMES[4:5], NAMES[5:6], NAMES[6:]


def chosen(**options: Any) -> list[str]:
    choice = Choice.parse(**options, now_ns=1_714_600_000 * 10**9)
    photos = pair([Entry(name, 1, 1) for name in NAMES], FACTS)
    return [entry.path for photo in photos if choice.wants(photo, FACTS) for entry in photo.members]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, LIVE + RAW + VIDEO + SHOT + TEXT),
        ({"types": ["photo"]}, LIVE + RAW),
        ({"types": ["raw"]}, RAW),
        ({"types": ["video"]}, VIDEO),
        ({"types": ["screenshot,other"]}, SHOT + TEXT),
        ({"types": ["Video", "raw"]}, RAW + VIDEO),
        ({"albums": ["camera"]}, LIVE + RAW + VIDEO),
        ({"albums": ["scr*"]}, SHOT),
        ({"cameras": ["iphone"]}, LIVE),
        ({"cameras": ["samsung", "apple"]}, LIVE + VIDEO),
        ({"cameras": ["nikon"]}, []),
        ({"taken_after": "2024-05-01"}, LIVE + SHOT),
        ({"taken_before": "2024-05-01", "types": ["video"]}, VIDEO),
        ({"taken_after": "2024-05-01", "taken_before": "2024-05-02"}, LIVE),
        ({"taken_after": "5d"}, LIVE + SHOT),
    ],
)
def test_choices(options: dict[str, Any], names: list[str]) -> None:
    assert sorted(chosen(**options)) == sorted(names)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"types": ["foto"]}, "--type 'foto': there are photo, raw, screenshot, video, sidecar, other"),
        ({"taken_after": "yesterday"}, "--taken-after"),
        ({"taken_after": "2024-02-01", "taken_before": "2024-01-01"}, "Correct one of them"),
    ],
)
def test_bad_choices_are_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(FilterError) as caught:
        Choice.parse(**options, now_ns=0)
    assert words in str(caught.value)


def test_what_is_gone_counts_only_if_it_surely_was_wanted() -> None:
    by_camera = Choice.parse(cameras=["iphone"], now_ns=0)
    path = "DCIM/Camera/IMG_1.HEIC"
    assert by_camera.wants_file(path, 1, FACTS[path])
    assert not by_camera.wants_file(path, 1, None)
    assert Choice.parse(types=["photo"], now_ns=0).wants_file(path, 1, None)
