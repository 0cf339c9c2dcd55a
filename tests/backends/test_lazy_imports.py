"""What an SDK imports for others is loaded when it is used, and is whole then."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from photosync.backends.lazy_imports import lazily


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that imports both of its modules, each of which tells when it is loaded."""
    folder = tmp_path / "some_sdk"
    folder.mkdir()
    (folder / "__init__.py").write_text("loaded = []\nfrom some_sdk import needed, spared\n")
    for name in ("needed", "spared"):
        (folder / f"{name}.py").write_text(
            f"from some_sdk import loaded\nloaded.append({name!r})\nword = {name!r}\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield "some_sdk"
    for name in ("some_sdk", "some_sdk.needed", "some_sdk.spared"):
        sys.modules.pop(name, None)


def test_a_module_is_loaded_when_it_is_used(package: str) -> None:
    finders = list(sys.meta_path)
    with lazily("some_sdk.spared", "some_sdk.not_there"):
        sdk = import_module(package)
        with pytest.raises(ModuleNotFoundError):
            import_module("some_sdk.not_there")
    assert sys.meta_path == finders
    assert sdk.loaded == ["needed"]
    assert sdk.spared.word == "spared"
    assert sdk.loaded == ["needed", "spared"]


def test_what_is_loaded_already_stays_so(package: str) -> None:
    sdk = import_module(package)
    with lazily("some_sdk.spared"):
        assert import_module("some_sdk.spared") is sdk.spared
    assert sdk.loaded == ["needed", "spared"]


def test_dropbox_is_loaded_without_what_is_for_teams() -> None:
    code = (
        "import sys\n"
        "from photosync.backends.dropbox_client import Account\n"
        "with Account({'access_token': 'x'}).calling('looking for', '') as sdk: pass\n"
        "import dropbox\n"
        "print(type(sys.modules['dropbox.team_log']).__name__, type(sys.modules['dropbox.team']).__name__)\n"
        "print(dropbox.team_log.EventType.__name__, dropbox.DropboxTeam('x').team_get_info.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["_LazyModule", "_LazyModule", "EventType", "team_get_info"]
