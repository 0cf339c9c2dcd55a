"""The S3 filesystem for itself, as fsspec's users see it, against a real server (SeaweedFS)."""

import json
import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem

from photosync.backends.s3 import S3Backend
from photosync.engine.errors import AlreadyExists, Permanent, SourceChanged, Transient, Unsupported
from tests.backends.canned_s3 import Answer, Careless, Request, canned, refusal
from tests.backends.test_s3_store import listed
from tests.servers.seaweed import Seaweed

BIG = bytes(range(256)) * (68 << 10)
"""17 MiB: more than two parts."""


def keys(server: Seaweed, bucket: str) -> list[str]:
    return [item["Key"] for item in server.client().list_objects_v2(Bucket=bucket).get("Contents", ())]


def test_is_known_to_fsspec(s3_server: Seaweed) -> None:
    options = {"key": s3_server.key, "secret": s3_server.secret, "endpoint_url": s3_server.endpoint}
    assert isinstance(fsspec.filesystem("pss3", **options), S3Backend)
    fs, path = fsspec.core.url_to_fs("pss3://bucket/some/key.jpg", **options)
    assert isinstance(fs, S3Backend)
    assert path == "bucket/some/key.jpg"


def test_writes_and_reads(s3: S3Backend, bucket: str) -> None:
    for data in (b"", b"small", BIG):
        path = f"{bucket}/a/{len(data)}.bin"
        with s3.open(path, "wb") as file:
            for start in range(0, len(data), 3_000_000):
                file.write(data[start : start + 3_000_000])
        assert s3.cat_file(path) == data
        assert s3.info(path)["size"] == len(data)
    assert s3.isfile(f"{bucket}/a/5.bin")
    assert s3.isdir(f"{bucket}/a")
    assert not s3.exists(f"{bucket}/a/absent")


def write_and_fail(file: Any, data: bytes | str) -> None:
    file.write(data)
    raise RuntimeError("unplugged")


@pytest.mark.parametrize("size", [10, len(BIG)])
def test_exception_while_writing_publishes_nothing(
    s3: S3Backend, s3_server: Seaweed, bucket: str, size: int
) -> None:
    path = f"{bucket}/half.bin"
    with pytest.raises(RuntimeError, match="unplugged"), s3.open(path, "wb") as file:
        write_and_fail(file, BIG[:size])
    with pytest.raises(RuntimeError, match="unplugged"), s3.open(path, "w") as text:
        write_and_fail(text, "half")
    forgotten = s3.open(path, "wb")
    forgotten.write(BIG[:size])
    del forgotten
    forgotten = s3.open(path, "w")
    forgotten.write("half")
    del forgotten
    assert keys(s3_server, bucket) == []
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


def test_part_that_cannot_be_sent_publishes_nothing() -> None:
    def answer(request: Request) -> Answer:
        if request.method == "POST":
            assert "uploads" in request.query
            return Answer(
                200, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            )
        return Answer(204) if request.method == "DELETE" else refusal(500, "InternalError")

    with canned(answer) as backend:
        file = backend.open("bucket/a.bin", "wb")
        with pytest.raises(Transient):
            file.write(bytes(9 << 20))
        with pytest.raises(Transient, match="earlier part"):
            file.write(b"more")
        with pytest.raises(Transient, match="nothing was published"):
            file.close()
        assert file.closed


def test_exclusive_mode_replaces_nothing(s3: S3Backend, bucket: str) -> None:
    path = f"{bucket}/a.txt"
    s3.pipe_file(path, b"first", mode="create")
    with pytest.raises(FileExistsError):
        s3.pipe_file(path, b"second", mode="create")
    late = s3.open(f"{bucket}/b.txt", "xb")
    late.write(b"late")
    s3.pipe_file(f"{bucket}/b.txt", b"early")
    with pytest.raises(AlreadyExists):
        late.close()
    assert s3.cat([path, f"{bucket}/b.txt"]) == {path: b"first", f"{bucket}/b.txt": b"early"}
    s3.pipe_file(path, b"replaced")
    assert s3.cat_file(path) == b"replaced"


def test_text_lines_and_other_modes(s3: S3Backend, bucket: str) -> None:
    path = f"{bucket}/a.txt"
    with s3.open(path, "w", encoding="utf-8") as file:
        file.write("erste\nzw\u00f6lfte\n")
    with s3.open(path, "r", encoding="utf-8") as file:
        assert list(file) == ["erste\n", "zw\u00f6lfte\n"]
    with pytest.raises(Unsupported):
        s3.open(path, "ab")
    with pytest.raises(Unsupported):
        s3.open(path, "wb", compression="gzip")
    with pytest.raises(IsADirectoryError):
        s3.open(bucket, "rb")


def test_transactions_publish_together_or_not(s3: S3Backend, s3_server: Seaweed, bucket: str) -> None:
    def write(then: Exception | None) -> None:
        for name, size in (("small", 5), ("big", len(BIG))):
            with s3.open(f"{bucket}/{name}", "wb") as file:
                file.write(BIG[:size])
        assert keys(s3_server, bucket) == []
        if then is not None:
            raise then

    with pytest.raises(RuntimeError), s3.transaction:
        write(RuntimeError())
    assert keys(s3_server, bucket) == []
    with s3.transaction:
        write(None)
    assert s3.cat_file(f"{bucket}/small") == BIG[:5]
    assert s3.cat_file(f"{bucket}/big") == BIG


def test_reading_costs_one_request_for_each_run_of_bytes(s3: S3Backend, bucket: str) -> None:
    path = f"{bucket}/a.bin"
    s3.pipe_file(path, BIG)
    s3._service.requests.clear()
    with s3.open(path) as file:
        assert file.size == len(BIG)
        assert b"".join(iter(lambda: file.read(1 << 20), b"")) == BIG
        assert s3._service.requests == {"HeadObject": 1, "GetObject": 1}
        file.seek(-10, 2)
        assert file.read() == BIG[-10:]
        file.seek(1000)
        assert file.read(3) == BIG[1000:1003]
        assert file.read(3) == BIG[1003:1006]
        assert file.tell() == 1006
    assert s3._service.requests == {"HeadObject": 1, "GetObject": 3}


def test_ranges(s3: S3Backend, bucket: str) -> None:
    path = f"{bucket}/a.bin"
    data = bytes(range(100))
    s3.pipe_file(path, data)
    for start, end in [
        (None, None), (0, 10), (5, None), (None, 7), (-4, None), (10, -10), (-20, -10), (90, 200),
        (100, None), (150, 160), (5, 5), (9, 3),
    ]:  # fmt: skip
        assert s3.cat_file(path, start, end) == data[start:end], (start, end)


def test_replaced_while_open_is_noticed(s3: S3Backend, bucket: str) -> None:
    path = f"{bucket}/a.bin"
    s3.pipe_file(path, b"one" * 100_000)
    with s3.open(path) as file:
        file.read(10)
        s3.pipe_file(path, b"two" * 100_000)
        file.seek(200_000)
        with pytest.raises(SourceChanged):
            file.read(10)


def test_folders(s3: S3Backend, s3_server: Seaweed, bucket: str) -> None:
    s3.pipe({f"{bucket}/a/b/c.txt": b"1", f"{bucket}/a/d.txt": b"22", f"{bucket}/e.txt": b"333"})
    s3.mkdir(f"{bucket}/empty")
    s3.makedirs(f"{bucket}/empty", exist_ok=True)
    with pytest.raises(FileExistsError):
        s3.makedirs(f"{bucket}/empty")
    assert s3.isdir(f"{bucket}/empty")
    assert s3.ls(f"{bucket}/empty") == []
    assert sorted(s3.ls(bucket, detail=False)) == [f"{bucket}/{name}" for name in ("a", "e.txt", "empty")]
    assert s3.ls(f"{bucket}/e.txt", detail=False) == [f"{bucket}/e.txt"]
    with pytest.raises(FileNotFoundError):
        s3.ls(f"{bucket}/absent")
    assert {"name": bucket, "size": 0, "type": "directory"} in s3.ls("")
    with pytest.raises(OSError, match="not empty"):
        s3.rmdir(f"{bucket}/a")
    s3.rmdir(f"{bucket}/empty")
    assert not s3.exists(f"{bucket}/empty")
    assert keys(s3_server, bucket) == ["a/b/c.txt", "a/d.txt", "e.txt"]


def test_find_is_flat_and_strict(s3: S3Backend, bucket: str) -> None:
    s3.pipe({f"{bucket}/a/b/c.txt": b"1", f"{bucket}/a/d.txt": b"2", f"{bucket}/ab.txt": b"3"})
    s3.mkdir(f"{bucket}/a/empty")
    names = [f"{bucket}/a/b/c.txt", f"{bucket}/a/d.txt"]
    s3._service.requests.clear()
    assert s3.find(f"{bucket}/a") == names
    assert s3._service.requests == {"ListObjectsV2": 1}
    assert s3.find(f"{bucket}/a", withdirs=True) == [
        f"{bucket}/a", f"{bucket}/a/b", f"{bucket}/a/b/c.txt", f"{bucket}/a/d.txt", f"{bucket}/a/empty",
    ]  # fmt: skip
    assert s3.find(f"{bucket}/a", maxdepth=1) == names[1:]
    assert s3.find(f"{bucket}/ab.txt") == [f"{bucket}/ab.txt"]
    assert s3.find(f"{bucket}/absent") == []
    assert sorted(s3.glob(f"{bucket}/**/*.txt")) == [*names, f"{bucket}/ab.txt"]
    with canned(lambda _: refusal(403, "AccessDenied")) as refusing, pytest.raises(Permanent):
        refusing.find("bucket/a")


def test_copies_moves_and_removes(s3: S3Backend, s3_server: Seaweed, bucket: str) -> None:
    s3.pipe({f"{bucket}/a/b.txt": b"1", f"{bucket}/a/c d+%.txt": b"2"})
    s3.cp_file(f"{bucket}/a/b.txt", f"{bucket}/copy.txt")
    s3.mv(f"{bucket}/copy.txt", f"{bucket}/moved.txt")
    s3.copy(f"{bucket}/a", f"{bucket}/z", recursive=True)
    assert keys(s3_server, bucket) == ["a/b.txt", "a/c d+%.txt", "moved.txt", "z/b.txt", "z/c d+%.txt"]
    s3.mv(f"{bucket}/z", f"{bucket}/y", recursive=True)
    s3.rm(f"{bucket}/a", recursive=True)
    s3.rm_file(f"{bucket}/moved.txt")
    assert keys(s3_server, bucket) == ["y/b.txt", "y/c d+%.txt"]
    assert s3.cat_file(f"{bucket}/y/c d+%.txt") == b"2"
    for absent in (s3.rm_file, s3.rm, s3.rmdir, s3.info, s3.cat_file, s3.open):
        with pytest.raises(FileNotFoundError):
            absent(f"{bucket}/absent")
    with pytest.raises(FileNotFoundError):
        s3.cp_file(f"{bucket}/absent", f"{bucket}/b")


def test_buckets(s3: S3Backend) -> None:
    s3.mkdir("made-by-test")
    with pytest.raises(FileExistsError):
        s3.mkdir("made-by-test")
    s3.pipe_file("made-by-test/a", b"1")
    with pytest.raises(OSError, match="not empty"):
        s3.rmdir("made-by-test")
    s3.rm("made-by-test", recursive=True)
    assert not s3.exists("made-by-test")


def test_times_and_keys_of_versions(s3: S3Backend, bucket: str) -> None:
    path = f"{bucket}/a.txt"
    s3.pipe_file(path, b"one")
    before = (s3.ukey(path), s3.checksum(path))
    assert before == (s3.ukey(path), s3.checksum(path))
    s3.pipe_file(path, b"two")
    assert s3.ukey(path) != before[0]
    assert s3.checksum(path) != before[1]
    assert s3.modified(path).tzinfo is not None
    assert s3.created(path) == s3.modified(path)
    with pytest.raises(IsADirectoryError):
        s3.modified(bucket)


def test_put_and_get(s3: S3Backend, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.bin").write_bytes(BIG)
    s3.put(str(tmp_path / "in"), f"{bucket}/in", recursive=True)
    s3.get(f"{bucket}/in", str(tmp_path / "out"), recursive=True)
    assert (tmp_path / "out" / "a.bin").read_bytes() == BIG


def test_put_of_a_file_that_shrinks_publishes_nothing(
    s3: S3Backend, s3_server: Seaweed, bucket: str, tmp_path: Path
) -> None:
    source = tmp_path / "a.bin"
    source.write_bytes(BIG)

    class Shrinks(fsspec.Callback):
        def relative_update(self, inc: int = 1) -> None:
            with open(source, "r+b") as file:
                file.truncate(5 << 20)

    with pytest.raises(SourceChanged):
        s3.put_file(str(source), f"{bucket}/a.bin", callback=Shrinks())
    assert keys(s3_server, bucket) == []


def test_keys_with_empty_components_are_shown() -> None:
    answer = listed(("p/", 0), ("p/a", 1), prefixes=("p//", "p/b/"))
    with canned(lambda _: answer) as backend:
        names = [info["name"] for info in backend.ls("bucket/p")]
    assert names == ["bucket/p/", "bucket/p/b", "bucket/p/a"]


# Secrets

SECRETS = {"key": "AKIDCANARY", "secret": "canary-secret", "token": "canary-token"}


def shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def test_secrets_do_not_leave() -> None:
    fs = S3Backend(**SECRETS, endpoint_url="http://127.0.0.1:1", region_name="r", skip_instance_cache=True)
    store = fs.store("bucket/p")
    told = [fs, str(fs), fs.to_json(), json.dumps(fs.to_dict()), pickle.dumps(fs).decode("latin-1")]
    told += [fs.storage_options, fs._account, store, vars(store), fs._fs_token]
    with pytest.raises(Transient) as caught:
        store.list_folder("")
    told += [str(caught.value), repr(caught.value.__cause__)]
    for value in told:
        assert "canary" not in shown(value).lower(), value
    for copy in (pickle.loads(pickle.dumps(fs)), AbstractFileSystem.from_json(fs.to_json())):
        assert isinstance(copy, S3Backend)
        assert copy._account.endpoint_url == "http://127.0.0.1:1"
        assert copy._account.secret is None


def test_a_copy_signs_in_by_what_it_finds(
    s3: S3Backend, s3_server: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.pipe_file(f"{bucket}/a.txt", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret)
    assert pickle.loads(pickle.dumps(s3)).cat_file(f"{bucket}/a.txt") == b"1"


def test_whole_small_life_on_a_careless_service() -> None:
    service = Careless()
    with canned(service) as backend:
        backend.pipe_file("bucket/a", b"1")
        assert backend.cat_file("bucket/a") == b"1"
        backend.rm_file("bucket/a")
    assert service.objects == {}
