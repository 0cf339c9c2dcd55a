"""A fast lane for many small objects: obstore sends what botocore would, for a fraction of the CPU.

Only the plain case goes here: one PUT of a whole small object, create-only, with a SHA-256 that the service
checks. Whatever does not succeed at once is simply done again by botocore, which says exactly what is wrong
and what the service asks for; that is safe because the object is only ever created. After a few failures in a
row the lane stays closed.

Proxies come from the same environment variables, and certificates from the same file, as botocore's.
"""

import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from photosync.engine.capabilities import Buffer
from photosync.engine.errors import AlreadyExists, Trouble

if TYPE_CHECKING:
    from obstore.store import ClientConfig

WIDTH = 1 << 20
"""Bytes of the largest object that goes this way: 32 of them pass within `_PATIENCE` on any line."""
_PATIENCE = timedelta(seconds=60)
_FAILURES = 3


class Lane:
    """Creates objects in one bucket; safe to use from several threads.

    Args:
        client: botocore's, signed in; its credentials are asked for again when they run out.
        bucket: its name.
        ca_bundle: file of certificates to trust, or None for the system's.
    """

    def __init__(self, client: Any, bucket: str, ca_bundle: str | None) -> None:
        self._client = client
        self._bucket = bucket
        self._ca_bundle = ca_bundle
        self._lock = threading.Lock()
        self._made: Any = None
        self._failures = 0

    @property
    def closed(self) -> bool:
        """Whether it failed too often to be worth trying."""
        return self._failures >= _FAILURES

    def create(self, key: str, data: Buffer, metadata: Mapping[str, str]) -> str | None:
        """Stores a whole object under a key that has none.

        Returns:
            Its ETag as the service wrote it.

        Raises:
            AlreadyExists: the key has an object.
            Exception: anything else; nothing is known of the outcome.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            done = obstore.put(
                self._store(),
                key,
                data,
                attributes={"Content-Type": "binary/octet-stream", **metadata},
                mode="create",
                use_multipart=False,
            )
        except AlreadyExistsError as error:
            raise AlreadyExists(f"writing {key}: another object holds that name") from error
        except Exception:
            self._failures += 1
            raise
        self._failures = 0
        return done["e_tag"]

    def _store(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Any:
        from obstore.store import S3Store

        # botocore decides about the form of addresses by many rules; its own answer is the one to follow.
        parameters = {"Bucket": self._bucket, "Key": "key"}
        url = urlsplit(self._client.generate_presigned_url("put_object", Params=parameters))
        options: ClientConfig = {
            "timeout": _PATIENCE,
            "connect_timeout": timedelta(seconds=10),
            "user_agent": "photosync",
            "allow_http": url.scheme == "http",
        }
        if self._ca_bundle is not None:
            with open(self._ca_bundle, "rb") as file:
                options["root_certificate"] = file.read()
        return S3Store(
            self._bucket,
            endpoint=f"{url.scheme}://{url.netloc}",
            region=self._client.meta.region_name or "us-east-1",
            virtual_hosted_style_request=url.path == "/key",
            checksum_algorithm="SHA256",
            client_options=options,
            retry_config={"max_retries": 0, "retry_timeout": _PATIENCE},
            credential_provider=credentials(self._client._request_signer._credentials),
        )


def trouble_of(error: Exception) -> Trouble:
    """What went wrong, as far as obstore's text tells."""
    text = str(error)
    if re.search(r"\b(429|503)\b|SlowDown|TooManyRequests", text):
        return Trouble.THROTTLED
    if re.search(r"BadDigest|SHA256Mismatch", text):
        return Trouble.DAMAGED
    return Trouble.SERVER if re.search(r"\b50[0-9]\b", text) else Trouble.NETWORK


def credentials(source: Any) -> Callable[[], Any]:
    """What obstore asks for credentials; botocore's own object renews them."""

    def provide() -> dict[str, Any]:
        frozen = source.get_frozen_credentials()
        renewed = hasattr(source, "refresh_needed")
        # botocore renews 15 minutes before the end; asking it every minute costs nothing.
        until = datetime.now(UTC) + timedelta(minutes=1) if renewed else None
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": until,
        }

    return provide
