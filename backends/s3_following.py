"""Pages of a listing after the first: the same request again, but for where it goes on.

botocore works out anew for every page which endpoint and which parameters it needs, and that is most of what
a page costs it. When it has had an answer it tells its ``needs-retry`` event what it asked and with what, so
that it may be asked once more; here it is, with another token. Signing (with credentials renewed meanwhile),
connections, proxies and certificates stay botocore's. What is no answer as it should be is nobody's loss:
whoever wants the page asks botocore for it, which knows what is wrong.
"""

from typing import Any
from urllib.parse import quote


class Following:
    """Asks for pages of one listing.

    Args:
        events: the client's ``meta.events``.
        endpoint, operation, asked: of ``needs-retry.s3.ListObjectsV2``; ``asked`` is its ``request_dict`` for
            a first page.
    """

    def __init__(self, events: Any, endpoint: Any, operation: Any, asked: dict[str, Any]) -> None:
        self._events = events
        self._endpoint = endpoint
        self._operation = operation
        self._asked = dict(asked)

    def answer(self, token: str) -> Any:
        """The answer to the request for the page that a ``NextContinuationToken`` names, whatever it is.

        Raises:
            Exception: botocore's, as from any request.
        """
        url = f"{self._asked['url']}&continuation-token={quote(token, safe='-._~')}"
        request = self._endpoint.create_request({**self._asked, "url": url}, self._operation)
        name = f"before-send.s3.{self._operation.name}"
        for _, answer in self._events.emit(name, request=request):
            if answer is not None:
                return answer
        return self._endpoint.http_session.send(request)
