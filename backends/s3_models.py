"""botocore's descriptions of services, found and read in half of the time.

Before botocore makes a client it looks through the folders of all of Amazon's services, thousands of files,
to be sure that the one asked for is among them, and has Python's JSON parser make ordered dictionaries of a
megabyte of descriptions. Its ``data_loader`` may be exchanged: this one opens what it is asked for.
"""

import gzip
import os
from typing import Any

import msgspec
from botocore.loaders import JSONFileLoader, Loader, create_loader


class _All(list[str]):
    """The names of whatever services there are: one that is not there fails when its files are opened."""

    def __contains__(self, name: object) -> bool:
        return True


class _Files(JSONFileLoader):
    def load_file(self, file_path: str) -> Any:
        for ending, opened in ((".json", open), (".json.gz", gzip.open)):
            if os.path.isfile(file_path + ending):
                with opened(file_path + ending, "rb") as file:
                    return msgspec.json.decode(file.read())
        return None


class _Models(Loader):
    def list_available_services(self, type_name: str) -> list[str]:
        return _All()


def install(session: Any) -> None:
    """Has a botocore session that has loaded nothing yet load this way."""
    paths = create_loader(session.get_config_variable("data_path")).search_paths
    loader = _Models(paths, _Files(), include_default_search_paths=False)
    session.register_component("data_loader", loader)
