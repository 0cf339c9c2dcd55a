"""A secret shows in no object's text, no error with its whole chain, no log, report or configuration."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from photosync import cli, context
from photosync.config import (
    S3,
    Config,
    Drive,
    Dropbox,
    Fsspec,
    Ftp,
    Remote,
    Sftp,
    Smb,
    Webdav,
    load,
    render,
    save,
    type_of,
)
from photosync.places import Place, open_place, parse
from photosync.secrets import Secrets
from photosync.session import Session
from photosync.sign_in import with_answers, with_token
from tests.app.serving import free_port

CANARY = "cAnArY-0b5e55ed/+"


def remotes(port: int) -> list[tuple[Remote, dict[str, str]]]:
    host = "127.0.0.1"
    oauth = {"access_token": f"sl.{CANARY}", "refresh_token": CANARY, "app_secret": CANARY, "app_key": "k"}
    return [
        (Dropbox(), oauth),
        (
            Drive(),
            {"access_token": CANARY, "refresh_token": CANARY, "client_secret": CANARY, "client_id": "k"},
        ),
        (
            S3(endpoint=f"http://{host}:{port}", root="bucket", region="r"),
            {"access_key_id": CANARY, "secret_access_key": CANARY, "session_token": CANARY},
        ),
        (Sftp(host=host, port=port), {"password": CANARY, "key_passphrase": CANARY}),
        (Sftp(host=host, port=port), {"key_pem": CANARY}),
        (Webdav(url=f"http://{host}:{port}", user="u"), {"password": CANARY}),
        (Webdav(url=f"http://{host}:{port}"), {"bearer_token": CANARY}),
        (Ftp(host=host, port=port, user="u"), {"password": CANARY}),
        (Smb(host=host, port=port, user="u", root="share"), {"password": CANARY}),
        (Fsspec(protocol="ftp", options={"host": host, "port": port}), {"password": CANARY, "acct": CANARY}),
        (Fsspec(protocol="memory"), {"password": CANARY}),
    ]


@pytest.mark.parametrize("number", range(11))
@pytest.mark.row(87)
def test_a_secret_shows_nowhere(
    number: int, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    remote, answers = remotes(port)[number]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("PHOTOSYNC_CONFIG", str(home / "c.toml"))
    monkeypatch.setenv("PHOTOSYNC_SECRETS_FILE", str(home / "s.json"))
    # botocore logs the very headers it signs at DEBUG: that level is for photosync's own logger alone.
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "photosync")
    shown: list[str] = []

    text = json.dumps(answers)
    sign_in = (
        with_token(remote, text) if isinstance(remote, (Dropbox, Drive)) else with_answers(remote, answers)
    )
    assert sign_in.credentials is not None
    secrets = Secrets()
    secrets.set("r", sign_in.credentials)
    save(Config(remotes={"r": sign_in.remote}))
    shown += [repr(sign_in), repr(secrets), repr(secrets.get("r")), repr(load()), render(load())]
    assert CANARY in (home / "s.json").read_text(), "the canary is really kept"

    spec = parse("r:x", load())
    try:
        place = open_place(spec, secrets)
        shown += [repr(place), str(place.fs), repr(place.fs), repr(place.store), place.identity]
        place.store.list_folder("")
    except Exception:
        shown += traceback.format_exception(*sys.exc_info())
    else:
        assert type_of(remote) == "fsspec", "nobody listens there"

    for name in os.listdir(home):
        if name not in ("s.json", "state") and (home / name).is_file():
            shown.append((home / name).read_text())
    shown += [repr(spec), caplog.text]
    for line in shown:
        assert CANARY not in line


@pytest.fixture
def kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remote ``r`` whose password is the canary, and no sessions of other tests'."""
    monkeypatch.setenv("PHOTOSYNC_CONFIG", str(home / "c.toml"))
    monkeypatch.setenv("PHOTOSYNC_SECRETS_FILE", str(home / "s.json"))
    monkeypatch.setattr(context, "_sessions", [])
    Secrets().set("r", {"password": CANARY})
    save(Config(remotes={"r": Fsspec(protocol="memory")}))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    log = logging.getLogger("photosync")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(sys, "argv", ["photosync", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    for handler in log.handlers:
        handler.close()
    return int(ended.value.code or 0)


@pytest.mark.row(87)
@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("words", [("ls", "r:"), ("copy", "{home}/phone", "r:x", "--json")])
def test_a_bug_that_holds_a_secret_shows_none(
    words: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever an SDK puts into an exception: not the terminal, the report, or the log's traceback."""
    (home / "phone").mkdir()
    (home / "phone" / "a.jpg").write_bytes(b"photo")
    real = Session.open

    @contextmanager
    def fail(self: Session, text: str) -> Iterator[Place]:
        with real(self, text) as place:
            if text.startswith("r:"):
                raise TypeError(f"login('u', '{CANARY}') got {quote(CANARY)}")
            yield place

    monkeypatch.setattr(Session, "open", fail)
    log = home / "log"
    told = run(monkeypatch, "-v", "--log-file", str(log), *(word.format(home=home) for word in words))
    shown = capsys.readouterr()
    assert told == 1
    assert "TypeError" in shown.err + shown.out
    assert "Traceback" in log.read_text(), "the details are kept"
    for text in (shown.out, shown.err, log.read_text()):
        assert CANARY not in text
        assert quote(CANARY) not in text
