"""What a command loads: a run that finds everything there is over before an SDK would be loaded."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.main import get_group

from photosync import cli

SPARED = frozenset(
    {
        "asyncio",
        "boto3",
        "botocore",
        "cryptography",
        "dropbox",
        "fsspec",
        "httpx",
        "keyring",
        "multiprocessing",
        "obstore",
        "paramiko",
        "requests",
        "rich",
        "ssl",
        "tomlkit",
        "zstandard",
        "photosync.commands_connect",
        "photosync.commands_manifest",
        "photosync.backends.mount_worker",
    }
)
"""What a run on this machine's folders with nothing to do has no use for."""


def loaded(state: Path, *words: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = (
        "import sys, atexit; atexit.register(lambda: print('\\n'.join(sys.modules)));"
        "from photosync.cli import main; sys.argv[0] = 'photosync'; main()"
    )
    environment = {**os.environ, "PHOTOSYNC_STATE_DIR": str(state), "XDG_CONFIG_HOME": str(state / "config")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, env=environment
    )
    return set(done.stdout.split())


def test_a_run_with_nothing_to_do_loads_little(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.mkdir()
    (source / "note.txt").write_bytes(b"a note")
    words = ("copy", str(source), str(destination))
    assert "zstandard" in loaded(tmp_path / "state", *words), "the first run writes a manifest"
    again = loaded(tmp_path / "state", *words)
    assert "photosync.engine.sync" in again
    assert not SPARED & again


def test_the_version_is_told_without_the_engine(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "--version")
    assert not [name for name in modules if name.startswith("photosync.engine")]
    assert "photosync.options" not in modules


def test_every_command_is_where_it_is_looked_for() -> None:
    here = Path(cli.__file__).parent
    assert {f"commands_{name}" for name in cli.MODULES} == {file.stem for file in here.glob("commands_*.py")}
    for module, names in cli.MODULES.items():
        made = typer.Typer()
        import_module(f"photosync.commands_{module}").register(made)
        assert sorted(get_group(made).commands) == sorted(names)


@pytest.mark.parametrize("words", [["cpoy"], ["--help"]])
def test_all_commands_are_known_where_all_are_wanted(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "photosync.cli", *words], capture_output=True, text=True)
    told = done.stdout + done.stderr
    for names in cli.MODULES.values() if words == ["--help"] else [("copy",)]:
        assert all(name in told for name in names), told
