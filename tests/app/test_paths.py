from pathlib import Path

import pytest

from photosync import paths


def test_each_variable_names_its_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOSYNC_CONFIG", "~/c.toml")
    monkeypatch.setenv("PHOTOSYNC_CACHE_DIR", str(home / "cache"))
    monkeypatch.setenv("PHOTOSYNC_SECRETS_FILE", str(home / "s.json"))
    assert paths.config_file() == home / "c.toml"
    assert paths.config_file(Path("~/other.toml")) == home / "other.toml"
    assert paths.state_dir() == home / "state"
    assert paths.cache_dir() == home / "cache"
    assert paths.secrets_file() == home / "s.json"
    assert paths.fallback_secrets_file() == home / "state" / "secrets.json"


def test_without_variables_they_lie_below_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOSYNC_STATE_DIR", "")
    for found in (paths.config_file(), paths.state_dir(), paths.cache_dir()):
        assert found.is_relative_to(home)
        assert not found.exists(), "asking creates nothing"
    assert paths.secrets_file() is None
