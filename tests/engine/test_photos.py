"""Whole runs with photos: laid out, kept together, chosen, renamed, and found again."""

from dataclasses import replace
from pathlib import Path

import pytest

from photosync.engine import together
from photosync.engine.choosing import Choice
from photosync.engine.errors import SafetyGuard, SourceChanged
from photosync.engine.events import Event, Moved
from photosync.engine.item import Item
from photosync.engine.layout import Layout
from photosync.engine.plan import Mode, Policy
from photosync.engine.report import Report
from photosync.engine.transfer import Transfer
from photosync.engine.views import Window
from tests.engine import media_files as make
from tests.engine.rig import Rig
from tests.sim.store import Faults

BY_MONTH = Layout.parse("{taken:%Y/%m}/{name}")
ONE, OTHER_ONE = "11111111-AAAA", "22222222-BBBB"
HEIC, MOV = make.heic(make.exif(pair=ONE)), make.movie(ONE, "2024-05-01T10:11:12+0200")


def laid_out(rig: Rig, layout: Layout = BY_MONTH, mode: Mode = Mode.COPY, **more: object) -> Report:
    policy = Policy(mode=mode, stamp=f"run{rig.runs}", layout=layout)
    return rig.run(policy=policy, **more)  # type: ignore[arg-type]


def shot(taken: str, *, place: bool = False) -> bytes:
    return make.jpeg(make.exif(taken, place=place))


def library(rig: Rig) -> None:
    rig.photo("DCIM/100/IMG_0001.HEIC", HEIC, 10**9)
    rig.photo("DCIM/100/IMG_0001.MOV", MOV, 2 * 10**9)
    rig.photo("DCIM/100/IMG_0001.AAE", b"<plist/>", 3 * 10**9)
    rig.photo("DCIM/100/IMG_0002.JPG", shot("2023:12:31 23:59:59"), 4 * 10**9)
    rig.photo("WhatsApp/IMG-20220203-WA0001.jpg", make.jpeg(), 5 * 10**9)


LAID_OUT = {
    "2024/05/IMG_0001.HEIC",
    "2024/05/IMG_0001.MOV",
    "2024/05/IMG_0001.AAE",
    "2023/12/IMG_0002.JPG",
    "2022/02/IMG-20220203-WA0001.jpg",
}


def test_a_library_is_laid_out_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    library(rig)
    assert laid_out(rig).clean
    assert rig.files().keys() == LAID_OUT
    told = rig.outcomes["DCIM/100/IMG_0001.MOV"]
    assert told.asset == "DCIM/100/IMG_0001.HEIC"
    assert told.taken is not None
    assert (told.taken.text, told.taken.source) == ("2024-05-01T10:11:12", "quicktime")
    again = laid_out(rig)
    assert (again.status, again.source_bytes) == ("nothing", 0)


def test_another_time_and_another_layout_move_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    library(rig)
    laid_out(rig)
    rig.photo("WhatsApp/IMG-20220203-WA0001.jpg", make.jpeg(), 99 * 10**9)
    assert laid_out(rig).clean
    assert laid_out(rig, Layout.parse("{camera}/{name}")).status == "nothing"
    assert rig.run().status == "nothing"
    assert rig.files().keys() == LAID_OUT


def test_without_state_the_library_is_found_again(tmp_path: Path) -> None:
    """Even where a file lies elsewhere than its time would put it today."""
    rig = Rig(tmp_path)
    library(rig)
    rig.photo("x.gif", b"GIF89a by its time only", 10**18)
    laid_out(rig)
    before = rig.files()
    assert "2001/09/x.gif" in before
    (tmp_path / "journal.sqlite").unlink()
    rig.photo("x.gif", b"GIF89a by its time only", 10**18 + 10**17)
    report = laid_out(rig)
    assert report.clean
    assert report.tally.bytes == 0
    assert rig.files() == before
    assert laid_out(rig).status == "nothing"


@pytest.mark.parametrize("mode", list(Mode))
def test_two_files_that_the_layout_sends_to_one_name_are_both_kept(tmp_path: Path, mode: Mode) -> None:
    rig = Rig(tmp_path)
    for folder, place in (("100", False), ("101", True)):
        rig.photo(f"{folder}/IMG_0001.JPG", shot("2024:05:01 10:11:12", place=place))
    report = laid_out(rig, mode=mode)
    assert report.fatal is None
    assert len(rig.files()) == 2
    assert sorted(rig.statuses().values()) == ["conflict", "verified"]
    assert laid_out(rig, mode=mode).status == "nothing"
    assert not rig.trash()
    rig.photo("102/IMG_0001.JPG", shot("2024:05:01 10:11:13"))
    laid_out(rig, mode=mode)
    assert len(rig.files()) == 3
    assert not rig.trash()


def test_only_new_files_are_looked_into_and_only_their_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Window, "STEP", 512)
    rig = Rig(tmp_path)
    rig.photo("a.jpg", make.jpeg(make.exif(), b"p" * 9000))
    assert 9_000 < laid_out(rig).source_bytes < 11_000
    rig.photo("b.jpg", shot("2024:06:01 00:00:00"))
    assert laid_out(rig).source_bytes < 1_000


def test_a_source_that_only_gives_whole_files_is_read_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path, source_can={"partial_reads": False})
    rig.photo("IMG_20240501_101112.jpg", shot("2024:05:01 10:11:12"))
    report = laid_out(rig)
    assert rig.files().keys() == {"2024/05/IMG_20240501_101112.jpg"}
    assert report.source_bytes == len(shot("2024:05:01 10:11:12"))


def test_a_layout_by_content_id(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.photo("a.jpg", b"hello")
    laid_out(rig, Layout.parse("{id:8}.{ext}"))
    assert rig.files().keys() == {"ea8f163d.jpg"}


def test_a_device_that_goes_while_files_are_looked_into_ends_the_run(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    library(rig)
    report = laid_out(rig, source_faults=Faults(unplug=1.0))
    assert report.exit_code == 7
    assert not rig.files()
    rig.phone.attached = True
    assert laid_out(rig).clean


def test_a_renamed_photo_is_renamed_whole_and_not_sent(tmp_path: Path) -> None:
    for layout in (None, BY_MONTH):
        rig = Rig(tmp_path / str(layout is None))
        rig.folder.mkdir()
        library(rig)
        rig.run(policy=Policy(layout=layout))
        for extension in ("HEIC", "MOV", "AAE"):
            thing = rig.phone.things[f"DCIM/100/IMG_0001.{extension}"]
            rig.phone.drop(f"DCIM/100/IMG_0001.{extension}")
            rig.photo(f"DCIM/100/Summer.{extension}", thing.data, thing.mtime_ns or 0)
        report = rig.run(policy=Policy(layout=layout))
        assert report.tally.bytes == 0
        folder = "DCIM/100" if layout is None else "2024/05"
        names = {path.rpartition("/")[2] for path in rig.files() if path.startswith(folder)}
        assert {"Summer.HEIC", "Summer.MOV", "Summer.AAE"} <= names
        assert not {name for name in names if name.startswith("IMG_0001")}


OTHER = {"IMG_0001.HEIC": b"another picture", "IMG_0001.MOV": b"another film, longer"}


@pytest.mark.parametrize("taken", [{"IMG_0001.HEIC"}, {"IMG_0001.MOV"}, {"IMG_0001.HEIC", "IMG_0001.MOV"}])
@pytest.mark.parametrize("same_size", [False, True])
def test_a_photo_whose_name_is_taken_stays_together(tmp_path: Path, taken: set[str], same_size: bool) -> None:
    rig = Rig(tmp_path)
    mine = {"IMG_0001.HEIC": HEIC, "IMG_0001.MOV": MOV, "IMG_0001.AAE": b"<plist/>"}
    theirs = {name: bytes(len(mine[name])) if same_size else OTHER[name] for name in taken}
    for name, data in theirs.items():
        rig.there.set(name, data, 1)
    for name, data in mine.items():
        rig.photo(name, data)
    rig.run()
    assert set(rig.statuses().values()) == {"conflict"}
    found = rig.files()
    (stem,) = {path.rpartition(".")[0] for path, data in found.items() if data in mine.values()}
    assert stem.startswith("IMG_0001~")
    assert {found[name] for name in taken} == set(theirs.values())
    assert len(found) == 3 + len(taken)
    assert rig.run().status == "nothing"


def test_what_is_there_already_stays_and_the_rest_goes_beside(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.there.set("IMG_0001.HEIC", HEIC, 1)
    rig.there.set("IMG_0001.MOV", b"another film", 1)
    rig.photo("IMG_0001.HEIC", HEIC)
    rig.photo("IMG_0001.MOV", MOV)
    rig.run()
    assert rig.statuses() == {"IMG_0001.HEIC": "verified", "IMG_0001.MOV": "conflict"}
    assert len(rig.files()) == 3


def test_halves_of_two_photos_do_not_follow_each_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.there.set("IMG_0001.HEIC", b"another picture", 1)
    rig.there.set("IMG_0001.MOV", bytes(len(make.movie(OTHER_ONE))), 1)
    rig.photo("IMG_0001.HEIC", HEIC)
    rig.photo("IMG_0001.MOV", make.movie(OTHER_ONE))
    rig.run()
    names = [path for path, data in rig.files().items() if data in (HEIC, make.movie(OTHER_ONE))]
    assert len({path.rpartition(".")[0] for path in names}) == 2


def test_a_photo_that_changes_while_its_names_are_decided_stays_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = together.decide, []

    def decide(transfer: Transfer, leader: Item) -> None:
        tries.append(leader.source.path)
        if len(tries) == 1:
            raise SourceChanged("it changed")
        real(transfer, leader)

    monkeypatch.setattr(together, "decide", decide)
    rig = Rig(tmp_path)
    rig.there.set("IMG_0001.MOV", b"another film", 1)
    rig.photo("IMG_0001.HEIC", HEIC)
    rig.photo("IMG_0001.MOV", MOV)
    rig.run()
    assert tries == ["IMG_0001.HEIC"] * 2
    assert len({path.rpartition(".")[0] for path, data in rig.files().items() if data in (HEIC, MOV)}) == 1


def test_what_a_killed_run_kept_beside_is_found_again(tmp_path: Path) -> None:
    """Its picture was another one then, so that another content id is shown."""
    rig = Rig(tmp_path)
    rig.there.set("IMG_0001.MOV", b"another film", 1)
    rig.there.set("IMG_0001~deadbeef.MOV", MOV, 1)
    rig.photo("IMG_0001.HEIC", HEIC)
    rig.photo("IMG_0001.MOV", MOV)
    rig.run()
    assert list(rig.files().values()).count(MOV) == 1
    assert rig.run().status == "nothing"


def test_a_half_that_comes_later_follows(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.there.set("IMG_0001.HEIC", b"another picture", 1)
    rig.photo("IMG_0001.HEIC", HEIC)
    rig.run()
    rig.photo("IMG_0001.MOV", MOV)
    rig.run()
    mine = {path for path, data in rig.files().items() if data in (HEIC, MOV)}
    (stem,) = {path.rpartition(".")[0] for path in mine}
    assert "~" in stem
    assert rig.run().status == "nothing"


@pytest.mark.parametrize("seed", range(30))
def test_a_photo_whose_name_is_taken_survives_a_kill_anywhere(tmp_path: Path, seed: int) -> None:
    rig = Rig(tmp_path)
    rig.there.set("IMG_0001.MOV", b"another film", 1)
    rig.photo("IMG_0001.HEIC", HEIC)
    rig.photo("IMG_0001.MOV", MOV)
    rig.photo("IMG_0001.AAE", b"<plist/>")
    try:
        rig.run(crash_at=5 + seed * 3, seed=seed)
    except BaseException:
        rig.phone.attached = True
    rig.run(seed=seed)
    assert rig.run().status == "nothing"
    mine = [path for path, data in rig.files().items() if data in (HEIC, MOV, b"<plist/>")]
    assert len(mine) == 3
    assert rig.files()["IMG_0001.MOV"] == b"another film"


def test_members_are_read_next_to_one_another(tmp_path: Path) -> None:
    rig = Rig(tmp_path, source_can={"read_concurrency": 1})
    order: dict[str, None] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Moved) and event.read:
            order[event.path] = None

    rig.listener = listen
    for number in range(3):
        for name in (f"IMG_{number:04}.HEIC", f"IMG_E{number:04}.HEIC", f"IMG_{number:04}.MOV"):
            rig.photo(name, HEIC + name.encode())
    rig.run()
    numbers = [path.partition(".")[0][-4:] for path in order]
    assert numbers == sorted(numbers)


CAMERA = Choice.parse(cameras=["cam"], now_ns=0)


def test_a_choice_takes_whole_photos(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    library(rig)
    report = rig.run(choice=CAMERA)
    assert report.clean
    assert rig.files().keys() == {
        "DCIM/100/IMG_0001.HEIC",
        "DCIM/100/IMG_0001.MOV",
        "DCIM/100/IMG_0001.AAE",
        "DCIM/100/IMG_0002.JPG",
    }
    again = rig.run(choice=CAMERA)
    assert (again.status, again.source_bytes) == ("nothing", 0)
    assert rig.run().clean
    assert len(rig.files()) == 5


@pytest.mark.parametrize("allow", [False, True])
def test_sync_with_a_choice_trashes_only_what_was_surely_chosen(tmp_path: Path, allow: bool) -> None:
    rig = Rig(tmp_path)
    library(rig)
    rig.run(Mode.SYNC)
    rig.there.set("DCIM/100/somebody.JPG", b"else's", 1)
    rig.phone.drop("DCIM/100/IMG_0002.JPG")
    rig.phone.drop("WhatsApp/IMG-20220203-WA0001.jpg")
    assert rig.run(Mode.SYNC, choice=CAMERA).clean
    assert [path.rpartition("/")[2] for path in rig.trash()] == ["IMG_0002.JPG"]
    assert rig.files().keys() >= {"WhatsApp/IMG-20220203-WA0001.jpg", "DCIM/100/somebody.JPG"}


def test_a_choice_does_not_blind_the_guards(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number in range(30):
        rig.photo(f"a/{number}.jpg", shot("2024:05:01 10:11:12") + bytes([number]))
    rig.photo("b.txt", b"text")
    videos = Choice.parse(types=["video"], now_ns=0)
    assert rig.run(choice=videos).status == "nothing"
    assert isinstance(rig.run(Mode.SYNC, choice=videos).fatal, SafetyGuard)
    for number in range(2, 30):
        rig.phone.drop(f"a/{number}.jpg")
    shrunken = rig.run(choice=CAMERA)
    assert isinstance(shrunken.fatal, SafetyGuard)
    assert "--allow-shrunken" in str(shrunken.fatal)
    rig.phone.things.clear()
    assert "is empty" in str(rig.run(choice=CAMERA).fatal)


def test_a_counter_that_wrapped_keeps_both_photos(tmp_path: Path) -> None:
    """IMG_0001 was freed on the phone, and another IMG_0001 was taken."""
    rig = Rig(tmp_path)
    rig.photo("DCIM/IMG_0001.HEIC", HEIC, 1)
    rig.photo("DCIM/IMG_0001.MOV", MOV, 1)
    rig.run()
    newer = (
        make.heic(make.exif("2025:01:01 00:00:00", pair=OTHER_ONE)),
        make.movie(OTHER_ONE, "2025-01-01T00:00:00+0100"),
    )
    rig.photo("DCIM/IMG_0001.HEIC", newer[0], 2)
    rig.photo("DCIM/IMG_0001.MOV", newer[1], 2)
    rig.run()
    assert sorted(rig.files().values()) == sorted([HEIC, MOV, *newer])
    assert all("~" in path for path, data in rig.files().items() if data in newer)
    laid = Rig(tmp_path / "laid")
    laid.folder.mkdir()
    laid.phone = rig.phone
    laid_out(laid)
    assert laid.files().keys() == {"2025/01/IMG_0001.HEIC", "2025/01/IMG_0001.MOV"}


def test_the_plan_tells_where_and_why(tmp_path: Path) -> None:
    from photosync.engine.capabilities import Capabilities
    from photosync.engine.entry import Entry
    from photosync.engine.media import Facts
    from photosync.engine.plan import make_plan
    from photosync.engine.scan import Listing

    source = Listing([Entry("IMG_1.HEIC", 5, 1), Entry("IMG_1.MOV", 6, 1)])
    facts = {"IMG_1.HEIC": Facts(taken="2024-05-01T10:11:12", source="exif")}
    policy = replace(Policy(), layout=BY_MONTH)
    plan = make_plan(source, Listing(()), (), policy, Capabilities(), facts)
    rows = list(plan.describe())
    assert [row["to"] for row in rows] == ["2024/05/IMG_1.HEIC", "2024/05/IMG_1.MOV"]
    assert [row["taken_from"] for row in rows] == ["exif", "mtime"]
    assert {row["asset"] for row in rows} == {"IMG_1.HEIC"}


@pytest.mark.parametrize("chosen", [False, True])
def test_a_place_that_was_lost_is_not_forgotten(tmp_path: Path, chosen: bool) -> None:
    """Looking into files to choose among them, or reading them once more, is no reason to trust them again:
    ``free-up`` would delete them."""
    rig = Rig(tmp_path)
    choice = Choice.parse(taken_after="2020-01-01", now_ns=10**18) if chosen else None
    rig.photo("IMG_1.JPG", shot("2024:05:01 10:11:12", place=True))
    assert rig.run(choice=choice).clean
    rig.photo("IMG_1.JPG", shot("2024:05:01 10:11:12"), 2)
    rig.run(choice=choice)
    assert "GPS" in str(rig.outcomes["IMG_1.JPG"].suspicious)
    rig.run(policy=Policy(checksum=True, stamp="again"), choice=choice)
    assert "GPS" in str(rig.outcomes["IMG_1.JPG"].suspicious)
    with rig.journal() as journal:
        assert journal.suspicions("phone").keys() == {"IMG_1.JPG"}
    rig.photo("IMG_1.JPG", shot("2024:05:01 10:11:12", place=True), 3)
    rig.run(choice=choice)
    with rig.journal() as journal:
        assert journal.suspicions("phone") == {}
