"""Which certificate authorities to trust, the same answer for every SDK.

Each SDK reads another variable (requests: ``REQUESTS_CA_BUNDLE``, OpenSSL: ``SSL_CERT_FILE``, botocore:
``AWS_CA_BUNDLE``, the Dropbox SDK: none), so that behind a corporate proxy with an authority of its own
some work and some do not. Here every file that the environment names is trusted by every backend.
"""

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import IO

from photosync.engine.errors import Fatal

VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")

_joined: list[IO[bytes]] = []
"""Keeps the joined bundles on disk for as long as the process lives; they vanish with it."""


def ca_bundle(*more: str | None) -> str:
    """The PEM file to verify servers with.

    Args:
        more: paths of further bundles, from a setting of one service; None is skipped.

    Returns:
        The one file named by `VARIABLES` and ``more``; several are joined into a temporary one; certifi's
        if none is named.

    Raises:
        Fatal: a file that is named cannot be read. Falling back to other authorities than those asked for
            would trust somebody whom the user did not name.
    """
    named = [(path, name) for name in VARIABLES if (path := os.environ.get(name))]
    named += [(path, "the CA bundle setting") for path in more if path]
    files: dict[str, tuple[int, int]] = {}
    for path, name in named:
        try:
            with open(path, "rb"):
                state = os.stat(path)
        except OSError as error:
            raise Fatal(
                f"{name} names {path}, which cannot be read ({error.strerror}). Correct or unset it."
            ) from error
        files[os.path.realpath(path)] = (state.st_mtime_ns, state.st_size)
    if not files:
        import certifi

        return certifi.where()
    if len(files) == 1:
        return next(iter(files))
    return _join(tuple(sorted(files.items())))


@lru_cache(maxsize=8)
def _join(files: tuple[tuple[str, tuple[int, int]], ...]) -> str:
    joined = tempfile.NamedTemporaryFile(prefix="photosync-ca-", suffix=".pem")  # noqa: SIM115
    for path, _ in files:
        joined.write(Path(path).read_bytes() + b"\n")
    joined.flush()
    _joined.append(joined)
    return joined.name
