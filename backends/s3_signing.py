"""Signs requests with the SHA-256 that their bodies are known to have, instead of hashing them once more.

A signature names the body's SHA-256, and Amazon refuses a body that has another ("Authenticating Requests
(AWS Signature Version 4)", Amazon S3 API Reference), so one that changed since it was read. SeaweedFS takes
it all the same. So nothing is claimed on this ground: what proves an object is its checksum, or reading it
back.
"""

from functools import cache
from typing import Any

PARAMETER = "PayloadSHA256"
"""Parameter of an operation with the digest of its body, hex. It goes no further than this module."""
_CONTEXT = "photosync_payload"
_VERSION = "photosync-s3v4"


def install(events: Any) -> None:
    """Teaches a botocore client to heed `PARAMETER` of ``PutObject`` and ``UploadPart``.

    Args:
        events: the client's ``meta.events``.
    """
    _register()
    for operation in ("PutObject", "UploadPart"):
        events.register_first(f"before-parameter-build.s3.{operation}", _take)
    # botocore's own choice is made by a handler under this name, and the first answer counts.
    events.register_first("choose-signer", _choose)


@cache
def _register() -> None:
    from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth

    class KnownPayload(S3SigV4Auth):
        def payload(self, request: Any) -> Any:
            return request.context[_CONTEXT]

    AUTH_TYPE_MAPS[_VERSION] = KnownPayload


def _take(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    known = params.pop(PARAMETER, None)
    if known is not None:
        context[_CONTEXT] = known


def _choose(signature_version: Any, context: dict[str, Any], **_: Any) -> str | None:
    # Whoever signs in another way, or not at all, goes on doing so.
    plain = (context.get("auth_type") or signature_version) in {"v4", "s3v4"}
    return _VERSION if plain and _CONTEXT in context else None
