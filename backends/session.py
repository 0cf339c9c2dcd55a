"""HTTP sessions for SDKs, fit for threads, proxies and slow lines. Import it lazily: it loads requests.

What requests leaves to do:

* It sends a body in one piece. Over TLS that piece has to be gone within the socket's timeout, which on a new
  connection is the one for connecting: 8 MiB in 10 seconds. Here a body goes in small pieces, each with that
  much time.
* It prefers ``REQUESTS_CA_BUNDLE`` to the session's own setting, takes ``Authorization`` from a ``.netrc`` if
  that names the host, and follows redirects with the body. Here it does neither.
* urllib3 leaves Nagle's algorithm on towards a proxy, which costs 40 ms a request.
* It looks for proxies through the whole environment for each request. Here once for each host.
"""

import io
import socket
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import default_headers, get_environ_proxies

from photosync.backends.tls import ca_bundle

PIECE = 64 << 10
TIMEOUT = (10.0, 100.0)
"""Seconds to connect, and to wait for any byte of a reply."""


class _Adapter(HTTPAdapter):
    def __init__(self, ca_file: str, connections: int) -> None:
        self._ca_file = ca_file
        super().__init__(pool_connections=4, pool_maxsize=connections)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **_SOCKETS, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **_SOCKETS, **options)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        if isinstance(request.body, bytes) and len(request.body) > PIECE:
            request.body = io.BytesIO(request.body)  # type: ignore[assignment]
        return super().send(request, stream, timeout, self._ca_file, cert, proxies)


_SOCKETS: dict[str, Any] = {
    "blocksize": PIECE,
    "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
}
_HEADERS = default_headers()


class Session(requests.Session):
    """A session that trusts `ca_bundle` and uses the environment's proxies as they are when a host is first
    asked.

    Args:
        connections: kept for each host.
    """

    def __init__(self, connections: int) -> None:
        super().__init__()
        self.mount("https://", _Adapter(ca_bundle(), connections))
        self.auth = _leave_alone
        self.max_redirects = 0
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._proxies: dict[tuple[str, str], dict[str, str]] = {}
        self._latest = ("", "")

    def exchange(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """One request, as ``Session.request`` makes it of the same arguments with less ado; the body of the
        reply is still to be read.

        Args:
            body: bytes, or something to read that ``headers`` tell the length of.

        Raises:
            requests.RequestException: no reply.
        """
        request = requests.PreparedRequest()
        # Mostly the same address again, and putting it right takes longer than all the rest.
        known, quoted = self._latest
        if url != known:
            quoted = _quoted(url)
            self._latest = url, quoted
        request.method, request.url = method, quoted
        request.headers = CaseInsensitiveDict(_HEADERS)
        request.headers.update(headers or {})
        request.body = body or None
        if isinstance(body, bytes) or (body is None and method != "GET"):
            request.headers["Content-Length"] = str(len(body or b""))
        proxies = self._proxies_of(quoted)
        reply = self.get_adapter(quoted).send(request, stream=True, timeout=TIMEOUT, proxies=proxies)
        if reply.is_redirect:
            reply.close()
            raise requests.TooManyRedirects("redirects are not followed", response=reply)
        return reply

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """See requests; which authorities are trusted is the adapter's to know."""
        proxies = {**self._proxies_of(str(url)), **(proxies or {})}
        return {"proxies": proxies, "stream": bool(stream), "verify": True, "cert": cert}

    def _proxies_of(self, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        found = self._proxies.get(parts[:2])
        if found is None:
            found = self._proxies[parts[:2]] = get_environ_proxies(url)
        return found


def _quoted(url: str) -> str:
    """An address as requests puts it.

    Raises:
        requests.RequestException: it is none.
    """
    request = requests.PreparedRequest()
    request.prepare_url(url, None)
    return str(request.url)


def _leave_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
