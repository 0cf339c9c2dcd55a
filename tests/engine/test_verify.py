"""Evidence: equal, different and not known are three answers."""

from pathlib import Path

import pytest

from photosync.backends.local import LocalBackend
from photosync.engine import verify
from photosync.engine.errors import Corrupt
from photosync.engine.hashing import CHUNK, fingerprint
from photosync.engine.verify import Verify

FOUND = fingerprint(b"bytes", ["md5"])
MD5 = FOUND.digests["md5"]


def test_a_hash_in_common_that_agrees() -> None:
    assert verify.agreed({"md5": MD5}, FOUND) == "md5"


@pytest.mark.parametrize("reported", [{}, {"etag": MD5}, {"crc64": "00"}, {"size": "5"}])
def test_no_hash_in_common_is_not_known(reported: dict[str, str]) -> None:
    assert verify.agreed(reported, FOUND) is None


@pytest.mark.parametrize(
    "reported", [{"md5": "0" * 32}, {"sha256": FOUND.digests["sha256"], "md5": "0" * 32}]
)
def test_one_hash_that_differs_is_enough(reported: dict[str, str]) -> None:
    with pytest.raises(Corrupt, match="md5"):
        verify.agreed(reported, FOUND)


def test_a_dropbox_hash_of_a_small_file_is_known_without_having_been_asked_for() -> None:
    small = fingerprint(b"x")
    digest = small.digest("dropbox")
    assert digest is not None
    assert verify.agreed({"dropbox": digest}, small) == "dropbox"
    assert verify.agreed({"dropbox": digest}, fingerprint(b"x" * (CHUNK + 1))) is None


@pytest.mark.parametrize(
    ("how", "reported", "evidence"),
    [
        (Verify.AUTO, {"md5": MD5}, "server-hash:md5"),
        (Verify.AUTO, {}, "reread"),
        (Verify.REREAD, {"md5": MD5}, "reread"),
        (Verify.NONE, {}, "none"),
        (Verify.NONE, {"md5": MD5}, "server-hash:md5"),
    ],
)
def test_evidence(tmp_path: Path, how: Verify, reported: dict[str, str], evidence: str) -> None:
    (tmp_path / "a").write_bytes(b"bytes")
    assert verify.prove(LocalBackend().store(str(tmp_path)), "a", reported, FOUND, how) == evidence


@pytest.mark.parametrize("there", [b"Bytes", b"byte", b"bytes!", b""])
@pytest.mark.row(54)
def test_reading_back_finds_other_bytes(tmp_path: Path, there: bytes) -> None:
    (tmp_path / "a").write_bytes(there)
    with pytest.raises(Corrupt, match="read back"):
        verify.prove(LocalBackend().store(str(tmp_path)), "a", {}, FOUND, Verify.AUTO)


def test_reading_back_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bytes")

    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify.prove(LocalBackend().store(str(tmp_path)), "a", {}, FOUND, Verify.AUTO, check)
