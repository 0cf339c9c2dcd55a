"""What photosync brings along: all of it in the list of parts, and under licences that go with its own."""

import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
OURS = "photosync-engine"
CODECS = {"av", "pillow-heif"}
"""Of the extra `samples`, which makes the pictures of `photosync demo`: their wheels bring x264 and x265."""
RUN_APART = {"ios"}
"""Extras whose packages are only ever run, as programs of their own: their licence binds nobody here."""
_COPYLEFT = re.compile(r"(?<![A-Za-z])A?GPL|(?<!Lesser )General Public License", re.IGNORECASE)
_GPL_LIBRARIES = re.compile(r"lib(x26[45]|xvid|exiv2|readline|gsl)\b")


def plain(name: str) -> str:
    """A package's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def runtime() -> dict[str, Distribution]:
    """Every package that photosync and its extras import here, by name; no tools of development."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, tuple[str, ...]]] = set()
    extras = set(distribution(OURS).metadata.get_all("Provides-Extra") or ()) - RUN_APART
    todo = [(OURS, tuple(sorted(extras)))]
    while todo:
        name, chosen = one = todo.pop()
        if one in done:
            continue
        done.add(one)
        found[name] = distribution(name)
        for line in found[name].requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or any(
                wanted.marker.evaluate({"extra": each}) for each in (*chosen, "")
            ):
                todo.append((plain(wanted.name), tuple(sorted(wanted.extras))))
    del found[OURS]
    return found


def licences(package: Distribution) -> list[str]:
    """What a package says of its licence, in each of the three places where it may."""
    told = package.metadata

    def given(name: str) -> list[str]:
        # A missing one is None in one implementation of metadata, and KeyError in another.
        return list(told.get_all(name) or ())

    kinds = [line.rpartition("::")[2] for line in given("Classifier") if "License ::" in line]
    return [
        text
        for text in (*given("License-Expression"), *[each[:200] for each in given("License")], *kinds)
        if text
    ]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The list of parts (CycloneDX), as `make audit` writes it."""
    path = tmp_path_factory.mktemp("parts") / "sbom.json"
    words = ["environment", "--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "-o", path]
    subprocess.run([sys.executable, "-m", "cyclonedx_py", *words, sys.executable], check=True)
    listed: dict[str, Any] = json.loads(path.read_text())
    return listed


def test_the_list_of_parts_has_every_part_with_its_licence(parts: dict[str, Any]) -> None:
    assert parts["bomFormat"] == "CycloneDX"
    assert parts["metadata"]["component"]["name"] == OURS
    listed = {plain(each["name"]): each for each in parts["components"]}
    assert {"boto3", "dropbox", "obstore", "paramiko", "smbprotocol", "gphoto2"} <= set(runtime())
    for name, package in runtime().items():
        assert listed[name]["version"] == package.version
        assert listed[name]["purl"].startswith("pkg:pypi/")
        # The list takes a licence only where it stands in one of the documented forms.
        assert listed[name].get("licenses") or licences(package), f"{name} tells no licence"
    assert sum(bool(listed[name].get("licenses")) for name in runtime()) > 0.9 * len(runtime())


def test_nothing_that_is_imported_has_a_licence_that_ours_cannot_have() -> None:
    """LGPL, MPL and the like may be used as they are; GPL and AGPL would bind whoever passes photosync on."""
    for name, package in runtime().items():
        told = licences(package)
        assert told, f"{name} tells no licence"
        for text in told:
            choices = re.split(r"\bOR\b", text)
            assert not all(_COPYLEFT.search(choice) for choice in choices), f"{name}: {text}"


def test_what_is_only_run_is_nowhere_imported() -> None:
    files = [*ROOT.glob("engine/*.py"), *ROOT.glob("backends/*.py"), *ROOT.glob("src/photosync/*.py")]
    assert len(files) > 100
    for path in files:
        assert not re.search(r"^\s*(import|from) pymobiledevice3", path.read_text(), re.MULTILINE), path


def test_only_the_demo_brings_codecs_that_are_under_the_gpl() -> None:
    """Wheels carry libraries that their own licence does not tell of."""
    carrying = {
        name
        for name, package in runtime().items()
        if any(_GPL_LIBRARIES.search(file.name) for file in package.files or ())
    }
    assert carrying <= CODECS
    wanted = {plain(Requirement(line).name): line for line in distribution(OURS).requires or ()}
    assert all('extra == "samples"' in wanted[name].replace("'", '"') for name in CODECS)


def test_gpl_is_told_from_what_only_sounds_like_it() -> None:
    for text in ("GPL-3.0-or-later", "AGPLv3", "GNU General Public License v2 (GPLv2)", "gpl"):
        assert _COPYLEFT.search(text)
    for text in ("LGPL-2.1", "GNU Lesser General Public License", "MIT", "MPL-2.0"):
        assert not _COPYLEFT.search(text)
