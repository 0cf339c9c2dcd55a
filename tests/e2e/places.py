"""Destinations as the tests see them: how to name one, and what it really holds, past photosync."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.e2e.cli import OURS, Photosync, tree
from tests.servers.cut_proxy import CutProxy
from tests.servers.drive_emulator import DriveEmulator, StoredFile
from tests.servers.dropbox_emulator import DropboxEmulator
from tests.servers.seaweed import Seaweed


class Where(Protocol):
    """A destination.

    Attributes:
        name: what it is.
        text: how the command line names it.
    """

    name: str
    text: str

    def admit(self, machine: Photosync) -> None:
        """Gives a machine what it needs to get there."""
        ...

    def files(self) -> dict[str, bytes]:
        """What it holds, by path; without photosync's own."""
        ...

    def own(self) -> list[str]:
        """Names below .photosync there."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Another program writes there."""
        ...

    def delete(self, path: str) -> None:
        """Another program deletes there."""
        ...


def _mine(path: str) -> bool:
    return path.partition("/")[0].startswith(OURS) or f"/{OURS}-" in path


@dataclass
class LocalFolder:
    folder: Path
    name: str = "local"

    @property
    def text(self) -> str:
        return str(self.folder)

    def admit(self, machine: Photosync) -> None:
        pass

    def files(self) -> dict[str, bytes]:
        return {path: data for path, data in tree(self.folder).items() if not _mine(path)}

    def own(self) -> list[str]:
        return [str(file.relative_to(self.folder)) for file in (self.folder / OURS).rglob("*")]

    def put(self, path: str, data: bytes) -> None:
        (self.folder / path).write_bytes(data)

    def delete(self, path: str) -> None:
        (self.folder / path).unlink()


@dataclass
class Bucket:
    """A prefix in a bucket of SeaweedFS.

    Attributes:
        server: its API, past any proxy.
        endpoint: the URL that photosync is told.
        line: the proxy that the endpoint stands for, or None.
    """

    server: Seaweed
    bucket: str
    prefix: str
    endpoint: str = ""
    line: CutProxy | None = None
    name: str = "s3"
    client: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.client = self.server.client()

    @property
    def text(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def env(self) -> dict[str, str]:
        """AWS's own variables."""
        return {
            "AWS_ACCESS_KEY_ID": self.server.key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret,
            "AWS_ENDPOINT_URL": self.endpoint or self.server.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def rclone(self) -> str:
        """The place in rclone's words, to be used with `env`."""
        endpoint = f'endpoint="{self.server.endpoint}"'
        return f":s3,provider=SeaweedFS,env_auth=true,{endpoint}:{self.bucket}/{self.prefix}"

    def admit(self, machine: Photosync) -> None:
        machine.env |= self.env()

    def keys(self) -> dict[str, int]:
        """Sizes of all objects below the prefix, photosync's own included."""
        return {path: int(item["Size"]) for path, item in self._items()}

    def _items(self) -> Iterator[tuple[str, Any]]:
        start = f"{self.prefix}/"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start)
        for page in pages:
            for item in page.get("Contents", ()):
                yield item["Key"].removeprefix(start), item

    def files(self) -> dict[str, bytes]:
        return {path: self._get(path) for path in self.keys() if not _mine(path)}

    def _get(self, path: str) -> bytes:
        answer = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{path}")
        data: bytes = answer["Body"].read()
        return data

    def own(self) -> list[str]:
        return [path for path in self.keys() if _mine(path)]

    def put(self, path: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{path}", Body=data)

    def delete(self, path: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{path}")


@dataclass
class DropboxFolder:
    """A folder of the emulated account; the remote is made from an rclone.conf."""

    account: DropboxEmulator
    root: str = "Photos"
    name: str = "dropbox"

    @property
    def text(self) -> str:
        return f"dropbox:{self.root}"

    def admit(self, machine: Photosync) -> None:
        machine.env |= self.account.env()
        machine.import_rclone(self.account.rclone_config("dropbox"))

    def _below(self) -> dict[str, Any]:
        start = f"/{self.root}/"
        return {
            path.removeprefix(start): file
            for path, file in self.account.files().items()
            if path.startswith(start)
        }

    def files(self) -> dict[str, bytes]:
        return {path: file.read() for path, file in self._below().items() if not _mine(path)}

    def own(self) -> list[str]:
        return [path for path in self._below() if _mine(path)]

    def put(self, path: str, data: bytes) -> None:
        self.account.put(f"/{self.root}/{path}", data)

    def delete(self, path: str) -> None:
        self.account.delete(f"/{self.root}/{path}")


@dataclass
class DriveFolder:
    """A folder of the emulated My Drive; the remote is made from an rclone.conf.

    Attributes:
        scope: that the sign-in was given.
    """

    account: DriveEmulator
    root: str = "Photos"
    name: str = "drive"
    scope: str = "drive"

    @property
    def text(self) -> str:
        return f"drive:{self.root}"

    def admit(self, machine: Photosync) -> None:
        machine.env |= self.account.env()
        machine.import_rclone(self.account.rclone_config("drive", self.scope))

    def _below(self) -> dict[str, StoredFile]:
        start = f"{self.root}/"
        found: dict[str, StoredFile] = {}
        for path, files in self.account.files().items():
            if path.startswith(start):
                assert len(files) == 1, f"{path} is there {len(files)} times"
                found[path.removeprefix(start)] = files[0]
        return found

    def files(self) -> dict[str, bytes]:
        """See `Where`; fails if two files have one name."""
        return {path: file.read() for path, file in self._below().items() if not _mine(path)}

    def own(self) -> list[str]:
        return [path for path in self._below() if _mine(path)]

    def put(self, path: str, data: bytes) -> None:
        """Replaces a file's bytes as a person does: the old file goes, a new one comes."""
        if path in self._below():
            self.delete(path)
        self.account.put(f"{self.root}/{path}", data)

    def delete(self, path: str) -> None:
        self.account.trash(self._below()[path].id)


def save(files: Mapping[str, bytes], folder: Path) -> Path:
    """Writes what a place holds into a folder, for programs that only know folders."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def wait_until(true: Any, seconds: float = 30.0) -> None:
    """Waits until ``true()`` is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def age(path: Path, seconds: float) -> None:
    """Gives a file another modification time."""
    found = path.stat()
    os.utime(path, (found.st_atime, found.st_mtime + seconds))


def arrived(place: Where) -> int:
    """Bytes that a server got since the start; a disk keeps no count."""
    if isinstance(place, Bucket):
        assert place.line is not None
        return place.line.up
    if isinstance(place, DropboxFolder | DriveFolder):
        return sum(place.account.received.values())
    return 0
