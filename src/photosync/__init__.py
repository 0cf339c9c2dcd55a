"""photosync: every photo on a phone, whole and proven, wherever people choose.

`photosync.copy` and `photosync.sync` do what the commands of these names do.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photosync.api import copy, sync

__all__ = ["copy", "sync"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from photosync import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
