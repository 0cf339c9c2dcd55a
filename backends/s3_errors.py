"""What S3 services and botocore raise, as members of photosync's error tree.

Codes: "Error responses", Amazon S3 API Reference; those that begin with XMinio are MinIO's.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    DestinationFull,
    Fatal,
    NameRefused,
    NotSignedIn,
    Permanent,
    Transient,
    Trouble,
    Unsupported,
)


class NoBucket(Fatal, FileNotFoundError):
    """There is no such bucket: for a listing the folder is absent, for a run nothing further can work."""


_WAYS = (
    "Give `key` and `secret`, name a `profile` of ~/.aws, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
_SIGN_IN = {
    "InvalidAccessKeyId": "The access key is unknown there: check it, and that the endpoint is the right one",
    "SignatureDoesNotMatch": "The secret does not belong to the access key: enter both again",
    "ExpiredToken": "The session token has expired: sign in again (say `aws sso login`)",
    "ExpiredTokenException": "The session token has expired: sign in again (say `aws sso login`)",
    "TokenRefreshRequired": "The session token must be renewed: sign in again (say `aws sso login`)",
    "InvalidToken": "The session token is not valid: sign in again (say `aws sso login`)",
    "NotSignedUp": "The account is not signed up for S3: complete the sign-up with the provider",
    "AccountProblem": "The provider has blocked the account: ask its support",
    "MissingSecurityHeader": f"The request carried no signature. {_WAYS}",
    "InvalidSecurity": "The credentials are not valid: enter them again",
}
_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "301",
    "307",
}
_KMS = "The key that encrypts cannot be used: check `sse_kms_key_id`, and that these credentials may use it."
_KEEPING = {
    "InvalidStorageClass": "The service has no such `storage_class`.",
    "InvalidEncryptionAlgorithmError": "The service does not know this `sse`.",
    "ObjectLockConfigurationNotFoundError": "The bucket was made without Object Lock.",
    "InvalidRetentionPeriod": "The service does not take this retention.",
}
_FULL = {"QuotaExceeded", "StorageFull", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "507"}
_AGAIN = {
    "BandwidthLimitExceeded",
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_SLOWER = {
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
_ABSENT = {"404", "NoSuchKey", "NoSuchUpload", "NoSuchVersion", "NotFound"}
_TAKEN = {"412", "PreconditionFailed"}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raises what S3 or botocore raises inside as photosync's own, chained.

    Args:
        doing: what is being done to which object ("writing bucket/key"), for messages.
    """
    import botocore.exceptions
    import urllib3.exceptions
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (
        botocore.exceptions.ClientError,
        botocore.exceptions.BotoCoreError,
        urllib3.exceptions.HTTPError,
        ResponseParserError,
    ) as error:
        raise translate(error, doing) from error
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError) as error:
        # botocore's ways to say that an answer is not of the documented form.
        text = f"{doing}: the answer could not be understood ({type(error).__name__})"
        raise Transient(text, trouble=Trouble.NETWORK) from error


def translate(error: Exception, doing: str) -> Exception:
    """The exception that stands for one of botocore's."""
    import botocore.exceptions as raised
    from botocore.parsers import ResponseParserError

    if isinstance(error, raised.ClientError):
        return _refusal(error.response, doing)
    if isinstance(error, raised.ProfileNotFound):
        return NotSignedIn(f"{doing}: {error}. Correct the profile's name or add it to ~/.aws/config.")
    if isinstance(
        error,
        (
            raised.NoCredentialsError,
            raised.PartialCredentialsError,
            raised.CredentialRetrievalError,
            raised.TokenRetrievalError,
            raised.SSOError,
            raised.InvalidConfigError,
        ),
    ):
        return NotSignedIn(f"{doing}: no usable S3 credentials ({type(error).__name__}). {_WAYS}.")
    if isinstance(error, raised.FlexibleChecksumError):
        return Transient(f"{doing}: it came back damaged", trouble=Trouble.DAMAGED)
    if isinstance(error, raised.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Fatal(
            f"{doing}: the server's certificate is not signed by an authority that is trusted here. "
            "Behind a proxy with an authority of its own, name its file in SSL_CERT_FILE."
        )
    if isinstance(
        error, (raised.ParamValidationError, raised.InvalidRegionError, raised.UnknownEndpointError)
    ):
        return Permanent(f"{doing}: {error}")
    if isinstance(error, raised.EndpointConnectionError):
        return Transient(
            f"{doing}: no connection to the server. Check that it is up, and the endpoint; then run again.",
            trouble=Trouble.NETWORK,
        )
    if isinstance(
        error,
        (
            raised.ConnectionError,
            raised.HTTPClientError,
            raised.IncompleteReadError,
            raised.ResponseStreamingError,
            ResponseParserError,
        ),
    ) or not isinstance(error, raised.BotoCoreError):
        return Transient(f"{doing}: the connection broke ({type(error).__name__})", trouble=Trouble.NETWORK)
    return Permanent(f"{doing}: {type(error).__name__}: {error}")


def code_of(response: Any) -> str:
    """S3's code of a refusal; the HTTP status where there was no body, as after HEAD."""
    return str(response.get("Error", {}).get("Code", ""))


def status_of(response: Any) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _refusal(response: Any, doing: str) -> Exception:
    code, status = code_of(response), status_of(response)
    said = str(response.get("Error", {}).get("Message", "")).strip().rstrip(".")
    text = f"{doing}: {code}" + (f" ({said})" if said and said != code else "")
    if code in {"RequestTimeTooSkewed", "RequestExpired"}:
        return NotSignedIn(f"{doing}: {code}. {_skew(response)}")
    if code in _SIGN_IN:
        return NotSignedIn(f"{doing}: {code}. {_SIGN_IN[code]}.")
    if code == "NoSuchBucket":
        return NoBucket(f"{doing}: there is no such bucket. Correct its name, or create it first.")
    if code in _REGION:
        return Fatal(f"{text}. The bucket is in another region: set `region_name` to it.")
    if code in _FULL or status == 507:
        return DestinationFull(f"{text}. Free some space or raise the quota, then run again.")
    if code in _KEEPING or code.startswith("KMS."):
        return Fatal(f"{text}. {_KEEPING.get(code, _KMS)} Correct the remote's options.")
    if code == "InvalidObjectState":
        return Permanent(f"{doing}: it lies in an archive tier. Restore it with the provider's tools first.")
    if code in _TAKEN:
        return AlreadyExists(f"{doing}: another object holds that name, or it has changed meanwhile")
    if code == "KeyTooLongError":
        return NameRefused(f"{text}. Choose a shorter root folder.")
    if code in _ABSENT:
        return FileNotFoundError(f"{doing}: there is no such object")
    if code in _DAMAGED:
        return Corrupt(f"{text}: the bytes that arrived are not those that were read")
    if code in _AGAIN or status in {408, 429} or (status >= 500 and status != 501):
        throttled = code in _SLOWER or status == 429
        return Transient(text, _retry_after(response), Trouble.THROTTLED if throttled else Trouble.SERVER)
    if code in {"NotImplemented", "501"} or status == 501:
        return Unsupported(f"{text}. This service cannot do it.")
    if code in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}:
        return FileExistsError(f"{doing}: the bucket exists")
    if code == "BucketNotEmpty":
        return OSError(errno.ENOTEMPTY, f"{doing}: the bucket is not empty")
    if status == 403:
        return Permanent(
            f"{text}. These credentials may not do that here: check the bucket's name and their policy."
        )
    return Permanent(text)


def _skew(response: Any) -> str:
    """Which clock says what. Both times are in Amazon's error body; other services give theirs as Date."""
    error, headers = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    ours, theirs = _time(error.get("RequestTime")), _time(error.get("ServerTime") or headers.get("date"))
    remedy = (
        "Set this machine's clock right (on most Linux systems: timedatectl set-ntp true), then run again."
    )
    if ours is None or theirs is None:
        told = f" (the server's says {theirs:%Y-%m-%d %H:%M:%S} UTC)" if theirs else ""
        return f"This machine's clock and the server's are too far apart{told}. {remedy}"
    seconds = (ours - theirs).total_seconds()
    apart = f"{abs(seconds) / 60:.0f} minutes" if abs(seconds) < 7200 else f"{abs(seconds) / 3600:.1f} hours"
    return (
        f"This machine's clock is {apart} {'ahead of' if seconds > 0 else 'behind'} the server's, which says "
        f"{theirs:%Y-%m-%d %H:%M:%S} UTC. {remedy}"
    )


def _time(said: Any) -> datetime | None:
    """UTC from ISO 8601, from a signature's form ("20261124T184055Z") or from HTTP's."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            when = parse(str(said))
        except (TypeError, ValueError):
            continue
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    return None


def _retry_after(response: Any) -> float | None:
    """Seconds of a Retry-After header. Its other form, a date, needs a clock that can be trusted: ignored."""
    said = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(said) if said.isdigit() else None
