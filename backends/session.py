"""HTTP sessions for SDKs, fit for threads, proxies and slow lines. Import it lazily: it loads requests.

What requests leaves to do:

* It sends a body in one piece. Over TLS that piece has to be gone within the socket's timeout, which on a new
  connection is the one for connecting: 8 MiB in 10 seconds. Here a body goes in small pieces, each with that
  much time.
* It prefers ``REQUESTS_CA_BUNDLE`` to the session's own setting, takes ``Authorization`` from a ``.netrc`` if
  that names the host, and follows redirects with the body. Here it does neither.
* urllib3 leaves Nagle's algorithm on towards a proxy, which costs 40 ms a request.
"""

import io
import socket
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

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


def open_session(connections: int) -> requests.Session:
    """A session that trusts `ca_bundle`, uses the environment's proxies and keeps ``connections`` a host."""
    session = requests.Session()
    session.mount("https://", _Adapter(ca_bundle(), connections))
    session.auth = _leave_alone
    session.max_redirects = 0
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _leave_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
