"""What people install: a package forgotten in pyproject.toml passes every test of an editable checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli import Photosync, finish, tree, write

PROJECT = Path(__file__).parents[2]
PACKAGES = {
    "photosync": "src/photosync",
    "photosync/engine": "engine",
    "photosync/backends": "backends",
    "photosync/testing": "tests/contract",
}
LEFT_OUT = (
    ".git", ".venv", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".demo", ".*_cache", ".hypothesis",
)  # fmt: skip
COMPILED = "photosync/backends/_folder.abi3.so"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the sdist, and the wheel that was built from the sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: building writes into the tree, and what an earlier build left there may hide a mistake.
    shutil.copytree(PROJECT, folder / "tree", symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "tree"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    yield folder / "dist"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (wheel,) = built.glob("*.whl")
    return environment(wheel, tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="module")
def without_compiler(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, installed where nothing can be compiled."""
    (sdist,) = built.glob("*.tar.gz")
    return environment(sdist, tmp_path_factory.mktemp("environment"), CC="false")


def environment(what: Path, folder: Path, **variables: str) -> Path:
    """A virtual environment that holds photosync; what it depends on is lent by this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "--quiet", "--python", python, "install",
            "--no-deps", "--no-index", "--no-build-isolation", "--no-cache-dir", what,
        ],
        env=os.environ | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def in_tree() -> set[str]:
    """Every module of the project, by its path in a wheel."""
    found = set()
    for package, folder in PACKAGES.items():
        # Not into links: two of them stand for packages that are listed here themselves.
        for parent, _, names in os.walk(PROJECT / folder):
            below = Path(package) / Path(parent).relative_to(PROJECT / folder)
            found |= {str(below / name) for name in names if name.endswith(".py")}
    return found


def test_the_wheel_holds_every_module_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        said = archive.read(metadata).decode()
    modules = {name for name in names if name.endswith(".py")}
    assert modules == in_tree()
    assert "photosync/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {"photosync", metadata.partition("/")[0]}
    assert {Path(name).suffix for name in names if name.startswith("photosync/")} <= {
        ".py", ".pyi", ".typed", ".so",
    }  # fmt: skip
    assert any(name.endswith("licenses/LICENSE") for name in names)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert f"Version: {project['version']}" in said
    assert "Requires-Dist: boto3" in said


def test_the_sdist_holds_what_the_wheel_is_made_of(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for package, folder in PACKAGES.items():
        assert f"{folder}/__init__.py" in names, package
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py", "backends/_folder.c"} <= names
    assert not [name for name in names if name.endswith(".so")]


def test_the_part_in_c_serves_every_later_python(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        if COMPILED not in archive.namelist():
            pytest.skip("nothing can be compiled here: install gcc, libc6-dev, python3-dev")
    assert "-cp311-abi3-" in wheel.name


def test_every_module_can_be_imported(installed: Path, tmp_path: Path) -> None:
    script = (
        "import importlib, pkgutil, photosync\n"
        "names = [found.name for found in pkgutil.walk_packages(photosync.__path__, 'photosync.')]\n"
        "for name in names:\n"
        "    module = importlib.import_module(name)\n"
        f"    assert module.__file__.startswith({str(installed)!r}), module\n"
        "print(len(names))\n"
    )
    done = subprocess.run(
        [installed / "bin/python", "-P", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    compiled = list(installed.glob(f"lib/python*/site-packages/{COMPILED}"))
    assert int(done.stdout) == len(in_tree()) - 1 + len(compiled)


def test_backends_are_found_by_fsspec(installed: Path, tmp_path: Path) -> None:
    script = (
        "import fsspec\n"
        "for name in ('pslocal', 'pss3', 'psdropbox', 'psgdrive'): print(fsspec.get_filesystem_class(name))\n"
    )
    done = subprocess.run(
        [installed / "bin/python", "-P", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("photosync.backends.") == 4


@pytest.mark.parametrize("way", ["installed", "without_compiler"])
def test_the_command_copies(way: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place: Path = request.getfixturevalue(way)
    if way == "without_compiler":
        assert not list(place.glob("lib/python*/site-packages/photosync/**/*.so"))
    machine = Photosync(tmp_path / "machine")
    phone = write(tmp_path / "phone", {"DCIM/IMG_1.JPG": b"one", "DCIM/IMG_2.JPG": b""})

    def run(*arguments: str | Path) -> str:
        process = subprocess.Popen(
            [place / "bin/photosync", *arguments],
            cwd=machine.home, env=machine.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        return finish(process).expect(0).out

    assert run("version").startswith("photosync ")
    run("copy", phone, tmp_path / "copy")
    assert tree(tmp_path / "copy") == tree(phone)
    run("verify", tmp_path / "copy", "--deep")
