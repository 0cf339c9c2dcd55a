"""Which files of a commit without an answer are there."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from photosync.backends.dropbox_client import Account
from photosync.backends.dropbox_listing import Pages

FEW = 3
"""Files of one folder that are asked for one by one rather than by listing the folder."""


def published(account: Account, paths: Sequence[str]) -> dict[str, Any]:
    """The FileMetadata of those that exist, by the path given.

    Folders are listed, up to as many pages as asking for each file would have cost.

    Args:
        paths: from `photosync.backends.dropbox_metadata.full_path`.
    """
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_folder[path.rpartition("/")[0]].append(path)
    found: dict[str, Any] = {}
    for folder, members in by_folder.items():
        left = set(members)
        if len(left) > FEW:
            try:
                pages = Pages(account, folder, recursive=False)
                for _ in range(len(members)):
                    for metadata in pages.next():
                        path = f"{folder}/{metadata.name}"
                        if path in left:
                            found[path] = metadata
                            left.remove(path)
                    if pages.done or not left:
                        break
                left = set() if pages.done else left
            except FileNotFoundError:
                continue
        for path in left:
            try:
                with account.calling("looking for", path) as sdk:
                    found[path] = sdk.files_get_metadata(path)
            except FileNotFoundError:
                continue
    return {path: metadata for path, metadata in found.items() if hasattr(metadata, "content_hash")}
