"""Servers that do not answer: worth another run, and the message says what to look at."""

import json
import socket
import sys
from pathlib import Path

import pytest

from photosync import cli
from photosync.engine.report import Exit

REMOTES = {
    "sftp": 'type = "sftp"\nhost = "{host}"\nport = {port}\nuser = "me"',
    "smb": 'type = "fsspec"\nprotocol = "smb"\nroot = "share"\n'
    'options = {{ host = "{host}", port = {port}, username = "me" }}',
    "ftp": 'type = "fsspec"\nprotocol = "ftp"\nroot = "x"\noptions = {{ host = "{host}", port = {port} }}',
    "webdav": 'type = "webdav"\nurl = "http://{host}:{port}/dav"',
    "s3": 'type = "s3"\nroot = "bucket"\nendpoint = "http://{host}:{port}"',
    "dropbox": 'type = "dropbox"',
    "drive": 'type = "drive"',
}


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
@pytest.mark.parametrize("kind", REMOTES)
def test_a_server_that_does_not_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, host: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Not listening: a connection is refused.
        port = taken.getsockname()[1]
        config, secrets = home / "config.toml", home / "secrets.json"
        config.write_text(f"[remotes.nas]\n{REMOTES[kind].format(host=host, port=port)}\n")
        secrets.write_text(json.dumps({"nas": {"access_token": "token"}}))
        secrets.chmod(0o600)
        monkeypatch.setenv("PHOTOSYNC_SECRETS_FILE", str(secrets))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        # What leads to the clouds is gone, too; the rest of this machine needs no proxy.
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}:{port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,no-such-host.invalid")
        monkeypatch.setattr(sys, "argv", ["photosync", "--config", str(config), "connect", "nas", "--check"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == Exit.RETRY, told
    assert "Check " in told
    assert "run again" in told
