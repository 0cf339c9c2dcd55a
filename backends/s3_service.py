"""One signed-in connection to an S3 service: boto3's client set up for photosync, and what it cost."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from photosync.backends.s3_errors import status_of, translated
from photosync.backends.s3_following import Following
from photosync.backends.s3_lane import Lane
from photosync.backends.s3_options import Keeping
from photosync.backends.s3_pages import take_page, timestamp
from photosync.backends.s3_signing import install
from photosync.backends.tls import ca_bundle
from photosync.engine.errors import Fatal, Permanent, Transient, Trouble

_WAITS = 1 << 20
"""Bytes of a body worth asking for leave to send."""
CONNECTIONS = 32
"""Connections that are kept open for botocore."""
IN_FLIGHT = 128
"""Requests worth having in flight at once where each takes its time; the engine begins with fewer."""


@dataclass(frozen=True, slots=True)
class Account:
    """How to reach and sign in to a service. What is None is taken from where AWS's own tools take it.

    Attributes:
        key, secret, token: credentials; else environment, ~/.aws, SSO, instance role.
        profile: of ~/.aws/config and credentials.
        endpoint_url: else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile, Amazon.
        region_name: else AWS_REGION or AWS_DEFAULT_REGION, the profile.
        anon: sign nothing.
        addressing_style: "path", "virtual" or "auto".
        keeping: how objects are to be kept.
    """

    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    profile: str | None = None
    endpoint_url: str | None = None
    region_name: str | None = None
    anon: bool = False
    addressing_style: str | None = None
    keeping: Keeping = field(default_factory=Keeping)


class Reply(dict[str, Any]):
    """An answer, of which S3 documents more than a service may have sent."""

    def __missing__(self, name: str) -> Any:
        raise Transient(f"the service's answer lacks {name}", trouble=Trouble.NETWORK)


_INNER = ("CopyObjectResult", "CopyPartResult", "Parts")


def _strict(response: dict[str, Any]) -> Reply:
    for name in _INNER:
        inner = response.get(name)
        if isinstance(inner, dict):
            response[name] = Reply(inner)
        elif inner:
            response[name] = [Reply(each) for each in inner]
    return Reply(response)


class Service:
    """Calls operations of S3 by name; safe to use from several threads.

    Attributes:
        repeated: requests that failed on the lane and were made again, by kind of trouble.
        requests: sent so far, by operation; redirects count, since they cost as much.
        server_date: ``Date`` header of the newest answer.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._lock = threading.Lock()
        self._asking = threading.local()
        self._lanes: dict[str, Lane | None] = {}
        self.requests: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self.server_date: str | None = None

    def is_same(self, other: "Service") -> bool:
        """Whether both reach the same service, signed in alike."""
        return self._account == other._account

    def call(self, operation: str, doing: str, **parameters: Any) -> dict[str, Any]:
        """Makes one request.

        Args:
            operation: botocore's name for it ("put_object").
            doing: for messages: what is being done to which object.

        Raises:
            Exception: see `photosync.backends.s3_errors`.
        """
        keeping, key = self._account.keeping, parameters.get("Key", "")
        asked = {**keeping.parameters(operation, key), **parameters}
        try:
            with translated(doing):
                return _strict(getattr(self.client, operation)(**asked))
        except Permanent as error:
            told = keeping.told(operation, key)
            if told and type(error) is Permanent:
                text = f"{error} Asked for was {told}: is that what the service or the bucket refuses?"
                raise Permanent(text) from error.__cause__
            raise

    def first_page(self, doing: str, **parameters: Any) -> tuple[dict[str, Any], Following | None]:
        """Makes a ListObjectsV2, and says what asks for the pages behind it.

        Args:
            doing, parameters: as for `call`; no ``ContinuationToken``.
        """
        self._asking.following = None
        page = self.call("list_objects_v2", doing, **parameters)
        return page, self._asking.following

    def further_page(
        self, following: Following, read: Callable[[bytes], Any], doing: str, **parameters: Any
    ) -> Any:
        """Makes a ListObjectsV2 for a further page.

        Args:
            following: of the first page.
            read: makes a page of a body; None: it is no page.
            doing, parameters: as for `call`, with ``ContinuationToken``.
        """
        with translated(doing):
            answer = following.answer(parameters["ContinuationToken"])
            self.server_date = answer.headers.get("date", self.server_date)
            page = read(answer.content) if answer.status_code == 200 else None
        if page is not None:
            return page
        # botocore knows what is wrong with an answer: it gets this one, and asks for another if it sees fit.
        self._asking.answer = answer
        try:
            return self.call("list_objects_v2", doing, **parameters)
        finally:
            self._asking.answer = None

    def attempt(self, operation: str, doing: str, **parameters: Any) -> tuple[int, dict[str, Any]]:
        """Makes one request whose refusal is an answer as well.

        Returns:
            HTTP status and response. The status is 200, or that of a refusal for what the request asked:
            400 (checksum), 412 (precondition), 416 (range), 501 (unknown feature).
        """
        import botocore.exceptions

        try:
            return 200, self.call(operation, doing, **parameters)
        except Exception as error:
            cause = error.__cause__
            if not isinstance(cause, botocore.exceptions.ClientError) or isinstance(error, Fatal):
                raise
            status = status_of(cause.response)
            if isinstance(error, Transient) or status not in {400, 412, 416, 501}:
                raise
            return status, dict(cause.response)

    def lane(self, bucket: str) -> Lane | None:
        """The fast lane to a bucket; None where it cannot be used."""
        client = self.client
        with self._lock:
            if bucket not in self._lanes:
                usable = not self._account.anon and client._request_signer._credentials is not None
                # The lane knows nothing of how objects are to be kept.
                usable = usable and not self._account.keeping.parameters("put_object", "photo")
                self._lanes[bucket] = Lane(client, bucket, self._ca_bundle) if usable else None
            found = self._lanes[bucket]
            return None if found is None or found.closed else found

    def count(self, operation: str) -> None:
        """Counts a request that did not go through botocore."""
        with self._lock:
            self.requests[operation] += 1

    def repeat(self, trouble: Trouble) -> None:
        """Counts a request that failed on the lane and is made again."""
        with self._lock:
            self.repeated[trouble.value] += 1

    def close(self) -> None:
        """Closes idle connections; a later call opens new ones."""
        with self._lock:
            self._lanes.clear()
            if client := self.__dict__.pop("_made", None):
                client.close()

    @property
    def client(self) -> Any:
        """botocore's client, the one that boto3 hands out."""
        with self._lock:
            return self._made

    @cached_property
    def _made(self) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.session import Session

        from photosync.backends import s3_models

        account = self._account
        addressing: Any = {"addressing_style": account.addressing_style or "auto"}
        config = Config(
            # The engine retries, because it alone knows what has been sent and what was asked to wait.
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=10,
            read_timeout=60,
            tcp_keepalive=True,
            max_pool_connections=CONNECTIONS,
            # Every body goes out with a digest of ours; botocore's CRC-32 would be a second one.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3=addressing,
            signature_version=UNSIGNED if account.anon else None,
            # Without one of ours, botocore composes its own anew for every request: an eighth of a PUT.
            user_agent="photosync",
        )
        with translated("signing in to S3"):
            session = Session(profile=account.profile)
            s3_models.install(session)
            self._ca_bundle = ca_bundle(session.get_config_variable("ca_bundle"))
            parsers = session.get_component("response_parser_factory")
            parsers.set_parser_defaults(timestamp_parser=timestamp)
            try:
                # What boto3 adds to it, transfers of its own, takes a tenth of a second to import.
                client: Any = session.create_client(
                    "s3",
                    region_name=account.region_name,
                    endpoint_url=account.endpoint_url,
                    aws_access_key_id=account.key,
                    aws_secret_access_key=account.secret,
                    aws_session_token=account.token,
                    verify=self._ca_bundle,
                    config=config,
                )
            except ValueError as error:
                raise Fatal(f"signing in to S3: {error}. Correct the endpoint or region.") from error
        if client.meta.endpoint_url.startswith("https:"):
            # Over TLS botocore leaves bodies unsigned if they have a checksum of its own making; ours are
            # as good, and hashing them a second time would cost as much as everything else here.
            client.meta.config.s3["payload_signing_enabled"] = False
        install(client.meta.events)
        client.meta.events.register_last("before-call.s3", _hurry)
        client.meta.events.register("before-send.s3", self._count)
        client.meta.events.register("after-call.s3", self._note_date)
        client.meta.events.register("needs-retry.s3.ListObjectsV2", self._note_listing)
        client.meta.events.register("before-call.s3.HeadBucket", self._look_for_region)
        for ending in ("after-call", "after-call-error"):
            client.meta.events.register(f"{ending}.s3.HeadBucket", self._found_region)
        # Before botocore looks for errors hidden behind a 200, for which it parses the answer once more:
        # handlers under wildcards come first, and under an outer one before all.
        client.meta.events.register_first("before-parse.*.ListObjectsV2", take_page)
        return client

    def _count(self, event_name: str, **_: Any) -> Any:
        answer = getattr(self._asking, "answer", None)
        if answer is None:
            self.count(event_name.rpartition(".")[2])
        self._asking.answer = None
        return answer

    def _note_listing(
        self, endpoint: Any, operation: Any, request_dict: dict[str, Any], response: Any, **_: Any
    ) -> None:
        # Of several tries, as after a redirect, the last one is the good one.
        if response is not None and response[0].status_code == 200:
            events = self._made.meta.events
            self._asking.following = Following(events, endpoint, operation, request_dict)

    def _look_for_region(self, **_: Any) -> None:
        # botocore asks so for a bucket's region whenever it is redirected, by this request as well.
        if getattr(self._asking, "region", False):
            raise Permanent("S3: the service redirects every request. Is the endpoint that of an S3 service?")
        self._asking.region = True

    def _found_region(self, **_: Any) -> None:
        self._asking.region = False

    def _note_date(self, http_response: Any, **_: Any) -> None:
        self.server_date = http_response.headers.get("date", self.server_date)


def _hurry(params: dict[str, Any], **_: Any) -> None:
    """Sends small bodies without waiting for "100 Continue": that costs a round trip each, and saves only the
    body of a request that is refused."""
    from botocore.utils import determine_content_length

    headers = params["headers"]
    if "Expect" in headers and (determine_content_length(params["body"]) or _WAITS) < _WAITS:
        del headers["Expect"]
