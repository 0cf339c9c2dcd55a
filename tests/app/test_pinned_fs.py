"""SFTP and FTP with the server's identity checked, against real servers."""

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from photosync.engine.errors import Fatal, NotSignedIn
from photosync.pinned_fs import PinnedSFTP, VerifiedFTP
from tests.app.serving import PASSWORD, USER, free_port, serving, serving_ftps
from tests.servers.tls_proxy import ThrowawayCA


@pytest.fixture
def photos(home: Path) -> Path:
    (home / "photos").mkdir()
    (home / "photos" / "a.jpg").write_bytes(b"photo")
    return home / "photos"


@pytest.fixture
def remember(home: Path) -> str:
    return str(home / "state" / "known_hosts")


def new_key(path: Path, passphrase: bytes | None = None) -> Path:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    path.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, how
        )
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def sftp_port(photos: Path, home: Path) -> Iterator[int]:
    with serving("sftp", photos, "--key", str(new_key(home / "host"))) as port:
        yield port


def open_sftp(port: int, remember: str, **options: object) -> PinnedSFTP:
    given = {"username": USER, "password": PASSWORD, "allow_agent": False, "look_for_keys": False, **options}
    return PinnedSFTP("127.0.0.1", remember=remember, port=port, skip_instance_cache=True, **given)


def test_a_new_host_is_remembered_and_a_known_one_accepted(sftp_port: int, remember: str) -> None:
    assert open_sftp(sftp_port, remember).ls("/", detail=False) == ["/a.jpg"]
    lines = Path(remember).read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [[f"[127.0.0.1]:{sftp_port}", "ssh-ed25519"]]
    open_sftp(sftp_port, remember)
    assert Path(remember).read_text().splitlines() == lines


@pytest.mark.row(53)
def test_a_changed_host_key_is_refused_before_the_password_is_sent(
    photos: Path, home: Path, remember: str
) -> None:
    port = free_port()
    with serving("sftp", photos, "--key", str(new_key(home / "one")), port=port):
        open_sftp(port, remember)
    before = Path(remember).read_text()
    with (
        serving("sftp", photos, "--key", str(new_key(home / "two")), port=port),
        pytest.raises(Fatal, match="another host key") as caught,
    ):
        open_sftp(port, remember)
    assert remember in str(caught.value)
    assert not isinstance(caught.value, NotSignedIn)
    assert Path(remember).read_text() == before


def test_the_users_own_known_hosts_counts(sftp_port: int, home: Path, remember: str) -> None:
    (home / ".ssh").mkdir()
    other = paramiko.Ed25519Key.from_private_key_file(str(new_key(home / "other")))
    (home / ".ssh" / "known_hosts").write_text(
        f"[127.0.0.1]:{sftp_port} ssh-ed25519 {base64.b64encode(other.asbytes()).decode()}\n"
    )
    with pytest.raises(Fatal, match="another host key"):
        open_sftp(sftp_port, remember)


def test_a_named_file_of_host_keys_is_the_only_one(sftp_port: int, home: Path, remember: str) -> None:
    empty = home / "keys"
    empty.write_text("")
    with pytest.raises(Fatal, match=str(empty)):
        open_sftp(sftp_port, remember, known_hosts=str(empty))
    key = paramiko.Ed25519Key.from_private_key_file(str(home / "host"))
    empty.write_text(f"[127.0.0.1]:{sftp_port} ssh-ed25519 {key.get_base64()}\n")
    assert open_sftp(sftp_port, remember, known_hosts=str(empty)).exists("/a.jpg")
    assert not Path(remember).exists()


def test_a_wrong_password_is_no_sign_in(sftp_port: int, remember: str) -> None:
    with pytest.raises(NotSignedIn, match="photosync connect") as caught:
        open_sftp(sftp_port, remember, password="wr0ng-cAnArY")
    assert "cAnArY" not in str(caught.value)


@pytest.mark.parametrize("passphrase", [None, "cAnArY-phrase"])
def test_a_private_key_signs_in(photos: Path, home: Path, remember: str, passphrase: str | None) -> None:
    key = new_key(home / "mine", passphrase.encode() if passphrase else None)
    public = paramiko.Ed25519Key.from_private_key_file(str(key), passphrase)
    (home / "authorized").write_text(f"ssh-ed25519 {public.get_base64()}\n")
    with serving(
        "sftp", photos, "--key", str(new_key(home / "host")), "--authorized-keys", str(home / "authorized")
    ) as port:
        pem = key.read_text()
        assert open_sftp(port, remember, password=None, key_pem=pem, key_passphrase=passphrase).exists(
            "/a.jpg"
        )
        by_file = open_sftp(port, remember, password=None, key_filename=str(key), key_passphrase=passphrase)
        assert by_file.exists("/a.jpg")
        if passphrase:
            with pytest.raises(NotSignedIn, match="passphrase"):
                open_sftp(port, remember, password=None, key_pem=pem, key_passphrase="wrong")


@pytest.fixture
def ftps_port(photos: Path, home: Path) -> Iterator[tuple[int, Path]]:
    pytest.importorskip("pyftpdlib", reason="pip install pyftpdlib pyopenssl, for an FTP server with TLS")
    pytest.importorskip("OpenSSL", reason="pip install pyopenssl, for an FTP server with TLS")
    authority = ThrowawayCA()
    certificate, key = authority.issue(["127.0.0.1"])
    (home / "ca.pem").write_bytes(authority.pem)
    (home / "cert.pem").write_bytes(certificate)
    (home / "key.pem").write_bytes(key)
    with serving_ftps(photos, home / "cert.pem", home / "key.pem") as port:
        yield port, home / "ca.pem"


@pytest.mark.row(53)
def test_ftp_over_tls_wants_a_certificate_it_trusts(
    ftps_port: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, ca = ftps_port
    options = {"port": port, "username": USER, "password": PASSWORD, "tls": True, "skip_instance_cache": True}
    with pytest.raises(ssl.SSLCertVerificationError):
        VerifiedFTP("127.0.0.1", **options)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    assert VerifiedFTP("127.0.0.1", **options).cat("/a.jpg") == b"photo"
